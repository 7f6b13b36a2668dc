"""What vLLM, transformers serve and compatible servers name or send differently from DashScope. Pure.

Options that such a server would ignore or refuse are rejected here, before anything is sent. Sources: the code of vLLM
0.32 and transformers 5.24 and what both answered (2026-11); vLLM-Omni documentation (2026-09); QwenLM/Qwen-MM-Plugins
issue 8.
"""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any, assert_never

from qwen_omni.addresses import TRANSFORMERS, VLLM, Server
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, MediaPayload, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.wire.stream import Unopened

Look = Callable[[MediaSource], MediaPayload]
"""Returns how a piece of media was delivered."""

_ONLY_DASHSCOPE = ("enable_search", "high_resolution_images", "multichannel")
# transformers serve 5.24 answers 422 to the first two, fails at the third if the model has a processor, and ignores the
# others.
_NOT_IN_TRANSFORMERS = (
    "top_k", "repetition_penalty", "stop", "presence_penalty", "parallel_tool_calls", "modalities", "json_schema",
)  # fmt: skip
_UNSET = ChatOptions()
USUAL_FPS = 2  # preprocessor_config.json of Qwen/Qwen2.5-Omni-7B
_PIXELS = ("min_pixels", "max_pixels")  # the options of Qwen's processor
_SENT = ("fps", *_PIXELS)  # every other field of `Sampling` is refused
_REFUSED = re.compile(r"mm_processor_kwargs|media_io_kwargs")
_HOW = (
    "start vLLM with --trust-request-mm-kwargs and pass request_kwargs=True, or let a local file be prepared that way "
    "(budget=MediaBudget(fps=..., long_side=...))"
)


def encode_vllm(request: ChatRequest, server: Server) -> dict[str, Any]:
    """Return the request fields for thinking and speech.

    Raises:
        ConfigurationError: an option that this server does not have.
        UnsupportedContentError: parts that ask for different sampling, or for sampling that this server refuses.
    """
    options = request.options
    for name in _ONLY_DASHSCOPE:
        if getattr(options, name):
            raise ConfigurationError(f"{name}= is available on DashScope only; remove it for this server.")
    if server.name == TRANSFORMERS:
        _check_transformers(options)
    _sampling([part for message in request.messages for part in message.parts if isinstance(part, MediaPart)], server)
    return {**_thinking(options), **_speech(options)}


def _check_transformers(options: ChatOptions) -> None:
    for name in _NOT_IN_TRANSFORMERS:
        if getattr(options, name) != getattr(_UNSET, name):
            raise ConfigurationError(f"{TRANSFORMERS} has no {name}=; remove it for this server.")
    if options.tool_choice not in (None, "auto", "none"):
        raise ConfigurationError(f"{TRANSFORMERS} cannot be required to call a tool; remove tool_choice=.")


def encode_vllm_media(parts: Sequence[MediaPart], look: Look, server: Server) -> dict[str, Any]:
    """Return the request fields for sampling and the audio of videos.

    Raises:
        UnsupportedContentError: parts that ask for different sampling, or for sampling that this server refuses.
    """
    sampling = _sampling(parts, server)
    if server.name == TRANSFORMERS:
        return _transformers_media(parts, sampling)
    pixels = {name: value for name in _PIXELS if (value := getattr(sampling, name)) is not None}
    processor = {**pixels, **_audio(parts, look, server)}
    loading = {} if sampling.fps is None else {"video": {"fps": sampling.fps}}
    return {
        **({"mm_processor_kwargs": processor} if processor else {}),
        **({"media_io_kwargs": loading} if loading else {}),
    }


def _transformers_media(parts: Sequence[MediaPart], sampling: Sampling) -> dict[str, Any]:
    # They reach the processor this way. Its own default is 32 frames of every video, and a shorter video fails
    # (transformers 5.24); these models are made for a rate.
    kwargs: dict[str, Any] = {}
    if any(isinstance(part, VideoPart) for part in parts):
        kwargs = {"fps": sampling.fps or USUAL_FPS, "num_frames": None}
    kwargs |= {name: value for name in _PIXELS if (value := getattr(sampling, name)) is not None}
    return {"chat_template_kwargs": kwargs} if kwargs else {}


def encode_vllm_part(part: MediaPart, place: str, look: Look, server: Server) -> dict[str, Any]:
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
            if delivered.url is None and delivered.path is not None and not server.reads_data_urls:
                return {"type": "video_url", "video_url": {"url": str(delivered.path.absolute())}}
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


def _audio(parts: Sequence[MediaPart], look: Look, server: Server) -> dict[str, Any]:
    # It applies to the whole request: the processor then expects one audio track per video, and fails if a video is
    # silent or if there is other audio. Where it is not sent, the audio of a local video is a part of its own.
    heard = [look(part.source).has_audio for part in parts if isinstance(part, VideoPart)]
    alone = not any(isinstance(part, AudioPart) for part in parts)
    wanted = server.request_kwargs and heard and alone and all(one is not False for one in heard)
    return {"use_audio_in_video": True} if wanted else {}


def lost_audio(parts: Sequence[MediaPart], look: Look, server: Server) -> str:
    """Return why this server ignores the audio of a linked video; empty if no audio is lost."""
    if server.hears_videos or _audio(parts, look, server):
        return ""
    videos = [part.source for part in parts if isinstance(part, VideoPart)]
    lost = [source for source in videos if look(source).has_audio is None]
    if not lost:
        return ""
    return (
        f"The audio of {lost[0].label} is not heard by this server: it uses the audio of videos only where it trusts "
        "requests to set that (request_kwargs=True), for all videos or none, and without other audio. Download the "
        "video and pass the file: its audio is then sent beside it."
    )


def is_about_kwargs(message: str) -> bool:
    """Whether a server refuses options of the processor in requests.

    Example:
        >>> is_about_kwargs("400: Per-request mm_processor_kwargs are disabled by default because they can change")
        True
    """
    return bool(_REFUSED.search(message))


def kwargs_hint(server: Server) -> str:
    """Return what to do about the refusal of processor options."""
    return f"{server.name or 'This server'} takes no fps, min_pixels or max_pixels in requests: {_HOW}."


def _sampling(parts: Sequence[MediaPart], server: Server) -> Sampling:
    visual = [part for part in parts if isinstance(part, ImagePart | VideoPart)]
    rates = {part.sampling.fps for part in visual if isinstance(part, VideoPart)}
    pixels = {(part.sampling.min_pixels, part.sampling.max_pixels) for part in visual}
    if len(rates) > 1 or len(pixels) > 1:
        raise UnsupportedContentError(
            "The parts ask for different sampling (fps, pixels); this server takes one for the whole request. "
            "Use the same sampling, or send separate requests."
        )
    wanted = [name for part in visual for name, value in asdict(part.sampling).items() if value is not None]
    unsent = next((name for name in wanted if name not in _SENT), None)
    if unsent is not None:
        raise ConfigurationError(f"{unsent} is available on DashScope only; use max_pixels and fps.")
    least, most = next(iter(pixels), (None, None))
    sampling = Sampling(fps=next(iter(rates), None), min_pixels=least, max_pixels=most)
    refuses = server.request_kwargs is False or (server.request_kwargs is None and server.name == VLLM)
    if sampling != Sampling() and refuses:
        raise UnsupportedContentError(kwargs_hint(server)).with_option(
            "fps" if sampling.fps is not None else "max_pixels"
        )
    return sampling
