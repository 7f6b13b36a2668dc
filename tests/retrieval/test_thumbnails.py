"""`thumbnail(document)` of both frameworks: the middle of the passage, small, or our error."""

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from langchain_core.documents import Document
from llama_index.core.schema import TextNode
from PIL import Image

import langchain_qwen_omni
import llama_index_qwen_omni
from qwen_omni.errors import ConfigurationError, LocalResourceError, MediaError, QwenOmniError, UnreadableMediaError
from qwen_omni.retrieval.passages import complete
from qwen_omni.retrieval.thumbnails import thumbnail_of
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video
from qwen_omni.standin.media.image_decode import read_codes
from qwen_omni.video.export import thumbnails


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of six seconds, each with a code."""
    return make_video(tmp_path_factory.mktemp("film") / "a film.mp4", seconds=6, size=(480, 270), fps=4, sound=False)


def of_langchain(metadata: dict[str, Any], **options: Any) -> bytes:
    return langchain_qwen_omni.thumbnail(Document("x", metadata=metadata), **options)


def of_llama_index(metadata: dict[str, Any], **options: Any) -> bytes:
    return llama_index_qwen_omni.thumbnail(TextNode(text="x", metadata=metadata), **options)


WAYS: dict[str, Callable[..., bytes]] = {
    "core": thumbnail_of, "langchain": of_langchain, "llama-index": of_llama_index,
}  # fmt: skip


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("start", "end", "second"), [(0, 1, 0), (2, 3.5, 2), (1, 6, 3), (4.5, 4.5, 4), (5, 6, 5)])
def test_it_is_the_middle_of_the_passage(way: str, film: TruthMedia, start: float, end: float, second: int):
    """A passage without a length has one, too; the longer side has as many pixels as asked for."""
    facts = complete({"source": str(film.path), "start": start, "end": end, "duration": 6, "video_codec": "h264"})
    with Image.open(io.BytesIO(WAYS[way](facts, side=240))) as image:
        assert (image.format, max(image.size)) == ("JPEG", 240)
        assert read_codes(np.asarray(image.convert("L"))) == (film.codes[second],)


def test_a_file_url_and_a_small_default(film: TruthMedia):
    data = thumbnail_of({"source": film.path.as_uri(), "start": 2.0, "end": 3.0})
    with Image.open(io.BytesIO(data)) as image:
        assert max(image.size) == 320
    assert len(data) < 20_000


def wrong(film: TruthMedia, folder: Path) -> dict[str, tuple[dict[str, Any], type[QwenOmniError], str]]:
    (folder / "text.mp4").write_text("no video")
    call = make_audio(folder / "call.mp3", seconds=2).path
    span = {"start": 0.0, "end": 2.0}
    return {
        "a link": ({"source": "https://example.com/a.mp4", **span}, ConfigurationError, "is a link"),
        "no times": (complete({"source": str(film.path)}), ConfigurationError, "no source with start and end"),
        "a recording": ({"source": str(call), **span, "audio_codec": "mp3"}, ConfigurationError, "has no video"),
        "a recording that nothing is known of": (
            {"source": str(call), **span},
            UnreadableMediaError,
            "no image at 0:01",
        ),
        "a file that is gone": ({"source": str(folder / "gone.mp4"), **span}, MediaError, "gone.mp4"),
        "a text": ({"source": str(folder / "text.mp4"), **span}, MediaError, "text.mp4"),
        "after the end": ({"source": str(film.path), "start": 90.0, "end": 99.0}, QwenOmniError, ""),
    }


@pytest.mark.parametrize("way", WAYS)
def test_what_has_none(way: str, film: TruthMedia, tmp_path: Path):
    for metadata, kind, words in wrong(film, tmp_path).values():
        with pytest.raises(kind) as raised:
            WAYS[way](metadata)
        assert words in str(raised.value)
    with pytest.raises(ConfigurationError, match="side must be"):
        WAYS[way]({"source": str(film.path), "start": 0.0, "end": 1.0}, side=0)


def test_a_fault_of_the_machine_is_not_the_files(film: TruthMedia, monkeypatch: pytest.MonkeyPatch):
    """It is raised as it is, not as a video without images."""

    def full(*_: object, **__: object) -> None:
        raise LocalResourceError("No space left on device.", resource="disk")

    monkeypatch.setattr(thumbnails, "carry_out", full)
    with pytest.raises(LocalResourceError):
        thumbnail_of({"source": str(film.path), "start": 0.0, "end": 1.0})
    assert list(thumbnails.thumbnails(film.path, [0.5], side=64)) == []
