"""Answers of a model: the deltas of a stream, and the whole answer they add up to. Pure values.

`wire.stream` turns the service's bytes into deltas; `ResponseBuilder` collects them, for the client and for code
that reads a stream itself (`collect`).
"""

import io
import json
from collections.abc import AsyncIterable, Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Literal

MAX_ANSWER_BYTES = 512 * 2**20
"""The default of `Settings.max_answer_bytes`: two hours of speech are 460 MB on the wire, text is a thousandth."""


@dataclass(frozen=True, slots=True)
class TextDelta:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True, slots=True)
class ThinkingDelta:
    """The next piece of the model's reasoning."""

    text: str


@dataclass(frozen=True, slots=True)
class AudioDelta:
    """The next piece of speech: 16 bit little-endian mono PCM, whole samples, at `sample_rate` Hz."""

    pcm: bytes
    sample_rate: int = 24_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCallDelta:
    """The next piece of a tool call. `id` and `name` come once, in the first delta of an `index`."""

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage:
    """Tokens as the service reports them. Totals are what is billed; details may be missing or not add up.

    Attributes:
        input_tokens: all tokens sent.
        output_tokens: all tokens received, reasoning included.
        total_tokens: as reported, else the sum of both.
        input_details: tokens by kind (`text`, `image`, `audio`, `video`, `cached`, …) as far as reported.
        output_details: tokens by kind (`text`, `audio`, `reasoning`, …) as far as reported.
        estimated_input: the estimate of `input_tokens` before the call was sent; `None` if there was none.
        seconds: duration of the transcribed audio; only transcription models report it.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    total_tokens: int = 0
    input_details: Mapping[str, int] = field(default_factory=dict)
    output_details: Mapping[str, int] = field(default_factory=dict)
    estimated_input: int | None = field(default=None, compare=False)
    seconds: float | None = None

    def __add__(self, other: "Usage") -> "Usage":
        """Return the usage of both answers, by kind; an estimate belongs to one answer and is left out."""
        seconds = [one.seconds for one in (self, other) if one.seconds is not None]
        return Usage(
            input_tokens=self.input_tokens + other.input_tokens,
            output_tokens=self.output_tokens + other.output_tokens,
            total_tokens=self.total_tokens + other.total_tokens,
            input_details=_added(self.input_details, other.input_details),
            output_details=_added(self.output_details, other.output_details),
            seconds=sum(seconds) if seconds else None,
        )


def _added(mine: Mapping[str, int], others: Mapping[str, int]) -> dict[str, int]:
    return {name: mine.get(name, 0) + others.get(name, 0) for name in (*mine, *others)}


@dataclass(frozen=True, slots=True, kw_only=True)
class SentMedia:
    """One piece of media as it was sent, so that positions and times in an answer can be mapped to the original.

    A tall image that was split into tiles, or a file of several pages, has one of these per image.

    Attributes:
        place: its position in the caller's conversation, e.g. "message 0 part 1".
        kind: image, audio or video.
        link: it was sent as a link and never opened here, so nothing else is known.
        original_size: width and height of the original (page), as displayed.
        sent_size: width and height as sent.
        box: left, top, right and bottom of the region sent, in pixels of the original.
        page: which page of a file, or frame of an animation, from 0.
        start: where it begins in the original, in seconds; audio and video only.
        seconds: its duration in seconds; audio and video only.
        fps: frames per second as sent; video only.
    """

    place: str
    kind: Literal["image", "audio", "video"]
    link: bool = False
    original_size: tuple[int, int] | None = None
    sent_size: tuple[int, int] | None = None
    box: tuple[int, int, int, int] | None = None
    page: int = 0
    start: float = 0.0
    seconds: float | None = None
    fps: float | None = None

    def to_original(self, x: float, y: float, *, scale: float | None = None) -> tuple[float, float]:
        """Map a point of the image as sent to the original image, both in pixels from the top left.

        Args:
            x: from the left.
            y: from the top.
            scale: the width and height of the model's coordinate system, if it is not pixels: 1000 for models that
                answer in thousandths.

        Raises:
            ValueError: the size is not known: audio, or a link.

        Example:
            >>> tile = SentMedia(place="", kind="image", original_size=(1080, 12000), sent_size=(540, 600),
            ...                  box=(0, 1000, 1080, 2200))
            >>> tile.to_original(270, 300), tile.to_original(500, 0, scale=1000)
            ((540.0, 1600.0), (540.0, 1000.0))
        """
        if self.sent_size is None or self.box is None:
            raise ValueError(f"{self.place} ({self.kind}) has no size; only local images and videos have one.")
        left, top, right, bottom = self.box
        width, height = (scale, scale) if scale is not None else self.sent_size
        return left + x * (right - left) / width, top + y * (bottom - top) / height

    def as_dict(self) -> dict[str, Any]:
        """Return the known values in plain JSON types; unknown ones are left out."""
        values = {one.name: getattr(self, one.name) for one in fields(self)}
        values["start" if self.kind == "image" else "page"] = None
        if self.link:
            values = {"place": self.place, "kind": self.kind, "link": True}
        known = {name: value for name, value in values.items() if value is not None and value is not False}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in known.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class StartDelta:
    """The start of an answer: its id, its model, and the media it is about."""

    id: str | None = None
    model: str | None = None
    media: tuple[SentMedia, ...] = field(default=(), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class FinishDelta:
    """The end of the model's answer, and its reason."""

    reason: str


