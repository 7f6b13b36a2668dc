"""A summary as a single web page: styles, script and images are embedded; only the video is not.

`shown` decides what is on it; the template (`page.html.j2`) decides the layout. Every text is cleaned and escaped, and
a content security policy allows only the page's own script and style, by their hashes, and the video: titles and events
are model output about an untrusted video.
"""

import base64
import contextlib
import hashlib
import importlib.resources
import os
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.prepare import prepare
from qwen_omni.redact import clean
from qwen_omni.video.export.markdown import bill_text
from qwen_omni.video.schemas import clock

if TYPE_CHECKING:
    from qwen_omni.video.results import VideoSummary

_SMALL = MediaBudget(name="contact sheet", frames=True, fps=1, long_side=320, short_side=320, quality=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class PageChoices:
    """Options for a page.

    Attributes:
        player: path or http(s) URL that the page plays; the summarised file if not given.
        title: title of the page; the file's name if not given.
        pictures: maximum number of images on the contact sheet; 0 for none.
    """

    player: str | Path | None = None
    title: str | None = None
    pictures: int = 24


DEFAULT_CHOICES = PageChoices()


def to_html(summary: "VideoSummary", path: Path | None, choices: PageChoices) -> str:
    """Render the page; save it at `path`, if given.

    Raises:
        ConfigurationError: jinja2 is not installed, or the player's address is not http(s).
    """
    try:
        import jinja2  # noqa: PLC0415 - an extra; loads on first use
    except ImportError as error:
        raise ConfigurationError("HTML pages need an extra package: pip install 'qwen-omni[cli]'.") from error
    template = importlib.resources.files("qwen_omni.video.export").joinpath("page.html.j2").read_text(encoding="utf-8")
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    content = shown(summary, path, choices)
    written = environment.from_string(template).render(content, policy=policy(template, content["player"]))
    if path is not None:
        path.write_text(written, encoding="utf-8")
    return written


def policy(template: str, player: str | None) -> str:
    """Return the content security policy of a page: its own script and style, embedded images, and the video.

    A link to a video may redirect to another host, so its scheme is allowed as a whole, for media only.
    """
    inside = {
        name: " ".join(f"'sha256-{_digest(one)}'" for one in re.findall(rf"(?s)<{name}>(.*?)</{name}>", template))
        for name in ("script", "style")
    }
    video = "http: https:" if (player or "").startswith(("http:", "https:")) else "'self' file:"
    return (
        f"default-src 'none'; script-src {inside['script']}; style-src {inside['style']}; img-src data:; "
        f"media-src {video}; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


def shown(summary: "VideoSummary", path: Path | None, choices: PageChoices) -> dict[str, Any]:
    """Return everything that is on the page."""
    source = summary.video.source
    local = Path(choices.player or source)
    content = {
        "title": choices.title or _name(Path(source).name or source),
        "lang": summary.language or "en",
        "source": _name(source),
        "kind": summary.video.kind,
        "summary": summary.summary,
        "chapters": [{**one.model_dump(), "clock": clock(one.start)} for one in summary.chapters],
        "events": _events(summary),
        "stills": _stills(summary, local, choices.pictures) if local.is_file() else [],
        "gaps": [{"first": clock(one.start), "last": clock(one.end), "reason": one.reason} for one in summary.gaps],
        "this_run": bill_text(summary.this_run),
        "whole_run": bill_text(summary.whole_run),
        "notices": [*summary.notices, *summary.this_run.notes],
        "model": summary.model,
        "text_model": summary.text_model,
    }
    address = player_address(choices.player or source, path, given=choices.player is not None)
    return {**_cleaned(content), "player": address}


def _name(name: str) -> str:
    return clean(name, "terminal", one_line=True)


def _cleaned(value: Any) -> Any:  # noqa: ANN401  (lists and dictionaries of texts and numbers; the template escapes)
    match value:
        case str():
            return clean(value, "terminal")
        case list():
            return [_cleaned(one) for one in value]
        case dict():
            return {name: _cleaned(one) for name, one in value.items()}
        case _:
            return value


def player_address(player: str | Path, page: Path | None, *, given: bool) -> str | None:
    """Return what the player loads: a link unchanged, a file relative to the page; `None` if it does not exist.

    Raises:
        ConfigurationError: the address has another scheme.
    """
    address = str(player)
    scheme = (
        urlsplit(address).scheme.lower() if "://" in address or address.startswith(("data:", "javascript:")) else ""
    )
    if scheme in ("http", "https"):
        return address
    if scheme:
        raise ConfigurationError(f"The player takes a path, or an http or https address, not {scheme}:.")
    file = Path(address)
    if not given and not file.is_file():
        return None
    with contextlib.suppress(ValueError):  # another drive
        return quote(Path(os.path.relpath(file.absolute(), (page or Path("page")).absolute().parent)).as_posix())
    return file.absolute().as_uri()


def _events(summary: "VideoSummary") -> list[dict[str, Any]]:
    entries = [("", one) for one in summary.events]
    entries += [("text", one) for one in summary.on_screen_text]
    entries += [("speech", one) for one in summary.speech]
    entries.sort(key=lambda pair: (pair[1].start, pair[1].end))
    return [{**one.model_dump(), "clock": clock(one.start), "sort": sort} for sort, one in entries]


def _stills(summary: "VideoSummary", file: Path, most: int) -> list[dict[str, Any]]:
    """Return an image from the middle of each chapter; fewer if the file cannot be read."""
    if summary.video.kind == "audio" or most <= 0:
        return []
    chapters = summary.chapters[:: max(1, -(-len(summary.chapters) // most))]
    images = []
    for chapter in chapters:
        middle = (chapter.start + chapter.end) / 2
        with contextlib.suppress(QwenOmniError):
            prepared = prepare(file, start=middle, end=middle + 1, budget=replace(_SMALL))
            with prepared:
                data = base64.b64encode(prepared.stills[0].data).decode() if prepared.stills else ""
            if data:
                image = {"start": chapter.start, "clock": clock(chapter.start), "title": chapter.title, "data": data}
                images.append(image)
    return images
