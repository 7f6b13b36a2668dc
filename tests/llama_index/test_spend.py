"""Estimates, limits and ledgers from LlamaIndex: the numbers are those of LangChain's doors."""

import pytest

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, VideoBlock
from llama_index.core.instrumentation import get_dispatcher
from llama_index.core.tools import FunctionTool

from llama_index_qwen_omni import QwenOmni, UsageLedgerHandler
from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.support.asking import CHATS, Way


@pytest.fixture
def asked(clip: TruthMedia) -> list[ChatMessage]:
    """A question about a local video."""
    return [ChatMessage(blocks=[VideoBlock(path=clip.path), TextBlock(text="What is shown?")])]


@pytest.mark.parametrize("way", CHATS.values(), ids=CHATS.keys())
async def test_the_estimate_equals_the_usage(
    way: Way, llm: QwenOmni, asked: list[ChatMessage], standin: Standin
) -> None:
    """`estimate` sends nothing; the bill then has the same tokens, and the answer tells both numbers."""
    made = llm.estimate(asked, temperature=0)
    assert standin.connections == 0
    usage = (await way(llm, asked)).raw["usage"]
    told = usage["prompt_tokens_details"]
    assert (made.tokens.video, made.tokens.audio) == (told["video_tokens"], told["audio_tokens"])
    assert abs(usage["estimated_input_tokens"] / usage["prompt_tokens"] - 1) < 0.05


def test_an_estimate_needs_no_key(asked: list[ChatMessage], clip: TruthMedia) -> None:
    """Nothing is sent, so nobody is asked for a key; options of the call count."""
    llm = QwenOmni(media_root=clip.path.parent, region="intl")
    assert llm.estimate(asked).tokens.thinking_out > llm.estimate(asked, thinking=False).tokens.thinking_out == 0
    assert llm.estimate("Hello", answer_tokens=3).tokens.text_out == 3


@pytest.mark.parametrize("way", CHATS.values(), ids=CHATS.keys())
async def test_a_limit_refuses_before_anything_is_sent(
    way: Way, llm: QwenOmni, asked: list[ChatMessage], standin: Standin
) -> None:
    """A model with a spend limit keeps it in every way of calling."""
    limited = llm.model_copy(update={"spend_limit": SpendLimit(per_call_tokens=20)})
    with pytest.raises(SpendLimitError):
        await way(limited, asked)
    assert standin.connections == 0


def test_a_limit_and_a_ledger_are_no_part_of_the_model(llm: QwenOmni) -> None:
    """They are live objects: neither is told to traces nor saved."""
    rich = llm.model_copy(update={"spend_limit": SpendLimit(tokens=10), "ledger": UsageLedger()})
    assert rich.to_payload() == llm.to_payload()
    assert rich.to_dict() == llm.to_dict()


@pytest.mark.parametrize("way", CHATS.values(), ids=CHATS.keys())
async def test_the_handler_adds_up(way: Way, llm: QwenOmni) -> None:
    """The handler's books are those of a ledger in the model itself."""
    handler, inside = UsageLedgerHandler(), UsageLedger()
    root = get_dispatcher()
    root.add_event_handler(handler)
    try:
        await way(llm.model_copy(update={"ledger": inside}), "Say hello.")
    finally:
        root.event_handlers.remove(handler)
    assert handler.ledger.total == inside.total
    assert inside.total.calls == 1


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
