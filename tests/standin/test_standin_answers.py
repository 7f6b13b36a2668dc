"""Answers come from evidence: prose, any JSON schema, tool calls. Another video gives another answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings, strategies as st
from jsonschema import Draft202012Validator

from qwen_omni.standin.answers.evidence import gather
from qwen_omni.standin.answers.schema import fill, find_schema
from qwen_omni.standin.marked_media import make_video
from qwen_omni.standin.media.facts import Mark, MediaFacts

from .conftest import NO_THINKING, chat, tool, video_part

VIDEO = MediaFacts(
    kind="video", container="mp4", size_bytes=1, sha256="", width=640, height=360, fps=25.0, duration=3.0, frames=75,
    picture_marks=tuple(Mark(code=str(7000 + k), start=float(k), end=k + 1.0) for k in range(3)),
)  # fmt: skip


# Prose


def test_prose_names_what_is_there(ask, media, parts):
    """A video's answer tells its size, length and every mark; a question about one is answered."""
    codes = media["video"].codes
    text = ask(chat(parts["video"], f"When does {codes[2]} come, and what is at second 3?", **NO_THINKING)).text
    assert text.startswith("[stand-in]")
    assert "320x180" in text
    assert f"{codes[2]} is shown at 2.00 s. {codes[2]} sounds at 2.00 s." in text
    assert f"At 3 s: {codes[3]} is shown. At 3 s: {codes[3]} sounds." in text
    assert all(f"{code}@{second}.00" in text for second, code in enumerate(codes))


def test_another_film_gives_another_answer(ask, parts, tmp_path):
    """The same question about another video is answered otherwise."""
    other = make_video(tmp_path / "video.mp4", seconds=4, size=(320, 180))
    question = "What is shown?"
    texts = [ask(chat(part, question)).text for part in (parts["video"], video_part(other.path.read_bytes()))]
    assert texts[0] != texts[1]
    assert all(code in texts[1] for code in other.codes)


def test_parts_are_told_in_their_order(ask, parts):
    """Several parts are described in the order in which they were sent."""
    text = ask(chat(parts["audio"], parts["image"], parts["video"], "x")).text
    assert text.index("audio 1:") < text.index("image 2:") < text.index("video 3:")


def test_text_alone(ask):
    """Without media the answer is made of the question."""
    text = ask(chat("Where does the red ball roll?")).text
    assert "6 words" in text
    assert "Where does the red ball roll?" in text


def test_earlier_turns_are_seen(ask, parts, media):
    """Media of an earlier turn is still there."""
    body = chat(parts["image"], "look")
    body["messages"] += [{"role": "assistant", "content": "ok"}, {"role": "user", "content": "which code was it?"}]
    assert "5831@0.00" in ask(body).text


# JSON


def test_a_schema_in_the_prompt_is_filled(ask, media, parts):
    """Lists of timed objects get one entry per mark, with times and codes that are in the video."""
    schema = {
        "$defs": {
            "Scene": {
                "type": "object",
                "properties": {
                    "start": {"type": "number"},
                    "end": {"type": "number"},
                    "at": {"type": "string", "description": "as mm:ss"},
                    "code": {"type": "string"},
                },
                "required": ["start", "end", "code"],
            }
        },
        "type": "object",
        "properties": {
            "scenes": {"type": "array", "items": {"$ref": "#/$defs/Scene"}},
            "summary": {"type": "string"},
            "duration": {"type": "number"},
            "has_sound": {"type": "boolean"},
        },
        "required": ["scenes", "summary"],
    }
    prompt = f"Answer as JSON of this schema:\n```json\n{json.dumps(schema, indent=1)}\n```"
    told = json.loads(ask(chat(parts["video"], prompt, response_format={"type": "json_object"}, **NO_THINKING)).text)
    Draft202012Validator(schema).validate(told)
    assert [scene["code"] for scene in told["scenes"]] == list(media["video"].codes)
    assert [scene["start"] for scene in told["scenes"]] == [0.0, 1.0, 2.0, 3.0]
    assert [scene["at"] for scene in told["scenes"]] == ["00:00", "00:01", "00:02", "00:03"]
    assert (told["duration"], told["has_sound"]) == (4.0, True)


