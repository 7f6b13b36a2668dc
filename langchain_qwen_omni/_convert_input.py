"""LangChain messages and content blocks → the neutral conversation (`qwen_omni.messages`).

Only the structure is converted: no file is opened and nothing is downloaded. `standard` brings every format to one; a
block that cannot be sent raises an error that says where. Nothing is dropped silently, with two exceptions that the
service dictates: speech in earlier answers is sent as text only, and their reasoning goes only to models that accept
it.

Formats: LangChain v1 (`url`, `base64`, `file_id`, and our `path`), LangChain v0 (`source_type`), OpenAI (`image_url`,
`input_audio`, `video_url`, `audio_url`, `video` frame lists, `file`) and its Responses API (`input_image`,
`input_file`, …), Anthropic images (`source`) and documents, Gemini and `langchain-google-genai` (`inline_data`,
`file_data`, `media`), DashScope's SDK, ChatTongyi and qwen-vl-utils (blocks without a type, paths in `video`), Bedrock
(`{"video": {"format": …, "source": {"bytes": …}}}`).

Options of a piece of media (`fps`, `min_pixels`, `max_pixels`, `total_pixels`, `start`, `end`, `budget`, `audio_track`)
are taken from `extras`, from next to the media, or from inside the object that holds it. The URL of a local file may
also name its time range.
"""

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
    mark_last,
    media_part,
    read_cache_mark,
    seconds_of,
    sniffed_kind,
)
from qwen_omni.integrations.request_builder import Turn, arguments_text, join_turns, tool_turn
from qwen_omni.media.files.store import PREFIX, kept_path
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import ImagePart, Message, Part, Role, TextPart, ThinkingPart, ToolCallPart, media_of
from qwen_omni.settings import kept_folder

Block = Mapping[str, Any]

_TYPES = {
    "media": "file", "input_file": "file", "document": "file", "input_image": "image", "input_video": "video",
    "input_audio": "audio", "image_url": "image", "audio_url": "audio", "video_url": "video", "input_text": "text",
    "output_text": "text", "refusal": "text",
}  # fmt: skip
"""Types of blocks elsewhere, and LangChain's own for them."""

_HOLDERS = {
    "inline_data": "file", "inlineData": "file", "file_data": "file", "fileData": "file", "text": "text",
    "video": "video", "audio": "audio", "image": "image", "video_url": "video", "audio_url": "audio",
    "image_url": "image", "input_audio": "audio", "file": "file", "source": "file", "s3Location": "file",
    "s3_location": "file",
}  # fmt: skip
"""Fields that hold the media, as an object or a text, and the type of a block that does not name one."""

_PLACES = ("path", "url", "base64", "file_id")
_NAMES = {
    "mimeType": "mime_type", "media_type": "mime_type", "fileUri": "url", "file_uri": "url", "file_url": "url",
    "uri": "url", "data": "base64", "bytes": "base64", "file_data": "base64",
}  # fmt: skip
_HOW = {
    **{
        name: f'write {{"type": "{name}", "{name}": {{"url": "…"}}}}'
        for name in ("image_url", "audio_url", "video_url")
    },
    "input_audio": 'write {"type": "input_audio", "input_audio": {"data": "…", "format": "wav"}}',
}
"""Advice for blocks of OpenAI's that hold no media."""

# Names and hints that do not affect what the model sees.
_WITHOUT_EFFECT = frozenset(
    {"type", "id", "index", "mime_type", "source_type", "format", "name", "filename", "title", "cache_control",
     "annotations", "citations"}
)  # fmt: skip
_OF_TEXT = _WITHOUT_EFFECT | {
    "text",
    "refusal",
    "base64",
    "url",
    "file_id",
    "data",
    "context",
    "media_type",
    "mimeType",
}
# The prefix of names from inside an OpenAI object, after LangChain has moved them to the extras.
_INSIDE = ("file_", "audio_", "image_url_")
_HEAD_CHARACTERS = 6_000  # of base64, enough to identify a file, with line breaks
_LONGEST_PATH = 4_096  # on Linux; a longer text without a scheme is base64
_LONGEST_SCHEME = 32
_URL_START = ("http://", "https://", "oss://", "file://", "data:", PREFIX)


