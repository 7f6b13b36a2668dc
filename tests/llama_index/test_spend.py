"""Limits, ledgers and counts in what LlamaIndex alone has."""

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, VideoBlock
from llama_index.core.tools import FunctionTool

from llama_index_qwen_omni import QwenOmni
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit


def test_a_limit_and_a_ledger_are_no_part_of_the_model(llm: QwenOmni) -> None:
    """They are live objects: neither is told to traces nor saved."""
    rich = llm.model_copy(update={"spend_limit": SpendLimit(tokens=10), "ledger": UsageLedger()})
    assert rich.to_payload() == llm.to_payload()
    assert rich.to_dict() == llm.to_dict()


def test_counting_opens_nothing_and_counts_no_base64(llm: QwenOmni) -> None:
    """A history with megabytes of media in it is counted as media, a missing file is no error, and tools count."""
    inline = ChatMessage(blocks=[ImageBlock(image=b"\x89PNG" + b"A" * 1_500_000, image_mimetype="image/png")])
    missing = ChatMessage(blocks=[VideoBlock(url="file:///nowhere.mp4")])
    assert llm.count_tokens([inline]) < 1_400
    assert llm.count_tokens([missing]) > 10_000

    def find(query: str) -> str:
        """Find something."""
        return query

    tools = [FunctionTool.from_defaults(find)]
    assert llm.count_tokens("Go.", tools) > llm.count_tokens("Go.") > 3
