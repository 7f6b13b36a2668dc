"""The documentation tells the truth: its lines run, its commands exist, what is made from the code is up to date."""

import functools
import importlib.util
import inspect
import itertools
import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import textwrap
import tomllib
import types
from pathlib import Path

import pytest
import typer.main
import yaml
from langchain_core.embeddings import DeterministicFakeEmbedding

from qwen_omni import SummaryOptions, errors
from qwen_omni.archive import BatchJob
from qwen_omni.cli.main import build_app
from qwen_omni.standin import Fault, LoggedRequest, ToolCall, Turn
from qwen_omni.standin.marked_media import make_audio, make_image, make_video

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs"
PAGES = sorted(DOCS.rglob("*.md"))
INDEX = ROOT / "examples" / "README.md"
README = ROOT / "README.md"
FENCE = re.compile(r"^( *)```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^\1```$", re.MULTILINE | re.DOTALL)
GROUP = typer.main.get_command(build_app())
COMMANDS = GROUP.commands


def named(path):
    return str(path.relative_to(DOCS)) if path.is_relative_to(DOCS) else path.name


def blocks(page, language):
    """Return the blocks of one language in a page, each with its title and what stands in the block behind it."""
    fences = FENCE.findall(page.read_text(encoding="utf-8"))
    found = [(kind, title, textwrap.dedent(text)) for _, kind, title, text in fences]
    pairs = itertools.zip_longest(found, found[1:], fillvalue=("", "", ""))
    return [
        (title, text, following[1:] if following[0] == "text" and following[1].startswith("Output") else None)
        for (kind, title, text), following in pairs
        if kind == language
    ]


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """A folder with the files that the pages name, and what is in them."""
    made = tmp_path_factory.mktemp("media")
    codes = ["4711"]
    for name, seconds in (("promo.mp4", 4), ("lecture.mp4", 10)):
        codes += make_video(made / name, seconds=seconds, size=(160, 90)).codes
    codes += make_audio(made / "call.wav", seconds=2).codes
    (made / "photo.jpg").write_bytes(make_image("4711", (160, 90), "JPEG"))
    return made, codes


@pytest.fixture
def folder(media, tmp_path, monkeypatch, standin):
    """A copy of that folder to be in, and an address that leads to the stand-in; gives what is in the files."""
    made, codes = media
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    monkeypatch.setenv("DASHSCOPE_BATCH_BASE_URL", standin.batch_base_url)
    return codes


# What a test needs and a reader does not: short segments for a short video, no waiting, no embedding model that costs.
SEGMENTS = {"single_call_seconds": 5, "segment_seconds": 9, "overlap": 1}
HEAVY = ("langchain_chroma", "langchain_qdrant", "langchain_milvus", "lancedb")  # blocks run where they are


@pytest.fixture
def quick(monkeypatch):
    """The settings of the tests, under the defaults that a page relies on."""
    defaults = inspect.unwrap(SummaryOptions.__init__).__kwdefaults__
    for name, value in SEGMENTS.items():
        monkeypatch.setitem(defaults, name, value)
    short = SummaryOptions()
    for name in [name for name in sys.modules if name.partition(".")[0].endswith("qwen_omni")]:
        for key, value in list(vars(sys.modules[name]).items()):
            if isinstance(value, SummaryOptions):
                monkeypatch.setattr(sys.modules[name], key, short)
    monkeypatch.setitem(BatchJob.wait.__kwdefaults__, "poll_seconds", 0.01)
    openai = types.ModuleType("langchain_openai")
    openai.OpenAIEmbeddings = functools.partial(DeterministicFakeEmbedding, size=64)
    monkeypatch.setitem(sys.modules, "langchain_openai", openai)


def missing(text):
    """Whether a block needs a package that is not installed here."""
    if re.search(r"\blibrary\b|VideoLibrary", text) and not importlib.util.find_spec("lancedb"):
        return True
    return any(
        f"import {name}\n" in text or f"from {name}" in text for name in HEAVY if not importlib.util.find_spec(name)
    )


