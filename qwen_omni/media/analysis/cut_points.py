"""Good places to cut near a given time: scene cuts and silences. Reads a few seconds; decodes no frames.

An encoder inserts a key frame where the image changes completely, so a key frame that follows the previous one much
sooner than usual marks a scene cut. Silence is detected in the decoded audio.
"""

import itertools
from fractions import Fraction
from typing import TYPE_CHECKING

import av

from qwen_omni.media.encode.audio import AudioRange, open_sound
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.files.handle import Reopenable
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.segments import CutPlace
from qwen_omni.media.probe.container import open_for_work, picture_stream
from qwen_omni.media.probe.mp4 import Wanted
from qwen_omni.media.probe.timeline import read_from

if TYPE_CHECKING:
    from av.container import InputContainer

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


def quiet_places(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], start: Fraction, deadline: Deadline
) -> list[CutPlace]:
    """Find scene cuts and silences between two times that count from `start`; none if the file cannot be read."""
    try:
        zero = info.origin + start
        scenes = _scene_cuts(source, info, window, zero, deadline) if info.kind == "video" else []
        silences = _silences(source, info, window, zero, deadline) if info.has_sound or info.kind == "audio" else []
    except (av.FFmpegError, ValueError, EOFError):
        return []
    both = [at for at in scenes if any(abs(at - other) <= _NEAR for other in silences)]
    return [
        *(CutPlace(at=at, weight=_BOTH) for at in both),
        *(CutPlace(at=at, weight=_SCENE) for at in scenes),
        *(CutPlace(at=at, weight=_SILENCE) for at in silences),
    ]


def _scene_cuts(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], zero: Fraction, deadline: Deadline
) -> list[Fraction]:
    wanted = Wanted(begin=zero + window[0] - _LOOK_BACK, end=zero + window[1])
    with (
        source.open() as file,
        open_for_work(file, source.size_bytes, only="video", wanted=wanted, deadline=deadline) as container,
    ):
        keys = [key - zero for key in _keys(container, info, wanted.begin, zero + window[1], deadline)]
    gaps = [later - earlier for earlier, later in itertools.pairwise(keys)]
    if not gaps:
        return []
    usual = max(gaps)
    return [
        later
        for earlier, later in itertools.pairwise(keys)
        if later - earlier < usual * _EARLY and window[0] <= later <= window[1]
    ]


def _keys(
    container: "InputContainer", info: MediaInfo, begin: Fraction, end: Fraction, deadline: Deadline
) -> list[Fraction]:
    stream = picture_stream(container)
    if stream is None or not stream.time_base:
        return []
    found: list[Fraction] = []
    for count, packet in enumerate(next(read_from(container, stream, max(begin, Fraction(0)), info.breaks)).packets):
        deadline.check()
        if packet.pts is None or packet.size == 0 or count > _MOST_PACKETS:
            break
        at = Fraction(packet.pts * stream.time_base)
        if at > end:
            break
        if packet.is_keyframe:
            found.append(at)
    return sorted(found)


def _silences(
    source: Reopenable, info: MediaInfo, window: tuple[Fraction, Fraction], zero: Fraction, deadline: Deadline
) -> list[Fraction]:
    span = AudioRange(begin=zero + window[0], rate=_RATE, duration=window[1] - window[0], seek=True)
    with open_sound(source, info, span, deadline) as sound:
        if sound is None:
            return []
        levels = _levels(b"".join(bytes(frame.planes[0])[: frame.samples * 2] for frame in sound.frames))
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
