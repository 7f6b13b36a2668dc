"""What the check of the wheel notices. The check itself installs it in clean environments: `make wheels`."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = {"qwen_omni/__init__.py", "qwen_omni/client.py"}
TYPED = {f"{name}/py.typed" for name in ("qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni")}
RIGHT = [*sorted(MODULES | TYPED), "qwen_omni-1.dist-info/METADATA", "qwen_omni-1.dist-info/licenses/LICENSE"]


@pytest.fixture
def wheels():
    """The script, loaded."""
    pytest.importorskip("uv", reason="uv comes with the group check")
    spec = importlib.util.spec_from_file_location("wheels", ROOT / "scripts" / "wheels.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


WRONG = {
    "a test": ([*RIGHT, "tests/test_x.py"], "tests/test_x.py does not belong"),
    "a cassette in a package": ([*RIGHT, "qwen_omni/cassettes/a.yaml"], "a.yaml does not belong"),
    "a video": ([*RIGHT, "qwen_omni/film.mp4"], "film.mp4 does not belong"),
    "a module left out": ([name for name in RIGHT if "client" not in name], "qwen_omni/client.py is missing"),
    "no types": ([name for name in RIGHT if name != "qwen_omni/py.typed"], "qwen_omni/py.typed is missing"),
    "no licence": ([name for name in RIGHT if "LICENSE" not in name], "licence is missing"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_wheel_is_noticed(wheels, case):
    """What does not belong is named, and so is what is missing."""
    names, told = WRONG[case]
    (problem,) = wheels.look_at_names(names, MODULES)
    assert told in problem


def test_a_right_wheel_is_right(wheels):
    """Modules, types and the licence are all there is."""
    assert wheels.look_at_names(RIGHT, MODULES) == []


HIDING = """
import sys
class Hidden:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {hidden!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Hidden())
"""
LACKING = [
    ("langchain", ("langchain_core",), "from langchain_qwen_omni import ChatQwenOmni"),
    ("llama-index", ("llama_index",), "from llama_index_qwen_omni import CaptionOutputParser"),
    ("llama-index", ("llama_index", "fsspec"), "from llama_index_qwen_omni import QwenOmniVideoReader"),
    ("standin", ("starlette",), "import qwen_omni.standin"),
]


@pytest.mark.parametrize(("extra", "hidden", "line"), LACKING, ids=lambda value: value if "import" in value else "")
def test_what_is_missing_is_named_with_its_extra(extra, hidden, line):
    """An import that lacks its framework ends with the line that installs it."""
    code = HIDING.format(hidden=hidden) + line
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.stderr.strip().splitlines()[-1].endswith(f"pip install 'qwen-omni[{extra}]'")


def test_another_missing_module_is_told_as_it_is():
    """A fault of ours, or of the framework's own installation, is not explained away."""
    code = HIDING.format(hidden=("langsmith",)) + "from langchain_qwen_omni import ChatQwenOmni"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)
    assert "qwen-omni[" not in done.stderr
    assert "langsmith" in done.stderr
