"""Synthesize speech with the espeak-ng library from a wheel, for tests that need real speech."""

import ctypes
import io
import wave

import pytest

_SYNCHRONOUS, _UTF8 = 1, 1


def speak(text: str) -> tuple[bytes, float]:
    """Return a WAV file of the spoken text, and its seconds; skip the test if the library is missing."""
    loader = pytest.importorskip("espeakng_loader", reason="espeakng-loader is not installed")
    library = ctypes.CDLL(str(loader.get_library_path()))
    rate = library.espeak_Initialize(_SYNCHRONOUS, 0, str(loader.get_data_path()).encode(), 0)
    pieces: list[bytes] = []

    @ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.c_void_p)
    def take(samples, count, _events) -> int:
        if samples and count > 0:
            pieces.append(ctypes.string_at(samples, count * 2))
        return 0

    library.espeak_SetSynthCallback(take)
    library.espeak_SetVoiceByName(b"en")
    data = text.encode() + b"\0"
    library.espeak_Synth(data, ctypes.c_size_t(len(data)), 0, 0, 0, _UTF8, None, None)
    library.espeak_Synchronize()
    pcm = b"".join(pieces)
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, rate, 0, "NONE", ""))
        file.writeframes(pcm)
    return out.getvalue(), len(pcm) / 2 / rate
