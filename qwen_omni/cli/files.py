"""Files that a command writes: tried before anything is paid for, and written whole or not at all."""

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError

_ADVICE = {
    "disk": "Make room, or choose another place.",
    "file size": "Raise this process's limit (ulimit -f), or write less at once.",
    "open files": "Raise this process's limit (ulimit -n).",
    "memory": "Free some memory.",
}
_TRIED_BYTES = 4096  # a full disk may still take an empty file


def check_targets(paths: Iterable[Path]) -> None:
    """Refuse files that cannot be written, before anything is paid for. Leaves nothing behind.

    Raises:
        ConfigurationError: the name is too long or that of a folder, or a folder has the name of a file.
        LocalResourceError: the disk is full, or the place may not be written to.
    """
    for path in paths:
        try:
            _try_to_write(path)
        except (OSError, ValueError) as error:
            raise _cannot_write(path, error) from error


def _try_to_write(path: Path) -> None:
    """Write nothing where `path` is or will be; `os.path` takes any name, `Path` not."""
    try:
        there = path.stat()
    except FileNotFoundError:
        folder = next(one for one in path.absolute().parents if os.path.exists(one))  # noqa: PTH110
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is no folder") from None
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
        return
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if stat.S_ISREG(there.st_mode):
        with path.open("ab"):
            pass


def _cannot_write(path: Path, error: Exception) -> QwenOmniError:
    number = error.errno if isinstance(error, OSError) else None
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, NotADirectoryError) and not reason.endswith("no folder"):
        folder = next((one for one in path.absolute().parents if os.path.exists(one) and not one.is_dir()), path)  # noqa: PTH110
        reason = f"{folder} is no folder"
    told = f"{path} cannot be written: {reason}."
    resource = RESOURCES.get(number or 0)
    if resource is None:
        return ConfigurationError(f"{told} Name another place with --out or --to.")
    advice = _ADVICE.get(resource, "Choose a place that you may write to.")
    return LocalResourceError(f"{told} {advice}", resource=resource, path=str(path))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Give the `with` block a file to write, which takes its place at `path` when the block ends without an error.

    Raises:
        ConfigurationError: the name cannot be one of a file.
        LocalResourceError: the disk is full, or the place may not be written to; what was there before is untouched.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe or a device has no place to take
            yield path
            return
        made = not path.exists()
        with path.open("ab"):  # refuses a name that cannot be one, and gives a new file the usual permissions
            pass
        arriving = path.parent / f".qwen-omni-{secrets.token_hex(8)}"
        try:
            yield arriving
            arriving.chmod(stat.S_IMODE(path.stat().st_mode))
            arriving.replace(path.resolve())
            made = False
        finally:
            arriving.unlink(missing_ok=True)
            if made:
                path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, QwenOmniError):
            raise
        raise _cannot_write(path, error) from error
