"""What vLLM and compatible servers name or send differently from DashScope. Pure.

DashScope-only options are rejected here, since such a server would silently ignore them. Sources: vLLM and vLLM-Omni
documentation (stable, read 2026-09); QwenLM/Qwen-MM-Plugins issue 8.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, assert_never

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, MediaPayload, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.wire.stream import Unopened

Look = Callable[[MediaSource], MediaPayload]
"""Returns how a piece of media was delivered."""

_ONLY_DASHSCOPE = {
    "enable_search": "enable_search=",
    "high_resolution_images": "high_resolution_images=",
    "multichannel": "multichannel=",
}
_SAMPLING = ("fps", "min_pixels", "max_pixels")  # the options of Qwen's processor


def served_profile(profile: Profile) -> Profile:
    """Return the capabilities of a self-hosted model: the server adds JSON, schemas and tools, whatever the model."""
    return replace(
        profile, json_object=True, json_schema=True, tools=True, speaks=True, thinking="none", explicit_cache=False
    )


def encode_vllm(request: ChatRequest) -> dict[str, Any]:
    """Return the request fields for thinking and speech.

    Raises:
        ConfigurationError: an option that only DashScope has.
        UnsupportedContentError: parts that ask for different sampling.
    """
    options = request.options
    for name, shown in _ONLY_DASHSCOPE.items():
        if getattr(options, name):
            raise ConfigurationError(f"{shown} is available on DashScope only; remove it for this server.")
    _sampling([part for message in request.messages for part in message.parts if isinstance(part, MediaPart)])
    return {**_thinking(options), **_speech(options)}


def encode_vllm_media(parts: Sequence[MediaPart], look: Look) -> dict[str, Any]:
    """Return the request field for sampling and the audio of videos.

    Raises:
        UnsupportedContentError: parts that ask for different sampling.
    """
    kwargs = {**_sampling(parts), **_sound(parts, look)}
    return {"mm_processor_kwargs": kwargs} if kwargs else {}


def encode_vllm_part(part: MediaPart, place: str, look: Look) -> dict[str, Any]:
    """Encode one media part.

    Raises:
        UnsupportedContentError: a list of frames.
    """
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
            raise no_frames(place)
        case _:
            assert_never(part)


def no_frames(place: str) -> UnsupportedContentError:
    """Return the error for a list of frames."""
    return UnsupportedContentError(
        f"{place}: a list of frames is accepted by DashScope only; send a video file, or the frames as images."
    )


def _thinking(options: ChatOptions) -> dict[str, Any]:
    if options.thinking is None:
        return {}
    return {"chat_template_kwargs": {"enable_thinking": options.thinking not in (False, "none")}}


def unopened_tags(request: ChatRequest) -> Unopened:
    """Decide how to read the text before an unopened `</think>`, as a server without a reasoning parser writes it.

    Example:
        >>> from qwen_omni.messages import user
        >>> unopened_tags(ChatRequest(model="Qwen3-Omni-30B-A3B-Thinking", messages=(user("Hi"),)))
        'hold'
    """
    if "thinking" in request.model.lower():
        return "hold"  # its template always opens the tag in the prompt
    if request.options.thinking is None:
        return "split"
    return "text" if request.options.thinking in (False, "none") else "hold"


def _speech(options: ChatOptions) -> dict[str, Any]:
    if options.modalities is None:
        return {}
    voice = {"audio": {"voice": options.voice, "format": "wav"}} if options.voice else {}
    return {"modalities": list(options.modalities), **voice}


def _sound(parts: Sequence[MediaPart], look: Look) -> dict[str, Any]:
    # Without it the audio of a video is left out. It applies to the whole request: the processor then expects one audio
    # track per video, and fails if a video is silent or if there is other audio (vLLM, read 2026-09).
    heard = [look(part.source).has_sound for part in parts if isinstance(part, VideoPart)]
    alone = not any(isinstance(part, AudioPart) for part in parts)
    return {"use_audio_in_video": True} if heard and alone and all(one is not False for one in heard) else {}


def lost_sound(parts: Sequence[MediaPart], look: Look) -> str:
    """Return why this server ignores the audio of a video; empty if no audio is lost."""
    videos = [part.source for part in parts if isinstance(part, VideoPart)]
    heard = [source for source in videos if look(source).has_sound is not False]
    if not heard or _sound(parts, look):
        return ""
    why = "another video of the request has none" if len(heard) < len(videos) else "the request holds other audio"
    return (
        f"The audio of {heard[0].label} is not heard by this server: it uses the audio of all videos or of none, and "
        f"{why}. Send separate requests."
    )


def _sampling(parts: Sequence[MediaPart]) -> dict[str, float]:
    asked = {part.sampling for part in parts if isinstance(part, ImagePart | VideoPart)}
    if len(asked) > 1:
        raise UnsupportedContentError(
            "The parts ask for different sampling (fps, pixels); this server takes one for the whole request. "
            "Use the same sampling, or send separate requests."
        )
    sampling = next(iter(asked), Sampling())
    if sampling.total_pixels is not None:
        raise ConfigurationError("total_pixels is available on DashScope only; use max_pixels and fps.")
    values = {name: getattr(sampling, name) for name in _SAMPLING}
    return {name: value for name, value in values.items() if value is not None}
