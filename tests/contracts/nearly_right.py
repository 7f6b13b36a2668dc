"""The contract of both adapters, and of the core, towards answers that are nearly right.

Each door asks a good stand-in first, and then one that spoils its answers (`Standin.nearly_right`). What comes is the
right value, or an error of ours: never a wrong value, a bare error of Python's, or nothing.
"""

from collections.abc import Awaitable, Callable
from typing import Any

from pydantic import BaseModel

from qwen_omni.errors import CaptionSyntaxError, NoToolCallError, QwenOmniError, TruncatedAnswerError
from qwen_omni.standin import Standin
from qwen_omni.standin.answers.nearly import WAYS, NearlyRight
from qwen_omni.structured.timed import TimedCaptions

SEEDS = range(3)
LOSSLESS = ("draft", "loose", "list content", "other names")
"""Ways that change how an answer is written, not what it says: the value is the right one, or there is an error."""


class Clip(BaseModel):
    """What is seen."""

    title: str
    places: list[str] = []
    seconds: float = 0.0


class Seen(BaseModel):
    """Something that is seen."""

    start: float
    end: float
    text: str


class Log(BaseModel):
    """What is seen, one after the other."""

    summary: str
    seen: list[Seen]


Door = Callable[[], Awaitable[Any]]


async def check_door(door: Door, standin: Standin, way: str) -> None:
    """Ask once well and several times nearly right, in one way; what comes is right, or an error of ours."""
    standin.nearly_right = None
    right = await door()
    for seed in SEEDS:
        standin.nearly_right = spoiling = NearlyRight(seed, (way,))
        try:
            found = await door()
        except QwenOmniError as error:
            check_error(error, way)
            continue
        finally:
            standin.nearly_right = None
        assert type(found) is type(right)
        # A number in a caller's own schema has no unit that could be known; those of timed captions do.
        told = way in LOSSLESS or (way == "other units" and isinstance(right, TimedCaptions))
        if told or set(spoiling.log) == {"whole"}:
            assert found == right, (way, seed)


def check_error(error: QwenOmniError, way: str) -> None:
    """What is told is about the answer; only a cut one may be called cut."""
    assert isinstance(error, CaptionSyntaxError | TruncatedAnswerError | NoToolCallError), error
    if isinstance(error, TruncatedAnswerError):
        assert way == "cut", error
    assert len(str(error)) < 2000


EVERY_WAY = tuple(WAYS)
