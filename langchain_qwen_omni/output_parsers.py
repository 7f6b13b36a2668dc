"""`CaptionOutputParser`: captions of a schema out of the text of any LangChain model.

Reading is `qwen_omni.captions`' work; this module turns it into LangChain's words. A parser cannot switch a
model's JSON mode on: `caption_chain` (in `captions`) and `ChatQwenOmni.with_structured_output` do that, too.
"""
# ruff: noqa: ANN401, A002  (LangChain's own signatures: anything, and an argument called input)

from collections.abc import AsyncIterator, Iterator
from functools import cached_property
from typing import Any

from langchain_core.messages import BaseMessage
from langchain_core.output_parsers import BaseTransformOutputParser
from langchain_core.outputs import Generation
from pydantic import ConfigDict, Field

from langchain_qwen_omni._errors import as_langchain_errors
from qwen_omni.captions.models import VideoCaption
from qwen_omni.captions.parse import CaptionStream, parse_caption
from qwen_omni.captions.prompt import instructions
from qwen_omni.captions.schema import CaptionSchema, read_schema

Schema = type[Any] | dict[str, Any]


class CaptionOutputParser(BaseTransformOutputParser[Any]):
    """Reads a caption out of whatever text a model gives: fences, prose, comments and loose commas around it.

    `invoke` gives a validated caption. `stream` gives dictionaries that grow while the answer comes, and the
    validated caption last; it costs the length of the answer, however many pieces it comes in. Errors are
    `CaptionSyntaxError` and LangChain's `OutputParserException` at once.

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
    """Whether `stream` gives partial captions before the last."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, arbitrary_types_allowed=True)

    @cached_property
    def schema_read(self) -> CaptionSchema:
        """The schema, made sense of; raises `ConfigurationError` if it is none."""
        with as_langchain_errors():
            return read_schema(self.caption_schema)

    @property
    def _facts(self) -> dict[str, Any]:
        return {} if self.duration is None else {"duration": self.duration}

    def parse(self, text: str) -> Any:
        """Read the whole answer.

        Raises:
            CaptionSyntaxError: no JSON, or JSON that breaks the schema; also an `OutputParserException`.
        """
        with as_langchain_errors():
            return parse_caption(text, self.schema_read, facts=self._facts).value

    def parse_result(self, result: list[Generation], *, partial: bool = False) -> Any:
        """Read an answer; with `partial` give what is there of one that is still coming, or `None`."""
        if not partial:
            return self.parse(result[0].text)
        with as_langchain_errors():
            return CaptionStream(self.schema_read, facts=self._facts).feed(result[0].text)

    def _transform(self, input: Iterator[str | BaseMessage]) -> Iterator[Any]:
        reading = _Reading(self._stream(), shows=self.partials)
        with as_langchain_errors():
            for chunk in input:
                yield from reading.take(chunk)
            yield from reading.last()

    async def _atransform(self, input: AsyncIterator[str | BaseMessage]) -> AsyncIterator[Any]:
        reading = _Reading(self._stream(), shows=self.partials)
        with as_langchain_errors():
            async for chunk in input:
                for partial in reading.take(chunk):
                    yield partial
            for partial in reading.last():
                yield partial

    def _stream(self) -> CaptionStream:
        return CaptionStream(self.schema_read, facts=self._facts, shows=self.partials)

    def get_format_instructions(self) -> str:
        """Say what the answer must look like; goes into the prompt."""
        return instructions(self.schema_read, language=self.language, format_only=True)

    @property
    def OutputType(self) -> Any:  # noqa: N802  (LangChain's name)
        """What `invoke` gives."""
        return self.caption_schema if isinstance(self.caption_schema, type) else dict[str, Any]

    @property
    def _type(self) -> str:
        return "caption"


class _Reading:
    """Turns chunks into partials, for both loops."""

    def __init__(self, stream: CaptionStream, *, shows: bool) -> None:
        self._stream = stream
        self._shows = shows
        self._last: object = None

    def take(self, chunk: str | BaseMessage) -> Iterator[Any]:
        partial = self._stream.feed(str(chunk.text) if isinstance(chunk, BaseMessage) else chunk)
        if self._shows and partial is not None:
            self._last = partial
            yield partial

    def last(self) -> Iterator[Any]:
        value = self._stream.end().value
        if not (isinstance(value, dict) and value == self._last):
            yield value
