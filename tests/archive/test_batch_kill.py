"""`kill -9` between create and saving, while polling, while downloading: one batch, and each answer stored once."""

import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from qwen_omni.standin import Standin
from tests.archive.conftest import MakeJob

pytestmark = pytest.mark.slow

CHILD = """
import os, sys
from pathlib import Path
from qwen_omni.archive import BatchJob, batch_flows
from qwen_omni.settings import Settings
from qwen_omni.work_store.sqlite import SqliteStore
from tests.archive.conftest import questions

where, key, url, store = sys.argv[1:]

def die(*_):
    os.kill(os.getpid(), 9)

note, finish_all = SqliteStore.note, SqliteStore.finish_all
if where == "before create":
    def note_then_die(self, claim, intent):
        note(self, claim, intent)
        if "attempted_at" in intent:
            die()
    SqliteStore.note = note_then_die
elif where == "after create":
    def die_before_the_id(self, claim, intent):
        if "batch_id" in intent:
            die()
        note(self, claim, intent)
    SqliteStore.note = die_before_the_id
elif where == "download":
    batch_flows._AT_ONCE = 1
    left = [2]
    def some_then_die(self, values):
        finish_all(self, values)
        left[0] -= 1
        if not left[0]:
            die()
    SqliteStore.finish_all = some_then_die
elif where == "after download":
    BatchFlows = batch_flows.BatchFlows
    BatchFlows._finish = die
settings = Settings.load(api_key=key, base_url=url, retry_wait=0)
job = BatchJob(questions(4), store=Path(store), settings=settings)
job.submit()
job.wait(poll_seconds=0.01, on_progress=die if where == "polling" else None)
list(job.results())
"""


@pytest.mark.parametrize("where", ["before create", "after create", "polling", "download", "after download"])
def test_a_killed_job_goes_on(where: str, standin: Standin, make: MakeJob, tmp_path: Path) -> None:
    """The next process finds the batch by its id or its marker, or creates the one that never was."""
    store = tmp_path / "batches.sqlite3"
    ended = subprocess.run(
        [sys.executable, "-c", CHILD, where, standin.api_key, standin.base_url, str(store)],
        check=False, cwd=Path.cwd(), capture_output=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert len(standin.batches.created) == (0 if where == "before create" else 1)
    if where == "download":
        with closing(sqlite3.connect(store)) as base:
            assert base.execute("SELECT count(*) FROM results WHERE run = 'batch answers'").fetchone() == (2,)
    job = make()
    job.submit()
    job.wait(poll_seconds=0.001)
    assert [one.status for one in job.results()] == ["ok"] * 4
    assert len(standin.batches.created) == 1
    assert sorted(standin.batches.billed) == ["q0", "q1", "q2", "q3"]
    job.close()
    with closing(sqlite3.connect(store)) as base:
        counts = dict(base.execute("SELECT run, count(*) FROM results GROUP BY run").fetchall())
        assert counts == {"batch answers": 4, "batch jobs": 1, "batch rounds": 1}
        assert base.execute("SELECT count(*) FROM claims").fetchone() == (0,)
