"""The small pure parts: the tree, the seams, the notes."""

import itertools

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.retrieval.passages import Passages
from qwen_omni.structured.parse import parse_caption
from qwen_omni.structured.schema import read_schema
from qwen_omni.tools.handlers import Moment, merged
from qwen_omni.video.engine.machine import group
from qwen_omni.video.overlap import says_the_same, to_timeline
from qwen_omni.video.schemas import SegmentAnswer, SegmentNotes, TimedNote, system_text, to_notes, words_for


@given(st.lists(st.integers(1, 5000), min_size=1, max_size=300), st.integers(1000, 9000))
def test_groups_cover_everything_once_and_get_fewer(sizes, budget):
    """Every note is in one group, in order; more than one group means fewer groups than notes."""
    groups = group(sizes, budget)
    assert list(itertools.chain.from_iterable(groups)) == list(range(len(sizes)))
    assert len(groups) == 1 or len(groups) <= len(sizes) // 2
    assert all(sum(sizes[at] for at in one[:-1]) <= budget or len(one) <= 3 for one in groups)


SAME = [
    ("A man enters.", "a man enters", True),
    ("code 1234 is shown", "code 1235 is shown", False),
    ("A man in a red coat enters the small room", "A man in a red coat enters the room", True),
    ("A man enters the room", "A man leaves the room", False),
    ("一个男人走进房间。", "一个男人走进房间", True),
    ("一个男人走进房间", "一个女人离开学校", False),
    ("…", "…", True),
]


@pytest.mark.parametrize(("one", "other", "same"), SAME, ids=[one for one, _, _ in SAME])
def test_texts_say_the_same_or_not(one, other, same):
    """A few words may differ, numbers may not."""
    assert says_the_same(one, other) is same
    assert says_the_same(other, one) is same


def told(index, start, end, *events):
    return SegmentNotes(
        index=index, start=start, end=end, events=[TimedNote(start=a, end=b, text=t) for a, b, t in events]
    )


KNOCKS = ((8.2, 8.4, "a knock"), (9.2, 9.4, "a knock"))
SEAMS = {
    "an event in the overlap, and one that a cut divides": (
        [told(0, 0, 10, (1, 2, "a"), (8, 10, "B b")), told(1, 8, 18, (8, 11, "b b"), (12, 13, "c"))],
        [(1, 2, "a"), (8, 11, "b b"), (12, 13, "c")],
    ),
    "the same words far from a seam": (
        [told(0, 0, 10, (1, 2, "a knock"), (4, 5, "a knock")), told(1, 9, 19, (14, 15, "a knock"))],
        [(1, 2, "a knock"), (4, 5, "a knock"), (14, 15, "a knock")],
    ),
    "two of a kind in the overlap": ([told(0, 0, 10, *KNOCKS), told(1, 8, 18, *KNOCKS)], [*KNOCKS]),
    "what goes on through many segments": (
        [told(n, 10 * n, 10 * n + 10, (10 * n, 10 * n + 10, "A title")) for n in range(3)], [(0, 30, "A title")],
    ),
    "segments that do not touch": (
        [told(0, 0, 10, (9, 10, "A title")), told(2, 20, 30, (20, 21, "A title"))],
        [(9, 10, "A title"), (20, 21, "A title")],
    ),
}  # fmt: skip


@pytest.mark.parametrize(("notes", "events"), SEAMS.values(), ids=SEAMS)
def test_what_both_sides_of_a_seam_tell_is_told_once(notes, events):
    """Times are those of both together; what happens twice stays two."""
    assert [(one.start, one.end, one.text) for one in to_timeline(notes).events] == events


