"""Answers of the native routes with odd values: a meaning, or an error of ours."""

import json
import random

import pytest

from qwen_omni import errors
from qwen_omni.transcription.protocol import decode_submitted, decode_task, decode_transcript
from qwen_omni.upload.temporary import parse_policy
from tests.wire.test_damage import swapped

POLICY = {
    "data": {
        "policy": "p", "signature": "s", "upload_dir": "d/", "upload_host": "https://host.example.com",
        "oss_access_key_id": "k", "x_oss_object_acl": "private", "x_oss_forbid_overwrite": "true",
        "expire_in_seconds": 300, "max_file_size_mb": 100, "capacity_limit_mb": 1,
    }
}  # fmt: skip
SUBMITTED = {"output": {"task_id": "t-1", "task_status": "PENDING"}, "request_id": "r"}
TASK = {
    "output": {
        "task_status": "SUCCEEDED", "code": None, "message": "",
        "results": [
            {"subtask_status": "SUCCEEDED", "transcription_url": "https://h/x.json", "code": "C", "message": "m"},
        ],
    },
    "usage": {"duration": 9, "seconds": 9},
}  # fmt: skip
WORD = {"begin_time": 0, "end_time": 500, "text": "Hi", "punctuation": "."}
SENTENCE = {**WORD, "speaker_id": 1, "words": [WORD], "language": "en", "emotion": "neutral"}
TRANSCRIPT = {
    "properties": {"original_duration_in_milliseconds": 9000},
    "transcripts": [{"channel_id": 0, "text": "Hi.", "sentences": [SENTENCE]}],
}
READERS = {
    "policy": (POLICY, lambda body: parse_policy(body, 0.0)),
    "submitted": (SUBMITTED, decode_submitted),
    "task": (TASK, decode_task),
    "transcript": (TRANSCRIPT, decode_transcript),
}


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("seed", range(3))
def test_odd_values_raise_nothing_foreign(name, seed):
    """Nulls, wrong types, numbers without end, in any place."""
    value, read = READERS[name]
    read(json.dumps(value).encode())
    draw = random.Random(seed)
    for number in range(300):
        body = json.dumps(swapped(value, draw)).replace("Infinity", "1e999").encode()
        try:
            str(read(body)).encode()
        except errors.QwenOmniError:
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}: {body!r}") from error


BODIES = (
    b"",
    b"<html>",
    b"[" * 100_000,
    b"null",
    b"5",
    b'"x"',
    b"\xff",
    b'{"data": null}',
    b"9" * 5_000,
    b'{"output": []}',
)


@pytest.mark.parametrize("name", READERS)
@pytest.mark.parametrize("body", BODIES, ids=range(len(BODIES)))
def test_what_is_no_object_is_an_error_or_lost(name, body):
    """Pages, bombs, other JSON."""
    try:
        found = READERS[name][1](body)
    except errors.QwenOmniError:
        return
    assert name == "task"
    assert found.state == "lost"


@pytest.mark.parametrize(("number", "bytes_"), [(100, 100 * 2**20), ("100", 100 * 2**20), (None, None), ("", None)])
def test_numbers_of_a_policy_come_as_numbers_or_texts(number, bytes_):
    """Both were seen; none is no limit."""
    body = {"data": {**POLICY["data"], "max_file_size_mb": number}}
    assert parse_policy(json.dumps(body).encode(), 0.0).limit_bytes == bytes_
