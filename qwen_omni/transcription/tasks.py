"""Which tasks were submitted, beside the upload cache: the same recording is submitted once, whoever asks again.

A row holds a digest and the service's name of the task, nothing of the recording and no link; beside them the name of
an object in the caller's bucket, if that goes when the task has ended. A task is remembered for as long as its result
can be fetched. Rows are claimed while a submission is on its way, as uploads are.
"""

import contextlib
import hashlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen_omni.delivery.cache import TASKS, Claim, Held, UploadCache
from qwen_omni.profiles.transcription import RESULT_SECONDS
from qwen_omni.work_store.store import Alive

_FILE = "tasks.sqlite3"
_MARGIN = 3600.0  # seconds; a task this close to its end is not waited for any more


def task_key(*told: str) -> str:
    """Name a submission by all that decides its result; nothing of it can be read back."""
    return hashlib.sha256("\n".join(told).encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Submitted:
    """A task that the service has.

    Attributes:
        task_id: the service's name of it.
        left: the object that it was sent, if that is to be deleted when the task has ended.
    """

    task_id: str
    left: str = ""


class Tasks:
    """The submitted tasks of one user of one machine. Safe to share between threads and processes.

    Keys hold the address and the account, so they tell who answered.
    """

    def __init__(self, folder: Path, *, alive: Alive | None = None) -> None:
        """Name the folder; `alive` tells whether whoever submits makes progress, and keeps its claims as long."""
        self._rows = UploadCache(folder, file=_FILE, use=TASKS)
        self._alive = alive

    def look(self, key: str) -> Submitted | Claim | None:
        """Give a task that was submitted, or leave to submit it; `None` while another submits."""
        found = self._rows.look(key, alive=self._alive)
        return _task(found.location) if isinstance(found, Held) else found

    @contextlib.contextmanager
    def submitting(self, claim: Claim) -> Iterator[None]:
        """Give a claim up if the block fails."""
        try:
            yield
        except BaseException:
            self._rows.give_up(claim)
            raise

    def submitted(self, claim: Claim, task: Submitted) -> None:
        """Keep a task; from here on it is never paid again."""
        self._rows.finish(claim, _row(task), time.time() + RESULT_SECONDS - _MARGIN)

    def forget(self, key: str, task: Submitted) -> None:
        """Drop a task that failed or is gone."""
        self._rows.forget(key, _row(task))


def _row(task: Submitted) -> str:
    return f"{task.task_id}\n{task.left}" if task.left else task.task_id


def _task(row: str) -> Submitted:
    task_id, _, left = row.partition("\n")
    return Submitted(task_id, left)
