"""Deltas → the events of LangChain's protocol (`stream_events(version="v3")`), without messages in between. Pure.

LangChain's own bridge makes events out of chunks and keeps only the last piece of a sound. Here each piece is a
`data-delta` as it comes, and the block that finishes holds the whole sound, as one playable WAV. The order is
that of the bridge: all blocks finish when the answer does.
"""

from typing import Any

from langchain_qwen_omni._responses import FINISH_REASON, PROVIDER, dump_usage
from langchain_qwen_omni._speech import WAV, Pieces, with_true_sizes
from qwen_omni.call_estimate import estimated_beside, media_beside
from qwen_omni.responses import (
    AudioDelta,
    Delta,
    FinishDelta,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageDelta,
    read_arguments,
)

Event = dict[str, Any]


class _Block:
    """One block on its way: what its start said, and the pieces of what grows."""

    def __init__(self, at: int, start: dict[str, Any]) -> None:
        self.at = at
        self.start = start
        self.pieces: list[str] = []

    def finished(self) -> dict[str, Any]:
        """Give the whole block."""
        grown = "".join(self.pieces)
        match self.start["type"]:
            case "text":
                return {"type": "text", "text": grown}
            case "reasoning":
                return {"type": "reasoning", "reasoning": grown}
            case "audio":
                return {**self.start, "base64": with_true_sizes(grown)}
            case _:
                return _finished_call(self.start, grown)


def _finished_call(start: dict[str, Any], arguments: str) -> dict[str, Any]:
    named = {"id": start["id"], "name": start["name"]}
    read = read_arguments(arguments)
    if isinstance(read, dict):
        return {"type": "tool_call", **named, "args": read}
    return {"type": "invalid_tool_call", **named, "args": arguments, "error": read}


class EventBuilder:
    """Makes the events of one answer: `take` each delta, then `last` when the answer is complete.

    Example:
        >>> events = EventBuilder(model="qwen3.8-omni-flash", message_id="m1")
        >>> [event["event"] for event in events.take(TextDelta("Hello"))]
        ['message-start', 'content-block-start', 'content-block-delta']
    """

    def __init__(self, *, model: str, message_id: str) -> None:
        self._id = message_id
        self._metadata: dict[str, Any] = {"model_provider": PROVIDER, "model_name": model}
        self._usage: dict[str, Any] | None = None
        self._begun = False
        self._blocks: dict[str, _Block] = {}
        self._speech = Pieces()

    def take(self, delta: Delta) -> list[Event]:
        """Give the events of one delta."""
        match delta:
            case TextDelta():
                grown = {"type": "text-delta", "text": delta.text}
                return self._grow("text", {"type": "text", "text": ""}, delta.text, grown)
            case ThinkingDelta():
                grown = {"type": "reasoning-delta", "reasoning": delta.text}
                return self._grow("reasoning", {"type": "reasoning", "reasoning": ""}, delta.text, grown)
            case AudioDelta():
                return self._sound(self._speech.feed(delta))
            case ToolCallDelta():
                return self._call(delta)
            case StartDelta():
                named = {"model_name": delta.model, "id": delta.id}
                self._metadata |= {name: value for name, value in named.items() if value}
                self._metadata |= media_beside(delta.media)
            case FinishDelta():
                self._metadata[FINISH_REASON] = delta.reason
            case UsageDelta():
                self._usage = dict(dump_usage(delta.usage))
                self._metadata |= estimated_beside(delta.usage)
        return []

    def last(self, notes: dict[str, Any] | None = None) -> list[Event]:
        """Give the events that end the answer; `notes` join its metadata."""
        events = self._sound(self._speech.rest())
        events += self._start()
        events += [
            {"event": "content-block-finish", "index": block.at, "content": block.finished()}
            for block in self._blocks.values()
        ]
        finish: Event = {"event": "message-finish", "metadata": {**self._metadata, **(notes or {})}}
        if self._usage is not None:
            finish["usage"] = self._usage
        return [*events, finish]

    def _start(self) -> list[Event]:
        if self._begun:
            return []
        self._begun = True
        metadata = {"provider": PROVIDER, "model": self._metadata["model_name"]}
        return [{"event": "message-start", "role": "ai", "id": self._id, "metadata": metadata}]

    def _grow(self, key: str, start: dict[str, Any], piece: str, grown: dict[str, Any]) -> list[Event]:
        events = self._start()
        block = self._blocks.get(key)
        if block is None:
            block = self._blocks[key] = _Block(len(self._blocks), start)
            events.append({"event": "content-block-start", "index": block.at, "content": dict(start)})
        if piece:
            block.pieces.append(piece)
            events.append({"event": "content-block-delta", "index": block.at, "delta": grown})
        return events

    def _sound(self, piece: str) -> list[Event]:
        if not piece:
            return []
        grown = {"type": "data-delta", "data": piece, "encoding": "base64"}
        return self._grow("audio", {"type": "audio", "mime_type": WAV}, piece, grown)

    def _call(self, delta: ToolCallDelta) -> list[Event]:
        key = f"call {delta.index}"
        start = {"type": "tool_call_chunk", "id": delta.id, "name": delta.name, "args": "", "index": delta.index}
        events = self._grow(key, start, delta.arguments, {"type": "tool-call-delta", "args": delta.arguments})
        known = self._blocks[key].start  # a name that comes late is told by the block that finishes
        known |= {"id": known["id"] or delta.id, "name": known["name"] or delta.name}
        return events
