"""Captions of many files."""

import os
from dataclasses import dataclass
from pathlib import Path

import pytest
from PIL import Image

from qwen_omni import CaptionOptions, ChatRequest, OmniClient, Response
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video
from qwen_omni.structured.batch import caption_many


@dataclass
class _Opened:
    """The files that were opened before the first question."""

    names: set[str]
    at_first: set[str] | None = None


class _Client(OmniClient):
    opened: _Opened

    def complete(self, request: ChatRequest) -> Response:
        self.opened.at_first = self.opened.at_first or set(self.opened.names)
        return super().complete(request)


def test_files_are_looked_at_as_they_come(settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that takes every option is asked about before the next is opened, even if the option suits none."""
    frames = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    for name in ("b.mp4", "c.mp4"):
        make_video(tmp_path / name, seconds=1)
    media = [str(one) for one in sorted(tmp_path.iterdir())]
    opened, plain = _Opened(set()), os.open

    def recording(path: str, *how: object, **more: object) -> int:
        opened.names.add(Path(os.fsdecode(path)).name)
        return plain(path, *how, **more)

    monkeypatch.setattr(os, "open", recording)
    with _Client(settings) as client:
        client.opened = opened
        options = CaptionOptions(frame=99)
        found = list(caption_many(media, {"properties": {}}, client=client, options=options, concurrency=1))
    assert opened.at_first is not None
    assert {"a.gif", "b.mp4", "c.mp4"} & opened.at_first == {"a.gif"}
    assert {getattr(one.error, "option", None) for one in found} == {"frame"}