def standard(block: Block, place: str) -> dict[str, Any]:
    """Convert a block of any format to LangChain's own: media in one of four fields, with options next to it.

    Example:
        >>> standard({"type": "input_image", "image_url": "https://h/a.png", "detail": "low"}, "message 0")
        {'type': 'image', 'url': 'https://h/a.png', 'detail': 'low'}
        >>> standard({"video": "a.mp4", "fps": 2}, "message 0")
        {'type': 'video', 'path': 'a.mp4', 'fps': 2}

    Raises:
        UnsupportedContentError: extras are not a dictionary, or the media is there twice; the error says where.
    """
    fields = flat(block, place)
    given = fields.get("type") or next((kind for name, kind in _HOLDERS.items() if name in fields), None)
    kind = _TYPES.get(given, given) if isinstance(given, str) else None
    source = fields.get("source")
    if kind == "file" and fields.get("source_type") == "text":  # LangChain v0 has the text itself under "url"
        return {**_without(fields, "url"), "type": "text-plain", "text": fields.get("url")}
    if kind == "file" and isinstance(source, Mapping) and source.get("type") == "text":  # Anthropic
        return {**_without(fields, "source"), "type": "text-plain", "text": source.get("data")}
    if kind in ("image", "audio", "video", "file"):
        fields = _timed(_opened(_named(fields), kind, place))
    return {"type": kind, **_without(fields, "type")}


def _opened(fields: dict[str, Any], kind: str, place: str) -> dict[str, Any]:
    """Put the content of objects that hold the media next to the other fields, which win."""
    for name, held in _HOLDERS.items():
        inner = fields.get(name) if held in ("file", kind) else None
        if isinstance(inner, Mapping) and inner:
            inside = _named(_without(flat(inner, place), "type"))
            if isinstance(inside.get("format"), str) and "mime_type" not in inside and kind != "file":
                inside["mime_type"] = f"{kind}/{inside['format']}"
        elif isinstance(inner, str | os.PathLike) and name in (kind, f"{kind}_url"):
            inside = _place_of(os.fspath(inner)) if name == kind else {"url": inner}
        else:
            continue
        twice = next((one for one in _PLACES if one in inside and one in fields), None)
        if twice is not None:
            raise UnsupportedContentError(f"{place}: the media is in {name!r} and in {twice!r}; leave one of them out.")
        fields = {**inside, **_without(fields, name)}
    return fields


def _place_of(text: str) -> dict[str, str]:
    """Return the place under the name of a kind: a URL, or a path as in DashScope's SDK and qwen-vl-utils."""
    if text.startswith(_URL_START) or "://" in text[:_LONGEST_SCHEME]:
        return {"url": text}
    return {"base64" if len(text) > _LONGEST_PATH else "path": text}


def _timed(fields: dict[str, Any]) -> dict[str, Any]:
    """Convert the video metadata of Gemini to options."""
    metadata = fields.get("video_metadata") or fields.get("videoMetadata")
    if not isinstance(metadata, Mapping):
        return fields
    names = {"start_offset": "start", "startOffset": "start", "end_offset": "end", "endOffset": "end", "fps": "fps"}
    found = {ours: _seconds(metadata[name]) for name, ours in names.items() if metadata.get(name) is not None}
    return {**_without(fields, "video_metadata", "videoMetadata"), **found}


def _seconds(value: object) -> object:
    """Read "40s" as 40.0; anything else is left for the option check to reject."""
    try:
        return float(value[:-1]) if isinstance(value, str) and value.endswith("s") else value
    except ValueError:
        return value


def _named(fields: dict[str, Any]) -> dict[str, Any]:
    """Translate names of other formats; our own name wins, and an empty value counts as absent."""
    names = {**_NAMES, "id": "file_id"} if fields.get("source_type") == "id" else _NAMES
    other = {name: value for name, value in fields.items() if name in names and not isinstance(value, Mapping)}
    named = {**{names[name]: value for name, value in other.items()}, **_without(fields, *other)}
    return {name: value for name, value in named.items() if value is not None or name not in _PLACES}


def _without(block: Block, *names: str) -> dict[str, Any]:
    return {name: value for name, value in block.items() if name not in names}


