"""`python -m tests.mutants`: break our code in each known way; the truth tests must turn red every time."""

import contextlib
import functools
import io
import multiprocessing
import os
import re
import sys
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import pytest

from tests.support.mutants import LONG, MUTANTS

_OPTIONS = [
    "-q",
    "-W",
    "ignore::pytest.PytestAssertRewriteWarning",
    "-p",
    "no:cacheprovider",
    "--no-header",
    "--tb=line",
    "-rf",
]
_PRELOADED = ["pytest", "langchain_tests.unit_tests", "langchain_core.output_parsers", "openai", "av", "PIL.Image"]
_ONE_CALL, _LONG = "tests/truth/test_truth.py", "tests/truth/test_long_video.py"
_FAILED = re.compile(r"^FAILED \S+::(\S+)(?: - (.*))?$", re.MULTILINE)


def run(mutant: str, judges: list[str]) -> tuple[int, str]:
    """Run tests with one mutant in force, or none (""); return pytest's exit code and what it printed."""
    os.environ |= {"QWEN_OMNI_MUTANT": mutant, "COLUMNS": "200"}
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(printed):
        code = int(pytest.main([*_OPTIONS, *judges]))
    return code, printed.getvalue()


def red(pool: ProcessPoolExecutor, mutant: str | None) -> list[str]:
    """Run the truth tests with one mutant in force; return the names of those whose assertions failed.

    A mutant that crashes proves nothing, so a test that fails in another way ends the run.
    """
    judges = [_ONE_CALL, _LONG] if mutant is None else [_LONG if mutant in LONG else _ONE_CALL]
    code, printed = pool.submit(run, mutant or "", judges).result(timeout=600)
    if code not in (0, 1):
        sys.exit(f"The truth tests did not run with {mutant or 'no mutant'}:\n{printed[-3000:]}")
    failed = _FAILED.findall(printed)
    crashed = [name for name, why in failed if not why.lower().startswith("assert")]
    if crashed:
        sys.exit(f"With {mutant or 'no mutant'} these crashed: {', '.join(crashed)}\n{printed[-3000:]}")
    return [name for name, _ in failed]


def main() -> None:
    """Print a line per mutant; fail if one survives, or if the tests are red without any."""
    context = multiprocessing.get_context("forkserver")  # each run is a process of its own, with libraries loaded
    context.set_forkserver_preload(_PRELOADED)
    with (
        ProcessPoolExecutor(os.cpu_count(), mp_context=context, max_tasks_per_child=1) as pool,
        ThreadPoolExecutor(os.cpu_count()) as waiting,
    ):
        if failed := red(pool, None):
            sys.exit(f"Red without a mutant: {', '.join(failed)}")
        found = waiting.map(functools.partial(red, pool), MUTANTS)
        runs = list(zip(MUTANTS.items(), found, strict=True))
    survivors = []
    for (name, mutant), failed in runs:
        print(f"{name}: {(mutant.__doc__ or '').strip()}", flush=True)
        print("".join(f"    {test}\n" for test in failed) if failed else "    SURVIVED\n", end="", flush=True)
        survivors += [] if failed else [name]
    print(f"{len(MUTANTS)} mutants, {len(survivors)} survived")
    sys.exit(1 if survivors else 0)


if __name__ == "__main__":
    main()
