"""LangChain messages and content blocks → the neutral conversation (`qwen_omni.messages`).

Only the structure is converted: no file is opened and nothing is downloaded. One function per kind of block; a block
that cannot be sent raises an error that says where. Nothing is dropped silently, with two exceptions that the service
dictates: speech in earlier answers is sent as text only, and their reasoning goes only to models that accept it.

Formats: LangChain v1 (`url`, `base64`, `file_id`, and our `path`), LangChain v0 (`source_type`), OpenAI (`image_url`,
`input_audio`, `video_url`, `audio_url`, `video` frame lists, `file`) and its Responses API (`input_image`,
`input_file`, …), Anthropic images (`source`) and documents, Gemini and `langchain-google-genai` (`inline_data`,
`file_data`, `media`), DashScope's SDK, ChatTongyi and qwen-vl-utils (blocks without a type, paths in `video`), Bedrock
(`{"video": {"format": …, "source": {"bytes": …}}}`).

Options of a piece of media (`fps`, `min_pixels`, `max_pixels`, `total_pixels`, `start`, `end`, `budget`, `audio_track`)
are taken from `extras`, from next to the media, or from inside the object that holds it. The URL of a local file may
also name its time range.
"""

import json
import mimetypes
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any, NoReturn
from urllib.parse import urlsplit

from langchain_core.messages import AIMessage, BaseMessage, ChatMessage, HumanMessage, SystemMessage, ToolMessage

from qwen_omni.errors import MediaError, UnsupportedContentError
from qwen_omni.integrations.media_options import (
    SAMPLING,
    MediaKind,
    PartOptions,
    check_options,
    frames_part,
    media_part,
    read_cache_mark,
    seconds_of,
    sniffed_kind,
)
from qwen_omni.integrations.request_builder import Turn, join_turns, tool_turn
from qwen_omni.media.files.store import PREFIX, kept_path
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    CacheTime,
    FramesPart,
    ImagePart,
    Message,
    Part,
    Role,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    media_of,
)
from qwen_omni.settings import kept_folder

Block = Mapping[str, Any]
_KINDS = ("video", "audio", "image")
_GEMINI = ("inline_data", "inlineData", "file_data", "fileData")
_NAMES = {"mimeType": "mime_type", "media_type": "mime_type", "fileUri": "url", "file_uri": "url", "file_url": "url"}
_FILE_FIELDS = {"file_data": "base64", "file_url": "url", "file_id": "file_id", "filename": "filename"}


def respelled(block: Block) -> Block:  # noqa: PLR0911  (a table of formats)
    """Convert a block to a LangChain format; an unknown one is returned unchanged.

    Example:
        >>> respelled({"type": "input_image", "image_url": "https://h/a.png", "detail": "low"})
        {'type': 'image', 'detail': 'low', 'url': 'https://h/a.png'}
        >>> respelled({"video": "a.mp4", "fps": 2})
        {'type': 'video', 'video': 'a.mp4', 'fps': 2}
    """
    match block.get("type"):
        case None:
            return _without_type(block)
        case "media":
            return _gemini({}, block)
        case "input_text" | "output_text":
            return {**block, "type": "text"}
        case "input_image" | "input_video" | "input_audio" as name if not isinstance(block.get(name), Mapping):
            return _input(name.removeprefix("input_"), block)
        case "input_file":
            named = {_FILE_FIELDS.get(name, name): value for name, value in block.items()}
            return {**named, "type": "file"}
        case "document" | "file" if isinstance(block.get("source"), Mapping) and block["source"]:
            return _document(block)
        case "image" | "audio" | "video" as kind if isinstance(block.get(kind), Mapping):
            return _opened(kind, block)
        case _:
            return block


def _without_type(block: Block) -> Block:
    held = next((name for name in _GEMINI if isinstance(block.get(name), Mapping)), None)
    if held is not None:
        return _gemini(block[held], _without(block, held))
    if "text" in block:
        return {"type": "text", **block}
    kind = next((name for name in _KINDS if name in block), None)
    if kind is not None:
        return respelled({"type": kind, **block})
    named = next((name for name in (f"{kind}_url" for kind in _KINDS) if name in block), None)
    return {"type": named, **block} if named is not None else block


