"""Run the notebooks of `examples/notebooks` with the stand-in and store their outputs.

    python -m scripts.notebooks

Run it after a change of a notebook, of a card, or of what the stand-in answers. Outputs are kept small and alike on
every machine: progress bars are left out, and what has a card is stored as a card alone.
"""

import os
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient

ROOT = Path(__file__).parents[1]
FOLDER = ROOT / "examples" / "notebooks"
SECONDS = 100


def run(path: Path, folder: Path) -> Any:  # noqa: ANN401 - nbformat has no types
    """Run a notebook in a kernel that works in a folder; return it with its outputs."""
    notebook = nbformat.read(path, as_version=4)
    search = filter(None, [str(ROOT), os.environ.get("PYTHONPATH")])
    changes = {
        "PYTHONPATH": os.pathsep.join(search),
        "IPYTHONDIR": str(folder),
        "QWEN_OMNI_CACHE_DIR": str(folder / "c"),
    }
    client = NotebookClient(notebook, timeout=SECONDS, resources={"metadata": {"path": str(folder)}})
    with client.setup_kernel(env={**os.environ, **changes}):
        for index, cell in enumerate(notebook.cells):
            client.execute_cell(cell, index)
    return notebook


def kept(outputs: list[Any]) -> list[Any]:
    """Return outputs as they are stored.

    What goes to standard error is left out, pieces of a stream are joined, and a card has no plain text beside it.
    """
    stored: list[Any] = []
    for one in outputs:
        if one.get("name") == "stderr":
            continue
        if one.output_type == "stream" and stored and stored[-1].output_type == "stream":
            stored[-1].text += one.text
            continue
        if "text/html" in one.get("data", {}):
            del one.data["text/plain"]
        stored.append(one)
    return stored


def main() -> None:
    """Store the outputs of all notebooks."""
    for path in sorted(FOLDER.glob("*.ipynb")):
        with tempfile.TemporaryDirectory() as folder:
            notebook = run(path, Path(folder))
        for number, cell in enumerate((one for one in notebook.cells if one.cell_type == "code"), start=1):
            cell.outputs, cell.execution_count = kept(cell.outputs), number
            for output in cell.outputs:
                if "execution_count" in output:
                    output["execution_count"] = number
            cell.metadata = {}
        nbformat.write(notebook, path)
        print(f"{path.relative_to(ROOT)}: {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
