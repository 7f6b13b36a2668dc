"""`caption` and `acaption` over the stand-in: one file in, one validated caption out."""

import dataclasses
import enum
import json
import random
import re
from datetime import date
from pathlib import Path
from typing import Any, TypedDict

import pytest
from pydantic import BaseModel, ConfigDict, Field, create_model

from qwen_omni import (
    AsyncOmniClient,
    CaptionOptions,
    CaptionSyntaxError,
    ConfigurationError,
    MediaOutsideRootError,
    MediaSource,
    OmniClient,
    Settings,
    TimedCaptions,
    TruncatedAnswerError,
    VideoCaption,
    acaption,
    caption,
)
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_image, make_video
from qwen_omni.standin.server.script import Fault, Turn
from qwen_omni.structured.schema import MismatchError, read_schema


@pytest.fixture(scope="module")
def video(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    return make_video(tmp_path_factory.mktemp("video") / "promo.mp4", seconds=3, size=(320, 180), fps=10)


@pytest.fixture(params=["sync", "async"])
def ask(request: pytest.FixtureRequest, settings: Settings, client: OmniClient):
    """The same call in both modes."""

    async def sync(*args: Any, **kwargs: Any) -> Any:
        return caption(*args, client=client, **kwargs)

    async def asynchronous(*args: Any, **kwargs: Any) -> Any:
        async with AsyncOmniClient(settings) as other:
            return await acaption(*args, client=other, **kwargs)

    return sync if request.param == "sync" else asynchronous


def made_schema() -> tuple[type[BaseModel], str]:
    """Draw the names of a schema that nobody could know before."""
    word = "".join(random.choices("abcdefghijklmnop", k=6))
    shot = create_model(f"Shot{word}", code=(str, ...), start=(float, ...), end=(float, Field(description="its end")))
    return create_model(f"Film{word}", **{f"shots_{word}": (list[shot], ...)}), f"shots_{word}"  # type: ignore[valid-type,call-overload]


async def test_a_schema_made_at_run_time(ask, video: TruthMedia, standin: Standin) -> None:
    """The codes and times of every second come back in a schema that was drawn for this test, in one request."""
    schema, field = made_schema()
    found = await ask(video.path, schema)
    assert isinstance(found.value, schema)
    assert [shot.code for shot in getattr(found.value, field)] == list(video.codes)
    assert [shot.start for shot in getattr(found.value, field)] == [0, 1, 2]
    assert (found.repaired, found.truncated, len(found.usages), len(standin.requests)) == (False, False, 1, 1)


async def test_the_request(ask, video: TruthMedia, standin: Standin) -> None:
    """JSON mode by profile, thinking off, the schema with its descriptions, the word json, the language."""
    await ask(video.path, options=CaptionOptions(language="中文", prompt="Look at the tent."))
    body = standin.requests[0].body
    assert body["response_format"] == {"type": "json_object"}
    assert body["reasoning_effort"] == "none"
    (question,) = body["messages"]
    medium, task, rules = question["content"]
    assert medium["type"] == "video_url"
    assert task["text"] == "Look at the tent."
    assert "json" in rules["text"].lower()
    assert "中文" in rules["text"]
    assert all(str(field.description) in rules["text"] for field in VideoCaption.model_fields.values())


@pytest.mark.parametrize("model", ["qwen3.5-omni-flash", "qwen3-omni-flash", "qwen3.5-omni-plus"])
async def test_every_model(model: str, ask, video: TruthMedia, standin: Standin) -> None:
    """Models without JSON mode are told the schema alone; none refuses the request."""
    found = await ask(video.path, options=CaptionOptions(model=model))
    assert video.codes[0] in found.value.scene_description
    assert standin.requests[0].refused is None


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_files_are_looked_at_under_the_root_of_the_client(
    mode: str, settings: Settings, video: TruthMedia, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not under the current directory: what lies inside of `media_root` is described, the rest is not even opened."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "notes.txt").write_text("no media at all")
    rooted = dataclasses.replace(settings, media_root=video.path.parent)

    async def ask(path: Path) -> Any:
        if mode == "sync":
            with OmniClient(rooted) as client:
                return caption(MediaSource.from_path(path), client=client)
        async with AsyncOmniClient(rooted) as other:
            return await acaption(MediaSource.from_path(path), client=other)

    assert video.codes[0] in (await ask(video.path)).value.scene_description
    with pytest.raises(MediaOutsideRootError, match=re.escape(str(video.path.parent))):
        await ask(tmp_path / "notes.txt")


async def test_thinking_on_request(ask, video: TruthMedia, standin: Standin) -> None:
    """Thinking is on only for who asks."""
    await ask(video.path, options=CaptionOptions(thinking="low"))
    assert standin.requests[0].body["reasoning_effort"] == "low"


async def test_one_repair(ask, video: TruthMedia, standin: Standin) -> None:
    """An answer that breaks the schema is asked for once more, with the media and the problems; then it raises."""
    standin.script.reply('{"scene_description": "A"}')
    found = await ask(video.path)
    assert (found.repaired, len(found.usages)) == (True, 2)
    assert "key_product_features: Field required" in standin.requests[1].body["messages"][-1]["content"]
    assert len(standin.requests[1].media) == 1
    standin.script.reply("No.").reply('{"scene_description": "B"}')
    with pytest.raises(CaptionSyntaxError) as caught:
        await ask(video.path)
    assert caught.value.kept == {"scene_description": "B"}
    assert "Asked twice" in caught.value.__notes__[0]
    standin.script.reply("No.")
    with pytest.raises(CaptionSyntaxError):
        await ask(video.path, options=CaptionOptions(repair=False))
    assert len(standin.requests) == 5


@pytest.mark.parametrize(
    ("finish", "reason"), [("length", "length"), ("content_filter", "content_filter"), ("stop", "incomplete")]
)
async def test_truncated_answers_are_errors(finish: str, reason: str, ask, video: TruthMedia, standin: Standin) -> None:
    """An answer that was cut is no caption, and is not asked for again; what arrived and what it cost is in the error."""
    cut = json.dumps({"tags": [], "name": "Dome"})[:-4]
    schema = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
    for _ in range(2):
        standin.script.reply(Turn(text=cut, finish_reason=finish))
    with pytest.raises(TruncatedAnswerError) as caught:
        await ask(video.path, schema)
    error = caught.value
    assert (error.partial, error.text, error.reason) == ({"tags": [], "name": "Do"}, cut, reason)
    assert (len(error.usages), len(standin.requests)) == (1, 1)
    found = await ask(video.path, schema, options=CaptionOptions(allow_truncated=True))
    assert (found.truncated, found.value) == (True, {"tags": [], "name": "Do"})


async def test_a_cut_answer_without_its_fields_is_an_error_all_the_same(
    ask, video: TruthMedia, standin: Standin
) -> None:
    """`allow_truncated` accepts what satisfies the schema, and nothing else."""
    standin.script.reply(Turn(text='{"scene_description": "A hand ope', finish_reason="length"))
    with pytest.raises(TruncatedAnswerError) as caught:
        await ask(video.path, options=CaptionOptions(allow_truncated=True))
    assert caught.value.partial == {"scene_description": "A hand ope"}


@pytest.mark.parametrize("finish", ["length", "content_filter"])
async def test_a_whole_object_of_a_cut_answer_is_not_trusted(
    finish: str, ask, video: TruthMedia, standin: Standin
) -> None:
    """What was cut may have been a draft: why the answer ended decides."""
    standin.script.reply(Turn(text='{"name": "Dome"} But', finish_reason=finish))
    with pytest.raises(TruncatedAnswerError) as caught:
        await ask(video.path, {"type": "object", "properties": {"name": {"type": "string"}}})
    assert caught.value.partial == {"name": "Dome"}


async def test_a_long_bad_answer_is_shortened_in_the_repair(ask, video: TruthMedia, standin: Standin) -> None:
    """What is sent back is its beginning and its end."""
    standin.script.reply("I would rather chat. " * 1_000)
    assert (await ask(video.path)).repaired
    said, wrong = standin.requests[1].body["messages"][-2:]
    assert len(said["content"]) < 5000
    assert "characters left out" in said["content"]
    assert len(wrong["content"]) < 3000


async def test_a_repair_that_cannot_be_asked_is_the_schema_error(ask, video: TruthMedia, standin: Standin) -> None:
    """The first question was paid for: the error is about its answer, so that nobody begins again with it."""
    standin.script.reply("No.")
    seen: list[object] = []
    standin.script.fault(Fault.server_error(503), when=lambda request: bool(seen.append(request)) or len(seen) > 1)
    with pytest.raises(CaptionSyntaxError, match="holds no JSON") as caught:
        await ask(video.path)
    assert any("The repair request failed" in note for note in caught.value.__notes__)
    assert not caught.value.retryable


async def test_timed_captions_know_the_duration(ask, video: TruthMedia, standin: Standin) -> None:
    """The duration is looked up, so times behind the end are found."""
    found = await ask(video.path, TimedCaptions)
    assert [one.start for one in found.value.captions] == [0, 1, 2]
    standin.script.reply('[{"start": 1000, "end": 3900, "text": "x"}, {"start": "5:30", "end": "5:40", "text": "y"}]')
    found = await ask(video.path, TimedCaptions)
    assert [(one.start, one.end) for one in found.value.captions] == [(1, 3)]
    assert [note.kind for note in found.value.notes] == ["clamped", "outside"]


@pytest.mark.parametrize("name", ["still.png", "sound.wav"])
async def test_images_and_sound(name: str, ask, tmp_path: Path) -> None:
    """An image and a recording are captioned like a video."""
    path = tmp_path / name
    if name == "still.png":
        path.write_bytes(make_image("4711"))
    else:
        make_audio(path, seconds=2)
    assert isinstance((await ask(path)).value, VideoCaption)


class Mood(enum.Enum):
    """How it feels."""

    CALM = "calm"
    LOUD = "loud"


class Inner(TypedDict):
    """A part."""

    at: int


class Loose(TypedDict, total=False):
    """With parts that may be missing."""

    parts: list[Inner] | None


class Strict(BaseModel):
    """What pydantic is strict about, and aliases."""

    model_config = ConfigDict(strict=True)
    mood: Mood
    day: date
    pair: tuple[int, int]
    kind: str = Field(alias="type")


@dataclasses.dataclass
class NoSchema:
    """Not one of the three spellings."""

    x: int


def test_schemas() -> None:
    """Models (strict ones and aliases too), typed dictionaries with parts, and JSON schemas are checked."""
    good = {"mood": "calm", "day": "2026-11-23", "pair": [1, 2], "type": "x"}
    assert read_schema(Strict).check(good, {}).mood is Mood.CALM
    assert read_schema(Loose).check({"parts": [{"at": 3}]}, {}) == {"parts": [{"at": 3}]}
    assert read_schema(Loose).check({}, {}) == {}
    with pytest.raises(MismatchError, match=r"parts\.0\.at: Field required"):
        read_schema(Loose).check({"parts": [{}]}, {})
    tree = {
        "$ref": "#/$defs/T",
        "$defs": {"T": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}},
    }
    assert read_schema(tree).fields == {"n"}
    with pytest.raises(MismatchError, match="n: 'x' is not of type 'integer'"):
        read_schema(tree).check({"n": "x"}, {})


@pytest.mark.parametrize("schema", [NoSchema, int, "x", {"type": "string"}, {"type": 7, "properties": {}}], ids=str)
def test_what_is_no_schema(schema: Any) -> None:
    """Anything else is refused before a file is opened."""
    with pytest.raises(ConfigurationError):
        read_schema(schema)
