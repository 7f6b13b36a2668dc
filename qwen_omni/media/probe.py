"""Look at an open file and tell what it is. Decides by content; the name of a file is never asked.

Sound and video are read by `media.streams` (PyAV), pictures by `media.stills` (Pillow); both load on first use,
so that `import qwen_omni` stays cheap. Nothing outside the given file object is ever opened or fetched.
"""

import io
from typing import IO

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.info import AudioTrackChoice, MediaInfo
from qwen_omni.media.scans import bounded_still
from qwen_omni.media.signatures import HEAD_BYTES, as_text, describe, recognise


def probe(
    file: IO[bytes], *, label: str, media_type_hint: str | None = None, audio_track: AudioTrackChoice = "auto"
) -> MediaInfo:
    """Find out what an open, seekable binary file holds.

    A picture, or sound that comes alone, is really decoded, but for an MP4 of H.264 whose headers tell everything. What
    is sent as it is, is decoded a little before in any case (`media.prepare`).

    Args:
        file: read from its start; its position afterwards is anywhere.
        label: how to name the media in errors.
        media_type_hint: what the caller believes it to be; told in errors, never trusted.
        audio_track: which of several audio tracks is heard.

    Raises:
        UnreadableMediaError: empty, damaged, or no media; says what it looks like.
        UnsupportedMediaError: a picture whose codec is not installed here, or no such audio track.
        MediaDoesNotFitError: a picture with so many pixels that decoding it would be dangerous.
    """
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if size_bytes == 0:
        raise UnreadableMediaError(f"{label} is empty (0 bytes).")
    signature = recognise(head)
    if signature is None and (as_text(head) is not None or not head.strip(b"\0")):
        raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint))
    if signature is not None and signature.group == "still":
        from qwen_omni.media.stills import probe_still  # noqa: PLC0415 - Pillow loads on first use

        file = bounded_still(file, container=signature.container, label=label)
        return probe_still(file, container=signature.container, size_bytes=size_bytes, label=label)
    from qwen_omni.media.streams import probe_stream  # noqa: PLC0415 - PyAV loads on first use

    begins_as = None if signature is None else signature.container
    try:
        return probe_stream(file, begins_as=begins_as, size_bytes=size_bytes, label=label, audio_track=audio_track)
    except UnreadableMediaError:
        if signature is None:
            raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint)) from None
        raise


def _not_media(label: str, head: bytes, size_bytes: int, hint: str | None) -> str:
    told = f" It was said to be {hint}." if hint else ""
    return f"{label} is not media: its {size_bytes:,} bytes look like {describe(head)}.{told} Name one media file."
