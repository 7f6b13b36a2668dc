"""Parity: each framework's spelling of every row of the shared table becomes the row's JSON."""

import json
from typing import Any

import pytest
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.client import make_carrier
from qwen_omni.integrations.request_builder import RequestPlan
from qwen_omni.request.prepared_request import PreparedRequest
from tests.contracts import langchain_spellings
from tests.contracts.conversations import CALLS, CONVERSATIONS, Row

pytest.importorskip("llama_index.core")

from llama_index_qwen_omni import QwenOmni
from tests.contracts import llama_index_spellings


def _langchain(model: str, messages: list[Any], options: dict[str, Any]) -> RequestPlan:
    return ChatQwenOmni(model=model, api_key=SecretStr("sk-nobody"))._plan(messages, None, options)


def _llama_index(model: str, messages: list[Any], options: dict[str, Any]) -> RequestPlan:
    return QwenOmni(model=model, api_key=SecretStr("sk-nobody"))._plan(messages, options)


FRAMEWORKS = {
    "langchain": (langchain_spellings.SPELLINGS, _langchain),
    "llama_index": (llama_index_spellings.SPELLINGS, _llama_index),
}
# What both adapters add on purpose: they ask for JSON without thinking, in every form of JSON.
ADDED: dict[str, dict[str, Any]] = {"a schema where the model takes one": {"reasoning_effort": "none"}}


@pytest.mark.parametrize(("spellings", "plan"), FRAMEWORKS.values(), ids=FRAMEWORKS)
@pytest.mark.parametrize("row", CONVERSATIONS, ids=lambda row: row.name)
def test_same_json(row: Row, spellings: Any, plan: Any) -> None:
    """The JSON of a framework's conversation is that of the neutral one."""
    planned = plan(row.model, spellings[row.name], CALLS.get(row.name, {}))
    settings = planned.connection.load()
    body = json.loads(b"".join(PreparedRequest(planned.request, settings, make_carrier(settings)).call.body))
    sent = {name: value for name, value in body.items() if name not in ("model", "stream", "stream_options")}
    assert sent == {**row.body, **ADDED.get(row.name, {})}
    assert (body["model"], body["stream"]) == (row.model, True)


@pytest.mark.parametrize(("spellings", "plan"), FRAMEWORKS.values(), ids=FRAMEWORKS)
def test_no_spelling_without_a_row(spellings: Any, plan: Any) -> None:
    """Every spelling belongs to a row of the shared table."""
    assert set(spellings) == {row.name for row in CONVERSATIONS}
