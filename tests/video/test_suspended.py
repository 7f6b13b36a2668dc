"""A run that was left half-way holds up no other: suspended, in another thread or process, stopped, or on a dead loop.

And nobody pays for what somebody else has in flight.
"""

import asyncio
import collections
import contextlib
import os
import signal
import threading

import pytest

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.server.script import Fault
from qwen_omni.video.engine.run import aiter_notes, iter_notes
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import stream_summary, summarize
from qwen_omni.work_store import sqlite, store
from tests.support.processes import start
from tests.support.waiting import until
from tests.video.conftest import asked_segments, codes_of

pytestmark = pytest.mark.slow

OPTIONS = SummaryOptions(segment_seconds=12, single_call_seconds=0, detail="low", retry_seconds=0.0, concurrency=2)
HALF = """
import sys, time
from pathlib import Path
from qwen_omni.client import OmniClient
from qwen_omni.settings import Settings
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.engine.run import iter_notes
from qwen_omni.work_store import sqlite

url, secret, cache, film, lease = sys.argv[1:]
sqlite.LEASE_SECONDS = float(lease)
options = SummaryOptions(segment_seconds=12, single_call_seconds=0, detail="low", retry_seconds=0.0, concurrency=2)
client = OmniClient(Settings.load(api_key=secret, base_url=url, cache_dir=Path(cache), retry_wait=0.0))
coming = iter_notes(film, client=client, options=options)
print("begins", flush=True)
print(next(coming).index, flush=True)
sys.stdin.readline()
print(sum(1 for _ in coming), flush=True)
"""


def each_once(standin):
    counted = collections.Counter(asked_segments(standin))
    assert set(counted.values()) == {1}, counted


@contextlib.contextmanager
def half_read_elsewhere(standin, cache, film, *, lease=600.0):
    """Start a process that reads the first notes, and then leaves its generator as it is."""
    process = start(HALF, standin.base_url, standin.api_key, cache, film.path, lease)
    try:
        assert process.stdout.readline() == "begins\n"
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.send_signal(signal.SIGCONT)
        process.kill()
        process.communicate()


def test_a_suspended_generator_holds_up_nobody_in_its_thread(fresh, client, short):
    """Half-read, never closed: a summary of the same video ends, and each segment is asked about once."""
    coming = iter_notes(short.path, client=client, options=OPTIONS)
    assert next(coming).index == 0
    found = summarize(short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)
    assert len(list(coming)) == found.segments - 1
    each_once(fresh)


def test_a_generator_whose_request_failed_while_it_was_suspended(fresh, client, short):
    """What failed behind its back is free at once for another run."""
    refused = Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content.")
    coming = iter_notes(short.path, client=client, options=OPTIONS)
    fresh.script.fault(refused, when=lambda _: len(fresh.requests) > 1, times=3)
    assert next(coming).index == 0
    until(lambda: len(fresh.requests) > 1)
    fresh.script.clear()
    found = summarize(short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)
    coming.close()


def test_a_suspended_generator_holds_up_no_other_thread(fresh, client, short):
    coming = iter_notes(short.path, client=client, options=OPTIONS)
    next(coming)
    found = []
    other = threading.Thread(target=lambda: found.append(summarize(short.path, client=client, options=OPTIONS)))
    other.start()
    other.join(timeout=60)
    assert codes_of(found[0].events) == list(short.codes)
    coming.close()
    each_once(fresh)


def test_a_suspended_generator_holds_up_no_other_process(fresh, client, short, tmp_path):
    """A process that sleeps over its half-read notes, with a lease of ten minutes."""
    with half_read_elsewhere(fresh, tmp_path / "cache", short) as other:
        assert other.stdout.readline() == "0\n"
        found = summarize(short.path, client=client, options=OPTIONS)
        out, _ = other.communicate("\n", timeout=60)
        assert out == f"{found.segments - 1}\n"
    each_once(fresh)


