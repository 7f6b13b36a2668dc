"""Try damaged files in a separate process, to measure its memory alone and to find the seed of a hang or crash.

`try_all` starts the process and watches it; run by hand, `python -m tests.support.fuzzing FOLDER 7 8 1` tries
seed 7 on the whole files of a folder. The same seed and files always give the same bytes.
"""

import contextlib
import faulthandler
import gc
import json
import os
import queue
import random
import re
import resource
import subprocess
import sys
import tempfile
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from qwen_omni.errors import MediaError
from qwen_omni.media.files.tempfiles import scratch
from qwen_omni.media.prepare import PrepareOptions, prepare, split
from qwen_omni.media.probe import mp4
from tests.support.watching import opened_by_python

ROOT = Path(__file__).parents[2]
LONGEST = 120.0  # seconds of a file until it counts as hung; the work is given 5, the rest is for busy machines

_STEP = re.compile(r"\d{6}\.\w+")
"""The name of a temporary file, if it is opened relative to the folder's descriptor."""
_LEAST_SAMPLES = mp4.LEAST_SAMPLES  # as it is for users


@dataclass(frozen=True, slots=True)
class Tried:
    """The result for one file: the peak memory of the process so far in KiB, and the CPU seconds used."""

    seed: int
    refused: bool
    memory: int
    cpu: float


@dataclass(frozen=True, slots=True)
class Report:
    """The results for many files: each file, what else was opened or left behind, what remains at its end."""

    tried: list[Tried]
    opened: list[str]
    left: list[str]

    @property
    def refused(self) -> int:
        """The number of refused files."""
        return sum(one.refused for one in self.tried)

    def __str__(self) -> str:
        slowest = max(self.tried, key=lambda one: one.cpu)
        highest = next(one for one in self.tried if one.memory == self.tried[-1].memory)
        return (
            f"{len(self.tried):,} files, {self.refused:,} refused, {sum(one.cpu for one in self.tried):,.0f} s of CPU; "
            f"slowest seed {slowest.seed}: {slowest.cpu:.1f} s; {highest.memory >> 10:,} MiB by seed {highest.seed}\n"
        )


def try_all(wholes: Path, seeds: range, temporary: Path) -> Report:
    """Try seeds in a child process; if one hangs or crashes it, stop it and report the seed."""
    temporary.mkdir()
    command = [sys.executable, "-W", "error", "-m", __spec__.name, str(wholes)]
    command += [str(number) for number in (seeds.start, seeds.stop, seeds.step)]
    errors_file = temporary.parent / f"{temporary.name}.txt"
    whole = {path.name: path.read_bytes() for path in wholes.iterdir()}
    with (
        errors_file.open("wb") as errors,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            cwd=ROOT,
            # Modules are imported lazily; bytecode written then would count as opened files.
            env=os.environ | {"TMPDIR": str(temporary), "PYTHONDONTWRITEBYTECODE": "1"},
        ) as child,
    ):
        assert child.stdout is not None
        try:
            tried, opened = _followed(child.stdout)
            child.wait(LONGEST)  # it removes its folder when it ends
        except _BroughtDownError as error:
            kept = Path(tempfile.gettempdir()) / f"damaged-{error.seed}.bin"
            kept.write_bytes(damaged(whole, error.seed))
            said = errors_file.read_text(errors="replace")[-4000:]
            raise AssertionError(f"seed {error.seed} {error}; its bytes are in {kept}:\n{said}") from None
        finally:
            child.kill()
    return Report(tried=tried, opened=opened, left=sorted(path.name for path in temporary.rglob("*")))


class _BroughtDownError(Exception):
    """A file that crashed the process."""

    def __init__(self, seed: int, what: str) -> None:
        super().__init__(what)
        self.seed = seed


def _followed(lines: IO[str]) -> tuple[list[Tried], list[str]]:
    waiting: queue.SimpleQueue[str | None] = queue.SimpleQueue()
    threading.Thread(target=_pump, args=(lines, waiting), daemon=True).start()
    tried: list[Tried] = []
    now = -1
    while True:
        try:
            line = waiting.get(timeout=LONGEST)
        except queue.Empty:
            raise _BroughtDownError(now, f"was not finished within {LONGEST:g} s") from None
        if line is None:
            raise _BroughtDownError(now, "brought the process down")
        match json.loads(line):
            case {"begins": seed}:
                now = seed
            case {"opened": opened}:
                return tried, opened
            case facts:
                tried.append(Tried(**facts))


