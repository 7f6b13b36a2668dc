"""Whether a video moves so much that 8 frames per second show more than 4. Samples a few short windows of it."""

import itertools
from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import av
from av.video.reformatter import Interpolation, VideoReformatter

from qwen_omni.media.encode.frames import FrameRun, read_pictures
from qwen_omni.media.files.deadline import Deadline
from qwen_omni.media.files.handle import Reopenable
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.probe.container import open_for_work, picture_stream

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.frame import VideoFrame

_WINDOWS = 6
_WINDOW = Fraction(2)  # seconds
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
            _thumbs(source, info, _window(info.origin + begin, min(_WINDOW, length), begin > 0), deadline)
        )
    ]
    if not differences:
        return False
    cuts = sum(difference > _CUT for difference in differences)
    calm = [difference for difference in differences if difference <= _CUT]
    moving = sum(calm) / len(calm) if calm else _LIVELY + 1
    return moving > _LIVELY or cuts / len(differences) > _CUT_SHARE


def _begins(start: Fraction, length: Fraction) -> list[Fraction]:
    if length <= _WINDOWS * _WINDOW:
        return [start + _WINDOW * number for number in range(int(-(-length // _WINDOW)))]
    step = (length - _WINDOW) / (_WINDOWS - 1)
    return [start + step * number for number in range(_WINDOWS)]


def _window(begin: Fraction, length: Fraction, sought: bool) -> FrameRun:
    return FrameRun(begin=begin, period=_STEP, count=int(length / _STEP), seek=begin if sought else None)


def _thumbs(source: Reopenable, info: MediaInfo, window: FrameRun, deadline: Deadline) -> list[bytes]:
    try:
        with (
            source.open() as file,
            open_for_work(file, source.size_bytes, only="video", wanted=window.wanted, deadline=deadline) as container,
        ):
            return list(_seen(container, info, window, deadline))
    except (av.FFmpegError, ValueError, EOFError):
        return []


def _seen(container: "InputContainer", info: MediaInfo, window: FrameRun, deadline: Deadline) -> Iterator[bytes]:
    stream = picture_stream(container)
    if stream is None:
        return
    scaler = VideoReformatter()
    for frame, _, count in read_pictures(container, stream, window, deadline, breaks=info.breaks):
        thumb = _thumb(scaler, frame)
        for _ in range(count):
            yield thumb


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
