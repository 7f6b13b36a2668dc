"""`qwen-omni library`: an index over many videos: add to it, search it, ask it, remove from it."""

import contextlib
import functools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from qwen_omni.cli.options import (
    DETAILS,
    AsJson,
    ModelName,
    check_files,
    choose,
    one_form,
    option,
    read_place,
    read_service,
    sharing,
)
from qwen_omni.cli.output import Prose, in_words, one_line, show_note, show_text, waiting, with_progress, write_json
from qwen_omni.cli.wording import shown_path
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.library.adding import Added
from qwen_omni.library.answers import AskOptions, LibraryAnswer
from qwen_omni.library.ask import LibraryProgress, estimate_library
from qwen_omni.library.library import DEFAULT_PLACE, WINDOWS_PER_QUESTION, VideoLibrary, check_search
from qwen_omni.library.page import answer_page, windows_page
from qwen_omni.library.sources import not_held
from qwen_omni.library.store import is_folder
from qwen_omni.media.files.find import find_media, left_out_text
from qwen_omni.media.files.output import check_targets, write_file
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.embedding import DEFAULT_EMBEDDING_MODEL
from qwen_omni.retrieval.index import PassageOptions
from qwen_omni.retrieval.windows import WINDOW_SECONDS, Window
from qwen_omni.settings import Settings
from qwen_omni.video.export.markdown import bill_text, counted
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.schemas import clock

HELP = "Search many videos, and ask them: add, search, ask, remove."

Place = Annotated[Path, option("The library: a folder, which add creates.", "FOLDER", "--library", "-l")]
EmbeddingName = Annotated[str, option("Model that makes vectors; the same for a whole library.", "NAME", "--embedding")]
MaxCny = Annotated[float | None, option("The most that this run may cost.", "YUAN", "--max-cny")]
Only = Annotated[list[str] | None, option("Only this video, folder or pattern; may be repeated.", "FILE", "--source")]
Page = Annotated[Path | None, option("Write a web page with an image of each window.", "FILE", "--html")]
Language = Annotated[str | None, option("Language of the texts, such as French or 中文.", "NAME", "--language")]


@sharing(service=read_service)
def add(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Videos, recordings, folders or patterns.")],
    *,
    place: Place = Path(DEFAULT_PLACE),
    model: ModelName = DEFAULT_MODEL,
    embedding: EmbeddingName = DEFAULT_EMBEDDING_MODEL,
    detail: Annotated[str, option(f"How closely to look: {', '.join(DETAILS)}.", "NAME")] = "medium",
    language: Language = None,
    transcript: Annotated[bool, typer.Option("--transcript", help="Add what is said, word for word.")] = False,
    max_cny: MaxCny = None,
    as_json: AsJson = False,
    service: Callable[..., Settings],
) -> None:
    """Add videos and recordings to a library; what is in it already costs nothing.

    A file that changed replaces its passages. Interrupted runs resume where they stopped. Files that cannot be read are
    left out, with a note, and the exit code is 1.
    """
    check_files(media, "library add")
    chosen = choose("detail", detail, DETAILS) or "medium"
    summary = SummaryOptions(model=model, language=language, detail=chosen)
    options = PassageOptions(mode="captions", summary=summary, transcript=transcript)
    settings = service(spend_limit=_limit(max_cny))
    sources = list(find_media(media))
    with _opened(place, settings, embedding, options) as library:
        coming = library.iter_add(sources, on_error="warn")
        done = list(with_progress(_lined(coming), len(sources), "Adding", f"Adding {media[0]}"))
    if as_json:
        write_json([_added_fact(one) for one in done], indent=2)
    else:
        show_text(_added_text(done, place))
    errors = [one.error for one in done if one.error is not None]
    if errors and len(errors) == len(done):
        raise errors[0]
    if errors:
        raise typer.Exit(1)


