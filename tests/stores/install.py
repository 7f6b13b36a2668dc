"""Install the vector stores of `make test-stores` in a virtualenv of their own, `.venv-stores`.

They bring hundreds of packages, so neither the project nor its tests depend on them. Runs once; later runs find the
file `.made` with the same list.

    python tests/stores/install.py
"""

import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".venv-stores"
PYTHON = FOLDER / "bin" / "python"
# The newest on 2026-11-29. langchain-community is no longer developed, but its LanceDB store is the one that keeps
# `source`; langchain-lancedb 0.1.0 replaces it with the address of the database. pandas is for LlamaIndex's LanceDB.
PACKAGES = (
    "langchain-chroma==1.1.0", "langchain-qdrant==1.1.0", "langchain-community==0.4.2", "chromadb==1.5.9",
    "qdrant-client==1.20.0", "lancedb==0.40.0", "pandas>=2.2", "llama-index-vector-stores-chroma==0.6.0",
    "llama-index-vector-stores-qdrant==0.10.4", "llama-index-vector-stores-lancedb==0.6.0", "pytest>=8.3",
    "pytest-asyncio>=1.5",
)  # fmt: skip


def installed() -> bool:
    """Whether the stores are there, in these versions."""
    made = FOLDER / ".made"
    return made.exists() and made.read_text() == "\n".join(PACKAGES)


def install() -> None:
    """Make the virtualenv: the project as it is here, and the stores."""
    venv.create(FOLDER, with_pip=True)
    subprocess.run([str(PYTHON), "-m", "pip", "install", "--quiet", "uv"], check=True)
    uv = [str(FOLDER / "bin" / "uv"), "pip", "install", "--quiet", "--system-certs", "--python", str(PYTHON)]
    subprocess.run([*uv, "--editable", f"{ROOT}[langchain,llama-index]", *PACKAGES], check=True)
    (FOLDER / ".made").write_text("\n".join(PACKAGES))


if __name__ == "__main__" and not installed():
    install()
    sys.stdout.write(f"Installed in {FOLDER}.\n")
