"""Streamed base64 speech: whole samples come out, however the pieces are cut."""

import base64
import io
import itertools
import wave

import pytest
from hypothesis import given, strategies as st

from qwen_omni.responses import to_wav
from qwen_omni.wire.audio import PcmDecoder


def decode(*pieces: str) -> bytes:
    decoder = PcmDecoder()
    out = [decoder.feed(piece) for piece in pieces]
    assert all(len(pcm) % 2 == 0 for pcm in out), "a piece ended inside a sample"
    return b"".join(out) + decoder.close()


@given(data=st.binary(max_size=300).filter(lambda b: len(b) % 2 == 0), cuts=st.lists(st.integers(0, 400), max_size=8))
def test_any_cut_of_the_text_gives_the_same_samples(data, cuts):
    """Pieces may end inside a base64 group or inside a sample."""
    text = base64.b64encode(data).decode()
    edges = [0, *sorted(min(cut, len(text)) for cut in cuts), len(text)]
    if not data.startswith(b"RIFF"):
        assert decode(*(text[a:b] for a, b in itertools.pairwise(edges))) == data


@given(pieces=st.lists(st.binary(min_size=1, max_size=31), max_size=8))
def test_pieces_with_their_own_padding_are_decoded_by_themselves(pieces):
    """Each piece may be a base64 text of its own, padded at its end."""
    whole = b"".join(pieces)
    if not whole.startswith(b"R"):
        assert decode(*(base64.b64encode(piece).decode() for piece in pieces)) == whole[: len(whole) - len(whole) % 2]


def test_joined_padded_texts_are_taken_apart():
    """Padding in the middle of one piece ends a group there."""
    assert decode(base64.b64encode(b"ab").decode() + base64.b64encode(b"cdef").decode()) == b"abcdef"


@pytest.mark.parametrize("size", [1, 3, 7, 46, 1000], ids=lambda size: f"pieces of {size}")
def test_a_header_is_taken_off(size):
    """If a WAV header comes after all, it does not become noise."""
    text = base64.b64encode(to_wav(b"\x01\x02" * 50)).decode()
    assert decode(*(text[i : i + size] for i in range(0, len(text), size))) == b"\x01\x02" * 50


def test_no_sound_is_no_samples():
    """Empty pieces are allowed anywhere."""
    assert decode("", "", "") == b""


def test_garbage_is_an_error():
    """What is not base64 raises instead of becoming noise."""
    with pytest.raises(ValueError, match="base64"):
        decode("!!!!")


def test_the_file_plays():
    """The WAV file tells rate, width and channels of what the service sends."""
    with wave.open(io.BytesIO(to_wav(b"\0\0" * 24_000))) as file:
        assert (file.getframerate(), file.getsampwidth(), file.getnchannels(), file.getnframes()) == (
            24000,
            2,
            1,
            24000,
        )
