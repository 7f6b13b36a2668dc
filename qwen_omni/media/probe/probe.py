"""What an open file is, decided by its content; its name is never consulted.

`recognise` knows the first bytes of media files, and `describe` names what else a file may be. Lists that name other
files (HLS, DASH, concat) are text, and text is refused before any media library sees it. Audio and video are read by
`av` (PyAV) and images by `image` (Pillow); both load on first use, so that `import qwen_omni` stays cheap. Nothing
outside the given file object is ever opened or fetched.

The work that an image takes is bounded before it is decoded: a progressive JPEG is decoded once per scan, and a small
file can hold thousands. Pillow cannot be interrupted, but it reads while it decodes, so `TimedFile` stops it there.
"""

import contextlib
import io
import re
import time
from dataclasses import dataclass
from fractions import Fraction
from typing import IO, Literal, cast

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files.safe_open import settled_version
from qwen_omni.media.info import AudioTrack, AudioTrackChoice, MediaInfo, no_such_track
from qwen_omni.media.probe.truncation import BrokenPromiseError
from qwen_omni.media.source import NAME_ONE, FileVersion

SILK_MARK = b"#!SILK_V3"
"""Begins a SILK recording; WeChat and QQ put one byte (0x02) before it."""

SILK_RATE = 24_000
"""Samples per second that SILK is decoded to: its own maximum."""

ANIMATED = frozenset({"gif", "png", "webp", "avif"})
"""Image formats that may be animations."""

HEAD_BYTES = 4096
"""How many bytes from the start are enough for both functions."""


@dataclass(frozen=True, slots=True)
class Signature:
    """A known signature."""

    container: str

    @property
    def group(self) -> Literal["image", "stream", "packed"]:
        """Images are read as `image`, audio and video as `stream`; `packed` is unpacked first."""
        return "image" if self.container in _ONE_IMAGE else "packed" if self.container == "silk" else "stream"


_ONE_IMAGE = frozenset({
    "jpeg", "png", "gif", "tiff", "jpeg2000", "qoi", "icns", "dds", "psd", "heic", "avif", "webp", "pnm", "pcx", "ico",
    "bmp", "tga",
})  # fmt: skip
_STARTS = (  # where several match, the first one counts
    (rb"FLV\x01", "flv"),
    (rb"\x30\x26\xb2\x75\x8e\x66\xcf\x11", "wmv"),
    (rb"OggS", "ogg"),
    (rb"fLaC", "flac"),
    (rb"#!AMR", "amr"),
    (rb"caff", "caf"),
    (rb"RF64", "wav"),
    (rb"\0\0\x01\xba", "mpeg"),
    (rb"ID3", "mp3"),
    (rb"YUV4MPEG2 ", "y4m"),
    (rb"#\?RADIANCE\n", "hdr"),
    (rb"NIST_1A\n", "nistsphere"),
    (rb"\xff\xd8\xff\xf7", "jpegls"),
    (rb"\xff\xd8\xff", "jpeg"),
    (rb"\x89PNG\r\n\x1a\n", "png"),
    (rb"GIF8", "gif"),
    (rb"II[*+]\0|MM\0[*+]", "tiff"),  # and BigTIFF
    (rb"\0\0\0\x0cjP  \r\n\x87\n|\xff\x4f\xff\x51", "jpeg2000"),
    (rb"qoif", "qoi"),
    (rb"icns", "icns"),
    (rb"DDS ", "dds"),
    (rb"8BPS\0\x01", "psd"),
    (rb"\x02?" + SILK_MARK, "silk"),
    # The first box has its type at byte 4, and the brand of the file after that.
    (rb".{4}(?:moov|mdat|wide|free|skip|pnot|ftypqt  )", "mov"),
    (rb".{4}ftyp(?:hei[cxms]|hev[cx]|m[is]f1)", "heic"),
    (rb".{4}ftypavi[fs]", "avif"),
    (rb".{4}ftyp3g[p2eg]", "3gp"),
    (rb".{4}ftypM4[AB] ", "m4a"),
    (rb".{4}ftyp", "mp4"),
    # RIFF, IFF and EBML: the type follows shortly after the start.
    (rb"RIFF.{4}WEBP", "webp"),
    (rb"RIFF.{4}WAVE", "wav"),
    (rb"RIFF.{4}AVI", "avi"),
    (rb"FORM.{4}AIF", "aiff"),
    (rb"\x1a\x45\xdf\xa3.{0,69}?\x42\x82\x84webm", "webm"),
    (rb"\x1a\x45\xdf\xa3", "mkv"),
    # Short signatures, so that the header or the pattern of frames has to match too.
    (rb"BM.{12}[\x0c\x10\x28\x34\x38\x40\x6c\x7c]\0\0\0.", "bmp"),  # the sizes of the known bitmap headers
    (rb"G.{187}G", "mpegts"),
    (rb"\xff[\xf0\xf1\xf8\xf9].{3}", "aac"),
    # Layer I is left out: it is not in use, and UTF-16 text begins like it.
    (rb"\xff[\xe2-\xe5\xea-\xed\xf2-\xf5\xfa-\xfd][^\xf0-\xff].{2}", "mp3"),
    (rb"P[1-6]\s", "pnm"),
    (rb"\x0a[\x00\x02-\x05]\x01[\x01\x02\x04\x08]", "pcx"),
    (rb"\0\0\x01\0[^\0]\0.{3}\0", "ico"),  # at most 255 icons
)
"""The patterns of the first bytes."""

