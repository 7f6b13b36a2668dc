"""`caption_chain`: media in, a validated caption out, with everything that a parser alone cannot do.

The chain writes the prompt, switches JSON mode on and thinking off, and asks once more when an answer breaks the
schema. `output_parsers` reads the answers.
"""
# ruff: noqa: ANN401, A002  (LangChain's own signatures: any keyword, and an argument called input)

import os
from collections.abc import AsyncIterator, Generator, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableBinding, RunnableConfig
from langchain_core.runnables.config import patch_config, run_in_executor

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.chat_models import ChatQwenOmni
from langchain_qwen_omni.output_parsers import CaptionOutputParser, Schema
from qwen_omni.ask import kind_of, look, source_of
from qwen_omni.captions.models import VideoCaption
from qwen_omni.captions.prompt import TASK, TIMED_TASK, complaint, instructions
from qwen_omni.captions.timed import TimedCaptions
from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.options import Effort
from qwen_omni.profiles import profile_for

CaptionInput = str | os.PathLike[str] | Mapping[str, Any] | HumanMessage | PromptValue | Sequence[Any]
_Asking = Generator[list[BaseMessage], AIMessage, Any]


class CaptionChain(Runnable[CaptionInput, Any]):
    """Media in, a validated caption out: what `caption_chain` makes."""

    def __init__(
        self, llm: Runnable[LanguageModelInput, AIMessage], parser: CaptionOutputParser, *, prompt: str, repair: bool
    ) -> None:
        self.llm = llm
        self.parser = parser
        self.prompt = prompt
        self.repair = repair

    def invoke(self, input: CaptionInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Ask, and ask once more if the answer breaks the schema; raises `CaptionSyntaxError` after that."""
        return self._call_with_config(self._ask, input, config, **kwargs)

    async def ainvoke(self, input: CaptionInput, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Do the same in `asyncio`."""
        return await self._acall_with_config(self._aask, input, config, **kwargs)

    def stream(self, input: CaptionInput, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Give the caption while it comes. An answer that breaks the schema raises: what was shown cannot go back."""
        parser, messages = self._read(input, kwargs)
        yield from (self.llm | parser).stream(messages, config, **kwargs)

    async def astream(
        self,
        input: CaptionInput,
        config: RunnableConfig | None = None,
        **kwargs: Any,
    ) -> AsyncIterator[Any]:
        """Do the same in `asyncio`."""
        parser, messages = await run_in_executor(config, self._read, input, kwargs)
        async for partial in (self.llm | parser).astream(messages, config, **kwargs):
            yield partial

    def _ask(self, given: CaptionInput, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        child = patch_config(config, callbacks=run_manager.get_child())
        asking = self._asking(*self._read(given, kwargs))
        messages = next(asking)
        while True:
            try:
                messages = asking.send(self.llm.invoke(messages, child, **kwargs))
            except StopIteration as done:
                return done.value

    async def _aask(self, given: CaptionInput, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        child = patch_config(config, callbacks=run_manager.get_child())
        asking = self._asking(*await run_in_executor(config, self._read, given, kwargs))
        messages = next(asking)
        while True:
            try:
                messages = asking.send(await self.llm.ainvoke(messages, child, **kwargs))
            except StopIteration as done:
                return done.value

    def _asking(self, parser: CaptionOutputParser, messages: list[BaseMessage]) -> _Asking:
        """Yield what to ask, be sent the answers, return the caption."""
        answer = yield messages
        try:
            return parser.parse(str(answer.text))
        except OutputParserException as error:
            if not self.repair or not isinstance(error, CaptionSyntaxError):
                raise
            told = HumanMessage(complaint(error))
        second = yield [*messages, AIMessage(str(answer.text) or "(nothing)"), told]
        return parser.parse(str(second.text))

    def _read(self, given: CaptionInput, options: Mapping[str, Any]) -> tuple[CaptionOutputParser, list[BaseMessage]]:
        """Look at the input; make the messages, and a parser that knows how long the media is."""
        rules = SystemMessage(instructions(self.parser.schema_read, language=self.parser.language))
        with as_langchain_errors():
            content, duration = _content(given, _root_of(self.llm, options))
        if duration is not None and self.parser.duration is None:
            parser = self.parser.model_copy(update={"duration": duration})
        else:
            parser = self.parser
        if content and isinstance(content[0], BaseMessage):
            return parser, _joined(rules, content)
        return parser, [rules, HumanMessage([*content, {"type": "text", "text": self.prompt}])]


def caption_chain(
    llm: Runnable[LanguageModelInput, AIMessage],
    schema: Schema = VideoCaption,
    *,
    prompt: str | None = None,
    language: str | None = None,
    thinking: bool | Effort = False,
    repair: bool = True,
) -> CaptionChain:
    """Make the chain that describes media as a value of a schema: prompt, JSON mode, parser, one repair.

    It takes the path or URL of a file, a content block, a list of them, a message, or a conversation (which is
    then asked as it is, with the schema before it). Local files must lie inside the model's `media_root`.

    Args:
        llm: `ChatQwenOmni`, or any other chat model (which is then told the schema in the prompt alone).
        schema: a pydantic model, a `TypedDict` or a JSON schema; `TimedCaptions` for subtitles.
        prompt: what to describe.
        language: of the texts in the answer.
        thinking: whether the model thinks first; off, since it is billed as output and may spoil JSON.
        repair: ask once more, with the media, when the answer breaks the schema. Streams never do.

    Example:
        from langchain_qwen_omni import ChatQwenOmni, VideoCaption, caption_chain

        print(caption_chain(ChatQwenOmni(), VideoCaption).invoke("promo.mp4").key_product_features)
    """
    parser = CaptionOutputParser(schema=schema, language=language)
    is_object = parser.schema_read.json_schema.get("type") != "array"  # JSON mode knows objects only
    task = prompt or (TIMED_TASK if schema is TimedCaptions else TASK)
    return CaptionChain(_told(llm, thinking, is_object=is_object), parser, prompt=task, repair=repair)


def _told(
    llm: Runnable[LanguageModelInput, AIMessage], thinking: bool | Effort, *, is_object: bool
) -> Runnable[LanguageModelInput, AIMessage]:
    """Switch JSON mode on and thinking off, where the model is ours and has them."""
    inner: Any = llm.bound if isinstance(llm, RunnableBinding) else llm
    if not isinstance(inner, ChatQwenOmni):
        return llm
    chosen = llm.kwargs if isinstance(llm, RunnableBinding) else {}
    options: dict[str, Any] = {"thinking": thinking}
    if is_object and profile_for(chosen.get("model", inner.model)).json_object:
        options["response_format"] = {"type": "json_object"}
    return llm.bind(**options)


def _root_of(llm: Runnable[LanguageModelInput, AIMessage], options: Mapping[str, Any]) -> Path | None:
    """Give the folder that the files of a call must lie in; `None` where the model is none of ours."""
    inner: Any = llm.bound if isinstance(llm, RunnableBinding) else llm
    if not isinstance(inner, ChatQwenOmni):
        return None
    chosen = llm.kwargs if isinstance(llm, RunnableBinding) else {}
    return Path(options.get("media_root") or chosen.get("media_root") or inner.media_root or "")


def _content(given: CaptionInput, root: Path | None) -> tuple[list[Any], float | None]:
    """Turn an input into content blocks or messages, with the duration of a local file."""
    if isinstance(given, str | os.PathLike):
        return _file(os.fspath(given), root)
    if isinstance(given, PromptValue):
        return given.to_messages(), None
    if isinstance(given, BaseMessage):
        return [given], None
    if isinstance(given, Mapping):
        return [given], None
    if all(isinstance(one, Mapping) and "type" in one and "role" not in one for one in given):
        return list(given), None
    return convert_to_messages(list(given)), None


def _file(media: str, root: Path | None) -> tuple[list[Any], float | None]:
    source = source_of(media)
    info = look(source) if root is None else look(replace(source, trusted=False), root)
    kind = info.kind if info is not None else kind_of(source)
    where = {"url": media} if source.path is None else {"path": str(source.path)}
    duration = None if info is None or info.duration is None else float(info.duration)
    return [{"type": kind, **where}], duration


def _joined(rules: SystemMessage, messages: list[BaseMessage]) -> list[BaseMessage]:
    """Put the rules before a conversation, or behind what its system message says."""
    first = messages[0]
    if not isinstance(first, SystemMessage):
        return [rules, *messages]
    said = [first.content] if isinstance(first.content, str) else first.content
    return [SystemMessage([*said, {"type": "text", "text": str(rules.text)}]), *messages[1:]]