def test_json_without_a_schema(ask, parts, media):
    """JSON without a schema is an object of facts."""
    told = json.loads(ask(chat(parts["video"], "as json", response_format={"type": "json_object"})).text)
    assert [mark["code"] for mark in told["marks"]] == list(media["video"].codes)


def test_json_schema_format(ask):
    """Text models that document json_schema fill the schema of the request."""
    schema = {"type": "object", "properties": {"n": {"type": "integer", "minimum": 5}}, "required": ["n"]}
    fields = {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}}
    Draft202012Validator(schema).validate(json.loads(ask(chat("go", model="qwen3.8-flash", **fields)).text))


def test_json_by_prompt_alone_is_fenced(ask):
    """Without JSON mode, JSON comes in a fence, as real models do."""
    text = ask(chat('As JSON: {"type": "object", "properties": {"a": {"type": "string"}}}', **NO_THINKING)).text
    assert text.startswith("```json\n")
    assert list(json.loads(text.removeprefix("```json\n").removesuffix("\n```"))) == ["a"]


def test_the_last_schema_counts():
    """Format instructions show an example before the real schema."""
    text = (
        'as an example {"properties": {"foo": {}}} and now\n```\n{"properties": {"bar": {}}, "required": ["bar"]}\n```'
    )
    assert list(find_schema([text])["properties"]) == ["bar"]
    assert find_schema(['{"a": 1} and { broken']) is None


def test_notes_are_summarised():
    """Times in a text become the times of the answer."""
    notes = '{"start": 12.5, "text": "a ball rolls"} {"start": 90, "text": "it stops"}'
    schema = {"properties": {"chapters": {"type": "array", "items": {"properties": {"start": {"type": "number"}}}}}}
    told = fill(schema, gather((), "", notes))
    assert [chapter["start"] for chapter in told["chapters"]] == [12.5, 90.0]


def _between(kind, least, most, lows):
    return st.builds(lambda low, span: {"type": kind, least: low, most: low + span}, lows, st.integers(0, 9))


_LEAVES = st.one_of(
    st.just({"type": "null"}),
    st.just({"type": "boolean"}),
    _between("integer", "minimum", "maximum", st.integers(-99, 99)),
    st.builds(lambda low: {"type": "number", "exclusiveMinimum": low, "exclusiveMaximum": low + 1}, st.integers(-9, 9)),
    st.builds(lambda grid: {"type": "integer", "multipleOf": grid, "minimum": 1}, st.integers(1, 9)),
    _between("string", "minLength", "maxLength", st.integers(0, 30)),
    st.sampled_from([{"type": "string", "pattern": p} for p in (r"^\d\d:\d\d$", r"^\d+$", r"^\d+\.\d+$", r"^[a-z]+$")]),
    st.lists(st.text(max_size=5), min_size=1, max_size=3).map(lambda options: {"enum": options}),
    st.integers().map(lambda value: {"const": value}),
    st.just({"$ref": "#/$defs/Tree"}),
)
_NAMES = st.sampled_from(["start", "end_time", "code", "title", "summary", "count", "confidence", "frameWidth", "x"])


def _deeper(inner):
    objects = st.dictionaries(_NAMES, inner, max_size=4).flatmap(
        lambda parts: st.fixed_dictionaries(
            {
                "type": st.just("object"),
                "properties": st.just(parts),
                "required": st.lists(st.sampled_from(sorted(parts)), unique=True) if parts else st.just([]),
                "additionalProperties": st.booleans(),
            }
        )
    )
    arrays = st.builds(
        lambda items, low, span: {"type": "array", "items": items, "minItems": low, "maxItems": low + span},
        inner, st.integers(0, 4), st.integers(0, 4),
    )  # fmt: skip
    return st.one_of(objects, arrays, st.lists(inner, min_size=1, max_size=3).map(lambda options: {"anyOf": options}))


_TREE = {
    "type": "object",
    "properties": {
        "code": {"type": "string"},
        "children": {"type": "array", "items": {"$ref": "#/$defs/Tree"}},
        "next": {"anyOf": [{"$ref": "#/$defs/Tree"}, {"type": "null"}]},
    },
    "required": ["code", "children", "next"],
}


