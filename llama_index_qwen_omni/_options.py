"""What a LlamaIndex message asks about its media, and which block each wish is for. Pure.

LlamaIndex's blocks have no room for most of it, so it stands in the message's `additional_kwargs`:

- `fps`, `min_pixels`, `max_pixels`, `total_pixels`, `start`, `end`, `budget`, `audio_track`: for every piece of media
  of the message that has such an option;
- `media`: a list with a dictionary of these (or `None`) for each piece of media, in order; one dictionary alone
  where there is one piece;
- `frames`: `True`, or a dictionary of options: the images of the message are the frames of one silent video.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import BaseContentBlock, CachePoint, ChatMessage, ImageBlock

from llama_index_qwen_omni._parts import mark_of, marked, media_kind, own_options, to_parts
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Part, media_of
from qwen_omni.part_options import SAMPLING, MediaKind, check_options, frames_part, known_options

_OPTIONS = frozenset(name for kind in SAMPLING for name in known_options(kind))
_KNOWN = (*sorted(_OPTIONS), "media", "frames", "name", "cache_control")
# Where LlamaIndex itself puts something: old spellings of images and tools, which it turns into blocks.
_OF_LLAMA_INDEX = frozenset({"images", "tool_calls", "tool_call_id"})


def parts_with_options(message: ChatMessage, place: str) -> tuple[Part, ...]:
    """Turn the blocks of a user's, a system's or a tool's message into parts, with what is asked about them.

    Raises:
        UnsupportedContentError: a block that cannot be sent, or a wish that fits no block.
        MediaError: media that is not what it says.
    """
    wishes = message.additional_kwargs
    if wishes.get("frames") not in (None, False):
        return _with_frames(message, place)
    asked = _per_block(message.blocks, wishes, place)
    parts: list[Part] = []
    for at, (block, options) in enumerate(zip(message.blocks, asked, strict=True)):
        here = f"{place} block {at}"
        parts += to_parts(block, here, options)
        if isinstance(block, CachePoint):
            marked(parts, mark_of(block), here)
    marked(parts, wishes.get("cache_control"), place)
    return tuple(parts)


def _per_block(blocks: Sequence[BaseContentBlock], wishes: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    """List what is asked about each block, media or not."""
    kinds = [media_kind(block) for block in blocks]
    if any(kinds):
        _refuse_unknown(wishes, place)
    shared = {name: wishes[name] for name in _OPTIONS if wishes.get(name) is not None}
    for name in shared:
        if not any(kind and name in known_options(kind) for kind in kinds):
            raise UnsupportedContentError(f"{place}: no block of the message has an option {name!r}.")
    each = _each(wishes.get("media"), sum(kind is not None for kind in kinds), place)
    return [
        {} if kind is None else {**_fitting(shared, kind), **own_options(block, f"{place} block {at}"), **next(each)}
        for at, (block, kind) in enumerate(zip(blocks, kinds, strict=True))
    ]


def _fitting(shared: Mapping[str, Any], kind: MediaKind) -> dict[str, Any]:
    return {name: value for name, value in shared.items() if name in known_options(kind)}


def _each(told: object, count: int, place: str) -> Iterator[Mapping[str, Any]]:
    given: Sequence[object]
    match told:
        case None:
            given = [None] * count
        case Mapping():
            given = [told]
        case list() | tuple():
            given = told
        case _:
            raise UnsupportedContentError(f"{place}: media must be a dictionary or a list of them.")
    if len(given) != count:
        raise UnsupportedContentError(
            f"{place}: media has {len(given)} entries and the message {count} pieces of media; write one for each, "
            "None where there is nothing to say."
        )
    for entry in given:
        if entry is not None and not isinstance(entry, Mapping):
            raise UnsupportedContentError(f"{place}: media must be a dictionary or a list of them.")
    return iter([entry if isinstance(entry, Mapping) else {} for entry in given])


def _refuse_unknown(wishes: Mapping[str, Any], place: str) -> None:
    unknown = next((name for name in wishes if name not in _KNOWN and name not in _OF_LLAMA_INDEX), None)
    if unknown is not None:
        raise UnsupportedContentError(
            f"{place}: nobody would obey {unknown!r} in additional_kwargs; known here: {', '.join(_KNOWN)}."
        )


def _frame(block: ImageBlock, place: str) -> tuple[MediaSource, ...]:
    if check_options("image", own_options(block, place), place):
        raise UnsupportedContentError(f"{place}: a frame has no detail of its own; ask for max_pixels of all frames.")
    return tuple(source for part in to_parts(block, place, {}) for source in media_of(part))


def _with_frames(message: ChatMessage, place: str) -> tuple[Part, ...]:
    wishes = message.additional_kwargs
    _refuse_unknown(wishes, place)
    if wishes.get("media") is not None:
        raise UnsupportedContentError(f"{place}: beside frames nobody would obey media; write frames={{…}} about them.")
    told = wishes["frames"]
    own = told if isinstance(told, Mapping) else {}
    options = check_options("video", {**{name: wishes[name] for name in _OPTIONS & set(wishes)}, **own}, place)
    frames = tuple(
        source
        for at, block in enumerate(message.blocks)
        if isinstance(block, ImageBlock)
        for source in _frame(block, f"{place} block {at}")
    )
    if not frames:
        raise UnsupportedContentError(f"{place}: frames asks for a video of images, and the message has none.")
    parts: list[Part] = []
    given = False
    for at, block in enumerate(message.blocks):
        if not isinstance(block, ImageBlock):
            here = f"{place} block {at}"
            parts += to_parts(block, here, own_options(block, here))
            if isinstance(block, CachePoint):
                marked(parts, mark_of(block), here)
        elif not given:
            parts.append(frames_part(frames, options, place))
            given = True
    marked(parts, wishes.get("cache_control"), place)
    return tuple(parts)