def _pump(lines: IO[str], waiting: "queue.SimpleQueue[str | None]") -> None:
    for line in lines:
        waiting.put(line)
    waiting.put(None)


def damaged(files: dict[str, bytes], seed: int) -> bytes:
    """Cut, flip, blank, double or join files; the same seed gives the same bytes."""
    numbers = random.Random(seed)
    data = bytearray(files[numbers.choice(sorted(files))])
    match numbers.randrange(5):
        case 0:
            del data[numbers.randrange(1, len(data)) :]
        case 1:
            for _ in range(numbers.choice((1, 3, 30, 300))):
                data[numbers.randrange(len(data))] ^= 1 << numbers.randrange(8)
        case 2:
            at, size = numbers.randrange(len(data)), numbers.randrange(1, 4096)
            data[at : at + size] = bytes(len(data[at : at + size]))
        case 3:
            at, size = numbers.randrange(len(data)), numbers.randrange(1, 4096)
            data[at:at] = data[at : at + size]
        case 4:
            other = files[numbers.choice(sorted(files))]
            data = data[: numbers.randrange(len(data))] + other[numbers.randrange(len(other)) :]
    if numbers.random() < 0.5:  # numbers in headers are the most dangerous
        for _ in range(3):
            data[numbers.randrange(min(len(data), 2048))] = numbers.randrange(256)
    return bytes(data)


def try_one(data: bytes, seed: int) -> bool:
    """Prepare one file; return whether it was refused. Anything but this package's errors is raised.

    For every fifth one, an index of any length is narrowed to the requested range.
    """
    mp4.LEAST_SAMPLES = 1 if seed % 5 == 0 else _LEAST_SAMPLES
    choices = PrepareOptions(workers=1 + seed % 2, limit_seconds=5)
    try:
        if seed % 7 == 0:
            for segment in split(data, seconds=20, budget="static", choices=choices):
                segment.close()
        else:
            prepare(data, budget=("static", "glance", "auto")[seed % 3], choices=choices).close()
    except MediaError:
        return True
    return False


def most_memory() -> int:
    """Return the peak memory of this process, in KiB.

    `getrusage` also counts the memory of its parent at the time of the fork; the kernel's own figure does not.
    """
    with contextlib.suppress(OSError, StopIteration):
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM:")).split()[1])
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most // 1024 if sys.platform == "darwin" else most


def main(folder: str, first: str, stop: str, step: str) -> None:
    """Try seeds and write the result of each."""
    wholes = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    allowed = scratch.new_path("").parent
    left: list[str] = []
    known: set[str] = set()
    with opened_by_python() as names:
        for seed in range(int(first), int(stop), int(step)):
            data = damaged(wholes, seed)
            _tell({"begins": seed})
            faulthandler.dump_traceback_later(LONGEST - 5)
            used = resource.getrusage(resource.RUSAGE_SELF)
            gc.disable()  # a file that only the garbage collector would remove is left behind
            refused = try_one(data, seed)
            left += [f"{path.name} of seed {seed}" for path in allowed.iterdir() if path.name not in (*known, "lock")]
            known.update(path.name for path in allowed.iterdir())
            gc.enable()
            after = resource.getrusage(resource.RUSAGE_SELF)
            cpu = after.ru_utime + after.ru_stime - used.ru_utime - used.ru_stime
            faulthandler.cancel_dump_traceback_later()
            _tell({"seed": seed, "refused": refused, "memory": most_memory(), "cpu": round(cpu, 3)})
    fine = (str(allowed), "/dev/", "/proc/")
    outside = [name for name in names if not name.isdigit() and not name.startswith(fine)]
    outside = [name for name in outside if not name.endswith((".py", ".pyc", ".so")) and not _STEP.fullmatch(name)]
    _tell({"opened": outside + left})


def _tell(facts: dict[str, object]) -> None:
    sys.stdout.write(json.dumps(facts) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
