"""Decode a video: count its frames, measure them, and read the codes in them.

Every frame is decoded and timed. Codes are read where the image changes and several times a second
in between, so that a dropped, doubled or reordered second is found with the exact time of its frame.
Audio is handled by `audio_decode`, images by `image_decode`.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import av
import numpy as np

from qwen_omni.standin.media.colours import colour_name
from qwen_omni.standin.media.facts import ColourSpan, Mark, Observed
from qwen_omni.standin.media.image_decode import difference, read_codes
from qwen_omni.standin.media.ocr import LONGEST_SIDE, TextLog
from qwen_omni.standin.media.open import UnreadableMediaError, origin
from qwen_omni.standin.media.scenes import SceneLog

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

    from qwen_omni.standin.media.facts import MediaFacts

_CHANGED = 1.5  # grey levels: less is coding noise
_CUT = 24.0  # levels of a small RGB image: more is a new scene
_USUAL_FPS = 25
_LOOK_EVERY = 0.25  # seconds
_MERGE_GAP = 0.5  # a code that is unreadable for at most this long counts as shown throughout
_THUMB = (32, 18)
_COARSE = 48  # grid points per side for the quick comparison
_PLANAR_GREY = ("yuv420p", "yuvj420p", "yuv422p", "yuvj422p", "yuv444p", "yuvj444p", "nv12", "gray")


@dataclass(slots=True)
class MarkLog:
    """Collects which codes are shown when; readings must be in chronological order."""

    _open: dict[str, float] = field(default_factory=dict)
    _done: list[Mark] = field(default_factory=list)

    def read(self, codes: tuple[str, ...], time: float) -> None:
        """Record that exactly `codes` are shown from `time` on."""
        for gone in [code for code in self._open if code not in codes]:
            self._done.append(Mark(code=gone, start=self._open.pop(gone), end=time))
        for code in codes:
            self._open.setdefault(code, time)

    def close(self, time: float) -> tuple[Mark, ...]:
        """End all marks at `time` and return them in order; short unreadable gaps are closed."""
        self.read((), time)
        healed: list[Mark] = []
        for mark in sorted(self._done, key=lambda one: one.start):
            last = healed[-1] if healed else None
            if last and last.code == mark.code and mark.start - last.end <= _MERGE_GAP:
                healed[-1] = Mark(code=mark.code, start=last.start, end=mark.end)
            else:
                healed.append(mark)
        return tuple(healed)


def with_frames(facts: MediaFacts, container: InputContainer) -> MediaFacts:
    """Decode the frames of an opened video, from first to last, and add them to the facts about the file.

    Raises:
        UnreadableMediaError: There is no video stream, or none of it can be decoded.
    """
    if not container.streams.video:
        raise UnreadableMediaError("no video stream")
    stream = container.streams.video[0]
    stream.thread_type = "AUTO"
    viewer = _Viewer(shift=origin(container), period=1 / float(stream.average_rate or _USUAL_FPS))
    try:
        for frame in container.decode(stream):
            viewer.look(frame)
    except (av.FFmpegError, ValueError, EOFError) as error:
        if not viewer.times:
            raise UnreadableMediaError(str(error)) from error
    if not viewer.times:
        raise UnreadableMediaError("no frame could be decoded")
    return viewer.report(facts, stream)


@dataclass(slots=True)
class _Viewer:
    """The state between two frames."""

    shift: float
    period: float
    times: list[float] = field(default_factory=list)
    size: tuple[int, int] = (0, 0)
    marks: MarkLog = field(default_factory=MarkLog)
    cuts: list[float] = field(default_factory=list)
    colours: list[ColourSpan] = field(default_factory=list)
    scenes: SceneLog = field(default_factory=SceneLog)
    text: TextLog = field(default_factory=TextLog)
    _marked: bool = False
    _grid: NDArray[np.uint8] | None = None
    _thumb: NDArray[np.uint8] | None = None
    _last_look: float = -1.0
    _had_code: bool = False
    _fruitless: int = 0

    def look(self, frame: av.VideoFrame) -> None:
        time = (frame.time if frame.pts is not None else len(self.times) * self.period) - self.shift
        self.times.append(time)
        self.size = (frame.width, frame.height)
        grey = _grey(frame)
        grid = grey[:: max(1, grey.shape[0] // _COARSE), :: max(1, grey.shape[1] // _COARSE)]
        same_grid = self._grid is not None and self._grid.shape == grid.shape
        moved = difference(grid, self._grid) if same_grid and self._grid is not None else 255.0
        due = time - self._last_look >= _LOOK_EVERY
        # Ordinary video moves in every frame and has no codes: four readings per second are enough.
        if due or (moved > _CHANGED and (self._fruitless < 8 or moved > _CUT / 2)):  # noqa: PLR2004
            self._read(grey, frame, time)
            self._grid = grid.copy()
            due = True
        else:
            due = False
        if not self._marked:
            self._observe(frame, grey, grid, time, looked=due)

    def _observe(
        self, frame: av.VideoFrame, grey: NDArray[np.uint8], grid: NDArray[np.uint8], time: float, *, looked: bool
    ) -> None:
        """Note what is worth describing in a video without marks; one with marks is described by those."""
        suspect = self.scenes.step(grid, time)
        if not looked and not suspect:
            return
        thumb = self._thumb if looked and self._thumb is not None else _small(frame)
        self.scenes.look(thumb, grey, time)
        if self.text.wants(time):
            self.text.add(_readable(frame), time)

    def _read(self, grey: NDArray[np.uint8], frame: av.VideoFrame, time: float) -> None:
        codes = read_codes(grey)
        self.marks.read(codes, time)
        self._fruitless = 0 if codes else self._fruitless + 1
        # A code that just vanished may only be blurred: read the next frame as well.
        self._last_look = time - _LOOK_EVERY if self._had_code and not codes else time
        self._had_code = bool(codes)
        self._marked = self._marked or any(code.isdigit() for code in codes)
        thumb = _small(frame)
        if self._thumb is not None and difference(thumb, self._thumb) > _CUT:
            self.cuts.append(time)
        self._thumb = thumb
        name = colour_name(thumb)
        if not self.colours or self.colours[-1].name != name:
            self.colours.append(ColourSpan(name=name, start=time))

    def report(self, facts: MediaFacts, stream: VideoStream) -> MediaFacts:
        times = sorted(self.times)
        span = times[-1] - times[0]
        rate = float(stream.average_rate or stream.guessed_rate or 0)
        fps = (len(times) - 1) / span if span > 0 else (rate or 1.0)
        if rate and abs(rate - fps) / rate < 0.02:  # noqa: PLR2004 - the same rate, but exact
            fps = rate
        end = times[-1] + 1 / fps
        observed = Observed()
        if not self._marked:
            observed = Observed(
                scenes=self.scenes.scenes(end), black=self.scenes.black(end), frozen=self.scenes.frozen(end),
                text=self.text.read(), reads_text=self.text.available,
            )  # fmt: skip
        return replace(
            facts,
            codec=stream.codec_context.name,
            width=self.size[0],
            height=self.size[1],
            fps=round(fps, 3),
            duration=round(end - min(0.0, times[0]), 4),
            frames=len(times),
            picture_marks=self.marks.close(end),
            cuts=tuple(self.cuts),
            colours=tuple(self.colours),
            observed=observed,
        )


def _small(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as an RGB image of a few hundred pixels."""
    return _rgb(frame, *_THUMB)


def _readable(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return a frame as an RGB image in which text can still be read."""
    shrink = min(1.0, LONGEST_SIDE / max(frame.width, frame.height))
    return _rgb(frame, max(1, round(frame.width * shrink)), max(1, round(frame.height * shrink)))


def _rgb(frame: av.VideoFrame, width: int, height: int) -> NDArray[np.uint8]:
    resized = frame.reformat(width=width, height=height, format="rgb24")
    return resized.to_ndarray().astype(np.uint8, copy=False)


def _grey(frame: av.VideoFrame) -> NDArray[np.uint8]:
    """Return the brightness of a frame, without copying if its format stores it separately."""
    if frame.format.name not in _PLANAR_GREY:
        frame = frame.reformat(format="gray")
    plane = frame.planes[0]
    pixels: NDArray[np.uint8] = np.frombuffer(memoryview(plane), np.uint8).reshape(-1, plane.line_size)
    return pixels[: frame.height, : frame.width]
