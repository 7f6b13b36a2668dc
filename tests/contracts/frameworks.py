"""Both frameworks behind one interface, so that what both must do is tested once.

A `Framework` makes models and messages, asks in every way that its users have, and reads answers into neutral values.
"""
# ruff: noqa: D102  (methods are documented in `Framework`)

import base64
import functools
import operator
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

import pytest
from langchain_core.exceptions import ModelError, OutputParserException
from langchain_core.messages import AIMessage, HumanMessage
from pydantic import BaseModel, SecretStr

import langchain_qwen_omni
from langchain_qwen_omni import ChatQwenOmni, caption_chain
from qwen_omni.standin import Standin

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ImageBlock,
    TextBlock,
    VideoBlock,
)
from llama_index.core.prompts import PromptTemplate
from llama_index.core.tools import FunctionTool
from llama_index.core.types import PydanticProgramMode

import llama_index_qwen_omni
from llama_index_qwen_omni import QwenOmni

Way = Callable[..., Awaitable[Any]]
"""Ask a model a question, a text or messages, with options of the call; return the whole answer."""


@dataclass(frozen=True)
class Medium:
    """A medium of a message: held, in a file or behind an address, with its options."""

    kind: Literal["image", "audio", "video"]
    path: Path | str | None = None
    url: str | None = None
    data: bytes | None = None
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Answer:
    """An answer, independent of the framework."""

    text: str
    calls: list[tuple[str, str, dict[str, Any]]]
    input_tokens: int
    output_tokens: int
    details: dict[str, int]
    """Input tokens by kind."""
    estimated: int | None
    media: list[dict[str, Any]] | None
    blocks: list[Any] = field(repr=False)
    """The content, without places in a stream."""


@dataclass(frozen=True)
class Door:
    """A way to an object: asks `question` for `schema`, with options of the call.

    Attributes:
        ask: asks, and returns the object.
        calls: whether the object comes as the arguments of a call.
        streams: whether the answer is shown while it comes, and so cannot be asked for again.
        accepts: whether the call takes `allow_truncated`.
    """

    ask: Callable[..., Awaitable[Any]]
    calls: bool = False
    streams: bool = False
    accepts: bool = True


def find(query: str) -> str:
    """Find something."""
    return query


def keep(note: str) -> str:
    """Keep something."""
    return note


class Framework(Protocol):
    """What a framework's users can do."""

    name: str
    chats: dict[str, Way]
    """Sync and async, whole and streamed."""
    ways: dict[str, Way]
    """Every way to ask, for questions that are texts."""
    doors: dict[str, Door]
    own: Any
    """The adapter's package."""
    error: type[Exception]
    """The framework's own error for a failed call."""
    wrong_answer: type[Exception]
    """The framework's own error for an answer that cannot be used."""

    def model(self, standin: Standin, **fields: Any) -> Any:
        """Make a model at the stand-in that does not retry."""

    def says(self, *parts: str | Medium) -> list[Any]:
        """Make a conversation of one message."""

    def read(self, answer: Any) -> Answer:
        """Read an answer."""

    async def call(
        self, way: Way, llm: Any, *tools: Callable[..., Any], must: bool = False, question: str = "Go."
    ) -> Any:
        """Ask with tools, one of which must be called if `must`."""


# --- LangChain ---


async def _invoke(llm: Any, question: Any, **options: Any) -> AIMessage:
    return llm.invoke(question, **options)


async def _ainvoke(llm: Any, question: Any, **options: Any) -> AIMessage:
    return await llm.ainvoke(question, **options)


async def _stream(llm: Any, question: Any, **options: Any) -> AIMessage:
    return functools.reduce(operator.add, llm.stream(question, **options))


async def _astream(llm: Any, question: Any, **options: Any) -> AIMessage:
    return functools.reduce(operator.add, [chunk async for chunk in llm.astream(question, **options)])


async def _batch(llm: Any, question: Any, **options: Any) -> AIMessage:
    return llm.batch([question, "Hello"], **options)[0]


async def _abatch(llm: Any, question: Any, **options: Any) -> AIMessage:
    return (await llm.abatch([question, "Hello"], **options))[0]


async def _generate(llm: Any, question: Any, **options: Any) -> AIMessage:
    return llm.generate([[HumanMessage(question)]], **options).generations[0][0].message


async def _events(llm: Any, question: Any, **options: Any) -> AIMessage:
    stream = llm.stream_events(question, version="v3", **options)
    for _ in stream:
        pass
    return stream.output


async def _aevents(llm: Any, question: Any, **options: Any) -> AIMessage:
    stream = await llm.astream_events(question, version="v3", **options)
    async for _ in stream:
        pass
    return await stream.output


async def _last(coming: AsyncIterator[Any]) -> Any:
    return [one async for one in coming][-1]


def _by_method(method: Any, *, streams: bool) -> Door:
    async def ask(llm: Any, schema: Any, question: str, **options: Any) -> Any:
        structured = llm.with_structured_output(schema, method=method, **options)
        return await (_last(structured.astream(question)) if streams else structured.ainvoke(question))

    return Door(ask, calls=method == "function_calling", streams=streams)


