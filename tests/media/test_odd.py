"""Odd files are prepared right: the seconds that go in come out, upright, square, in time, with their sound."""

import os
from pathlib import Path

import pytest

from qwen_omni.media.prepare import prepare
from qwen_omni.standin.media.perceive import Memory
from tests.support.odd import ODD, SECONDS, Odd

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", list(ODD))
def test_an_odd_file_is_prepared_right(name: str, tmp_path: Path):
    """What a file shows and sounds each second is what its prepared form shows and sounds in that second."""
    odd = ODD[name]
    made = odd.make(tmp_path)

    with prepare(made.path, budget="static") as prepared:
        facts = Memory().recall(prepared.info.kind, prepared.read())

    if odd.size is not None:
        assert (facts.width, facts.height) == odd.size
        assert (prepared.info.width, prepared.info.height) == odd.size
    if facts.kind == "video":
        assert abs(facts.duration - SECONDS) <= odd.slack
        assert abs(float(prepared.info.duration) - facts.duration) <= odd.slack
    if odd.marks and odd.size is not None:
        check_marks(facts.picture_marks, made.codes, 0.26 if facts.fps >= 4 else 0.4)
    if odd.sound:
        assert facts.sound
        check_marks(facts.sound_marks, made.codes, 0.05, late=odd.late)
    else:
        assert not facts.sound


def check_marks(marks, codes, slack: float, late: float = 0.0) -> None:
    assert [mark.code for mark in marks] == list(codes)
    for second, mark in enumerate(marks):
        assert abs(mark.start - second - late) <= slack, (second, mark)


@pytest.mark.skipif(not hasattr(os, "sched_getscheduler"), reason="only some systems tell")
def test_making_a_file_leaves_the_process_as_polite_as_it_was(tmp_path: Path):
    """A test that ran before all other processes of the machine would spoil every measurement beside it."""
    ODD["av1"].make(tmp_path)

    assert os.sched_getscheduler(0) == os.SCHED_OTHER


def test_the_matrix_is_wide():
    """At least forty kinds of odd files are tried."""
    assert len(ODD) >= 40
    assert all(isinstance(odd, Odd) for odd in ODD.values())
