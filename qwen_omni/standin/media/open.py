"""Open untrusted bytes as a single plain media file, and nothing else.

Only the containers that the service documents are tried, and no file, playlist entry or address named
inside one is ever followed. One of the three modules that use PyAV.
"""

from __future__ import annotations

import io
from typing import TYPE_CHECKING

import av

if TYPE_CHECKING:
    from av.container import InputContainer

# Model Studio documentation, Qwen-Omni page, 2026-09-18. Names are FFmpeg's demuxers.
VIDEO_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,avi,matroska,webm,flv,asf"
AUDIO_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,wav,mp3,aac,amr,amrnb,amrwb,flac"
_NO_PROTOCOL = "none"


class UnreadableMediaError(Exception):
    """The bytes are not media of the expected kind."""


def open_media(data: bytes, containers: str) -> InputContainer:
    """Open `data` as one of `containers`.

    Raises:
        UnreadableMediaError: The bytes are something else, or damaged at the beginning.
    """
    limits = {"format_whitelist": containers, "protocol_whitelist": _NO_PROTOCOL}
    try:
        return av.open(io.BytesIO(data), "r", container_options=limits)
    except (av.FFmpegError, ValueError, EOFError) as error:
        raise UnreadableMediaError(str(error)) from error


def origin(container: InputContainer) -> float:
    """Return the second at which the container's timeline begins; all times are relative to it."""
    return float(container.start_time or 0) / av.time_base
