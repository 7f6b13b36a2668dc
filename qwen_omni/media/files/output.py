"""Files that are written for the user: checked before anything is paid for, written completely or not at all."""

import contextlib
import errno
import os
import secrets
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError

_ADVICE = {
    "disk": "Free some space, or choose another location.",
    "file size": "Raise this process's limit (ulimit -f), or write smaller files.",
    "open files": "Raise this process's limit (ulimit -n).",
    "memory": "Free some memory.",
}
_TRIED_BYTES = 4096  # a full disk may still accept an empty file


def check_targets(paths: Iterable[Path]) -> None:
    """Reject output files that cannot be written, before anything is paid for. Leaves nothing behind.

    Raises:
        ConfigurationError: the name is too long, or is a folder, or a parent is a file.
        LocalResourceError: the disk is full, or the location is not writable.
    """
    for path in paths:
        try:
            _try_to_write(path)
        except (OSError, ValueError) as error:
            raise _cannot_write(path, error) from error


def _try_to_write(path: Path) -> None:
    """Try to write where `path` is or will be, changing nothing; `os.path` accepts any name, `Path` does not."""
    try:
        there = path.stat()
    except FileNotFoundError:
        folder = next(one for one in path.absolute().parents if os.path.exists(one))  # noqa: PTH110
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from None
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
        reason = f"{folder} is not a folder"
    problem = f"{path} cannot be written: {reason}."
    resource = RESOURCES.get(number or 0)
    if resource is None:
        return ConfigurationError(f"{problem} Choose another location.")
    advice = _ADVICE.get(resource, "Choose a location that you can write to.")
    return LocalResourceError(f"{problem} {advice}", resource=resource, path=str(path))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which is moved to `path` when the block ends without an error.

    Raises:
        ConfigurationError: the name cannot be that of a file.
        LocalResourceError: the disk is full, or the location is not writable; an existing file is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            yield path
            return
        mode = _usual_mode(path)
        arriving = path.parent / f".qwen-omni-{secrets.token_hex(8)}"
        try:
            yield arriving
            arriving.chmod(mode)
            arriving.replace(path.resolve())
        finally:
            arriving.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, QwenOmniError):
            raise
        raise _cannot_write(path, error) from error


def _usual_mode(path: Path) -> int:
    """Return the permissions of a file, or those that a new one would have; rejects a name that no file can have."""
    made = not path.exists()
    with path.open("ab"):
        mode = stat.S_IMODE(path.stat().st_mode)
    if made:
        path.resolve().unlink()
    return mode


def write_file(path: Path, text: str) -> None:
    """Write a text to a file, as `writing` does."""
    with writing(path) as file:
        file.write_text(text, encoding="utf-8")


def named_after(media: Iterable[str], folder: Path | None, endings: Sequence[str]) -> dict[str, dict[str, Path]]:
    """Choose the files about each medium, by ending: its name in `folder`, or beside it, with another suffix.

    Raises:
        ConfigurationError: two files would get the same name.
    """
    chosen: dict[str, dict[str, Path]] = {}
    taken: dict[Path, str] = {}
    for item in dict.fromkeys(media):
        own = Path(item.partition("?")[0])
        place = own.parent if folder is None else folder
        chosen[item] = {ending: place / f"{own.stem}.{ending}" for ending in endings}
        for path in chosen[item].values():
            other = taken.setdefault(path, item)
            if other != item:
                raise ConfigurationError(f"{other} and {item} would both become {path}; run them separately.")
    return chosen
