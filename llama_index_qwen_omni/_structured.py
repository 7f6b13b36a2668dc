"""Answers that follow a schema: `StructuredPrediction`, the part of `QwenOmni` behind `structured_predict`.

There are two modes, chosen by `pydantic_program_mode`. By default, and for `LLM`, the schema goes into the prompt and
JSON mode is used if the model has it; for `FUNCTION` the schema is a tool that must be called. `plan_structure` decides
that. Parsing, retries and errors are decided in `qwen_omni.structured.ask`; the four methods only send requests.
`llm_kwargs={"allow_truncated": True}` accepts a truncated object.
"""
# ruff: noqa: ANN401  (LlamaIndex's own signatures take any keyword)

from collections.abc import AsyncGenerator, Generator
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

from llama_index_qwen_omni._convert_output import finish_of
from llama_index_qwen_omni._tracing import shown_prompt, traced
from llama_index_qwen_omni.callbacks import usage_of
from qwen_omni.errors import ConfigurationError
from qwen_omni.integrations.request_builder import arguments_text
from qwen_omni.structured.ask import (
    AnswerText,
    ObjectQuestion,
    ObjectStream,
    ReadOptions,
    ask_for_object,
    warn_if_truncated,
)
from qwen_omni.structured.schema import read_schema
from qwen_omni.transport.flow import adrive, drive

_Model = TypeVar("_Model", bound=BaseModel)
_EVENTS = get_dispatcher("llama_index.core.llms.llm")  # the source of LlamaIndex's own events
_Asking = Generator[list[ChatMessage], ChatResponse, BaseModel]
_OURS = ("tools", "tool_choice", "response_format", "tool_required", "allow_parallel_tool_calls")


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """How a schema is requested: the options of the call, and how to parse the answer."""

    reading: ReadOptions
    options: dict[str, Any]
    calls: bool

    def look(self, response: ChatResponse) -> AnswerText:
        """Return the arguments of an answer's tool call, or its text, and why it ended."""
        call = _call_of(response) if self.calls else None
        text = arguments_text(call.tool_kwargs, "the answer") if call is not None else response.message.content or ""
        return AnswerText(text, finish_of(response), usage_of(response))


def plan_structure(
    output_cls: type[BaseModel], mode: PydanticProgramMode, *, allow_truncated: bool = False
) -> Structure:
    """Decide how to request answers that follow a schema.

    Raises:
        ConfigurationError: a mode that belongs to another class.
    """
    reading = ReadOptions(schema=read_schema(output_cls), allow_truncated=allow_truncated)
    if mode == PydanticProgramMode.FUNCTION:
        tool = get_function_tool(output_cls).metadata.to_openai_tool(skip_length_check=True)
        options = {"tools": [tool], "tool_choice": tool["function"]["name"]}
        return Structure(reading=reading, options=options, calls=True)
    if mode not in (PydanticProgramMode.DEFAULT, PydanticProgramMode.LLM):
        raise ConfigurationError(
            f"pydantic_program_mode={mode.value!r} is not supported by QwenOmni; use default or function."
        )
    wanted = {"type": "json_schema", "json_schema": {"schema": output_cls.model_json_schema()}}
    return Structure(reading=reading, options={"response_format": wanted}, calls=False)


