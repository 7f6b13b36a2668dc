"""`tier="batch"` in both frameworks: every way of calling goes to Batch Chat, as a field and as an option of a call."""

from pathlib import Path
from typing import Any

import pytest

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.archive import BatchJob
from qwen_omni.errors import ConfigurationError
from qwen_omni.standin import Standin
from tests.contracts.frameworks import Framework, Way, each, each_framework

BATCH_PATH = "/batch/compatible-mode/v1/chat/completions"


@pytest.fixture(autouse=True)
def batch_host(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """The stand-in's Batch Chat, as a gateway's user would set it."""
    monkeypatch.setenv("DASHSCOPE_BATCH_BASE_URL", standin.batch_base_url)


@pytest.mark.filterwarnings("ignore:.*is in beta")
@each("ways")
async def test_a_model_of_the_tier(framework: Framework, way: Way, llm: Any, standin: Standin) -> None:
    """The field decides for every call; an option of the call wins."""
    batch = llm.model_copy(update={"model": "qwen-plus", "tier": "batch"})
    await way(batch, "Hello")
    assert {request.path for request in standin.requests} == {BATCH_PATH}
    standin.clear()
    await way(llm, "Hello", model="qwen-plus", tier="batch")
    assert {request.path for request in standin.requests} == {BATCH_PATH}
    standin.clear()
    await way(batch, "Hello", tier="standard")
    assert BATCH_PATH not in {request.path for request in standin.requests}


@each("chats")
async def test_a_model_that_is_not_offered(framework: Framework, way: Way, llm: Any, standin: Standin) -> None:
    """The default model has no batch; nothing is sent."""
    with pytest.raises(ValueError, match=r"qwen3.8-omni-flash is not offered in Batch Chat"):
        await way(llm.model_copy(update={"tier": "batch"}), "Hello")
    assert standin.connections == 0


@each_framework
def test_the_estimate_of_a_model(framework: Framework, llm: Any) -> None:
    """Half, and the list price beside it."""
    made = llm.estimate("Hello", model="qwen-plus", tier="batch")
    assert (made.tier, made.list_cost.cny) == ("batch", pytest.approx(2 * made.cost.cny))


@each_framework
def test_a_tier_that_is_none(framework: Framework, standin: Standin, llm: Any) -> None:
    """As a field by pydantic, as an option of a call by us."""
    with pytest.raises(ValueError, match="tier"):
        framework.model(standin, tier="cheap")
    with pytest.raises(ConfigurationError, match="'standard', 'batch'"):
        llm.estimate("Hello", tier="cheap")


@each_framework
def test_a_batch_file_of_the_frameworks_messages(
    framework: Framework, llm: Any, standin: Standin, tmp_path: Path
) -> None:
    """A model turns its messages and options into requests of the core, and brings the connection."""
    asked = {
        name: llm.to_request(framework.says(f"Question {name}"), model="qwen-plus", max_tokens=50) for name in "ab"
    }
    with BatchJob(asked, store=tmp_path / "batches.sqlite3", settings=llm.client().settings) as job:
        job.submit()
        job.wait(poll_seconds=0.001)
        found = list(job.results())
    assert ["Question b" in one.response.text for one in found if one.response] == [False, True]
    assert standin.requests[0].body["max_tokens"] == 50


def test_the_cache_of_langchain_knows_no_tier() -> None:
    """An answer in the cache is not paid for again because it was asked for at the other price."""
    plain, batch = ChatQwenOmni(model="qwen-plus"), ChatQwenOmni(model="qwen-plus", tier="batch")
    keys = {
        plain._get_llm_string(),
        batch._get_llm_string(),
        plain._get_llm_string(tier="batch"),
        batch._get_llm_string(tier="standard"),
    }
    assert len(keys) == 1
    assert plain._get_llm_string(max_tokens=1) not in keys
