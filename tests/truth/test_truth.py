"""What reaches the model is what the user gave: which seconds, in which order, how large, how loud, how often.

Every medium carries random codes, drawn anew for each run, so that no answer can be guessed. What is checked is
what a user gets: the answer of `ChatQwenOmni`. The stand-in that answers has eyes and ears of its own.
"""

import asyncio
import json
import re

import pytest
from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

from qwen_omni.errors import SpendLimitError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin.marked_media import draw_codes, make_audio, make_frames, make_image, make_video
from tests.support.reading import only, read

ASK = {"type": "text", "text": "What is in it?"}


def video_block(path: object, **extras: object) -> dict:
    return {"type": "video", "path": str(path), **({"extras": extras} if extras else {})}


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Eight seconds of marked video."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=8, size=(480, 270))


@pytest.fixture
def path(film, tmp_path):
    """The film, inside `media_root`."""
    target = tmp_path / "film.mp4"
    target.write_bytes(film.path.read_bytes())
    return target


def test_every_second_is_seen_at_its_time(llm, film, path):
    """Each second of picture arrives once, in order, at the time it had."""
    report = only(llm.invoke([HumanMessage([video_block(path), ASK])]).text)
    assert [code for code, _ in report.seen] == list(film.codes)
    assert [at for _, at in report.seen] == pytest.approx(range(8), abs=0.05)


def test_every_second_is_heard_at_its_time(llm, film, path):
    """Each second of sound arrives once, in order, with its picture."""
    report = only(llm.invoke([HumanMessage([video_block(path), ASK])]).text)
    assert [code for code, _ in report.heard] == list(film.codes)
    assert [at for _, at in report.heard] == pytest.approx(range(8), abs=0.1)


def test_size_and_length_arrive(llm, path):
    """The picture has the pixels it had, and the film its length."""
    report = only(llm.invoke([HumanMessage([video_block(path), ASK])]).text)
    assert "480x270" in report.words
    assert float(re.search(r"^([\d.]+) s", report.words)[1]) == pytest.approx(8, abs=0.1)


def test_a_question_about_a_second_is_answered_from_the_video(llm, film, path):
    """The second of a code that nobody could know beforehand."""
    asked = {"type": "text", "text": f"At which second is {film.codes[5]} shown?"}
    assert re.search(r"\b5(\.0+)?\b", llm.invoke([HumanMessage([video_block(path), asked])]).text)


def test_another_video_gets_another_answer(llm, film, path, tmp_path):
    """Change the video, and the answer changes."""
    other = make_video(tmp_path / "other.mp4", seconds=8, size=(480, 270))
    first, second = (llm.invoke([HumanMessage([video_block(p), ASK])]).text for p in (path, other.path))
    assert [code for code, _ in only(second).seen] == list(other.codes)
    assert first != second


def test_frames_arrive_in_order(llm, tmp_path):
    """A list of frames keeps its order, size and number."""
    codes = draw_codes(6)
    files = []
    for number, data in enumerate(make_frames(codes, (320, 180))):
        files.append(tmp_path / f"{number}.jpg")
        files[-1].write_bytes(data)
    block = {"type": "video", "video": [f"file://{file}" for file in files], "fps": 1}
    report = only(llm.invoke([HumanMessage([block, ASK])]).text)
    assert [code for code, _ in report.seen] == list(codes)
    assert "320x180" in report.words


def test_parts_arrive_in_order(llm, path, film, tmp_path):
    """Video, image and sound of one message arrive in the order they were given, and all of them."""
    (code,) = draw_codes(1)
    (tmp_path / "a.png").write_bytes(make_image(code, (300, 300)))
    sound = make_audio(tmp_path / "a.mp3", seconds=3)
    blocks = [
        video_block(path),
        {"type": "image", "path": str(tmp_path / "a.png")},
        {"type": "audio", "path": str(sound.path)},
    ]
    answer = llm.invoke([HumanMessage([*blocks, ASK])]).text
    assert [report.kind for report in read(answer)] == ["video", "image", "audio"]
    again = llm.invoke([HumanMessage([*reversed(blocks), ASK])]).text
    assert [report.kind for report in read(again)] == ["audio", "image", "video"]
    assert code in read(answer)[1].words
    assert [mark for mark, _ in read(answer)[2].heard] == list(sound.codes)


