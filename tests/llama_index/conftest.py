"""These tests need LlamaIndex: `pip install --group test-llama-index`. Without it they skip, and say so.

Cassettes are in `cassettes/llama_index/<module>`; see `tests/langchain/conftest.py`, which has the same rules.
"""

from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path

import pytest

from qwen_omni.standin import Standin
from qwen_omni.standin.truth import TruthMedia, make_video

if find_spec("llama_index") is None:
    collect_ignore = ["asking.py"]
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


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of four seconds with a code in picture and sound for each."""
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=4, size=(320, 180))


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
