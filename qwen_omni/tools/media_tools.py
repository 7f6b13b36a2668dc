"""`MediaTools`: the tools of one folder, called by name from threads or `asyncio`. Errors are part of the outcome."""

import functools
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from qwen_omni._moved import tool_name
from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.library.library import VideoLibrary
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import DEFAULT_MODEL, Profile
from qwen_omni.settings import Settings
from qwen_omni.tools import definitions, handlers, library_tools
from qwen_omni.tools.folder import MediaFolder
from qwen_omni.tools.handlers import Local, Meter, OnToolProgress, Step, Steps, ToolContext, Work
from qwen_omni.tools.results import ToolOutcome, failed, wrong_arguments
from qwen_omni.transport.flow import adrive, drive

_DELIVERED = "prepared the media; waiting for the answer"
_ANSWERED = "the answer is there"


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolDefinition:
    """One tool, as every framework presents it to a model.

    Attributes:
        name: the tool's name for the model.
        description: when to use it, and what it returns.
        arguments: model of its arguments; `arguments.model_json_schema()` is the schema.
        steps: its implementation.
    """

    name: str
    description: str
    arguments: type[definitions.Arguments]
    steps: Callable[[ToolContext, Any], Steps]

    @property
    def schema(self) -> dict[str, Any]:
        """The JSON schema of the arguments."""
        return self.arguments.model_json_schema()


DEFINITIONS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        name="probe_media",
        description="List the files of the media folder, or tell what one file is: kind, seconds, size, audio. Free; "
        "nothing is sent anywhere. Begin here if you do not know the files' names.",
        arguments=definitions.ProbeMedia,
        steps=handlers.probe_media,
    ),
    ToolDefinition(
        name="ask_about_clip",
        description="Ask a question about what is seen and heard in one video, recording or image. Name start and "
        "end in seconds to look at a piece only, and a higher fps to look closely at something quick.",
        arguments=definitions.AskAboutClip,
        steps=handlers.ask_about_clip,
    ),
    ToolDefinition(
        name="caption_video",
        description="Describe one video or image as JSON: the scene, what a product shows, whom it is for, music.",
        arguments=definitions.CaptionVideo,
        steps=handlers.caption_video,
    ),
    ToolDefinition(
        name="transcribe_audio",
        description="Write down every word that is spoken in a recording or video, with the seconds of each sentence.",
        arguments=definitions.TranscribeAudio,
        steps=handlers.transcribe_audio,
    ),
    ToolDefinition(
        name="find_moment",
        description="Find the seconds at which something is seen or heard in one video or recording, however long. "
        "Every minute and a half of a long one is a request, so ask once and well; the same query again is free.",
        arguments=definitions.FindMoment,
        steps=handlers.find_moment,
    ),
    ToolDefinition(
        name="summarize_video",
        description="Summarise one video or recording, however long, with chapters and their seconds. Every minute and "
        "a half of a long one is a request; the same summary again is free.",
        arguments=definitions.SummarizeVideo,
        steps=handlers.summarize_video,
    ),
)


LIBRARY_DEFINITIONS: tuple[ToolDefinition, ...] = (
    ToolDefinition(
        name="search_videos",
        description="Search all videos and recordings of the library for what is seen, shown or said in them. Returns "
        "the windows that match best, with their file and seconds. Cheap; begin here if you do not know the file.",
        arguments=definitions.SearchVideos,
        steps=library_tools.search_videos,
    ),
    ToolDefinition(
        name="ask_library",
        description="Answer a question from all videos and recordings of the library: searches, watches the best "
        "windows again, and returns the answer with the files and seconds that show it. The same question again "
        "costs a few tokens.",
        arguments=definitions.AskLibrary,
        steps=library_tools.ask_videos,
    ),
)
"""The tools that are offered where there is a library."""


