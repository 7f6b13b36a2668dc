"""One image, read with Pillow: a single image, a file of several pages, or an animation. `probe` loads it."""

import io
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import IO

from PIL import ExifTags, Image, UnidentifiedImageError

from qwen_omni.errors import MediaDoesNotFitError, QwenOmniError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.info import Colours, MediaInfo, MediaKind

_PLUGINS = {
    "bmp": "BMP",
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "tiff": "TIFF",
    "webp": "WEBP",
    "heic": "HEIF",  # registered by the package pillow-heif: the extra `heic`
    "avif": "AVIF",
    "jpeg2000": "JPEG2000",
    "qoi": "QOI",
    "pnm": "PPM",
    "pcx": "PCX",
    "tga": "TGA",
    "ico": "ICO",
    "icns": "ICNS",
    "dds": "DDS",
    "psd": "PSD",
}
_ANIMATED = frozenset({"gif", "png", "webp", "avif"})
_PAGED = frozenset({"tiff"})
_CLOCKWISE = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # EXIF 2.3, tag 0x0112; mirrored ones are turned alike
_MIRRORED = (2, 4, 5, 7)
_PNG_HEAD = 8  # bytes of its signature
_TEXTS = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")
_BOMB_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB at three bytes each
_MOST_CANVAS = 7680 * 4320  # of an animation, of which several frames are held at once
_MOST_FRAMES = 20_000
_ANIMATION_SECONDS = 50.0  # less than the limit of `probe.TimedFile`, whose error is worded for a single image
_LONGEST_DELAY = 3600  # seconds; `media.encode.frames` holds no frame longer
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_PRINT = ("CMYK", "LAB", "YCbCr", "HSV")
_CLEAR = ("RGBA", "LA", "PA", "La", "RGBa")
_OPAQUE = 255
_NEW_SUBFILE_TYPE, _OLD_SUBFILE_TYPE = 254, 255  # TIFF 6.0, section 8
_NOT_A_PAGE = 0b101  # bits of the first: a smaller copy of another page, a mask
_SMALLER_COPY = 2  # of the second
# Browsers show a frame that claims 10 ms or less for 100 ms (Blink and Gecko alike; AVIF is exempt as real video).
_SHORTEST_DELAY, _USUAL_DELAY = Fraction(10), Fraction(100)  # milliseconds


def probe_image(file: IO[bytes], *, container: str, size_bytes: int, label: str, frame: int | None = None) -> MediaInfo:
    """Decode one image completely, so that a truncated one is found here and not by the service.

    An animation is a video, unless `frame` chooses one of its frames; for a TIFF of several pages their sizes are read.

    Raises:
        UnreadableMediaError: damaged or truncated.
        UnsupportedMediaError: no codec for it is installed.
        MediaDoesNotFitError: more pixels than are safe to decode, or fewer frames than `frame` asks for.
    """
    try:
        with open_image(file, container, label) as image:
            without_text = isinstance(getattr(image, "fp", None), _WithoutText)
            shape = _Shape(image, container, label)
            if frame is None and shape.animated:
                return _animation(image, shape, size_bytes, label)
            if frame is not None:
                shape.check(frame, label)
                image.seek(shape.frames[frame])
            info = _image_info(image, shape, size_bytes, label, frame)
            return replace(info, much_text=without_text)
    except QwenOmniError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise _bomb(label, _claimed_pixels(error)) from None
    except Exception as error:  # Pillow's plugins raise arbitrary errors for damaged bytes
        fault = machine_fault(error, f"read {label}")
        if fault is not None:
            raise fault from error
        if isinstance(error, UnidentifiedImageError):
            raise UnreadableMediaError(
                f"{label} begins like a {container} image but is damaged or truncated, or of an unsupported "
                "kind. Save it as PNG or JPEG."
            ) from None
        raise UnreadableMediaError(
            f"{label} begins like a {container} image but is damaged or truncated: "
            f"{str(error) or type(error).__name__}."
        ) from None


def open_image(file: IO[bytes], container: str, label: str) -> Image.Image:
    """Open an image of a known kind, and no other; nothing is decoded yet.

    Raises:
        UnsupportedMediaError: no codec for it is installed.
        MediaDoesNotFitError: more pixels than are safe to decode.
    """
    formats = (_plugin(container, label),)
    try:
        image = Image.open(file, formats=formats)
    except ValueError:
        if container != "png":
            raise
        file.seek(0)  # Pillow refuses text or a profile of over a megabyte; generators and editors write them
        image = Image.open(_without_text(file), formats=formats)
    check_pixels(image, label)
    return image


class _WithoutText(io.BytesIO):
    """A PNG whose text was omitted."""


