"""Open a file object with FFmpeg, safely. Shared by `media.probe.av`, which inspects, and the modules that encode.

FFmpeg gets our file object and nothing else: only demuxers of single regular files are allowed, no protocols,
and reading is bounded, so that damaged bytes end in an error and never in a long wait.

`timed_packets` yields packets on the continuous timeline that `timeline` found, whatever was read before. A container
without an index cannot be sought exactly: `read_from` seeks, checks where that led, and seeks further back.
"""

import contextlib
import gc
import io
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from itertools import chain
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import av
from av.stream import Discard, Disposition

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.info import ClockBreak, exact
from qwen_omni.media.probe.mp4 import MaskedFile, Wanted, narrowed, tracks_of
from qwen_omni.media.work import Deadline, trim_heap

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
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
    "xvag xwma yop aac aiff amr avi caf flac flv mp3 mpeg mpegts ogg wav "
)
# Single images that Pillow does not read.
_IMAGES = "brender_pix cri dpx exr gem hdr jpegls jpegxs pfm pgx phm photocd qdraw sgi sunrast vbn xwd"
IMAGES = {f"{name}_pipe": name for name in _IMAGES.split()}
# FFmpeg's names → our short names.
DEMUXERS = (
    {name: name for name in _MORE.split()}
    | IMAGES
    | {
        "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
        "matroska,webm": "mkv",
        "asf": "wmv",
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
_COVERS = frozenset({"mjpeg", "png", "bmp", "gif", "webp", "tiff"})  # codecs of images, beside another video stream
_MOST_READ = 16 * 2**20  # bytes, besides a few times the file, after which FFmpeg must be in an endless loop
AHEAD = 10.0  # seconds that decoding times may advance at once; FFmpeg's dts_delta_threshold
_RUN_UP = Fraction(1)  # seconds of audio that settle a decoder
_MOST_HELD_BYTES = 64_000_000  # of packets between two key frames
_MOST_BROKEN = 500  # packets in a row
_STRIDE = 29  # samples; prime, so that no tone falls on its zeros
AUDIBLE = 1e-6  # mean square of full scale: -60 dB
KINDS = {"u8": ("B", 128.0), "s16": ("h", 2.0**15), "s32": ("i", 2.0**31), "s64": ("q", 2.0**63),
         "flt": ("f", 1.0), "dbl": ("d", 1.0)}  # fmt: skip
"""Codes and full scales of samples, by FFmpeg's names of their formats."""
_MOST_LEVEL = 4.0  # of full scale; more, or not a number, is damage
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
        raise UnreadableMediaError("reading it never ends")
    if deadline is not None:
        deadline.check()  # what was read may be incomplete


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> None:
    raise PermissionError(f"the file tries to open {url!r}")


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
        trim_heap()  # release what the previous reader and the opening freed
        yield container


@contextlib.contextmanager
def open_video(
    source: Reopenable, wanted: Wanted, deadline: Deadline
) -> "Iterator[tuple[InputContainer, VideoStream]]":
    """Open a source for some of its frames; each thread does, so anything cached of the rest would add up.

    Raises:
        UnreadableMediaError: it has no video.
    """
    with (
        source.open() as file,
        open_for_work(file, source.size_bytes, only="video", wanted=wanted, deadline=deadline) as container,
    ):
        stream = video_stream(container)
        if stream is None:
            raise UnreadableMediaError(f"{source.label} has no video that can be prepared.")
        yield container, stream


def _seen(file: IO[bytes], size_bytes: int, only: Literal["video", "audio"], wanted: Wanted | None) -> MaskedFile:
    """Hide what a reader of one kind of stream does not need of an index, since FFmpeg would store it."""
    narrow = None if wanted is None else narrowed(file, size_bytes, _HANDLER[only], wanted)
    other = "audio" if only == "video" else "video"
    return narrow or MaskedFile(file, size_bytes, tracks_of(file, size_bytes, _HANDLER[other]))


def video_stream(container: "InputContainer") -> "VideoStream | None":
    """Return the first video stream; covers and the like do not count, whether or not they are marked."""
    videos = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    moving = [stream for stream in videos if has_decoder(stream) and stream.codec_context.name not in _COVERS]
    return next(iter(moving or videos), None)


def audio_streams(container: "InputContainer", track: int | Literal["mix"]) -> "list[AudioStream]":
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
            "its audio continues differently after its beginning (another rate or other channels, as in joined "
            "recordings), which cannot be read; split it there, or join the parts with a program that knows the format"
        ) from None
    except IndexError:
        raise UnreadableMediaError(
            "The file contains a stream that its header does not announce; it is damaged, or two files in one."
        ) from None


def base_of(stream: "Stream") -> Fraction:
    """Return the seconds of one tick of a stream."""
    return exact(stream.time_base or Fraction(1, av.time_base))


def timed_packets(
    container: "InputContainer", breaks: tuple[ClockBreak, ...], *streams: "Stream"
) -> "Iterator[Packet[Any]]":
    """Yield the packets of some streams with their times on the continuous timeline."""
    if not breaks:
        yield from packets_of(container, *streams)
        return
    places: dict[int, int] = {}
    reached: dict[int, int] = {}
    shifts = {
        stream.index: [0] + [round(one.shift / exact(stream.time_base or Fraction(1, av.time_base))) for one in breaks]
        for stream in streams
    }
    for packet in packets_of(container, *streams):
        index = packet.stream.index
        place = places.get(index, 0)
        if packet.pos is not None:  # of several packets stored as one, the later ones have none
            while place < len(breaks) and packet.pos >= breaks[place].position:
                place += 1
            places[index] = place
        shift, time = shifts[index][place], _time_of(packet)
        if place and packet.pos == breaks[place - 1].position and time is not None:
            # The first of several packets stored as one may still have the old clock, as in chained Ogg.
            before, expected = shifts[index][place - 1], reached.get(index, time + shift)
            shift = min(shift, before, key=lambda one: abs(time + one - expected))
        elif packet.pos is None and place < len(breaks) and time is not None:
            # The last of several may already have the new clock, as in program streams.
            after, expected = shifts[index][place + 1], reached.get(index, time + shift)
            shift = min(shift, after, key=lambda one: abs(time + one - expected))
        packet.pts = None if packet.pts is None else packet.pts + shift
        packet.dts = None if packet.dts is None else packet.dts + shift
        if packet.dts is not None and packet.pts is not None and _split(packet):
            packet.dts = packet.pts  # one has the clock from before the break, the other the clock from after it
        if time is not None:
            reached[index] = time + shift + (packet.duration or 0)
        yield packet


@dataclass(frozen=True, slots=True)
class Reading:
    """Packets from some place on. Frames decoded before `since` are incomplete; `first`: the file begins here."""

    packets: "Iterator[Packet[Any]]"
    since: int | None = None
    first: bool = False


def read_from(
    container: "InputContainer", stream: "Stream", at: Fraction | None, breaks: tuple[ClockBreak, ...]
) -> Iterator[Reading]:
    """Yield ways to read a stream from second `at`, each starting further back than the one before.

    The first one works for nearly all files. The decoder takes the next if no frame of that second was
    decoded: a key frame may have been only a point where gradual refresh starts.
    """
    if at is None:
        yield Reading(timed_packets(container, breaks, stream), first=True)
        return
    base = base_of(stream)
    target = int(at / base)
    begins = _begins(container, stream)
    back, moved = Fraction(0), False
    while not breaks and begins is not None and at - back > begins:
        if not _seek(container, stream, int((at - back) / base)):
            break
        moved = True
        packets = packets_of(container, stream)
        opening = _opening(packets, target, key=stream.type == "video")
        if opening is not None:
            yield Reading(chain([opening], packets), since=_time_of(opening) if stream.type == "video" else None)
        back = max(Fraction(1), back * 2)
    if not moved:
        run_up = target - int(_RUN_UP / base)
        packets = timed_packets(container, breaks, stream)
        yield Reading(_since_key(packets, target) if stream.type == "video" else _since(packets, run_up))
    _rewind(container)
    yield Reading(timed_packets(container, breaks, stream), first=True)


def _begins(container: "InputContainer", stream: "Stream") -> Fraction | None:
    """Return where a stream begins, in seconds of its clock; `None` if nothing has times."""
    own: int | None = stream.start_time  # the stubs omit that it may be missing
    if own is not None:
        return own * base_of(stream)
    whole: int | None = container.start_time
    return None if whole is None else Fraction(whole, av.time_base)


def _seek(container: "InputContainer", stream: "Stream", ticks: int) -> bool:
    try:
        container.seek(ticks, stream=cast("Any", stream))
    except (av.FFmpegError, ValueError):
        return False
    return True


def _rewind(container: "InputContainer") -> None:
    """Seek to the first packet; some containers seek by bytes and some by times.

    Matroska seeks to any byte, and finds nothing after the first one.
    """
    ways = [(0, True), ((container.start_time or 0) - av.time_base, False)]
    for where, by_bytes in ways[container.format.name == "matroska,webm" :]:
        try:
            container.seek(where, unsupported_byte_offset=by_bytes)
        except (av.FFmpegError, ValueError):
            continue
        return


def _opening(packets: "Iterator[Packet[Any]]", target: int, *, key: bool) -> "Packet[Any] | None":
    """Return the first packet to start from if it is not after the target: a key frame, or any piece of audio."""
    for packet in packets:
        time = _time_of(packet)
        if not packet.size or time is None:
            continue
        if time > target and (packet.dts is None or packet.dts > target or packet.is_keyframe):
            return None
        if packet.is_keyframe or not key:
            return packet
    return None


def _time_of(packet: "Packet[Any]") -> int | None:
    return packet.pts if packet.pts is not None else packet.dts


def clock_of(packet: "Packet[Any]") -> int | None:
    """Return when a packet is decoded, or when it is shown if the two belong to different clocks."""
    if packet.dts is None or (packet.pts is not None and _split(packet)):
        return packet.pts
    return packet.dts


def _split(packet: "Packet[Any]") -> bool:
    """Whether FFmpeg continued the decoding time of a packet across a break after which it is shown."""
    assert packet.pts is not None
    assert packet.dts is not None
    return packet.pos is None and abs(packet.pts - packet.dts) * packet.stream.time_base > AHEAD


def _since_key(packets: "Iterator[Packet[Any]]", target: int) -> "Iterator[Packet[Any]]":
    """Skip what lies before the last key frame up to the target."""
    held: list[Packet[Any]] = []
    held_bytes = 0
    for packet in packets:
        time = _time_of(packet)
        if packet.is_keyframe and time is not None and time <= target:
            held, held_bytes = [], 0
        held.append(packet)
        held_bytes += packet.size
        if time is None or (packet.dts or time) > target or held_bytes > _MOST_HELD_BYTES:
            break
    yield from held
    held.clear()
    yield from packets


def _since(packets: "Iterator[Packet[Any]]", first: int) -> "Iterator[Packet[Any]]":
    """Skip what lies before a time."""
    for packet in packets:
        time = _time_of(packet)
        if time is None or time >= first:
            yield packet
            break
    yield from packets


def cut_short(
    label: str, kind: Literal["video", "audio"], seconds: Fraction, expected: Fraction
) -> UnreadableMediaError:
    """Return the error for a file of which only the first seconds can be decoded; the rest would be billed."""
    return UnreadableMediaError(
        f"{label}: only {float(seconds):,.2f} of {float(expected):,.2f} s of its {kind} can be decoded. It is damaged, "
        "or its codec changes there. Send the part before with end=, or re-encode the file with another program."
    )


def frames_of(container: "InputContainer", stream: "AudioStream", deadline: Deadline) -> Iterator["AudioFrame"]:
    """Decode a track from the container's position; broken packets are skipped, but not indefinitely."""
    frames = decoded(packets_of(container, stream), deadline, most_broken=_MOST_BROKEN)
    return (frame for frame in frames if frame.samples)


def decoded(packets: "Iterable[Packet[Any]]", deadline: Deadline, *, most_broken: int) -> Iterator["AudioFrame"]:
    """Decode audio packets, and stop once more than `most_broken` in a row are broken."""
    broken = 0
    for packet in packets:
        deadline.check()
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, EOFError):
            broken += 1
            if broken > most_broken:
                return
            continue
        broken = 0
        yield from cast("list[AudioFrame]", frames)


