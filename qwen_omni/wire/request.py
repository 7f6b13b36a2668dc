"""A `ChatRequest` and its delivered media → the body of a request, in the format of DashScope or vLLM. Pure.

Everything except the media is checked and encoded once, in a `RequestDraft`, before a file is opened; the draft is then
completed with the media. One function per kind of part. Whatever cannot be encoded raises an error that says where.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, NamedTuple, assert_never

from pydantic_core import from_json

from qwen_omni.addresses import Server, check_headers
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling, budget_named
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    MediaPart,
    MediaPayload,
    Message,
    Part,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
)
from qwen_omni.options import ChatOptions, ChatRequest, Dialect, Tool
from qwen_omni.profiles import ANSWER_RANGES, Profile
from qwen_omni.ranges import Range, checked
from qwen_omni.wire.values import whole_characters
from qwen_omni.wire.vllm import (
    Look,
    encode_vllm,
    encode_vllm_media,
    encode_vllm_part,
    lost_audio,
    no_frames,
)

MALFORMED_ARGUMENTS = "malformed_arguments"
"""The key for arguments that are not a JSON object, when they are sent back."""
_NOT_RUN = "Not run: the arguments were not a JSON object."
_UNNAMED = "unnamed_tool"
_RESERVED = "search"  # Model Studio, error codes: tool names are not allowed to be [search]

RESOLVE_HEADER = {"X-DashScope-OssResourceResolve": "enable"}
"""Without it the service does not understand `oss://` links (temporary file URL page, read 2026-05-30)."""

# Options that are passed on unchanged, under the same name.
_PLAIN_FIELDS = ("temperature", "top_p", "top_k", "max_tokens", "seed", "presence_penalty", "repetition_penalty")
_KINDS = {
    "toolcall": "a tool call",
    "toolresult": "a tool result",
    "thinking": "thinking",
    "image": "an image",
    "audio": "audio",
    "frames": "a list of frames",
}
_BURST_HEADER = "X-DashScope-Wait-Timeout"  # Model Studio, Best practices for rate limiting, 2026-10-11
_MOST_MARKS = 4  # Model Studio, Context Cache page, 2026-10-11
_OURS_ALONE = frozenset({"stream", "stream_options", "messages", "model"})


class _Encoding(NamedTuple):
    """The server that a request is for, and whether it has explicit cache markers."""

    server: Server
    marks: bool

    @property
    def dialect(self) -> Dialect:
        """The format of the request."""
        return self.server.dialect


class _Slot(NamedTuple):
    """Where a media part goes in a message."""

    place: str


FittedParts = Sequence[tuple[MediaPart, ...]]
"""What each media part of a conversation is sent as, in order: itself, a replacement, or several parts."""


@dataclass(frozen=True, slots=True)
class RequestDraft:
    """A request, checked and encoded except for its media."""

    _fields: dict[str, Any]
    _added: dict[str, Any]
    _how: _Encoding

    def body(self, parts: FittedParts, look: Look) -> dict[str, Any]:
        """Return the JSON body. Media remain `MediaPayload` values, which are written out piece by piece.

        Args:
            parts: what each media part is sent as, in order.
            look: returns how a piece of media was delivered.

        Raises:
            UnsupportedContentError: parts that need different sampling, which this server cannot do.
        """
        left = iter(parts)
        messages = [_filled(message, left, look, self._how) for message in self._fields["messages"]]
        assert next(left, None) is None, "every part has its slot"
        sent = [one for made in parts for one in made]
        served = encode_vllm_media(sent, look, self._how.server) if self._how.dialect == "vllm" else {}
        return {**_merged(self._fields, served), "messages": messages, **self._added}


def _merged(fields: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    """Add fields; options for the chat template may come from both sides."""
    both = {name: {**fields[name], **more[name]} for name in more if isinstance(fields.get(name), dict)}
    return {**fields, **more, **both}


_DASHSCOPE = Server(dialect="dashscope")


def draft_request(request: ChatRequest, profile: Profile, server: Server = _DASHSCOPE) -> RequestDraft:
    """Check a request and encode everything but its media. Opens nothing.

    Raises:
        ConfigurationError: options that conflict with each other or with the model, or headers that cannot be sent.
        UnsupportedContentError: a part that its message cannot hold.
    """
    options = request.options
    check_ranges(request, profile, server.dialect)
    if options.extra_headers:
        check_headers(options.extra_headers, "extra_headers=")  # here, before anything is opened
    fields: dict[str, Any] = {
        "model": request.model,
        "messages": encode_messages(request.messages, profile, server),
        **_plain(options),
        **encode_tools(options, profile),
        **(encode_format(options, profile) if server.has_formats else {}),
        **(encode_vllm(request, server) if server.dialect == "vllm" else _own(options, profile)),
    }
    taken = _OURS_ALONE & set(options.extra_body)
    if taken:
        raise ConfigurationError(
            f"extra_body may not set {', '.join(sorted(taken))}: every request streams, by design."
        )
    added = {**options.extra_body, "stream": True, "stream_options": {"include_usage": True}}
    return RequestDraft(fields, added, _Encoding(server, marks=profile.explicit_cache))


def _filled(
    message: dict[str, Any], left: Iterator[tuple[MediaPart, ...]], look: Look, how: _Encoding
) -> dict[str, Any]:
    """Fill the slots of a message with media."""
    content = message["content"]
    if not isinstance(content, list):
        return message
    filled: list[dict[str, Any]] = []
    for one in content:
        if isinstance(one, _Slot):
            filled += [_marked(encode_media(part, one.place, look, how), part, how) for part in next(left)]
        else:
            filled.append(one)
    return {**message, "content": filled}


def encode_media(part: MediaPart, place: str, look: Look, how: _Encoding) -> dict[str, Any]:
    """Encode one media part. DashScope takes audio as data URIs, and the sampling of a video next to the part.

    Raises:
        UnsupportedContentError: this kind of server does not support such a part.
    """
    if how.dialect == "vllm":
        return encode_vllm_part(part, place, look, how.server)
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


def _sampling(sampling: Sampling) -> dict[str, float]:
    return {name: value for name, value in asdict(sampling).items() if value is not None}


def notices(request: ChatRequest, profile: Profile, look: Look, server: Server = _DASHSCOPE) -> list[str]:
    """Return the parts of a request that this model or server ignores, so that nothing is dropped silently."""
    explicit = profile.explicit_cache and server.dialect == "dashscope"
    marked = [part for message in request.messages for part in message.parts if getattr(part, "cache", None)]
    media = [part for message in request.messages for part in message.parts if isinstance(part, MediaPart)]
    lost = lost_audio(media, look, server) if server.dialect == "vllm" else ""
    if request.options.json_mode and not server.has_formats:
        lost = " ".join((lost, f"json_mode has no effect: {server.name} has no JSON mode.")).strip()
    return [*_cache_notices(marked, request.model, explicit=explicit), *([lost] if lost else [])]


def _cache_notices(marked: Sequence[Part], model: str, *, explicit: bool) -> Iterator[str]:
    if marked and not explicit:
        advice = "it caches common prefixes of conversations automatically, if at all"
        yield f"cache_control has no effect: {model} has no explicit cache; {advice}."
        return
    if any(isinstance(part, ToolResultPart) for part in marked):
        yield "cache_control has no effect in a tool result: mark a user or system message."
    if any(getattr(part, "cache", None) == "1h" for part in marked):
        yield f'cache_control: {model} caches a marked conversation for 5 minutes; "ttl": "1h" is not sent.'
    if len(marked) > _MOST_MARKS:
        yield f"cache_control: {len(marked)} parts are marked; the service accepts {_MOST_MARKS} marks per request."


def check_ranges(request: ChatRequest, profile: Profile, dialect: Dialect = "dashscope") -> None:
    """Check the numbers of a request against the ranges of DashScope and the model; other servers have their own.

    Raises:
        ConfigurationError: an option of the answer is outside its range.
        UnsupportedContentError: an option of a piece of media is; the error says where.
    """
    if dialect != "dashscope":
        return
    ranges = dict(ANSWER_RANGES)
    if request.options.max_tokens is not None and profile.known:
        ranges["max_tokens"] = Range(least=1, most=profile.max_output, whole=True)
    for name, allowed in ranges.items():
        value = getattr(request.options, name)
        if value is not None:
            checked(name, value, allowed, place=profile.name)
    for index, message in enumerate(request.messages):
        for at, part in enumerate(message.parts):
            if isinstance(part, ImagePart | VideoPart | FramesPart):
                _check_sampling(part, f"message {index} ({message.role}) part {at}", profile)


def _check_sampling(part: ImagePart | VideoPart | FramesPart, place: str, profile: Profile) -> None:
    limits, budget = profile.limits, budget_named(part.budget)
    rate = Range(least=limits.sampled_fps[0], most=limits.sampled_fps[1])
    most = limits.most_image_pixels if isinstance(part, ImagePart) else limits.most_frame_pixels
    pixels = Range(least=1, most=most, whole=True)
    ranges = {"fps": rate, "sampling_fps": rate}
    if profile.sampling_fields:
        ranges |= {"min_pixels": pixels, "max_pixels": pixels}
    for asked, where in ((part.sampling, place), (budget, f"{place}: budget")):
        for name, allowed in ranges.items():
            value = getattr(asked, name, None)
            if value is not None and not (asked is budget and name == "fps"):  # the rate of the file, not of sampling
                checked(f"{name} for {profile.name}", value, allowed, place=where, error=UnsupportedContentError)


def _plain(options: ChatOptions) -> dict[str, Any]:
    values = {name: getattr(options, name) for name in _PLAIN_FIELDS}
    stop = list(options.stop) if options.stop else None
    return {name: value for name, value in {**values, "stop": stop}.items() if value is not None}


def _own(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    return {
        **_senses(options, profile),
        **_thinking(options, profile),
        **_speech(options, profile),
        **_search(options, profile),
    }


def encode_headers(
    request: ChatRequest,
    media: tuple[MediaPayload, ...],
    *,
    burst_wait: int | None = None,
    usual: Collection[str] = (),
) -> dict[str, str]:
    """Return the additional headers that this request needs.

    Args:
        request: its own headers win.
        media: as they were delivered.
        burst_wait: seconds that the service may queue the request on a rate that rises too quickly; only DashScope can.
        usual: names of headers that the connection sends anyway.
    """
    headers: dict[str, str] = {} if burst_wait is None else {_BURST_HEADER: str(burst_wait)}
    if any(item.url is not None and item.url.startswith("oss://") for item in media):
        headers |= RESOLVE_HEADER
    given = request.options.extra_headers
    own = {name.lower() for name in (*given, *usual)}
    return {**{name: value for name, value in headers.items() if name.lower() not in own}, **given}


def encode_messages(
    messages: tuple[Message, ...], profile: Profile, server: Server = _DASHSCOPE
) -> list[dict[str, Any]]:
    """Encode the conversation, with slots for its media; tool results become separate messages."""
    encoded: list[dict[str, Any]] = []
    for index, message in replayable(messages):
        encoded += _message(message, index, profile, _Encoding(server, marks=profile.explicit_cache))
    if not any(message["role"] == "user" for message in encoded):
        raise UnsupportedContentError("The conversation has no user message; the service needs at least one.")
    return encoded


def _message(message: Message, index: int, profile: Profile, how: _Encoding) -> list[dict[str, Any]]:
    match message.role:
        case "system":
            return [{"role": "system", "content": _system_content(message.parts, f"message {index} (system)", how)}]
        case "user":
            return [_named({"role": "user", "content": _user_content(message.parts, index, how)}, message)]
        case "assistant":
            return [_named(_assistant(message.parts, f"message {index} (assistant)", profile, how), message)]
        case "tool":
            return [_tool_result(part, f"message {index} (tool) part {at}") for at, part in enumerate(message.parts)]
        case _:
            assert_never(message.role)


def _named(encoded: dict[str, Any], message: Message) -> dict[str, Any]:
    return {**encoded, "name": message.name} if message.name else encoded


def _texts(parts: tuple[Part, ...], place: str) -> list[TextPart]:
    for at, part in enumerate(parts):
        if not isinstance(part, TextPart):
            raise UnsupportedContentError(f"{place} part {at}: it is {_kind(part)}, but only text is allowed here.")
    return [part for part in parts if isinstance(part, TextPart)]


def _system_content(parts: tuple[Part, ...], place: str, how: _Encoding) -> str | list[dict[str, Any]]:
    texts = _texts(parts, place)
    return [_text(part, how) for part in texts] if _is_marked(texts, how) else "\n".join(part.text for part in texts)


def _is_marked(parts: Iterable[Part], how: _Encoding) -> bool:
    return how.marks and any(getattr(part, "cache", None) for part in parts)


def _marked(encoded: dict[str, Any], part: Part, how: _Encoding) -> dict[str, Any]:
    if not _is_marked((part,), how):
        return encoded
    return {**encoded, "cache_control": {"type": "ephemeral"}}


def _user_content(parts: tuple[Part, ...], index: int, how: _Encoding) -> str | list[dict[str, Any] | _Slot]:
    if all(isinstance(part, TextPart) for part in parts) and len(parts) <= 1 and not _is_marked(parts, how):
        return "".join(part.text for part in _texts(parts, ""))
    return [_part(part, f"message {index} (user) part {at}", how) for at, part in enumerate(parts)]


def _text(part: TextPart, how: _Encoding) -> dict[str, Any]:
    return _marked({"type": "text", "text": part.text}, part, how)


def _part(part: Part, place: str, how: _Encoding) -> dict[str, Any] | _Slot:
    match part:
        case TextPart():
            return _text(part, how)
        case ImagePart() | AudioPart() | VideoPart() | FramesPart():
            if how.dialect == "vllm" and isinstance(part, FramesPart):
                raise no_frames(place)
            return _Slot(place)
        case ThinkingPart() | ToolCallPart() | ToolResultPart():
            raise UnsupportedContentError(f"{place}: {_kind(part)} is not allowed in a user message.")
        case _:
            assert_never(part)


def _assistant(parts: tuple[Part, ...], place: str, profile: Profile, how: _Encoding) -> dict[str, Any]:
    text: list[TextPart] = []
    thinking, calls = [], []
    for at, part in enumerate(parts):
        match part:
            case TextPart():
                text.append(part)
            case ThinkingPart():
                thinking.append(part.text)
            case ToolCallPart():
                function = {"name": part.name, "arguments": part.arguments}
                calls.append({"id": part.id, "type": "function", "function": function})
            case ImagePart() | AudioPart() | VideoPart() | FramesPart() | ToolResultPart():
                raise UnsupportedContentError(
                    f"{place} part {at}: it is {_kind(part)}, but only text, thinking and tool calls are allowed here."
                )
            case _:
                assert_never(part)
    encoded: dict[str, Any] = {"role": "assistant", "content": "".join(part.text for part in text)}
    if _is_marked(text, how):
        encoded["content"] = [_text(part, how) for part in text]
    if thinking and profile.thinking == "effort":
        encoded["reasoning_content"] = "".join(thinking)  # other models ignore it (Chat API, 2026-09)
    return {**encoded, "tool_calls": calls} if calls else encoded


def _tool_result(part: Part, place: str) -> dict[str, Any]:
    if not isinstance(part, ToolResultPart):
        raise UnsupportedContentError(
            f"{place}: it is {_kind(part)}, but only tool results, as text, are allowed here."
        )
    return {"role": "tool", "tool_call_id": part.tool_call_id, "content": part.text}


def _senses(options: ChatOptions, profile: Profile) -> dict[str, bool]:
    """Return the options of image resolution and audio channels; an unsupported one that is off is not sent."""
    closely, by_channel = options.high_resolution_images, options.multichannel
    if closely and not profile.high_resolution:
        raise ConfigurationError(
            f"{profile.name} has no high-resolution mode; drop high_resolution_images=, or use qwen3.8-omni-flash."
        )
    if by_channel and not profile.multichannel:
        raise ConfigurationError(
            f"{profile.name} processes one audio channel only; drop multichannel=, or use qwen3.8-omni-flash."
        )
    asked = {}
    if closely is not None and profile.high_resolution:
        asked["vl_high_resolution_images"] = closely
    if by_channel is not None and profile.multichannel:
        asked["use_multichannel"] = by_channel
    return asked


def _thinking(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    wanted = options.thinking
    if forced_tool(options) is not None:
        if wanted not in (None, False, "none"):
            raise ConfigurationError(
                "The service does not allow thinking when a tool call is required; drop thinking= or tool_choice=."
            )
        wanted = False if profile.thinking != "none" else None
    if wanted is None:
        return {}
    off = wanted in (False, "none")
    match profile.thinking:
        case "none":
            if off:
                return {}
            raise ConfigurationError(f"{profile.name} does not support thinking; drop thinking={wanted!r}.")
        case "effort":
            effort = {True: "xhigh", False: "none"}[wanted] if isinstance(wanted, bool) else wanted
            return {"reasoning_effort": effort}
        case "switch":
            return {"enable_thinking": not off}
        case _:
            assert_never(profile.thinking)


def _speech(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    if not options.speaks:
        if options.voice is not None:
            raise ConfigurationError('voice= needs modalities=["text", "audio"]; without speech it has no effect.')
        return {}
    if not profile.speaks:
        raise ConfigurationError(f"{profile.name} answers in text only; qwen3.5-omni-flash can speak.")
    if options.thinking not in (None, False, "none"):
        raise ConfigurationError("Models cannot think and speak in one request; drop thinking= or modalities=.")
    voice = options.voice or profile.default_voice
    if voice is None:
        raise ConfigurationError(f"{profile.name} has no default voice; pass voice=.")
    return {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": "wav"}}


def _search(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    if not options.enable_search:
        return {}
    if not profile.web_search:
        raise ConfigurationError(f"{profile.name} cannot search the web; use qwen3.8-omni-flash.")
    return {"enable_search": True, "search_options": {"search_strategy": "agent"}}


def _kind(part: object) -> str:
    kind = type(part).__name__.removesuffix("Part").lower()
    return _KINDS.get(kind, f"a {kind}")


# --- Tools and answer formats ---


def encode_tools(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Return the request fields for tools; empty without tools.

    Raises:
        ConfigurationError: the model does not support tools, or is to speak as well, or the choice names no tool.
    """
    if not options.tools:
        if options.tool_choice not in (None, "auto", "none"):
            raise ConfigurationError(f"tool_choice={options.tool_choice!r} needs tools; none were given.")
        return {}
    if not profile.tools:
        raise ConfigurationError(f"{profile.name} cannot call tools; use qwen3.8-omni-flash.")
    if options.speaks:
        raise ConfigurationError(
            "Speech and tools cannot be combined: the voice may read tool calls aloud. "
            "Request speech in a separate call."
        )
    if options.enable_search and not profile.tools_with_search:
        raise ConfigurationError(f"{profile.name} cannot search the web and call tools in one request; drop one.")
    fields: dict[str, Any] = {"tools": [_tool(tool) for tool in options.tools]}
    choice = _choice(options)
    if choice is not None:
        fields["tool_choice"] = choice
    if options.parallel_tool_calls is not None:
        fields["parallel_tool_calls"] = options.parallel_tool_calls
    return fields


