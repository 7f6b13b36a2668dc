"""Server-sent events → deltas. `StreamState` knows no connection: feed it bytes, then tell it that they ended.

It takes what the service really sends: chunks without choices, errors inside a 200, text in the finishing
chunk, missing keys, empty ids, text beside or inside the speech, a plain JSON answer. It never lets a cut
answer pass as a whole one: `end` raises unless the service said that the answer is complete.
"""

from collections.abc import Mapping
from typing import Any

from pydantic_core import from_json

from qwen_omni.errors import StreamInterruptedError
from qwen_omni.responses import (
    AudioDelta,
    Delta,
    FinishDelta,
    Response,
    ResponseBuilder,
    StartDelta,
    ThinkingDelta,
    ToolCallDelta,
    Usage,
    UsageDelta,
)
from qwen_omni.wire.audio import PcmDecoder, decode_piece
from qwen_omni.wire.errors import ErrorAnswer, find_error, from_answer, to_error
from qwen_omni.wire.sse import Event, EventParser
from qwen_omni.wire.thinktags import ThinkTags

_DONE = b"[DONE]"
_OK = 200
_NOTES = ("language", "emotion")
_BOM = b"\xef\xbb\xbf"


class StreamState:
    r"""One answer on its way: bytes in, deltas out.

    Example:
        >>> state = StreamState()
        >>> state.feed(b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":null}\n\n')
        [StartDelta(id=None, model=None), TextDelta(text='Hi'), FinishDelta(reason='stop')]
        >>> state.feed(b"data: [DONE]\n\n"), state.end()
        ([], [])
    """

    def __init__(self) -> None:
        self._parser = EventParser()
        self._builder = ResponseBuilder()
        self._head: bytes | None = b""
        self._plain: list[bytes] | None = None
        self._speech = PcmDecoder()
        self._tags = ThinkTags()
        self._told_calls: set[int] = set()
        self._text_from: str | None = None
        self._start: StartDelta | None = None
        self._started = self._finished = self._used = False
        self.estimated_input: int | None = None
        """What was told about the tokens in beforehand; kept beside what the service reports."""
        self.done = False
        """The service has said `[DONE]`: nothing more will come."""

    def feed(self, piece: bytes) -> list[Delta]:
        """Take the next bytes and give the deltas they complete.

        Raises:
            APIError: an error event in the stream; its `partial` holds what came before.
        """
        if self._head is not None:
            piece = self._sniff(piece, self._head)
        if self._plain is not None:
            self._plain.append(piece)
            return []
        return self._take(self._parser.feed(piece)) if piece else []

    def end(self, *, broken: str | None = None) -> list[Delta]:
        """Tell that the bytes have ended, and whether the connection broke; gives the last deltas.

        Raises:
            StreamInterruptedError: the service had not said that the answer is complete.
            APIError: an error was the last thing that it said.
        """
        if self._head:  # so few bytes came that it was not decided what they are
            self._plain = [self._head]
        self._head = None
        if self._plain is not None:
            return self._plain_answer(b"".join(self._plain), broken)
        deltas = self._take(self._parser.close(), last=True)
        rest = self._speech.close()
        if rest:
            deltas += self._keep([AudioDelta(rest)])
        if not (self._finished and (self._used or self.done)):
            raise self._interrupted(broken)
        return deltas

    @property
    def response(self) -> Response:
        """The answer as far as it has come; the whole one after `end`."""
        return self._builder.build()

    def _sniff(self, piece: bytes, head: bytes) -> bytes:
        # A plain JSON answer starts with a brace; an event stream never does.
        head = (head + piece).removeprefix(_BOM).lstrip()
        if not head:
            self._head = head
            return b""
        self._head = None
        if head.startswith((b"{", b"[")):
            self._plain = []
        return head

    def _interrupted(self, broken: str | None) -> StreamInterruptedError:
        partial = self.response
        why = broken or ("the stream was empty" if self._start is None else "the stream ended")
        said = "no usage and no end mark came" if self._finished else "no finish reason came"
        return StreamInterruptedError(
            f"The answer was cut off after {len(partial.text):,} characters: {why} and {said}. "
            "What arrived is in .partial; send the request again for a whole answer.",
            partial=partial,
        )

    def _keep(self, deltas: list[Delta]) -> list[Delta]:
        for delta in deltas:
            self._builder.add(delta)
        return deltas

    def _take(self, events: list[Event], *, last: bool = False) -> list[Delta]:
        deltas: list[Delta] = []
        for event in events:
            if event.data == _DONE:
                self.done = True
                continue
            try:
                value = from_json(event.data)
            except ValueError:
                if not last and event.name != "error":
                    continue  # a comment in prose from a relay; if it was part of the answer, `end` will miss it
                value = None
            deltas += self._keep(self._event(event, value))
        return deltas

    def _event(self, event: Event, value: Any) -> list[Delta]:  # noqa: ANN401  (any JSON)
        if not isinstance(value, Mapping):
            if event.name == "error":
                raise to_error(event.status or _OK, event.data).with_partial(self.response)
            return []
        error = find_error(value)
        if error is not None or event.name == "error":
            answer = error or ErrorAnswer(message=str(value))
            status = event.status or _OK
            raise from_answer(answer, status=status, body=event.data.decode("utf-8", "replace")).with_partial(
                self.response
            )
        return self.chunk(value)

    def chunk(self, value: Mapping[str, Any]) -> list[Delta]:
        """Turn one decoded chunk into deltas."""
        deltas: list[Delta] = []
        if self._start is None:
            self._start = StartDelta(id=value.get("id"), model=value.get("model"))
        for choice in value.get("choices") or ():
            if choice.get("finish_reason") == "error_finish":
                raise self._error_finish(choice)
            deltas += self._payload(
                choice.get("delta") or choice.get("message") or {}, speech=_is_speech(value, choice)
            )
            reason = choice.get("finish_reason")
            if reason and reason != "null":
                self._finished = True
                deltas += [*self._tags.close(), FinishDelta(reason)]
        usage = value.get("usage")
        if usage:
            self._used = True
            deltas.append(UsageDelta(to_usage(usage, estimated_input=self.estimated_input)))
        if deltas and not self._started:  # held back till something follows, so that a retry begins anew unseen
            self._started = True
            deltas.insert(0, self._start)
        return deltas

    def _error_finish(self, choice: Mapping[str, Any]) -> Exception:
        # The error's text comes where the answer's text would be.
        words = str((choice.get("delta") or {}).get("content") or "the service ended the answer with an error")
        return from_answer(ErrorAnswer(message=words), status=500).with_partial(self.response)

    def _payload(self, delta: Mapping[str, Any], *, speech: bool) -> list[Delta]:
        deltas: list[Delta] = []
        if speech and isinstance(delta.get("content"), str):
            return self._spoken(delta["content"])
        thinking = _thinking(delta)
        if thinking:
            deltas.append(ThinkingDelta(thinking))
        text = delta.get("content")
        if text:
            deltas += self._text("content", text)
        audio = delta.get("audio")
        if audio:
            deltas += self._audio(audio)
        for note in delta.get("annotations") or ():  # comes with every chunk, the whole each time
            self._builder.annotate({key: note[key] for key in _NOTES if isinstance(note.get(key), str)})
        for position, call in enumerate(delta.get("tool_calls") or ()):
            deltas.append(self._call(call, position))
        return deltas

    def _spoken(self, encoded: str) -> list[Delta]:
        # vLLM-Omni: each piece is a file of its own, in base64, where text would be.
        try:
            pcm = decode_piece(encoded)
        except ValueError as error:
            raise self._interrupted(str(error)) from None
        return [AudioDelta(pcm)] if pcm else []

    def _text(self, source: str, text: str) -> list[Delta]:
        # Older models tell the text inside the speech, newer ones beside it; where both do, one is enough.
        self._text_from = self._text_from or source
        return [*self._tags.feed(text)] if source == self._text_from else []

    def _audio(self, audio: Mapping[str, Any]) -> list[Delta]:
        deltas: list[Delta] = self._text("transcript", audio["transcript"]) if audio.get("transcript") else []
        if audio.get("data"):
            try:
                pcm = self._speech.feed(audio["data"])
            except ValueError as error:
                raise self._interrupted(str(error)) from None
            if pcm:
                deltas.append(AudioDelta(pcm))
        return deltas

    def _call(self, call: Mapping[str, Any], position: int) -> ToolCallDelta:
        # Later pieces carry empty or repeated ids and names: the first that says something counts.
        index = call.get("index")
        index = position if index is None else index
        function = call.get("function") or {}
        first = index not in self._told_calls
        name = function.get("name") or None
        if name:
            self._told_calls.add(index)
        return ToolCallDelta(
            index=index,
            id=(call.get("id") or None) if first else None,
            name=name if first else None,
            arguments=function.get("arguments") or "",
        )

    def _plain_answer(self, body: bytes, broken: str | None) -> list[Delta]:
        try:
            value = from_json(body)
        except ValueError:
            raise self._interrupted(broken or "the answer is not whole JSON") from None
        deltas = self._keep(self._event(Event(body), value))
        if broken or not self._finished:
            raise self._interrupted(broken)
        return deltas


