"""A schema → what to bind to the model, the parser of its answer, and the chain that asks once more if need be.

`ChatQwenOmni.with_structured_output` and `caption_chain` put them together. When an answer is asked for again, and when
it is an error, is decided in `qwen_omni.structured.ask`.
"""
# ruff: noqa: ANN401, A002  (LangChain's own signatures: any keyword, and an argument called input)

from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Generic, Literal, TypeVar

from langchain_core.exceptions import OutputParserException
from langchain_core.language_models import LanguageModelInput
from langchain_core.messages import AIMessage, BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import Runnable, RunnableConfig, RunnableMap
from langchain_core.runnables.config import patch_config, run_in_executor
from langchain_core.runnables.utils import AddableDict
from langchain_core.utils.function_calling import convert_to_json_schema, convert_to_openai_tool
from langchain_core.utils.pydantic import is_basemodel_subclass

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.output_parsers import AnswerReading, CaptionOutputParser, ToolCallOutputParser
from qwen_omni.errors import ConfigurationError
from qwen_omni.flow import adrive, drive
from qwen_omni.structured.ask import ObjectQuestion, ask_for_object, warn_if_truncated

Method = Literal["json_schema", "function_calling", "json_mode"]
Schema = dict[str, Any] | type
In = TypeVar("In")

_ANY_OBJECT: dict[str, Any] = {"title": "answer", "type": "object", "additionalProperties": True}
_TITLE = "answer"  # of a JSON schema that has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How to ask for a schema: options to bind, and the parser of what comes."""

    options: dict[str, Any]
    parser: CaptionOutputParser


