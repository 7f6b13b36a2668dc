"""Temporary files, and what this machine lacks when one cannot be written.

All files are in one folder per process, each removed as soon as it is no longer needed.

A file is removed when its owner closes or drops it; the folder when the interpreter ends, also after Ctrl-C and errors.
A process that was killed cannot clean up: its folder is removed by the next process of the same user that creates one.
A folder in use is recognised by the lock that its process holds. A forked child removes nothing of its parent's.
"""

import atexit
import contextlib
import errno
import os
import re
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path

from qwen_omni.errors import RESOURCES, LocalResourceError

try:
    import fcntl
    import resource
except ImportError:  # Windows: folders of killed processes are left to the system
    _LOCKS = False
else:
    _LOCKS = True

_PREFIX = "qwen-omni-"
_LOCK = "lock"
_TRIES = 20  # attempts: another process may consider a new folder abandoned before it is locked
_LIBRARIES = ("av", "PIL")
_RESOURCES = {**RESOURCES, errno.ENOENT: "folder", errno.ENOTDIR: "folder"}
_ALWAYS_OURS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EMFILE, errno.ENFILE, errno.EROFS})
"""Error numbers that damaged bytes never cause. FFmpeg uses the other numbers for them, too."""
_WRONG_CALL = re.compile(
    r"keyword argument|positional argument|required argument|takes (no|exactly|at most|at least)|"
    r"^module .* has no attribute|^type object .* has no attribute"
)


class Scratch:
    """The folder of this process, created for its first file."""

    def __init__(self) -> None:
        self._guard = threading.Lock()
        self._folder: Path | None = None
        self._held: int | None = None
        self._count = 0
        self._process: int | None = None

    def new_path(self, suffix: str) -> Path:
        """Name a new file, e.g. with suffix `.mp4`. Creates only the folder."""
        with self._guard:
            if self._folder is None or self._process != os.getpid() or not self._folder.is_dir():
                self._make()
            self._count += 1
            assert self._folder is not None
            return self._folder / f"{self._count:06d}{suffix}"

    def _make(self) -> None:
        if self._held is not None:
            os.close(self._held)  # of the removed folder, or of the parent's, which the parent keeps locked
            self._held = None
        try:
            _sweep(Path(tempfile.gettempdir()))
            for _ in range(_TRIES):
                folder = Path(tempfile.mkdtemp(prefix=_PREFIX))
                held = _lock(folder / _LOCK)
                if held is not None or not _LOCKS:
                    break
                shutil.rmtree(folder, ignore_errors=True)
            else:
                raise FileExistsError(errno.EAGAIN, "other processes keep removing new folders")
        except OSError as error:
            fault = machine_fault(error, "make a folder for temporary files", writing=True)
            if fault is None:
                raise
            raise fault from error
        self._folder, self._held = folder, held
        self._process = os.getpid()  # a forked child must not use or remove its parent's folder

    def remove(self) -> None:
        """Remove the folder with everything left in it."""
        with self._guard:
            if self._folder is not None and self._process == os.getpid():
                shutil.rmtree(self._folder, ignore_errors=True)
            self._folder = None
            if self._held is not None:
                os.close(self._held)
                self._held = None


def remove_file(path: Path, process: int | None = None) -> None:
    """Remove one temporary file, if it still exists. With `process` given, only in the process with that number."""
    if process in (None, os.getpid()):
        with contextlib.suppress(OSError):
            path.unlink(missing_ok=True)


def _lock(path: Path) -> int | None:
    """Lock a new folder; `None` if another process considered it abandoned before that, and removes it."""
    if not _LOCKS:
        return None
    with contextlib.suppress(FileNotFoundError, BlockingIOError), contextlib.ExitStack() as stack:
        held = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        stack.callback(os.close, held)
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(held).st_nlink:
            stack.pop_all()
            return held
    return None


