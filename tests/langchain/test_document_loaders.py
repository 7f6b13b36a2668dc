"""Videos and recordings as documents: every second in the right passage, in order, lazily, paid for once."""

import asyncio
import contextlib
import json
import re
import threading
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.document_loaders import BaseLoader, Blob
from langchain_core.documents import Document
from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni, QwenOmniAudioLoader, QwenOmniMediaParser, QwenOmniVideoLoader, clip
from qwen_omni import TranscriptionOptions
from qwen_omni.errors import ConfigurationError, UnreadableMediaError
from qwen_omni.media.files.find import find_media
from qwen_omni.retrieval import index
from qwen_omni.standin import Fault, Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video
from qwen_omni.video.options import SummaryOptions

SHORT = SummaryOptions(segment_seconds=10, single_call_seconds=0, overlap=2)


@pytest.fixture
def llm(standin, tmp_path):
    """A model that reaches the stand-in, whose transcriptions are done at once."""
    standin.tasks.polls_until_done = 0
    with_standin = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=tmp_path, max_retries=0)
    yield with_standin
    with_standin.close()


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Twenty seconds, each with a code of its own."""
    return make_video(tmp_path_factory.mktemp("films") / "film.mp4", seconds=20, size=(160, 90), fps=5)


def here(film, tmp_path: Path) -> Path:
    """Put the film into the test's own folder."""
    path = tmp_path / "film.mp4"
    path.write_bytes(film.path.read_bytes())
    return path


def test_each_segment_is_a_document_that_names_its_seconds(film, llm, tmp_path):
    """Every second of picture and sound is told by a document whose times cover it, in order."""
    path = here(film, tmp_path)
    documents = list(QwenOmniVideoLoader(path, llm, options=SHORT).lazy_load())
    assert len(documents) >= 3
    starts = [document.metadata["start"] for document in documents]
    assert starts == sorted(starts)
    assert starts[0] == 0
    assert documents[-1].metadata["end"] == pytest.approx(20, abs=0.2)
    for second, code in enumerate(film.codes):
        covering = [one for one in documents if one.metadata["start"] <= second + 0.5 <= one.metadata["end"]]
        assert any(code in one.page_content for one in covering), second
    facts = documents[0].metadata
    assert json.loads(json.dumps(facts)) == facts
    assert facts["source"] == str(path)
    assert facts["duration"] == pytest.approx(20, abs=0.1)
    assert (facts["width"], facts["height"], facts["video_codec"], facts["model"]) == (160, 90, "h264", llm.model)
    assert facts["url"].startswith("file://")
    assert facts["url"].endswith(f"#t=0,{facts['end']:.10g}")
    assert {document.metadata["segments"] for document in documents[-1:]} == {len(documents)}


@pytest.mark.slow
def test_indexing_again_costs_nothing_and_doubles_nothing(film, llm, standin, tmp_path):
    """The second load sends no request and gives the same ids."""
    path = here(film, tmp_path)
    first = QwenOmniVideoLoader(path, llm, options=SHORT).load()
    sent = len(standin.requests)
    again = QwenOmniVideoLoader(path, llm, options=SHORT).load()
    assert len(standin.requests) == sent > 0
    assert [one.id for one in again] == [one.id for one in first]
    assert len({one.id for one in first}) == len(first)
    assert [one.page_content for one in again] == [one.page_content for one in first]


@pytest.mark.slow
def test_each_thing_that_happens_is_a_document_once(film, llm, tmp_path):
    """In captions mode what two overlapping segments both tell is one document, within a second of where it is."""
    documents = QwenOmniVideoLoader(here(film, tmp_path), llm, mode="captions", options=SHORT).load()
    events = [one for one in documents if one.metadata["kind"] == "event"]
    for second, code in enumerate(film.codes):
        telling = [one for one in events if code in one.page_content]
        assert len(telling) == film.codes.count(code), second
        assert any(abs(one.metadata["start"] - second) <= 1 for one in telling), second


@pytest.mark.slow
def test_the_whole_as_one_document(film, llm, tmp_path):
    """Mode "single": one document, with all codes and the whole time."""
    (document,) = QwenOmniVideoLoader(here(film, tmp_path), llm, mode="single", options=SHORT).load()
    assert (document.metadata["start"], document.metadata["end"]) == (0, pytest.approx(20, abs=0.1))
    assert all(code in document.page_content for code in film.codes)


