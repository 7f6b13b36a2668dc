"""What a piece of media is called everywhere: the SHA-256 of its bytes. Its file's name never leaves the machine."""

import hashlib

from qwen_omni.delivery.delivered import Delivered
from qwen_omni.delivery.inline import read_blocks

_BLOCK = 1_048_576


def digest_of(ready: Delivered) -> str:
    """Give the hexadecimal digest of the media.

    Raises:
        UnreadableMediaError: the file is gone, or changed since it was looked at.
    """
    found = hashlib.sha256()
    for block in read_blocks(ready, _BLOCK):
        found.update(block)
    return found.hexdigest()
