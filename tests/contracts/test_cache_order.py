"""Requests about one medium begin with the same bytes, up to and including the medium, whatever is asked.

The service keeps beginnings of requests in its implicit cache and bills them at an eighth (qwen3.8-omni-flash, from
1,024 tokens). So the medium comes first and everything that differs follows it: at every door, in the bodies as sent.
"""

import asyncio
import contextlib
import json
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings as hypothesis_settings, strategies as st
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock, VideoBlock
from llama_index.core.prompts import ChatPromptTemplate
from pydantic import BaseModel, SecretStr

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, QwenOmniToolkit, caption_chain
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni, QwenOmniToolSpec
from qwen_omni import (
    MediaTools,
    OmniClient,
    Settings,
    SummaryOptions,
    TimedCaptions,
    UsageLedger,
    VideoCaption,
    ask_video,
    caption,
)
from qwen_omni.media.plan.segments import Segment
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import ImagePart, VideoPart, user
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import profile_for
from qwen_omni.standin import Standin
from qwen_omni.standin.answers import service
from qwen_omni.standin.marked_media import TruthMedia, make_image, make_video
from qwen_omni.structured.ask import object_request
from qwen_omni.structured.batch import caption_many
from qwen_omni.structured.caption import CaptionOptions, plan_caption
from qwen_omni.structured.schema import read_schema
from qwen_omni.video.export.markdown import bill_text
from qwen_omni.video.tasks import NotesTask, QuestionTask
from tests.support.encoding import encode_request

OMNI, OLDER = "qwen3.8-omni-flash", "qwen3.5-omni-flash"
LINK = MediaSource.from_url("https://example.com/film.mp4")
PART = VideoPart(source=LINK)
SEGMENT = Segment(index=0, start=Fraction(0), end=Fraction(90))
QUESTIONS = ("When does the bus come?", "Who says {thanks}, and to whom?")
ONE_SEGMENT = SummaryOptions(single_call_seconds=0, segment_seconds=60, overlap=0)


class Mood(BaseModel):
    """How it feels."""

    mood: str


def beginning(body: dict[str, Any]) -> str:
    """Return a body as it is sent, up to and including its first medium."""
    assert list(body)[:2] == ["model", "messages"]
    before: list[Any] = []
    for message in body["messages"]:
        parts = message["content"] if isinstance(message["content"], list) else []
        media = next((index for index, part in enumerate(parts) if part["type"] != "text"), None)
        before.append(message if media is None else {**message, "content": parts[: media + 1]})
        if media is not None:
            return json.dumps({"model": body["model"], "messages": before}, ensure_ascii=False)
    raise AssertionError("the request shows no medium")


def encoded(request: ChatRequest) -> dict[str, Any]:
    return encode_request(request, profile_for(request.model), lambda source: (source.url or "", None))


PLANS: dict[str, Callable[[str, str], ChatRequest]] = {
    "question about a segment": lambda text, _: (
        QuestionTask(options=SummaryOptions(), question=text, duration=90.0).ask(PART, SEGMENT).request
    ),
    "notes with a focus": lambda text, language: (
        NotesTask(options=SummaryOptions(focus=text, language=language), duration=90.0).ask(PART, SEGMENT).request
    ),
    "notes of the whole": lambda text, _: (
        NotesTask(options=SummaryOptions(focus=text), duration=90.0, whole=True).ask(PART, SEGMENT).request
    ),
    "caption": lambda text, language: plan_caption(
        LINK, VideoCaption, CaptionOptions(prompt=text, language=language)
    ).request,
    "captions with times": lambda text, _: plan_caption(LINK, TimedCaptions, CaptionOptions(prompt=text)).request,
    "object": lambda text, _: object_request(read_schema(Mood), user(PART, text), model=OMNI),
}  # fmt: skip


# A question of blanks alone is refused.
TEXTS = st.text(min_size=1, max_size=40).filter(str.strip)


