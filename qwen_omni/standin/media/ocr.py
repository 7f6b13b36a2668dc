"""Read text in images, if RapidOCR is installed (`pip install 'qwen-omni[ocr]'`); else nothing is read.

RapidOCR carries its models in its package, so that reading needs no network. It takes half a second per image on one
core: a bounded number of frames, spread over the video, are kept and read, and only if the video has no marks.
"""

from __future__ import annotations

import logging
import threading
from dataclasses import dataclass, field
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.media.facts import ReadText

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

LONGEST_SIDE = 960  # pixels; larger frames are shrunk before they are kept
INSTALL = "pip install 'qwen-omni[ocr]'"
_MOST_FRAMES = 16
_FIRST_EVERY = 1.0  # seconds between two frames; doubled whenever there are too many
_SURE = 0.8
_SHORTEST = 2  # characters
_LOCK = threading.Lock()


@cache
def reader() -> Callable[[NDArray[np.uint8]], tuple[str, ...]] | None:
    """Return the installed reader of RGB images, which returns their lines of text; None if there is none."""
    if not installed():
        return None
    engine_class: Any = import_module("rapidocr").RapidOCR  # optional, and slow to load
    logging.getLogger("RapidOCR").setLevel(logging.CRITICAL)
    threads = "EngineConfig.onnxruntime.intra_op_num_threads"
    engine = engine_class(params={"Global.log_level": "critical", threads: 1})
    return lambda image: _lines(engine(image[:, :, ::-1].copy(), use_cls=False))


def installed() -> bool:
    """Whether text can be read."""
    return find_spec("rapidocr") is not None and find_spec("onnxruntime") is not None


def read_image(image: NDArray[np.uint8]) -> tuple[str, ...]:
    """Return the lines of text in an RGB image; none if no reader is installed."""
    with _LOCK:  # one engine for all requests, which is not safe for threads
        read = reader()
        return read(image) if read else ()


def _lines(found: Any) -> tuple[str, ...]:  # noqa: ANN401 - RapidOCR has no types
    if found.txts is None:
        return ()
    read = zip(found.txts, found.scores, strict=True)
    lines = [" ".join(text.split()) for text, score in read if score >= _SURE]
    return tuple(line for line in lines if len(line) >= _SHORTEST)


@dataclass(slots=True)
class TextLog:
    """Keeps some frames of a video, in chronological order, and reads them at the end."""

    available: bool = field(default_factory=installed)
    _every: float = _FIRST_EVERY
    _frames: list[tuple[float, NDArray[np.uint8]]] = field(default_factory=list)

    def wants(self, time: float) -> bool:
        """Whether the frame at `time` should be added."""
        return self.available and (not self._frames or time - self._frames[-1][0] >= self._every)

    def add(self, image: NDArray[np.uint8], time: float) -> None:
        """Keep a frame; if there are too many, drop every other one."""
        self._frames.append((time, image))
        if len(self._frames) > _MOST_FRAMES:
            self._frames = self._frames[::2]
            self._every *= 2

    def read(self) -> tuple[ReadText, ...]:
        """Return the lines of all kept frames; one in successive frames is one entry."""
        open_lines: dict[str, ReadText] = {}
        done: list[ReadText] = []
        for time, image in self._frames:
            lines = dict.fromkeys(read_image(image))
            done += [open_lines.pop(text) for text in [*open_lines] if text not in lines]
            for text in lines:
                began = open_lines[text].start if text in open_lines else time
                open_lines[text] = ReadText(text=text, start=round(began, 2), end=round(time, 2))
        self._frames.clear()
        return tuple(sorted([*done, *open_lines.values()], key=lambda line: line.start))
