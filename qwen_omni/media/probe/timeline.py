"""One continuous timeline for files whose packets do not have one.

Recordings joined byte by byte, dashcams and restarted encoders restart their clock in the middle of a file;
broadcasts jump. FFmpeg closes such breaks where timestamps go back, or advance by more than ten seconds (`-copyts`
off, `dts_delta_threshold`); so does this module, for all readers. A break is identified by its place in the file, so a
packet's time does not depend on what was read before it.
"""

import re
from dataclasses import dataclass, field
from fractions import Fraction
from typing import TYPE_CHECKING, Any

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.info import ClockBreak
from qwen_omni.media.probe.container import AHEAD, base_of, clock_of, packets_of
from qwen_omni.media.probe.mp4 import ENDLESS
from qwen_omni.media.work import Deadline

if TYPE_CHECKING:
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream

_BACK = 0.1  # seconds that decoding times may go back within one stream before it is a restart; FFmpeg's own bound
_APART = 10.0  # seconds between two streams at one place in the file
_LONGEST_HOLE = 3600.0  # seconds without any packet in containers whose clock is trusted
_OVERHANG = Fraction(1, 2)  # seconds by which audio may outlast video before a join waits for it
_MOST_BREAKS = 20_000
_MOST_PACKETS = 20_000_000  # of a walk: some days
_RESTARTING = frozenset({"mpegts", "mpeg", "ogg", "flv", "aac", "mp3", "flac"})  # whose clocks may jump ahead, too


@dataclass(slots=True)
class _Span:
    """The times of one stream between two breaks, in ticks."""

    start: int
    end: int
    last: float  # the latest decoding time, in seconds


@dataclass(slots=True)
class _Piece:
    """The packets between two breaks: `position` is where they begin in the file."""

    position: int
    spans: dict[int, _Span] = field(default_factory=dict)
    latest: float | None = None  # decoding time of any stream, in seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Walk:
    """The result of reading all packets of a file.

    Attributes:
        start: where its timeline begins, in seconds of its own clock; `None` if packets have no times.
        end: where it ends, breaks closed.
        ends: where each stream ends, by its index.
        starts: where each stream begins.
        packets: how many each stream has.
        breaks: where its clock restarts or jumps.
        changes: seconds at which the audio of a stream changes its sample rate or channels, by the stream's index.
        position: where in the file the last packet ends.
        foreign: bytes of bare audio that are not part of any frame, and where in the file they begin.
    """

    start: Fraction | None
    end: Fraction | None
    starts: dict[int, Fraction]
    ends: dict[int, Fraction]
    packets: dict[int, int]
    breaks: tuple[ClockBreak, ...]
    changes: dict[int, Fraction]
    position: int
    foreign: tuple[int, int]


def walk(container: "InputContainer", streams: "list[Stream]", deadline: Deadline) -> Walk:
    """Read the times of every packet; nothing is decoded.

    Raises:
        UnreadableMediaError: the clock jumps by more than an hour where jumps are unusual, or breaks too often.
    """
    name = container.format.name
    walker = _Walker(streams, jumps=name in _RESTARTING, frames=_Frames.of(name))
    for count, packet in enumerate(packets_of(container, *streams)):
        deadline.check()
        if count > _MOST_PACKETS:
            raise UnreadableMediaError(f"it has more than {_MOST_PACKETS:,} packets")
        if packet.size:
            walker.add(packet)
    return walker.result()


