"""Files that a command writes: refused beforehand where that can be seen, and one line where writing fails."""

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

from qwen_omni.errors import ConfigurationError


def check_targets(paths: Iterable[Path]) -> None:
    """Refuse files that cannot be written, before anything is paid for. Makes nothing.

    Raises:
        ConfigurationError: a folder has the name of a file, or the place is none to write to.
    """
    for path in paths:
        hindrance = _hindrance(path)
        if hindrance is not None:
            raise ConfigurationError(f"{path} cannot be written: {hindrance}.")


def _hindrance(path: Path) -> str | None:
    """Tell what keeps a file from being written, as far as that can be seen; `os.path` takes any name, `Path` not."""
    if os.path.isdir(path):  # noqa: PTH112
        return "it is a folder"
    there = next(one for one in (path, *path.absolute().parents) if os.path.exists(one))  # noqa: PTH110
    if there != path and not there.is_dir():
        return f"{there} is no folder"
    return None if os.access(there, os.W_OK) else f"{there} may not be written to"


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Make the folder of a file that the `with` block writes.

    Raises:
        ConfigurationError: one of them cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise ConfigurationError(f"{path} cannot be written: {error.strerror or error}.") from error
