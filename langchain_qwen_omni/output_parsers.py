"""`CaptionOutputParser`: captions of a schema out of the text of any LangChain model.

Reading, and what a truncated answer is, is decided in `qwen_omni.structured.ask`; this module turns it into LangChain's
words. A parser cannot switch a model's JSON mode on: `caption_chain` (in `captions`) and
`ChatQwenOmni.with_structured_output` do that, too. `ToolCallOutputParser` reads the arguments of a call instead.
"""
# ruff: noqa: ANN401, A002  (LangChain's own signatures: anything, and an argument called input)

import json
from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import ChatGeneration, Generation
from pydantic import ConfigDict, Field

from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni.ledger import usage_of
from qwen_omni.captions.models import VideoCaption
from qwen_omni.captions.prompt import instructions
from qwen_omni.captions.schema import CaptionSchema, read_schema
from qwen_omni.structured.ask import AnswerText, ObjectStream, ReadOptions, read_answer, warn_if_truncated

if TYPE_CHECKING:
    from qwen_omni.responses import Usage

Schema = type[Any] | dict[str, Any]


class CaptionOutputParser(BaseTransformOutputParser[Any]):
    """Reads a caption out of whatever text a model gives: fences, prose, comments and loose commas around it.

    `invoke` returns a validated caption. `stream` yields dictionaries that grow while the answer comes, and the
    validated caption last; it costs the length of the answer, however many pieces it comes in. Errors are
    `CaptionSyntaxError`, or `TruncatedAnswerError` for an answer that was cut, and LangChain's `OutputParserException`
    at once.

    Example:
        from langchain_qwen_omni import CaptionOutputParser, ChatQwenOmni, VideoCaption

        parser = CaptionOutputParser(schema=VideoCaption)
        for caption in (ChatQwenOmni() | parser).stream(f"… {parser.get_format_instructions()}"):
            print(caption)
    """

    caption_schema: Schema = Field(default=VideoCaption, alias="schema")
    """A pydantic model, a `TypedDict` or a JSON schema; pass it as `schema=`."""
    language: str | None = None
    """Language of the texts that the format instructions ask for."""
    duration: float | None = None
    """Seconds of the video, for `TimedCaptions`: times behind its end are cut."""
    partials: bool = True
    """Whether `stream` yields partial captions before the last."""
    allow_truncated: bool = False
    """Accept a caption that was cut, if it satisfies the schema, with a `TruncatedAnswerWarning`."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    @cached_property
    def schema_read(self) -> CaptionSchema:
        """The schema, made sense of; raises `ConfigurationError` if it is none."""
        with as_langchain_errors():
            return read_schema(self.caption_schema)

    @property
    def reading(self) -> ReadOptions:
        """How answers are read."""
        facts = {} if self.duration is None else {"duration": self.duration}
        return ReadOptions(schema=self.schema_read, facts=facts, allow_truncated=self.allow_truncated)

    def look(self, message: BaseMessage) -> AnswerText:
        """Find what decides about an answer: its words, why it ended, and what it used."""
        return AnswerText(str(message.text), finish_of(message), usage_of(message))

    def parse(self, text: str) -> Any:
        """Read the whole answer.

        Raises:
            CaptionSyntaxError: no JSON, or JSON that breaks the schema; also an `OutputParserException`.
            TruncatedAnswerError: the text ends inside the JSON; also an `OutputParserException`.
        """
        with as_langchain_errors():
            return warn_if_truncated(read_answer(AnswerText(text), self.reading))

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Read an answer; with `partial` return what is there of one that is still coming, or `None`."""
        first = result[0]
        if isinstance(first, ChatGeneration):
            answer = self.look(first.message)
        else:
            told = first.generation_info or {}
            answer = AnswerText(first.text, _text_or_none(told.get("finish_reason")))
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

    def pieces(self) -> "Pieces":
        """Make what finds the pieces of one streamed answer."""
        return Pieces()

    def get_format_instructions(self) -> str:
        """Return what the answer must look like, for the prompt."""
        return instructions(self.schema_read, language=self.language, format_only=True)

    @property
    def OutputType(self) -> Any:  # noqa: N802  (LangChain's name)
        """What `invoke` returns."""
        return self.caption_schema if isinstance(self.caption_schema, type) else dict[str, Any]

    @property
    def _type(self) -> str:
        return "caption"