@dataclass(frozen=True, slots=True)
class UsageDelta:
    """The usage of the whole call; comes once, at the end."""

    usage: Usage


Delta = StartDelta | TextDelta | ThinkingDelta | AudioDelta | ToolCallDelta | FinishDelta | UsageDelta


@dataclass(frozen=True, slots=True, kw_only=True)
class ToolCall:
    """A complete tool call. `arguments` is JSON text, exactly as the model wrote it."""

    id: str
    name: str
    arguments: str


def read_arguments(arguments: str) -> dict[str, Any] | str:
    """Parse the arguments of a tool call; return the reason as text if they cannot be read.

    Example:
        >>> read_arguments('{"city": "Hangzhou"}'), read_arguments(""), read_arguments("[1]")
        ({'city': 'Hangzhou'}, {}, 'The arguments are not a JSON object.')
    """
    try:
        value = json.loads(arguments) if arguments.strip() else {}
    except ValueError as error:
        return f"The arguments are not JSON: {error}"
    except RecursionError:
        return "The arguments are nested too deeply."
    return value if isinstance(value, dict) else "The arguments are not a JSON object."


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Response:
    """A whole answer.

    Attributes:
        text: the answer.
        thinking: the model's reasoning; empty if there was none or the model does not return it.
        audio: speech as PCM (16 bit little-endian mono at `sample_rate` Hz); empty if none was requested.
        tool_calls: the tools that the model called.
        finish_reason: why it stopped; `None` only in the partial answer of an error.
        usage: token counts, if the service reported them.
        annotations: metadata that a transcription model returned with the text, such as `language`.
        media: how each piece of media was sent, in order.
    """

    text: str = ""
    thinking: str = ""
    audio: bytes = b""
    sample_rate: int = 24_000
    tool_calls: tuple[ToolCall, ...] = ()
    finish_reason: str | None = None
    usage: Usage | None = None
    id: str | None = None
    model: str | None = None
    annotations: Mapping[str, str] = field(default_factory=dict)
    media: tuple[SentMedia, ...] = field(default=(), compare=False)

    @property
    def holds_anything(self) -> bool:
        """Whether any text, reasoning, speech or tool call has arrived."""
        return bool(self.text or self.thinking or self.audio or self.tool_calls)

    def __repr__(self) -> str:
        shown = {"text": self.text, "tool_calls": self.tool_calls, "finish_reason": self.finish_reason}
        inner = ", ".join(f"{name}={value!r}" for name, value in shown.items() if value)
        return f"Response({inner}{f', audio=<{len(self.audio):,} bytes>' if self.audio else ''})"


class ResponseBuilder:
    """Collects deltas into a `Response`. Independent of any connection.

    Example:
        >>> builder = ResponseBuilder()
        >>> for delta in (TextDelta("Hel"), TextDelta("lo"), FinishDelta("stop")):
        ...     builder.add(delta)
        >>> builder.build().text
        'Hello'
    """

    def __init__(self) -> None:
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._audio: list[bytes] = []
        self._calls: dict[int, dict[str, Any]] = {}
        self._facts: dict[str, Any] = {}

    def add(self, delta: Delta) -> None:
        """Add one delta."""
        match delta:
            case TextDelta():
                self._text.append(delta.text)
            case ThinkingDelta():
                self._thinking.append(delta.text)
            case AudioDelta():
                self._audio.append(delta.pcm)
                self._facts["sample_rate"] = delta.sample_rate
            case ToolCallDelta():
                self._add_call(delta)
            case StartDelta():
                self._facts |= {"id": delta.id, "model": delta.model, "media": delta.media}
            case FinishDelta():
                self._facts["finish_reason"] = delta.reason
            case UsageDelta():
                self._facts["usage"] = delta.usage

    def _add_call(self, delta: ToolCallDelta) -> None:
        call = self._calls.setdefault(delta.index, {"id": "", "name": "", "arguments": []})
        call["id"] = delta.id or call["id"]
        call["name"] = delta.name or call["name"]
        call["arguments"].append(delta.arguments)

    def build(self) -> Response:
        """Return the answer as far as it has arrived."""
        return Response(
            text="".join(self._text),
            thinking="".join(self._thinking),
            audio=b"".join(self._audio),
            tool_calls=tuple(
                ToolCall(id=call["id"], name=call["name"], arguments="".join(call["arguments"]))
                for _, call in sorted(self._calls.items())
            ),
            **self._facts,
        )


def collect(stream: Iterable[Delta]) -> Response:
    """Read a stream to its end and return the whole answer.

    Example:
        text = collect(client.stream([user("Say hello.")])).text

    Raises:
        QwenOmniError: whatever the stream raises; a stream that breaks off raises `StreamInterruptedError`.
    """
    builder = ResponseBuilder()
    for delta in stream:
        builder.add(delta)
    return builder.build()


async def acollect(stream: AsyncIterable[Delta]) -> Response:
    """Read an asynchronous stream to its end and return the whole answer."""
    builder = ResponseBuilder()
    async for delta in stream:
        builder.add(delta)
    return builder.build()


def to_wav(pcm: bytes, sample_rate: int = 24_000) -> bytes:
    """Return 16 bit mono PCM as a WAV file; speech has 24 kHz (Qwen-Omni guide, 2026-09-18)."""
    import wave  # noqa: PLC0415  (only answers with speech need it)

    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(sample_rate)
        file.writeframes(pcm)
    return out.getvalue()
