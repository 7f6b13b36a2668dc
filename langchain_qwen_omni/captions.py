"""`caption_chain`: media in, a validated caption out, including the steps that a parser cannot do.

The chain writes the prompt, turns JSON mode on and thinking off, and retries once when an answer violates the schema
(`output_parsers.StructuredChain`). `output_parsers` parses the answers.
"""

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableBinding

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from langchain_qwen_omni.output_parsers import CaptionOutputParser, Schema, StructuredChain
from qwen_omni.media.source import as_source
from qwen_omni.options import Effort
from qwen_omni.profiles import profile_for
from qwen_omni.request.question import kind_of, look
from qwen_omni.structured.ask import follows_media, json_mode
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import TASK, TIMED_TASK, CaptionSchema, instructions
from qwen_omni.structured.timed import TimedCaptions

CaptionInput = str | os.PathLike[str] | Mapping[str, Any] | HumanMessage | PromptValue | Sequence[Any]


class CaptionChain(StructuredChain[CaptionInput]):
    """Media in, a validated caption out; created by `caption_chain`."""

    def __init__(
        self, llm: Runnable[LanguageModelInput, AIMessage], parser: CaptionOutputParser, *, prompt: str, repair: bool
    ) -> None:
        super().__init__(llm, parser, repair=repair)
        self.prompt = prompt

    def _read(self, given: CaptionInput, options: Mapping[str, Any]) -> tuple[CaptionOutputParser, list[BaseMessage]]:
        """Convert the input to messages, and return a parser that knows the duration of the media."""
        with as_langchain_errors():
            content, duration = _content(given, _root_of(self.llm, options))
        known = self.parser.duration is not None or duration is None
        parser = self.parser if known else self.parser.model_copy(update={"duration": duration})
        conversation = content if content and isinstance(content[0], BaseMessage) else None
        messages = conversation or [HumanMessage([*content, {"type": "text", "text": self.prompt}])]
        return parser, self._with_rules(messages, options)

    def _with_rules(self, messages: list[BaseMessage], options: Mapping[str, Any]) -> list[BaseMessage]:
        """Add what the prompt says about the answer where the model wants it; see `follows_media`."""
        rules = instructions(self.parser.schema_read, language=self.parser.language)
        model, chosen = _unwrapped(self.llm)
        name = None if model is None else options.get("model") or chosen.get("model") or model.model
        last = messages[-1]
        shows = isinstance(last, HumanMessage) and _shows_media(last)
        if name is None or not follows_media(profile_for(name), rules, shows_media=shows):
            return _joined(SystemMessage(rules), messages)
        return [*messages[:-1], last.model_copy(update={"content": [*last.content, {"type": "text", "text": rules}]})]


def caption_chain(  # noqa: PLR0913  (one keyword per choice)
    llm: Runnable[LanguageModelInput, AIMessage],
    schema: Schema = VideoCaption,
    *,
    prompt: str | None = None,
    language: str | None = None,
    thinking: bool | Effort = False,
    repair: bool = True,
    allow_truncated: bool = False,
) -> CaptionChain:
    """Build a chain that describes media as a value of a schema: prompt, JSON mode, parser, one retry.

    Its input is the path or URL of a file, a content block, a list of them, a message, or a conversation (which is sent
    unchanged, with the schema added). Local files must be inside the model's `media_root`.

    Args:
        llm: `ChatQwenOmni`, or any other chat model (which gets the schema in the prompt only).
        schema: a pydantic model, a `TypedDict` or a JSON schema; `TimedCaptions` for subtitles.
        prompt: what to describe.
        language: language of the texts in the answer.
        thinking: whether the model thinks first; off by default, since it is billed as output and may break the JSON.
        repair: retry once, with the media, when the answer violates the schema. Streams never retry.
        allow_truncated: accept a truncated caption that satisfies the schema, with a `TruncatedAnswerWarning`, instead
            of raising `TruncatedAnswerError`.

    Example:
        from langchain_qwen_omni import ChatQwenOmni, VideoCaption, caption_chain

        print(caption_chain(ChatQwenOmni(), VideoCaption).invoke("promo.mp4").key_product_features)
    """
    parser = CaptionOutputParser(schema=schema, language=language, allow_truncated=allow_truncated)
    task = prompt or (TIMED_TASK if schema is TimedCaptions else TASK)
    return CaptionChain(_with_json_mode(llm, thinking, parser.schema_read), parser, prompt=task, repair=repair)


def _with_json_mode(
    llm: Runnable[LanguageModelInput, AIMessage], thinking: bool | Effort, schema: CaptionSchema
) -> Runnable[LanguageModelInput, AIMessage]:
    """Turn JSON mode on and thinking off, if the model is a `ChatQwenOmni` and supports it."""
    model, chosen = _unwrapped(llm)
    if model is None:
        return llm
    options: dict[str, Any] = {"thinking": thinking}
    if json_mode(model.model_copy(update=dict(chosen))._profile(), schema.json_schema):  # noqa: SLF001
        options["response_format"] = {"type": "json_object"}
    return llm.bind(**options)


def _root_of(llm: Runnable[LanguageModelInput, AIMessage], options: Mapping[str, Any]) -> Path | None:
    """Return the folder that the files of a call must be in; `None` for models of other packages."""
    model, chosen = _unwrapped(llm)
    if model is None:
        return None
    return Path(options.get("media_root") or chosen.get("media_root") or model.media_root or "")


def _unwrapped(llm: Runnable[LanguageModelInput, AIMessage]) -> tuple[ChatQwenOmni | None, Mapping[str, Any]]:
    """Return the model, if it is a `ChatQwenOmni`, and the options that are bound to it."""
    inner, bound = (llm.bound, llm.kwargs) if isinstance(llm, RunnableBinding) else (llm, {})
    return inner if isinstance(inner, ChatQwenOmni) else None, bound


def _content(given: CaptionInput, root: Path | None) -> tuple[list[Any], float | None]:
    """Convert an input to content blocks or messages, with the duration of a local file."""
    if isinstance(given, str | os.PathLike):
        return _file(os.fspath(given), root)
    if isinstance(given, PromptValue):
        return given.to_messages(), None
    if isinstance(given, BaseMessage | Mapping):
        return [given], None
    if all(isinstance(one, Mapping) and "type" in one and "role" not in one for one in given):
        return list(given), None
    return convert_to_messages(list(given)), None


def _file(media: str, root: Path | None) -> tuple[list[Any], float | None]:
    source = as_source(media)
    info = look(source) if root is None else look(replace(source, trusted=False), root)
    kind = info.kind if info is not None else kind_of(source)
    where = {"url": media} if source.path is None else {"path": str(source.path)}
    duration = None if info is None or info.duration is None else float(info.duration)
    return [{"type": kind, **where}], duration


def _shows_media(message: BaseMessage) -> bool:
    blocks = message.content if isinstance(message.content, list) else []
    return any(isinstance(block, Mapping) and block.get("type") != "text" for block in blocks)


def _joined(rules: SystemMessage, messages: list[BaseMessage]) -> list[BaseMessage]:
    """Put the rules before a conversation, or append them to its system message."""
    first = messages[0]
    if not isinstance(first, SystemMessage):
        return [rules, *messages]
    said = [first.content] if isinstance(first.content, str) else first.content
    return [SystemMessage([*said, {"type": "text", "text": str(rules.text)}]), *messages[1:]]
