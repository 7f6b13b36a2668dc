"""Every error that this package raises deliberately.

```
QwenOmniError
├─ ConfigurationError                a missing key, an invalid combination of options
│   └─ UnknownOptionError            an option that does not exist, or not in this place; also a TypeError
├─ UnsupportedContentError           a message holds something that cannot be sent; says where
├─ MediaError
│   ├─ UnreadableMediaError          the file is missing, empty, damaged or not media at all
│   ├─ UnsupportedMediaError         readable, but not accepted by the model
│   ├─ MediaOutsideRootError         a local path outside the folder that messages may read
│   └─ MediaDoesNotFitError          too long, too large, too many (limit, actual)
├─ SpendLimitError                   a call would cost more than is allowed (estimated, limit, spent)
├─ DeliveryError                     media could not be delivered to the service
│   └─ StoreUnavailableError         the store is down or the connection to it broke     retryable
├─ StoreError                        a work store's server, or a busy library (reason, address, transient)
├─ LocalResourceError                this machine: disk, permission, proxy, … (resource, path); also an OSError
├─ APIError                          the service refused (status_code, code, request_id, body)
│   ├─ AuthenticationError           401, the key or its region is wrong
│   ├─ PermissionDeniedError         403, no right to this model
│   │   └─ AccountError              unpaid bill or used-up free quota: permanent until it is settled
│   ├─ NotFoundError                 404, no such model
│   ├─ InvalidRequestError           400, will never succeed unchanged
│   │   ├─ ContextOverflowError      the input is longer than the model's context
│   │   ├─ MediaRefusedError         the service could not use a piece of media
│   │   └─ MediaDownloadTimeoutError the service waited too long for a URL            retryable, twice
│   ├─ ContentFilterError            stopped by the service's content inspection
│   ├─ RateLimitError                429, lifted within about a minute                retryable
│   ├─ ServerError                   5xx, 408, 409, 425                               retryable
│   └─ APIConnectionError            no connection, or it broke before an answer      retryable
│       ├─ APITimeoutError           nothing arrived in time                          retryable
│       │   ├─ DeadlineExceededError no complete answer within the total deadline (partial)
│       │   └─ BatchTimeoutError     Batch Chat did not get to the request in time; not billed   retryable
│       └─ LocalNetworkError         this machine's name resolution or proxy; also a LocalResourceError  retryable
├─ TaskFailedError                   an asynchronous task of the service failed (task_id, code)
│   ├─ BatchExpiredError             a line of a batch that was not answered within the window; not billed
│   └─ BatchCancelledError           a line of a batch that was cancelled before its answer; not billed
├─ TaskUnfinishedError               a task did not finish within the waiting time (task_id); it continues
├─ StreamInterruptedError            the answer stopped in the middle (partial)       retryable
├─ NoToolCallError                   a tool had to be called, and the model called none (partial)
├─ ToolArgumentsError                the model called a tool with unreadable arguments (name, arguments)
├─ TruncatedAnswerError              the requested object was truncated (partial, text, reason)
├─ TooManyGapsError                  too many segments of a long video failed permanently (gaps)
└─ CaptionSyntaxError                the answer does not follow its schema (line, text, kept, problems)
```

`retryable`, `retry_limit` and `retry_after` are all that the retry policy reads; `option` names the argument that an
error is about. Messages state what
happened, the numbers, and the next step. Keys, signed queries and media never appear in them.
"""

import errno
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from qwen_omni._moved import warn
from qwen_omni.redact import clean, redact

if TYPE_CHECKING:
    from qwen_omni.responses import Response, Usage


