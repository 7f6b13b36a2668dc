"""What vLLM and compatible servers name or send differently from DashScope. Pure.

DashScope-only options are rejected here, since such a server would silently ignore them. Sources: vLLM and vLLM-Omni
documentation (stable, read 2026-09); QwenLM/Qwen-MM-Plugins issue 8.

Some servers write reasoning into the text, between `<think>` and `</think>`. An opening tag counts only at the very
beginning, so an answer about the tag is left unchanged. Chat templates of reasoning models put the opening tag into the
prompt, so without a reasoning parser a vLLM server's answer holds only the closing one (`Unopened`). A tag in quotes or
backticks is text.
"""

import re
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Literal

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, VideoPart
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.responses import TextDelta, ThinkingDelta
from qwen_omni.wire.media import Look

Unopened = Literal["text", "split", "hold"]
"""How to read the text before a `</think>` that was never opened.

- `text`: it is text, and so is the tag.
- `split`: it is reasoning in a whole answer; a stream, which cannot retract what it yielded, passes it on as text.
- `hold`: it is reasoning, in streams too: text is held back until the tag comes, or the answer ends.
"""

_OPEN = "<think>"
_CLOSE = "</think>"
_UNOPENED = re.compile(rf"(?<![`'\"]){_CLOSE}(?![`'\"])\n*")


class ThinkTags:
    """Splits text pieces into text and thinking deltas; holds back only what may begin a tag, or be reasoning."""

    def __init__(self, *, unopened: Unopened = "text") -> None:
        self._held: list[str] = []
        self._inside: bool | None = None
        self._unopened = unopened
        self._trims = False  # line breaks after a closing tag
        self._waits = False  # for a tag that was never opened
        self._tail = ""

    def feed(self, text: str) -> list[TextDelta | ThinkingDelta]:
        """Take the next piece of text."""
        if self._inside is False:
            return self._behind(text)
        if self._waits:
            return self._wait(text)
        text = self.held + text
        self._held = []
        if self._inside is None:
            return self._begin(text)
        return self._within(text)

    @property
    def held(self) -> str:
        """The text held back."""
        return "".join(self._held)

    @property
    def held_text(self) -> str:
        """The text held back, as plain text, which it is if nothing follows."""
        return "" if self._inside else self.held

    def is_separate(self) -> None:
        """Record that the server sends reasoning in a separate field, so that all text is text."""
        self._unopened = "text"

    def close(self) -> list[TextDelta | ThinkingDelta]:
        """Return what was held back, at the end of the text."""
        held, self._held, self._waits = self.held, [], False
        if not held:
            return []
        return [ThinkingDelta(held) if self._inside else TextDelta(held)]

    def split(self, text: str) -> tuple[str, str]:
        """Split the whole text of an answer into reasoning and text."""
        if self._unopened == "text" or self._inside:
            return "", text
        found = _UNOPENED.search(text)
        if found is None or _OPEN in text[: found.start()]:
            return "", text
        return text[: found.start()], text[found.end() :]

    def _behind(self, text: str) -> list[TextDelta | ThinkingDelta]:
        if self._trims:
            text = text.lstrip("\n")
            self._trims = not text
        return [TextDelta(text)] if text else []

    def _begin(self, text: str) -> list[TextDelta | ThinkingDelta]:
        start = text.lstrip()
        if start.startswith(_OPEN):
            self._inside, self._unopened = True, "text"
            return self._within(start[len(_OPEN) :])
        if _OPEN.startswith(start):
            self._held = [text]
            return []
        if self._unopened == "hold":
            self._waits = True
            return self._wait(text)
        self._inside = False
        return [TextDelta(text)]

    def _wait(self, text: str) -> list[TextDelta | ThinkingDelta]:
        """Hold text back until the closing tag comes."""
        if self._unopened != "hold":
            self._inside = False
            return [*self.close(), TextDelta(text)]
        self._held.append(text)
        seen, self._tail = self._tail + text, (self._tail + text)[-len(_CLOSE) :]
        if _CLOSE not in seen:
            return []
        thinking, rest = self.split(self.held)
        if not thinking and rest == self.held:
            return []
        self._held, self._waits, self._inside, self._unopened, self._trims = [], False, False, "text", True
        return [*([ThinkingDelta(thinking)] if thinking else []), *self._behind(rest)]

    def _within(self, text: str) -> list[TextDelta | ThinkingDelta]:
        before, found, after = text.partition(_CLOSE)
        if found:
            self._inside, self._trims = False, True
            return [*([ThinkingDelta(before)] if before else []), *self._behind(after)]
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:n])), 0)
        shown, self._held = text[: len(text) - keep], [text[len(text) - keep :]]
        return [ThinkingDelta(shown)] if shown else []


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
