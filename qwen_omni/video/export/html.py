"""A summary as a single web page: styles, script and images are embedded; only the video is not.

`shown` decides what is on it; `page.html.j2`, `page.css` and `page.js` decide how it looks and behaves. Every text is
cleaned and escaped, and a content security policy allows only the page's own scripts and style, by their hashes, and
the video: titles and events are model output about an untrusted video.
"""

import base64
import bisect
import contextlib
import hashlib
import importlib.resources
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

from qwen_omni._moved import with_old_options
from qwen_omni.errors import ConfigurationError
from qwen_omni.ranges import COUNT, check_numbers
from qwen_omni.redact import clean, with_leaves
from qwen_omni.structured.subtitles import to_webvtt
from qwen_omni.video.export.markdown import bill_text, counted, to_captions
from qwen_omni.video.export.thumbnails import thumbnails
from qwen_omni.video.schemas import MOST_CHAPTERS, clock

if TYPE_CHECKING:
    from qwen_omni.video.results import VideoSummary

_GROUP = 40  # entries that a browser lays out together; those off screen are skipped
_LONG = 20  # seconds of a chapter, within which an image may come from a little earlier: its start is far enough
_STRIP = 1000  # width of the bar of chapters, in its own units
_KINDS = {"event": "Events", "speech": "Speech", "text": "Text on screen"}
# Marks without a glyph that only order text; every element of the page orders its own text.
_ORDER_MARKS = {0x200E: None, 0x200F: None, 0x061C: None}


@with_old_options("images")
@dataclass(frozen=True, slots=True, kw_only=True)
class PageChoices:
    """Options for a page.

    Attributes:
        player: path or http(s) URL that the page plays; the summarised file if not given.
        title: title of the page; the file's name if not given.
        images: maximum number of chapters with an image; 0 for no images at all.
    """

    player: str | Path | None = None
    title: str | None = None
    images: int = MOST_CHAPTERS

    def __post_init__(self) -> None:
        check_numbers(self, {"images": COUNT})


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
    template, style, early, script = map(_file, ("page.html.j2", "page.css", "theme.js", "page.js"))
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["seconds"] = _seconds
    content = shown(summary, path, choices)
    allowed = policy(content["player"], scripts=(early, script), style=style)
    written = environment.from_string(template).render(content, policy=allowed, style=style, early=early, script=script)
    if path is not None:
        path.write_text(written, encoding="utf-8")
    return written


def _file(name: str) -> str:
    return importlib.resources.files("qwen_omni.video.export").joinpath(name).read_text(encoding="utf-8")


def _seconds(time: float) -> str:
    return f"{time:.3f}".rstrip("0").rstrip(".")


