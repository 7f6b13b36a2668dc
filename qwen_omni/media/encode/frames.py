"""Decode the frames shown at given times, scale and convert them, and write them as JPEGs where images are wanted.

`read_frames` decodes each frame at most once, skips frames that are neither shown nor referred to, and converts only
those it returns. They are bit-identical to a full decode: it skips only frames without references and
the end of a GOP after the last one shown (`Picker`). Skipping by frame type, as FFmpeg's `BIDIR` does, would damage
frames, because B-frames can be referred to.

The frame shown at output time t is the last input frame whose time is not after t. A frame that is never shown is
decoded only if others refer to it. A few packets of look-ahead decide that before decoding: once decoding times
have passed t, no packet for a time up to t can follow. No pass over the whole file is needed, and memory stays small.

Nothing at or after a clearing packet refers to anything before it. A key frame alone proves nothing: in streams with
open GOPs or gradual refresh, frames after a key frame refer to frames before it. For H.264 and HEVC the NAL unit type
decides (ITU-T H.264 and H.265); key frames of VP8, VP9 and AV1 always clear everything.
"""

import bisect
import contextlib
import io
import math
import threading
from collections import deque
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import av
from av.stream import Discard
from av.video.reformatter import ColorPrimaries, Colorspace, ColorTrc, Interpolation, VideoReformatter

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.info import ClockBreak, MediaInfo, exact
from qwen_omni.media.plan.images import JpegImage
from qwen_omni.media.plan.plan import FrameEncoding, MediaPlan
from qwen_omni.media.probe.container import MOST_PIXELS, base_of, open_video, read_from
from qwen_omni.media.probe.mp4 import Wanted
from qwen_omni.media.work import Deadline

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.packet import Packet
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_MOST_BROKEN = 2_000  # packets in a row that cannot be decoded
_LEAST_PIXELS, _GROWTH = 2_100_000, 4  # pixels of a frame that are always decoded; growth allowed for larger ones
_MOST_HELD, _MOST_HELD_BYTES = 600, 8_000_000  # packets and bytes held until it is known whether others refer to them
_LONGEST_HOLD = Fraction(3600)  # seconds that one frame may be shown
_FULL_RANGE = 2  # FFmpeg's AVCOL_RANGE_JPEG
_LIMITED_RANGE = 1
_USUAL_FPS = 25
_LEAD_THREADS = 4  # unneeded packets fill the decoder's threads too