def test_a_process_stopped_in_a_request_is_waited_for_aloud_and_then_replaced(
    fresh, client, short, tmp_path, monkeypatch
):
    """Told within two seconds; over after its lease; when it goes on, its late answer changes nothing."""
    monkeypatch.setattr(sqlite, "LEASE_SECONDS", 3.0)
    fresh.script.fault(Fault.slow(first_byte_delay=4.0), when=lambda _: len(fresh.requests) <= 2, times=2)
    with half_read_elsewhere(fresh, tmp_path / "cache", short, lease=3.0) as other:
        until(lambda: len(fresh.requests) > 1, 60)
        other.send_signal(signal.SIGSTOP)
        news = list(stream_summary(short.path, client=client, options=OPTIONS))
        texts = [one.text for one in news[:-1] if one.kind == "notice"]
        assert any(f"Waiting for process {other.pid}" in text for text in texts)
        assert codes_of(news[-1].events) == list(short.codes)
        other.send_signal(signal.SIGCONT)
        out, _ = other.communicate("\n", timeout=60)
        assert out.split()[0] == "0"
    counted = collections.Counter(asked_segments(fresh))
    assert sum(counted.values()) - len(counted) <= 2  # what was in flight when it was stopped


def test_waiting_is_told_at_the_first_look(fresh, client, short):
    """The first thing that a run meets is somebody else's claim: the very next news says so."""
    held = threading.Event()
    fresh.script.fault(Fault.slow(first_byte_delay=2.0), when=lambda _: not held.is_set(), times=2)
    first = threading.Thread(target=lambda: summarize(short.path, client=client, options=OPTIONS))
    first.start()
    until(lambda: len(fresh.requests) > 1)
    held.set()
    news = stream_summary(short.path, client=client, options=OPTIONS)
    kinds = [(getattr(one, "kind", ""), getattr(one, "text", "")) for one in news]
    first.join()
    waiting = [at for at, (kind, text) in enumerate(kinds) if kind == "notice" and "Waiting for another run" in text]
    assert len(waiting) == 1
    assert waiting[0] < next(at for at, (kind, _) in enumerate(kinds) if kind == "segment")
    each_once(fresh)


def test_a_loop_that_was_left_holds_up_nobody_for_longer_than_its_lease(fresh, client, short, monkeypatch):
    """`asyncio`: the loop stands still between two `anext`, with requests in flight."""
    monkeypatch.setattr(sqlite, "LEASE_SECONDS", 0.5)
    monkeypatch.setattr(store, "_STILL_SECONDS", 0.6)
    fresh.script.fault(Fault.slow(first_byte_delay=0.3), when=lambda _: len(fresh.requests) > 1, times=1)
    loop = asyncio.new_event_loop()

    async def begin():
        aclient = AsyncOmniClient(client.settings)
        coming = aiter_notes(short.path, client=aclient, options=OPTIONS)
        assert (await anext(coming)).index == 0
        return aclient, coming

    aclient, coming = loop.run_until_complete(begin())
    found = summarize(short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)

    async def end():
        rest = [one async for one in coming]
        await aclient.aclose()
        return rest

    assert len(loop.run_until_complete(end())) == found.segments - 1
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    counted = collections.Counter(asked_segments(fresh))
    assert sum(counted.values()) - len(counted) <= 2


def test_a_killed_process_is_replaced_at_once(fresh, client, short, tmp_path):
    """With a lease of ten minutes: that its process is gone is enough."""
    fresh.script.fault(Fault.slow(first_byte_delay=30.0), when=lambda _: len(fresh.requests) <= 2, times=2)
    with half_read_elsewhere(fresh, tmp_path / "cache", short) as other:
        until(lambda: len(fresh.requests) > 1)
        os.kill(other.pid, signal.SIGKILL)
        found = summarize(short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)


def test_answers_of_one_server_are_not_given_out_for_another(fresh, client, short, tmp_path):
    """A server of one's own after the stand-in, and the other way round: each for itself; ports do not count."""
    settings = {"cache_dir": tmp_path / "cache", "retry_wait": 0.0}
    with Standin(keys=("sk-real",)) as other, Standin() as third:
        summarize(short.path, client=client, options=OPTIONS)
        real = Settings.load(api_key="sk-real", base_url=other.base_url, **settings)
        with OmniClient(real) as asker:
            found = summarize(short.path, client=asker, options=OPTIONS)
            assert found.this_run.requests == found.whole_run.requests == found.segments + 1
            notes = list(iter_notes(short.path, client=asker, options=OPTIONS))
            assert all(one.reused for one in notes)
        assert len(other.requests) == found.segments + 1
        with OmniClient(Settings.load(api_key=third.api_key, base_url=third.base_url, **settings)) as asker:
            assert summarize(short.path, client=asker, options=OPTIONS).this_run.requests == 0
        assert third.requests == []
    assert len(list((tmp_path / "cache" / "video").glob("*.sqlite3"))) == 1  # rows are told apart, not files
