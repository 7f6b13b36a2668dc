"""Encode a range of a video as one MP4, or remux it if only the container is refused.

A whole file is split at key frames into pieces that a few threads encode at once, each with a one-thread decoder and
encoder; the packets join without a gap. All cores are used and no frame is decoded twice. A file that cannot be sought
is read once, decoded on one thread and encoded on another.

At a few frames per second, frames differ so much that B-frames gain little, and neither do a finer motion search or
smaller blocks. Without them encoding takes a third less time at the same bytes and the same SSIM
(`benchmarks/media.py`), once the rate factor is half a point higher: x264 codes P-frames more finely than the B-frames
they replace.
"""

import contextlib
import math
from dataclasses import replace
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import av

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.encode.audio import AudioRange, add_audio, encode_audio, open_audio
from qwen_omni.media.encode.frames import FrameRun, Shaper, Shown, read_shaped
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.info import MediaInfo, exact
from qwen_omni.media.plan.plan import FrameEncoding, MediaPlan
from qwen_omni.media.probe.container import (
    INDEXED,
    audio_streams,
    cut_short,
    open_for_work,
    open_video,
    packets_of,
    timed_packets,
    video_stream,
)
from qwen_omni.media.probe.mp4 import Wanted
from qwen_omni.media.work import Deadline, in_order, piped

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator

    from av.audio.stream import AudioStream
    from av.container import InputContainer, OutputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.codeccontext import VideoCodecContext
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

_GLOBAL_HEADER = 1 << 22  # FFmpeg's AV_CODEC_FLAG_GLOBAL_HEADER; MP4 needs the parameters first
_FAR_APART = Fraction(1, 10)  # seconds between two frames from which the above was measured
_USUAL_EFFORT = "veryfast"  # any other is the caller's choice, and is x264's preset unchanged
_FAR_APART_PARAMETERS = "bframes=0:me=dia:partitions=i4x4,i8x8"
_FAR_APART_COARSER = 0.5  # of the constant rate factor


def coding_of(encoding: FrameEncoding) -> dict[str, str]:
    """Return the options of libx264 for a plan.

    Example:
        >>> coding_of(FrameEncoding(size=(1280, 720), period=Fraction(1, 30)))
        {'preset': 'veryfast', 'crf': '26'}
        >>> coding_of(FrameEncoding(size=(1280, 720), period=Fraction(1, 4)))["crf"]
        '26.5'
    """
    options = {"preset": encoding.effort, "crf": str(encoding.quality)}
    if encoding.period >= _FAR_APART and encoding.effort == _USUAL_EFFORT:
        options |= {"crf": str(encoding.quality + _FAR_APART_COARSER), "x264-params": _FAR_APART_PARAMETERS}
    if encoding.most_bits is not None:
        options |= {"maxrate": str(encoding.most_bits), "bufsize": str(encoding.most_bits)}
    return options


def open_encoder(encoding: FrameEncoding, *, threads: int) -> "VideoCodecContext":
    """Open an H.264 encoder for a plan. Encoders of one plan write the same header, so their packets can be joined."""
    context = av.CodecContext.create("libx264", "w")
    set_up(context, encoding)
    context.thread_count = threads
    context.open()
    return context


def set_up(context: "VideoCodecContext", encoding: FrameEncoding) -> None:
    """Set the parameters of an encoder, or of the stream that carries its packets."""
    context.width, context.height = encoding.size
    context.pix_fmt = "yuv420p"
    context.time_base = encoding.period
    context.framerate = 1 / encoding.period
    context.flags |= _GLOBAL_HEADER
    context.options = coding_of(encoding)


class FrameEncoder:
    """Encodes shown frames; packets have numbers of output frames as their times."""

    def __init__(self, encoding: FrameEncoding, *, threads: int = 1) -> None:
        self._context = open_encoder(encoding, threads=threads)
        self._delay = self._context.reorder_depth
        self._numbers: list[int] = []
        self._given = 0

    def encode(self, frame: "VideoFrame", number: int, count: int) -> "Iterator[Packet[VideoStream]]":
        """Encode one frame for `count` output frames from `number` on."""
        frame.time_base = self._context.time_base
        frame.pict_type = 0  # do not reuse the source's frame types
        for shown in range(number, number + count):
            frame.pts = shown
            self._numbers.append(shown)
            yield from self._timed(self._context.encode(frame))

    def end(self) -> "Iterator[Packet[VideoStream]]":
        """Return what is still in the encoder."""
        yield from self._timed(self._context.encode(None))

    def _timed(self, packets: "list[Packet[VideoStream]]") -> "Iterator[Packet[VideoStream]]":
        """Set decoding times by rule, so that the packets of several encoders follow each other without a gap."""
        for packet in packets:
            late = self._given - self._delay
            packet.dts = self._numbers[0] + late if late < 0 else self._numbers[late]
            self._given += 1
            yield packet


