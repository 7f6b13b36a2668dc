"""What a framework asks about a call that it has not made: what it will use and cost, and how many tokens it has.

`qwen_omni.spend` does the reckoning; both adapters come through here, so that they tell the same numbers.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from qwen_omni.call_plan import Plan
from qwen_omni.messages import Message
from qwen_omni.options import Tool
from qwen_omni.profiles import profile_for
from qwen_omni.responses import SentMedia, Usage
from qwen_omni.spend import counting, words
from qwen_omni.wire.stream import dump_usage, parse_usage

if TYPE_CHECKING:
    from qwen_omni.spend.estimates import Estimate

__all__ = [
    "ESTIMATED", "MEDIA", "count_call", "count_text", "dump_usage", "estimate_plan", "estimated_beside", "media_beside",
    "parse_usage",
]  # fmt: skip

ESTIMATED = "estimated_input_tokens"
"""Where an answer's metadata tell what its input had been estimated at."""

MEDIA = "media"
"""Where they tell how each piece of media was sent."""


def estimate_plan(plan: Plan, answer_tokens: int | None = None) -> "Estimate":
    """Tell what a planned call will use and cost. Needs no key, since nothing is sent."""
    from qwen_omni.spend.estimating import estimate  # noqa: PLC0415 - brings the media modules; loads on first use

    return estimate(plan.request, settings=plan.connection.load(needs_key=False), answer_tokens=answer_tokens)


def estimated_beside(usage: Usage | None) -> dict[str, int]:
    """Give what joins an answer's metadata: what its input had been estimated at, if it was."""
    return {} if usage is None or usage.estimated_input is None else {ESTIMATED: usage.estimated_input}


def media_beside(media: Sequence[SentMedia]) -> dict[str, Any]:
    """Return what joins an answer's metadata: how each piece of media was sent, in order, if there was any.

    Coordinates in an answer are those of the image as it was sent; `SentMedia(**entry).to_original(x, y)` finds them in
    the original.
    """
    return {MEDIA: [one.as_dict() for one in media]} if media else {}


def count_text(text: str, model: str) -> int:
    """Count the tokens of a text for a model: exactly with `qwen-omni[tokenizer]`, else nearly."""
    return words.count_text(text, profile_for(model).tokens.vocabulary)


def count_call(messages: Sequence[Message], tools: Sequence[Tool], model: str) -> int:
    """Count the tokens of a conversation for a model, opening no media."""
    rules = profile_for(model).tokens
    return counting.count_messages(messages, rules) + counting.count_tools(tools, rules)
