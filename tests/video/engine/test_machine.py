"""The run as a state machine: what begins when, and what a failure means. No media, no network, no waiting."""

import math
import re

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni.errors import (
    AccountError,
    APIConnectionError,
    ContentFilterError,
    RateLimitError,
    ServerError,
    SpendLimitError,
    StoreUnavailableError,
    TooManyGapsError,
    TruncatedAnswerError,
)
from qwen_omni.video.engine.machine import Ask, Cut, Deliver, Joins, Machine, Prepare, Reduce, Rules
from qwen_omni.video.schemas import notes_text
from tests.support.simulation import Simulation, notes, segment


def machine(reduce_tokens=60_000, **rules):
    return Machine(rules=Rules(**rules), joins=Joins(reduce_tokens), to_text=notes_text)


def is_ask(action, *indexes):
    return isinstance(action, Ask) and action.segment.index in indexes


@settings(max_examples=30)
@given(st.integers(1, 60), st.integers(1, 12), st.lists(st.floats(0.5, 60), min_size=1, max_size=20))
def test_every_segment_is_asked_once_and_never_too_many_at_once(segments, concurrency, seconds):
    """Whatever the answers take: each segment once, in order, within the concurrency and the window."""
    run = Simulation(machine(concurrency=concurrency), segments, ask_seconds=lambda n: seconds[n % len(seconds)]).run()
    assert sorted(run.asked) == list(range(segments))
    assert sorted(run.machine.answers) == list(range(segments))
    assert run.most_asking <= concurrency
    assert run.most_open <= concurrency + 4
    assert run.machine.joined is not None


def test_a_slow_answer_does_not_hold_up_the_others():
    """One answer of ten minutes costs ten minutes, not more: the others go on meanwhile, as far as the window lets."""
    run = Simulation(machine(concurrency=8), 80, ask_seconds=lambda n: 600.0 if n == 3 else 6.0).run()
    assert run.now < 600 + 20


@pytest.mark.parametrize(
    ("step", "error", "begun"),
    [
        (Ask, lambda n: ServerError(f"down: {n}"), (1, 3, 3)),  # its money was given back, and its link may have ended
        (Ask, lambda _: RateLimitError("slow down"), (1, 3, 3)),  # always the same words, and nothing about the request
        (Deliver, lambda n: APIConnectionError(f"cut: {n}"), (1, 3, 1)),
        (Reduce, lambda n: ServerError(f"down: {n}"), (1, 1, 1)),
    ],
)
def test_what_failed_in_passing_is_begun_again(step, error, begun):
    """Three times in all: what was prepared is kept, and delivered again before it is asked about again."""

    def fault(action, attempt):
        hit = isinstance(action, step) and getattr(action, "segment", segment(2)).index == 2
        return error(attempt) if hit and attempt < 3 else None

    run = Simulation(machine(retry_seconds=5), 4, fault=fault).run()
    assert (run.prepared.count(2), run.delivered.count(2), run.asked.count(2)) == begun
    assert len(run.joined) == (3 if step is Reduce else 1)
    assert sorted(run.machine.answers) == [0, 1, 2, 3]
    assert run.machine.error is None


@pytest.mark.parametrize("step", [Prepare, Deliver, Ask, Reduce])
@pytest.mark.parametrize(
    ("words", "tries"),
    [(("down",) * 9, 2), (("a", "b", "b"), 3), (("a", "b", "a"), 4), (("a", "b", "c", "d"), 4), (("a", "b"), 3)],
)
def test_an_error_that_repeats_word_for_word_is_final(step, words, tries):
    """The same words again are no passing fault; other words get the tries that are allowed."""
    begun = []

    def fault(action, _):
        if not isinstance(action, step) or getattr(action, "segment", segment(1)).index != 1:
            return None
        begun.append(action)
        return ServerError(words[len(begun) - 1]) if len(begun) <= len(words) else None

    run = Simulation(machine(step_retries=3, max_gaps=1, retry_seconds=0.0), 3, fault=fault).run()
    assert len(begun) == tries
    failed = isinstance(run.machine.error, ServerError) if step is Reduce else 1 in run.machine.gaps
    assert failed == (words not in (("a", "b"), ("a", "b", "a")))