def _gemini(held: Block, beside: Block) -> Block:
    """Convert a Gemini media block, with its kind in a MIME type and optional video metadata."""
    metadata = beside.get("video_metadata") or beside.get("videoMetadata") or {}
    rest = _without(beside, "video_metadata", "videoMetadata")
    named = {_NAMES.get(name, name): value for name, value in {**rest, **held}.items()}
    times = {
        ours: _seconds(metadata[theirs])
        for theirs, ours in (
            ("start_offset", "start"), ("startOffset", "start"), ("end_offset", "end"), ("endOffset", "end"),
        )
        if isinstance(metadata, Mapping) and metadata.get(theirs) is not None
    }  # fmt: skip
    fps = {"fps": metadata["fps"]} if isinstance(metadata, Mapping) and metadata.get("fps") is not None else {}
    return {**named, **times, **fps, "type": "file"}


def _seconds(value: object) -> object:
    """Read "40s" as 40.0; anything else is left for the option check to reject."""
    try:
        return float(value[:-1]) if isinstance(value, str) and value.endswith("s") else value
    except ValueError:
        return value


def _input(kind: str, block: Block) -> Block:
    """Convert a block of OpenAI's Responses API, whose URL is next to the type, or inside an object there."""
    address = f"{kind}_url"
    inner = block.get(address)
    beside = {**_without(block, address), "type": kind}
    if isinstance(inner, Mapping):
        return {**beside, **inner}
    return beside if inner is None else {**beside, "url": inner}


def _document(block: Block) -> Block:
    source = block["source"]
    if source.get("type") == "text":
        return {**_without(block, "source"), "type": "text-plain", "text": source.get("data")}
    named = {_NAMES.get(name, name): value for name, value in source.items() if name != "type"}
    return {**_without(block, "source"), **named, "type": "file"}


def _opened(kind: str, block: Block) -> Block:
    """Convert a block whose media is an object under the name of its kind."""
    inner = dict(block[kind])
    source = inner.pop("source", None)
    if isinstance(source, Mapping):
        place = source.get("s3Location") or source.get("s3_location") or {}
        inner |= {"base64": source["bytes"]} if "bytes" in source else {"url": place.get("uri")}
    if "bytes" in inner:
        inner["base64"] = inner.pop("bytes")
    named = {_NAMES.get(name, name): value for name, value in inner.items()}
    if isinstance(named.get("format"), str) and "mime_type" not in named:
        named["mime_type"] = f"{kind}/{named['format']}"
    return {**_without(block, kind), **named, "type": kind}


def _without(block: Block, *names: str) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in names}


# Names and hints that do not affect what the model sees. `cache_of` reads cache markers.
_WITHOUT_EFFECT = frozenset(
    {"type", "id", "index", "mime_type", "media_type", "source_type", "format", "name", "filename", "title",
     "cache_control", "annotations", "citations", "mimeType"}
)  # fmt: skip
_OF_TEXT = _WITHOUT_EFFECT | {"text", "refusal", "base64", "url", "file_id", "data", "context"}
# The prefix of names from inside an OpenAI object, after LangChain has moved them to the extras.
_INSIDE = ("file_", "audio_", "image_url_")


def asked(kind: MediaKind, block: Block, place: str, *, skip: set[str]) -> PartOptions:
    """Return the options of a block; an unknown option raises rather than being dropped.

    Args:
        kind: kind of the media.
        block: the block with its options.
        place: its position, in words.
        skip: the fields that hold the media itself, or its URL.

    Raises:
        UnsupportedContentError: an unknown option, or an invalid value; the error says where.
    """
    fields = flat(block, place)
    options = {name: value for name, value in fields.items() if name not in {*skip, *_WITHOUT_EFFECT}}
    seconds = (
        {} if kind == "image" else _seconds_in_address([held for name, held in block.items() if name in skip], place)
    )
    return check_options(kind, {**seconds, **options}, place)


def asked_of_text(block: Block, place: str) -> None:
    """Reject options of a text block; it has none.

    Raises:
        UnsupportedContentError: a key that would be dropped; the error says where.
    """
    unknown = next((name for name, value in flat(block, place).items() if name not in _OF_TEXT and value), None)
    if unknown is not None:
        raise UnsupportedContentError(f"{place}: text has no option {unknown!r}; known here: cache_control.")


