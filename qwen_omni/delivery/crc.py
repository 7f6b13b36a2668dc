"""The CRC-64 of a whole from those of its parts. Pure; `delivery.oss` compares it with what the bucket computed.

`oss2` combines checksums too, but builds the same matrices anew for every part: 8 ms each.
"""

import functools
from collections.abc import Iterable

_POLYNOMIAL = 0xC96C5795D7870F42  # ECMA-182, reflected
_BITS = 64


def combined(parts: Iterable[tuple[int, int]]) -> int:
    """Give the checksum of parts in their order, each told as its checksum and its length in bytes.

    Appending zeros to a text is a linear map of its checksum; equal lengths share one map.
    """
    whole = 0
    for crc, length in parts:
        whole = _times(_zeros(length), whole) ^ crc
    return whole


@functools.lru_cache(maxsize=8)
def _zeros(length: int) -> tuple[int, ...]:
    """Give the map of `length` zero bytes, by repeated squaring."""
    step = (_POLYNOMIAL, *(1 << bit for bit in range(_BITS - 1)))
    result = tuple(1 << bit for bit in range(_BITS))
    left = 8 * length
    while left:
        if left & 1:
            result = tuple(_times(step, column) for column in result)
        step = tuple(_times(step, column) for column in step)
        left >>= 1
    return result


def _times(matrix: tuple[int, ...], vector: int) -> int:
    total = 0
    while vector:
        low = vector & -vector
        total ^= matrix[low.bit_length() - 1]
        vector ^= low
    return total
