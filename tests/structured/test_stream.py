"""Partial captions: valid, growing, and as cheap as the text is long."""

import copy
import itertools
import json
import re
import time
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel

from qwen_omni.errors import CaptionSyntaxError
from qwen_omni.structured import parse
from qwen_omni.structured.json_reader import JsonReader
from qwen_omni.structured.parse import CaptionStream, parse_caption
from qwen_omni.structured.schema import CaptionSchema, read_schema
from tests.support.beginning import begins

ANYTHING = read_schema({"type": "object", "additionalProperties": True})
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=12) | st.sampled_from(
    ['"', '", "', "}", "\\", "'", "“", "//"]
)
# A backspace or form feed before letters may be read as a LaTeX command: `LATEX` in `json_reader`.
TEXTS = TEXTS.filter(lambda text: not re.search("[\b\f][A-Za-z]", text))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS.filter(bool), inner, max_size=4),
    max_leaves=12,
)
OBJECTS = st.dictionaries(TEXTS.filter(bool), VALUES, max_size=5)


@given(OBJECTS, st.booleans(), st.sampled_from([None, 1]))
@settings(max_examples=100)
def test_reads_every_json(value: dict[str, Any], ascii_only: bool, indent: int | None) -> None:
    """Correct JSON gives exactly its value, also one character at a time, and nothing was mended."""
    text = json.dumps(value, ensure_ascii=ascii_only, indent=indent)
    reader = JsonReader()
    for char in text:
        reader.feed(char)
    reader.end()
    assert (reader.values, reader.truncated, reader.mended) == ([value], False, set())
    assert parse_caption(text, ANYTHING).value == value


@given(OBJECTS, st.data(), st.booleans())
@settings(max_examples=100)
def test_every_truncation_is_a_beginning(value: dict[str, Any], data: st.DataObject, ascii_only: bool) -> None:
    """Any truncation of valid JSON gives a value that the whole one continues, or a typed error: nothing is invented."""
    text = json.dumps(value, ensure_ascii=ascii_only)
    cut = text[: data.draw(st.integers(0, len(text)))]
    try:
        parsed = parse_caption(cut, ANYTHING)
    except CaptionSyntaxError as error:
        assert error.kept is None
        assert not cut.startswith("{")
    else:
        assert begins(parsed.value, value)
        assert parsed.truncated == (cut != text)


@given(OBJECTS, st.lists(st.integers(1, 9), min_size=1), st.booleans())
@settings(max_examples=100)
def test_partials_never_go_back(value: dict[str, Any], sizes: list[int], ascii_only: bool) -> None:
    """Each partial is continued by the next and by the final value, however the text is cut; none changes later."""
    text, at, partials = json.dumps(value, ensure_ascii=ascii_only), 0, []
    stream = CaptionStream(ANYTHING)
    while at < len(text):
        size = sizes[len(partials) % len(sizes)]
        partials.append(stream.feed(text[at : at + size]))
        at += size
    shown = [partial for partial in partials if partial is not None]
    kept = copy.deepcopy(shown)
    assert stream.end().value == value
    assert shown == kept
    for before, after in itertools.pairwise([*shown, value]):
        assert begins(before, after)


@given(st.text(alphabet="{}[]\":,'\\ \n/*#`<>tinkhae1-.“”：，", max_size=60), st.integers(1, 5))
@settings(max_examples=100)
def test_any_text_ends_in_a_value_or_a_typed_error(text: str, piece: int) -> None:
    """No text makes the reader hang or raise anything but `CaptionSyntaxError`, and pieces change nothing."""

    def outcome(size: int) -> object:
        stream = CaptionStream(ANYTHING, shows=False)
        try:
            for at in range(0, len(text), size):
                stream.feed(text[at : at + size])
            return stream.end().value
        except CaptionSyntaxError as error:
            return str(error)

    assert outcome(piece) == outcome(max(len(text), 1))


@pytest.mark.parametrize("budget", [0, 40, 400])
def test_rare_partials_are_as_good(monkeypatch: pytest.MonkeyPatch, budget: int) -> None:
    """Where partials may not come with every delta, those that come never go back, and the caption is the same."""
    monkeypatch.setattr(parse, "_COPY_AT_FIRST", budget)
    monkeypatch.setattr(parse, "_COPY_PER_CHARACTER", 3)
    value = {"items": [{"n": n, "t": 'say "x"\n' * (n % 4)} for n in range(60)], "text": "word " * 60}
    text = f"Sure:\n```json\n{json.dumps(value)}\n``` done"
    stream = CaptionStream(ANYTHING)
    shown = [one for at in range(0, len(text), 3) if (one := stream.feed(text[at : at + 3])) is not None]
    kept = copy.deepcopy(shown)

    assert stream.end().value == value
    assert stream.text == text
    assert 3 < len(shown) < len(text) / 9
    assert shown == kept
    for before, after in itertools.pairwise([*shown, value]):
        assert begins(before, after)


