"""What a step's digest identifies, and each step on the stand-in: paid once, in the same store, in rows."""

import copy
import pickle
from dataclasses import replace

import pytest

from qwen_omni import CaptionOptions, ChatOptions, GeneralCaption, SummaryOptions, TranscriptionOptions
from qwen_omni.archive import Caption, FunctionStep, Notes, Summarize, Transcribe, run
from qwen_omni.archive.run import status
from qwen_omni.archive.steps import Checked, Estimated, check_step
from qwen_omni.errors import ConfigurationError, NotFoundError
from qwen_omni.media.budget import MediaBudget, Sampling
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.schemas import SegmentNotes
from tests.support.archives import SETTINGS

USUAL = {
    "caption": Caption(), "summarize": Summarize(), "notes": Notes(), "transcribe": Transcribe(),
}  # fmt: skip

# Options that change what is asked, and those that do not.
OTHERS = {
    "caption": [
        Caption(GeneralCaption), Caption({"type": "object", "properties": {"a": {"type": "string"}}}),
        *[Caption(options=CaptionOptions(**one)) for one in (
            {"model": "qwen3.5-omni-plus"}, {"prompt": "What is sold?"}, {"language": "French"}, {"thinking": True},
            {"sampling": Sampling(fps=1)}, {"allow_truncated": True}, {"audio_track": 1}, {"tile": False}, {"frame": 3},
            {"kind": "audio"},
        )],
    ],
    "summarize": [Summarize(SummaryOptions(**one)) for one in (
        {"model": "qwen3.5-omni-plus"}, {"text_model": "qwen-flash"}, {"focus": "prices"}, {"language": "French"},
        {"detail": "high"}, {"strategy": "single"}, {"segment_seconds": 60}, {"overlap": 0}, {"start": 5}, {"end": 50},
        {"reduce_tokens": 5_000}, {"budget": MediaBudget(name="own", fps=1)}, {"note_tokens": 500}, {"thinking": True},
        {"chat": ChatOptions(temperature=0.5)}, {"chat": ChatOptions(seed=1)},
    )],
    "notes": [Notes(SummaryOptions(**one)) for one in (
        {"model": "qwen3.5-omni-plus"}, {"focus": "prices"}, {"overlap": 0},
    )],
    "transcribe": [Transcribe(TranscriptionOptions(**one)) for one in (
        {"model": "fun-asr"}, {"language": "en"}, {"speakers": 2}, {"words": False}, {"context": "Qwen"}, {"start": 3},
    )],
}  # fmt: skip
SAME = {
    "caption": [Caption(options=CaptionOptions(**one)) for one in ({"repair": False}, {"tier": "batch"})],
    "summarize": [Summarize(SummaryOptions(**one)) for one in (
        {"concurrency": 2}, {"max_gaps": 3}, {"step_retries": 0}, {"retry_seconds": 1}, {"rpm": 10}, {"tpm": 9_000},
        {"checkpoint": False}, {"reuse_unverified": True}, {"workers": 1}, {"tier": "batch"},
        {"chat": ChatOptions(extra_headers={"X-A": "1"})},
    )],
    "notes": [Notes(SummaryOptions(**one)) for one in ({"text_model": "qwen-flash"}, {"reduce_tokens": 5_000})],
    "transcribe": [Transcribe(TranscriptionOptions(**one)) for one in (
        {"wait_seconds": 5}, {"poll_seconds": 5}, {"fresh": True},
    )],
}  # fmt: skip


@pytest.mark.parametrize("name", USUAL)
def test_what_changes_an_answer_changes_the_digest(name):
    digests = [one.digest for one in (USUAL[name], *OTHERS[name])]
    assert len(set(digests)) == len(digests)
    assert {len(one) for one in digests} == {32}


@pytest.mark.parametrize("name", USUAL)
def test_nothing_else_does(name):
    assert {one.digest for one in SAME[name]} == {USUAL[name].digest}


def test_steps_with_the_same_options_are_different_steps():
    assert len({one.digest for one in USUAL.values()}) == len(USUAL)
    assert [one.name for one in USUAL.values()] == list(USUAL)


def answer(*_):
    return 7


@pytest.mark.parametrize("step", [*USUAL.values(), Caption(GeneralCaption), FunctionStep("f", answer, "d")])
def test_steps_travel_to_other_processes(step):
    other = pickle.loads(pickle.dumps(step))
    assert (other, other.digest) == (step, step.digest) == (copy.copy(step), step.digest)
    check_step(step)


