"""One stand-in and one folder for the tests of the tools, and a call in both ways."""

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest

from qwen_omni import MediaTools, Settings
from qwen_omni.standin import Standin
from qwen_omni.tools.results import ToolOutcome
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


def both(tools: MediaTools, name: str, **arguments: Any) -> ToolOutcome:
    """Call a tool in both ways; they must say the same."""
    outcome = tools.call(name, arguments)

    async def run() -> ToolOutcome:
        try:
            return await tools.acall(name, arguments)
        finally:
            await tools.aclose()

    again = asyncio.run(run())
    assert again.content == outcome.content
    assert again.artifact == outcome.artifact
    assert type(again.error) is type(outcome.error)
    json.dumps(outcome.artifact)
    return outcome
