"""`qwen-omni transcribe`: text, subtitles, JSON; one failing alone."""

import functools
import json
import shutil
import signal
import subprocess
import threading
from pathlib import Path

import pysrt
import pytest
import webvtt

from qwen_omni.samples import sample
from qwen_omni.standin import Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio
from tests.cli.conftest import RUN, Command


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    folder = tmp_path_factory.mktemp("calls")
    return [make_audio(folder / f"{name}.mp3", seconds=4) for name in ("one", "two")]


@pytest.fixture
def transcribe(command: Command, standin: Standin) -> Command:
    """Run the command."""
    standin.tasks.polls_until_done = 0
    return functools.partial(command, "transcribe")


def test_text_and_subtitles_of_one_file(transcribe, calls: list[TruthMedia], standin: Standin) -> None:
    """Each form holds every word, other libraries read the subtitles, and all of it is paid once."""
    call = calls[0]
    assert transcribe(call.path)[1].replace(".", "").split() == list(call.codes)
    cues = pysrt.from_string(transcribe(call.path, "--srt")[1])
    assert cues.text.replace(".", "").split() == list(call.codes)
    assert abs(cues[0].start.ordinal) < 50
    assert webvtt.from_string(transcribe(call.path, "--vtt")[1]).captions[0].text.startswith(call.codes[0])
    told = json.loads(transcribe(call.path, "--json")[1])
    assert told[0]["file"] == str(call.path)
    assert told[0]["sentences"][0]["words"][0]["text"] == call.codes[0]
    assert standin.tasks.submitted == 1


@pytest.mark.parametrize(
    "model", ["paraformer-v2", "qwen3-asr-flash", "qwen-audio-3.1-asr-flash", "qwen3.8-omni-flash"]
)
def test_the_sample_is_not_called_silent(transcribe, model: str) -> None:
    """The stand-in says that it does not recognise speech, through each route; it never claims that there is none."""
    clip = sample()
    status, out, err = transcribe(clip.path, "-m", model)
    assert status == 0
    assert out.startswith("[stand-in] There is sound that may be speech, but the stand-in does not recognise speech")
    assert "no speech was found" not in err


def test_silence_has_no_speech(transcribe, tmp_path: Path) -> None:
    """Nor has a steady tone."""
    make_audio(tmp_path / "quiet.wav", codes=["", ""])
    status, out, err = transcribe("quiet.wav")
    assert (status, out.strip()) == (0, "")
    assert "quiet.wav: no speech was found." in err


def test_many_files(transcribe, calls: list[TruthMedia], tmp_path: Path, standin: Standin) -> None:
    """A bad file does not end the others; subtitles of several files are written, each under its name."""
    bad = tmp_path / "bad.mp3"
    bad.write_text("hello")
    status, out, err = transcribe(*(call.path for call in calls), bad, "--srt", "--out", "subs")
    assert status == 1
    assert out.split() == ["subs/one.srt", "subs/two.srt"]
    assert "bad.mp3" in err
    assert pysrt.open("subs/two.srt").text.replace(".", "").split() == list(calls[1].codes)


def test_speakers(transcribe, calls: list[TruthMedia], standin: Standin) -> None:
    """--speakers 0 asks for them without a number, and the text names them."""
    out = transcribe(calls[0].path, "--speakers", 0)[1]
    assert out.startswith("Speaker ")
    assert standin.tasks.calls[0].parameters == {"diarization_enabled": True}


def test_a_failed_task(transcribe, calls: list[TruthMedia], standin: Standin) -> None:
    """One line says so."""
    standin.tasks.fail(Outcome(kind="subtask"))
    status, _, err = transcribe(calls[0].path)
    assert status == 1
    assert "DecodeFailed" in err


def test_subtitles_that_cannot_be_written(
    transcribe, calls: list[TruthMedia], tmp_path: Path, standin: Standin
) -> None:
    """What cannot be written is refused unpaid: a name that is too long with its ending."""
    long = tmp_path / ("a" * 253)  # with an ending it is longer than names may be
    shutil.copyfile(calls[0].path, long)
    status, out, err = transcribe(long, calls[1].path, "--srt")
    assert (status, out) == (2, "")
    assert "cannot be written: File name too long" in err
    assert not standin.tasks.calls


@pytest.mark.slow
def test_ctrl_c_ends_it_and_the_task_is_found_again(transcribe, calls: list[TruthMedia], standin: Standin) -> None:
    """Nobody waits for a task that goes on at the service; the next call finds it, and nothing is paid twice."""
    standin.tasks.fail(Outcome(polls=100_000))
    line = [*RUN, "transcribe", str(calls[0].path)]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            while not any(call.operation == "poll" for call in standin.tasks.calls):
                assert process.poll() is None, process.stderr.read()
                threading.Event().wait(0.02)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (process.returncode, out) == (130, "")
    assert "Stopped." in err
    assert "Traceback" not in err
    for task in standin.tasks._held.values():
        task.polls = 200_000  # the task ends while nobody looks
    assert transcribe(calls[0].path)[1].replace(".", "").split() == list(calls[0].codes)
    assert standin.tasks.submitted == 1
