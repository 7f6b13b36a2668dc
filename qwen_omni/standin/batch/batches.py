"""The stand-in's Batch File: files, batches, their states, their output. Knows no sockets.

A batch moves one state further with every look at it: validating, in progress, finalizing, completed. Half of its lines
are answered on entering "in progress" and the rest on "finalizing", so a batch that is cancelled or expires before that
has output for half of its lines. Source: Model Studio, "Batch (file input)", about 2026-10-10.
"""

from __future__ import annotations

import json
import re
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.refusal import Refusal
from qwen_omni.standin.server.exchange import Reply, Request, json_reply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[dict[str, Any], str], tuple[int, dict[str, Any]]]

Operation = Literal["upload", "content", "create", "retrieve", "list", "cancel", "file"]
PREFIX = "/compatible-mode/v1"
_ROUTES = re.compile(rf"{PREFIX}/(files|batches)(?:/([^/]+))?(?:/(content|cancel))?/?")
_ENDPOINTS = ("/v1/chat/completions", "/v1/embeddings", "/v1/chat/ds-test")
_TEST_MODEL, _TEST_URL = "batch-test-model", "/v1/chat/ds-test"
_MOST_LINES, _MOST_BYTES, _MOST_LINE = 50_000, 500_000_000, 1_000_000
_TEST_LINES, _TEST_BYTES = 100, 1_000_000
_LONGEST_ID = 256
_WINDOW = re.compile(r"(\d+)([hd])")
_WINDOW_HOURS = range(24, 337)
_MOST_LISTED = 100
_TEXT = r"qwen-(plus|flash)(-latest)?|qwen3-max|qwen3\.[5-8]-(max|plus|flash)"
FILE_MODELS = re.compile(rf"qwen3\.5-omni-(plus|flash)|{_TEXT}|{_TEST_MODEL}")
CHAT_MODELS = re.compile(rf"qwen3\.5-omni-plus|{_TEXT}")
UNSUPPORTED = "The provided model {name} is not supported by the Batch API."
_ENDED = ("completed", "failed", "expired", "cancelled")
_MEDIA = {"image_url": "image", "video_url": "video", "video": "video", "input_audio": "audio"}


@dataclass(slots=True, kw_only=True)
class BatchFault:
    """A faulty answer to a request.

    Attributes:
        operation: the kind of request.
        status: the HTTP status; 0 cuts the connection without an answer.
        after: the work is done all the same, before the fault.
        cut_after: send this many bytes of the answer, then break the connection, or end properly if `clean`.
        times: how many requests it strikes.
    """

    operation: Operation
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error has occured, please try again later."
    after: bool = False
    cut_after: int | None = None
    clean: bool = False
    times: int = 1


@dataclass(slots=True, kw_only=True)
class _Batch:
    id: str
    account: str
    file_id: str
    endpoint: str
    window: str
    metadata: dict[str, str]
    created: int
    ends: str = "completed"
    status: str = "validating"
    errors: list[dict[str, Any]] = field(default_factory=list)
    lines: list[dict[str, Any]] = field(default_factory=list)
    stuck: bool = False
    good: list[dict[str, Any]] = field(default_factory=list)
    bad: list[dict[str, Any]] = field(default_factory=list)
    output: str | None = None
    failures: str | None = None


