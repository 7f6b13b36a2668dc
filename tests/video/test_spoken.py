"""What is said, put into passages: each sentence where it lies, and asked for once."""

import asyncio

import pytest
from hypothesis import given, settings as rules, strategies as st

from qwen_omni import AsyncOmniClient, Sentence, SummaryOptions, Transcript, TranscriptionOptions
from qwen_omni.retrieval.index import aspoken, sentences_in, spoken, with_speech
from qwen_omni.retrieval.passages import Passage
from qwen_omni.standin.marked_media import make_audio

QUICK = TranscriptionOptions(poll_seconds=0.01)


@rules(max_examples=80)
@given(st.lists(st.tuples(st.floats(0, 500), st.floats(0, 40)), max_size=30), st.lists(st.floats(1, 99), min_size=1))
def test_every_sentence_lies_in_a_passage(sentences, lengths):
    """Passages that cover the time tell every sentence at least once, and none that does not touch them."""
    said = Transcript(text="x", sentences=[Sentence(start=at, end=at + long, text="x") for at, long in sentences])
    told, start = [], 0.0
    while start < 600:
        end = start + lengths[len(told) % len(lengths)]
        told.append(list(sentences_in(said, start, end)))
        assert all(one.start <= end and one.end >= start for one in told[-1])
        start = end
    assert {id(one) for group in told for one in group} == {id(one) for one in said.sentences}


def test_a_passage_without_times_or_words_stays_as_it_is():
    """Nothing is added where nothing is said."""
    said = Transcript(text="Hello.", model="m", sentences=(Sentence(start=50, end=51, text="Hello."),))
    for facts in ({}, {"start": 0.0, "end": 9.0}):
        passage = Passage(id="1", text="A door.", metadata=facts)
        assert with_speech(passage, said) is passage
    passage = Passage(id="1", text="A door.", metadata={"start": 0.0, "end": 60.0})
    assert with_speech(passage, None) is passage
    assert with_speech(passage, said).text == "A door.\nSaid: Hello."


def test_both_ways_share_what_is_paid(client, fresh, tmp_path):
    """`spoken` and `aspoken` give the same transcript, and it is submitted once; another range is another one."""
    fresh.tasks.clear()
    fresh.tasks.polls_until_done = 0
    call = make_audio(tmp_path / "call.mp3", seconds=6)
    options = SummaryOptions()
    said = spoken(call.path, QUICK, client=client, options=options)
    calls = len(fresh.tasks.calls)

    async def ask():
        async with AsyncOmniClient(client.settings) as other:
            return await aspoken(call.path, QUICK, client=other, options=options)

    assert asyncio.run(ask()) == said
    assert len(fresh.tasks.calls) == calls
    assert fresh.tasks.submitted == 1
    part = spoken(call.path, QUICK, client=client, options=SummaryOptions(start=3))
    assert part.sentences[0].start >= 3
    assert fresh.tasks.submitted == 2
    assert spoken(call.path, False, client=client, options=options) is None
    again = spoken(call.path, TranscriptionOptions(poll_seconds=0.5, wait_seconds=9), client=client, options=options)
    assert again == said
    assert fresh.tasks.submitted == 2
    with pytest.raises(Exception, match="returns no times"):
        spoken(call.path, TranscriptionOptions(model="qwen3-asr-flash"), client=client, options=options)
