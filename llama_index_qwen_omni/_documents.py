"""The notes of a video → LlamaIndex documents, and a document → the passage of the video it is about. Pure.

Every document says where it stands: `source`, `start` and `end` in seconds, and `url`, a link with a media fragment
(`#t=start,end`). Where it can, it holds the video itself (`video_resource`) by reference, so that a retrieved node
can be asked again.
"""

import mimetypes
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal
from uuid import NAMESPACE_URL, uuid5

from llama_index.core.base.llms.types import VideoBlock
from llama_index.core.schema import BaseNode, Document, MediaResource

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.video.notes import SegmentNotes

Mode = Literal["segments", "captions", "single"]

_FACTS = ("duration", "width", "height", "fps", "video_codec", "audio_codec")
_OF_THE_FILE = (*_FACTS, "segment", "segments", "model", "language", "url")
EXCLUDED_EMBED = ("source", "start", "end", *_OF_THE_FILE)
"""Metadata that an embedding would learn nothing from."""
EXCLUDED_LLM = (*_FACTS, "segment", "segments", "model", "url")
"""Metadata that a model does not need to answer; it keeps the source and the times, to cite them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where a video came from.

    Attributes:
        source: its name, as the program wrote it.
        url: its address, without a fragment.
        path: its local path; `None` where it lies on another file system.
        extra: what the caller wants in the metadata of every document.
    """

    source: str
    url: str
    path: str | None
    extra: Mapping[str, Any]


def to_documents(notes: SegmentNotes, mode: Mode, origin: Origin) -> Iterator[Document]:
    """Make the documents of a segment: one, or one for each event where captions are wanted; none for a gap."""
    if notes.gap:
        return
    if mode != "captions":
        yield _document(notes, origin, notes.text, (notes.start, notes.end), mode)
        return
    for event in notes.events:
        yield _document(notes, origin, event.text, (event.start, event.end), mode)


def _document(notes: SegmentNotes, origin: Origin, text: str, times: tuple[float, float], mode: Mode) -> Document:
    start, end = (round(time, 3) for time in times)
    url = f"{origin.url}#t={start:g},{end:g}"
    facts = {name: getattr(notes.video, name, None) for name in _FACTS}
    told = {
        "source": origin.source, "start": start, "end": end, "segment": notes.index, "segments": notes.segments,
        **facts, "model": notes.model, "language": notes.language or None, "url": url,
    }  # fmt: skip
    kind = getattr(notes.video, "kind", "video")
    medium = MediaResource.model_validate(
        {"path": origin.path, "url": url, "mimetype": mimetypes.guess_type(origin.url)[0] or f"{kind}/mp4"}
    )
    return Document(
        id_=str(uuid5(NAMESPACE_URL, f"{url}&mode={mode}&text={text if mode == 'captions' else ''}")),
        text=text,
        metadata={**origin.extra, **{name: value for name, value in told.items() if value is not None}},
        excluded_embed_metadata_keys=list(EXCLUDED_EMBED),
        excluded_llm_metadata_keys=list(EXCLUDED_LLM),
        **{"audio_resource" if kind == "audio" else "video_resource": medium},
    )


def clip(node: BaseNode) -> VideoBlock:
    """Give the passage of the video that a node is about, to be asked again, for example at more frames a second.

    It works for nodes that a splitter made of a document, too: the times are in the metadata.

    Raises:
        UnsupportedContentError: the node does not come from a video.

    Example:
        passage = clip(retriever.retrieve("tent")[0].node)
        question = ChatMessage(blocks=[passage, TextBlock(text="Which colour?")], additional_kwargs={"fps": 4})
        print(llm.chat([question]).message.content)
    """
    url = node.metadata.get("url")
    if not isinstance(url, str) or "#t=" not in url:
        raise UnsupportedContentError(
            f"Node {node.node_id} has no url with times in its metadata; QwenOmniVideoReader writes one."
        )
    return VideoBlock(url=url)
