"""LlamaIndex content blocks → parts of our `Message`.

Shape only: no file is opened and nothing is downloaded here. One function per kind of block, each of which returns
values; a block that cannot be sent raises and names its place. `_options` finds what is asked beside the media, and
`_messages` is the other half.
"""

import json
import mimetypes
from collections.abc import Mapping
from dataclasses import replace
from io import IOBase
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CachePoint,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from qwen_omni.errors import MediaError, UnsupportedContentError
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Part, TextPart
from qwen_omni.part_options import (
    SAMPLING,
    MediaKind,
    check_options,
    media_part,
    read_cache_mark,
    seconds_of,
    sniffed_kind,
)

Options = Mapping[str, Any]
_SAYS_NOTHING = ("", "application/octet-stream")


def to_parts(block: BaseContentBlock, place: str, asked: Options) -> tuple[Part, ...]:
    """Turn one block into parts: one, several for citable content, none for what has no effect on the service.

    Args:
        block: what the message holds.
        place: where, in words.
        asked: what the message says about this piece of media.

    Raises:
        UnsupportedContentError: the block is of a kind, or has an option, that cannot be sent; names the place.
        MediaError: the block's media is not what it says (base64 that cannot be decoded, an unknown scheme).
    """
    try:
        return _by_kind(block, place, asked)
    except MediaError as error:
        error.args = (f"{place}: {error}",)
        raise


def refuse(block: BaseContentBlock, place: str, reason: str) -> NoReturn:
    """Say that a block cannot be sent.

    Raises:
        UnsupportedContentError: always.
    """
    raise UnsupportedContentError(f"{place}: {kind_of(block)!r} is not supported; {reason}.")


def kind_of(block: BaseContentBlock) -> str:
    """Name the kind of a block for people."""
    kind = str(getattr(block, "block_type", type(block).__name__))
    return f"{kind} ({block.document_mimetype})" if isinstance(block, DocumentBlock) else kind


def media_kind(block: BaseContentBlock) -> MediaKind | None:
    """Tell which kind of media a block holds; `None` if it holds none that can be sent."""
    match block:
        case ImageBlock():
            return "image"
        case AudioBlock():
            return "audio"
        case VideoBlock():
            return "video"
        case DocumentBlock():
            told = next((kind for kind in SAMPLING if _document_type(block).startswith(f"{kind}/")), None)
            says_nothing = _document_type(block) in _SAYS_NOTHING
            return sniffed_kind(_bytes(block.data)) if says_nothing and block.data is not None else told
        case _:
            return None


def own_options(block: BaseContentBlock, place: str) -> Options:
    """Give what a block itself says about its media.

    A video has its `fps`, a whole number in LlamaIndex; a local file's address may have a media fragment
    (`file:///talk.mp4#t=60,90`), which is how documents of `QwenOmniVideoReader` name a passage.

    Raises:
        UnsupportedContentError: the address of a local file names its seconds in another way.
    """
    told: dict[str, Any] = {}
    if isinstance(block, ImageBlock | VideoBlock) and block.detail is not None:
        told["detail"] = block.detail
    if isinstance(block, VideoBlock) and block.fps is not None:
        told["fps"] = block.fps
    if isinstance(block, VideoBlock | AudioBlock | DocumentBlock) and media_kind(block) in ("audio", "video"):
        told |= seconds_of(str(block.url or ""), place)
    return told


def source_of(block: BaseContentBlock, place: str) -> MediaSource:
    """Find where a block's media is: in it, behind a path, behind a URL; in LlamaIndex's order."""
    match block:
        case ImageBlock():
            return _source(block, block.image, block.image_mimetype, place)
        case AudioBlock():
            return _source(block, block.audio, f"audio/{block.format}" if block.format else None, place)
        case VideoBlock():
            return _source(block, block.video, block.video_mimetype, place)
        case DocumentBlock():
            told = _document_type(block)
            return _source(block, block.data, None if told in _SAYS_NOTHING else told, place)
        case _:
            refuse(block, place, "it is no media")


def _by_kind(block: BaseContentBlock, place: str, asked: Options) -> tuple[Part, ...]:
    match block:
        case TextBlock():
            return (TextPart(text=block.text),)
        case ImageBlock() | AudioBlock() | VideoBlock() | DocumentBlock():
            return (_media(block, place, asked),)
        case CitableBlock():
            return _citable(block, place)
        case CitationBlock():
            return (TextPart(text=_cited(block, place)),)
        case CachePoint():
            return ()  # `marked` has put it on the part before
        case ThinkingBlock() | ToolCallBlock():
            refuse(block, place, "only an assistant's message holds it")
        case _:
            refuse(block, place, "text, images, audio, video and lists of frames can be sent")


