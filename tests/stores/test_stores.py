"""The documents in Chroma, Qdrant and LanceDB, through the integrations of both frameworks: `make test-stores`.

The rules are in `rules.py`, and run in the virtualenv of the stores (`install.py`), which this makes if need be.
"""

import os
import subprocess

import pytest

from tests.stores.install import PYTHON, ROOT, install, installed

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def python() -> str:
    """Return the interpreter that has the stores."""
    if not installed():
        install()
    return str(PYTHON)


@pytest.mark.enable_socket
@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
@pytest.mark.parametrize("store", ["chroma", "qdrant", "lancedb"])
def test_every_rule_holds(python, framework, store):
    command = [python, "-m", "pytest", "-q", "-c", "tests/stores/rules.ini", "--rootdir", str(ROOT), "--noconftest",
               "-k", f"{framework}-{store}", "tests/stores/rules.py"]  # fmt: skip
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "ANONYMIZED_TELEMETRY": "False"}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    assert " passed" in done.stdout
    assert "skipped" not in done.stdout
