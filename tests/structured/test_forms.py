"""The service's documented text forms, as captions, notes and moments: read whole, cut, misspelt and in pieces."""

import contextlib
import itertools
import json
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni.errors import CaptionSyntaxError, TruncatedAnswerError
from qwen_omni.structured.ask import AnswerText, ObjectStream, ReadOptions, read_answer
from qwen_omni.structured.forms import read_form
from qwen_omni.structured.parse import CaptionStream, Parsed, parse_caption
from qwen_omni.structured.schema import read_schema
from qwen_omni.structured.timed import TimedCaptions
from qwen_omni.tools.handlers import Moments
from qwen_omni.video.schemas import SegmentAnswer
from tests.support.beginning import begins

CAPTIONS, NOTES = read_schema(TimedCaptions), read_schema(SegmentAnswer)
LENGTH = {"duration": 15.0}

NARRATIVE = """A short clip about cooking, in warm light.

[00:00:00:000-00:00:04:000] A cook enters and says, "Good morning."
She smiles.

[00:00:04:000-00:00:12:500] The shot cuts to a pan.

The meal is served."""
SECTIONS = """1. Structured chronological storyline

[00:00:00.000 - 00:00:04.000] A cook enters.
- She smiles.
[00:00:04.000 - 00:00:12.500] She leaves.

2. Structured list of all visible text

| Start timestamp | End timestamp | Text | Appearance |
|---|---|---|---|
| 00:01 | 00:03 | "SALE" | red letters |

3. Structured speech-to-text transcription

- Speaker: Cook (calm); Content: "Hello."; Start timestamp: 00:00:02.000; End timestamp: 00:00:03.500; State: calm
- Speaker: Cook
  Content: "Bye."
  Start: 8.5s
  End: 9.0s

4. Additional content

The light is warm."""
SPEAKERS = "<soc>\n<sos><0.25>你好，A < B。<1.5><speaker1><eos>\n<sos><00:02.0>Hello!<00:03.25><speaker2><eos><eoc>"
SCENES = {
    "summary": "Cooking.",
    "scenes": [
        {
            "time_range": {"start_seconds": 0, "end_seconds": 9.5},
            "setting": "A kitchen.",
            "events": [
                {"time_range": {"start_seconds": 2, "end_seconds": 3.5}, "participants": ["cook", "pan"],
                 "action": "The cook fries an egg.", "sounds": ["sizzling"]},
                {"time_range": {"start_seconds": 4, "end_seconds": 5}, "participants": [], "action": "He waits.",
                 "sounds": []},
            ],
        }
    ],
}  # fmt: skip
SOUNDS = [{"type": "dog_barking", "start_time": 1.23, "end_time": 4.56}]


def captions(text: str, **facts: Any) -> Parsed:
    return parse_caption(text, CAPTIONS, facts={**LENGTH, **facts})


def listed(entries: Any) -> list[tuple[float, float, str]]:
    return [(one.start, one.end, one.text) for one in entries]


def test_the_narrative() -> None:
    """Ranges are captions and events; the overview and the closing are the notes' summary, and a note of captions."""
    parts = [(0.0, 4.0, 'A cook enters and says, "Good morning."\nShe smiles.'), (4.0, 12.5, "The shot cuts to a pan.")]
    made = captions(NARRATIVE).value
    assert listed(made.captions) == parts
    assert [(note.kind, note.text) for note in made.notes] == [
        ("untimed", "A short clip about cooking, in warm light."), ("untimed", "The meal is served."),
    ]  # fmt: skip
    notes = parse_caption(NARRATIVE, NOTES, facts=LENGTH).value
    assert (notes.summary, listed(notes.events)) == (
        "A short clip about cooking, in warm light.\nThe meal is served.",
        parts,
    )


