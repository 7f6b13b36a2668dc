"""Two, three and eight processes on one store, killed and suspended at random: nothing stored is paid for again.

The stand-in is a process of its own and counts what it was asked. Whoever is struck is stopped first, so that the
store shows which calls it has in flight at that moment; only those may be billed once more.
"""

import collections
import json
import os
import random
import signal
import time

import pytest

from tests.support.killing import claims_of, rows_in
from tests.support.processes import lives, start

pytestmark = pytest.mark.slow

LEASE = 2.0  # more than a busy machine keeps a process from renewing its claims
STANDIN = """
import json, sys
from qwen_omni.standin import Standin
from qwen_omni.standin.server.script import Fault

with Standin() as standin:
    standin.script.fault(Fault.slow(first_byte_delay=0.1), when=lambda _: True)
    print(json.dumps([standin.base_url, standin.api_key]), flush=True)
    for line in sys.stdin:
        print(json.dumps([one.body["messages"][-1]["content"] for one in standin.requests]), flush=True)
"""
# Forks a worker for every line it reads, so that the many processes do not pay for the imports each time.
WORKERS = """
import os, sys, threading, time, uuid
from pathlib import Path
from qwen_omni.client import OmniClient
from qwen_omni.messages import user
from qwen_omni.options import ChatRequest
from qwen_omni.settings import Settings
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import Claim, Found, Spent, StepKey

path, count, lease, url, secret = Path(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3]), *sys.argv[4:]

def work(client, store, left):
    while left:
        step = left.pop(0)
        key = StepKey("run", step, client.settings.origin)
        stands = store.claim(key)
        if isinstance(stands, Claim):
            answer = client.complete(ChatRequest(model="qwen-plus", messages=(user(step),)))
            store.spend("run", key.origin, Spent(uuid.uuid4().hex, {"step": step}))
            store.finish(key, {"by": os.getpid(), "text": answer.text})
        elif not isinstance(stands, Found):
            left.append(step)
            time.sleep(0.02)

def run(first):
    steps = [f"step {(first + n) % count}" for n in range(count)]
    store = SqliteStore(path, lease_seconds=lease)
    with OmniClient(Settings.load(api_key=secret, base_url=url, max_retries=0)) as client:
        threads = [threading.Thread(target=work, args=(client, store, steps)) for _ in range(2)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
    store.close()
    os._exit(0)

warm = OmniClient(Settings.load(api_key=secret, base_url=url))
warm.close()
print("ready", flush=True)
import signal
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        run(int(line))
    print(pid, flush=True)
"""


def ask(process, line):
    process.stdin.write(f"{line}\n")
    process.stdin.flush()
    return process.stdout.readline()


class Struggle:
    """Workers on one store, and what is done to them."""

    def __init__(self, path, workers, draw, steps):
        self.path, self.workers, self.draw, self.steps = path, workers, draw, steps
        self.pids, self.stopped, self.flying = [], {}, collections.Counter()

    def add(self):
        """Start another worker."""
        self.pids.append(int(ask(self.workers, self.draw.randrange(self.steps))))

    def strike(self):
        """Stop a worker, note what it has in flight, then kill it, or let it go on when its lease is over."""
        running = [pid for pid in self.pids if lives(pid) and pid not in self.stopped]
        if not running:
            return False
        pid = self.draw.choice(running)
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        self.flying.update(step for *_, step in claims_of(self.path, pid))
        if self.draw.random() < 0.5:
            os.kill(pid, signal.SIGKILL)
            self.add()
        else:
            self.stopped[pid] = time.monotonic() + 1.5 * LEASE
        return True

    def go_on(self):
        """Let those go on whose lease has been over for a while."""
        for pid, until in list(self.stopped.items()):
            if time.monotonic() > until:
                os.kill(pid, signal.SIGCONT)
                del self.stopped[pid]

    def wait(self):
        """Wait until every worker has ended."""
        until = time.monotonic() + 60
        while any(lives(pid) for pid in self.pids):
            assert time.monotonic() < until
            self.go_on()
            time.sleep(0.05)


@pytest.fixture
def standin():
    with start(STANDIN) as process:
        process.address = json.loads(process.stdout.readline())
        yield process
        process.stdin.close()


@pytest.mark.timeout(300)
@pytest.mark.parametrize("count", [2, 3, 8])
def test_killed_and_suspended_at_random(tmp_path, standin, count):
    """Nine moments each: every step is stored once, and billed once, but for what was in flight at a moment."""
    seed = random.randrange(10**6)
    path, steps = tmp_path / "work.sqlite3", 40 + 25 * count  # more than nine moments of work
    with start(WORKERS, path, steps, LEASE, *standin.address) as workers:
        assert workers.stdout.readline() == "ready\n"
        struggle = Struggle(path, workers, random.Random(seed), steps)
        for _ in range(count):
            struggle.add()
        moments = 0
        stored = {}
        while moments < 9:
            time.sleep(struggle.draw.uniform(0.02, 0.25))
            moments += struggle.strike()
            struggle.go_on()
            now = dict(rows_in(path, "SELECT step, value FROM results"))
            assert {step: now.get(step) for step in stored} == stored, f"seed {seed}"
            stored = now
            assert len(stored) < steps, "too little work for nine moments"
        struggle.wait()
        struggle.add()
        struggle.wait()
        workers.stdin.close()
    billed = collections.Counter(json.loads(ask(standin, "count")))
    final = dict(rows_in(path, "SELECT step, value FROM results"))
    assert sorted(final) == sorted(f"step {n}" for n in range(steps)), f"seed {seed}"
    assert {step: final[step] for step in stored} == stored
    too_often = {step: times for step, times in billed.items() if times > 1 + struggle.flying[step]}
    assert not too_often, f"seed {seed}: {too_often}, in flight {struggle.flying}"
    assert billed.total() - steps <= struggle.flying.total()
    assert rows_in(path, "SELECT COUNT(*) FROM claims") == [(0,)]
