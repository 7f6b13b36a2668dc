"""The first bytes of a file → what it is. Pure; the name of a file is never asked.

`recognise` knows the beginnings of media files; `describe` tells a person what something else looks like. The
files that matter most here are lists that name other files (HLS, DASH, concat): they are text, and text is
refused before a media library sees it.
"""

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

SILK_MARK = b"#!SILK_V3"
"""Begins a SILK recording; WeChat and QQ put one byte (0x02) before it."""

SILK_RATE = 24_000
"""Samples per second that SILK is decoded to: its own highest."""

ANIMATED = frozenset({"gif", "png", "webp", "avif"})
"""Kinds of pictures that may be animations."""

HEAD_BYTES = 4096
"""How many bytes from the start are enough for both functions."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A known beginning: pictures are read as `still`, sound and video as `stream`, `packed` is unpacked first."""

    container: str
    group: Literal["still", "stream", "packed"]


_STILLS = (
    (b"\xff\xd8\xff", "jpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"GIF8", "gif"),
    (b"II*\0", "tiff"),
    (b"MM\0*", "tiff"),
    (b"II+\0", "tiff"),  # BigTIFF
    (b"MM\0+", "tiff"),
    (b"\0\0\0\x0cjP  \r\n\x87\n", "jpeg2000"),
    (b"\xff\x4f\xff\x51", "jpeg2000"),
    (b"qoif", "qoi"),
    (b"icns", "icns"),
    (b"DDS ", "dds"),
    (b"8BPS\0\x01", "psd"),
)
_STREAMS = (
    (b"FLV\x01", "flv"),
    (b"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wmv"),
    (b"OggS", "ogg"),
    (b"fLaC", "flac"),
    (b"#!AMR", "amr"),
    (b"caff", "caf"),
    (b"RF64", "wav"),
    (b"\0\0\x01\xba", "mpeg"),
    (b"ID3", "mp3"),
    (b"YUV4MPEG2 ", "y4m"),
    (b"#?RADIANCE\n", "hdr"),
    (b"NIST_1A\n", "nistsphere"),
    (b"\xff\xd8\xff\xf7", "jpegls"),
)
_OTHER = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "a database"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL picture"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-Zip archive"),
    (b"Rar!", "a RAR archive"),
    (b"BZh", "a bzip2 archive"),
    (b"\xfd7zXZ\0", "an xz archive"),
    (b"(\xb5/\xfd", "a Zstandard archive"),
    (b"\xca\xfe\xba\xbe", "a program"),
    (b"\xcf\xfa\xed\xfe", "a program"),
    (b"\xd0\xcf\x11\xe0", "an old office document"),
    (b"SIMPLE  =", "a FITS table"),
    (b"%!PS", "a PostScript document"),
    (b"!<arch>", "an archive of object files or a Debian package"),
    (b"wOFF", "a font"),
    (b"OTTO", "a font"),
)
_TEXTS = (
    (r"#EXTM3U", "an HLS playlist, which only names other files"),
    (r"ffconcat version", "an ffconcat list, which only names other files"),
    (r";FFMETADATA", "an FFmpeg metadata file"),
    (r"v=0\s+o=", "an SDP session description"),
    (r"version https://git-lfs", "a Git LFS pointer; fetch the file itself with `git lfs pull`"),
    (r"WEBVTT", "subtitles"),
    (r"(?s).*<MPD\b", "a DASH manifest, which only names other files"),
    (r"(?s).*<svg\b", "an SVG drawing"),
    (r"(?is)\s*<(!doctype )?html", "a web page"),
    (r"\s*[\[{]", "text (perhaps JSON)"),
)
_HEIC_BRANDS = (b"heic", b"heix", b"hevc", b"hevx", b"heim", b"heis", b"mif1", b"msf1")
_MP4_BOXES = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_BMP_HEADERS = (12, 16, 40, 52, 56, 64, 108, 124)  # sizes of the known bitmap headers
_TS_PACKET = 188
_SILK_PACKET = Fraction(20, 1000)  # seconds
_SILK_END = 0xFFFF  # length of a packet that ends the recording
_PNM = re.compile(rb"P[1-6]\s")
_PCX = re.compile(rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", re.DOTALL)
# No text, a palette or none, a known coding, begun at the corner, whole bytes a pixel.
_TARGA = re.compile(rb"\0[\0\1][\1-\3\x09-\x0b].{5}\0{4}.{4}[\x08\x10\x18\x20][\0-\x3f]", re.DOTALL)
_MOST_ICONS = 256
_NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"  # one ends, the next begins
_FEWEST_JPEGS = 2
_MPF = b"MPF\0"


def recognise(head: bytes) -> Signature | None:
    """Name the media format that begins with these bytes; `None` if no known one does."""
    for start, container in _STREAMS:
        if head.startswith(start):
            return Signature(container, "stream")
    for start, container in _STILLS:
        if head.startswith(start):
            return Signature(container, "still")
    if head.startswith((SILK_MARK, b"\x02" + SILK_MARK)):
        return Signature("silk", "packed")
    return _boxed(head) or _chunked(head) or _synchronised(head) or _drawn(head)


def is_motion_jpeg(start: bytes) -> bool:
    """Whether a file that begins with a JPEG goes on with others: a video, not a photo.

    Photos of several views or of high dynamic range (MPF) hold others, too, and say so.

    Args:
        start: the first part of the file, the longer the surer.
    """
    return _MPF not in start and start.count(_NEXT_JPEG) >= _FEWEST_JPEGS


def is_targa(head: bytes, end: bytes) -> bool:
    """Whether a file is a TGA picture: newer ones have their mark at the end, older ones only a plausible header."""
    return end.endswith(b"TRUEVISION-XFILE.\0") or bool(_TARGA.match(head))


def refused(head: bytes) -> str | None:
    """Name what begins with these bytes if no media library shall see it: lists of other files, text, programs.

    Everything else is left to FFmpeg, which knows more kinds of media than any table.

    Example:
        >>> refused(b"#EXTM3U"), refused(bytes([1, 2, 3]))
        ('an HLS playlist, which only names other files', None)
    """
    if any(head.startswith(start) for start, _ in _OTHER) or as_text(head) is not None:
        return describe(head)
    return None


def describe(head: bytes) -> str:
    """Say what bytes that are no media look like.

    Example:
        >>> describe(b"#EXTM3U")
        'an HLS playlist, which only names other files'
    """
    if not head.strip(b"\0"):
        return "zero bytes only"
    named = next((name for start, name in _OTHER if head.startswith(start)), None)
    if named is not None:
        return named
    text = as_text(head)
    if text is None:
        return "data of an unknown kind"
    return next((name for pattern, name in _TEXTS if re.match(pattern, text)), "text")


def as_text(head: bytes) -> str | None:
    """Read the bytes as text, without a byte order mark; `None` if they are something else."""
    encoding = "utf-16" if head.startswith((b"\xff\xfe", b"\xfe\xff")) else "utf-8-sig"
    text = head.decode(encoding, "ignore")
    lost = len(head.decode(encoding, "replace")) - len(text)
    odd = sum(1 for character in text if not character.isprintable() and character not in "\t\n\r\f")
    return text if text and odd == 0 and lost <= 1 else None  # one character may be cut at the end of the head


def silk_seconds(data: bytes) -> Fraction | None:
    """Return how long a SILK recording is, by its packets; `None` if its bytes end inside a packet."""
    at = data.find(SILK_MARK) + len(SILK_MARK)
    packets = 0
    while at + 2 <= len(data):
        length = int.from_bytes(data[at : at + 2], "little")
        if length == _SILK_END:
            break
        at += 2 + length
        packets += 1
    return packets * _SILK_PACKET if packets and at <= len(data) else None


def _boxed(head: bytes) -> Signature | None:
    """MP4, QuickTime, 3GP, HEIC, AVIF: the first box tells its kind at byte 4."""
    if head[4:8] in _MP4_BOXES:
        return Signature("mov", "stream")
    if head[4:8] != b"ftyp":
        return None
    brand = head[8:12]
    if brand in _HEIC_BRANDS:
        return Signature("heic", "still")
    if brand in (b"avif", b"avis"):
        return Signature("avif", "still")
    if brand[:3] in (b"3gp", b"3g2", b"3ge", b"3gg"):
        return Signature("3gp", "stream")
    return Signature({b"qt  ": "mov", b"M4A ": "m4a", b"M4B ": "m4a"}.get(brand, "mp4"), "stream")


def _chunked(head: bytes) -> Signature | None:
    """RIFF, IFF and EBML files: the kind stands a little behind the start."""
    if head.startswith(b"RIFF"):
        kind = {b"WEBP": Signature("webp", "still"), b"WAVE": Signature("wav", "stream")}
        return kind.get(head[8:12]) or (Signature("avi", "stream") if head[8:11] == b"AVI" else None)
    if head.startswith(b"FORM") and head[8:11] == b"AIF":
        return Signature("aiff", "stream")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return Signature("webm" if b"\x42\x82\x84webm" in head[:80] else "mkv", "stream")
    return None


def _drawn(head: bytes) -> Signature | None:
    """Pictures whose mark is short, so that a second look at their header is needed."""
    if _PNM.match(head):
        return Signature("pnm", "still")
    if _PCX.match(head):
        return Signature("pcx", "still")
    if head.startswith(b"\0\0\x01\0") and 0 < int.from_bytes(head[4:6], "little") < _MOST_ICONS and head[9:10] == b"\0":
        return Signature("ico", "still")
    return None


def _synchronised(head: bytes) -> Signature | None:
    """Formats known by the pattern of their frames, and bitmaps, whose own mark is only two letters."""
    if len(head) > 18 and head.startswith(b"BM") and int.from_bytes(head[14:18], "little") in _BMP_HEADERS:  # noqa: PLR2004
        return Signature("bmp", "still")
    if len(head) > _TS_PACKET and head[0] == head[_TS_PACKET] == 0x47:  # noqa: PLR2004
        return Signature("mpegts", "stream")
    if len(head) > 4 and head[0] == 0xFF:  # noqa: PLR2004
        if head[1] & 0xF6 == 0xF0:  # noqa: PLR2004
            return Signature("aac", "stream")
        # Layer I is left out: nobody has such files, and UTF-16 text begins like one.
        if head[1] & 0xE0 == 0xE0 and head[1] & 0x06 in (2, 4) and head[2] >> 4 != 0xF:  # noqa: PLR2004
            return Signature("mp3", "stream")
    return None
