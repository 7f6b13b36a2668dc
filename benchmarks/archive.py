"""A thousand clips against the lower bound; memory from 1,000 rows to 100,000; a second run over finished rows.

    python benchmarks/archive.py [--clips 1000] [--rows 100000] [--only throughput|memory|real]

*Throughput*: our own engine (sources, digests, claims, the store, the places in flight, the limiter) works on small
files; preparing a clip and waiting for its answer take modelled times. Preparing shares the cores; with a rate limit,
answers come from the stand-in, a process of its own, and requests pass the shared quota. The lower bound is

    max(n / rate, n * latency / in_flight, n * prepare / cores)

plus one preparing and one answer: before the first is prepared nothing can be asked, and after the last request is
sent its answer has still to come. Target: 90 % of it.

*Memory*: the same archive with more rows, each in a process of its own; its peak, and that of a second run, in which
every row is finished. The second run opens no file: the audit hook of Python counts what is opened.

*Real*: fifty videos of 8 s, each of another content, prepared, sent and captioned; the stand-in decodes them. On one
machine the bound is the processor time of both processes over the cores.
"""

import argparse
import contextlib
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from qwen_omni.archive import Caption, FunctionStep, run
from qwen_omni.archive.steps import StepContext
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import user
from qwen_omni.options import ChatRequest
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video

MODEL = "qwen-plus"
STANDIN = """
import json, sys
from qwen_omni.standin import Fault, Standin

with Standin() as standin:
    standin.script.fault(Fault.slow(first_byte_delay=float(sys.argv[1])), when=lambda _: True)
    print(json.dumps([standin.base_url, standin.api_key]), flush=True)
    sys.stdin.read()
"""
HEAD = f"{'case':34} {'bound':>8} {'ours':>8} {'share':>7}"


@dataclass(frozen=True)
class Case:
    """One kind of archive; seconds of one clip."""

    name: str
    prepare: float
    latency: float
    in_flight: int
    cores: int = 2
    rpm: int | None = None

    def bound(self, clips):
        """Return the least seconds that these clips take."""
        rate = (clips - 1) * 60 / self.rpm if self.rpm else 0
        busiest = max(rate, clips * self.latency / self.in_flight, clips * self.prepare / self.cores)
        return busiest + self.prepare + self.latency


CASES = [
    Case("answers of 1 s, 32 in flight", 0.002, 1.0, 32),
    Case("answers of 0.3 s, 8 in flight", 0.002, 0.3, 8),
    Case("preparing 60 ms on two cores", 0.06, 0.3, 32),
    Case("1,200 requests a minute", 0.002, 0.3, 32, rpm=1200),
]


class Cores:
    """A number of cores; sleeping takes slightly too long, which does not accumulate."""

    def __init__(self, count):
        self.free, self.lock = [0.0] * count, threading.Lock()

    def use(self, seconds):
        with self.lock:
            at = min(range(len(self.free)), key=self.free.__getitem__)
            until = self.free[at] = max(self.free[at], time.monotonic()) + seconds
        time.sleep(max(0.0, until - time.monotonic()))


class Clip:
    """The step of a case: prepares, then waits for an answer."""

    def __init__(self, case):
        self.case, self.cores = case, Cores(case.cores)

    def __call__(self, source: MediaSource, task: StepContext):
        self.cores.use(self.case.prepare)
        if self.case.rpm:
            return task.client.complete(ChatRequest(model=MODEL, messages=(user(task.uri),))).text
        with task.slot():
            time.sleep(self.case.latency)
        return {"text": source.name}


def write_clips(folder, count):
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:06}.mp4").write_bytes(f"clip {number}".encode())