@pytest.mark.slow
def test_what_is_said_stands_beside_what_is_seen(film, llm, standin, tmp_path):
    """With `transcript` each document holds the words of its seconds and no others; again, nothing is sent."""
    path, wish = here(film, tmp_path), TranscriptionOptions(poll_seconds=0.01)
    documents = QwenOmniVideoLoader(path, llm, options=SHORT, transcript=wish).load()
    assert standin.tasks.submitted == 1
    for second, code in enumerate(film.codes):
        covering = [one for one in documents if one.metadata["start"] <= second + 0.3 <= one.metadata["end"]]
        assert any(code in one.page_content.partition("Said: ")[2] for one in covering), second
        for one in documents:
            if not one.metadata["start"] - 9 <= second <= one.metadata["end"] + 9:
                assert code not in one.page_content
    assert {one.metadata["transcriber"] for one in documents} == {"paraformer-v2"}
    sent, calls = len(standin.requests), len(standin.tasks.calls)
    assert QwenOmniVideoLoader(path, llm, options=SHORT, transcript=wish).load() == documents
    (whole,) = QwenOmniVideoLoader(path, llm, mode="single", options=SHORT, transcript=wish).load()
    assert all(code in whole.page_content.partition("Said: ")[2] for code in film.codes)
    assert len(standin.tasks.calls) == calls
    assert len(standin.requests) == sent + 1  # the join of the whole
    plain = QwenOmniVideoLoader(path, llm, options=SHORT).load()
    assert [one.id for one in plain] == [one.id for one in documents]


def test_a_silent_film_has_no_transcript(llm, standin, tmp_path):
    """Nothing is submitted for a film without sound; a model that tells no times is refused before anything is."""
    mute = make_video(tmp_path / "mute.mp4", seconds=4, size=(64, 48), fps=5, sound=False).path
    (document,) = QwenOmniVideoLoader(mute, llm, options=SHORT, transcript=True).load()
    assert "Said:" not in document.page_content
    assert not standin.tasks.calls
    sent = len(standin.requests)
    with pytest.raises(ConfigurationError, match="returns no times"):
        QwenOmniVideoLoader(mute, llm, transcript=TranscriptionOptions(model="qwen3-asr-flash")).load()
    assert len(standin.requests) == sent


def test_a_folder_of_everything(film, llm, tmp_path):
    """A folder is searched; what is no media in it is passed over; a broken film is left out with a warning."""
    here(film, tmp_path)
    make_audio(tmp_path / "deep.mp3", seconds=4)
    (tmp_path / "notes.txt").write_text("no media")
    (tmp_path / "broken.mp4").write_bytes(b"no film at all" * 100)
    with pytest.warns(UserWarning, match=r"broken\.mp4 is skipped"):
        documents = QwenOmniVideoLoader(tmp_path, llm, options=SHORT, on_error="warn").load()
    assert {Path(one.metadata["source"]).name for one in documents} == {"film.mp4", "deep.mp3"}
    with pytest.raises(UnreadableMediaError):
        QwenOmniVideoLoader(tmp_path, llm, options=SHORT).load()


def test_what_sources_name(tmp_path):
    """Files, folders, patterns, links and lists; an empty folder is an error, a missing file is told when opened."""
    (tmp_path / "a").mkdir()
    for name in ("b.mp4", "a/c.mov", "a/d.txt"):
        (tmp_path / name).touch()
    link = "https://example.com/x.mp4"
    assert [Path(one).name for one in find_media([tmp_path])] == ["c.mov", "b.mp4"]
    assert list(find_media(tmp_path)) == list(find_media(str(tmp_path))) == list(find_media([tmp_path]))
    assert [Path(one).name for one in find_media([f"{tmp_path}/**/*.mp4", link, tmp_path / "none.mp4"])] == [
        "b.mp4", "x.mp4", "none.mp4",
    ]  # fmt: skip
    (tmp_path / "empty").mkdir()
    for source in (tmp_path / "empty", f"{tmp_path}/*.webm"):
        with pytest.raises(ConfigurationError, match="no video"):
            list(find_media([source]))