def cache_of(block: Block, place: str) -> CacheTime | None:
    """Read a cache marker (`"cache_control": {"type": "ephemeral"}`), next to the content or inside its object.

    Raises:
        UnsupportedContentError: it has another format; the error says where.
    """
    inside = [held for held in block.values() if isinstance(held, Mapping) and "cache_control" in held]
    marks = (flat(one, place).get("cache_control") for one in (block, *inside))
    return read_cache_mark(next((mark for mark in marks if mark is not None), None), place)


def _seconds_in_address(held: Sequence[object], place: str) -> PartOptions:
    """Read the time range in a URL (`file:///talk.mp4#t=60,90`), wherever the URL is."""
    inside = [one for fields in held if isinstance(fields, Mapping) for one in fields.values()]
    found = (seconds_of(one, place) for one in (*held, *inside) if isinstance(one, str))
    return next(filter(None, found), {})


def flat(fields: Block, place: str) -> dict[str, Any]:
    """Return a block, or an object inside one, with its extras merged in; fields next to the media win.

    Raises:
        UnsupportedContentError: the extras are not a dictionary; the error says where.
    """
    inside: dict[str, Any] = {}
    beside = {name: value for name, value in fields.items() if name != "extras"}
    for name, value in _extras(fields, place).items():
        start = None if name == "audio_track" else next((one for one in _INSIDE if str(name).startswith(one)), None)
        if start is None:
            beside[name] = value
        else:
            inside[name.removeprefix(start)] = value
    return {
        **_with_extras(inside, place),
        **_with_extras(beside, place),
    }  # LangChain nests a block's extras in its own


def _with_extras(fields: Block, place: str) -> dict[str, Any]:
    return {**{name: value for name, value in fields.items() if name != "extras"}, **_extras(fields, place)}


def _extras(fields: Block, place: str) -> Block:
    extras = fields.get("extras") or {}
    if not isinstance(extras, Mapping):
        raise UnsupportedContentError(f"{place}: extras must be a dictionary, not {type(extras).__name__}.")
    return extras


_HEAD_LETTERS = 6_000  # of base64, enough to identify a file, with line breaks
_PLACES = ("path", "url", "base64", "file_id", "data", "id")
_LONGEST_PATH = 4_096  # on Linux; a longer text without a scheme is base64
_LONGEST_SCHEME = 32
_URL_START = ("http://", "https://", "oss://", "file://", "data:", PREFIX)


def to_part(block: str | Block, place: str) -> Part:
    """Convert one content block to a part.

    Raises:
        UnsupportedContentError: the block, or one of its options, cannot be sent; the error says where.
        MediaError: the block's media is invalid (base64 that cannot be decoded, an unknown scheme).
    """
    if isinstance(block, str):
        return TextPart(text=block)
    if not isinstance(block, Mapping):
        refuse(block, place)
    try:
        written = respelled(block)
        part = _by_kind(written, place)
        mark = cache_of(written, place)
        return part if mark is None else replace(part, cache=mark)  # type: ignore[arg-type]  # all of these have it
    except MediaError as error:
        error.args = (f"{place}: {error}",)
        raise


def kind_of(block: object) -> str:
    """Return a readable name of a block's kind."""
    if not isinstance(block, Mapping):
        return type(block).__name__
    kind = str(block.get("type", "block without type"))
    mime = block.get("mime_type")
    return f"{kind} ({mime})" if kind == "file" and mime else kind


def refuse(block: object, place: str, reason: str = "") -> NoReturn:
    """Raise the error for a block that cannot be sent.

    Raises:
        UnsupportedContentError: always.
    """
    why = reason or "text, images, audio, video and lists of frames can be sent"
    raise UnsupportedContentError(f"{place}: {kind_of(block)!r} is not supported; {why}.")


def _by_kind(block: Block, place: str) -> Part:
    match block:
        case {"type": "text" | "text-plain" | "refusal"}:
            return _text(block, place)
        case {"type": "image" | "audio" | "video" as kind}:
            return _media(kind, block, place)
        case {"type": "image_url" | "audio_url" | "video_url" as name}:
            return _openai_url(name, block, place)
        case {"type": "input_audio"}:
            return _input_audio(block, place)
        case {"type": "file"}:
            return _file(block, place)
        case _:
            refuse(block, place)


