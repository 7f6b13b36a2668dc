"""Windows: what is joined, what is told once, and in which order they come."""

import math

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import ConfigurationError
from qwen_omni.retrieval.passages import UNKNOWN, complete, time_range_of
from qwen_omni.retrieval.windows import (
    Hit,
    Window,
    WindowOptions,
    evidence_of,
    left_out_text,
    shared_words,
    to_passage,
    to_windows,
)
from qwen_omni.video.overlap import gap_between, says_the_same


def hit(start: float, end: float, text: str = "", score: float | None = None, source: str = "a.mp4", **facts) -> Hit:
    """Make a hit; without a text, one like no other."""
    told = text or f"event {start} {end}"
    return Hit(metadata=complete({"source": source, "start": start, "end": end, **facts}), text=told, score=score)


def ranges(windows: list[Window]) -> list[tuple[str, float, float]]:
    return [(one.source, one.start, one.end) for one in windows]


CASES = {
    "neighbours": ([hit(0, 10), hit(12, 20)], [("a.mp4", 0, 20)]),
    "overlaps": ([hit(5, 15), hit(0, 10)], [("a.mp4", 0, 15)]),
    "too far apart": ([hit(0, 10), hit(20, 30)], [("a.mp4", 0, 10), ("a.mp4", 20, 30)]),
    "too long together": ([hit(0, 40), hit(40, 80)], [("a.mp4", 0, 40), ("a.mp4", 40, 80)]),
    "exactly as long": ([hit(0, 40), hit(40, 60)], [("a.mp4", 0, 60)]),
    "joined by a third": ([hit(0, 5), hit(14, 20), hit(8, 12)], [("a.mp4", 0, 20)]),
    "a passage longer than a window": ([hit(0, 90)], [("a.mp4", 0, 90)]),
    "narrowed to the detail": ([hit(0, 120), hit(50, 52)], [("a.mp4", 21, 81)]),
    "narrowed at the start": ([hit(0, 120), hit(2, 4)], [("a.mp4", 0, 60)]),
    "not widened by what is about all": ([hit(50, 52), hit(0, 120)], [("a.mp4", 50, 52)]),
    "another video": ([hit(0, 10), hit(5, 15, source="b.mp4")], [("a.mp4", 0, 10), ("b.mp4", 5, 15)]),
    "another audio track": ([hit(0, 10, audio_track="0"), hit(12, 20, audio_track="1")],
                            [("a.mp4", 0, 10), ("a.mp4", 12, 20)]),
    "shared time goes to the better": ([hit(0, 40), hit(30, 75)], [("a.mp4", 0, 40), ("a.mp4", 40, 75)]),
    "a moment": ([hit(7, 7)], [("a.mp4", 7, 7)]),
    "nothing": ([], []),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_what_is_joined(name):
    hits, expected = CASES[name]
    assert ranges(to_windows(hits)) == expected


def test_more_windows_of_a_video_than_wanted():
    found = to_windows([hit(at * 100, at * 100 + 5) for at in range(9)], per_video=2)
    assert ranges(found) == [("a.mp4", 0, 5), ("a.mp4", 100, 105)]


def test_an_event_is_told_once():
    """Found twice, in overlapping segments and under an old ID; another event of the same words is another."""
    found = to_windows([
        hit(10, 14, "A man in red comes in.", 0.9),
        hit(13.5, 16, "a man in red comes in", 0.8),
        hit(10, 14, "A man in red comes in.", 0.7),
        hit(300, 304, "A man in red comes in.", 0.6),
    ])  # fmt: skip
    assert [(one.start, one.text, len(one.hits)) for one in found] == [
        (10, "A man in red comes in.", 1), (300, "A man in red comes in.", 1),
    ]  # fmt: skip


def test_the_text_is_in_order_of_time():
    """What a segment says of a detail is not repeated by the detail."""
    found = to_windows([
        hit(20, 25, "The cake is cut.", 0.9),
        hit(8, 16, "Guests arrive.\nMusic plays.", 0.8),
        hit(9, 11, "Guests arrive.", 0.7),
    ])  # fmt: skip
    assert [one.text for one in found] == ["0:08 Guests arrive.\nMusic plays.\n0:20 The cake is cut."]
    assert [one.score for one in found[0].hits] == [0.9, 0.8, 0.7]
    assert found[0].score == 0.9
    (other,) = to_windows([hit(20, 25, "The cake is cut and eaten by everyone."), hit(18, 19, "Music.")])
    assert other.text == "0:18 Music.\n0:20 The cake is cut and eaten by everyone."


def test_passages_of_a_window_are_in_their_order():
    """The best one first, also where the third one joined two windows."""
    (window,) = to_windows([hit(14, 20), hit(0, 5), hit(8, 12)])
    assert [one.metadata["start"] for one in window.hits] == [14, 0, 8]


def test_two_good_passages_come_before_one():
    """Neither is the best one alone, but only there are both."""
    hits = [
        hit(0, 5, "sign", 0.80, "b.mp4"), hit(0, 5, "sign", 0.75), hit(0, 5, "sign", 0.74, "c.mp4"),
        hit(4, 9, "speech", 0.70), hit(0, 5, "other", 0.3, "d.mp4"),
    ]  # fmt: skip
    assert to_windows(hits)[0].source == "a.mp4"
    distances = [Hit(metadata=one.metadata, text=one.text, score=1 - one.score) for one in hits]
    assert ranges(to_windows(distances)) == ranges(to_windows(hits))


SCORES = {
    "similarities": ((0.9, 0.8, 0.5), True),
    "distances": ((0.1, 0.2, 0.5), True),
    "none": ((None, None, None), False),
    "some": ((0.9, None, 0.5), False),
    "in another order": ((0.5, 0.9, 0.1), False),
    "all the same": ((0.5, 0.5, 0.5), False),
    "not a number": ((0.9, math.nan, 0.5), False),
    "infinite": ((math.inf, 0.5, 0.1), False),
}


@pytest.mark.parametrize("name", SCORES)
def test_how_much_a_hit_counts(name):
    """The first counts 1, and none more than the one before it; scores out of order say nothing."""
    scores, used = SCORES[name]
    weights = evidence_of([hit(at, at + 1, score=score) for at, score in enumerate(scores)])
    assert weights[0] == 1
    assert weights == sorted(weights, reverse=True)
    assert (weights == evidence_of([hit(at, at + 1) for at in range(3)])) is not used


def test_rare_words_move_a_passage_up():
    """The store found it third; only there is the code of the question. Without `words`, the store's order stays."""
    hits = [hit(at * 100, at * 100 + 5, f"The gate {code} opens.", 0.9 - at / 100) for at, code in enumerate(
        ("A1", "C3", "B7", "D4", "E5", "F6")
    )]  # fmt: skip
    question = "When does gate B7 open?"
    assert max(shared_words(question, hits)) == shared_words(question, hits)[2] == 1
    assert "B7" in WindowOptions(k=1).windows(question, [*hits[:3], hit(900, 905, "Nothing.", 0.1)])[0].text
    assert "A1" in WindowOptions(k=1, words=False).windows(question, hits)[0].text
    assert shared_words("", hits) == [0] * 6


@pytest.mark.parametrize(
    ("name", "value"),
    [("k", 0), ("fetch_k", 0), ("seconds", 0), ("seconds", math.nan), ("per_video", 0), ("gap", -1), ("k", "4")],
)
def test_numbers_out_of_range(name, value):
    with pytest.raises(ConfigurationError, match=name):
        WindowOptions(**{name: value})
    if name not in ("k", "fetch_k"):
        with pytest.raises(ConfigurationError, match=name):
            to_windows([], **{name: value})


NO_TIMES = (
    {"source": "notes.pdf", "page": 3}, {"start": 1.0, "end": 2.0}, {"source": "a.mp4", "start": 1.0},
    {"source": "a.mp4", "start": "1", "end": "2"}, {"source": "a.mp4", "start": 3.0, "end": 2.0},
    {"source": "a.mp4", "start": math.nan, "end": 2.0}, complete({"source": "a.mp4"}),
)  # fmt: skip


@pytest.mark.parametrize("metadata", NO_TIMES, ids=str)
def test_documents_without_times(metadata):
    """They are left out, and counted."""
    hits = [hit(0, 5), Hit(metadata=metadata, text="x")]
    assert ranges(to_windows(hits)) == [("a.mp4", 0, 5)]
    assert left_out_text(hits) == "1 of 2 documents name no time range of a video and were left out."
    assert left_out_text(hits[:1]) == ""


def test_a_window_is_a_passage():
    """Its metadata are what its passages have in common; `clip` of it is the window."""
    both = {"language": "en", "duration": 99.0, "course": "physics", "video_codec": "h264"}
    (window,) = to_windows([
        hit(10, 14, "A.", kind="event", speakers="1", **both), hit(15, 22, "B.", kind="speech", speakers="2", **both),
    ])  # fmt: skip
    found = to_passage(window)
    assert set(UNKNOWN) | {"course"} == set(found.metadata)
    told = {name: found.metadata[name] for name in ("start", "end", "language", "kind", "speakers", "course")}
    assert told == {"start": 10, "end": 22, "language": "en", "kind": "window", "speakers": "", "course": "physics"}
    assert str(found.metadata["url"]).endswith("a.mp4#t=10,22")
    stretch = time_range_of(found.metadata)
    assert (stretch.source, stretch.start, stretch.end) == ("a.mp4", 10, 22)
    assert to_passage(window).id == found.id
    assert to_passage(to_windows([hit(10, 23)])[0]).id != found.id
    assert to_passage(to_windows([hit(10, 22, audio_track="1")])[0]).id != found.id


TEXTS = st.sampled_from(("A door opens.", "a door opens", "A dog.", "Gate 7", "Gate 8", "", "门打开了"))
HITS = st.builds(
    lambda start, length, text, source, score: hit(start, start + length, text, score, source),
    st.floats(0, 300), st.floats(0, 150), TEXTS, st.sampled_from(("a.mp4", "b.mp4")), st.none() | st.floats(-9, 9),
)  # fmt: skip


@given(hits=st.lists(HITS, max_size=25), seconds=st.floats(1, 100), per_video=st.integers(1, 4), gap=st.floats(0, 20))
def test_every_window(hits, seconds, per_video, gap):
    """It is no longer than it may be, made of hits that were found, apart from the others, and stable."""
    found = to_windows(hits, seconds=seconds, per_video=per_video, gap=gap)
    for window in found:
        longest = max(one.metadata["end"] - one.metadata["start"] for one in window.hits)
        assert -1e-6 <= window.end - window.start <= max(seconds, longest) + 1e-6
        assert all(one in hits and one.metadata["source"] == window.source for one in window.hits)
        assert window.score == window.hits[0].score
    for at, window in enumerate(found):
        others = [one for one in found[:at] if one.source == window.source]
        assert len(others) < per_video
        assert all(gap_between(window, one) >= -1e-6 for one in others)
    weights = dict(zip(map(id, hits), evidence_of(hits), strict=True))
    for window in found:
        counted = [weights[id(one)] for one in window.hits]
        assert counted == sorted(counted, reverse=True)
    told = [one for window in found for one in window.hits]
    for at, one in enumerate(told):
        for other in told[:at]:
            same = says_the_same(one.text, other.text) and one.metadata["source"] == other.metadata["source"]
            assert not (same and one.metadata["start"] == other.metadata["start"])
    assert (not hits) == (not found)
    assert to_windows(hits, seconds=seconds, per_video=per_video, gap=gap) == found
