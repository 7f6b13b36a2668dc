"""Rows: the outcome of each input, the outcome of an error, and passages for a search index. Values and decisions.

Every input has one row. Its status is `ok`; `skipped` (it holds nothing to ask about: 0 bytes, missing, not media);
`refused` (the model or its limits do not take it); `over_budget` (not begun: the spend limit leaves no room); or
`failed`. `retryable` rows may succeed when they are tried again, without any change to the input.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Self, get_args

from qwen_omni import errors
from qwen_omni.errors import QwenOmniError
from qwen_omni.redact import clean, redact
from qwen_omni.retrieval.passages import Passages, to_passages
from qwen_omni.transcription.transcript import Transcript
from qwen_omni.video.schemas import SegmentNotes
from qwen_omni.work_store.inputs import StoredInput

Status = Literal["ok", "failed", "refused", "over_budget", "skipped"]
STATUSES: tuple[Status, ...] = get_args(Status)

_LONGEST_ERROR = 500  # characters
_PLACE = re.compile(r"^message \d+ part \d+: ")  # of a request that the caller did not write


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchiveRow:
    """The outcome of one input.

    Attributes:
        uri: the input, as it was named; a link without its signature.
        etag: the version of its content: an entity tag, or times and size of a local file; empty if not known.
        content_digest: SHA-256 of its content, or of its link and version where that was asked about in a batch, which
            reads no content; empty if it was not read.
        step: the name of the step.
        step_digest: identifies everything that decides the answer: prompt, schema, model, options.
        model: the model that was asked.
        status: the outcome.
        error_code: why it has no value, as a stable code; empty for `ok`.
        error: the same, as a readable sentence.
        retryable: whether it may succeed when it is tried again.
        value: the answer, as JSON.
        truncated: whether the answer was cut short (`allow_truncated=True`).
        input_tokens: of all attempts together.
        output_tokens: likewise.
        cost_cny: what all attempts cost, in yuan; `None` if a price is not known.
        reused: whether the answer had been paid for before, for the same content.
        attempt: how many attempts there were; 0 if nothing was asked.
        worker: the process that stored the row, as HOST:PID.
        started_at: when the last attempt began, in seconds since the epoch.
        finished_at: when it ended.
    """

    uri: str
    etag: str = ""
    content_digest: str = ""
    step: str
    step_digest: str
    model: str = ""
    status: Status
    error_code: str = ""
    error: str = ""
    retryable: bool = False
    value: Any = None
    truncated: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    cost_cny: float | None = 0.0
    reused: bool = False
    attempt: int = 0
    worker: str = ""
    started_at: float = 0.0
    finished_at: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """Return the columns, in their order."""
        return {name: getattr(self, name) for name in COLUMNS}

    @classmethod
    def from_dict(cls, columns: Mapping[str, Any]) -> Self:
        """Read a row from its columns; others are ignored.

        Raises:
            ConfigurationError: a column is missing, or the status is unknown.
        """
        missing = [name for name in _REQUIRED if name not in columns]
        if missing:
            noun = "column" if len(missing) == 1 else "columns"
            raise errors.ConfigurationError(f"The archive row has no {noun} {', '.join(missing)}.")
        if columns["status"] not in STATUSES:
            raise errors.ConfigurationError(
                f"The archive row has the status {columns['status']!r:.60}, which is not one of {', '.join(STATUSES)}."
            )
        return cls(**{name: columns[name] for name in COLUMNS if name in columns})


COLUMNS: tuple[str, ...] = tuple(one.name for one in fields(ArchiveRow))
_REQUIRED = ("uri", "step", "step_digest", "status")


# --- The outcome of an error ---


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """Why an input has no answer.

    Attributes:
        status: what that makes of its row.
        code: the reason, as a stable code.
        text: the reason, as a readable sentence without keys, signatures or media.
        retryable: whether the input may succeed when it is tried again.
        alike: whether other inputs are likely to fail for the same reason, which then concerns the whole run.
    """

    status: Status
    code: str
    text: str
    retryable: bool = False
    alike: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", in_one_line(self.text))


class InputError(QwenOmniError):
    """An input cannot be used.

    Attributes:
        problem: what that makes of its row.
    """

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.text)
        self.problem = problem


FATAL: tuple[type[QwenOmniError], ...] = (
    errors.AuthenticationError,
    errors.AccountError,
    errors.NotFoundError,
)
"""Errors after which no input can succeed: they end the run instead of making rows."""

# The first match counts, so subclasses come first.
_OUTCOMES: tuple[tuple[type[BaseException], Status, str, bool], ...] = (
    (errors.SpendLimitError, "over_budget", "spend_limit", True),
    (errors.ContentFilterError, "refused", "content_filter", False),
    (errors.MediaDownloadTimeoutError, "failed", "media_download_timeout", True),
    (errors.MediaRefusedError, "refused", "media_refused", False),
    (errors.ContextOverflowError, "refused", "context_overflow", False),
    (errors.InvalidRequestError, "refused", "invalid_request", False),
    (errors.PermissionDeniedError, "refused", "permission_denied", True),
    (errors.MediaDoesNotFitError, "refused", "media_does_not_fit", False),
    (errors.UnsupportedMediaError, "refused", "unsupported_media", False),
    (errors.UnsupportedContentError, "refused", "unsupported_content", False),
    (errors.MediaOutsideRootError, "skipped", "outside_media_root", False),
    (errors.UnreadableMediaError, "skipped", "unreadable_media", False),
    (errors.StoreUnavailableError, "failed", "media_store_unavailable", True),
    (errors.DeliveryError, "failed", "delivery", True),
    (errors.RateLimitError, "failed", "rate_limit", True),
    (errors.ServerError, "failed", "server_error", True),
    (errors.LocalNetworkError, "failed", "local_network", True),
    (errors.BatchTimeoutError, "failed", "timeout", True),
    (errors.DeadlineExceededError, "failed", "deadline_exceeded", False),
    (errors.APITimeoutError, "failed", "timeout", True),
    (errors.APIConnectionError, "failed", "connection", True),
    (errors.StreamInterruptedError, "failed", "answer_interrupted", True),
    (errors.APIError, "failed", "api_error", False),
    (errors.LocalResourceError, "failed", "local_resource", True),
    (errors.StoreError, "failed", "store", True),
    (errors.TaskUnfinishedError, "failed", "task_unfinished", True),
    (errors.BatchExpiredError, "failed", "batch_expired", True),
    (errors.BatchCancelledError, "failed", "batch_cancelled", True),
    (errors.TaskFailedError, "failed", "task_failed", False),
    (errors.TooManyGapsError, "failed", "too_many_gaps", False),
    (errors.CaptionSyntaxError, "failed", "invalid_answer", True),
    (errors.TruncatedAnswerError, "failed", "truncated_answer", False),
    (errors.ConfigurationError, "failed", "configuration", True),
    (QwenOmniError, "failed", "other", False),
)
_ALIKE = (
    errors.LocalResourceError, errors.StoreError, errors.APIConnectionError, errors.ConfigurationError,
    errors.PermissionDeniedError,
)  # fmt: skip


def problem_of(error: BaseException) -> Problem:
    """Return the `Problem` for an error.

    Example:
        >>> problem_of(errors.UnreadableMediaError("a.mp4 is empty.")).status
        'skipped'
    """
    if isinstance(error, InputError):
        return error.problem
    text = error_text(error)
    if isinstance(error, errors.SpendLimitError) and not error.spent:
        return Problem(status="over_budget", code="call_limit", text=text, retryable=True)
    if isinstance(error, errors.TruncatedAnswerError) and error.reason == "content_filter":
        return Problem(status="refused", code="content_filter", text=text)
    for kind, status, code, retryable in _OUTCOMES:
        if isinstance(error, kind):
            return Problem(status=status, code=code, text=text, retryable=retryable, alike=isinstance(error, _ALIKE))
    return Problem(status="failed", code=_code_of(type(error)), text=text, retryable=True)


def error_text(error: BaseException) -> str:
    """Return the text of an error: one line, without secrets, of limited length."""
    text = _PLACE.sub("", str(error)) if isinstance(error, QwenOmniError) else f"{type(error).__name__}: {error}"
    return in_one_line(text)


def in_one_line(text: str) -> str:
    """Return a text in one line of limited length, without secrets and what a terminal would act on."""
    line = " ".join(clean(redact(text), "terminal", one_line=True).split())
    return line if len(line) <= _LONGEST_ERROR else f"{line[: _LONGEST_ERROR - 1]}…"


def _code_of(kind: type[BaseException]) -> str:
    """Return the code of an error from outside this package: its name in words.

    Example:
        >>> _code_of(ZeroDivisionError)
        'zero_division_error'
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", kind.__name__).lower()


