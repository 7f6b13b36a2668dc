"""Several channels of sound → what one channel is made of, so that nothing loud is lost in the mix.

The mean of all channels is what is usually wanted. Where channels are of opposite phase (a plug wired the wrong way
round, a "wide" stereo effect) they cancel each other, and where one of many channels speaks it drowns: there the
loudest channel is taken instead. That is decided for every half second, from a few of its samples.
"""

import itertools
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, cast

import av

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.frame import AudioFrame

_BLOCK = Fraction(1, 2)  # seconds
_STRIDE = 29  # samples; prime, so that no tone falls on its zeros
_AUDIBLE = 1e-6  # mean square of full scale: -60 dB
_CANCELLED = 0.1  # of the loudest channel's power; a mix with less is left
_MIXED = 0.2  # the same; a mix with more is taken again
_KINDS = {"u8": ("B", 128.0), "s16": ("h", 2.0**15), "s32": ("i", 2.0**31), "s64": ("q", 2.0**63),
          "flt": ("f", 1.0), "dbl": ("d", 1.0)}  # fmt: skip
_MOST_PLANES = 8
_MOST_LEVEL = 4.0  # of full scale; more, and what is no number, is damage


@dataclass(frozen=True, slots=True)
class Levels:
    """Mean squares, full scale being 1: of each channel, and of the mean of all."""

    channels: tuple[float, ...]
    mixed: float

    @property
    def audible(self) -> bool:
        """Whether anything of it can be heard."""
        return max(self.channels, default=0.0) > _AUDIBLE


def one_channel_at_a_time(frames: "Iterator[AudioFrame]") -> "Iterator[AudioFrame]":
    """Pass frames on as they are where their channels can be mixed, and else their loudest channel alone."""
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
    """Return the channel to take alone, `None` where the mix keeps what is loud; `before` was taken so far.

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
        return before  # two channels of one loudness would take turns
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
    """Gather frames of one shape to about half a second; frames of one channel pass singly."""
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
    """Bring planes together: PyAV 18 reads beyond the end of its list where a frame has eight of them."""
    packer: av.AudioResampler | None = None
    for frame in frames:
        if not frame.format.is_planar:
            yield frame
            continue
        if packer is None:
            kind: Any = frame.format.packed.name
            packer = av.AudioResampler(format=kind, layout=frame.layout, rate=frame.sample_rate)
        yield from packer.resample(frame)


def _samples(frame: "AudioFrame", channel: int, stride: int) -> list[float]:
    """Return every so many samples of a channel, full scale being 1."""
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
    """Make a frame of one channel of another."""
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
