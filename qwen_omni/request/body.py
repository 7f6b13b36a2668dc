"""A request body as a stream of bytes of known length; media are encoded piece by piece while it is sent.

A 7 MB video as one JSON string takes five times its size in memory. Here the JSON around the media is a
template of a few bytes and the media is read from disk as it is sent. A body can be read again for a retry.
"""

import base64
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.messages import MediaPayload, encoded_size
from qwen_omni.upload.reader import read_blocks

_BLOCK = 3 * 65_536  # a multiple of three, so that base64 of blocks is base64 of the whole


class RequestBody:
    """The JSON of one request. Iterate over it for its bytes; `length` is their number.

    Example:
        >>> body = RequestBody({"a": MediaPayload(data=b"abc", size_bytes=3)})
        >>> b"".join(body), body.length
        (b'{"a":"data:;base64,YWJj"}', 25)
    """

    def __init__(self, fields: dict[str, Any]) -> None:
        # A random marker for every body: user text can never be mistaken for it.
        mark = secrets.token_hex(16)
        media: list[MediaPayload] = []

        def place(value: object) -> str:
            if not isinstance(value, MediaPayload):
                raise TypeError(f"{type(value).__name__} cannot be written as JSON")
            if value.url is not None:
                return value.url
            media.append(value)
            return f"{value.prefix}{mark}"

        self._around = _encode(fields, place).split(mark.encode())
        self._media = media
        self.length = sum(map(len, self._around)) + sum(encoded_size(item.size_bytes) for item in media)

    def __iter__(self) -> Iterator[bytes]:
        yield self._around[0]
        for item, after in zip(self._media, self._around[1:], strict=True):
            for block in read_blocks(item, _BLOCK):
                yield base64.b64encode(block)
            yield after

    def __repr__(self) -> str:
        return f"RequestBody({self.length:,} bytes, {len(self._media)} inline media)"


def _encode(fields: dict[str, Any], place: Callable[[object], str]) -> bytes:
    try:
        text = json.dumps(fields, default=place, ensure_ascii=False, separators=(",", ":"), allow_nan=False)
    except ValueError as error:
        raise ConfigurationError(f"The request cannot be written as JSON: {error}. Use finite numbers.") from None
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        surrogate = f"U+{ord(text[error.start]):04X}"
        raise UnsupportedContentError(
            f"A text holds a lone surrogate ({surrogate}), which JSON in UTF-8 cannot represent; it was cut "
            "inside a character or decoded with errors='surrogateescape'. Decode it again with errors='replace'."
        ) from None
