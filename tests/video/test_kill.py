"""`kill -9` at any moment costs at most what was in flight: what is finished is never asked again."""

import collections
import contextlib
import os
import random
import signal
import sqlite3
import time

import pytest

from qwen_omni.standin.server.script import Fault
from tests.support.processes import start

pytestmark = pytest.mark.slow

# Forks a process for every line it reads, so that the many runs do not pay for the imports each time.
ZYGOTE = """
import os, sys
from pathlib import Path
from qwen_omni.client import OmniClient
from qwen_omni.settings import Settings
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import summarize
import qwen_omni.media.encode.video, qwen_omni.media.analysis

key, url, film, cache = sys.argv[1:]
for line in sys.stdin:
    run = line.strip()
    pid = os.fork()
    if pid == 0:
        settings = Settings.load(api_key=key, base_url=url, cache_dir=Path(cache) / run)
        options = SummaryOptions(
            segment_seconds=12, overlap=0, single_call_seconds=0, detail="low", concurrency=3, workers=1,
        )
        with OmniClient(settings) as client:
            found = summarize(film, client=client, options=options)
        kept = found.model_dump_json(exclude={"this_run", "whole_run"})
        (Path(cache) / run / "out.json").write_text(kept)
        os._exit(0)
    print(pid, flush=True)
    _, status = os.waitpid(pid, 0)
    print(status, flush=True)
"""


class Runs:
    """Starts runs and ends them."""

    def __init__(self, standin, film, cache):
        self.cache = cache
        self.process = start(ZYGOTE, standin.api_key, standin.base_url, film, cache)

    def run(self, name, *, kill_after=None):
        """Run to the end, or kill it after so many seconds; tells whether it came to its end."""
        self.process.stdin.write(name + "\n")
        self.process.stdin.flush()
        pid = int(self.process.stdout.readline())
        if kill_after is not None:
            time.sleep(kill_after)
            with contextlib.suppress(ProcessLookupError):  # it was quicker
                os.kill(pid, signal.SIGKILL)
        return int(self.process.stdout.readline()) == 0

    def end(self):
        """End the process that forks."""
        for pipe in (self.process.stdin, self.process.stdout):
            pipe.close()
        self.process.wait()

    def finished(self, name):
        """Read the finished segments out of the checkpoint, as any other program would."""
        steps = set()
        for path in (self.cache / name / "video").glob("*.sqlite3"):
            with sqlite3.connect(f"file:{path}?mode=ro", uri=True) as base:
                if base.execute("SELECT 1 FROM sqlite_master WHERE name = 'results'").fetchone():  # not killed before
                    rows = base.execute("SELECT step FROM results")
                    steps |= {int(row[0].split(":")[1]) for row in rows if "segment" in row[0]}
            base.close()
        return steps

    def out(self, name):
        """Return the summary of a run that came to its end."""
        return (self.cache / name / "out.json").read_text(encoding="utf-8")


@pytest.fixture
def runs(fresh, one_minute, tmp_path):
    made = Runs(fresh, one_minute.path, tmp_path)
    yield made
    made.end()


def asked(standin, film):
    """Count the requests about each segment."""
    firsts = [request.media[0].picture_codes[0] for request in standin.requests if request.media]
    return collections.Counter(film.codes.index(code) // 12 for code in firsts)


@pytest.mark.timeout(300)
@pytest.mark.parametrize("moments", [5, pytest.param(25, marks=pytest.mark.long)])
def test_killed_at_random_moments(runs, fresh, one_minute, moments):
    """Killed at random, some runs twice: the end is the same, and no finished segment is ever asked again."""
    fresh.script.fault(Fault.slow(first_byte_delay=0.15), when=lambda _: True)
    assert runs.run("warm")  # the stand-in remembers what it has decoded
    began = time.monotonic()
    assert runs.run("whole")
    whole = time.monotonic() - began
    kills, number = 0, 0
    seed = random.randrange(10**6)
    draw = random.Random(seed)
    while kills < moments:
        number += 1
        name, times = f"run-{number}", 1 + number % 2
        before = asked(fresh, one_minute)
        kept: set[int] = set()
        for _ in range(times):
            if runs.run(name, kill_after=draw.uniform(0.02, whole)):
                break
            kills += 1
            fresh_asked = asked(fresh, one_minute) - before
            assert all(fresh_asked[index] == 1 for index in kept), f"seed {seed}"
            kept |= {index for index in runs.finished(name) if fresh_asked[index] == 1}
        done, at_kill = runs.finished(name), asked(fresh, one_minute) - before
        assert runs.run(name), f"seed {seed}"
        after = asked(fresh, one_minute) - before
        assert all(after[index] == at_kill[index] for index in done), f"seed {seed}"
        assert runs.out(name) == runs.out("whole"), f"seed {seed}"
        extra = sum(after.values()) - 5
        assert extra <= 3 * times, f"seed {seed}: {extra} requests too many"


@pytest.mark.timeout(120)
def test_two_processes_on_one_checkpoint(fresh, one_minute, tmp_path):
    """Both end with the same, and together they ask about every segment once."""
    fresh.script.fault(Fault.slow(first_byte_delay=0.2), when=lambda _: True)
    pair = [Runs(fresh, one_minute.path, tmp_path) for _ in range(2)]
    for one in pair:
        one.process.stdin.write("shared\n")
        one.process.stdin.close()
    outs = []
    for one in pair:
        one.process.stdout.readline()
        assert int(one.process.stdout.readline()) == 0
        outs.append(one.out("shared"))
        one.end()
    assert outs[0] == outs[1]
    assert set(asked(fresh, one_minute).values()) == {1}
    assert [request.body["model"] for request in fresh.requests].count("qwen-plus") == 1
