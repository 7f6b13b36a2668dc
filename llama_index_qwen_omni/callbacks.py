"""`UsageLedgerHandler`: a LlamaIndex event handler that adds up token usage and cost.

It reads `raw["usage"]` of answers, in the service's format; the sums are in `qwen_omni.UsageLedger`, which several
handlers, clients and frameworks may share.
"""

from collections.abc import Mapping
from typing import Any

from llama_index.core.instrumentation.event_handlers import BaseEventHandler
from llama_index.core.instrumentation.events import BaseEvent
from llama_index.core.instrumentation.events.llm import LLMChatEndEvent, LLMCompletionEndEvent
from pydantic import Field

from qwen_omni.integrations.model_fields import described
from qwen_omni.integrations.request_builder import ESTIMATED, parse_usage
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.responses import Usage


@described
class UsageLedgerHandler(BaseEventHandler):
    """Adds every call to a `UsageLedger`. Safe to share between threads.

    A model whose own `ledger` is set counts its calls itself: use one of the two.

    Example:
        import llama_index.core.instrumentation as instrument
        from llama_index_qwen_omni.callbacks import UsageLedgerHandler

        handler = UsageLedgerHandler()
        instrument.get_dispatcher().add_event_handler(handler)
        ...
        print(handler.ledger)
    """

    ledger: UsageLedger = Field(default_factory=UsageLedger)
    """The sums; share one object to add up several handlers."""

    @classmethod
    def class_name(cls) -> str:
        """Return the class name for LlamaIndex."""
        return "UsageLedgerHandler"

    def handle(self, event: BaseEvent, **_: Any) -> None:  # noqa: ANN401  (LlamaIndex's signature)
        """Add the usage of an answer."""
        response = event.response if isinstance(event, LLMChatEndEvent | LLMCompletionEndEvent) else None
        raw = mapping_of(getattr(response, "raw", None))
        usage = mapping_of(raw.get("usage"))
        if usage:
            model = str(raw.get("model") or "unknown")
            self.ledger.record(parse_usage(usage) or Usage(), model=model, estimated=usage.get(ESTIMATED))


def usage_of(response: object) -> Usage | None:
    """Return the usage of an answer; `None` if the model does not report it."""
    return parse_usage(mapping_of(mapping_of(getattr(response, "raw", None)).get("usage")))


def mapping_of(value: object) -> Mapping[str, Any]:
    """Return a mapping, or convert an object of another provider's SDK to one."""
    if isinstance(value, Mapping):
        return value
    dump = getattr(value, "model_dump", None)
    dumped = dump() if callable(dump) else {}
    return dumped if isinstance(dumped, Mapping) else {}
