"""Answers → LlamaIndex responses: `to_response` converts a whole `Response`, `StreamedAnswer` each delta.

A streamed response holds the answer so far, in blocks (thinking, text, tool calls), and the new content in `delta`
(text), `additional_kwargs["thinking_delta"]` or `additional_kwargs["audio_delta"]` (an `AudioBlock` of 16 bit mono
PCM, with `sample_rate` next to it). The last one equals that of a whole answer: it has the finish reason and the usage,
and holds the speech as one WAV.
"""

import base64
from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ChatResponse,
    CompletionResponse,
    ContentBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
)
from llama_index.core.llms.llm import ToolSelection
from pydantic_core import from_json

from llama_index_qwen_omni.callbacks import mapping_of
from qwen_omni.errors import ToolArgumentsError
from qwen_omni.integrations.request_builder import dump_usage, estimated_beside, media_beside
from qwen_omni.responses import (
    AudioDelta,
    Delta,
    FinishDelta,
    Response,
    ResponseBuilder,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    ToolCallDelta,
    Usage,
    UsageDelta,
    read_arguments,
    to_wav,
)

_END = "finish_reason"  # in `raw`, as in LlamaIndex's other classes; only a complete answer has one


def to_response(response: Response, *, model: str) -> ChatResponse:
    """Convert a whole answer to a response; speech in it is one playable WAV."""
    message = ChatMessage(role=MessageRole.ASSISTANT, blocks=_blocks(response), additional_kwargs=_calls(response))
    return ChatResponse(message=message, raw=_raw(response, model), additional_kwargs=_counts(response.usage))


def to_completion(response: ChatResponse) -> CompletionResponse:
    """Convert a response to a completion; content other than text stays in `additional_kwargs`."""
    more = dict(response.additional_kwargs)
    speech = next((block for block in response.message.blocks if isinstance(block, AudioBlock)), None)
    if speech is not None:
        more["audio"] = speech
    return CompletionResponse(
        text=response.message.content or "", delta=response.delta, raw=response.raw, additional_kwargs=more
    )


def finish_of(response: ChatResponse | CompletionResponse) -> str | None:
    """Return why a model stopped, in the terms of its provider; `None` if it does not say."""
    raw = mapping_of(response.raw)
    choices = raw.get("choices")
    first = mapping_of(choices[0]) if isinstance(choices, list | tuple) and choices else {}
    found = (one.get(name) for one in (raw, first) for name in (_END, "stop_reason", "done_reason"))
    return next((one for one in found if isinstance(one, str)), None)


class StreamedAnswer:
    """Builds the responses of one streamed answer: `take` each delta, then `last` when the answer is complete.

    Example:
        >>> answer = StreamedAnswer(model="qwen3.8-omni-flash")
        >>> [answer.take(TextDelta(text)).message.content for text in ("Hel", "lo")]
        ['Hel', 'Hello']
    """

    def __init__(self, *, model: str) -> None:
        self._model = model
        self._whole = ResponseBuilder()
        self._thinking = ""
        self._text = ""
        self._raw: dict[str, Any] = {"model": model}
        self._calls: dict[int, ToolCallBlock] = {}
        self._shown: list[ContentBlock] = []  # blocks before the text

    def take(self, delta: Delta) -> ChatResponse | None:
        """Return the response of one delta, or `None` if it has no content."""
        self._whole.add(delta)
        match delta:
            case TextDelta():
                self._text += delta.text
                return self._so_far(delta.text)
            case ThinkingDelta():
                self._thinking += delta.text
                self._shown = [ThinkingBlock(content=self._thinking)]
                return self._so_far("", thinking_delta=delta.text)
            case AudioDelta():
                piece = AudioBlock(audio=base64.b64encode(delta.pcm), format="pcm")
                return self._so_far("", audio_delta=piece, sample_rate=delta.sample_rate)
            case ToolCallDelta():
                self._take_call(delta)
                return self._so_far("")
            case StartDelta():
                self._raw = {"id": delta.id, "model": delta.model or self._model}
            case FinishDelta() | UsageDelta():
                pass
        return None

    def _take_call(self, delta: ToolCallDelta) -> None:
        before = self._calls.get(delta.index)
        name, call, arguments = (
            ("", None, "") if before is None else (before.tool_name, before.tool_call_id, str(before.tool_kwargs))
        )
        self._calls[delta.index] = ToolCallBlock(
            tool_name=delta.name or name, tool_call_id=delta.id or call, tool_kwargs=arguments + delta.arguments
        )

    def _so_far(self, text: str, **more: Any) -> ChatResponse:  # noqa: ANN401  (a dictionary's values)
        blocks: list[ContentBlock] = [*self._shown, TextBlock(text=self._text)] if self._text else [*self._shown]
        blocks += [call for _, call in sorted(self._calls.items())]
        message = ChatMessage(role=MessageRole.ASSISTANT, blocks=blocks)
        return ChatResponse(message=message, delta=text, raw=self._raw, additional_kwargs=more)

    def last(self) -> ChatResponse:
        """Return the final response of the answer."""
        whole = to_response(self._whole.build(), model=self._model)
        whole.delta = ""
        return whole