def _thinking(delta: Mapping[str, Any]) -> str:
    # DashScope says the first; vLLM renamed its own to the second in November 2025 (its PR 27752) and sent both for a
    # while, the same text twice.
    told = (delta.get("reasoning_content"), delta.get("reasoning"))
    return next((text for text in told if isinstance(text, str) and text), "")


def _is_speech(chunk: Mapping[str, Any], choice: Mapping[str, Any]) -> bool:
    told = chunk.get("modality") or choice.get("modality")
    marked = any("audio_metadata" in part for part in (chunk, choice, choice.get("delta") or {}))
    return told == "audio" or marked


def to_usage(usage: Mapping[str, Any], *, estimated_input: int | None = None) -> Usage:
    """Read the service's token counts; details may be missing, empty or of unknown names."""
    sent, came = int(usage.get("prompt_tokens") or 0), int(usage.get("completion_tokens") or 0)
    return Usage(
        input_tokens=sent,
        output_tokens=came,
        total_tokens=int(usage.get("total_tokens") or sent + came),
        input_details=_details(usage.get("prompt_tokens_details")),
        output_details=_details(usage.get("completion_tokens_details")),
        estimated_input=estimated_input,
        seconds=float(usage["seconds"]) if isinstance(usage.get("seconds"), int | float) else None,
    )


def _details(details: object) -> dict[str, int]:
    if not isinstance(details, Mapping):
        return {}
    return {str(name).removesuffix("_tokens"): count for name, count in details.items() if isinstance(count, int)}
