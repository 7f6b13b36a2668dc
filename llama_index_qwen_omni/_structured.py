"""Answers of a schema: `StructuredPrediction`, the half of `QwenOmni` behind `structured_predict`.

Two ways, chosen by `pydantic_program_mode`. By default, and for `LLM`, the schema goes into the prompt and JSON mode
is used where the model has it; for `FUNCTION` the schema is a tool that must be called. Either way the answer is
read by `qwen_omni.captions.parse`, which takes fences, prose and loose commas, and is validated. Deciding is in
`plan_structure`; the four methods only ask.
"""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)

from collections.abc import AsyncGenerator, Generator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, TypeVar

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, MessageRole, ToolCallBlock
from llama_index.core.instrumentation.events.llm import (
    LLMStructuredPredictEndEvent,
    LLMStructuredPredictInProgressEvent,
    LLMStructuredPredictStartEvent,
)
from llama_index.core.llms.function_calling import FunctionCallingLLM
from llama_index.core.program.function_program import get_function_tool
from llama_index.core.program.utils import create_flexible_model
from llama_index.core.prompts import BasePromptTemplate
from llama_index.core.types import PydanticProgramMode
from llama_index_instrumentation import get_dispatcher
from pydantic import BaseModel, ValidationError

from llama_index_qwen_omni._parts import arguments_text
from llama_index_qwen_omni._references import shown_prompt
from llama_index_qwen_omni._tracing import Span, span, spans_itself
from qwen_omni.captions.parse import CaptionStream, parse_caption
from qwen_omni.captions.prompt import complaint
from qwen_omni.captions.schema import CaptionSchema, read_schema
from qwen_omni.errors import CaptionSyntaxError, ConfigurationError

_Model = TypeVar("_Model", bound=BaseModel)
_EVENTS = get_dispatcher("llama_index.core.llms.llm")  # where LlamaIndex's own come from
_Asking = Generator[list[ChatMessage], ChatResponse, BaseModel]
_OURS = ("tools", "tool_choice", "response_format", "tool_required", "allow_parallel_tool_calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How a schema is asked for: the options of the call, and what the answer is read by."""

    schema: CaptionSchema
    options: dict[str, Any]
    calls: bool


def plan_structure(output_cls: type[BaseModel], mode: PydanticProgramMode) -> Structure:
    """Decide how to ask for answers of a schema.

    Raises:
        ConfigurationError: a mode that is another class' own.
    """
    schema = read_schema(output_cls)
    if mode == PydanticProgramMode.FUNCTION:
        tool = get_function_tool(output_cls).metadata.to_openai_tool(skip_length_check=True)
        options = {"tools": [tool], "tool_choice": tool["function"]["name"]}
        return Structure(schema=schema, options=options, calls=True)
    if mode not in (PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM):
        raise ConfigurationError(f"pydantic_program_mode={mode.value!r} is not for QwenOmni; use default or function.")
    wanted = {"type": "json_schema", "json_schema": {"schema": output_cls.model_json_schema()}}
    return Structure(schema=schema, options={"response_format": wanted}, calls=False)


class StructuredPrediction(FunctionCallingLLM):
    """The four methods that answer with objects. Thinking is off for such calls, unless `llm_kwargs` ask for it."""

    @spans_itself
    def structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> _Model:
        """Answer with an object; an answer that breaks the schema is asked for once more.

        Raises:
            CaptionSyntaxError: the second answer breaks the schema, too.
        """
        with self._predicting("structured_predict", output_cls, prompt, prompt_args) as opened:
            structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
            asking = _asking(structure, messages)
            asked = next(asking)
            while True:
                try:
                    asked = asking.send(self.chat(asked, **options))
                except StopIteration as done:
                    return opened.done(_ended(done.value, output_cls))

    @spans_itself
    async def astructured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> _Model:
        """Do the same in `asyncio`."""
        with self._predicting("astructured_predict", output_cls, prompt, prompt_args) as opened:
            structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
            asking = _asking(structure, messages)
            asked = next(asking)
            while True:
                try:
                    asked = asking.send(await self.achat(asked, **options))
                except StopIteration as done:
                    return opened.done(_ended(done.value, output_cls))

    @spans_itself
    def stream_structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """Give the object while it comes: flexible copies of it, and the validated object last.

        Raises:
            CaptionSyntaxError: the answer breaks the schema; what was shown cannot be taken back.
        """
        with self._predicting("stream_structured_predict", output_cls, prompt, prompt_args) as opened:
            structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
            responses = self.stream_chat(messages, **options)
            return opened.done(_objects(responses, _Reading(structure, output_cls)))

    @spans_itself
    async def astream_structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        """Do the same in `asyncio`."""
        with self._predicting("astream_structured_predict", output_cls, prompt, prompt_args) as opened:
            structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
            responses = await self.astream_chat(messages, **options)
            return opened.done(_aobjects(responses, _Reading(structure, output_cls)))

    def _predicting(
        self, method: str, output_cls: type[BaseModel], prompt: BasePromptTemplate, prompt_args: dict[str, Any]
    ) -> AbstractContextManager[Span]:
        shown = shown_prompt(prompt)
        started = LLMStructuredPredictStartEvent(output_cls=output_cls, template=shown, template_args=prompt_args)
        _EVENTS.event(started)
        return span(self, method, {"output_cls": output_cls, "prompt": shown}, prompt_args)

    def _asked_for(
        self,
        output_cls: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[Structure, list[ChatMessage], dict[str, Any]]:
        structure = plan_structure(output_cls, self.pydantic_program_mode)
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        chosen = {name: value for name, value in (llm_kwargs or {}).items() if name not in _OURS}
        return structure, messages, {**chosen, **structure.options}


def _asking(structure: Structure, messages: list[ChatMessage]) -> _Asking:
    """Yield what to ask, be sent the answers, return the object: one question, and one more if need be."""
    first = yield messages
    try:
        return _read(first, structure)
    except CaptionSyntaxError as error:
        told = ChatMessage(role=MessageRole.USER, content=complaint(error))
        said = ChatMessage(role=MessageRole.ASSISTANT, content=error.text or "(nothing)")
    second = yield [*messages, said, told]
    return _read(second, structure)


def _ended(value: object, output_cls: type[_Model]) -> _Model:
    if not isinstance(value, output_cls):
        raise TypeError(f"the schema's check gave {type(value).__name__}, not {output_cls.__name__}")
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))
    return value


