"""Estimate the price beforehand, set a limit, and see the actual cost afterwards.

    python examples/langchain/spend_limit.py [promo.mp4] [--offline]

Prints the estimate, one answer, a call refused by the limit, and the ledger. A refused call costs nothing.
"""

from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import SpendLimit, SpendLimitError, UsageLedger


def main(path: Path) -> None:
    """Estimate, ask, exceed the limit, and print the ledger."""
    limit = SpendLimit(cny=1.0, per_call_cny=0.5)  # share one object between models to limit them together
    ledger = UsageLedger()
    llm = ChatQwenOmni(thinking=False, media_root=path.parent, spend_limit=limit, ledger=ledger)
    video = {"type": "video", "path": str(path)}
    question = [HumanMessage([video, {"type": "text", "text": "What happens in this video?"}])]
    print(llm.estimate(question))  # sends nothing
    print(llm.invoke(question).text)
    try:
        llm.invoke(question, spend_limit=SpendLimit(per_call_tokens=100))
    except SpendLimitError as error:
        print(f"refused: {error}")
    print(ledger)
    print(f"spent of the limit: CNY {limit.spent.cny:.6f}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        main(path)
