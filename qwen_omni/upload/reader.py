"""Reading local media while they are sent, inside the request or to a store."""

import io
import os
from collections.abc import Iterator
from typing import IO

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import open_plain
from qwen_omni.media.source import FileVersion
from qwen_omni.messages import MediaPayload


def version_of(file: IO[bytes]) -> FileVersion:
    """Return the state of an open file."""
    return FileVersion.of(os.fstat(file.fileno()))


def read_blocks(delivered: MediaPayload, block_bytes: int) -> Iterator[bytes]:
    """Read media that is sent inside the request; every block but the last has `block_bytes` bytes.

    The last block is yielded only if the file is still the inspected one, so a request with other content is never
    complete.

    Raises:
        UnreadableMediaError: the file is gone, was replaced, or changed while it was read.
    """
    with opened(delivered) as file:
        left = delivered.size_bytes
        while left > 0:
            block = file.read(min(block_bytes, left))
            left -= len(block)
            if not block or (left == 0 and not is_unchanged(file, delivered)):
                raise changed(delivered)
            yield block


def opened(delivered: MediaPayload) -> IO[bytes]:
    """Open the media that was inspected.

    Raises:
        UnreadableMediaError: the file is gone, or was replaced.
    """
    if delivered.path is None:
        return io.BytesIO(delivered.data or b"")
    file = open_plain(delivered.path)
    if not is_unchanged(file, delivered):
        file.close()
        raise changed(delivered)
    return file


def is_unchanged(file: IO[bytes], delivered: MediaPayload) -> bool:
    """Whether an open file is still in the state that was inspected."""
    return delivered.path is None or version_of(file) == delivered.version


def changed(delivered: MediaPayload) -> UnreadableMediaError:
    """Return the error for media that changed."""
    return UnreadableMediaError(f"{delivered.path or 'The media'} changed while it was being sent; send it again.")