# --- Rows in the store ---

_KEPT = ("uri", "content_digest", "model", "error_code", "error", "retryable", "truncated", "reused", "worker")


def to_stored(row: ArchiveRow, *, run: str, origin: str, name: str) -> StoredInput:
    """Return a row as the store keeps it: without its value, which is in its answer."""
    kept = {one: getattr(row, one) for one in _KEPT}
    usual = {one.name: one.default for one in fields(ArchiveRow)}
    return StoredInput(
        run=run, origin=origin, name=name, version=row.etag, status=row.status,
        answer=row.content_digest if row.status == "ok" else "",
        value={one: value for one, value in kept.items() if value != usual[one]},
        attempts=row.attempt, input_tokens=row.input_tokens, output_tokens=row.output_tokens, cost=row.cost_cny,
        began=row.started_at, ended=row.finished_at,
    )  # fmt: skip


def from_stored(stored: StoredInput) -> ArchiveRow | None:
    """Return a row from the store; `None` if it is damaged, or its answer is."""
    parts = stored.run.split(" ")
    answer = stored.found if isinstance(stored.found, dict) else {}
    if stored.status not in STATUSES or len(parts) != len(_run_parts()) or (stored.answer and "value" not in answer):
        return None
    kept = {name: stored.value[name] for name in _KEPT if name in stored.value}
    if not isinstance(kept.get("uri"), str):
        return None
    return ArchiveRow(
        **{"model": answer.get("model", ""), **kept}, etag=stored.version, step=parts[1], step_digest=parts[2],
        status=stored.status, value=answer.get("value"), input_tokens=stored.input_tokens,
        output_tokens=stored.output_tokens, cost_cny=stored.cost, attempt=stored.attempts, started_at=stored.began,
        finished_at=stored.ended,
    )  # fmt: skip