@pytest.mark.slow
@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(schema=st.recursive(_LEAVES, _deeper, max_leaves=8), seen=st.booleans())
def test_any_schema_is_satisfied(schema, seen):
    """Whatever schema a request brings, the answer fits it, with media and without."""
    root = {**schema, "$defs": {"Tree": _TREE}}
    evidence = gather((VIDEO,) if seen else (), "What is at second 2?", "What is at second 2? As JSON.")
    Draft202012Validator(root).validate(fill(root, evidence))


@pytest.mark.parametrize(
    ("kind", "entry"),
    [("strings", {"type": "string", "maxLength": 4}), ("numbers", {"type": "integer"}), ("flags", {"type": "boolean"})],
)
def test_unique_entries(kind, entry):
    """Entries that must differ differ, as far as their type allows."""
    told = fill({"type": "array", "items": entry, "uniqueItems": True, "minItems": 2}, gather((VIDEO,), "", ""))
    assert len({str(one) for one in told}) == len(told) >= (1 if kind == "flags" else 2)


# Tools


ADD = tool("add_numbers", "Add two numbers.", a={"type": "integer"}, b={"type": "integer"})
WEATHER = tool("get_weather", "Tell the weather of a city.", city={"type": "string"})


def calls_of(answered):
    made = {}
    for delta in answered.deltas:
        for piece in delta.get("tool_calls", ()):
            name, arguments = made.get(piece["index"], ("", ""))
            told = piece["function"]
            made[piece["index"]] = (name or told.get("name", ""), arguments + (told.get("arguments") or ""))
    return [(name, json.loads(arguments)) for name, arguments in made.values()]


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What is the weather in Paris?", [("get_weather", {"city": "Paris"})]),
        ('Weather for "Old York", please', [("get_weather", {"city": "Old York"})]),
        ("Add the numbers 3 and 45", [("add_numbers", {"a": 3, "b": 45})]),
        ("Who are you?", []),
    ],
)
def test_tools_are_chosen_by_their_words(ask, question, expected):
    """The tool whose words match is called with what the text says; none where none matches."""
    assert calls_of(ask(chat(question, tools=[ADD, WEATHER], **NO_THINKING))) == expected


def test_what_may_be_null_is_left_out_or_of_its_kind(ask):
    """A parameter that may be null gets a number where the text has one, and is left out where it has none."""
    maybe = {"anyOf": [{"type": "number"}, {"type": "null"}]}
    look = tool("look", "Look at a moment of a video.", path={"type": "string"}, second=maybe)
    look["function"]["parameters"]["required"] = ["path"]
    for question, expected in (
        ("look in a.mp4", {"path": "a.mp4"}),
        ("look in a.mp4 at 3", {"path": "a.mp4", "second": 3}),
    ):
        assert calls_of(ask(chat(question, tools=[look], **NO_THINKING))) == [("look", expected)]


def test_a_named_tool_is_called(ask):
    """A named choice is obeyed whatever the text says, `none` forbids."""
    choice = {"type": "function", "function": {"name": "get_weather"}}
    assert calls_of(ask(chat("hello", tools=[ADD, WEATHER], tool_choice=choice, **NO_THINKING)))[0][0] == "get_weather"
    assert calls_of(ask(chat("weather in Rome", tools=[WEATHER], tool_choice="none", **NO_THINKING))) == []


def test_results_are_told(ask):
    """After a result comes prose that quotes it, or the next tool where the text names one."""
    call = {"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": '{"city": "Rome"}'}}
    turns = [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "c1", "content": "31 degrees"},
    ]
    body = chat("What is the weather in Rome?", tools=[ADD, WEATHER], **NO_THINKING)
    answered = ask({**body, "messages": body["messages"] + turns})
    assert (calls_of(answered), "31 degrees" in answered.text) == ([], True)
    body = chat("Call get_weather for Rome, then add_numbers with 1 and 2", tools=[ADD, WEATHER], **NO_THINKING)
    assert calls_of(ask(body))[0][0] == "get_weather"
    assert calls_of(ask({**body, "messages": body["messages"] + turns})) == [("add_numbers", {"a": 1, "b": 2})]


def test_parallel_calls(ask):
    """Several named tools are called at once where that is allowed."""
    body = chat("Use get_weather for Rome and add_numbers with 1 and 2", tools=[ADD, WEATHER], **NO_THINKING)
    assert len(calls_of(ask(body))) == 1
    assert [name for name, _ in calls_of(ask({**body, "parallel_tool_calls": True}))] == ["get_weather", "add_numbers"]
