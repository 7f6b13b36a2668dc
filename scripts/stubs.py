"""Write `__init__.pyi` of each package from its table of public names, for type checkers and editors.

    python scripts/stubs.py

A test compares the stubs with the tables.
"""

import importlib
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
PACKAGES = ("qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni")


def main() -> None:
    """Write the stubs; ruff orders and formats them."""
    sys.path.insert(0, str(ROOT))
    paths = [ROOT / package / "__init__.pyi" for package in PACKAGES]
    for package, path in zip(PACKAGES, paths, strict=True):
        path.write_text(stub(package), encoding="utf-8")
    ruff = (sys.executable, "-m", "ruff")
    subprocess.run([*ruff, "check", "--quiet", "--select", "I", "--fix", *paths], check=True)
    subprocess.run([*ruff, "format", "--quiet", *paths], check=True)


def stub(package: str) -> str:
    """Return the stub of a package: an import for each public name, and an alias for each old one."""
    homes = importlib.import_module(package)._HOMES  # noqa: SLF001  (the one list)
    moved = importlib.import_module("qwen_omni._moved").MOVED_NAMES if package == "qwen_omni" else {}
    lines = [f"from {home} import {name} as {name}\n" for home in homes for name in homes[home].split()]
    lines += ["\n", *(f"{old} = {new}\n" for old, new in moved.items())]
    return f"# Written by scripts/stubs.py.\n\n{''.join(lines)}"


if __name__ == "__main__":
    main()
