"""The notebooks run from top to bottom without a key, and are kept small and without outputs."""

import json
import os
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_kept_clean(path):
    """No outputs, no counts, small, and in the index; one for each framework."""
    cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    assert [cell for cell in cells if cell.get("outputs") or cell.get("execution_count")] == []
    assert path.stat().st_size < 10_000
    assert f"(notebooks/{path.name})" in (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [one.stem for one in NOTEBOOKS] == ["langchain", "llama_index"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path, monkeypatch):
    """Every cell runs in a kernel of its own, whose event loop is running, and what was in the video is shown."""
    client = pytest.importorskip("nbclient")
    nbformat = pytest.importorskip("nbformat")
    if path.stem == "llama_index":
        pytest.importorskip("llama_index.core")
    root = str(FOLDER.parents[1])
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")])))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    notebook = nbformat.read(path, as_version=4)
    client.NotebookClient(notebook, timeout=100, resources={"metadata": {"path": str(tmp_path)}}).execute()
    shown = [_text(output) for cell in notebook.cells for output in cell.get("outputs", ())]
    codes = re.findall(r"\d{4}", next(text for text in shown if text.startswith("(")))
    answers = "".join(text for text in shown if "[stand-in]" in text)
    assert len(codes) == 24
    assert [code for code in codes if code not in answers] == []


def _text(output):
    return output.get("text") or output.get("data", {}).get("text/plain", "")