@sharing(service=read_place)
def search(  # noqa: PLR0913
    query: Annotated[str, typer.Argument(metavar="QUERY", help="What to look for: a question, or words.")],
    *,
    place: Place = Path(DEFAULT_PLACE),
    k: Annotated[int, option("How many passages of video (windows) at most.", "NUMBER", "-k")] = 5,
    seconds: Annotated[float, option("Longest window.", "SECONDS")] = WINDOW_SECONDS,
    only: Only = None,
    embedding: EmbeddingName = DEFAULT_EMBEDDING_MODEL,
    as_json: AsJson = False,
    html: Page = None,
    service: Callable[..., Settings],
) -> None:
    """Search a library for what is seen, shown or said; print the windows that match best, with their times."""
    _check_output(as_json=as_json, html=html)
    k = check_search(query, k)
    settings = service()
    check_library(place)
    with _opened(place, settings, embedding) as library, waiting(f"Searching {place}"):
        windows = library.search(query, k, seconds=seconds, sources=only or ())
        page = None if html is None else windows_page(query, windows, html.parent)
    if html is not None and page is not None:
        write_file(html, page)
        show_note(f"wrote {one_line(str(html))}")
    elif as_json:
        write_json([_window_fact(one) for one in windows], indent=2)
    else:
        show_text("\n\n".join(map(_window_text, windows)) or "Nothing was found.")


@sharing(service=read_service)
def ask(  # noqa: PLR0913
    question: Annotated[str, typer.Argument(metavar="QUESTION", help="The question.")],
    *,
    place: Place = Path(DEFAULT_PLACE),
    model: ModelName = DEFAULT_MODEL,
    embedding: EmbeddingName = DEFAULT_EMBEDDING_MODEL,
    k: Annotated[
        int, option("How many passages of video (windows) to consider.", "NUMBER", "-k")
    ] = WINDOWS_PER_QUESTION,
    only: Only = None,
    looks: Annotated[int, option("How many of them to watch again at most.", "NUMBER")] = 6,
    fps: Annotated[float, option("Frames per second of these looks.", "NUMBER")] = 4.0,
    language: Language = None,
    max_cny: MaxCny = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what it may cost; watch nothing.")] = False,
    as_json: AsJson = False,
    html: Page = None,
    service: Callable[..., Settings],
) -> None:
    """Answer a question from a library: search, watch the best windows again, answer with the times that show it.

    --max-cny limits how much video is watched; you always get an answer, which states what it is based on. Asking the
    same question again costs only its embedding.
    """
    _check_output(as_json=as_json, html=html)
    if dry_run and (as_json or html is not None):
        raise ConfigurationError("--dry-run cannot be combined with --json or --html: nothing is answered.")
    k = check_search(question, k)
    options = AskOptions(model=model, looks=looks, fps=fps, language=language)
    settings = service(spend_limit=_limit(max_cny))
    check_library(place)
    sources = only or ()
    with _opened(place, settings, embedding) as library:
        if dry_run:
            finds = functools.partial(library.search, k=k, sources=sources)
            show_text(str(estimate_library(question, finds, settings=settings, options=options)))
            return
        coming = library.stream(question, k=k, sources=sources, options=options)
        found = _shown(coming, streams=not as_json and html is None)
    if html is not None:
        write_file(html, answer_page(found, html.parent))
        show_note(f"wrote {one_line(str(html))}")
    elif as_json:
        write_json(found.model_dump(mode="json"), indent=2)
    elif found.evidence:
        show_text("\n".join(["", *_evidence_lines(found)]))
    for note in (found.basis, bill_text(found.this_run), *found.notices):
        show_note(note)


def remove(
    media: Annotated[list[str], typer.Argument(metavar="FILE", help="Videos, or folders that hold some.")],
    *,
    place: Place = Path(DEFAULT_PLACE),
) -> None:
    """Remove videos from a library; the files themselves are left alone."""
    check_files(media, "library remove")
    check_library(place)
    library = VideoLibrary(place)
    held = [video.source for video in library.videos()]
    for one in media:
        count = library.remove(one)
        if not count:
            raise not_held(one, held, str(place))
        show_text(f"{one}: {counted(count, 'passage')} removed")


