"""The README tells the truth: its Python lines run, its commands exist, its numbers are the profiles'."""

import re
from pathlib import Path

import pytest

from qwen_omni import profile_for
from qwen_omni.standin.truth import make_video

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_its_lines_run(block, standin, monkeypatch, tmp_path, capsys):
    """Each block runs as it stands, on the stand-in, and prints an answer out of the video."""
    film = make_video(tmp_path / "promo.mp4", seconds=3, size=(160, 90))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    scope: dict = {}
    exec(compile(block, "README.md", "exec"), scope)
    if "llm" in scope:
        scope["llm"].close()
    assert film.codes[1] in capsys.readouterr().out


def test_its_commands_exist():
    """Every make target named is one."""
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    assert set(re.findall(r"^make ([a-z0-9-]+)", README, re.MULTILINE)) <= targets
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^make ([a-z0-9-]+)", contributing, re.MULTILINE)) <= targets


def words(seconds: float) -> str:
    """Seconds as the table writes them."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds:g} s" if seconds % 60 or seconds < 180 else f"{seconds / 60:g} min"


@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-plus", "qwen3-omni-flash", "qwen-omni-turbo"])
def test_its_limits_are_the_profiles(model):
    """The table of limits says what is checked."""
    row = next(line for line in README.splitlines() if line.startswith(f"| `{model}`")).split("|")
    limits = profile_for(model).limits
    assert f"{limits.min_video_seconds:g} s to {words(limits.video_seconds)}" in row[2]
    size = limits.video_bytes
    assert (f"{size // 2**30} GB" if size >= 2**30 else f"{size // 2**20} MB") in row[2]
    assert "\u2013".join(map(str, limits.frames)) in row[3]
    assert words(limits.audio_seconds) in row[4]
    assert ("yes" in row[5]) is limits.mixed
    assert ("speech" in row[6]) is profile_for(model).speaks


def test_it_is_short():
    """A stranger reads it in ten minutes."""
    assert len(README.splitlines()) < 200
