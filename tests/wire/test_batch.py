"""What the service says about files, batches and lines, in every form that its pages show."""

import json
from typing import Any

import pytest
from hypothesis import given, strategies as st

from qwen_omni import APIError, ContentFilterError, InvalidRequestError, RateLimitError, ServerError
from qwen_omni.wire.batch import (
    AnsweredLine,
    decode_batch,
    decode_file_id,
    decode_lines,
    decode_page,
    encode_batch,
    encode_line,
    error_of,
    response_of,
)

BODY = {"choices": [{"finish_reason": "stop", "index": 0, "message": {"content": "Hello"}}],
        "usage": {"total_tokens": 9}, "model": "qwen-plus", "id": "c-1", "object": "chat.completion"}  # fmt: skip
GOOD = {"id": "1", "custom_id": "a", "response": {"status_code": 200, "request_id": "r", "body": BODY}, "error": None}
BATCH = {"id": "b-1", "status": "completed", "request_counts": {"total": 3, "completed": 2, "failed": 1},
         "output_file_id": "o", "error_file_id": "e", "errors": None, "created_at": 1768306034}  # fmt: skip


def row(**changes: Any) -> bytes:
    return json.dumps({**GOOD, **changes}).encode() + b"\n"


STREAM = """data: {"choices": [{"delta": {"content": "Hel"}}]}

data: {"error": {"code": "limit_requests", "message": "in a stream"}}

"""
FAILED: list[tuple[dict[str, Any], type[APIError], str]] = [
    ({"response": None, "error": {"code": "InvalidParameter", "message": "bad"}}, InvalidRequestError, "bad"),
    ({"response": None, "error": {"error_code": "limit_requests", "error_message": "slow"}}, RateLimitError, "slow"),
    ({"response": {"status_code": 400, "body": None}, "error": {"code": "data_inspection_failed", "message": "no"}},
     ContentFilterError, "no"),
    ({"response": {"status_code": 429, "body": {"error": {"code": "x", "message": "busy"}}}, "error": None},
     RateLimitError, "busy"),
    ({"response": {"status_code": 400, "body": {"code": "y", "message": "flat"}}}, InvalidRequestError, "flat"),
    ({"response": None, "error": None}, InvalidRequestError, "no reason"),
    ({"response": None, "error": "plain words"}, InvalidRequestError, "plain words"),
    ({"response": {"status_code": 200, "body": None}, "error": {"message": "odd"}}, InvalidRequestError, "odd"),
    ({"response": {"status_code": 200, "body": {"error": {"code": "limit_requests", "message": "later"}}}},
     RateLimitError, "later"),
    ({"response": {"status_code": 200, "body": {"code": "DataInspectionFailed", "message": "flat"}}},
     ContentFilterError, "flat"),
    ({"response": {"status_code": 200, "body": STREAM}}, RateLimitError, "in a stream"),
    ({"response": {"status_code": "500", "body": "<html>"}, "error": None}, ServerError, "no reason"),
]  # fmt: skip


@pytest.mark.parametrize(("changes", "kind", "words"), FAILED)
def test_failed_lines(changes: dict[str, Any], kind: type[APIError], words: str) -> None:
    """Each has the class that the same refusal has in real time."""
    (line,), problem = decode_lines(row(**changes))
    assert (line.custom_id, line.body, problem) == ("a", None, "")
    error = error_of(line)
    assert type(error) is kind
    assert words in str(error)


def test_good_lines() -> None:
    """In any order, after a byte order mark, with or without a line break at the end, and with empty lines between."""
    lines, problem = decode_lines(
        b"\xef\xbb\xbf" + row() + b"\n" + row(custom_id=7) + b" \r\n" + row(custom_id="b")[:-1]
    )
    assert ([line.custom_id for line in lines], problem) == (["a", "7", "b"], "")
    assert response_of(lines[0].body).text == "Hello"


