"""What an error makes of an input, rows as the store keeps them, and their passages."""

import inspect
import json

import pytest
from hypothesis import given, strategies as st

from qwen_omni import errors
from qwen_omni.archive import ArchiveRow, Problem, passages_of
from qwen_omni.archive.rows import _OUTCOMES, FATAL, InputError, from_stored, problem_of, run_name, to_stored
from qwen_omni.errors import QwenOmniError
from qwen_omni.responses import Response
from qwen_omni.work_store.inputs import StoredInput


def spend(spent):
    return errors.SpendLimitError("Too much.", unit="CNY", estimated=2, limit=1, spent=spent)


def truncated(reason):
    return errors.TruncatedAnswerError("It ends early.", reason=reason)


# An error, and what it makes of an input: status, code, whether it may succeed later.
OUTCOMES = [
    (errors.UnreadableMediaError("a"), "skipped", "unreadable_media", False),
    (errors.MediaOutsideRootError("a"), "skipped", "outside_media_root", False),
    (errors.UnsupportedMediaError("a"), "refused", "unsupported_media", False),
    (errors.UnsupportedContentError("a"), "refused", "unsupported_content", False),
    (errors.MediaDoesNotFitError("a", limit=1, actual=2), "refused", "media_does_not_fit", False),
    (errors.ContentFilterError("a"), "refused", "content_filter", False),
    (truncated("content_filter"), "refused", "content_filter", False),
    (truncated("length"), "failed", "truncated_answer", False),
    (errors.MediaRefusedError("a"), "refused", "media_refused", False),
    (errors.ContextOverflowError("a"), "refused", "context_overflow", False),
    (errors.InvalidRequestError("a", status_code=413), "refused", "invalid_request", False),
    (errors.PermissionDeniedError("a"), "refused", "permission_denied", True),
    (spend(0.5), "over_budget", "spend_limit", True),
    (spend(0), "over_budget", "call_limit", True),
    (errors.MediaDownloadTimeoutError("a"), "failed", "media_download_timeout", True),
    (errors.DeliveryError("a"), "failed", "delivery", True),
    (errors.StoreUnavailableError("a"), "failed", "media_store_unavailable", True),
    (errors.RateLimitError("a"), "failed", "rate_limit", True),
    (errors.ServerError("a"), "failed", "server_error", True),
    (errors.APITimeoutError("a"), "failed", "timeout", True),
    (errors.BatchTimeoutError("a"), "failed", "timeout", True),
    (errors.DeadlineExceededError("a"), "failed", "deadline_exceeded", False),
    (errors.LocalNetworkError("a", resource="dns"), "failed", "local_network", True),
    (errors.APIConnectionError("a"), "failed", "connection", True),
    (errors.StreamInterruptedError("a", partial=Response()), "failed", "answer_interrupted", True),
    (errors.APIError("a"), "failed", "api_error", False),
    (errors.LocalResourceError("a", resource="disk"), "failed", "local_resource", True),
    (errors.StoreError("a", reason="unreachable", address="postgresql://h/d"), "failed", "store", True),
    (errors.TaskUnfinishedError("a", task_id="1"), "failed", "task_unfinished", True),
    (errors.TaskFailedError("a", task_id="1"), "failed", "task_failed", False),
    (errors.BatchExpiredError("a", task_id="1"), "failed", "batch_expired", True),
    (errors.BatchCancelledError("a", task_id="1"), "failed", "batch_cancelled", True),
    (errors.TooManyGapsError("a"), "failed", "too_many_gaps", False),
    (errors.CaptionSyntaxError("a", line=1, text="{"), "failed", "invalid_answer", True),
    (errors.ConfigurationError("a"), "failed", "configuration", True),
    (QwenOmniError("a"), "failed", "other", False),
    (ZeroDivisionError("a"), "failed", "zero_division_error", True),
    (InputError(Problem(status="skipped", code="empty", text="a is empty.")), "skipped", "empty", False),
]


@pytest.mark.parametrize(("error", "status", "code", "retryable"), OUTCOMES)
def test_what_an_error_makes_of_an_input(error, status, code, retryable):
    found = problem_of(error)
    assert (found.status, found.code, found.retryable) == (status, code, retryable)


def test_every_error_is_decided():
    """A new class of error gets a row of its own in the table, or is one of those that end a run."""
    classes = [one for _, one in inspect.getmembers(errors, inspect.isclass) if issubclass(one, QwenOmniError)]
    decided = {kind for kind, *_ in _OUTCOMES} | set(FATAL)
    # These fall under the row of their base class.
    inherited = {errors.MediaError, errors.NoToolCallError, errors.ToolArgumentsError, errors.UnknownOptionError}
    assert {one for one in classes if one not in decided} == inherited


def test_the_first_row_of_the_table_that_matches_is_the_nearest():
    """A subclass stands before its base, so no row is unreachable."""
    kinds = [kind for kind, *_ in _OUTCOMES]
    for at, kind in enumerate(kinds):
        assert not [earlier for earlier in kinds[:at] if issubclass(kind, earlier)]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a.mp4\nis\todd \x1b[31m", "a.mp4 is odd \\x1b[31m"),
        ("https://h/a.mp4?Signature=abcdef is gone", "https://h/a.mp4?<query> is gone"),
        ("message 0 part 0: a.mp4 is empty.", "a.mp4 is empty."),
        ("key sk-12345678abc is wrong", "key <key> is wrong"),
    ],
)
def test_errors_are_one_line_without_secrets(text, shown):
    assert problem_of(QwenOmniError(text)).text == shown


