"""The command line as a user meets it, on the stand-in: in a process of its own where signals, pipes or both matter."""

import contextlib
import io
import itertools
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from qwen_omni.cli import main, output
from qwen_omni.cli.main import build_app, run
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_audio, make_video
from tests.cli.conftest import RUN, terminal


@pytest.fixture
def environment(standin):
    """What the command needs to reach the stand-in."""
    return {
        **os.environ,
        "DASHSCOPE_API_KEY": standin.api_key,
        "DASHSCOPE_BASE_URL": standin.base_url,
        "COLUMNS": "200",
    }


@pytest.fixture
def film(tmp_path):
    """Four seconds of marked video."""
    return make_video(tmp_path / "film.mp4", seconds=4, size=(320, 180))


def command(environment, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run the command in this process, which is quicker; an exception that a user would see is raised."""
    missing = dict.fromkeys(os.environ.keys() - environment.keys())
    done = CliRunner().invoke(build_app(), arguments, env={**missing, **environment})
    if not (done.exception is None or isinstance(done.exception, SystemExit)):
        raise done.exception
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def test_ask_answers_from_the_file(environment, film, standin):
    """The answer names the codes that are in the video, and the request is what the options say."""
    done = command(environment, "ask", str(film.path), "What?", "--fps", "1", "--thinking", "off", "--usage")
    assert done.returncode == 0, done.stderr
    assert all(code in done.stdout for code in film.codes)
    assert re.search(r"tokens: [\d,]+ in \(.*video [\d,]+.*\), [\d,]+ out", done.stderr)
    (entry,) = standin.requests
    assert entry.body["stream"] is True
    assert entry.body["reasoning_effort"] == "none"
    assert entry.body["messages"][0]["content"][0]["fps"] == 1


def test_ask_tells_what_kind_it_is(environment, tmp_path, standin):
    """Sound is sent as sound, whatever its name says."""
    sound = make_audio(tmp_path / "a.wav", seconds=2)
    (tmp_path / "a.bin").write_bytes(sound.path.read_bytes())
    done = command(
        environment, "ask", str(tmp_path / "a.bin"), "What?", "--model", "qwen3.5-omni-flash", "--system", "Be brief."
    )
    assert done.returncode == 0, done.stderr
    assert sound.codes[1] in done.stdout
    assert [message["role"] for message in standin.requests[0].body["messages"]] == ["system", "user"]


def test_thinking_is_shown_apart(environment, film):
    """Thinking goes to standard error, the answer to standard output."""
    done = command(environment, "ask", str(film.path), "What?", "--show-thinking")
    assert done.stdout.startswith("[stand-in] video")
    assert done.stderr.strip().startswith("[stand-in]")


def test_a_refusal_of_the_service_is_shown(environment, film, standin):
    """The service's own words, and the status 1."""
    standin.script.fault(Fault.refuse(400, "Arrearage", "Access denied, please make sure."))
    done = command(environment, "ask", str(film.path), "What?")
    assert (done.returncode, done.stdout) == (1, "")
    assert "Arrearage" in done.stderr


@pytest.mark.slow
def test_words_come_as_they_arrive_and_ctrl_c_is_clean(environment, film, standin):
    """The first words are there before the last are sent; Ctrl-C then ends it without a traceback."""
    standin.script.reply("one two three four five six seven eight nine ten " * 9)
    standin.script.fault(Fault.slow(bytes_per_second=4_000))
    with subprocess.Popen(
        [*RUN, "ask", str(film.path), "What?", "--model", "qwen3.5-omni-flash"],
        env={**environment, "PYTHONUNBUFFERED": "1"}, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        first = process.stdout.read(8)
        assert first
        assert process.poll() is None, "words come while the answer is being sent"
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=10)
    assert process.returncode == 130
    assert "ten " * 2 not in (first + out)[-8:]
    assert "Stopped." in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_ctrl_c_ends_the_mcp_server_while_its_client_is_silent(environment, tmp_path):
    """Its thread waits for the next line of standard input, which stays open."""
    with subprocess.Popen(
        [*RUN, "mcp", "--root", str(tmp_path)],
        env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        hello = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        process.stdin.write(json.dumps({"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello}) + "\n")
        process.stdin.flush()
        assert '"qwen-omni"' in process.stdout.readline()
        process.send_signal(signal.SIGINT)
        status = process.wait(timeout=20)
        err = process.stderr.read()
    assert status == 130
    assert "Stopped." in err
    assert "Traceback" not in err


@pytest.mark.slow
def test_a_closed_reader_is_no_error(environment, film):
    """`qwen-omni ask … | head -c 1` ends quietly."""
    line = f"'{sys.executable}' -c 'from qwen_omni.cli.main import run; run()' ask '{film.path}' 'What?' | head -c 1"
    done = subprocess.run(
        ["/bin/sh", "-c", line], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_the_stand_in_serves_and_stops(environment, film):
    """`qwen-omni standin` tells how to use it, answers, and ends on Ctrl-C."""
    with subprocess.Popen(
        [*RUN, "standin", "--port", "0"], env=environment, stderr=subprocess.PIPE, text=True
    ) as process:
        told = ""
        while "Ctrl-C" not in told:
            told += process.stderr.readline()
        names = dict(re.findall(r"export (\w+)=(\S+)", told))
        done = command({**environment, **names}, "ask", str(film.path), "What?")
        process.send_signal(signal.SIGINT)
        begun = time.monotonic()
        _, err = process.communicate(timeout=10)
    assert done.returncode == 0, done.stderr
    assert film.codes[2] in done.stdout
    assert process.returncode in (0, 130)
    assert "Traceback" not in err
    assert time.monotonic() - begun < 5


def test_several_files_and_options(environment, film, standin, tmp_path):
    """All are in one message, the question last; options apply to the files that they suit."""
    sound = make_audio(tmp_path / "a.wav", seconds=4)
    arguments = ["ask", str(film.path), str(sound.path), "What?", "--start", "0:01", "--end", "3", "--fps", "1"]
    done = command(environment, *arguments, "--budget", "glance")
    assert done.returncode == 0, done.stderr
    (entry,) = standin.requests
    assert [part["type"] for part in entry.body["messages"][0]["content"]] == ["video_url", "input_audio", "text"]
    assert [round(media.duration) for media in entry.media] == [2, 2]


@pytest.mark.parametrize(
    ("arguments", "given", "asked"),
    [
        (["-", "What?"], "film", ["video_url", "text"]),
        (["FILM", "-"], "Who is it?\n", ["video_url", "text"]),
        (["-"], "Who is it?\n", ["text"]),
        (["What is 2 + 2?"], "", ["text"]),
    ],
    ids=["media", "question", "only a question", "no files"],
)
def test_standard_input(environment, film, standin, arguments, given, asked):
    """In place of a file it is media, in place of the question the question; no file is needed."""
    data = film.path.read_bytes() if given == "film" else given.encode()
    named = [str(film.path) if argument == "FILM" else argument for argument in arguments]
    done = CliRunner().invoke(build_app(), ["ask", *named], env=environment, input=data)
    assert done.exit_code == 0, done.stderr
    content = standin.requests[0].body["messages"][0]["content"]
    parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
    assert [part["type"] for part in parts] == asked
    assert given == "film" or parts[-1]["text"] == (given.strip() or arguments[0])


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"not media at all", "qwen-omni: standard input is not media"),
        (b"\x89PNG\r\n\x1a\n", "qwen-omni: standard input"),
        (b"<!DOCTYPE html><html></html>", "qwen-omni: standard input"),
    ],
    ids=["text", "cut", "page"],
)
def test_standard_input_has_a_name(environment, standin, data, said):
    """Errors call it that, not by its number of bytes or its place in a conversation."""
    done = CliRunner().invoke(build_app(), ["ask", "-", "What?"], env=environment, input=data)
    assert done.exit_code == 1
    assert done.stderr.startswith(said)
    assert f": {len(data):,} bytes" not in done.stderr
    assert "message 0" not in done.stderr
    assert not standin.requests


def test_a_name_that_begins_with_a_dash(environment, film, standin, tmp_path, monkeypatch):
    """As *.mp4 yields it: it is the file, not an option."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(film.path, "-dash.mp4")
    done = CliRunner().invoke(build_app(), ["ask", "-dash.mp4", "What?"], env=environment)
    assert done.exit_code == 0, done.stderr
    assert film.codes[2] in done.stdout
    Path("-dash.mp4").write_text("notes\n" * 9)
    done = CliRunner().invoke(build_app(), ["caption", "-dash.mp4"], env=environment)
    assert done.stderr.splitlines()[-1].startswith("qwen-omni: -dash.mp4 is not media")


@pytest.mark.parametrize("name", ["caption", "transcribe", "summarize"])
def test_a_file_is_named_once_in_its_error(environment, tmp_path, name):
    """Whichever of several files it is."""
    (tmp_path / "notes.txt").write_text("a b c\n" * 9)
    done = command(environment, name, str(tmp_path / "notes.txt"), str(tmp_path / "gone.mp4"))
    assert done.returncode == 1
    lines = [line for line in done.stderr.splitlines() if line.startswith("qwen-omni: ")]
    assert len(lines) == 2
    assert sorted(line.count("notes.txt") for line in lines) == [0, 1]
    assert sorted(line.count("gone.mp4") for line in lines) == [0, 1]


def test_a_spinner_on_a_terminal_alone(environment, film, standin, monkeypatch, capsys):
    """While the answer is awaited; it is gone before the first word, and a pipe gets none of it."""
    monkeypatch.setattr("qwen_omni.cli.output._DELAY", 0.0)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    standin.script.fault(Fault.slow(first_byte_delay=0.2))
    with terminal(monkeypatch) as shown, pytest.raises(SystemExit) as ended:
        run(["ask", str(film.path), "What?"])
    assert ended.value.code == 0
    assert "Waiting for the answer about" in shown[0]
    assert capsys.readouterr().out.startswith("[stand-in]")
    assert command(environment | {"FORCE_COLOR": "1"}, "ask", str(film.path), "What?").stderr == ""


def test_ctrl_c_while_waiting(environment, film, standin):
    """One line, status 130, and no traceback."""

    def stop(_: object) -> bool:
        os.kill(os.getpid(), signal.SIGINT)
        return True

    standin.script.fault(Fault.slow(first_byte_delay=0.2), when=stop)
    done = command(environment, "ask", str(film.path), "What?")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "Stopped.\n")


def test_a_second_ctrl_c_ends_at_once(monkeypatch, capsys):
    """After the first, a message says that requests are awaited; the second ends the process."""
    monkeypatch.setattr(main, "_PATIENCE", 0.0)
    ends = []
    monkeypatch.setattr(main.os, "_exit", ends.append)
    with main._stoppable():
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        time.sleep(0.05)
        signal.raise_signal(signal.SIGINT)
    assert ends == [130]
    err = capsys.readouterr().err
    assert "Stopping. Requests in flight are awaited" in err
    assert "Requests in flight were not awaited" in err


def test_warnings_are_notes(environment, film):
    """Without the place in the code that issued them."""
    done = command(environment, "ask", str(film.path), "What?", "-m", "qwen3.8-omni-flsh")
    assert done.returncode == 1
    assert done.stderr.startswith("warning: 'qwen3.8-omni-flsh' is not a known model; did you mean")


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_any_locale(monkeypatch, encoding):
    """What the encoding of a stream lacks is escaped; JSON stays JSON."""
    streams = {name: io.TextIOWrapper(io.BytesIO(), encoding=encoding) for name in ("stdout", "stderr")}
    with monkeypatch.context() as patched:
        for name, stream in streams.items():
            patched.setattr(sys, name, stream)
        output.accept_any_text()
        output.write_text("価格 é\n")
        output.show_table(("→", "b"), [("価格", "2")])
        output.write_json({"a": "価格 é"})
        output.show_error("価格")
        for stream in streams.values():
            stream.flush()
    out, err = (stream.buffer.getvalue().decode(encoding) for stream in streams.values())
    assert json.loads(out.splitlines()[-1]) == {"a": "価格 é"}
    assert out.startswith("\\u4fa1\\u683c ")
    assert "\\u4fa1\\u683c" in err


@pytest.mark.parametrize(
    "arguments", [("probe",), ("probe", "--json"), ("estimate",), ("estimate", "--compare")], ids=" ".join
)
def test_a_table_whose_reader_has_gone(film, monkeypatch, arguments):
    """Tables and JSON end as quietly as text does."""
    read, write = os.pipe()
    os.close(read)
    with (
        monkeypatch.context() as patched, contextlib.suppress(OSError), Path(os.devnull).open("w") as other,
        os.fdopen(write, "w") as stream,
    ):  # fmt: skip
        patched.setattr(sys, "stdout", stream)
        patched.setattr(sys, "stderr", other)  # its descriptor is replaced as well
        with pytest.raises(SystemExit) as ended:
            run([arguments[0], str(film.path), *arguments[1:]])
    assert ended.value.code == 0


def test_values_are_completed(monkeypatch, capsys):
    """By typer's own completion: names of models, regions and schemas."""
    lines = {"ask --model qwen3.8": "qwen3.8-omni-flash", "caption --schema g": "general", "ask --region j": "jp"}
    for line, value in lines.items():
        monkeypatch.setenv("_QWEN_OMNI_COMPLETE", "complete_bash")
        monkeypatch.setenv("COMP_WORDS", f"qwen-omni {line}")
        monkeypatch.setenv("COMP_CWORD", str(len(line.split())))
        with pytest.raises(SystemExit):
            run([])
        assert value in capsys.readouterr().out.split()


def test_version(environment):
    assert command(environment, "--version").stdout == f"qwen-omni {version('qwen-omni')}\n"


@pytest.mark.parametrize("name", sorted(typer.main.get_command(build_app()).commands))
def test_help_is_for_people(environment, name, monkeypatch):
    """At 80 columns: no type of Python, no line cut short in a paragraph, and nothing wider."""
    monkeypatch.setattr("typer.rich_utils.MAX_WIDTH", 80)  # read from the environment once in a process
    done = CliRunner().invoke(build_app(), [name, "--help"], env={**environment, "COLUMNS": "80"})
    assert done.exit_code == 0
    lines = [line.rstrip() for line in done.stdout.splitlines()]
    assert max(map(len, lines)) <= 80
    assert not re.search(r"<(bool|str|int|float|path|list\[.*\])>", done.stdout)
    prose = [line.strip() for line in lines[: next(at for at, line in enumerate(lines) if line.startswith("╭"))]]
    for line, following in itertools.pairwise(prose):
        if line and following and not line.startswith("Usage"):
            assert len(line) + 1 + len(following.split()[0]) > 78, line


def test_help_names_the_commands(environment):
    """`--help` lists what there is."""
    done = command(environment, "--help")
    assert done.returncode == 0
    names = re.findall(r"^\W*│ (\w+) ", done.stdout, re.MULTILINE)
    assert names[:2] == ["ask", "summarize"]
    assert sorted(names) == sorted(typer.main.get_command(build_app()).commands)
