"""`qwen-omni sample`: writes the sample clip, a file to try the other commands on."""

from pathlib import Path
from typing import Annotated

import typer

from qwen_omni.cli.output import show_note, write_text
from qwen_omni.samples import sample as copy_sample


def sample(
    place: Annotated[
        Path, typer.Argument(metavar="PLACE", help="Folder for the clip, created if missing; or a name ending in .mp4.")
    ] = Path(),
) -> None:
    """Write a 20-second clip to try the other commands on; print a question about it and the correct answer."""
    clip = copy_sample(place)
    write_text(f"{clip.path}\n")
    show_note(f"Question: {clip.question}\nCorrect answer: {clip.answer}")
