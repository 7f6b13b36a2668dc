"""Messages with media → messages with references, and messages as cache keys. Messages are never modified.

`to_reference` stores the bytes on this machine and replaces them by their digest, wherever a block may hold them;
`_convert_input` reads them back. `digested` is for LangChain's cache, whose key is the text of the messages.
"""

import functools
import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import unquote, urlsplit

from langchain_core.messages import BaseMessage

from langchain_qwen_omni._errors import as_langchain_errors
from qwen_omni.errors import MediaError
from qwen_omni.media.files.safe_open import open_local, resolve_local
from qwen_omni.media.files.store import PREFIX, keep
from qwen_omni.media.source import FileVersion, MediaSource
from qwen_omni.settings import kept_folder

M = TypeVar("M", bound=BaseMessage)

_BLOCK_BYTES = 1_048_576
_LONG = 1024  # characters; a longer text is replaced by its digest in a key
_MEDIA = ("image", "audio", "video", "file")
_LINKS = (PREFIX, "http://", "https://", "oss://", "file://")  # may appear where base64 is expected
_NESTED = ("image_url", "audio_url", "video_url", "input_audio", "file", "source", "video", "image", "audio")


def to_reference(message: M, *, folder: str | Path | None = None) -> M:
    """Return a message that refers to its media instead of holding it, to keep a history small.

    The bytes are stored once, in the cache folder (`QWEN_OMNI_CACHE_DIR`), and the message holds their digest:
    `{"type": "video", "file_id": "sha256:…"}`. A model of this package sends them as before; uploaded media is not
    uploaded again. Paths and links are left unchanged, and the original message is never modified. Other machines need
    the same folder, or media behind links.

    Args:
        message: any message; speech in an answer counts as media as well.
        folder: store the media here instead, and refer to it by path. To be read again, the folder must be inside
            `media_root`.

    Raises:
        UnreadableMediaError: base64 that cannot be decoded.
        OSError: the folder cannot be written.

    Example:
        question = HumanMessage([{"type": "video", "base64": data, "mime_type": "video/mp4"}, "What is sold here?"])
        history = [to_reference(question), llm.invoke([question])]
    """
    if isinstance(message.content, str):
        return message
    with as_langchain_errors():
        content = [_named(block, _Keeper(folder)) for block in message.content]
    if all(new is old for new, old in zip(content, message.content, strict=True)):
        return message
    return message.model_copy(update={"content": content})


class _Keeper:
    """Stores bytes, and returns the reference for a message."""

    def __init__(self, folder: str | Path | None) -> None:
        self._folder = None if folder is None else Path(folder).resolve()

    def by_id(self, text: str) -> tuple[dict[str, str], str | None]:
        """Store base64 or a data URI; return the field that refers to it, and its stated MIME type."""
        source = _read(text)
        digest = keep(source.data or b"", self._folder or kept_folder())
        if self._folder is None:
            return {"file_id": digest}, source.media_type
        return {"path": str(self._folder / digest.removeprefix(PREFIX))}, source.media_type

    def by_text(self, text: str) -> str:
        """Store base64 or a data URI; return the text that replaces it."""
        field, _ = self.by_id(text)
        return field["file_id"] if "file_id" in field else Path(field["path"]).as_uri()


def _read(text: str) -> MediaSource:
    return MediaSource.from_url(text) if text.startswith("data:") else MediaSource.from_base64(text)


def _named(block: Any, keeper: _Keeper) -> Any:  # noqa: ANN401  (blocks are anything that users write)
    """Return a block that refers to its media, or the block itself if it holds none."""
    if not isinstance(block, Mapping):
        return block
    held = next((name for name in ("base64", "data", "url") if _holds(name, block)), None)
    if block.get("type") in _MEDIA and held is not None:
        field, mime = keeper.by_id(block[held])
        rest = {name: value for name, value in block.items() if name not in (held, "source_type")}
        return {**rest, **field, **({"mime_type": mime} if mime and "mime_type" not in rest else {})}
    nested = next((name for name in _NESTED if name in block), None)
    if nested is None:
        return block
    inner = _inside(block[nested], keeper)
    return block if inner is block[nested] else {**block, nested: inner}


def _holds(name: str, block: Mapping[str, Any]) -> bool:
    value = block.get(name)
    if not isinstance(value, str):
        return False
    return value.startswith("data:") if name == "url" else not value.startswith(_LINKS)


def _inside(value: Any, keeper: _Keeper) -> Any:  # noqa: ANN401
    """Replace the media inside a block by references: a link, an object with one, or a list of frames."""
    match value:
        case str() if value.startswith("data:"):
            return keeper.by_text(value)
        case list() | tuple():
            new = [_named(item, keeper) if isinstance(item, Mapping) else _inside(item, keeper) for item in value]
            return value if all(one is other for one, other in zip(new, value, strict=True)) else new
        case Mapping():
            held = next((name for name in ("url", "data", "base64", "file_data") if _holds(name, value)), None)
            return value if held is None else {**value, held: keeper.by_text(value[held])}
        case _:
            return value


# --- The key of a cache ---


def digested(messages: Sequence[BaseMessage], media_root: Path) -> list[BaseMessage]:
    """Return messages for a cache key: long texts as digests, and local files identified by their content."""
    return [
        message
        if isinstance(message.content, str)
        else message.model_copy(update={"content": [_digest(block, media_root) for block in message.content]})
        for message in messages
    ]


def _digest(value: Any, media_root: Path) -> Any:  # noqa: ANN401
    match value:
        case str() if len(value) > _LONG:
            return f"{PREFIX}{hashlib.sha256(value.encode('utf-8', 'surrogatepass')).hexdigest()} of {len(value)}"
        case Mapping():
            read = {name: _digest(inner, media_root) for name, inner in value.items()}
            digests = [digest for text in value.values() if (digest := _file_digest(text, media_root))]
            return {**read, "content": digests} if digests else read
        case list() | tuple():
            return [_digest(inner, media_root) for inner in value]
        case _:
            return value


def _file_digest(text: Any, media_root: Path) -> str | None:  # noqa: ANN401
    """Return the digest of the file that a text names, if it may be read: changed content needs a new answer."""
    if not isinstance(text, str | Path) or len(str(text)) > _LONG:
        return None
    named = str(text)
    path = unquote(urlsplit(named).path) if named.startswith("file://") else named
    try:
        source = MediaSource.from_path(path)
        found = resolve_local(source, media_root)
        return _digest_of(found, FileVersion.of(found.stat())) if found.is_file() else None
    except (OSError, ValueError, MediaError):
        return None  # not a path, or one that the call itself will reject


@functools.lru_cache(maxsize=256)
def _digest_of(path: Path, _version: FileVersion) -> str:
    found = hashlib.sha256()
    with open_local(MediaSource.from_path(path, trusted=True), path.parent) as file:
        while block := file.read(_BLOCK_BYTES):
            found.update(block)
    return found.hexdigest()
