"""Passages: the same keys with values of the same types in every one, and texts that fit into a store."""

import json

import pytest
from hypothesis import given, strategies as st
from llama_index.core.schema import MetadataMode

from llama_index_qwen_omni.readers import to_document
from qwen_omni.retrieval.index import with_speech
from qwen_omni.retrieval.passages import (
    TEXT_BYTES,
    UNKNOWN,
    Passage,
    Passages,
    bounded,
    complete,
    kind_of,
    known,
    make_passage,
    time_range_of,
    to_passages,
    whole_passage,
)
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.schemas import SegmentNotes, TimedNote, VideoFacts

FULL = VideoFacts(
    source="a.mp4", duration=30, width=64, height=48, fps=25, video_codec="h264", audio_codec="aac", audio_track=1
)
EVENT = TimedNote(start=1, end=2, text="A door opens.")
SAID = Sentence(start=1, end=2, text="Come in.", speaker=0)


def notes(video: VideoFacts | None, **fields: object) -> SegmentNotes:
    return SegmentNotes(index=0, start=0, end=9, summary="A scene.", events=(EVENT,), video=video, **fields)


PASSAGES: dict[str, list[Passage]] = {
    "segment": list(Passages("a.mp4").of(notes(FULL, model="m", language="en", truncated=True))),
    "segment of which nothing is known": list(Passages("a.mp4").of(notes(None))),
    "caption": list(Passages("a.mp4", "captions").of(notes(FULL))),
    "whole": [whole_passage("a.mp4", VideoSummary(summary="All.", segments=1, video=FULL), start=None, end=None)],
    "speech": list(to_passages(Transcript(text="Come in.", source="a.mp3", sentences=(SAID,), duration=3))),
    "speech without times": list(to_passages(Transcript(text="Come in.", source="a.mp3"))),
    "segment with speech": [
        with_speech(one, Transcript(text="Come in.", model="t", sentences=(SAID,)))
        for one in Passages("a.mp4").of(notes(FULL))
    ],
}  # fmt: skip


@pytest.mark.parametrize("name", PASSAGES)
def test_every_key_in_every_passage(name: str):
    """Flat JSON values, each key with one type, whatever is known: a store makes a column of it."""
    assert PASSAGES[name]
    for one in PASSAGES[name]:
        assert {key: type(value) for key, value in one.metadata.items()} == {
            key: type(value) for key, value in UNKNOWN.items()
        }
        assert json.loads(json.dumps(one.metadata)) == one.metadata
        assert one.metadata["kind"]


def test_unknown_values_are_read_as_unknown():
    """As in documents of older versions, which lack the key; 0 and `False` are known."""
    (bare,) = PASSAGES["segment of which nothing is known"]
    old = {"source": "a.mp4", "start": 0.0, "end": 9.0}
    for metadata in (bare.metadata, old):
        assert (kind_of(metadata), time_range_of(metadata).audio_track) == ("video", None)
        assert time_range_of(metadata, margin=99).end == 108
    assert known({"segment": 0}, "segment") == 0
    (full,) = PASSAGES["caption"]
    assert (time_range_of(full.metadata, margin=99).end, time_range_of(full.metadata).audio_track) == (30, 1)
    assert kind_of(complete({"audio_codec": "aac"})) == "audio"


def test_unknown_values_are_in_no_prompt():
    """A model does not read that a language is empty."""
    (bare,), (full,) = PASSAGES["segment of which nothing is known"], PASSAGES["segment"]
    shown = to_document(bare, None).get_content(MetadataMode.LLM)
    assert "language" not in shown
    assert "speakers" not in shown
    assert "language: en" in to_document(full, None).get_content(MetadataMode.LLM)
    assert to_document(bare, None).get_content(MetadataMode.EMBED) == bare.text


@given(text=st.one_of(st.text(max_size=50), st.builds(
    lambda piece, count: piece * count, st.text(min_size=1, max_size=9), st.integers(1, 20_000)
)))  # fmt: skip
def test_texts_are_bounded(text: str):
    """A text that fits is unchanged; of a longer one, the beginning, and how much is missing."""
    kept, cut = bounded(text)
    assert len(kept.encode()) <= TEXT_BYTES
    assert cut is (len(text.encode()) > TEXT_BYTES)
    if not cut:
        assert kept == text
        return
    beginning, _, last = kept.rpartition("\n")
    assert text.startswith(beginning)
    assert last == f"[{len(text) - len(beginning):,} more characters are left out]"


def test_a_passage_that_is_cut_says_so():
    """Also when the speech makes it too long; the ID is that of the whole text."""
    long = make_passage("word " * 9_000, {"source": "a.mp4"}, "segment", (0.0, 9.0))
    assert long.metadata["truncated"] is True
    assert long.id == make_passage("other", {"source": "a.mp4"}, "segment", (0.0, 9.0)).id
    told = SAID.model_copy(update={"text": "word " * 9_000})
    (short,) = PASSAGES["segment of which nothing is known"]
    spoken = with_speech(short, Transcript(text="x", model="t", sentences=(told,)))
    assert (short.metadata["truncated"], spoken.metadata["truncated"]) == (False, True)
    assert spoken.text.startswith("A scene.\nA door opens.\nSaid: word")