def policy(player: str | None, *, scripts: Iterable[str], style: str) -> str:
    """Return the content security policy of a page: its own scripts and style, embedded images, and the video.

    A link to a video may redirect to another host, so its scheme is allowed as a whole, for media only. Subtitles are
    embedded (`data:`), and a file that the reader chooses has an address of the browser's own (`blob:`).
    """
    video = "http: https:" if (player or "").startswith(("http:", "https:")) else "'self' file:"
    return (
        f"default-src 'none'; script-src {' '.join(map(_digest, scripts))}; style-src {_digest(style)}; "
        f"img-src data:; media-src {video} data: blob:; base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def shown(summary: "VideoSummary", path: Path | None, choices: PageChoices) -> dict[str, Any]:
    """Return everything that is on the page."""
    source, video = summary.video.source, summary.video
    address = player_address(choices.player or source, path, given=choices.player is not None)
    local = Path(choices.player or source)
    seen = video.kind != "audio" and choices.images > 0
    images = _images(summary, local, choices.images) if seen else {}
    content = {
        "title": choices.title or _name(Path(source).name or source),
        "name": _name(Path(source).name or source),
        "lang": summary.language,
        "kind": "audio" if video.kind == "audio" else "video",
        "size": (video.width, video.height) if video.width and video.height else None,
        "codecs": [one for one in (video.video_codec, video.audio_codec) if one],
        "duration": video.duration or 0,
        "facts": _facts(summary),
        "summary": [one.strip() for one in summary.summary.splitlines() if one.strip()],
        "chapters": _chapters(summary, images),
        "has_images": bool(images),
        "poster": _poster(summary, local, images) if seen else "",
        "groups": list(_groups(summary)),
        "counts": _counts(summary),
        "tracks": list(_tracks(summary)),
        "gaps": [
            {"start": one.start, "first": clock(one.start), "last": clock(one.end), "reason": one.reason}
            for one in summary.gaps
        ],
        "this_run": bill_text(summary.this_run),
        "whole_run": bill_text(summary.whole_run) if summary.whole_run != summary.this_run else "",
        "notices": [*summary.notices, *summary.this_run.notes],
        "models": " and ".join(dict.fromkeys(filter(None, (summary.model, summary.text_model)))),
    }
    return {**with_leaves(content, _cleaned), "player": address}


def _name(name: str) -> str:
    return clean(name, "terminal", one_line=True)


def _cleaned(value: object) -> object:  # the template escapes
    return clean(value.translate(_ORDER_MARKS), "terminal") if isinstance(value, str) else value


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


def _facts(summary: "VideoSummary") -> list[str]:
    """Return the line below the title."""
    video = summary.video
    chapters = len(summary.chapters)
    facts = [
        "" if video.duration is None else clock(video.duration),
        f"{video.width} × {video.height}" if video.width and video.height else "",  # noqa: RUF001  (the sign of sizes)
        counted(chapters, "chapter") if chapters else "",
        summary.model,
    ]
    return [one for one in facts if one]


def _counts(summary: "VideoSummary") -> list[dict[str, Any]]:
    """Return the kinds of entries that there are."""
    counts = {"event": len(summary.events), "speech": len(summary.speech), "text": len(summary.on_screen_text)}
    return [{"kind": kind, "name": _KINDS[kind], "count": count} for kind, count in counts.items() if count]


def _chapters(summary: "VideoSummary", images: dict[int, tuple[float, str]]) -> list[dict[str, Any]]:
    """Return the chapters, each with its image, and its place in the bar of chapters."""
    last = max([summary.video.duration or 0, *(one.end for one in summary.chapters)], default=0) or 1
    return [
        {
            **one.model_dump(),
            "clock": clock(one.start),
            "image": images[index][1] if index in images else "",
            "x": round(one.start / last * _STRIP, 1),
            "width": round(max(0.0, one.end - one.start) / last * _STRIP, 1),
        }
        for index, one in enumerate(summary.chapters)
    ]


def _groups(summary: "VideoSummary") -> Iterator[dict[str, Any]]:
    """Yield the entries in order of time, chapter by chapter, at most `_GROUP` in a group."""
    entries = [("event", one) for one in summary.events]
    entries += [("text", one) for one in summary.on_screen_text]
    entries += [("speech", one) for one in summary.speech]
    entries.sort(key=lambda pair: (pair[1].start, pair[1].end))
    starts = [one.start for one in summary.chapters]
    for index, found in groupby(entries, lambda pair: bisect.bisect(starts, pair[1].start) - 1):
        rows = [{**one.model_dump(), "clock": clock(one.start), "kind": kind} for kind, one in found]
        title = summary.chapters[index].title if index >= 0 else ""
        for first in range(0, len(rows), _GROUP):
            yield {"title": "" if first else title, "entries": rows[first : first + _GROUP]}


def _tracks(summary: "VideoSummary") -> Iterator[dict[str, str]]:
    """Yield subtitles: what is said, and what happens. They end a millisecond early.

    After a seek to the very end of a caption Chromium would show it until the next one ends.
    """
    for kind, notes in (("speech", summary.speech), ("event", summary.events)):
        captions = [one.model_copy(update={"end": max(one.start, one.end - 0.001)}) for one in to_captions(notes)]
        if captions:
            yield {"name": _KINDS[kind], "data": base64.b64encode(to_webvtt(captions).encode()).decode()}


def _images(summary: "VideoSummary", file: Path, most: int) -> dict[int, tuple[float, str]]:
    """Return images from the middles of chapters, by the chapter's number; fewer if the file cannot be read."""
    step = max(1, -(-len(summary.chapters) // most))
    middles = {one.middle: index for index, one in reversed([*enumerate(summary.chapters)][::step])}
    exact = (summary.video.duration or 0) < _LONG * len(middles)
    return {middles[at]: (at, data) for at, data in thumbnails(file, sorted(middles), side=320, exact=exact)}


def _poster(summary: "VideoSummary", file: Path, images: dict[int, tuple[float, str]]) -> str:
    """Return a larger image of the moment that shows most, so that it is not a black frame."""
    best, small = max(images.values(), key=lambda one: len(one[1]), default=((summary.video.duration or 0) / 10, ""))
    return next((data for _, data in thumbnails(file, [best], side=960)), small)
