"""Structured answers: `CaptionOutputParser` for any model, and the parts behind `with_structured_output`.

Parsing, repair and truncation are decided in `qwen_omni.structured.ask`; this module adapts them to LangChain. A parser
cannot turn on a model's JSON mode; `caption_chain` and `ChatQwenOmni.with_structured_output` also do that.
`ToolCallOutputParser` reads the arguments of a tool call instead.
"""

import json
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Generic, Literal, TypeVar

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap
from langchain_core.runnables.config import patch_config, run_in_executor
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass
from pydantic import ConfigDict, Field

from langchain_qwen_omni._convert_output import is_mismatch, without_mismatch
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.callbacks import usage_of
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.model_fields import described
from qwen_omni.structured.ask import (
    AnswerText,
    ObjectQuestion,
    ObjectStream,
    ReadOptions,
    ask_for_object,
    read_answer,
    warn_if_truncated,
)
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import CaptionSchema, instructions, read_schema
from qwen_omni.transport.flow import adrive, drive

# ruff: noqa: ANN401, A002  (LangChain's own signatures: anything, and an argument called input)


Schema = type[Any] | dict[str, Any]


@described
class CaptionOutputParser(BaseTransformOutputParser[Any]):
    """Parses a caption from the text of any model, in spite of fences, prose, comments and trailing commas.

    `invoke` returns a validated caption. `stream` yields dictionaries that grow while the answer arrives, and the
    validated caption last, in time linear in the length of the answer. Errors are `CaptionSyntaxError`, or
    `TruncatedAnswerError` for a truncated answer, and LangChain's `OutputParserException` at the same time.

    Example:
        from langchain_qwen_omni import CaptionOutputParser, ChatQwenOmni, VideoCaption

        parser = CaptionOutputParser(schema=VideoCaption)
        for caption in (ChatQwenOmni() | parser).stream(f"… {parser.get_format_instructions()}"):
            print(caption)
    """

    caption_schema: Schema = Field(default=VideoCaption, alias="schema")
    """A pydantic model, a `TypedDict` or a JSON schema; pass it as `schema=`."""
    language: str | None = None
    """Language of the texts, requested in the format instructions."""
    duration: float | None = None
    """Duration of the video in seconds, for `TimedCaptions`: times after its end are clipped."""
    partials: bool = True
    """Whether `stream` yields partial captions before the final one."""
    allow_truncated: bool = False
    """Whether to accept a truncated caption that satisfies the schema, with a `TruncatedAnswerWarning`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True, defer_build=True)

    @cached_property
    def schema_read(self) -> CaptionSchema:
        """The parsed schema; raises `ConfigurationError` if it is not one."""
        with as_langchain_errors():
            return read_schema(self.caption_schema)

    @property
    def reading(self) -> ReadOptions:
        """The options for parsing answers."""
        facts = {} if self.duration is None else {"duration": self.duration}
        return ReadOptions(schema=self.schema_read, facts=facts, allow_truncated=self.allow_truncated)

    def look(self, message: BaseMessage) -> AnswerText:
        """Return the text of an answer, why it ended, and its usage."""
        return AnswerText(str(message.text), finish_of(message), usage_of(message))

    def parse(self, text: str) -> Any:
        """Parse a whole answer.

        Raises:
            CaptionSyntaxError: no JSON, or JSON that violates the schema; also an `OutputParserException`.
            TruncatedAnswerError: the text ends inside the JSON; also an `OutputParserException`.
        """
        with as_langchain_errors():
            return warn_if_truncated(read_answer(AnswerText(text), self.reading))

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Parse an answer; with `partial`, return the available part of an incomplete one, or `None`."""
        first = result[0]
        if isinstance(first, ChatGeneration):
            answer = self.look(first.message)
        else:
            info = first.generation_info or {}
            answer = AnswerText(first.text, _text_or_none(info.get("finish_reason")))
        with as_langchain_errors():
            if partial:
                return ObjectStream(self.reading).feed(answer.text)
            return warn_if_truncated(read_answer(answer, self.reading))

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        reading = AnswerReading(self)
        with as_langchain_errors():
            for chunk in input:
                yield from reading.take(chunk)
            yield from reading.last()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        reading = AnswerReading(self)
        with as_langchain_errors():
            async for chunk in input:
                for partial in reading.take(chunk):
                    yield partial
            for partial in reading.last():
                yield partial

    def get_format_instructions(self) -> str:
        """Return the description of the answer's format, for the prompt."""
        return instructions(self.schema_read, language=self.language, format_only=True)

    @property
    def OutputType(self) -> Any:  # noqa: N802  (LangChain's name)
        """The type that `invoke` returns."""
        return self.caption_schema if isinstance(self.caption_schema, type) else dict[str, Any]

    @property
    def _type(self) -> str:
        return "caption"