def flat(fields: Block, place: str) -> dict[str, Any]:
    """Return a block, or an object inside one, with its extras merged in; fields next to the media win.

    Raises:
        UnsupportedContentError: the extras are not a dictionary; the error says where.
    """
    inside: dict[str, Any] = {}
    beside = _without(fields, "extras")
    for name, value in _extras(fields, place).items():
        start = None if name == "audio_track" else next((one for one in _INSIDE if str(name).startswith(one)), None)
        if start is None:
            beside.setdefault(name, value)
        else:
            inside[name.removeprefix(start)] = value
    # LangChain nests a block's extras in its own.
    return {**_with_extras(inside, place), **_with_extras(beside, place)}


def _with_extras(fields: Block, place: str) -> dict[str, Any]:
    return {**_without(fields, "extras"), **_extras(fields, place)}


def _extras(fields: Block, place: str) -> Block:
    extras = fields.get("extras") or {}
    if not isinstance(extras, Mapping):
        raise UnsupportedContentError(f"{place}: extras must be a dictionary, not {type(extras).__name__}.")
    return extras


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
        fields = standard(block, place)
        part = _text(fields, block, place) if fields["type"] in _TEXTS else _media(fields, block, place)
        mark = read_cache_mark(fields.get("cache_control"), place)
        return part if mark is None else replace(part, cache=mark)  # type: ignore[arg-type]  # all of these have it
    except MediaError as error:
        error.args = (f"{place}: {error}",)
        raise


_TEXTS = ("text", "text-plain")


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


def _text(fields: Block, block: Block, place: str) -> TextPart:
    unknown = next((name for name, value in fields.items() if name not in _OF_TEXT and value), None)
    if unknown is not None:
        raise UnsupportedContentError(f"{place}: text has no option {unknown!r}; supported: cache_control.")
    match fields:
        case {"text": str(text)} | {"refusal": str(text)}:
            return TextPart(text=text)
        case {"type": "text"}:
            refuse(block, place, "its text is missing")
        case {"base64": str(data)}:
            try:
                return TextPart(text=(MediaSource.from_base64(data).data or b"").decode())
            except (MediaError, UnicodeDecodeError):
                refuse(block, place, "its base64 is not UTF-8 text")
        case _:
            refuse(block, place, "a text document must include its text; links to text are not followed")


def _media(fields: dict[str, Any], block: Block, place: str) -> Part:
    """Read media, or a list of frames in a `video` block."""
    kind = fields["type"]
    if kind == "file":
        mime = next((name for name in _mime_candidates(fields) if name.partition("/")[0] in SAMPLING), None)
        kind = _sniffed(fields) if mime is None else mime.partition("/")[0]
        if kind is None:
            refuse(block, place, "a file must be video, audio or an image, identified by mime_type, name or content")
        fields["mime_type"] = mime
    elif kind not in SAMPLING:
        refuse(block, place)
    frames = fields.get(kind) if kind == "video" else None
    if isinstance(frames, list | tuple):
        found = tuple(_frame(frame, f"{place} frame {at}") for at, frame in enumerate(frames))
        return frames_part(found, check_options("video", _options(fields, kind), place), place)
    source = _source(fields, block, place)
    addresses = [] if kind == "image" else [fields[name] for name in _PLACES if isinstance(fields.get(name), str)]
    seconds: PartOptions = next(filter(None, (seconds_of(address, place) for address in addresses)), {})
    return media_part(kind, source, check_options(kind, {**seconds, **_options(fields, kind)}, place))


def _options(fields: Block, kind: str) -> Block:
    return _without(fields, kind, *_PLACES, *_WITHOUT_EFFECT)


def _frame(frame: object, place: str) -> MediaSource:
    if isinstance(frame, str | os.PathLike):
        frame = _place_of(os.fspath(frame))
    if isinstance(frame, Mapping):
        typed = standard(frame, place)["type"] is not None
        part = to_part(frame if typed else {"type": "image", **frame}, place)
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
    if frame.cache is not None:
        raise UnsupportedContentError(f"{place}: cache_control cannot be set for one frame; set it next to the list.")
    if frame.budget != "auto":
        raise UnsupportedContentError(
            f"{place}: a budget cannot be set for one frame; leave it out, frames are resized to fit."
        )


