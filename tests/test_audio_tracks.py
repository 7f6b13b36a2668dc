"""`audio_track=` through every door: the track that was asked for is what the service hears, and what is told."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import av
import pytest
from langchain_core.messages import HumanMessage
from llama_index.core.base.llms.types import ChatMessage, TextBlock, VideoBlock

import langchain_qwen_omni
import llama_index_qwen_omni
from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, QwenOmniAudioLoader, QwenOmniVideoLoader
from llama_index_qwen_omni import LongVideoWorkflow, QwenOmni, QwenOmniAudioReader, QwenOmniVideoReader
from qwen_omni import (
    CaptionOptions,
    MediaTools,
    OmniClient,
    Settings,
    SummaryOptions,
    TranscriptionOptions,
    VideoCaption,
    caption,
    iter_notes,
    transcribe,
)
from qwen_omni.cli.main import run
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_audio, make_video

pytestmark = pytest.mark.slow

QUESTION = "What is said?"
SHORT = {"single_call_seconds": 0, "segment_seconds": 8, "overlap": 0, "checkpoint": False}
TRACKS = ["auto", 1, "mix"]


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[object, set[str]]]:
    """Four seconds of video with two audio tracks that speak in turn, and the codes that each choice lets hear."""
    folder = tmp_path_factory.mktemp("tracks")
    seen = make_video(folder / "seen.mp4", seconds=4, size=(160, 120), fps=5, seed=51)
    other = make_audio(folder / "other.wav", seconds=4, seed=52)
    path = folder / "two.mkv"
    with av.open(str(seen.path)) as source, av.open(str(other.path)) as second, av.open(str(path), "w") as output:
        pairs = [(source, one) for one in (source.streams.video[0], source.streams.audio[0])]
        pairs.append((second, second.streams.audio[0]))
        made = [(owner, stream, output.add_stream_from_template(stream)) for owner, stream in pairs]
        made[1][2].disposition = av.stream.Disposition.default
        for owner, stream, written in made:
            owner.seek(0)
            for packet in owner.demux(stream):
                if packet.dts is not None:
                    packet.stream = written
                    output.mux(packet)
    return path, {"auto": set(seen.codes), 1: set(other.codes)}


def _heard(standin: Standin) -> set[str]:
    return {code for request in standin.requests for media in request.media for code in media.sound_codes}


def _check(standin: Standin, film, track: object) -> None:
    """What was sent is heard as the choice says; of a mix, both voices at once are nobody's code."""
    heard, (_, codes) = _heard(standin), film
    if track == "mix":
        assert not codes["auto"] <= heard
        assert not codes[1] <= heard
    else:
        assert heard == codes[track]
    assert any(request.media for request in standin.requests)
    standin.clear()


@pytest.mark.parametrize("track", TRACKS)
def test_messages_and_chains_of_langchain(film, standin: Standin, track) -> None:
    """A block, beside and in extras; the chain and the loader by option and by block."""
    path, said = film[0], {} if track == "auto" else {"audio_track": track}
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=path.parent, thinking=False)
    block = {"type": "video", "path": str(path)}
    for written in (block | said, block | {"extras": said}):
        message = HumanMessage([written, {"type": "text", "text": QUESTION}])
        estimate = llm.estimate([message])
        answer = llm.invoke([message])
        billed = answer.usage_metadata["input_token_details"]
        assert (billed["video"], billed["audio"]) == (estimate.tokens.video, estimate.tokens.audio), (
            billed,
            estimate.tokens,
        )
        _check(standin, film, track)
        asyncio.run(_ainvoke(llm, message))
        _check(standin, film, track)
    LongVideoChain(llm, **SHORT, **said).invoke(str(path))
    _check(standin, film, track)
    LongVideoChain(llm, **SHORT).invoke(block | said)
    _check(standin, film, track)
    QwenOmniVideoLoader(path, llm, options=SummaryOptions(**SHORT, **said)).load()
    _check(standin, film, track)
    llm.close()


async def _ainvoke(llm: ChatQwenOmni, message: HumanMessage) -> None:
    await llm.ainvoke([message])
    await llm.aclose()


@pytest.fixture
async def model(standin: Standin, film) -> AsyncIterator[QwenOmni]:
    made = QwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=str(film[0].parent), thinking=False)
    yield made
    made.close()
    await made.aclose()


@pytest.mark.parametrize("track", TRACKS)
async def test_blocks_workflows_and_readers_of_llama_index(film, model: QwenOmni, standin: Standin, track) -> None:
    """A message with the option, the workflow and the reader."""
    path, said = film[0], {} if track == "auto" else {"audio_track": track}
    blocks = [VideoBlock(path=path), TextBlock(text=QUESTION)]
    message = ChatMessage(role="user", blocks=blocks, additional_kwargs=said)
    await model.achat([message])
    _check(standin, film, track)
    await asyncio.to_thread(model.chat, [message])
    _check(standin, film, track)
    await LongVideoWorkflow(model, **SHORT, **said).run(video=path)
    _check(standin, film, track)
    reader = QwenOmniVideoReader(llm=model, options=SummaryOptions(**SHORT, **said))
    await asyncio.to_thread(reader.load_data, path)
    _check(standin, film, track)


def _ask_langchain(llm: ChatQwenOmni, _: QwenOmni, path: Path, track: object) -> None:
    documents = QwenOmniVideoLoader(path, llm, options=SummaryOptions(**SHORT, audio_track=track)).load()
    block = langchain_qwen_omni.clip(documents[0])
    assert block["extras"]["audio_track"] == (0 if track == "auto" else track)
    llm.invoke([HumanMessage([block, {"type": "text", "text": QUESTION}])])


