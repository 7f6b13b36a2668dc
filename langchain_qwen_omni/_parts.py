"""LangChain content blocks → parts of our `Message`: every spelling of text and media that users write.

Shape only: no file is opened and nothing is downloaded here. One function per kind of block, each of which
returns a value; a block that cannot be sent raises and names its place. `_options` finds what is asked beside the
media, and `_messages` is the other half.

Spellings: LangChain v1 (`url`, `base64`, `file_id`, and our `path`), LangChain v0 (`source_type`), OpenAI
(`image_url`, `input_audio`, `video_url`, `audio_url`, `video` frame lists, `file`), Anthropic images
(`source`); `_spellings` rewrites those of further services.
"""

import mimetypes
import os
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from typing import Any, NoReturn
from urllib.parse import urlsplit

from langchain_qwen_omni._options import Block, asked, asked_of_text, cache_of, flat
from langchain_qwen_omni._spellings import respelled
from qwen_omni.errors import MediaError, UnsupportedContentError
from qwen_omni.media.kept import PREFIX, kept_path
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, TextPart
from qwen_omni.part_options import SAMPLING, MediaKind, frames_part, media_part, sniffed_kind
from qwen_omni.settings import kept_folder

_HEAD_LETTERS = 6_000  # of base64: the first bytes of a file, with line breaks
_PLACES = ("path", "url", "base64", "file_id", "data", "id")
_LONGEST_PATH = 4_096  # of Linux; a longer text without a scheme is base64
_LONGEST_SCHEME = 32
_URL_START = ("http://", "https://", "oss://", "file://", "data:", PREFIX)


def to_part(block: str | Block, place: str) -> Part:
    """Turn one content block into a part.

    Raises:
        UnsupportedContentError: the block is of a kind, or has an option, that cannot be sent; names the place.
        MediaError: the block's media is not what it says (base64 that cannot be decoded, an unknown scheme).
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
    """Name the kind of a block for people."""
    if not isinstance(block, Mapping):
        return type(block).__name__
    kind = str(block.get("type", "block without type"))
    mime = block.get("mime_type")
    return f"{kind} ({mime})" if kind == "file" and mime else kind


def refuse(block: object, place: str, reason: str = "") -> NoReturn:
    """Say that a block cannot be sent.

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
            refuse(block, place, "a text document must carry its text; links to text are not followed")


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
    refuse(frame, place, "a frame is a URL or an image")


def _check_frame(frame: ImagePart, place: str) -> None:
    """Refuse what one frame asks for: the service takes a list of frames as one video."""
    pixels = next((name for name, value in asdict(frame.sampling).items() if value is not None), None)
    if pixels is not None:
        raise UnsupportedContentError(
            f"{place}: a frame has no {pixels} of its own; say it for all frames, beside the list."
        )
    if frame.budget != "auto":
        raise UnsupportedContentError(
            f"{place}: a frame has no budget of its own; leave it out, frames are made to fit."
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
    told = inner.get("format")
    return AudioPart(source=_from_text(inner["data"], f"audio/{told}" if told else None), **options)


def _file(block: Block, place: str) -> Part:
    inner = block.get("file")
    if isinstance(inner, Mapping):  # OpenAI: {"type": "file", "file": {"file_data": "data:…", "filename": …}}
        data = {"base64": inner["file_data"]} if "file_data" in inner else {"file_id": inner.get("file_id")}
        inside = {name: value for name, value in flat(inner, place).items() if name != "file_data"}
        beside = {name: value for name, value in block.items() if name != "file"}
        block = {**beside, **data, "extras": {**inside, **flat(beside, place)}}
    if block.get("source_type") == "text":  # LangChain v0 keeps the text itself under "url"
        return _plain_text({"type": "file", "text": block.get("url")}, place)
    mime = next((told for told in _told(block, place) if told.partition("/")[0] in SAMPLING), None)
    kind: MediaKind | None = _sniffed(block) if mime is None else mime.partition("/")[0]  # type: ignore[assignment]
    if kind is None:
        refuse(block, place, "a file must be video, audio or an image, and say so by mime_type, name or content")
    return _media(kind, {**block, "mime_type": mime}, place)


def _sniffed(block: Block) -> MediaKind | None:
    """Tell the kind of a file that says nothing of it, by its first bytes, if it stands in the block."""
    data = block.get("base64") or block.get("data")
    if isinstance(data, str):
        text = "".join(data[data.find(",") + 1 if data.startswith("data:") else 0 :][:_HEAD_LETTERS].split())
        data = MediaSource.from_base64(text[: len(text) // 4 * 4]).data
    return sniffed_kind(bytes(data)) if isinstance(data, bytes | bytearray | memoryview) else None


def _told(block: Block, place: str) -> Iterator[str]:
    """List what a file is said to be. LangChain calls every OpenAI-style file a PDF, so its name is heard too."""
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
    """Find where a block's media is: exactly one of path, URL, base64 and file id."""
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
                    block, place, f"file_id {name[:40]!r} must be an oss:// link, a URL, or what to_reference() gave"
                )
            return _from_url(name, mime)
        case _:
            refuse(block, place, "it has no path, url, base64 or file_id as text")


def _from_text(data: str, mime: str | None) -> MediaSource:
    """Read base64, or a URL that stands where base64 is expected, as DashScope's own examples have it."""
    return _from_url(data, mime) if data.startswith(_URL_START) else MediaSource.from_base64(data, media_type=mime)


def _named(text: str) -> MediaSource:
    """Read what stands under the name of a kind: a URL, or a path as DashScope's SDK and qwen-vl-utils take it."""
    if text.startswith(_URL_START) or "://" in text[:_LONGEST_SCHEME]:
        return _from_url(text, None)
    if len(text) > _LONGEST_PATH:
        return MediaSource.from_base64(text)
    return MediaSource.from_path(text)


def _from_url(url: str, mime: str | None) -> MediaSource:
    if url.startswith(PREFIX):  # kept by `to_reference`, in a folder of our own
        return MediaSource.from_path(kept_path(url, kept_folder()), media_type=mime, trusted=True)
    return MediaSource.from_url(url, media_type=mime)
