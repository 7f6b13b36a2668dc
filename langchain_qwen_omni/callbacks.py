"""`UsageLedgerHandler`: a LangChain callback that adds up token usage and cost.

It reads the `usage_metadata` of answers, so it works for any chat model whose name has a price here; the sums are in
`qwen_omni.UsageLedger`, which several handlers, clients and frameworks may share.
"""

from typing import Any

from langchain_core.callbacks import BaseCallbackHandler
from langchain_core.messages import AIMessage, BaseMessage
from langchain_core.messages.ai import UsageMetadata
from langchain_core.outputs import ChatGeneration, LLMResult

from qwen_omni.integrations.request_builder import ESTIMATED
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.responses import Usage


class UsageLedgerHandler(BaseCallbackHandler):
    """Adds every call to a `UsageLedger`. Safe to share between runs and threads.

    Answers from LangChain's cache cost nothing and are not counted as calls.

    A model whose own `ledger` is set counts its calls itself: use one of the two.

    Example:
        from langchain_qwen_omni import ChatQwenOmni, UsageLedgerHandler

        handler = UsageLedgerHandler()
        ChatQwenOmni().invoke("What is a QR code?", config={"callbacks": [handler]})
        print(handler.ledger)
    """

    def __init__(self, ledger: UsageLedger | None = None) -> None:
        super().__init__()
        self.ledger = UsageLedger() if ledger is None else ledger

    def on_llm_end(self, response: LLMResult, **_: Any) -> None:  # noqa: ANN401  (LangChain's signature)
        """Add the usage of an answer."""
        for generation in (one for several in response.generations for one in several):
            if isinstance(generation, ChatGeneration) and isinstance(generation.message, AIMessage):
                self._add(generation.message)

    def _add(self, message: AIMessage) -> None:
        used = usage_of(message)
        if used is None:
            return
        metadata = message.response_metadata
        self.ledger.record(used, model=str(metadata.get("model_name") or "unknown"), estimated=metadata.get(ESTIMATED))


def usage_of(message: BaseMessage) -> Usage | None:
    """Return the usage of an answer; `None` if the model does not report it, or LangChain's cache gave the answer."""
    used = message.usage_metadata if isinstance(message, AIMessage) else None
    return parse_usage(used) if used is not None and _was_paid(used) else None


def _was_paid(used: UsageMetadata) -> bool:
    """Whether an answer came from a model, not from LangChain's cache, which adds a cost of zero to the usage."""
    counts = dict(used)  # the cache adds only a cost if the model reported no usage
    return "input_tokens" in counts and counts.get("total_cost") != 0


def parse_usage(usage: UsageMetadata) -> Usage:
    """Parse token counts in LangChain's format; the inverse of `_convert_output.dump_usage`."""
    into: dict[str, Any] = dict(usage.get("input_token_details") or {})
    return Usage(
        input_tokens=usage["input_tokens"],
        output_tokens=usage["output_tokens"],
        total_tokens=usage["total_tokens"],
        input_details={"cached" if name == "cache_read" else name: count or 0 for name, count in into.items()},
        output_details={name: count or 0 for name, count in dict(usage.get("output_token_details") or {}).items()},  # type: ignore[misc]
    )