def test_media_of_earlier_turns_arrive(llm, path, film):
    """A follow-up question still shows the model the video of the first one."""
    history = [
        SystemMessage("Be brief."),
        HumanMessage([video_block(path), ASK]),
        AIMessage("I saw it."),
        HumanMessage("And how long is it?"),
    ]
    assert film.codes[3] in llm.invoke(history).text


@pytest.mark.parametrize("fps", [0.5, 1, 4])
def test_the_sampling_reaches_the_service(llm, path, fps):
    """Tokens follow the frames per second that were asked for: 8 s of 480x270, two frames together, 8x15 tokens."""
    answer = llm.invoke([HumanMessage([video_block(path, fps=fps), ASK])])
    assert answer.usage_metadata["input_token_details"].get("video") == max(1, 8 * fps // 2) * 8 * 15 + 2


def test_fewer_pixels_cost_fewer_tokens(llm, path):
    """`max_pixels` reaches the service."""
    counts = [
        llm.invoke([HumanMessage([video_block(path, **extras), ASK])])
        .usage_metadata["input_token_details"]
        .get("video", 0)
        for extras in ({}, {"max_pixels": 70_000})
    ]
    assert counts[1] < counts[0]


def test_a_schema_made_up_now_is_filled_from_the_video(llm, film, path):
    """Names that no code of ours knows, filled with codes that nobody could know."""
    word = f"field_{draw_codes(1)[0]}"
    items = {
        "type": "object",
        "properties": {"code": {"type": "string"}, "start_seconds": {"type": "number"}},
        "required": ["code", "start_seconds"],
    }
    schema = {"type": "object", "properties": {word: {"type": "array", "items": items}}, "required": [word]}
    text = f"Answer in json only, after this schema:\n```json\n{json.dumps(schema)}\n```"
    answer = llm.invoke([HumanMessage([video_block(path), {"type": "text", "text": text}])]).text
    rows = json.loads(re.sub(r"^```json|```$", "", answer.strip()).strip())[word]
    assert [row["code"] for row in rows] == list(film.codes)
    assert [row["start_seconds"] for row in rows] == pytest.approx(range(8), abs=0.1)


def test_streamed_and_whole_answers_tell_the_same(llm, path):
    """The same seconds through `invoke`, `stream`, `batch` and the asynchronous forms."""
    message = [HumanMessage([video_block(path), ASK])]

    async def both() -> list[str]:
        whole = await llm.ainvoke(message)
        pieces = [piece.text async for piece in llm.astream(message)]
        batched = await llm.abatch([message])
        return [whole.text, "".join(pieces), batched[0].text]

    texts = [llm.invoke(message).text, "".join(piece.text for piece in llm.stream(message))]
    texts += [llm.batch([message])[0].text, *asyncio.run(both())]
    assert len(set(texts)) == 1


def test_the_bill_is_what_was_estimated(llm, path):
    """Tokens of picture and sound were known beforehand, with the sampling that was asked for."""
    asked = [HumanMessage([video_block(path, fps=1), ASK])]
    made = llm.estimate(asked).tokens
    billed = llm.invoke(asked).usage_metadata["input_token_details"]
    assert (made.video, made.audio) == (billed.get("video"), billed.get("audio"))


def test_a_limit_stops_what_is_too_dear(llm, path):
    """A call that would cost more than it may is not answered."""
    limited = llm.model_copy(update={"spend_limit": SpendLimit(per_call_tokens=100)})
    try:
        answer = limited.invoke([HumanMessage([video_block(path), ASK])]).text
    except SpendLimitError:
        answer = ""
    assert answer == ""
