"""Media that was made to fit, and how it was made. A value that owns its temporary file."""

import os
import weakref
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Self

from qwen_omni.media.files.tempfiles import remove_file
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.images import Piece
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.plan.segments import Segment


@dataclass(frozen=True, slots=True, kw_only=True)
class Still:
    """One JPEG image made from a source.

    Attributes:
        time: the second of the source that it shows, in a frame list.
        data: the JPEG.
        piece: which part of which page of an image it shows; `None` in a frame list.
    """

    time: Fraction
    data: bytes = field(repr=False)
    piece: Piece | None = None


@dataclass(frozen=True, slots=True, kw_only=True, weakref_slot=True, eq=False)
class Prepared:
    """One piece of media, ready to be delivered.

    It owns its file: a temporary one is removed by `close`, at the end of a `with` block, or when the last reference
    to this value is dropped. Keep the value alive as long as `path` is used; `prepare(...).path` alone names a file
    that is already removed. The caller's own file is never touched; a forked child or a copy elsewhere removes nothing.

    Attributes:
        path: its path, if it is a file.
        data: the bytes, if it is in memory.
        stills: the JPEG images, if it is a frame list, or an image that became several images.
        info: its facts now.
        source_info: the facts of its source.
        plan: what was done and why.
        segment: which slice of the source it is, after `split`.
        temporary: whether the file is ours to remove.

    Example:
        with prepare("clip.mov", budget="static") as prepared:
            print(prepared.plan.reason, prepared.info.size_bytes)
    """

    info: MediaInfo
    source_info: MediaInfo
    plan: MediaPlan
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    stills: tuple[Still, ...] = field(default=(), repr=False)
    segment: Segment | None = None
    temporary: bool = False
    _process: int = field(default_factory=os.getpid, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.temporary and self.path is not None:
            weakref.finalize(self, remove_file, self.path, self._process)

    @property
    def start(self) -> Fraction:
        """Where it begins in the source, in seconds."""
        return self.plan.start

    @property
    def end(self) -> Fraction | None:
        """Where it ends in the source, in seconds; `None` if unknown."""
        return self.plan.end

    @property
    def images(self) -> "tuple[Prepared, ...]":
        """The images that an image is sent as, in order: itself, or its tiles or pages; empty for other media."""
        if self.info.kind != "image":
            return ()
        if not self.stills:
            return (self,)
        return tuple(
            replace(
                self,
                info=replace(
                    self.info, width=still.piece.size[0], height=still.piece.size[1], size_bytes=len(still.data)
                ),
                plan=replace(self.plan, pieces=(still.piece,)),
                data=still.data,
                stills=(),
            )
            for still in self.stills
            if still.piece is not None
        )

    def read(self) -> bytes:
        """Return its bytes; a frame list, or an image that became several images, has none (see `images`)."""
        if self.data is not None:
            return self.data
        return b"" if self.path is None else self.path.read_bytes()

    def close(self) -> None:
        """Remove the temporary file, if there is one."""
        if self.temporary and self.path is not None:
            remove_file(self.path, self._process)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
