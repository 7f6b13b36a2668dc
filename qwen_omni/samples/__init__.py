"""The sample clip: 20 seconds of video for trying things out, with a description of its content."""

import contextlib
import os
import secrets
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.files.tempfiles import machine_fault

NAME = "sample.mp4"
"""The file name of the copy."""


@dataclass(frozen=True, slots=True)
class Scene:
    """What is seen and heard between two cuts.

    Attributes:
        start: seconds from the start of the clip.
        end: seconds from the start of the clip.
        speech: what is said.
        words: what can be read.
    """

    start: float
    end: float
    speech: str
    words: tuple[str, ...]


SCENES = (
    Scene(0, 6, "Welcome to Harbour Coffee, open every day from seven.", ("Harbour", "Coffee")),
    Scene(6, 13, "Try our latte. Today, a cookie comes with it.", ("Espresso $2.50", "Latte $3.80", "Cocoa $3.20")),
    Scene(13, 20, "Find us next to the old lighthouse.", ("Pier 4", "daily 7:00 to 19:00")),
)
"""The scenes of the clip, in order."""


@dataclass(frozen=True, slots=True)
class Sample:
    """A copy of the clip, with a question that takes both watching and listening to answer.

    Attributes:
        path: the copy.
        question: a question about it.
        answer: the correct answer.
    """

    path: Path
    question: str
    answer: str


def sample(folder: str | os.PathLike[str] = ".") -> Sample:
    """Copy the sample clip to a folder or a file, and return it with a question and the correct answer.

    The clip is an MP4 of 20 seconds, 640x360, with speech, on-screen words and two cuts. A copy that exists is reused.

    Args:
        folder: where the copy goes; created if missing. A name that ends in `.mp4` is that of the copy itself, unless
            there is a folder of that name. Messages may only name files inside `media_root`, which is the current
            folder by default.

    Raises:
        ConfigurationError: another file has that name.
        LocalResourceError: the copy cannot be written.

    Example:
        >>> clip = sample("/tmp/qwen-omni")
        >>> clip.path.name, clip.question
        ('sample.mp4', 'What does a latte cost, and what comes with it?')
    """
    path = Path(folder)
    if path.suffix.lower() != Path(NAME).suffix or path.is_dir():
        path /= NAME
    clip = (files(__name__) / NAME).read_bytes()
    arriving = path.with_name(f".{NAME}-{secrets.token_hex(8)}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists():
            arriving.write_bytes(clip)
            arriving.replace(path)
        elif path.read_bytes() != clip:
            raise ConfigurationError(f"{path} already exists and is not the sample clip; choose another place.")
    except OSError as error:
        fault = machine_fault(error, f"write {path}", path=path, writing=True)
        reason = f"{path.parent} is not a folder" if isinstance(error, FileExistsError) else error.strerror or error
        raise fault or ConfigurationError(f"{path} cannot be written: {reason}. Choose another folder.") from error
    finally:
        with contextlib.suppress(OSError):
            arriving.unlink(missing_ok=True)
    return Sample(
        path, "What does a latte cost, and what comes with it?", "A latte costs $3.80; a cookie comes with it."
    )
