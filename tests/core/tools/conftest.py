"""One stand-in and one folder for the tests of the tools."""

from collections.abc import Iterator

import pytest

from qwen_omni import MediaTools, Settings
from qwen_omni.standin import Script, Standin
from tests.core.tools.places import Place, make_place


@pytest.fixture(scope="session")
def running() -> Iterator[Standin]:
    with Standin() as service:
        service.tasks.polls_until_done = 0
        yield service


@pytest.fixture
def standin(running: Standin) -> Standin:
    """A stand-in with empty logs."""
    running.clear()
    running.tasks.clear()
    running.script = Script()
    return running


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def tools(place: Place, settings: Settings) -> Iterator[MediaTools]:
    made = MediaTools(place.root, settings=settings)
    yield made
    made.close()
