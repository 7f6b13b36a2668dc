"""Messages and responses as traces may see them: each medium replaced by a line that says what it was. Pure.

LlamaIndex hands whole messages to its event and span handlers, and some of these store, send, or even download what
they are given. A traced conversation holds its texts, thinking and tool calls; of media it holds the kind and the
path, the address without its query, or the number of bytes.
"""

from collections.abc import Mapping, Sequence
from io import IOBase
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    ChatMessage,
    ChatResponse,
    CitableBlock,
    CitationBlock,
    CompletionResponse,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    VideoBlock,
)
from llama_index.core.prompts import BasePromptTemplate, ChatPromptTemplate

from qwen_omni.call_plan import SECRET_NAMES
from qwen_omni.redact import redact

_SECRET = SECRET_NAMES | {"oss"}
_MEDIA = (ImageBlock, AudioBlock, VideoBlock, DocumentBlock)


def shown_messages(messages: Sequence[ChatMessage]) -> list[ChatMessage]:
    """Give a conversation without its media; messages that have none are the same objects."""
    return [shown_message(message) for message in messages]


def shown_message(message: ChatMessage) -> ChatMessage:
    """Give a message without its media."""
    blocks = [shown_block(block) for block in message.blocks]
    kept = {name: value for name, value in message.additional_kwargs.items() if name != "images"}
    if len(kept) == len(message.additional_kwargs) and all(a is b for a, b in zip(blocks, message.blocks, strict=True)):
        return message
    return message.model_copy(update={"blocks": blocks, "additional_kwargs": kept})


def shown_block(block: BaseContentBlock) -> BaseContentBlock:
    """Give a block, or the line that stands for a medium."""
    match block:
        case ImageBlock() | AudioBlock() | VideoBlock() | DocumentBlock():
            return TextBlock(text=f"[{block.block_type}: {_where(block)}]")
        case CitableBlock():
            return block.model_copy(update={"content": [shown_block(inner) for inner in block.content]})
        case CitationBlock():
            return block.model_copy(update={"cited_content": shown_block(block.cited_content)})
        case _:
            return block


def _where(block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock) -> str:
    held = _held(block)
    if isinstance(held, bytes):
        return f"{len(held) * 3 // 4 - held[-2:].count(b'='):,} bytes"  # LlamaIndex keeps base64
    if held is not None:
        return "an open file"
    if block.path:
        return str(block.path)
    url = str(block.url or "nothing")
    return f"data of {len(url):,} characters" if url.startswith("data:") else redact(url)


def _held(block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock) -> bytes | IOBase | None:
    if isinstance(block, ImageBlock):
        return block.image
    if isinstance(block, AudioBlock):
        return block.audio
    return block.video if isinstance(block, VideoBlock) else block.data


def shown_response(response: Any) -> Any:  # noqa: ANN401  (a response, a stream of them, or what a program gives)
    """Give a response without the sound in it; anything else is given back."""
    if not isinstance(response, ChatResponse | CompletionResponse):
        return response
    more = response.additional_kwargs
    update: dict[str, Any] = {}
    if any(isinstance(value, _MEDIA) for value in more.values()):
        shown = {key: shown_block(value) if isinstance(value, _MEDIA) else value for key, value in more.items()}
        update["additional_kwargs"] = shown
    if isinstance(response, ChatResponse):
        message = shown_message(response.message)
        if message is not response.message:
            update["message"] = message
    return response.model_copy(update=update) if update else response


def shown_prompt(prompt: BasePromptTemplate) -> BasePromptTemplate:
    """Give a prompt template without the media in it."""
    if not isinstance(prompt, ChatPromptTemplate):
        return prompt
    copy = prompt.model_copy()
    copy.message_templates = shown_messages(prompt.message_templates)
    return copy


def shown_arguments(given: Mapping[str, Any]) -> dict[str, Any]:
    """Give the arguments of a method without the media in them."""
    shown = dict(given)
    if "messages" in shown:
        shown["messages"] = shown_messages(shown["messages"])
    if isinstance(shown.get("prompt"), BasePromptTemplate):
        shown["prompt"] = shown_prompt(shown["prompt"])
    return shown


def shown_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Give the options of a call without those that may hold secrets."""
    return {name: value for name, value in options.items() if name not in _SECRET}
