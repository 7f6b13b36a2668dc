"""A library: what is added, found and removed, over a store in memory and over LanceDB."""
# ruff: noqa: D102

import asyncio
import contextlib
import math
import os
import shutil
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from qwen_omni import (
    AskOptions,
    ConfigurationError,
    LocalResourceError,
    OmniClient,
    SpendLimit,
    SpendLimitError,
    StoreError,
    SummaryOptions,
    UnreadableMediaError,
    VideoLibrary,
    estimate_library,
)
from qwen_omni.library.store import LanceStore, Row, Stamp, Video
from qwen_omni.retrieval.index import PassageOptions
from qwen_omni.retrieval.passages import Passage
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video
from tests.support.memory_store import MemoryStore

ONCE = AskOptions(keep=False)


@pytest.fixture(params=["memory", "lance"])
def store(request, tmp_path):
    if request.param == "memory":
        return MemoryStore()
    pytest.importorskip("lancedb")
    return LanceStore(tmp_path / "library.lance")


@pytest.fixture
def library(store, client):
    return VideoLibrary(store, client=client)


def rows_of(store, film):
    return store.vectors(str(film))


def test_a_folder_is_found_again_by_what_it_shows(library, shelf):
    done = library.add(shelf.folder)
    assert [one.source for one in done] == [str(film.path) for film in shelf.films]
    assert all(one.passages == 18 and one.embedded == 6 for one in done)  # seen, sounded and read, in the same words
    for film, second in ((0, 1), (1, 4), (2, 5)):
        best = library.search(shelf.question(film, second))[0]
        assert best.source == str(shelf.films[film].path)
        assert best.start <= second <= best.end
        assert shelf.films[film].codes[second] in best.text


def test_adding_again_sends_nothing(library, standin, shelf):
    first = library.add(shelf.folder)
    standin.clear()
    again = library.add(shelf.folder)
    assert not standin.requests
    assert all(one.unchanged for one in again)
    assert [one.passages for one in again] == [one.passages for one in first]


def test_another_library_of_the_same_videos_pays_for_vectors_alone(library, client, standin, shelf):
    library.add(shelf.folder)
    standin.clear()
    VideoLibrary(MemoryStore(), client=client).add(shelf.folder)
    assert {request.path.rpartition("/")[2] for request in standin.requests} == {"embeddings"}


def test_a_changed_video_replaces_its_passages(library, store, shelf, tmp_path):
    film = tmp_path / "film.mp4"
    shutil.copy(shelf.films[0].path, film)
    library.add(film)
    shutil.copy(shelf.films[1].path, film)
    (done,) = library.add(film)
    assert (done.removed, done.unchanged) == (18, False)
    texts = " ".join(rows_of(store, film))
    assert all(code in texts for code in shelf.films[1].codes)
    assert not any(code in texts for code in shelf.films[0].codes if code not in shelf.films[1].codes)
    assert len(library.videos()) == 1


def test_other_options_make_other_passages(store, client, shelf):
    film = shelf.films[0].path
    VideoLibrary(store, client=client).add(film)
    (done,) = VideoLibrary(store, client=client, options=PassageOptions(mode="segments")).add(film)
    assert (done.passages, done.removed, done.unchanged) == (1, 18, False)


def test_removal_leaves_none(library, store, shelf):
    library.add(shelf.folder)
    assert library.remove(shelf.films[0].path) == 18
    assert not rows_of(store, shelf.films[0].path)
    assert [video.source for video in library.videos()] == [str(film.path) for film in shelf.films[1:]]
    assert all(window.source != str(shelf.films[0].path) for window in library.search(shelf.question(0, 1)))
    assert library.remove(shelf.folder) == 36
    assert library.videos() == library.search("anything") == []
    assert library.remove(shelf.folder) == 0


@pytest.fixture
def tree(shelf, tmp_path):
    """Two folders with a film each, and one beside them."""
    places = [tmp_path / "talks" / "a.mp4", tmp_path / "talks" / "old" / "b.mp4", tmp_path / "talks-2" / "c.mp4"]
    for place, film in zip(places, shelf.films, strict=True):
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(film.path, place)
    return tmp_path