@dataclass(slots=True)
class Batches:
    """All files and batches of one stand-in. Thread-safe.

    Attributes:
        calls: every request so far, as (operation, status); status 0 means that the connection was cut.
        held: the state that batches stay in until this is `None`.
        created: every batch so far, by id.
        billed: the `custom_id` of every line that was answered, and would be billed.
    """

    keys: tuple[str, ...]
    answer: Answer
    calls: list[tuple[str, int]] = field(default_factory=list)
    held: str | None = None
    created: dict[str, _Batch] = field(default_factory=dict)
    billed: list[str] = field(default_factory=list)
    _files: dict[str, tuple[str, bytes]] = field(default_factory=dict)
    _faults: list[BatchFault] = field(default_factory=list)
    _ends: list[str] = field(default_factory=list)
    _lock: threading.RLock = field(default_factory=threading.RLock)

    def fail(self, fault: BatchFault) -> None:
        """Make the next requests of a kind fail."""
        with self._lock:
            self._faults.append(fault)

    def end_next(self, status: Literal["expired", "failed"]) -> None:
        """Make the next batch expire with half of its lines done, or fail as a whole."""
        with self._lock:
            self._ends.append(status)

    def owns(self, path: str) -> bool:
        """Whether a path belongs to these routes."""
        return _ROUTES.fullmatch(path) is not None

    def respond(self, asked: Request) -> Reply:
        """Answer one request."""
        operation, name = _route(asked)
        with self._lock:
            fault = next((one for one in self._faults if one.operation == operation and one.times > 0), None)
            if fault is not None:
                fault.times -= 1
            if fault is None or fault.after or fault.cut_after is not None:
                reply = self._respond(operation, name, asked)
            if fault is not None:
                reply = _impaired(fault, reply if fault.cut_after is not None else None)
            self.calls.append((operation, 0 if reply.ending == "drop" else reply.status))
        return reply

    def _respond(self, operation: Operation, name: str, asked: Request) -> Reply:
        try:
            account = asked.checked_key(self.keys, refusal.wrong_key())
            if operation in ("upload", "create", "list"):
                return {"upload": self._upload, "create": self._create, "list": self._list}[operation](asked, account)
            if operation in ("content", "file"):
                content = self._file(name, account)
                about = {"id": name, "object": "file", "bytes": len(content)}
                return Reply(pieces=(content,)) if operation == "content" else json_reply(about)
            batch = self._batch(name, account)
            if operation == "cancel":
                return self._cancel(batch)
            self._advance(batch)
            return json_reply(_shown(batch))
        except Refusal as problem:
            return json_reply(problem.body(), problem.status)

    def _file(self, name: str, account: str) -> bytes:
        owner, content = self._files.get(name, ("", b""))
        if owner != account:
            raise Refusal(404, "NotFound", f"No such File object: {name}", gateway=True)
        return content

    def _batch(self, name: str, account: str) -> _Batch:
        batch = self.created.get(name)
        if batch is None or batch.account != account:
            raise Refusal(404, "BatchNotFound", f"No batch found with id '{name}'.", gateway=True)
        return batch

    def _store(self, content: bytes, account: str, kind: str) -> str:
        name = f"file-{kind}-{uuid.uuid4().hex[:20]}"
        self._files[name] = (account, content)
        return name

    def _upload(self, asked: Request, account: str) -> Reply:
        fields = _form(asked)
        if fields.get("purpose") != b"batch" or "file" not in fields:
            raise refusal.invalid("'purpose' must be one of ['file-extract', 'batch'] and a file must be given.")
        content = fields["file"]
        if len(content) > _MOST_BYTES:
            raise refusal.invalid("The file is larger than 500 MB.")
        name = self._store(content, account, "batch")
        about = {"bytes": len(content), "created_at": int(time.time()), "filename": "input.jsonl"}
        return json_reply({"id": name, "object": "file", "purpose": "batch", "status": "processed", **about})

    def _create(self, asked: Request, account: str) -> Reply:
        body = refusal.json_object(asked.body, refusal.invalid(refusal.NO_OBJECT))
        endpoint, window = body.get("endpoint"), str(body.get("completion_window"))
        self._file(str(body.get("input_file_id")), account)
        if endpoint not in _ENDPOINTS:
            raise refusal.invalid(f"Invalid endpoint: {endpoint}")
        size = _WINDOW.fullmatch(window)
        if size is None or int(size[1]) * (24 if size[2] == "d" else 1) not in _WINDOW_HOURS:
            raise refusal.invalid(f"Invalid completion_window: {window}")
        metadata = body.get("metadata") or {}
        if len(str(metadata.get("ds_name", ""))) > 100:  # noqa: PLR2004 - documented
            raise refusal.invalid("ds_name is longer than 100 characters")
        batch = _Batch(
            id=f"batch_{uuid.uuid4()}", account=account, file_id=body["input_file_id"], endpoint=endpoint,
            window=window, metadata=metadata, created=int(time.time()),
            ends=self._ends.pop(0) if self._ends else "completed",
        )  # fmt: skip
        self.created[batch.id] = batch
        return json_reply(_shown(batch))

    def _list(self, asked: Request, account: str) -> Reply:
        query = dict(parse_qsl(asked.query))
        names = [one.id for one in reversed(self.created.values()) if one.account == account]
        after = query.get("after")
        if after is not None:
            if after not in names:
                raise refusal.invalid(f"Invalid after: {after}")
            names = names[names.index(after) + 1 :]
        most = min(int(query.get("limit", "20")), _MOST_LISTED)
        page = names[:most]
        shown = [_shown(self.created[one]) for one in page]
        ends = {"first_id": page[0] if page else None, "last_id": page[-1] if page else None}
        return json_reply({"object": "list", "data": shown, **ends, "has_more": len(names) > most})

    def _cancel(self, batch: _Batch) -> Reply:
        if batch.status not in ("validating", "in_progress"):
            raise Refusal(409, "InvalidState", f"The batch is {batch.status} and cannot be cancelled.", gateway=True)
        batch.status = "cancelling"
        return json_reply(_shown(batch))

    # --- The states ---

    def _advance(self, batch: _Batch) -> None:
        if batch.status in _ENDED or batch.status == self.held:
            return
        if batch.status == "validating":
            batch.errors = self._validate(batch) or (
                [{"code": "InvalidFile", "message": "The input file cannot be read.", "line": 1}]
                if batch.ends == "failed"
                else []
            )
            batch.status = "failed" if batch.errors else "in_progress"
            self._answer(batch, batch.lines[: len(batch.lines) // 2])
        elif batch.status == "cancelling":
            self._finish(batch, "cancelled")
        elif batch.status == "in_progress" and (batch.ends == "expired" or batch.stuck):
            self._finish(batch, "expired")
        elif batch.status == "in_progress":
            self._answer(batch, batch.lines[len(batch.lines) // 2 :])
            batch.status = "finalizing"
        else:
            self._finish(batch, "completed")

    def _finish(self, batch: _Batch, status: str) -> None:
        batch.status = status
        for kind, lines in (("output", batch.good), ("failures", batch.bad)):
            if lines:  # the order of the input is not kept
                content = b"".join(json.dumps(line, ensure_ascii=False).encode() + b"\n" for line in reversed(lines))
                setattr(batch, kind, self._store(content, batch.account, f"batch_{kind}"))

    def _validate(self, batch: _Batch) -> list[dict[str, Any]]:
        content = self._file(batch.file_id, batch.account)
        rows = content.splitlines() if b"\r" in content else content.split(b"\n")
        rows = rows[:-1] if rows and not rows[-1] else rows
        errors: list[dict[str, Any]] = []
        seen: set[str] = set()
        models: set[str] = set()
        for number, row in enumerate(rows, start=1):
            problem = _problem(row, batch.endpoint, seen, models)
            if problem:
                errors.append({"code": "InvalidFile", "message": problem, "line": number})
            else:
                batch.lines.append(json.loads(row))
        test = _TEST_MODEL in models
        most = _TEST_LINES if test else _MOST_LINES
        if not rows or len(rows) > most or (test and len(content) > _TEST_BYTES):
            errors.append({"code": "InvalidFile", "message": f"The file holds {len(rows)} lines.", "line": None})
        links = (link for line in batch.lines for _, link in _links(line["body"]))
        batch.stuck = any(not link.startswith(("http://", "https://", "data:")) for link in links)
        return errors

    def _answer(self, batch: _Batch, lines: list[dict[str, Any]]) -> None:
        for line in lines:
            kinds = {kind for kind, _ in _links(line["body"])}
            if len(kinds) > 1:
                status, body = 400, refusal.invalid("A line holds media of several types.").body()
            elif batch.endpoint == _TEST_URL:
                status, body = 200, _fixed(line["body"])
            else:
                status, body = self.answer(line["body"], batch.account)
            answered = {"id": str(uuid.uuid4()), "custom_id": line["custom_id"]}
            whole = {"status_code": status, "request_id": answered["id"], "body": body}
            if status == 200:  # noqa: PLR2004 - success
                batch.good.append({**answered, "response": whole, "error": None})
                self.billed.append(line["custom_id"])
            else:
                error = body.get("error", {})
                said = {"code": error.get("code", "InternalError"), "message": error.get("message", "")}
                batch.bad.append({**answered, "response": {**whole, "body": None}, "error": said})


def _route(asked: Request) -> tuple[Operation, str]:
    """Return what a request asks for, and the id in its path."""
    found = _ROUTES.fullmatch(asked.path)
    assert found is not None
    kind, name, action = found.groups(default="")
    if kind == "files":
        return "upload" if asked.method == "POST" else "content" if action else "file", name
    if asked.method == "POST":
        return "cancel" if action else "create", name
    return "retrieve" if name else "list", name


def _impaired(fault: BatchFault, reply: Reply | None) -> Reply:
    if reply is not None and fault.cut_after is not None:
        ending: Literal["complete", "close"] = "complete" if fault.clean else "close"
        return replace(reply, pieces=(reply.pieces[0][: fault.cut_after],), ending=ending)
    if fault.status == 0:
        return Reply(ending="drop")
    problem = Refusal(fault.status, fault.code, fault.message, kind=fault.code, gateway=True)
    return json_reply(problem.body(), fault.status)


def _problem(row: bytes, endpoint: str, seen: set[str], models: set[str]) -> str:
    """Return what is wrong with a line; empty if nothing is."""
    if len(row) > _MOST_LINE:
        return "The line is longer than 1 MB."
    try:
        line = json.loads(row)
        name, body = line["custom_id"], line["body"]
        model = str(body["model"])
    except (ValueError, TypeError, KeyError):
        return "The line is not a request."
    models.add(model)
    checks = {
        f"custom_id {name} is not a text of 1 to 256 characters.": isinstance(name, str)
        and 1 <= len(name) <= _LONGEST_ID,
        f"custom_id {name} is not unique.": name not in seen,
        "The method must be POST.": line.get("method") == "POST",
        f"The url must be {endpoint}.": line.get("url") == endpoint,
        "All lines must have the same model.": len(models) == 1,
        UNSUPPORTED.format(name=model): FILE_MODELS.fullmatch(model) is not None,
        "The test model has a url of its own.": (model == _TEST_MODEL) == (endpoint == _TEST_URL),
    }
    seen.add(str(name))
    return next((problem for problem, good in checks.items() if not good), "")


def _links(body: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield the kind and the address of each media part."""
    for message in body.get("messages") or ():
        content = message.get("content")
        for part in content if isinstance(content, list) else ():
            kind = _MEDIA.get(part.get("type"))
            if kind is None:
                continue
            value = part.get(part["type"])
            for one in value if isinstance(value, list) else [value]:
                held = one if isinstance(one, str) else (one or {}).get("url") or (one or {}).get("data")
                yield kind, str(held)


def _fixed(body: dict[str, Any]) -> dict[str, Any]:
    choice = {
        "index": 0,
        "finish_reason": "stop",
        "message": {"role": "assistant", "content": "This is a test result."},
    }
    usage = {"prompt_tokens": 20, "completion_tokens": 5, "total_tokens": 25}
    made = {"id": f"chatcmpl-{uuid.uuid4()}", "object": "chat.completion", "created": int(time.time())}
    return {**made, "model": body["model"], "choices": [choice], "usage": usage}


def _shown(batch: _Batch) -> dict[str, Any]:
    counts = {"total": len(batch.lines), "completed": len(batch.good), "failed": len(batch.bad)}
    errors = {"object": "list", "data": batch.errors} if batch.errors else None
    return {
        "id": batch.id, "object": "batch", "endpoint": batch.endpoint, "errors": errors,
        "input_file_id": batch.file_id, "completion_window": batch.window, "status": batch.status,
        "output_file_id": batch.output, "error_file_id": batch.failures, "created_at": batch.created,
        "request_counts": counts, "metadata": batch.metadata,
    }  # fmt: skip


def _form(asked: Request) -> dict[str, bytes]:
    """Split a form into its fields."""
    mark = asked.headers.get("content-type", "").partition("boundary=")[2].strip('"')
    fields: dict[str, bytes] = {}
    for part in asked.body.split(b"--" + mark.encode())[1:-1]:
        head, _, content = part.partition(b"\r\n\r\n")
        name = re.search(rb'name="([^"]*)"', head)
        if name is not None:
            fields[name[1].decode()] = content.removesuffix(b"\r\n")
    return fields
