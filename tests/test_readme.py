"""The README tells the truth: what it shows runs as pasted, and what it names exists."""

import importlib
import inspect
import os
import re
import shutil
import subprocess
import sys
import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from qwen_omni import profile_for, sample
from qwen_omni.standin import Standin

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```(\w+)\n(.*?)```", README, re.DOTALL)
PYTHON = [text for kind, text in BLOCKS if kind == "python"]
SHELL = [line for kind, text in BLOCKS if kind == "bash" for line in text.splitlines()]
(OUTPUT,) = [text.strip() for kind, text in BLOCKS if kind == "text"]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
NOT_RUN = ("python3 -m venv ", "pip install ", "export DASHSCOPE_API_KEY=sk-your-key")  # `make wheels` installs


@pytest.mark.parametrize("block", PYTHON, ids=lambda block: block.splitlines()[0][:40])
def test_its_lines_run(block, standin, monkeypatch, tmp_path, capsys):
    """Each block runs as it stands, in a folder with the sample clip, and prints what is in the clip."""
    if "llama_index" in block:
        pytest.importorskip("llama_index.core")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    sample()
    scope: dict = {}
    exec(compile(block, "README.md", "exec"), scope)
    if "llm" in scope:
        scope["llm"].close()
    printed = capsys.readouterr().out
    places = [printed.find(piece.strip()) for piece in OUTPUT.split("\N{HORIZONTAL ELLIPSIS}") if piece.strip()]
    assert places == sorted(places), printed
    assert -1 not in places, printed


def test_the_five_lines_are_five():
    assert len([line for line in PYTHON[0].splitlines() if line]) == 5


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_its_commands_run_as_pasted(tmp_path):
    """In an empty folder, with the installed command; none needs a file that the lines before it have not made."""
    program = shutil.which("qwen-omni", path=str(Path(sys.executable).parent))
    assert program, "the command is not installed beside this Python"
    lines = [line for line in SHELL if not line.startswith(NOT_RUN)]
    assert all(line.startswith("qwen-omni ") for line in lines)

    def run(line: str) -> tuple[str, subprocess.CompletedProcess[str]]:
        return line, subprocess.run(
            ["bash", "-c", line],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )

    with Standin() as standin:
        environment = {
            "PATH": f"{Path(program).parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT),
            "HOME": str(tmp_path), "QWEN_OMNI_CACHE_DIR": str(tmp_path / "cache"),
            "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url,
        }  # fmt: skip
        first = [run(line) for line in lines[:1]]
        with ThreadPoolExecutor(2) as pool:
            done = [*first, *pool.map(run, lines[1:])]
    failed = {line: one.stderr or one.stdout for line, one in done if one.returncode}
    assert failed == {}
    assert all(one.stdout.strip() or one.stderr.strip() for _, one in done)
    made = {path.name for path in tmp_path.iterdir()}
    assert {"sample.mp4", "sample.srt", "sample.html", "segments"} <= made
    assert "-->" in (tmp_path / "sample.srt").read_text(encoding="utf-8")


def test_its_extras_exist():
    (line,) = [line for line in SHELL if line.startswith("pip install")]
    assert set(re.search(r"\[(.*)\]", line)[1].split(",")) <= set(PROJECT["optional-dependencies"])


TABLES = re.findall(r"`from (\w+) import \N{HORIZONTAL ELLIPSIS}`.*?\n\n((?:\|.*\n)+)", README)
ELSEWHERE = {
    "langchain_qwen_omni": {"ainvoke", "batch", "bind_tools", "estimate", "invoke", "stream", "with_structured_output"},
    "llama_index_qwen_omni": {"chat_with_tools", "load_data", "structured_predict"},
    "qwen_omni": {"Standin", "environment"},
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


def test_its_tables_are_three():
    assert [package for package, _ in TABLES] == ["langchain_qwen_omni", "llama_index_qwen_omni", "qwen_omni"]


ADDRESSES = re.findall(r"\]\(([^)]+)\)", README)


@pytest.mark.parametrize("address", dict.fromkeys(ADDRESSES))
def test_its_links_lead_somewhere_from_the_package_page_too(address):
    """Absolute, as the package page has no files beside it; those of this repository lead to a file, and a heading."""
    parts = urlsplit(address)
    assert parts.scheme == "https"
    repository = urlsplit(PROJECT["urls"]["Repository"]).path
    if parts.netloc not in ("github.com", "raw.githubusercontent.com"):
        return
    assert parts.path.startswith(repository + "/")
    kind = r"/main/" if parts.netloc.startswith("raw") else r"/(?:blob|tree)/main/"
    path = ROOT / re.sub(kind, "", parts.path.removeprefix(repository), count=1)
    assert path.exists()
    if parts.fragment:
        headings = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
        assert parts.fragment in [re.sub(r"[^\w -]", "", one.lower()).replace(" ", "-") for one in headings]


def test_its_limits_are_the_profiles():
    """What it says about hours of video is what is checked."""
    assert profile_for("qwen3.8-omni-flash").limits.video_seconds == 7200
    assert profile_for("qwen3.5-omni-plus").limits.video_seconds == 3600
    assert profile_for("qwen3.5-omni-flash").limits.video_seconds == 3600
    assert "up to two hours of video (`qwen3.8-omni-flash`) or one hour (3.5)" in README


def test_it_is_short():
    """The first screen has the answer, and a stranger reads all of it in ten minutes."""
    lines = README.splitlines()
    assert lines.index("## Recipes") < 85
    assert len(lines) < 145


def test_contributing_names_targets_that_exist():
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    assert set(re.findall(r"^make ([a-z0-9-]+)", contributing, re.MULTILINE)) <= targets


def test_the_table_of_costs_says_what_costs_more():
    """For the clip and for the long video."""
    rows = re.findall(r"^.*\| \d+\.\d\dx \|.*$", (ROOT / "docs" / "cost.md").read_text(encoding="utf-8"), re.MULTILINE)
    assert len(rows) > 10
    for row in rows:
        share = float(re.search(r"(\d+\.\d\d)x", row)[1])
        assert ("costs more" in row) is (share > 1), row