class MediaTools:
    """Tools for an agent on the media of one folder. Thread-safe.

    Paths come from a model, so they are confined to `media_root`. A call returns text for the model and an artifact for
    the program; any error is described in the text, and stored as `error`.

    Args:
        media_root: the folder; everything below it may be read and sent to the service.
        settings: settings of the service; read from the environment at the first call that needs them, if not given.
        model: the model to ask.
        transcriber: the model for transcription; the cheapest one in the region, if not given.
        library: an index over many videos, which adds the tools `search_videos` and `ask_library`; it may hold videos
            outside the folder.

    Example:
        from qwen_omni import MediaTools

        tools = MediaTools("videos")
        print(tools.call("probe_media", {"path": "."}))
        print(tools.call("ask_about_clip", {"path": "promo.mp4", "question": "What is sold here?"}))
    """

    def __init__(
        self,
        media_root: str | Path,
        *,
        settings: Settings | None = None,
        model: str = DEFAULT_MODEL,
        transcriber: str | None = None,
        library: VideoLibrary | None = None,
    ) -> None:
        """Raises `ConfigurationError` if the folder does not exist."""
        root = Path(media_root).expanduser().resolve()
        if not root.is_dir():
            raise ConfigurationError(f"media_root={str(media_root)!r} is not a folder.")
        self._context = ToolContext(
            folder=MediaFolder(root=root), model=model, transcriber=transcriber, library=library,
            profile_of=self._profile_of,
        )  # fmt: skip
        self._given = settings
        self._lock = threading.Lock()
        self._sync: OmniClient | None = None
        self._async: AsyncOmniClient | None = None

    def __reduce__(self) -> tuple[Any, ...]:
        context = self._context  # connections stay with the process that opened them
        return _rebuilt, (self.media_root, self._given, context.model, context.transcriber, context.library)

    @property
    def definitions(self) -> tuple[ToolDefinition, ...]:
        """The tools that are offered."""
        return DEFINITIONS if self._context.library is None else (*DEFINITIONS, *LIBRARY_DEFINITIONS)

    @property
    def media_root(self) -> Path:
        """The folder."""
        return self._context.folder.root

    def call(
        self, name: str, arguments: Mapping[str, Any], *, on_progress: OnToolProgress | None = None
    ) -> ToolOutcome:
        """Run one call; any error becomes part of the outcome.

        Args:
            name: name of the tool.
            arguments: as defined by its schema.
            on_progress: called after every step, from a worker thread.
        """
        meter = Meter(on_progress, clean=self._context.cleaned)
        try:
            return drive(self._begin(name, arguments), functools.partial(self._do, meter=meter))
        except Exception as error:  # noqa: BLE001  (errors become part of the outcome)
            return self._failed(error)

    async def acall(
        self, name: str, arguments: Mapping[str, Any], *, on_progress: OnToolProgress | None = None
    ) -> ToolOutcome:
        """Run one call; the asynchronous `call`. Cancelling it ends the work; finished steps are cached."""
        meter = Meter(on_progress, clean=self._context.cleaned)
        try:
            return await adrive(self._begin(name, arguments), functools.partial(self._ado, meter=meter))
        except Exception as error:  # noqa: BLE001
            return self._failed(error)

    def close(self) -> None:
        """Close the connection of `call`; the next call opens another."""
        with self._lock:
            client, self._sync = self._sync, None
        if client is not None:
            client.close()

    async def aclose(self) -> None:
        """Close the connection of `acall` in the running event loop."""
        if self._async is not None:
            await self._async.aclose()

    def _begin(self, name: str, arguments: Mapping[str, Any]) -> Steps:
        wanted = tool_name(name)
        definition = next((one for one in self.definitions if one.name == wanted), None)
        if definition is None:
            raise UnsupportedContentError(
                f"Unknown tool {name!r}; available: {', '.join(one.name for one in self.definitions)}."
            )
        return definition.steps(self._context, definition.arguments.model_validate(dict(arguments)))

    def _do(self, step: Step, meter: Meter) -> Any:  # noqa: ANN401  (any result of a step)
        match step:
            case Local():
                found = step.action()
                meter.step(step.text)
                return found
            case Work():
                return step.sync(*step.given, **step.keywords(self._client(), meter))
            case ChatRequest():
                client = self._client()
                outgoing = client.deliver(step)
                meter.step(_DELIVERED)
                answer = client.answer(outgoing)
                meter.step(_ANSWERED)
                return answer

    async def _ado(self, step: Step, meter: Meter) -> Any:  # noqa: ANN401
        match step:
            case Local():
                found = await step.arun()
                meter.step(step.text)
                return found
            case Work():
                return await step.asynchronous(*step.given, **step.keywords(self._async_client(), meter))
            case ChatRequest():
                client = self._async_client()
                outgoing = await client.deliver(step)
                meter.step(_DELIVERED)
                answer = await client.answer(outgoing)
                meter.step(_ANSWERED)
                return answer

    def _failed(self, error: Exception) -> ToolOutcome:
        return wrong_arguments(error) if isinstance(error, ValidationError) else failed(error, self.media_root)

    def _settings(self) -> Settings:
        return replace(self._given or Settings.load(), media_root=self.media_root)

    def _profile_of(self, model: str) -> Profile:
        return self._settings().profile(model)

    def _client(self) -> OmniClient:
        with self._lock:
            self._sync = self._sync or OmniClient(self._settings())
            return self._sync

    def _async_client(self) -> AsyncOmniClient:
        with self._lock:
            self._async = self._async or AsyncOmniClient(self._settings())
            return self._async


def _rebuilt(
    root: Path, settings: Settings | None, model: str, transcriber: str | None, library: VideoLibrary | None
) -> MediaTools:
    return MediaTools(root, settings=settings, model=model, transcriber=transcriber, library=library)
