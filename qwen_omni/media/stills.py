"""Look at one picture with Pillow. The only module of the core that imports it; `media.probe` loads it when needed."""

from typing import IO

from PIL import ExifTags, Image

from qwen_omni.errors import MediaDoesNotFitError, QwenOmniError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.scratch import machine_fault

_PLUGINS = {
    "bmp": "BMP",
    "jpeg": "JPEG",
    "png": "PNG",
    "gif": "GIF",
    "tiff": "TIFF",
    "webp": "WEBP",
    "heic": "HEIF",  # registered by the package pillow-heif, if the program has it
    "avif": "AVIF",
}
_CLOCKWISE = {3: 180, 4: 180, 5: 90, 6: 90, 7: 270, 8: 270}  # EXIF 2.3, tag 0x0112; mirrored ones turn alike
_BOMB_PIXELS = 89_478_485  # Pillow's own limit: a quarter of a GiB at three bytes each


def probe_still(file: IO[bytes], *, container: str, size_bytes: int, label: str) -> MediaInfo:
    """Decode one picture wholly, so that a cut one is found here and not by the service.

    Raises:
        UnreadableMediaError: damaged or cut.
        UnsupportedMediaError: no codec for it is installed.
        MediaDoesNotFitError: more pixels than are safe to decode.
    """
    plugin = _plugin(container, label)
    try:
        with Image.open(file, formats=(plugin,)) as image:
            _check_pixels(image.width, image.height, label)
            image.load()
            rotation = _CLOCKWISE.get(image.getexif().get(ExifTags.Base.Orientation, 1), 0)
            width, height = image.size
    except QwenOmniError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise _bomb(label, 2 * _BOMB_PIXELS) from None
    except Exception as error:  # Pillow's plugins raise anything for damaged bytes
        fault = machine_fault(error, f"read {label}")
        if fault is not None:
            raise fault from error
        raise UnreadableMediaError(
            f"{label} begins like a {container} picture but is damaged or cut: {str(error) or type(error).__name__}."
        ) from None
    if rotation in (90, 270):
        width, height = height, width
    return MediaInfo(
        kind="image",
        container=container,
        media_type=f"image/{container}",
        size_bytes=size_bytes,
        width=width,
        height=height,
        rotation=rotation,
    )


def _plugin(container: str, label: str) -> str:
    plugin = _PLUGINS[container]
    Image.init()
    if plugin not in Image.OPEN:
        package = " Install pillow-heif and call its register_heif_opener(), or" if container == "heic" else ""
        raise UnsupportedMediaError(
            f"{label} is a {container.upper()} picture and no codec for it is installed.{package} save it as JPEG."
        )
    return plugin


def _check_pixels(width: int, height: int, label: str) -> None:
    if width * height > _BOMB_PIXELS:
        raise _bomb(label, width * height)


def _bomb(label: str, pixels: int) -> MediaDoesNotFitError:
    return MediaDoesNotFitError(
        f"{label} has {pixels:,} pixels; at most {_BOMB_PIXELS:,} are decoded, since a small file can ask for all "
        "memory. Make it smaller; the service looks at a few million at most.",
        limit=_BOMB_PIXELS,
        actual=pixels,
    )
