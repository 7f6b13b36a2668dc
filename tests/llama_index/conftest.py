"""These tests need LlamaIndex: `pip install --group test-llama-index`. Without it they skip, and say so."""

from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia

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
