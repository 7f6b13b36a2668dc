"""Malformed answers: what comes out of each, whole and in pieces."""

import json
import time

import pytest

from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.structured.parse import CaptionStream, Parsed, parse_caption
from qwen_omni.structured.schema import read_schema
from tests.support.beginning import begins
from tests.support.corpus import CASES, GOOD, TEXT, Case, Fails, Tent

SCHEMA = read_schema(Tent)
SMALL = [case for case in CASES if len(case.text) < 5_000]


def read(text: str, piece: int | None = None) -> Parsed | CaptionSyntaxError:
    try:
        if piece is None:
            return parse_caption(text, SCHEMA)
        stream = CaptionStream(SCHEMA, shows=False)
        for at in range(0, len(text), piece):
            stream.feed(text[at : at + piece])
        return stream.end()
    except CaptionSyntaxError as error:
        return error


def check(case: Case, got: Parsed | CaptionSyntaxError) -> None:
    if isinstance(case.expected, Fails):
        assert isinstance(got, CaptionSyntaxError), got
        assert case.expected.words in str(got)
        assert case.text.startswith(got.text)
        assert 1 <= got.line <= case.text.count("\n") + 1
    else:
        assert isinstance(got, Parsed), f"{got} {getattr(got, 'kept', None)}"
        assert got.value.model_dump() == case.expected
        assert got.truncated == case.truncated


def test_the_corpus_is_large() -> None:
    """There are at least 150 answers, all different."""
    assert len({case.text for case in CASES}) == len({case.id for case in CASES}) == len(CASES) >= 150


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_whole(case: Case) -> None:
    """Each answer gives its value or its error, in time that a megabyte cannot stretch."""
    began = time.monotonic()
    got = read(case.text)
    assert time.monotonic() - began < 10
    check(case, got)


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.id)
def test_in_pieces(case: Case) -> None:
    """The same comes out however the answer is cut into deltas."""
    for piece in (1, 2, 7):
        check(case, read(case.text, piece))


@pytest.mark.parametrize("size", range(len(TEXT)))
def test_cut_at_every_byte(size: int) -> None:
    """A cut answer gives the whole value only if all of it was there; what is missing is an error that keeps the rest."""
    got = read(TEXT[:size])
    if isinstance(got, Parsed):
        assert got.truncated
        assert got.value.model_dump() == GOOD
        return
    assert "Field required" in str(got) or "is empty" in str(got)
    kept = got.kept or {}
    assert isinstance(kept, dict)
    assert begins(kept, GOOD)


@pytest.mark.parametrize("indent", [None, 2])
def test_correct_json_reads_as_json(indent: int | None) -> None:
    """The reader agrees with `json` on everything that needs no mending, strange as it may look."""
    strange = {
        "name": 'a", "b": {} // \\ "',
        "features": ["", "]", "}", "'", "“", '",', "\n", "😀", "，"],
        "price": -1.5e-7,
    }
    for ascii_only in (True, False):
        text = json.dumps(strange, indent=indent, ensure_ascii=ascii_only)
        for got in (read(text), read(text, 1), read(f"Sure: {text}")):
            assert isinstance(got, Parsed)
            assert got.value.model_dump() == strange
            assert got.mended == ()