SELECTIONS = {
    "a file": ("talks/a.mp4", {"a.mp4"}),
    "a folder": ("talks", {"a.mp4", "b.mp4"}),
    "a folder with a slash": ("talks/", {"a.mp4", "b.mp4"}),
    "a folder in another spelling": ("talks-2/../talks/old", {"b.mp4"}),
    "a pattern of files": ("talks/*.mp4", {"a.mp4"}),
    "a pattern of folders": ("talk*", {"a.mp4", "b.mp4", "c.mp4"}),
    "a pattern across folders": ("**/[bc].mp4", {"b.mp4", "c.mp4"}),
    "everything": (".", {"a.mp4", "b.mp4", "c.mp4"}),
    "several": (["talks/old", "talks-2/c.mp4", "talks/old/b.mp4"], {"b.mp4", "c.mp4"}),
}  # fmt: skip


def test_sources_are_files_folders_and_patterns(library, tree, monkeypatch):
    library.add(tree)
    monkeypatch.chdir(tree)
    for what, (sources, names) in SELECTIONS.items():
        found = library.search("code", 9, sources=sources)
        assert {Path(one.source).name for one in found} == names, what
        assert asyncio.run(library.asearch("code", 9, sources=sources)) == found


@pytest.mark.parametrize(
    "source", ["gone.mp4", "talk", "talks/*.mkv", "talks/a.mp4/x", "~nobody-of-this-name", "TALKS"]
)
def test_a_source_that_the_library_does_not_hold_is_named(library, tree, standin, monkeypatch, source):
    monkeypatch.chdir(tree)
    library.add("talks")
    standin.clear()
    for ask in (library.search, library.ask, lambda *a, **k: list(library.stream(*a, **k))):
        with pytest.raises(
            ConfigurationError, match=r"is not in the library.*, which has 2 videos: a.mp4, b.mp4"
        ) as raised:
            ask("code", sources=["talks", source])
        assert source in str(raised.value)
    for wrong in ("", " ", "https://example.com/a.mp4"):
        with pytest.raises(ConfigurationError, match=r"is empty|is a link"):
            library.search("code", sources=[wrong])
    assert not standin.requests


def test_an_answer_is_limited_to_sources(library, shelf, tree, monkeypatch):
    monkeypatch.chdir(tree)
    library.add(tree)
    found = library.ask(shelf.question(0, 2), sources="talks/old")
    assert {Path(shot.source).name for shot in found.shots} == {"b.mp4"}
    *_, last = library.stream(shelf.question(1, 2), sources="talks/old")
    assert last.evidence[0].start == 2.0


def test_a_video_whose_adding_was_interrupted_is_a_source(library, store, shelf):
    library.add(shelf.folder)
    store.forget(str(shelf.films[0].path))
    assert library.search("code", sources=shelf.films[0].path)


def test_a_pattern_may_be_removed(library, tree, monkeypatch):
    monkeypatch.chdir(tree)
    library.add(tree)
    assert library.remove("talks/**/b.*") == 18
    assert library.remove("talks*") == 36


# --- asyncio ---


def test_asyncio_adds_asks_and_removes_as_threads_do(store, client, standin, shelf):
    """Both drivers send the same requests and have the same outcomes, one after the other."""
    question = shelf.question(1, 2)

    def in_threads(library):
        added = library.add(shelf.folder)
        again = library.add(shelf.films[0].path)
        listed = library.videos()
        answer = library.ask(question, options=ONCE)
        *news, streamed = library.stream(question, options=ONCE)
        return [added, again, listed, answer, len(news), streamed, library.remove(shelf.folder)]

    async def in_asyncio(library):
        async with library:
            added = await library.aadd(shelf.folder)
            again = await library.aadd(shelf.films[0].path)
            listed = await library.avideos()
            answer = await library.aask(question, options=ONCE)
            async with contextlib.aclosing(library.astream(question, options=ONCE)) as coming:
                *news, streamed = [one async for one in coming]
            return [added, again, listed, answer, len(news), streamed, await library.aremove(shelf.folder)]

    VideoLibrary(MemoryStore(), client=client).add(shelf.folder)  # the notes are stored from here on
    outcomes = []
    for run in (in_threads, lambda library: asyncio.run(in_asyncio(library))):
        standin.clear()
        found = run(VideoLibrary(store, client=client))
        outcomes.append((found, [(one.path, one.body.get("input")) for one in standin.requests]))
    assert outcomes[0] == outcomes[1]