WITH_PYTHON = [page for page in PAGES if any(not title for title, _, _ in blocks(page, "python"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_PYTHON, ids=named)
def test_the_lines_of_a_page_run(page, folder, standin, capsys, quick):
    """The python blocks of a page run one after the other, as a reader would; an output that is shown is true."""
    scope: dict = {"__name__": "page"}
    printed = ""
    for title, text, output in blocks(page, "python"):
        if title or missing(text) or "import ray\n" in text:
            continue
        exec(compile(text, named(page), "exec"), scope)
        told = capsys.readouterr().out
        printed += told
        shown = told.strip() if output is None or output[0] == "Output" else told.strip()[-len(output[1].strip()) :]
        assert output is None or shown == output[1].strip(), text
    assert printed.strip(), "a page that shows code shows what comes of it"
    asked_about_media = any(request.media for request in standin.requests)
    assert not asked_about_media or any(code in printed for code in folder), "an answer is out of the media"


@pytest.mark.long
@pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="ray is not installed")
def test_the_lines_on_ray_run(folder, tmp_path):
    """In a process of their own, because Ray does not end with a test; what they write has a row for each file."""
    (text,) = [text for _, text, _ in blocks(DOCS / "archive.md", "python") if "import ray\n" in text]
    begin = "from qwen_omni.archive import Caption\nstep = Caption()\n"
    environment = {**os.environ, "RAY_USAGE_STATS_ENABLED": "0", "PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", begin + text], cwd=tmp_path, env=environment, check=True, timeout=110)
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = parquet.read_table(tmp_path / "captions").to_pylist()
    assert {Path(row["uri"]).name: row["status"] for row in rows} == {"promo.mp4": "ok", "lecture.mp4": "ok"}


WITH_FILES = [page for page in PAGES if any(title for title, _, _ in blocks(page, "python"))]


@pytest.mark.slow
@pytest.mark.parametrize("page", WITH_FILES, ids=named)
def test_test_files_that_are_shown_pass(page, tmp_path):
    """Blocks with a file's name are written to it, and pytest runs them."""
    files = {title: text for title, text, _ in blocks(page, "python") if title}
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=tmp_path, capture_output=True, text=True, check=False, timeout=110,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(tmp_path), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
    )  # fmt: skip
    shown = sum(text.count("\ndef test_") for text in files.values())
    assert f"{shown} passed" in done.stdout, done.stdout[-3000:]


LINES = [
    pytest.param(line, id=f"{page.stem}: {line[:50]}")
    for page in [*PAGES, INDEX, README]
    for _, text, _ in blocks(page, "bash")
    for line in text.splitlines()
    if line.strip()
]


def check_command(command, arguments):
    """Look whether a command, or an option of all, is there."""
    if command.startswith("--"):
        assert command in {name for one in GROUP.params for name in one.opts}
        return
    ends = [at for at, word in enumerate(arguments) if word in ("<", ">")]
    arguments, found = arguments[: min(ends, default=None)], COMMANDS[command]
    while hasattr(found, "commands") and arguments:
        command, *arguments = arguments
        found = found.commands[command]
    found.make_context(command, arguments)  # raises on an unknown option


def last_of(words):
    """Return the command that a pipe ends with."""
    return words[words.index("|") + 1 :] if "|" in words else words


def check_line(line):
    """Look whether what a line for the shell names is there."""
    words = last_of(shlex.split(line, comments=True))
    match words:
        case ["qwen-omni", command, *arguments]:
            check_command(command, arguments)
        case ["python3", "-m", "venv", ".venv", "&&", ".", ".venv/bin/activate"]:
            pass
        case ["pip", "install", what, *others]:
            assert set(others) <= {"langchain"}
            assert what.partition("[")[0] in (".", "qwen-omni", "langsmith")
            extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
            assert set(re.findall(r"[\w-]+", what.partition("[")[2])) <= set(extras)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case ["python", script, *arguments]:
            assert (ROOT / script).is_file()
            assert set(arguments) <= {"--offline", "promo.mp4"}
        case ["export", setting]:
            name = setting.partition("=")[0]
            if name in ("LANGSMITH_TRACING", "LANGSMITH_API_KEY"):
                return  # of LangSmith
            code = [path.read_text(encoding="utf-8") for path in (ROOT / "qwen_omni").glob("*settings.py")]
            assert any(f'"{name}"' in text for text in code)
        case ["git", "diff", place]:
            assert (ROOT / place).exists()
        case ["vllm", "serve", *_]:
            pass  # not ours, and not here to be tried
        case _:
            raise AssertionError(f"this test does not know such a line: {line}")


@pytest.mark.parametrize("line", LINES)
def test_commands_exist(line):
    """A line for the shell names a command, options, an extra, a make target or a file that is there."""
    check_line(line)


def test_the_configuration_that_is_shown_starts_the_server():
    """What a program that hosts agents is told to run is a command of ours with options that exist."""
    (shown,) = [text for _, text, _ in blocks(DOCS / "agents.md", "json")]
    for server in json.loads(shown)["mcpServers"].values():
        check_line(shlex.join([server["command"], *server["args"]]))
        assert set(server["env"]) == {"DASHSCOPE_API_KEY"}


@pytest.mark.parametrize(
    "line",
    [
        "qwen-omni asks a.mp4 What",
        "qwen-omni ask a.mp4 What --frames 3",
        "qwen-omni ask",
        "qwen-omni caption a.mp4 -j many",
        "qwen-omni archive begin",
        "qwen-omni archive run videos --do caption",
        "pip install '.[langchain,bucket]'",
        "make coffee",
        "python examples/none.py",
        "export DASHSCOPE_KEY=1",
        "curl https://example.com",
    ],
)
def test_a_wrong_line_is_noticed(line):
    """The check can fail, for each kind of line."""
    with pytest.raises(Exception, match=r"(?s).*"):
        check_line(line)


