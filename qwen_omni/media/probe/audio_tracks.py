"""Which audio track of a file is used: the default one unless it is silent, the requested one, or all of them mixed.

Screen recordings and dubbed videos have several. A track is named by its position among the audio tracks, from 0, as in
FFmpeg's `0:a:1`.

Channels are mixed by their mean. If they are in opposite phase (a miswired plug, a "wide" stereo effect) they would
cancel out, and if only one of many channels speaks it would be inaudible: in those cases the loudest channel is used
instead. This is decided every half second, from a few samples.
"""

import contextlib
import itertools
from collections.abc import Callable, Generator, Iterable, Iterator
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import av
from av.stream import Disposition

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.info import AudioTrack, AudioTrackChoice, exact, no_such_track
from qwen_omni.media.probe.container import has_decoder, packets_of
from qwen_omni.redact import clean

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.layout import AudioLayout
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_BLOCK = Fraction(1, 2)  # seconds
_STRIDE = 29  # samples; prime, so that no tone falls on its zeros
_AUDIBLE = 1e-6  # mean square of full scale: -60 dB
_CANCELLED = 0.1  # of the loudest channel's power; a mix with less is abandoned
_MIXED = 0.2  # the same; a mix with more is used again
_KINDS = {"u8": ("B", 128.0), "s16": ("h", 2.0**15), "s32": ("i", 2.0**31), "s64": ("q", 2.0**63),
          "flt": ("f", 1.0), "dbl": ("d", 1.0)}  # fmt: skip
_MOST_PLANES = 8
_MOST_LEVEL = 4.0  # of full scale; more, or not a number, is damage


@dataclass(frozen=True, slots=True)
class Levels:
    """Mean squares, full scale being 1: of each channel, and of the mean of all."""

    channels: tuple[float, ...]
    mixed: float

    @property
    def audible(self) -> bool:
        """Whether any of it is audible."""
        return max(self.channels, default=0.0) > _AUDIBLE


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
    if loudest <= _AUDIBLE:
        return before
    if levels.mixed >= loudest * (_CANCELLED if before is None else _MIXED):
        return None
    if before is not None and before < len(levels.channels) and levels.channels[before] > loudest / 2:
        return before  # two equally loud channels would alternate
    return levels.channels.index(loudest)


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
            packer = new_resampler(frame.format.packed.name, frame.layout, frame.sample_rate)
        yield from packer.resample(frame)


def new_resampler(sample_format: str, layout: "str | AudioLayout", rate: int) -> "av.AudioResampler":
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


def _samples(frame: "AudioFrame", channel: int, stride: int) -> list[float]:
    """Return every `stride`-th sample of a channel, full scale being 1."""
    code, full = _KINDS[frame.format.name.removesuffix("p")]
    count = frame.layout.nb_channels
    if frame.format.is_planar:
        values = memoryview(frame.planes[channel]).cast("B").cast(cast("Any", code))[: frame.samples : stride]
    else:
        values = memoryview(frame.planes[0]).cast("B").cast(cast("Any", code))
        values = values[channel : frame.samples * count : stride * count]
    shift = full if code == "B" else 0.0
    found = [(value - shift) / full for value in values]
    return [value if -_MOST_LEVEL < value < _MOST_LEVEL else 0.0 for value in found]


def _channel(frame: "AudioFrame", channel: int) -> "AudioFrame":
    """Build a frame from one channel of another."""
    count, width = frame.layout.nb_channels, frame.format.bytes
    if frame.format.is_planar:
        data = memoryview(frame.planes[channel]).cast("B")[: frame.samples * width].tobytes()
    else:
        code = cast("Any", _KINDS[frame.format.name][0])
        data = memoryview(frame.planes[0]).cast("B").cast(code)[channel : frame.samples * count : count].tobytes()
    alone = av.AudioFrame(format=cast("Any", frame.format.packed.name), layout="mono", samples=frame.samples)
    plane = alone.planes[0]
    plane.update(data + bytes(plane.buffer_size - len(data)))
    alone.sample_rate, alone.pts = frame.sample_rate, frame.pts
    if frame.time_base:
        alone.time_base = frame.time_base
    return alone


_HEARD_WHOLE = Fraction(600)  # seconds in which a track is searched for sound without gaps
_EVERY, _EACH = Fraction(30), Fraction(1)  # after that: interval and length of each sample, in seconds
_MOST_BROKEN = 500  # packets in a row
_PIECE = 8192  # samples
_LONGEST_TAG = 80  # characters

Opening = Callable[[], contextlib.AbstractContextManager["InputContainer"]]
"""Opens a file again for its audio."""


def tracks_of(container: "InputContainer") -> tuple[AudioTrack, ...]:
    """List the audio tracks of a file."""
    return tuple(
        AudioTrack(
            index=index,
            codec=stream.codec_context.codec.canonical_name if has_decoder(stream) else None,
            sample_rate=(stream.codec_context.sample_rate or None) if has_decoder(stream) else None,
            channels=(stream.codec_context.layout.nb_channels or None) if has_decoder(stream) else None,
            language=_tag(stream.metadata.get("language")),
            title=_tag(stream.metadata.get("title")),
            default=bool(stream.disposition & Disposition.default),
        )
        for index, stream in enumerate(container.streams.audio)
    )


