"""What keeps the house in order: sizes, names, words that belong to one room, and what an import costs."""

import ast
import doctest
import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni")
PRODUCT = [path for package in PACKAGES for path in sorted((ROOT / package).rglob("*.py"))]
EVERYTHING = [*PRODUCT, *sorted((ROOT / "tests").rglob("*.py")), *sorted((ROOT / "examples").rglob("*.py"))]


def named(path: Path) -> str:
    return str(path.relative_to(ROOT))


def test_modules_are_short():
    """A module has at most 800 lines."""
    assert not [named(path) for path in EVERYTHING if len(path.read_text(encoding="utf-8").splitlines()) > 800]


def test_functions_are_short():
    """A function of the product has at most 40 lines, its arguments and docstring not counted."""
    long = []
    for path in PRODUCT:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                words = len((ast.get_docstring(node, clean=False) or "").splitlines())
                if node.end_lineno - node.body[0].lineno + 1 - words > 40:
                    long.append(f"{named(path)}:{node.lineno} {node.name}")
    assert not long


def test_no_room_without_a_name_of_its_own():
    """Nothing settles in a module that could hold anything."""
    vague = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "base"}
    allowed = {"llama_index_qwen_omni/base.py"}  # the name that every integration of LlamaIndex has
    found = {named(path) for path in EVERYTHING if path.stem.strip("_") in vague}
    assert found <= allowed


WIRE_WORDS = re.compile(
    r"[\"'](reasoning_content|stream_options|enable_thinking|reasoning_effort|include_usage|X-DashScope[\w-]*|"
    r"vl_high_resolution_images|use_multichannel|search_options|enable_search|finish_reason|prompt_tokens)[\"']"
)


def test_the_services_words_stay_in_the_wire():
    """Names of the service's JSON are written in `wire` alone (and in the stand-in, which shares nothing with it)."""
    # LangChain, too, calls a message's end `finish_reason`; LlamaIndex's token counter reads these names in `raw`;
    # users of other integrations know options by the service's own names.
    allowed = {
        "qwen_omni/integrations/model_fields.py": {
            "enable_search", "enable_thinking", "reasoning_effort", "stream_options", "use_multichannel",
            "vl_high_resolution_images",
        },
        "qwen_omni/_moved.py": {"enable_search"},  # the name of our own option, too
        "qwen_omni/options.py": {"enable_search"},
        "qwen_omni/transcription/protocol.py": {"X-DashScope-Async"},  # native routes: beside their flows
        "langchain_qwen_omni/output_parsers.py": {"finish_reason"},
        "qwen_omni/responses.py": {"finish_reason"},
        "langchain_qwen_omni/_convert_output.py": {"finish_reason"},
        "llama_index_qwen_omni/_convert_output.py": {"finish_reason", "prompt_tokens"},
    }  # fmt: skip
    for path in PRODUCT:
        if "wire" not in path.parts and "standin" not in path.parts:
            found = {match[1] for match in WIRE_WORDS.finditer(path.read_text(encoding="utf-8"))}
            assert found <= allowed.get(named(path), set()), named(path)


def test_slow_tests_are_found_by_name():
    """`make test-slow` passes the modules and folders to pytest in whose files the marks stand; no other holds any."""
    marked = [
        path for path in (ROOT / "tests").rglob("*.py") if re.search(r"mark\.(slow|long)\b", path.read_text("utf-8"))
    ]
    assert len(marked) > 50
    assert [named(path) for path in marked if not re.fullmatch(r"test_\w+\.py|conftest\.py", path.name)] == []


def test_every_package_is_typed():
    """Each package tells type checkers that it has types."""
    assert all((ROOT / package / "py.typed").exists() for package in PACKAGES)


LIGHT = {
    "qwen_omni": "openai httpx2 av PIL pydantic langchain_core llama_index oss2 mcp typer rich",
    "langchain_qwen_omni; langchain_qwen_omni.ChatQwenOmni": "openai av PIL numpy llama_index oss2 typer rich",
    "llama_index_qwen_omni": "openai av httpx2 langchain_core oss2 typer",
}


@pytest.mark.parametrize("package", LIGHT)
def test_an_import_loads_nothing_heavy(package):
    """What needs a heavy library loads it on first use."""
    code = f"import sys, {package}; print([name for name in {LIGHT[package].split()} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"


SHOWING = [path for path in PRODUCT if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", SHOWING, ids=named)
def test_docstrings_run(path):
    """The lines that docstrings show at a prompt give what they say."""
    if path.is_relative_to(ROOT / "llama_index_qwen_omni"):
        pytest.importorskip("llama_index.core")
    module = importlib.import_module(".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__"))
    runner, told = doctest.DocTestRunner(), []
    for shown in doctest.DocTestFinder().find(module):
        runner.run(shown, out=told.append)
    done = runner.summarize(verbose=False)
    assert done.attempted > 0
    assert done.failed == 0, "".join(told)
