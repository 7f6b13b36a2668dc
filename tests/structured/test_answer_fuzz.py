"""Answers that are nearly right, in twenty thousand ways, against every schema that is sent: only our errors."""

import functools
import json
import random
from collections.abc import Callable
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel, Field

from qwen_omni.errors import CaptionSyntaxError, TruncatedAnswerError
from qwen_omni.structured.ask import AnswerText, ObjectStream, ReadOptions, read_answer
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import read_schema
from qwen_omni.structured.timed import TimedCaptions
from qwen_omni.tools.handlers import Moments
from qwen_omni.video.schemas import JoinAnswer, SegmentAnswer, WholeAnswer, to_notes
from qwen_omni.video.tasks import AnswerSchema, FindingsSchema

pytestmark = pytest.mark.slow


class Loose(TypedDict, total=False):
    """What a caller may ask for."""

    name: str
    parts: list[dict[str, int]] | None


class Tree(BaseModel):
    """A schema that holds itself, and fields of every kind."""

    name: str = "root"
    weight: float | None = None
    count: int = 0
    children: list["Tree"] = Field(default_factory=list)


ENTRY = {"start": 1.5, "end": 4, "text": "A man enters."}
SAID = {
    "summary": "A kitchen.",
    "events": [ENTRY, {**ENTRY, "start": 5, "end": 9}],
    "speech": [ENTRY],
    "language": "en",
}
CHAPTER = {"start": "0:01", "title": "One", "summary": "It begins."}
SCHEMAS: dict[str, tuple[Any, dict[str, Any]]] = {
    "caption": (
        VideoCaption,
        {"scene_description": "A", "key_product_features": ["b"], "target_audience": "c", "recommended_music_style": "d"},
    ),
    "timed": (TimedCaptions, {"captions": [ENTRY, ENTRY]}),
    "segment": (SegmentAnswer, {**SAID, "on_screen_text": []}),
    "whole": (WholeAnswer, {**SAID, "chapters": [CHAPTER]}),
    "join": (JoinAnswer, {"summary": "s", "chapters": [CHAPTER, CHAPTER]}),
    "findings": (FindingsSchema, {"relevance": 0.5, "found": "x", "evidence": [ENTRY]}),
    "answer": (AnswerSchema, {"answer": "x", "evidence": [{"time": "1:05", "text": "y"}]}),
    "moments": (Moments, {"moments": [{"start": 1, "end": 2, "what": "a dog"}]}),
    "json schema": (
        {
            "type": "object", "required": ["name"],
            "properties": {"name": {"type": "string"}, "n": {"type": "number", "default": 3}, "self": {"$ref": "#"}},
        },
        {"name": "x", "n": 1.5, "self": {"name": "y"}},
    ),
    "typed dict": (Loose, {"name": "x", "parts": [{"a": 1}]}),
    "tree": (Tree, {"name": "a", "weight": 1.5, "count": 2, "children": [{"name": "b", "children": []}]}),
}  # fmt: skip
ODD: list[Any] = [
    None, True, False, -1, 0, 1.5, 10**30, "", "x", [], {}, [None], [[]], {"a": None}, "NaN", "1:2:3:4:5:6", "[1-2]", "\ud83d",
    "x" * 5000, {"start": {}, "end": []}, [1, 2], [True, "a"], "00:00:01:500", "-5", "1e400",
]  # fmt: skip
RAW = ["9" * 400, "1e999", "-1e999", "NaN", "Infinity", "1,234", "0x1F", "tru", "'q'", "“q”", "/*c*/1", "[" * 250, '{"a":' * 250,
       "9" * 6000, r'"\alpha \frac{a}{b}"', r'"\ud83d"', r'"\u12"', "...", "", "undefined", "1_000", "１２"]  # fmt: skip
NAMES = [
    "start",
    "end",
    "from",
    "to",
    "timestamp",
    "start_time",
    "end_ms",
    "time_range",
    "title",
    "",
    "relevance",
    "time",
]
BYTES = '{}[]",:\\/ \n<>`~#*-+.eE0123456789tfn“”：，\ufeff\x00\ud83d'
ENDS = ["stop", "length", "content_filter", None, "tool_calls"]


def places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        one = waiting.pop()
        entries = one.items() if isinstance(one, dict) else enumerate(one) if isinstance(one, list) else ()
        for key, inner in list(entries):
            found.append((one, key))
            waiting.append(inner)
    return found