def _without_text(file: IO[bytes]) -> IO[bytes]:
    """Copy a PNG without its text and colour profile (W3C PNG, 11.3.2 and 11.3.3), which it can be shown without."""
    copy = _WithoutText()
    copy.write(file.read(_PNG_HEAD))
    while len(head := file.read(8)) == 8:  # noqa: PLR2004 - length and type of a chunk
        rest = int.from_bytes(head[:4]) + 4  # its data and checksum
        if head[4:] in _TEXTS:
            file.seek(rest, 1)
        else:
            copy.write(head)
            copy.write(file.read(rest))
    copy.seek(0)
    return copy


def check_pixels(image: Image.Image, label: str) -> None:
    """Refuse an image that could take all memory.

    Raises:
        MediaDoesNotFitError: more pixels than are safe to decode.
    """
    if image.width * image.height > _BOMB_PIXELS:
        raise _bomb(label, image.width * image.height)


def pages_of(image: Image.Image, container: str, label: str) -> tuple[int, ...]:
    """Return where the pages or frames of an image lie in its file, in order; 0 alone for most.

    Raises:
        MediaDoesNotFitError: more than are decoded.
    """
    return _Shape(image, container, label).frames


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One whole frame of an animation, and when it is shown, in seconds from the start."""

    image: Image.Image
    begin: Fraction
    end: Fraction


def frames_of(image: Image.Image, container: str, label: str) -> Iterator[Frame]:
    """Decode the frames of an animation in order, each as a whole image, once through."""
    begin = Fraction(0)
    for at in pages_of(image, container, label):
        image.seek(at)
        image.load()
        end = begin + _delay(image, container) / 1000
        yield Frame(image=image, begin=begin, end=end)
        begin = end


def _delay(image: Image.Image, container: str) -> Fraction:
    """Return for how many milliseconds the current frame is shown."""
    stated = Fraction(image.info.get("duration") or 0).limit_denominator(1000)
    return stated if stated > _SHORTEST_DELAY or (container == "avif" and stated > 0) else _USUAL_DELAY


class _Shape:
    """What a file of one or several images holds: pages, frames of an animation, or one image."""

    def __init__(self, image: Image.Image, container: str, label: str) -> None:
        self.container = container
        count = getattr(image, "n_frames", 1) if container in _ANIMATED | _PAGED else 1
        first = 0
        if container == "png" and image.info.get("default_image"):
            first = 1  # shown only by decoders that cannot animate
        if container in _PAGED and count > 1:
            self._check_count(count, "pages", label, "Split it, or choose one with frame=0.")
            self.frames = tuple(at for at in range(count) if _is_page(image, at)) or (0,)
            image.seek(self.frames[0])
        else:
            self.frames = tuple(range(first, count)) if count > first + 1 else (0,)
            self._check_count(len(self.frames), "frames", label, "Convert it to MP4 first.")

    @staticmethod
    def _check_count(count: int, what: str, label: str, step: str) -> None:
        if count > _MOST_FRAMES:
            raise MediaDoesNotFitError(
                f"{label} has {count:,} {what}; at most {_MOST_FRAMES:,} are decoded. {step}",
                limit=_MOST_FRAMES,
                actual=count,
            )

    @property
    def animated(self) -> bool:
        return self.container in _ANIMATED and len(self.frames) > 1

    def check(self, frame: int, label: str) -> None:
        if not 0 <= frame < len(self.frames):
            raise MediaDoesNotFitError(
                f"{label} has {len(self.frames):,} frame{'s' * (len(self.frames) > 1)}; there is no frame {frame}. "
                f"Choose one from 0 to {len(self.frames) - 1}.",
                limit=len(self.frames) - 1,
                actual=frame,
            ).with_option("frame")


def _is_page(image: Image.Image, at: int) -> bool:
    image.seek(at)
    tags = getattr(image, "tag_v2", {})
    return not (int(tags.get(_NEW_SUBFILE_TYPE, 0)) & _NOT_A_PAGE or tags.get(_OLD_SUBFILE_TYPE) == _SMALLER_COPY)


def _image_info(image: Image.Image, shape: _Shape, size_bytes: int, label: str, frame: int | None) -> MediaInfo:
    check_pixels(image, label)
    orientation = _orientation(image)  # before Pillow decodes: decoding turns a TIFF and discards its orientation
    image.load()
    pages: tuple[tuple[int, int], ...] = ()
    size, colours = _shown(image), _colours(image)
    if frame is None and shape.container in _PAGED and len(shape.frames) > 1:
        pages = tuple(_page(image, at, label) for at in shape.frames)
    return replace(
        _facts("image", shape, size_bytes, size),
        rotation=_CLOCKWISE.get(orientation, 0),
        mirrored=orientation in _MIRRORED,
        colours=colours,
        page=frame if len(shape.frames) > 1 else None,
        pages=pages,
    )


def _page(image: Image.Image, at: int, label: str) -> tuple[int, int]:
    image.seek(at)
    check_pixels(image, label)
    return _shown(image)


def _animation(image: Image.Image, shape: _Shape, size_bytes: int, label: str) -> MediaInfo:
    _check_canvas(image, label)
    duration, shortest, until = Fraction(0), Fraction(_LONGEST_DELAY), time.monotonic() + _ANIMATION_SECONDS
    for number, frame in enumerate(frames_of(image, shape.container, label)):
        delay = frame.end - frame.begin
        if delay > _LONGEST_DELAY:
            raise MediaDoesNotFitError(
                f"{label} is an animation that shows frame {number} for {float(delay):,.0f} s; at most "
                f"{_LONGEST_DELAY:,} s per frame is accepted. Shorten that delay, or choose one frame with frame=0.",
                limit=_LONGEST_DELAY,
                actual=float(delay),
            )
        if time.monotonic() > until and number + 1 < len(shape.frames):
            raise MediaDoesNotFitError(
                f"{label} is an animation of {image.width:,} by {image.height:,} pixels; only {number + 1:,} of its "
                f"{len(shape.frames):,} frames were decoded in {_ANIMATION_SECONDS:g} s. Convert it to MP4 first.",
                limit=number + 1,
                actual=len(shape.frames),
            )
        duration, shortest = frame.end, min(shortest, delay)
    return replace(
        _facts("video", shape, size_bytes, image.size),
        duration=duration,
        video_duration=duration,
        fps=1 / shortest,  # the rate at which every frame is included
        frame_count=len(shape.frames),
        video_codec=shape.container,
        unpacked=True,
    )


def _facts(kind: MediaKind, shape: _Shape, size_bytes: int, size: tuple[int, int]) -> MediaInfo:
    return MediaInfo(
        kind=kind,
        container=shape.container,
        media_type=f"image/{shape.container}",
        size_bytes=size_bytes,
        width=size[0],
        height=size[1],
    )


def _check_canvas(image: Image.Image, label: str) -> None:
    pixels = image.width * image.height
    if pixels > _MOST_CANVAS:
        raise MediaDoesNotFitError(
            f"{label} is an animation of {image.width:,} by {image.height:,} pixels, {pixels:,} in all; at most "
            f"{_MOST_CANVAS:,} (8K) are decoded. Make it smaller, convert it to MP4 first, or choose one frame with "
            "frame=0.",
            limit=_MOST_CANVAS,
            actual=pixels,
        )


def _orientation(image: Image.Image) -> int:
    """Return the orientation of an image that is not decoded yet, in EXIF's numbers."""
    found = image.getexif().get(ExifTags.Base.Orientation, 1)
    return found if isinstance(found, int) else 1


