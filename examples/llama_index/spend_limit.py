"""Estimate the price beforehand, set a limit, and see the actual cost afterwards.

    python examples/llama_index/spend_limit.py [promo.mp4] [--offline]

Prints the estimate, one answer, a call refused by the limit, and the ledger. A refused call costs nothing. The ledger
listens to LlamaIndex's events, so it also counts calls of engines and agents, and of every model that reports usage.
"""

from pathlib import Path

import llama_index.core.instrumentation as instrument
from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock

from _start import start
from llama_index_qwen_omni import QwenOmni, UsageLedgerHandler
from qwen_omni import SpendLimit, SpendLimitError


def main(path: Path) -> None:
    """Estimate, ask, exceed the limit, and print the ledger."""
    handler = UsageLedgerHandler()
    events = instrument.get_dispatcher()
    events.add_event_handler(handler)
    limit = SpendLimit(cny=1.0, per_call_cny=0.5)  # share one object between models to limit them together
    llm = QwenOmni(thinking=False, media_root=path.parent, spend_limit=limit)
    question = [ChatMessage(blocks=[VideoBlock(path=path), TextBlock(text="What happens in this video?")])]
    print(llm.estimate(question))  # sends nothing
    print(llm.chat(question).message.content)
    try:
        llm.chat(question, spend_limit=SpendLimit(per_call_tokens=100))
    except SpendLimitError as error:
        print(f"refused: {error}")
    print(handler.ledger)
    print(f"spent of the limit: CNY {limit.spent.cny:.6f}")
    events.event_handlers.remove(handler)
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
