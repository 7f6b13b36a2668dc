"""How both adapters, and the core, must handle answers that are nearly right.

Each entry point first asks a good stand-in, and then one that corrupts its answers (`Standin.nearly_right`). The result
is the right value, or an error of this package: never a wrong value, a built-in Python exception, or nothing.
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
"""Ways that change the form of an answer, not its content: the value is right, or there is an error."""


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
    """Ask once well and several times nearly right, in one way; each result is right, or an error of this package."""
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
        # The unit of a number in a caller's own schema is unknown; those of timed captions are known.
        preserved = way in LOSSLESS or (way == "other units" and isinstance(right, TimedCaptions))
        if preserved or set(spoiling.log) == {"whole"}:
            assert found == right, (way, seed)


def check_error(error: QwenOmniError, way: str) -> None:
    """Check that the error is about the answer; only a truncated one may be called truncated."""
    assert isinstance(error, CaptionSyntaxError | TruncatedAnswerError | NoToolCallError), error
    if isinstance(error, TruncatedAnswerError):
        assert way == "cut", error
    assert len(str(error)) < 2000


EVERY_WAY = tuple(WAYS)