def test_the_three_sections() -> None:
    """Storyline, visible text and transcript are the three lists of notes, and one list of captions in order of time."""
    story = [(0.0, 4.0, "A cook enters.\n- She smiles."), (4.0, 12.5, "She leaves.")]
    shown = [(1.0, 3.0, 'Text: "SALE"; Appearance: red letters')]
    said = [
        (2.0, 3.5, 'Speaker: Cook (calm); Content: "Hello."; State: calm'),
        (8.5, 9.0, 'Speaker: Cook\nContent: "Bye."'),
    ]
    notes = parse_caption(SECTIONS, NOTES, facts=LENGTH).value
    assert (listed(notes.events), listed(notes.on_screen_text), listed(notes.speech)) == (story, shown, said)
    assert notes.summary == "4. Additional content\nThe light is warm."
    made = captions(SECTIONS).value
    assert listed(made.captions) == [story[0], shown[0], said[0], story[1], said[1]]
    assert [note.text for note in made.notes] == ["4. Additional content", "The light is warm."]


def test_sections_that_hold_nothing_and_sections_that_are_missing() -> None:
    """Words that say that there is nothing are an empty list; a section that is not there is asked for again, by name."""
    story, rest = SECTIONS.partition("\n2. ")[0], "\n2. Visible text\n\nNo text appears.\n"
    notes = parse_caption(f"{story}{rest}\n3. Speech transcription: No speech appears.", NOTES, facts=LENGTH).value
    assert (len(notes.events), notes.on_screen_text, notes.speech) == (2, (), ())
    assert notes.summary == "A cook enters.\n- She smiles.\nShe leaves."
    with pytest.raises(CaptionSyntaxError) as raised:
        parse_caption(story + rest, NOTES, facts=LENGTH)
    assert raised.value.problems == ("speech: the section is missing",)


def test_a_listed_text_without_times_is_named() -> None:
    """Between entries with times, one without is a problem of the answer, not a lost line."""
    with pytest.raises(CaptionSyntaxError) as raised:
        parse_caption(SECTIONS.replace("  Start: 8.5s\n  End: 9.0s\n", ""), NOTES, facts=LENGTH)
    assert raised.value.problems[0] == "speech.1.start: Field required"


def test_speakers() -> None:
    """Turns are captions and speech, with the speaker in front; silence is an empty list."""
    turns = [(0.25, 1.5, "speaker1: 你好，A < B。"), (2.0, 3.25, "speaker2: Hello!")]
    assert listed(captions(SPEAKERS).value.captions) == turns
    assert captions("<soc><eoc>").value.captions == ()
    spoken = parse_caption(f"{NARRATIVE}\n\n{SPEAKERS}", NOTES, facts=LENGTH).value
    assert (listed(spoken.speech), len(spoken.events)) == (turns, 2)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<soc><sos><0>hi<1><eos><eoc>", "speech.0.speaker: is missing"),
        ("<soc><sos><0>hi<speaker1><eos><eoc>", "captions.0.end: Field required"),
        ("<soc><sos>hi<1><speaker1><eos><eoc>", "captions.0.start: Field required"),
        ("<soc><sos><0><1><speaker1><eos><eoc>", "captions.0.text: Field required"),
        ("<soc><sos><0>a<1><speaker1><eos>between<sos><2>b<3><speaker1><eos><eoc>", "speech.1.speaker: is missing"),
        ("<soc><sos><soon>hi<1><speaker1><eos><eoc>", "captions.0.start: Value error, 'soon' is not a time"),
        ("<soc><sos><nan>hi<1><speaker1><eos><eoc>", "captions.0.start: Value error, 'nan' is not a time"),
        ("<soc><sos><-1>hi<1><speaker1><eos><eoc>", "captions.0.start: Value error, '-1' is not a time"),
        ("[00:00:01:000] A cook.", "captions.0.end: Field required"),
        ("[00:00:0x:000-00:00:04:000] A cook.", "captions.0.start: Value error, '00:00:0x:000' is not a time"),
        ("[00:00:01:000-00:00:??:000] A cook.", "captions.0.end: Value error, '00:00:??:000' is not a time"),
        ("[00:00:01:000-00:00:04:000]\n[00:00:04:000-00:00:05:000] x", "captions.0.text: String should have at least"),
    ],
)  # fmt: skip
def test_missing_and_wrong_pieces_are_named(text: str, problem: str) -> None:
    """Nothing is dropped and nothing is guessed: the schema's check names what is missing."""
    with pytest.raises(CaptionSyntaxError) as raised:
        captions(text)
    assert raised.value.problems[0].startswith(problem)
    assert not raised.value.truncated


