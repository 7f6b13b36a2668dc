"""Divide ordinary audio into stretches: silence, a tone, what sounds like speech or like music, and other audio.

Speech changes its spectrum all the time and pauses between syllables; music holds its spectrum and has no such
pauses; a tone is one steady peak. What is neither for sure is "sound". Nothing is recognised. Arithmetic on mono
samples of 8,000 per second; time and memory are bounded by working on a few seconds at a time.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from qwen_omni.standin.media.facts import AudioKind, AudioSpan

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

_BLOCK = 0.1  # seconds per level
_SILENT = -60.0  # dB below full scale
_SHORTEST_SILENCE = 0.8  # seconds; shorter ones are pauses
_WINDOW = 3.0  # seconds that are judged at once
_SHORTEST = 1.0  # seconds; less cannot be judged
_FRAME, _HOP = 512, 128  # samples of a spectrum, and between two
_APART = 4  # frames between two spectra that are compared: 64 ms
_PAUSE = 0.1  # of the mean power: a pause between syllables
_MUSIC_SECONDS = 5.0
_FAINT = -45.0  # dB; music cannot be distinguished from noise below it
_LOUD_ABOVE = 8.0  # dB above the median
_LOUD_LEAST = -35.0
_LOUD_MOST = 3
_LOUD_APART = 2.0  # seconds


@dataclass(frozen=True, slots=True)
class _Character:
    """Numbers that tell speech, music and tones apart.

    `likeness` is how alike spectra 64 ms apart are and `variation` how much that varies; `syllables` is the share of
    the changes of loudness between 2.5 and 8 times per second, `depth` how deep they are; `pauses` is the share of
    time with hardly any power, `peak` that of the power in the strongest frequency, `drift` how far that moves.
    """

    likeness: float
    variation: float
    syllables: float
    depth: float
    pauses: float
    peak: float
    drift: float
    pitch: float


def divide(samples: NDArray[np.float32], rate: int) -> tuple[AudioSpan, ...]:
    """Return the stretches of a recording, in order and without gaps."""
    if not len(samples):
        return ()
    levels = _levels(samples, rate)
    found: list[AudioSpan] = []
    for first, last, silent in _stretches(levels):
        start, end = first * _BLOCK, min(last * _BLOCK, len(samples) / rate)
        if silent:
            found.append(AudioSpan(start=round(start, 1), end=round(end, 1), kind="silence"))
            continue
        for begin, stop in _windows(start, end):
            piece = samples[round(begin * rate) : round(stop * rate)]
            _add(found, _judged(piece, rate, begin, stop))
    sure: list[AudioSpan] = []
    for span in found:
        _add(sure, _only_sure(span))
    return tuple(sure)


def loud_moments(samples: NDArray[np.float32], rate: int) -> tuple[tuple[float, float], ...]:
    """Return the seconds that stand out from the rest, with their levels in dB below full scale, in order of time."""
    levels = _levels(samples, rate)
    heard = levels[levels > _SILENT]
    if len(heard) < _LOUD_APART / _BLOCK:
        return ()
    least = max(_LOUD_LEAST, float(np.median(heard)) + _LOUD_ABOVE)
    chosen: list[int] = []
    for place in np.argsort(-levels, kind="stable"):
        if levels[place] < least or len(chosen) == _LOUD_MOST:
            break
        if all(abs(int(place) - other) * _BLOCK >= _LOUD_APART for other in chosen):
            chosen.append(int(place))
    return tuple((round(place * _BLOCK, 1), round(float(levels[place]), 1)) for place in sorted(chosen))


def _levels(samples: NDArray[np.float32], rate: int) -> NDArray[np.float64]:
    size = round(_BLOCK * rate)
    blocks = samples[: max(1, len(samples) // size) * size]
    power = np.square(blocks.reshape(-1, min(size, max(1, len(blocks))))).mean(axis=1, dtype=np.float64)
    decibels: NDArray[np.float64] = 10 * np.log10(power + 1e-12)
    return decibels


def _stretches(levels: NDArray[np.float64]) -> Iterator[tuple[int, int, bool]]:
    """Yield runs of blocks, `last` excluded, and whether they are silent; short pauses belong to the audio around."""
    silent = levels < _SILENT
    edges = [0, *(int(edge) + 1 for edge in np.flatnonzero(np.diff(silent))), len(silent)]
    joined: list[tuple[int, int, bool]] = []
    for first, last in itertools.pairwise(edges):
        quiet = bool(silent[first]) and (last - first) * _BLOCK >= _SHORTEST_SILENCE
        if joined and joined[-1][2] == quiet:
            joined[-1] = (joined[-1][0], last, quiet)
        else:
            joined.append((first, last, quiet))
    yield from joined


def _windows(start: float, end: float) -> Iterator[tuple[float, float]]:
    count = max(1, round((end - start) / _WINDOW))
    yield from itertools.pairwise(np.linspace(start, end, count + 1).tolist())


def _add(found: list[AudioSpan], span: AudioSpan) -> None:
    """Append a span, or extend the last one if it is of the same kind."""
    last = found[-1] if found else None
    same = last is not None and last.kind == span.kind and abs(last.pitch - span.pitch) < 0.03 * max(1.0, span.pitch)
    if last is None or not same or last.level is None or span.level is None:
        found.append(span)
        return
    one, other = last.end - last.start, span.end - span.start
    level = 10 * math.log10((10 ** (last.level / 10) * one + 10 ** (span.level / 10) * other) / (one + other))
    found[-1] = replace(last, end=span.end, level=round(level, 1))


def _judged(piece: NDArray[np.float32], rate: int, start: float, end: float) -> AudioSpan:
    power = float(np.square(piece, dtype=np.float64).mean()) if len(piece) else 0.0
    level = 10 * math.log10(power + 1e-12)
    kind: AudioKind = "sound"
    pitch = 0.0
    if end - start >= _SHORTEST:
        kind, pitch = _kind(_character(piece, rate), level)
    return AudioSpan(start=round(start, 1), end=round(end, 1), kind=kind, level=round(level, 1), pitch=pitch)


def _kind(found: _Character, level: float) -> tuple[AudioKind, float]:
    """Return what a stretch sounds like; the limits lie well inside of what was measured on recordings of each kind."""
    if found.likeness > 0.97 and found.peak > 0.5 and found.drift < 1.5 and found.depth < 0.2:  # noqa: PLR2004
        return "tone", round(found.pitch)
    changing = found.likeness < 0.55 and found.variation > 0.17  # noqa: PLR2004
    if changing and found.syllables > 0.33 and found.pauses > 0.15:  # noqa: PLR2004
        return "speech-like", 0.0
    steady = found.likeness > 0.68 and found.variation < 0.14 and found.peak < 0.5  # noqa: PLR2004
    if steady and 0.25 < found.depth < 0.6 and found.pauses < 0.13 and level > _FAINT:  # noqa: PLR2004
        return "music-like", 0.0
    return "sound", 0.0


def _only_sure(span: AudioSpan) -> AudioSpan:
    short = span.kind == "music-like" and span.end - span.start < _MUSIC_SECONDS
    return replace(span, kind="sound") if short else span


def _character(piece: NDArray[np.float32], rate: int) -> _Character:
    view = np.lib.stride_tricks.sliding_window_view(piece, _FRAME)[::_HOP]
    strength = np.abs(np.fft.rfft(view * np.hanning(_FRAME).astype(np.float32), axis=1)).astype(np.float32)
    power = np.square(strength)
    energy = power.sum(axis=1) + 1e-12
    envelope = np.sqrt(energy)
    heard = energy > energy.max() * 10**-3.5
    shape = np.log(strength + 1e-4 * float(strength.max()) + 1e-9)
    shape -= shape.mean(axis=1, keepdims=True)
    size = np.sqrt(np.square(shape).sum(axis=1)) + 1e-9
    alike = (shape[_APART:] * shape[:-_APART]).sum(axis=1) / (size[_APART:] * size[:-_APART])
    peaks = power.argmax(axis=1)
    usual = float(np.median(peaks))
    return _Character(
        likeness=float(np.median(alike[heard[_APART:]])) if heard[_APART:].any() else 0.0,
        variation=float(alike.std()),
        syllables=_syllables(envelope, rate),
        depth=float(envelope.std() / envelope.mean()),
        pauses=float((energy < _PAUSE * energy.mean()).mean()),
        peak=float(np.median(power.max(axis=1) / energy)),
        drift=float(np.percentile(np.abs(peaks - usual), 80)),
        pitch=_pitch(piece, rate),
    )


def _syllables(envelope: NDArray[np.float32], rate: int) -> float:
    centred = (envelope - envelope.mean()) * np.hanning(len(envelope))
    strength = np.square(np.abs(np.fft.rfft(centred)))
    often = np.fft.rfftfreq(len(envelope), _HOP / rate)
    everything = float(strength[(often > 0.3) & (often < 25)].sum())  # noqa: PLR2004 - Hz
    return float(strength[(often >= 2.5) & (often <= 8)].sum()) / (everything + 1e-12)  # noqa: PLR2004 - Hz


def _pitch(piece: NDArray[np.float32], rate: int) -> float:
    strength = np.abs(np.fft.rfft(piece * np.hanning(len(piece))))
    return float(strength.argmax()) * rate / max(1, len(piece))