def _tag(tag: str | None) -> str | None:
    """Clean a tag, which comes from an untrusted file, as part of one line."""
    return None if tag is None else clean(tag[:_LONGEST_TAG], "terminal", one_line=True)


def choose_track(
    tracks: tuple[AudioTrack, ...], choice: AudioTrackChoice, opening: Opening, deadline: Deadline
) -> int | Literal["mix"] | None:
    """Decide which track is used; `None` if there is none that can be.

    Args:
        tracks: of the file.
        choice: the caller's choice.
        opening: opens the file to analyse its audio, if that decides.
        deadline: checked meanwhile.

    Raises:
        UnsupportedMediaError: the file has no such track, or there is no decoder for it.
    """
    decodable = [track for track in tracks if track.codec is not None]
    if choice == "mix":
        return None if not decodable else "mix" if len(decodable) > 1 else decodable[0].index
    if choice != "auto":
        return _asked_for(tracks, choice)
    if len(decodable) < 2:  # noqa: PLR2004 - nothing to choose from
        return decodable[0].index if decodable else None
    usual = next((track for track in decodable if track.default), decodable[0])
    for track in (usual, *(track for track in decodable if track is not usual)):
        if is_audible(opening, track.index, deadline):
            return track.index
    return usual.index


def _asked_for(tracks: tuple[AudioTrack, ...], choice: int) -> int:
    if not 0 <= choice < len(tracks):
        raise UnsupportedMediaError(no_such_track(tracks, choice))
    if tracks[choice].codec is None:
        raise UnsupportedMediaError(f"has an audio track {choice} for which there is no decoder")
    return choice


def is_audible(opening: Opening, index: int, deadline: Deadline) -> bool:
    """Whether a track holds any sound. The first ten minutes are checked entirely, then one second in thirty."""
    with opening() as container:
        stream = container.streams.audio[index]
        begin, at = None, Fraction(0)
        for frame in frames_of(container, stream, deadline):
            if levels_of([frame]).audible:
                return True
            at = Fraction(frame.pts or 0) * exact(frame.time_base or 0)
            begin = at if begin is None else begin
            if at - begin > _HEARD_WHOLE:
                break
        else:
            return False
        return any(_audible_at(container, stream, at, deadline) for at in _places(stream, at))


def _places(stream: "AudioStream", at: Fraction) -> Iterator[Fraction]:
    if not stream.duration or not stream.time_base:
        return
    end = ((stream.start_time or 0) + stream.duration) * exact(stream.time_base)
    while (at := at + _EVERY) < end:
        yield at


def _audible_at(container: "InputContainer", stream: "AudioStream", at: Fraction, deadline: Deadline) -> bool:
    try:
        container.seek(int(at / exact(stream.time_base or 1)), stream=stream)
    except (av.FFmpegError, ValueError):
        return False
    for frame in frames_of(container, stream, deadline):
        if levels_of([frame]).audible:
            return True
        if Fraction(frame.pts or 0) * exact(frame.time_base or 0) > at + _EACH:
            break
    return False


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


def mixed(tracks: "list[Iterator[AudioFrame]]", rate: int) -> "Generator[AudioFrame]":
    """Add up tracks of mono frames whose times count samples from zero; a limiter keeps the sum within full scale."""
    _graph, sources, sink = _adder(len(tracks), rate)  # the graph must live as long as its ends
    ended = [False] * len(tracks)
    while True:
        for number, (track, source) in enumerate(zip(tracks, sources, strict=True)):
            if ended[number]:
                continue
            frame = next(track, None)
            ended[number] = frame is None
            source.push(frame)
        yield from _pulled(sink)
        if all(ended):
            return


def _adder(count: int, rate: int) -> tuple["av.filter.Graph", list[Any], Any]:
    graph = av.filter.Graph()
    graph.threads = 1  # see new_resampler
    sources = [
        graph.add_abuffer(format="s16", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))
        for _ in range(count)
    ]
    adder = graph.add("amix", f"inputs={count}:duration=longest:normalize=0:dropout_transition=0")
    for place, source in enumerate(sources):
        source.link_to(adder, 0, place)
    last: Any = adder
    for name, arguments in (
        ("alimiter", "limit=0.98:level=0:latency=1"),
        ("aformat", f"sample_fmts=s16:channel_layouts=mono:sample_rates={rate}"),
        ("asetnsamples", f"n={_PIECE}:p=0"),
        ("abuffersink", None),
    ):
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    graph.configure()
    return graph, sources, last


def _pulled(sink: Any) -> Iterator["AudioFrame"]:  # noqa: ANN401 - a filter's context
    while True:
        try:
            yield sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