def _media(block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock, place: str, asked: Options) -> Part:
    kind = media_kind(block)
    if kind is None and isinstance(block, DocumentBlock):
        return _text_document(block, place)
    if kind is None:
        refuse(block, place, "it does not say whether it is video, audio or an image")
    return media_part(kind, source_of(block, place), check_options(kind, asked, place))


def _text_document(block: DocumentBlock, place: str) -> TextPart:
    if not _document_type(block).startswith("text/"):
        refuse(block, place, "a document must be text, video, audio or an image, and say so by its type or name")
    if block.data is None:
        refuse(block, place, "a text document must carry its text; files and links of text are not followed")
    try:
        return TextPart(text=_bytes(block.data).decode())
    except UnicodeDecodeError:
        refuse(block, place, "its data is not UTF-8 text")


def _document_type(block: DocumentBlock) -> str:
    """Tell the type: as it is written, or by a name. LlamaIndex writes one itself, misled by signed addresses."""
    named = (block.path, urlsplit(block.url or "").path, block.title)
    told = [block.document_mimetype, *(mimetypes.guess_type(str(name))[0] for name in named if name)]
    found = [kind for kind in told if kind]
    return next((kind for kind in found if kind.partition("/")[0] in (*SAMPLING, "text")), (found or [""])[0])


def _citable(block: CitableBlock, place: str) -> tuple[Part, ...]:
    """Put the title and the source of what may be cited before it; the service has no citations of its own."""
    parts: list[Part] = [TextPart(text=f"{block.title} ({block.source}):")]
    for at, inner in enumerate(block.content):
        here = f"{place} content {at}"
        parts += to_parts(inner, here, own_options(inner, here))
    return tuple(parts)


def _cited(block: CitationBlock, place: str) -> str:
    if not isinstance(block.cited_content, TextBlock):
        refuse(block, place, "only cited text can be sent")
    return f'"{block.cited_content.text}" ({block.title}, {block.source})'


def _source(
    block: ImageBlock | AudioBlock | VideoBlock | DocumentBlock,
    held: bytes | IOBase | None,
    mime: str | None,
    place: str,
) -> MediaSource:
    if held is not None:
        return MediaSource.from_bytes(_bytes(held), media_type=mime)
    if block.path:
        return MediaSource.from_path(Path(block.path), media_type=mime)
    if block.url:
        return MediaSource.from_url(str(block.url), media_type=mime)
    refuse(block, place, "it has no data, path or url")


def _bytes(held: bytes | IOBase) -> bytes:
    """Give what a block holds. LlamaIndex keeps bytes as base64, and files as they are."""
    if isinstance(held, IOBase):
        if held.seekable():
            held.seek(0)
        read = held.read()
        return read if isinstance(read, bytes) else str(read).encode()
    data = _decoded(held)
    if data is None:
        return held  # media as they are
    twice = _decoded(data)  # LlamaIndex takes URL-safe base64 for media, and writes it in base64 again
    return twice if twice is not None and sniffed_kind(twice) is not None else data


def _decoded(text: bytes) -> bytes | None:
    try:
        return MediaSource.from_base64(text.decode("ascii")).data
    except (UnicodeDecodeError, MediaError):
        return None


def marked(parts: list[Part], mark: object, place: str) -> None:
    """Put the mark of a cache on the last of these parts that can bear it.

    Raises:
        UnsupportedContentError: there is none, or the mark is written in another way.
    """
    cache = read_cache_mark(mark, place)
    at = next((at for at in reversed(range(len(parts))) if hasattr(parts[at], "cache")), None)
    if cache is None:
        return
    if at is None:
        raise UnsupportedContentError(f"{place}: nothing before it in the message can be cached; put it behind a text.")
    parts[at] = replace(parts[at], cache=cache)  # type: ignore[arg-type]  # it has it


def mark_of(block: CachePoint) -> dict[str, Any]:
    """Write a cache point as the mark that other libraries write."""
    return block.cache_control.model_dump(exclude_none=True)


def arguments_text(block: ToolCallBlock) -> str:
    """Give the arguments of a call as JSON text."""
    kept = block.tool_kwargs
    return kept if isinstance(kept, str) else json.dumps(kept, ensure_ascii=False)
