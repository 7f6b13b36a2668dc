"""The folder of recordings itself: whole, owned, readable, and free of secrets."""

from pathlib import Path

import pytest

from tests.support import recording

FOLDER = recording.ROOT / "llama_index"
OWNED = {"chat", "stream_chat", "complete", "stream_complete", "structured_predict", "stream_structured_predict"}


def test_every_cassette_belongs_to_a_test() -> None:
    """There is one recording for each pair of twins of `test_recorded`, and no other."""
    assert {path.stem for path in (FOLDER / "recorded").glob("*.yaml")} == OWNED


@pytest.mark.parametrize("cassette", sorted(FOLDER.glob("*/*.yaml")), ids=lambda path: path.stem)
def test_cassette_is_fit_to_be_read(cassette: Path) -> None:
    """Every recording is small, holds neither keys nor media of requests, and says where it came from."""
    assert recording.flaws(cassette) == []
