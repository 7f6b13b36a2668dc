"""How many tokens a conversation has, for trimming a history; `qwen_omni.spend.counting` serves both adapters."""

from collections.abc import Sequence

from qwen_omni.messages import Message
from qwen_omni.options import Tool
from qwen_omni.profiles import profile_for
from qwen_omni.spend import counting, words


def count_text(text: str, model: str) -> int:
    """Count the tokens of a text for a model: exactly with `qwen-omni[tokenizer]`, else nearly."""
    return words.count_text(text, profile_for(model).tokens.vocabulary)


def count_call(messages: Sequence[Message], tools: Sequence[Tool], model: str) -> int:
    """Count the tokens of a conversation for a model, opening no media."""
    rules = profile_for(model).tokens
    return counting.count_messages(messages, rules) + counting.count_tools(tools, rules)