class QwenOmniError(Exception):
    """The base class of every error of this package."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed if it is sent again."""

    retry_limit: ClassVar[int | None] = None
    """The most retries, whatever the settings allow; `None` leaves it to the settings."""

    retry_after: float | None = None
    """Seconds to wait before a retry, if the server sent a `Retry-After` header."""

    option: str | None = None
    """The caller's argument that the error is about, e.g. `fps`; `None` if it is not about a single one."""

    def __init__(self, message: str) -> None:
        super().__init__(clean(redact(message), "terminal"))

    def with_option(self, name: str | None) -> Self:
        """Set the argument that the error is about, and return the error."""
        self.option = name
        return self

    def with_hint(self, hint: str) -> Self:
        """Append a sentence to the message, and return the error."""
        self.args = (f"{self} {clean(redact(hint), 'terminal')}",)
        return self

    def without(self, secrets: Iterable[str]) -> Self:
        """Replace secrets that the message quotes, whatever they look like, and return the error."""
        for secret in secrets:
            self.args = tuple(one.replace(secret, "<key>") if isinstance(one, str) else one for one in self.args)
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions are rebuilt from `args` alone by default, which loses keyword arguments.
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(kind: type[QwenOmniError], args: tuple[Any, ...], state: dict[str, Any]) -> QwenOmniError:
    error = kind.__new__(kind, *args)
    error.args = args
    error.__dict__.update(state)
    return error


class ConfigurationError(QwenOmniError, ValueError):
    """A key is missing, or options conflict with each other or with the chosen model."""


class UnknownOptionError(ConfigurationError, TypeError):
    """An option does not exist, or not in this place; the text names the known options, or where options belong."""


class UnsupportedContentError(QwenOmniError, ValueError):
    """A message holds a part that cannot be sent; the text names its position and kind."""


class MediaError(QwenOmniError):
    """Something is wrong with a piece of media, found before anything was sent.

    Attributes:
        brief: the problem in a few words, for tables; may be empty.
    """

    brief: str = ""


class UnreadableMediaError(MediaError):
    """The media is missing, empty, damaged, or not media at all."""


class UnsupportedMediaError(MediaError):
    """The media can be read, but this model or delivery route does not accept it."""


class MediaOutsideRootError(MediaError):
    """Message content named a local file outside `media_root`; nothing was opened."""


class MediaDoesNotFitError(MediaError):
    """The media exceeds a limit of the model or of the delivery route.

    Attributes:
        limit: the largest (or smallest) value allowed.
        actual: the value found, in the same unit.
    """

    def __init__(self, message: str, *, limit: float, actual: float, brief: str = "") -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual
        self.brief = brief


class SpendLimitError(QwenOmniError):
    """A call would cost more than its limit allows; nothing was sent.

    Attributes:
        unit: "tokens", "CNY" or "USD".
        estimated: what the call would use, in that unit.
        limit: the most that is allowed.
        spent: what earlier calls used plus what running ones have reserved; 0 for a limit on single calls.
    """

    def __init__(self, message: str, *, unit: str, estimated: float, limit: float, spent: float) -> None:
        super().__init__(message)
        self.unit = unit
        self.estimated = estimated
        self.limit = limit
        self.spent = spent


class DeliveryError(QwenOmniError):
    """A piece of media could not be delivered to the service."""


class StoreUnavailableError(DeliveryError):
    """A store for media could not be reached, failed on its own side, or cut the connection."""

    retryable = True


class StoreError(QwenOmniError):
    """A store of finished work on a server, or a library, cannot be used. The media and the service are not at fault.

    What a work store could not write stays in memory, and is written as soon as the server can be used again.

    Attributes:
        reason: "unreachable", "password", "database" (there is none of this name), "permission", "tls", "read-only",
            "disk", "connections" (too many), "timeout", "version" (written by a newer version of this package),
            "damaged", "address" (it cannot be read), "busy" (others kept writing to a library), or "other".
        address: the server and its database, without a password, or the library.
        transient: whether the same call may succeed later without any change.
    """

    def __init__(self, message: str, *, reason: str, address: str, transient: bool = False) -> None:
        super().__init__(message)
        self.reason = reason
        self.address = address
        self.transient = transient


RESOURCES: Mapping[int, str] = MappingProxyType(
    {
        errno.ENOSPC: "disk",
        errno.EDQUOT: "disk",
        errno.EIO: "disk",
        errno.EFBIG: "file size",
        errno.EACCES: "permission",
        errno.EPERM: "permission",
        errno.EROFS: "permission",
        errno.EMFILE: "open files",
        errno.ENFILE: "open files",
        errno.ENOMEM: "memory",
    }
)
"""The `LocalResourceError.resource` that each of the system's error numbers stands for."""


