"""Bytes → server-sent events → deltas. `StreamState` is independent of the connection: feed it bytes, then call `end`.

`EventParser` accepts both dialects of the service: `data: {…}` of the compatible route and `data:{…}` with a
`:HTTP_STATUS/400` comment of the native one; and what proxies add: line breaks of any kind, blank characters, byte
order marks, an end mark without its field. A line that is neither blank, nor a comment, nor a standard field counts as
damage, since part of an answer may be lost. Source: WHATWG HTML, "Server-sent events", read 2026-11.

`StreamState` accepts what the service really sends: chunks without choices, errors inside a 200, text in the final
chunk, missing keys, empty ids, text next to or inside the speech, a plain JSON answer. Unreadable data is an error,
never skipped: an answer is complete, or a `StreamInterruptedError` (the bytes were cut or damaged) or an `APIError`
(they are not an answer) is raised, each with the text so far in `partial`.

Some servers write reasoning into the text, between `<think>` and `</think>`. An opening tag counts only at the very
beginning, so an answer about the tag is left unchanged. Chat templates of reasoning models put the opening tag into the
prompt, so without a reasoning parser a vLLM server's answer holds only the closing one (`Unopened`). A tag in quotes or
backticks is text.
"""

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

from pydantic_core import from_json

from qwen_omni.errors import APIError, QwenOmniError, StreamInterruptedError
from qwen_omni.responses import (
    MAX_ANSWER_BYTES,
    AudioDelta,
    Delta,
    FinishDelta,
    Response,
    SentMedia,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCallDelta,
    UsageDelta,
    collect,
)
from qwen_omni.wire.audio import PcmDecoder, decode_piece
from qwen_omni.wire.errors import ErrorAnswer, find_error, from_answer, to_error
from qwen_omni.wire.tools import ToolCallReader
from qwen_omni.wire.values import (
    HalfCharacters,
    MalformedValueError,
    as_count,
    as_name,
    as_object,
    as_objects,
    as_text,
    as_words,
    decode_json,
    page_text,
    parse_usage,
    quoted,
    split_thoughts,
    whole_characters,
)

# --- Server-sent events ---

MAX_EVENT_BYTES = 32 * 2**20
"""The longest event accepted: a minute of speech is 4 MB of base64, and one event holds a fraction of it."""
_IGNORED = frozenset((b"id", b"retry"))
_CHUNK_KEY = b'"choices"'
_BLANK = b" \t\0"  # what servers send to keep a connection open
BOM = b"\xef\xbb\xbf"
DONE = b"[DONE]"
"""The data of the event that ends an answer."""


class DamagedStreamError(ValueError):
    """The bytes are not an event stream: a line is of an unknown kind."""


class EventTooLongError(ValueError):
    """An event is longer than any event of an answer can be."""


@dataclass(frozen=True, slots=True)
class Event:
    """One event. `name` is in lower case; `status` is the HTTP status from a comment line, if any."""

    data: bytes
    name: str | None = None
    status: int | None = None