RUN = "archive"


def run_name(step: str, digest: str = "") -> str:
    """Return the name under which a store keeps the work of a step; without a digest, the prefix of all these names."""
    return f"{RUN} {step} {digest}"


def _run_parts() -> list[str]:
    return run_name("step", "digest").split(" ")


# --- Passages ---


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePassage:
    """A text of an answer, ready for embedding: a row of the child table.

    Attributes:
        content_digest: of the media, as in its row.
        start: where it begins, in seconds; `None` if it is about the whole.
        end: where it ends.
        text: the text.
        kind: what it is: "summary", "chapter", "event", "speech", "on_screen_text", "caption", …
    """

    content_digest: str
    start: float | None
    end: float | None
    text: str
    kind: str


def passages_of(row: ArchiveRow) -> Iterator[ArchivePassage]:
    """Yield the passages of a row; none if it has no value.

    Example:
        >>> row = ArchiveRow(uri="a.mp4", step="caption", step_digest="d", status="ok", value={"scene": "A door."})
        >>> [(one.text, one.kind) for one in passages_of(row)]
        [('A door.', 'caption')]
    """
    if row.status != "ok":
        return
    seen: set[tuple[object, ...]] = set()
    for one in _READERS.get(row.step, _of_any)(row.value):
        key = (one.start, one.end, one.text, one.kind)
        if one.text.strip() and key not in seen:
            seen.add(key)
            yield replace(one, content_digest=row.content_digest)


def _passage(text: object, kind: str, start: object = None, end: object = None) -> ArchivePassage:
    first = float(start) if isinstance(start, int | float) and start >= 0 else None
    last = float(end) if first is not None and isinstance(end, int | float) else None
    return ArchivePassage(content_digest="", start=first, end=last, text=str(text), kind=kind)


def _of_summary(value: Any) -> Iterator[ArchivePassage]:  # noqa: ANN401  (JSON)
    """Yield the summary, the chapters, and the events, speech and visible text."""
    yield _passage(value.get("summary", ""), "summary")
    for one in value.get("chapters", ()):
        text = ". ".join(part for part in (one.get("title", ""), one.get("summary", "")) if part)
        yield _passage(text, "chapter", one.get("start"), one.get("end"))
    for kind, name in (("event", "events"), ("speech", "speech"), ("on_screen_text", "on_screen_text")):
        for one in value.get(name, ()):
            yield _passage(one.get("text", ""), kind, one.get("start"), one.get("end"))


def _of_notes(value: Any) -> Iterator[ArchivePassage]:  # noqa: ANN401  (JSON)
    """Yield the text of each segment, then its events, speech and visible text; overlaps count once."""
    segments, captions = Passages("media", "segments"), Passages("media", "captions")
    for one in value.get("segments", ()):
        notes = SegmentNotes.model_validate(one)
        for found in (*segments.of(notes), *captions.of(notes)):
            facts = found.metadata
            yield _passage(found.text, str(facts.get("kind") or "segment"), facts.get("start"), facts.get("end"))


def _of_transcript(value: Any) -> Iterator[ArchivePassage]:  # noqa: ANN401  (JSON)
    """Yield sentences, joined up to a minute."""
    for one in to_passages(Transcript.model_validate(value)):
        yield _passage(one.text, "speech", one.metadata.get("start"), one.metadata.get("end"))


def _of_any(value: Any) -> Iterator[ArchivePassage]:  # noqa: ANN401  (JSON)
    """Yield each text that has times as a passage, and all others as a single one."""
    plain: list[str] = []
    yield from _timed(value, plain)
    yield _passage("\n".join(plain), "caption")


def _timed(value: Any, plain: list[str]) -> Iterator[ArchivePassage]:  # noqa: ANN401  (JSON)
    """Yield the objects with a start; add texts that are in none of them to `plain`."""
    if isinstance(value, str):
        plain.append(value)
    elif isinstance(value, Mapping):
        if isinstance(value.get("start"), int | float):
            yield _passage("\n".join(_texts(value)), "caption", value["start"], value.get("end"))
        else:
            for one in value.values():
                yield from _timed(one, plain)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _timed(one, plain)


def _texts(value: Any) -> Iterator[str]:  # noqa: ANN401  (JSON)
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for one in value.values():
            yield from _texts(one)
    elif isinstance(value, Sequence):
        for one in value:
            yield from _texts(one)


_READERS = {"summarize": _of_summary, "notes": _of_notes, "transcribe": _of_transcript}
