"""A program of a user: not run, but checked by mypy (`make types`) and pyright (`test_typed.py`), both strict.

Each line says what an editor has to know about the public API of the three packages.
"""

# pyright: strict

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import assert_type

from langchain_core.documents import Document
from langchain_core.messages import AIMessage, HumanMessage
from langchain_core.vectorstores import VectorStore
from llama_index.core import VectorStoreIndex
from llama_index.core.llms import ChatMessage, ChatResponse, TextBlock, VideoBlock
from pydantic import BaseModel

import langchain_qwen_omni as lc
import llama_index_qwen_omni as li
from qwen_omni import (
    Added,
    AskOptions,
    AsyncOmniClient,
    CaptionOptions,
    CaptionResult,
    ChatOptions,
    ChatRequest,
    Cost,
    Delta,
    Estimate,
    LibraryAnswer,
    MediaSource,
    OmniClient,
    Progress,
    RateLimitError,
    Response,
    Sampling,
    Sentence,
    Settings,
    SpendLimit,
    SummaryOptions,
    TextDelta,
    TextEmbedding,
    TimedCaptions,
    Transcript,
    UsageLedger,
    VideoAnswer,
    VideoLibrary,
    VideoPart,
    VideoSummary,
    ask_library,
    ask_video,
    asummarize,
    caption,
    collect,
    estimate,
    estimate_library,
    iter_notes,
    prepare,
    sample,
    split,
    summarize,
    to_srt,
    transcribe,
    user,
)


class Scene(BaseModel):
    """A schema of the program."""

    place: str
    people: int = 0


def core(settings: Settings) -> str:
    """Use the client and the functions of the core."""
    clip = sample()
    video = VideoPart(source=MediaSource.from_path(clip.path), sampling=Sampling(fps=1), start=1, end=3.5)
    request = ChatRequest(
        model="qwen3.8-omni-flash",
        messages=(user(video, clip.question),),
        options=ChatOptions(thinking=False, temperature=0.1),
    )
    with OmniClient(settings) as client:
        response = client.complete(request)
        assert_type(response, Response)
        assert_type(collect(client.stream(request)), Response)
        for delta in client.stream(request):
            said: Delta = delta
            if isinstance(said, TextDelta):
                assert_type(said.text, str)
    expected = estimate(request, settings=settings)
    assert_type(expected, Estimate)
    assert_type(expected.cost, Cost)
    spent = SpendLimit(cny=5.0, per_call_tokens=100_000)
    ledger = UsageLedger()
    return f"{response.text} {expected.input_tokens} {spent} {ledger.total.calls}"


def files(path: Path) -> float:
    """Prepare and split a file."""
    with prepare(path, budget="static") as made:
        size = made.info.size_bytes
    for segment in split(path, seconds=90):
        with segment:
            size += segment.info.size_bytes
    return float(size)


def tasks(path: str) -> list[str]:
    """Captions, long videos, transcripts."""
    typed = caption(path, Scene, options=CaptionOptions(language="English"))
    assert_type(typed, CaptionResult[Scene])
    assert_type(typed.value.people, int)
    texts = [typed.value.place, to_srt(caption(path, TimedCaptions).value.captions)]
    found = summarize(path, options=SummaryOptions(detail="low"), on_progress=show)
    assert_type(found, VideoSummary)
    texts += [chapter.title for chapter in found.chapters]
    answer = ask_video(path, "Who scores?")
    assert_type(answer, VideoAnswer)
    texts += [moment.text for moment in answer.evidence]
    texts += [notes.summary for notes in iter_notes(path)]
    said = transcribe(path)
    assert_type(said, Transcript)
    first: Sentence = said.sentences[0]
    return [*texts, first.text, found.to_markdown()]


def show(progress: Progress) -> None:
    """Report progress."""
    print(progress.done, progress.segments, progress.eta or 0.0)  # noqa: T201


async def asynchronous(path: Path) -> VideoSummary:
    """Use the asynchronous versions."""
    async with AsyncOmniClient() as client:
        return await asummarize(path, client=client)


def langchain(path: str) -> Iterator[Document]:
    """Use LangChain."""
    llm = lc.ChatQwenOmni(model="qwen3.5-omni-flash", region="intl", temperature=0.2, spend_limit=SpendLimit(usd=1.0))
    question = HumanMessage([{"type": "video", "path": path}, {"type": "text", "text": "What is sold here?"}])
    answer = llm.invoke([question])
    assert_type(answer, AIMessage)
    assert_type(llm.estimate([question]).cost.cny, float | None)
    lc.save_speech(answer, "a.wav")
    chain = lc.LongVideoChain(llm, detail="low")
    print(chain.invoke(path), lc.caption_chain(llm, lc.VideoCaption).invoke(path))  # noqa: T201
    tools = lc.QwenOmniToolkit(llm=llm, media_root="videos").get_tools()
    print([tool.name for tool in tools])  # noqa: T201
    yield from lc.QwenOmniVideoLoader(path, llm, mode="captions").lazy_load()


def windows(store: VectorStore, index: VectorStoreIndex) -> bytes:
    """Find the windows of videos in a store, in either framework."""
    (best,) = lc.VideoRetriever(store=store, k=1, search_kwargs={"filter": {"source": "a.mp4"}}).invoke("a tent")
    assert_type(best, Document)
    joined = li.VideoWindowPostprocessor(k=2).postprocess_nodes(li.VideoRetriever(index, seconds=30).retrieve("a tent"))
    return lc.thumbnail(best, side=160) + li.thumbnail(joined[0].node)


def library(folder: str) -> LibraryAnswer:
    """Ask a library of videos, in the core and in either framework."""
    videos = VideoLibrary("library.lance", embedding=TextEmbedding(dimensions=512))
    assert_type(videos.add(folder), list[Added])
    spent = estimate_library("Who scores?", videos.search, options=AskOptions(looks=2)).cny
    assert_type(spent, float | None)
    response = li.VideoQueryEngine(li.QwenOmni(), videos, looks=2).query("Who scores?")
    lc.VideoQAChain(lc.ChatQwenOmni(), videos).invoke(str(response))
    return ask_library("Who scores?", videos.search, options=AskOptions(fps=2))


async def llama_index(path: str) -> str:
    """Use LlamaIndex."""
    llm = li.QwenOmni(thinking=False, region="intl")
    message = ChatMessage(blocks=[VideoBlock(path=Path(path)), TextBlock(text="What is sold here?")])
    response = llm.chat([message])
    assert_type(response, ChatResponse)
    nodes = li.QwenOmniVideoReader(llm=llm).load_data(path)
    await li.LongVideoWorkflow(llm, detail="low").run(video=path)
    return f"{response.message.content} {len(nodes)} {li.clip(nodes[0]).block_type}"


def main() -> None:
    """Run everything."""
    try:
        print(core(Settings.load(region="intl")), files(Path("a.mp4")), tasks("a.mp4"))  # noqa: T201
    except RateLimitError as error:
        assert_type(error.status_code, int | None)
        assert_type(error.retry_after, float | None)
    print(asyncio.run(asynchronous(Path("a.mp4"))).summary, list(langchain("a.mp4")), library("a"))  # noqa: T201
    print(asyncio.run(llama_index("a.mp4")))  # noqa: T201