@pytest.mark.parametrize("step", USUAL.values())
def test_steps_are_checked_before_anything_is_paid_for(step):
    assert isinstance(step, Checked)
    assert isinstance(step, Estimated)
    step.check(SETTINGS)
    if step.model:
        retired = replace(step, options=replace(step.options, model="qwen-omni-turbo"))
        with pytest.raises(NotFoundError, match="was retired"):
            retired.check(SETTINGS)


def test_an_option_that_no_input_can_have(tmp_path):
    """It is an error of the run, before the first row."""
    step = Transcribe(TranscriptionOptions(model="qwen3-asr-flash-filetrans", tidy=True))
    with pytest.raises(ConfigurationError, match="tidy"):
        list(run(tmp_path / "a.mp4", step, store=tmp_path / "s.db", settings=SETTINGS))
    assert not (tmp_path / "s.db").exists()


# --- On the stand-in ---


@pytest.fixture(scope="module")
def clips(tmp_path_factory):
    folder = tmp_path_factory.mktemp("clips")
    for seconds in (2, 3):
        make_video(folder / f"{seconds}.mp4", seconds=seconds, size=(160, 90))
    return folder


def asked(standin):
    """The chat requests by model."""
    return [one.body["model"] for one in standin.requests if one.path.endswith("/chat/completions")]


def rows_of(source, step, store, settings):
    return list(run(source, step, store=store, settings=settings))


def test_captions(tmp_path, clips, standin, settings: Settings):
    store = tmp_path / "s.db"
    rows = rows_of(clips, Caption(), store, settings)
    assert [row.status for row in rows] == ["ok", "ok"]
    assert all(row.value["scene_description"] for row in rows)
    assert all(row.input_tokens and row.cost_cny for row in rows)
    assert len(asked(standin)) == 2
    assert rows_of(clips, Caption(options=CaptionOptions(repair=False)), store, settings)[0].value
    assert len(asked(standin)) == 2
    (row, _) = rows_of(clips, Caption(GeneralCaption), store, settings)
    assert row.value["title"]
    assert len(asked(standin)) == 4
    assert status(store, "caption").total == 4


@pytest.mark.slow
def test_summaries_and_notes_share_segments(tmp_path, standin, settings: Settings):
    """A changed way to join reuses the notes that were paid for; so does the step that takes notes alone."""
    store, video = tmp_path / "s.db", make_video(tmp_path / "16.mp4", seconds=16, size=(160, 90)).path
    options = SummaryOptions(segment_seconds=9, overlap=0, single_call_seconds=0)
    (first,) = rows_of(video, Summarize(options), store, settings)
    assert (first.status, first.error, first.value["segments"], first.value["video"]["source"]) == ("ok", "", 2, "")
    models = asked(standin)
    assert len(models) == 3
    assert first.input_tokens > 0
    joined = Summarize(replace(options, text_model="qwen-flash"))
    (second,) = rows_of(video, joined, store, settings)
    assert (second.status, second.reused, asked(standin)[3:]) == ("ok", False, ["qwen-flash"])
    assert 0 < second.input_tokens < first.input_tokens
    (notes,) = rows_of(video, Notes(options), store, settings)
    assert (notes.status, notes.cost_cny, len(asked(standin))) == ("ok", 0.0, 4)
    segments = [SegmentNotes.model_validate(one) for one in notes.value["segments"]]
    assert [one.index for one in segments] == [0, 1]
    rows_of(video, Notes(replace(options, focus="the colours")), store, settings)
    assert len(asked(standin)) == 6
    assert {one.name.partition("-")[0] for one in tmp_path.iterdir()} == {"16.mp4", "s.db"}


def test_transcripts(tmp_path, clips, standin, settings: Settings):
    rows = rows_of(clips, Transcribe(), tmp_path / "s.db", settings)
    assert [(row.status, row.model, row.value["source"]) for row in rows] == [("ok", "paraformer-v2", "")] * 2
    assert all(row.cost_cny for row in rows)
    assert "task_id" not in rows[0].value


def test_any_function(tmp_path, clips, settings: Settings):
    """It is given the media, the name, the digest, and a client whose calls are counted."""

    def size(source, task):
        return {"bytes": source.path.stat().st_size, "uri": task.uri, "digest": task.digest}

    rows = rows_of(clips, FunctionStep("size", size, "1"), tmp_path / "s.db", settings)
    for row in rows:
        assert row.value == {"bytes": (clips / row.uri).stat().st_size, "uri": row.uri, "digest": row.content_digest}