def _by_runnable(make: Callable[[Any, Any], Any], *, streams: bool) -> Door:
    async def ask(llm: Any, schema: Any, question: Any) -> Any:
        asked, runnable = [HumanMessage(question)] if isinstance(question, str) else question, make(llm, schema)
        return await (_last(runnable.astream(asked)) if streams else runnable.ainvoke(asked))

    return Door(ask, streams=streams, accepts=False)


def _parsed(llm: Any, schema: type[BaseModel]) -> Any:
    wanted = {"type": "json_schema", "json_schema": {"schema": schema.model_json_schema()}}
    return llm.bind(response_format=wanted) | langchain_qwen_omni.CaptionOutputParser(schema=schema)


class LangChain:
    """`ChatQwenOmni`."""

    name, own = "langchain", langchain_qwen_omni
    error, wrong_answer = ModelError, OutputParserException
    chats = {"invoke": _invoke, "ainvoke": _ainvoke, "stream": _stream, "astream": _astream}  # noqa: RUF012
    ways = {  # noqa: RUF012
        **chats, "batch": _batch, "abatch": _abatch, "generate": _generate, "stream_events": _events,
        "astream_events": _aevents,
    }  # fmt: skip
    doors = {  # noqa: RUF012
        f"{name}{', streamed' * streams}": door(what, streams=streams)
        for streams in (False, True)
        for name, door, what in (
            ("json_schema", _by_method, "json_schema"), ("function_calling", _by_method, "function_calling"),
            ("json_mode", _by_method, "json_mode"), ("parser", _by_runnable, _parsed),
            ("chain", _by_runnable, caption_chain),
        )
    }  # fmt: skip

    def model(self, standin: Standin, **fields: Any) -> ChatQwenOmni:
        reach: dict[str, Any] = {"api_key": SecretStr(standin.api_key), "base_url": standin.base_url, "max_retries": 0}
        return ChatQwenOmni(**{**reach, **fields})

    def says(self, *parts: str | Medium) -> list[HumanMessage]:
        return [HumanMessage([part if isinstance(part, str) else self._block(part) for part in parts])]

    def _block(self, medium: Medium) -> dict[str, Any]:
        held = None if medium.data is None else base64.b64encode(medium.data).decode()
        kind = held and {"image": "image/png", "audio": "audio/wav", "video": "video/mp4"}[medium.kind]
        where = {"path": medium.path and str(medium.path), "url": medium.url, "base64": held, "mime_type": kind}
        block = {"type": medium.kind, **{name: value for name, value in where.items() if value}}
        return {**block, **({"extras": medium.options} if medium.options else {})}

    def read(self, answer: AIMessage) -> Answer:
        assert not answer.invalid_tool_calls
        used: Any = answer.usage_metadata or {}
        return Answer(
            text=str(answer.text),
            calls=[(call["id"] or "", call["name"], call["args"]) for call in answer.tool_calls],
            input_tokens=used.get("input_tokens", 0),
            output_tokens=used.get("output_tokens", 0),
            details=dict(used.get("input_token_details", {})),
            estimated=answer.response_metadata.get("estimated_input_tokens"),
            media=answer.response_metadata.get("media"),
            blocks=[{k: v for k, v in block.items() if k != "index"} for block in answer.content_blocks],
        )

    async def call(
        self, way: Way, llm: Any, *tools: Callable[..., Any], must: bool = False, question: str = "Go."
    ) -> AIMessage:
        return await way(llm.bind_tools(list(tools), **({"tool_choice": "any"} if must else {})), question)


# --- LlamaIndex ---


def _messages(question: str | Sequence[ChatMessage]) -> list[ChatMessage]:
    return [ChatMessage(content=question)] if isinstance(question, str) else list(question)


def _joined(given: list[Any]) -> Any:
    last = given[-1]
    assert "".join(one.delta or "" for one in given) == ((last.text if _is_text(last) else last.message.content) or "")
    return _whole(last)


def _is_text(answer: Any) -> bool:
    return isinstance(answer, CompletionResponse)


def _whole(answer: Any) -> ChatResponse:
    if not _is_text(answer):
        return answer
    message = ChatMessage(role="assistant", content=answer.text)
    return ChatResponse(message=message, raw=answer.raw, delta=answer.delta, additional_kwargs=answer.additional_kwargs)


def _method(name: str) -> Way:
    """Call a method; all but the completions take messages."""

    async def ask(llm: QwenOmni, question: Any, **options: Any) -> ChatResponse:
        given = getattr(llm, name)(question if "complete" in name else _messages(question), **options)
        given = await given if name.startswith("a") else given
        if name.startswith("astream"):
            return _joined([one async for one in given])
        return _joined(list(given)) if name.startswith("stream") else _whole(given)

    return ask