def _ask_langchain_about_speech(llm: ChatQwenOmni, _: QwenOmni, path: Path, track: object) -> None:
    documents = QwenOmniAudioLoader(path, llm, options=TranscriptionOptions(audio_track=track)).load()
    llm.invoke([HumanMessage([langchain_qwen_omni.clip(documents[0], margin=4), {"type": "text", "text": QUESTION}])])


def _ask_llama_index(_: ChatQwenOmni, model: QwenOmni, path: Path, track: object) -> None:
    documents = QwenOmniVideoReader(llm=model, options=SummaryOptions(**SHORT, audio_track=track)).load_data(path)
    block = llama_index_qwen_omni.clip(documents[0])
    assert str(block.url).endswith(f"&track={0 if track == 'auto' else track}")
    model.chat([ChatMessage(blocks=[block, TextBlock(text=QUESTION)])])


def _ask_llama_index_about_speech(_: ChatQwenOmni, model: QwenOmni, path: Path, track: object) -> None:
    documents = QwenOmniAudioReader(llm=model, options=TranscriptionOptions(audio_track=track)).load_data(path)
    model.chat([ChatMessage(blocks=[llama_index_qwen_omni.clip(documents[0], margin=4), TextBlock(text=QUESTION)])])


CLIPS = [
    *((ask, track) for ask in (_ask_langchain, _ask_llama_index) for track in TRACKS),
    # nothing is understood of two voices at once, so there is no document of a mix
    *((ask, track) for ask in (_ask_langchain_about_speech, _ask_llama_index_about_speech) for track in ("auto", 1)),
]


@pytest.mark.parametrize(("ask", "track"), CLIPS)
async def test_a_clip_of_a_document_hears_its_track(film, model: QwenOmni, standin: Standin, ask, track) -> None:
    """A document is asked about again with the audio track that it was made of, in both frameworks."""
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=film[0].parent, thinking=False)
    await asyncio.to_thread(ask, llm, model, film[0], track)
    llm.close()
    del standin.requests[:-1]
    _check(standin, film, track)


@pytest.mark.parametrize("track", TRACKS)
def test_the_core(film, standin: Standin, settings: Settings, track) -> None:
    """Captions, notes and transcripts."""
    path = film[0]
    with OmniClient(settings) as client:
        caption(path, VideoCaption, client=client, options=CaptionOptions(audio_track=track))
        _check(standin, film, track)
        list(iter_notes(path, client=client, options=SummaryOptions(**SHORT, audio_track=track)))
        _check(standin, film, track)
        if track != "mix":
            said = transcribe(path, client=client, options=TranscriptionOptions(audio_track=track))
            assert {word.text.strip(".") for one in said.sentences for word in one.words} == film[1][track]


@pytest.mark.parametrize(
    "name", ["ask_about_clip", "caption_video", "find_moment", "summarize_video", "transcribe_audio"]
)
def test_tools_of_agents(film, standin: Standin, settings: Settings, name: str) -> None:
    """Every tool that listens takes the option, also as models write it; the probe lists the tracks."""
    more = {"ask_about_clip": {"question": QUESTION}, "find_moment": {"query": "codes"}}.get(name, {})
    tools = MediaTools(film[0].parent, settings=settings)
    for written in (1, "1"):
        outcome = tools.call(name, {"path": "two.mkv", "audio_track": written, **more})
        assert outcome.error is None, outcome.content
        if name == "transcribe_audio":
            assert all(code in outcome.content for code in film[1][1])
        elif standin.requests:  # a second search or summary costs nothing
            _check(standin, film, 1)
    told = tools.call("probe_media", {"path": "two.mkv"})
    assert "audio tracks 0 (aac, default), 1 (pcm_s16le)" in told.content
    assert [one["index"] for one in told.artifact["audio_tracks"]] == [0, 1]
    wrong = tools.call(name, {"path": "two.mkv", "audio_track": 2, **more})
    assert "no audio track 2" in wrong.content
    tools.close()


@pytest.fixture
def command(standin: Standin, tmp_path: Path, monkeypatch, capsys) -> Callable[..., str]:
    """Run the command in a folder of its own; it must end well."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> str:
        with pytest.raises(SystemExit) as ended:
            run([*map(str, arguments)])
        out, err = capsys.readouterr()
        assert not ended.value.code, err
        return out

    return call


@pytest.mark.parametrize("track", TRACKS)
def test_commands(film, standin: Standin, command, tmp_path: Path, track) -> None:
    """`--audio-track` of every command that reads audio."""
    path, said = film[0], ("--audio-track", track)
    command("ask", path, QUESTION, *said)
    _check(standin, film, track)
    command("caption", path, "--json", *said)
    _check(standin, film, track)
    command("summarize", path, "--fresh", *said)
    _check(standin, film, track)
    if track != "mix":
        told = command("transcribe", path, *said)
        assert all(code in told for code in film[1][track])
    probed = json.loads(command("probe", path, "--json", *said))
    assert probed["audio_track"] == (0 if track == "auto" else track)
    assert [one["codec"] for one in probed["audio_tracks"]] == ["aac", "pcm_s16le"]
    assert "audio track" in command("probe", path, *said)
    command("estimate", path, *said)
    assert not standin.requests


def test_audio_loaders(film, standin: Standin, tmp_path: Path) -> None:
    """The loader of what is said hears the track of its options."""
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url)
    loader = QwenOmniAudioLoader(film[0], llm, options=TranscriptionOptions(audio_track=1))
    text = " ".join(one.page_content for one in loader.lazy_load())
    assert all(code in text for code in film[1][1])
