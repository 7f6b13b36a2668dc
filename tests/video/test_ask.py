"""Questions about long videos: the moments that show the answer, and no step asked twice."""

import asyncio
import contextlib
import json
import sqlite3
from dataclasses import replace

import pytest

from qwen_omni import AsyncOmniClient, QwenOmniError, SummaryOptions, aask_video, ask_video
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_audio
from qwen_omni.standin.server.script import Turn
from qwen_omni.video.engine.worker import Checkpoint
from qwen_omni.video.schemas import clock
from qwen_omni.work_store.store import Taken

OPTIONS = SummaryOptions(segment_seconds=12, overlap=0, single_call_seconds=0, retry_seconds=0.0)


REFUSED = Fault.refuse(400, "data_inspection_failed", "Input or output data may contain inappropriate content.")
LONG_FINDINGS = json.dumps({"relevance": 0.9, "found": "word " * 500, "evidence": [{"start": 1, "text": "a sign"}]})


def words_of(content):
    """Return the text of a message."""
    return content if isinstance(content, str) else " ".join(part.get("text", "") for part in content)


def question_about(film, second):
    return f"When is {film.codes[second]} shown?"


def test_a_question_asked_again_sends_nothing(client, fresh, short):
    """Both passes and the last answer are kept: the same question costs once, in threads and in `asyncio`."""
    question = question_about(short, 31)
    first = ask_video(short.path, question, client=client, options=OPTIONS)
    assert any(short.codes[31] in one.text and abs(one.time - 31) <= 1 for one in first.evidence)
    assert first.this_run.requests == len(fresh.requests) == 7
    again = ask_video(short.path, question, client=client, options=OPTIONS)

    async def ask():
        async with AsyncOmniClient(client.settings) as other:
            return await aask_video(short.path, question, client=other, options=OPTIONS)

    later = asyncio.run(ask())
    assert len(fresh.requests) == 7
    for found in (again, later):
        assert (found.answer, found.evidence, found.this_run.requests) == (first.answer, first.evidence, 0)


@pytest.mark.slow
def test_another_wish_is_asked_anew(client, fresh, short):
    """What is to be looked out for stands in every request, so findings for one wish are none for another."""
    question, options = question_about(short, 31), replace(OPTIONS, segment_seconds=40)
    ask_video(short.path, question, client=client, options=replace(options, focus="dogs"))
    first = len(fresh.requests)
    ask_video(short.path, question, client=client, options=replace(options, focus="cats"))
    later = [words_of(request.body["messages"][-1]["content"]) for request in fresh.requests[first:]]
    assert len(later) == first
    assert all("cats" in words and "dogs" not in words for words in later)


@pytest.mark.slow
def test_asyncio_asks_first_too(client, fresh, short):
    """What `aask_video` has paid for costs `ask_video` nothing; progress is told on the way."""
    told = []

    async def ask():
        async with AsyncOmniClient(client.settings) as other:
            question = question_about(short, 5)
            return await aask_video(short.path, question, client=other, options=OPTIONS, on_progress=told.append)

    first = asyncio.run(ask())
    assert {"prepared", "segment"} <= {one.kind for one in told}
    sent = len(fresh.requests)
    assert first.this_run.requests == sent
    assert ask_video(short.path, question_about(short, 5), client=client, options=OPTIONS).answer == first.answer
    assert len(fresh.requests) == sent


@pytest.mark.slow
def test_a_last_step_that_fails_costs_only_itself(client, fresh, short):
    """The passes are kept when the last answer fails; the next run asks for that alone, and its usage is kept."""
    question = question_about(short, 12)
    refused = Fault.refuse(401, "invalid_api_key", "Incorrect API key")
    fresh.script.fault(refused, when=lambda request: request.body["model"] == "qwen-plus")
    with pytest.raises(QwenOmniError):
        ask_video(short.path, question, client=client, options=OPTIONS)
    sent = len(fresh.requests)
    fresh.script.clear()
    found = ask_video(short.path, question, client=client, options=OPTIONS)
    assert len(fresh.requests) == sent + 1
    assert found.this_run.requests == 1