class EventParser:
    r"""Splits a byte stream into events, wherever the pieces end. Time and memory are linear in the bytes.

    Example:
        >>> parser = EventParser()
        >>> parser.feed(b'data: {"a"'), parser.feed(b': 1}\n\n')
        ([], [Event(data=b'{"a": 1}', name=None, status=None)])
    """

    def __init__(self, max_event_bytes: int = MAX_EVENT_BYTES) -> None:
        self._limit = max_event_bytes
        self._rest: list[bytes] = []  # pieces of an incomplete line; joined once, when its end arrives
        self._held = 0  # bytes in `_rest` and `_data`
        self._data: list[bytes] = []
        self._name: str | None = None
        self._status: int | None = None
        self._after_cr = False  # a line feed that comes next belongs to the line break before it
        self._broken: DamagedStreamError | EventTooLongError | None = None

    @property
    def tail(self) -> bytes:
        """The incomplete last line."""
        return b"".join(self._rest)

    def feed(self, piece: bytes) -> list[Event]:
        """Return the events that the next bytes complete; if damage follows an event, the next call raises.

        Raises:
            DamagedStreamError: a line of an unknown kind.
            EventTooLongError: an event of more than `max_event_bytes`.
        """
        if self._broken is not None:
            raise self._broken
        events: list[Event] = []
        try:
            self._split(piece, events)
        except (DamagedStreamError, EventTooLongError) as error:
            if not events:
                raise
            self._broken = error
        return events

    def close(self) -> list[Event]:
        """Return what is left at the end of the bytes; the last event often has no blank line after it."""
        return self.feed(b"\n\n") if self._rest or self._data or self._broken else []

    def _split(self, piece: bytes, events: list[Event]) -> None:
        if self._after_cr and piece:
            self._after_cr = False
            piece = piece.removeprefix(b"\n")
        if b"\r" in piece:
            self._after_cr = piece.endswith(b"\r")
            piece = piece.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = piece.split(b"\n")
        last = lines.pop()
        if lines and self._rest:
            rest = b"".join(self._rest)
            self._rest.clear()
            self._held -= len(rest)
            lines[0] = rest + lines[0]
        for line in lines:
            event = self._line(line)
            if event is not None:
                events.append(event)
        if last:
            self._rest.append(last)
            self._held += len(last)
        if self._held > self._limit:
            raise EventTooLongError(f"an event has more than {self._limit / 2**20:g} MB")

    def _line(self, line: bytes) -> Event | None:
        if line.startswith(b"data:"):
            self._add(line[6:] if line[5:6] == b" " else line[5:])
        elif not line:
            return self._dispatch()
        else:
            self._other(line)
        return None

    def _other(self, line: bytes) -> None:
        name, _, value = line.partition(b":")
        if name == b"event":
            self._name = value.strip().decode("utf-8", "replace").lower()
        elif name == b"data":
            self._add(b"")
        elif not name and _CHUNK_KEY not in line:
            if value.startswith(b"HTTP_STATUS/"):
                digits = value[12:].strip()
                self._status = int(digits) if len(digits) == 3 and digits.isdigit() else None  # noqa: PLR2004
        elif name not in _IGNORED:
            self._stray(line)

    def _stray(self, line: bytes) -> None:
        """Take a line that is no field: an end mark, blank characters, or a field after them."""
        bare = line.strip(_BLANK)
        if not bare:
            return
        if bare == DONE:
            self._add(bare)
        elif bare.startswith(BOM):
            self._line(bare.removeprefix(BOM))
        elif line.startswith(b"\0"):
            self._line(bare)
        else:
            raise DamagedStreamError(f"a line begins with {quoted(line)}, which is not a field of an event stream")

    def _add(self, data: bytes) -> None:
        self._data.append(data)
        self._held += len(data) + 1

    def _dispatch(self) -> Event | None:
        if not self._data:
            lone = Event(b"", self._name, self._status)
            self._name = self._status = None
            return lone if lone.name == "error" else None
        data = self._data[0] if len(self._data) == 1 else b"\n".join(self._data)
        self._held -= len(data) + 1
        event = Event(data, self._name, self._status)
        self._data, self._name, self._status = [], None, None
        return event


# --- Answers ---

_OK = 200
_NOTES = ("language", "emotion")
_BEFORE = b" \t\r\n\v\f\0"  # what may come before an answer
_BEGINNINGS = (b"data:", b"event:", b"id:", b"retry:", b":")
_SHORT = 16  # bytes of an end mark, with quotes and spaces
_KEEP_ALIVE = frozenset({"ping", "heartbeat", "keepalive", "keep-alive", "keep_alive"})  # names of events
_FAILED = frozenset({"error_finish", "error", "abort"})
"""Finish reasons of answers that are not whole. DashScope sends the first, gateways (OpenRouter) the second, vLLM the
third when it drops a request."""
_PAGE_BYTES = 4096  # of a web page that are read, to quote it


Unopened = Literal["text", "split", "hold"]
"""How to read the text before a `</think>` that was never opened.

- `text`: it is text, and so is the tag.
- `split`: it is reasoning in a whole answer; a stream, which cannot retract what it yielded, passes it on as text.
- `hold`: it is reasoning, in streams too: text is held back until the tag comes, or the answer ends.
"""


class _UndecodableError(ValueError):
    """The data of an event is not JSON."""


