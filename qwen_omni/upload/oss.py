"""The caller's own bucket on Alibaba Cloud OSS: upload, signed link, deletion. The only module that imports `oss2`.

Objects are private and named by the digest of their content. A large file is uploaded in parts, several at a time;
parts that arrived are found by asking the bucket, so an interrupted upload resumes. Errors of `oss2` hold signed
headers, so they are replaced by this package's errors and dropped.

The CRC-64 of an object is combined from those of its parts and compared with the bucket's. `oss2` can do that too, but
rebuilds the same matrices for every part, 8 ms each.
"""

import contextlib
import functools
import itertools
import logging
import math
import re
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import FunctionType
from typing import IO, Any, Self, TypeVar, cast
from urllib.parse import urlsplit

from qwen_omni.errors import (
    ConfigurationError,
    DeliveryError,
    QwenOmniError,
    StoreUnavailableError,
    UnreadableMediaError,
)
from qwen_omni.media.files.safe_open import changed, is_unchanged, opened
from qwen_omni.messages import MediaPayload
from qwen_omni.settings import KEY_ID_VARIABLE, OssSettings, with_scheme
from qwen_omni.transport.proxies import network_fault, proxy_for
from qwen_omni.transport.retry import Attempts, RetryPolicy
from qwen_omni.wire.errors import parse_retry_after

_POLYNOMIAL = 0xC96C5795D7870F42  # ECMA-182, reflected
_BITS = 64


def combined(parts: Iterable[tuple[int, int]]) -> int:
    """Return the checksum of parts in their order, each given as its checksum and its length in bytes.

    Appending zeros is a linear map on the checksum; equal lengths share one map.
    """
    whole = 0
    for crc, length in parts:
        whole = _times(_zeros(length), whole) ^ crc
    return whole