@pytest.mark.slow
def test_too_many_findings_are_joined_in_a_tree(client, fresh, short):
    """More than one step may read is joined part by part, each once; asked again, nothing is sent."""
    options = replace(OPTIONS, segment_seconds=8, reduce_tokens=1000)
    question = question_about(short, 31)
    fresh.script.reply(Turn(text=LONG_FINDINGS), when=lambda request: bool(request.media))
    found = ask_video(short.path, question, client=client, options=options)
    joins = [request.body["messages"][-1]["content"] for request in fresh.requests if not request.media]
    assert len(joins) >= 3
    told = [words_of(join) for join in joins]
    helpful = [f"From {clock(one.start)} to" for one in found.findings]
    assert len(helpful) >= 4
    leaves = [join for join in told if "From some clips" not in join]
    assert len(leaves) >= 2
    assert all(sum(title in join for join in leaves) == 1 for title in helpful)
    assert told[-1].count("From some clips") == len(leaves)
    assert found.answer
    sent = len(fresh.requests)
    again = ask_video(short.path, question, client=client, options=options)
    assert (again.answer, len(fresh.requests)) == (found.answer, sent)


@pytest.mark.parametrize(
    ("seconds", "second", "closer"), [(12, None, ()), (12, 31, (0, 1)), (40, None, ())], ids=["each", "one", "alone"]
)
@pytest.mark.slow
def test_a_closer_look_that_is_refused_costs_only_itself(client, fresh, short, seconds, second, closer):
    """What was found from afar is paid for: it is answered from, it is no gap, and no limit on gaps counts it."""

    def near(request):
        codes = {code for one in request.media if one.fps > 1 for code in one.picture_codes}
        return bool(codes) and (second is None or short.codes[second] in codes)

    fresh.script.fault(REFUSED, when=near)
    options = replace(OPTIONS, segment_seconds=seconds)
    found = ask_video(short.path, question_about(short, 31), client=client, options=options)
    assert any(short.codes[31] in one.text and abs(one.time - 31) <= 1 for one in found.evidence)
    assert (found.looked_again, found.gaps) == (closer, ())


@pytest.mark.slow
def test_a_segment_that_is_refused_from_afar_is_a_gap(client, fresh, short):
    """Nothing is known of it, so it is told, and it is not looked at again."""
    code = short.codes[20]
    fresh.script.fault(REFUSED, when=lambda request: any(code in one.picture_codes for one in request.media))
    found = ask_video(short.path, question_about(short, 31), client=client, options=OPTIONS)
    (gap,) = found.gaps
    assert gap.start <= 20 < gap.end
    assert gap.segment not in found.looked_again
    assert gap.segment not in [one.index for one in found.findings]


@pytest.mark.slow
def test_sound_is_not_listened_to_twice(client, fresh, tmp_path):
    """A closer look is more frames a second; a recording has none, so it is asked about once."""
    call = make_audio(tmp_path / "call.mp3", seconds=36)
    found = ask_video(call.path, f"When is {call.codes[25]} said?", client=client, options=OPTIONS)
    assert found.looked_again == ()
    assert len(fresh.requests) == 4
    assert any(call.codes[25] in one.text for one in found.evidence)


def test_a_lone_step_belongs_to_one(tmp_path):
    """While one works on it, it is not ready for another; what was given back is; what is finished is known."""
    path = tmp_path / "run.sqlite3"
    one = Checkpoint(path)
    assert one.claim("last") is None
    with Checkpoint(path) as other:
        assert isinstance(other.claim("last"), Taken)
        one.close()
        assert other.claim("last") is None
        assert other.finish("last", "{}") is None
    with Checkpoint(path) as third:
        assert third.claim("last") == "{}"
    with contextlib.closing(sqlite3.connect(path)) as base:
        assert base.execute("SELECT COUNT(*) FROM claims").fetchone() == (0,)
