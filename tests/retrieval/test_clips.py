"""`clip(document)` of both frameworks: the stretch ends after it starts, and within the file."""

import pytest
from hypothesis import given, strategies as st
from langchain_core.documents import Document
from llama_index.core.schema import TextNode

import langchain_qwen_omni
import llama_index_qwen_omni
from qwen_omni import TranscriptionOptions, transcribe
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.retrieval.passages import time_range_of, to_passages
from qwen_omni.standin.marked_media import make_audio


@pytest.mark.slow
def test_a_passage_of_a_part_of_a_recording(settings, tmp_path):
    """Its `duration` is that of the file, so that a clip of seconds 4 to 8 does not end at second 6."""
    call = make_audio(tmp_path / "call.mp3", seconds=12)
    with OmniClient(settings) as client:
        said = transcribe(call.path, client=client, options=TranscriptionOptions(start=6, end=12, fresh=True))
    assert said.duration == pytest.approx(12, abs=0.2)
    passages = list(to_passages(said, mode="sentences"))
    assert passages
    for one in passages:
        assert one.metadata["start"] >= 6
        block = langchain_qwen_omni.clip(Document(one.text, metadata=one.metadata))
        assert block["extras"]["start"] < one.metadata["end"] <= block["extras"]["end"] <= 12.2
        url = llama_index_qwen_omni.clip(TextNode(text=one.text, metadata=one.metadata)).url
        start, end = map(float, str(url).partition("#t=")[2].split(","))
        assert start < one.metadata["end"] <= end <= 12.2


def test_an_older_document_of_a_part():
    """Its `duration` is that of the part, which says nothing about where the file ends."""
    told = {"source": "call.mp3", "start": 100.0, "end": 130.0, "duration": 40.0, "kind": "speech"}
    found = time_range_of(told, margin=2)
    assert (found.start, found.end) == (98, 132)


SECONDS = st.floats(0, 1e6, allow_nan=False)


@given(start=SECONDS, length=st.floats(0, 1e4), margin=st.floats(0, 100), duration=st.none() | SECONDS)
def test_a_stretch_ends_after_it_starts(start, length, margin, duration):
    """Whatever the metadata say, or it is our error."""
    told = {"source": "a.mp4", "start": start, "end": start + length, "duration": duration}
    try:
        found = time_range_of(told, margin=margin)
    except ConfigurationError as error:
        assert "choose a margin" in str(error)
        return
    assert 0 <= found.start < found.end
    assert found.start <= start <= start + length <= found.end