class LocalResourceError(QwenOmniError, OSError):
    """This machine lacks something: disk space, a permission, file handles, a usable proxy, a name server, a worker.

    The media and the service are not at fault; the same call succeeds once the resource is available.

    Attributes:
        resource: what is missing: "disk", "file size" (a limit of the process), "permission", "folder", "open files",
            "memory", "threads", "library" (of another version than is supported), "proxy", "dns", "worker".
        path: the file or folder concerned, if any.
    """

    def __init__(self, message: str, *, resource: str, path: str | None = None) -> None:
        super().__init__(message)
        self.resource = resource
        self.path = path


class APIError(QwenOmniError):
    """The service answered with an error.

    Attributes:
        status_code: the HTTP status, or the one written in the message of a 200 response.
        code: the service's own code, e.g. `invalid_parameter_error`.
        request_id: the id to quote to the service's support.
        body: the text of the response, redacted.
    """

    def __init__(
        self,
        message: str,
        *,
        status_code: int | None = None,
        code: str | None = None,
        request_id: str | None = None,
        body: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status_code = status_code
        self.code = code
        self.request_id = request_id
        self.body = None if body is None else redact(body)

    def without(self, secrets: Iterable[str]) -> Self:
        """Replace secrets that the message or the body quotes, whatever they look like, and return the error."""
        secrets = tuple(secrets)
        for secret in secrets:
            self.body = None if self.body is None else self.body.replace(secret, "<key>")
        return super().without(secrets)

    def with_partial(self, partial: "Response") -> Self:
        """Attach what had arrived before the error, and return the error."""
        self.partial = partial
        return self

    partial: "Response | None" = None
    """What had arrived when the error occurred in the middle of a stream."""

    @property
    def status(self) -> int | None:
        """The old name of `status_code`."""
        warn(f"{type(self).__name__}.status", "status_code")
        return self.status_code


class AuthenticationError(APIError):
    """The key is wrong, or belongs to another region."""


class PermissionDeniedError(APIError):
    """The account may not use this model or this media."""


class AccountError(PermissionDeniedError):
    """The account has an unpaid bill, or its free quota is used up. Retrying does not help."""


class NotFoundError(APIError):
    """The model does not exist, or the account has no access to it."""


class InvalidRequestError(APIError):
    """The service will never accept this request unchanged."""


class ContextOverflowError(InvalidRequestError):
    """The input is longer than the model's context."""


class MediaRefusedError(InvalidRequestError):
    """The service could not download, open or use a piece of media."""


class MediaDownloadTimeoutError(InvalidRequestError):
    """The service timed out while downloading a URL; a retry often works."""

    retryable = True
    retry_limit = 2


class ContentFilterError(APIError):
    """The service's content inspection stopped the input or the answer."""


class RateLimitError(APIError):
    """Too many requests or tokens in this minute."""

    retryable = True


class ServerError(APIError):
    """The service failed on its own side (5xx), or was not ready for the request (408, 409, 425)."""

    retryable = True


class APIConnectionError(APIError):
    """The service could not be reached, or the connection broke before an answer."""

    retryable = True

    sent: bool = True
    """Whether the request may have arrived nevertheless; a request that costs money is then not sent again."""


class APITimeoutError(APIConnectionError):
    """Nothing arrived from the service for longer than the settings allow."""


class DeadlineExceededError(APITimeoutError):
    """No complete answer arrived within the total deadline, although bytes may have kept coming; `partial` holds them.

    It is not retried automatically: the next answer would take as long, and be billed again.
    """

    retryable = False


class BatchTimeoutError(APITimeoutError):
    """Batch Chat did not get to the request within the waiting time. Nothing is billed, and it may be sent again."""


class LocalNetworkError(APIConnectionError, LocalResourceError):
    """The request never reached the service: no name server answered, or the proxy of this machine cannot be used.

    Attributes:
        resource: "dns" or "proxy".
    """

    def __init__(self, message: str, *, resource: str) -> None:
        QwenOmniError.__init__(self, message)
        self.status_code = self.code = self.request_id = self.body = self.path = None
        self.resource = resource
        self.sent = False


class TaskFailedError(QwenOmniError):
    """An asynchronous task of the service failed.

    Attributes:
        task_id: the service's id of the task.
        code: the service's error code.
    """

    def __init__(self, message: str, *, task_id: str, code: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id
        self.code = code


class BatchExpiredError(TaskFailedError):
    """The batch expired before this line was answered. The line is not billed; `BatchJob.retry` submits it again."""


class BatchCancelledError(TaskFailedError):
    """The batch was cancelled before this line was answered. The line is not billed."""


class TaskUnfinishedError(QwenOmniError):
    """An asynchronous task did not finish within the waiting time. It continues, and the same call finds it again.

    Attributes:
        task_id: the service's id of the task.
    """

    def __init__(self, message: str, *, task_id: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class StreamInterruptedError(QwenOmniError):
    """The answer stopped before the service marked it as complete.

    Attributes:
        partial: what had arrived, as a `Response` whose `finish_reason` is `None`.
    """

    retryable = True

    def __init__(self, message: str, *, partial: "Response") -> None:
        super().__init__(message)
        self.partial = partial


class NoToolCallError(QwenOmniError, ValueError):
    """A tool had to be called, and the model called none, not even when asked again.

    Attributes:
        partial: what the model answered instead, and what both answers used; `None` where only its text is known.
    """

    def __init__(self, message: str, *, partial: "Response | None" = None) -> None:
        super().__init__(message)
        self.partial = partial


class ToolArgumentsError(QwenOmniError, ValueError):
    """The model called a tool with arguments that are not a JSON object.

    Attributes:
        name: the tool.
        arguments: what the model wrote.
    """

    def __init__(self, message: str, *, name: str, arguments: str) -> None:
        super().__init__(message)
        self.name = name
        self.arguments = arguments


class TruncatedAnswerError(QwenOmniError, ValueError):
    """The answer ended inside the requested object: at the token limit, or by content inspection.

    Attributes:
        partial: the part of the object that arrived, unvalidated; `None` if nothing could be read.
        text: the whole answer.
        reason: why it ended: "length", "content_filter", or "incomplete" where the service reported it as complete.
        usages: what the answers used, as far as the service reported it.
    """

    usages: "tuple[Usage, ...]" = ()

    def __init__(self, message: str, *, partial: object = None, text: str = "", reason: str = "length") -> None:
        super().__init__(message)
        self.partial = partial
        self.text = text
        self.reason = reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A segment of a long video that has no notes, and the reason."""

    index: int
    start: float
    end: float
    reason: str


class TooManyGapsError(QwenOmniError):
    """More segments of a long video failed permanently than are allowed; finished segments are kept.

    Attributes:
        gaps: each failed segment, with its times and its reason.
    """

    def __init__(self, message: str, *, gaps: tuple[Gap, ...] = ()) -> None:
        super().__init__(message)
        self.gaps = gaps


class CaptionSyntaxError(QwenOmniError, ValueError):
    """A model's answer holds no JSON, or JSON that does not follow the requested schema.

    Attributes:
        line: the line of the answer, from 1, where the error is.
        text: the whole answer.
        kept: what could be read of it, unvalidated; `None` if nothing could.
        problems: each violation of the schema, as "place: reason".
        truncated: whether the text ends inside the object.
        usages: what the answers used, as far as the service reported it.
    """

    usages: "tuple[Usage, ...]" = ()

    def __init__(
        self,
        message: str,
        *,
        line: int,
        text: str,
        kept: object = None,
        problems: tuple[str, ...] = (),
        truncated: bool = False,
    ) -> None:
        super().__init__(message)
        self.line = line
        self.text = text
        self.kept = kept
        self.problems = problems
        self.truncated = truncated
