"""Archives whose workers are stopped and killed: their files, a stand-in that counts what it bills, the processes.

The stand-in is a process of its own, so that what it counted outlives everybody. Workers are forked from a process that
has imported everything, so that a moment later another one runs.
"""

import collections
import contextlib
import json
import os
import signal
import sqlite3
import time
import zlib
from pathlib import Path

from PIL import Image

from tests.support.processes import lives, start

SCHEMA = {"type": "object", "properties": {"colour": {"type": "string"}}, "required": ["colour"]}
NUMBERED = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
STANDIN = """
import collections, json, sys, time, zlib
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.rules.messages import all_text

billed, times = collections.Counter(), []

def bills(request):
    if request.refused is None:
        times.append(time.monotonic())
        media = " ".join(one.sha256[:16] for one in request.media)
        billed[f"{media} {zlib.crc32(all_text(request.body).encode())}"] += 1
    return True

with Standin() as standin:
    def behave(seconds=0.1, numbered=0, anew=False):
        if anew:
            billed.clear()
            times.clear()
            standin.clear()
        standin.script.clear()
        standin.script.fault(Fault.slow(first_byte_delay=seconds), when=bills)
        for number in range(numbered):
            standin.script.reply(json.dumps({"n": number}))

    behave()
    print(json.dumps([standin.base_url, standin.api_key]), flush=True)
    for line in sys.stdin:
        wish = json.loads(line)
        if wish:
            behave(**wish)
        print(json.dumps([billed, times]), flush=True)
"""
WORKERS = """
import json, os, signal, sys
from dataclasses import asdict
from pathlib import Path
from qwen_omni.archive import ArchiveWorker, Caption, run
from qwen_omni.client import OmniClient
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.work_store import postgres, sqlite
from qwen_omni.work_store.buffered import BufferedStore

url, secret = sys.argv[1:]
settings = Settings.load(api_key=secret, base_url=url, retry_wait=0.05, media_root=Path("/"))
OmniClient(settings).close()

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

def work(source, store, schema, rows, in_flight=4, lease=2.0, dies="", tokens=None, rpm=None):
    sqlite.LEASE_SECONDS = postgres.LEASE_SECONDS = lease
    finish, asked = BufferedStore.finish, ArchiveWorker._asked
    if dies == "before":
        BufferedStore.finish = die
    elif dies == "after":
        BufferedStore.finish = lambda *given, **more: die(finish(*given, **more))
    elif dies:  # of a file of this name
        ArchiveWorker._asked = lambda self, media, *more: (
            die() if media.item.uri.endswith(dies) else asked(self, media, *more)
        )
    with Path(rows).open("a", encoding="utf-8") as file:
        for row in run(
            source, Caption(schema), store=store, settings=settings, in_flight=in_flight,
            spend_limit=SpendLimit(tokens=tokens) if tokens else None, limits=RateLimits(rpm=rpm) if rpm else None,
        ):
            file.write(json.dumps(row.to_dict()) + "\\n")
            file.flush()

print("ready", flush=True)
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
for line in sys.stdin:
    pid = os.fork()
    if pid == 0:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        try:
            work(**json.loads(line))
        except BaseException as error:
            print(f"{type(error).__name__}: {error}", file=sys.stderr, flush=True)
            os._exit(1)
        os._exit(0)
    print(pid, flush=True)
"""


def make_images(folder, count, first=0):
    """Write small JPEG images, every one of another content; return their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number in range(first, first + count):
        path = folder / f"{number:06}.jpg"
        colour = zlib.crc32(f"{number}".encode())
        image = Image.new("RGB", (32, 32), (colour & 255, colour >> 8 & 255, colour >> 16 & 255))
        image.putpixel((number % 32, number // 32 % 32), (255 - (colour & 255), 0, 0))
        image.save(path, "JPEG", comment=f"{number}".encode())
        paths.append(path)
    return paths


class CountingStandin:
    """The stand-in as a process of its own."""

    def __init__(self):
        self._process = start(STANDIN)
        self.base_url, self.api_key = json.loads(self._process.stdout.readline())

    def billed(self):
        """Return how often each call was billed."""
        return collections.Counter(self._ask({})[0])

    def times(self):
        """Return when each of them was billed, in seconds."""
        return sorted(self._ask({})[1])

    def behave(self, **wish):
        """Set the seconds to the first byte, and a number of numbered answers; or forget what was billed."""
        self._ask(wish)

    def _ask(self, wish):
        self._process.stdin.write(json.dumps(wish) + "\n")
        self._process.stdin.flush()
        return json.loads(self._process.stdout.readline())

    def close(self):
        """End the process."""
        with self._process as process:
            process.stdin.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def rows_in(place, sql):
    """Read a store as any other program would; nothing if it is not made yet."""
    if str(place).startswith("postgresql://"):
        import psycopg  # noqa: PLC0415 - not installed everywhere

        try:
            with psycopg.connect(str(place), options="-c search_path=qwen_omni") as base:
                return base.execute(sql).fetchall()
        except (psycopg.errors.UndefinedTable, psycopg.errors.InvalidSchemaName):
            return []
    if not Path(place).exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{place}?mode=ro", uri=True)) as base:
        try:
            return base.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []


def claims_of(place, pid):
    """Return the calls that a process may have in flight."""
    return [row[:3] for row in rows_in(place, "SELECT run, origin, step, owner FROM claims") if f" {pid} " in row[3]]


class Forks:
    """A process that has imported everything and forks workers."""

    def __init__(self, standin):
        self._process = start(WORKERS, standin.base_url, standin.api_key)
        assert self._process.stdout.readline() == "ready\n"

    def add(self, **given):
        """Start a worker; return its process."""
        self._process.stdin.write(json.dumps(given) + "\n")
        self._process.stdin.flush()
        return int(self._process.stdout.readline())

    def close(self):
        """End the process; workers go on."""
        with self._process as process:
            process.stdin.close()


class Workers:
    """Processes that run one archive."""

    def __init__(self, forks, folder, place, **given):
        self.place, self.folder = place, folder
        self.given = {"source": f"{folder}/*.jpg", "store": str(place), "schema": SCHEMA, **given}
        self.pids, self.flying = [], collections.Counter()
        self._forks = forks

    def add(self, **given):
        """Start another one; return its process."""
        rows = self.folder.with_name(f"{self.folder.name}-rows-{len(self.pids)}.jsonl")
        self.pids.append(self._forks.add(**{**self.given, "rows": str(rows), **given}))
        return self.pids[-1]

    def rows(self, pid):
        """Return the rows that a process has yielded so far."""
        path = self.folder.with_name(f"{self.folder.name}-rows-{self.pids.index(pid)}.jsonl")
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def stop(self, pid):
        """Stop a process and note what it has in flight; return whether it was still running."""
        if not lives(pid):
            return False
        os.kill(pid, signal.SIGSTOP)
        time.sleep(0.01)
        self.flying.update(claims_of(self.place, pid))
        return True

    def kill(self, pid):
        """Kill a process at this moment; return whether it was still running."""
        stopped = self.stop(pid)
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return stopped

    def wait(self, *pids, seconds=90):
        """Wait until processes have ended; all if none is named."""
        until = time.monotonic() + seconds
        while any(lives(pid) for pid in pids or self.pids):
            assert time.monotonic() < until, "the workers do not end"
            time.sleep(0.02)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for pid in self.pids:
            if lives(pid):
                os.kill(pid, signal.SIGKILL)