@pytest.mark.parametrize(
    "mark",
    [
        "[00:00:01:500-00:00:04:000]", "[ 00:00:01:500 - 00:00:04:000 ]", "[00:00:01:500–00:00:04:000]",
        "[00:00:01:500 — 00:00:04]", "[00:00:01.500-00:00:04.000]", "[00:01.5-00:04]", "【00:00:01:500－00:00:04:000】",
        "[00:00:01:500 ~ 00:00:04:000]", "[00:00:01:500 to 00:00:04:000]", "[1.5s - 4s]", "[1.5-4.0]", "(00:01.5-00:04)",
        "00:00:01:500-00:00:04:000", "00:00:01,500 --> 00:00:04,000", "- [00:00:01:500-00:00:04:000]:",
        "**[00:00:01:500-00:00:04:000]**", "1. [00:00:01:500-00:00:04:000]", "[00:00:01:500]-[00:00:04:000]",
        "[00:00:01:500-00:00:04:000", "[００:００:０１:５００-００:００:０４:０００]", "### [00:00:01:500-00:00:04:000]",
    ],
)  # fmt: skip
def test_odd_spellings_of_a_range(mark: str) -> None:
    """Spaces, dashes of every kind, missing milliseconds and brackets, bullets, other digits: 1.5 s to 4 s."""
    assert listed(captions(f"{mark} A cook.\n\nHe goes.").value.captions) == [(1.5, 4.0, "A cook.")]


def test_hours_beyond_a_day_and_times_past_the_end() -> None:
    """Hours have any number of digits; what begins after the end of the video is a note with its numbers."""
    long = "[100:00:01:000-100:00:04:000] A cook."
    assert listed(captions(long, duration=400_000.0).value.captions) == [(360_001.0, 360_004.0, "A cook.")]
    made = captions(long).value
    assert (made.captions, [note.kind for note in made.notes]) == ((), ["outside"])


def test_segments_in_one_paragraph_and_brackets_that_are_no_times() -> None:
    """A range after the end of a sentence begins a segment; other brackets are words."""
    text = "[00:00-00:04] A [red] car (2 doors) stops. [00:04-00:05] It has 3:2 wheels [sic].[00:05-00:06] Gone."
    assert listed(captions(text).value.captions) == [
        (0.0, 4.0, "A [red] car (2 doors) stops."), (4.0, 5.0, "It has 3:2 wheels [sic]."), (5.0, 6.0, "Gone."),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "whole"),
    [
        (NARRATIVE.partition("\n\nThe")[0] + "\n\n[00:00:12:5", 2),
        (NARRATIVE.partition("\n\nThe")[0] + "\n\n[00:00:12:500-00:00:14:000]", 2),
        (NARRATIVE.partition("\n\nThe")[0] + " [00:00:12:5", 2),
        (SPEAKERS.removesuffix("<eoc>"), 2),
        (SPEAKERS.partition("<00:03")[0], 1),
        (SPEAKERS.partition("<eos>\n")[0] + "<eos><sos>", 1),
    ],
)
def test_cut_ends(text: str, whole: int) -> None:
    """A text that ends inside a piece is truncated whatever the service says; the pieces before it are kept."""
    with pytest.raises(TruncatedAnswerError) as raised:
        read_answer(AnswerText(text, "stop"), ReadOptions(schema=CAPTIONS, facts=LENGTH))
    assert (raised.value.reason, len(raised.value.partial["captions"])) == ("incomplete", whole)
    taken = read_answer(AnswerText(text), ReadOptions(schema=CAPTIONS, facts=LENGTH, allow_truncated=True))
    assert (len(taken.value.captions), taken.truncated) == (whole, True)


