"""Decode audio: its duration, its loudness, and the start times of its tone codes.

A digit is a pair of tones; its onset is where its strength exceeds half of its plateau, which a window of
40 ms in steps of 5 ms locates to within a few milliseconds. Times are those of the container, so audio
that is out of sync with the video is reported as such.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import av
import numpy as np

from qwen_omni.standin.media.audio_spans import divide, loud_moments
from qwen_omni.standin.media.dtmf import HIGH, KEYS, LOW
from qwen_omni.standin.media.facts import Mark
from qwen_omni.standin.media.open import UnreadableMediaError, origin

if TYPE_CHECKING:
    from collections.abc import Iterator

    from av.audio.layout import AudioLayout
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from numpy.typing import NDArray

    from qwen_omni.standin.media.facts import MediaFacts

RATE = 8000
_WINDOW = 320  # samples, 40 ms
_HOP = 40  # samples, 5 ms
_BLOCK = 60 * RATE
_QUIET = 0.004  # strength below which a tone counts as silence
_PURE = 0.55  # share of the window's energy that the two tones must hold
_SHORTEST = 0.05  # seconds a digit must last
_CODE_REST = 0.15  # a longer rest starts a new code
_JUMP = 0.02  # a longer gap between two frames is silence, not rounding
_CANCELLED = 0.1  # of the loudest channel's power; a mix with less has cancelled the signal


def with_audio(facts: MediaFacts, container: InputContainer) -> MediaFacts:
    """Decode the audio of an opened file and add it to the facts about the file, which stay as they are if it has none.

    Raises:
        UnreadableMediaError: There is an audio stream, but none of it can be decoded.
    """
    if not container.streams.audio:
        return facts
    stream = container.streams.audio[0]
    shift = origin(container)
    runs = list(_runs(container, stream))
    if not runs:
        raise UnreadableMediaError("no sound could be decoded")
    end = max(start + len(samples) / RATE for start, samples in runs) - shift
    timeline = np.zeros(max(1, math.ceil(end * RATE)), np.float32)
    for start, samples in runs:
        _place(timeline, samples, round((start - shift) * RATE))
    context = stream.codec_context
    marks = find_codes(timeline)
    observed = facts.observed
    if not any(len(mark.code) > 1 for mark in marks):
        observed = replace(observed, audio=divide(timeline, RATE), loud=loud_moments(timeline, RATE))
    return replace(
        facts,
        sound=True,
        sound_codec=context.name,
        sound_duration=round(sum(len(samples) for _, samples in runs) / RATE, 4),
        sample_rate=context.sample_rate,
        channels=context.channels,
        sound_marks=marks,
        loudness=loudness(timeline),
        observed=observed,
    )


def loudness(samples: NDArray[np.float32]) -> float | None:
    """Return the mean level in dB below full scale; None for silence."""
    power = float(np.mean(np.square(samples, dtype=np.float64))) if len(samples) else 0.0
    return round(10 * math.log10(power), 1) if power > 1e-10 else None  # noqa: PLR2004 - minus 100 dB


def find_codes(samples: NDArray[np.float32]) -> tuple[Mark, ...]:
    """Return the tone codes in mono audio of 8,000 samples per second, in order."""
    marks: list[Mark] = []
    for tone in _tones(samples):
        last = marks[-1] if marks else None
        if last and tone.start - last.end < _CODE_REST:
            marks[-1] = Mark(code=last.code + tone.code, start=last.start, end=tone.end)
        else:
            marks.append(tone)
    return tuple(marks)


def _runs(container: InputContainer, stream: AudioStream) -> Iterator[tuple[float, NDArray[np.float32]]]:
    """Yield runs of audio without gaps and of one format, each with its start, as mono samples at RATE."""
    pieces: list[NDArray[np.float32]] = []
    resampler: av.AudioResampler | None = None
    shape: tuple[str, int, int] | None = None
    start = expected = 0.0
    for frame in _frames(container, stream):
        time = expected if frame.time is None else frame.time
        found = (frame.format.name, frame.layout.nb_channels, frame.sample_rate)
        if resampler is not None and (found != shape or abs(time - expected) > _JUMP):
            yield start, _joined(pieces, resampler)
            resampler = None
        if resampler is None:
            resampler = _new_resampler(frame.layout)
            start, pieces, shape = time, [np.zeros(0, np.float32)], found
        expected = time + frame.samples / frame.sample_rate
        frame.pts = None
        pieces.extend(_samples(out) for out in resampler.resample(frame))
    if resampler is not None:
        yield start, _joined(pieces, resampler)


def _frames(container: InputContainer, stream: AudioStream) -> Iterator[av.AudioFrame]:
    """Yield decoded frames; broken packets are skipped, since they occur where files were joined."""
    try:
        for packet in container.demux(stream):
            try:
                yield from packet.decode()
            except (av.FFmpegError, ValueError, EOFError):
                continue
    except (av.FFmpegError, ValueError, EOFError):
        return


def _new_resampler(layout: AudioLayout) -> av.AudioResampler:
    """Return one without threads: PyAV 19 leaves it to the garbage collector, which would wait for them in a fork."""
    options: dict[str, Any] = {"format": "flt", "layout": layout, "rate": RATE}
    unthreaded = {**options, "threads": 1}
    try:
        return av.AudioResampler(**unthreaded)
    except TypeError:  # before PyAV 19
        return av.AudioResampler(**options)


def _joined(pieces: list[NDArray[np.float32]], resampler: av.AudioResampler) -> NDArray[np.float32]:
    pieces.extend(_samples(out) for out in resampler.resample(None))
    return np.concatenate(pieces)


def _samples(frame: av.AudioFrame) -> NDArray[np.float32]:
    """Return the mean of all channels, or the loudest one if they cancel out."""
    channels = frame.to_ndarray().reshape(-1, frame.layout.nb_channels).astype(np.float32, copy=False)
    mixed: NDArray[np.float32] = channels.mean(axis=1)
    power = np.square(channels, dtype=np.float64).mean(axis=0) if len(channels) else np.zeros(1)
    if np.square(mixed, dtype=np.float64).sum() < _CANCELLED * len(mixed) * np.max(power):
        return np.ascontiguousarray(channels[:, int(np.argmax(power))])
    return mixed


def _place(timeline: NDArray[np.float32], samples: NDArray[np.float32], at: int) -> None:
    """Place samples on the timeline; players do not play what lies before zero."""
    if at < 0:
        samples, at = samples[-at:], 0
    room = len(timeline) - at
    timeline[at : at + len(samples)] = samples[:room]


def _tones(samples: NDArray[np.float32]) -> Iterator[Mark]:
    """Yield every digit: a run of windows dominated by the same pair of tones."""
    keys, strength = _spectrum(samples)
    edges = np.flatnonzero(np.diff(keys)) + 1
    for first, last in zip(np.r_[0, edges], np.r_[edges, len(keys)], strict=True):
        if keys[first] < 0 or (last - first) * _HOP / RATE < _SHORTEST:
            continue
        half = float(np.percentile(strength[first:last], 80)) / 2
        start, end = _edge(strength, int(first), half, -1), _edge(strength, int(last) - 1, half, 1)
        yield Mark(code=KEYS[int(keys[first])], start=round(start, 4), end=round(end, 4))


def _edge(strength: NDArray[np.float64], at: int, half: float, step: int) -> float:
    """Return the second at which the strength crosses `half`, searching outwards from `at` (inwards if necessary)."""
    while 0 < at < len(strength) - 1 and strength[at] < half:
        at -= step
    while 0 <= at + step < len(strength) and strength[at + step] >= half:
        at += step
    beyond = strength[at + step] if 0 <= at + step < len(strength) else 0.0
    share = (strength[at] - half) / max(strength[at] - beyond, 1e-9)
    return max(0.0, (at + step * float(np.clip(share, 0, 1))) * _HOP / RATE)


def _spectrum(samples: NDArray[np.float32]) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Return, for every 5 ms, the key that is played (or -1) and its strength; window n is centred on n times 5 ms."""
    padded = np.concatenate([np.zeros(_WINDOW // 2, np.float32), samples, np.zeros(_WINDOW, np.float32)])
    count = len(samples) // _HOP + 1
    window = np.hanning(_WINDOW)
    phase = np.outer(np.arange(_WINDOW), np.array(LOW + HIGH)) * (2 * np.pi / RATE)
    bank = np.concatenate([np.cos(phase), np.sin(phase)], axis=1) * (2 * window / window.sum())[:, None]
    bank = bank.astype(np.float32)
    keys, strengths = [], []
    for first in range(0, count, _BLOCK // _HOP):
        size = min(_BLOCK // _HOP, count - first)
        view = np.lib.stride_tricks.sliding_window_view(padded[first * _HOP :], _WINDOW)[: size * _HOP : _HOP][:size]
        found, strength = _judge(view, bank, window.astype(np.float32))
        keys.append(found)
        strengths.append(strength)
    return np.concatenate(keys), np.concatenate(strengths)


def _judge(
    view: NDArray[np.float32], bank: NDArray[np.float32], window: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    parts = view @ bank
    half = parts.shape[1] // 2
    level = np.hypot(parts[:, :half], parts[:, half:]).astype(np.float64)
    low, high = level[:, :4], level[:, 4:]
    row, column = low.argmax(axis=1), high.argmax(axis=1)
    weaker = np.minimum(low.max(axis=1), high.max(axis=1))
    pair = (low.max(axis=1) ** 2 + high.max(axis=1) ** 2) / 2
    energy = np.square(view) @ (window / window.sum())
    sounding = (weaker > _QUIET) & (pair > _PURE * np.maximum(energy, 1e-12))
    return np.where(sounding, row * 4 + column, -1), weaker
