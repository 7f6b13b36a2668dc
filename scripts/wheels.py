"""Build the wheel, and test it in clean environments, one extra at a time.

    python scripts/wheels.py [--keep FOLDER]

The wheel is built from the source distribution, which shows that both are complete. `wheels_inside` runs in each
environment: it checks what must work there, and what must name the missing extra. uv creates the environments; it takes
packages from its cache, so a second run needs no network.
"""

import argparse
import contextlib
import subprocess
import sys
import tempfile
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from uv import find_uv_bin

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = ("qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni")
# How names end in a package; nothing else belongs there.
KINDS = (".py", "/__init__.pyi", "/py.typed", ".j2", "/page.css", "/page.js", "/theme.js", "/sample.mp4")
EXTRAS = ("", "langchain", "llama-index", "cli", "standin", "mcp", "tokenizer")


def main() -> None:
    """Build, inspect, install and test."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--keep", type=Path, help="build into this folder, and leave everything there")
    options = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        folder.mkdir(parents=True, exist_ok=True)
        began = time.monotonic()
        wheel = build(folder)
        with ThreadPoolExecutor(max_workers=2) as pool:  # one installs while the other tests
            tried = list(pool.map(lambda extra: try_out(wheel, extra, folder), EXTRAS))
        problems = [*look_inside(wheel), *(line for lines in tried for line in lines)]
    for problem in problems:
        print(f"WRONG: {problem}")
    print(f"{wheel.name}: {len(EXTRAS)} clean environments in {time.monotonic() - began:.0f} s")
    raise SystemExit(1 if problems else 0)


def build(folder: Path) -> Path:
    """Build the source distribution, and the wheel from it."""
    uv("build", "--quiet", "--out-dir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    return wheel


def look_inside(wheel: Path) -> list[str]:
    """List superfluous and missing files of the wheel."""
    names = zipfile.ZipFile(wheel).namelist()
    return look_at_names(names, modules={str(path.relative_to(ROOT)) for path in _modules()})


def look_at_names(names: list[str], modules: set[str]) -> list[str]:
    """Compare the names of a wheel's files with the modules of the packages."""
    foreign = [name for name in names if name.partition("/")[0] not in PACKAGES and ".dist-info/" not in name]
    odd = [name for name in names if name.partition("/")[0] in PACKAGES and not name.endswith(KINDS)]
    missing = sorted({*modules, *(f"{package}/py.typed" for package in PACKAGES)} - set(names))
    licence = [] if any(name.endswith("licenses/LICENSE") for name in names) else ["the licence is missing"]
    return [
        *(f"{name} does not belong into the wheel" for name in (*foreign, *odd)),
        *(f"{name} is missing in the wheel" for name in missing),
        *licence,
    ]


def _modules() -> list[Path]:
    return [
        path for package in PACKAGES for path in (ROOT / package).rglob("*") if path.suffix in (".py", ".pyi", ".j2")
    ]


def try_out(wheel: Path, extra: str, folder: Path) -> list[str]:
    """Install the wheel with one extra in a new environment and run the checks there; return the problems."""
    place = folder / f"with-{extra or 'nothing'}"
    uv("venv", "--quiet", "--python", sys.executable, str(place))
    python = place / ("Scripts" if sys.platform == "win32" else "bin") / "python"
    uv("pip", "install", "--quiet", "--python", str(python), f"{wheel}[{extra}]" if extra else str(wheel))
    inside = ROOT / "scripts" / "wheels_inside.py"
    done = subprocess.run(  # in an empty folder, so that only the installed packages are found
        [str(python), "-I", str(inside), extra], cwd=place, capture_output=True, text=True, check=False, timeout=600
    )
    print(f"{extra or 'no extra'}: {done.stdout.strip().splitlines()[-1] if done.stdout.strip() else 'nothing ran'}")
    wrong = [line for line in done.stdout.splitlines() if line.startswith("wrong: ")]
    ended = [] if done.returncode == 0 or wrong else [done.stderr[-2000:] or f"status {done.returncode}"]
    return [f"with {extra or 'no extra'}: {line}" for line in (*wrong, *ended)]


def uv(*arguments: str) -> None:
    """Run uv."""
    subprocess.run([find_uv_bin(), *arguments], check=True)


if __name__ == "__main__":
    main()
