"""Fixtures and hooks for tests with cassettes: where a cassette is, who answers while recording, what must be played.

`pytest --record-mode=rewrite -m vcr tests` records anew: from the service if `DASHSCOPE_API_KEY` is set (and
`DASHSCOPE_BASE_URL`, if it is another address), else from the stand-in. Of several tests that play one cassette, the
first records it. Answers from the documentation are never recorded, and those that the service cannot be made to give
(`scripted`) only from the stand-in. `tests/conftest.py` imports all of this.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pytest_recording.plugin import get_default_cassette_name

from qwen_omni.standin import Script, Standin

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import ModuleType

    from vcr import VCR
    from vcr.cassette import Cassette

WHOLE_MODULES = pytest.StashKey[dict[Path, dict[str, str]]]()
"""Of each folder whose tests were all collected, before any were deselected: what its cassettes must prove."""
_OF_CASSETTES = frozenset((
    "answering_service", "block_network", "disable_recording", "fully_played", "record_mode", "vcr", "vcr_cassette_dir",
    "vcr_markers",
))  # fmt: skip
"""Fixtures of every test, pytest-recording's and ours: where there is no cassette, they only take time."""
_KEY, _ADDRESS = "sk-replayed", "https://service.invalid/compatible-mode/v1"


def _recording() -> ModuleType:
    """Import on first use: most of the tests need neither vcrpy nor YAML."""
    from tests.support import recording  # noqa: PLC0415

    return recording


def cassette_of(item: Any) -> Path:
    """Return the cassette of a test; a class with `replays` plays those of another."""
    marker = item.get_closest_marker("default_cassette")
    name = marker.args[0] if marker else get_default_cassette_name(item.cls, item.name)
    if replays := getattr(item.cls, "replays", None):
        name = name.replace(f"{item.cls.__name__}.", f"{replays}.", 1)
    return _recording().folder_of(item.path) / f"{name.removesuffix('.yaml')}.yaml"


def _records(config: pytest.Config) -> bool:
    return config.getoption("--record-mode") not in (None, "none")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Block the network wherever a cassette is replayed, this machine included; choose which test records it."""
    owned: dict[Path, dict[str, str]] = {}
    parts = {Path(argument.partition("::")[0]).resolve() for argument in config.args if "::" in argument}
    for item in items:
        if item.get_closest_marker("vcr") is None:
            if isinstance(item, pytest.Function):
                item.fixturenames = [name for name in item.fixturenames if name not in _OF_CASSETTES]
            continue
        item.add_marker(pytest.mark.block_network)
        cassette = cassette_of(item)
        first = cassette.stem not in owned.setdefault(cassette.parent, {})
        owned[cassette.parent][cassette.stem] = _proves(item) if _needs_one(item) else ""
        if _records(config):
            _prepare_to_record(item, cassette, first=first)
    parted = {_recording().folder_of(part) for part in parts} if owned and parts else set()
    config.stash[WHOLE_MODULES] = {folder: names for folder, names in owned.items() if folder not in parted}


def _needs_one(item: Any) -> bool:
    """Whether a test must have a cassette: in a suite that is marked as a whole, some tests send nothing."""
    return item.cls is None


def _prepare_to_record(item: pytest.Item, cassette: Path, *, first: bool) -> None:
    recording = _recording()
    label = recording.label_of(cassette) if cassette.is_file() else None
    try:
        live = recording.present_origin() == "service"
    except ValueError as error:
        raise pytest.UsageError(str(error)) from None
    if label is not None and label.origin == "documentation":
        item.add_marker(pytest.mark.skip(reason="answers from the documentation are not recorded"))
    elif live and item.get_closest_marker("scripted") is not None:
        item.add_marker(pytest.mark.skip(reason="the service cannot be made to answer this"))
    elif not first:
        item.add_marker(pytest.mark.skip(reason=f"{cassette.name} is recorded by another test"))
    # The suites drop their models without closing them; only while recording is there a connection to drop.
    item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
    item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
    item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    """Write cassettes in our way."""
    vcr.register_serializer("yaml", _recording())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Iterator[None]:
    """Label a cassette that was just recorded."""
    try:
        return (yield)
    finally:
        if item.get_closest_marker("vcr") is not None and _records(item.config):
            recording, cassette = _recording(), cassette_of(item)
            if cassette.is_file() and recording.label_of(cassette) is None:
                recording.put_label(cassette, _proves(item), recording.present_origin())


def _proves(item: Any) -> str:
    """Return what a test's cassette proves: its marker `proves`, or the first sentence of its docstring."""
    marker = item.get_closest_marker("proves")
    return marker.args[0] if marker else _recording().sentence_of(item.function.__doc__)


@pytest.fixture
def default_cassette_name(request: pytest.FixtureRequest) -> str:
    """Return the name of the test's cassette."""
    return cassette_of(request.node).name


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """Return the folder of the cassettes of a module: `cassettes/` mirrors `tests/`."""
    return str(_recording().folder_of(request.node.path))


@pytest.fixture
def vcr_config(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the configuration of every cassette; langchain-tests has one of its own, which this replaces."""
    # The one benchmark plays its recording many times.
    return {**_recording().vcr_settings(), "allow_playback_repeats": "benchmark" in request.fixturenames}


@pytest.fixture
def script() -> Script:
    """Return what the stand-in is to answer where it could not know; a test module may override this."""
    return Script()


@pytest.fixture
def media_map() -> dict[str, bytes]:
    """Return what stands behind web addresses; a test module may override this."""
    return {}


def _refuse_to_resolve(host: object, *_: object, **__: object) -> None:
    raise RuntimeError(f"A test with a cassette tried to resolve {host!r}.")


@pytest.fixture(autouse=True)
def answering_service(
    request: pytest.FixtureRequest, record_mode: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[None]:
    """Point tests with a cassette at the service to record from, or at no address at all when replaying."""
    if record_mode == "none":
        monkeypatch.setenv("DASHSCOPE_API_KEY", _KEY)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", _ADDRESS)
        monkeypatch.setattr(socket, "getaddrinfo", _refuse_to_resolve)
        yield
    elif _recording().present_origin() == "service":
        yield
    else:
        script, media_map = request.getfixturevalue("script"), request.getfixturevalue("media_map")
        with Standin(script=script, media_map=media_map) as standin:
            # Only now: what is recorded next is labelled by whether there is a key.
            monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
            monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
            yield


@pytest.fixture(autouse=True)
def fully_played(request: pytest.FixtureRequest, record_mode: str) -> Iterator[None]:
    """Fail a test that leaves a part of its cassette unplayed: it no longer asks what was recorded."""
    if record_mode != "none":
        yield
        return
    cassette: Cassette = request.getfixturevalue("vcr")
    yield
    if not len(cassette) and _needs_one(request.node):
        pytest.fail("The test has no cassette; run `make record`.")
    if not cassette.all_played:
        pytest.fail(f"{cassette.play_count} of {len(cassette)} recorded answers were played.")