def _read(response: ChatResponse, structure: Structure) -> BaseModel:
    value: BaseModel = parse_caption(_text_of(response, structure), structure.schema).value
    return value


def _text_of(response: ChatResponse, structure: Structure) -> str:
    """Give the JSON of an answer: the arguments of its call, or its words."""
    call = _call_of(response) if structure.calls else None
    return arguments_text(call) if call is not None else response.message.content or ""


def _call_of(response: ChatResponse) -> ToolCallBlock | None:
    return next((block for block in response.message.blocks if isinstance(block, ToolCallBlock)), None)


class _Reading:
    """Turns streamed responses into objects, for both loops."""

    def __init__(self, structure: Structure, output_cls: type[BaseModel]) -> None:
        self._structure = structure
        self._output_cls = output_cls
        self._flexible = create_flexible_model(output_cls)
        self._stream = CaptionStream(structure.schema)
        self._read = 0

    def take(self, response: ChatResponse) -> BaseModel | None:
        partial = self._stream.feed(new) if (new := self._new(response)) else None
        return None if not isinstance(partial, dict) else _told(self._made(partial))

    def _new(self, response: ChatResponse) -> str:
        call = _call_of(response) if self._structure.calls else None
        if call is None:
            return response.delta or ""
        if isinstance(call.tool_kwargs, dict):
            return ""  # the last response: nothing new
        new, self._read = call.tool_kwargs[self._read :], len(call.tool_kwargs)
        return new

    def _made(self, partial: dict[str, Any]) -> BaseModel:
        try:
            return self._output_cls.model_validate(partial)
        except ValidationError:
            return self._flexible.model_validate(partial)

    def last(self) -> BaseModel:
        value: BaseModel = self._stream.end().value
        return value


def _told(value: BaseModel) -> BaseModel:
    _EVENTS.event(LLMStructuredPredictInProgressEvent(output=value))
    return value


def _objects(responses: Generator[ChatResponse, None, None], reading: _Reading) -> Generator[BaseModel, None, None]:
    for response in responses:
        found = reading.take(response)
        if found is not None:
            yield found
    value = _told(reading.last())
    yield value
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))


async def _aobjects(
    responses: AsyncGenerator[ChatResponse, None], reading: _Reading
) -> AsyncGenerator[BaseModel, None]:
    async for response in responses:
        found = reading.take(response)
        if found is not None:
            yield found
    value = _told(reading.last())
    yield value
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))
