"""Error responses of the service → errors of this package. Pure.

The service has two envelopes (`{"error": {…}}` and a flat one), writes the true status into the message
(`<400> …`), and may or may not frame errors as events. Rules are tried in order: code, wording, status.
"""

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urljoin, urlsplit

from pydantic_core import from_json

from qwen_omni import errors
from qwen_omni.addresses import host_of
from qwen_omni.errors import APIError
from qwen_omni.profiles.batch import QUEUE_SECONDS
from qwen_omni.settings import region_of
from qwen_omni.wire.values import as_number, as_words, page_text

_INNER_STATUS = re.compile(r"\s*<([45]\d\d)\d*>")  # only at the very beginning: messages quote the request
_REFUSED = errors.MediaRefusedError
_NO_HEADERS: Mapping[str, str] = {}
_UNREADABLE = "an address that cannot be read"
_SHOWN = 600  # the most characters of a response that are shown


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorAnswer:
    """The content of an error response, whichever envelope it came in."""

    message: str
    code: str = ""
    request_id: str | None = None


def _table(*rows: tuple[str, type[APIError]]) -> tuple[tuple[re.Pattern[str], type[APIError]], ...]:
    return tuple((re.compile(pattern, re.IGNORECASE | re.DOTALL), kind) for pattern, kind in rows)


# Sources: Model Studio's error codes page (spring 2026) and recorded answers.
_BY_CODE = _table(
    (r"^invalid_?api_?key$", errors.AuthenticationError),
    (r"^(arrearage|commoditynotpurchased|prepaidbilloverdue|postpaidbilloverdue)$", errors.AccountError),
    (r"freetieronly", errors.AccountError),
    (r"data_?inspection_?failed$", errors.ContentFilterError),
    (r"^(throttling|limit_?requests|limit_burst_rate|insufficient_quota)", errors.RateLimitError),
    (r"^model_?not_?(found|supported)$", errors.NotFoundError),
    (r"^(model\.)?access_?denied", errors.PermissionDeniedError),
)
_BY_WORDS = _table(
    (r"free allocated quota exceeded|free tier .{0,60}exhausted", errors.AccountError),
    (r"may contain inappropriate content", errors.ContentFilterError),
    (r"download .{0,60}timed out", errors.MediaDownloadTimeoutError),
    (r"(failed|unable) to download", _REFUSED),
    (r"of multimodal url|authorization to access the media|url does not appear to be valid", _REFUSED),
    (r"data-uri item|file size is too large|invalid video file|(video|audio) (file )?is too", _REFUSED),
    (r"modality input does not|range of sequence images|audio is empty|audio format is illegal", _REFUSED),
    (r"media format is not supported|decode the image|image length and width", _REFUSED),
    (r"range of input length|maximum context length|context_length_exceeded", errors.ContextOverflowError),
    (r"too many requests|rate limit exceeded", errors.RateLimitError),
    (r"error occurred in model serving|buffer overflow", errors.ServerError),
)  # fmt: skip
_BY_STATUS: dict[int, type[APIError]] = {
    400: errors.InvalidRequestError,
    401: errors.AuthenticationError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    408: errors.ServerError,
    409: errors.ServerError,
    413: errors.InvalidRequestError,
    422: errors.InvalidRequestError,
    425: errors.ServerError,
    429: errors.RateLimitError,
}
# Inside a 200 only the code may show which side failed. Sources: as above; the source code of QwenLM/qwen-code for the
# two numbers, and of vLLM, whose code is an HTTP status (both 2026).
_BY_CODE_INSIDE = _table(
    (r"invalid_?parameter|^invalid_?request", errors.InvalidRequestError),
    (r"^internal_?(server_?)?error|^server_?error$|^service_?unavailable$", errors.ServerError),
    (r"^130[25]$", errors.RateLimitError),
)
_STATUS = re.compile(r"[45]\d\d")
_NEXT_STEP: tuple[tuple[type[APIError], str], ...] = (
    (
        errors.AuthenticationError,
        "Each key is valid in one region: check DASHSCOPE_API_KEY, and region= (command line: --region) or base_url.",
    ),
    (errors.AccountError, "Check the account's bills and free quota in the Model Studio console."),
    (errors.PermissionDeniedError, "The account may need this model to be activated in this region."),
    (errors.NotFoundError, "Check the model name and whether the region offers it."),
    (errors.ContextOverflowError, "Send less: a shorter text or clip, a lower fps, or fewer turns."),
    (errors.ContentFilterError, "The service's content inspection refused it; the same content will be refused again."),
)


def parse_error(body: bytes | str) -> ErrorAnswer | None:
    """Parse an error response in either envelope, framed as an event or not; `None` if it is neither."""
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    for line in (text, *text.splitlines()):
        stripped = line.strip().removeprefix("data:").strip()
        if stripped.startswith(("{", "[")):
            try:
                value = from_json(stripped)
            except ValueError:
                continue
            answer = find_error(value)
            if answer is not None:
                return answer
    return None