COMMANDS: tuple[Callable[..., None], ...] = (add, search, ask, remove)
"""The commands of the group."""


@contextlib.contextmanager
def _opened(
    place: Path, settings: Settings, embedding: str, options: PassageOptions | None = None
) -> Iterator[VideoLibrary]:
    with OmniClient(settings) as client:
        chosen: dict[str, Any] = {} if options is None else {"options": options}
        with VideoLibrary(place, client=client, embedding=embedding, **chosen) as library:
            yield library


def check_library(place: Path) -> None:
    """Refuse to search or serve a folder to which nothing was added.

    Raises:
        ConfigurationError: there is no such folder, or it holds something else.
    """
    if not is_folder(place):
        raise ConfigurationError(
            f"There is no library {place}. Create it: qwen-omni library add FOLDER --library {place}"
        )  # fmt: skip
    if any(place.iterdir()) and not any(place.glob("*.lance")):
        raise ConfigurationError(
            f"{place} is a folder with other files, not a library. Choose another one with --library."
        )


def _check_output(*, as_json: bool, html: Path | None) -> None:
    one_form({"json": as_json, "html": html is not None}, "text")
    if html is not None:
        check_targets([html])


def _limit(max_cny: float | None) -> SpendLimit | None:
    return None if max_cny is None else SpendLimit(cny=max_cny)


# --- What is printed ---


def _shown(coming: Iterator[LibraryProgress | LibraryAnswer], *, streams: bool) -> LibraryAnswer:
    """Show what happens until there is an answer, which is printed while it arrives if it `streams`; return it."""
    printed = ""
    with waiting("Searching") as spinner, Prose() as prose:
        for one in coming:
            if isinstance(one, LibraryAnswer):
                spinner.end()
                if streams and one.answer.startswith(printed):
                    prose.write(f"{one.answer[len(printed) :]}\n")
                elif streams:  # asked again: the first answer was unusable
                    prose.write(f"\n{one.answer}\n")
                return one
            if one.kind != "answer":
                spinner.say(one.text)
            elif streams and one.text.startswith(printed):
                spinner.end()
                prose.write(one.text[len(printed) :])
                printed = one.text
    raise AssertionError("a question ends with its answer")


def _lined(coming: Iterator[Added]) -> Iterator[tuple[str, Added]]:
    for one in coming:
        if one.error is not None:
            yield left_out_text(one.source, one.error), one
        else:
            yield f"{shown_path(one.source)}: {'unchanged' if one.unchanged else counted(one.passages, 'passage')}", one


def _added_text(done: Sequence[Added], place: Path) -> str:
    kept = [one for one in done if one.error is None]
    new = sum(not one.unchanged for one in kept)
    gaps = sum(one.gaps for one in kept)
    text = f"{place}: {new} added, {len(kept) - new} unchanged, {len(done) - len(kept)} left out"
    return f"{text}; {gaps} segments could not be described, and are tried again by the next add" if gaps else text


def _added_fact(one: Added) -> dict[str, Any]:
    fact = {
        "file": one.source, "passages": one.passages, "embedded": one.embedded, "removed": one.removed,
        "unchanged": one.unchanged, "gaps": one.gaps,
    }  # fmt: skip
    return fact if one.error is None else {"file": one.source, "error": in_words(str(one.error))}


def _window_fact(one: Window) -> dict[str, Any]:
    return {"file": one.source, "start": one.start, "end": one.end, "score": one.score, "text": one.text}


def _window_text(one: Window) -> str:
    return f"{shown_path(one.source)} {clock(one.start)}-{clock(one.end)}\n{one.text}"


def _evidence_lines(found: LibraryAnswer) -> list[str]:
    return [
        f"{shown_path(one.source)} {clock(one.start)}-{clock(one.end)}: {' '.join(one.text.split())}"
        f"{'' if one.watched else ' (from notes)'}"
        for one in found.evidence
    ]