_OTHER = (
    (b"%PDF", "a PDF document"),
    (b"PK\x03\x04", "a ZIP archive or office document"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"\x7fELF", "a program"),
    (b"MZ", "a program"),
    (b"SQLite format 3", "a database"),
    (b"\xff\x0a", "a JPEG XL image"),
    (b"\0\0\0\x0cJXL \r\n\x87\n", "a JPEG XL image"),
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
_PAGE = "a web page"
_PAGE_STEP = (
    "It was probably saved from the address of the page around a video: open the page and download the media file "
    "itself, for example with: yt-dlp -o video.mp4 '<address of the page>'"
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
    (r"(?is)\s*<(!doctype )?html", _PAGE),
    (r"\s*[\[{]", "text (perhaps JSON)"),
)
_SILK_PACKET = Fraction(20, 1000)  # seconds
_SILK_END = 0xFFFF  # length of a packet that ends the recording
# No text, a palette or none, a known encoding, starting at the corner, whole bytes per pixel.
_TARGA = re.compile(rb"\0[\0\1][\1-\3\x09-\x0b].{5}\0{4}.{4}[\x08\x10\x18\x20][\0-\x3f]", re.DOTALL)
_NEXT_JPEG = b"\xff\xd9\xff\xd8\xff"  # one ends, the next begins
_FEWEST_JPEGS = 2
_MPF = b"MPF\0"


def recognise(head: bytes) -> Signature | None:
    """Name the media format that begins with these bytes; `None` if no known one does."""
    found = next((container for start, container in _STARTS if re.match(start, head, re.DOTALL)), None)
    return None if found is None else Signature(found)


def is_motion_jpeg(start: bytes) -> bool:
    """Whether a file that begins with a JPEG continues with others: a video, not a photo.

    Photos of several views or of high dynamic range (MPF) hold others, too, and say so.

    Args:
        start: the first part of the file; the longer, the more reliable.
    """
    return _MPF not in start and start.count(_NEXT_JPEG) >= _FEWEST_JPEGS


def is_targa(head: bytes, end: bytes) -> bool:
    """Whether a file is a TGA image: newer ones have a signature at the end, older ones only a plausible header."""
    return end.endswith(b"TRUEVISION-XFILE.\0") or bool(_TARGA.match(head))


def refused(head: bytes) -> str | None:
    """Name what begins with these bytes if no media library may see it: lists of other files, text, programs.

    Everything else is left to FFmpeg, which knows more kinds of media than any table.

    Example:
        >>> refused(b"#EXTM3U"), refused(bytes([1, 2, 3]))
        ('an HLS playlist, which only names other files', None)
    """
    if any(head.startswith(start) for start, _ in _OTHER) or as_text(head) is not None:
        return describe(head)
    return None


def describe(head: bytes) -> str:
    """Return what bytes that are not media look like.

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


MOST_SCANS = 100
"""Scans of a JPEG; encoders write about ten."""
MOST_WORK = 2_000_000_000
"""Pixels times scans: twenty progressive scans of the largest image that is decoded, seconds of work."""
LIMIT_SECONDS = 60.0

_COUNTED_BYTES = 128 * 2**20  # more than any image that the service accepts; beyond that only the time limit applies
_NEXT_MARKER = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_SCAN, _END, _ALONE = 0xDA, 0xD9, frozenset({0x01, *range(0xD0, 0xD9)})


class TimedFile:
    """A file whose reading ends when the time is up. It has no file descriptor that Pillow could read directly."""

    def __init__(self, file: IO[bytes], *, label: str, seconds: float = LIMIT_SECONDS) -> None:
        self._file, self._label, self._seconds = file, label, seconds
        self._until = time.monotonic() + seconds

    def read(self, size: int = -1, /) -> bytes:
        """Read more.

        Raises:
            UnreadableMediaError: the time limit is exceeded.
        """
        if time.monotonic() > self._until:
            raise UnreadableMediaError(
                f"{self._label} could not be decoded within {self._seconds:g} s, far longer than an image takes; it is "
                "probably crafted to be slow. Save it again with another program."
            )
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """Seek to a position in the file."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()


def bounded_image(file: IO[bytes], *, container: str, label: str) -> IO[bytes]:
    """Check how much work an image takes, and return its file for decoding in bounded time.

    Raises:
        MediaDoesNotFitError: a JPEG with too many scans.
    """
    if container == "jpeg":
        start = file.tell()
        scans, pixels = count_scans(file.read(_COUNTED_BYTES))
        file.seek(start)
        most = min(MOST_SCANS, MOST_WORK // max(pixels, 1))
        if scans > most:
            raise MediaDoesNotFitError(
                f"{label} is a JPEG with {scans:,} scans; at most {most:,} are decoded at its size, since each takes "
                "as long as a whole image. Save it again as an ordinary JPEG.",
                limit=most,
                actual=scans,
            )
    return cast("IO[bytes]", TimedFile(file, label=label))  # as much of a file as decoding needs


def count_scans(data: bytes) -> tuple[int, int]:
    """Count the scans of a JPEG and the pixels of its frame; as far as it can be read.

    Example:
        >>> count_scans(bytes.fromhex("ffd8 ffc0 0008 08 0002 0003 00 ffda 0002 11ff0022 ffda 0002 33 ffd9"))
        (2, 6)
    """
    at, scans, pixels = 2, 0, 0
    while (found := _NEXT_MARKER.search(data, at)) is not None:
        marker, at = data[found.end() - 1], found.end()
        if marker == _END:
            break
        if marker in _ALONE:
            continue
        if marker in _FRAMES:
            height, width = (int.from_bytes(data[at + skip : at + skip + 2]) for skip in (3, 5))
            pixels = max(pixels, width * height)
        scans += marker == _SCAN
        at += int.from_bytes(data[at : at + 2])
    return scans, pixels


_SILK = AudioTrack(index=0, codec="silk", sample_rate=SILK_RATE, channels=1)
_FOOTER = 26  # bytes at the end of a TGA image
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
    """Inspect an open, seekable binary file; one that was inspected lately, and has not changed, is not read again.

    An image, or audio without video, is fully decoded, except for an MP4 of H.264 whose headers state everything. Files
    that are sent unchanged are decoded briefly in any case (`media.prepare`).

    Args:
        file: read from its start; its position afterwards is undefined.
        label: name of the media in errors.
        media_type_hint: what the caller believes it to be; shown in errors, never trusted.
        audio_track: which of several audio tracks is used.
        frame: which frame of an animation, or page of a file, to use as an image, from 0.

    Raises:
        UnreadableMediaError: empty, damaged, or not media; says what it looks like.
        UnsupportedMediaError: an image whose codec is not installed here, no such audio track, or a frame of something
            without frames.
        MediaDoesNotFitError: an image with so many pixels that decoding it would be dangerous.
    """
    key = (settled_version(file), media_type_hint, audio_track, frame)
    info = _inspected.get(key)
    if info is None:
        info = _inspect(file, label, media_type_hint, audio_track, frame)
        if key[0] is not None:
            _remember(key, info)
    return info


_Key = tuple[FileVersion | None, str | None, AudioTrackChoice, int | None]
_inspected: dict[_Key, MediaInfo] = {}
_REMEMBERED = 32


def _remember(key: _Key, info: MediaInfo) -> None:
    with contextlib.suppress(KeyError, StopIteration, RuntimeError):  # another thread was faster
        while len(_inspected) >= _REMEMBERED:
            del _inspected[next(iter(_inspected))]
    _inspected[key] = info


def _inspect(
    file: IO[bytes], label: str, media_type_hint: str | None, audio_track: AudioTrackChoice, frame: int | None
) -> MediaInfo:
    size_bytes = file.seek(0, io.SEEK_END)
    file.seek(0)
    head = file.read(HEAD_BYTES)
    file.seek(0)
    if size_bytes == 0:
        raise UnreadableMediaError(f"{label} is empty (0 bytes).")
    signature = _second_look(file, head, size_bytes)
    if signature is None and (refused(head) or _is_zero(file, size_bytes)):
        raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint))
    if signature is not None and signature.group == "image":
        _refuse_track("image", audio_track, label)
        from qwen_omni.media.probe.image import probe_image  # noqa: PLC0415 - Pillow loads on first use

        file = bounded_image(file, container=signature.container, label=label)
        return probe_image(file, container=signature.container, size_bytes=size_bytes, label=label, frame=frame)
    if frame is not None:
        raise UnsupportedMediaError(
            f"{label} is not an image; frame= chooses one of an animation or of several pages."
        ).with_option("frame")
    if signature is not None and signature.group == "packed":
        _refuse_track("packed", audio_track, label)
        return _silk(file, size_bytes, label)
    from qwen_omni.media.probe.av import probe_stream  # noqa: PLC0415 - PyAV loads on first use

    begins_as = None if signature is None else signature.container
    try:
        return probe_stream(file, begins_as=begins_as, size_bytes=size_bytes, label=label, audio_track=audio_track)
    except BrokenPromiseError as error:
        raise UnreadableMediaError(str(error)) from None
    except UnreadableMediaError:
        if signature is None:
            raise UnreadableMediaError(_not_media(label, head, size_bytes, media_type_hint)) from None
        raise


