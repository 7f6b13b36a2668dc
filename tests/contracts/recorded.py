"""Who plays the cassettes of `test_recorded` and `test_documented`, what they ask, and what a cassette says they get.

The core and both adapters send the same request, so they play the same cassette. What each must return is computed
here from the bytes of the cassette, without the code of the project.
"""

import base64
import json
import os
import re
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import pytest
from langchain_core.messages import AIMessage

from langchain_qwen_omni._speech import speech_of
from qwen_omni import (
    AsyncOmniClient,
    AudioPart,
    ChatOptions,
    ChatRequest,
    ImagePart,
    MediaSource,
    OmniClient,
    QwenOmniError,
    Response,
    Settings,
    Tool,
    VideoPart,
    acollect,
    collect,
    user,
)
from qwen_omni.standin import Script
from tests.contracts.frameworks import LANGCHAIN, LLAMA_INDEX, Medium, Way

# --- The core, asked as a framework is ---


@dataclass(frozen=True)
class CoreModel:
    """Both clients, and the model that they ask."""

    name: str
    client: OmniClient
    async_client: AsyncOmniClient

    def request(self, question: Any, **options: Any) -> ChatRequest:
        """Make the request of a question: a text or parts."""
        parts = (question,) if isinstance(question, str) else question
        return ChatRequest(model=self.name, messages=(user(*parts),), options=ChatOptions(**options))

    def close(self) -> None:
        """Close the synchronous client."""
        self.client.close()

    async def aclose(self) -> None:
        """Close the asynchronous client."""
        await self.async_client.aclose()


async def _complete(llm: CoreModel, question: Any, **options: Any) -> Response:
    return llm.client.complete(llm.request(question, **options))


async def _acomplete(llm: CoreModel, question: Any, **options: Any) -> Response:
    return await llm.async_client.complete(llm.request(question, **options))


async def _stream(llm: CoreModel, question: Any, **options: Any) -> Response:
    return collect(llm.client.stream(llm.request(question, **options)))


async def _astream(llm: CoreModel, question: Any, **options: Any) -> Response:
    return await acollect(llm.async_client.stream(llm.request(question, **options)))


_PARTS = {"image": ImagePart, "audio": AudioPart, "video": VideoPart}
_FIND = {"properties": {"query": {"type": "string"}}, "required": ["query"], "type": "object"}


class Core:
    """`OmniClient` and `AsyncOmniClient`."""

    name, error = "core", QwenOmniError
    chats = {"complete": _complete, "acomplete": _acomplete, "stream": _stream, "astream": _astream}  # noqa: RUF012

    def model(self, reach: Any, *, model: str = "qwen3.8-omni-flash", **fields: Any) -> CoreModel:
        """Make both clients; neither retries."""
        settings = Settings.load(**{"api_key": reach.api_key, "base_url": reach.base_url, "max_retries": 0, **fields})
        return CoreModel(model, OmniClient(settings), AsyncOmniClient(settings))

    def says(self, *parts: str | Medium) -> list[Any]:
        """Return the parts of one message."""
        return [part if isinstance(part, str) else self._part(part) for part in parts]

    def _part(self, medium: Medium) -> Any:
        # A message's file must be in `media_root`, as in the frameworks.
        where = {"path": medium.path and str(medium.path), "url": medium.url, "data": medium.data}
        ((name, value),) = [(name, value) for name, value in where.items() if value is not None]
        make = {"path": MediaSource.from_path, "url": MediaSource.from_url, "data": MediaSource.from_bytes}[name]
        return _PARTS[medium.kind](source=make(value))  # type: ignore[operator]

    async def call(self, way: Way, llm: CoreModel, *_: Any, question: str) -> Response:
        """Ask with the tool `find`, spelled as LangChain spells it."""
        tool = Tool(name="find", description="Find something.", parameters=_FIND)
        return await way(llm, question, tools=(tool,))


CORE = Core()
FACES: tuple[Any, ...] = (CORE, LANGCHAIN, LLAMA_INDEX)


def reach() -> Any:
    """Return the key and the address of the service that is asked, or of none while replaying."""
    return SimpleNamespace(api_key=os.environ["DASHSCOPE_API_KEY"], base_url=os.environ.get("DASHSCOPE_BASE_URL"))


# --- What is asked ---

