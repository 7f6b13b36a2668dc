"""Give freed memory back to the system while a long film is worked on. Knows nothing of media.

A decoder and an encoder hold some 80 MB in large blocks and are made anew for every piece of a film. Where the C
library is glibc, what they free stays with the process, in holes that the next piece fills only in part: the longer
the film, the larger the process, by a quarter after an hour. Asking glibc to let go of the holes takes milliseconds.
Other C libraries give large blocks back by themselves.
"""

import ctypes
import functools
from collections.abc import Callable


def trim_heap() -> None:
    """Give back what was freed; does nothing where the C library does not know how."""
    trim = _malloc_trim()
    if trim is not None:
        trim(0)


@functools.cache
def _malloc_trim() -> Callable[[int], int] | None:
    try:
        trim = ctypes.CDLL(None).malloc_trim  # malloc_trim(3): glibc only
    except (AttributeError, OSError, TypeError):  # another C library; Windows has no library without a name
        return None
    trim.argtypes, trim.restype = [ctypes.c_size_t], ctypes.c_int
    found: Callable[[int], int] = trim
    return found
