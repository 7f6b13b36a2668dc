"""Every error that this package raises on purpose.

```
QwenOmniError
├─ ConfigurationError                a missing key, an impossible combination of options
├─ UnsupportedContentError           a message holds something that cannot be sent; names its place
├─ MediaError
│   ├─ UnreadableMediaError          the file is missing, empty, damaged or not media at all
│   ├─ UnsupportedMediaError         readable, but not something the model takes
│   ├─ MediaOutsideRootError         a local path that message content may not reach
│   └─ MediaDoesNotFitError          too long, too large, too many (limit, actual)
├─ SpendLimitError                   a call would cost more than is allowed (estimated, limit, spent)
├─ DeliveryError                     media could not be brought to the service
│   └─ StoreUnavailableError         the store is down or the connection to it broke     retryable
├─ LocalResourceError                this machine: disk, permission, proxy, … (resource, path); also an OSError
├─ APIError                          the service refused (status_code, code, request_id, body)
│   ├─ AuthenticationError           401, the key or its region is wrong
│   ├─ PermissionDeniedError         403, no right to this model
│   │   └─ AccountError              unpaid bill or spent free quota: permanent until somebody pays
│   ├─ NotFoundError                 404, no such model
│   ├─ InvalidRequestError           400, will never succeed unchanged
│   │   ├─ ContextOverflowError      the input is longer than the model takes
│   │   ├─ MediaRefusedError         the service could not use a piece of media
│   │   └─ MediaDownloadTimeoutError the service waited too long for a URL            retryable, twice
│   ├─ ContentFilterError            stopped by the service's content inspection
│   ├─ RateLimitError                429, passes within about a minute                retryable
│   ├─ ServerError                   5xx, 408, 409, 425                               retryable
│   └─ APIConnectionError            no connection, or it broke before an answer      retryable
│       ├─ APITimeoutError           nothing came for too long                        retryable
│       │   └─ DeadlineExceededError no complete answer within the total deadline (partial)
│       └─ LocalNetworkError         this machine's name service or proxy; also a LocalResourceError  retryable
├─ TaskFailedError                   an asynchronous job of the service ended badly (task_id, code)
├─ TaskUnfinishedError               it had not ended when our patience had (task_id); it goes on
├─ StreamInterruptedError            the answer stopped in the middle (partial)       retryable
├─ NoToolCallError                   a tool had to be called, and the model called none (partial)
├─ ToolArgumentsError                the model called a tool with arguments that cannot be read (name, arguments)
├─ TruncatedAnswerError              the object asked for was cut short (partial, text, reason)
├─ TooManyGapsError                  too many segments of a long video failed for good (gaps)
└─ CaptionSyntaxError                the answer is not what its schema says (line, text, kept, problems)
```

`retryable`, `retry_limit` and `retry_after` are all that the retry policy reads. Messages tell what
happened, the numbers, and the next step. Keys, signed queries and media never appear in them.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from qwen_omni.redact import clean, redact

if TYPE_CHECKING:
    from qwen_omni.responses import Response, Usage


class QwenOmniError(Exception):
    """The parent of every error of this package."""

    retryable: ClassVar[bool] = False
    """Whether the same request may succeed if it is sent again."""

    retry_limit: ClassVar[int | None] = None
    """At most this many repetitions, whatever the settings allow; `None` leaves it to the settings."""

    retry_after: float | None = None
    """Seconds after which the server wants to be asked again, where it said so (`Retry-After`)."""

    def __init__(self, message: str) -> None:
        super().__init__(clean(redact(message), "terminal"))

    def with_hint(self, hint: str) -> Self:
        """Add a sentence to the message, and give the error back."""
        self.args = (f"{self} {clean(redact(hint), 'terminal')}",)
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
    """A key is missing, or options exclude each other or the chosen model."""


class UnsupportedContentError(QwenOmniError, ValueError):
    """A message holds a part that cannot be sent; the text names its place and kind."""


class MediaError(QwenOmniError):
    """Something is wrong with a piece of media, found before anything was sent."""


class UnreadableMediaError(MediaError):
    """The media is missing, empty, damaged, or not media at all."""


class UnsupportedMediaError(MediaError):
    """The media can be read, but this model or this way of sending does not take it."""


class MediaOutsideRootError(MediaError):
    """Message content named a local file outside `media_root`; nothing was opened."""


class MediaDoesNotFitError(MediaError):
    """The media breaks a limit of the model or of the way it is sent.

    Attributes:
        limit: the largest (or smallest) value allowed.
        actual: the value found, in the same unit.
    """

    def __init__(self, message: str, *, limit: float, actual: float) -> None:
        super().__init__(message)
        self.limit = limit
        self.actual = actual


class SpendLimitError(QwenOmniError):
    """A call would cost more than its limit allows; nothing of it was sent.

    Attributes:
        unit: what is counted: "tokens", "CNY" or "USD".
        estimated: what the call would take, in that unit.
        limit: the most that is allowed.
        spent: what earlier calls have taken and running ones may take; 0 for a limit on single calls.
    """

    def __init__(self, message: str, *, unit: str, estimated: float, limit: float, spent: float) -> None:
        super().__init__(message)
        self.unit = unit
        self.estimated = estimated
        self.limit = limit
        self.spent = spent


class DeliveryError(QwenOmniError):
    """A piece of media could not be brought to the service."""


class StoreUnavailableError(DeliveryError):
    """A store for media could not be reached, failed on its own side, or cut the connection."""

    retryable = True


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
"""What the system's error numbers say is missing, in the words of `LocalResourceError.resource`."""