@pytest.mark.slow
def test_a_blob_keeps_its_own_metadata(film, llm):
    """A parser takes bytes from any blob loader."""
    blob = Blob(data=film.path.read_bytes(), metadata={"owner": "me", "source": "s3://bucket/film.mp4"})
    documents = list(QwenOmniMediaParser(llm, options=SHORT).lazy_parse(blob))
    assert {one.metadata["owner"] for one in documents} == {"me"}
    assert {one.metadata["source"] for one in documents} == {"s3://bucket/film.mp4"}
    assert film.codes[0] in documents[0].page_content


@pytest.mark.slow
def test_a_passage_is_asked_again_closer(film, llm, standin, tmp_path):
    """`clip` gives the passage's seconds, a margin around them, at the frame rate asked for."""
    documents = QwenOmniVideoLoader(here(film, tmp_path), llm, options=SHORT).load()
    block = clip(documents[1], fps=4, margin=0)
    llm.invoke([HumanMessage([block, {"type": "text", "text": "What is on screen?"}])])
    (facts,) = standin.requests[-1].media
    start, end = documents[1].metadata["start"], documents[1].metadata["end"]
    assert facts.duration == pytest.approx(end - start, abs=0.3)
    answer = llm.invoke([HumanMessage([block, {"type": "text", "text": "What is on screen?"}])]).text
    inside = [code for second, code in enumerate(film.codes) if start <= second + 0.5 <= end]
    assert all(code in answer for code in inside)
    assert [
        code for second, code in enumerate(film.codes) if second + 1 < start and re.search(rf"\b{code}\b", answer)
    ] == []


def test_a_clip_needs_a_document_of_a_file(film, llm, tmp_path):
    """A link's part cannot be asked about, and other loaders' documents name no stretch."""
    documents = QwenOmniVideoLoader(here(film, tmp_path), llm, options=SHORT).load()
    documents[0].metadata["source"] = "https://example.com/a.mp4"
    with pytest.raises(ConfigurationError, match="link"):
        clip(documents[0])
    del documents[0].metadata["start"]
    with pytest.raises(ConfigurationError, match="has no source with start and end"):
        clip(documents[0])


def test_an_unknown_mode_is_refused():
    """Before anything is opened."""
    with pytest.raises(ConfigurationError, match="segments, captions, single"):
        QwenOmniVideoLoader("a.mp4", mode="frames")
    with pytest.raises(ConfigurationError, match="frames"):
        QwenOmniMediaParser(mode="frames")


def test_a_lost_segment_is_told(film, llm, standin, tmp_path):
    """A segment that the service refuses has no document, and a warning says which seconds are missing."""
    standin.script.fault(Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content."))
    in_order = replace(SHORT, concurrency=1, workers=1)
    with pytest.warns(UserWarning, match="no notes for 0 to"):
        documents = QwenOmniVideoLoader(here(film, tmp_path), llm, options=in_order).load()
    assert documents
    assert documents[0].metadata["start"] > 0


@pytest.mark.parametrize("way", ["cancelled", "timeout"])
@pytest.mark.slow
async def test_a_load_that_is_ended_stops(film, llm, standin, tmp_path, way):
    """Ended while a segment is asked for: the error is `asyncio`'s own, no thread works on, nothing more is sent."""
    loop, asked = asyncio.get_running_loop(), asyncio.Event()

    def arrives(_):
        loop.call_soon_threadsafe(asked.set)
        return True

    standin.script.fault(Fault.slow(first_byte_delay=60), when=arrives)
    options = replace(SHORT, concurrency=1)

    async def load():
        async with asyncio.timeout(None) as limit:
            documents = QwenOmniVideoLoader(here(film, tmp_path), llm, options=options).aload()
            loading = asyncio.ensure_future(documents)
            await asked.wait()
            if way == "cancelled":
                loading.cancel()
            else:
                limit.reschedule(loop.time())
            await loading

    with pytest.raises(asyncio.CancelledError if way == "cancelled" else TimeoutError):
        await load()
    sent = len(standin.requests)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("qwen-omni-video")]
    standin.script.clear()
    assert len(standin.requests) == sent <= 1


