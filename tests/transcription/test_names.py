"""What a transcript calls its recording."""

import os
import shutil
import sys
from pathlib import Path

import pytest

from qwen_omni import Transcript
from qwen_omni.retrieval.passages import time_range_of, to_passages
from qwen_omni.standin.marked_media import TruthMedia
from tests.transcription.conftest import Ask

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
