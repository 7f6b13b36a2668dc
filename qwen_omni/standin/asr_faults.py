"""What can go wrong with transcription tasks, and the log of their requests. Values only; `asr` carries them out."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Operation = Literal["submit", "poll", "result"]


@dataclass(slots=True, kw_only=True)
class HttpFault:
    """A request that is answered badly; status 0 cuts the connection, `after` does so when the work is done."""

    operation: Operation
    status: int = 500
    code: str = "InternalError"
    message: str = "An internal error has occured, please try again later."
    after: bool = False
    times: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """How the next task ends.

    `subtask` fails inside a task that says SUCCEEDED; `task` fails whole; `lost` is not known any more; `odd` is in
    a state that no document names. `polls` more looks find it at work.
    """

    kind: Literal["good", "subtask", "task", "lost", "odd"] = "good"
    code: str = "InvalidFile.DecodeFailed"
    message: str = ""
    polls: int = 0

    @property
    def status(self) -> str:
        """The word for a task that is lost or odd."""
        return "UNKNOWN" if self.kind == "lost" else "RESTING"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggedTaskCall:
    """One request as it arrived and how it was answered; `status` 0 means that the connection was cut."""

    operation: str
    path: str
    model: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    links: tuple[str, ...] = ()
    with_key: bool
    status: int
