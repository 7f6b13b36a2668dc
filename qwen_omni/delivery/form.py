"""A multipart form as a stream of bytes of known length: fields first, the file last, read from where it lies."""

import secrets
from collections.abc import Callable, Iterator, Mapping

from qwen_omni.delivery.inline import read_blocks
from qwen_omni.messages import Delivered

_BLOCK = 262_144


class FormBody:
    """The body of one form. It can be read again, and never becomes whole if the file changed meanwhile."""

    def __init__(
        self, fields: Mapping[str, str], ready: Delivered, file_name: str, sent: Callable[[int], None]
    ) -> None:
        mark = secrets.token_hex(16)
        parts = [_field(mark, name, value) for name, value in fields.items()]
        kind = ready.content_type or "application/octet-stream"
        parts.append(
            f'--{mark}\r\nContent-Disposition: form-data; name="file"; filename="{file_name}"\r\n'
            f"Content-Type: {kind}\r\n\r\n"
        )
        self._head = "".join(parts).encode()
        self._tail = f"\r\n--{mark}--\r\n".encode()
        self._ready, self._sent = ready, sent
        self.content_type = f"multipart/form-data; boundary={mark}"

    @property
    def length(self) -> int:
        """How many bytes the form has."""
        return len(self._head) + self._ready.size_bytes + len(self._tail)

    def __iter__(self) -> Iterator[bytes]:
        yield self._head
        done = 0
        for block in read_blocks(self._ready, _BLOCK):
            yield block
            done += len(block)
            self._sent(done)
        yield self._tail


def _field(mark: str, name: str, value: str) -> str:
    return f'--{mark}\r\nContent-Disposition: form-data; name="{name}"\r\n\r\n{value}\r\n'
