"""Make one still picture fit, with Pillow: upright, eight bits, red-green-blue, no larger than planned, JPEG."""

import io
from pathlib import Path

from PIL import Image, ImageOps

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan import Plan
from qwen_omni.media.reopen import Reopenable
from qwen_omni.media.scratch import machine_fault

_QUALITY = 90
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_CLEAR = ("RGBA", "LA", "PA", "La", "RGBa")
_DEEPEST = 255
_BOMB_PIXELS = 89_478_485  # as many as `stills` decodes


def make_picture(source: Reopenable, plan: Plan, path: Path) -> MediaInfo:
    """Write the JPEG that a plan describes. Of an animation the first picture is taken.

    Raises:
        UnreadableMediaError: it is damaged or cut.
    """
    assert plan.picture is not None
    size = plan.picture.size
    try:
        with source.open() as file, Image.open(file) as image:
            _check(image, source.label)
            stored = size[::-1] if plan.picture.rotation in (90, 270) else size
            image.draft("RGB", stored)  # JPEG decodes straight to a half, quarter or eighth where that is enough
            upright = ImageOps.exif_transpose(image)
            plain = _plain(upright)
            if plain.size != size:
                plain = plain.resize(size, Image.Resampling.LANCZOS)
            jpeg = io.BytesIO()
            plain.save(jpeg, "JPEG", quality=_QUALITY, optimize=True)
            path.write_bytes(jpeg.getbuffer())  # Pillow itself does not notice that a full disk took only a part
    except (Image.DecompressionBombError, Image.DecompressionBombWarning, OSError, ValueError, SyntaxError) as error:
        fault = machine_fault(error, f"prepare {source.label}")
        if fault is not None:
            raise fault from error
        raise UnreadableMediaError(f"{source.label} is damaged or cut: {str(error) or type(error).__name__}.") from None
    return MediaInfo(
        kind="image",
        container="jpeg",
        media_type="image/jpeg",
        size_bytes=path.stat().st_size,
        width=size[0],
        height=size[1],
    )


def _check(image: Image.Image, label: str) -> None:
    pixels = image.width * image.height
    if pixels > _BOMB_PIXELS:
        raise MediaDoesNotFitError(
            f"{label} has {pixels:,} pixels; at most {_BOMB_PIXELS:,} are decoded. Make it smaller.",
            limit=_BOMB_PIXELS,
            actual=pixels,
        )


def _plain(image: Image.Image) -> Image.Image:
    """Give eight-bit RGB; what is see-through lies on white."""
    if image.mode in _DEEP:
        return _eight_bits(image).convert("RGB")
    if image.mode in _CLEAR or "transparency" in image.info:
        clear = image.convert("RGBA")
        ground = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return Image.alpha_composite(ground, clear).convert("RGB")
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """Bring deep grey values into 0 to 255; Pillow's own conversion would cut everything above 255 to white."""
    if image.mode == "F":
        low, high = image.getextrema()
        span = (float(high) - float(low)) or 1.0  # type: ignore[arg-type]
        return image.point(lambda value: (value - float(low)) * (255 / span)).convert("L")  # type: ignore[arg-type]
    wide = image.convert("I")
    deepest = wide.getextrema()[1]
    eight_bits = isinstance(deepest, (int, float)) and deepest <= _DEEPEST
    return wide if eight_bits else wide.point(lambda value: value * (1 / 257))
