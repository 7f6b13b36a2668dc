"""Freed memory goes back to the system where the C library keeps it, and nothing happens where it does not."""

import ctypes
import subprocess
import sys

import pytest

from qwen_omni.media import work as pool

GIVEN_BACK = """
from pathlib import Path
from qwen_omni.media.work import allow_trimming, trim_heap

def resident():
    return int(Path("/proc/self/status").read_text(encoding="ascii").partition("VmRSS:")[2].split()[0]) * 1024

blocks = [bytes([number % 255 + 1]) * 65536 for number in range(1500)]
kept = [bytes([1]) * 60_000 for _ in range(100)]  # above all blocks, so that the heap cannot shrink from its end
del blocks
before = resident()
trim_heap()
assert before - resident() < 1500 * 65536 / 10, "a host program's heap is left alone"
allow_trimming()
trim_heap()
print(before - resident())
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the C library of Linux keeps what is freed")
def test_holes_under_something_kept_are_given_back():
    if pool._malloc_trim() is None:
        pytest.skip("another C library than glibc")
    told = subprocess.run([sys.executable, "-c", GIVEN_BACK], capture_output=True, text=True, check=True)
    assert int(told.stdout) > 1500 * 65536 / 2


@pytest.mark.parametrize("error", [AttributeError, OSError, TypeError])
def test_other_c_libraries_are_left_alone(error, monkeypatch):
    def missing(_name):
        raise error

    monkeypatch.setattr(ctypes, "CDLL", missing)
    pool._malloc_trim.cache_clear()
    pool._allowed.set()
    try:
        pool.trim_heap()
    finally:
        pool._allowed.clear()
        pool._malloc_trim.cache_clear()