# Names in error bodies of gateways and frameworks (Spring, FastAPI, Kong, Baidu, vLLM).
_WORDS = ("message", "msg", "error_msg", "error_message", "errmsg", "detail", "errors")
_ONLY_IN_ERRORS = ("error_msg", "error_message", "errmsg", "error_code", "errcode", "detail", "errors")
_CODES = ("code", "error_code", "errcode", "type", "statusCode", "status_code", "status")
_FAULT = re.compile(r"error|exception|fault", re.IGNORECASE)


def find_error(value: Any) -> ErrorAnswer | None:  # noqa: ANN401  (any JSON)
    """Find an error in decoded JSON: nested, flat, JSON inside a string, or first in a list."""
    if isinstance(value, list) and value:
        value = value[0]  # as Google's compatible route sends errors
    if not isinstance(value, Mapping):
        return None
    inner = value.get("error")
    inner = inner[0] if isinstance(inner, list) and inner else inner
    request_id = value.get("request_id") or value.get("id")
    if isinstance(inner, Mapping):
        nested = parse_error(as_words(inner.get("message")))
        return nested or _answer(inner, request_id or inner.get("request_id"))
    if inner and inner is not True:
        text = as_words(inner)
        return parse_error(text) or ErrorAnswer(message=text, code=_code(value), request_id=_text(request_id))
    if not value.get("choices") and (inner is True or _is_fault(value)):
        return _answer(value, request_id)
    return None


def _is_fault(value: Mapping[str, Any]) -> bool:
    """Whether an object without an answer describes an error; other events with a message may be news."""
    if value.get("code") and "message" in value:
        return True
    if not any(value.get(name) for name in _WORDS):
        return False
    if any(value.get(name) for name in _ONLY_IN_ERRORS) or value.get("success") is False:
        return True
    if _FAULT.search(f"{as_words(value.get('object'))} {as_words(value.get('type'))}"):
        return True
    return bool(_STATUS.fullmatch(_code({**value, "type": None})))


def _code(value: Mapping[str, Any]) -> str:
    return as_words(next((value[name] for name in _CODES if value.get(name)), None))


def _answer(fields: Mapping[str, Any], request_id: object) -> ErrorAnswer:
    return ErrorAnswer(
        message=as_words(next((fields[name] for name in _WORDS if fields.get(name)), None)),
        code=_code(fields),
        request_id=_text(request_id),
    )


def _text(value: object) -> str | None:
    return as_words(value) or None


def to_error(status: int, body: bytes | str, headers: Mapping[str, str] = _NO_HEADERS, *, url: str = "") -> APIError:
    """Convert an HTTP error response to an error of this package.

    Args:
        status: the HTTP status.
        body: the response; only the first megabyte is used.
        headers: the response headers, with lower-case names or in a case-insensitive mapping.
        url: the requested URL, for errors about a redirect, a key's region and a wrong base_url.
    """
    request_id = headers.get("x-request-id")
    if 300 <= status < 400 and headers.get("location"):  # noqa: PLR2004  (redirects)
        return _redirected(status, url, headers["location"], request_id)
    text = body.decode("utf-8", "replace") if isinstance(body, bytes) else body
    shown = page_text(text) if text.lstrip().startswith("<") else text.strip()
    answer = parse_error(text) or ErrorAnswer(message=shown[:_SHOWN])
    error = from_answer(answer, status=status, body=text[:_SHOWN], request_id=request_id, url=url)
    error.retry_after = parse_retry_after(headers.get("retry-after"), headers.get("date"))
    if error.retry_after:
        error.with_hint(f"The server asks to wait {error.retry_after:,.6g} s (Retry-After).")
    return error


def _redirected(status: int, url: str, location: str, request_id: str | None) -> APIError:
    try:
        target = _host(urljoin(url, location))
    except ValueError:
        target = _UNREADABLE
    return APIError(
        f"{_host(url)} redirects to {target} (status {status}). Redirects are not followed, since the request "
        "holds the key and the prompt. Set base_url to the address that answers, if you trust it.",
        status_code=status,
        request_id=request_id,
    )


def _host(url: str) -> str:
    """Return the scheme, host and path of a URL, without the parts that may hold secrets."""
    try:
        split = urlsplit(url)
        port = f":{split.port}" if split.port else ""
    except ValueError:
        return _UNREADABLE
    return f"{split.scheme}://{split.hostname or ''}{port}{split.path}"[:300]


def parse_retry_after(value: str | None, date: str | None = None) -> float | None:
    """Return the seconds of a `Retry-After` header: a number, or a date (RFC 9110, section 10.2.3).

    Args:
        value: the header.
        date: the `Date` header of the response, so that clocks need not agree; without it, this machine's clock.

    Example:
        >>> parse_retry_after("2.5"), parse_retry_after("x")
        (2.5, None)
        >>> parse_retry_after("Thu, 01 Jan 1970 00:01:00 GMT", "Thu, 01 Jan 1970 00:00:00 GMT")
        60.0
    """
    if not value:
        return None
    seconds = as_number(value.strip())
    if seconds is not None:
        return seconds if seconds >= 0 else None
    until, now = _http_date(value), _http_date(date or "")
    return None if until is None else max(0.0, until - (time.time() if now is None else now))