class ToolCallOutputParser(CaptionOutputParser):
    """Reads an object out of the arguments of the first call of a tool; out of the words, where none was called."""

    tool: str
    """The name of the tool."""

    def look(self, message: BaseMessage) -> AnswerText:
        """Find the arguments of the call, also where they are not JSON."""
        arguments = _arguments_of(message, self.tool)
        text = str(message.text) if arguments is None else arguments
        return AnswerText(text, finish_of(message), usage_of(message))

    def pieces(self) -> "Pieces":
        """Make what finds the pieces of the arguments."""
        return ArgumentPieces(self.tool)

    @property
    def _type(self) -> str:
        return "tool_call_caption"


class Pieces:
    """Finds what each chunk of a streamed answer adds to the text that is read.

    Attributes:
        restarted: the last chunk began another text, which is read instead.
    """

    restarted = False

    def take(self, chunk: BaseMessage) -> str:
        """Return what a chunk adds."""
        return str(chunk.text)


class ArgumentPieces(Pieces):
    """Finds the arguments of the first call of a tool; words count only as long as no call has come."""

    def __init__(self, tool: str) -> None:
        self._tool = tool
        self._index: int | str | None = None
        self._called = False

    def take(self, chunk: BaseMessage) -> str:
        """Return what a chunk adds."""
        self.restarted = False
        calls = chunk.tool_call_chunks if isinstance(chunk, AIMessageChunk) else []
        found = ""
        for call in calls:
            if not self._called and call.get("name") == self._tool:
                self._index, self._called, self.restarted = call.get("index"), True, True
            if self._called and call.get("index") == self._index and call.get("name") in (None, "", self._tool):
                found += call["args"] or ""
        return found if self._called else str(chunk.text)


def _arguments_of(message: BaseMessage, tool: str) -> str | None:
    if not isinstance(message, AIMessage):
        return None
    called = next((call["args"] for call in message.tool_calls if call["name"] == tool), None)
    if called is not None:
        return json.dumps(called)
    return next((call["args"] or "" for call in message.invalid_tool_calls if call["name"] == tool), None)


def finish_of(message: BaseMessage) -> str | None:
    """Find why a model stopped, in the words of whichever model it is; `None` where it does not say."""
    told = message.response_metadata
    return _text_or_none(told.get("finish_reason") or told.get("stop_reason") or told.get("done_reason"))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


class AnswerReading:
    """Reads the chunks of one streamed answer, for both loops: `take` yields partials, `last` the object."""

    def __init__(self, parser: CaptionOutputParser) -> None:
        self._parser = parser
        self._stream = ObjectStream(parser.reading, shows=parser.partials)
        self._pieces = parser.pieces()
        self._last: object = None
        self._finish: str | None = None
        self._usage: Usage | None = None

    def take(self, chunk: str | BaseMessage) -> Iterator[Any]:
        """Read on; yield the new partial, if there is one."""
        if isinstance(chunk, BaseMessage):
            self._finish = finish_of(chunk) or self._finish
            self._usage = usage_of(chunk) or self._usage
            chunk = self._pieces.take(chunk)
            if self._pieces.restarted:
                self._stream = ObjectStream(self._parser.reading, shows=self._parser.partials)
        partial = self._stream.feed(chunk)
        if self._parser.partials and partial is not None:
            self._last = partial
            yield partial

    def last(self) -> Iterator[Any]:
        """Yield the object, unless the last partial was it; raises as `read_answer` does."""
        value = warn_if_truncated(self._stream.end(self._finish, self._usage))
        if not (isinstance(value, dict) and value == self._last):
            yield value