def _predicting(name: str, mode: PydanticProgramMode) -> Door:
    async def ask(llm: QwenOmni, schema: Any, question: str, **options: Any) -> Any:
        chosen = llm.model_copy(update={"pydantic_program_mode": mode})
        more = {"llm_kwargs": options} if options else {}
        given = getattr(chosen, name)(schema, PromptTemplate(question), **more)
        given = await given if name.startswith("a") else given
        if "stream" not in name:
            return given
        return await _last(given) if name.startswith("a") else list(given)[-1]

    return Door(ask, calls=mode is PydanticProgramMode.FUNCTION, streams="stream" in name)


def _structured_llm(mode: PydanticProgramMode) -> Door:
    async def ask(llm: QwenOmni, schema: Any, question: str) -> Any:
        chosen = llm.model_copy(update={"pydantic_program_mode": mode})
        return (await chosen.as_structured_llm(schema).achat(_messages(question))).raw

    return Door(ask, calls=mode is PydanticProgramMode.FUNCTION, accepts=False)


_BLOCKS = {"image": ImageBlock, "audio": AudioBlock, "video": VideoBlock}
_MODES = {"JSON": PydanticProgramMode.DEFAULT, "call": PydanticProgramMode.FUNCTION}


class LlamaIndex:
    """`QwenOmni`."""

    name, own = "llama_index", llama_index_qwen_omni
    error = wrong_answer = Exception  # LlamaIndex has none of its own
    chats = {name: _method(name) for name in ("chat", "achat", "stream_chat", "astream_chat")}  # noqa: RUF012
    ways = {  # noqa: RUF012
        **chats,
        **{name: _method(name) for name in ("complete", "acomplete", "stream_complete", "astream_complete")},
    }
    doors = {  # noqa: RUF012
        f"{name}, {how}": door
        for how, mode in _MODES.items()
        for name, door in (
            *(
                (name, _predicting(name, mode))
                for name in (
                    "structured_predict", "astructured_predict", "stream_structured_predict",
                    "astream_structured_predict",
                )
            ),
            ("as_structured_llm", _structured_llm(mode)),
        )
    }  # fmt: skip

    def model(self, standin: Standin, **fields: Any) -> QwenOmni:
        reach: dict[str, Any] = {"api_key": SecretStr(standin.api_key), "base_url": standin.base_url, "max_retries": 0}
        return QwenOmni(**{**reach, **fields})

    def says(self, *parts: str | Medium) -> list[ChatMessage]:
        blocks = [TextBlock(text=part) if isinstance(part, str) else self._block(part) for part in parts]
        options = [part.options for part in parts if isinstance(part, Medium)]
        return [ChatMessage(blocks=blocks, additional_kwargs={"media": options} if any(options) else {})]

    def _block(self, medium: Medium) -> Any:
        held = {} if medium.data is None else {medium.kind: medium.data}
        where = {"path": medium.path, "url": medium.url, **held}
        return _BLOCKS[medium.kind](**{name: value for name, value in where.items() if value is not None})

    def read(self, answer: ChatResponse) -> Answer:
        raw: Any = answer.raw
        used = raw["usage"]
        calls = [block for block in answer.message.blocks if block.block_type == "tool_call"]
        return Answer(
            text=answer.message.content or "",
            calls=[(call.tool_call_id or "", call.tool_name, call.tool_kwargs) for call in calls],  # type: ignore[misc]
            input_tokens=used["prompt_tokens"],
            output_tokens=used["completion_tokens"],
            details={k.removesuffix("_tokens"): v for k, v in (used.get("prompt_tokens_details") or {}).items()},
            estimated=used.get("estimated_input_tokens"),
            media=raw.get("media"),
            blocks=list(answer.message.blocks),
        )

    async def call(
        self, way: Way, llm: QwenOmni, *tools: Callable[..., Any], must: bool = False, question: str = "Go."
    ) -> ChatResponse:
        made = [FunctionTool.from_defaults(tool) for tool in tools]
        asked = llm._prepare_chat_with_tools(
            made, user_msg=question, tool_required=must, allow_parallel_tool_calls=True
        )
        return await way(llm, asked.pop("messages"), **asked)


LANGCHAIN, LLAMA_INDEX = LangChain(), LlamaIndex()
FRAMEWORKS: tuple[Framework, ...] = (LANGCHAIN, LLAMA_INDEX)


def each(
    attribute: Literal["chats", "ways", "doors"], chosen: Callable[[Any], bool] = lambda _: True
) -> pytest.MarkDecorator:
    """Run a test of `framework` and one of its ways or doors for every one, or for those that are chosen."""
    rows = [
        pytest.param(framework, one, id=f"{framework.name} {name}")
        for framework in FRAMEWORKS
        for name, one in getattr(framework, attribute).items()
        if chosen(one)
    ]
    return pytest.mark.parametrize(("framework", attribute.removesuffix("s").replace("chat", "way")), rows)


each_framework = pytest.mark.parametrize("framework", FRAMEWORKS, ids=lambda framework: framework.name)