@described
class ToolCallOutputParser(CaptionOutputParser):
    """Parses an object from the arguments of the first call of a tool; from the text, if none was called."""

    tool: str
    """Name of the tool."""

    def look(self, message: BaseMessage) -> AnswerText:
        """Return the arguments of the call, even if they are not JSON."""
        arguments = _arguments_of(message, self.tool)
        text = str(message.text) if arguments is None else arguments
        return AnswerText(text, finish_of(message), usage_of(message))

    @property
    def _type(self) -> str:
        return "tool_call_caption"


def _arguments_of(message: BaseMessage, tool: str) -> str | None:
    if not isinstance(message, AIMessage):
        return None
    called = next((call["args"] for call in message.tool_calls if call["name"] == tool), None)
    if called is not None:
        return json.dumps(called)
    broken = next((call["args"] or "" for call in message.invalid_tool_calls if call["name"] == tool), None)
    return without_mismatch(broken) if broken and isinstance(message, AIMessageChunk) else broken


def finish_of(message: BaseMessage) -> str | None:
    """Return why a model stopped, in the terms of its provider; `None` if it does not say."""
    metadata = message.response_metadata
    return _text_or_none(metadata.get("finish_reason") or metadata.get("stop_reason") or metadata.get("done_reason"))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


class AnswerReading:
    """Parses the chunks of one streamed answer, sync or async: `take` yields partial objects, `last` the object.

    The arguments of the first call of the parser's tool replace the text before it.
    """

    def __init__(self, parser: CaptionOutputParser) -> None:
        self._shows = parser.partials
        self._stream = ObjectStream(parser.reading, shows=parser.partials)
        self._last: object = None
        self._tool = parser.tool if isinstance(parser, ToolCallOutputParser) else None
        self._index: int | str | None = None
        self._called = False

    def take(self, chunk: str | BaseMessage) -> Iterator[Any]:
        """Parse a chunk; yield the new partial object, if there is one."""
        piece = AnswerText(chunk) if isinstance(chunk, str) else self._look(chunk)
        partial = self._stream.take(piece)
        if self._shows and partial is not None:
            self._last = partial
            yield partial

    def _look(self, chunk: BaseMessage) -> AnswerText:
        """Return what a chunk adds."""
        calls = chunk.tool_call_chunks if isinstance(chunk, AIMessageChunk) and not is_mismatch(chunk) else []
        arguments = ""
        for call in calls if self._tool is not None else ():
            if not self._called and call.get("name") == self._tool:
                self._index, self._called = call.get("index"), True
                self._stream.restart()
            if self._called and call.get("index") == self._index and call.get("name") in (None, "", self._tool):
                arguments += call["args"] or ""
        return AnswerText(arguments if self._called else str(chunk.text), finish_of(chunk), usage_of(chunk))

    def last(self) -> Iterator[Any]:
        """Yield the object, unless the last partial equals it; raises as `read_answer` does."""
        value = warn_if_truncated(self._stream.end())
        if not (isinstance(value, dict) and value == self._last):
            yield value


