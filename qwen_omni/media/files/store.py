"""Media stored on this machine under the digest of its bytes, so that a message can refer to it instead of holding it.

A reference is `sha256:` and 64 hexadecimal digits. It reveals nothing about the media and leads to it only here, for
this user: the folder is private, and knowing a digest means having seen the bytes. Nothing is deleted automatically.
"""

import contextlib
import hashlib
import os
import re
import tempfile
from pathlib import Path

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.tempfiles import machine_fault

PREFIX = "sha256:"
_REFERENCE = re.compile(r"sha256:[0-9a-f]{64}")


def keep(data: bytes, folder: Path) -> str:
    """Store media in a folder, unless the same bytes are already stored there, and return the reference to it.

    Raises:
        LocalResourceError: the folder cannot be written.

    Example:
        reference = keep(Path("promo.mp4").read_bytes(), kept_folder())  # "sha256:…"
        message = HumanMessage([{"type": "video", "file_id": reference}])
    """
    digest = hashlib.sha256(data).hexdigest()
    target = folder / digest
    if not _holds(target, digest):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            _write(data, folder, target)
        except OSError as error:
            raise _unkept(error, folder, len(data)) from error
    return PREFIX + digest


def kept_path(reference: str, folder: Path) -> Path:
    """Return the path of media stored in a folder. Opens nothing; whether it exists shows when it is opened.

    Raises:
        UnreadableMediaError: the text is not such a reference.
    """
    if not _REFERENCE.fullmatch(reference):
        raise UnreadableMediaError(
            f"{reference[:80]!r} is not a reference to stored media; write sha256: and 64 hexadecimal digits."
        )
    return folder / reference.removeprefix(PREFIX)


def _holds(target: Path, digest: str) -> bool:
    """Whether the stored file still has the bytes that its name promises; a file changed in place is replaced."""
    try:
        with target.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest() == digest
    except FileNotFoundError:
        return False


def _unkept(error: OSError, folder: Path, size: int) -> OSError:
    return machine_fault(error, f"store {size:,} bytes", path=folder, writing=True, needed=size) or error


def _write(data: bytes, folder: Path, target: Path) -> None:
    """Write everything or nothing, so that no reader ever sees half of it."""
    descriptor, name = tempfile.mkstemp(dir=folder, prefix=".arriving-")
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
        Path(name).replace(target)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