def _refuse_track(kind: str, audio_track: AudioTrackChoice, label: str) -> None:
    """Refuse the number of an audio track for media that has none, or only one."""
    tracks = (_SILK,) if kind == "packed" else ()
    if isinstance(audio_track, int) and audio_track not in range(len(tracks)):
        raise UnsupportedMediaError(f"{label} {no_such_track(tracks, audio_track)}.").with_option("audio_track")


def _second_look(file: IO[bytes], head: bytes, size_bytes: int) -> Signature | None:
    """Recognise a file, and inspect it further if its first bytes are not conclusive."""
    signature = recognise(head)
    if signature is None and size_bytes > _FOOTER:
        file.seek(size_bytes - _FOOTER)
        signature = Signature("tga") if is_targa(head, file.read()) else None
    elif signature is not None and signature.container == "jpeg" and is_motion_jpeg(file.read(_MANY_JPEGS)):
        signature = Signature("mjpeg")
    file.seek(0)
    return signature


def _is_zero(file: IO[bytes], size_bytes: int) -> bool:
    """Whether there are only zero bytes where FFmpeg searches for a beginning; some recordings begin with a few."""
    found = any(file.read(HEAD_BYTES).strip(b"\0") for _ in range(0, min(size_bytes, _LOOKED_FOR), HEAD_BYTES))
    file.seek(0)
    return not found


def _silk(file: IO[bytes], size_bytes: int, label: str) -> MediaInfo:
    seconds = silk_seconds(file.read())
    if seconds is None:
        raise UnreadableMediaError(f"{label} begins like a SILK recording but is truncated ({size_bytes:,} bytes).")
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
    stated = f" It was declared as {hint}." if hint else ""
    found = describe(head)
    step = _PAGE_STEP if found == _PAGE else NAME_ONE
    return f"{label} is not media: its {size_bytes:,} bytes look like {found}.{stated} {step}"
