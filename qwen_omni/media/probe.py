"""Look at an open file and tell what it is. Decides by content; the name of a file is never asked.

Sound and video are read by `media.streams` (PyAV), pictures by `media.stills` (Pillow); both load on first use,
so that `import qwen_omni` stays cheap. Nothing outside the given file object is ever opened or fetched.
"""

import io
from typing import IO

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.info import AudioTrack, AudioTrackChoice, MediaInfo, no_such_track
from qwen_omni.media.scans import bounded_still
from qwen_omni.media.signatures import (
    HEAD_BYTES,
    SILK_RATE,
    Signature,
    describe,
    is_motion_jpeg,
    is_targa,
    recognise,
    refused,
    silk_seconds,
)
from qwen_omni.media.whole import BrokenPromiseError

_SILK = AudioTrack(index=0, codec="silk", sample_rate=SILK_RATE, channels=1)
_FOOTER = 26  # bytes at the end of a TGA picture
_MANY_JPEGS = 8 * 2**20  # bytes that hold several frames of a camera
_LOOKED_FOR = 2**20  # bytes; FFmpeg gives up there, too


def probe(
    file: IO[bytes],
    *,
    label: str,
    media_type_hint: str | None = None,
    audio_track: AudioTrackChoice = "auto",
    frame: int | None = None,
) -> MediaInfo:
    """Find out what an open, seekable binary file holds.

    A picture, or sound that comes alone, is really decoded, but for an MP4 of H.264 whose headers tell everything. What
    is sent as it is, is decoded a little before in any case (`media.prepare`).

    Args:
        file: read from its start; its position afterwards is anywhere.
        label: how to name the media in errors.
        media_type_hint: what the caller believes it to be; told in errors, never trusted.
        audio_track: which of several audio tracks is heard.
        frame: which frame of an animation, or page of a file, to take as a picture, from 0.

    Raises:
        UnreadableMediaError: empty, damaged, or no media; says what it looks like.
        UnsupportedMediaError: a picture whose codec is not installed here, no such audio track, or a frame of something
            without frames.
        MediaDoesNotFitError: a picture with so many pixels that decoding it would be dangerous.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if size_bytes == 0:
        raise UnreadableMediaError(f"{label} is empty (0 bytes).")
    signature = _second_look(file, head, size_bytes)
    if signature is None and (refused(head) or _is_zero(file, size_bytes)):
        raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint))
    if signature is not None and signature.group == "still":
        if isinstance(audio_track, int):
            raise UnsupportedMediaError(f"{label} {no_such_track((), audio_track)}.")
        from qwen_omni.media.stills import probe_still  # noqa: PLC0415 - Pillow loads on first use

        file = bounded_still(file, container=signature.container, label=label)
        return probe_still(file, container=signature.container, size_bytes=size_bytes, label=label, frame=frame)
    if frame is not None:
        raise UnsupportedMediaError(f"{label} is no picture; frame= chooses one of an animation or of several pages.")
    if signature is not None and signature.group == "packed":
        if isinstance(audio_track, int) and audio_track != 0:
            raise UnsupportedMediaError(f"{label} {no_such_track((_SILK,), audio_track)}.")
        return _silk(file, size_bytes, label)
    from qwen_omni.media.streams import probe_stream  # noqa: PLC0415 - PyAV loads on first use

    begins_as = None if signature is None else signature.container
    try:
        return probe_stream(file, begins_as=begins_as, size_bytes=size_bytes, label=label, audio_track=audio_track)
    except BrokenPromiseError as error:
        raise UnreadableMediaError(str(error)) from None
    except UnreadableMediaError:
        if signature is None:
            raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint)) from None
        raise


def _second_look(file: IO[bytes], head: bytes, size_bytes: int) -> Signature | None:
    """Recognise a file, and look further into one whose first bytes do not tell all."""
    signature = recognise(head)
    if signature is None and size_bytes > _FOOTER:
        file.seek(size_bytes - _FOOTER)
        signature = Signature("tga", "still") if is_targa(head, file.read()) else None
    elif signature is not None and signature.container == "jpeg" and is_motion_jpeg(file.read(_MANY_JPEGS)):
        signature = Signature("mjpeg", "stream")
    file.seek(0)
    return signature


def _is_zero(file: IO[bytes], size_bytes: int) -> bool:
    """Whether there are only zero bytes where FFmpeg looks for a beginning; some recordings begin with a few."""
    found = any(file.read(HEAD_BYTES).strip(b"\0") for _ in range(0, min(size_bytes, _LOOKED_FOR), HEAD_BYTES))
    file.seek(0)
    return not found


def _silk(file: IO[bytes], size_bytes: int, label: str) -> MediaInfo:
    seconds = silk_seconds(file.read())
    if seconds is None:
        raise UnreadableMediaError(f"{label} begins like a SILK recording but is cut ({size_bytes:,} bytes).")
    return MediaInfo(
        kind="audio",
        container="silk",
        media_type="audio/silk",
        size_bytes=size_bytes,
        duration=seconds,
        audio_codec="silk",
        sample_rate=SILK_RATE,
        channels=1,
        unpacked=True,
    )


def _not_media(label: str, head: bytes, size_bytes: int, hint: str | None) -> str:
    told = f" It was said to be {hint}." if hint else ""
    return f"{label} is not media: its {size_bytes:,} bytes look like {describe(head)}.{told} Name one media file."
