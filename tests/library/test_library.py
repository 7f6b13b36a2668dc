"""A library: what is added, found and removed, over a store in memory and over LanceDB."""

import asyncio
import shutil
from dataclasses import replace

import pytest

from qwen_omni import (
    ConfigurationError,
    LocalResourceError,
    OmniClient,
    SpendLimit,
    SpendLimitError,
    SummaryOptions,
    UnreadableMediaError,
    VideoLibrary,
)
from qwen_omni.library.store import LanceStore, Stamp
from qwen_omni.retrieval.index import PassageOptions
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video
from tests.support.memory_store import MemoryStore


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


def test_a_search_may_be_limited_to_some_videos(library, shelf):
    library.add(shelf.folder)
    windows = library.search(shelf.question(0, 1), sources=[str(shelf.films[2].path)])
    assert {window.source for window in windows} == {str(shelf.films[2].path)}


def test_asyncio_finds_the_same(library, shelf):
    library.add(shelf.folder)
    assert asyncio.run(library.asearch(shelf.question(1, 2))) == library.search(shelf.question(1, 2))


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


def test_files_that_cannot_be_read_are_left_out_or_raise(library, shelf, tmp_path):
    (tmp_path / "text.mp4").write_text("notes " * 99)
    with pytest.raises(UnreadableMediaError):
        library.add(tmp_path / "text.mp4")
    done = library.add([tmp_path / "text.mp4", shelf.films[0].path], on_error="warn")
    assert isinstance(done[0].error, UnreadableMediaError)
    assert done[1].passages == 18
    with pytest.raises(ConfigurationError, match="is a link; a library holds local files"):
        library.add("https://example.com/a.mp4?token=secret")


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
    with pytest.raises(ConfigurationError, match=r"described by standin, not by http://127\.0\.0\.1:9"):
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


@pytest.mark.parametrize("place", ["", "  "])
def test_a_library_has_a_name(place):
    with pytest.raises(ConfigurationError, match="name of the library is empty"):
        VideoLibrary(place)


def test_a_file_is_no_library(tmp_path):
    (tmp_path / "library.lance").write_text("mine")
    with pytest.raises(ConfigurationError, match="is a file; a library is a folder"):
        VideoLibrary(tmp_path / "library.lance")