def plan_structure(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    """Decide how to ask for answers of a schema.

    Raises:
        ConfigurationError: no schema where one is needed, one that cannot be read, or an unknown method.
    """
    schema = _titled(schema)
    try:
        return _plan(schema, method, strict=strict)
    except ConfigurationError:
        raise  # which is a ValueError, too
    except ValueError as error:  # LangChain's own word for what it takes for no schema
        raise ConfigurationError(
            f"This {type(schema).__name__} is no schema that can be asked for; pass a pydantic class, a TypedDict, "
            'or a JSON schema with "title" and "properties".'
        ) from error


def _titled(schema: Schema | None) -> Schema | None:
    """Give a JSON schema without a name one: LangChain makes a function of it, and a function has a name."""
    if isinstance(schema, dict) and "properties" in schema and not {"title", "name"} & schema.keys():
        return {"title": _TITLE, **schema}
    return schema


def _plan(schema: Schema | None, method: Method, *, strict: bool | None) -> Structure:
    trace = {"kwargs": {"method": method, "strict": strict}, "schema": schema}
    if method == "json_mode":
        if strict:
            raise ConfigurationError("JSON mode knows no schema, so strict= has nothing to hold to; drop one of them.")
        told = {"ls_structured_output_format": trace} if schema is not None else {}
        return Structure(options={"response_format": {"type": "json_object"}, **told}, parser=_text_parser(schema))
    if schema is None:
        raise ConfigurationError(f"method={method!r} needs a schema; without one use method='json_mode'.")
    if method == "json_schema":
        wanted = {"type": "json_schema", "json_schema": {"schema": convert_to_json_schema(schema, strict=strict)}}
        options = {"response_format": wanted, "ls_structured_output_format": trace}
        return Structure(options=options, parser=_text_parser(schema))
    if method == "function_calling":
        tool = convert_to_openai_tool(schema, strict=strict)
        name = tool["function"]["name"]
        options = {"tools": [tool], "tool_choice": name, "ls_structured_output_format": trace}
        return Structure(options=options, parser=_call_parser(schema, name))
    raise ConfigurationError(f"method={method!r}: pass 'json_schema', 'function_calling' or 'json_mode'.")


def _text_parser(schema: Schema | None) -> CaptionOutputParser:
    return CaptionOutputParser(**_read_by(_ANY_OBJECT if schema is None else schema))


def _call_parser(schema: Schema, name: str) -> ToolCallOutputParser:
    return ToolCallOutputParser(tool=name, **_read_by(schema))


def _read_by(schema: Schema) -> dict[str, Any]:
    if isinstance(schema, type) and is_basemodel_subclass(schema):
        return {"schema": schema, "partials": False}  # LangChain's rule: nothing but instances
    return {"schema": schema if schema is _ANY_OBJECT else convert_to_json_schema(schema)}


class StructuredChain(Runnable[In, Any], Generic[In]):
    """A model and the parser of its answers, which asks once more when an answer breaks the schema. Streams do not."""

    def __init__(
        self, llm: Runnable[LanguageModelInput, AIMessage], parser: CaptionOutputParser, *, repair: bool = True
    ) -> None:
        self.llm = llm
        self.parser = parser
        self.repair = repair

    def invoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Ask, and ask once more if the answer breaks the schema.

        Raises:
            CaptionSyntaxError: the second answer breaks the schema, too.
            TruncatedAnswerError: an answer was cut.
        """
        return self._call_with_config(self._ask, input, config, **kwargs)

    async def ainvoke(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Any:
        """Do the same in `asyncio`."""
        return await self._acall_with_config(self._aask, input, config, **kwargs)

    def stream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> Iterator[Any]:
        """Yield the object while it comes. An answer that breaks the schema raises: what was shown cannot go back."""
        parser, messages = self._read(input, kwargs)
        yield from (self.llm | parser).stream(messages, config, **kwargs)

    async def astream(self, input: In, config: RunnableConfig | None = None, **kwargs: Any) -> AsyncIterator[Any]:
        """Do the same in `asyncio`."""
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
        """Make messages of an input, and the parser of the answer."""
        return self.parser, _messages(given)


def _messages(given: Any) -> list[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    return [HumanMessage(given)] if isinstance(given, str) else convert_to_messages(given)


def _again(messages: list[BaseMessage], said: str, wrong: str) -> list[BaseMessage]:
    return [*messages, AIMessage(said), HumanMessage(wrong)]


def with_raw(llm: Runnable[Any, Any], parser: CaptionOutputParser) -> Runnable[Any, Any]:
    """Join model and parser so that both the message and its parse come out, and errors of parsing do not raise."""
    return RunnableMap(raw=llm) | RawParser(parser)


class RawParser(Runnable[dict[str, Any], dict[str, Any]]):
    """Puts `parsed` and `parsing_error` beside a message, whole or in chunks."""

    def __init__(self, parser: CaptionOutputParser) -> None:
        self.parser = parser

    def invoke(self, input: dict[str, Any], config: RunnableConfig | None = None, **kwargs: Any) -> dict[str, Any]:
        """Parse a message."""
        return self._call_with_config(self._parse, input, config, **kwargs)

    def transform(
        self, input: Iterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> Iterator[dict[str, Any]]:
        """Pass the chunks of a message on, with what has been parsed so far."""
        yield from self._transform_stream_with_config(input, self._parts, config, **kwargs)

    async def atransform(
        self, input: AsyncIterator[dict[str, Any]], config: RunnableConfig | None = None, **kwargs: Any
    ) -> AsyncIterator[dict[str, Any]]:
        """Do the same in `asyncio`."""
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
            yield AddableDict(chunk)
            yield from _parsed_parts(reading.take(chunk["raw"]))
        yield from _end_parts(reading)

    async def _aparts(self, chunks: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, Any]]:
        reading = AnswerReading(self.parser)
        async for chunk in chunks:
            yield AddableDict(chunk)
            for part in _parsed_parts(reading.take(chunk["raw"])):
                yield part
        for part in _end_parts(reading):
            yield part


def _parsed_parts(values: Iterator[Any]) -> Iterator[dict[str, Any]]:
    yield from (AddableDict(parsed=value) for value in values)


def _end_parts(reading: AnswerReading) -> Iterator[dict[str, Any]]:
    try:
        with as_langchain_errors():
            yield from _parsed_parts(reading.last())
    except OutputParserException as error:
        yield AddableDict(parsed=None)
        yield AddableDict(parsing_error=error)
    else:
        yield AddableDict(parsing_error=None)
