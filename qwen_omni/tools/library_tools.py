"""The tools of a library: search over all videos that were indexed, and questions about them, as steps."""

import functools
import os
from collections.abc import Generator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_omni.errors import ConfigurationError, UnreadableMediaError
from qwen_omni.library.answers import AskOptions, LibraryAnswer, WordMatches
from qwen_omni.library.ask import aask_library, ask_library
from qwen_omni.library.library import WINDOWS_PER_QUESTION, VideoLibrary
from qwen_omni.library.sources import not_held
from qwen_omni.tools.definitions import AskLibrary, SearchVideos
from qwen_omni.tools.handlers import Local, Meter, Steps, ToolContext, Work
from qwen_omni.tools.results import ToolOutcome, bounded, line

if TYPE_CHECKING:
    from qwen_omni.retrieval.windows import Window

_SEARCH_ADVICE = "Search for something narrower, or for fewer windows (k)."
_ANSWER_ADVICE = "Ask a narrower question."
_MOST_TEXT = 600  # characters of a window's text that the model receives


def search_videos(context: ToolContext, asked: SearchVideos) -> Steps:
    """Search the library."""
    library = _library(context)
    sources = yield from _sources(context, library, asked.path)
    given: tuple[Any, ...] = (asked.query, asked.k)
    windows: list[Window] = yield Local(
        functools.partial(library.windows, *given, sources=sources),
        functools.partial(library.awindows, *given, sources=sources),
        text="searched",
    )
    lines = [f"{_name(context, one.source)}, {_range(one)}: {_short(one.text)}" for one in windows]
    head = f"{len(windows)} windows, best first:" if windows else "Nothing in the library matches that."
    notes = [f"({line(windows.notice)})"] if isinstance(windows, WordMatches) else []
    facts = [{**_place(context, one), "text": one.text, "score": one.score} for one in windows]
    return ToolOutcome(content=bounded([head, *notes, *lines], _SEARCH_ADVICE), artifact={"windows": facts})


def ask_videos(context: ToolContext, asked: AskLibrary) -> Steps:
    """Answer a question from the library, with the shots that show it."""
    library = _library(context)
    options = AskOptions(model=context.model, looks=asked.looks)
    sources = yield from _sources(context, library, asked.path)
    search = functools.partial(library.windows, k=WINDOWS_PER_QUESTION, sources=sources)
    asearch = functools.partial(library.awindows, k=WINDOWS_PER_QUESTION, sources=sources)
    found: LibraryAnswer = yield Work(
        functools.partial(ask_library, search=search), functools.partial(aask_library, search=asearch),
        (asked.question,), options, Meter.library,
    )  # fmt: skip
    lines = [f"{_name(context, one.source)}, {_range(one)}: {line(one.text)}" for one in found.evidence]
    shown = ["Evidence:", *lines] if lines else []
    notes = [f"({line(one)})" for one in (found.basis, *found.notices)]
    text = bounded([*found.answer.splitlines(), *shown, *notes], _ANSWER_ADVICE)
    facts = {
        "answer": found.answer,
        "evidence": [{**_place(context, one), "text": one.text, "watched": one.watched} for one in found.evidence],
        "basis": found.basis,
        "stopped": found.stopped,
        "notices": [context.cleaned(one) for one in found.notices],
        "unwatched": [
            {**_place(context, one), "reason": context.cleaned(one.reason)} for one in found.shots if one.reason
        ],
    }
    return ToolOutcome(content=text, artifact=facts)


def _library(context: ToolContext) -> VideoLibrary:
    if context.library is None:
        raise ConfigurationError("There is no library to search; pass library= where the tools are made.")
    return context.library


def _sources(
    context: ToolContext, library: VideoLibrary, path: str | None
) -> Generator[Local, list[str], Sequence[str]]:
    """Return the videos that a model's path selects, by their names in search results; none if it wants all."""
    if path is None:
        return ()
    found = yield Local(lambda: _within(context, library, path))
    return found


def _within(context: ToolContext, library: VideoLibrary, path: str) -> list[str]:
    root, wanted = context.folder.root, os.path.normpath(path)
    names = {video.source: _name(context, video.source) for video in library.videos()}
    if wanted == os.curdir:
        found = [source for source in names if Path(source).is_relative_to(root)]
    else:
        found = [source for source, name in names.items() if name == wanted or name.startswith(wanted + os.sep)]
    if not found:
        raise UnreadableMediaError(str(not_held(path, list(names.values()))))  # a model can correct it
    return found


def _name(context: ToolContext, source: str) -> str:
    """Return the name of a video for the model: a path in the media folder, else the name of the file."""
    path, root = Path(source), context.folder.root
    return line(str(path.relative_to(root)) if path.is_relative_to(root) else path.name)


def _place(context: ToolContext, one: Any) -> Mapping[str, Any]:  # noqa: ANN401  (a window, a shot or evidence)
    return {"path": _name(context, one.source), "start": one.start, "end": one.end}


def _range(one: Any) -> str:  # noqa: ANN401
    return f"{one.start:.1f}-{one.end:.1f} s"


def _short(text: str) -> str:
    one = line(text)
    return one if len(one) <= _MOST_TEXT else f"{one[:_MOST_TEXT]}…"
