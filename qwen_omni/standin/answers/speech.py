"""Make the stand-in audible: the words of an answer as tones, raw PCM in base64 pieces.

It does not synthesise speech: every word is played as one digit derived from its letters, so that different answers
sound different. Pieces end anywhere, even inside a sample or a base64 group, as they do in the service.
"""

from __future__ import annotations

import base64
import zlib
from typing import TYPE_CHECKING

import numpy as np

from qwen_omni.standin.media.dtmf import code_audio

if TYPE_CHECKING:
    from collections.abc import Iterator

RATE = 24_000
_TONE_SECONDS = 0.06
_MOST_WORDS = 40
_PIECE_BYTES = 4_801  # deliberately odd: every second piece ends inside a sample
_PIECE_CHARACTERS = 6_401  # deliberately not a multiple of four
_DIGITS = 10


def spoken_digits(text: str) -> str:
    """Return the digits that represent the words of a text, one per word."""
    words = text.split()[:_MOST_WORDS]
    return "".join(str(zlib.crc32(word.encode()) % _DIGITS) for word in words)


def speak(text: str) -> bytes:
    """Return the audio of a text: signed 16-bit, little-endian, mono, 24 kHz, without a header."""
    samples = code_audio(spoken_digits(text), RATE, tone_seconds=_TONE_SECONDS)
    return (samples * 32767).astype("<i2").tobytes()


def seconds_of(pcm: bytes) -> float:
    """Return the duration of PCM audio in seconds."""
    return len(pcm) / np.dtype("<i2").itemsize / RATE


def pieces_of(pcm: bytes, *, one_string: bool) -> Iterator[str]:
    """Yield audio as base64: one string split at arbitrary places, or pieces that are padded individually."""
    if one_string:
        text = base64.b64encode(pcm).decode()
        yield from (text[at : at + _PIECE_CHARACTERS] for at in range(0, len(text), _PIECE_CHARACTERS))
    else:
        for at in range(0, len(pcm), _PIECE_BYTES):
            yield base64.b64encode(pcm[at : at + _PIECE_BYTES]).decode()
