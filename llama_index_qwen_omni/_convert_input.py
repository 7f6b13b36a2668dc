"""LlamaIndex messages and content blocks → the neutral conversation (`qwen_omni.messages`).

Only the structure is converted: no file is opened and nothing is downloaded. One function per kind of block; a block
that cannot be sent raises an error that says where. Nothing is dropped silently, with two exceptions that the service
dictates: speech in earlier answers is sent as text only, and their reasoning goes only to models that accept it.

LlamaIndex's blocks have no fields for most options of media, so these go into the message's `additional_kwargs`:

- `fps`, `min_pixels`, `max_pixels`, `total_pixels`, `start`, `end`, `budget`, `audio_track`: for every piece of media
  of the message that supports the option;
- `media`: a list with a dictionary of these (or `None`) for each piece of media, in order; a single dictionary is
  enough for one piece;
- `frames`: `True`, or a dictionary of options: the images of the message are the frames of one silent video.
"""

import mimetypes
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import IOBase
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import (
    AudioBlock,
    BaseContentBlock,
    CachePoint,
    ChatMessage,
    CitableBlock,
    CitationBlock,
    DocumentBlock,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from qwen_omni.errors import MediaError, UnsupportedContentError
from qwen_omni.integrations.media_options import (
    SAMPLING,
    MediaKind,
    check_options,
    frames_part,
    known_options,
    mark_last,
    media_part,
    seconds_of,
    sniffed_kind,
)
from qwen_omni.integrations.request_builder import Turn, arguments_text, join_turns, tool_turn
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Message, Part, Role, TextPart, ThinkingPart, ToolCallPart, media_of

Options = Mapping[str, Any]
MediaBlock = ImageBlock | AudioBlock | VideoBlock | DocumentBlock
Convert = Callable[[BaseContentBlock, str], Sequence[Part]]
_SAYS_NOTHING = ("", "application/octet-stream")


def to_parts(block: BaseContentBlock, place: str, asked: Options) -> tuple[Part, ...]:
    """Convert one block to parts: one, several for citable content, none for blocks that do not affect the request.

    Args:
        block: a block of the message.
        place: its position, in words.
        asked: the message's options for this piece of media.

    Raises:
        UnsupportedContentError: the block, or one of its options, cannot be sent; the error says where.
        MediaError: the block's media is invalid (base64 that cannot be decoded, an unknown scheme).
    """
    try:
        return _by_kind(block, place, asked)
    except MediaError as error:
        error.args = (f"{place}: {error}",)
        raise


def refuse(block: BaseContentBlock, place: str, reason: str) -> NoReturn:
    """Raise the error for a block that cannot be sent.

    Raises:
        UnsupportedContentError: always.
    """
    raise UnsupportedContentError(f"{place}: {kind_of(block)!r} is not supported; {reason}.")


def kind_of(block: BaseContentBlock) -> str:
    """Return a readable name of a block's kind."""
    kind = str(getattr(block, "block_type", type(block).__name__))
    return f"{kind} ({block.document_mimetype})" if isinstance(block, DocumentBlock) else kind


def media_kind(block: BaseContentBlock) -> MediaKind | None:
    """Return the kind of media in a block; `None` if it holds none that can be sent."""
    match block:
        case ImageBlock() | AudioBlock() | VideoBlock():
            return block.block_type
        case DocumentBlock():
            mime = _document_type(block)
            if mime in _SAYS_NOTHING and block.data is not None:
                return sniffed_kind(_bytes(block.data))
            return next((kind for kind in SAMPLING if mime.startswith(f"{kind}/")), None)
        case _:
            return None


def held_by(block: MediaBlock) -> bytes | IOBase | None:
    """Return the media itself, if the block holds it: base64 or an open file."""
    held: bytes | IOBase | None = getattr(block, "data" if isinstance(block, DocumentBlock) else block.block_type)
    return held


def own_options(block: BaseContentBlock, place: str) -> Options:
    """Return the media options of a block itself.

    A video has its `fps`, a whole number in LlamaIndex; the URL of a local file may have a media fragment
    (`file:///talk.mp4#t=60,90`), which documents of `QwenOmniVideoReader` use to refer to a passage.

    Raises:
        UnsupportedContentError: the URL of a local file has another fragment.
    """
    options: dict[str, Any] = {}
    if isinstance(block, ImageBlock | VideoBlock) and block.detail is not None:
        options["detail"] = block.detail
    if isinstance(block, VideoBlock) and block.fps is not None:
        options["fps"] = block.fps
    if isinstance(block, VideoBlock | AudioBlock | DocumentBlock) and media_kind(block) in ("audio", "video"):
        options |= seconds_of(str(block.url or ""), place)
    return options


def source_of(block: MediaBlock, place: str) -> MediaSource:
    """Return the source of a block's media: inline data, a path or a URL; in LlamaIndex's order."""
    held, mime = held_by(block), _mime_type(block)
    if held is not None:
        return MediaSource.from_bytes(_bytes(held), media_type=mime)
    if block.path:
        return MediaSource.from_path(Path(block.path), media_type=mime)
    if block.url:
        return MediaSource.from_url(str(block.url), media_type=mime)
    refuse(block, place, "it has no data, path or url")


def _mime_type(block: MediaBlock) -> str | None:
    match block:
        case ImageBlock():
            return block.image_mimetype
        case AudioBlock():
            return f"audio/{block.format}" if block.format else None
        case VideoBlock():
            return block.video_mimetype
        case DocumentBlock():
            mime = _document_type(block)
            return None if mime in _SAYS_NOTHING else mime


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
        case ThinkingBlock() | ToolCallBlock():
            refuse(block, place, "only an assistant message may hold it")
        case CachePoint():
            return ()  # `_joined` marks the part before it
        case _:
            refuse(block, place, "text, images, audio, video and lists of frames can be sent")


def _media(block: MediaBlock, place: str, asked: Options) -> Part:
    kind = media_kind(block)
    if isinstance(block, DocumentBlock) and kind is None:
        return _text_document(block, place)
    assert kind is not None  # the other blocks have one
    return media_part(kind, source_of(block, place), check_options(kind, asked, place))


def _text_document(block: DocumentBlock, place: str) -> TextPart:
    if not _document_type(block).startswith("text/"):
        refuse(block, place, "a document must be text, video, audio or an image, identified by its type or name")
    if block.data is None:
        refuse(block, place, "a text document must include its text; files and links are not followed")
    try:
        return TextPart(text=_bytes(block.data).decode())
    except UnicodeDecodeError:
        refuse(block, place, "its data is not UTF-8 text")


def _document_type(block: DocumentBlock) -> str:
    """Return the type: the stated one, or by a name. LlamaIndex sets one itself, wrongly for signed URLs."""
    named = (block.path, urlsplit(block.url or "").path, block.title)
    candidates = [block.document_mimetype, *(mimetypes.guess_type(str(name))[0] for name in named if name)]
    found = [kind for kind in candidates if kind]
    return next((kind for kind in found if kind.partition("/")[0] in (*SAMPLING, "text")), (found or [""])[0])


def _citable(block: CitableBlock, place: str) -> tuple[Part, ...]:
    """Put the title and source of citable content before it; the service has no citations of its own."""
    parts: list[Part] = [TextPart(text=f"{block.title} ({block.source}):")]
    for at, inner in enumerate(block.content):
        here = f"{place} content {at}"
        parts += to_parts(inner, here, own_options(inner, here))
    return tuple(parts)


def _cited(block: CitationBlock, place: str) -> str:
    if not isinstance(block.cited_content, TextBlock):
        refuse(block, place, "only cited text can be sent")
    return f'"{block.cited_content.text}" ({block.title}, {block.source})'


def _bytes(held: bytes | IOBase) -> bytes:
    """Return the bytes in a block. LlamaIndex holds bytes as base64, and files unchanged."""
    if isinstance(held, IOBase):
        if held.seekable():
            held.seek(0)
        read = held.read()
        return read if isinstance(read, bytes) else str(read).encode()
    data = _decoded(held)
    if data is None:
        return held  # raw media
    twice = _decoded(data)  # LlamaIndex takes URL-safe base64 for raw media, and encodes it again
    return twice if twice is not None and sniffed_kind(twice) is not None else data


def _decoded(text: bytes) -> bytes | None:
    try:
        return MediaSource.from_base64(text.decode("ascii")).data
    except (UnicodeDecodeError, MediaError):
        return None


_OPTIONS = frozenset(name for kind in SAMPLING for name in known_options(kind))
_KNOWN = (*sorted(_OPTIONS), "media", "frames", "name", "cache_control")
# Keys that LlamaIndex itself uses: old formats of images and tools, which it converts to blocks.
_OF_LLAMA_INDEX = frozenset({"images", "tool_calls", "tool_call_id"})


def parts_with_options(message: ChatMessage, place: str) -> tuple[Part, ...]:
    """Convert the blocks of a user, system or tool message to parts, with their options.

    Raises:
        UnsupportedContentError: a block that cannot be sent, or an option that applies to no block.
        MediaError: invalid media.
    """
    extra = message.additional_kwargs
    if extra.get("frames") not in (None, False):
        parts = _joined(message, place, _with_frames(message, place))
    else:
        asked = iter(_per_block(message.blocks, extra, place))
        parts = _joined(message, place, lambda block, here: to_parts(block, here, next(asked)))
    mark_last(parts, extra.get("cache_control"), place)
    return tuple(parts)


def _joined(message: ChatMessage, place: str, convert: Convert) -> list[Part]:
    """Convert the blocks of a message in order; a cache point marks what is before it."""
    parts: list[Part] = []
    for at, block in enumerate(message.blocks):
        here = f"{place} block {at}"
        parts += convert(block, here)
        if isinstance(block, CachePoint):
            mark_last(parts, block.cache_control.model_dump(exclude_none=True), here)
    return parts


def _per_block(blocks: Sequence[BaseContentBlock], extra: Mapping[str, Any], place: str) -> list[Mapping[str, Any]]:
    """Return the options of each block, media or not."""
    kinds = [media_kind(block) for block in blocks]
    if any(kinds):
        _refuse_unknown(extra, place)
    shared = {name: extra[name] for name in _OPTIONS if extra.get(name) is not None}
    for name in shared:
        if not any(kind and name in known_options(kind) for kind in kinds):
            raise UnsupportedContentError(f"{place}: no block of the message supports the option {name!r}.")
    each = _each(extra.get("media"), sum(kind is not None for kind in kinds), place)
    asked: list[Mapping[str, Any]] = []
    for at, (block, kind) in enumerate(zip(blocks, kinds, strict=True)):
        fitting = {name: value for name, value in shared.items() if kind and name in known_options(kind)}
        asked.append({**fitting, **own_options(block, f"{place} block {at}"), **next(each)} if kind else {})
    return asked


def _each(media: object, count: int, place: str) -> Iterator[Mapping[str, Any]]:
    given = [None] * count if media is None else [media] if isinstance(media, Mapping) else media
    if not isinstance(given, list | tuple) or not all(one is None or isinstance(one, Mapping) for one in given):
        raise UnsupportedContentError(f"{place}: media must be a dictionary or a list of them.")
    if len(given) != count:
        raise UnsupportedContentError(
            f"{place}: media has {len(given)} entries and the message {count} pieces of media; write one for each, "
            "None for a piece without options."
        )
    return iter([one or {} for one in given])


def _refuse_unknown(extra: Mapping[str, Any], place: str) -> None:
    unknown = next((name for name in extra if name not in _KNOWN and name not in _OF_LLAMA_INDEX), None)
    if unknown is not None:
        raise UnsupportedContentError(
            f"{place}: unknown option {unknown!r} in additional_kwargs; supported: {', '.join(_KNOWN)}."
        )


def _frame(block: ImageBlock, place: str) -> tuple[MediaSource, ...]:
    if check_options("image", own_options(block, place), place):
        raise UnsupportedContentError(f"{place}: detail cannot be set for one frame; set max_pixels for all frames.")
    return tuple(source for part in to_parts(block, place, {}) for source in media_of(part))


def _with_frames(message: ChatMessage, place: str) -> Convert:
    """Return the conversion of a message whose images are the frames of one video, at the place of the first."""
    extra = message.additional_kwargs
    _refuse_unknown(extra, place)
    if extra.get("media") is not None:
        raise UnsupportedContentError(
            f"{place}: media cannot be combined with frames; put its options in frames={{…}}."
        )
    own = extra["frames"] if isinstance(extra["frames"], Mapping) else {}
    options = check_options("video", {**{name: extra[name] for name in _OPTIONS & set(extra)}, **own}, place)
    frames = tuple(
        source
        for at, block in enumerate(message.blocks)
        if isinstance(block, ImageBlock)
        for source in _frame(block, f"{place} block {at}")
    )
    if not frames:
        raise UnsupportedContentError(f"{place}: frames makes a video of images, and the message has none.")
    video = [frames_part(frames, options, place)]

    def convert(block: BaseContentBlock, here: str) -> Sequence[Part]:
        if isinstance(block, ImageBlock):
            return (video.pop(),) if video else ()
        return to_parts(block, here, own_options(block, here))

    return convert


_ROLES: dict[MessageRole, Role] = {
    MessageRole.SYSTEM: "system",
    MessageRole.DEVELOPER: "system",
    MessageRole.USER: "user",
    MessageRole.ASSISTANT: "assistant",
    MessageRole.CHATBOT: "assistant",
    MessageRole.MODEL: "assistant",
    MessageRole.TOOL: "tool",
    MessageRole.FUNCTION: "tool",
}


def to_messages(messages: Sequence[ChatMessage]) -> tuple[Message, ...]:
    """Convert a LlamaIndex conversation to neutral messages.

    The service accepts only text from tools; images, audio and video that a tool returned go into a user message after
    the tool results, in order.

    Raises:
        UnsupportedContentError: a message or block that cannot be sent, with its position and kind.
        MediaError: invalid media.
    """
    return join_turns(_turn(message, index) for index, message in enumerate(messages))


def _turn(message: ChatMessage, index: int) -> Turn:
    role = _ROLES[message.role]
    place = f"message {index} ({role})"
    name = message.additional_kwargs.get("name")
    if role == "assistant":
        return Message(role=role, parts=_answer(message, place), name=name), ()
    parts = parts_with_options(message, place)
    if role != "tool":
        return Message(role=role, parts=parts, name=name), ()
    call = message.additional_kwargs.get("tool_call_id")
    if call is None:
        raise UnsupportedContentError(f"{place}: its additional_kwargs must have the tool_call_id that it answers.")
    return tool_turn(parts, tool_call_id=str(call), name=name)


def _answer(message: ChatMessage, place: str) -> tuple[Part, ...]:
    parts = _joined(message, place, _said)
    mark_last(parts, message.additional_kwargs.get("cache_control"), place)
    if not any(isinstance(block, ToolCallBlock) for block in message.blocks):
        # An answer of another LLM class, which stores its calls next to the blocks.
        parts += [_foreign_call(call, place) for call in message.additional_kwargs.get("tool_calls") or ()]
    return tuple(parts)


def _said(block: BaseContentBlock, place: str) -> tuple[Part, ...]:
    if isinstance(block, ThinkingBlock):
        return (ThinkingPart(text=block.content),) if block.content else ()
    if isinstance(block, ToolCallBlock):
        return (
            ToolCallPart(
                id=block.tool_call_id or "", name=block.tool_name, arguments=arguments_text(block.tool_kwargs, place)
            ),
        )
    if isinstance(block, AudioBlock | CachePoint):
        return ()  # the transcript of speech comes with it
    if isinstance(block, ImageBlock | VideoBlock | DocumentBlock):
        refuse(block, place, f"an earlier answer may hold text, thinking and tool calls, not {kind_of(block)}")
    return to_parts(block, place, {})  # text and citations


def _foreign_call(call: Any, place: str) -> ToolCallPart:  # noqa: ANN401  (whatever another class keeps)
    """Read a tool call in the format of OpenAI's classes: an object or a dictionary with `id` and `function`."""
    function = _field(call, "function")
    name, arguments = _field(function, "name"), _field(function, "arguments")
    if not isinstance(name, str):
        raise UnsupportedContentError(f"{place}: a tool call in additional_kwargs has an unknown format.")
    text = arguments_text({} if arguments is None else arguments, place)
    return ToolCallPart(id=str(_field(call, "id") or ""), name=name, arguments=text)


def _field(holder: object, name: str) -> object:
    return holder.get(name) if isinstance(holder, Mapping) else getattr(holder, name, None)
