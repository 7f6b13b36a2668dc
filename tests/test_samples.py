"""The sample clip: small, copied without harm to what is there, and true to its description."""

import itertools
from pathlib import Path

import pytest

import qwen_omni
from qwen_omni import samples
from qwen_omni.cli.main import run
from qwen_omni.errors import ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.media.prepare import look_at
from qwen_omni.media.source import as_source


def test_what_it_is(tmp_path):
    clip = qwen_omni.sample(tmp_path / "new")
    info = look_at(as_source(clip.path)).info
    assert (info.kind, float(info.duration), info.width, info.height, info.has_audio) == ("video", 20, 640, 360, True)
    assert clip.path.stat().st_size < 600_000
    assert [(scene.start, scene.end) for scene in samples.SCENES] == [(0, 6), (6, 13), (13, 20)]
    facts = " ".join(word for scene in samples.SCENES for word in (scene.speech, *scene.words))
    assert all(fact in facts for fact in ("$3.80", "cookie"))
    assert all(fact in clip.answer for fact in ("$3.80", "cookie"))


def test_it_is_cut_where_its_scenes_end(tmp_path):
    """Between two scenes nearly every pixel changes; inside one, few do."""
    import av  # noqa: PLC0415
    import numpy as np  # noqa: PLC0415

    with av.open(str(qwen_omni.sample(tmp_path).path)) as film:
        shown = [(float(frame.time), frame.to_ndarray(format="gray")[::8, ::8]) for frame in film.decode(video=0)]
    changes = [
        (at, (np.abs(now.astype(int) - before) > 24).mean()) for (_, before), (at, now) in itertools.pairwise(shown)
    ]
    assert [round(at) for at, change in changes if change > 0.3] == [6, 13]


def test_a_copy_is_reused_and_another_file_is_kept(tmp_path):
    first = qwen_omni.sample(tmp_path)
    made = first.path.stat().st_mtime_ns
    assert qwen_omni.sample(tmp_path) == first
    assert first.path.stat().st_mtime_ns == made
    first.path.write_bytes(b"mine")
    with pytest.raises(ConfigurationError, match="is not the sample clip"):
        qwen_omni.sample(tmp_path)
    assert first.path.read_bytes() == b"mine"
    assert [one.name for one in tmp_path.iterdir()] == ["sample.mp4"]


def test_a_name_of_its_own(tmp_path):
    clip = qwen_omni.sample(tmp_path / "new" / "other.mp4")
    assert (clip.path, clip.path.is_file()) == (tmp_path / "new" / "other.mp4", True)
    assert qwen_omni.sample(clip.path) == clip
    (tmp_path / "old.mp4").mkdir()
    assert qwen_omni.sample(tmp_path / "old.mp4").path == tmp_path / "old.mp4" / "sample.mp4"


def test_a_place_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    with pytest.raises(QwenOmniError, match="file"):
        qwen_omni.sample(tmp_path / "file")
    monkeypatch.setattr(Path, "write_bytes", _full)
    with pytest.raises(LocalResourceError, match="No space left") as caught:
        qwen_omni.sample(tmp_path / "full")
    assert caught.value.resource == "disk"


def _full(*_arguments):
    raise OSError(28, "No space left on device")


def test_the_command(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run(["sample"])
    out, err = capsys.readouterr()
    assert (ended.value.code, out) == (0, "sample.mp4\n")
    assert "Question: What does a latte cost" in err
    assert (tmp_path / "sample.mp4").exists()