def _text(block: Block, place: str) -> TextPart:
    asked_of_text(block, place)
    match block:
        case {"type": "text", "text": str(text)} | {"type": "refusal", "refusal": str(text)}:
            return TextPart(text=text)
        case {"type": "text-plain"}:
            return _plain_text(block, place)
        case _:
            refuse(block, place, "its text is missing")


def _plain_text(block: Block, place: str) -> TextPart:
    match block:
        case {"text": str(text)}:
            return TextPart(text=text)
        case {"base64": str(data)}:
            try:
                return TextPart(text=(MediaSource.from_base64(data).data or b"").decode())
            except (MediaError, UnicodeDecodeError):
                refuse(block, place, "its base64 is not UTF-8 text")
        case _:
            refuse(block, place, "a text document must include its text; links to text are not followed")


def _media(kind: MediaKind, block: Block, place: str) -> Part:
    """Read a v1, v0 or Anthropic media block, or a list of frames in a `video` block."""
    source = block.get("source")
    if isinstance(source, Mapping):  # Anthropic: {"type": "image", "source": {"type": "base64", "data": …}}
        inside = {name: value for name, value in flat(source, place).items() if name not in _PLACES}
        options = asked(kind, {**inside, **flat(block, place)}, place, skip={"source"})
        return media_part(kind, _source(source, place), options)
    own = block.get(kind)
    if kind == "video" and isinstance(own, list | tuple):
        return _frames(own, block, place)
    if isinstance(own, str | os.PathLike):  # {"type": "image", "image": "https://…"}
        return media_part(kind, _named(os.fspath(own)), asked(kind, block, place, skip={kind}))
    return media_part(kind, _source(block, place), asked(kind, block, place, skip=set(_PLACES)))


def _frames(frames: list[Any] | tuple[Any, ...], block: Block, place: str) -> FramesPart:
    found = tuple(_frame(frame, f"{place} frame {at}") for at, frame in enumerate(frames))
    return frames_part(found, asked("video", block, place, skip={"video"}), place)


def _frame(frame: object, place: str) -> MediaSource:
    if isinstance(frame, str | os.PathLike):
        return _named(os.fspath(frame))
    if isinstance(frame, Mapping):
        written = respelled(frame)
        part = _by_kind(written if "type" in written else {"type": "image", **written}, place)
        if isinstance(part, ImagePart):
            _check_frame(part, place)
            return part.source
    refuse(frame, place, "a frame must be a URL or an image")


def _check_frame(frame: ImagePart, place: str) -> None:
    """Reject options of a single frame: the service treats a list of frames as one video."""
    pixels = next((name for name, value in asdict(frame.sampling).items() if value is not None), None)
    if pixels is not None:
        raise UnsupportedContentError(
            f"{place}: {pixels} cannot be set for one frame; set it for all frames, next to the list."
        )
    if frame.budget != "auto":
        raise UnsupportedContentError(
            f"{place}: a budget cannot be set for one frame; leave it out, frames are resized to fit."
        )


def _openai_url(name: str, block: Block, place: str) -> Part:
    kind: MediaKind = {"image_url": "image", "audio_url": "audio", "video_url": "video"}[name]  # type: ignore[assignment]
    inner = block.get(name)
    fields = {"url": inner} if isinstance(inner, str) else inner
    if not isinstance(fields, Mapping) or not isinstance(fields.get("url"), str):
        refuse(block, place, f'write {{"type": "{name}", "{name}": {{"url": "…"}}}}')
    options = asked(kind, {**flat(fields, place), **flat(block, place)}, place, skip={name, "url"})
    return media_part(kind, _from_url(fields["url"], None), options)


def _input_audio(block: Block, place: str) -> AudioPart:
    inner = block.get("input_audio")
    if not isinstance(inner, Mapping) or not isinstance(inner.get("data"), str):
        refuse(block, place, 'write {"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}}')
    options = asked("audio", {**flat(inner, place), **flat(block, place)}, place, skip={"input_audio", "data"})
    file_format = inner.get("format")
    return AudioPart(source=_from_text(inner["data"], f"audio/{file_format}" if file_format else None), **options)


