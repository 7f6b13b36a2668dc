"""Recordings whose words are known, and both ways to ask for a transcript."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qwen_omni import AsyncOmniClient, OmniClient, Settings, Transcript, TranscriptionOptions, atranscribe, transcribe
from qwen_omni.standin import Script, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video

Ask = Callable[..., Transcript]


@pytest.fixture(scope="session")
def running() -> Iterator[Standin]:
    """One stand-in for all tests of this folder."""
    with Standin() as service:
        yield service


@pytest.fixture
def standin(running: Standin) -> Standin:
    """The same with empty logs."""
    running.clear()
    running.tasks.clear()
    running.stores.calls.clear()
    running.media_map.clear()
    running.script = Script()
    return running


@pytest.fixture(scope="session")
def recording(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """Six seconds of sound, a code in each."""
    return make_audio(tmp_path_factory.mktemp("sound") / "call.mp3", seconds=6)


@pytest.fixture(scope="session")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A film of eight seconds with sound."""
    return make_video(tmp_path_factory.mktemp("film") / "talk.mp4", seconds=8, size=(64, 48), fps=5)


@pytest.fixture(scope="session")
def silence(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds in which nobody speaks."""
    return make_audio(tmp_path_factory.mktemp("silence") / "quiet.wav", codes=["", ""]).path


def options(**choices) -> TranscriptionOptions:
    return TranscriptionOptions(**{"poll_seconds": 0.001, **choices})


@pytest.fixture(params=["sync", pytest.param("async", marks=pytest.mark.slow)])
def ask(request: pytest.FixtureRequest, settings: Settings) -> Ask:
    """Transcribe, in both ways: they share every decision, so the quick suite tries one, and `test_twins` both."""

    def call(media, *, client_settings: Settings | None = None, **choices) -> Transcript:
        used, wishes = client_settings or settings, options(**choices)
        if request.param == "sync":
            with OmniClient(used) as client:
                return transcribe(media, client=client, options=wishes)

        async def run() -> Transcript:
            async with AsyncOmniClient(used) as client:
                return await atranscribe(media, client=client, options=wishes)

        return asyncio.run(run())

    return call


def words(said: Transcript) -> list[str]:
    """The words, without their punctuation."""
    return said.text.replace(".", "").split()


def until_looked_at(standin: Standin) -> None:
    """Wait until somebody has asked how a task stands."""
    while not any(call.operation == "poll" for call in standin.tasks.calls):
        threading.Event().wait(0.01)