def test_an_embedding_without_asynchronous_methods_works_in_asyncio(store, client, shelf):
    library = VideoLibrary(store, client=client, embedding=Numbers(1, 2, 3))
    (done,) = asyncio.run(library.aadd(shelf.films[0].path))
    assert (done.embedded, store.stamp().dimensions) == (6, 3)


def test_asynchronous_methods_of_an_embedding_are_used(store, client, shelf):
    class Quick(Numbers):
        async def aembed_documents(self, texts):
            return [self.vector for _ in texts]

        def embed_documents(self, texts):
            raise AssertionError("blocks")

    (done,) = asyncio.run(VideoLibrary(store, client=client, embedding=Quick(1, 2)).aadd(shelf.films[0].path))
    assert done.embedded == 6


def test_tasks_that_add_at_once_add_each_video_once(store, client, shelf):
    """The same video twice, and another one, with batches that take turns."""
    library = VideoLibrary(store, client=client)

    async def added():
        async with library:
            await asyncio.gather(
                library.aadd(shelf.films[0].path), library.aadd(shelf.films[0].path), library.aadd(shelf.films[1].path)
            )

    asyncio.run(added())
    assert {one.source: one.passages for one in library.videos()} == {str(one.path): 18 for one in shelf.films[:2]}
    assert [store.drop(str(film.path)) for film in shelf.films[:2]] == [18, 18]


def test_a_task_that_is_cancelled_leaves_a_library_that_goes_on(client, standin, shelf, monkeypatch):
    """What was written stays, and the next call adds the rest."""
    monkeypatch.setattr("qwen_omni.library.library._AT_ONCE", 6)
    library = VideoLibrary(MemoryStore(), client=client)
    library.add(shelf.films[2].path)
    library.remove(shelf.films[2].path)

    async def stopped():
        begun = asyncio.Event()
        task = asyncio.create_task(library.aadd(shelf.films[2].path, on_progress=lambda _: begun.set()))
        await begun.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(stopped())
    assert library.add(shelf.films[2].path)[0].passages == 18


def test_what_was_embedded_before_a_crash_is_kept(client, standin, shelf, monkeypatch):
    """A full disk while the second video is written: the next run embeds what is missing, and nothing twice."""
    monkeypatch.setattr("qwen_omni.library.library._AT_ONCE", 6)
    store = MemoryStore()
    library = VideoLibrary(store, client=client)
    store.fail_after = 26
    with pytest.raises(OSError, match="No space left"):
        library.add(shelf.folder)
    assert [video.source for video in library.videos()] == [str(shelf.films[0].path)]
    store.fail_after = None
    standin.clear()
    library.add(shelf.folder)
    sent = [text for request in standin.requests if "input" in request.body for text in request.body["input"]]
    assert len(sent) == len(set(sent)) == 6  # of the third video: the second one's were written
    assert len(library.videos()) == 3


@pytest.mark.slow
def test_a_segment_that_failed_is_tried_again(library, standin, tmp_path, client, store):
    film = make_video(tmp_path / "long.mp4", seconds=16, size=(128, 96), fps=2)
    options = PassageOptions(
        mode="captions",
        summary=SummaryOptions(
            segment_seconds=8, overlap=0, single_call_seconds=0, retry_seconds=0, step_retries=0, max_gaps=1
        ),
    )  # fmt: skip
    library = VideoLibrary(store, client=client, options=options)
    refused = Fault.refuse(400, "data_inspection_failed", "Input or output data may contain inappropriate content.")
    standin.script.fault(
        refused, when=lambda request: any(film.codes[12] in one.picture_codes for one in request.media)
    )
    with pytest.warns(UserWarning, match="no notes for"):
        (done,) = library.add(film.path)
    assert done.gaps == 1
    assert film.codes[12] not in " ".join(rows_of(store, film.path))
    standin.script.clear()
    (done,) = library.add(film.path)
    assert (done.gaps, done.unchanged) == (0, False)
    assert film.codes[12] in " ".join(rows_of(store, film.path))


