"""Digits as pairs of tones: synthesis and timing of codes.

One table serves the generator (`standin.marked_media`), the decoder (`audio_decode`) and the spoken answers
(`standin.answers.speech`). Arithmetic only: no file is opened here.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

LOW = (697.0, 770.0, 852.0, 941.0)
HIGH = (1209.0, 1336.0, 1477.0, 1633.0)
KEYS = "123A456B789C*0#D"
TONE_SECONDS = 0.13
REST_SECONDS = 0.07
_RAMP_SECONDS = 0.004
_AMPLITUDE = 0.3


@lru_cache(maxsize=256)
def tone(key: str, rate: int, seconds: float = TONE_SECONDS) -> NDArray[np.float32]:
    """Return the tone of one key at `rate` samples per second, with soft edges to avoid clicks."""
    place = KEYS.index(key)
    time = np.arange(round(seconds * rate)) / rate
    wave = np.sin(2 * np.pi * LOW[place // 4] * time) + np.sin(2 * np.pi * HIGH[place % 4] * time)
    ramp = max(1, round(_RAMP_SECONDS * rate))
    edge = np.ones(len(time))
    edge[:ramp] = np.linspace(0, 1, ramp)
    edge[-ramp:] = np.linspace(1, 0, ramp)
    return (wave * edge * _AMPLITUDE).astype(np.float32)


def code_audio(code: str, rate: int, *, tone_seconds: float = TONE_SECONDS) -> NDArray[np.float32]:
    """Return the tones of all keys of `code`, each followed by a rest."""
    rest = np.zeros(round(REST_SECONDS * rate), np.float32)
    pieces = [piece for key in code for piece in (tone(key, rate, tone_seconds), rest)]
    return np.concatenate(pieces) if pieces else np.zeros(0, np.float32)
