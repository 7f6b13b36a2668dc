"""What each tool does, as steps: written once, carried out by `media_tools` with threads or in `asyncio`.

A tool is a generator. It yields a `ChatRequest`, or `Work` that has a form for either client; it is sent what came of
it, and returns its outcome. Whatever it raises becomes text.
"""

from collections.abc import Awaitable, Callable, Generator
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from qwen_omni.ask import as_part
from qwen_omni.captions.models import VideoCaption
from qwen_omni.captions.prompt import TASK
from qwen_omni.captions.run import CaptionOptions, CaptionPlan, ask_until_valid, caption_request
from qwen_omni.captions.schema import read_schema
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, Sampling, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.tools.arguments import AskVideo, CaptionVideo, ProbeMedia, TranscribeAudio
from qwen_omni.tools.folder import MediaFolder
from qwen_omni.tools.outcome import ToolOutcome, bounded, line, without_places
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.run import atranscribe, transcribe
from qwen_omni.transcription.transcript import Sentence, Transcript

if TYPE_CHECKING:
    from qwen_omni.responses import Response

_PART_ADVICE = "Ask about a part of it with start and end."


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """Something to be done, for either client."""

    sync: Callable[[OmniClient], Any]
    asynchronous: Callable[[AsyncOmniClient], Awaitable[Any]]


@dataclass(frozen=True, slots=True)
class Local:
    """Something that blocks and needs no client: it runs on a thread where an event loop must not wait."""

    action: Callable[[], Any]


Step = ChatRequest | Work | Local
Steps = Generator[Step, Any, ToolOutcome]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bench:
    """What all tools share: the folder, and which models are asked."""

    folder: MediaFolder
    model: str
    transcriber: str | None = None

    def told(self, words: str) -> str:
        """Write words of ours for a model: without places of this machine."""
        return line(without_places(words, self.folder.root))


def probe_media(bench: Bench, asked: ProbeMedia) -> Steps:
    """Tell what a file is, or what is in a folder."""
    source = bench.folder.source(asked.path)
    name = bench.folder.name_of(source)
    if bench.folder.is_folder(source):
        entries = yield Local(lambda: bench.folder.listing(source))
        lines = [f"{_below(name, line(one.name))}{_size(one.size_bytes)}" for one in entries]
        text = bounded([f"{len(lines)} in {name!r}:", *lines], "Name a folder inside it.")
        return ToolOutcome(content=text, artifact=[{**asdict(one), "name": _below(name, one.name)} for one in entries])
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    return ToolOutcome(content=f"{name}: {_told(info)}", artifact={"path": name, **_facts(info)})


def ask_video(bench: Bench, asked: AskVideo) -> Steps:
    """Ask the model a question about a video, a recording or a picture."""
    source = bench.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    part = _part(source, info, asked)
    piece = asked.start is not None or asked.end is not None
    text = f"{asked.question}\n\n(This is a piece of a longer file; count times from its beginning.)" if piece else ""
    answer: Response = yield ChatRequest(
        model=bench.model, messages=(user(part, text or asked.question),), options=ChatOptions(thinking=False)
    )
    head = f"(Times in this answer count from second {asked.start or 0:g} of the file.)\n" if piece else ""
    cut = "" if answer.finish_reason == "stop" else f"\n[The answer ended early: {answer.finish_reason}.]"
    content = head + bounded(answer.text.splitlines() or ["(The model said nothing.)"], _PART_ADVICE) + cut
    facts = {"path": bench.folder.name_of(source), "start": asked.start or 0.0, "end": asked.end, "text": answer.text}
    return ToolOutcome(content=content, artifact=facts)


def caption_video(bench: Bench, asked: CaptionVideo) -> Steps:
    """Describe a file as a `VideoCaption`."""
    source = bench.folder.source(asked.path)
    info: MediaInfo = yield Local(lambda: bench.folder.probe(source))
    schema = read_schema(VideoCaption)
    request = caption_request(schema, user(as_part(source, info.kind), TASK), CaptionOptions(model=bench.model))
    captioned = yield from ask_until_valid(CaptionPlan(request=request, schema=schema))
    value: VideoCaption = captioned.value
    return ToolOutcome(
        content=bounded(value.model_dump_json(indent=1).splitlines(), _PART_ADVICE),
        artifact=value.model_dump(mode="json"),
    )


def transcribe_audio(bench: Bench, asked: TranscribeAudio) -> Steps:
    """Write down what is said in a recording or a video."""
    source = bench.folder.source(asked.path)
    options = TranscriptionOptions(model=bench.transcriber, start=asked.start, end=asked.end)
    said: Transcript = yield Work(
        sync=lambda client: transcribe(source, client=client, options=options),
        asynchronous=lambda client: atranscribe(source, client=client, options=options),
    )
    said = said.model_copy(update={"source": bench.folder.name_of(source)})
    lines = [_spoken(one) for one in said.sentences] or said.text.splitlines() or ["(Nobody speaks.)"]
    return ToolOutcome(content=bounded(lines, _PART_ADVICE), artifact=said.model_dump(mode="json"))


def _part(source: MediaSource, info: MediaInfo, asked: AskVideo) -> MediaPart:
    part = as_part(source, info.kind, Sampling(fps=asked.fps if info.kind == "video" else None))
    match part:
        case VideoPart() | AudioPart():
            return replace(part, start=asked.start, end=asked.end)
        case ImagePart() if asked.start is None and asked.end is None:
            return part
        case _:
            raise UnsupportedMediaError("That is a picture; leave start and end out.")


def _spoken(one: Sentence) -> str:
    who = f"Speaker {one.speaker + 1}: " if one.speaker is not None else ""
    return f"[{one.start:.1f}-{one.end:.1f} s] {who}{line(one.text)}"


def _below(folder: str, name: str) -> str:
    return name if folder == "." else f"{folder}/{name}"


def _size(size_bytes: int | None) -> str:
    return "" if size_bytes is None else f" ({size_bytes / 1e6:,.2f} MB)"


def _facts(info: MediaInfo) -> dict[str, Any]:
    told = {
        "kind": info.kind, "container": info.container, "size_bytes": info.size_bytes,
        "duration": None if info.duration is None else float(info.duration), "width": info.width,
        "height": info.height, "fps": None if info.fps is None else float(info.fps),
        "video_codec": info.video_codec, "audio_codec": info.audio_codec,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}


def _told(info: MediaInfo) -> str:
    told: list[str] = [info.kind]
    if info.duration is not None:
        told.append(f"{float(info.duration):.1f} s")
    if info.width is not None:
        told.append(f"{info.width}x{info.height} pixels")
    if info.fps is not None:
        told.append(f"{float(info.fps):.3g} frames per second")
    if info.kind != "image":
        told.append(f"sound {info.audio_codec}" if info.has_sound else "no sound")
    return ", ".join([*told, f"{info.container}{_size(info.size_bytes)}"])