@given(st.integers(min_value=0, max_value=3 * len(row()) - 1))
def test_a_cut_file_gives_what_is_whole(at: int) -> None:
    """Every whole line, and a problem exactly if a line was cut."""
    content = row() * 3
    lines, problem = decode_lines(content[:at])
    whole, rest = divmod(at, len(row()))
    assert len(lines) == whole + (rest == len(row()) - 1)
    assert bool(problem) == (0 < rest < len(row()) - 1)


@given(st.binary(max_size=200))
def test_any_bytes(content: bytes) -> None:
    """No foreign error."""
    decode_lines(content)


@pytest.mark.parametrize("content", [b"[]", b'{"custom_id": null}', b"1", b'{"custom_id": {}}', b"\xff\xfe"])
def test_rows_that_are_none(content: bytes) -> None:
    """The others are read all the same."""
    lines, problem = decode_lines(content + b"\n" + row())
    assert (len(lines), problem.startswith("line 1 cannot be read")) == (1, True)


def test_a_batch() -> None:
    """With its counts and files; unknown keys are ignored."""
    made = decode_batch(json.dumps({**BATCH, "new": 1}).encode())
    assert (made.status, made.total, made.completed, made.failed) == ("completed", 3, 2, 1)
    assert (made.output_file_id, made.error_file_id, made.created_at, made.ended) == ("o", "e", 1768306034, True)


@pytest.mark.parametrize(
    "change", [{"id": None}, {"status": "resting"}, {"status": None}, {"status": 3}, {"id": ["x"]}]
)
def test_a_batch_that_is_none(change: dict[str, Any]) -> None:
    """A typed error, which quotes what came."""
    with pytest.raises(APIError, match="about the batch cannot be read"):
        decode_batch(json.dumps({**BATCH, **change}).encode())


@pytest.mark.parametrize("counts", [None, [], "x", {"total": "3"}, {"total": -1}, {"total": None}])
def test_counts_of_any_form(counts: Any) -> None:
    """They are information only."""
    assert decode_batch(json.dumps({**BATCH, "request_counts": counts}).encode()).total in (0, 3)


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b'"x"', b"null"])
def test_replies_that_are_no_objects(body: bytes) -> None:
    """From a proxy, for example."""
    for decode in (decode_file_id, decode_batch):
        with pytest.raises(APIError):
            decode(body)


def test_a_page() -> None:
    """Batches of other programs, in whatever state, do not end it; nor does an entry that is none."""
    entries = [{**BATCH, "metadata": {"a": "m"}}, {**BATCH, "id": "b-2", "status": "resting", "metadata": None}, {}]
    found, after = decode_page(json.dumps({"data": entries, "has_more": True, "last_id": "b-2"}).encode())
    assert [(one.id, "m" in metadata) for one, metadata in found] == [("b-1", True), ("b-2", False)]
    assert after == "b-2"
    assert decode_page(b'{"data": [], "has_more": true}') == ([], "")
    assert decode_page(b"{}") == ([], "")


def test_what_is_sent() -> None:
    """The line and the body of `create`, as documented."""
    line = json.loads(encode_line("a", {"model": "qwen-plus", "messages": []}))
    assert line == {"custom_id": "a", "method": "POST", "url": "/v1/chat/completions",
                    "body": {"model": "qwen-plus", "messages": []}}  # fmt: skip
    made = json.loads(encode_batch("f", "batch-test-model", 36, {"ds_name": "n"}))
    assert made == {"input_file_id": "f", "endpoint": "/v1/chat/ds-test", "completion_window": "36h",
                    "metadata": {"ds_name": "n"}}  # fmt: skip


def test_an_error_without_words() -> None:
    """Still says that there were none."""
    assert "the service gave no reason" in str(error_of(decode_lines(row(response=None))[0][0]))
    assert isinstance(error_of(AnsweredLine(custom_id="a", status=400, message="x")), InvalidRequestError)
