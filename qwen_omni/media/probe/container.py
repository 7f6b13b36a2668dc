"""Open a file object with FFmpeg, safely. Shared by `media.probe.av`, which inspects, and the modules that encode.

FFmpeg gets our file object and nothing else: only demuxers of single regular files are allowed, no protocols,
and reading is bounded, so that damaged bytes end in an error and never in a long wait.
"""

import contextlib
import io
from collections.abc import Iterator
from typing import IO, TYPE_CHECKING, Any, Literal

import av
from av.stream import Discard, Disposition

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.probe.mp4 import MaskedFile, Wanted, narrowed, tracks_of

if TYPE_CHECKING:
    from av.audio.stream import AudioStream
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.video.stream import VideoStream

# FFmpeg's demuxers of single regular files. Those that follow references or playlists, or read devices or text, are
# omitted on purpose: hls, dash, concat, imf, image2, sdp, rtp, rtsp, sap, mlv, vobsub, ffmetadata, tty, lavfi,
# subtitles.
_MORE = (
    "3dostr 4xm aax ac3 ace adp ads adx aea afc alp amrnb amrwb anm apac apc ape apm argo_asf argo_brp ast au av1 "
    "avr avs avs2 avs3 bethsoftvid bfi bfstm bink binka bit bmv boa bonk brstm c93 cavsvideo cdxl cine codec2 "
    "daud derf dfa dhav dirac dnxhd dsf dsicin dss dts dtshd dv dxa ea eac3 film_cpk filmstrip flic frm fsb fwse "
    "g729 gdv genh gsm gxf h261 h263 h264 hca hcom hevc hnm hxvs iamf idcin iff ifv ipmovie ipu ircam iss iv8 ivf "
    "ivr jv kux kvag laf live_flv lmlm4 loas luodat lvf lxf m4v mca mgsts mjpeg mjpeg_2000 mlp mm mmf mods moflex "
    "mpc mpc8 mpegvideo msf mtaf mtv musx mv mvi mxf mxg nc nistsphere nsp nsv nut nuv obu oma osq paf pdv pmp "
    "pp_bnk pva pvf qcp qoa r3d redspark rka rl2 rm roq rpl rsd rso s337m scd sdns sdr2 sds sdx ser sga shn siff "
    "simbiosis_imx smjpeg smk smush sol sox spdif svag svs swf tak thp tiertexseq tmv truehd tta txd ty usm vag "
    "vc1 vc1test vividas vivo vmd voc vpk vqf vvc w64 wady wavarc wc3movie wsaud wsd wsvqa wtv wv wve xa xmd xmv "
    "xvag xwma yop "
)
# Single images that Pillow does not read.
_PICTURES = "brender_pix cri dpx exr gem hdr jpegls jpegxs pfm pgx phm photocd qdraw sgi sunrast vbn xwd"
PICTURES = {f"{name}_pipe": name for name in _PICTURES.split()}
# FFmpeg's names → our short names.
DEMUXERS = (
    {name: name for name in _MORE.split()}
    | PICTURES
    | {
        "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
        "matroska,webm": "mkv",
        "avi": "avi",
        "flv": "flv",
        "asf": "wmv",
        "mpegts": "mpegts",
        "mpeg": "mpeg",
        "wav": "wav",
        "mp3": "mp3",
        "aac": "aac",
        "ogg": "ogg",
        "flac": "flac",
        "amr": "amr",
        "caf": "caf",
        "aiff": "aiff",
        "yuv4mpegpipe": "y4m",
    }
)
INDEXED = "mov,mp4,m4a,3gp,3g2,mj2"
"""FFmpeg's name of the demuxer whose index lists every frame and piece of audio."""

UNTIMED = frozenset({"aac", "ac3", "eac3", "dts", "mp2"})
"""Names of demuxers of bare frames, whose times FFmpeg counts at the rate of the first, whatever others have."""

_CONTAINER_OPTIONS = {
    "format_whitelist": ",".join(DEMUXERS),
    "protocol_whitelist": "",
    "probesize": "5000000",  # bytes
    "analyzeduration": "5000000",  # microseconds
}
MOST_PIXELS = 36_000_000
"""Of a video's frames: slightly over 8K (7680 by 4320); decoders hold up to 17 frames in memory."""

CODEC_OPTIONS = {"max_pixels": str(MOST_PIXELS), "threads": "1"}
# Opening would decode a frame for times that the index of an MP4 states anyway.
_NOTHING_DECODED = {"skip_frame": "all"}
# PyAV 18 is strict about tags that are not UTF-8 unless configured; from 19 on it maps their bytes to lone surrogates.
_METADATA: dict[str, Any] = {"metadata_errors": "replace"} if int(av.__version__.partition(".")[0]) < 19 else {}  # noqa: PLR2004
_INDEXED_BOXES = frozenset({b"ftyp", b"moov"})  # at the fourth byte of a file
_HANDLER = {"video": b"vide", "audio": b"soun"}
_MOST_READ = 16 * 2**20  # bytes, besides a few times the file, after which FFmpeg must be in an endless loop
_BLOCK = 2**18  # bytes requested at once; each read takes Python's lock


