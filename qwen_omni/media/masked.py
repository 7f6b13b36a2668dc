"""A file as FFmpeg is to see it: some boxes of an MP4 are passed over, and perhaps there is one more.

Only the bytes that are read are changed, on their way; the file is never written to.
"""

import io
from collections.abc import Sequence
from typing import IO

_FREE = b"free"  # the kind of a box that holds nothing


class MaskedFile:
    """A file of which some boxes are hidden, and with other bytes behind its end.

    Args:
        file: open for reading; positions of it are ours.
        size_bytes: its size.
        hidden: where in it boxes tell their kind that shall be passed over.
        behind: what shall follow its last byte.
    """

    def __init__(self, file: IO[bytes], size_bytes: int, hidden: Sequence[int], behind: bytes = b"") -> None:
        self._file, self._size, self._hidden, self._behind = file, size_bytes, hidden, behind
        self._at = 0

    def read(self, size: int) -> bytes:
        """Give up to `size` bytes; fewer at a border."""
        if self._at >= self._size:
            block = self._behind[self._at - self._size :][:size]
        else:
            self._file.seek(self._at)
            block = hide_boxes(self._file.read(min(size, self._size - self._at)), self._at, self._hidden)
        self._at += len(block)
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a place and tell it."""
        if whence not in (io.SEEK_SET, io.SEEK_CUR, io.SEEK_END):
            raise ValueError(f"cannot seek from {whence}")
        base = (0, self._at, self._size + len(self._behind))[whence]
        self._at = max(0, base + offset)
        return self._at

    def tell(self) -> int:
        """Tell the place."""
        return self._at


def hide_boxes(block: bytes, at: int, kinds: Sequence[int]) -> bytes:
    """Give a block of a file with some boxes called `free`, which everybody passes over.

    Args:
        block: bytes of the file.
        at: where in the file they begin.
        kinds: where in the file the boxes tell their kind; a place may lie anywhere, or partly in the block.
    """
    for place in kinds:
        begin, end = max(place, at), min(place + len(_FREE), at + len(block))
        if begin < end:
            block = block[: begin - at] + _FREE[begin - place : end - place] + block[end - at :]
    return block
