"""Divide an ordinary video into scenes: cuts, fades, colours, brightness, movement, black and frozen stretches.

`video_decode` reports the change of every frame and looks at some of them more closely; what is kept of a frame are a
few numbers, so that memory stays small however long the video is. Decisions are made once, at the end, when what comes
after a change is known as well. Arithmetic only.
"""

from __future__ import annotations

from array import array
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from qwen_omni.standin.media.colours import most_common, shares
from qwen_omni.standin.media.facts import Opening, Scene
from qwen_omni.standin.media.image_decode import difference

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    Span = tuple[float, float]

_SUSPECT = 6.0  # grey levels between two frames; less is never a cut
_SUDDEN = 2.5  # times the change of the frames around it
_MEMORY = 0.8  # of the mean change of the frames before
_CUT_IMAGE = 24.0  # levels of the small image: another image
_CUT_COLOURS = 0.3  # share of it whose colour changed, with a smaller change of the image
_OTHER_COLOURS = 0.5  # the same, if brightness did not change
_SOON = 8  # looks
_DARK = 30.0  # mean brightness of a black frame, or of the middle of a fade
_BLACK_PEAK = 44  # brightness that a black frame has nowhere
_FLASH = 0.4  # seconds
_OF_ITS_OWN = 1.0  # seconds for which a dark stretch is a scene of its own
_NEAR = 0.7  # seconds around a dark stretch that belong to its fade
_FROZEN = 0.2  # grey levels; encoders change an image at rest by less
_FROZEN_SECONDS = 2.0
_USUAL_LOOK = 0.25  # seconds
_BINS = (96, 64)  # of the profiles of columns and rows
_FARTHEST = 12  # bins that a camera moves between two looks
_ALIKE = 0.95  # correlation of two profiles, once shifted
_BETTER = 0.03  # how much less they correlate unshifted
_STEADY = 0.6  # share of the looks of a scene that show its pan
_FEWEST = 4


@dataclass(frozen=True, slots=True)
class _Look:
    """The numbers kept of one frame, and its difference from the previous look."""

    time: float
    frame: int
    brightness: float
    black: bool
    colours: NDArray[np.float32]
    layout: NDArray[np.uint8]
    moved: float
    recoloured: float
    shift: tuple[int, int] | None