def _sniffed(fields: Block) -> MediaKind | None:
    """Return the kind of an inline file without a MIME type, from its first bytes."""
    data = fields.get("base64")
    if isinstance(data, str):
        text = "".join(data[data.find(",") + 1 if data.startswith("data:") else 0 :][:_HEAD_CHARACTERS].split())
        data = MediaSource.from_base64(text[: len(text) // 4 * 4]).data
    return sniffed_kind(bytes(data)) if isinstance(data, bytes | bytearray | memoryview) else None


def _mime_candidates(fields: Block) -> Iterator[str]:
    """Yield possible MIME types of a file. LangChain calls every OpenAI-style file a PDF, so its name counts too."""
    data = fields.get("base64") or ""
    if isinstance(data, str) and data.startswith("data:"):
        yield data[len("data:") :].partition(";")[0]
    yield str(fields.get("mime_type") or "")
    for name in (fields.get("filename"), fields.get("path"), urlsplit(str(fields.get("url"))).path):
        yield mimetypes.guess_type(os.fspath(name))[0] or "" if name else ""


def _source(fields: Block, block: Block, place: str) -> MediaSource:
    """Return the source of a block's media: exactly one of path, URL, base64 and file id."""
    mime = fields.get("mime_type")
    held = [name for name in _PLACES if name in fields]
    if len(held) > 1:
        refuse(block, place, f"its media is in {' and in '.join(held)}; leave one of them out")
    match fields:
        case {"path": str() | os.PathLike() as path}:
            return MediaSource.from_path(path, media_type=mime)
        case {"url": str(url)}:
            return _from_url(url, mime)
        case {"base64": str(data)}:  # or a URL in place of base64, as in DashScope's own examples
            return (
                _from_url(data, mime) if data.startswith(_URL_START) else MediaSource.from_base64(data, media_type=mime)
            )
        case {"base64": bytes() | bytearray() | memoryview() as data}:
            return MediaSource.from_bytes(data, media_type=mime)
        case {"file_id": str(name)} if name.startswith(_URL_START):
            return _from_url(name, mime)
        case {"file_id": str(name)}:
            refuse(block, place, f"file_id {name[:40]!r} must be an oss:// link, a URL, or a result of to_reference()")
        case _:
            refuse(block, place, _HOW.get(str(block.get("type")), "it has no path, url, base64 or file_id as text"))


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
    return join_turns([_turn(message, index) for index, message in enumerate(messages)])


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
            raise UnsupportedContentError(
                f"message {index}: {type(message).__name__} is not supported in a conversation."
            )


def _plain(message: BaseMessage, role: Role, index: int) -> Message:
    parts = [to_part(block, place) for block, place in _blocks(message.content, index, role)]
    _mark(parts, message, f"message {index} ({role})")
    return Message(role=role, parts=tuple(parts), name=message.name)


def _mark(parts: list[Part], message: BaseMessage, place: str) -> None:
    """Put a cache marker of the whole message on its last part."""
    if "cache_control" in message.additional_kwargs:
        mark_last(parts, message.additional_kwargs["cache_control"], place)


def _blocks(content: str | Sequence[Any], index: int, role: str) -> Iterator[tuple[Any, str]]:
    """Yield the blocks of a message, each with its position in words."""
    for at, block in enumerate([content] if isinstance(content, str) else content):
        yield block, f"message {index} ({role}) part {at}"


def _tool_result(message: ToolMessage, index: int) -> Turn:
    parts = [to_part(block, place) for block, place in _blocks(message.content, index, "tool")]
    _mark(parts, message, f"message {index} (tool)")
    return tool_turn(parts, tool_call_id=message.tool_call_id, name=message.name)


def _answer(message: AIMessage, index: int) -> tuple[Part, ...]:
    parts: list[Part] = []
    known_ids = {call.get("id") for call in (*message.tool_calls, *message.invalid_tool_calls)}
    for block, place in _blocks(list(message.content_blocks), index, "assistant"):
        part = _said(_unwrapped(block), place, known_ids)
        if part is not None:
            parts.append(part)
    place = f"message {index} (assistant)"
    _mark(parts, message, place)
    return (*parts, *_calls(message, place))


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
            return ToolCallPart(id=call, name=name, arguments=arguments_text(block.get("input") or {}, place))
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


def _calls(message: AIMessage, place: str) -> Iterator[ToolCallPart]:
    for call in message.tool_calls:
        yield ToolCallPart(id=call["id"] or "", name=call["name"], arguments=arguments_text(call["args"], place))
    for broken in message.invalid_tool_calls:
        yield ToolCallPart(id=broken["id"] or "", name=broken["name"] or "", arguments=broken["args"] or "")
