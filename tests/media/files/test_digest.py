"""A file is digested once as long as it stays as it is."""

import hashlib
import os
import threading

import pytest

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files import safe_open
from qwen_omni.media.files.safe_open import Digests
from qwen_omni.messages import MediaPayload
from tests.upload.conftest import ready


@pytest.fixture
def reads(monkeypatch):
    """Every computation of a digest, by what was digested."""
    seen = []
    real = safe_open.digest_of
    monkeypatch.setattr(safe_open, "digest_of", lambda one: seen.append(one) or real(one))
    monkeypatch.setattr(safe_open, "_SETTLED_NS", 0)
    return seen


def of(data):
    return hashlib.sha256(data).hexdigest()


def test_a_file_is_read_once(tmp_path, reads):
    """The second time nothing is read; another thread knows it, too."""
    (tmp_path / "a").write_bytes(b"abc")
    digests, found = Digests(), []
    for _ in range(2):
        found.append(digests.of(ready(tmp_path / "a")))
        thread = threading.Thread(target=lambda: found.append(digests.of(ready(tmp_path / "a"))))
        thread.start()
        thread.join()

    assert found == [of(b"abc")] * 4
    assert len(reads) == 1


def test_a_file_that_changed_is_read_again(tmp_path, reads):
    """Other content of the same length is noticed, even where somebody has set the time back."""
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    digests, stat = Digests(), path.stat()
    digests.of(ready(path))
    path.write_bytes(b"xyz")
    os.utime(path, ns=(stat.st_atime_ns, stat.st_mtime_ns))

    assert digests.of(ready(path)) == of(b"xyz")
    assert len(reads) == 2


def test_a_file_of_this_moment_is_not_remembered(tmp_path, reads, monkeypatch):
    """A file system may not tell two changes within one tick apart, so a fresh file is read every time."""
    monkeypatch.setattr(safe_open, "_SETTLED_NS", 60 * 10**9)
    (tmp_path / "a").write_bytes(b"abc")
    digests = Digests()

    assert [digests.of(ready(tmp_path / "a")) for _ in range(2)] == [of(b"abc")] * 2
    assert len(reads) == 2


def test_bytes_in_memory_and_files_that_are_gone(tmp_path, reads):
    """Bytes have no state to be known by; a file that went away is an error."""
    assert Digests().of(MediaPayload(data=b"abc", size_bytes=3)) == of(b"abc")
    (tmp_path / "a").write_bytes(b"abc")
    media = ready(tmp_path / "a")
    (tmp_path / "a").unlink()
    with pytest.raises(UnreadableMediaError):
        Digests().of(media)


def test_the_memory_is_bounded(tmp_path, reads, monkeypatch):
    """Only so many files are remembered; the oldest goes first."""
    monkeypatch.setattr(safe_open, "_MOST_KEPT", 2)
    digests = Digests()
    for name in ("a", "b", "c", "c", "a"):
        path = tmp_path / name
        if not path.exists():
            path.write_text(name)
        digests.of(ready(path))

    assert [media.path.name for media in reads] == ["a", "b", "c", "a"]
