"""Small JPEG images of moments of a video, for pages and notebooks."""

import base64
import contextlib
import io
from collections.abc import Iterable, Iterator
from pathlib import Path

from qwen_omni.errors import QwenOmniError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.prepare import MediaLook, carry_out, look_at, plan_for
from qwen_omni.media.source import MediaSource

_QUALITY = 60  # of JPEG
_LENGTH = 1.0  # seconds that are decoded for one image


def thumbnails(file: Path, times: Iterable[float], *, side: int, exact: bool = True) -> Iterator[tuple[float, str]]:
    """Yield moments of a local video with their images, as base64; those that cannot be decoded are left out.

    Args:
        file: the video; nothing is yielded if it cannot be read.
        times: seconds of the video.
        side: pixels of the longer side.
        exact: the very moment; if not, the image is the last frame that decodes on its own, which may be some seconds
            earlier, and takes a tenth of the time.
    """
    budget = _budget(side, exact=exact)
    with contextlib.suppress(QwenOmniError, OSError, ValueError):  # names may be links, too long, or no names at all
        if not file.is_file():
            return
        look = look_at(MediaSource.from_path(file, trusted=True))
        if look.info.kind != "video":
            return
        for time in times:
            with contextlib.suppress(QwenOmniError):
                data = _image(look, time, budget)
                if data:
                    yield time, base64.b64encode(data).decode()


def thumbnail_at(file: Path, time: float, *, side: int) -> bytes:
    """Return the image of a moment of a local video as JPEG; empty if the video shows none there.

    Args:
        file: the video.
        time: seconds of the video.
        side: pixels of the longer side.

    Raises:
        MediaError: the file cannot be read.
        LocalResourceError: this machine lacks a resource.
    """
    look = look_at(MediaSource.from_path(file, trusted=True))
    return _image(look, time, _budget(side, exact=True)) if look.info.kind == "video" else b""


def _budget(side: int, *, exact: bool) -> MediaBudget:
    return MediaBudget(name="thumbnail", frames=True, fps=1, long_side=side, short_side=side, key_frames=not exact)


def _image(look: MediaLook, time: float, budget: MediaBudget) -> bytes:
    plan = plan_for(look, budget=budget, start=time, end=time + _LENGTH)
    with carry_out(look, plan) as prepared:
        return _smaller(prepared.jpegs[0].data) if prepared.jpegs else b""


def _smaller(jpeg: bytes) -> bytes:
    """Return an image of about half the size: those for models keep more than a reader sees in a small one."""
    from PIL import Image  # noqa: PLC0415 - loads on first use

    made = io.BytesIO()
    with Image.open(io.BytesIO(jpeg)) as image:
        image.save(made, "JPEG", quality=_QUALITY, optimize=True)
    return made.getvalue()