@pytest.mark.parametrize(("reason", "tries"), [("incomplete", 2), ("length", 1), ("content_filter", 1)])
def test_only_an_answer_that_broke_off_by_itself_is_asked_again(reason, tries):
    """What a limit or content inspection cut would be cut, and billed, again."""
    error = TruncatedAnswerError("cut", partial={}, text="{", reason=reason)
    run = Simulation(
        machine(max_gaps=1), 3, fault=lambda action, n: error if is_ask(action, 1) and n < 2 else None
    ).run()
    assert run.asked.count(1) == tries
    assert list(run.machine.gaps) == ([] if tries == 2 else [1])


def test_what_fails_for_good_becomes_a_gap():
    """Content inspection refuses one segment: the others are asked, and the reason is told."""
    run = Simulation(
        machine(max_gaps=1), 6, fault=lambda action, _: ContentFilterError("no") if is_ask(action, 4) else None
    ).run()
    assert list(run.machine.gaps) == [4]
    assert "ContentFilterError: no" in run.machine.gaps[4].reason
    assert sorted(run.machine.answers) == [0, 1, 2, 3, 5]
    assert run.machine.joined is not None


def test_more_gaps_than_allowed_end_the_run():
    """The error lists the gaps; answers in flight are still taken."""
    run = Simulation(
        machine(max_gaps=2), 30, fault=lambda action, _: ContentFilterError("no") if is_ask(action, 1, 2, 3) else None
    ).run()
    assert isinstance(run.machine.error, TooManyGapsError)
    assert [gap.index for gap in run.machine.error.gaps] == [1, 2, 3]
    assert len(run.asked) < 30
    assert set(run.asked) == set(run.machine.answers) | {1, 2, 3}


def test_a_run_without_a_single_answer_is_an_error():
    """Gaps may be allowed, but not nothing at all."""
    run = Simulation(
        machine(max_gaps=9), 2, fault=lambda action, _: ContentFilterError("no") if isinstance(action, Ask) else None
    ).run()
    assert isinstance(run.machine.error, TooManyGapsError)
    assert run.machine.joined is None


def test_a_second_look_at_chosen_segments_may_fail_as_a_whole():
    """They have answers of the pass before; the gaps are told, and the run is over without an error."""
    looking = Machine(rules=Rules(max_gaps=2, wanted=frozenset({1, 3})), to_text=notes_text)
    run = Simulation(looking, 4, fault=lambda action, _: ContentFilterError("no") if is_ask(action, 1, 3) else None)
    run.run()
    assert run.machine.error is None
    assert run.machine.over
    assert sorted(run.machine.gaps) == [1, 3]


@pytest.mark.parametrize(
    ("error", "step"),
    [
        (AccountError("unpaid"), Ask),
        (AccountError("unpaid"), Deliver),
        (SpendLimitError("no", unit="CNY", estimated=1, limit=1, spent=1), Deliver),
    ],
    ids=["unpaid", "unpaid, at the store", "limit"],
)
def test_what_every_segment_would_meet_stops_the_run(error, step):
    """An unpaid bill is not a gap: nothing more is asked, what is in flight is kept."""
    run = Simulation(
        machine(concurrency=4),
        50,
        fault=lambda action, _: error if isinstance(action, step) and action.segment.index >= 10 else None,
    ).run()
    assert run.machine.error is error
    assert not run.machine.gaps
    assert set(run.machine.answers) == {index for index in run.asked if index < 10}
    assert len(run.machine.answers) >= 8
    assert len(set(run.asked)) <= 10 + 4


@pytest.mark.parametrize("concurrency", [1, 8])
def test_an_upload_never_takes_the_place_of_a_question(concurrency):
    """Uploads go on beside the questions, two at a time, and never more are held than the window: the link is full."""
    run = Simulation(
        machine(concurrency=concurrency), 80, deliver_seconds=4.0, ask_seconds=lambda _: 1.5 * concurrency
    ).run()
    assert run.most_delivering == 2
    assert run.most_open <= concurrency + 4
    assert run.now < 80 * 4.0 / 2 + 1.5 * concurrency + 20


