"""Batch File on the wire: the lines of a file, and what the service says about files, batches and answers. Pure.

Sources: Model Studio, "Batch (file input)", about 2026-10-10; its samples name the fields of a failed line `code` and
`message` in one place, and `error_code` and `error_message` in another, so both are read.
"""

import codecs
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal, get_args

from qwen_omni.errors import APIError, InvalidRequestError
from qwen_omni.profiles.batch import TEST_MODEL, TEST_URL
from qwen_omni.responses import Response
from qwen_omni.wire.errors import ErrorAnswer, find_error, from_answer
from qwen_omni.wire.stream import StreamState
from qwen_omni.wire.values import (
    MalformedValueError,
    as_count,
    as_mapping,
    as_name,
    as_number,
    as_object,
    as_objects,
    as_words,
    decode_json,
)

CHAT_URL = "/v1/chat/completions"
Status = Literal[
    "validating", "in_progress", "finalizing", "completed", "failed", "expired", "cancelling", "cancelled"
]  # fmt: skip
ENDED = frozenset({"completed", "failed", "expired", "cancelled"})
PAGE = 100
"""Batches on one page of the list; the most that the service returns."""
_OK = 200
_SHOWN_ERRORS = 5
_NAME_LENGTH = 100


def url_of(model: str) -> str:
    """Return the endpoint of the lines of a model."""
    return TEST_URL if model == TEST_MODEL else CHAT_URL


