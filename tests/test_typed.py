"""The types of the public API, as many editors see them; mypy reads the same program in `make types`."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CONSUMER = ROOT / "tests" / "typed_consumer.py"
WRONG = """# pyright: strict
from qwen_omni import summarize, transcribe
from langchain_qwen_omni import ChatQwenOmni

print(summarize("a.mp4", detail="low"))
print(transcribe("a.wav").sentences[0].begin)
print(ChatQwenOmni(temperature="hot"))
"""


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_pyright_accepts_a_program_of_a_user_and_refuses_a_wrong_one(tmp_path):
    pytest.importorskip("pyright", reason="pyright comes with the group check")
    pytest.importorskip("llama_index.core")
    wrong = tmp_path / "wrong.py"
    wrong.write_text(WRONG, encoding="utf-8")
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, CONSUMER, wrong]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    said = json.loads(done.stdout)
    assert said["summary"]["filesAnalyzed"] == 2
    found = [(Path(one["file"]).name, one["range"]["start"]["line"]) for one in said["generalDiagnostics"]]
    assert {name for name, _ in found} == {"wrong.py"}, done.stdout
    assert {line for _, line in found} == {4, 5, 6}


def test_mypy_reads_the_program_too():
    assert (
        "tests.typed_consumer" in tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["mypy"]["modules"]
    )