def _http_date(value: str) -> float | None:
    try:
        return parsedate_to_datetime(value[:80]).timestamp()
    except (ValueError, TypeError, OverflowError, IndexError):
        return None


def from_answer(
    answer: ErrorAnswer, *, status: int, body: str | None = None, request_id: str | None = None, url: str = ""
) -> APIError:
    """Convert a parsed error response to an error; a status written in its message wins over `status`."""
    inner = _INNER_STATUS.match(answer.message)
    if inner is not None:
        status = int(inner[1])
    kind = classify(status, answer.code, answer.message)
    hint = _next_step(kind, answer, url)
    code = f" ({answer.code})" if answer.code else ""
    return kind(
        " ".join(filter(None, (f"{status}{code}: {answer.message.strip() or 'no details'}", hint))),
        status_code=status,
        code=answer.code or None,
        request_id=answer.request_id or request_id,
        body=body,
    )


_NAMES_MODEL = re.compile(r"\bmodels?\b|model_?not", re.IGNORECASE)
_CHAT_ROUTE = "/chat/completions"


def _next_step(kind: type[APIError], answer: ErrorAnswer, url: str) -> str:
    """Return what to do about an error; says where the request went if that is likely to be what is wrong."""
    if url and kind is errors.NotFoundError and not _NAMES_MODEL.search(f"{answer.code} {answer.message}"):
        step = "base_url is the part before /chat/completions and usually ends in /v1."
        return f"Nothing answers at {_host(url)}. {step if _host(url).endswith(_CHAT_ROUTE) else ''}".strip()
    hint = next((text for parent, text in _NEXT_STEP if issubclass(kind, parent)), "")
    if url and issubclass(kind, errors.AuthenticationError):
        region, host = region_of(url), host_of(url)
        return f"The request went to {host}{f', region {region!r}' if region else ''}. {hint}"
    return hint


def classify(status: int, code: str, message: str) -> type[APIError]:
    """Choose the class of an error: by code, then by wording, then by status, and inside a 200 by further codes."""
    for pattern, kind in _BY_CODE:
        if pattern.search(code):
            spent = kind is errors.RateLimitError and _BY_WORDS[0][0].search(message)
            return errors.AccountError if spent else kind
    for pattern, kind in _BY_WORDS:
        if pattern.search(message):
            return kind
    if status < 400:  # noqa: PLR2004  (errors begin there: this one came inside a response that began normally)
        if _STATUS.fullmatch(code):
            return _by_status(int(code))
        return next((kind for pattern, kind in _BY_CODE_INSIDE if pattern.search(code)), APIError)
    return _by_status(status)


# RequestTimeOut and ResponseTimeout are on Model Studio's error codes page (spring 2026). How Batch Chat words the end
# of its queue is not published.
_TIMED_OUT = re.compile(r"time_?d?[ -]?out", re.IGNORECASE)
_TIMEOUT_STATUS = (408, 504)
_WHOLE_WAIT = QUEUE_SECONDS - 10


def as_batch_timeout(error: errors.QwenOmniError, seconds: float) -> errors.QwenOmniError:
    """Return a `BatchTimeoutError` for an error that means that a request's wait in Batch Chat timed out.

    Any other error, and one about media that took long to download, is returned unchanged.

    Args:
        error: what came in place of the first piece of an answer.
        seconds: how long the request had waited: after an hour, the service may just end the connection.
    """
    if not (_says_timeout(error) or (seconds >= _WHOLE_WAIT and isinstance(error, _ENDED))):
        return error
    late = errors.BatchTimeoutError(
        f"Batch Chat did not get to the request in time ({error}). It is not billed; send it again later, or without "
        'tier="batch".'
    )
    late.retry_after = error.retry_after
    for name in ("status_code", "code", "request_id", "body"):
        setattr(late, name, getattr(error, name, None))
    return late


_ENDED = (errors.APIConnectionError, errors.StreamInterruptedError)


def _says_timeout(error: errors.QwenOmniError) -> bool:
    if isinstance(error, errors.APIConnectionError):
        return isinstance(error, errors.APITimeoutError) and error.sent
    if not isinstance(error, APIError) or isinstance(error, errors.MediaDownloadTimeoutError | errors.RateLimitError):
        return False
    return error.status_code in _TIMEOUT_STATUS or bool(_TIMED_OUT.search(f"{error.code} {error}"))


def _by_status(status: int) -> type[APIError]:
    return errors.ServerError if status >= 500 else _BY_STATUS.get(status, APIError)  # noqa: PLR2004
