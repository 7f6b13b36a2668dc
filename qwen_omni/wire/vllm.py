"""The fields of a request that vLLM, and servers that follow it, know by other names than DashScope. Pure.

Sources: vLLM and vLLM-Omni documentation (stable, read 2026-09); QwenLM/Qwen-MM-Plugins issue 8. What only
DashScope has is refused here, since such a server would ignore it without a word.
"""

from dataclasses import replace
from typing import Any

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.messages import ImagePart, Message, Sampling, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import Profile

_ONLY_DASHSCOPE = {
    "search": "search=",
    "high_resolution_images": "high_resolution_images=",
    "multichannel": "multichannel=",
}
_SAMPLING = ("fps", "min_pixels", "max_pixels")  # what Qwen's processor takes


def served_profile(profile: Profile) -> Profile:
    """Give what a self-hosted model can do: JSON, schemas and tools come from the server, whatever the model."""
    return replace(profile, json_object=True, json_schema=True, tools=True, speaks=True, thinking="none")


def encode_vllm(request: ChatRequest) -> dict[str, Any]:
    """Give the fields that concern thinking, speech, sampling and a video's sound.

    Raises:
        ConfigurationError: an option that only DashScope has.
        UnsupportedContentError: parts that ask for different sampling.
    """
    options = request.options
    for name, shown in _ONLY_DASHSCOPE.items():
        if getattr(options, name):
            raise ConfigurationError(f"{shown} is something that only DashScope has; drop it for this server.")
    kwargs = {**_sampling(request.messages), **_sound(request.messages)}
    return {
        **_thinking(options),
        **_speech(options),
        **({"mm_processor_kwargs": kwargs} if kwargs else {}),
    }


def _thinking(options: ChatOptions) -> dict[str, Any]:
    if options.thinking is None:
        return {}
    return {"chat_template_kwargs": {"enable_thinking": options.thinking not in (False, "none")}}


def _speech(options: ChatOptions) -> dict[str, Any]:
    if options.modalities is None:
        return {}
    voice = {"audio": {"voice": options.voice, "format": "wav"}} if options.voice else {}
    return {"modalities": list(options.modalities), **voice}


def _sound(messages: tuple[Message, ...]) -> dict[str, Any]:
    # Without it the sound of a video is left out, in silence.
    heard = any(isinstance(part, VideoPart) for message in messages for part in message.parts)
    return {"use_audio_in_video": True} if heard else {}


def _sampling(messages: tuple[Message, ...]) -> dict[str, float]:
    asked = {part.sampling for message in messages for part in message.parts if isinstance(part, ImagePart | VideoPart)}
    if len(asked) > 1:
        raise UnsupportedContentError(
            "The parts ask for different sampling (fps, pixels); this server takes one for the whole request. "
            "Ask for the same, or in several requests."
        )
    sampling = next(iter(asked), Sampling())
    if sampling.total_pixels is not None:
        raise ConfigurationError("total_pixels is something that only DashScope has; use max_pixels and fps.")
    values = {name: getattr(sampling, name) for name in _SAMPLING}
    return {name: value for name, value in values.items() if value is not None}
