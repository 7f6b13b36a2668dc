"""Carry out a plan: encode video, audio or images, or remux if only the container is refused."""

import contextlib
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, assert_never

import av

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.encode.audio import AudioRange, add_sound, encode_sound, open_sound
from qwen_omni.media.encode.frames import make_stills
from qwen_omni.media.encode.images import make_images
from qwen_omni.media.encode.video import make_video
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.files.handle import Reopenable
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.prepared import Still
from qwen_omni.media.probe.container import open_for_work, picture_stream, sound_streams
from qwen_omni.media.probe.timeline import timed_packets

if TYPE_CHECKING:
    from av.stream import Stream


def remux(source: Reopenable, info: MediaInfo, path: Path, deadline: Deadline) -> None:
    """Copy the first video track and the chosen audio of a file into an MP4."""
    with contextlib.ExitStack() as stack:
        file = stack.enter_context(source.open())
        container = stack.enter_context(open_for_work(file, source.size_bytes, deadline=deadline))
        output = stack.enter_context(av.open(str(path), "w", format="mp4"))
        copied: dict[int, Stream] = {}
        for stream in (picture_stream(container), *sound_streams(container, info.audio_track)):
            if stream is not None:
                copied[stream.index] = output.add_stream_from_template(stream)
        for packet in timed_packets(container, info.breaks, *(container.streams[index] for index in copied)):
            deadline.check()
            if packet.size == 0 or packet.dts is None:
                continue
            packet.stream = copied[packet.stream.index]
            output.mux(packet)


_TRIES = 2  # times that a video is encoded again because it is larger than allowed, as short noisy ones can be
_LESS = 0.85


def make(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline, *, workers: int
) -> tuple[MediaInfo, tuple[Still, ...]]:
    """Write the file that a plan describes, or make its images, and return its facts.

    Raises:
        MediaError: it cannot be made.
    """
    match plan.action:
        case "video":
            made = _video(source, info, plan, path, deadline, workers)
            return replace(made, sound_duration=plan.heard(info) if plan.sound else None), ()
        case "audio":
            return _sound(source, info, plan, path, deadline), ()
        case "remux":
            remux(source, info, path, deadline)
            return replace(
                info, container="mp4", media_type="video/mp4", size_bytes=path.stat().st_size, origin=Fraction(0),
                audio_tracks=(), audio_track=0,
            ), ()  # fmt: skip
        case "image" | "images":
            return _images(source, info, plan, path, deadline)
        case "frames":
            stills = make_stills(source, info, plan, deadline, workers=workers)
            return replace(info, size_bytes=sum(len(still.data) for still in stills)), stills
        case "pass":
            return info, ()
        case _:
            assert_never(plan.action)


def _images(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline
) -> tuple[MediaInfo, tuple[Still, ...]]:
    """Write one JPEG, or return several in memory."""
    made, images = make_images(source, info, plan, deadline)
    if plan.action == "images":
        return made, images
    path.write_bytes(images[0].data)
    return made, ()


def _video(
    source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline, workers: int
) -> MediaInfo:
    assert plan.picture is not None
    made = make_video(source, info, plan, path, deadline, workers=workers)
    for _ in range(_TRIES):
        room, size = plan.picture.most_bytes, path.stat().st_size
        if room is None or plan.picture.most_bits is None or size <= room:
            break
        fewer = int(plan.picture.most_bits * _LESS * room / size)
        plan = replace(plan, picture=replace(plan.picture, most_bits=max(fewer, 1000)))
        made = make_video(source, info, plan, path, deadline, workers=workers)
    assert plan.picture is not None
    duration = made.duration if plan.end is None else min(made.duration, plan.end - plan.start)
    return MediaInfo(
        kind="video",
        container="mp4",
        media_type="video/mp4",
        size_bytes=path.stat().st_size,
        duration=duration,
        picture_duration=made.picture_duration,
        width=plan.picture.size[0],
        height=plan.picture.size[1],
        fps=made.fps,
        frame_count=made.frames,
        video_codec="h264",
        audio_codec="aac" if plan.sound else None,
        sample_rate=plan.budget.sample_rate if plan.sound else None,
        channels=1 if plan.sound else None,
    )


def _sound(source: Reopenable, info: MediaInfo, plan: MediaPlan, path: Path, deadline: Deadline) -> MediaInfo:
    """Write a mono MP3."""
    span = AudioRange(
        begin=info.origin + plan.start,
        rate=plan.budget.sample_rate,
        duration=plan.end - plan.start if plan.partial and plan.end is not None else None,
        seek=plan.start > 0,
    )
    with contextlib.ExitStack() as stack:
        sound = stack.enter_context(open_sound(source, info, span, deadline))
        if sound is None:
            raise UnreadableMediaError(f"{source.label} has no audio that can be prepared.")
        output = stack.enter_context(av.open(str(path), "w", format="mp3"))
        track = add_sound(output, "libmp3lame", plan.budget.sample_rate, plan.budget.sound_bitrate)
        packets = 0
        for packet in encode_sound(track.codec_context, sound.frames):
            output.mux(packet)
            packets += 1
    if not packets:
        raise UnreadableMediaError(f"{source.label}: none of its audio can be decoded; it is damaged or cut.")
    length = plan.end - plan.start if plan.end is not None else info.duration
    return MediaInfo(
        kind="audio",
        container="mp3",
        media_type="audio/mpeg",
        size_bytes=path.stat().st_size,
        duration=length,
        audio_codec="mp3",
        sample_rate=plan.budget.sample_rate,
        channels=1,
    )