@dataclass(slots=True)
class SceneLog:
    """Collects the changes of frames and the looks at some of them, in chronological order."""

    _times: array[float] = field(default_factory=lambda: array("d"))
    _changes: array[float] = field(default_factory=lambda: array("f"))
    _looks: list[_Look] = field(default_factory=list)
    _mean: float = 0.0
    _grid: NDArray[np.uint8] | None = None
    _thumb: NDArray[np.uint8] | None = None
    _profiles: tuple[NDArray[np.float32], NDArray[np.float32]] | None = None
    _profiled: float = 0.0

    def step(self, grid: NDArray[np.uint8], time: float) -> bool:
        """Record a frame by its grid of pixels; return whether it may begin a new scene."""
        same = self._grid is not None and self._grid.shape == grid.shape
        change = difference(grid, self._grid) if same and self._grid is not None else 0.0
        self._grid = grid.copy()
        self._times.append(time)
        self._changes.append(change)
        suspect = change > _SUSPECT and change > _SUDDEN * self._mean
        self._mean = change if suspect else _MEMORY * self._mean + (1 - _MEMORY) * change
        return suspect

    def look(self, thumb: NDArray[np.uint8], grey: NDArray[np.uint8], time: float) -> None:
        """Record a closer look at the frame of the latest `step`."""
        colours, luma = shares(thumb), thumb.astype(np.float32) @ np.array((0.3, 0.59, 0.11), np.float32)
        last = self._looks[-1] if self._looks else None
        shift: tuple[int, int] | None = None
        if self._profiles is None or time - self._profiled > _USUAL_LOOK / 2:
            profiles = _profile(grey, 0), _profile(grey, 1)
            if self._profiles is not None:
                shift = _shift(self._profiles[0], profiles[0]), _shift(self._profiles[1], profiles[1])
            self._profiles, self._profiled = profiles, time
        self._looks.append(
            _Look(
                time=time, frame=len(self._times) - 1, brightness=float(luma.mean()),
                black=float(luma.max()) < _BLACK_PEAK, colours=colours, layout=thumb[::2, ::2].copy(),
                moved=difference(thumb, self._thumb) if self._thumb is not None else 0.0,
                recoloured=float(np.abs(colours - last.colours).sum()) / 2 if last else 0.0, shift=shift,
            )
        )  # fmt: skip
        self._thumb = thumb

    def scenes(self, end: float) -> tuple[Scene, ...]:
        """Return the scenes of a video that ends at `end`."""
        if not self._looks:
            return ()
        openings = self._openings(end)
        ends = [*(time for time, _ in openings[1:]), end]
        pairs = zip(openings, ends, strict=True)
        return tuple(self._scene(start, upto, kind) for (start, kind), upto in pairs)

    def black(self, end: float) -> tuple[Span, ...]:
        """Return the stretches in which nothing is shown for half a second or longer."""
        runs = _runs([look.black for look in self._looks])
        spans = [(self._looks[first].time, self._after(last, end)) for first, last in runs]
        return tuple(span for span in spans if span[1] - span[0] >= 2 * _USUAL_LOOK)

    def frozen(self, end: float) -> tuple[Span, ...]:
        """Return the stretches in which the image does not change at all for some seconds, black ones aside."""
        unchanged = np.frombuffer(self._changes, np.float32)[1:] < _FROZEN
        runs = [(first, last + 1) for first, last in _runs(list(unchanged))]
        spans = [(self._times[first], self._times[last]) for first, last in runs]
        dark = self.black(end)
        return tuple(
            (start, stop) for start, stop in spans
            if stop - start >= _FROZEN_SECONDS
            and not any(start >= first - _NEAR and stop <= last + _NEAR for first, last in dark)
        )  # fmt: skip

    def _after(self, index: int, end: float) -> float:
        return self._looks[index + 1].time if index + 1 < len(self._looks) else end

    def _openings(self, end: float) -> list[tuple[float, Opening]]:
        """Return when each scene begins and how; changes around a dark stretch are one fade."""
        cuts = [look.time for place, look in enumerate(self._looks) if place and self._is_cut(place)]
        cuts = [cut for index, cut in enumerate(cuts) if not index or cut - cuts[index - 1] > _FLASH]
        found: list[tuple[float, Opening]] = [(cut, "cut") for cut in cuts]
        for first, last in _runs([look.brightness < _DARK for look in self._looks]):
            start, stop = self._looks[first].time, self._after(last, end)
            if not first and stop - start < _OF_ITS_OWN:  # a fade in
                found = [one for one in found if one[0] > stop + _NEAR]
                continue
            hard = [cut for cut in cuts if min(abs(cut - start), abs(cut - stop)) < _USUAL_LOOK]
            fades = [one for one in self._faded(first, last, end) if not any(abs(one - cut) < _NEAR for cut in hard)]
            found = [one for one in found if one[0] in hard or not start - _NEAR < one[0] < stop + _NEAR]
            found += [(time, "fade") for time in fades]
        begin = min(0.0, self._looks[0].time)
        return [(begin, "start"), *sorted(one for one in found if begin + _FLASH < one[0] < end - _FLASH / 2)]

    def _faded(self, first: int, last: int, end: float) -> list[float]:
        """Return where a dark stretch divides the video: in its middle, or at both ends if it is a scene of its own."""
        start, stop = self._looks[first].time, self._after(last, end)
        if stop - start >= _OF_ITS_OWN:
            return [start, stop]
        if not first or last + 1 >= len(self._looks):
            return []
        return [min(self._looks[first : last + 1], key=lambda look: look.brightness).time]

    def _is_cut(self, place: int) -> bool:
        """Whether the image changes suddenly to another one, and does not change back at once."""
        look = self._looks[place]
        if look.moved < _CUT_IMAGE and (look.moved < _CUT_IMAGE / 2 or look.recoloured < _CUT_COLOURS):
            return False
        return self._is_sudden(place) and not self._is_flash(place)

    def _is_sudden(self, place: int) -> bool:
        """Whether brightness changed more than around this frame; where it did not change, whether colours did."""
        look = self._looks[place]
        change, frame = self._changes[look.frame], look.frame
        rate = len(self._times) / max(self._times[-1] - self._times[0], 1e-3)
        reach = max(3, round(rate * 0.4))
        around = [*self._changes[max(1, frame - reach) : frame], *self._changes[frame + 1 : frame + 1 + reach]]
        usual = float(np.median(around)) if around else 0.0
        if change >= _SUSPECT:
            return change >= _SUDDEN * (usual + 0.5)
        nearby = [one.moved for one in self._looks[max(1, place - 3) : place + 4] if one is not look]
        calm = look.moved >= _SUDDEN * (float(np.median(nearby)) + 1 if nearby else 1)
        return look.recoloured >= _OTHER_COLOURS and calm

    def _is_flash(self, place: int) -> bool:
        """Whether this change begins or ends a moment after which the image is as before."""
        look, before = self._looks[place], self._looks[place - 1]
        after = [one for one in self._looks[place + 1 :][:_SOON] if one.time - look.time <= _FLASH]
        if any(_same(before, one) for one in after):
            return True
        earlier = [one for one in self._looks[max(0, place - _SOON) : place - 1] if look.time - one.time <= 2 * _FLASH]
        return not _same(before, look) and any(_same(look, one) for one in earlier)

    def _scene(self, start: float, end: float, opening: Opening) -> Scene:
        within = [look for look in self._looks if start <= look.time < end]
        looks = within or [min(self._looks, key=lambda look: abs(look.time - start))]
        inner = looks[1:]
        rates = [two.moved / max(two.time - one.time, 1e-3) for one, two in zip(looks[:-1], inner, strict=True)]
        return Scene(
            start=round(start, 3), end=round(end, 3), opening=opening,
            colours=most_common(np.mean([look.colours for look in looks], axis=0)),
            brightness=round(float(np.mean([look.brightness for look in looks])), 1),
            movement=round(float(np.median(rates)) * _USUAL_LOOK, 2) if rates else 0.0,
            pan=_pan(inner),
        )  # fmt: skip