@pytest.mark.parametrize("add", [VideoLibrary.add, lambda *a, **k: asyncio.run(VideoLibrary.aadd(*a, **k))])
def test_files_that_cannot_be_read_are_left_out_or_raise(library, shelf, tmp_path, add):
    (tmp_path / "text.mp4").write_text("notes " * 99)
    with pytest.raises(UnreadableMediaError):
        add(library, tmp_path / "text.mp4")
    bad, good = add(library, [tmp_path / "text.mp4", shelf.films[0].path], on_error="warn")
    assert isinstance(bad.error, UnreadableMediaError)
    assert good.passages == 18


def test_a_library_belongs_to_its_embedding_and_its_service(store, library, client, shelf):
    library.add(shelf.films[0].path)
    with pytest.raises(
        ConfigurationError, match="made with the embedding text-embedding-v4 1024 standin, not text-embedding-v3"
    ):
        VideoLibrary(store, client=client, embedding="text-embedding-v3").search("x")
    stranger = OmniClient(
        replace(client.settings, base_url="http://127.0.0.1:9/v1", api_key=type(client.settings.api_key)("sk-x"))
    )
    mine = VideoLibrary(store, client=stranger, embedding=library._embedding)
    with pytest.raises(
        ConfigurationError, match=r"described by standin, and the current service is http://127\.0\.0\.1:9\."
    ):
        mine.add(shelf.films[1].path)


def test_an_embedding_of_a_framework(store, client, standin, shelf):
    class Letters:
        model_name = "letters"

        def embed_documents(self, texts):
            return [[float(text.count(letter)) for letter in "0123456789"] for text in texts]

        def embed_query(self, text):
            return self.embed_documents([text])[0]

    library = VideoLibrary(store, client=client, embedding=Letters())
    library.add(shelf.films[0].path)
    assert not any(request.path.endswith("embeddings") for request in standin.requests)
    assert store.stamp() == Stamp(embedding=library._embedding.name, origin="standin", dimensions=10)
    assert library.search(shelf.films[0].codes[3])


def test_the_spend_limit_stops_adding_and_leaves_words_to_search(store, client, settings, shelf):
    VideoLibrary(store, client=client).add(shelf.films[0].path)
    poor = OmniClient(replace(settings, spend_limit=SpendLimit(tokens=1)))
    library = VideoLibrary(store, client=poor)
    with pytest.raises(SpendLimitError):
        library.add(shelf.films[1].path)
    with pytest.warns(UserWarning, match="only its words were compared"):
        (window, *_) = library.search(shelf.films[0].codes[3])
    assert shelf.films[0].codes[3] in window.text
    with pytest.warns(UserWarning, match="only its words"):
        assert asyncio.run(library.asearch(shelf.films[0].codes[3]))


@pytest.mark.parametrize(
    ("question", "k", "says"),
    [("", 5, "question is empty"), (" \n", 5, "question is empty"), ("x", 0, "k must be"), ("x", 1.5, "k must be")],
)
def test_a_search_is_checked_first(library, standin, question, k, says):
    with pytest.raises(ConfigurationError, match=says):
        library.search(question, k)
    assert not standin.requests


def test_an_empty_library_finds_nothing_and_asks_nobody(library, standin):
    assert library.search("anything") == library.videos() == []
    assert not standin.requests


def test_a_library_is_there_for_another_process(client, shelf, tmp_path):
    """Opened anew, as it is now; a folder of something else is refused, and so is a newer form."""
    lancedb = pytest.importorskip("lancedb")
    place = tmp_path / "it's a library.lance"
    first, second = VideoLibrary(place, client=client), VideoLibrary(place, client=client)
    assert second.search("x") == []
    first.add(shelf.films[0].path)
    assert shelf.films[0].codes[1] in second.search(shelf.question(0, 1))[0].text
    second.add(shelf.films[1].path)
    assert [video.source for video in first.videos()] == [str(film.path) for film in shelf.films[:2]]
    assert first.search(shelf.question(1, 1))[0].source == str(shelf.films[1].path)
    assert first.remove(shelf.films[0].path) == 18
    assert shelf.films[0].codes[1] not in second.search(shelf.question(0, 1))[0].text
    lancedb.connect(tmp_path / "mine.lance").create_table("passages", [{"vector": [1.0], "text": "mine"}])
    with pytest.raises(ConfigurationError, match="is not a library of qwen-omni"):
        VideoLibrary(tmp_path / "mine.lance", client=client).search("x")


