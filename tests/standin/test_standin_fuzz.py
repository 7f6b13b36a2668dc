"""Whatever JSON arrives, the stand-in answers or refuses; it never breaks."""

from __future__ import annotations

import copy
import json

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from qwen_omni.standin.answers.service import CHAT_PATH, Request, State, respond
from qwen_omni.standin.marked_media import make_image

from .conftest import chat, image_part, tool

_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
_CALL = {"id": "c1", "type": "function", "function": {"name": "add", "arguments": "{}"}}
BODY = {
    **chat(image_part(make_image("55", (60, 60)), max_pixels=90_000), "Give json of this"),
    "tools": [tool("add", a={"type": "integer"})],
    "tool_choice": {"type": "function", "function": {"name": "add"}}, "enable_thinking": False,
    "response_format": {"type": "json_object"}, "stop": ["x"], "temperature": 0.5, "modalities": ["text"],
    "reasoning_effort": "none", "seed": 1, "max_tokens": 90, "n": 1,
}  # fmt: skip
BODY["messages"] += [
    {"role": "assistant", "content": None, "tool_calls": [_CALL]},
    {"role": "tool", "tool_call_id": "c1", "content": "5"},
    {"role": "user", "content": "and as json?"},
]


def places(value, path=()):
    yield path
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, held in inner:
        yield from places(held, (*path, key))


def answered(raw):
    request = Request(method="POST", path=CHAT_PATH, headers={"authorization": "Bearer k"}, body=raw)
    return respond(request, State(keys=("k",)))


def test_the_body_is_good():
    """The body that is broken below is a good one."""
    assert answered(json.dumps(BODY).encode()).status == 200


@pytest.mark.slow
@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(place=st.sampled_from(list(places(BODY))), value=_VALUES)
def test_any_value_anywhere(place, value):
    """One value of a good body, replaced by any JSON, is taken or refused in the usual form."""
    body = {"body": copy.deepcopy(BODY)}
    held = body
    for key in ("body", *place)[:-1]:
        held = held[key]
    held[("body", *place)[-1]] = value
    reply = answered(json.dumps(body["body"]).encode())
    assert reply.status in (200, 400, 404)
    assert reply.pieces


@pytest.mark.parametrize("raw", [b"", b"\xff\xfe", b"null", b'"a"', b"[]", b"{" * 2000])
def test_broken_json(raw):
    """A body that is no JSON object is a 400."""
    assert answered(raw).status == 400
