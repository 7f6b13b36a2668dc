"""`media.files.safe_open` opens plain files inside the root and nothing else."""

import os
import socket
import sys
from pathlib import Path

import pytest

from qwen_omni.errors import MediaOutsideRootError, UnreadableMediaError
from qwen_omni.media.files import safe_open
from qwen_omni.media.files.safe_open import open_local, open_plain, resolve_local
from qwen_omni.media.source import MediaSource
from tests.support.watching import opened_by_python, watched

posix = pytest.mark.skipif(os.name != "posix", reason="named pipes, devices and links as POSIX has them")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one clip in a folder, beside a secret that lies outside."""
    root = tmp_path / "root"
    (root / "inner").mkdir(parents=True)
    (root / "inner" / "clip.mp4").write_bytes(b"clip")
    (tmp_path / "secret").write_bytes(b"secret")
    return root


def read(source: MediaSource, root: Path) -> bytes:
    with open_local(source, root) as file:
        return file.read()


@pytest.mark.parametrize(
    "spelling", ["{root}/inner/clip.mp4", "{root}/inner/../inner/./clip.mp4", "file://{root}/inner/clip.mp4"]
)
def test_a_file_inside_the_root_is_opened(root, spelling):
    """Any spelling of a path that stays inside is read."""
    told = spelling.format(root=root)
    source = MediaSource.from_url(told) if told.startswith("file:") else MediaSource.from_path(told)

    assert read(source, root) == b"clip"


def test_relative_paths_start_at_the_current_directory(root, monkeypatch):
    """A relative path means what it means to the program, and the default root is the same place."""
    monkeypatch.chdir(root)

    assert read(MediaSource.from_path("inner/clip.mp4"), Path()) == b"clip"


def test_bytes_are_opened_as_they_are(root):
    """Media in memory needs no root."""
    assert read(MediaSource.from_bytes(b"abc"), root) == b"abc"


@posix
@pytest.mark.parametrize(
    "told",
    [
        pytest.param("/etc/passwd", id="absolute"),
        pytest.param("file:///etc/passwd", id="file-url"),
        pytest.param("file:///%65tc/passwd", id="file-url-encoded"),
        pytest.param("file://localhost/etc/passwd", id="file-url-localhost"),
        pytest.param("//etc/passwd", id="two-slashes"),
        pytest.param("../secret", id="parent"),
        pytest.param("inner/../../secret", id="parent-inside"),
        pytest.param("{root}/../secret", id="parent-absolute"),
        pytest.param("{root}-beside/clip.mp4", id="same-prefix"),
        pytest.param("link", id="symlink"),
        pytest.param("loose/secret", id="symlinked-folder"),
        pytest.param("inner/chain", id="symlink-to-symlink"),
        pytest.param("/proc/self/root/etc/passwd", id="proc"),
        pytest.param("\\\\server\\share\\clip.mp4", id="unc"),
        pytest.param("/does/not/exist", id="missing-outside"),
        pytest.param("/dev/zero", id="device"),
    ],
)
def test_nothing_outside_the_root_is_opened(root, monkeypatch, told):
    """A path that leads out of the root is refused, the error names the setting, and nothing is opened."""
    monkeypatch.chdir(root)
    (root / "link").symlink_to(root.parent / "secret")
    (root / "loose").symlink_to(root.parent)
    (root / "inner" / "chain").symlink_to(root / "link")
    told = told.format(root=root)
    source = MediaSource.from_url(told) if told.startswith("file:") else MediaSource.from_path(told)

    refused = pytest.raises(MediaOutsideRootError, match="media_root")
    with watched(root.parent / "secret") as seen, opened_by_python() as names, refused as caught:
        read(source, root)

    assert seen == []
    assert names == []
    assert str(root) in str(caught.value)


def test_the_watch_sees_an_opening(root):
    """The proof above is worth something: an opened file is seen."""
    with watched(root.parent / "secret") as seen, opened_by_python() as names:
        (root.parent / "secret").read_bytes()

    assert seen
    assert names == [str(root.parent / "secret")]


def test_a_trusted_path_needs_no_root(root):
    """A path that the program chose is read wherever it lies, also through a link."""
    (root / "link").symlink_to(root.parent / "secret")

    assert read(MediaSource.from_path(root / "link", trusted=True), root) == b"secret"


def test_a_link_that_stays_inside_is_followed(root):
    """Links within the root are fine, and so is a root that is a link itself."""
    (root / "short").symlink_to(root / "inner")
    (root.parent / "alias").symlink_to(root)

    assert read(MediaSource.from_path(root / "short" / "clip.mp4"), root.parent / "alias") == b"clip"


def _pipe(path: Path) -> None:
    os.mkfifo(path)


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))


@posix
@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    ("make", "says"),
    [
        pytest.param(Path.mkdir, "a folder", id="folder"),
        pytest.param(_pipe, "a named pipe", id="pipe"),
        pytest.param(_socket, "a socket", id="socket"),
        pytest.param(Path.touch, r"empty \(0 bytes\)", id="empty"),
        pytest.param(lambda path: path.symlink_to(path), "cannot be opened|a link", id="link-to-itself"),
        pytest.param(lambda path: None, "No such file", id="missing"),
    ],
)
def test_what_is_no_plain_file_is_refused_at_once(root, make, says, monkeypatch):
    """Folders, pipes, sockets, missing and empty files are typed errors, and nothing is waited for."""
    monkeypatch.chdir(root)
    make(Path("x"))

    with pytest.raises(UnreadableMediaError, match=says):
        read(MediaSource.from_path("x"), root)


@posix
@pytest.mark.parametrize("trusted", [True, False])
def test_a_device_is_refused(trusted):
    """`/dev/zero` never ends, so it is refused even where its folder is allowed."""
    with pytest.raises(UnreadableMediaError, match="a device"):
        read(MediaSource.from_path("/dev/zero", trusted=trusted), Path("/dev"))


@pytest.mark.parametrize(
    "told",
    [
        pytest.param("a\0b.mp4", id="null-byte"),
        pytest.param("~/clip.mp4", id="tilde"),
        pytest.param("~root/clip.mp4", id="tilde-user"),
        pytest.param("a" * 5000, id="endless-name"),
        pytest.param("a/" * 4000 + "b", id="endless-path"),
        pytest.param("C:\\Users\\me\\clip.mp4", id="windows"),
        pytest.param("CON", id="windows-device"),
        pytest.param("clip.mp4:stream", id="windows-stream"),
        pytest.param("\ud800.mp4", id="lone-surrogate"),
        pytest.param("new\nline\x1b[31m.mp4", id="control-characters"),
        pytest.param("inner/clip.mp4/more", id="below-a-file"),
        pytest.param("", id="nothing"),
    ],
)
def test_odd_names_are_typed_errors(root, monkeypatch, told):
    """A name that cannot be a file is an ordinary error whose text is one short, printable line."""
    monkeypatch.chdir(root)

    with pytest.raises(UnreadableMediaError) as caught:
        read(MediaSource.from_path(told), root)

    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400


def test_a_tilde_is_explained(root, monkeypatch):
    """Nobody expands `~`, and the error says so."""
    monkeypatch.chdir(root)

    with pytest.raises(UnreadableMediaError, match="not expanded"):
        read(MediaSource.from_path("~/clip.mp4"), root)


@posix
def test_a_folder_swapped_for_a_link_is_noticed(root):
    """The file is reached step by step: a link that takes a folder's place after the check is not followed."""
    clip = resolve_local(MediaSource.from_path(root / "inner" / "clip.mp4"), root)
    (root.parent / "clip.mp4").write_bytes(b"secret")
    (root / "inner").rename(root / "moved")
    (root / "inner").symlink_to(root.parent)

    with watched(root.parent / "clip.mp4") as seen, pytest.raises(UnreadableMediaError):
        open_plain(clip, start=Path(os.path.realpath(root)))

    assert seen == []


