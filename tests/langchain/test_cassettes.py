"""The folder of recordings itself: whole, owned, readable, and free of secrets."""

import pytest
from pytest_recording.plugin import get_default_cassette_name

from tests.langchain.conftest import FOLDER
from tests.support import recording


def _owned(items: list[pytest.Item]) -> dict[str, set[str]]:
    owned: dict[str, set[str]] = {}
    for item in items:
        if item.get_closest_marker("vcr") is not None:
            module = item.path.stem.removeprefix("test_")
            owned.setdefault(module, set()).add(get_default_cassette_name(getattr(item, "cls", None), item.name))
    return owned


def test_every_cassette_belongs_to_a_test(request: pytest.FixtureRequest) -> None:
    """A recording that no test plays is removed; only a run of the whole folder can tell."""
    config = request.config
    if (
        config.option.keyword
        or config.option.markexpr not in ("", "not slow")
        or any("::" in argument or ".py" in argument for argument in config.args)
    ):
        pytest.skip("only a part of the tests was collected")
    owned = _owned(request.session.items)
    left = {folder.name: recording.orphans(folder, owned.get(folder.name, set())) for folder in FOLDER.iterdir()}
    assert not any(left.values()), left


def test_cassettes_are_fit_to_be_read() -> None:
    """Every recording is small, holds neither keys nor media of requests, and says where it came from."""
    flaws = {path.name: recording.flaws(path) for path in FOLDER.glob("*/*.yaml")}
    assert flaws
    assert not any(flaws.values()), flaws
