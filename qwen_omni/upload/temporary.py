"""DashScope's temporary store: request a policy, post the file, get an `oss://` link for 48 hours. Flows, no I/O.

The link works only for the same model and account, and only with the resolve header (`wire.request`). Model Studio
offers this store for trials, not for production or load tests. The form is a stream of known length: fields first, the
file last, read from disk as it is sent. `uploader` runs the flows.
"""

import secrets
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode, urlsplit

from qwen_omni.addresses import is_vendor, native_url
from qwen_omni.errors import DeliveryError, MediaDoesNotFitError, StoreUnavailableError
from qwen_omni.media.files.safe_open import read_blocks
from qwen_omni.messages import MediaPayload
from qwen_omni.transport.flow import Content, Flow, Request, ask
from qwen_omni.transport.rate_limit import Pace, in_turn
from qwen_omni.upload.oss import Refused, parse_xml
from qwen_omni.wire.errors import parse_retry_after, to_error
from qwen_omni.wire.values import MalformedValueError, as_name, as_number, as_object, decode_json

_BLOCK = 262_144


class FormBody:
    """The body of one form. It can be read again, as often as its file can."""

    def __init__(
        self, fields: Mapping[str, str], file: Content, file_name: str, content_type: str = "application/octet-stream"
    ) -> None:
        mark = secrets.token_hex(16)
        parts = [_form_field(mark, name, value) for name, value in fields.items()]
        parts.append(
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
            f"Content-Type: {content_type}\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{mark}--\r\n".encode()
        self._file = file
        self.content_type = f"multipart/form-data; boundary={mark}"

    @property
    def length(self) -> int:
        """The form's length in bytes."""
        return len(self._head) + self._file.length + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        yield from self._file
        yield self._tail


class _MediaFile:
    """Media as the file of a form; never complete if the file changed meanwhile."""

    def __init__(self, ready: MediaPayload, sent: Callable[[int], None]) -> None:
        self._ready, self._sent = ready, sent

    @property
    def length(self) -> int:
        return self._ready.size_bytes

    def __iter__(self) -> Iterator[bytes]:
        done = 0
        for block in read_blocks(self._ready, _BLOCK):
            yield block
            done += len(block)
            self._sent(done)


def _form_field(mark: str, name: str, value: str) -> str:
    return f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'


# Model Studio, "Temporary file URL", read 2026-05-30.
LIFETIME_SECONDS = 48 * 3600
_OK = (200, 201, 204)
_NO_SUCH_ROUTE = (404, 405)
_REDIRECTS = range(300, 400)
_POLICY_SECONDS = 300.0
_PLAIN = {  # the policy's name → the form's name, in the vendor's order
    "oss_access_key_id": "OSSAccessKeyId",
    "signature": "Signature",
    "policy": "policy",
    "x_oss_object_acl": "x-oss-object-acl",
    "x_oss_forbid_overwrite": "x-oss-forbid-overwrite",
}
_MARGIN = 30  # seconds; a policy this close to its expiry is no longer used


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """Permission to post files for a limited time."""

    host: str
    folder: str
    fields: Mapping[str, str] = field(repr=False)
    until: float
    limit_bytes: int | None


class PolicyExpiredError(DeliveryError):
    """The store reports that the policy has expired; a new one helps."""


def ask_policy(base_url: str, model: str, pace: Pace | None, now: Callable[[], float]) -> Flow[Policy]:
    """Request permission to upload for a model.

    Raises:
        APIError: the service refused.
        DeliveryError: a gateway that does not forward this route.
        StoreUnavailableError: the answer is not a policy.
    """
    yield from in_turn(pace)
    query = urlencode({"action": "getPolicy", "model": model})
    asked = now()
    request = Request(
        method="GET",
        url=native_url(base_url, f"/uploads?{query}"),
        headers={"Content-Type": "application/json", "Accept": "application/json"},
        with_key=True,
    )
    reply = yield from ask(request)
    if reply.status in _NO_SUCH_ROUTE and not is_vendor(base_url):
        raise DeliveryError(
            f"{base_url} has no temporary store: it answered {reply.status} to {native_url(base_url, '/uploads')}. A "
            "gateway must forward that route to DashScope. Use a bucket of your own (oss=OssSettings(...)), or make "
            "the file small enough to go inside the request (delivery='inline')."
        )
    if reply.status not in _OK:
        raise to_error(reply.status, reply.body, reply.headers, url=reply.url)
    return parse_policy(reply.body, asked)


def parse_policy(body: bytes, asked: float) -> Policy:
    """Read a policy; numbers may be sent as numbers or as strings, and are returned unchanged.

    Raises:
        StoreUnavailableError: it is not a policy.
    """
    try:
        data = as_object(as_object(decode_json(body), "the answer").get("data"), "data")
        host, limit = _field(data, "upload_host"), as_number(data.get("max_file_size_mb"))
        if urlsplit(host).scheme not in ("http", "https"):
            raise MalformedValueError("upload_host is not an address")
        return Policy(
            host=host,
            folder=_field(data, "upload_dir").rstrip("/"),
            fields={theirs: _field(data, ours) for ours, theirs in _PLAIN.items()},
            until=asked + (as_number(data.get("expire_in_seconds")) or _POLICY_SECONDS),
            limit_bytes=None if limit is None else int(limit * 2**20),
        )
    except ValueError as error:
        raise StoreUnavailableError(
            f"The service's upload policy cannot be read ({type(error).__name__}: {error}). Try again, or use a "
            "bucket of your own (oss=OssSettings(...))."
        ) from None


def _field(data: Mapping[str, Any], name: str) -> str:
    value = data.get(name)
    text = ("true" if value else "false") if isinstance(value, bool) else as_name(value)
    if text is None:
        raise MalformedValueError(f"{name} is missing")
    return text


def is_usable(policy: Policy | None, now: float) -> bool:
    """Whether there is a policy that stays valid long enough to start an upload."""
    return policy is not None and now < policy.until - _MARGIN


def post_file(policy: Policy, ready: MediaPayload, *, label: str, sent: Callable[[int], None]) -> Flow[str]:
    """Post media under a random name that cannot be guessed; return the `oss://` link.

    Args:
        policy: permission to upload.
        ready: the media.
        label: names the media in errors.
        sent: called with the number of bytes sent so far.

    Raises:
        MediaDoesNotFitError: larger than the store accepts.
        PolicyExpiredError: a new policy is needed.
        DeliveryError: the store refused.
    """
    if policy.limit_bytes is not None and ready.size_bytes > policy.limit_bytes:
        raise MediaDoesNotFitError(
            f"{label} is {ready.size_bytes / 2**20:,.1f} MiB; the service's temporary store takes "
            f"{policy.limit_bytes / 2**20:,.0f} MiB. Use your own bucket (oss=OssSettings(...)) or make it smaller.",
            limit=policy.limit_bytes,
            actual=ready.size_bytes,
        )
    form, key = _form(policy, ready, sent)
    reply = yield from ask(
        Request(method="POST", url=policy.host, headers={"Content-Type": form.content_type}, content=form)
    )
    if reply.status in _REDIRECTS:
        raise DeliveryError(str(to_error(reply.status, b"", reply.headers, url=reply.url)))
    if reply.status not in _OK:
        error = _not_posted(parse_xml(reply.status, reply.body), label)
        error.retry_after = parse_retry_after(reply.headers.get("retry-after"), reply.headers.get("date"))
        raise error
    return f"oss://{key}"


def _form(policy: Policy, ready: MediaPayload, sent: Callable[[int], None]) -> tuple[FormBody, str]:
    """Write the form, apart from `post_file`, so that no traceback shows the signature among its locals."""
    name = f"{secrets.token_hex(16)}.{ready.format or 'bin'}"
    key = f"{policy.folder}/{name}"
    fields = {**policy.fields, "key": key, "success_action_status": "200"}
    if ready.content_type:
        fields["x-oss-content-type"] = ready.content_type
    kind = ready.content_type or "application/octet-stream"
    return FormBody(fields, _MediaFile(ready, sent), name, kind), key


def _not_posted(refused: Refused, label: str) -> DeliveryError:
    text = (
        f"Could not upload {label} to the service's temporary store: it answered {refused.status} {refused.code}: "
        f"{refused.message}."
    )
    if "policy expired" in refused.message.lower():
        return PolicyExpiredError(f"{text} The upload outlasted the policy, or this machine's clock is wrong.")
    if refused.passes:
        return StoreUnavailableError(f"{text} Try again later, or use a bucket of your own (oss=OssSettings(...)).")
    return DeliveryError(f"{text} A bucket of your own does not need it (oss=OssSettings(...)).")
