"""Pytest fixtures for tests that need the service: list this module in `pytest_plugins`.

pytest_plugins = ["qwen_omni.standin.pytest_plugin"]

def test_talk(standin):
    client = OpenAI(base_url=standin.base_url, api_key=standin.api_key)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from qwen_omni.standin.server.script import Script
from qwen_omni.standin.server.server import Standin

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def standin_server() -> Iterator[Standin]:
    """One running stand-in for the whole session; it caches what it decoded."""
    with Standin() as running:
        yield running


@pytest.fixture
def standin(standin_server: Standin) -> Standin:
    """The session's stand-in with an empty log and an empty script."""
    standin_server.clear()
    standin_server.script = Script()
    standin_server.nearly_right = None
    return standin_server


@pytest.fixture(params=range(8))
def nearly_right(request: pytest.FixtureRequest, standin: Standin) -> Standin:
    """The stand-in, answering nearly right: a test that uses it runs eight times, with different mistakes each time."""
    standin.nearly_right = request.param
    return standin