def encode_line(custom_id: str, body: Mapping[str, Any]) -> bytes:
    """Return one line of an input file, with its line break."""
    line = {"custom_id": custom_id, "method": "POST", "url": url_of(str(body["model"])), "body": body}
    return json.dumps(line, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def unstreamed(body: Mapping[str, Any], *, streams: bool) -> dict[str, Any]:
    """Return the body of a request as a line holds it: whole answers, except where a model only streams."""
    return {name: value for name, value in body.items() if streams or name not in ("stream", "stream_options")}


def thinking_of(body: Mapping[str, Any]) -> tuple[object, ...]:
    """Return the thinking mode that a body asks for; one file must have one."""
    return body.get("enable_thinking"), body.get("reasoning_effort")


def batch_metadata(name: str, callback_url: str | None) -> dict[str, str]:
    """Return the metadata that names a batch in the console, and a public address that is called when it has ended."""
    called = {} if callback_url is None else {"ds_batch_finish_callback": callback_url}
    return {"ds_name": name[:_NAME_LENGTH], **called}


def encode_batch(file_id: str, model: str, hours: int, metadata: Mapping[str, str]) -> bytes:
    """Return the body that creates a batch."""
    fields = {"input_file_id": file_id, "endpoint": url_of(model), "completion_window": f"{hours}h"}
    return json.dumps({**fields, "metadata": dict(metadata)}, ensure_ascii=False).encode()


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStatus:
    """The state of a batch.

    Attributes:
        id: the service's id; empty if no batch was needed, since every line had an answer.
        status: `validating`, `in_progress`, `finalizing`, `cancelling`; or how it ended: `completed`, `failed` (the
            file was rejected as a whole), `expired` or `cancelled`.
        total: lines in the file, as far as the service has counted.
        completed: lines with an answer so far. They can be read when the batch has ended.
        failed: lines with an error so far.
        errors: why a file was rejected.
        output_file_id: the file of the answers, once there is one.
        error_file_id: the file of the failed lines, if there are any.
        created_at: seconds since 1970; 0 if unknown.
    """

    id: str = ""
    status: Status = "completed"
    total: int = 0
    completed: int = 0
    failed: int = 0
    errors: tuple[str, ...] = ()
    output_file_id: str = ""
    error_file_id: str = ""
    created_at: int = 0

    @property
    def ended(self) -> bool:
        """Whether the service will do nothing more."""
        return self.status in ENDED


def decode_file_id(reply: bytes) -> str:
    """Return the id of an uploaded file.

    Raises:
        APIError: the reply contains no file id.
    """
    return _id(_decoded(reply, "the upload"), "the upload")


def decode_batch(reply: bytes) -> BatchStatus:
    """Read a batch; raises `APIError` if the reply is not a batch."""
    return _batch(_decoded(reply, "the batch"))


def decode_page(reply: bytes) -> tuple[list[tuple[BatchStatus, str]], str]:
    """Read one page of the list: each batch with the text of its metadata, and the id to continue after, if any."""
    page = _decoded(reply, "the list of batches")
    try:
        rows = as_objects(page.get("data") or [], "data")
    except MalformedValueError as error:
        raise _unreadable("the list of batches", error) from None
    found = [
        (_batch(row, strict=False), json.dumps(row.get("metadata"), ensure_ascii=False))
        for row in rows
        if row.get("id")
    ]
    last = as_name(page.get("last_id")) or (found[-1][0].id if found else "")
    return found, last if page.get("has_more") is True and rows else ""


def _batch(value: Mapping[str, Any], *, strict: bool = True) -> BatchStatus:
    given = as_words(value.get("status"))
    status: Status | None = next((one for one in get_args(Status) if one == given), None)
    if status is None and strict:
        raise _unreadable("the batch", f"its status is {given[:40]!r}")
    counts = as_mapping(value.get("request_counts"))
    return BatchStatus(
        id=_id(value, "the batch"),
        status=status or "in_progress",  # another program's batch must not end the search for ours
        total=as_count(counts.get("total")) or 0,
        completed=as_count(counts.get("completed")) or 0,
        failed=as_count(counts.get("failed")) or 0,
        errors=tuple(_errors(value.get("errors"))),
        output_file_id=as_name(value.get("output_file_id")) or "",
        error_file_id=as_name(value.get("error_file_id")) or "",
        created_at=int(as_number(value.get("created_at")) or 0),
    )


def _errors(value: object) -> Iterator[str]:
    rows = value.get("data") if isinstance(value, Mapping) else value
    for row in rows[:_SHOWN_ERRORS] if isinstance(rows, list) else ():
        if isinstance(row, Mapping):
            line = as_count(row.get("line"))
            place = f"line {line}: " if line else ""
            yield f"{place}{as_words(row.get('message') or row.get('code'))}"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredLine:
    """One line of an output or an error file.

    Attributes:
        custom_id: which request it belongs to.
        body: the answer as the service wrote it; `None` if the line failed.
        status: the HTTP status of a failed line.
        code: the service's error code.
        message: the service's words.
    """

    custom_id: str
    body: Any = None
    status: int = _OK
    code: str = ""
    message: str = ""


def decode_lines(content: bytes) -> tuple[list[AnsweredLine], str]:
    """Read an output or an error file; the text is what is wrong with the first line that cannot be read, if any."""
    found, problem = [], ""
    for number, row in enumerate(content.removeprefix(codecs.BOM_UTF8).split(b"\n"), start=1):
        if row.strip():
            try:
                found.append(_line(as_object(decode_json(row), "the line")))
            except ValueError as error:
                problem = problem or f"line {number} cannot be read: {error}"
    return found, problem


def _line(value: Mapping[str, Any]) -> AnsweredLine:
    custom_id = as_name(value.get("custom_id"))
    if custom_id is None:
        raise MalformedValueError("it has no custom_id")
    answer, error = as_mapping(value.get("response")), value.get("error")
    status, body = as_count(answer.get("status_code")) or _OK, answer.get("body")
    said = as_mapping(error)
    code = as_words(said.get("code") or said.get("error_code"))
    message = as_words(said.get("message") or said.get("error_message")) or ("" if said else as_words(error))
    inner = _error_in(body)
    if status == _OK and body is not None and not (code or message or inner):
        return AnsweredLine(custom_id=custom_id, body=body)
    inner = inner or ErrorAnswer(message="the service gave no reason")
    return AnsweredLine(
        custom_id=custom_id, status=status, code=code or inner.code, message=message or inner.message
    )  # fmt: skip


def _error_in(body: object) -> ErrorAnswer | None:
    """Find the error that a body holds instead of an answer, also in the text of a stream, whatever its status."""
    if not isinstance(body, str):
        return find_error(body)
    events = (_event(row) for row in body.splitlines() if '"error"' in row)
    return next((error for event in events if (error := find_error(event))), None)


def _event(row: str) -> object:
    try:
        return decode_json(row.removeprefix("data:").encode())
    except ValueError:
        return None


def error_of(line: AnsweredLine) -> APIError:
    """Return the error of a failed line, of the class that the same refusal has in real time."""
    status = line.status if line.status != _OK else 400
    error = from_answer(ErrorAnswer(message=line.message, code=line.code), status=status)
    if type(error) is APIError:
        return InvalidRequestError(str(error), status_code=status, code=line.code or None)
    return error


def response_of(body: Any) -> Response:  # noqa: ANN401  (any JSON)
    """Read the answer of a line: a whole answer or, where the service wrote a stream, its text.

    Raises:
        QwenOmniError: it is no answer.
    """
    state = StreamState()
    state.feed(body.encode() if isinstance(body, str) else json.dumps(body).encode())
    state.end()
    return state.response


def _decoded(reply: bytes, what: str) -> Mapping[str, Any]:
    try:
        return as_object(decode_json(reply), what)
    except ValueError as error:
        raise _unreadable(what, error) from None


def _id(value: Mapping[str, Any], what: str) -> str:
    name = as_name(value.get("id"))
    if name is None:
        raise _unreadable(what, "it has no id")
    return name


def _unreadable(what: str, why: object) -> APIError:
    return APIError(f"The service's answer about {what} cannot be read ({why}).", status_code=_OK)
