"""What a LangChain block asks about its media. Pure.

What the service should look at (`fps`, `min_pixels`, `max_pixels`, `total_pixels`) and what is done to local media
before it is sent (`start`, `end`, `budget`, `audio_track`) is taken from `extras`, from beside the media, or from
inside the object that holds it (`image_url`, `file`, `source`, …). A local file's address may name its seconds, too.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.messages import CacheTime
from qwen_omni.part_options import MediaKind, PartOptions, check_options, read_cache_mark, seconds_of

Block = Mapping[str, Any]
# Names and hints that decide nothing about what the model sees. `cache_of` reads the mark of a cache.
_WITHOUT_EFFECT = frozenset(
    {"type", "id", "index", "mime_type", "media_type", "source_type", "format", "name", "filename", "title",
     "cache_control", "annotations", "citations", "mimeType"}
)  # fmt: skip
_OF_TEXT = _WITHOUT_EFFECT | {"text", "refusal", "base64", "url", "file_id", "data", "context"}
# Before the name of what stood inside an OpenAI object, where LangChain has moved it to the extras.
_INSIDE = ("file_", "audio_", "image_url_")


def asked(kind: MediaKind, block: Block, place: str, *, skip: set[str]) -> PartOptions:
    """Collect the options of a block; an option that is not known raises rather than being dropped.

    Args:
        kind: of the media.
        block: with its options.
        place: where, in words.
        skip: the fields that hold the media itself, or its address.

    Raises:
        UnsupportedContentError: an unknown option, or a wrong value; names the place.
    """
    told = flat(block, place)
    options = {name: value for name, value in told.items() if name not in {*skip, *_WITHOUT_EFFECT}}
    seconds = {} if kind == "image" else _seconds([held for name, held in block.items() if name in skip], place)
    return check_options(kind, {**seconds, **options}, place)


def asked_of_text(block: Block, place: str) -> None:
    """Refuse what a text cannot be asked; it has no options.

    Raises:
        UnsupportedContentError: a key that would be dropped; names the place.
    """
    unknown = next((name for name, value in flat(block, place).items() if name not in _OF_TEXT and value), None)
    if unknown is not None:
        raise UnsupportedContentError(f"{place}: text has no option {unknown!r}; known here: cache_control.")


def cache_of(block: Block, place: str) -> CacheTime | None:
    """Read the mark of a cache (`"cache_control": {"type": "ephemeral"}`), beside the content or inside what holds it.

    Raises:
        UnsupportedContentError: it is not written so; names the place.
    """
    inside = [held for held in block.values() if isinstance(held, Mapping) and "cache_control" in held]
    marks = (flat(one, place).get("cache_control") for one in (block, *inside))
    return read_cache_mark(next((mark for mark in marks if mark is not None), None), place)


def _seconds(held: Sequence[object], place: str) -> PartOptions:
    """Read the seconds in an address (`file:///talk.mp4#t=60,90`), wherever it stands."""
    inside = [one for fields in held if isinstance(fields, Mapping) for one in fields.values()]
    found = (seconds_of(one, place) for one in (*held, *inside) if isinstance(one, str))
    return next(filter(None, found), {})


def flat(fields: Block, place: str) -> dict[str, Any]:
    """Give a block, or an object inside one, with its extras among its fields; what stands beside the media wins.

    Raises:
        UnsupportedContentError: the extras are no dictionary; names the place.
    """
    inside: dict[str, Any] = {}
    beside = {name: value for name, value in fields.items() if name != "extras"}
    for name, value in _extras(fields, place).items():
        start = None if name == "audio_track" else next((one for one in _INSIDE if str(name).startswith(one)), None)
        if start is None:
            beside[name] = value
        else:
            inside[name.removeprefix(start)] = value
    return {**_opened(inside, place), **_opened(beside, place)}  # LangChain puts a block's extras into its own


def _opened(fields: Block, place: str) -> dict[str, Any]:
    return {**{name: value for name, value in fields.items() if name != "extras"}, **_extras(fields, place)}


def _extras(fields: Block, place: str) -> Block:
    extras = fields.get("extras") or {}
    if not isinstance(extras, Mapping):
        raise UnsupportedContentError(f"{place}: extras must be a dictionary, not {type(extras).__name__}.")
    return extras