@dataclass(frozen=True, slots=True)
class Levels:
    """Mean squares, full scale being 1: of each channel, and of the mean of all."""

    channels: tuple[float, ...]
    mixed: float

    @property
    def audible(self) -> bool:
        """Whether any of it is audible."""
        return max(self.channels, default=0.0) > AUDIBLE


def levels_of(frames: "list[AudioFrame]") -> Levels:
    """Measure frames of one shape, from a few of their samples."""
    sums: list[float] = [0.0] * frames[0].layout.nb_channels
    mixed, count = 0.0, 0
    for frame in frames:
        channels = [_samples(frame, channel, _STRIDE) for channel in range(min(frame.layout.nb_channels, len(sums)))]
        for channel, values in enumerate(channels):
            sums[channel] += sum(value * value for value in values)
        together = [sum(values) for values in zip(*channels, strict=False)] if len(channels) > 1 else channels[0]
        mixed += sum(value * value for value in together) / max(1, len(channels)) ** 2
        count += len(together)
    return Levels(tuple(total / max(1, count) for total in sums), mixed / max(1, count))


def _samples(frame: "AudioFrame", channel: int, stride: int) -> list[float]:
    """Return every `stride`-th sample of a channel, full scale being 1."""
    code, full = KINDS[frame.format.name.removesuffix("p")]
    count = frame.layout.nb_channels
    if frame.format.is_planar:
        values = memoryview(frame.planes[channel]).cast("B").cast(cast("Any", code))[: frame.samples : stride]
    else:
        values = memoryview(frame.planes[0]).cast("B").cast(cast("Any", code))
        values = values[channel : frame.samples * count : stride * count]
    shift = full if code == "B" else 0.0
    found = [(value - shift) / full for value in values]
    return [value if -_MOST_LEVEL < value < _MOST_LEVEL else 0.0 for value in found]


# FFmpeg's decoders wait for their threads when they are freed, and a forked child has none of its parent's threads. So
# a child must not collect what its parent left as garbage; it collects its own as usual.
if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=gc.freeze)
