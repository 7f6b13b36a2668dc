"""`QwenOmniAudioLoader`: what is said, as documents with times."""

import json
from pathlib import Path

import pytest
from langchain_core.document_loaders import BaseLoader

from langchain_qwen_omni import ChatQwenOmni, QwenOmniAudioLoader
from qwen_omni import ConfigurationError, TranscriptionOptions
from qwen_omni.standin import Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_video

QUICK = TranscriptionOptions(poll_seconds=0.01)


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    """A folder with two recordings, a film in a folder of its own, and a text."""
    folder = tmp_path_factory.mktemp("calls")
    (folder / "more").mkdir()
    (folder / "notes.txt").write_text("no media")
    made = [make_audio(folder / f"{name}.mp3", seconds=10) for name in ("a", "b")]
    return [*made, make_video(folder / "more" / "c.mp4", seconds=3, size=(64, 48), fps=5)]


@pytest.fixture
def llm(standin: Standin) -> ChatQwenOmni:
    standin.tasks.polls_until_done = 0
    return ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, max_retries=0)


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
