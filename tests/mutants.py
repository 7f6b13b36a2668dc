"""`python -m tests.mutants`: break our code in each known way; the truth tests must turn red every time."""

import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

from tests.support.mutants import LONG, MUTANTS

_RUN = [
    sys.executable,
    "-m",
    "pytest",
    "-q",
    "-p",
    "no:cacheprovider",
    "--no-header",
    "--tb=line",
    "-rf",
]
_ONE_CALL, _LONG = "tests/truth/test_truth.py", "tests/truth/test_long_video.py"
_FAILED = re.compile(r"^FAILED \S+::(\S+)(?: - (.*))?$", re.MULTILINE)


def red(mutant: str | None) -> list[str]:
    """Run the truth tests with one mutant in force; give the names of those whose assertions failed.

    A mutant that crashes proves nothing, so a test that fails in another way ends the run.
    """
    judges = [_ONE_CALL, _LONG] if mutant is None else [_LONG if mutant in LONG else _ONE_CALL]
    environment = {**os.environ, "QWEN_OMNI_MUTANT": mutant or "", "COLUMNS": "200"}
    done = subprocess.run([*_RUN, *judges], env=environment, capture_output=True, text=True, check=False, timeout=600)
    told = done.stdout[-3000:] + done.stderr[-3000:]
    if done.returncode not in (0, 1):
        sys.exit(f"The truth tests did not run with {mutant or 'no mutant'}:\n{told}")
    failed = _FAILED.findall(done.stdout)
    crashed = [name for name, why in failed if not why.lower().startswith("assert")]
    if crashed:
        sys.exit(f"With {mutant or 'no mutant'} these crashed instead of noticing: {', '.join(crashed)}\n{told}")
    return [name for name, _ in failed]


def main() -> None:
    """Print a line per mutant; fail if one survives, or if the tests are red without any."""
    if failed := red(None):
        sys.exit(f"Red without a mutant: {', '.join(failed)}")
    survivors = []
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        runs = list(zip(MUTANTS.items(), pool.map(red, MUTANTS), strict=True))
    for (name, mutant), failed in runs:
        print(f"{name}: {(mutant.__doc__ or '').strip()}", flush=True)
        print("".join(f"    {test}\n" for test in failed) if failed else "    SURVIVED\n", end="", flush=True)
        survivors += [] if failed else [name]
    print(f"{len(MUTANTS)} mutants, {len(survivors)} survived")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
