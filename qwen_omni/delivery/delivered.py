"""How one piece of media reaches the service: by a link, or inside the request. Values."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from qwen_omni.media.source import FileVersion
from qwen_omni.redact import redact

Delivery = Literal["auto", "inline", "oss", "temporary"]
"""What a caller may ask for."""

Store = Literal["oss", "temporary"]
Route = Literal["link", "inline", "oss", "temporary"]
"""Which way a piece of media went."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """Where a store keeps a piece of media.

    Attributes:
        location: the object's name in the bucket, or the `oss://` link of the temporary store.
        link_until: when the link to it ends, in seconds since 1970.
        key: under which the upload cache knows it; empty if it does not.
        reused: it was uploaded for an earlier request, so it may be gone by now.
    """

    store: Store
    location: str
    link_until: float
    key: str = ""
    reused: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadProgress:
    """How far an upload has come; given to `Settings.on_upload`."""

    name: str
    sent_bytes: int
    total_bytes: int
    store: Store


@dataclass(frozen=True, slots=True, kw_only=True, repr=False)
class Delivered:
    """Media ready for a request: `url` for a link, else `data` or `path` for media that travels inside.

    Media that was uploaded has all of them: the link, and what is needed to upload it again.

    Attributes:
        media_type: written into the data URI; empty for sound and video, as the service's guide has it.
        content_type: the MIME type of the file, which a store is told.
        format: the container's short name (`wav`, `mp3`), which sound parts must tell.
        size_bytes: of the media itself.
        has_sound: whether a video is heard; `None` where nobody has looked, as with a link.
        version: the state of `path` that was looked at.
        bare: inside the request stands base64 alone, without `data:` before it.
        upload: where it was put, if it was uploaded.
        held: kept alive as long as this is, since a temporary file goes with its owner.
    """

    url: str | None = None
    data: bytes | None = field(default=None, repr=False)
    path: Path | None = None
    media_type: str = ""
    content_type: str = ""
    format: str | None = None
    size_bytes: int = 0
    has_sound: bool | None = None
    version: FileVersion | None = None
    bare: bool = False
    upload: Upload | None = None
    held: object = field(default=None, repr=False, compare=False)

    def __repr__(self) -> str:
        way = f"url {redact(self.url)!r}" if self.url is not None else f"inline {self.size_bytes:,} bytes"
        return f"Delivered({way})"

    @property
    def prefix(self) -> str:
        """What stands before the base64 text in a data URI."""
        return "" if self.bare else f"data:{self.media_type};base64,"

    @property
    def encoded_bytes(self) -> int:
        """The length of the whole data URI; 0 for a link."""
        return 0 if self.url is not None else encoded_size(self.size_bytes) + len(self.prefix)

    @property
    def route(self) -> Route:
        """Which way it goes."""
        if self.upload is not None:
            return self.upload.store
        return "inline" if self.url is None else "link"


def encoded_size(size_bytes: int) -> int:
    """Give the length of `size_bytes` bytes as base64."""
    return 4 * ((size_bytes + 2) // 3)
