"""These tests need LlamaIndex: `pip install --group test-llama-index`. Without it they skip, and say so.

Cassettes are in `cassettes/llama_index/<module>`; they are made and replayed by the rules of `tests/langchain`.
"""
# ruff: noqa: PLC0414  (fixtures are found by their names here)

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.langchain.conftest import (
    fully_played as fully_played,
    media_map as media_map,
    pytest_recording_configure as pytest_recording_configure,
    script as script,
    service as service,
    vcr_config as vcr_config,
)
from tests.support import recording

FOLDER = recording.ROOT / "llama_index"

if find_spec("llama_index") is None:
    collect_ignore: list[str] = []
else:
    from pydantic import SecretStr

    from llama_index_qwen_omni import QwenOmni


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder where LlamaIndex is not installed."""
    if find_spec("llama_index") is None:
        why = pytest.mark.skip(reason="llama-index-core is not installed (dependency group test-llama-index)")
        for item in items:
            if "llama_index" in str(item.path.parent):
                item.add_marker(why)
    for item in items:
        if "llama_index" in str(item.path.parent) and item.get_closest_marker("vcr") is not None:
            item.add_marker(pytest.mark.block_network)


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """Keep the cassettes of a module in a folder of its name."""
    return str(FOLDER / Path(request.node.path).stem.removeprefix("test_"))


@pytest.fixture
def memory() -> Iterator[Any]:
    """A file system of its own, empty at first."""
    made = pytest.importorskip("fsspec").filesystem("memory")
    made.store.clear()
    yield made
    made.store.clear()


@pytest.fixture
async def llm(standin: Standin, clip: TruthMedia) -> AsyncIterator["QwenOmni"]:
    """A model at the stand-in that may read the folder of the clip."""
    model = QwenOmni(
        api_key=SecretStr(standin.api_key),
        base_url=standin.base_url,
        max_retries=0,
        media_root=str(Path(clip.path).parent),
    )
    yield model
    model.close()
    await model.aclose()
