"""A transcript with speakers from a model that answers questions: asked, read, checked and asked again."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from qwen_omni import CaptionSyntaxError, Transcript, TruncatedAnswerError
from qwen_omni.retrieval.passages import time_range_of, to_passages
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.transcription.conftest import Ask

OMNI = "qwen3.8-omni-flash"
TALK = (
    "<soc><sos><0.25>Good morning.<1.5><speaker1><eos><sos><00:02.0>你好 A < B。<00:03.25><speaker2><eos>"
    "<sos><4>Bye.<4.5><speaker1><eos><eoc>"
)


def test_what_is_heard(ask: Ask, recording: TruthMedia, film: TruthMedia, standin: Standin) -> None:
    """The recording comes first and the task behind it; what is said has its times, in the file, and its speaker."""
    said = ask(recording.path, model=OMNI, speakers=2, language="en", context="Qwen")
    assert [one.text for one in said.sentences] == list(recording.codes)
    assert [round(one.start) for one in said.sentences] == [0, 1, 2, 3, 4, 5]
    assert (said.speakers, said.model, said.text) == ((0,), OMNI, "\n".join(recording.codes))
    ((medium, task),) = (message["content"] for message in standin.requests[-1].body["messages"])
    assert medium["type"] == "input_audio"
    assert all(words in task["text"] for words in ("<speakerX>", "language is en", "2 speakers", "spoken: Qwen"))
    part = ask(film.path, model=OMNI, start=2, end=5)
    assert [(one.text, round(one.start), one.speaker) for one in part.sentences] == [
        (code, second, None) for second, code in enumerate(film.codes[2:5], start=2)
    ]


def test_speakers_keep_their_numbers(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """speaker1 is the first; subtitles name both."""
    standin.script.reply(TALK)
    said = ask(recording.path, model=OMNI, speakers=True)
    assert [(one.start, one.end, one.text, one.speaker) for one in said.sentences] == [
        (0.25, 1.5, "Good morning.", 0), (2.0, 3.25, "你好 A < B。", 1), (4.0, 4.5, "Bye.", 0),
    ]  # fmt: skip
    assert "Speaker 2: 你好" in said.to_srt()
    standin.script.reply("<soc><eoc>")
    assert ask(recording.path, model=OMNI).text == ""


@pytest.mark.parametrize(
    ("answer", "problem"),
    [
        (TALK.replace("<speaker2>", ""), "speech.1.speaker: is missing"),
        (TALK.replace("<1.5>", ""), "turns.0.end: Field required"),
        (TALK.replace("<1.5>", "<0.1>"), "turns.0: Value error, ends at 0.1 s, before its start at 0.25 s"),
        ("Good morning.", "the answer: holds no JSON"),
    ],
)
def test_a_wrong_answer_is_asked_for_again(
    answer: str, problem: str, ask: Ask, recording: TruthMedia, standin: Standin
) -> None:
    """Once, with what is wrong; a second wrong answer is a typed error."""
    standin.script.reply(answer).reply(TALK)
    assert len(ask(recording.path, model=OMNI).sentences) == 3
    assert problem in standin.requests[-1].body["messages"][-1]["content"]
    standin.script.reply(answer).reply(answer)
    with pytest.raises(CaptionSyntaxError):
        ask(recording.path, model=OMNI)


def test_an_answer_that_ends_inside_is_an_error(ask: Ask, recording: TruthMedia, standin: Standin) -> None:
    """What was said until there is in the error."""
    standin.script.reply(TALK.partition("<00:03")[0])
    with pytest.raises(TruncatedAnswerError) as raised:
        ask(recording.path, model=OMNI)
    assert [turn["text"] for turn in raised.value.partial["turns"]] == ["Good morning."]


# --- What a transcript calls its recording ---


ODD_NAMES = {
    "spaces of other widths": "call 10\u202f30\u3000a\xa0b.mp3",
    "nothing that shows": "call\u200b\n.mp3",
    "longer than messages show": f"{'long/' * 60}call.mp3",
}


@pytest.mark.parametrize("name", ODD_NAMES.values(), ids=ODD_NAMES)
def test_a_transcript_names_its_file(ask: Ask, name: str, recording: TruthMedia, tmp_path: Path) -> None:
    """The source of a transcript, and of its passages, is the path itself, however messages show it."""
    path = tmp_path / name
    path.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(recording.path, path)
    said = ask(path)
    assert said.source == str(path)
    assert [Path(time_range_of(one.metadata).source) for one in to_passages(said)] == [path]


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere names are text")
def test_a_name_that_is_no_text_is_shown_as_in_messages(ask: Ask, recording: TruthMedia, tmp_path: Path) -> None:
    """A transcript can be written down whatever bytes the name is made of."""
    path = tmp_path / os.fsdecode(b"call \xff.mp3")
    shutil.copyfile(recording.path, path)
    assert Transcript.model_validate_json(ask(path).model_dump_json()).source.endswith("call \\udcff.mp3")