def changed(value: Any, draw: random.Random) -> str:
    """Change values and names inside, then write it down."""
    raws = []
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        container, key = draw.choice(places(value) or [({"": 1}, "")])
        if isinstance(container, dict) and draw.random() < 0.25:
            container[draw.choice(NAMES)] = container.pop(key, None)
        elif draw.random() < 0.4:
            container[key] = f"<raw {len(raws)}>"
            raws.append(draw.choice(RAW))
        else:
            container[key] = json.loads(json.dumps(draw.choice(ODD)))
    text = json.dumps(value, ensure_ascii=draw.random() < 0.5)
    for index, raw in enumerate(raws):
        text = text.replace(f'"<raw {index}>"', raw)
    return text


def damaged(text: str, draw: random.Random) -> str:
    """Change, drop, double or move characters."""
    for _ in range(draw.randrange(1, 5)):
        at = draw.randrange(len(text) + 1)
        to = min(len(text), at + draw.choice((1, 1, 2, 10, 80)))
        text = draw.choice((
            text[:at] + draw.choice(BYTES) + text[at:], text[:at] + text[to:], text[:to] + text[at:to] + text[to:],
            text[:at], text[:at] + draw.choice(BYTES) + text[to:],
        ))  # fmt: skip
    return text


def wrapped(text: str, draw: random.Random) -> str:
    """Put words, fences, drafts and thoughts around it."""
    return draw.choice((
        f"```json\n{text}\n```", f"Sure: {text} Done.", f"First: {text[: len(text) // 2]}\nFinal: {text}",
        f"<think>{text}</think>{text}", f"maybe {text}</think>", f"{text}{text}", json.dumps(text), f"[{text}]",
        f'{{"result": {text}}}', f"\ufeff{text}", f"</think>{text}", f"```\n{text}\n```\n```json\n{text[:-3]}",
    ))  # fmt: skip


CHANGES: list[Callable[[str, random.Random], str]] = [damaged, wrapped, lambda text, _: text]


def outcome(read: Callable[[], Any]) -> Any:
    """The object, or the error that is ours; anything else goes through."""
    try:
        return read().value
    except (CaptionSyntaxError, TruncatedAnswerError) as error:
        assert len(str(error)) < 2000
        return type(error), getattr(error, "reason", None)


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEMAS)
def test_only_our_errors(name: str) -> None:
    """Two thousand answers a schema: an object, or one of two errors, the same whole and in pieces."""
    schema, good = SCHEMAS[name]
    wanted, draw = read_schema(schema), random.Random(name)
    objects = 0
    for number in range(2_000):
        text = changed(json.loads(json.dumps(good)), draw) if number % 4 else json.dumps(good)
        for _ in range(draw.randrange(3)):
            text = draw.choice(CHANGES)(text, draw)
        finish = draw.choice(ENDS) if number % 5 == 0 else "stop"
        options = ReadOptions(schema=wanted, facts={"duration": 15.0}, allow_truncated=number % 7 == 0)
        found = outcome(
            lambda text=text, finish=finish, options=options: read_answer(AnswerText(text, finish), options)
        )
        if isinstance(found, SegmentAnswer):
            notes = to_notes(found, index=1, start=15.0, end=30.0)
            assert all(15 <= one.start <= one.end <= 30 for one in (*notes.events, *notes.speech))
        objects += not isinstance(found, tuple)
        if number % 3 == 0:
            read = functools.partial(streamed, text, finish, options, draw)
            assert outcome(read) == found
    assert 200 < objects < 1_900


def streamed(text: str, finish: str | None, options: ReadOptions, draw: random.Random) -> Any:
    stream, at = ObjectStream(options), 0
    while at < len(text):
        size = draw.choice((1, 3, 9, 200))
        stream.feed(text[at : at + size])
        at += size
    return stream.end(finish)


def test_the_good_answers_are_good() -> None:
    """Without a change every answer is read, so that the fuzz is about the changes."""
    for schema, good in SCHEMAS.values():
        options = ReadOptions(schema=read_schema(schema), facts={"duration": 90.0})
        assert read_answer(AnswerText(json.dumps(good), "stop"), options).mended == ()


@pytest.mark.parametrize("size", [60, 700, 5000])
@pytest.mark.parametrize("behind", ['", "b": 1}', ', "b": 1}', "\n}", "]}", "", " "])
def test_a_value_without_quotes_is_the_same_in_pieces(behind: str, size: int) -> None:
    """However long it is: it is not given up half-way, and its rest is no value of its own."""
    schema = {"title": "T", "type": "object", "properties": {"a": {"type": "string"}, "b": {"type": "integer"}}}
    options = ReadOptions(schema=read_schema(schema))
    text = '{"a": ' + "9" * 9_000 + behind
    stream = ObjectStream(options)
    for at in range(0, len(text), size):
        stream.feed(text[at : at + size])
    assert outcome(lambda: stream.end("stop")) == outcome(lambda: read_answer(AnswerText(text, "stop"), options))
