"""A run over a long video as it is asked of the service: one recording, to be read and to be replayed."""

from pathlib import Path
from typing import Any

import pytest

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from qwen_omni.standin.marked_media import make_video

CHOICES: dict[str, Any] = {
    "detail": "low", "segment_seconds": 7.5, "overlap": 0, "single_call_seconds": 0, "concurrency": 1,
}  # fmt: skip


@pytest.mark.vcr
def test_a_recorded_run(tmp_path):
    """Two segments and what joins them, recorded: three requests, the last of them to the model of texts."""
    codes = [str(3100 + second) for second in range(10)]
    made = make_video(tmp_path / "a.mp4", codes=codes, size=(128, 96), fps=2, sound=False)
    llm = ChatQwenOmni()
    chain = LongVideoChain(llm, **CHOICES, checkpoint=tmp_path)
    found = chain.invoke(tmp_path / "a.mp4")
    llm.close()
    assert found.segments == 2
    assert found.summary
    assert found.this_run.requests == 3
    assert all(0 <= note.start <= note.end <= made.duration for note in found.events)


def test_what_the_recorded_run_shows():
    """The recording holds the questions as they are asked: each segment as what it is, then the notes as text."""
    path = Path(__file__).parents[2] / "cassettes" / "langchain" / "long_video_recorded" / "test_a_recorded_run.yaml"
    text = path.read_text()
    assert text.count("method: ") == 3
    assert text.count("<video mp4 128x96") == 2
    for told in ("model: qwen3.8-omni-flash", "model: qwen-plus", "type: json_object", "one clip of a longer video"):
        assert told in text, told