async def test_a_download_is_not_waited_for(llm, tmp_path, monkeypatch):
    """Ended while a link is fetched: that is left at once, and the file goes as soon as the thread is through."""
    loop, begun, removed, goes_on = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event(), threading.Event()

    @contextlib.contextmanager
    def slowly(source, settings):
        loop.call_soon_threadsafe(begun.set)
        goes_on.wait(60)
        yield tmp_path / "a.mp4", source
        loop.call_soon_threadsafe(removed.set)

    monkeypatch.setattr(index, "opened", slowly)
    loading = asyncio.create_task(QwenOmniVideoLoader("https://host/a.mp4", llm).aload())
    await begun.wait()
    loading.cancel()
    with pytest.raises(asyncio.CancelledError):
        await loading
    goes_on.set()
    await removed.wait()


def test_a_clip_of_a_file_url(film, llm, standin, tmp_path):
    """A document whose source is a `file:` address is asked again like one with a path."""
    address = here(film, tmp_path).as_uri()
    document = Document("", metadata={"source": address, "start": 2.0, "end": 5.0, "duration": 20.0})
    llm.invoke([HumanMessage([clip(document, margin=0), {"type": "text", "text": "What is on screen?"}])])
    (facts,) = standin.requests[-1].media
    assert facts.duration == pytest.approx(3, abs=0.3)


# --- Recordings ---


QUICK = TranscriptionOptions(poll_seconds=0.01)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    """A folder with two recordings, a film in a folder of its own, and a text."""
    folder = tmp_path_factory.mktemp("calls")
    (folder / "more").mkdir()
    (folder / "notes.txt").write_text("no media")
    made = [make_audio(folder / f"{name}.mp3", seconds=10) for name in ("a", "b")]
    return [*made, make_video(folder / "more" / "c.mp4", seconds=3, size=(64, 48), fps=5)]


async def test_documents_with_times(llm: ChatQwenOmni, calls: list[TruthMedia], standin: Standin) -> None:
    """Every code is in a document whose seconds hold it; the order is that of the files; async says the same."""
    folder = calls[0].path.parent
    loader = QwenOmniAudioLoader(folder, llm, options=QUICK, seconds=5)
    assert isinstance(loader, BaseLoader)
    documents = list(loader.lazy_load())
    assert [Path(one.metadata["source"]).name for one in documents] == ["a.mp3"] * 3 + ["b.mp3"] * 3 + ["c.mp4"]
    for one in documents:
        media = next(call for call in calls if str(call.path) == one.metadata["source"])
        for code in one.page_content.replace(".", "").split():
            assert one.metadata["start"] - 0.1 <= media.codes.index(code) <= one.metadata["end"]
        json.dumps(one.metadata)
        assert one.metadata["url"].endswith(f"#t={one.metadata['start']:.10g},{one.metadata['end']:.10g}")
    again = [one async for one in loader.alazy_load()]
    assert again == documents
    assert standin.tasks.submitted == 3


def test_modes(llm: ChatQwenOmni, calls: list[TruthMedia]) -> None:
    """One document a sentence, or one a file; speakers are told where they were asked for."""
    path = calls[0].path
    assert len(QwenOmniAudioLoader(path, llm, options=QUICK, mode="sentences").load()) == 3
    single = QwenOmniAudioLoader([path], llm, options=QUICK, mode="single").load()
    assert single[0].page_content.replace(".", "").split() == list(calls[0].codes)
    speakers = TranscriptionOptions(speakers=True, poll_seconds=0.01)
    told = QwenOmniAudioLoader(str(path.parent / "a*.mp3"), llm, options=speakers).load()
    assert set(told[0].metadata["speakers"].split(", ")) <= {"1", "2", "3"}
    assert {kind for one in told for kind in map(type, one.metadata.values())} <= {str, int, float, bool}


def test_the_first_comes_before_the_last_is_done(llm: ChatQwenOmni, calls: list[TruthMedia], standin: Standin) -> None:
    """Documents come one after another; a failed recording ends them after those before it."""
    standin.tasks.fail(Outcome())
    standin.tasks.fail(Outcome(kind="subtask"))
    coming = QwenOmniAudioLoader([call.path for call in calls], llm, options=QUICK, concurrency=1).lazy_load()
    assert next(coming).metadata["source"] == str(calls[0].path)
    assert standin.tasks.submitted == 1
    with pytest.raises(Exception, match="DecodeFailed"):
        list(coming)


def test_a_folder_without_recordings(llm: ChatQwenOmni, tmp_path: Path) -> None:
    """Nothing found is an error, not an empty index."""
    with pytest.raises(ConfigurationError, match="contains no video or recording"):
        QwenOmniAudioLoader(tmp_path, llm).load()