@pytest.mark.parametrize(
    ("text", "resource"),
    [("No space left on device (os error 28)", "disk"), ("Permission denied (os error 13)", "permission"),
     ("Too many open files (os error 24)", "open files")],
)  # fmt: skip
def test_a_fault_of_this_machine_is_named_as_one(client, shelf, tmp_path, monkeypatch, text, resource):
    """LanceDB reports the system's errors in words."""
    lancedb = pytest.importorskip("lancedb")

    def fails(*_, **__):
        raise RuntimeError(f"lance error: LanceError(IO): Generic LocalFileSystem error: {text}, src/lance/x.rs:9")

    monkeypatch.setattr(lancedb.table.LanceTable, "add", fails)
    with pytest.raises(LocalResourceError, match="write to the library") as raised:
        VideoLibrary(tmp_path / "library.lance", client=client).add(shelf.films[0].path)
    assert raised.value.resource == resource
    assert str(tmp_path / "library.lance") in str(raised.value) + str(raised.value.path)


def test_names_with_quotes_are_names(client, shelf, tmp_path):
    pytest.importorskip("lancedb")
    film = tmp_path / 'it\'s "mine" %_.mp4'
    shutil.copy(shelf.films[0].path, film)
    library = VideoLibrary(tmp_path / "library.lance", client=client)
    library.add(film)
    assert {window.source for window in library.search("code", sources=[str(film)])} == {str(film)}
    assert library.remove(film) == 18