def _shown(image: Image.Image) -> tuple[int, int]:
    """Return the size of an image as it is shown; Pillow returns that of a TIFF by itself."""
    sideways = image.format != "TIFF" and _CLOCKWISE.get(_orientation(image)) in (90, 270)
    return image.size[::-1] if sideways else image.size


def _colours(image: Image.Image) -> Colours:
    if image.mode in _DEEP:
        return "deep"
    if image.mode in _PRINT and image.format != "JPEG":
        return "print"
    if image.mode == "CMYK":
        return "print"
    return "transparent" if is_see_through(image) else "plain"


def is_see_through(image: Image.Image) -> bool:
    """Whether parts of a decoded image are transparent; it may have an alpha channel that is opaque everywhere."""
    if image.mode not in _CLEAR and "transparency" not in image.info:
        return False
    clear = image.convert("RGBA")
    lowest = clear.getchannel("A").getextrema()[0]
    return isinstance(lowest, (int, float)) and lowest < _OPAQUE


def _plugin(container: str, label: str) -> str:
    plugin = _PLUGINS[container]
    Image.init()
    if container == "heic" and plugin not in Image.OPEN:
        _register_heif(label)
    if plugin not in Image.OPEN:
        raise UnsupportedMediaError(
            f"{label} is a {container.upper()} image and no codec for it is installed. Save it as JPEG."
        )
    return plugin


def _register_heif(label: str) -> None:
    try:
        from pillow_heif import register_heif_opener  # noqa: PLC0415 - an extra; loads on first use
    except ImportError:
        raise UnsupportedMediaError(
            f"{label} is a HEIC image and its codec (pillow-heif) is not installed. Run "
            "`pip install 'qwen-omni[heic]'`, or save it as JPEG."
        ) from None
    register_heif_opener()


def _claimed_pixels(error: Exception) -> int:
    """Read the number of pixels from Pillow's refusal: "Image size (900000000 pixels) exceeds limit of ..."."""
    claimed = re.search(r"\d+", str(error))
    return int(claimed[0]) if claimed else 2 * _BOMB_PIXELS


def _bomb(label: str, pixels: int) -> MediaDoesNotFitError:
    return MediaDoesNotFitError(
        f"{label} has {pixels:,} pixels; at most {_BOMB_PIXELS:,} are decoded, since a small file can take all "
        "memory. Make it smaller; the service uses a few million at most.",
        limit=_BOMB_PIXELS,
        actual=pixels,
    )
