"""`qwen-omni sample`: puts the sample clip in a folder, to try the other commands with."""

from pathlib import Path
from typing import Annotated

import typer

from qwen_omni.cli.output import show_note, write_text
from qwen_omni.samples import sample as copy_sample


def sample(
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="Folder for the clip; created if missing.")] = Path(),
) -> None:
    """Write a clip of 20 seconds to try everything with; print a question about it and the true answer."""
    clip = copy_sample(folder)
    write_text(f"{clip.path}\n")
    show_note(f"Question: {clip.question}\nTrue answer: {clip.answer}")
