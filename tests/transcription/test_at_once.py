"""Several transcriptions at once: each recording is submitted once, and nobody holds up another, or the program."""

import asyncio
import contextlib
import dataclasses
import gc
import os
import sqlite3
import subprocess
import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwen_omni import (
    AsyncOmniClient,
    ConfigurationError,
    OmniClient,
    Settings,
    atranscribe,
    atranscribe_many,
    transcribe,
    transcribe_many,
)
from qwen_omni.standin import Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.support.threads import in_threads
from tests.transcription.conftest import Ask, options, words


def test_two_at_once_submit_once(recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """Four threads with one recording make one task and four transcripts."""

    def work() -> str:
        with OmniClient(settings) as client:
            return transcribe(recording.path, client=client, options=options()).text

    assert len(set(in_threads(*[work] * 4))) == 1
    assert standin.tasks.submitted == 1


@pytest.mark.parametrize("fresh", [False, True])
@pytest.mark.slow
async def test_waiting_for_another_submission_holds_no_thread(
    fresh: bool, recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """More calls than the loop has threads: one submits and the others find its task, or `fresh` ones each submit."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(2))
    async with AsyncOmniClient(settings) as client:
        asked = [atranscribe(recording.path, client=client, options=options(fresh=fresh)) for _ in range(6)]
        async with asyncio.timeout(30):
            said = await asyncio.gather(*asked)
    assert [words(one) for one in said] == [list(recording.codes)] * 6
    assert standin.tasks.submitted == len({one.task_id for one in said}) == (6 if fresh else 1)


@pytest.mark.slow
def test_a_failure_ends_the_program_while_others_wait(
    recording: TruthMedia, standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """`transcribe_many` raises what fails first, and the interpreter ends then, though a task goes on."""
    code = (
        "import sys\nfrom qwen_omni import *\n"
        "with OmniClient(Settings.load(api_key=sys.argv[1], base_url=sys.argv[2])) as client:\n"
        "    list(transcribe_many(sys.argv[3:], client=client))\n"
    )
    standin.tasks.fail(Outcome(polls=100_000))
    media = [str(tmp_path / "gone.mp3"), str(recording.path)]
    done = subprocess.run(
        [sys.executable, "-c", code, standin.api_key, standin.base_url, *media],
        env={**os.environ, "QWEN_OMNI_CACHE_DIR": str(settings.cache_dir)},
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("qwen_omni.errors.UnreadableMediaError")


@pytest.mark.parametrize("concurrency", [0, -2])
@pytest.mark.parametrize("count", [0, 2])
async def test_none_at_a_time_is_refused(
    count: int, concurrency: int, recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """Both ways name the number and what can be chosen, whatever there is to do, before anything is sent."""
    sources = [recording.path] * count
    told = f"concurrency must be a whole number from 1 to 64, got {concurrency}"
    with OmniClient(settings) as client, pytest.raises(ConfigurationError, match=told):
        list(transcribe_many(sources, client=client, concurrency=concurrency))
    async with AsyncOmniClient(settings) as aclient:
        with pytest.raises(ConfigurationError, match=told):
            _ = [said async for said in atranscribe_many(sources, client=aclient, concurrency=concurrency)]
    assert standin.requests == []
    assert standin.tasks.submitted == 0


def spoiled(folder: Path, how: str) -> None:
    """Make the record of tasks unusable."""
    path = folder / "tasks.sqlite3"
    folder.mkdir(parents=True, exist_ok=True)
    if how == "foreign":
        path.write_bytes(b"no database" * 500)
    elif how == "newer":
        with contextlib.closing(sqlite3.connect(path)) as base:
            base.execute("PRAGMA user_version = 99")
            base.execute("CREATE TABLE results (a)")
            base.commit()
    else:
        path.mkdir()


@pytest.mark.parametrize("how", ["foreign", "newer", "folder"])
def test_a_task_whose_record_cannot_be_used_is_paid_once(
    ask: Ask, how: str, recording: TruthMedia, standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """It is remembered in memory, for every later call of this process; and written once the file can be used."""
    used = dataclasses.replace(settings, cache_dir=tmp_path / "cache")
    spoiled(used.cache_dir, how)
    with pytest.warns(UserWarning, match=r"record of transcription tasks .*Tasks are remembered in memory"):
        first, again = [ask(recording.path, client_settings=used) for _ in range(2)]
    assert first == again
    assert standin.tasks.submitted == 1
    path = used.cache_dir / "tasks.sqlite3"
    if path.is_dir():
        path.rmdir()
    else:
        path.unlink()
    assert ask(recording.path, client_settings=used) == first
    assert standin.tasks.submitted == 1
    assert path.stat().st_size > 0


@pytest.mark.slow
def test_a_task_whose_record_is_locked_is_paid_once(
    ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """A foreign program holds the file while the recording is submitted; afterwards the task is found."""
    used = dataclasses.replace(settings, cache_dir=tmp_path / "cache")
    ask(recording.path, client_settings=used, language="zh")  # makes the file
    with contextlib.closing(sqlite3.connect(used.cache_dir / "tasks.sqlite3", isolation_level=None)) as base:
        base.execute("BEGIN EXCLUSIVE")
        with pytest.warns(UserWarning, match="locked"):
            first = ask(recording.path, client_settings=used, language="en")
        gc.collect()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert ask(recording.path, client_settings=used, language="en") == first
    assert ask(recording.path, client_settings=used, language="en") == first
    assert standin.tasks.submitted == 2