@given(st.tuples(TEXTS, TEXTS), st.sampled_from([None, "French", "中文"]))
@hypothesis_settings(max_examples=10)
def test_whatever_is_asked_follows_the_medium(texts: tuple[str, str], language: str | None) -> None:
    """Questions, focus, schema and language change nothing before the end of the medium, in any two requests."""
    bodies = [encoded(plan(text, language or "German")) for plan in PLANS.values() for text in texts]
    assert len({beginning(body) for body in bodies}) == 1
    assert beginning(bodies[0]).startswith(f'{{"model": "{OMNI}", "messages": [{{"role": "user", "content": [')


def test_older_models_keep_their_system_prompt() -> None:
    """Without an implicit cache the schema stays where those models read it best."""
    request = object_request(read_schema(Mood), user(PART, "How?"), model=OLDER)
    assert [message.role for message in request.messages] == ["system", "user"]
    text_alone = object_request(read_schema(Mood), user("How?"), model=OMNI)
    assert [message.role for message in text_alone.messages] == ["system", "user"]


@pytest.fixture
def standin(standin: Standin, monkeypatch: pytest.MonkeyPatch) -> Standin:
    """The stand-in, with the media of requests in its log."""
    monkeypatch.setattr(service, "without_media", lambda body: body)
    return standin


@pytest.fixture
def client(settings: Settings) -> Iterator[OmniClient]:
    with OmniClient(settings) as client:
        yield client


def _langchain(standin: Standin, clip: TruthMedia) -> ChatQwenOmni:
    return ChatQwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, media_root=clip.path.parent, max_retries=0
    )


def _llama_index(standin: Standin, clip: TruthMedia) -> QwenOmni:
    return QwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=clip.path.parent, max_retries=0)