def test_scenes_and_events() -> None:
    """`summary → scenes → events` is captions and notes; what else is known of an event is not lost."""
    entries = [
        (0.0, 9.5, "A kitchen."),
        (2.0, 3.5, "The cook fries an egg. (participants: cook, pan; sounds: sizzling)"),
        (4.0, 5.0, "He waits."),
    ]
    made = captions(json.dumps(SCENES)).value
    assert listed(made.captions) == entries
    assert [(note.kind, note.text) for note in made.notes] == [("untimed", "summary: Cooking.")]
    notes = parse_caption(f"```json\n{json.dumps(SCENES)}\n```", NOTES, facts=LENGTH).value
    assert (notes.summary, listed(notes.events)) == ("Cooking.", entries)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"time_range": {"start_seconds": 0}}, "captions.0.end: Field required"),
        ({"time_range": None}, "captions.0.start: Field required"),
        ({"setting": None, "events": []}, "captions.0.text: Field required"),
        ({"events": "none"}, None),
        ({"events": ["He waits."]}, "captions.1: Input should be an object"),
    ],
)
def test_scenes_that_lack_something(change: dict[str, Any], problem: str | None) -> None:
    """A scene without time or words is an error that names it; events that are no list are words of the scene."""
    text = json.dumps({"summary": "s", "scenes": [{**SCENES["scenes"][0], **change}]})  # type: ignore[dict-item, index]
    if problem is None:
        assert listed(captions(text).value.captions) == [(0.0, 9.5, "A kitchen. (events: none)")]
        return
    with pytest.raises(CaptionSyntaxError) as raised:
        captions(text)
    assert raised.value.problems[0] == problem


def test_sound_events() -> None:
    """The array of sound events is captions and moments; an empty one says that there are none."""
    text = json.dumps(SOUNDS)
    assert listed(captions(text).value.captions) == [(1.23, 4.56, "dog_barking")]
    (moment,) = parse_caption(text, read_schema(Moments), facts=LENGTH).value.moments
    assert (moment.start, moment.end, moment.what) == (1.23, 4.56, "dog_barking")
    assert captions("[]").value.captions == ()
    assert parse_caption(" [ ] ", read_schema(Moments), facts=LENGTH).value.moments == []


@pytest.mark.parametrize("text", ["No speech.", "A cook [1] fries 2 eggs at 9:30.", "", "See (12) and [a-b]."])
def test_prose_is_no_form(text: str) -> None:
    """An answer without a time is no captions, and the error says so."""
    assert read_form(text) is None
    with pytest.raises(CaptionSyntaxError):
        captions(text)


def test_json_comes_first_and_other_schemas_read_json_alone() -> None:
    """Text before or inside JSON is not taken for a form, and a caller's schema is never filled from one."""
    whole = {"captions": [{"start": 1, "end": 2, "text": "[00:05-00:06] shown on a clock"}]}
    text = f"[00:00-00:01] Let me think.\n{json.dumps(whole)}"
    assert listed(captions(text).value.captions) == [(1.0, 2.0, "[00:05-00:06] shown on a clock")]
    with pytest.raises(CaptionSyntaxError, match="holds no JSON"):
        parse_caption(NARRATIVE, read_schema({"type": "object", "properties": {"captions": {"type": "array"}}}))


WORDS = st.text("abc .,!<>[]()-*#|\"'0:\n", min_size=1, max_size=25).map(str.strip)
SPANS = st.lists(
    st.tuples(st.integers(0, 9_999), st.integers(0, 9_999), st.from_regex(r"[a-z ]{1,12}[.!]", fullmatch=True))
)


def clock(milliseconds: int) -> str:
    return f"00:00:{milliseconds // 1000:02d}:{milliseconds % 1000:03d}"


