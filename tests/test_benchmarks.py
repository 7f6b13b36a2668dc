"""Benchmarks are run by people, now and then: at least everything that they import must be there."""

import runpy
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.name)
def test_what_it_imports_is_there(path, monkeypatch):
    """A name that moved is noticed here, not by whoever wants a figure."""
    monkeypatch.syspath_prepend(FOLDER)
    for name in [path.stem for path in FOLDER.glob("*.py")]:
        monkeypatch.delitem(sys.modules, name, raising=False)
    runpy.run_path(str(path), run_name="looked at")
