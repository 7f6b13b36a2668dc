"""Captions through Batch Chat: half price, and one store with those in real time."""

import asyncio
import io
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from langchain_qwen_omni import ChatQwenOmni, caption_chain
from qwen_omni import AsyncOmniClient, CaptionOptions, ConfigurationError, OmniClient, acaption, caption
from qwen_omni.settings import Settings
from qwen_omni.standin import Fault, Standin
from qwen_omni.structured.batch import Results, caption_many

BATCH_PATH = "/batch/compatible-mode/v1/chat/completions"
SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}}
SLOW = CaptionOptions(model="qwen3.5-omni-plus", tier="batch")


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A small image."""
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(drawn, "PNG")
    (tmp_path / "a.png").write_bytes(drawn.getvalue())
    return tmp_path / "a.png"


@pytest.fixture
def batch(settings: Settings, standin: Standin) -> Settings:
    """Settings that reach the stand-in's Batch Chat."""
    return replace(settings, batch_base_url=standin.batch_base_url)


def test_captions(batch: Settings, standin: Standin, picture: Path) -> None:
    """Sync, async, as a chain; a repair goes the same way."""

    async def asynchronously() -> None:
        async with AsyncOmniClient(batch) as client:
            await acaption(str(picture), client=client, options=SLOW)

    standin.script.reply('{"scene_description": 3')
    with OmniClient(batch) as client, pytest.raises(ValueError, match="ends inside the object"):
        caption(str(picture), client=client, options=SLOW)
    standin.script.reply("no JSON at all")
    with OmniClient(batch) as client:
        assert caption(str(picture), client=client, options=SLOW).repaired
    asyncio.run(asynchronously())
    llm = ChatQwenOmni(model="qwen3.5-omni-plus", tier="batch", api_key=standin.api_key, base_url=standin.base_url,
                       media_root=str(picture.parent))  # fmt: skip
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DASHSCOPE_BATCH_BASE_URL", standin.batch_base_url)
        caption_chain(llm).invoke(str(picture))
    assert [request.path for request in standin.requests] == [BATCH_PATH] * 5


def test_both_tiers_share_the_finished_captions(
    batch: Settings, standin: Standin, picture: Path, tmp_path: Path
) -> None:
    """One account, one model, one question: what was paid for at half price is not paid for again in real time."""
    with OmniClient(batch) as client, Results(tmp_path / "done.sqlite3") as results:
        for options in (SLOW, replace(SLOW, tier=None), replace(SLOW, tier="standard")):
            (found,) = caption_many([str(picture)], SCHEMA, client=client, options=options, results=results)
            assert found.error is None
    assert len(standin.requests) == 1


def test_a_time_out_fails_one_caption(batch: Settings, standin: Standin, picture: Path) -> None:
    """As a typed error of that file, and nothing is billed."""
    standin.script.fault(Fault.refuse(408, "RequestTimeOut", "Request timed out."), times=9)
    with OmniClient(replace(batch, max_retries=0)) as client:
        (found,) = caption_many([str(picture)], SCHEMA, client=client, options=SLOW)
    assert type(found.error).__name__ == "BatchTimeoutError"
    assert found.usages == ()


def test_the_model_is_checked(batch: Settings, standin: Standin, picture: Path) -> None:
    """Before anything is sent."""
    with OmniClient(batch) as client, pytest.raises(ConfigurationError, match="not offered in Batch Chat"):
        caption(str(picture), client=client, options=CaptionOptions(tier="batch"))
    assert standin.connections == 0
    with pytest.raises(ConfigurationError, match="tier="):
        CaptionOptions(tier="cheap")  # type: ignore[arg-type]