def ask_core(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    ask_video(clip.path, question, client=client, options=ONE_SEGMENT)


def ask_tool(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    with contextlib.closing(MediaTools(clip.path.parent, settings=client.settings)) as tools:
        tools.call("ask_about_clip", {"path": clip.path.name, "question": question})
        tools.call("find_moment", {"path": clip.path.name, "query": question})


def ask_langchain(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    LongVideoChain(_langchain(standin, clip), options=ONE_SEGMENT, question=question).invoke(str(clip.path))


def ask_llama_index(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    async def run() -> None:
        workflow = LongVideoWorkflow(llm=_llama_index(standin, clip), options=ONE_SEGMENT, timeout=60)
        await workflow.run(video=str(clip.path), question=question)

    asyncio.run(run())


def objects_langchain(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    llm = _langchain(standin, clip)
    block = {"type": "video", "path": str(clip.path)}
    schema = VideoCaption if "bus" in question else Mood
    llm.with_structured_output(schema).invoke([HumanMessage([block, {"type": "text", "text": question}])])
    caption_chain(llm, schema, prompt=question).invoke(str(clip.path))


def objects_llama_index(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    schema = VideoCaption if "bus" in question else Mood
    asked = ChatPromptTemplate([ChatMessage(blocks=[VideoBlock(path=clip.path), TextBlock(text="What is it?")])])
    _llama_index(standin, clip).structured_predict(schema, asked)


def agents(standin: Standin, client: OmniClient, clip: TruthMedia, question: str) -> None:
    folder, asked = clip.path.parent, {"path": clip.path.name, "question": question}
    (tool,) = [
        one for one in QwenOmniToolkit(_langchain(standin, clip), media_root=str(folder)).get_tools()
        if one.name == "ask_about_clip"
    ]  # fmt: skip
    tool.invoke(asked)
    spec = QwenOmniToolSpec(media_root=folder, llm=_llama_index(standin, clip))
    next(one for one in spec.to_tool_list() if one.metadata.name == "ask_about_clip")(**asked)


DOORS = [ask_core, ask_tool, ask_langchain, ask_llama_index, objects_langchain, objects_llama_index, agents]


@pytest.mark.parametrize("door", DOORS, ids=lambda door: door.__name__)
@pytest.mark.slow
def test_two_questions_share_their_beginning(
    door: Callable[..., None], standin: Standin, client: OmniClient, clip: TruthMedia
) -> None:
    """At every door: the bodies as sent are equal up to and including the medium, and different behind it."""
    sizes, bodies = [], []
    for question in QUESTIONS:
        door(standin, client, clip, question)
        sent = [request.body for request in standin.requests if request.media]
        sizes.append(len(sent))
        bodies = sent
    assert sizes[1] == 2 * sizes[0] > 0
    for one, other in zip(bodies[: sizes[0]], bodies[sizes[0] :], strict=True):
        assert beginning(one) == beginning(other)
        assert one != other or door is objects_llama_index
    assert all(request.refused is None for request in standin.requests)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of more than 1,024 tokens."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=16, size=(320, 180), fps=2, sound=False)


def cached_core(standin: Standin, film: TruthMedia, cache_dir: Path) -> list[int]:
    ledger = UsageLedger()
    where = Settings.load(api_key=standin.api_key, base_url=standin.base_url, cache_dir=cache_dir, ledger=ledger)
    with OmniClient(where) as client:
        bills = [ask_video(film.path, one, client=client, options=ONE_SEGMENT).this_run for one in QUESTIONS]
    cached = [bill.cached_tokens for bill in bills]
    assert ledger.models[OMNI].tokens.cached == sum(cached)
    assert f"({cached[1]:,} cached)" in bill_text(bills[1])
    assert "cached" not in bill_text(bills[0])
    assert cached[1] % standin.requests[-2].media[0].tokens == 0
    return [cached[0], standin.requests[-2].media[0].tokens]


def cached_langchain(standin: Standin, film: TruthMedia, cache_dir: Path) -> list[int]:
    llm, block = _langchain(standin, film), {"type": "video", "path": str(film.path)}
    asked = [HumanMessage([block, {"type": "text", "text": one}]) for one in QUESTIONS]
    told = [llm.invoke([message]).usage_metadata for message in asked]
    return [usage["input_token_details"].get("cache_read", 0) for usage in told if usage is not None]


def cached_llama_index(standin: Standin, film: TruthMedia, cache_dir: Path) -> list[int]:
    engine = _llama_index(standin, film)
    asked = [ChatMessage(blocks=[VideoBlock(path=film.path), TextBlock(text=one)]) for one in QUESTIONS]
    told: list[Any] = [engine.chat([message]).raw for message in asked]
    return [raw["usage"]["prompt_tokens_details"].get("cached_tokens", 0) for raw in told]


@pytest.mark.parametrize("asking", [cached_core, cached_langchain, cached_llama_index], ids=lambda one: one.__name__)
def test_the_second_question_is_served_from_the_cache(
    asking: Callable[..., list[int]], film: TruthMedia, tmp_path: Path
) -> None:
    """Ledger, bill and both frameworks' usage show the tokens that the service's cache held: those of the medium."""
    with Standin(implicit_cache=True) as standin:
        first, second = asking(standin, film, tmp_path)
        (medium,) = next(request.media for request in reversed(standin.requests) if request.media)
    assert (first, second) == (0, medium.tokens)
    assert medium.tokens > 1024


def test_many_media_and_one_long_question(standin: Standin, client: OmniClient, tmp_path: Path) -> None:
    """Rules that are long enough to be cached come first where many files are asked the same; short ones do not."""
    files = [str(tmp_path / f"{name}.png") for name in "ab"]
    for file in files:
        Path(file).write_bytes(make_image(file[-5]))
    fields = {f"field_{number}": {"type": "string", "description": "what is seen " * 60} for number in range(8)}
    for schema, first in ((VideoCaption, "user"), ({"type": "object", "properties": fields}, "system")):
        seen = len(standin.requests)
        assert all(one.error is None for one in caption_many(files, schema, client=client))
        sent = [request.body["messages"] for request in standin.requests[seen:]]
        assert [messages[0]["role"] for messages in sent] == [first] * 2
        assert len({json.dumps(messages[0]) for messages in sent}) == (1 if first == "system" else 2)
    caption(files[0], {"type": "object", "properties": fields}, client=client)  # one file has no others to share with
    assert standin.requests[-1].body["messages"][0]["role"] == "user"


def test_order_of_media_is_the_callers() -> None:
    """A caller's text before a medium stays before it; the rules follow both."""
    request = object_request(
        read_schema(Mood), user("How?", ImagePart(source=MediaSource.from_url("https://example.com/a.png"))), model=OMNI
    )
    (message,) = request.messages
    assert [type(part).__name__ for part in message.parts] == ["TextPart", "ImagePart", "TextPart"]
