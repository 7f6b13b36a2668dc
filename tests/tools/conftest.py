"""One stand-in and one folder for the tests of the tools."""

from collections.abc import Iterator

import pytest

from qwen_omni import MediaTools, Settings
from qwen_omni.standin import Standin
from tests.support.agents import Place, make_place


@pytest.fixture
def standin() -> Iterator[Standin]:
    """A stand-in of the test's own: a request that a cancelled call left on its way must not reach the next test."""
    with Standin() as service:
        service.tasks.polls_until_done = 0
        yield service


@pytest.fixture(scope="session")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
def tools(place: Place, settings: Settings) -> Iterator[MediaTools]:
    made = MediaTools(place.root, settings=settings)
    yield made
    made.close()