def test_a_long_error_is_shortened():
    assert len(problem_of(ValueError("word " * 1000)).text) == 500


# --- Rows in the store ---

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
ROWS = st.builds(
    ArchiveRow, uri=st.text(min_size=1, max_size=9), etag=st.text(max_size=5),
    content_digest=st.sampled_from(["", "d"]),
    step=st.just("caption"), step_digest=st.just("d1"), model=st.just("m"),
    status=st.sampled_from(["failed", "skipped", "refused", "over_budget"]), error_code=st.just("code"),
    error=st.text(max_size=20), retryable=st.booleans(), reused=st.booleans(), attempt=st.integers(0, 9),
    input_tokens=st.integers(0, 9), output_tokens=st.integers(0, 9),
    cost_cny=st.none() | st.floats(0, 9), worker=st.just("h:1"),
    started_at=st.floats(0, 9), finished_at=st.floats(0, 9),
)  # fmt: skip


def stored(row, **found):
    return StoredInput(**{
        name: getattr(to_stored(row, run=run_name(row.step, row.step_digest), origin="o", name="n"), name)
        for name in StoredInput.__dataclass_fields__
    } | found)  # fmt: skip


@given(ROWS)
def test_a_row_comes_back_from_the_store(row):
    assert from_stored(stored(row)) == row
    assert ArchiveRow.from_dict(row.to_dict()) == row


@given(JSON, st.booleans())
def test_the_value_is_that_of_the_answer(value, truncated):
    row = ArchiveRow(
        uri="a.mp4", step="caption", step_digest="d1", status="ok", content_digest="c", value=value, model="m",
        truncated=truncated, attempt=1,
    )  # fmt: skip
    kept = stored(row)
    assert "value" not in json.dumps(dict(kept.value))
    assert from_stored(stored(row, found={"value": value, "truncated": truncated, "model": "m"})) == row
    assert from_stored(kept) is None  # its answer is gone, so it is asked again


@pytest.mark.parametrize(
    "damage", [{"status": "done"}, {"run": "captions"}, {"value": {}}, {"value": {"uri": 7}}, {"answer": "gone"}]
)
def test_a_damaged_row_is_none(damage):
    row = ArchiveRow(uri="a.mp4", step="caption", step_digest="d1", status="failed")
    assert from_stored(stored(row)) == row
    assert from_stored(stored(row, **damage)) is None


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"uri": "a"}, "step, step_digest, status"),
        ({"uri": "a", "step": "s", "step_digest": "d", "status": "done"}, "done"),
    ],
)
def test_columns_that_are_no_row(columns, words):
    with pytest.raises(errors.ConfigurationError, match=words):
        ArchiveRow.from_dict(columns)


# --- Passages ---

NOTES = {
    "index": 0,
    "start": 0,
    "end": 9,
    "summary": "A door.",
    "events": [{"start": 1, "end": 2, "text": "It opens."}],
}
VALUES = {
    "caption": ({"scene": "A door.", "tags": ["red", "old"]}, [(None, None, "A door.\nred\nold", "caption")]),
    "caption with times": (
        {"captions": [{"start": 0, "end": 2.5, "text": "A door."}], "title": "Doors"},
        [(0.0, 2.5, "A door.", "caption"), (None, None, "Doors", "caption")],
    ),
    "summarize": (
        {
            "summary": "Doors.", "chapters": [{"start": 0, "end": 9, "title": "One", "summary": "It opens."}],
            "events": [{"start": 1, "end": 2, "text": "It opens."}],
            "speech": [{"start": 3, "end": 4, "text": "Hello."}],
            "on_screen_text": [],
        },
        [
            (None, None, "Doors.", "summary"), (0.0, 9.0, "One. It opens.", "chapter"),
            (1.0, 2.0, "It opens.", "event"), (3.0, 4.0, "Hello.", "speech"),
        ],
    ),
    "transcribe": (
        {
            "text": "Hello. Bye.",
            "sentences": [{"start": 1, "end": 2, "text": "Hello."}, {"start": 70, "end": 71, "text": "Bye."}],
        },
        [(1.0, 2.0, "Hello.", "speech"), (70.0, 71.0, "Bye.", "speech")],
    ),
    "transcribe without times": ({"text": "Hello."}, [(None, None, "Hello.", "speech")]),
    "transcribe silence": ({"text": ""}, []),
    "notes": ({"segments": [NOTES]}, [(0.0, 9.0, "A door.", "segment"), (1.0, 2.0, "It opens.", "event")]),
    "own": ("Any text.", [(None, None, "Any text.", "caption")]),
    "own number": (7, []),
}  # fmt: skip


@pytest.mark.parametrize("case", VALUES)
def test_passages(case):
    value, expected = VALUES[case]
    row = ArchiveRow(
        uri="a.mp4", content_digest="c", step=case.split(" ")[0], step_digest="d", status="ok", value=value
    )
    found = list(passages_of(row))
    shown = [(one.start, one.end, one.text, one.kind) for one in found]
    if case == "notes":
        assert expected[1] in shown
        assert "A door." in shown[0][2]
    else:
        assert shown == expected
    assert {one.content_digest for one in found} <= {"c"}


def test_a_row_without_a_value_has_no_passages():
    assert not list(passages_of(ArchiveRow(uri="a.mp4", step="caption", step_digest="d", status="failed")))
