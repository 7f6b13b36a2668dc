"""Blocks as other services and SDKs write them → the spellings that `_parts` reads. Pure.

Known here: OpenAI's Responses API (`input_image`, `input_file`, …), Gemini and `langchain-google-genai` (`inline_data`,
`file_data`, `media`), DashScope's SDK, ChatTongyi and qwen-vl-utils (blocks without a type, paths in `video`), Bedrock
(`{"video": {"format": …, "source": {"bytes": …}}}`) and Anthropic's documents. What stands beside the media stays
there, so that options are read, or refused by name, in one place.
"""

from collections.abc import Mapping
from typing import Any

Block = Mapping[str, Any]
_KINDS = ("video", "audio", "image")
_GEMINI = ("inline_data", "inlineData", "file_data", "fileData")
_NAMES = {"mimeType": "mime_type", "media_type": "mime_type", "fileUri": "url", "file_uri": "url", "file_url": "url"}
_FILE_FIELDS = {"file_data": "base64", "file_url": "url", "file_id": "file_id", "filename": "filename"}


def respelled(block: Block) -> Block:  # noqa: PLR0911  (a table of spellings)
    """Write a block in a spelling of LangChain's; one that is unknown stays as it is.

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
    """A medium of Gemini's with its kind in a MIME type, and perhaps seconds and frames of a video beside it."""
    told = beside.get("video_metadata") or beside.get("videoMetadata") or {}
    rest = _without(beside, "video_metadata", "videoMetadata")
    named = {_NAMES.get(name, name): value for name, value in {**rest, **held}.items()}
    times = {
        ours: _seconds(told[theirs])
        for theirs, ours in (
            ("start_offset", "start"), ("startOffset", "start"), ("end_offset", "end"), ("endOffset", "end"),
        )
        if isinstance(told, Mapping) and told.get(theirs) is not None
    }  # fmt: skip
    fps = {"fps": told["fps"]} if isinstance(told, Mapping) and told.get("fps") is not None else {}
    return {**named, **times, **fps, "type": "file"}


def _seconds(told: object) -> object:
    """Read "40s" as 40.0; what is not written so is left for the check of options to refuse."""
    try:
        return float(told[:-1]) if isinstance(told, str) and told.endswith("s") else told
    except ValueError:
        return told


def _input(kind: str, block: Block) -> Block:
    """A block of OpenAI's Responses API, whose address stands beside the type, or inside an object there."""
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
    """A block whose media is an object under the name of its kind."""
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
