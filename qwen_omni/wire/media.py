"""Media parts → JSON, in the format of the server. Pure; `wire.request` is the other half.

DashScope takes audio as data URIs, and the sampling of a video next to the part. vLLM and compatible servers take
audio as plain base64 or as `audio_url`, and sampling for the whole request (`wire.vllm`).
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, assert_never

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, MediaPayload, VideoPart
from qwen_omni.options import Dialect

Look = Callable[[MediaSource], MediaPayload]
"""Returns how a piece of media was delivered."""

_SAMPLING_FIELDS = ("fps", "min_pixels", "max_pixels", "total_pixels")


def check_media_part(part: MediaPart, place: str, dialect: Dialect) -> None:
    """Check that this kind of server supports such a part.

    Raises:
        UnsupportedContentError: it does not.
    """
    if dialect == "vllm" and isinstance(part, FramesPart):
        raise _no_frames(place)


def encode_media(part: MediaPart, place: str, look: Look, dialect: Dialect) -> dict[str, Any]:
    """Encode one media part.

    Raises:
        UnsupportedContentError: this kind of server does not support such a part.
    """
    match dialect:
        case "dashscope":
            return _for_dashscope(part, look)
        case "vllm":
            return _for_vllm(part, place, look)
        case _:
            assert_never(dialect)


def _for_dashscope(part: MediaPart, look: Look) -> dict[str, Any]:
    match part:
        case ImagePart():
            return {"type": "image_url", "image_url": {"url": look(part.source)}, **_sampling(part.sampling)}
        case AudioPart():
            delivered = look(part.source)
            return {"type": "input_audio", "input_audio": {"data": delivered, "format": delivered.format or "wav"}}
        case VideoPart():
            return {"type": "video_url", "video_url": {"url": look(part.source)}, **_sampling(part.sampling)}
        case FramesPart():
            return {"type": "video", "video": [look(frame) for frame in part.frames], **_sampling(part.sampling)}
        case _:
            assert_never(part)


def _for_vllm(part: MediaPart, place: str, look: Look) -> dict[str, Any]:
    match part:
        case ImagePart():
            return {"type": "image_url", "image_url": {"url": look(part.source)}}
        case AudioPart():
            delivered = look(part.source)
            if delivered.url is not None:
                return {"type": "audio_url", "audio_url": {"url": delivered}}
            bare = replace(delivered, bare=True)  # a data URI fails there: "Incorrect padding"
            return {"type": "input_audio", "input_audio": {"data": bare, "format": delivered.format or "wav"}}
        case VideoPart():
            delivered = look(part.source)
            return {"type": "video_url", "video_url": {"url": replace(delivered, media_type=delivered.content_type)}}
        case FramesPart():
            raise _no_frames(place)
        case _:
            assert_never(part)


def _no_frames(place: str) -> UnsupportedContentError:
    return UnsupportedContentError(
        f"{place}: a list of frames is accepted by DashScope only; send a video file, or the frames as images."
    )


def _sampling(sampling: Sampling) -> dict[str, float]:
    values = {name: getattr(sampling, name) for name in _SAMPLING_FIELDS}
    return {name: value for name, value in values.items() if value is not None}
