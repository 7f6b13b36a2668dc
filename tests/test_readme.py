"""The README tells the truth: its Python lines run, its commands exist, its numbers are the profiles'."""

import importlib
import inspect
import re
from pathlib import Path

import pytest

from qwen_omni import profile_for
from qwen_omni.standin.marked_media import make_video

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS, ids=lambda block: block.splitlines()[0][:40])
def test_its_lines_run(block, standin, monkeypatch, tmp_path, capsys):
    """Each block runs as it stands, on the stand-in, and prints an answer out of the video."""
    film = make_video(tmp_path / "promo.mp4", seconds=3, size=(160, 90))
    if "llama_index" in block:
        pytest.importorskip("llama_index.core")
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


TABLES = re.findall(r"`from (\w+) import \N{HORIZONTAL ELLIPSIS}`.*?\n\n((?:\|.*\n)+)", README)
ELSEWHERE = {
    "langchain_qwen_omni": {"ainvoke", "batch", "bind_tools", "estimate", "invoke", "stream", "with_structured_output"},
    "llama_index_qwen_omni": {"chat_with_tools", "load_data", "structured_predict"},
    "qwen_omni": {"Standin", "environment", "str"},
}


def called(table: str) -> set[str]:
    """Names that are called in the code of a table."""
    return {name for code in re.findall(r"`([^`]+)`", table) for name in re.findall(r"(\w+)\(", code)}


@pytest.mark.parametrize(("package", "table"), TABLES, ids=[package for package, _ in TABLES])
def test_its_tables_name_what_is_there(package, table):
    """Each name that is called is public in the package of the table, or a method of what is."""
    if package == "llama_index_qwen_omni":
        pytest.importorskip("llama_index.core")
    home, core = importlib.import_module(package), importlib.import_module("qwen_omni")
    things = [getattr(module, name) for module in (home, core) for name in module.__all__]
    methods = {name for thing in things if inspect.isclass(thing) for name in dir(thing)}
    assert called(table)
    assert called(table) - set(home.__all__) - methods - ELSEWHERE[package] == set()


def test_its_tables_are_three_and_its_links_lead_somewhere():
    """Every framework has its table, and every example of LangChain and the core is in one."""
    assert [package for package, _ in TABLES] == ["langchain_qwen_omni", "llama_index_qwen_omni", "qwen_omni"]
    links = re.findall(r"\]\(([\w/.-]+)\)", README)
    assert [link for link in links if not (ROOT / link).exists()] == []
    examples = {str(path.relative_to(ROOT)) for path in (ROOT / "examples").glob("*/[!_]*.py")}
    assert examples <= set(links)


def test_it_tells_what_costs_more():
    """The table of costs names the dearer ways as such, for the clip and for the film."""
    rows = [line for line in README.splitlines() if re.search(r"\| \d+\.\d\dx \|", line)]
    assert len(rows) > 10
    for row in rows:
        share = float(re.search(r"(\d+\.\d\d)x", row)[1])
        assert ("costs more" in row) is (share > 1), row


def words(seconds: float) -> str:
    """Seconds as the table writes them."""
    if seconds >= 3600:
        return f"{seconds / 3600:g} h"
    return f"{seconds:g} s" if seconds % 60 or seconds < 180 else f"{seconds / 60:g} min"


@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3.5-omni-plus", "qwen3-omni-flash"])
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
