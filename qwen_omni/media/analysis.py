"""What is in a video: how much it moves, and good places to cut near a given time. Reads a few seconds of it.

An encoder inserts a key frame where the image changes completely, so a key frame that follows the previous one much
sooner than usual marks a scene cut. Silence is detected in the decoded audio.
"""

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import av
from av.video.reformatter import Interpolation, VideoReformatter

from qwen_omni.media.encode.audio import AudioRange, open_audio
from qwen_omni.media.encode.frames import FrameRun, read_frames
from qwen_omni.media.files.safe_open import Reopenable
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.segments import CutPoint
from qwen_omni.media.probe.container import base_of, open_video, read_from
from qwen_omni.media.probe.mp4 import Wanted
from qwen_omni.media.work import Deadline

if TYPE_CHECKING:
    from collections.abc import Iterable

    from av.packet import Packet
    from av.video.frame import VideoFrame

_WINDOWS = 6
_SAMPLED = Fraction(2)  # seconds
_STEP = Fraction(1, 8)  # seconds between two samples
_THUMB = (32, 18)
_LIVELY = 5.0  # grey levels of 255
_CUT = 40.0
_CUT_SHARE = 0.03


def is_lively(source: Reopenable, info: MediaInfo, start: Fraction, end: Fraction | None, deadline: Deadline) -> bool:
    """Whether a time range of a video is action rather than talk.

    The rule: in six windows of two seconds, spread over the range, frames an eighth of a second apart are scaled
    to 32 by 18 grey points. The video is lively if neighbouring frames differ by more than five grey levels on average
    (everything moves: sports, a shaky or driving camera), or if more than three in a hundred pairs differ by more
    than forty (cuts faster than about one in four seconds). A talking head moves a small part of the frame and
    stays below two; slides do not change between cuts that are far apart.
    """
    length = Fraction(60) if end is None else end - start
    differences = [
        difference
        for begin in _begins(start, length)
        for difference in _differences(
            _thumbs(source, info, _window(info.origin + begin, min(_SAMPLED, length), begin > 0), deadline)
        )
    ]
    if not differences:
        return False
    cuts = sum(difference > _CUT for difference in differences)
    calm = [difference for difference in differences if difference <= _CUT]
    moving = sum(calm) / len(calm) if calm else _LIVELY + 1
    return moving > _LIVELY or cuts / len(differences) > _CUT_SHARE


