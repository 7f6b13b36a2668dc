"""Segments cover a timeline; cuts move only earlier, and only a little."""

import itertools
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.plan.segments import MOST_MOVED, CutPoint, plan_segments

seconds = st.fractions(min_value=Fraction(1, 30), max_value=600, max_denominator=90_000)
lengths = st.fractions(min_value=12, max_value=120, max_denominator=1001)
overlaps = st.fractions(min_value=0, max_value=4, max_denominator=1000)


@settings(max_examples=100)
@given(duration=seconds, longest=lengths, overlap=overlaps, data=st.data())
def test_every_instant_is_in_a_segment(duration, longest, overlap, data):
    """Together segments cover all, in order, overlapping by what was asked; none is too long, no cut is late."""
    asked = []

    def places(earliest, latest):
        asked.append((earliest, latest))
        return [
            CutPoint(at=earliest + Fraction(data.draw(st.integers(-300, 800)), 100), weight=weight)
            for weight in data.draw(st.lists(st.integers(1, 3), max_size=3))
        ]

    shortest = Fraction(2)
    segments = list(plan_segments(duration, seconds=longest, overlap=overlap, shortest=shortest, places=places))

    assert segments[0].start == 0
    assert segments[-1].end == duration
    assert [segment.index for segment in segments] == list(range(len(segments)))
    for earlier, later in itertools.pairwise(segments):
        assert later.start == earlier.end - overlap
        assert later.start > earlier.start
    for segment in segments:
        assert 0 < segment.duration <= longest
        assert segment.duration >= min(shortest, duration)
    for (earliest, latest), segment in zip(asked, segments, strict=False):
        assert latest - earliest == MOST_MOVED
        assert earliest <= segment.end <= latest


def test_the_best_place_wins_and_the_latest_among_equals():
    """A scene cut with silence beats a silence; of two alike the one that makes the longer segment."""
    places = [CutPoint(at=Fraction(86), weight=3), CutPoint(at=Fraction(89)), CutPoint(at=Fraction(84), weight=3)]
    first, *_ = plan_segments(Fraction(200), places=lambda _from, _to: places)

    assert first.end == 86


def test_lengths_that_leave_no_room_are_refused():
    """A segment must be longer than what it shares with the next one."""
    with pytest.raises(ConfigurationError, match="leave no room"):
        list(plan_segments(Fraction(100), seconds=Fraction(6), overlap=Fraction(2)))


@pytest.mark.parametrize(("name", "number"), [("seconds", 0), ("seconds", -1), ("overlap", -1)])
def test_impossible_lengths_are_refused_also_where_nothing_is_cut(name, number):
    """Where all fits in one segment, too: the error tells the bounds before a longer film meets them."""
    with pytest.raises(ConfigurationError, match=f"{name} must be .*got {number}"):
        list(plan_segments(Fraction(20), **{"seconds": Fraction(90), name: Fraction(number)}))