@functools.lru_cache(maxsize=8)
def _zeros(length: int) -> tuple[int, ...]:
    """Return the map of `length` zero bytes, by repeated squaring."""
    step = (_POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    result = tuple(1 << bit for bit in range(_BITS))
    left = 8 * length
    while left:
        if left & 1:
            result = tuple(_times(step, column) for column in result)
        step = tuple(_times(step, column) for column in step)
        left >>= 1
    return result


def _times(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    while vector:
        low = vector & -vector
        total ^= matrix[low.bit_length() - 1]
        vector ^= low
    return total


_CODE = re.compile(rb"<Code>([\w.]{1,80})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,400})</Message>")
_REPEATED = (408, 409, 425, 429)
_SERVER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """An endpoint's refusal, without the parts that hold keys and signatures.

    Attributes:
        status: the HTTP status; below 100 if there was no answer.
        code: the endpoint's error code, or the kind of failure.
        date: the endpoint's clock, as in its `Date` header.
    """

    status: int
    code: str
    message: str
    request_id: str = ""
    date: str | None = None

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed if it is sent again."""
        if self.status in _REPEATED:
            return self.code != "FileAlreadyExists"  # a permanent 409
        return self.status < 100 or self.status >= _SERVER  # noqa: PLR2004


# OSS, "Error responses", read 2026-05.
_STEPS = {
    "InvalidAccessKeyId": "The access key ID is unknown: check the credentials ({variable}).",
    "SignatureDoesNotMatch": "The access key secret is wrong, or a proxy changed the request.",
    "AccessDenied": "The key needs oss:PutObject, oss:GetObject, oss:ListParts and oss:AbortMultipartUpload on "
    "{bucket}/{objects}, and oss:DeleteObject for delete_after_use and for `qwen-omni doctor`, which writes, reads and "
    "deletes one small object.",
    "SecurityTokenExpired": "The temporary key has expired; pass credentials= a function that fetches a new one.",
    "InvalidSecurityToken": "The token does not belong to the key; fetch key and token together.",
    "NoSuchBucket": "There is no bucket {bucket} at {endpoint}: check both names.",
    "InvalidBucketName": "Check the bucket's name.",
    "InconsistentError": "The bytes changed in transit, and all retries are used up.",
}


def to_delivery_error(refused: Refused, what: str, settings: OssSettings, now: float) -> DeliveryError:
    """Return the error: what failed, the numbers, and what to do.

    Args:
        refused: what the endpoint answered.
        what: the action that failed.
        settings: has the bucket's name.
        now: this machine's clock, in seconds since 1970.
    """
    place = f"the bucket {settings.bucket!r} at {with_scheme(settings.endpoint)}"
    said = f"{refused.status} {refused.code}" if refused.status >= 100 else refused.code  # noqa: PLR2004
    text = f"Could not {what}: {place} said {said}: {refused.message.strip()[:300]}"
    identity = f" (request id {refused.request_id})" if refused.request_id else ""
    if refused.passes or refused.code == "InconsistentError":
        step = _step(refused, settings) or "Check the network and the endpoint, or try again later."
        return StoreUnavailableError(f"{text}{identity}. {step}")
    return DeliveryError(f"{text}{identity}. {_skew(refused, now) or _step(refused, settings)}".rstrip())


def parse_xml(status: int, body: bytes, date: str | None = None) -> Refused:
    """Read an error response of an OSS endpoint, which is XML whatever was requested."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    return Refused(
        status=status,
        code=code[1].decode() if code else "an error",
        message=message[1].decode("utf-8", "replace") if message else "no message",
        date=date,
    )


def _step(refused: Refused, settings: OssSettings) -> str:
    step = _STEPS.get(refused.code, "")
    return step.format(
        variable=KEY_ID_VARIABLE,
        bucket=settings.bucket,
        objects=settings.object_name("*"),
        endpoint=settings.endpoint,
    )


def _skew(refused: Refused, now: float) -> str:
    if refused.code != "RequestTimeTooSkewed" or refused.date is None:
        return ""
    try:
        minutes = (now - parsedate_to_datetime(refused.date).timestamp()) / 60
    except (ValueError, TypeError, OverflowError):
        return "This machine's clock and the store's differ; set it (NTP) and try again."
    return f"This machine's clock is {minutes:+.0f} min off the store's; set it (NTP) and try again."


T = TypeVar("T")
_PART = 4 * 2**20
_MOST_PARTS = 10_000  # OSS, "Limits of multipart upload", read 2026-05
_WHOLE = 2 * _PART  # files up to this size are uploaded in one request
_LISTED = 1_000  # objects or parts in one answer; OSS, "ListObjectsV2" and "ListParts", read 2026-05
_WORKERS = 2
_TALKATIVE = ("oss2.api", "oss2.auth", "oss2.http", "oss2.resumable", "oss2.utils", "oss2.exceptions")


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadJob:
    """One upload: its object, and its callbacks.

    Attributes:
        object_name: the object to create.
        label: names the media in errors.
        sent: called with the number of bytes uploaded so far.
        resume: identifies an interrupted upload to resume; `None` starts a new one.
        begun: called with the value for `resume`.
        resumable: on failure, uploaded parts stay in the bucket, to resume the upload; else they are deleted.
    """

    object_name: str
    label: str
    sent: Callable[[int], None]
    resume: str | None = None
    begun: Callable[[str], None]
    resumable: bool = True


class OssStore:
    """A bucket. Safe to share between threads."""

    def __init__(self, settings: OssSettings, *, retry: RetryPolicy, timeout: float) -> None:
        self.settings = settings
        self._retry = retry
        self.uploads = _bucket(settings, settings.upload_endpoint or settings.endpoint, timeout)
        self._links = _bucket(settings, settings.endpoint, timeout)

    def put(self, ready: MediaPayload, job: UploadJob) -> None:
        """Upload media. If the file changes meanwhile, the upload is not completed: no partial object is ever visible.

        Raises:
            UnreadableMediaError: the file is gone, or changed since it was inspected.
            DeliveryError: the bucket refused, or could not be reached.
        """
        with opened(ready) as file:
            if ready.size_bytes <= _WHOLE:
                self._put_whole(file, ready, job)
            else:
                _Multipart(self, file, ready, job).run()

    def sign(self, object_name: str) -> tuple[str, float]:
        """Return a signed link to an object and when it expires; sends nothing."""
        key = self.settings.current_credentials()
        now = time.time()
        until = now + self.settings.link_seconds
        if key.expires_at is not None:
            until = min(until, key.expires_at)
        seconds = max(1, int(until - now))
        return self.tried(
            "sign a link", lambda: self._links.sign_url("GET", object_name, seconds, slash_safe=True)
        ), until

    def delete(self, object_name: str) -> None:
        """Delete an object."""
        self.tried("delete an object", lambda: self.uploads.delete_object(object_name))

    def is_private(self) -> bool:
        """Ask whether the bucket is private."""
        return bool(self.tried("read the bucket's ACL", self.uploads.get_bucket_acl).acl == "private")

    def write(self, object_name: str, data: bytes) -> None:
        """Write a small object."""
        headers = {"Content-Type": "text/plain", "x-oss-object-acl": "private"}
        self.tried("write an object", lambda: self.uploads.put_object(object_name, data, headers=headers))

    def read(self, object_name: str) -> bytes:
        """Read a small object."""
        return bytes(self.tried("read an object", lambda: self.uploads.get_object(object_name).read()))

    def objects(self, prefix: str) -> Iterator[tuple[str, str, int]]:
        """Yield name, entity tag and size of the objects whose names begin with a prefix, in pages.

        Raises:
            DeliveryError: the bucket refused, or could not be reached.
        """
        after = ""
        while True:
            listing = functools.partial(
                self.uploads.list_objects_v2, prefix, continuation_token=after, max_keys=_LISTED
            )
            page = self.tried("list objects", listing)
            for one in page.object_list:
                yield str(one.key), str(one.etag), int(one.size)
            if not page.is_truncated:
                return
            after = page.next_continuation_token

    def blocks(self, object_name: str) -> Iterator[bytes]:
        """Yield the content of an object; it is requested again where the connection breaks.

        Raises:
            DeliveryError: the bucket refused, or could not be reached.
        """
        size = int(self.tried("read an object", lambda: self.uploads.head_object(object_name)).content_length)
        for start in range(0, size, _PART):
            last = min(start + _PART, size) - 1
            yield self.tried("read an object", functools.partial(self._part, object_name, start, last))

    def _part(self, object_name: str, start: int, last: int) -> bytes:
        return bytes(self.uploads.get_object(object_name, byte_range=(start, last)).read())

    def tried(self, what: str, action: Callable[[], T]) -> T:
        """Run an action on the bucket; retry it if that may help, and raise this package's errors.

        Raises:
            DeliveryError: it failed permanently.
        """
        attempts = Attempts(self._retry)
        while True:
            failure: QwenOmniError
            try:
                with _unlogged():
                    return action()
            except _errors() as error:
                endpoint = with_scheme(self.settings.endpoint)
                failure = network_fault(error, endpoint) or to_delivery_error(
                    _refused(error), what, self.settings, time.time()
                )
                headers = getattr(error, "headers", None) or {}
                failure.retry_after = parse_retry_after(headers.get("Retry-After"), headers.get("Date"))
            wait = attempts.failed(failure)  # outside the handler: the original error holds signed headers
            time.sleep(wait)

    def _put_whole(self, file: IO[bytes], ready: MediaPayload, job: UploadJob) -> None:
        data = file.read(ready.size_bytes + 1)
        if len(data) != ready.size_bytes or not is_unchanged(file, ready):
            raise changed(ready)

        def put() -> None:
            done = self.uploads.put_object(job.object_name, data, headers=_headers(ready))
            if self.settings.check_crc:
                _compare(_crc(data), done.crc)

        self.tried(f"upload {job.label}", put)
        job.sent(len(data))


class _Multipart:
    """One upload in parts."""

    def __init__(self, store: OssStore, file: IO[bytes], ready: MediaPayload, job: UploadJob) -> None:
        self._bucket, self._tried, self._check_crc = store.uploads, store.tried, store.settings.check_crc
        self._file, self._ready, self._job = file, ready, job
        self._reading = threading.Lock()
        self._part = max(_PART, math.ceil(ready.size_bytes / _MOST_PARTS / 2**20) * 2**20)
        self._count = math.ceil(ready.size_bytes / self._part)
        self._joining = False

    def run(self) -> None:
        upload, parts = self._begun()
        try:
            self._fill(upload, parts)
            self._complete(upload, [parts[number] for number in sorted(parts)])
        except BaseException as error:
            if not self._job.resumable or isinstance(error, UnreadableMediaError):
                self._give_up(upload)
            raise

    def _fill(self, upload: str, parts: dict[int, Any]) -> None:
        """Send the missing parts, and check that the file is unchanged."""
        missing = [number for number in range(1, self._count + 1) if number not in parts]
        self._job.sent(sum(part.size for part in parts.values()))
        with ThreadPoolExecutor(_WORKERS, thread_name_prefix="qwen-omni-upload") as pool:
            pending = [pool.submit(self._send, upload, number) for number in missing]
            try:
                for done in as_completed(pending):
                    part = done.result()
                    parts[part.part_number] = part
                    self._job.sent(sum(part.size for part in parts.values()))
            except BaseException:
                pool.shutdown(wait=True, cancel_futures=True)
                raise
        if not is_unchanged(self._file, self._ready):
            raise changed(self._ready)

    def _give_up(self, upload: str) -> None:
        """Leave no part in the bucket. The first failure is reported, not a failure of this cleanup."""
        with contextlib.suppress(QwenOmniError):
            self._tried("abort an upload", lambda: self._bucket.abort_multipart_upload(self._name, upload))
        if self._joining and not self._job.resumable:  # the object may exist although no response said so
            with contextlib.suppress(QwenOmniError):
                self._tried("delete an object", lambda: self._bucket.delete_object(self._name))

    @property
    def _name(self) -> str:
        return self._job.object_name

    def _begun(self) -> tuple[str, dict[int, Any]]:
        """Find the parts uploaded before, or start over."""
        if self._job.resume:
            with contextlib.suppress(QwenOmniError):  # expired or cleaned up: start over
                return self._job.resume, self._arrived(self._job.resume)
        upload = self._tried(
            f"begin to upload {self._job.label}",
            lambda: self._bucket.init_multipart_upload(self._name, headers=_headers(self._ready)).upload_id,
        )
        self._job.begun(upload)
        return upload, {}

    def _arrived(self, upload: str) -> dict[int, Any]:
        parts: dict[int, Any] = {}
        marker = ""
        while True:
            listing = functools.partial(self._bucket.list_parts, self._name, upload, marker=marker, max_parts=_LISTED)
            page = self._tried("list parts", listing)
            parts |= {part.part_number: part for part in page.parts if part.size == self._size(part.part_number)}
            if not page.is_truncated:
                return parts
            marker = page.next_marker

    def _size(self, number: int) -> int:
        return min(self._part, self._ready.size_bytes - (number - 1) * self._part)

    def _send(self, upload: str, number: int) -> Any:  # noqa: ANN401  (oss2's PartInfo)
        with self._reading:
            self._file.seek((number - 1) * self._part)
            data = self._file.read(self._size(number))
        if len(data) != self._size(number):
            raise changed(self._ready)
        crc = _crc(data) if self._check_crc else None
        etag = self._tried(f"upload {self._job.label}", lambda: self._put_part(upload, number, data, crc))
        from oss2.models import PartInfo  # noqa: PLC0415

        return PartInfo(number, etag, size=len(data), part_crc=crc)

    def _put_part(self, upload: str, number: int, data: bytes, crc: int | None) -> str:
        done = self._bucket.upload_part(self._name, upload, number, data)
        if crc is not None:
            _compare(crc, done.crc)
        return str(done.etag)

    def _complete(self, upload: str, parts: list[Any]) -> None:
        """Complete the object from its parts. The parts are gone then, so a wrong checksum is final."""
        self._joining = True
        tries = itertools.count()
        theirs = self._tried(f"complete {self._job.label}", lambda: self._joined(upload, parts, again=next(tries) > 0))
        if theirs is None or not self._check_crc or any(part.part_crc is None for part in parts):
            return
        ours = combined((int(part.part_crc), part.size) for part in parts)
        if ours != theirs:
            raise StoreUnavailableError(
                f"Could not complete {self._job.label}: the checksum is {ours} here and {theirs} in the bucket. "
                "The bytes changed in transit; try again."
            )

    def _joined(self, upload: str, parts: list[Any], *, again: bool) -> int | None:
        """Return the object's checksum, if the bucket sends it. A retry may find that the object already exists."""
        from oss2.exceptions import NoSuchUpload, NotFound  # noqa: PLC0415

        try:
            return cast("int | None", self._bucket.complete_multipart_upload(self._name, upload, parts).crc)
        except NoSuchUpload:
            with contextlib.suppress(NotFound):
                made = self._bucket.head_object(self._name) if again else None
                if made is not None and made.content_length == self._ready.size_bytes:
                    return cast("int | None", made.server_crc)
            raise


def _bucket(settings: OssSettings, endpoint: str, timeout: float) -> Any:  # noqa: ANN401  (oss2 has no types)
    try:
        import oss2  # noqa: PLC0415  (an extra; loads on first use)
    except ImportError:
        raise ConfigurationError("A bucket needs an extra package: pip install 'qwen-omni[oss]'") from None
    _hush()
    session = _session(with_scheme(endpoint))
    auth = (_signer_v4() if settings.signature == "v4" else oss2.ProviderAuth)(_Provider(settings))
    # Checksums are compared here, part by part: oss2 would compute them in pieces of 8 kB, at three times the CPU.
    try:
        with _unlogged():
            return oss2.Bucket(
                auth,
                with_scheme(endpoint),
                settings.bucket,
                session=session,
                region=settings.region_name,
                connect_timeout=timeout,
                enable_crc=False,
                app_name="qwen-omni",
            )
    except oss2.exceptions.ClientError as error:
        raise ConfigurationError(
            f"No bucket is named {settings.bucket!r} at {endpoint!r} ({error.body}). Check bucket= and endpoint= of "
            "OssSettings."
        ) from None


class _Clock(datetime):
    """The `datetime` that oss2 signs with: `utcnow` without the deprecation warning of Python 3.12 and later."""

    @classmethod
    def utcnow(cls) -> Self:
        return cls.now(UTC).replace(tzinfo=None)


@functools.cache
def _signer_v4() -> type[Any]:
    """Return oss2's V4 signer with `_Clock` as its clock.

    oss2 accepts no clock, and where warnings are errors nothing could be signed. Neither the program's
    warning filters nor the module `oss2.auth` are changed: only this class's copies of two methods use the clock.
    """
    from oss2 import auth  # noqa: PLC0415

    seen = {**vars(auth), "datetime": _Clock}
    methods = (auth.ProviderAuthV4._sign_request, auth.ProviderAuthV4._sign_url)  # noqa: SLF001
    copies = {one.__name__: FunctionType(one.__code__, seen, one.__name__, one.__defaults__) for one in methods}
    return type("SignerV4", (auth.ProviderAuthV4,), copies)


def _session(endpoint: str) -> Any:  # noqa: ANN401  (oss2's Session)
    """Open the session of a bucket: through the proxy configured for its address, and to no other host."""
    import requests  # noqa: PLC0415  (comes with oss2)
    from oss2.http import Session  # noqa: PLC0415

    class Plain(requests.Session):
        """Follows no redirect: the signed headers and the media are for this host only."""

        def get_redirect_target(self, _: Any) -> None:  # noqa: ANN401
            return None

        def merge_environment_settings(self, *arguments: Any) -> Any:  # noqa: ANN401
            merged = super().merge_environment_settings(*arguments)  # certificates of the environment, for one
            return {**merged, "proxies": proxies}  # requests would send loopback traffic through a proxy

    proxy = proxy_for(endpoint, socks_package="socks")
    proxies = {} if proxy is None else {"http": proxy.url, "https": proxy.url}
    session = Session()
    adapters, session.session = session.session.adapters, Plain()
    session.session.adapters = adapters
    return session


class _Provider:
    """Passes the current key to oss2 before every request."""

    def __init__(self, settings: OssSettings) -> None:
        self._settings = settings

    def get_credentials(self) -> Any:  # noqa: ANN401  (oss2's Credentials)
        from oss2.credentials import Credentials  # noqa: PLC0415

        key = self._settings.current_credentials()
        token = "" if key.security_token is None else key.security_token.get_secret_value()
        return Credentials(key.access_key_id.get_secret_value(), key.access_key_secret.get_secret_value(), token)


def _hush() -> None:
    """Stop oss2 from logging our signed requests: at DEBUG it writes keys and tokens. Other logging is unaffected."""
    for name in _TALKATIVE:
        logger = logging.getLogger(name)
        if _is_quiet not in logger.filters:
            logger.addFilter(_is_quiet)


_ours = threading.local()


@contextlib.contextmanager
def _unlogged() -> Iterator[None]:
    """Mark what this thread does with oss2 as ours."""
    _ours.depth = getattr(_ours, "depth", 0) + 1
    try:
        yield
    finally:
        _ours.depth -= 1


def _is_quiet(record: logging.LogRecord) -> bool:
    return record.levelno > logging.DEBUG or not getattr(_ours, "depth", 0)


def _headers(ready: MediaPayload) -> dict[str, str]:
    return {"Content-Type": ready.content_type or "application/octet-stream", "x-oss-object-acl": "private"}


def _crc(data: bytes) -> int:
    from oss2.utils import Crc64  # noqa: PLC0415

    crc = Crc64()
    crc.update(data)
    return int(crc.crc)


def _compare(ours: int, theirs: int | None) -> None:
    from oss2.exceptions import InconsistentError  # noqa: PLC0415

    if theirs is not None and ours != theirs:
        raise InconsistentError(f"the checksum is {ours} here and {theirs} there", "")


def _errors() -> tuple[type[Exception], ...]:
    import requests  # noqa: PLC0415  (comes with oss2)
    from oss2.exceptions import OssError  # noqa: PLC0415

    return (OssError, requests.RequestException, OSError)


def _refused(error: Exception) -> Refused:
    """Copy the parts of an oss2 error that may be shown."""
    headers = getattr(error, "headers", None) or {}
    status, target = int(getattr(error, "status", 0) or 0), headers.get("Location")
    if target and 300 <= status < 400:  # noqa: PLR2004  (redirects)
        message = f"it redirects to {urlsplit(target).netloc or target[:80]}; redirects are not followed"
        return Refused(status=status, code="Redirect", message=message)
    return Refused(
        status=status,
        code=str(getattr(error, "code", "") or type(error).__name__),
        message=str(getattr(error, "message", "") or getattr(error, "body", "") or error),
        request_id=str(getattr(error, "request_id", "") or ""),
        date=headers.get("Date") or headers.get("date"),
    )
