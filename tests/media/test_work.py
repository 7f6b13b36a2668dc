"""Nobody waits for work that was called off: the encoder itself stops within a few frames. Counted in frames."""

import asyncio
import contextlib
import ctypes
import subprocess
import sys
import threading

import pytest

from qwen_omni.client import AsyncOmniClient
from qwen_omni.media import work as pool
from qwen_omni.media.budget import budget_named
from qwen_omni.media.encode import video as transcode
from qwen_omni.media.prepare import PrepareOptions, aprepare, asplit, split
from qwen_omni.media.source import MediaSource
from qwen_omni.media.work import Deadline, StoppedError
from qwen_omni.messages import VideoPart, user
from qwen_omni.options import ChatRequest
from qwen_omni.standin import marked_media

FRAMES = 96  # of the film, at four a second
FEW = 12


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return marked_media.make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=24, size=(320, 180)).path


class Encoder:
    """Holds every encoder at its third frame until it is let go, and counts the frames."""

    def __init__(self, monkeypatch):
        self.frames, self.held, self.go = 0, threading.Event(), threading.Event()
        real = transcode.FrameEncoder.encode

        def encode(encoder, *arguments):
            self.frames += 1
            if self.frames >= 3:
                self.held.set()
                assert self.go.wait(60)
            return real(encoder, *arguments)

        monkeypatch.setattr(transcode.FrameEncoder, "encode", encode)

    async def cancel(self, task):
        """Cancel in the middle of encoding; wait until the task and its threads are gone."""
        await asyncio.to_thread(self.held.wait, 60)
        task.cancel()
        for _ in range(3):
            await asyncio.sleep(0)
        self.go.set()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().shutdown_default_executor()


@pytest.fixture
def encoder(monkeypatch):
    return Encoder(monkeypatch)


async def walk(segments):
    async with contextlib.aclosing(segments) as closing:
        async for segment in closing:
            segment.close()


@pytest.mark.parametrize("workers", [1, 2])
async def test_asplit(film, encoder, workers):
    segments = asplit(film, seconds=20, budget="static", choices=PrepareOptions(workers=workers))
    await encoder.cancel(asyncio.create_task(walk(segments)))
    assert encoder.frames <= FEW < FRAMES


async def test_asplit_cancelled_twice(film, encoder):
    """Before the encoder has stopped: the task is cancelled all the same."""
    task = asyncio.create_task(walk(asplit(film, seconds=20, budget="static")))
    await asyncio.to_thread(encoder.held.wait, 60)
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0.05)
    with pytest.raises(asyncio.CancelledError):
        await task
    encoder.go.set()
    await asyncio.get_running_loop().shutdown_default_executor()
    assert encoder.frames <= FEW


@pytest.mark.parametrize("workers", [1, 2])
async def test_aprepare(film, encoder, workers):
    await encoder.cancel(asyncio.create_task(aprepare(film, budget="static", choices=PrepareOptions(workers=workers))))
    assert encoder.frames <= FEW


async def test_a_request(film, encoder, settings):
    """What a cancelled request was still making of its video ends, too."""
    video = VideoPart(source=MediaSource.from_path(film, trusted=True), budget=budget_named("static"))
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user(video, "What?"),))
    async with AsyncOmniClient(settings) as client:
        await encoder.cancel(asyncio.create_task(client.complete(request)))
    assert 3 <= encoder.frames <= FEW


def test_closing_a_generator(film, encoder):
    """Closed while the next segment is being made."""
    encoder.go.set()
    segments = split(film, seconds=8, budget="static", choices=PrepareOptions(workers=1))
    next(segments).close()
    encoder.go.clear()
    seen = encoder.frames
    closing = threading.Thread(target=segments.close)
    closing.start()
    encoder.go.set()
    closing.join(60)
    assert encoder.frames - seen <= FEW


def test_what_governs():
    """Watches made inside stop with the outer one, also one that has a parent of its own; others do not."""
    outer = Deadline()
    with outer.governing():
        inner = Deadline()
        below = Deadline(parent=inner)
    other = Deadline()
    assert not below.stopped
    outer.stop()
    assert inner.stopped
    assert below.over
    assert not other.stopped
    with pytest.raises(StoppedError):
        below.check()
    with pytest.raises(KeyError), other.governing():
        raise KeyError
    assert other.stopped


# --- Threads ---


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
