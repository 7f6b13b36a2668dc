"""The folder of recordings itself: whole, owned, readable, and free of secrets."""

from tests.support import recording

FOLDER = recording.ROOT / "llama_index"
OWNED = {"chat", "stream_chat", "complete", "stream_complete", "structured_predict", "stream_structured_predict"}


def test_every_cassette_belongs_to_a_test() -> None:
    """There is one recording for each pair of twins of `test_recorded`, and no other."""
    assert {path.stem for path in (FOLDER / "recorded").glob("*.yaml")} == OWNED


def test_cassettes_are_fit_to_be_read() -> None:
    """Every recording is small, holds neither keys nor media of requests, and says where it came from."""
    flaws = {path.name: recording.flaws(path) for path in FOLDER.glob("*/*.yaml")}
    assert flaws
    assert not any(flaws.values()), flaws
