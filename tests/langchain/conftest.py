"""A model of LangChain's at the stand-in."""

from collections.abc import AsyncIterator

import pytest
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia


@pytest.fixture
async def llm(standin: Standin, clip: TruthMedia) -> AsyncIterator[ChatQwenOmni]:
    """A model at the stand-in that does not retry and may read the folder of the clip."""
    model = ChatQwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, max_retries=0, media_root=clip.path.parent
    )
    yield model
    model.close()
    await model.aclose()
