"""A video that travels through the temporary store, recorded: leave to upload, the form, the question."""

import asyncio
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin.marked_media import make_video


@pytest.fixture
def question(tmp_path: Path) -> HumanMessage:
    """Ask about three seconds with fixed marks, so that the recorded video is this one."""
    make_video(tmp_path / "my secret film.mp4", codes=["2401", "2402", "2403"], size=(320, 180), fps=5)
    video = {"type": "video", "path": str(tmp_path / "my secret film.mp4")}
    return HumanMessage([video, {"type": "text", "text": "What is shown?"}])


def model(tmp_path: Path) -> ChatQwenOmni:
    return ChatQwenOmni(thinking=False, delivery="temporary", media_root=tmp_path)


@pytest.mark.vcr
def test_one_upload_for_two_questions(question: HumanMessage, tmp_path: Path) -> None:
    """The first question fetches leave, posts the form and asks; the second asks, and that is all that is played."""
    llm = model(tmp_path)
    answers = [llm.invoke([question]).text for _ in range(2)]
    llm.close()
    assert all(answers)


@pytest.mark.vcr
async def test_one_upload_for_questions_at_once(question: HumanMessage, tmp_path: Path) -> None:
    """Two questions at once share one upload over the asynchronous way, too."""
    llm = model(tmp_path)
    answers = await asyncio.gather(*[llm.ainvoke([question]) for _ in range(2)])
    await llm.aclose()
    assert all(answer.text for answer in answers)


@pytest.mark.parametrize("cassette", ["test_one_upload_for_two_questions", "test_one_upload_for_questions_at_once"])
def test_what_the_recording_shows(cassette: str) -> None:
    """The recording holds every step once, with what the file is, and no file name, policy, signature or key id."""
    path = Path(__file__).parents[2] / "cassettes" / "langchain" / "uploads" / f"{cassette}.yaml"
    text = path.read_text()
    assert text.count("method: ") == 4
    assert text.count("action=getPolicy&model=qwen3.8-omni-flash") == 1
    assert text.count("file: <video mp4 320x180 3.0 s") == 1
    assert text.count("url: oss://<folder>/<a new name>.mp4") == 2
    assert text.lower().count("x-dashscope-ossresourceresolve") == 2
    for secret in ("my secret film", "temporary-secret", "TMP.standin", "OSSAccessKeyId"):
        assert secret not in text