def _tool(tool: Tool) -> dict[str, Any]:
    if tool.name == _RESERVED:
        raise ConfigurationError(f"The service does not allow a tool to be named {_RESERVED!r}; choose another name.")
    function: dict[str, Any] = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    if tool.strict is not None:
        function["strict"] = tool.strict
    return {"type": "function", "function": function}


def forced_tool(options: ChatOptions) -> str | None:
    """Return the tool that must be called; `None` if the model is free to choose."""
    names = [tool.name for tool in options.tools]
    if options.tool_choice in (None, "auto", "none"):
        return None
    if options.tool_choice == "required":
        return names[0] if len(names) == 1 else None
    return options.tool_choice


def _choice(options: ChatOptions) -> str | Mapping[str, Any] | None:
    names = [tool.name for tool in options.tools]
    if options.tool_choice in (None, "auto", "none"):
        return options.tool_choice
    name = forced_tool(options)
    if name is None:
        raise ConfigurationError(
            f"The service cannot be required to call any of {len(names)} tools; name one of {', '.join(names)}."
        )
    if name not in names:
        raise ConfigurationError(f"tool_choice={name!r} is not a tool; available: {', '.join(names)}.")
    return {"type": "function", "function": {"name": name}}


def encode_format(options: ChatOptions, profile: Profile) -> dict[str, Any]:
    """Return the request field for JSON answers; empty if none is wanted.

    Raises:
        ConfigurationError: the model does not support it.
    """
    if options.json_schema is not None:
        if not profile.json_schema:
            raise ConfigurationError(
                f"{profile.name} does not support JSON schemas; use json_mode=True with the schema in the prompt."
            )
        name = str(options.json_schema.get("title") or "answer")
        schema = {"name": name, "strict": True, "schema": dict(options.json_schema)}
        return {"response_format": {"type": "json_schema", "json_schema": schema}}
    if not options.json_mode:
        return {}
    if not profile.json_object:
        raise ConfigurationError(f"{profile.name} has no JSON mode; put the schema in the prompt and parse the text.")
    return {"response_format": {"type": "json_object"}}