class _Walker:
    """Follows the clocks of a file packet by packet."""

    def __init__(self, streams: "list[Stream]", *, jumps: bool, frames: "_Frames | None" = None) -> None:
        self._bases = {stream.index: base_of(stream) for stream in streams}
        self._rates = {index: float(base) for index, base in self._bases.items()}
        self._video = {stream.index for stream in streams if stream.type == "video"}
        self._headers = {
            stream.index: heading
            for stream in streams
            if stream.type == "audio" and (heading := _HEADINGS.get(_codec_of(stream))) is not None
        }
        self._jumps = jumps
        self._frames = frames
        self._pieces = [_Piece(position=-1)]
        self._packets = dict.fromkeys(self._bases, 0)
        self._shapes: dict[int, int] = {}
        self._changed: dict[int, tuple[int, _Piece]] = {}
        self._position = 0
        self._latest: dict[int, _Piece] = {}

    def add(self, packet: "Packet[Any]") -> None:
        """Add the next packet, in the order of the file."""
        index = packet.stream.index
        self._packets[index] += 1
        dts = clock_of(packet)
        if packet.pos is not None:
            self._position = max(self._position, packet.pos + packet.size)
            if self._frames is not None:
                self._frames.check(packet.pos, memoryview(packet))
        if dts is None:
            return
        seconds = dts * self._rates[index]
        # Of several packets stored as one, only the first has a time; FFmpeg merely counts on for the others.
        # A frame of a program stream that began before a break is also one of those, but has the clock after it.
        counted = packet.pos is None and index in self._latest
        counted = counted and self._breaks(self._latest[index], index, seconds) is None
        piece = self._latest[index] if counted else self._piece_of(index, seconds, packet.pos)
        begin = dts if packet.pts is None else packet.pts
        end = begin + (packet.duration or 0)
        span = piece.spans.setdefault(index, _Span(begin, end, seconds))
        if not counted or index not in self._changed:  # counted times assume the first rate
            span.start, span.end = min(span.start, begin), max(span.end, end)
        if not counted:
            self._latest[index] = piece
            span.last = seconds
            piece.latest = seconds if piece.latest is None else max(seconds, piece.latest)
        if index in self._headers:
            self._follow_shape(index, packet, begin, piece)

    def _piece_of(self, index: int, dts: float, position: int | None) -> _Piece:
        """Find the piece that a packet belongs to, or begin a new one."""
        piece = self._pieces[-1]
        if position is not None and position < piece.position and len(self._pieces) > 1:
            # Long packets come out after shorter ones that begin later, so a break may show slightly late.
            before = self._pieces[-2]
            if self._breaks(before, index, dts) is None:
                return before
            piece.position = position
            return piece
        broken = self._breaks(piece, index, dts)
        if broken is None:
            return piece
        position = self._position if position is None else position
        if len(self._pieces) > _MOST_BREAKS:
            raise UnreadableMediaError(f"its clock restarts or jumps more than {_MOST_BREAKS:,} times")
        if broken > 0 and not self._jumps:
            at = float(self._join()[1] or 0)
            raise UnreadableMediaError(
                f"its clock jumps ahead by {broken:,.0f} s after second {at:,.2f}, which cannot be a still image; "
                "at most an hour is accepted. Repair its timestamps, or cut it there"
            )
        self._pieces.append(_Piece(position=position))
        return self._pieces[-1]

    def _breaks(self, piece: _Piece, index: int, dts: float) -> float | None:
        """Return by how much the clock of a piece would jump if a packet belonged to it; `None` if it continues."""
        span, latest = piece.spans.get(index), piece.latest
        if latest is None:
            return None
        ahead = AHEAD if self._jumps else _LONGEST_HOLE
        if dts - latest > ahead:
            return dts - latest
        if span is not None and span.last - dts > _BACK:
            return dts - span.last
        if span is None and self._jumps and latest - dts > _APART:
            return dts - latest
        return None

    def _follow_shape(self, index: int, packet: "Packet[Any]", begin: int, piece: _Piece) -> None:
        shape = self._headers[index](memoryview(packet))
        if shape is None:
            return
        if self._shapes.setdefault(index, shape) != shape:
            self._changed.setdefault(index, (begin, piece))

    def _bounds(self, piece: _Piece) -> tuple[Fraction, Fraction] | None:
        """Return where a piece begins and ends: its video, and audio only if it extends far beyond that."""
        spans = {index: (span.start * self._bases[index], span.end * self._bases[index])
                 for index, span in piece.spans.items()}  # fmt: skip
        if not spans:
            return None
        start, end = min(begin for begin, _ in spans.values()), max(until for _, until in spans.values())
        seen = [times for index, times in spans.items() if index in self._video]
        if seen:
            first, last = min(begin for begin, _ in seen), max(until for _, until in seen)
            start = first if first - start < _OVERHANG else start
            end = last if end - last < _OVERHANG else end
        return start, end

    def _join(self) -> tuple[list[Fraction], Fraction | None]:
        """Return what to add to the times of each piece, and where the last one then ends."""
        shifts: list[Fraction] = []
        reached: Fraction | None = None
        for piece in self._pieces:
            bounds = self._bounds(piece)
            if bounds is None:
                shifts.append(shifts[-1] if shifts else Fraction(0))
                continue
            shifts.append(Fraction(0) if reached is None else reached - bounds[0])
            reached = bounds[1] + shifts[-1]
        return shifts, reached

    def result(self) -> Walk:
        shifts, _ = self._join()
        starts: dict[int, Fraction] = {}
        ends: dict[int, Fraction] = {}
        for piece, shift in zip(self._pieces, shifts, strict=True):
            for index, span in piece.spans.items():
                begin, end = span.start * self._bases[index] + shift, span.end * self._bases[index] + shift
                starts[index] = min(starts.get(index, begin), begin)
                ends[index] = max(ends.get(index, end), end)
        breaks = tuple(
            ClockBreak(position=piece.position, shift=shift, at=bounds[0] + shift)
            for piece, shift in zip(self._pieces[1:], shifts[1:], strict=True)
            if (bounds := self._bounds(piece)) is not None
        )
        changes = {
            index: begin * self._bases[index] + shifts[self._pieces.index(piece)]
            for index, (begin, piece) in self._changed.items()
        }
        return Walk(
            start=min(starts.values(), default=None),
            end=max(ends.values(), default=None),
            starts=starts,
            ends=ends,
            packets=self._packets,
            breaks=breaks,
            changes=changes,
            position=self._position,
            foreign=(0, 0) if self._frames is None else (self._frames.foreign, self._frames.begin),
        )


