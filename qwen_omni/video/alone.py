"""A step that belongs to no machine: the last answer to a question, a transcript. Done once, and kept like the others.

Blocks; asynchronous callers use threads.
"""

import uuid
from pathlib import Path
from typing import Self

from qwen_omni.options import ChatRequest
from qwen_omni.responses import Response, Usage
from qwen_omni.video.checkpoint import Checkpoint


class LoneStep:
    """One step in a checkpoint: wait until it is `ready`; if it has no `answer` then, do it and `finish` it.

    Attributes:
        answer: what came of it, if it is known.
        paid: model and usage of what was asked for it just now.

    Example:
        >>> with LoneStep(None, "last") as step:
        ...     step.ready(), step.answer
        ...     step.finish("{}")
        (True, None)
    """

    def __init__(self, path: Path | None, name: str) -> None:
        """Open the checkpoint; `None` keeps nothing. Raises `ConfigurationError` where it cannot be used."""
        self._checkpoint = Checkpoint(path)
        self._name = name
        self.answer: str | None = None
        self.paid: list[tuple[str, Usage]] = []

    def ready(self) -> bool:
        """Find out whether it is done, or ours to do now; `False` while another process works on it."""
        if self._checkpoint.claim(self._name) == "taken":
            return False
        self.answer = self._checkpoint.find(self._name)
        return True

    def finish(self, answer: str) -> None:
        """Keep what came of it; when this returns, it is on the disk."""
        self._checkpoint.finish(self._name, answer)
        self.answer = answer

    def pay(self, request: ChatRequest, response: Response) -> None:
        """Keep what an answer used."""
        if response.usage is not None:
            self.paid.append((request.model, response.usage))
            self._checkpoint.pay(f"{response.id or ''}:{uuid.uuid4().hex}", request.model, response.usage)

    def close(self) -> None:
        """Give it back if it is not finished, and close the checkpoint."""
        self._checkpoint.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