@contextlib.contextmanager
def service(case):
    """Yield settings: of the stand-in if requests are sent, else of none."""
    if not case.rpm:
        yield Settings.load(api_key="sk-none", base_url="http://127.0.0.1:9/v1")
        return
    with subprocess.Popen(
        [sys.executable, "-c", STANDIN, str(case.latency)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as standin:
        url, key = json.loads(standin.stdout.readline())
        yield Settings.load(api_key=key, base_url=url)
        standin.stdin.close()


def throughput(case, folder, clips):
    """Return the seconds from the first row to the last."""
    step = FunctionStep("clip", Clip(case), case.name.replace(" ", "-"), MODEL, takes_slot=False)
    with service(case) as settings:
        began = time.monotonic()
        rows = run(
            folder / "clips", step, store=folder / f"{CASES.index(case)}.db", settings=settings,
            in_flight=case.in_flight, limits=RateLimits(rpm=case.rpm) if case.rpm else None,
        )  # fmt: skip
        good = sum(row.status == "ok" for row in rows)
        took = time.monotonic() - began
    assert good == clips, f"{good} of {clips} rows are ok"
    return took


def compare(clips, only):
    """Print every case beside its bound; return what missed the target."""
    print(f"{clips:,} clips\n{HEAD}")
    missed = []
    with tempfile.TemporaryDirectory() as name:
        write_clips(Path(name) / "clips", clips)
        for case in [one for one in CASES if only in one.name]:
            least, took = case.bound(clips), throughput(case, Path(name), clips)
            print(f"{case.name:34} {least:7.1f}s {took:7.1f}s {least / took:6.0%}", flush=True)
            missed += [case.name] if least / took < 0.9 else []
    print(f"target: 90 %; {'missed: ' + ', '.join(missed) if missed else 'all within'}")


def real(count):
    """Caption real videos on the stand-in; print the seconds beside what two processes need of the cores."""
    case, usage = Case("real", 0, 0.0, 8, rpm=1), resource.getrusage
    with tempfile.TemporaryDirectory() as name, service(case) as settings:
        folder = Path(name) / "clips"
        folder.mkdir()
        clip = make_video(Path(name) / "clip.mp4", seconds=8, size=(640, 360)).path.read_bytes()
        for number in range(count):
            free = f"{number:08}".encode()  # an MP4 box that players skip, so that no two files are alike
            (folder / f"{number}.mp4").write_bytes(clip + (8 + len(free)).to_bytes(4, "big") + b"free" + free)
        before, began = usage(resource.RUSAGE_SELF), time.monotonic()
        rows = list(run(folder, Caption(), store=Path(name) / "archive.db", settings=settings))
        took, after = time.monotonic() - began, usage(resource.RUSAGE_SELF)
    assert [row.status for row in rows] == ["ok"] * count
    ours = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    child = usage(resource.RUSAGE_CHILDREN)
    theirs = child.ru_utime + child.ru_stime
    least = (ours + theirs) / (os.cpu_count() or 1)
    print(
        f"{count} real clips: {took:.1f} s; processor time {ours:.1f} s ours, {theirs:.1f} s the stand-in's: "
        f"{least / took:.0%} of the cores"
    )


def answer(source: MediaSource, _: StepContext):
    return {"text": source.name}


def look(folder):
    """Work on an archive; print its seconds, its peak memory in MB, and how many files of it were opened."""
    opened = 0

    def count(event, arguments):
        nonlocal opened
        opened += event == "open" and str(arguments[0]).endswith(".mp4")

    sys.addaudithook(count)
    began = time.monotonic()
    settings = Settings.load(api_key="sk-none", base_url="http://127.0.0.1:9/v1")
    rows = run(folder / "clips", FunctionStep("clip", answer, "1"), store=folder / "archive.db", settings=settings)
    good = sum(row.status == "ok" for row in rows)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"rows": good, "seconds": time.monotonic() - began, "peak": peak, "opened": opened}))


def memory(counts):
    """Print peak memory and time of a first and a second run over archives of several sizes."""
    print(f"{'rows':>9} {'first run':>10} {'peak':>9} {'opened':>9} {'second run':>11} {'peak':>9} {'opened':>9}")
    for count in counts:
        with tempfile.TemporaryDirectory() as name:
            write_clips(Path(name) / "clips", count)
            cells = []
            for _ in range(2):
                made = subprocess.run(
                    [sys.executable, __file__, "--look", name], check=True, stdout=subprocess.PIPE, text=True
                )
                found = json.loads(made.stdout)
                assert found["rows"] == count
                cells.append(f"{found['seconds']:9.1f}s {found['peak']:6.0f} MB {found['opened']:9,}")
            print(f"{count:9,} {'  '.join(cells)}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="an archive against the lower bound")
    parser.add_argument("--clips", type=int, default=1000)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--only", default="", help="throughput, memory, real, or a word of a case")
    parser.add_argument("--look", type=Path, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.look:
        look(chosen.look)
        return
    if chosen.only not in ("memory", "real"):
        compare(chosen.clips, "" if chosen.only == "throughput" else chosen.only)
    if chosen.only in ("", "memory"):
        memory(sorted({1000, chosen.rows}))
    if chosen.only in ("", "real"):
        real(50)


if __name__ == "__main__":
    main()
