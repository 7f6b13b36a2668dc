"""Inputs on other machines: objects of OSS (`oss2`), whatever fsspec opens (`s3://`, `gs://`, …), and links.

Each is fetched once, into a temporary file that exists inside a `with` block, while its digest is computed.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from qwen_omni.archive.rows import InputError, Problem, error_text
from qwen_omni.errors import ConfigurationError, DeliveryError, QwenOmniError, UnsupportedMediaError
from qwen_omni.media.files.find import is_pattern
from qwen_omni.media.files.tempfiles import machine_fault, remove_file, scratch
from qwen_omni.media.work import Deadline, StoppedError
from qwen_omni.redact import redact
from qwen_omni.settings import OssSettings, Settings
from qwen_omni.transport.downloads import downloaded, is_link
from qwen_omni.transport.retry import RetryPolicy

if TYPE_CHECKING:
    from qwen_omni.upload.oss import OssStore

_BLOCK = 4 << 20
_LONGEST_SUFFIX = 8
_VERSIONS = ("ETag", "etag", "version_id", "md5", "checksum", "content_md5", "CRC")
_UNLISTED = "qwen_omni: unlisted"  # added to what fsspec knows of a folder: why it cannot be listed
_TIMES = ("LastModified", "last_modified", "updated", "mtime", "modified", "created")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteFile:
    """A file on another machine.

    Attributes:
        uri: its address.
        path: its name in its bucket or file system.
        version: changes whenever the content does; empty if not known.
        size: bytes, if known.
        listed: whether it was found in a folder, not named itself.
        unlisted: why it could not be listed; only of a folder.
    """

    uri: str
    path: str
    version: str = ""
    size: int | None = None
    listed: bool = True
    unlisted: str = ""


def is_remote(name: str) -> bool:
    """Whether a name is the address of a bucket or a remote file system, not of a link or a local file.

    Example:
        >>> is_remote("oss://bucket/videos"), is_remote("https://host/a.mp4"), is_remote("videos")
        (True, False, False)
    """
    return "://" in name and not name.lower().startswith(("http://", "https://", "file://"))


def remote_items(name: str, settings: Settings | None) -> Iterator[RemoteFile]:
    """Yield the files that an address names: itself, or those below it.

    Raises:
        ConfigurationError: a package is not installed, or there are no settings of the bucket.
        DeliveryError: it cannot be listed.
    """
    if name.lower().startswith("oss://"):
        bucket, prefix = split_oss(name)
        for key, tag, size in oss_store(bucket, settings).objects(prefix):
            if not key.endswith("/"):
                yield RemoteFile(uri=f"oss://{bucket}/{key}", path=key, version=tag, size=size, listed=key != prefix)
        return
    files, path = _file_system(name)
    try:
        yield from _below(files, path, name)
    except QwenOmniError:
        raise
    except Exception as error:  # each package has errors of its own
        fault = machine_fault(error, f"list {redact(name)}")
        raise fault or DeliveryError(f"{redact(name)} cannot be listed: {error_text(error)}") from error


def _below(files: Any, path: str, name: str) -> Iterator[RemoteFile]:  # noqa: ANN401  (fsspec has no types)
    if is_pattern(path):
        for info in files.glob(path, detail=True).values():
            if info.get("type") != "directory":
                yield _file_of(files, info, name, listed=False)
    elif files.isfile(path):
        yield _file_of(files, files.info(path), name, listed=False)
    else:
        if not files.isdir(path):
            raise DeliveryError(f"{redact(name)} does not exist.")
        for info in _walked(files, path):
            yield _file_of(files, info, name, listed=_UNLISTED not in info)


def _walked(files: Any, top: str) -> Iterator[Mapping[str, Any]]:  # noqa: ANN401  (fsspec)
    """Yield what is below a folder, and why folders cannot be listed; the `walk` of fsspec silently omits those."""
    waiting = [top]
    while waiting:
        here, below = waiting.pop(), []
        try:
            entries = files.ls(here, detail=True)
        except PermissionError as error:
            if here == top:
                raise
            yield {"name": here, _UNLISTED: error_text(error)}
            continue
        except FileNotFoundError:  # it is gone by now
            continue
        for info in entries:
            if info["name"].rstrip("/") == here.rstrip("/"):
                continue  # the folder itself, which a bucket may hold as an empty object
            if info.get("type") == "directory":
                below.append(info["name"])
            else:
                yield info
        waiting += sorted(below, reverse=True)


def _file_of(files: Any, info: Mapping[str, Any], name: str, *, listed: bool) -> RemoteFile:  # noqa: ANN401  (fsspec)
    tag = next((str(info[name]).strip('"') for name in _VERSIONS if info.get(name)), "")
    when = next((str(info[name]) for name in _TIMES if info.get(name)), "")
    size = info.get("size")
    known = size if isinstance(size, int) else None
    version = tag or (f"{when} {known}" if when else "")
    around = [link if "://" in link else str(Path(link).absolute()) for link in _links(name)[1:]]
    uri = "::".join([files.unstrip_protocol(info["name"]), *around])
    return RemoteFile(
        uri=uri, path=info["name"], version=version, size=known, listed=listed, unlisted=info.get(_UNLISTED, "")
    )  # fmt: skip


def _links(name: str) -> list[str]:
    """Return the address of a file, and of the archives that it is in, without layers that cache.

    Example:
        >>> _links("zip://videos::s3://bucket/a.zip"), _links("simplecache::s3://bucket/videos")
        (['zip://videos', 's3://bucket/a.zip'], ['s3://bucket/videos'])
    """
    if name.lower().startswith("oss://"):
        return [name]
    links = name.split("::")
    return links[next((at for at, link in enumerate(links) if "://" in link), 0) :]


def _file_system(name: str) -> tuple[Any, str]:
    try:
        from fsspec.core import url_to_fs  # noqa: PLC0415  (an extra)
    except ImportError:
        raise ConfigurationError(
            f"{redact(name)} needs fsspec: pip install 'qwen-omni[fsspec]', and the package of that file system, such "
            "as s3fs or gcsfs."
        ) from None
    try:
        files, path = url_to_fs(name)
    except ImportError as error:
        raise ConfigurationError(f"{redact(name)} needs another package: {error_text(error)}") from error
    except ValueError as error:
        raise UnsupportedMediaError(f"{redact(name)} cannot be opened: {error_text(error)}") from error
    except Exception as error:  # some connect at once, or open an archive
        fault = machine_fault(error, f"open {redact(name)}")
        raise fault or DeliveryError(f"{redact(name)} cannot be reached: {error_text(error)}") from error
    return files, str(path)


def split_oss(uri: str) -> tuple[str, str]:
    """Return bucket and object of an address.

    Example:
        >>> split_oss("oss://bucket/videos/a.mp4")
        ('bucket', 'videos/a.mp4')

    Raises:
        ConfigurationError: it names no bucket.
    """
    bucket, _, key = uri.partition("://")[2].partition("/")
    if not bucket:
        raise ConfigurationError(f"{redact(uri)} names no bucket; write oss://BUCKET/PREFIX.")
    return bucket, key


def oss_store(bucket: str, settings: Settings | None) -> "OssStore":
    """Return the store of a bucket, with the endpoint and key of the settings.

    Raises:
        ConfigurationError: there are none, or oss2 is not installed.
    """
    usual = None if settings is None else settings.oss
    if usual is None:
        raise ConfigurationError(
            f"oss://{bucket} needs the endpoint of its region: set QWEN_OMNI_OSS_BUCKET and QWEN_OMNI_OSS_ENDPOINT, or "
            "pass settings with oss=OssSettings(...)."
        )
    assert settings is not None
    try:
        from qwen_omni.upload.oss import OssStore  # noqa: PLC0415  (oss2 is an extra)
    except ImportError:
        raise ConfigurationError(f"oss://{bucket} needs oss2: pip install 'qwen-omni[oss]'.") from None
    chosen: OssSettings = replace(usual, bucket=bucket)
    policy = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
    return OssStore(chosen, retry=policy, timeout=settings.read_timeout)


@contextmanager
def fetched(uri: str, settings: Settings) -> Iterator[tuple[Path, str]]:
    """Fetch a remote file; yield a temporary file inside the `with` block, and its digest.

    Raises:
        DeliveryError: it cannot be fetched.
        InputError: the file does not exist.
        LocalResourceError: the disk has no room for it.
    """
    if is_link(uri):
        with downloaded(uri, settings) as path, path.open("rb") as file:
            yield path, hashlib.file_digest(file, "sha256").hexdigest()
        return
    suffix = PurePosixPath(_links(uri)[0]).suffix
    path = scratch.new_path(suffix if suffix.isascii() and len(suffix) <= _LONGEST_SUFFIX else "")
    try:
        yield path, _copied(uri, settings, path)
    finally:
        remove_file(path)


def _copied(uri: str, settings: Settings, path: Path) -> str:
    """Copy a remote file in blocks; return its digest."""
    found, work = hashlib.sha256(), Deadline()
    try:
        with path.open("xb") as file:
            for block in _blocks(uri, settings):
                work.check()
                found.update(block)
                _written(file.write, block, uri)
    except (QwenOmniError, StoppedError):
        raise
    except FileNotFoundError as error:
        problem = Problem(status="skipped", code="missing", text=f"{redact(uri)} does not exist.")
        raise InputError(problem) from error
    except Exception as error:
        fault = machine_fault(error, f"download {redact(uri)}")
        raise fault or DeliveryError(f"{redact(uri)} cannot be read: {error_text(error)}") from error
    return found.hexdigest()


def _written(write: Callable[[bytes], int], block: bytes, uri: str) -> None:
    try:
        write(block)
    except OSError as error:
        raise machine_fault(error, f"download {redact(uri)}", writing=True) or error from error


def _blocks(uri: str, settings: Settings) -> Iterator[bytes]:
    if uri.lower().startswith("oss://"):
        bucket, key = split_oss(uri)
        yield from oss_store(bucket, settings).blocks(key)
        return
    files, path = _file_system(uri)
    with files.open(path, "rb") as file:
        while block := file.read(_BLOCK):
            yield bytes(block)