def test_an_upload_that_fails_for_good_stops_the_run_and_keeps_the_rest():
    """A store that nobody reaches is not a gap: every segment would meet it. Nothing is asked without its media."""
    run = Simulation(
        machine(),
        6,
        fault=lambda action, _: StoreUnavailableError("away") if action == Deliver(segment(4)) else None,
    ).run()
    assert isinstance(run.machine.error, StoreUnavailableError)
    assert 4 not in run.asked
    assert not run.machine.gaps


def test_money_that_is_set_aside_for_others_is_waited_for():
    """Two have room within the limit: the rest wait until those have told their cost, and all are asked."""
    held = set()

    def fault(action, attempt):
        if isinstance(action, Deliver):
            if len(held) >= 2:
                return SpendLimitError("reserved", unit="CNY", estimated=1, limit=2, spent=2)
            held.add(action.segment.index)
        elif isinstance(action, Ask):
            held.discard(action.segment.index)
        return None

    run = Simulation(machine(concurrency=8), 20, fault=fault, ask_seconds=lambda n: 1.0 + n % 3).run()
    assert run.machine.error is None
    assert sorted(run.machine.answers) == list(range(20))
    assert run.most_asking <= 2


def test_a_spend_limit_is_asked_again_when_the_others_have_settled():
    """What others have set aside is more than they cost: a refusal while they run is not final."""
    free = []

    def fault(action, attempt):
        if is_ask(action, 1) and attempt == 1:
            return SpendLimitError("reserved", unit="CNY", estimated=1, limit=2, spent=2)
        free.append(action)
        return None

    run = Simulation(machine(concurrency=2), 3, ask_seconds=lambda n: 1.0 if n == 1 else 9.0, fault=fault).run()
    assert run.machine.error is None
    assert sorted(run.machine.answers) == [0, 1, 2]


def test_too_many_requests_hold_everything_for_a_while():
    """After a 429 that survived the client's repetitions nothing is sent for half a minute."""
    run = Simulation(
        machine(concurrency=1), 3, fault=lambda a, n: RateLimitError("slow down") if is_ask(a, 1) and n == 1 else None
    ).run()
    again = run.asked_at[2] - run.asked_at[1]
    assert again >= 30
    assert sorted(run.machine.answers) == [0, 1, 2]


def test_another_process_is_waited_for():
    """A step that somebody else works on is looked at again, not asked."""
    run = machine()
    (_,) = run.actions(0)
    run.cut(segment(0))
    prepare = next(action for action in run.actions(0) if isinstance(action, Prepare))
    run.busy(prepare, 0)
    assert not [action for action in run.actions(0.1) if isinstance(action, Prepare)]
    assert 0 < run.wake(0.1) <= 0.5
    assert [action for action in run.actions(0.6) if isinstance(action, Prepare)]


def test_known_answers_are_not_asked():
    """What a checkpoint holds is taken as it is."""
    run = machine()
    assert [type(action) for action in run.actions(0)] == [Cut]
    run.cut(segment(0), notes(0))
    assert [type(action) for action in run.actions(0)] == [Cut]
    run.cut(None)
    (join,) = run.actions(0)
    assert isinstance(join, Reduce)
    assert join.last
    assert "mark0" in join.text


def test_joining_that_fails_for_good_stops_the_run_and_loses_nothing():
    """The notes are all there for the next try."""
    run = Simulation(machine(), 3, fault=lambda a, _: ServerError("down") if isinstance(a, Reduce) else None).run()
    assert isinstance(run.machine.error, ServerError)
    assert sorted(run.machine.answers) == [0, 1, 2]


@pytest.mark.parametrize("segments", [125, 1000])
def test_a_thousand_segments_are_joined_in_a_flat_tree(segments):
    """12 h and more: each note in exactly one leaf, depth logarithmic, steps in proportion to the length."""
    run = Simulation(machine(reduce_tokens=3000, concurrency=8), segments, ask_seconds=lambda _: 1.0).run()
    leaves = [step for step in run.joined if step.level == 0]
    marks = [int(mark) for step in leaves for mark in re.findall(r"mark(\d+) ", step.text)]
    assert marks == list(range(segments))
    assert run.machine.joins.level <= math.ceil(math.log2(segments))
    assert [step for step in run.joined if step.last] == [run.joined[-1]]
    assert run.steps < 6 * segments
