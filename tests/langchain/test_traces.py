"""What traces show of a long video: an LLM run for every request, below the step that made it."""

import asyncio
import re

import pytest
from langchain_core.language_models import FakeMessagesListChatModel
from langchain_core.messages import AIMessage
from langchain_core.tracers.run_collector import RunCollectorCallbackHandler

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, UsageLedgerHandler
from qwen_omni import AuthenticationError, QwenOmniError
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import make_video

CHOICES = {"detail": "low", "segment_seconds": 8, "overlap": 0, "single_call_seconds": 0, "retry_seconds": 0.0}


@pytest.fixture(scope="module")
def service():
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Sixteen seconds, two segments."""
    return make_video(tmp_path_factory.mktemp("film") / "a.mp4", seconds=16, size=(128, 96), fps=2, sound=False).path


@pytest.fixture
def chain(service, film, tmp_path):
    """Build a chain whose checkpoint is empty."""
    service.clear()
    service.script.clear()
    llm = ChatQwenOmni(api_key=service.api_key, base_url=service.base_url, media_root=film.parent)
    return lambda **others: LongVideoChain(llm, **{**CHOICES, "checkpoint": tmp_path, **others})


def ran(chain, film, asynchronous, *others):
    """Run a chain; return its result, or error, and its run as a tracer has it."""
    collector = RunCollectorCallbackHandler()
    config = {"callbacks": [collector, *others]}
    try:
        found = asyncio.run(chain.ainvoke(film, config=config)) if asynchronous else chain.invoke(film, config=config)
    except QwenOmniError as error:
        found = error
    (run,) = collector.traced_runs
    return found, run


def llm_runs(run):
    """Yield all LLM runs below a run, with the names of the runs above them."""
    for child in run.child_runs:
        if child.run_type in ("llm", "chat_model"):
            yield (run.name, child)
        yield from llm_runs(child)


@pytest.mark.parametrize("asynchronous", [False, True])
def test_every_request_is_an_llm_run(chain, service, film, asynchronous):
    ledger = UsageLedgerHandler()
    found, run = ran(chain(), film, asynchronous, ledger)
    runs = sorted(llm_runs(run), key=lambda pair: pair[0])
    assert [place for place, _ in runs] == ["LongVideoChain", "segment 0", "segment 1"]
    assert len(runs) == len(service.requests) == ledger.ledger.total.calls
    tokens = 0
    for _, one in runs:
        message = one.outputs["generations"][0][0]["message"]["kwargs"]
        assert message["content"]
        tokens += message["usage_metadata"]["input_tokens"]
        assert one.extra["metadata"]["ls_provider"] == "qwen-omni"
        assert one.start_time < one.end_time
        assert one.error is None
    assert [one.extra["metadata"]["ls_model_name"] for _, one in runs] == [
        "qwen-plus", "qwen3.8-omni-flash", "qwen3.8-omni-flash",
    ]  # fmt: skip
    assert tokens == found.this_run.input_tokens
    asked = str([one.inputs for _, one in runs])
    assert re.search(r"\[video, 0 s to 8 s\]", asked)
    assert re.search(r"\[video, 8 s to 16 s\]", asked)
    assert len(asked) < 40_000, "no media in a trace"
    _, again = ran(chain(), film, asynchronous)
    assert list(llm_runs(again)) == [], "what comes from the checkpoint is no request"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_the_join_of_another_model_is_its_own_run(chain, film, asynchronous):
    answer = '{"summary": "A test.", "chapters": [{"start": 0, "title": "All of it"}]}'
    other = FakeMessagesListChatModel(responses=[AIMessage(answer)], name="joiner")
    _, run = ran(chain(text_model=other), film, asynchronous)
    assert sorted((place, one.name) for place, one in llm_runs(run)) == [
        ("LongVideoChain", "joiner"), ("segment 0", "ChatQwenOmni"), ("segment 1", "ChatQwenOmni"),
    ]  # fmt: skip


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_failed_request_is_a_failed_run(chain, service, film, asynchronous):
    service.script.fault(Fault.refuse(401, "invalid_api_key", "Incorrect API key"), times=9)
    found, run = ran(chain(concurrency=1), film, asynchronous)
    assert isinstance(found, AuthenticationError)
    runs = [one for _, one in llm_runs(run)]
    assert runs
    assert all("AuthenticationError" in one.error for one in runs)


@pytest.mark.slow
def test_a_question_has_its_looks_and_its_answer(chain, service, film):
    found, run = ran(chain(question="Which number is shown?"), film, False)
    places = [place for place, _ in llm_runs(run)]
    assert places.count("LongVideoChain") == 1
    assert len(places) == len(service.requests) == 3 + len(found.looked_again)
