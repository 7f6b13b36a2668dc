"""How one piece of media reaches the service: by a link, or inside the request. A value."""

from dataclasses import dataclass, field
from pathlib import Path

from qwen_omni.redact import redact


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """Which state of a file was looked at, so that another one is never sent in its place."""

    device: int
    inode: int
    size: int
    modified_ns: int


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Delivered:
    """Media ready for a request: `url` for a link, else `data` or `path` for media that travels inside.

    Attributes:
        media_type: written into the data URI; empty for sound and video, as the service's guide has it.
        format: the container's short name (`wav`, `mp3`), which sound parts must tell.
        size_bytes: of the media itself.
        version: the state of `path` that was looked at.
        held: kept alive as long as this is, since a temporary file goes with its owner.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    media_type: str = ""
    format: str | None = None
    size_bytes: int = 0
    version: FileVersion | None = None
    held: object = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        way = f"url {redact(self.url)!r}" if self.url is not None else f"inline {self.size_bytes:,} bytes"
        return f"Delivered({way})"

    @property
    def prefix(self) -> str:
        """What stands before the base64 text in a data URI."""
        return f"data:{self.media_type};base64,"

    @property
    def encoded_bytes(self) -> int:
        """The length of the whole data URI; 0 for a link."""
        return 0 if self.url is not None else encoded_size(self.size_bytes) + len(self.prefix)


def encoded_size(size_bytes: int) -> int:
    """Give the length of `size_bytes` bytes as base64."""
    return 4 * ((size_bytes + 2) // 3)