READ = [
    ('{"summary": "s", "events": [{"start": "0:05", "end": "0:07", "text": "t"}]}', (95.0, 97.0)),
    ('{"summary": "s", "events": [{"start": 5, "text": "t"}]}', (95.0, 95.0)),
    ('{"summary": "s", "events": [{"time": "00:05 - 00:07", "text": "t"}]}', (95.0, 97.0)),
    ('{"summary": "s", "events": [{"start": 7, "end": 5, "text": "t"}]}', (95.0, 97.0)),
    ('{"summary": "s", "events": [{"start": 29, "end": 40.5, "text": "t"}]}', (119.0, 120.0)),
    ('{"summary": "s", "events": [{"start": 40.5, "end": 41.5, "text": "t"}]}', (120.0, 120.0)),
    ('{"summary": "s", "events": [{"start": 5000, "end": 7000, "text": "t"}]}', (95.0, 97.0)),
    (
        ('```json\n{"summary": "s", "events": [{"start": 5, "end": 7, "text": "t"}, '
        '{"start": 1, "end": 2, "text": ""}],}\n```'),
        (95.0, 97.0),
    ),
    (
        ('{"summary": "s", "events": [{"start": 5, "end": 7, "text": "t"}], "speech": null, '
        '"language": "I think English"}'),
        (95.0, 97.0),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("text", "times"), READ, ids=range(len(READ)))
def test_answers_are_read_as_models_write_them(text, times):
    """A segment from 90 s to 120 s: times become those of the whole, none lies outside, no event is dropped."""
    answer = parse_caption(text, read_schema(SegmentAnswer), facts={"duration": 30.0}).value
    notes = to_notes(answer, index=3, start=90, end=120)
    assert [(one.start, one.end) for one in notes.events] == [times]
    assert notes.language == ""


FOREIGN = [
    '{"summary": "s", "events": true}', '{"summary": "s", "events": [], "speech": 1.5}',
    '{"summary": {"a": 1}, "events": []}',
    '{"summary": "s", "events": {"a": 1}}', '{"summary": "s", "events": [[1]]}', '{"summary": "s", "events": [7]}',
    '{"summary": "s", "events": [{"start": %s, "end": 1, "text": "t"}]}' % ("9" * 400),
    '{"summary": "s", "events": [{"start": 1e999, "end": 1, "text": "t"}]}',
    '{"summary": "s", "events": [{"start": 400, "end": 500, "text": "t"}, {"start": 1, "end": 90000, "text": "t"}]}',
    '{"summary": "s", "events": [{"start": true, "end": 1, "text": "t"}]}',
    '{"summary": "s", "events": [{"start": [1], "end": 1, "text": "t"}]}',
]  # fmt: skip


@pytest.mark.parametrize("text", FOREIGN, ids=range(len(FOREIGN)))
def test_what_is_foreign_is_a_schema_error(text):
    """Wrong types and numbers without end never raise anything bare: they are what the model is asked again about."""
    with pytest.raises(CaptionSyntaxError) as caught:
        parse_caption(text, read_schema(SegmentAnswer), facts={"duration": 30.0})
    assert caught.value.problems
    assert all(len(problem) < 400 for problem in caught.value.problems)


@pytest.mark.parametrize("field", ["on_screen_text", "speech", "language"])
def test_null_means_the_default(field):
    """A null in a field that has a default is the default."""
    made = parse_caption(f'{{"summary": "s", "events": [], "{field}": null}}', read_schema(SegmentAnswer)).value
    assert getattr(made, field) == SegmentAnswer.model_fields[field].default


def test_an_answer_without_events_is_asked_for_again():
    """A list of events is not optional."""
    with pytest.raises(CaptionSyntaxError):
        parse_caption('{"summary": "s"}', read_schema(SegmentAnswer), facts={"duration": 30.0})


@pytest.mark.parametrize(("language", "sign"), [("中文", "片段"), ("zh", "片段"), ("French", "clip"), (None, "clip")])
def test_prompts_are_in_the_users_language_where_there_are_some(language, sign):
    """Chinese for those who ask for it; the word json is in every prompt, without which JSON mode is refused."""
    assert sign in words_for(language).segment
    text = system_text(read_schema(SegmentAnswer), language=language)
    assert "json" in text.lower()
    assert language is None or language in text or language == "zh"


OVERLAPS = [  # two stretches of time with what they tell; whether they are one in neighbouring segments, and in one
    ((8, 10, "A dog runs by."), (9, 12, "a dog runs by"), True, True),
    ((8, 10, "A dog runs by."), (10.8, 12, "a dog runs by"), True, False),  # near at a seam; apart where nothing is cut
    ((8, 10, "Bus no. 3 stops."), (9, 12, "Bus no. 4 stops."), False, False),
    ((8, 10, "A dog runs by."), (11.2, 12, "A dog runs by."), False, False),
]


@pytest.mark.parametrize(("one", "other", "at_a_seam", "in_one"), OVERLAPS)
def test_one_rule_tells_what_was_told_twice(one, other, at_a_seam, in_one):
    """The timeline of a video, passages for an index and moments that were found ask the same rule."""
    notes = [told(0, 0, 10, one), told(1, 9, 19, other)]
    passages = Passages("a.mp4", "captions")
    moments = [Moment(start=start, end=end, what=text) for start, end, text in (one, other)]

    assert len(to_timeline(notes).events) == 2 - at_a_seam
    assert sum(1 for note in notes for _ in passages.of(note)) == 2 - at_a_seam
    assert len(merged(moments)) == 2 - in_one
