"""The entry point to the stand-in's stores: routing, faults on demand, a log, and an adjustable clock.

`oss` and `temporary` do the work. Everything is on loopback and in a folder that is deleted with the stand-in.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import parse_qsl, unquote

from qwen_omni.standin.rules.limits import TASK_MODELS, find_model
from qwen_omni.standin.server.exchange import JSON_TYPE, Request, with_request_id
from qwen_omni.standin.server.spool import Spool
from qwen_omni.standin.stores import temporary
from qwen_omni.standin.stores.objects import Objects, Stored
from qwen_omni.standin.stores.oss import StoreCall, StoreReply, operation_of, refuse, respond_oss
from qwen_omni.standin.stores.signing import OssKey, OssRefusal, check_signature

if TYPE_CHECKING:
    from collections.abc import Mapping

POLICY_PATH = "/api/v1/uploads"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedStoreCall:
    """One request to a store and how it ended; `status` 0 means that the connection was cut."""

    operation: str
    bucket: str
    key: str
    size_bytes: int
    status: int
    code: str = ""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class StoreFault:
    """A fault at a store.

    The connection ends after `cut_after` bytes of the body; `unanswered`: the work is done, but the connection ends
    instead of an answer.
    """

    operation: str | None
    status: int = 503
    code: str = "ServiceUnavailable"
    message: str = "Please reduce your request rate."
    cut_after: int | None = None
    unanswered: bool = False
    times: int = 1


class Stores:
    """An OSS endpoint with private buckets, and the temporary store."""

    def __init__(self, buckets: tuple[str, ...], oss_keys: Mapping[str, OssKey], region: str) -> None:
        self.region = region
        self.oss_keys = dict(oss_keys)
        self.calls: list[LoggedStoreCall] = []
        self.clock_offset = 0.0
        self.policy_seconds = 300.0
        self.policy_limit_mb = 1024
        self._buckets = {*buckets, temporary.BUCKET}
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._objects: Objects | None = None
        self._making = threading.Lock()
        self._faults: list[StoreFault] = []
        self._lock = threading.Lock()

    @property
    def objects(self) -> Objects:
        """The content of the stores; their folder is created on first access."""
        with self._making:
            if self._objects is None:
                self._folder = tempfile.TemporaryDirectory(prefix="standin-", ignore_cleanup_errors=True)
                self._objects = Objects(Path(self._folder.name))
            return self._objects

    def now(self) -> float:
        """Return the time of the stores' clock, in seconds since 1970."""
        return time.time() + self.clock_offset

    def fail(self, operation: str | None = None, **fault: object) -> None:
        """Make requests fail; the fields are those of `StoreFault`."""
        with self._lock:
            self._faults.append(StoreFault(operation=operation, **fault))  # type: ignore[arg-type]

    def owns(self, path: str) -> bool:
        """Whether a path belongs to a store."""
        return path == POLICY_PATH or unquote(path).strip("/").partition("/")[0] in self._buckets

    def operation(self, asked: Request) -> str:
        """Return the name of the operation that a request asks for."""
        if asked.path == POLICY_PATH:
            return "get_policy"
        bucket, key = _split(asked.path)
        if bucket == temporary.BUCKET:
            return "post_form" if asked.method == "POST" and not key else "unknown"
        return operation_of(asked.method, key, _fields(asked.query))

    def next_fault(self, operation: str) -> StoreFault | None:
        """Take the next fault for this request."""
        with self._lock:
            for fault in self._faults:
                if fault.times > 0 and fault.operation in (None, operation):
                    fault.times -= 1
                    return fault
        return None

    def spool(self) -> Spool:
        """Return a new file for a body."""
        return Spool(self.objects.folder)

    def cut(self, asked: Request, operation: str, body: Spool) -> None:
        """Log a request whose connection was cut."""
        body.drop()
        self._log(asked, operation, body.size_bytes, StoreReply(status=0), "")

    def respond(
        self, asked: Request, operation: str, body: Spool, fault: StoreFault | None, chat_keys: tuple[str, ...]
    ) -> StoreReply:
        """Answer one request, whose body is complete."""
        request_id, code = uuid.uuid4().hex.upper(), ""
        try:
            if fault is not None:
                reply = _faulty(fault, operation, request_id)
            elif operation == "get_policy":
                reply = self._policy(asked, chat_keys)
            else:
                reply = self._carry_out(asked, operation, body)
        except OssRefusal as error:
            reply, code = refuse(error, request_id), error.code
        self._log(asked, operation, body.size_bytes, reply, code or (fault.code if fault else ""))
        date = formatdate(self.now(), usegmt=True)
        reply = replace(reply, headers={"x-oss-request-id": request_id, "date": date, **reply.headers})
        return replace(reply, body=b"", files=()) if asked.method == "HEAD" else reply

    def find(self, url: str, model: str, account: str) -> Stored | None:
        """Return the object behind an `oss://` address of the temporary store; `account` is the chat key."""
        return temporary.find(self.objects, url, model, _hidden(account), self.now())

    def close(self) -> None:
        """Delete everything."""
        if self._folder is not None:
            self._folder.cleanup()

    def _carry_out(self, asked: Request, operation: str, body: Spool) -> StoreReply:
        bucket, key = _split(asked.path)
        call = StoreCall(
            operation=operation, method=asked.method, bucket=bucket, key=key, query=_fields(asked.query),
            headers=asked.headers, body=body,
        )  # fmt: skip
        if operation == "post_form":
            return temporary.take_form(call, self.objects, self.now())
        check_signature(call, self.oss_keys, self.region, self.now())
        return respond_oss(call, self.objects, self.now())

    def _policy(self, asked: Request, chat_keys: tuple[str, ...]) -> StoreReply:
        query = _fields(asked.query)
        if not asked.has_key_of(chat_keys):
            return _json(401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."})
        model = query.get("model", "")
        if query.get("action") != "getPolicy" or (find_model(model) is None and model not in TASK_MODELS):
            return _json(400, {"code": "InvalidParameter", "message": f"Model not exist: {query.get('model')}."})
        data = temporary.make_policy(
            query["model"], _hidden(asked.key), asked.host, now=self.now(), lifetime=self.policy_seconds,
            limit_mb=self.policy_limit_mb,
        )  # fmt: skip
        return _json(200, {"data": data})

    def _log(self, asked: Request, operation: str, size: int, reply: StoreReply, code: str) -> None:
        bucket, key = _split(asked.path)
        kept = {name: value for name, value in asked.headers.items() if name.startswith(("content-", "x-oss-object"))}
        call = LoggedStoreCall(
            operation=operation, bucket=bucket, key=key, size_bytes=size, status=reply.status, code=code, headers=kept
        )
        with self._lock:
            self.calls.append(call)


def _faulty(fault: StoreFault, operation: str, request_id: str) -> StoreReply:
    if operation == "get_policy":
        return _json(fault.status, {"code": fault.code, "message": fault.message})
    return refuse(OssRefusal(fault.status, fault.code, fault.message), request_id)


def _json(status: int, value: dict[str, object]) -> StoreReply:
    body = json.dumps(with_request_id(value)).encode()
    return StoreReply(status=status, headers={"content-type": JSON_TYPE}, body=body)


def _hidden(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()


def _split(path: str) -> tuple[str, str]:
    bucket, _, key = unquote(path).lstrip("/").partition("/")
    return bucket, key


def _fields(query: str) -> dict[str, str]:
    return dict(parse_qsl(query, keep_blank_values=True))