_PIECE = Fraction(30)  # seconds that one thread works on at a time
_LEAST_PIECE = Fraction(5)
_MOST_MISSED = 60  # cuts in a row without a key frame; a damaged file may claim a million years
_SOUGHT = frozenset({INDEXED, "matroska,webm"})  # containers with a reliable index
_WAITING_FRAMES = 8
_WAITING_AUDIO = 256  # packets; about 16 s


_TRIES = 2  # times that a video is encoded again because it is larger than allowed, as short noisy ones can be
_LESS = 0.85


def remux(source: Reopenable, info: MediaInfo, path: Path, deadline: Deadline) -> MediaInfo:
    """Copy the first video track and the chosen audio of a file into an MP4, and return its facts."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source.open())
        container = stack.enter_context(open_for_work(file, source.size_bytes, deadline=deadline))
        output = stack.enter_context(av.open(str(path), "w", format="mp4"))
        copied: dict[int, Stream] = {}
        for stream in (video_stream(container), *audio_streams(container, info.audio_track)):
            if stream is not None:
                copied[stream.index] = output.add_stream_from_template(stream)
        for packet in timed_packets(container, info.breaks, *(container.streams[index] for index in copied)):
            deadline.check()
            if packet.size == 0 or packet.dts is None:
                continue
            packet.stream = copied[packet.stream.index]
            output.mux(packet)
    return replace(
        info, container="mp4", media_type="video/mp4", size_bytes=path.stat().st_size, origin=Fraction(0),
        audio_tracks=(), audio_track=0,
    )  # fmt: skip


def make_video(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline, *, workers: int = 1
) -> MediaInfo:
    """Write the MP4 that a plan describes, and return its facts. One worker runs on the caller's thread.

    Raises:
        UnreadableMediaError: nothing of it can be decoded, or it changed meanwhile.
    """
    made = _write(source, info, plan, path, deadline, workers)
    for _ in range(_TRIES):
        encoding, size = _encoding(plan), made.size_bytes
        if encoding.most_bytes is None or encoding.most_bits is None or size <= encoding.most_bytes:
            break
        fewer = int(encoding.most_bits * _LESS * encoding.most_bytes / size)
        plan = replace(plan, encoding=replace(encoding, most_bits=max(fewer, 1000)))
        made = _write(source, info, plan, path, deadline, workers)
    return made


def _write(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline, workers: int
) -> MediaInfo:
    with contextlib.ExitStack() as stack:
        runs = _runs(source, info, plan, workers, deadline)
        plan = replace(plan, encoding=replace(_encoding(plan), period=runs[0].period))
        frames = _frame_packets(source, info, plan, runs, deadline, workers)
        stack.callback(frames.close)
        output = stack.enter_context(av.open(str(path), "w", format="mp4"))
        track = output.add_stream("libx264", rate=1 / _encoding(plan).period)
        set_up(track.codec_context, _encoding(plan))
        track.codec_context.thread_count = 1  # it carries packets of other encoders and encodes nothing itself
        track.time_base = _encoding(plan).period
        audio = _audio_packets(source, info, plan, output, deadline, stack, threaded=workers > 1)
        made = _mux(output, track, frames, audio, plan, source.label)
        _check_shown(info, plan, made[1], source.label)
        facts = _facts(info, plan, *made)
    return replace(facts, size_bytes=path.stat().st_size)


def _check_shown(info: MediaInfo, plan: MediaPlan, shown: Fraction, label: str) -> None:
    """Refuse a video whose later part cannot be decoded."""
    period = _encoding(plan).period
    expected = plan.shown(info, period)
    if expected is not None and expected - shown > max(_LOST, 2 * period):
        raise cut_short(label, "video", shown, expected)


_LOST = Fraction(1)  # seconds of video that may be missing after the last frame


def _facts(info: MediaInfo, plan: MediaPlan, frames: int, shown: Fraction, lasts: Fraction) -> MediaInfo:
    """Return the facts of an MP4 with this number of frames, `shown` seconds of video, and `lasts` seconds in all."""
    encoding = _encoding(plan)
    return MediaInfo(
        kind="video",
        container="mp4",
        media_type="video/mp4",
        size_bytes=0,
        duration=lasts if plan.length is None else min(lasts, plan.length),
        video_duration=shown,
        width=encoding.size[0],
        height=encoding.size[1],
        fps=1 / encoding.period,
        frame_count=frames,
        video_codec="h264",
        audio_codec="aac" if plan.audio else None,
        sample_rate=plan.budget.sample_rate if plan.audio else None,
        channels=1 if plan.audio else None,
        audio_duration=plan.heard(info) if plan.audio else None,
    )


def _encoding(plan: MediaPlan) -> FrameEncoding:
    assert plan.encoding is not None
    return plan.encoding


def _runs(source: Reopenable, info: MediaInfo, plan: MediaPlan, workers: int, deadline: Deadline) -> list[FrameRun]:
    """Split the wanted range at key frames into pieces worth a thread each; one piece if that is impossible."""
    whole = FrameRun.of(info, plan)
    end = None if plan.end is None else info.origin + plan.end
    with open_video(source, Wanted(begin=whole.begin, end=end), deadline) as (container, stream):
        if plan.budget.key_frames:
            return [_sparse(container, stream, plan, whole)]
        if workers < 2 or container.format.name not in _SOUGHT or plan.end is None or info.breaks:  # noqa: PLR2004
            return [whole]
        return _cut(container, stream, whole, plan.end - plan.start, workers, deadline)


def _sparse(container: "InputContainer", stream: "VideoStream", plan: MediaPlan, whole: FrameRun) -> FrameRun:
    """Lay out a key-frame video: one piece, each key frame held until the next one that is shown."""
    if plan.length is None:
        return whole
    length = plan.length if plan.partial else video_length(stream, plan.length)
    known = key_frames_within(stream, whole.begin, length) if container.format.name == INDEXED else 0
    count, period = sparse_frames(known, length, whole.period)
    return replace(whole, count=count, period=period)


_FEWEST = 4  # frames of a range that is long enough for them; services refuse videos of one frame
_RAREST = Fraction(10)  # maximum seconds between two frames
_PARTS = 1000  # fractions of a second in which the time between two frames is given


def sparse_frames(key_frames: int, length: Fraction, shortest: Fraction) -> tuple[int, Fraction]:
    """Choose how many frames show a range, and the seconds between them; together never longer than the range.

    Args:
        key_frames: number of key frames in the range; 0 if unknown.
        length: of the range, in seconds.
        shortest: minimum seconds between two frames that the budget allows.

    Example:
        >>> sparse_frames(16, Fraction(120), Fraction(1))
        (16, Fraction(15, 2))
    """
    most = max(1, int(length / shortest))
    least = max(_FEWEST, math.ceil(length / _RAREST))
    count = min(most, max(key_frames or most, least))
    return count, Fraction(max(1, int(length * _PARTS / count)), _PARTS)


def key_frames_within(stream: "VideoStream", begin: Fraction, length: Fraction) -> int:
    """Count the key frames that the index of a file lists between two instants of its own time."""
    base = exact(stream.time_base or 1)
    first, last = begin / base, (begin + length) / base
    return sum(entry.is_keyframe and first <= entry.timestamp < last for entry in stream.index_entries)


def video_length(stream: "VideoStream", length: Fraction) -> Fraction:
    """Return how long the video track lasts at most; the audio may be longer."""
    if not stream.duration or not stream.time_base:
        return length
    tick = exact(stream.time_base)
    return min(length, max(stream.duration * tick, tick))


def _cut(
    container: "InputContainer",
    stream: "VideoStream",
    whole: FrameRun,
    length: Fraction,
    workers: int,
    deadline: Deadline,
) -> list[FrameRun]:
    pieces = workers * max(1, -(-length // (_PIECE * workers)))
    step = max(length / int(pieces), _LEAST_PIECE)
    base = exact(stream.time_base or Fraction(1, av.time_base))
    firsts: list[tuple[int, Fraction | None]] = [(0, whole.seek)]
    at, missed = step, 0
    while at < length - step / 2 and missed < _MOST_MISSED:
        deadline.check()
        sought = whole.begin + at
        key = _key_frame_at(container, stream, sought, base)
        number = 0 if key is None else -((whole.begin - key) // whole.period)
        if number > firsts[-1][0] and (whole.count is None or number < whole.count):
            firsts.append((int(number), sought))
            missed = -1
        at, missed = at + step, missed + 1
    ends = [first for first, _ in firsts[1:]]
    counts = [end - first for (first, _), end in zip(firsts, ends, strict=False)]
    last = None if whole.count is None else whole.count - firsts[-1][0]
    return [
        replace(whole, first=first, seek=seek, count=count)
        for (first, seek), count in zip(firsts, [*counts, last], strict=True)
    ]


def _key_frame_at(
    container: "InputContainer", stream: "VideoStream", sought: Fraction, base: Fraction
) -> Fraction | None:
    """Return the time of the key frame from which reading starts after seeking to `sought`."""
    try:
        container.seek(int(sought / base), stream=stream)
        packet = next((packet for packet in packets_of(container, stream) if packet.size), None)
    except (av.FFmpegError, ValueError):
        return None
    if packet is None or packet.pts is None or not packet.is_keyframe or packet.pts * base > sought:
        return None
    return Fraction(packet.pts * base)


def _frame_packets(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, runs: list[FrameRun], deadline: Deadline, workers: int
) -> "Generator[Packet[VideoStream]]":
    if workers == 1 or len(runs) == 1:  # a file that cannot be sought is decoded on one thread and encoded on this one
        shown = read_shaped(source, info, plan, runs[0], Shaper(_encoding(plan)), deadline, threads=workers)
        shown = piped(shown, _WAITING_FRAMES, deadline) if workers > 1 else shown
        yield from _encoded(shown, plan, deadline, threads=workers)
        return
    inner = Deadline(parent=deadline)  # ends with the frames; the audio may still need the other one

    def piece(run: FrameRun) -> "list[Packet[VideoStream]]":
        return list(_encoded(read_shaped(source, info, plan, run, Shaper(_encoding(plan)), inner), plan, inner))

    for packets in in_order((partial(piece, run) for run in runs), workers=workers, ahead=1, deadline=inner):
        yield from packets


def _encoded(
    shown: "Generator[Shown]", plan: MediaPlan, deadline: Deadline, *, threads: int = 1
) -> "Iterator[Packet[VideoStream]]":
    encoder = FrameEncoder(_encoding(plan), threads=threads)
    with contextlib.closing(shown):
        for frame, number, count in shown:
            for packet in encoder.encode(frame, number, count):
                deadline.check()  # one frame may last for an hour
                yield packet
    yield from encoder.end()


def _audio_packets(  # noqa: PLR0913 - what `make_video` has at hand
    source: Reopenable,
    info: MediaInfo,
    plan: MediaPlan,
    output: "OutputContainer",
    deadline: Deadline,
    stack: contextlib.ExitStack,
    *,
    threaded: bool,
) -> "Iterator[Packet[AudioStream]]":
    """Yield the encoded audio of the wanted range, made on a thread of its own if requested."""
    if not plan.audio:
        return iter(())
    track = add_audio(output, "aac", plan.budget.sample_rate, plan.budget.audio_bitrate)
    span = AudioRange.of(info, plan, plan.length)

    def made() -> "Generator[Packet[AudioStream]]":
        with open_audio(source, info, span, deadline) as audio:
            if audio is not None:
                yield from encode_audio(track.codec_context, audio.frames, samples=audio.samples)

    packets = piped(made(), _WAITING_AUDIO, deadline) if threaded else made()
    stack.callback(packets.close)
    return packets


def _mux(
    output: "OutputContainer",
    track: "VideoStream",
    frames: "Iterator[Packet[VideoStream]]",
    audio: "Iterator[Packet[AudioStream]]",
    plan: MediaPlan,
    label: str,
) -> tuple[int, Fraction, Fraction]:
    """Write video and audio in the order of their times; return how many frames, and how long video and all last."""
    period = _encoding(plan).period
    count, last, audio_end = 0, -1, Fraction(0)
    audio_track = output.streams.audio[0] if output.streams.audio else None
    waiting = next(audio, None)
    for packet in frames:
        packet.stream = track
        packet.time_base = period
        packet.duration = 1
        count, last = count + 1, max(last, packet.pts or 0)
        now = (packet.dts or 0) * period
        while waiting is not None and (waiting.dts or 0) * waiting.time_base <= now:
            audio_end = _end_of(waiting)
            output.mux(_carried(waiting, audio_track))
            waiting = next(audio, None)
        output.mux(packet)
    if not count:
        raise UnreadableMediaError(f"{label}: none of its frames can be decoded; it is damaged or truncated.")
    while waiting is not None:
        audio_end = _end_of(waiting)
        output.mux(_carried(waiting, audio_track))
        waiting = next(audio, None)
    shown = (last + 1) * period
    return count, shown, max(shown, audio_end)


def _end_of(packet: "Packet[AudioStream]") -> Fraction:
    return ((packet.pts or 0) + (packet.duration or 0)) * packet.time_base


def _carried(packet: "Packet[AudioStream]", stream: "AudioStream | None") -> "Packet[AudioStream]":
    assert stream is not None
    packet.stream = stream
    return packet
