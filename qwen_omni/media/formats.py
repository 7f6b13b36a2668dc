"""Which file formats the service documents, and what it calls them. Pure.

Other formats can often be read here, but the service may not read them; they are refused with the list
of accepted ones. Sources: Model Studio, Qwen-Omni guide, read 2026-09-18 (video, audio); AgentScope's model card,
read 2026-08-22 (images, and flac).
"""

from pathlib import PurePosixPath
from urllib.parse import urlsplit

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.info import MediaInfo

VIDEO_CONTAINERS = frozenset({"mp4", "avi", "mkv", "webm", "mov", "flv", "wmv", "3gp", "m4a"})
"""MP4, AVI, MKV, MOV, FLV, WMV; WebM is a kind of MKV, and 3GP and M4A of MP4."""

IMAGE_CONTAINERS = frozenset({"bmp", "jpeg", "png", "tiff", "webp", "heic"})

_AUDIO_CODECS = {
    "amr": ("amr_nb", "amr_wb"),
    "wav": ("pcm_", "gsm_ms"),
    "3gp": ("amr_nb", "amr_wb", "aac"),
    "aac": ("aac",),
    "mp3": ("mp3",),
    "flac": ("flac",),
}
AUDIO_CONTAINERS = frozenset(_AUDIO_CODECS)


def documented_format(info: MediaInfo, *, name: str) -> str:
    """Return the service's name of a file's format, e.g. `wav`.

    Args:
        info: what the file is.
        name: place and label, for the error.

    Raises:
        UnsupportedMediaError: a container or codec that the service does not document.
    """
    match info.kind:
        case "image":
            _check(info.container in IMAGE_CONTAINERS, f"{name} is a {info.container} image", IMAGE_CONTAINERS, "png")
        case "video":
            _check(info.container in VIDEO_CONTAINERS, f"{name} is {info.container} video", VIDEO_CONTAINERS, "mp4")
        case "audio":
            known = _AUDIO_CODECS.get(info.container, ())
            what = f"{name} is {info.audio_codec} audio in a {info.container} file"
            _check((info.audio_codec or "").startswith(known or ("\0",)), what, AUDIO_CONTAINERS, "wav")
    return info.container


def linked_format(url: str, media_type: str | None) -> str | None:
    """Guess the format of linked audio from the extension of its name, or else from the caller's MIME type.

    Example:
        >>> linked_format("https://host/a.MP3?sign=x.wav", None), linked_format("https://host/a", "audio/wav")
        ('mp3', 'wav')
    """
    ending = PurePosixPath(urlsplit(url).path).suffix.lower().removeprefix(".")
    if ending in AUDIO_CONTAINERS:
        return ending
    subtype = (media_type or "").lower().partition("/")[2].removeprefix("x-").replace("mpeg", "mp3")
    return subtype if subtype in AUDIO_CONTAINERS else None


def _check(taken: bool, what: str, kinds: frozenset[str], instead: str) -> None:
    if not taken:
        raise UnsupportedMediaError(
            f"{what}, which the service does not document; it takes {', '.join(sorted(kinds))}. "
            f"Convert it to {instead}."
        )
