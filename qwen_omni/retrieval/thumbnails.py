"""The thumbnail of a passage or a window: what its video shows in the middle of its time range."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from urllib.request import url2pathname

from qwen_omni.errors import ConfigurationError, UnreadableMediaError
from qwen_omni.ranges import Range, checked
from qwen_omni.retrieval.passages import time_range_of
from qwen_omni.video.export.thumbnails import thumbnail_at
from qwen_omni.video.schemas import clock

SIDE = 320
"""Pixels of the longer side by default."""
_SIDES = Range(least=16, most=4096, whole=True)
_MOMENT = 0.5  # seconds around a passage that has no length


def thumbnail_of(metadata: Mapping[str, Any], *, side: int = SIDE) -> bytes:
    """Return a small JPEG image of the middle of a passage's time range. Sends nothing.

    Args:
        metadata: of a passage or a window of a local video.
        side: pixels of the longer side.

    Raises:
        ConfigurationError: the metadata do not name a time range of a local video.
        MediaError: the file cannot be read, or shows nothing there.
        LocalResourceError: this machine lacks a resource.

    Example:
        from qwen_omni.retrieval.thumbnails import thumbnail_of

        image = thumbnail_of({"source": "lecture.mp4", "start": 2.0, "end": 6.0})
    """
    side = checked("side", side, _SIDES)
    point = metadata.get("start") == metadata.get("end")
    place = time_range_of(metadata, margin=_MOMENT if point else 0)
    if place.kind != "video":
        raise ConfigurationError(f"{place.source} has no video, so a passage of it has no thumbnail.")
    file = url2pathname(urlsplit(place.source).path) if place.source.startswith("file:") else place.source
    middle = (place.start + place.end) / 2
    image = thumbnail_at(Path(file), middle, side=side)
    if not image:
        raise UnreadableMediaError(f"{place.source} shows no image at {clock(middle)}.")
    return image
