"""Files of other programs: every second that a player shows and sounds is in what is sent, or the file is refused."""

import importlib.util
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from qwen_omni.errors import MediaError
from qwen_omni.media.look import Choices
from qwen_omni.media.prepare import prepare
from qwen_omni.standin.perceive import Memory
from qwen_omni.standin.truth import Encoding, make_audio, make_video
from tests.core.media.foreign import AUDIO_SECONDS, ROWS, VIDEO_SECONDS, Row

pytestmark = pytest.mark.slow
_SEEN_SLACK, _HEARD_SLACK = 0.3, 0.15  # seconds


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """The marked files that all recipes begin with, and their codes."""
    folder = tmp_path_factory.mktemp("foreign")
    encoding = Encoding(options=(("preset", "veryfast"), ("crf", "20"), ("bf", "0")))
    film = make_video(folder / "a.mp4", seconds=VIDEO_SECONDS, size=(192, 144), fps=10, seed=31, encoding=encoding)
    voices = {
        name: make_audio(folder / f"{name}.wav", seconds=AUDIO_SECONDS, seed=seed).codes
        for name, seed in (("a", 32), ("b", 33))
    }
    return folder, film.codes, voices


@pytest.mark.parametrize("row", ROWS, ids=[row.file for row in ROWS])
def test_a_file_of_another_program_is_read_right(row: Row, sources, tmp_path: Path):
    """Whole and in part, by what is seen and heard in it; or refused with the reason."""
    path = make(row, sources[0], tmp_path)
    if row.refused:
        with pytest.raises(MediaError, match=row.refused):
            prepare(path)
        return
    seen, heard = _codes(row, sources)
    choices = Choices(audio_track=row.track)
    with prepare(path, budget="static", choices=choices) as whole:
        facts = Memory().recall(whole.info.kind, whole.read())
        length = row.seconds or float(len(seen) or len(heard))
        assert float(whole.source_info.duration) == pytest.approx(length, abs=row.slack)
        assert facts.duration == pytest.approx(float(whole.info.picture_duration or whole.info.duration), abs=0.1)
    assert [mark.code for mark in facts.picture_marks] == seen
    assert [mark.code for mark in facts.sound_marks] == heard

    offsets = [float(mark.start) for mark in facts.picture_marks] or [float(mark.start) for mark in facts.sound_marks]
    begin, end = round(offsets[1], 2), round(offsets[-1], 2) + 0.7
    with prepare(path, budget="static", start=begin, end=end, choices=choices) as part:
        found = Memory().recall(part.info.kind, part.read())
    _check_part(found.picture_marks, facts.picture_marks, begin, end, _SEEN_SLACK)
    _check_part(found.sound_marks, facts.sound_marks, begin, end, _HEARD_SLACK)


def make(row: Row, folder: Path, tmp_path: Path) -> Path:
    """Write the file of a row, or skip the test where a program is missing."""
    newest = _newest()
    for program in row.programs:
        if (program == "$NEW_FFMPEG" and newest is None) or (program[0] != "$" and shutil.which(program) is None):
            pytest.skip(f"{program.strip('$')} is not installed")
    for source in folder.iterdir():
        (tmp_path / source.name).symlink_to(source)
    (tmp_path / row.file).unlink(missing_ok=True)
    done = subprocess.run(
        ["bash", "-c", row.recipe], cwd=tmp_path, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "NEW_FFMPEG": newest or "", "LC_ALL": "C"},
    )  # fmt: skip
    path = tmp_path / row.file
    if "Unknown encoder" in done.stderr:
        pytest.skip(done.stderr.strip()[:100])
    assert path.exists(), done.stderr
    assert path.stat().st_size, done.stderr
    return path


def _newest() -> str | None:
    """The newest ffmpeg of a wheel, if it is installed."""
    if "NEW_FFMPEG" in os.environ:
        return os.environ["NEW_FFMPEG"]
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg  # noqa: PLC0415 - optional

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _codes(row: Row, sources) -> tuple[list[str], list[str]]:
    _, film, voices = sources
    seen = [film[second] for second in row.picture or ()]
    heard = [(film if row.picture is not None else voices[name[0]])[int(name[1:])] for name in row.sound]
    return seen, heard


def _check_part(found, whole, begin: float, end: float, slack: float) -> None:
    """What begins well inside the part is in it, at its time."""
    inside = [mark for mark in whole if begin + slack < mark.start < end - 1]
    for mark in inside:
        times = [one.start for one in found if one.code == mark.code]
        assert any(abs(time - (mark.start - begin)) <= slack for time in times), (mark, times)


def test_the_matrix_is_wide():
    """At least eighty files of other programs are tried, each once."""
    assert len(ROWS) >= 80
    assert len({row.file for row in ROWS}) == len({row.what for row in ROWS}) == len(ROWS)
    assert all(re.search(r"\w", row.recipe) for row in ROWS)