class StructuredPrediction(FunctionCallingLLM):
    """The four methods that answer with objects. Thinking is off for such calls, unless `llm_kwargs` turn it on."""

    @traced()
    def structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> _Model:
        """Answer with an object; an answer that violates the schema is requested once more.

        Raises:
            CaptionSyntaxError: the second answer violates the schema as well.
            TruncatedAnswerError: an answer was truncated.
        """
        structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
        value = drive(_asking(structure, messages), lambda asked: self.chat(asked, **options))
        return _ended(value, output_cls)

    @traced()
    async def astructured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> _Model:
        """The same in `asyncio`."""
        structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
        value = await adrive(_asking(structure, messages), lambda asked: self.achat(asked, **options))
        return _ended(value, output_cls)

    @traced()
    def stream_structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> Generator[Any, None, None]:
        """Yield the growing object: partial copies with optional fields, and the validated object last.

        Raises:
            CaptionSyntaxError: the answer violates the schema; what was yielded cannot be retracted.
            TruncatedAnswerError: the answer was truncated.
        """
        structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
        return _objects(self.stream_chat(messages, **options), _Reading(structure, output_cls))

    @traced()
    async def astream_structured_predict(
        self,
        output_cls: type[_Model],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None = None,
        **prompt_args: Any,
    ) -> AsyncGenerator[Any, None]:
        """The same in `asyncio`."""
        structure, messages, options = self._asked_for(output_cls, prompt, llm_kwargs, prompt_args)
        return _aobjects(await self.astream_chat(messages, **options), _Reading(structure, output_cls))

    def _asked_for(
        self,
        output_cls: type[BaseModel],
        prompt: BasePromptTemplate,
        llm_kwargs: dict[str, Any] | None,
        prompt_args: dict[str, Any],
    ) -> tuple[Structure, list[ChatMessage], dict[str, Any]]:
        shown = shown_prompt(prompt)
        _EVENTS.event(LLMStructuredPredictStartEvent(output_cls=output_cls, template=shown, template_args=prompt_args))
        given = dict(llm_kwargs or {})
        allow_truncated = bool(given.pop("allow_truncated", False))
        structure = plan_structure(output_cls, self.pydantic_program_mode, allow_truncated=allow_truncated)
        messages = self._extend_messages(prompt.format_messages(llm=self, **prompt_args))
        chosen = {name: value for name, value in given.items() if name not in _OURS}
        return structure, messages, {**chosen, **structure.options}


def _asking(structure: Structure, messages: list[ChatMessage]) -> _Asking:
    """Yield the requests, receive the answers, return the object."""
    asked = ObjectQuestion[list[ChatMessage], ChatResponse](
        question=messages, look=structure.look, again=_again, reading=structure.reading
    )
    parsed, _ = yield from ask_for_object(asked)
    value: BaseModel = warn_if_truncated(parsed)
    return value


def _again(messages: list[ChatMessage], said: str, wrong: str) -> list[ChatMessage]:
    answer = ChatMessage(role=MessageRole.ASSISTANT, content=said)
    return [*messages, answer, ChatMessage(role=MessageRole.USER, content=wrong)]


def _ended(value: object, output_cls: type[_Model]) -> _Model:
    if not isinstance(value, output_cls):
        raise TypeError(f"the schema's validation returned {type(value).__name__}, not {output_cls.__name__}")
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))
    return value


def _call_of(response: ChatResponse) -> ToolCallBlock | None:
    return next((block for block in response.message.blocks if isinstance(block, ToolCallBlock)), None)


class _Reading:
    """Converts streamed responses to objects, sync or async."""

    def __init__(self, structure: Structure, output_cls: type[BaseModel]) -> None:
        self._structure = structure
        self._output_cls = output_cls
        self._flexible = create_flexible_model(output_cls)
        self._stream = ObjectStream(structure.reading)
        self._read = 0
        self._called = False

    def take(self, response: ChatResponse) -> BaseModel | None:
        partial = self._stream.take(AnswerText(self._new(response), finish_of(response), usage_of(response)))
        return None if not isinstance(partial, dict) else _with_event(self._made(partial))

    def _new(self, response: ChatResponse) -> str:
        call = _call_of(response) if self._structure.calls else None
        if call is None:
            return "" if self._called else response.delta or ""
        if not self._called:
            self._called = True
            self._stream.restart()  # text before the call does not count
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
        value: BaseModel = warn_if_truncated(self._stream.end())
        return value


def _with_event(value: BaseModel) -> BaseModel:
    _EVENTS.event(LLMStructuredPredictInProgressEvent(output=value))
    return value


def _objects(responses: Generator[ChatResponse, None, None], reading: _Reading) -> Generator[BaseModel, None, None]:
    for response in responses:
        found = reading.take(response)
        if found is not None:
            yield found
    value = _with_event(reading.last())
    yield value
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))


async def _aobjects(
    responses: AsyncGenerator[ChatResponse, None], reading: _Reading
) -> AsyncGenerator[BaseModel, None]:
    async for response in responses:
        found = reading.take(response)
        if found is not None:
            yield found
    value = _with_event(reading.last())
    yield value
    _EVENTS.event(LLMStructuredPredictEndEvent(output=value))