VIDEO, FILM, AUDIO, IMAGE, LINK = "<video>", "<film>", "<audio>", "<image>", "<link>"
"""Media in `Case.asks`."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """One conversation, its cassette, and what must become of it.

    Attributes:
        proves: what the cassette proves, as a sentence.
        asks: texts, and names of media (`VIDEO`, …).
        options: of the call.
        fields: of the model.
        error: what is raised; else the answer is what the cassette holds.
        script: what the stand-in answers.
        scripted: the service cannot be made to answer this.
    """

    proves: str
    asks: tuple[str, ...] = ("Say hello in one short sentence.",)
    options: dict[str, Any] = field(default_factory=lambda: {"thinking": False})
    fields: dict[str, Any] = field(default_factory=dict)
    error: type[Exception] | None = None
    script: Callable[[], Script] = Script
    scripted: bool = False


def rows(cases: dict[str, Case], ways: dict[str, dict[str, Any]], *, own: tuple[str, ...] = ()) -> Any:
    """Run a test of `case`, `face` and `way` for every case and way; `own` faces have cassettes of their own."""
    return pytest.mark.parametrize(
        ("case", "face", "way"),
        [
            pytest.param(
                case, face, way, id=f"{face.name} {name} {row}",
                marks=marks(f"{row}-{face.name}" if face.name in own else row, case.proves, scripted=case.scripted),
            )
            for row, case in cases.items()
            for face in FACES
            for name, way in ways.get(face.name, {}).items()
        ],
    )  # fmt: skip


def marks(cassette: str, proves: str, *, scripted: bool = False) -> list[pytest.MarkDecorator]:
    """Return the marks of a test that plays a cassette."""
    made = [pytest.mark.default_cassette(f"{cassette}.yaml"), pytest.mark.proves(proves)]
    return [*made, pytest.mark.scripted] if scripted else made


CHATS: dict[str, dict[str, Way]] = {face.name: face.chats for face in FACES}
Work = Callable[..., Awaitable[Any]]


# --- What comes back ---


@dataclass
class Content:
    """An answer: what a cassette holds, or what was returned."""

    text: str = ""
    thinking: str = ""
    pcm: bytes = b""
    calls: list[tuple[str, str, Any]] = field(default_factory=list)
    tokens: tuple[int, int] | None = None
    finish_reason: str | None = None


def held(vcr: Any) -> list[bytes]:
    """Return the bodies of the answers in a cassette, in the order of the recording."""
    bodies = [response["body"]["string"] for response in vcr.responses]
    return [body.encode() if isinstance(body, str) else body for body in bodies]


def events_of(body: bytes) -> Iterator[dict[str, Any]]:
    """Return the events of a streamed answer."""
    for line in body.decode().splitlines():
        data = line.removeprefix("data:").strip()
        if line.startswith("data:") and data != "[DONE]":
            yield json.loads(data)


def expected(body: bytes) -> Content:
    """Add up a streamed answer by hand."""
    content, speech, arguments = Content(), "", ""
    for event in events_of(body):
        used = event.get("usage")
        content.tokens = (used["prompt_tokens"], used["completion_tokens"]) if used else content.tokens
        for choice in event.get("choices", ()):
            delta = choice.get("delta", {})
            content.text += delta.get("content") or ""
            content.thinking += delta.get("reasoning_content") or ""
            speech += (delta.get("audio") or {}).get("data", "")
            for call in delta.get("tool_calls") or ():
                if call.get("id"):
                    content.calls.append((call["id"], call["function"]["name"], None))
                arguments += call["function"].get("arguments") or ""
            content.finish_reason = choice.get("finish_reason") or content.finish_reason
    content.pcm = b"".join(
        map(base64.b64decode, re.findall(r"[^=]+=*", speech))
    )  # some pieces have padding of their own
    if content.calls:
        content.calls = [(content.calls[0][0], content.calls[0][1], json.loads(arguments))]
    return content


def content_of(answer: Any) -> Content:
    """Read an answer of the core or of a framework."""
    if isinstance(answer, Response):
        return _of_core(answer)
    return _of_langchain(answer) if isinstance(answer, AIMessage) else _of_llama_index(answer)


def _of_core(answer: Response) -> Content:
    used = answer.usage
    return Content(
        text=answer.text,
        thinking=answer.thinking,
        pcm=answer.audio or b"",
        calls=[(call.id, call.name, json.loads(call.arguments)) for call in answer.tool_calls],
        tokens=(used.input_tokens, used.output_tokens) if used else None,
        finish_reason=answer.finish_reason,
    )


def _of_langchain(answer: AIMessage) -> Content:
    used, blocks = answer.usage_metadata, answer.content_blocks
    return Content(
        text=str(answer.text),
        thinking="".join(block.get("reasoning", "") for block in blocks if block["type"] == "reasoning"),
        pcm=_without_header(speech_of(answer)),
        calls=[(call["id"] or "", call["name"], call["args"]) for call in answer.tool_calls],
        tokens=(used["input_tokens"], used["output_tokens"]) if used else None,
        finish_reason=answer.response_metadata.get("finish_reason"),
    )


def _of_llama_index(answer: Any) -> Content:
    blocks = {kind: [one for one in answer.message.blocks if one.block_type == kind] for kind in _LLAMA_INDEX_KINDS}
    speech = [base64.b64decode(one.audio) for one in blocks["audio"]]
    used = answer.raw.get("usage")
    return Content(
        text=answer.message.content or "",
        thinking="".join(one.content or "" for one in blocks["thinking"]),
        pcm=_without_header(speech[0] if speech else None),
        calls=[(one.tool_call_id or "", one.tool_name, one.tool_kwargs) for one in blocks["tool_call"]],
        tokens=(used["prompt_tokens"], used["completion_tokens"]) if used else None,
        finish_reason=answer.raw.get("finish_reason"),
    )


_LLAMA_INDEX_KINDS = ("audio", "thinking", "tool_call")


def _without_header(wav: bytes | None) -> bytes:
    return (wav or b"")[44:]
