"""Sound: read a stretch of it as one channel at one rate, without drift, and encode it.

Every decoded piece is placed by its own time. Small differences are codecs' rounding and are let be; where sound
is missing there is silence, where pieces overlap the later one is cut. So the end of a two-hour film is as much
in time as its beginning.
"""

import contextlib
import itertools
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import av

from qwen_omni.media.encode.pool import trim_heap
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.files.handle import Reopenable
from qwen_omni.media.info import ClockBreak, MediaInfo, exact
from qwen_omni.media.probe.audio_tracks import decoded, mixed, one_channel_at_a_time
from qwen_omni.media.probe.container import INDEXED, UNTIMED, open_for_work, sound_streams
from qwen_omni.media.probe.mp4_index import Wanted
from qwen_omni.media.probe.timeline import read_from

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet

# Whole numbers, since damaged files decode to floats that are none, and FFmpeg's AAC encoder never ends on those.
_FORMAT: Literal["s16"] = "s16"
_SAMPLE_BYTES = 2
_JUMP = Fraction(3, 100)  # seconds; less is rounding
_LONGEST_HOLE = Fraction(3600)  # a longer one is damage, and its time is not believed
_RUN_UP = Fraction(1)  # seconds read before the stretch, so that decoders are settled
_TELLING = frozenset({INDEXED, "matroska,webm"})  # containers that tell to the sample where sound ends
_AAC_FRAME = 1024  # samples
_FILLING = Fraction(1, 20)  # seconds; the longest usual frame, of HE-AAC at 44.1 kHz, lasts 0.046 s
_PIECE = 8192  # samples given out at once
_LEAST_RATE, _MOST_RATE = 1_000, 1_000_000  # samples per second
_MOST_BROKEN = 20_000  # packets in a row
_A_FRAME_LATE = frozenset({"wmav1", "wmav2"})  # these decoders give each frame when its successor comes, with its time

