"""Audio: read a time range of it as one channel at one rate, without drift, and encode it.

Every decoded piece is placed by its own time. Small differences are codec rounding and are ignored; missing audio
becomes silence, and where pieces overlap the later one is cut. So the end of a two-hour video is as well
synchronised as its beginning.

Channels are mixed by their mean. If they are in opposite phase (a miswired plug, a "wide" stereo effect) they would
cancel out, and if only one of many channels speaks it would be inaudible: in those cases the loudest channel is used
instead. This is decided every half second, from a few samples.
"""

import contextlib
import itertools
from collections.abc import Generator, Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast

import av

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.info import ClockBreak, MediaInfo, exact
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.probe.container import (
    AUDIBLE,
    INDEXED,
    KINDS,
    UNTIMED,
    Levels,
    audio_streams,
    cut_short,
    decoded,
    levels_of,
    open_for_work,
    read_from,
)
from qwen_omni.media.probe.mp4 import Wanted
from qwen_omni.media.work import Deadline

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

# Integers, since damaged files decode to floats that are not numbers, and FFmpeg's AAC encoder never ends on those.
_FORMAT: Literal["s16"] = "s16"
_SAMPLE_BYTES = 2
_JUMP = Fraction(3, 100)  # seconds; anything less is rounding
_LONGEST_HOLE = Fraction(3600)  # a longer one is damage, and its time is ignored
_RUN_UP = Fraction(1)  # seconds read before the range, so that decoders have settled
_EXACT = frozenset({INDEXED, "matroska,webm"})  # containers that state to the sample where audio ends
_AAC_FRAME = 1024  # samples
_FILLING = Fraction(1, 20)  # seconds; the longest usual frame, of HE-AAC at 44.1 kHz, lasts 0.046 s
_PIECE = 8192  # samples yielded at once
_LEAST_RATE, _MOST_RATE = 1_000, 1_000_000  # samples per second
_MOST_BROKEN = 20_000  # packets in a row
_MOST_LOST = Fraction(2)  # seconds of audio after the last that can be decoded
# These decoders return each frame when its successor arrives, with the successor's time.
_A_FRAME_LATE = frozenset({"wmav1", "wmav2"})