def in_narrative(spans: list[tuple[int, int, str]]) -> str:
    return "".join(f"[{clock(start)}-{clock(end)}] {text.strip()}\n\n" for start, end, text in spans)


def in_tags(spans: list[tuple[int, int, str]]) -> str:
    turns = (f"<sos><{start / 1000}>{text.strip()}<{end / 1000}><speaker1><eos>" for start, end, text in spans)
    return f"<soc>{''.join(turns)}<eoc>"


@given(SPANS.filter(bool), st.sampled_from([in_narrative, in_tags]))
@settings(max_examples=60)
def test_every_segment_is_read(spans: list[tuple[int, int, str]], form: Any) -> None:
    """Whatever the times and words: one entry each, with its milliseconds."""
    found = read_form(form(spans))
    made = [entry for _, entry in found.entries]
    assert [entry["text"] for entry in made] == [text.strip() for _, _, text in spans]
    values = listed(captions(form(spans), duration=10.0).value.captions)
    assert sorted(values) == sorted(
        (min(start, end) / 1000, max(start, end) / 1000, ("speaker1: " if form is in_tags else "") + text.strip())
        for start, end, text in spans
    )


@given(
    st.sampled_from([NARRATIVE, SECTIONS, SPEAKERS])
    | WORDS.map(lambda words: f"[0:01-0:02] {words}\n\n{words}\n[0:03"),
    st.lists(st.integers(1, 9), min_size=1),
)
@settings(max_examples=60)
def test_partials_only_grow(text: str, sizes: list[int]) -> None:
    """Each partial continues the one before it and is continued by the answer, however the text is cut."""
    stream, shown, at = CaptionStream(CAPTIONS, facts=LENGTH), [], 0
    for size in itertools.cycle(sizes):
        partial = stream.feed(text[at : at + size])
        shown += [] if partial is None else [partial]
        at += size
        if at >= len(text):
            break
    try:
        last = [stream.end().read]
    except CaptionSyntaxError as error:
        last = [error.kept]
    for before, after in itertools.pairwise([*shown, *last]):
        assert begins(before, after)
    if text in (NARRATIVE, SECTIONS, SPEAKERS):
        assert len(shown) > 1


@pytest.mark.parametrize("text", [NARRATIVE, SECTIONS, SPEAKERS], ids=["narrative", "sections", "speakers"])
def test_streams_end_as_complete_answers_do(text: str) -> None:
    """What the adapters stream: partials of captions, and the validated captions last."""
    stream = ObjectStream(ReadOptions(schema=CAPTIONS, facts=LENGTH))
    partials = [partial for char in text if (partial := stream.feed(char)) is not None]
    assert len(partials) > 1
    assert stream.end("stop").value == captions(text).value


@given(st.text("[]<>soce/:0123-–.,| \n#*一1)(start:enx", max_size=200))
@settings(max_examples=150)
def test_any_text_is_read_or_refused(text: str) -> None:
    """No text makes the reader fail, and its partial never holds more than the answer."""
    for schema in (CAPTIONS, NOTES):
        with contextlib.suppress(CaptionSyntaxError):
            parse_caption(text, schema, facts=LENGTH)
    part, whole = read_form(text, ended=False), read_form(text)
    if part is not None:
        assert len(part.entries) <= len(whole.entries) + 1


@pytest.mark.parametrize(
    "text",
    ["[0:00-0:01] a\n2. visible text\n- " + " " * 20_000 + "b", "#" * 20_000, "<soc>" + "<sos><1>" * 2_000, "1. " * 8_000,
     "[0:00-0:01] " + "start: " * 4_000, "| " * 9_000, "[ " * 9_000, "9" * 20_000 + ":"],
    ids=["spaces", "hashes", "tags", "numbers", "labels", "bars", "brackets", "digits"],
)  # fmt: skip
def test_long_runs_are_read_once(text: str) -> None:
    """No repetition makes the patterns try every way to split it (it would take minutes)."""
    read_form(text)
