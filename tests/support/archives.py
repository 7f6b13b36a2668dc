"""A step that answers from what a file holds, and counts what it is asked. No service is involved."""

import threading
import time
from collections import Counter
from pathlib import Path

from qwen_omni import errors
from qwen_omni.archive import StepResult
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings

SETTINGS = Settings.load(api_key="sk-none", private_links=True, retry_wait=0.0)


class Asking:
    """A `Step`. A file that begins with the name of an error makes it; `wait` holds every call until it is set.

    Attributes:
        asked: calls by content.
        cost: tokens of each call; those of failures are billed as well.
        most: the most calls at once.
        on_call: called at the beginning of each call.
    """

    name, model = "ask", "qwen3.8-omni-flash"

    def __init__(self, digest="d1", *, wait=None, during=None):
        self.digest = digest
        self.asked = Counter()
        self.most = 0
        self.tokens = 1_000
        self.answers = ""
        self.on_call = lambda: None
        self._wait, self._during = wait, during
        self._now, self._lock = 0, threading.Lock()

    def run(self, source, task):
        """Answer from what a file holds."""
        with task.slot():
            with self._lock:
                text = Path(source.path).read_text()
                self.asked[text] += 1
                self._now += 1
                self.most = max(self.most, self._now)
                self.on_call()
            try:
                if self._wait is not None:
                    assert self._wait.wait(20)
                if self._during is not None:
                    self._during(source, task)
                task.client.settings.ledger.record(Usage(input_tokens=self.tokens, output_tokens=10), model=self.model)
                return self._answer(text)
            finally:
                with self._lock:
                    self._now -= 1

    def _answer(self, text):
        kind, _, _ = text.partition(" ")
        if kind.endswith("Error"):
            raise error_of(kind)
        return StepResult(value={"said": text + self.answers})

    @property
    def calls(self):
        """How often it was asked."""
        return sum(self.asked.values())


def error_of(kind):
    """An error of this package, or any other."""
    if kind == "SpendLimitError":
        return errors.SpendLimitError("Too much.", unit="CNY", estimated=2, limit=1, spent=0.5)
    if kind == "LocalResourceError":
        return errors.LocalResourceError("The disk is full.", resource="disk")
    return getattr(errors, kind)(f"It is {kind}.") if hasattr(errors, kind) else ValueError(f"It is {kind}.")


def files(folder, *contents):
    """Write files with these contents, named by number, that are old enough for their times to count."""
    folder.mkdir(exist_ok=True)
    made = [folder / f"{number:03}.mp4" for number in range(len(contents))]
    for path, content in zip(made, contents, strict=True):
        path.write_text(content)
    until = max(path.stat().st_ctime for path in made) + 0.06
    time.sleep(max(0.0, until - time.time()))
    return made