def _begins(start: Fraction, length: Fraction) -> list[Fraction]:
    if length <= _WINDOWS * _SAMPLED:
        return [start + _SAMPLED * number for number in range(int(-(-length // _SAMPLED)))]
    step = (length - _SAMPLED) / (_WINDOWS - 1)
    return [start + step * number for number in range(_WINDOWS)]


def _window(begin: Fraction, length: Fraction, sought: bool) -> FrameRun:
    return FrameRun(begin=begin, period=_STEP, count=int(length / _STEP), seek=begin if sought else None)


def _thumbs(source: Reopenable, info: MediaInfo, window: FrameRun, deadline: Deadline) -> list[bytes]:
    try:
        with open_video(source, window.wanted, deadline) as (container, stream):
            scaler, thumbs = VideoReformatter(), list[bytes]()
            for frame, _, count in read_frames(container, stream, window, deadline, breaks=info.breaks):
                thumbs += [_thumb(scaler, frame)] * count
            return thumbs
    except (av.FFmpegError, ValueError, EOFError):
        return []


def _thumb(scaler: VideoReformatter, frame: "VideoFrame") -> bytes:
    small = scaler.reformat(frame, *_THUMB, format="gray", interpolation=Interpolation.AREA)
    plane = small.planes[0]
    rows = bytes(plane)
    return b"".join(rows[row * plane.line_size :][: _THUMB[0]] for row in range(_THUMB[1]))


def _differences(thumbs: list[bytes]) -> list[float]:
    return [
        sum(abs(one - other) for one, other in zip(earlier, later, strict=True)) / len(earlier)
        for earlier, later in itertools.pairwise(thumbs)
    ]


_RATE = 8000
_WINDOW = _RATE // 20  # samples: 50 ms
_SHORTEST_SILENCE = 6  # windows
_FULL_SCALE = 32_768
_QUIET = 0.004  # of full scale, as a mean of absolute values: about -46 dB
_QUIET_SHARE = 0.1  # of the mean level nearby, so that pauses are found in quiet recordings too
_EARLY = Fraction(4, 5)  # of the longest distance between key frames
_SCENE, _SILENCE, _BOTH = 2, 1, 3
_NEAR = Fraction(1, 2)  # maximum seconds between a scene cut and a silence that belong together
_LOOK_BACK = Fraction(15)  # seconds before the window, to measure the usual key frame interval
_MOST_PACKETS = 5000


def find_cut_points(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], start: Fraction, deadline: Deadline
) -> list[CutPoint]:
    """Find scene cuts and silences between two times that count from `start`; none if the file cannot be read."""
    try:
        zero = info.origin + start
        scenes = _scene_cuts(source, info, window, zero, deadline) if info.kind == "video" else []
        silences = _silences(source, info, window, zero, deadline) if info.has_audio or info.kind == "audio" else []
    except (av.FFmpegError, ValueError, EOFError):
        return []
    both = [at for at in scenes if any(abs(at - other) <= _NEAR for other in silences)]
    return [
        *(CutPoint(at=at, weight=_BOTH) for at in both),
        *(CutPoint(at=at, weight=_SCENE) for at in scenes),
        *(CutPoint(at=at, weight=_SILENCE) for at in silences),
    ]


def _scene_cuts(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], zero: Fraction, deadline: Deadline
) -> list[Fraction]:
    wanted = Wanted(begin=zero + window[0] - _LOOK_BACK, end=zero + window[1])
    with open_video(source, wanted, deadline) as (container, stream):
        packets = next(read_from(container, stream, max(wanted.begin, Fraction(0)), info.breaks)).packets
        keys = [key - zero for key in _keys(packets, base_of(stream), zero + window[1], deadline)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(keys)]
    if not gaps:
        return []
    usual = max(gaps)
    return [
        later
        for earlier, later in itertools.pairwise(keys)
        if later - earlier < usual * _EARLY and window[0] <= later <= window[1]
    ]


def _keys(packets: "Iterable[Packet[Any]]", tick: Fraction, end: Fraction, deadline: Deadline) -> list[Fraction]:
    """Return the times of the key frames before `end`, in order."""
    found: list[Fraction] = []
    for count, packet in enumerate(packets):
        deadline.check()
        if packet.pts is None or packet.size == 0 or count > _MOST_PACKETS:
            break
        at = packet.pts * tick
        if at > end:
            break
        if packet.is_keyframe:
            found.append(at)
    return sorted(found)


def _silences(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], zero: Fraction, deadline: Deadline
) -> list[Fraction]:
    span = AudioRange(begin=zero + window[0], rate=_RATE, duration=window[1] - window[0], seek=True)
    with open_audio(source, info, span, deadline) as audio:
        if audio is None:
            return []
        levels = _levels(b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in audio.frames))
    loudest = max(levels, default=0.0)
    bound = max(_QUIET, _QUIET_SHARE * sum(levels) / max(1, len(levels)))
    runs = _runs([level < bound for level in levels]) if loudest > bound else []
    return [window[0] + Fraction((first + last) * _WINDOW, 2 * _RATE) for first, last in runs]


def _levels(samples: bytes) -> list[float]:
    values = memoryview(samples).cast("h")
    return [
        sum(map(abs, values[at : at + _WINDOW])) / (_WINDOW * _FULL_SCALE)
        for at in range(0, len(values) - _WINDOW + 1, _WINDOW)
    ]


def _runs(quiet: list[bool]) -> list[tuple[int, int]]:
    runs, at = [], 0
    for is_quiet, group in itertools.groupby(quiet):
        length = len(list(group))
        if is_quiet and length >= _SHORTEST_SILENCE:
            runs.append((at, at + length))
        at += length
    return runs