@posix
@pytest.mark.timeout(5)
@pytest.mark.parametrize("swap", ["other file", "pipe", "link"])
def test_a_file_exchanged_while_it_is_opened_is_noticed(root, monkeypatch, swap):
    """Whatever takes the file's place between the look and the opening is refused, without waiting."""
    clip = root / "inner" / "clip.mp4"
    really_open = safe_open._open

    def exchange(path: Path, start: Path) -> int:
        clip.rename(root / "old.mp4")
        if swap == "pipe":
            os.mkfifo(clip)
        elif swap == "link":
            clip.symlink_to(root.parent / "secret")
        else:
            clip.write_bytes(b"another")
        return really_open(path, start)

    monkeypatch.setattr(safe_open, "_open", exchange)

    with pytest.raises(UnreadableMediaError):
        read(MediaSource.from_path(clip), root)


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX permissions")
def test_a_file_that_may_not_be_read_says_so(root):
    """Missing permission is an ordinary error, where permissions count at all."""
    if os.geteuid() == 0:
        pytest.skip("runs as super-user, who may read everything")
    (root / "inner" / "clip.mp4").chmod(0)

    with pytest.raises(UnreadableMediaError, match="Permission denied"):
        read(MediaSource.from_path(root / "inner" / "clip.mp4"), root)