# --- Tool calls of earlier answers ---


def replayable(messages: Sequence[Message]) -> Iterator[tuple[int, Message]]:
    """Make a conversation acceptable to the service, whatever a model wrote into it.

    Arguments that are not a JSON object become one that quotes them; a call without an id or a name gets one; and a
    call with such arguments that has no result gets one. Each message comes with its index in the conversation.

    Example:
        >>> from qwen_omni.messages import user
        >>> broken = Message(role="assistant", parts=(ToolCallPart(id="c1", name="look", arguments='{"path'),))
        >>> [message.role for _, message in replayable([broken, user("Again, please.")])]
        ['assistant', 'tool', 'user']
    """
    at = 0
    while at < len(messages):
        message, first = messages[at], at
        at += 1
        if message.role != "assistant" or not any(isinstance(part, ToolCallPart) for part in message.parts):
            yield first, message
            continue
        parts = _sendable_parts(message, first)
        yield first, replace(message, parts=parts)
        pairs = [
            (part, sent)
            for part, sent in zip(message.parts, parts, strict=True)
            if isinstance(part, ToolCallPart) and isinstance(sent, ToolCallPart)
        ]
        calls = [(part.id, sent.id) for part, sent in pairs]
        broken = [sent.id for part, sent in pairs if _is_broken(part, sent)]
        while at < len(messages) and messages[at].role == "tool":
            results = tuple(_answered(part, calls) for part in messages[at].parts)
            yield at, replace(messages[at], parts=results)
            at += 1
        waiting = {sent for _, sent in calls}
        left = tuple(ToolResultPart(tool_call_id=one, text=_NOT_RUN) for one in broken if one in waiting)
        if left:
            yield at - 1, Message(role="tool", parts=left)


