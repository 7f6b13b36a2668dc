"""`QwenOmniToolSpec` and `QwenOmniAudioReader`: the same tools and documents for LlamaIndex."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from qwen_omni import ConfigurationError, TranscriptionOptions, UnreadableMediaError
from qwen_omni.media.files.find import find_media
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_audio, make_video
from qwen_omni.tools.results import ToolOutcome
from tests.support.agents import QUESTION, Detective, Place, make_place, nasty_paths
from tests.support.watching import watched

llama_index = pytest.importorskip("llama_index.core")
from llama_index.core.agent.workflow import FunctionAgent  # noqa: E402

from llama_index_qwen_omni import QwenOmni, QwenOmniAudioReader, QwenOmniToolSpec  # noqa: E402


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture
async def llm(standin: Standin) -> AsyncIterator[QwenOmni]:
    """A model at the stand-in; its own root is not that of the tools."""
    made = QwenOmni(api_key=SecretStr(standin.api_key), base_url=standin.base_url, max_retries=0, thinking=False)
    yield made
    made.close()
    await made.aclose()


@pytest.fixture
async def spec(place: Place, llm: QwenOmni, standin: Standin) -> AsyncIterator[QwenOmniToolSpec]:
    standin.tasks.polls_until_done = 0
    made = QwenOmniToolSpec(llm, media_root=place.root)
    yield made
    made.close()
    await made.aclose()


async def test_tools(spec: QwenOmniToolSpec, place: Place) -> None:
    """Each tool has its schema, gives text for the model, and keeps the whole outcome; async says the same."""
    tools = {tool.metadata.name: tool for tool in spec.to_tool_list()}
    assert list(tools) == QwenOmniToolSpec.spec_functions
    assert tools["ask_about_clip"].metadata.get_parameters_dict()["required"] == ["path", "question"]
    asked = {"path": "talks/monday.mp4", "question": "What is shown?"}
    told = tools["ask_about_clip"].call(**asked)
    assert place.film.codes[0] in told.content
    assert isinstance(told.raw_output, ToolOutcome)
    json.dumps(told.raw_output.artifact)
    assert (await tools["ask_about_clip"].acall(**asked)).content == told.content


def test_refusals_are_words(spec: QwenOmniToolSpec, place: Place) -> None:
    """No path raises, and none leads out."""
    tool = next(tool for tool in spec.to_tool_list() if tool.metadata.name == "transcribe_audio")
    with watched(*place.secrets) as seen:
        for path in nasty_paths(place):
            assert tool.call(path=path, start=90).content
        assert "nothing was opened" in tool.call(path="link.mp4").content
    assert seen == []
    assert "Wrong arguments" in tool.call(path=3, nonsense=[1]).content


def test_some_of_the_tools(spec: QwenOmniToolSpec) -> None:
    """Tools may be chosen by name; a name that is none is told."""
    assert [tool.metadata.name for tool in spec.to_tool_list(["probe_media"])] == ["probe_media"]
    with pytest.raises(ConfigurationError, match="no tool nope"):
        spec.to_tool_list(["nope"])


async def test_documents(place: Place, llm: QwenOmni, standin: Standin) -> None:
    """What is said becomes documents with times, alone and as a file extractor; it is paid once."""
    standin.tasks.polls_until_done = 0
    reader = QwenOmniAudioReader(llm, options=TranscriptionOptions(poll_seconds=0.01), mode="sentences")
    documents = list(reader.lazy_load_data(place.call.path, {"topic": "a call"}))
    assert documents[0].text.split()[0].strip(".") == place.call.codes[0]
    assert documents[0].metadata["topic"] == "a call"
    assert documents[0].metadata["start"] == pytest.approx(0, abs=0.05)
    assert [one.id_ for one in await reader.aload_data(place.call.path)] == [one.id_ for one in documents]
    folder = llama_index.SimpleDirectoryReader(
        input_files=[str(Path(place.call.path))], file_extractor={".mp3": reader}, raise_on_error=True
    )
    assert [one.text for one in folder.load_data()] == [one.text for one in documents]
    assert standin.tasks.submitted == 1


async def test_lazily_in_asyncio(place: Place, llm: QwenOmni, standin: Standin) -> None:
    """LlamaIndex awaits `alazy_load_data` and is given documents; `alazy_documents` gives them one after another."""
    standin.tasks.polls_until_done = 0
    reader = QwenOmniAudioReader(llm, options=TranscriptionOptions(poll_seconds=0.01), mode="sentences")
    told = [one.text for one in reader.load_data(place.call.path)]
    assert [one.text for one in await reader.alazy_load_data(place.call.path)] == told
    documents = reader.alazy_documents(place.call.path, {"topic": "a call"})
    first = await anext(documents)
    assert (first.text, first.metadata["topic"]) == (told[0], "a call")
    await documents.aclose()


@pytest.mark.parametrize("concurrency", [0, -1])
def test_a_reader_of_none_at_a_time_is_refused(concurrency: int, llm: QwenOmni) -> None:
    """At once: `SimpleDirectoryReader` leaves out files whose reader fails."""
    with pytest.raises(ConfigurationError, match=f"concurrency must be .*, got {concurrency}"):
        QwenOmniAudioReader(llm, concurrency=concurrency)


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.slow
async def test_recordings_of_other_file_systems(
    asynchronous: bool, llm: QwenOmni, standin: Standin, tmp_path: Path, memory: Any
) -> None:
    """`SimpleDirectoryReader` and the reader itself read recordings of an fsspec file system, more than at once."""
    standin.tasks.polls_until_done = 0
    for name in ("b.mp3", "a.mp3", "more/c.mp3", ".d.mp3"):
        memory.pipe(f"/calls/{name}", make_audio(tmp_path / "x.mp3", seconds=2).path.read_bytes())
    memory.pipe("/calls/notes.txt", b"no recording")
    reader = QwenOmniAudioReader(llm, options=TranscriptionOptions(poll_seconds=0.01), mode="single", concurrency=2)

    async def read(file: Any) -> list[Any]:
        return await reader.aload_data(file, fs=memory) if asynchronous else reader.load_data(file, fs=memory)

    documents = await read("/calls")
    expected = [f"memory:///calls/{name}" for name in ("a.mp3", "b.mp3", "more/c.mp3")]
    assert [one.metadata["source"] for one in documents] == expected
    assert len({one.text for one in documents}) == 3
    assert [one.text for one in await read(["/calls/b.mp3", "/calls/m*/*"])] == [one.text for one in documents[1:]]
    folder = llama_index.SimpleDirectoryReader(
        "/calls", fs=memory, file_extractor={".mp3": reader}, raise_on_error=True, required_exts=[".mp3"]
    )
    found = await folder.aload_data() if asynchronous else folder.load_data()
    assert [one.text for one in found] == [one.text for one in documents[:2]]
    with pytest.raises(UnreadableMediaError, match=r"gone\.mp3 cannot be read"):
        await read("/calls/gone.mp3")


@pytest.mark.parametrize("named", ["", "**/*.mp3", "*"], ids=["a folder", "a pattern", "all"])
@pytest.mark.slow
def test_the_same_files_as_videos(named: str, llm: QwenOmni, standin: Standin, tmp_path: Path) -> None:
    """Which recordings a folder or a pattern means is decided where it is for videos, for one source or for several."""
    standin.tasks.polls_until_done = 0
    (tmp_path / "more").mkdir()
    sound = make_audio(tmp_path / "b.mp3", seconds=2).path.read_bytes()
    for name in ("a.m4a", "more/c.mp3", "more/.d.mp3"):
        (tmp_path / name).write_bytes(sound)
    (tmp_path / "more" / "notes.txt").write_text("no recording")
    reader = QwenOmniAudioReader(llm, options=TranscriptionOptions(poll_seconds=0.01), mode="single")
    source = str(tmp_path / named) if named else tmp_path
    read = [one.metadata["source"] for one in reader.load_data(source)]
    assert read == [str(one) for one in find_media(source)]
    assert len(read) >= 2
    assert [one.metadata["source"] for one in reader.load_data([source])] == read


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use old names of pydantic
async def test_an_agent_finds_the_moment(llm: QwenOmni, standin: Standin, tmp_path: Path) -> None:
    """Given only a folder and a question, LlamaIndex's agent names the file and the second."""
    films = [make_video(tmp_path / f"{name}.mp4", seconds=6, size=(96, 64), fps=5) for name in ("a", "b", "c")]
    standin.script = Detective()
    spec = QwenOmniToolSpec(llm, media_root=tmp_path)
    code = films[1].codes[4]
    answer = await FunctionAgent(llm=llm, tools=spec.to_tool_list()).run(user_msg=QUESTION.format(code=code))
    assert str(answer) == f"{code} is in b.mp4 at second 4."
    assert [call.tool_name for call in answer.tool_calls] == ["probe_media", "ask_about_clip", "ask_about_clip"]
    await spec.aclose()


def test_without_a_model_the_environment_is_asked(
    place: Place, llm: QwenOmni, standin: Standin, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A spec of a folder alone needs no key before its first call, and asks the default model; a given one is asked."""
    spec = QwenOmniToolSpec(media_root=place.root)
    asked = {"path": "talks/monday.mp4", "question": "What is shown?"}
    (tool,) = spec.to_tool_list(["ask_about_clip"])
    assert "DASHSCOPE_API_KEY" in tool.call(**asked).content
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    assert place.film.codes[0] in tool.call(**asked).content
    spec.close()
    other = QwenOmniToolSpec(llm.model_copy(update={"model": "qwen3.5-omni-flash"}), media_root=place.root)
    assert place.film.codes[0] in other.to_tool_list(["ask_about_clip"])[0].call(**asked).content
    other.close()
    assert [request.body["model"] for request in standin.requests] == [QwenOmni().model, "qwen3.5-omni-flash"]