def test_without_lancedb_the_error_says_what_to_install(monkeypatch, tmp_path):
    monkeypatch.setattr("qwen_omni.library.store.find_spec", lambda _: None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qwen-omni\[library\]'"):
        VideoLibrary(tmp_path / "library.lance")


@pytest.mark.parametrize(
    ("place", "says"),
    [("", "name of the library is empty"), ("  ", "name of the library is empty"),
     ("mine.lance", "is a file; a library is a folder"), ("x" * 300, r"The name of the library, .*…, is too long\.")],
)  # fmt: skip
def test_what_is_no_folder_is_refused(tmp_path, monkeypatch, place, says):
    monkeypatch.chdir(tmp_path)
    Path("mine.lance").write_text("mine")
    with pytest.raises(ConfigurationError, match=says):
        VideoLibrary(place)


class Numbers:
    """An embedding that makes whatever vector it was given."""

    model_name = "numbers"

    def __init__(self, *vector):
        self.vector = list(vector)

    def embed_documents(self, texts):
        return [self.vector for _ in texts]

    def embed_query(self, text):
        return self.vector


def test_vectors_of_another_length_are_refused_with_both(store, client, shelf):
    """The name of an embedding need not say how long its vectors are."""
    VideoLibrary(store, client=client, embedding=Numbers(1, 2, 3)).add(shelf.films[0].path)
    other = VideoLibrary(store, client=client, embedding=Numbers(1, 2))
    says = r"has vectors of 3 dimensions, and .*numbers made one of 2\."
    with pytest.raises(ConfigurationError, match=says):
        other.search("x")
    with pytest.raises(ConfigurationError, match=says):
        other.add(shelf.films[1].path)
    assert not rows_of(store, shelf.films[1].path)


@pytest.mark.parametrize("vector", [(), (math.nan, 1), (math.inf,)])
def test_what_is_no_vector_is_refused_before_a_library_is_made(store, client, shelf, vector):
    with pytest.raises(ConfigurationError, match="a vector that is empty, or has numbers that are not finite"):
        VideoLibrary(store, client=client, embedding=Numbers(*vector)).add(shelf.films[0].path)
    assert store.stamp() is None


def test_a_file_has_one_name(library, shelf, monkeypatch):
    """However it is written, so that no video is in a library twice."""
    film = shelf.films[0].path
    library.add(film)
    monkeypatch.chdir(shelf.folder)
    odd = [
        f"{shelf.folder}/../{shelf.folder.name}/{film.name}",
        f"../{shelf.folder.name}/{film.name}",
        film.name,
    ]
    assert [one.unchanged for one in library.add(odd)] == [True] * 3
    assert [video.source for video in library.videos()] == [str(film)]
    assert {one.source for one in library.search("code", sources=odd[0])} == {str(film)}
    assert library.remove(f"../{shelf.folder.name}") == 18


@pytest.mark.skipif(os.name == "nt", reason="links need a privilege")
def test_links_to_a_file_are_one_video(library, shelf, standin, tmp_path):
    """A symbolic link to a file or a folder, a file that is named twice, and a file:// address."""
    film = tmp_path / "films" / "a.mp4"
    film.parent.mkdir()
    shutil.copy(shelf.films[0].path, film)
    (tmp_path / "films" / "link.mp4").symlink_to(film)
    (tmp_path / "shortcut").symlink_to(film.parent)
    done = library.add([film.parent, tmp_path / "shortcut" / "a.mp4", film, film.as_uri()])
    assert [(one.source, one.unchanged, one.passages) for one in done] == [(str(film), at > 0, 18) for at in range(5)]
    assert [video.source for video in library.videos()] == [str(film)]
    standin.clear()
    assert library.search("code", sources=tmp_path / "shortcut")
    assert library.remove(tmp_path / "films" / "link.mp4") == 18


@pytest.mark.parametrize("name", ["a\0b.mp4", "/dev/null/x.mp4", "x" * 300 + ".mp4"])
def test_names_that_no_file_has_are_left_out(library, standin, name):
    (one,) = library.add(name, on_error="warn")
    assert isinstance(one.error, UnreadableMediaError)
    assert not standin.requests


def test_on_error_is_checked(library, shelf):
    with pytest.raises(ConfigurationError, match="on_error must be 'raise' or 'warn', got 'wran'"):
        library.add(shelf.folder, on_error="wran")


@pytest.mark.parametrize("link", ["oss://bucket/a.mp4", "https://example.com/a.mp4"])
def test_a_link_is_refused_before_anything_is_paid_for(library, standin, shelf, link):
    says = rf"{link} is a link; a library holds local files.*Download it first, and add the file\..*readers take links"
    with pytest.raises(ConfigurationError, match=says):
        library.add([shelf.films[0].path, link], on_error="warn")
    assert not standin.requests


def test_a_name_that_is_not_unicode_is_left_out(library, shelf, tmp_path):
    try:
        shutil.copy(shelf.films[0].path, os.fsencode(tmp_path) + b"/a\xff.mp4")
    except OSError:
        pytest.skip("the file system has Unicode names alone")
    shutil.copy(shelf.films[1].path, tmp_path / "b.mp4")
    bad, good = library.add(tmp_path, on_error="warn")
    assert (good.passages, str(bad.error)) == (18, "The name of 'a\\udcff.mp4' is not Unicode. Rename the file.")


WRONG = {
    "nothing": (None, "got NoneType"),
    "a number": (3, "got int"),
    "bytes": (b"a.mp4", "got bytes"),
    "a number among paths": (["a.mp4", 3], "got int"),
    "an empty name": ("", "is empty"),
    "an empty name among paths": (["a.mp4", " "], "is empty"),
}


@pytest.mark.parametrize(("sources", "says"), WRONG.values(), ids=WRONG)
def test_what_is_no_path_is_refused_before_anything_is_sent(store, client, standin, sources, says):
    """An empty name would be the current folder."""
    library = VideoLibrary(store, client=client)
    for call in (library.add, lambda given: library.search("x", sources=given)):
        with pytest.raises(ConfigurationError, match=says):
            call(sources)
    assert not standin.requests


def test_a_question_is_text(library):
    for call in (library.search, library.ask):
        with pytest.raises(ConfigurationError, match="The question must be text, got NoneType"):
            call(None)


def test_options_are_those_of_a_question(library, standin):
    says = r"options must be AskOptions\(\.\.\.\), got dict"
    calls = (
        library.ask,
        lambda *a, **k: list(library.stream(*a, **k)),
        lambda *a, **k: asyncio.run(library.aask(*a, **k)),
    )
    for call in calls:
        with pytest.raises(ConfigurationError, match=says):
            call("Where?", options={"looks": 2})
    with pytest.raises(ConfigurationError, match=says):
        estimate_library("Where?", library.search, options={"looks": 2}, settings=library.settings)
    assert not standin.requests


@pytest.mark.parametrize(("k", "found"), [(1_001, 1), (10_000, 1)])
def test_as_many_windows_as_there_are_may_be_asked_for(library, shelf, k, found):
    library.add(shelf.films[0].path)
    assert len(library.search("code", k)) == found
    with pytest.raises(ConfigurationError, match="k must be a whole number from 1 to 10,000, got 10001"):
        library.search("code", 10_001)


# --- LanceDB alone ---

STAMP = Stamp(embedding="numbers", origin="standin", dimensions=2)


def some_rows(source="/a.mp4", count=3):
    facts = [{"source": source, "start": float(at), "end": at + 1.0} for at in range(count)]
    return [
        Row(passage=Passage(id=f"{source} {at}", text=f"text {at}", metadata=fact), vector=[1.0, at])
        for at, fact in enumerate(facts)
    ]


@pytest.fixture
def two(tmp_path):
    """A library, as two processes see it."""
    pytest.importorskip("lancedb")
    return LanceStore(tmp_path / "library.lance"), LanceStore(tmp_path / "library.lance")


def test_two_that_add_the_same_video_add_it_once(two):
    for store in two:
        assert store.stamp() is None
    for store in two:
        store.begin(STAMP)
    assert [dict(store.vectors("/a.mp4")) for store in two] == [{}, {}]
    for store in two:
        store.write(some_rows(), fresh=True)
    assert two[0].drop("/a.mp4") == 3
    assert [dict(store.vectors("/b.mp4")) for store in two] == [{}, {}]
    for store in two:
        store.write(some_rows("/b.mp4"), fresh=True)
    assert two[1].drop("/b.mp4") == 3


@pytest.mark.slow
def test_writers_of_a_bucket_keep_every_video_and_each_passage_once(tmp_path):
    """There are no locks: changes that another program made first are made again, and doubles are removed."""
    pytest.importorskip("lancedb")
    place = (tmp_path / "bucket.lance").as_uri()
    faults = []

    def add(number):
        try:
            store = LanceStore(place)
            store.stamp()
            store.begin(STAMP)
            for source in ("/same.mp4", f"/{number}.mp4"):
                fresh = not store.vectors(source)
                store.write(some_rows(source), fresh=fresh)
                store.drop(source, keep={row.passage.id for row in some_rows(source)})
                store.finish(Video(source=source, version="1", passages=3))
            store.refresh()
        except Exception as error:  # noqa: BLE001  (whatever a thread raises)
            faults.append(error)

    writers = [threading.Thread(target=add, args=[number]) for number in range(3)]
    for one in writers:
        one.start()
    for one in writers:
        one.join()
    assert faults == []
    store = LanceStore(place)
    assert [video.source for video in store.videos()] == ["/0.mp4", "/1.mp4", "/2.mp4", "/same.mp4"]
    assert len(store.nearest([1.0, 1.0], 99)) == 12
    assert store.drop("/same.mp4") == 3


def test_rows_that_two_programs_wrote_are_removed_but_for_one(two):
    first, second = two
    first.begin(STAMP)
    first.write(some_rows(), fresh=True)
    first._table("passages").add(
        first._rows("passages", "", ["id", "source", "start", "end", "text", "metadata", "vector"])
    )
    ids = {row.passage.id for row in some_rows()}
    assert len(second.nearest([1.0, 1.0], 99)) == 6
    assert second.drop("/a.mp4", keep=ids) == 0
    assert {hit.text for hit in second.nearest([1.0, 1.0], 99)} == {"text 0", "text 1", "text 2"}
    assert second.drop("/a.mp4") == 3


def test_a_conflict_is_tried_again_and_at_last_said(two, monkeypatch):
    lancedb = pytest.importorskip("lancedb")
    monkeypatch.setattr("qwen_omni.library.store._LONGEST_WAIT", 0.0)
    store, tried, original = two[0], [], lancedb.table.LanceTable.add
    store.begin(STAMP)
    store.vectors("/a.mp4")

    def conflicts(table, rows):
        tried.append(rows)
        if len(tried) % 3:
            raise RuntimeError("lance error: Retryable commit conflict for version 26: This Append was preempted.")
        return original(table, rows)

    monkeypatch.setattr(lancedb.table.LanceTable, "add", conflicts)
    store.write(some_rows(), fresh=True)
    assert (len(tried), len(store.vectors("/a.mp4"))) == (3, 3)
    monkeypatch.setattr("qwen_omni.library.store._ATTEMPTS", 2)
    with pytest.raises(
        StoreError, match=r"Other programs kept writing to the library .* add the videos again"
    ) as caught:
        store.write(some_rows("/b.mp4"), fresh=True)
    assert (caught.value.reason, caught.value.address, caught.value.transient) == ("busy", store.place, True)
    assert "commit conflict" in str(caught.value.__cause__)


def test_a_writer_waits_for_another_process(two, tmp_path):
    fcntl = pytest.importorskip("fcntl")
    two[0].begin(STAMP)
    writes = threading.Thread(target=two[0].write, args=[some_rows()], daemon=True)
    folder = os.open(tmp_path / "library.lance", os.O_RDONLY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        writes.start()
        writes.join(0.2)
        assert not two[1].vectors("/a.mp4")
    finally:
        os.close(folder)
    writes.join()
    assert len(two[1].vectors("/a.mp4")) == 3


def test_a_library_that_was_deleted_is_empty_and_begins_again(two, tmp_path):
    store, other = two
    for one in ("/a.mp4", "/b.mp4"):
        assert store.stamp() is None
        store.begin(STAMP)
        store.write(some_rows(one), fresh=True)
        store.finish(Video(source=one, version="1", passages=3))
        assert [video.source for video in other.videos()] == [one]
        shutil.rmtree(tmp_path / "library.lance")
        assert store.videos() == store.nearest([1, 1], 5) == other.matching("text", [1, 1], 5) == []


def test_a_lost_list_of_videos_is_made_again(two, tmp_path):
    two[0].begin(STAMP)
    shutil.rmtree(tmp_path / "library.lance" / "videos.lance")
    two[1].finish(Video(source="/a.mp4", version="1", passages=3))
    assert [video.source for video in two[1].videos()] == ["/a.mp4"]


def test_a_table_that_was_never_completed_is_none(two, tmp_path):
    """A process was killed while it made the library."""
    (tmp_path / "library.lance" / "passages.lance" / "_transactions").mkdir(parents=True)
    assert two[0].stamp() is None
    two[0].begin(STAMP)
    assert two[1].stamp() == STAMP


def test_a_table_of_another_program_is_refused(two, tmp_path, client, standin, shelf):
    import lancedb  # noqa: PLC0415  (an extra)

    lancedb.connect(tmp_path / "library.lance").create_table("videos", [{"mine": 1}])
    with pytest.raises(ConfigurationError, match="table 'videos' that is not a library of qwen-omni"):
        VideoLibrary(tmp_path / "library.lance", client=client).add(shelf.films[0].path)
    assert not standin.requests


def test_errors_of_lancedb_name_no_place_in_its_source(two, tmp_path):
    two[0].begin(STAMP)
    two[0].write(some_rows())
    for file in (tmp_path / "library.lance" / "passages.lance" / "data").iterdir():
        file.write_bytes(b"damaged")
    with pytest.raises(ConfigurationError, match="could not search the library") as raised:
        two[1].nearest([1.0, 2.0], 5)
    assert ".rs:" in str(raised.value.__cause__)
    assert ".rs" not in str(raised.value)
