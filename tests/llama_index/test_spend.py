"""Limits, ledgers and counts in what LlamaIndex alone has."""

import pytest

pytest.importorskip("llama_index.core")

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, VideoBlock
from llama_index.core.tools import FunctionTool

from llama_index_qwen_omni import QwenOmni
from qwen_omni.pricing.costs import TokenCounts
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


# --- The ledger as an event handler ---


USAGE = {
    "prompt_tokens": 100, "completion_tokens": 9, "total_tokens": 109,
    "prompt_tokens_details": {"video_tokens": 80, "audio_tokens": 12, "cached_tokens": 5},
}  # fmt: skip


class Answer:
    """The raw answer of another provider's SDK."""

    def model_dump(self) -> dict[str, object]:
        """Return it as a dictionary."""
        return {"model": "qwen-plus", "usage": USAGE}


@pytest.mark.parametrize(
    ("raw", "calls"),
    [({"model": "qwen-plus", "usage": USAGE}, 1), ({"model": "qwen-plus"}, 0), (None, 0), (Answer(), 1)],
)
def test_answers_are_added_up(raw, calls):
    """Whatever tells the service's usage counts; what tells none is passed over."""
    from llama_index.core.instrumentation import get_dispatcher  # noqa: PLC0415
    from llama_index.core.instrumentation.events.llm import LLMChatEndEvent  # noqa: PLC0415
    from llama_index.core.llms import ChatMessage, ChatResponse  # noqa: PLC0415

    from llama_index_qwen_omni import UsageLedgerHandler  # noqa: PLC0415

    handler = UsageLedgerHandler()
    dispatcher = get_dispatcher("qwen-omni-test")
    dispatcher.add_event_handler(handler)
    response = ChatResponse(message=ChatMessage("hi"), raw=raw)
    dispatcher.event(LLMChatEndEvent(messages=[], response=response))
    assert handler.ledger.total.calls == calls
    if calls:
        assert handler.ledger.total.tokens == TokenCounts(text=8, video=80, audio=12, cached=5, text_out=9)


def test_the_estimate_beside_the_usage():
    """Where the answer tells what was estimated, the ratio is kept."""
    from llama_index.core.instrumentation.events.llm import LLMCompletionEndEvent  # noqa: PLC0415
    from llama_index.core.llms import CompletionResponse  # noqa: PLC0415

    from llama_index_qwen_omni.callbacks import ESTIMATED, UsageLedgerHandler  # noqa: PLC0415

    handler = UsageLedgerHandler()
    raw = {"model": "qwen3.8-omni-flash", "usage": {**USAGE, ESTIMATED: 110}}
    handler.handle(LLMCompletionEndEvent(prompt="", response=CompletionResponse(text="hi", raw=raw)))
    assert handler.ledger.total.ratio == pytest.approx(1.1)
    assert handler.class_name() == "UsageLedgerHandler"