def to_selections(response: ChatResponse) -> list[ToolSelection]:
    """Return the tool calls of a response; for a response that is still streaming, with the arguments so far.

    Raises:
        ToolArgumentsError: the arguments of a complete answer are not a JSON object.
    """
    streaming = isinstance(response.raw, dict) and _END not in response.raw
    found = [block for block in response.message.blocks if isinstance(block, ToolCallBlock)]
    return [
        ToolSelection(
            tool_id=block.tool_call_id or "",
            tool_name=block.tool_name,
            tool_kwargs=_arguments(block, partial=streaming),
        )
        for block in found
    ]


def _arguments(block: ToolCallBlock, *, partial: bool) -> dict[str, Any]:
    if isinstance(block.tool_kwargs, dict):
        return block.tool_kwargs
    if partial:
        return _begun(block.tool_kwargs)
    read = read_arguments(block.tool_kwargs)
    if isinstance(read, str):
        raise ToolArgumentsError(
            f"The model called {block.tool_name!r} with arguments that cannot be read. {read} "
            "If the answer was truncated, increase max_tokens.",
            name=block.tool_name,
            arguments=block.tool_kwargs,
        )
    return read


def _begun(text: str) -> dict[str, Any]:
    """Parse the part of a JSON object that has arrived."""
    try:
        value = from_json(text, allow_partial=True)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _blocks(response: Response) -> list[ContentBlock]:
    blocks: list[ContentBlock] = []
    if response.thinking:
        spent = response.usage.output_details.get("reasoning") if response.usage else None
        blocks.append(ThinkingBlock(content=response.thinking, num_tokens=spent))
    if response.text or not response.tool_calls:
        blocks.append(TextBlock(text=response.text))
    if response.audio:
        wav = base64.b64encode(to_wav(response.audio, response.sample_rate))
        blocks.append(AudioBlock(audio=wav, format="wav"))
    return [*blocks, *(_call_block(call) for call in response.tool_calls)]


def _call_block(call: ToolCall) -> ToolCallBlock:
    read = read_arguments(call.arguments)
    kept = read if isinstance(read, dict) else call.arguments  # unreadable arguments are kept unchanged
    return ToolCallBlock(tool_call_id=call.id or None, tool_name=call.name, tool_kwargs=kept)


def _calls(response: Response) -> dict[str, Any]:
    """Return the calls in OpenAI's format as well: parts of LlamaIndex look for them there."""
    calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
        for call in response.tool_calls
    ]
    return {"tool_calls": calls} if calls else {}


def _raw(response: Response, model: str) -> dict[str, Any]:
    return {
        "id": response.id,
        "model": response.model or model,
        _END: response.finish_reason,
        "usage": None if response.usage is None else {**dump_usage(response.usage), **estimated_beside(response.usage)},
        **media_beside(response.media),
    }


def _counts(usage: Usage | None) -> dict[str, int]:
    counts = {} if usage is None else dump_usage(usage)
    return {name: count for name, count in counts.items() if isinstance(count, int)}