def _sweep(parent: Path) -> None:
    """Remove folders whose process is gone."""
    if not _LOCKS:
        return
    for folder in parent.glob(f"{_PREFIX}*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or folder.lstat().st_uid != os.getuid():
                continue
            held = os.open(folder / _LOCK, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


# --- What this machine lacks ---


def machine_fault(
    error: BaseException,
    task: str,
    *,
    path: Path | None = None,
    writing: bool = False,
    needed: int | None = None,
) -> LocalResourceError | None:
    """Return the error if this machine or an installed library caused it, or `None` if the media may have.

    Args:
        error: what was raised; what caused it counts, too.
        task: what failed, for the message: "write the prepared file".
        path: the file or folder that was written; the folder for temporary files by default.
        writing: only our own files were touched, so that any failure of the system is the machine's.
        needed: bytes that the file would have taken, if known.
    """
    for cause in causes(error):
        if isinstance(cause, LocalResourceError):
            return cause
        if is_wrong_call(cause):
            return LocalResourceError(_library_text(task, cause), resource="library")
        lacking = _lacking(cause, path, writing=writing)
        if lacking is not None:
            place = path or Path(tempfile.gettempdir())
            text = f"Could not {task}: {_reason(cause)}. {_advice(lacking, place, needed, own=path is not None)}"
            return LocalResourceError(text, resource=lacking, path=str(place))
    return None


def is_wrong_call(error: BaseException) -> bool:
    """Whether a library was called in a way that its installed version does not support, whatever the bytes were."""
    return isinstance(error, ImportError) or (
        isinstance(error, TypeError | AttributeError) and _WRONG_CALL.search(str(error)) is not None
    )


def causes(error: BaseException) -> Iterator[BaseException]:
    """Walk from an error to its causes, explicit or implicit."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _lacking(error: BaseException, path: Path | None, *, writing: bool) -> str | None:
    if isinstance(error, MemoryError) and getattr(error, "errno", None) is None:
        return "memory"  # FFmpeg's own error, which has a number, is also raised for sizes that a damaged file claims
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return "threads"
    number = getattr(error, "errno", None)
    if not isinstance(number, int):
        return None
    named = path is not None and str(getattr(error, "filename", None) or "") == str(path)
    return _RESOURCES.get(number) if number in _ALWAYS_OURS or writing or named else None


def _reason(error: BaseException) -> str:
    return str(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _advice(lacking: str, place: Path, needed: int | None, *, own: bool) -> str:
    """Write the numbers and the next step."""
    if lacking == "disk":
        elsewhere = "choose another place" if own else "set TMPDIR to a folder with more room"
        return f"{_room(place, needed)}. Free some space, or {elsewhere}."
    if lacking == "file size":
        return f"A file of this process may have {_limit('RLIMIT_FSIZE')} bytes at most (ulimit -f). Raise that limit."
    if lacking == "open files":
        return (
            f"This process may have {_limit('RLIMIT_NOFILE')} files open (ulimit -n). Raise that limit, or close "
            "files; fewer workers need fewer."
        )
    if lacking in ("memory", "threads"):
        return "Free some memory, raise the limit of this process (ulimit -a, the container's), or use fewer workers."
    elsewhere = "choose another place" if own else "set TMPDIR to a folder that this user may write to"
    return f"Check {place} and its permissions, or {elsewhere}."


def _room(place: Path, needed: int | None) -> str:
    there = next((one for one in (place, *place.parents) if one.is_dir()), Path("/"))
    try:
        room = shutil.disk_usage(there)
    except OSError:
        return f"{there} has no room"
    free = f"{there} has {room.free:,} of {room.total:,} bytes free"
    if needed is None:
        return free
    missing = f", {needed - room.free:,} more than there are" if needed > room.free else ""
    return f"{free}; about {needed:,} are needed{missing}"


def _limit(name: str) -> str:
    most = resource.getrlimit(getattr(resource, name))[0] if _LOCKS else -1
    return f"{most:,}" if most >= 0 else "a limited number of"


def _library_text(task: str, error: BaseException) -> str:
    versions = ", ".join(f"{name} {_version_of(name)}" for name in _LIBRARIES if name in sys.modules)
    return (
        f"Could not {task}: an installed library does not support a call of qwen-omni ({error}). The media is not the "
        f"cause. Installed: {versions or 'neither av nor pillow'}. Update qwen-omni, or install other versions."
    )


def _version_of(name: str) -> str:
    return str(getattr(sys.modules[name], "__version__", "of no known version"))


scratch = Scratch()
atexit.register(scratch.remove)