def test_brackets_too_deep_are_told_at_the_end_at_the_latest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pieces that wait for the next partial are read at the end, and their faults are told with their line."""
    monkeypatch.setattr(parse, "_COPY_AT_FIRST", 100)
    monkeypatch.setattr(parse, "_COPY_PER_CHARACTER", 0)
    stream = CaptionStream(ANYTHING)
    for piece in ('{"a":\n', *("[" for _ in range(300))):
        stream.feed(piece)
    with pytest.raises(CaptionSyntaxError, match=r"deeper than 200 brackets at line 2\.") as caught:
        stream.end()
    assert caught.value.line == 2


def test_a_partial_for_every_delta_of_a_caption() -> None:
    """In an answer of usual length every delta that adds something shows."""
    text = json.dumps({"text": "word " * 200})
    stream = CaptionStream(ANYTHING)
    partials = [stream.feed(text[at : at + 4]) for at in range(0, len(text), 4)]
    assert sum(partial is None for partial in partials) <= 4


def partials(schema: CaptionSchema, *pieces: str) -> tuple[list[object], object]:
    """What is shown after each piece, and the caption."""
    stream = CaptionStream(schema)
    return [stream.feed(piece) for piece in pieces], stream.end().value


ONE = read_schema({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"]})


def test_partials_wait_for_the_answer() -> None:
    """Objects without a field of the schema are not shown; a wrapper shows what it holds when it ends."""
    shown, value = partials(ONE, '{"r": {"a', '": 1', "}", "}")
    assert shown == [None, None, None, {"a": 1}]
    assert value == {"a": 1}
    assert partials(ONE, '{"x": 1}', '{"a": 1}') == ([None, None], {"a": 1})


@pytest.mark.parametrize(
    ("pieces", "shown"),
    [
        (('The format is {"a": 0}. ', 'Answer: ```json\n{"a": 2', "}\n```"), [None, None, {"a": 2}]),
        (('First: {"a": 1', "}", ' final: {"a": 2}'), [None, None, None]),
        (('maybe {"a": 1} no ', "</think>", '{"a": 2', ",}"), [None, None, None, {"a": 2}]),
        (("<think>hm</think>\n", '{"a": 2, ', "}"), [None, None, {"a": 2}]),
        (("\ufeff```\n", '{"a": 2, ', "}"), [None, None, {"a": 2}]),
    ],
    ids=["example", "draft", "thinking never opened", "thinking", "fence"],
)
def test_examples_and_drafts_are_not_shown(pieces: tuple[str, ...], shown: list[object]) -> None:
    """What stands behind words may be an example or a draft: partials are of the answer alone."""
    assert partials(ONE, *pieces) == (shown, {"a": 2})


def test_the_caption_at_the_end_is_that_of_the_whole_text() -> None:
    """Also if a draft began the answer and was shown."""
    text = '{"a": "x"} {"a": 1}'
    assert partials(ONE, text) == ([{"a": "x"}], parse_caption(text, ONE).value)


def test_two_halves_are_not_one_answer() -> None:
    """Fields in an object of their own are not lost: the answer is asked for again."""

    class Kitchen(BaseModel):
        place: str
        people: int = 0

    for text in ('{"place": "kitchen"}{"people": 2}', '{"people": 2} and {"place": "kitchen"}'):
        with pytest.raises(CaptionSyntaxError, match=r"place: Field required|people stands in an object of its own"):
            parse_caption(text, read_schema(Kitchen))
    again = parse_caption('{"place": "draft"} {"place": "kitchen", "people": 2}', read_schema(Kitchen))
    assert again.value == Kitchen(place="kitchen", people=2)


@pytest.mark.parametrize("shape", ["text", "list", "brackets", "prose"])
@pytest.mark.slow
def test_cost_is_linear(shape: str) -> None:
    """Eight times the text costs about eight times the time, not sixty-four: partials included."""

    def seconds(size: int) -> float:
        text = {
            "text": json.dumps({"text": "word " * size}),
            "list": json.dumps({"items": [{"n": n, "t": "x"} for n in range(size // 5)]}),
            "brackets": '{"a": [' + "[]," * size,
            "prose": '{"x": 1} ' * (size // 2),
        }[shape]
        stream = CaptionStream(read_schema({"type": "object", "properties": {"text": {}, "items": {}, "a": {}}}))
        began = time.process_time()
        for at in range(0, len(text), 4):
            stream.feed(text[at : at + 4])
        return time.process_time() - began

    small = min(seconds(1_000) for _ in range(3))
    assert min(seconds(8_000) for _ in range(3)) < small * 8 * 3


@pytest.mark.slow
@pytest.mark.parametrize("unit", ["9", "9.", "9_", "1,", "9e", " ", "1 ", "-9", "\\u", "//", "```\n", "<think>"])
@pytest.mark.parametrize("before", ["", '{"a": ', '{"a": "', '[{"start": '])
def test_a_run_of_one_thing_is_read_in_linear_time(unit: str, before: str) -> None:
    """A hundred thousand characters, whole and in pieces; repeats that share them out would take minutes."""
    schema = read_schema({"title": "T", "type": "object", "properties": {"a": {"type": "number"}}})
    text = before + unit * (100_000 // len(unit)) + " x"
    for number in range(2):
        stream = CaptionStream(schema)
        try:
            if number:
                parse_caption(text, schema)
            else:
                for at in range(0, len(text), 10_000):
                    stream.feed(text[at : at + 10_000])
                stream.end()
        except CaptionSyntaxError as error:
            assert len(str(error)) < 2_000