class LocalResourceError(QwenOmniError, OSError):
    """This machine lacks something: disk space, a permission, file handles, a usable proxy, a name server, a worker.

    The media and the service are not to blame; the same call succeeds once the resource is there.

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
        status_code: the HTTP status, or the one written in the message where HTTP said 200.
        code: the service's own code, e.g. `invalid_parameter_error`.
        request_id: what to quote to the service's support.
        body: the answer's text, redacted.
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

    def with_partial(self, partial: "Response") -> Self:
        """Attach what had arrived before the error, and give the error back."""
        self.partial = partial
        return self

    partial: "Response | None" = None
    """What had arrived when the error came in the middle of a stream."""

    @property
    def status(self) -> int | None:
        """The former name of `status_code`."""
        return self.status_code


class AuthenticationError(APIError):
    """The key is wrong, or belongs to another region."""


class PermissionDeniedError(APIError):
    """The account may not use this model or this media."""


class AccountError(PermissionDeniedError):
    """The account has an unpaid bill, or the free quota is spent. Repeating does not help."""


class NotFoundError(APIError):
    """The model does not exist, or the account does not see it."""


class InvalidRequestError(APIError):
    """The service will never accept this request unchanged."""


class ContextOverflowError(InvalidRequestError):
    """The input is longer than the model's context."""


class MediaRefusedError(InvalidRequestError):
    """The service could not download, open or use a piece of media."""


class MediaDownloadTimeoutError(InvalidRequestError):
    """The service gave up downloading a URL; a second try often works."""

    retryable = True
    retry_limit = 2


class ContentFilterError(APIError):
    """The service's content inspection stopped the input or the answer."""


class RateLimitError(APIError):
    """Too many requests or tokens for this minute."""

    retryable = True


class ServerError(APIError):
    """The service failed on its own side (5xx), or was not ready for the request (408, 409, 425)."""

    retryable = True


class APIConnectionError(APIError):
    """The service could not be reached, or the connection broke before an answer."""

    retryable = True

    sent: bool = True
    """Whether the request may have arrived all the same; what costs money is not sent again then."""


class APITimeoutError(APIConnectionError):
    """Nothing came from the service for longer than the settings allow."""


class DeadlineExceededError(APITimeoutError):
    """No complete answer came within the total deadline, though bytes may have kept coming; `partial` holds them.

    It is not asked again by itself: the next answer would take as long, and be billed again.
    """

    retryable = False


class LocalNetworkError(APIConnectionError, LocalResourceError):
    """This machine did not get as far as the service: no name server answers, or its proxy cannot be used.

    Attributes:
        resource: "dns" or "proxy".
    """

    def __init__(self, message: str, *, resource: str) -> None:
        QwenOmniError.__init__(self, message)
        self.status_code = self.code = self.request_id = self.body = self.path = None
        self.resource = resource
        self.sent = False


class TaskFailedError(QwenOmniError):
    """An asynchronous job of the service ended badly.

    Attributes:
        task_id: the service's name of the job.
        code: the service's word for what went wrong.
    """

    def __init__(self, message: str, *, task_id: str, code: str = "") -> None:
        super().__init__(message)
        self.task_id = task_id
        self.code = code


class TaskUnfinishedError(QwenOmniError):
    """An asynchronous job had not ended in the time that was given. It goes on, and the same call finds it again.

    Attributes:
        task_id: the service's name of the job.
    """

    def __init__(self, message: str, *, task_id: str) -> None:
        super().__init__(message)
        self.task_id = task_id


class StreamInterruptedError(QwenOmniError):
    """The answer stopped before the service said that it was complete.

    Attributes:
        partial: what had arrived, folded into a `Response` whose `finish_reason` is `None`.
    """

    retryable = True

    def __init__(self, message: str, *, partial: "Response") -> None:
        super().__init__(message)
        self.partial = partial


class NoToolCallError(QwenOmniError, ValueError):
    """A tool had to be called and the model called none, also when it was asked again.

    Attributes:
        partial: what the model answered instead, and what both answers used; `None` where only words are left of it.
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
    """The answer ended inside the object that was asked for: at the token limit, or by content inspection.

    Attributes:
        partial: the part of the object that arrived, unvalidated; `None` if nothing could be read.
        text: the whole answer.
        reason: why it ended: "length", "content_filter", or "incomplete" where the service claims it was complete.
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
    """A segment of a long video without notes, and why."""

    index: int
    start: float
    end: float
    reason: str


class TooManyGapsError(QwenOmniError):
    """More segments of a long video failed for good than are allowed; what is finished is kept.

    Attributes:
        gaps: each failed segment, with its times and its reason.
    """

    def __init__(self, message: str, *, gaps: tuple[Gap, ...] = ()) -> None:
        super().__init__(message)
        self.gaps = gaps


class CaptionSyntaxError(QwenOmniError, ValueError):
    """A model's answer holds no JSON, or JSON that breaks the schema it was asked for.

    Attributes:
        line: the line of the answer, from 1, where it goes wrong.
        text: the whole answer.
        kept: what could be read of it, unchecked; `None` if nothing could.
        problems: each breach of the schema, as "place: reason".
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
