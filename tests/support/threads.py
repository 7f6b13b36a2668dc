"""Work in several threads at once."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

Result = TypeVar("Result")


def in_threads(*work: Callable[[], Result]) -> list[Result]:
    """Call functions in a thread each; return what they return, in their order, or raise the first error."""
    with ThreadPoolExecutor(len(work)) as pool:
        return [one.result() for one in [pool.submit(each) for each in work]]
