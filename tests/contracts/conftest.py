"""A model of each framework."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.contracts.frameworks import Framework


@pytest.fixture
async def llm(framework: Framework, standin: Standin, clip: TruthMedia) -> AsyncIterator[Any]:
    """A model of the framework, which may read the folder of the clip."""
    model = framework.model(standin, media_root=str(clip.path.parent))
    yield model
    model.close()
    await model.aclose()
