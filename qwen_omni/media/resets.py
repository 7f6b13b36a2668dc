"""Packets at which a decoder may forget all before. Pure: bytes in, a decision out; `transcode_picture` decodes.

Nothing at or behind such a packet refers to anything before it, so what comes last before it and is not wanted need
not be decoded at all. A key frame alone is no proof: films with open groups or a gradual refresh have key frames
whose followers refer across them. For H.264 and HEVC the kind of the picture is read from the packet (ITU-T H.264
and H.265, NAL unit types); key frames of VP8, VP9 and AV1 always clear everything.
"""

from collections.abc import Iterator

_CLEARING = frozenset({"vp8", "vp9", "av1"})
_H264_PICTURES, _H264_IDR = range(1, 6), 5
_HEVC_PICTURES, _HEVC_IDR = range(32), (19, 20)
_NAL_CODECS = frozenset({"h264", "hevc"})
_MOST_UNITS = 64  # looked at; the first picture comes behind a few headers


def resets(codec: str, data: bytes, length_bytes: int) -> bool:
    """Tell whether the key frame in `data` clears everything before it.

    Args:
        codec: FFmpeg's name of it.
        data: of the packet.
        length_bytes: how many bytes tell the length of a NAL unit; 0 where start codes part them.

    Example:
        >>> resets("h264", bytes([0, 0, 0, 2, 0x65, 0x88]), 4)
        True
    """
    if codec not in _NAL_CODECS:
        return codec in _CLEARING
    first = next((kind for kind in _kinds(codec, data, length_bytes) if kind in _pictures(codec)), None)
    return first == _H264_IDR if codec == "h264" else first in _HEVC_IDR


def length_bytes_of(codec: str, extradata: bytes | None) -> int:
    """Read from a stream's parameters (avcC, hvcC) how NAL units are parted; 0 means start codes."""
    if not extradata or extradata[0] != 1:
        return 0
    at = {"h264": 4, "hevc": 21}.get(codec)
    return 0 if at is None or len(extradata) <= at else (extradata[at] & 3) + 1


def _pictures(codec: str) -> range:
    return _H264_PICTURES if codec == "h264" else _HEVC_PICTURES


def _kinds(codec: str, data: bytes, length_bytes: int) -> Iterator[int]:
    for count, at in enumerate(_starts(data, length_bytes)):
        if count >= _MOST_UNITS or at >= len(data):
            return
        yield data[at] & 0x1F if codec == "h264" else data[at] >> 1 & 0x3F


def _starts(data: bytes, length_bytes: int) -> Iterator[int]:
    """Give where NAL units begin."""
    at = 0
    if length_bytes:
        while at + length_bytes < len(data):
            yield at + length_bytes
            at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
        return
    while (at := data.find(b"\0\0\1", at)) >= 0:
        at += 3
        yield at