def _same(one: _Look, other: _Look) -> bool:
    return difference(one.layout, other.layout) < _CUT_IMAGE / 2


def _runs(flags: list[bool]) -> Iterator[tuple[int, int]]:
    """Yield the first and the last index of every run of true flags."""
    first: int | None = None
    for index, flag in enumerate([*flags, False]):
        if flag and first is None:
            first = index
        elif not flag and first is not None:
            yield first, index - 1
            first = None


def _profile(grey: NDArray[np.uint8], axis: int) -> NDArray[np.float32]:
    """Return the mean brightness of the columns (axis 0) or rows of a frame, without its slow trend."""
    step, bins = max(1, grey.shape[axis] // 32), _BINS[axis]
    lines = grey[::step] if axis == 0 else grey[:, ::step]
    means = lines.mean(axis=axis, dtype=np.float32)
    places = np.linspace(0, len(means), bins + 1).astype(np.intp)[:-1]
    rough = np.add.reduceat(means, places) / max(1.0, len(means) / bins)
    sharp: NDArray[np.float32] = np.diff(rough)
    return sharp


def _shift(before: NDArray[np.float32], after: NDArray[np.float32]) -> int:
    """Return by how many bins a profile moved; 0 if it did not, or if that is uncertain."""
    if len(before) <= 3 * _FARTHEST or min(float(before.std()), float(after.std())) < 0.5:  # noqa: PLR2004 - nothing to see
        return 0
    size, shifts = len(before), np.arange(-_FARTHEST, _FARTHEST + 1)
    shared = np.correlate(after, before, "full")[size - 1 - _FARTHEST : size + _FARTHEST]
    one, other = _power(before, -shifts), _power(after, shifts)
    fits = shared / np.sqrt(np.maximum(one * other, 1e-9))
    best = int(fits.argmax())
    sure = fits[best] > _ALIKE and fits[best] - fits[_FARTHEST] > _BETTER
    return int(shifts[best]) if sure and abs(shifts[best]) < _FARTHEST else 0


def _power(profile: NDArray[np.float32], shifts: NDArray[np.intp]) -> NDArray[np.float64]:
    """Return the power of the part of a profile that is left when it is moved by each of `shifts`."""
    sums = np.concatenate([[0.0], np.cumsum(np.square(profile, dtype=np.float64))])
    power: NDArray[np.float64] = sums[len(profile) + np.minimum(shifts, 0)] - sums[np.maximum(shifts, 0)]
    return power


def _pan(looks: list[_Look]) -> str:
    """Return where the camera moves if nearly all looks agree; the image moves the other way."""
    measured = [look.shift for look in looks if look.shift is not None]
    if len(measured) < _FEWEST:
        return ""
    for axis, (backward, forward) in ((0, ("right", "left")), (1, ("down", "up"))):
        shifts = [shift[axis] for shift in measured]
        for sign, name in ((-1, backward), (1, forward)):
            agreeing = sum(shift * sign > 0 for shift in shifts)
            if agreeing >= _STEADY * len(shifts) and not any(shift * sign < 0 for shift in shifts):
                return name
    return ""