def _sendable_parts(message: Message, index: int) -> tuple[Part, ...]:
    """Return the parts of an answer with ids for all calls, each its own."""
    used: set[str] = set()
    parts: list[Part] = []
    for place, part in enumerate(message.parts):
        if not isinstance(part, ToolCallPart):
            parts.append(part)
            continue
        own = part.id if part.id and part.id not in used else f"call_{index}_{place}"
        used.add(own)
        parts.append(_sendable(part, own))
    return tuple(parts)


def _sendable(part: ToolCallPart, own: str) -> ToolCallPart:
    arguments = whole_characters(part.arguments) if part.arguments.strip() else "{}"
    if not _is_object(arguments):
        arguments = json.dumps({MALFORMED_ARGUMENTS: arguments})
    return replace(part, id=own, name=part.name or _UNNAMED, arguments=arguments)


def _is_object(text: str) -> bool:
    try:
        return isinstance(from_json(text, allow_inf_nan=False), dict)
    except ValueError:
        return False


def _is_broken(part: ToolCallPart, sent: ToolCallPart) -> bool:
    return whole_characters(part.arguments).strip() not in ("", sent.arguments.strip()) or not part.name


def _answered(part: Part, calls: list[tuple[str, str]]) -> Part:
    """Remove the call that a result answers from the list of ids, as they were and as they are sent.

    Of calls that shared an id, it answers the first remaining one, and so does a result without an id.
    """
    if not isinstance(part, ToolResultPart):
        return part
    names = [call for call in calls if part.tool_call_id in call]
    found = next(iter(names if part.tool_call_id else calls), None)
    if found is None:
        return part
    calls.remove(found)
    return replace(part, tool_call_id=found[1])
