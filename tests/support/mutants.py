"""Mutants: defects that would misrepresent the media sent. The truth tests must fail for each of them.

A mutant patches one place in the product: what is uploaded for a request, how a message is encoded, or how the
segments of a long video are combined.
"""

import dataclasses
import io
from collections.abc import Callable
from fractions import Fraction

import av
import pytest

from qwen_omni.media.budget import Sampling
from qwen_omni.media.plan.segments import Segment
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import FramesPart, MediaPayload
from qwen_omni.pricing import limit
from qwen_omni.request import media_estimate, prepared_request
from qwen_omni.video import overlap, source_video, tasks
from qwen_omni.video.engine import worker
from qwen_omni.wire import request

Patch = pytest.MonkeyPatch
Frames = list[tuple[float, av.VideoFrame]]
MUTANTS: dict[str, Callable[[Patch], None]] = {}
LONG: set[str] = set()
"""Mutants that the truth tests of long videos must catch; those of single calls catch the others."""


def mutant(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Register a mutant under its function's name."""
    MUTANTS[function.__name__] = function
    return function


def long_mutant(function: Callable[[Patch], None]) -> Callable[[Patch], None]:
    """Register a mutant that breaks long videos."""
    LONG.add(function.__name__)
    return mutant(function)


def _bytes_of(delivered: MediaPayload) -> bytes:
    return delivered.path.read_bytes() if delivered.path else delivered.data or b""


def _change_videos(patch: Patch, change: Callable[[bytes], bytes]) -> None:
    """Apply `change` to every video that goes into a request."""
    real = prepared_request.upload_media

    def upload_media(*args: object) -> dict[MediaSource, MediaPayload]:
        return {source: _changed(item, change) for source, item in real(*args).items()}

    patch.setattr(prepared_request, "upload_media", upload_media)


def _changed(delivered: MediaPayload, change: Callable[[bytes], bytes]) -> MediaPayload:
    if delivered.url is not None or delivered.media_type or delivered.format not in ("mp4", "mkv", "mov"):
        return delivered
    data = change(_bytes_of(delivered))
    return dataclasses.replace(delivered, path=None, version=None, data=data, size_bytes=len(data))


def _again(
    data: bytes,
    frames: Callable[[Frames], Frames] = lambda frames: frames,
    sound: Callable[[list], list] = lambda sound: sound,
    scale: float = 1,
) -> bytes:
    """Decode a video, change its frames or samples, and encode it as before."""
    with av.open(io.BytesIO(data)) as source:
        picture = source.streams.video[0]
        pictures = [(float(frame.time), frame) for frame in source.decode(picture)]
        source.seek(0)
        samples = list(source.decode(audio=0)) if source.streams.audio else []
        rate, size = picture.average_rate, (int(picture.width * scale) // 2 * 2, int(picture.height * scale) // 2 * 2)
    out = io.BytesIO()
    with av.open(out, "w", format="mp4") as target:
        video = target.add_stream("libx264", rate=rate, options={"preset": "ultrafast", "crf": "20"})
        video.width, video.height, video.pix_fmt = *size, "yuv420p"
        track = target.add_stream("aac", rate=samples[0].sample_rate, layout="mono") if samples else None
        for number, (_, frame) in enumerate(frames(pictures)):
            small = frame.reformat(*size, format="yuv420p")
            small.pts, small.time_base = number, 1 / rate
            target.mux(video.encode(small))
        target.mux(video.encode(None))
        if track is not None:
            _write_sound(target, track, sound(samples))
    return out.getvalue()


def _write_sound(target: "av.container.OutputContainer", track: "av.AudioStream", samples: list) -> None:
    at = 0
    for frame in samples:
        frame.pts, frame.time_base = at, Fraction(1, frame.sample_rate)
        at += frame.samples
        target.mux(track.encode(frame))
    target.mux(track.encode(None))


def _without(start: float, end: float) -> Callable[[Frames], Frames]:
    return lambda frames: [pair for pair in frames if not start <= pair[0] < end]


def _swapped(frames: Frames) -> Frames:
    def second(number: int) -> Frames:
        return [pair for pair in frames if int(pair[0]) == number]

    return [*second(0), *second(2), *second(1), *[pair for pair in frames if pair[0] >= 3]]


def _silent(samples: list) -> list:
    for frame in samples:
        for plane in frame.planes:
            plane.update(bytes(plane.buffer_size))
    return samples


def _late(samples: list) -> list:
    half = int(samples[0].sample_rate * 0.5)
    first = samples[0].to_ndarray()
    quiet = av.AudioFrame.from_ndarray(
        first[:, :1].repeat(half, axis=1) * 0, format=samples[0].format.name, layout=samples[0].layout.name
    )
    quiet.sample_rate = samples[0].sample_rate
    return [quiet, *samples]


@mutant
def segment_dropped(patch: Patch) -> None:
    """Two seconds in the middle never reach the service."""
    _change_videos(patch, lambda data: _again(data, frames=_without(3, 5)))


@mutant
def segment_doubled(patch: Patch) -> None:
    """One second is sent twice."""
    _change_videos(
        patch,
        lambda data: _again(data, frames=lambda all_: [*all_[:50], *all_[25:50], *all_[50:]]),
    )


@mutant
def frames_shuffled(patch: Patch) -> None:
    """Two seconds of frames are swapped."""
    _change_videos(patch, lambda data: _again(data, frames=_swapped))


@mutant
def sound_silenced(patch: Patch) -> None:
    """The audio track is present, but silent."""
    _change_videos(patch, lambda data: _again(data, sound=_silent))


@mutant
def sound_dropped(patch: Patch) -> None:
    """The audio track is missing."""
    _change_videos(patch, lambda data: _again(data, sound=lambda _: []))


@mutant
def sound_late(patch: Patch) -> None:
    """The audio is half a second late."""
    _change_videos(patch, lambda data: _again(data, sound=_late))


@mutant
def wrong_size(patch: Patch) -> None:
    """The video is sent at half its size."""
    _change_videos(patch, lambda data: _again(data, scale=0.5))


@mutant
def picture_late(patch: Patch) -> None:
    """Every frame is shown half a second late, as after a careless change of frame rate."""
    _change_videos(patch, lambda data: _again(data, frames=lambda all_: [*all_[:12], *all_[:-12]]))


def _with_content(patch: Patch, change: Callable[[list[dict]], list[dict]]) -> None:
    real = request._filled

    def filled(*arguments: object) -> dict:
        message = real(*arguments)
        parts = message["content"]
        return {**message, "content": change(parts) if isinstance(parts, list) else parts}

    patch.setattr(request, "_filled", filled)


@mutant
def wrong_order(patch: Patch) -> None:
    """Parts of a message are sent in reverse order."""
    _with_content(patch, lambda parts: parts[::-1])


@mutant
def part_lost(patch: Patch) -> None:
    """The last media part of a message is omitted."""

    def without_last(parts: list[dict]) -> list[dict]:
        media = [at for at, part in enumerate(parts) if part["type"] != "text"]
        return [part for at, part in enumerate(parts) if not media or at != media[-1]]

    _with_content(patch, without_last)


@mutant
def frames_reversed(patch: Patch) -> None:
    """A list of frames is sent in the wrong order."""
    real = request.encode_media

    def reversed_frames(part: object, *others: object) -> dict:
        if isinstance(part, FramesPart):
            part = dataclasses.replace(part, frames=part.frames[::-1])
        return real(part, *others)

    patch.setattr(request, "encode_media", reversed_frames)


@mutant
def sampling_lost(patch: Patch) -> None:
    """The caller's frames per second and pixels are ignored."""
    real = request._sampling
    patch.setattr(request, "_sampling", lambda _: real(Sampling()))


@mutant
def history_lost(patch: Patch) -> None:
    """Only the last message is sent."""
    real = request.encode_messages
    patch.setattr(request, "encode_messages", lambda messages, *rest: real(messages[-1:], *rest))


@mutant
def estimate_deaf(patch: Patch) -> None:
    """The estimate ignores the audio of a video."""
    patch.setattr(media_estimate, "audio_tokens", lambda *_: 0)


@mutant
def estimate_as_usual(patch: Patch) -> None:
    """The estimate uses the service's default sampling, whatever was requested."""
    real = media_estimate.video_tokens
    patch.setattr(
        media_estimate, "video_tokens", lambda profile, size, seconds, fps, _: real(profile, size, seconds, fps)
    )


@mutant
def limit_ignored(patch: Patch) -> None:
    """Money is reserved without checking the limit."""
    patch.setattr(limit.SpendLimit, "_check_all", lambda *_: None)


@long_mutant
def seam_told_twice(patch: Patch) -> None:
    """Events that two neighbouring segments both report are listed twice."""
    patch.setattr(overlap, "_twin", lambda *_: None)


@long_mutant
def seam_lost(patch: Patch) -> None:
    """The first five seconds of a segment are left to the one before, although the overlap is only three."""
    real = tasks.to_notes

    def to_notes(answer: object, **named: object) -> object:
        made = real(answer, **named)
        later = [one for one in made.events if one.start >= made.start + 5] if made.index else made.events
        return made.model_copy(update={"events": tuple(later)})

    patch.setattr(tasks, "to_notes", to_notes)


@long_mutant
def segment_misplaced(patch: Patch) -> None:
    """Every segment but the last is cut one second late."""
    real = source_video.SourceVideo.prepare

    def prepare(self: source_video.SourceVideo, segment: Segment) -> object:
        late = dataclasses.replace(segment, start=segment.start + 1, end=segment.end + 1)
        return real(self, late if late.end <= self.end else segment)

    patch.setattr(source_video.SourceVideo, "prepare", prepare)


@long_mutant
def checkpoint_forgets(patch: Patch) -> None:
    """Stored answers are not found again."""
    patch.setattr(worker, "_answer", lambda *_: None)