# ruff: noqa: ANN401, A002  (LangChain's own signatures: any keyword, and an argument called input)


Method = Literal["json_schema", "function_calling", "json_mode"]
In = TypeVar("In")

_ANY_OBJECT: dict[str, Any] = {"title": "answer", "type": "object", "additionalProperties": True}
_TITLE = "answer"  # for a JSON schema without a title


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How to request a schema: the options to bind, and the parser of the answer."""

    options: dict[str, Any]
    parser: CaptionOutputParser


def plan_structure(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    """Decide how to request answers that follow a schema.

    Raises:
        ConfigurationError: no schema where one is needed, one that cannot be read, or an unknown method.
    """
    schema = _titled(schema)
    try:
        return _plan(schema, method, strict=strict)
    except ConfigurationError:
        raise  # which is a ValueError too
    except ValueError as error:  # LangChain's error for an unsupported schema
        raise ConfigurationError(
            f"This {type(schema).__name__} is not a supported schema; pass a pydantic class, a TypedDict, "
            'or a JSON schema with "title" and "properties".'
        ) from error


def _titled(schema: Schema | None) -> Schema | None:
    """Add a title to a JSON schema without one: LangChain turns it into a function, which needs a name."""
    if isinstance(schema, dict) and "properties" in schema and not {"title", "name"} & schema.keys():
        return {"title": _TITLE, **schema}
    return schema


def _plan(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    trace = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    if method == "json_mode":
        if strict:
            raise ConfigurationError("JSON mode has no schema, so strict= has no effect; drop one of them.")
        tracing = {"ls_structured_output_format": trace} if schema is not None else {}
        return Structure(
            options={"response_format": {"type": "json_object"}, **tracing},
            parser=CaptionOutputParser(**_read_by(schema)),
        )
    if schema is None:
        raise ConfigurationError(f"method={method!r} needs a schema; without one use method='json_mode'.")
    if method == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {"schema": convert_to_json_schema(schema, strict=strict)}}
        options = {"response_format": wanted, "ls_structured_output_format": trace}
        return Structure(options=options, parser=CaptionOutputParser(**_read_by(schema)))
    if method == "function_calling":
        tool = convert_to_openai_tool(schema, strict=strict)
        name = tool["function"]["name"]
        options = {"tools": [tool], "tool_choice": name, "ls_structured_output_format": trace}
        return Structure(options=options, parser=ToolCallOutputParser(tool=name, **_read_by(schema)))
    raise ConfigurationError(f"method={method!r}: pass 'json_schema', 'function_calling' or 'json_mode'.")


def _read_by(schema: Schema | None) -> dict[str, Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return {"schema": schema, "partials": False}  # LangChain's rule: only instances
    return {"schema": _ANY_OBJECT if schema is None else convert_to_json_schema(schema)}


class StructuredChain(Runnable[In, Any], Generic[In]):
    """A model and a parser, which retry once when an answer violates the schema. Streams do not retry."""

    def __init__(
        self, llm: Runnable[LanguageModelInput, AIMessage], parser: CaptionOutputParser, *, repair: bool = True
    ) -> None:
        self.llm = llm
        self.parser = parser
        self.repair = repair

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Call the model, and retry once if the answer violates the schema.

        Raises:
            CaptionSyntaxError: the second answer violates the schema as well.
            TruncatedAnswerError: an answer was truncated.
        """
        return self._call_with_config(self._ask, input, config, **kwargs)

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """The same in `asyncio`."""
        return await self._acall_with_config(self._aask, input, config, **kwargs)

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the growing object. An answer that violates the schema raises: what was yielded cannot be retracted."""
        parser, messages = self._read(input, kwargs)
        yield from (self.llm | parser).stream(messages, config, **kwargs)

    async def astream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """The same in `asyncio`."""
        parser, messages = await run_in_executor(config, self._read, input, kwargs)
        async for partial in (self.llm | parser).astream(messages, config, **kwargs):
            yield partial

    def _ask(self, given: In, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        child = patch_config(config, callbacks=run_manager.get_child())
        asking = self._asking(*self._read(given, kwargs))
        with as_langchain_errors():
            return drive(asking, lambda messages: self.llm.invoke(messages, child, **kwargs))

    async def _aask(self, given: In, run_manager: Any, config: RunnableConfig, **kwargs: Any) -> Any:
        child = patch_config(config, callbacks=run_manager.get_child())
        asking = self._asking(*await run_in_executor(config, self._read, given, kwargs))
        with as_langchain_errors():
            return await adrive(asking, lambda messages: self.llm.ainvoke(messages, child, **kwargs))

    def _asking(
        self, parser: CaptionOutputParser, messages: list[BaseMessage]
    ) -> Generator[list[BaseMessage], AIMessage, Any]:
        asked = ObjectQuestion[list[BaseMessage], AIMessage](
            question=messages, look=parser.look, again=_again, reading=parser.reading, repair=self.repair
        )
        parsed, _ = yield from ask_for_object(asked)
        return warn_if_truncated(parsed)

    def _read(self, given: In, options: Mapping[str, Any]) -> tuple[CaptionOutputParser, list[BaseMessage]]:  # noqa: ARG002
        """Convert an input to messages, and return the parser of the answer."""
        return self.parser, _messages(given)


def _messages(given: Any) -> list[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    return [HumanMessage(given)] if isinstance(given, str) else convert_to_messages(given)


def _again(messages: list[BaseMessage], said: str, wrong: str) -> list[BaseMessage]:
    return [*messages, AIMessage(said), HumanMessage(wrong)]


def with_raw(llm: Runnable[Any, Any], parser: CaptionOutputParser) -> Runnable[Any, Any]:
    """Join model and parser to return both the message and its parsed value; parsing errors do not raise."""
    return RunnableMap(raw=llm) | RawParser(parser)


class RawParser(Runnable[dict[str, Any], dict[str, Any]]):
    """Adds `parsed` and `parsing_error` to a message, whole or in chunks."""

    def __init__(self, parser: CaptionOutputParser) -> None:
        self.parser = parser

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Parse a message."""
        return self._call_with_config(self._parse, input, config, **kwargs)

    def transform(
        self, input: Iterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Yield the chunks of a message with the object parsed so far."""
        yield from self._transform_stream_with_config(input, self._parts, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """The same in `asyncio`."""
        async for part in self._atransform_stream_with_config(input, self._aparts, config, **kwargs):
            yield part

    def _parse(self, given: dict[str, Any], run_manager: Any, config: RunnableConfig) -> dict[str, Any]:
        child = patch_config(config, callbacks=run_manager.get_child())
        try:
            return {**given, "parsed": self.parser.invoke(given["raw"], child), "parsing_error": None}
        except OutputParserException as error:
            return {**given, "parsed": None, "parsing_error": error}

    def _parts(self, chunks: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        reading = AnswerReading(self.parser)
        for chunk in chunks:
            yield from _chunk_parts(reading, chunk)
        yield from _end_parts(reading)

    async def _aparts(self, chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        reading = AnswerReading(self.parser)
        async for chunk in chunks:
            for part in _chunk_parts(reading, chunk):
                yield part
        for part in _end_parts(reading):
            yield part


def _chunk_parts(reading: AnswerReading, chunk: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield AddableDict(chunk)
    yield from (AddableDict(parsed=value) for value in reading.take(chunk["raw"]))


def _end_parts(reading: AnswerReading) -> Iterator[dict[str, Any]]:
    try:
        with as_langchain_errors():
            yield from (AddableDict(parsed=value) for value in reading.last())
    except OutputParserException as error:
        yield AddableDict(parsed=None)
        yield AddableDict(parsing_error=error)
    else:
        yield AddableDict(parsing_error=None)