class _Window:
    """A file for FFmpeg without its name, and with a limit on how much may be read."""

    def __init__(self, file: IO[bytes] | MaskedFile, size_bytes: int, deadline: Deadline | None) -> None:
        self._file = file
        self._deadline = deadline
        self._left = 4 * size_bytes + _MOST_READ

    def read(self, size: int) -> bytes:
        if self.exhausted or (self._deadline is not None and self._deadline.over):
            return b""  # PyAV would store an exception, and old versions fail if it is raised twice
        block = self._file.read(size)
        self._left -= max(len(block), 4096)  # an empty read counts too
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    @property
    def exhausted(self) -> bool:
        """Whether FFmpeg has read so much that it must be in an endless loop."""
        return self._left <= 0


@contextlib.contextmanager
def open_container(
    file: IO[bytes] | MaskedFile,
    size_bytes: int,
    *,
    buffer_bytes: int = 32_768,
    deadline: Deadline | None = None,
) -> Iterator["InputContainer"]:
    """Open a seekable binary file from its start as one of the known containers.

    Args:
        file: open for reading; its position is ours while the container is open.
        size_bytes: size of the file, for the bound on reading.
        buffer_bytes: how much is read at once; more is better if a whole file is read.
        deadline: when its time is up the file seems to end, so that FFmpeg returns from whatever it is doing.

    Raises:
        av.FFmpegError: FFmpeg cannot read it.
        UnreadableMediaError: reading it never ends, or the time is up.
        StoppedError: the work was cancelled.
    """
    file.seek(0)
    indexed = file.read(8)[4:] in _INDEXED_BOXES
    file.seek(0)
    window = _Window(file, size_bytes, deadline)
    with av.open(
        window,
        "r",
        options=CODEC_OPTIONS | (_NOTHING_DECODED if indexed else {}),
        container_options=_CONTAINER_OPTIONS,
        **_METADATA,
        buffer_size=buffer_bytes,
        timeout=(None if deadline is None else deadline.left, None),
        io_open=_refuse,
    ) as container:
        yield container
    if window.exhausted:
        raise UnreadableMediaError("reading it does not come to an end")
    if deadline is not None:
        deadline.check()  # what was read may be incomplete


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> None:
    raise PermissionError(f"the file wants to open {url!r}")


@contextlib.contextmanager
def open_for_work(
    file: IO[bytes],
    size_bytes: int,
    *,
    only: Literal["video", "audio"] | None = None,
    wanted: Wanted | None = None,
    deadline: Deadline | None = None,
) -> Iterator["InputContainer"]:
    """Open a file of which much will be read.

    With `only` set, other kinds of streams are skipped unread, or are missing: their entries in the index of an MP4
    are not even stored. With `wanted` as well, entries for other seconds may be missing too.
    """
    seen: IO[bytes] | MaskedFile = file if only is None else _seen(file, size_bytes, only, wanted)
    with open_container(seen, size_bytes, buffer_bytes=_BLOCK, deadline=deadline) as container:
        for stream in container.streams:
            if only is not None and stream.type != only:
                stream.discard = Discard.all
        yield container


def _seen(file: IO[bytes], size_bytes: int, only: Literal["video", "audio"], wanted: Wanted | None) -> MaskedFile:
    """Hide what a reader of one kind of stream does not need of an index, since FFmpeg would store it."""
    narrow = None if wanted is None else narrowed(file, size_bytes, _HANDLER[only], wanted)
    other = "audio" if only == "video" else "video"
    return narrow or MaskedFile(file, size_bytes, tracks_of(file, size_bytes, _HANDLER[other]))


def picture_stream(container: "InputContainer") -> "VideoStream | None":
    """Return the first video stream; covers and the like do not count."""
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    return pictures[0] if pictures else None


def sound_streams(container: "InputContainer", track: int | Literal["mix"]) -> "list[AudioStream]":
    """Return the chosen audio tracks: one by its number, or all that there is a decoder for."""
    return [
        stream
        for index, stream in enumerate(container.streams.audio)
        if track in ("mix", index) and has_decoder(stream)
    ]


def has_decoder(stream: "AudioStream | VideoStream") -> bool:
    """Whether FFmpeg can decode a stream."""
    context: CodecContext | None = stream.codec_context  # the stubs omit that it may be missing
    return context is not None


def packets_of(container: "InputContainer", *streams: Any) -> Iterator[Any]:  # noqa: ANN401  (any kind of stream)
    """Yield the packets of some streams in the order of the file.

    Raises:
        UnreadableMediaError: the file continues with a stream that its beginning did not announce.
    """
    try:
        yield from container.demux(*streams)
    except av.PatchWelcomeError:
        raise UnreadableMediaError(
            "it continues differently after its beginning (another rate or other channels, as joined recordings do), "
            "which cannot be read; split it there, or join the parts with a program that knows the format"
        ) from None
    except IndexError:
        raise UnreadableMediaError(
            "The file continues with a stream that its beginning does not announce; it is damaged or two files in one."
        ) from None
