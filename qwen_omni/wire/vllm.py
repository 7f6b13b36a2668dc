"""The fields of a request that vLLM, and servers that follow it, know by other names than DashScope. Pure.

Sources: vLLM and vLLM-Omni documentation (stable, read 2026-09); QwenLM/Qwen-MM-Plugins issue 8. What only
DashScope has is refused here, since such a server would ignore it without a word.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.wire.media import Look
from qwen_omni.wire.thinktags import Unopened

_ONLY_DASHSCOPE = {
    "search": "search=",
    "high_resolution_images": "high_resolution_images=",
    "multichannel": "multichannel=",
}
_SAMPLING = ("fps", "min_pixels", "max_pixels")  # what Qwen's processor takes


def served_profile(profile: Profile) -> Profile:
    """Give what a self-hosted model can do: JSON, schemas and tools come from the server, whatever the model."""
    return replace(
        profile, json_object=True, json_schema=True, tools=True, speaks=True, thinking="none", explicit_cache=False
    )


def encode_vllm(request: ChatRequest) -> dict[str, Any]:
    """Return the fields that concern thinking and speech.

    Raises:
        ConfigurationError: an option that only DashScope has.
        UnsupportedContentError: parts that ask for different sampling.
    """
    options = request.options
    for name, shown in _ONLY_DASHSCOPE.items():
        if getattr(options, name):
            raise ConfigurationError(f"{shown} is something that only DashScope has; drop it for this server.")
    _sampling([part for message in request.messages for part in message.parts if isinstance(part, MediaPart)])
    return {**_thinking(options), **_speech(options)}


def encode_vllm_media(parts: Sequence[MediaPart], look: Look) -> dict[str, Any]:
    """Return the field that concerns sampling and a video's sound.

    Raises:
        UnsupportedContentError: parts that ask for different sampling.
    """
    kwargs = {**_sampling(parts), **_sound(parts, look)}
    return {"mm_processor_kwargs": kwargs} if kwargs else {}


def _thinking(options: ChatOptions) -> dict[str, Any]:
    if options.thinking is None:
        return {}
    return {"chat_template_kwargs": {"enable_thinking": options.thinking not in (False, "none")}}


def unopened_tags(request: ChatRequest) -> Unopened:
    """Decide what text before a `</think>` that was never opened is: a server without a reasoning parser writes it.

    Example:
        >>> from qwen_omni.messages import user
        >>> unopened_tags(ChatRequest(model="Qwen3-Omni-30B-A3B-Thinking", messages=(user("Hi"),)))
        'hold'
    """
    if "thinking" in request.model.lower():
        return "hold"  # its template opens the tag in the prompt, whatever is asked for
    if request.options.thinking is None:
        return "split"
    return "text" if request.options.thinking in (False, "none") else "hold"


def _speech(options: ChatOptions) -> dict[str, Any]:
    if options.modalities is None:
        return {}
    voice = {"audio": {"voice": options.voice, "format": "wav"}} if options.voice else {}
    return {"modalities": list(options.modalities), **voice}


def _sound(parts: Sequence[MediaPart], look: Look) -> dict[str, Any]:
    # Without it the sound of a video is left out. It is for the whole request: the processor takes one piece of audio
    # for each video then, and fails where a video is silent or where there is other audio (vLLM, read 2026-09).
    heard = [look(part.source).has_sound for part in parts if isinstance(part, VideoPart)]
    alone = not any(isinstance(part, AudioPart) for part in parts)
    return {"use_audio_in_video": True} if heard and alone and all(one is not False for one in heard) else {}


def lost_sound(parts: Sequence[MediaPart], look: Look) -> str:
    """Say why the sound of a video is not heard by this server; empty if none is lost."""
    videos = [part.source for part in parts if isinstance(part, VideoPart)]
    heard = [source for source in videos if look(source).has_sound is not False]
    if not heard or _sound(parts, look):
        return ""
    why = "another video of the request has none" if len(heard) < len(videos) else "the request holds other audio"
    return (
        f"The audio of {heard[0].label} is not heard by this server: it takes the audio of all videos or of none, and "
        f"{why}. Ask in separate requests."
    )


def _sampling(parts: Sequence[MediaPart]) -> dict[str, float]:
    asked = {part.sampling for part in parts if isinstance(part, ImagePart | VideoPart)}
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
