"""`qwen-omni standin`: what is wrong with the options is one line with the next step and exit code 2."""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import signal
import socket
import subprocess
import sys
import time
from unittest.mock import Mock

import pytest

from qwen_omni.cli.main import run
from qwen_omni.standin import Exchange, Fault, Standin
from qwen_omni.standin.marked_media import make_video

from .conftest import PATH, chat, post, video_part


def refused(capsys, *options):
    """Run the command, and return the one line that it prints."""
    with pytest.raises(SystemExit) as ended:
        run(["standin", *options])
    told = capsys.readouterr()
    (line,) = " ".join(told.err.split("\n")).strip().split("\n")
    assert (ended.value.code, told.out, "Traceback" in line) == (2, "", False)
    return " ".join(line.split())


def test_a_taken_port(capsys):
    """The port and the address are named, and how to take another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capsys, "--port", str(port))
    assert line.startswith(f"qwen-omni: Port {port} of 127.0.0.1 is in use: ")
    assert "--port" in line.partition(": ")[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "70000"), "--port 70000 is out of range: choose one from 1 to 65535, or 0 for a free one."),
        (("--port", "-1"), "--port -1 is out of range: choose one from 1 to 65535, or 0 for a free one."),
        (("--host", ""), "--host is empty: use --host 127.0.0.1."),
        (("--host", "203.0.113.9", "--port", "0"), "203.0.113.9 is not an address of this machine: use --host 127.0.0"),
        (("--host", "a..b", "--port", "0"), "--host 'a..b' is not a known address or host name: use --host 127.0.0.1."),
    ],
)
def test_bad_addresses(capsys, options, words):
    """An address or a port that cannot be is named, with one that works."""
    assert words in refused(capsys, *options)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "No permission to listen on port 80: choose one above 1023",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "Cannot listen on port 80 of 127.0.0.1: Too many open files."),
        (OSError(socket.EAI_AGAIN, "Try again"), "'127.0.0.1' is not a known address or host name"),
    ],
    ids=["permission", "files", "name"],
)
def test_what_the_machine_refuses(capsys, monkeypatch, error, words):
    """What only some machines refuse has its line as well."""
    monkeypatch.setattr(socket, "create_server", Mock(side_effect=error))
    assert words in refused(capsys, "--port", "80")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_ends_it_quietly():
    """After Ctrl-C there is no traceback, and the exit code is that of success."""
    code = "from qwen_omni.cli.main import run; run(['standin', '--port', '0'])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        os.set_blocking(running.stderr.fileno(), False)
        told, until = b"", time.monotonic() + 30
        while b"Ctrl-C" not in told and time.monotonic() < until:
            told += running.stderr.read() or b""
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        told += running.stderr.read() or b""
    assert b"export DASHSCOPE_BASE_URL=http://127.0.0.1:" in told
    assert b"Traceback" not in told


def test_every_request_is_a_line(tmp_path):
    """With method, path, model, status and time; without the key, the query, or what was sent."""
    video = make_video(tmp_path / "video.mp4", seconds=2, size=(96, 64), fps=5)
    body = chat(video_part(video.path.read_bytes()), "What is secret?", modalities=["text"])
    exchanges: list[Exchange] = []
    with Standin(on_exchange=exchanges.append) as standin:
        assert post(standin, body, path=f"{PATH}?token=sk-query").status == 200
        post(standin, body, key="sk-wrong-key")
        standin.script.fault(Fault.cut(after_bytes=0))
        with contextlib.suppress(http.client.HTTPException, ConnectionError):
            post(standin, body)
        post(standin, b"", method="GET", path="/api/v1/tasks/none")
    lines = [re.sub(r"[\d,]+ ms$", "N ms", str(one)) for one in exchanges]
    assert lines[0] == f"POST {PATH} qwen3.8-omni-flash 200 N ms"
    assert lines[1] == f"POST {PATH} 401 N ms"
    assert lines[2].startswith(f"POST {PATH} qwen3.8-omni-flash ")
    assert lines[3] == "GET /api/v1/tasks/none 200 N ms"  # of an unknown state
    assert len(lines) == 4
    assert all(one.milliseconds >= 0 for one in exchanges)


def test_lines_are_printed_unless_quiet(capsys, monkeypatch):
    """On standard error, where the announcement is."""
    shown = {}
    for options in ((), ("--quiet",)):

        def serve(*_: object, on_ready: object, on_exchange: object) -> None:
            assert on_ready is not None
            if on_exchange is not None:
                on_exchange(Exchange(method="GET", path="/a\x1b[2J", model="m", status=404, milliseconds=1234))

        monkeypatch.setattr("qwen_omni.standin.serve", serve)
        with pytest.raises(SystemExit) as ended:
            run(["standin", *options])
        assert ended.value.code == 0
        shown[options] = capsys.readouterr()
    assert shown[()] == ("", "GET /a\\x1b[2J m 404 1,234 ms\n")
    assert shown["--quiet",] == ("", "")