class Grid:
    """Output times `begin + n * period`, as whole numbers of one tick, so that rounding errors never add up.

    Half a tick of the stream is ignored: containers with coarse clocks round their times.
    """

    def __init__(self, begin: Fraction, period: Fraction, time_base: Fraction) -> None:
        """Build a grid for a stream whose timestamps count `time_base` seconds each."""
        half = time_base / 2
        unit = math.lcm(begin.denominator, period.denominator, half.denominator)
        self._tick = int(time_base * unit)
        self._begin = int((begin + half) * unit)
        self._period = int(period * unit)

    def first_at(self, pts: int) -> int:
        """Return the number of the first output time at which a frame of this time may be shown; never negative."""
        return max(0, -((self._begin - pts * self._tick) // self._period))

    def reaches(self, pts: float, number: int) -> bool:
        """Whether this time is after output time `number`."""
        return pts * self._tick > self._begin + number * self._period


class Picker:
    """Decides which packets are needed. Pass it each packet with `add`, ask with `needed`."""

    def __init__(self, grid: Grid, count: int | None) -> None:
        """Pick for the first `count` output times, or for all."""
        self._grid = grid
        self._count = count
        self._known: list[int] = []  # times of the packets so far, in order
        self._latest: float | None = None  # decoding time of the last one

    def add(self, pts: int, dts: int) -> None:
        """Add the next packet, in the order of the file."""
        bisect.insort(self._known, pts)
        self._latest = dts

    def end(self) -> None:
        """Record that no packet follows."""
        self._latest = math.inf

    def needed(self, pts: int) -> bool | None:
        """Whether the frame of this time is shown; `None` while later packets may decide it."""
        number = self._grid.first_at(pts)
        if self._count is not None and number >= self._count:
            return False
        after = bisect.bisect_right(self._known, pts)
        if after < len(self._known) and not self._grid.reaches(self._known[after], number):
            return False
        return True if self._latest is not None and self._grid.reaches(self._latest, number) else None

    def done(self) -> bool:
        """Whether every further packet would be too late to be shown."""
        last = None if self._count is None else self._count - 1
        return last is not None and self._latest is not None and self._grid.reaches(self._latest, max(last, 0))

    def forget(self, pts: int) -> None:
        """Forget times long before this one."""
        keep = bisect.bisect_left(self._known, pts) - _REMEMBERED
        if keep > 0:
            del self._known[:keep]


_REMEMBERED = 64  # more than any codec reorders


_CLEARING = frozenset({"vp8", "vp9", "av1"})
_H264_FRAMES, _H264_IDR = range(1, 6), 5
_HEVC_FRAMES, _HEVC_IDR = range(32), (19, 20)
_NAL_CODECS = frozenset({"h264", "hevc"})
_MOST_UNITS = 64  # inspected; the first frame follows a few headers


def resets(codec: str, data: bytes, length_bytes: int) -> bool:
    """Whether the key frame in `data` clears everything before it.

    Args:
        codec: FFmpeg's name of the codec.
        data: the packet's bytes.
        length_bytes: size of the length field of a NAL unit; 0 if start codes separate them.

    Example:
        >>> resets("h264", bytes([0, 0, 0, 2, 0x65, 0x88]), 4)
        True
    """
    if codec not in _NAL_CODECS:
        return codec in _CLEARING
    first = next((kind for kind in _kinds(codec, data, length_bytes) if kind in _frame_units(codec)), None)
    return first == _H264_IDR if codec == "h264" else first in _HEVC_IDR


def length_bytes_of(codec: str, extradata: bytes | None) -> int:
    """Read from a stream's parameters (avcC, hvcC) how NAL units are separated; 0 means start codes."""
    if not extradata or extradata[0] != 1:
        return 0
    at = {"h264": 4, "hevc": 21}.get(codec)
    return 0 if at is None or len(extradata) <= at else (extradata[at] & 3) + 1


def _frame_units(codec: str) -> range:
    return _H264_FRAMES if codec == "h264" else _HEVC_FRAMES


def _kinds(codec: str, data: bytes, length_bytes: int) -> Iterator[int]:
    for count, at in enumerate(_starts(data, length_bytes)):
        if count >= _MOST_UNITS or at >= len(data):
            return
        yield data[at] & 0x1F if codec == "h264" else data[at] >> 1 & 0x3F


def _starts(data: bytes, length_bytes: int) -> Iterator[int]:
    """Yield the offsets of NAL units."""
    at = 0
    if length_bytes:
        while at + length_bytes < len(data):
            yield at + length_bytes
            at += length_bytes + int.from_bytes(data[at : at + length_bytes], "big")
        return
    while (at := data.find(b"\0\0\1", at)) >= 0:
        at += 3
        yield at


@dataclass(frozen=True, slots=True, kw_only=True)
class FrameRun:
    """Which output frames are wanted: number `first` and `count` in total (`None`: to the end of the stream).

    Frame n is the one shown at `begin + n * period` in the file's own time. `seek` is where to start reading.
    """

    begin: Fraction
    period: Fraction
    first: int = 0
    count: int | None = None
    seek: Fraction | None = None

    @classmethod
    def of(cls, info: MediaInfo, plan: MediaPlan) -> "FrameRun":
        """Return the frames that a plan wants."""
        assert plan.encoding is not None
        begin, period = info.origin + plan.start, plan.encoding.period
        count = None if plan.length is None or not plan.partial else int(-(-plan.length // period))
        return cls(begin=begin, period=period, count=count, seek=begin if plan.start else None)

    @property
    def start(self) -> Fraction:
        """The file's own time of the first frame."""
        return self.begin + self.first * self.period

    @property
    def wanted(self) -> Wanted:
        """The seconds of the file that are read for it."""
        end = None if self.count is None else self.start + self.count * self.period
        return Wanted(begin=self.start if self.seek is None else min(self.start, self.seek), end=end)


Shown = tuple["VideoFrame", int, int]
"""A decoded frame, the number of the first output frame that shows it, and how many show it."""


def read_frames(  # noqa: PLR0913 - a stream, and what is wanted of it
    container: "InputContainer",
    stream: "VideoStream",
    run: FrameRun,
    deadline: Deadline,
    *,
    threads: int = 1,
    key_frames: bool = False,
    breaks: tuple[ClockBreak, ...] = (),
) -> Iterator[Shown]:
    """Decode the frames that a run shows, in order, each once.

    Args:
        container: open, not read from yet.
        stream: its video stream.
        run: the wanted frames.
        deadline: checked between packets.
        threads: number of decoder threads.
        key_frames: use only frames that decode on their own; others are ignored.
        breaks: where the file's clock restarts or jumps.

    Raises:
        UnreadableMediaError: one frame lasts over an hour, or thousands of packets in a row are broken.
    """
    context = stream.codec_context
    context.thread_type = "AUTO" if threads > 1 else "NONE"
    context.thread_count = threads + _LEAD_THREADS if threads > 1 else 1
    context.options = {"max_pixels": str(_most_pixels(stream))}
    grid = Grid(run.start, run.period, base_of(stream))
    decoded = _decode_from(container, stream, run, deadline, key_frames=key_frames, breaks=breaks)
    yield from _hold(decoded, stream, grid, run)


def _decode_from(
    container: "InputContainer",
    stream: "VideoStream",
    run: FrameRun,
    deadline: Deadline,
    *,
    key_frames: bool,
    breaks: tuple[ClockBreak, ...],
) -> Iterator["VideoFrame"]:
    """Decode from the latest position that yields a complete first frame."""
    grid = Grid(run.start, run.period, base_of(stream))
    hidden = bool(len(stream.index_entries)) and stream.index_entries[0].is_discard
    if key_frames and not hidden:
        stream.discard = Discard.nonkey  # if the container has an index, other packets are not even read
    for reading in read_from(container, stream, run.seek, breaks):
        frames = _decode(reading.packets, stream, Picker(grid, run.count), deadline, key_frames=key_frames)
        first = _first_since(frames, reading.since)
        shown = first is not None and first.pts is not None and not grid.reaches(first.pts, 0)
        if shown or reading.first:
            if first is not None:
                yield first
            yield from frames
            if first is not None or not key_frames:
                return
            break
        stream.codec_context.flush_buffers()
    if key_frames:  # there are none, or its key frames are only points where gradual refresh starts
        stream.discard = Discard.none
        stream.codec_context.flush_buffers()
        yield from _decode_from(container, stream, run, deadline, key_frames=False, breaks=breaks)


def _first_since(frames: Iterator["VideoFrame"], since: int | None) -> "VideoFrame | None":
    """Return the first complete frame; frames shown before the key frame refer to data that was not read."""
    return next((frame for frame in frames if since is None or frame.pts is None or frame.pts >= since), None)


def _most_pixels(stream: "VideoStream") -> int:
    """Allow frames to grow in the middle of a video, but not to fill the memory."""
    return min(MOST_PIXELS, max(_LEAST_PIXELS, _GROWTH * stream.width * stream.height))


def _decode(
    packets: "Iterator[Packet[VideoStream]]",
    stream: "VideoStream",
    picker: Picker,
    deadline: Deadline,
    *,
    key_frames: bool,
) -> Iterator["VideoFrame"]:
    """Decode packets; those that are not needed only if others refer to them."""
    careful = True  # as long as every packet has timestamps
    waiting: deque[Packet[VideoStream]] = deque()
    feed = _Feed(stream)
    hidden = False  # whether an edit list hides the key frame, so that the frames shown follow it
    for packet in packets:
        deadline.check()
        if packet.size == 0 or (key_frames and not packet.is_keyframe and not hidden):
            continue
        hidden = packet.is_discard
        careful = careful and packet.pts is not None and packet.dts is not None
        waiting.append(packet)
        if careful and not packet.is_discard:  # one that is hidden hides none, and the next edit may be behind it
            picker.add(cast("int", packet.pts), cast("int", packet.dts))
        while waiting and (needed := _is_needed(waiting[0], picker, careful=careful)) is not None:
            yield from feed.give(waiting.popleft(), needed=needed)
        if careful and not packet.is_discard:
            picker.forget(cast("int", packet.dts))
            if picker.done():
                break
    picker.end()
    while waiting:
        packet = waiting.popleft()
        yield from feed.give(packet, needed=_is_needed(packet, picker, careful=careful) is not False)
    yield from feed.end()


def _is_needed(packet: "Packet[VideoStream]", picker: Picker, *, careful: bool) -> bool | None:
    """Whether the frame of a packet is shown; `None` while later packets may decide it."""
    if packet.is_discard:
        return False
    return picker.needed(packet.pts) if careful and packet.pts is not None else True


class _Feed:
    """Passes packets to the decoder; those that are not needed only once it is clear that others refer to them."""

    def __init__(self, stream: "VideoStream") -> None:
        self._context = stream.codec_context
        self._codec = self._context.codec.canonical_name
        self._alone = self._context.codec.intra_only
        self._length_bytes = length_bytes_of(self._codec, self._context.extradata)
        self._broken = 0  # packets in a row
        self._skipping: bool | None = None
        self._held: deque[Packet[VideoStream]] = deque()  # not needed, with no needed packet since
        self._held_bytes = 0

    def give(self, packet: "Packet[VideoStream]", *, needed: bool) -> "Iterator[VideoFrame]":
        """Decode a packet, or hold it until another refers to it."""
        if self._resets(packet):
            self._let_go()
        self._held.append(packet)
        self._held_bytes += packet.size
        while self._held and (needed or len(self._held) > _MOST_HELD or self._held_bytes > _MOST_HELD_BYTES):
            first = self._held.popleft()
            self._held_bytes -= first.size
            yield from self._decode(first, needed=needed and first is packet)

    def end(self) -> "Iterator[VideoFrame]":
        """Return what the decoder still has; nothing refers to the held packets."""
        self._let_go()
        self._context.skip_frame = "DEFAULT"
        yield from self._decode(None, needed=True)

    def _resets(self, packet: "Packet[VideoStream]") -> bool:
        if self._alone or not self._held:
            return self._alone
        return packet.is_keyframe and resets(self._codec, bytes(packet), self._length_bytes)

    def _let_go(self) -> None:
        self._held.clear()
        self._held_bytes = 0

    def _decode(self, packet: "Packet[VideoStream] | None", *, needed: bool) -> "list[VideoFrame]":
        """Decode a packet; broken ones are skipped, but not indefinitely."""
        if self._skipping is not (not needed):
            self._skipping = not needed
            self._context.skip_frame = "DEFAULT" if needed else "NONREF"
        try:
            frames = self._context.decode(packet)
        except (av.FFmpegError, ValueError, EOFError) as error:
            self._broken += 1
            if self._broken > _MOST_BROKEN:
                reason = getattr(error, "strerror", None) or str(error)
                raise UnreadableMediaError(f"{self._broken:,} packets in a row cannot be decoded: {reason}") from None
            return []
        self._broken = 0 if frames else self._broken
        return frames


def _hold(frames: Iterator["VideoFrame"], stream: "VideoStream", grid: Grid, run: FrameRun) -> Iterator[Shown]:
    """Show each frame until the next one begins; the first one also before it begins, if the run includes that."""
    held: VideoFrame | None = None
    number = end = 0
    longest = max(1, int(_LONGEST_HOLD / run.period))
    usual = 1 / exact(stream.average_rate or stream.guessed_rate or _USUAL_FPS)
    ticks = max(1, int(usual / base_of(stream)))
    expected: int | None = None
    for frame in frames:
        pts = frame.pts if frame.pts is not None else expected or 0
        expected = pts + ticks
        begins = grid.first_at(pts)
        if run.count is not None and begins >= run.count:
            break
        if held is not None and begins > number:
            _check_hold(begins - number, longest, number, run)
            yield held, run.first + number, begins - number
        if held is None or begins >= number:
            number = begins if held is not None or run.first else 0
            held, end = frame, grid.first_at(pts + (frame.duration or ticks))
    if held is not None:
        last = end if run.count is None else run.count
        alone = number == run.first == 0
        count = min(max(last - number, int(alone)), longest)
        if count > 0:  # else the last frame begins after the last output time
            yield held, run.first + number, count


def _check_hold(count: int, longest: int, number: int, run: FrameRun) -> None:
    if count > longest:
        seconds, second = float(count * run.period), (run.first + number) * run.period
        raise UnreadableMediaError(
            f"its times jump by {seconds:,.0f} s after second {float(second):,.2f}; at most "
            f"{float(_LONGEST_HOLD):,.0f} s is accepted"
        )


class _Colours(threading.local):
    """A thread's scaler for HDR. Its table takes seconds to build, so it is reused for all pieces of a thread."""

    def __init__(self) -> None:
        self.scaler = VideoReformatter()


_COLOURS = _Colours()


class Shaper:
    """Converts frames to the plan's size, orientation and colours. One per thread; reuses its scaler.

    HDR (PQ and HLG in BT.2020) is mapped to the brightness and colours of BT.709; anything brighter
    becomes white.
    """

    def __init__(self, encoding: FrameEncoding, pixel_format: Literal["yuv420p", "yuvj420p"] = "yuv420p") -> None:
        self._encoding = encoding
        self._format = pixel_format
        self._scaler = VideoReformatter()
        self._graphs: dict[tuple[str, int, int, str], av.filter.Graph] = {}

    def shape(self, frame: "VideoFrame") -> "VideoFrame":
        """Return the frame in its final form, without its time."""
        if frame.interlaced_frame:
            frame = _weave_out(frame)
        turned = self._encoding.rotation in (90, 270)
        width, height = self._encoding.size[::-1] if turned else self._encoding.size
        wanted = _FULL_RANGE if self._format == "yuvj420p" else _LIMITED_RANGE
        differs = frame.color_range == _FULL_RANGE or frame.format.name.startswith("yuvj") or wanted == _FULL_RANGE
        hdr = _is_hdr(frame)
        shaped = (_COLOURS.scaler if hdr else self._scaler).reformat(
            frame,
            width=width,
            height=height,
            format=self._format,
            interpolation=_SCALING,
            threads=1,  # the scaler's own threads cost more than they save here
            **({"dst_color_range": wanted} if differs else {}),
            **(_TO_USUAL_COLOURS if hdr else {}),
        )
        turns = _TURNS[self._encoding.rotation, self._encoding.mirrored]
        if turns:
            shaped = self._through(turns, shaped)
        return shaped

    def _through(self, chain: str, frame: "VideoFrame") -> "VideoFrame":
        key = (chain, frame.width, frame.height, frame.format.name)
        graph = self._graphs.get(key)
        if graph is None:
            graph = self._graphs[key] = _graph(chain, frame)
        frame.pts = None
        graph.vpush(frame)
        return graph.vpull()


_TO_USUAL_COLOURS: dict[str, Any] = {
    "dst_color_trc": ColorTrc.BT709,
    "dst_color_primaries": ColorPrimaries.BT709,
    "dst_colorspace": Colorspace.ITU709,
}


def _is_hdr(frame: "VideoFrame") -> bool:
    """Whether a frame is coded for HDR screens (PQ, HLG); without conversion it would look grey."""
    return frame.color_primaries == ColorPrimaries.BT2020 and frame.color_trc in (
        ColorTrc.SMPTE2084,
        ColorTrc.ARIB_STD_B67,
    )


def _weave_out(frame: "VideoFrame") -> "VideoFrame":
    """Build a whole frame from the first of two fields, from this frame alone: its neighbours may be skipped."""
    graph = _graph("estdif=mode=frame:deint=interlaced", frame)  # it waits for a second frame, so it is used only once
    frame.pts = 0
    graph.vpush(frame)
    graph.vpush(None)
    return graph.vpull()


_SCALING = Interpolation.BICUBIC
_TURNS = {
    (0, False): "", (90, False): "transpose=clock", (180, False): "hflip,vflip", (270, False): "transpose=cclock",
    (0, True): "hflip", (90, True): "transpose=cclock_flip", (180, True): "vflip", (270, True): "transpose=clock_flip",
}  # fmt: skip


def _graph(chain: str, frame: "VideoFrame") -> "av.filter.Graph":
    graph = av.filter.Graph()
    graph.threads = 1  # in a forked child the garbage collector would wait for the parent's threads
    source = graph.add_buffer(width=frame.width, height=frame.height, format=frame.format, time_base=Fraction(1, 1000))
    steps = (step.partition("=") for step in chain.split(","))
    filters = [graph.add(name, arguments or None) for name, _, arguments in steps]
    graph.link_nodes(source, *filters, graph.add("buffersink")).configure()
    return graph


def read_shaped(  # noqa: PLR0913 - a source, and what is wanted of it
    source: Reopenable,
    info: MediaInfo,
    plan: MediaPlan,
    run: FrameRun,
    shaper: Shaper,
    deadline: Deadline,
    *,
    threads: int = 1,
) -> "Generator[Shown]":
    """Decode and convert the frames of one run; close the generator if it is not read to the end."""
    with open_video(source, run.wanted, deadline) as (container, stream):
        key_frames = plan.budget.key_frames
        for frame, number, count in read_frames(
            container, stream, run, deadline, threads=threads, key_frames=key_frames, breaks=info.breaks
        ):
            yield shaper.shape(frame), number, count


_QSCALE = 5  # of mjpeg: about JPEG quality 80
_MOST_FRAMES = 5_000
_QP_UNIT = 118  # FFmpeg's FF_QP2LAMBDA


def make_frames(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, deadline: Deadline, *, workers: int
) -> tuple[JpegImage, ...]:
    """Return the frames that a plan wants, as JPEGs, in order.

    Raises:
        MediaDoesNotFitError: there would be thousands.
        UnreadableMediaError: no frame can be decoded.
    """
    assert plan.encoding is not None
    painter, period = _Painter(plan.encoding), plan.encoding.period
    jpegs: list[JpegImage] = []
    run, shaper = FrameRun.of(info, plan), Shaper(plan.encoding, "yuvj420p")
    with contextlib.closing(read_shaped(source, info, plan, run, shaper, deadline, threads=workers)) as shown:
        for frame, number, held in shown:
            times = 1 if plan.budget.key_frames else held
            if len(jpegs) + times > _MOST_FRAMES:
                raise _too_many(source.label, period)
            data = painter.paint(frame)
            jpegs += [JpegImage(time=plan.start + (number + more) * period, data=data) for more in range(times)]
    if not jpegs:
        raise UnreadableMediaError(f"{source.label}: none of its frames can be decoded; it is damaged or truncated.")
    return tuple(jpegs)


def _too_many(label: str, period: Fraction) -> MediaDoesNotFitError:
    seconds = float(_MOST_FRAMES * period)
    return MediaDoesNotFitError(
        f"{label} would become more than {_MOST_FRAMES:,} frames, and a list is held in memory. Use at most "
        f"{seconds:,.0f} s of it at once (start, end), or fewer frames per second.",
        limit=_MOST_FRAMES,
        actual=_MOST_FRAMES + 1,
    )


class _Painter:
    """Encodes single images; FFmpeg's JPEG encoder is twice as fast as Pillow's on frames."""

    def __init__(self, encoding: FrameEncoding) -> None:
        self._context = av.CodecContext.create("mjpeg", "w")
        self._context.width, self._context.height = encoding.size
        self._context.pix_fmt = "yuvj420p"
        self._context.time_base = Fraction(1, 1000)
        self._context.qscale = True
        self._context.global_quality = _QSCALE * _QP_UNIT
        self._number = 0

    def paint(self, frame: "VideoFrame") -> bytes:
        frame.pts, frame.time_base = self._number, Fraction(1, 1000)
        frame.pict_type = 0
        self._number += 1
        held = io.BytesIO()
        for packet in self._context.encode(frame):
            held.write(bytes(packet))
        return held.getvalue()