def _file(block: Block, place: str) -> Part:
    inner = block.get("file")
    if isinstance(inner, Mapping):  # OpenAI: {"type": "file", "file": {"file_data": "data:…", "filename": …}}
        data = {"base64": inner["file_data"]} if "file_data" in inner else {"file_id": inner.get("file_id")}
        inside = {name: value for name, value in flat(inner, place).items() if name != "file_data"}
        beside = {name: value for name, value in block.items() if name != "file"}
        block = {**beside, **data, "extras": {**inside, **flat(beside, place)}}
    if block.get("source_type") == "text":  # LangChain v0 has the text itself under "url"
        return _plain_text({"type": "file", "text": block.get("url")}, place)
    mime = next((name for name in _mime_candidates(block, place) if name.partition("/")[0] in SAMPLING), None)
    kind: MediaKind | None = _sniffed(block) if mime is None else mime.partition("/")[0]  # type: ignore[assignment]
    if kind is None:
        refuse(block, place, "a file must be video, audio or an image, identified by mime_type, name or content")
    return _media(kind, {**block, "mime_type": mime}, place)


def _sniffed(block: Block) -> MediaKind | None:
    """Return the kind of an inline file without a MIME type, from its first bytes."""
    data = block.get("base64") or block.get("data")
    if isinstance(data, str):
        text = "".join(data[data.find(",") + 1 if data.startswith("data:") else 0 :][:_HEAD_LETTERS].split())
        data = MediaSource.from_base64(text[: len(text) // 4 * 4]).data
    return sniffed_kind(bytes(data)) if isinstance(data, bytes | bytearray | memoryview) else None


def _mime_candidates(block: Block, place: str) -> Iterator[str]:
    """Yield possible MIME types of a file. LangChain calls every OpenAI-style file a PDF, so its name counts too."""
    data = block.get("base64") or block.get("data") or ""
    if isinstance(data, str) and data.startswith("data:"):
        yield data[len("data:") :].partition(";")[0]
    yield str(block.get("mime_type") or "")
    for name in (
        block.get("filename"),
        flat(block, place).get("filename"),
        block.get("path"),
        urlsplit(str(block.get("url"))).path,
    ):
        yield mimetypes.guess_type(os.fspath(name))[0] or "" if name else ""


def _source(block: Block, place: str) -> MediaSource:
    """Return the source of a block's media: exactly one of path, URL, base64 and file id."""
    mime = block.get("mime_type") or block.get("media_type") or block.get("mimeType")
    match block:
        case {"path": str() | os.PathLike() as path}:
            return MediaSource.from_path(path, media_type=mime)
        case {"url": str(url)}:
            return _from_url(url, mime)
        case {"base64": str(data)} | {"data": str(data)}:
            return _from_text(data, mime)
        case {"base64": bytes() | bytearray() | memoryview() as data}:
            return MediaSource.from_bytes(data, media_type=mime)
        case {"data": bytes() | bytearray() | memoryview() as data}:
            return MediaSource.from_bytes(data, media_type=mime)
        case {"file_id": str(name)} | {"source_type": "id", "id": str(name)}:
            if not name.startswith(_URL_START):
                refuse(
                    block, place, f"file_id {name[:40]!r} must be an oss:// link, a URL, or a result of to_reference()"
                )
            return _from_url(name, mime)
        case _:
            refuse(block, place, "it has no path, url, base64 or file_id as text")


def _from_text(data: str, mime: str | None) -> MediaSource:
    """Read base64, or a URL in place of base64, as in DashScope's own examples."""
    return _from_url(data, mime) if data.startswith(_URL_START) else MediaSource.from_base64(data, media_type=mime)


def _named(text: str) -> MediaSource:
    """Read the value under the name of a kind: a URL, or a path as in DashScope's SDK and qwen-vl-utils."""
    if text.startswith(_URL_START) or "://" in text[:_LONGEST_SCHEME]:
        return _from_url(text, None)
    if len(text) > _LONGEST_PATH:
        return MediaSource.from_base64(text)
    return MediaSource.from_path(text)


def _from_url(url: str, mime: str | None) -> MediaSource:
    if url.startswith(PREFIX):  # stored by `to_reference`, in our own folder
        return MediaSource.from_path(kept_path(url, kept_folder()), media_type=mime, trusted=True)
    return MediaSource.from_url(url, media_type=mime)


_ROLES: dict[str, Role] = {"system": "system", "developer": "system", "user": "user", "human": "user",
                           "assistant": "assistant", "ai": "assistant"}  # fmt: skip
_CALLS = frozenset({"tool_call", "tool_call_chunk", "invalid_tool_call", "tool_use"})
# Blocks of earlier answers that hold speech: its transcript comes with it as text.
_SPEECH = frozenset({"audio", "output_audio"})


def to_messages(messages: Sequence[BaseMessage]) -> tuple[Message, ...]:
    """Convert a LangChain conversation to neutral messages.

    The service accepts only text from tools; images, audio and video that a tool returned go into a user message after
    the tool results, in order.

    Raises:
        UnsupportedContentError: a message or block that cannot be sent, with its position and kind.
        MediaError: invalid media.
    """
    return join_turns(_turn(message, index) for index, message in enumerate(messages))


def _turn(message: BaseMessage, index: int) -> Turn:
    match message:
        case ToolMessage():
            return _tool_result(message, index)
        case AIMessage():
            return Message(role="assistant", parts=_answer(message, index), name=message.name), []
        case HumanMessage():
            return _plain(message, "user", index), []
        case SystemMessage():
            return _plain(message, "system", index), []
        case ChatMessage() if message.role in _ROLES:
            return _plain(message, _ROLES[message.role], index), []
        case _:
            raise UnsupportedContentError(f"message {index}: {type(message).__name__} has no place in a conversation.")


def _plain(message: BaseMessage, role: Role, index: int) -> Message:
    parts = tuple(to_part(block, place) for block, place in _blocks(message.content, index, role))
    return Message(role=role, parts=parts, name=message.name)


def _blocks(content: str | Sequence[Any], index: int, role: str) -> Iterator[tuple[Any, str]]:
    """Yield the blocks of a message, each with its position in words."""
    for at, block in enumerate([content] if isinstance(content, str) else content):
        yield block, f"message {index} ({role}) part {at}"


def _tool_result(message: ToolMessage, index: int) -> Turn:
    parts = [to_part(block, place) for block, place in _blocks(message.content, index, "tool")]
    return tool_turn(parts, tool_call_id=message.tool_call_id, name=message.name)


def _answer(message: AIMessage, index: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    known_ids = {call.get("id") for call in (*message.tool_calls, *message.invalid_tool_calls)}
    for block, place in _blocks(list(message.content_blocks), index, "assistant"):
        part = _said(_unwrapped(block), place, known_ids)
        if part is not None:
            parts.append(part)
    return (*parts, *_calls(message))


def _unwrapped(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Unwrap a provider's own block, which LangChain wraps if it does not know it."""
    value = block.get("value")
    return value if block.get("type") == "non_standard" and isinstance(value, Mapping) else block


def _said(block: Mapping[str, Any], place: str, known_ids: set[str | None]) -> Part | None:
    match block:
        case {"type": "reasoning"}:
            thought = block.get("reasoning") or ""
            return ThinkingPart(text=thought) if thought else None
        case {"type": "thinking", "thinking": str(thought)}:
            return ThinkingPart(text=thought)
        case {"type": "tool_use", "id": str(call), "name": str(name)} if call not in known_ids:
            return ToolCallPart(id=call, name=name, arguments=_json(block.get("input") or {}))
        case {"type": kind} if kind in _CALLS or kind in _SPEECH:
            return None  # calls come from the message's own list, speech as text
        case _:
            part = to_part(_own_keys(block), place)
            if media_of(part):
                refuse(block, place, f"an earlier answer may hold text, thinking and tool calls, not {kind_of(block)}")
            return part


def _own_keys(block: Mapping[str, Any]) -> Mapping[str, Any]:
    """Drop the fields that other services add to the text of their answers; they request nothing."""
    if block.get("type") not in ("text", "output_text"):
        return block
    extras = block.get("extras")
    inside = extras.get("cache_control") if isinstance(extras, Mapping) else None
    return {"type": "text", "text": block.get("text"), "cache_control": block.get("cache_control") or inside}


def _calls(message: AIMessage) -> Iterator[ToolCallPart]:
    for call in message.tool_calls:
        yield ToolCallPart(id=call["id"] or "", name=call["name"], arguments=_json(call["args"]))
    for broken in message.invalid_tool_calls:
        yield ToolCallPart(id=broken["id"] or "", name=broken["name"] or "", arguments=broken["args"] or "")


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