AudioCodec = Literal["aac", "libmp3lame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioRange:
    """Which audio is wanted: from `begin`, in the file's own time, for `duration` seconds or all of it.

    `stated_end` is where the file says that its audio ends, in seconds from `begin`. If an `index` says so, a short
    rest decoded after it is padding of the codec's last frame, and is dropped. If `untimed`, its times are unusable
    and its samples are counted from the first one. If `changing`, times that FFmpeg counted itself assume the
    first sample rate, and only those of the file are used.
    """

    begin: Fraction
    rate: int
    duration: Fraction | None = None
    seek: bool = False
    stated_end: Fraction | None = None
    index: bool = False
    untimed: bool = False
    changing: bool = False

    @classmethod
    def of(cls, info: MediaInfo, plan: MediaPlan, duration: Fraction | None) -> "AudioRange":
        """Return the audio that a plan wants, for `duration` at most."""
        begin, rate = info.origin + plan.start, plan.budget.sample_rate
        return cls(begin=begin, rate=rate, duration=duration, seek=plan.start > 0)

    @property
    def wanted(self) -> Wanted:
        """The seconds of the file that are read for it."""
        return Wanted(begin=self.begin, end=None if self.duration is None else self.begin + self.duration)

    @property
    def samples(self) -> int | None:
        """Number of samples, if it can be known."""
        ends = [end for end in (self.duration, self.stated_end) if end is not None]
        return max(0, round(min(ends) * self.rate)) if ends else None


@dataclass(frozen=True, slots=True)
class AudioFrames:
    """Mono frames whose times count samples from zero, and their number of samples, if it is known in advance."""

    frames: Iterator["AudioFrame"]
    samples: int | None


@contextlib.contextmanager
def open_audio(
    source: Reopenable, info: MediaInfo, span: AudioRange, deadline: Deadline
) -> Iterator[AudioFrames | None]:
    """Open the chosen audio of a file: one track, or all of them mixed; `None` if it has none.

    Each mixed track has its own reader, as tracks may lie far apart in the file.
    """
    with contextlib.ExitStack() as stack:
        readers: list[tuple[AudioRange, Iterator[AudioFrame]]] = []
        while True:
            file = stack.enter_context(source.open())
            opening = open_for_work(file, source.size_bytes, only="audio", wanted=span.wanted, deadline=deadline)
            container = stack.enter_context(opening)
            streams = audio_streams(container, info.audio_track)
            if len(readers) >= len(streams):
                break
            stream = streams[len(readers)]
            name = container.format.name
            stated_end = None if info.breaks else _stated_end(stream, span.begin)
            if len(streams) == 1 and name != INDEXED and info.audio_duration is not None and info.audio_end is not None:
                stated_end = info.origin + info.audio_end - span.begin  # headers were corrected by reading all packets
            untimed = name in UNTIMED and info.audio_changes is not None
            changing = info.audio_changes is not None
            wanted = replace(span, stated_end=stated_end, index=name in _EXACT, untimed=untimed, changing=changing)
            readers.append((wanted, read_audio(container, stream, wanted, deadline, info.breaks, label=source.label)))
            if len(readers) == len(streams):
                break
        if not readers:
            yield None
        elif len(readers) == 1:
            yield AudioFrames(readers[0][1], readers[0][0].samples)
        else:
            counts = [wanted.samples for wanted, _ in readers]
            total = None if None in counts else max(cast("list[int]", counts))
            yield AudioFrames(mixed([frames for _, frames in readers], span.rate), total)


def _stated_end(stream: "AudioStream", begin: Fraction) -> Fraction | None:
    """Return where a file says that its audio ends, in seconds from `begin`."""
    if not stream.duration or not stream.time_base:
        return None
    return ((stream.start_time or 0) + stream.duration) * exact(stream.time_base) - begin


def read_audio(
    container: "InputContainer",
    stream: "AudioStream",
    span: AudioRange,
    deadline: Deadline,
    breaks: tuple[ClockBreak, ...] = (),
    *,
    label: str = "The file",
) -> Iterator["AudioFrame"]:
    """Yield a range of audio as mono frames whose times count samples from its start.

    Raises:
        UnreadableMediaError: from some place in the range on, nothing can be decoded.
    """
    line = _Line(span, late=stream.codec_context.name in _A_FRAME_LATE)
    sought = span.seek and span.begin > _RUN_UP and not span.untimed
    packets = next(read_from(container, stream, span.begin - _RUN_UP if sought else None, breaks)).packets
    packets = _believed(packets) if span.changing else packets
    reached = _Reached(container, stream, span)
    packets = reached.by(packets)
    for frame in one_channel_at_a_time(decoded(packets, deadline, most_broken=_MOST_BROKEN)):
        for piece in line.place(frame):
            deadline.check()  # an hour of silence may be inserted before it
            yield piece
        if line.full:
            break
    else:
        reached.check(line.written, label)
    yield from line.rest()


class _Reached:
    """How far the packets of a track reach, in seconds from the start of a range."""

    def __init__(self, container: "InputContainer", stream: "AudioStream", span: AudioRange) -> None:
        self._span, self._base = span, exact(stream.time_base or Fraction(1, av.time_base))
        self._timed = not (span.untimed or span.changing)
        stated = span.stated_end if container.format.name == "mp3" else None  # skips what is damaged
        self._end = Fraction(0) if stated is None else stated

    def by(self, packets: "Iterable[Packet[Any]]") -> "Iterator[Packet[Any]]":
        """Pass packets on, and note how far they reach."""
        for packet in packets:
            if packet.pts is not None and packet.size:
                end = (packet.pts + (packet.duration or 0)) * self._base - self._span.begin
                self._end = max(self._end, end)
            yield packet

    def check(self, samples: int, label: str) -> None:
        """Compare it with the number of samples that were decoded, after the last packet.

        Raises:
            UnreadableMediaError: they are far fewer.
        """
        end = self._end if self._span.duration is None else min(self._end, self._span.duration)
        heard = Fraction(samples, self._span.rate)
        if self._timed and samples and end - heard > _MOST_LOST:
            raise cut_short(label, "audio", heard, end)


def _believed(packets: "Iterable[Packet[Any]]") -> "Iterator[Packet[Any]]":
    """Drop times that FFmpeg counted itself, which assume the first sample rate; the file's own packets keep theirs."""
    for packet in packets:
        if packet.pos is None:
            packet.pts = None
        yield packet


class _Line:
    """The samples so far, placed one after the other."""

    def __init__(self, span: AudioRange, *, late: bool = False) -> None:
        self._span, self._late = span, late
        self.written = 0  # samples yielded
        self._total = None if span.duration is None else round(span.duration * span.rate)
        stated = span.stated_end if span.index else None
        self._stated_samples = None if stated is None else round(stated * span.rate)
        self._resampler: av.AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._settled: Fraction | None = None  # start of the last piece that did not simply follow, in the file's time
        self._followed = 0  # samples since then
        self._due: int | None = None  # expected time of the next piece if it follows, where times count samples
        self._at = 0  # position on the line of the resampler's next sample
        self._pending = bytearray()  # samples not yielded yet; many small frames cost more than a large one

    @property
    def full(self) -> bool:
        return self._total is not None and self.written >= self._total

    def place(self, frame: "AudioFrame") -> Iterator["AudioFrame"]:
        """Resample a frame and yield the part of it inside the range, after silence if there was a hole."""
        if not frame.samples or not _LEAST_RATE <= frame.sample_rate <= _MOST_RATE:
            return  # damaged: at one sample per second each sample would become thousands
        shape = (frame.format.name, frame.layout.name, frame.sample_rate)
        if shape != self._shape or self._due is None or frame.pts != self._due:
            yield from self._settle(frame, shape)
        self._followed += frame.samples
        self._due = None if self._due is None else self._due + frame.samples
        frame.pts = None
        assert self._resampler is not None
        for piece in self._resampler.resample(frame):
            yield from self._write(piece)

    def _settle(self, frame: "AudioFrame", shape: tuple[str, str, int]) -> Iterator["AudioFrame"]:
        """Find the position on the line of a frame that does not simply follow the previous one."""
        begins = self._time_of(frame)
        if shape != self._shape or self._jumped(begins):
            yield from self._drain()
            self._resampler, self._shape = _new_resampler(_FORMAT, "mono", self._span.rate), shape
            self._at = round((begins - self._span.begin) * self._span.rate)
        self._settled, self._followed = begins, 0
        self._due = frame.pts if frame.time_base == Fraction(1, frame.sample_rate) else None

    @property
    def _expected(self) -> Fraction | None:
        """When the next piece is due, in seconds of the file."""
        if self._settled is None or self._shape is None:
            return self._settled
        return self._settled + Fraction(self._followed, self._shape[2])

    def rest(self) -> Iterator["AudioFrame"]:
        """Yield what is still buffered."""
        yield from self._drain()
        yield from self._let_out(less=self._filling())

    def _drain(self) -> Iterator["AudioFrame"]:
        resampler, self._resampler, self._shape = self._resampler, None, None
        if resampler is not None:
            for piece in resampler.resample(None):
                yield from self._write(piece)

    def _time_of(self, frame: "AudioFrame") -> Fraction:
        due = self._span.begin if self._expected is None else self._expected
        if self._span.untimed:
            return Fraction(0) if self._expected is None else due
        if frame.pts is None or not frame.time_base:
            return due
        stated = Fraction(frame.pts * frame.time_base)
        if self._late:
            stated -= Fraction(frame.samples, frame.sample_rate)
        if self._expected is not None and abs(stated - due) > _LONGEST_HOLE:
            return due
        # Times of coarse clocks jitter; the line itself is exact, so it is used until it is really off.
        return stated

    def _jumped(self, begins: Fraction) -> bool:
        """Whether a piece begins elsewhere than at the current end of the line."""
        if self._resampler is None:
            return True
        reached = self._span.begin + Fraction(self._at, self._span.rate)
        return abs(begins - reached) > _JUMP

    def _write(self, piece: "AudioFrame") -> Iterator["AudioFrame"]:
        data = bytes(piece.planes[0])[: piece.samples * _SAMPLE_BYTES]
        at, self._at = self._at, self._at + piece.samples
        if at < self.written:
            data, at = data[(self.written - at) * _SAMPLE_BYTES :], self.written
        while at > self.written and not self.full and data:
            hole = min(at - self.written, _PIECE)
            yield from self._give(bytes(hole * _SAMPLE_BYTES))
        yield from self._give(data)

    def _give(self, data: bytes) -> Iterator["AudioFrame"]:
        if self._total is not None:
            data = data[: max(0, self._total - self.written) * _SAMPLE_BYTES]
        if not data:
            return
        self._pending += data
        self.written += len(data) // _SAMPLE_BYTES
        if len(self._pending) >= _PIECE * _SAMPLE_BYTES and not self._filling():
            yield from self._let_out()

    def _filling(self) -> int:
        """Return how many of the samples so far are only padding of a codec's last frame, if no more follow."""
        behind = 0 if self._stated_samples is None else self.written - self._stated_samples
        most = min(int(_FILLING * self._span.rate), len(self._pending) // _SAMPLE_BYTES)
        return behind if 0 < behind <= most else 0

    def _let_out(self, *, less: int = 0) -> Iterator["AudioFrame"]:
        count = len(self._pending) // _SAMPLE_BYTES - less
        data, self._pending = bytes(self._pending[: count * _SAMPLE_BYTES]), bytearray()
        self.written -= less
        if data:
            yield _framed(data, self._span.rate, self.written - count)


_BLOCK = Fraction(1, 2)  # seconds
_CANCELLED = 0.1  # of the loudest channel's power; a mix with less is abandoned
_MIXED = 0.2  # the same; a mix with more is used again
_MOST_PLANES = 8


def one_channel_at_a_time(frames: "Iterator[AudioFrame]") -> "Iterator[AudioFrame]":
    """Pass frames on unchanged where their channels can be mixed, and otherwise only their loudest channel."""
    chosen: int | None = None
    for block in _blocks(frames):
        if len(block[0].layout.channels) > 1:
            chosen = loudest_if_cancelled(levels_of(block), chosen)
        elif not block[0].samples:
            continue
        for frame in block:
            count = frame.layout.nb_channels
            yield frame if chosen is None or count <= chosen or count == 1 else _channel(frame, chosen)


def loudest_if_cancelled(levels: Levels, before: int | None) -> int | None:
    """Return the channel to use alone, `None` if the mix preserves what is loud; `before` is the previous choice.

    Example:
        >>> loudest_if_cancelled(Levels((0.25, 0.25), 0.0), None)
        0
        >>> loudest_if_cancelled(Levels((0.25, 0.0), 0.0625), None) is None
        True
    """
    loudest = max(levels.channels, default=0.0)
    if loudest <= AUDIBLE:
        return before
    if levels.mixed >= loudest * (_CANCELLED if before is None else _MIXED):
        return None
    if before is not None and before < len(levels.channels) and levels.channels[before] > loudest / 2:
        return before  # two equally loud channels would alternate
    return levels.channels.index(loudest)


def _blocks(frames: "Iterator[AudioFrame]") -> "Iterator[list[AudioFrame]]":
    """Group frames of one shape into about half a second; frames of one channel pass singly."""
    for (_, channels, rate), group in itertools.groupby(
        frames, lambda frame: (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
    ):
        if channels == 1 or rate <= 0:
            yield from ([frame] for frame in group)
            continue
        block: list[AudioFrame] = []
        samples, most = 0, int(_BLOCK * rate)
        for frame in group if channels < _MOST_PLANES else _packed(group):
            block.append(frame)
            samples += frame.samples
            if samples >= most:
                yield block
                block, samples = [], 0
        if block:
            yield block


def _packed(frames: "Iterator[AudioFrame]") -> "Iterator[AudioFrame]":
    """Pack planes together: PyAV 18 reads beyond the end of its list if a frame has eight of them."""
    packer: av.AudioResampler | None = None
    for frame in frames:
        if not frame.format.is_planar:
            yield frame
            continue
        if packer is None:
            packer = _new_resampler(frame.format.packed.name, frame.layout, frame.sample_rate)
        yield from packer.resample(frame)


def _new_resampler(sample_format: str, layout: "str | AudioLayout", rate: int) -> "av.AudioResampler":
    """Return a resampler without threads of its own.

    PyAV 19's filter graphs are reference cycles, so that the garbage collector frees them. In a forked child it would
    wait forever for threads that exist only in the parent.
    """
    options: dict[str, Any] = {"format": sample_format, "layout": layout, "rate": rate, **_UNTHREADED}
    return av.AudioResampler(**options)


def _unthreaded() -> dict[str, Any]:
    options: dict[str, Any] = {"threads": 1}
    try:
        av.AudioResampler(**options)
    except TypeError:  # before PyAV 19, whose graphs are freed with their last reference
        return {}
    return options


_UNTHREADED = _unthreaded()


def _channel(frame: "AudioFrame", channel: int) -> "AudioFrame":
    """Build a frame from one channel of another."""
    count, width = frame.layout.nb_channels, frame.format.bytes
    if frame.format.is_planar:
        data = memoryview(frame.planes[channel]).cast("B")[: frame.samples * width].tobytes()
    else:
        code = cast("Any", KINDS[frame.format.name][0])
        data = memoryview(frame.planes[0]).cast("B").cast(code)[channel : frame.samples * count : count].tobytes()
    alone = av.AudioFrame(format=cast("Any", frame.format.packed.name), layout="mono", samples=frame.samples)
    plane = alone.planes[0]
    plane.update(data + bytes(plane.buffer_size - len(data)))
    alone.sample_rate, alone.pts = frame.sample_rate, frame.pts
    if frame.time_base:
        alone.time_base = frame.time_base
    return alone


def mixed(tracks: "list[Iterator[AudioFrame]]", rate: int) -> "Generator[AudioFrame]":
    """Add up tracks of mono frames whose times count samples from zero; a limiter keeps the sum within full scale."""
    _graph, sources, sink = _adder(len(tracks), rate)  # the graph must live as long as its ends
    live = list(zip(tracks, sources, strict=True))
    while live:
        frames = [next(track, None) for track, _ in live]
        for (_, source), frame in zip(live, frames, strict=True):
            source.push(frame)  # `None` ends it
        live = [pair for pair, frame in zip(live, frames, strict=True) if frame is not None]
        yield from _pulled(sink)


def _adder(count: int, rate: int) -> tuple["av.filter.Graph", list[Any], Any]:
    graph = av.filter.Graph()
    graph.threads = 1  # see _new_resampler
    sources = [
        graph.add_abuffer(format="s16", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))
        for _ in range(count)
    ]
    adder = graph.add("amix", f"inputs={count}:duration=longest:normalize=0:dropout_transition=0")
    for place, source in enumerate(sources):
        source.link_to(adder, 0, place)
    sink = graph.add("abuffersink")
    graph.link_nodes(
        adder,
        graph.add("alimiter", "limit=0.98:level=0:latency=1"),
        graph.add("aformat", f"sample_fmts=s16:channel_layouts=mono:sample_rates={rate}"),
        graph.add("asetnsamples", f"n={_PIECE}:p=0"),
        sink,
    ).configure()
    return graph, sources, sink


def _pulled(sink: Any) -> Iterator["AudioFrame"]:  # noqa: ANN401 - a filter's context
    while True:
        try:
            yield sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return


def add_audio(output: "OutputContainer", codec: AudioCodec, rate: int, bit_rate: int) -> "AudioStream":
    """Add a mono audio track to a file that is being written."""
    # FFmpeg's thorough search for AAC costs more than all other processing of a lecture's audio.
    options = {"aac_coder": "fast"} if codec == "aac" else {}
    layout: Any = "mono"
    track = output.add_stream(codec, rate=rate, layout=layout, options=options)
    track.bit_rate = bit_rate
    track.time_base = Fraction(1, rate)
    return track


def encode_audio(
    context: "AudioCodecContext", frames: Iterator["AudioFrame"], *, samples: int | None = None
) -> Iterator["Packet[AudioStream]"]:
    """Encode all frames.

    AAC has whole frames of 64 ms. If the number of samples is known, the first frame is padded, before time
    zero, instead of the last: players skip what is before zero, and the decoded audio is not longer than the source.
    """
    for frame in itertools.chain(_silence(context, -(samples or 0) % _AAC_FRAME), frames):
        yield from cast("list[Packet[AudioStream]]", context.encode(frame))
    yield from cast("list[Packet[AudioStream]]", context.encode(None))


def _silence(context: "AudioCodecContext", samples: int) -> Iterator["AudioFrame"]:
    """Yield silence that ends at zero."""
    if samples:
        yield _framed(bytes(samples * _SAMPLE_BYTES), context.sample_rate, -samples)


def _framed(data: bytes, rate: int, pts: int) -> "AudioFrame":
    frame = av.AudioFrame(format=_FORMAT, layout="mono", samples=len(data) // _SAMPLE_BYTES)
    plane = frame.planes[0]
    plane.update(data + bytes(plane.buffer_size - len(data)))
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), pts
    return frame


def make_audio(source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline) -> MediaInfo:
    """Write the mono MP3 that a plan describes, and return its facts.

    Raises:
        UnreadableMediaError: none of it can be decoded.
    """
    span = AudioRange.of(info, plan, plan.length if plan.partial else None)
    with contextlib.ExitStack() as stack:
        audio = stack.enter_context(open_audio(source, info, span, deadline))
        if audio is None:
            raise UnreadableMediaError(f"{source.label} has no audio that can be prepared.")
        output = stack.enter_context(av.open(str(path), "w", format="mp3"))
        track = add_audio(output, "libmp3lame", plan.budget.sample_rate, plan.budget.audio_bitrate)
        packets = 0
        for packet in encode_audio(track.codec_context, audio.frames):
            output.mux(packet)
            packets += 1
    if not packets:
        raise UnreadableMediaError(f"{source.label}: none of its audio can be decoded; it is damaged or truncated.")
    return MediaInfo(
        kind="audio",
        container="mp3",
        media_type="audio/mpeg",
        size_bytes=path.stat().st_size,
        duration=info.duration if plan.length is None else plan.length,
        audio_codec="mp3",
        sample_rate=plan.budget.sample_rate,
        channels=1,
    )