class StreamState:
    r"""The state of one streamed answer: bytes in, deltas out.

    Example:
        >>> state = StreamState()
        >>> state.feed(b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}],"usage":null}\n\n')
        [StartDelta(id=None, model=None), TextDelta(text='Hi'), FinishDelta(reason='stop')]
        >>> state.feed(b"data: [DONE]\n\n"), state.end()
        ([], [])
    """

    def __init__(self, *, max_answer_bytes: int = MAX_ANSWER_BYTES, unopened_thinking: Unopened = "text") -> None:
        self._parser = EventParser()
        self._kept: list[Delta] = []
        self._annotations: dict[str, str] = {}
        self._head: bytes | None = b""
        self._plain: list[bytes] | None = None
        self._is_page = False
        self._left, self._limit = max_answer_bytes, max_answer_bytes
        self._speech: PcmDecoder | None = None
        self._tags = ThinkTags(unopened=unopened_thinking)
        self._calls: ToolCallReader | None = None
        self._halves = HalfCharacters()
        self._text_from: str | None = None
        self._choice: int | None = None
        self._start: StartDelta | None = None
        self._started = self._finished = self._used = self._has_content = False
        self.estimated_input: int | None = None
        """The estimate of the input tokens, stored with the reported usage."""
        self.media: tuple[SentMedia, ...] = ()
        """How the media of the request were sent, stored with the answer."""
        self.done = False
        """Whether the service has sent `[DONE]`: nothing more will come."""

    def feed(self, piece: bytes) -> list[Delta]:
        """Take the next bytes and return the deltas they complete.

        Raises:
            APIError: an error event in the stream, a value of the wrong type, or more than `max_answer_bytes`; its
                `partial` holds what came before.
            StreamInterruptedError: an event is damaged.
        """
        if self.done:
            return []
        self._left -= len(piece)
        if self._left < 0:
            raise self._refused(
                f"the answer has more than {self._limit:,} bytes; raise max_answer_bytes to allow longer answers"
            )
        if self._head is not None:
            piece = self._sniff(piece, self._head)
        if self._plain is None:
            return self._take(piece) if piece else []
        self._plain.append(piece)
        if self._is_page and sum(map(len, self._plain)) >= _PAGE_BYTES:
            raise self._page_error()
        return []

    def end(self, *, broken: str | None = None) -> list[Delta]:
        """Finish the answer and return the last deltas; `broken` says how the connection broke, if it did.

        Raises:
            StreamInterruptedError: the service had not marked the answer as complete.
            APIError: the last thing that the service sent was an error.
        """
        if self._head:  # too few bytes came to decide what they are
            self._plain = [self._head]
        self._head = None
        if self._plain is not None:
            deltas = self._plain_answer(b"".join(self._plain), broken)
        else:
            deltas = self._last_events(broken)
        deltas += self._keep(self._lone_halves())
        try:
            rest = self._speech.close() if self._speech is not None else b""
        except ValueError as error:
            raise self._interrupted(str(error)) from None
        if rest:
            deltas += self._keep([AudioDelta(rest)])
        if not self._is_complete:
            raise self._interrupted(broken)
        if not (self._has_content or self._used):
            raise self._interrupted("it holds no content, no tool call and no usage", whole=True)
        return deltas

    @property
    def _is_complete(self) -> bool:
        return self._finished and (self._used or self.done or self._plain is not None)

    def _last_events(self, broken: str | None) -> list[Delta]:
        """Read events that no blank line follows; half a line does not matter if the answer is complete without it."""
        if self.done:
            return []
        tail = self._parser.tail
        try:
            return self._read(self._parser.close())
        except (_UndecodableError, DamagedStreamError) as error:
            if not _may_be_cut(tail):
                raise self._damaged(str(error)) from None
            if not self._is_complete:
                raise self._interrupted(broken or "the stream ended inside a line") from None
            return []
        except EventTooLongError as error:
            raise self._refused(str(error)) from None

    @property
    def response(self) -> Response:
        """The answer as far as it has arrived; the whole one after `end`."""
        built = collect(self._kept)
        thinking, text = self._tags.split(built.text + self._tags.held_text)
        return replace(built, thinking=built.thinking + thinking, text=text, annotations=self._annotations)

    def _sniff(self, piece: bytes, head: bytes) -> bytes:
        # A plain JSON answer starts with a brace, a web page with an angle bracket; an event stream with neither.
        head = (head + piece).lstrip(_BEFORE)
        while head.startswith(BOM):
            head = head.removeprefix(BOM).lstrip(_BEFORE)
        if BOM.startswith(head):  # it is empty, or more of a byte order mark may follow
            self._head = head
            return b""
        self._head = None
        if head.startswith((b"{", b"[", b"<")):
            self._plain = []
            self._is_page = head.startswith(b"<")
        return head

    def _interrupted(self, why: str | None, *, whole: bool = False) -> StreamInterruptedError:
        partial = self.response
        why = why or ("the stream was empty" if self._start is None else "the stream ended")
        said = "neither usage nor an end mark arrived" if self._finished else "no finish reason came"
        ended = why if whole else f"{why} and {said}"
        cut = f"was cut off after {len(partial.text):,} characters" if not whole else "is not whole"
        return StreamInterruptedError(
            f"The answer {cut}: {ended}. What arrived is in .partial; send the request again for a complete answer.",
            partial=partial,
        )

    def _damaged(self, why: str) -> QwenOmniError:
        if self._start is None:
            return self._refused(f"the response is neither an event stream nor JSON: {why}")
        partial = self.response
        return StreamInterruptedError(
            f"The answer is damaged after {len(partial.text):,} characters: {why}. What arrived before is in .partial; "
            "send the request again for a complete answer.",
            partial=partial,
        )

    def _refused(self, why: str, body: str | None = None) -> APIError:
        error = APIError(f"The answer cannot be read: {why}.", status_code=_OK, body=body)
        return error.with_partial(self.response)

    def _page_error(self) -> APIError:
        text = b"".join(self._plain or ())[:_PAGE_BYTES].decode("utf-8", "replace")
        shown = page_text(text)[:120]
        return self._refused(
            f"it is a web page, with status 200: {shown!r}. Check base_url, and whether a proxy or a sign-in page "
            "is in front of it",
            text[:600],
        )

    def _keep(self, deltas: list[Delta]) -> list[Delta]:
        self._kept += deltas
        return deltas

    def _take(self, piece: bytes) -> list[Delta]:
        try:
            return self._read(self._parser.feed(piece))
        except (_UndecodableError, DamagedStreamError) as error:
            failure = self._damaged(str(error))
        except EventTooLongError as error:
            failure = self._refused(str(error))
        raise failure  # outside the handler: the context of an error would hold the answer's text

    def _read(self, events: Iterable[Event]) -> list[Delta]:
        deltas: list[Delta] = []
        for event in events:
            if len(event.data) < _SHORT and event.data.strip(b' \t"').upper() == DONE:
                self.done = True
                break
            deltas += self._keep(self._event(event))
        return deltas

    def _event(self, event: Event) -> list[Delta]:
        has_halves = b"\\ud" in event.data or b"\\uD" in event.data
        fault = ""
        try:
            value = decode_json(event.data) if has_halves else from_json(event.data)
        except ValueError as error:
            value, fault = None, f"an event is not JSON ({error})"
        if not isinstance(value, dict):
            return self._no_object(event, value, fault)
        if (
            "error" in value
            or "choices" not in value
            or event.name == "error"
            or not (value["choices"] or "usage" in value)
        ):
            self._check_error(event, value)
        try:
            deltas = self.chunk(value)
        except MalformedValueError as error:
            raise self._refused(str(error)) from None
        if self._halves.held or has_halves:
            return self._joined(deltas)
        return deltas

    def _no_object(self, event: Event, value: object, fault: str) -> list[Delta]:
        """Raise the error of an event without an object, unless it only keeps the connection open."""
        if event.name == "error" or find_error(value) is not None:
            raise to_error(event.status or _OK, event.data).with_partial(self.response)
        if event.name in _KEEP_ALIVE:
            return []
        if fault:
            raise _UndecodableError(fault)
        raise self._refused(f"an event holds {type(value).__name__} where an object belongs")

    def _check_error(self, event: Event, value: Mapping[str, Any]) -> None:
        answer = find_error(value)
        if answer is None and event.name == "error":
            answer = ErrorAnswer(message=as_words(value))
        if answer is not None:
            text = event.data.decode("utf-8", "replace")
            raise from_answer(answer, status=event.status or _OK, body=text).with_partial(self.response)

    def _joined(self, deltas: list[Delta]) -> list[Delta]:
        """Join characters that were split between two pieces of one text."""
        joined: list[Delta] = []
        for delta in deltas:
            match delta:
                case TextDelta() | ThinkingDelta():
                    text = self._halves.join(type(delta), delta.text)
                    joined += [type(delta)(text)] if text else []
                case ToolCallDelta():
                    joined.append(replace(delta, arguments=self._halves.join(delta.index, delta.arguments)))
                case FinishDelta():
                    joined += [*self._lone_halves(), delta]
                case _:
                    joined.append(delta)
        return joined

    def _lone_halves(self) -> list[Delta]:
        """Return a replacement character for every half whose second half never came."""
        lone: list[Delta] = []
        for source in self._halves.close():
            if isinstance(source, int):
                lone.append(ToolCallDelta(index=source, arguments="\ufffd"))
            else:
                lone.append(ThinkingDelta("\ufffd") if source is ThinkingDelta else TextDelta("\ufffd"))
        return lone

    def chunk(self, value: Mapping[str, Any]) -> list[Delta]:
        """Convert one decoded chunk to deltas.

        Raises:
            MalformedValueError: a value has an unexpected type.
        """
        deltas: list[Delta] = []
        if self._start is None:
            self._start = StartDelta(id=as_name(value.get("id")), model=as_name(value.get("model")), media=self.media)
        choices = value.get("choices")
        if type(choices) is not list or len(choices) != 1 or type(choices[0]) is not dict:  # not the usual form
            choices = as_objects(choices, "choices")
        for choice in choices:
            deltas += self._answered(choice, value)
        usage = value.get("usage") or (choices[-1].get("usage") if choices else None)  # Kimi's are in the choice
        if usage:
            counts = parse_usage(usage, estimated_input=self.estimated_input)
            if counts is not None:
                self._used = True
                deltas.append(UsageDelta(counts))
        if deltas and not self._started:  # held back until something follows, so that a retry stays invisible
            self._started = True
            deltas.insert(0, self._start)
        return deltas

    def _answered(self, choice: Mapping[str, Any], chunk: Mapping[str, Any]) -> list[Delta]:
        if choice.get("index", self._choice) != self._choice:
            self._check_choice(choice["index"])
        reason = choice.get("finish_reason")
        if choice.get("error") or (type(reason) is str and reason in _FAILED):
            raise self._failed(choice, reason)
        delta = choice.get("delta")
        if type(delta) is not dict or "message" in choice:
            delta = self._whole(choice)
        deltas = self._payload(delta, speech=_is_speech(chunk, choice, delta))
        if reason and reason != "null":
            deltas += self._finish(reason)
        return deltas

    def _check_choice(self, index: object) -> None:
        # The texts of several answers arrive interleaved, and a `Response` holds one.
        count = as_count(index) or 0
        if self._choice is not None and count != self._choice:
            raise MalformedValueError("it holds more than one answer (choices); ask for one, without n in extra_body")
        self._choice = count

    def _finish(self, reason: object) -> list[Delta]:
        if not isinstance(reason, str):
            raise MalformedValueError("finish_reason is not text")
        ends = self._calls.close() if self._calls is not None else []
        self._finished = True
        return [*self._tags.close(), *ends, FinishDelta(whole_characters(reason))]

    def _whole(self, choice: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the message of an answer that was not streamed; some servers send it after its pieces, too."""
        delta = as_object(choice.get("delta") or None, "delta")
        if any(value for name, value in delta.items() if name != "role"):
            return delta
        message = choice.get("message") or ({"content": choice["text"]} if choice.get("text") else None)
        repeats = "delta" in choice and self._has_content
        return delta if repeats or not message else as_object(message, "message")

    def _failed(self, choice: Mapping[str, Any], reason: object) -> QwenOmniError:
        if reason == "abort":
            return self._interrupted("the server abandoned the request (finish_reason 'abort')", whole=True)
        answer = find_error(choice)
        if answer is None or not answer.message:
            # DashScope puts the error's text where the answer's text would be.
            content = as_object(choice.get("delta"), "delta").get("content") if reason == "error_finish" else None
            answer = ErrorAnswer(message=as_words(content) or "the service ended the answer with an error")
        return from_answer(answer, status=500).with_partial(self.response)

    def _payload(self, delta: Mapping[str, Any], *, speech: bool) -> list[Delta]:
        deltas: list[Delta] = []
        content = delta.get("content") or delta.get("refusal")
        if speech and isinstance(content, str):
            deltas = self._spoken(content)
        else:
            thinking = _thinking(delta)
            if type(content) is list:
                thoughts, content = split_thoughts(content)
                thinking += thoughts
            if thinking:
                self._tags.is_separate()
                deltas.append(ThinkingDelta(thinking))
            if content:
                deltas += self._text("content", content if type(content) is str else as_text(content, "content"))
            audio = delta.get("audio")
            if audio:
                deltas += self._audio(as_object(audio, "audio"))
            annotations = delta.get("annotations")
            if annotations:
                self._annotate(annotations)
            calls = delta.get("tool_calls") or _former_call(delta)
            if calls:
                self._calls = self._calls or ToolCallReader()
                deltas += self._calls.read(calls)
        if deltas:
            self._has_content = True
        return deltas

    def _annotate(self, notes: object) -> None:
        # Each chunk repeats all of them. Only transcription models send them, about the audio.
        for note in notes if isinstance(notes, list) else ():
            if isinstance(note, dict):
                self._has_content = True
                texts = {key: note[key] for key in _NOTES if isinstance(note.get(key), str)}
                self._annotations |= {key: whole_characters(text) for key, text in texts.items()}

    def _spoken(self, encoded: str) -> list[Delta]:
        # vLLM-Omni: each piece is a separate file, in base64, in place of the text.
        try:
            pcm = decode_piece(encoded)
        except ValueError as error:
            raise self._interrupted(str(error)) from None
        return [AudioDelta(pcm)] if pcm else []

    def _text(self, source: str, text: str) -> list[Delta]:
        # Older models put the text inside the speech, newer ones next to it; if both are present, one is enough.
        self._text_from = self._text_from or source
        return [*self._tags.feed(text)] if text and source == self._text_from else []

    def _audio(self, audio: Mapping[str, Any]) -> list[Delta]:
        transcript, data = (
            as_text(audio.get("transcript"), "audio.transcript"),
            as_text(audio.get("data"), "audio.data"),
        )
        deltas: list[Delta] = self._text("transcript", transcript) if transcript else []
        if data:
            try:
                self._speech = self._speech or PcmDecoder()
                pcm = self._speech.feed(data)
            except ValueError as error:
                raise self._interrupted(str(error)) from None
            if pcm:
                deltas.append(AudioDelta(pcm))
        return deltas

    def _plain_answer(self, body: bytes, broken: str | None) -> list[Delta]:
        if self._is_page:
            raise self._page_error()
        deltas: list[Delta] = []
        try:
            for event in _plain_events(body):
                deltas += self._keep(self._event(event))
        except _UndecodableError:
            raise self._interrupted(broken or "the answer is not complete JSON") from None
        if broken:
            raise self._interrupted(broken)
        if _CHOICES not in body:
            text = body[:_PAGE_BYTES].decode("utf-8", "replace")
            raise self._refused(f"it is JSON without choices: {text[:200]!r}. Check base_url", text)
        return deltas


_CHOICES = b'"choices"'


def _plain_events(body: bytes) -> list[Event]:
    """Return the chunks of an answer that is no event stream: one object, a list of them, or one in each line."""
    if body.startswith(b"["):
        try:
            value = decode_json(body)
        except ValueError:
            return [Event(body)]
        several = isinstance(value, list) and bool(value) and all(isinstance(one, dict) for one in value)
        return [Event(json.dumps(one).encode()) for one in value] if several else [Event(body)]
    lines = [line for line in body.splitlines() if line.strip()]
    if len(lines) > 1 and all(line.startswith(b"{") and line.rstrip().endswith(b"}") for line in lines[:2]):
        return [Event(line) for line in lines]
    return [Event(body)]


def _may_be_cut(tail: bytes) -> bool:
    """Whether these last bytes begin like a line of an event stream."""
    return bool(tail) and any(tail.startswith(begin) or begin.startswith(tail) for begin in _BEGINNINGS)


def _thinking(delta: Mapping[str, Any]) -> str:
    # DashScope uses the first; vLLM renamed its own to the second in November 2025 (its PR 27752) and sent both for a
    # while, the same text twice.
    # Settings that a server echoes under the second name are not text.
    thought = delta.get("reasoning_content")
    if thought:
        return thought if type(thought) is str else as_text(thought, "reasoning_content")
    thought = delta.get("reasoning")
    return thought if type(thought) is str else ""


def _former_call(delta: Mapping[str, Any]) -> object:
    # The predecessor of `tool_calls`, before 2023-11; old gateways still send it.
    call = delta.get("function_call")
    return {"function": call} if call else None


def _is_speech(chunk: Mapping[str, Any], choice: Mapping[str, Any], delta: Mapping[str, Any]) -> bool:
    if (chunk.get("modality") or choice.get("modality")) == "audio":
        return True
    return "audio_metadata" in delta or "audio_metadata" in choice or "audio_metadata" in chunk


# --- Pieces of text ---


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