# How the frames of bare audio begin, and the most bytes that one has: ISO/IEC 11172-3 2.4.1, ISO/IEC 14496-3 1.A.2.2,
# ETSI TS 102 366 4.3 and E.1.2, ETSI TS 102 114 5.3 (and its extensions).
_SYNC = {
    "mp3": (rb"\xff[\xe2-\xff]", 4_096),
    "aac": (rb"\xff[\xf0\xf1\xf8\xf9]", 8_191),
    "ac3": (rb"\x0b\x77|\x77\x0b", 3_840),
    "eac3": (rb"\x0b\x77|\x77\x0b", 4_096),
    "dts": (rb"\x7f\xfe\x80\x01|\xfe\x7f\x01\x80|\x1f\xff\xe8\x00|\xff\x1f\x00\xe8|\x64\x58\x20\x25", 32_768),
}


class _Frames:
    """Counts the bytes of bare audio that are not part of any frame; tags and padding do not count."""

    def __init__(self, sync: bytes, longest: int) -> None:
        self._sync, self._longest = re.compile(sync), longest
        self._tag_end = 0
        self.foreign, self.begin = 0, 0

    @classmethod
    def of(cls, format_name: str) -> "_Frames | None":
        """Return the counter for one of FFmpeg's formats, if that is bare audio."""
        return cls(*_SYNC[format_name]) if format_name in _SYNC else None

    def check(self, position: int, packet: memoryview) -> None:
        """Look at the next packet."""
        begins = self._sync.match(packet) is not None
        if begins and len(packet) <= self._longest:
            return
        if not begins:
            self._tag_end = max(self._tag_end, position + tag_size(bytes(packet[:32])))
            if position < self._tag_end or not any(packet):
                return
        if not self.foreign:
            self.begin = position
        self.foreign += len(packet) - (self._longest if begins else 0)


def tag_size(head: bytes) -> int:
    r"""Return how many bytes the tag takes that begins with these; 0 if none does.

    Sources: ID3v2.4.0 structure 3.1, APE tags version 2, ID3v1. Lyrics3 does not state its size at its beginning, and
    only other tags follow it.

    Example:
        >>> tag_size(b"ID3\x04\x00\x00\x00\x00\x01\x00"), tag_size(b"RIFF")
        (138, 0)
    """
    if head.startswith(b"ID3"):
        return 10 + sum(byte << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=False))
    if head.startswith(b"APETAGEX"):
        return 32 + int.from_bytes(head[12:16], "little")
    return 128 if head.startswith(b"TAG") else ENDLESS if head.startswith(b"LYRICSBEGIN") else 0


def _codec_of(stream: "Stream") -> str:
    context: CodecContext | None = stream.codec_context  # the stubs omit that it may be missing
    return "" if context is None else context.codec.canonical_name


def _mpeg_audio_shape(head: memoryview) -> int | None:
    """Version, rate and mono or not, of a frame of MPEG audio (ISO/IEC 11172-3, 2.4.1.3)."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xE0 != 0xE0:  # noqa: PLR2004
        return None
    return (head[1] & 0x18) << 16 | (head[2] & 0x0C) << 8 | (head[3] >> 6 == 3)  # noqa: PLR2004


def _adts_shape(head: memoryview) -> int | None:
    """Rate and channels of a frame of ADTS (ISO/IEC 14496-3, 1.A.2.2); MP4 has bare frames."""
    if len(head) < 4 or head[0] != 0xFF or head[1] & 0xF6 != 0xF0:  # noqa: PLR2004
        return None
    return (head[2] & 0x3C) << 8 | (head[2] & 1) << 2 | head[3] >> 6


def _ac3_shape(head: memoryview) -> int | None:
    """Rate and channel mode of a frame of AC-3 (ETSI TS 102 366, 4.3)."""
    if len(head) < 7 or head[0] != 0x0B or head[1] != 0x77 or head[5] >> 3 > 10:  # noqa: PLR2004
        return None
    return (head[4] & 0xC0) << 8 | head[6] >> 5


_HEADINGS = {"mp3": _mpeg_audio_shape, "mp2": _mpeg_audio_shape, "aac": _adts_shape, "ac3": _ac3_shape}
