"""Damaged media end in our errors: no other exception, no hang, no file left, nothing opened but the input.

`make test` tries a few files; with the marker `slow` 300 cases; `QWEN_OMNI_FUZZ=50000` as many as one likes.
"""

import os
import random
import resource
import time
from pathlib import Path

import pytest

from qwen_omni.errors import MediaError
from qwen_omni.media.prepare import Choices, prepare, split
from qwen_omni.media.scratch import scratch
from tests.core.media.odd import ODD
from tests.core.media.watching import opened_by_python

CASES = int(os.environ.get("QWEN_OMNI_FUZZ", "300"))
LIMIT = 20.0  # seconds a file may take
MOST_MEMORY = 2**20  # KiB, of the whole process


@pytest.fixture(scope="module")
def wholes(tmp_path_factory) -> dict[str, bytes]:
    """Short files of every odd kind, small enough to be tried by the thousand."""
    wanted = [name for name in ODD if name not in ("large", "portrait")]
    files = {}
    for number, name in enumerate(wanted):
        folder = tmp_path_factory.mktemp(f"odd{number}")
        files[name] = ODD[name].make(folder).path.read_bytes()
    return files


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
    if numbers.random() < 0.5:  # numbers in headers are where the danger lies
        for _ in range(3):
            data[numbers.randrange(min(len(data), 2048))] = numbers.randrange(256)
    return bytes(data)


def try_one(data: bytes, seed: int) -> bool:
    """Prepare one file; tell whether it was refused. Anything but our errors is raised."""
    begin = time.monotonic()
    choices = Choices(workers=1 + seed % 2, limit_seconds=5)
    try:
        if seed % 7 == 0:
            for segment in split(data, seconds=20, budget="static", choices=choices):
                segment.close()
        else:
            prepare(data, budget=("static", "glance", "auto")[seed % 3], choices=choices).close()
    except MediaError:
        return True
    finally:
        assert time.monotonic() - begin < LIMIT, seed
    return False


def run(wholes: dict[str, bytes], seeds: range) -> None:
    refused = 0
    allowed = scratch.new_path("").parent
    with opened_by_python() as names:
        for seed in seeds:
            refused += try_one(damaged(wholes, seed), seed)
    outside = [name for name in names if not name.isdigit() and not name.startswith((str(allowed), "/dev/", "/proc/"))]
    assert [name for name in outside if not name.endswith((".py", ".pyc", ".so"))] == []
    assert {path.name for path in allowed.iterdir()} <= {"lock"}
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss < MOST_MEMORY
    assert 0 < refused < len(seeds)


def test_some_damaged_files(tmp_path: Path):
    """A handful of cases, for the fast suite."""
    files = {name: ODD[name].make(tmp_path).path.read_bytes() for name in ("mp4 h264", "avi mpeg4 pcm", "mp3 alone")}
    run(files, range(40))


@pytest.mark.slow
@pytest.mark.timeout(900 + CASES)
@pytest.mark.parametrize("part", range(4))
def test_many_damaged_files(wholes, part):
    """Thousands of truncations, bit flips, holes, doublings and joins of every odd kind, in four parts."""
    run(wholes, range(part, CASES, 4))
