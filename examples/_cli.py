"""Shared by all examples: `[FILE ...] [--offline]` on the command line, generated media, and the stand-in.

With `--offline` the program talks to a stand-in that runs for as long as it does. Missing files are generated: each
second shows and plays its own code, so an answer can be checked by eye.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from qwen_omni.standin.marked_media import make_audio, make_image, make_video
from qwen_omni.standin.server.server import Standin

if TYPE_CHECKING:
    from collections.abc import Iterator

Kind = Literal["image", "audio", "video", "film", "folder"]  # "film" is a longer video; "folder" has several videos

_NOTE = "Using the stand-in, a local service that decodes the media it receives. It is not Qwen."


@contextlib.contextmanager
def start(about: str | None, *kinds: Kind, bucket: bool = False) -> Iterator[tuple[Path, ...]]:
    """Parse the command line, and yield one file for each of `kinds` while the block runs.

    Args:
        about: the program's docstring; its first line is the help.
        kinds: the kind of each file; files from the command line are used in order, the rest are generated.
        bucket: with `--offline`, also set the variables of the stand-in's bucket.

    Example:
        with start(__doc__, "video") as (video,):
            describe(video)
    """
    parser = argparse.ArgumentParser(description=(about or "").partition("\n")[0])
    parser.add_argument("files", nargs="*", metavar="FILE", type=Path, help=f"{', '.join(kinds)}; default: generated")
    parser.add_argument("--offline", action="store_true", help="use the stand-in: no key, no network")
    arguments = parser.parse_args()
    if len(arguments.files) > len(kinds):
        parser.error(f"expected at most {len(kinds)} files, got {len(arguments.files)}")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        made = (_made(kind, folder / f"{number}-{kind}") for number, kind in enumerate(kinds[len(arguments.files) :]))
        files = (*arguments.files, *made)
        if arguments.offline:
            sys.stderr.write(f"{_NOTE}\n")
            stack.enter_context(Standin().environment(bucket=bucket))
        yield files


def _made(kind: Kind, path: Path) -> Path:
    match kind:
        case "image":
            path = path.with_suffix(".png")
            path.write_bytes(make_image("4711"))
            return path
        case "audio":
            return make_audio(path.with_suffix(".wav"), seconds=4).path
        case "video":
            return make_video(path.with_suffix(".mp4"), seconds=4).path
        case "film":
            return make_video(path.with_suffix(".mp4"), seconds=36, size=(160, 90), fps=5).path
        case "folder":
            path.mkdir()
            for name, first in (("door", 3810), ("garden", 4710), ("street", 5610)):
                codes = [str(first + second) for second in range(4)]
                make_video(path / f"{name}.mp4", codes=codes, size=(320, 180))
            return path
