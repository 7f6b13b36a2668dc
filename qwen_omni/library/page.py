"""What a search found, or an answer, as a single web page with an image of each window. Pure, apart from the images.

Every text is cleaned and escaped, and a content security policy allows the page's own style and embedded images alone:
texts are model output about untrusted videos.
"""

import importlib.resources
import mimetypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from qwen_omni.errors import ConfigurationError
from qwen_omni.library.answers import LibraryAnswer
from qwen_omni.notebook import MOST_IMAGES, Card, Row
from qwen_omni.redact import clean, with_leaves
from qwen_omni.retrieval.windows import Window
from qwen_omni.video.export.html import policy
from qwen_omni.video.export.markdown import bill_text
from qwen_omni.video.export.thumbnails import thumbnails
from qwen_omni.video.schemas import clock

_SIDE, _CARD_SIDE = 320, 160  # pixels of the longer side of an image, on a page and in a card


def windows_page(question: str, windows: Sequence[Window], folder: Path | None = None) -> str:
    """Return a page with the windows that a search found.

    Args:
        question: what was searched for.
        windows: what was found, best first.
        folder: where the page will be, so that links to the videos are relative; absolute if not given.

    Raises:
        ConfigurationError: jinja2 is not installed.

    Example:
        from qwen_omni import VideoLibrary
        from qwen_omni.library.page import windows_page

        with VideoLibrary("library.lance") as library:
            page = windows_page("a red car", library.search("a red car"))
    """
    entries = [_entry(one.source, (one.start, one.end), one.text, folder) for one in windows]
    return _rendered(question, entries, {})


def answer_page(found: LibraryAnswer, folder: Path | None = None) -> str:
    """Return a page with an answer and what supports it; see `windows_page`."""
    entries = [
        {**_entry(one.source, (one.start, one.end), one.text, folder), "watched": one.watched} for one in found.evidence
    ]
    return _rendered(
        found.question, entries,
        {"answer": found.answer, "basis": found.basis, "cost": bill_text(found.this_run), "notices": found.notices},
    )  # fmt: skip


def answer_card(found: LibraryAnswer) -> Card:
    """Return what notebooks show for an answer: its text, what supports it with images, its basis and cost."""
    rows = [
        Row(
            (f"{Path(one.source).name}\n{clock(one.start)}", one.text),
            _image(one.source, one.start, one.end, _CARD_SIDE) if at < MOST_IMAGES else "",
        )
        for at, one in enumerate(found.evidence)
    ]
    return Card(
        title=found.question,
        text=found.answer,
        rows=rows,
        notes=[found.basis, f"this run: {bill_text(found.this_run)}", *found.notices],
    )


def _entry(source: str, times: tuple[float, float], text: str, folder: Path | None) -> dict[str, Any]:
    start, end = times
    return {
        "name": Path(source).name,
        "link": f"{_address(Path(source), folder)}#t={start:.10g},{end:.10g}",
        "first": clock(start),
        "last": clock(end),
        "lines": text.splitlines(),
        "image": _image(source, start, end, _SIDE),
        "audio": (mimetypes.guess_type(source)[0] or "").startswith("audio/"),
        "watched": None,
    }


def _image(source: str, start: float, end: float, side: int) -> str:
    """Return the image in the middle of a time range; empty if there is none."""
    images = dict(thumbnails(Path(source), [(start + end) / 2], side=side))
    return next(iter(images.values()), "")


def _address(source: Path, folder: Path | None) -> str:
    if folder is None:
        return source.absolute().as_uri()
    return quote(os.path.relpath(source.absolute(), folder.absolute()).replace(os.sep, "/"))


def _rendered(question: str, entries: list[dict[str, Any]], answer: dict[str, Any]) -> str:
    try:
        import jinja2  # noqa: PLC0415 - an extra; loads on first use
    except ImportError as error:
        raise ConfigurationError("HTML pages need an extra package: pip install 'qwen-omni[cli]'.") from error
    folder = importlib.resources.files("qwen_omni.library")
    template, style = (
        folder.joinpath(name).read_text(encoding="utf-8") for name in ("page.html.j2", "page.css")
    )  # fmt: skip
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    content = with_leaves({"title": question, "entries": entries, "answer": answer}, _cleaned)
    return environment.from_string(template).render(content, style=style, policy=policy(None, scripts=(), style=style))


def _cleaned(value: object) -> object:
    return clean(value, "model") if isinstance(value, str) else value