SCRIPTED = re.findall(r"`(standin\.script\.[^`]+)`", (DOCS / "testing.md").read_text(encoding="utf-8"))


@pytest.mark.parametrize("line", SCRIPTED)
def test_the_lines_that_script_the_stand_in_can_be_carried_out(line, standin):
    """Each line of the table is a step that the next request meets."""
    names = {"standin": standin, "Turn": Turn, "ToolCall": ToolCall, "Fault": Fault, "Path": Path}
    eval(line.replace("\N{HORIZONTAL ELLIPSIS})", "True)") if "lambda" in line else line, names)
    asked = LoggedRequest(method="POST", path="/", headers={}, body={}, raw_bytes=0)
    assert standin.script.next_reply(asked) or standin.script.next_fault(asked)


def load(name):
    """Load a script of ours with its neighbours."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "scripts" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def made(monkeypatch):
    """The script that writes the made parts."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts"))
    return load("docs_made")


@pytest.mark.parametrize("page", [*PAGES, README], ids=named)
def test_what_is_made_from_the_code_is_up_to_date(page, made):
    """If this fails, run `make docs-made` and look at the difference."""
    assert made.stale_parts(page) == []


def test_an_old_part_is_noticed(made, tmp_path):
    """A changed number, a missing line and an added word are each noticed, frames and line breaks are not."""
    page = tmp_path / "page.md"
    page.write_text("<!-- made: tokens -->\n<!-- end -->\n")
    right = made.written(page.read_text())
    page.write_text(right.replace(" |\n| ", " \u2502\n\n\u2502 "))
    assert made.stale_parts(page) == []
    lines = right.splitlines(keepends=True)
    for wrong in (
        right.replace("36,062", "36,063"),
        "".join(lines[:6] + lines[7:]),
        right.replace("| 120", "| about 120"),
    ):
        page.write_text(wrong)
        assert made.stale_parts(page) == ["tokens"]


def test_every_made_part_is_in_a_page_and_every_page_in_the_menu(made):
    """Nothing is made for nobody, and nothing is written that no menu leads to."""
    text = "".join(page.read_text(encoding="utf-8") for page in [*PAGES, README])
    assert set(re.findall(r"<!-- made: (\w+) -->", text)) == set(made.MAKERS)
    menu = (ROOT / "mkdocs.yml").read_text(encoding="utf-8").partition("\nnav:")[2]
    assert sorted(re.findall(r": ([\w/-]+\.md)$", menu, re.MULTILINE)) == [named(page) for page in PAGES]


def test_the_docs_have_the_colours_of_the_system_until_the_reader_chooses():
    """The theme remembers the colours of the first visit, unless those follow the system; each has a switch."""
    palette = yaml.safe_load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"))["theme"]["palette"]
    system, light, dark = palette
    assert (system["media"], "scheme" in system) == ("(prefers-color-scheme)", False)
    assert [light["scheme"], dark["scheme"]] == ["default", "slate"]
    assert all(one["toggle"]["name"] and one["toggle"]["icon"] for one in palette)


def test_every_error_is_in_the_table():
    """The table of errors is the tree of errors."""
    kinds = [name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, Exception)]
    page = (DOCS / "errors.md").read_text(encoding="utf-8")
    assert [name for name in kinds if f"`{name}` |" not in page] == []


def test_every_public_name_is_in_the_reference_once():
    """The build writes an entry for each name of each package that a page lists, or a link to that of the core."""
    hook = load("docs_hook")
    marks = [mark for page in (DOCS / "reference").glob("*.md") for mark in hook.MARK.findall(page.read_text("utf-8"))]
    for package in {package for package, _ in marks}:
        listed = [name for one, names in marks if one == package for name in hook.chosen(package, names.split())]
        assert sorted(listed) == sorted(importlib.import_module(package).__all__), package
        written = "".join(hook.entries(one, names.split()) for one, names in marks if one == package)
        assert [name for name in listed if not re.search(rf"(?:::: {package}|\[qwen_omni)\.{name}\b", written)] == []
    assert {package for package, _ in marks} == {
        "qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni", "qwen_omni.archive", "qwen_omni.standin",
    }  # fmt: skip


def test_plots_show_what_the_code_computes(monkeypatch):
    """If this fails, run `make plots`: a plot holds the numbers that it was drawn from, and they are old."""
    plots = load("docs_plots")
    assert plots.DRAWN
    for name in plots.DRAWN:
        assert plots.held(name) == plots.wanted(name), name
