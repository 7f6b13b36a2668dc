"""The notebooks run from top to bottom without a key, and carry small outputs of the stand-in."""

import json
import re
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))


def shapes(cells):
    """What kinds of output each code cell has."""
    kinds = [[(one["output_type"], *sorted(one.get("data", {}))) for one in cell["outputs"]] for cell in cells]
    return list(enumerate(kinds))


def code_cells(notebook):
    return [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_its_outputs_are_stored(path):
    """Run once from top to bottom, small, without paths of a machine, errors or scripts; one for each framework."""
    written = path.read_text(encoding="utf-8")
    cells = code_cells(json.loads(written))
    assert [cell["execution_count"] for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [one for cell in cells for one in cell["outputs"]]
    assert {one["output_type"] for one in outputs} == {"stream", "execute_result"}
    assert sum("text/html" in one.get("data", {}) for one in outputs) >= 2
    assert "data:image/jpeg;base64," in written
    assert not re.search(r"/tmp|/home|/root|<script|Traceback", written)
    assert path.stat().st_size < 60_000
    assert f"(notebooks/{path.name})" in (FOLDER.parent / "README.md").read_text(encoding="utf-8")
    assert [one.stem for one in NOTEBOOKS] == ["langchain", "library", "llama_index"]


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_runs(path, tmp_path):
    """Every cell runs in a kernel of its own, whose event loop is running, and shows what is stored; times are real.

    If outputs differ in kind, run `python -m scripts.notebooks`.
    """
    pytest.importorskip("nbclient")
    needed = {"llama_index": "llama_index.core", "library": "lancedb"}
    if path.stem in needed:
        pytest.importorskip(needed[path.stem])
    from scripts.notebooks import kept, run  # noqa: PLC0415 - needs nbclient

    cells = code_cells(run(path, tmp_path))
    for cell in cells:
        cell["outputs"] = kept(cell["outputs"])
    assert shapes(cells) == shapes(code_cells(json.loads(path.read_text(encoding="utf-8"))))
    shown = "".join(one.get("text") or "".join(one["data"].values()) for cell in cells for one in cell["outputs"])
    assert shown.count("[stand-in]") > 5
    assert {"0:06", "0:13"} <= set(re.findall(r"0:\d\d", shown))  # the cuts, which only the clip tells
