"""One question about one piece of media, as a message: what the command line and tools ask.

Inspects the media only to learn its kind; the client inspects all of it when it sends the message.
"""

import mimetypes
from pathlib import Path
from typing import NoReturn
from urllib.parse import urlsplit

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.budget import DEFAULT_SAMPLING, Sampling
from qwen_omni.media.files.safe_open import open_local
from qwen_omni.media.info import AudioTrackChoice, MediaInfo, MediaKind
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource, as_source, check_page
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, Message, VideoPart, user

_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}


def question(  # noqa: PLR0913 - each keyword is a choice of its own
    media: str,
    text: str,
    *,
    sampling: Sampling = DEFAULT_SAMPLING,
    kind: MediaKind | None = None,
    audio_track: AudioTrackChoice = "auto",
    tile: bool = True,
    frame: int | None = None,
) -> Message:
    """Build the message that asks `text` about `media`, a path or a URL chosen by the program's user.

    Args:
        media: a local path (trusted: it may lie anywhere) or an http, https, oss, file or data URL.
        text: the question.
        sampling: how the service samples an image or video.
        audio_track: which of several audio tracks is used.
        kind: what the media is; read from a local file, guessed from the extension of a link.
        tile: whether a tall or wide image may be sent as several images.
        frame: which frame of an animation, or page of a file, to send as an image, from 0.

    Raises:
        UnreadableMediaError: the file is missing, empty, damaged or not media.
        UnsupportedMediaError: the link does not show its kind, or sampling was requested for audio.
    """
    source = as_source(media)
    kind = "image" if frame is not None else kind or kind_of(source)
    return user(as_part(source, kind, sampling, audio_track, tile=tile, frame=frame), text)


def look(source: MediaSource, media_root: Path = Path()) -> MediaInfo | None:
    """Probe a local source; return `None` for a link, which is not fetched.

    Args:
        source: the source to probe.
        media_root: the folder that sources from messages must lie in: that of the client that will be asked.

    Raises:
        MediaOutsideRootError: it was not chosen by the program and lies outside of `media_root`; it is not opened.
        UnreadableMediaError: the file is missing, empty, damaged or not media.
    """
    if source.url is not None:
        return None
    with open_local(source, media_root) as file:
        return probe(file, label=source.label, media_type_hint=source.media_type)


def kind_of(source: MediaSource, media_root: Path = Path()) -> MediaKind:
    """Return the kind of media of a source; a link is not fetched, so its extension must show the kind.

    Raises:
        UnsupportedMediaError: the link's extension does not show the kind, or it is a page of a video site.
    """
    info = look(source, media_root)
    if info is not None:
        return info.kind
    check_page(source.url or "", name=source.label)
    media_type = source.media_type or mimetypes.guess_type(urlsplit(source.url or "").path)[0] or ""
    kind = _KINDS.get(media_type.partition("/")[0])
    if kind is None:
        raise UnsupportedMediaError(
            f"{source.label} does not show whether it is an image, audio or video; state which."
        )
    return kind


def refuse_track(source: MediaSource, kind: MediaKind) -> NoReturn:
    """Refuse to choose an audio track where there is none to choose from.

    Raises:
        UnsupportedMediaError: always.
    """
    what = "an image" if kind == "image" else "a link, which the service reads unchanged"
    raise UnsupportedMediaError(f"{source.label} is {what}; audio_track= is for local video and audio.")


def as_part(
    source: MediaSource,
    kind: MediaKind,
    sampling: Sampling = DEFAULT_SAMPLING,
    audio_track: AudioTrackChoice = "auto",
    *,
    tile: bool = True,
    frame: int | None = None,
) -> MediaPart:
    """Build the part that shows a source; `tile` and `frame` are for images."""
    if audio_track != "auto" and (kind == "image" or source.url is not None):
        refuse_track(source, kind)
    match kind:
        case "image":
            if sampling.fps is not None:
                raise UnsupportedMediaError(f"{source.label} is an image; fps= is for video.")
            return ImagePart(source=source, sampling=sampling, tile=tile, frame=frame)
        case "video":
            return VideoPart(source=source, sampling=sampling, audio_track=audio_track)
        case "audio":
            if sampling != DEFAULT_SAMPLING:
                raise UnsupportedMediaError(f"{source.label} is audio; fps and pixels are for images and video.")
            return AudioPart(source=source, audio_track=audio_track)