SoundCodec = Literal["aac", "libmp3lame"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SoundStretch:
    """Which sound is wanted: from `begin` on, in the file's own time, `duration` seconds or all.

    `told` is where the file says that its sound ends, in seconds from `begin`. If an `index` says so, a little that is
    decoded behind it is how a codec fills up its last frame, and not given. If `untimed`, the file's times are of no
    use, and its samples are counted from the first one on. If `changing`, times that FFmpeg counted itself are of the
    first rate, and only those of the file are used.
    """

    begin: Fraction
    rate: int
    duration: Fraction | None = None
    seek: bool = False
    told: Fraction | None = None
    index: bool = False
    untimed: bool = False
    changing: bool = False

    @property
    def wanted(self) -> Wanted:
        """The seconds of the file that are read for it."""
        return Wanted(begin=self.begin, end=None if self.duration is None else self.begin + self.duration)

    @property
    def samples(self) -> int | None:
        """How many samples there will be, as far as anybody knows."""
        ends = [end for end in (self.duration, self.told) if end is not None]
        return max(0, round(min(ends) * self.rate)) if ends else None


@dataclass(frozen=True, slots=True)
class Sound:
    """Mono frames whose times count samples from zero, and how many samples they are, where that is known before."""

    frames: Iterator["AudioFrame"]
    samples: int | None


@contextlib.contextmanager
def open_sound(
    source: Reopenable, info: MediaInfo, stretch: SoundStretch, deadline: Deadline
) -> Iterator[Sound | None]:
    """Open the audio of a file that is heard: one track, or all of them mixed; `None` if it has none.

    Each track that is mixed is read by a reader of its own, as tracks may lie far apart in the file.
    """
    with contextlib.ExitStack() as stack:
        heard: list[tuple[SoundStretch, Iterator[AudioFrame]]] = []
        while True:
            file = stack.enter_context(source.open())
            opened = open_for_work(file, source.size_bytes, only="audio", wanted=stretch.wanted, deadline=deadline)
            container = stack.enter_context(opened)
            trim_heap()  # of what the piece before freed, and of what opening needed for a moment
            streams = sound_streams(container, info.audio_track)
            if len(heard) >= len(streams):
                break
            stream = streams[len(heard)]
            name = container.format.name
            told = None if info.breaks else _end_told(stream, stretch.begin)
            if len(streams) == 1 and name != INDEXED and info.sound_duration is not None and info.sound_end is not None:
                told = info.origin + info.sound_end - stretch.begin  # headers were corrected by reading all packets
            untimed = name in UNTIMED and info.sound_changes is not None
            wanted = replace(
                stretch, told=told, index=name in _TELLING, untimed=untimed, changing=info.sound_changes is not None
            )
            heard.append((wanted, read_sound(container, stream, wanted, deadline, info.breaks)))
            if len(heard) == len(streams):
                break
        if not heard:
            yield None
        elif len(heard) == 1:
            yield Sound(heard[0][1], heard[0][0].samples)
        else:
            counts = [wanted.samples for wanted, _ in heard]
            total = None if None in counts else max(cast("list[int]", counts))
            yield Sound(mixed([frames for _, frames in heard], stretch.rate), total)


def _end_told(stream: "AudioStream", begin: Fraction) -> Fraction | None:
    """Return where a file says that its sound ends, in seconds from `begin`."""
    if not stream.duration or not stream.time_base:
        return None
    return ((stream.start_time or 0) + stream.duration) * exact(stream.time_base) - begin


def read_sound(
    container: "InputContainer",
    stream: "AudioStream",
    stretch: SoundStretch,
    deadline: Deadline,
    breaks: tuple[ClockBreak, ...] = (),
) -> Iterator["AudioFrame"]:
    """Give a stretch of sound as mono frames whose times count samples from its beginning."""
    line = _Line(stretch, late=stream.codec_context.name in _A_FRAME_LATE)
    for frame in one_channel_at_a_time(_frames(container, stream, stretch, deadline, breaks)):
        for piece in line.place(frame):
            deadline.check()  # there may be an hour of silence before it
            yield piece
        if line.full:
            break
    yield from line.rest()


def _frames(
    container: "InputContainer",
    stream: "AudioStream",
    stretch: SoundStretch,
    deadline: Deadline,
    breaks: tuple[ClockBreak, ...],
) -> Iterator["AudioFrame"]:
    sought = stretch.seek and stretch.begin > _RUN_UP and not stretch.untimed
    begin = stretch.begin - _RUN_UP if sought else None
    packets = next(read_from(container, stream, begin, breaks)).packets
    return decoded(_believed(packets) if stretch.changing else packets, deadline, most_broken=_MOST_BROKEN)


def _believed(packets: "Iterable[Packet[Any]]") -> "Iterator[Packet[Any]]":
    """Drop the times that FFmpeg counted itself, which are of the first rate; the file's own packets keep theirs."""
    for packet in packets:
        if packet.pos is None:
            packet.pts = None
        yield packet


class _Line:
    """The samples so far, placed one behind the other."""

    def __init__(self, stretch: SoundStretch, *, late: bool = False) -> None:
        self._stretch, self._late = stretch, late
        self._written = 0  # samples given out
        self._total = None if stretch.duration is None else round(stretch.duration * stretch.rate)
        self._told = round(stretch.told * stretch.rate) if stretch.index and stretch.told is not None else None
        self._resampler: av.AudioResampler | None = None
        self._shape: tuple[str, str, int] | None = None
        self._settled: Fraction | None = None  # when the last piece began that did not just follow, in the file's time
        self._followed = 0  # samples since then
        self._due: int | None = None  # how the next piece tells its time if it follows, where times count samples
        self._at = 0  # where on the line the next sample of the resampler belongs
        self._kept: list[bytes] = []  # samples not given out yet; many small frames cost more than a large one
        self._kept_count = 0

    @property
    def full(self) -> bool:
        return self._total is not None and self._written >= self._total

    def place(self, frame: "AudioFrame") -> Iterator["AudioFrame"]:
        """Resample a frame and give what of it lies in the stretch, behind silence where there was a hole."""
        if not frame.samples or not _LEAST_RATE <= frame.sample_rate <= _MOST_RATE:
            return  # nonsense of a damaged file: at one sample a second each would become thousands
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
        """Find out where on the line a frame belongs that does not simply follow the one before."""
        begins = self._time_of(frame)
        if shape != self._shape or self._jumped(begins):
            yield from self._drain()
            self._resampler, self._shape = self._new_resampler(), shape
            self._at = round((begins - self._stretch.begin) * self._stretch.rate)
        self._settled, self._followed = begins, 0
        self._due = frame.pts if frame.time_base == Fraction(1, frame.sample_rate) else None

    @property
    def _expected(self) -> Fraction | None:
        """When the next piece is due, in seconds of the file."""
        if self._settled is None or self._shape is None:
            return self._settled
        return self._settled + Fraction(self._followed, self._shape[2])

    def rest(self) -> Iterator["AudioFrame"]:
        """Give what is still held."""
        yield from self._drain()
        yield from self._let_out(less=self._filling())

    def _drain(self) -> Iterator["AudioFrame"]:
        resampler, self._resampler, self._shape = self._resampler, None, None
        if resampler is not None:
            for piece in resampler.resample(None):
                yield from self._write(piece)

    def _new_resampler(self) -> "av.AudioResampler":
        return av.AudioResampler(format=_FORMAT, layout="mono", rate=self._stretch.rate)

    def _time_of(self, frame: "AudioFrame") -> Fraction:
        due = self._stretch.begin if self._expected is None else self._expected
        if self._stretch.untimed:
            return Fraction(0) if self._expected is None else due
        if frame.pts is None or not frame.time_base:
            return due
        told = Fraction(frame.pts * frame.time_base)
        if self._late:
            told -= Fraction(frame.samples, frame.sample_rate)
        if self._expected is not None and abs(told - due) > _LONGEST_HOLE:
            return due
        # Times of coarse clocks jitter; the line itself is exact, so it is kept until it is really off.
        return told

    def _jumped(self, begins: Fraction) -> bool:
        """Tell whether a piece begins elsewhere than where the line has come to."""
        if self._resampler is None:
            return True
        reached = self._stretch.begin + Fraction(self._at, self._stretch.rate)
        return abs(begins - reached) > _JUMP

    def _write(self, piece: "AudioFrame") -> Iterator["AudioFrame"]:
        data = bytes(piece.planes[0])[: piece.samples * _SAMPLE_BYTES]
        at, self._at = self._at, self._at + piece.samples
        if at < self._written:
            data, at = data[(self._written - at) * _SAMPLE_BYTES :], self._written
        while at > self._written and not self.full and data:
            hole = min(at - self._written, _PIECE)
            yield from self._give(bytes(hole * _SAMPLE_BYTES))
        yield from self._give(data)

    def _give(self, data: bytes) -> Iterator["AudioFrame"]:
        if self._total is not None:
            data = data[: max(0, self._total - self._written) * _SAMPLE_BYTES]
        if not data:
            return
        self._kept.append(data)
        self._kept_count += len(data) // _SAMPLE_BYTES
        self._written += len(data) // _SAMPLE_BYTES
        if self._kept_count >= _PIECE and not self._filling():
            yield from self._let_out()

    def _filling(self) -> int:
        """Tell how many of the samples so far only fill up the last frame of a codec, if no more follow."""
        behind = 0 if self._told is None else self._written - self._told
        return behind if 0 < behind <= min(int(_FILLING * self._stretch.rate), self._kept_count) else 0

    def _let_out(self, *, less: int = 0) -> Iterator["AudioFrame"]:
        self._kept_count, self._written = self._kept_count - less, self._written - less
        count, data = self._kept_count, b"".join(self._kept)
        data = data[: count * _SAMPLE_BYTES]
        self._kept, self._kept_count = [], 0
        if count == 0:
            return
        yield _framed(data, self._stretch.rate, self._written - count)


def add_sound(output: "OutputContainer", codec: SoundCodec, rate: int, bit_rate: int) -> "AudioStream":
    """Add a mono sound track to a file that is being written."""
    # FFmpeg's thorough search for AAC costs more than all else that is done to the sound of a lecture.
    options = {"aac_coder": "fast"} if codec == "aac" else {}
    layout: Any = "mono"
    track = output.add_stream(codec, rate=rate, layout=layout, options=options)
    track.bit_rate = bit_rate
    track.time_base = Fraction(1, rate)
    return track


def encode_sound(
    context: "AudioCodecContext", frames: Iterator["AudioFrame"], *, samples: int | None = None
) -> Iterator["Packet[AudioStream]"]:
    """Encode frames to the end of them.

    AAC comes in whole frames of 64 ms. Where the number of samples is known the first frame is filled up, before time
    zero, instead of the last: players pass over what is before zero, and what is decoded is not longer than the source.
    """
    for frame in itertools.chain(_silence(context, -(samples or 0) % _AAC_FRAME), frames):
        yield from cast("list[Packet[AudioStream]]", context.encode(frame))
    yield from cast("list[Packet[AudioStream]]", context.encode(None))


def _silence(context: "AudioCodecContext", samples: int) -> Iterator["AudioFrame"]:
    """Give silence that ends at zero."""
    if samples:
        yield _framed(bytes(samples * _SAMPLE_BYTES), context.sample_rate, -samples)


def _framed(data: bytes, rate: int, pts: int) -> "AudioFrame":
    frame = av.AudioFrame(format=_FORMAT, layout="mono", samples=len(data) // _SAMPLE_BYTES)
    plane = frame.planes[0]
    plane.update(data + bytes(plane.buffer_size - len(data)))
    frame.sample_rate, frame.time_base, frame.pts = rate, Fraction(1, rate), pts
    return frame
