"""Damaged media end in our errors: no other exception, no hang, no file left, nothing opened but the input.

`make test` tries a few files, `make test-slow` 200 cases, `make test-long` 2,000, and `make fuzz` 50,000.
"""

import os
import sys
from pathlib import Path

import pytest

from tests.support.fuzzing import Report, try_all
from tests.support.odd import ODD

CASES = int(os.environ.get("QWEN_OMNI_FUZZ", "200"))
MOST_MEMORY = 2**20  # KiB, of a process that does nothing else
_BATCH = 1000  # files that one process tries


@pytest.fixture(scope="module")
def wholes(tmp_path_factory) -> Path:
    """Short files of every odd kind, small enough to be tried by the thousand."""
    return _made(tmp_path_factory.mktemp("odd"), [name for name in ODD if name not in ("large", "portrait")])


def _made(folder: Path, names: list[str]) -> Path:
    wholes = folder / "wholes"
    wholes.mkdir()
    for number, name in enumerate(names):
        own = folder / str(number)
        own.mkdir()
        (wholes / name).write_bytes(ODD[name].make(own).path.read_bytes())
    return wholes


def _check(report: Report) -> None:
    highest = next(one for one in report.tried if one.memory == report.tried[-1].memory)
    assert highest.memory < MOST_MEMORY, highest
    assert report.opened == []
    assert report.left == []
    assert 0 < report.refused < len(report.tried)
    sys.stdout.write(str(report))


def test_some_damaged_files(tmp_path: Path):
    """A handful of cases, for the fast suite."""
    wholes = _made(tmp_path, ["mp4 h264", "avi mpeg4 pcm", "mp3 alone"])
    _check(try_all(wholes, range(16), tmp_path / "temporary"))


@pytest.mark.slow
@pytest.mark.timeout(900 + CASES)
@pytest.mark.parametrize("part", range(2))
def test_many_damaged_files(wholes, part, tmp_path):
    """Thousands of truncations, bit flips, holes, doublings and joins of every odd kind, in two parts."""
    seeds = range(part, CASES, 2)
    for at in range(0, len(seeds), _BATCH):
        _check(try_all(wholes, seeds[at : at + _BATCH], tmp_path / f"temporary{at}"))
