"""Give freed memory back to the system while a long film is worked on. Knows nothing of media.

A decoder and an encoder hold some 80 MB in large blocks and are made anew for every piece of a film. Where the C
library is glibc, what they free stays with the process, in holes that the next piece fills only in part: the longer
the film, the larger the process, by a quarter after an hour. Asking glibc to let go of the holes takes milliseconds.
Other C libraries give large blocks back by themselves.

The heap belongs to the whole process, and trimming walks over all of it and holds its locks. So it happens only where
the process is ours, as that of the command line is, or where a program has called `allow_trimming`.
"""

import ctypes
import functools
import threading
from collections.abc import Callable

_allowed = threading.Event()


def allow_trimming() -> None:
    """Let this package trim the heap of this process from now on. Call it once in a program that owns its process."""
    _allowed.set()


def trim_heap() -> None:
    """Give back what was freed, where that is allowed; does nothing where the C library does not know how."""
    trim = _malloc_trim() if _allowed.is_set() else None
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
