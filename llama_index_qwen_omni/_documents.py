"""Passages of a video → LlamaIndex documents, and a document → the stretch of the video it is about. Pure.

What a passage says and where it stands is decided in `qwen_omni.video.passages`, for both frameworks. Here the
document gets the video itself (`video_resource`, or `audio_resource`) by reference, so that a retrieved node can be
asked again.
"""

import mimetypes
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from llama_index.core.base.llms.types import AudioBlock, VideoBlock
from llama_index.core.schema import BaseNode, Document, MediaResource
from pydantic import SerializationInfo, SerializerFunctionWrapHandler, model_serializer

from qwen_omni.ranges import Range, checked
from qwen_omni.video.passages import EXCLUDED, EXCLUDED_FROM_EMBEDDING, Passage, fragment_url, kind_of, stretch_of

_RESOURCES = ("text_resource", "image_resource", "audio_resource", "video_resource")
_FPS = Range(least=1, most=1000, whole=True)  # LlamaIndex's blocks hold whole numbers alone


class MediaDocument(Document):
    """A document that can be written as JSON, with the medium it is about.

    LlamaIndex keeps the address of a medium as an object that `json` refuses, so stores could not be persisted. Here it
    is written as text, which `Document.from_dict` and `from_json` read.
    """

    @model_serializer(mode="wrap")
    def custom_model_dump(self, handler: SerializerFunctionWrapHandler, info: SerializationInfo) -> dict[str, Any]:
        """Write the fields; LlamaIndex's own serializer adds the class and the text."""
        data = super().custom_model_dump(handler, info)
        for name in _RESOURCES:
            resource = data.get(name)
            if isinstance(resource, dict) and resource.get("url") is not None:
                data[name] = {**resource, "url": str(resource["url"])}
        return data

    def __eq__(self, other: object) -> bool:
        """Whether another document, read back from JSON as a plain one perhaps, holds the same."""
        return isinstance(other, Document) and self.model_dump(mode="json") == other.model_dump(mode="json")

    __hash__ = None  # type: ignore[assignment]  # as every model that is compared by its fields


def to_document(passage: Passage, extra: Mapping[str, Any] | None, *, medium: bool = True) -> Document:
    """Make the document of a passage.

    Args:
        passage: what is said about some seconds of a video.
        extra: what the caller wants in the metadata of every document.
        medium: the document gets the video or recording itself, by reference.
    """
    told = passage.metadata
    fields: dict[str, Any] = {
        "id_": passage.id,
        "text": passage.text,
        "metadata": {**(extra or {}), **told},
        "excluded_embed_metadata_keys": list(EXCLUDED_FROM_EMBEDDING),
        "excluded_llm_metadata_keys": list(EXCLUDED),
    }
    return MediaDocument(**fields, **_resource(told)) if medium else Document(**fields)


def _resource(told: Mapping[str, Any]) -> dict[str, Any]:
    source, url, kind = str(told["source"]), str(told["url"]), kind_of(told)
    resource = {
        "path": None if "://" in source else str(Path(source).absolute()),
        "url": url,
        "mimetype": mimetypes.guess_type(urlsplit(url).path)[0] or f"{kind}/mp4",
    }
    return {f"{kind}_resource": MediaResource.model_validate(resource)}


def clip(node: BaseNode, *, fps: int | None = None, margin: float = 2.0) -> VideoBlock | AudioBlock:
    """Return the stretch of video or sound that a node is about, as a block to ask about again, closer.

    Of a file with several audio tracks, the one that the node is of is heard again.
    Nothing is cut here: the model's range does it when it is asked. The path must lie inside the model's `media_root`.
    It works for nodes that a splitter made of a document, too: the times are in the metadata.

    Args:
        node: one that `QwenOmniVideoReader` made of a file, or a part of one.
        fps: frames per second to look at; the model's own number if not given. Other than whole numbers stand in the
            message's `additional_kwargs`.
        margin: seconds before and after, since what one looks for may begin a little earlier.

    Raises:
        ConfigurationError: the node does not name a stretch of a file.

    Example:
        passage = clip(retriever.retrieve("tent")[0].node, fps=4)
        question = ChatMessage(blocks=[passage, TextBlock(text="Which colour?")])
        print(llm.chat([question]).message.content)
    """
    fps = None if fps is None else checked("fps", fps, _FPS)
    stretch = stretch_of(node.metadata, margin=margin)
    url = fragment_url(stretch.source, stretch.start, stretch.end, stretch.audio_track)
    return VideoBlock(url=url, fps=fps) if stretch.kind == "video" else AudioBlock(url=url)
