"""Which files of an fsspec file system are meant, and how they are opened: by the rules of local ones."""

import io
import traceback
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

pytest.importorskip("llama_index.core")

from llama_index_qwen_omni.readers import copied, find_files
from qwen_omni.errors import ConfigurationError, UnreadableMediaError
from qwen_omni.media.files.find import find_media

TREE = ("b.mp4", "a/z.MP3", "a.b/c.mp4", "a/.hidden.mp4", "a/deep/x[1].mov", "a/notes.txt", ".d.mp4", "a-b.mp4")


@pytest.mark.parametrize(
    "named", ["", "a", "**/*.mp4", "*", "*/*", "a/**/*.mov", "?.mp4", "[bc].mp4", "b.mp4", "gone.mp4"]
)
def test_the_same_files_as_local_ones(named: str, tmp_path: Path, memory: Any) -> None:
    """A folder, a pattern, a file and a name of nothing each mean the same files in the same order, here and there."""
    root = tmp_path / "talks"
    for name in TREE:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
        memory.pipe(f"/talks/{name}", b"x")
    here = [Path(one).relative_to(root).as_posix() for one in find_media(root / named if named else root)]
    for source in (f"/talks/{named}", PurePosixPath("/talks", named), f"memory:///talks/{named}"):
        there = find_files(source, memory)
        assert [one.removeprefix("memory://").removeprefix("/talks/") for one in there] == here


def test_names_that_look_like_patterns(memory: Any) -> None:
    """A file that is there is itself, whatever is in its name; what a folder may hold is chosen by the caller."""
    for name in ("x[1].mp4", "x1.mp4", "x.dat"):
        memory.pipe(f"/talks/{name}", b"x")
    assert find_files(["/talks/x[1].mp4", "/talks/x1.mp4"], memory) == ["/talks/x[1].mp4", "/talks/x1.mp4"]
    assert find_files("/talks", memory, (".dat",)) == ["/talks/x.dat"]


@pytest.mark.parametrize("named", ["/talks", "/talks/*.mp4"])
def test_nothing_there(named: str, memory: Any) -> None:
    """A folder or pattern without media is an error, as it is for local ones."""
    memory.pipe("/talks/notes.txt", b"x")
    with pytest.raises(ConfigurationError, match=f"{named.replace('*', '.')} contains no video or recording"):
        find_files(named, memory)


class _Torn(io.BytesIO):
    def read(self, size: int | None = -1, /) -> bytes:
        raise ConnectionResetError("https://host/a.mp4?Signature=secret was cut")


def test_what_cannot_be_read(memory: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """A missing file, a refused folder and a broken connection are one kind of error, without what signs a link."""
    gone = "/talks/gone.mp4"
    with pytest.raises(UnreadableMediaError, match=f"{gone} cannot be read .*FileNotFoundError"), copied(gone, memory):
        pass
    memory.pipe("/talks/a.mp4", b"x")
    monkeypatch.setattr(memory, "open", lambda *_: _Torn())
    with pytest.raises(UnreadableMediaError, match="ConnectionResetError") as caught, copied("/talks/a.mp4", memory):
        pass
    assert "secret" not in "".join(traceback.format_exception(caught.value))

    def refused(*_: Any, **__: Any) -> Any:
        raise PermissionError("not yours")

    monkeypatch.setattr(memory, "find", refused)
    with pytest.raises(UnreadableMediaError, match=r"/talks cannot be read .*PermissionError not yours"):
        find_files("/talks", memory)
    monkeypatch.setattr(memory, "isdir", refused)
    assert find_files("/talks/b.mp4", memory) == ["/talks/b.mp4"]  # whoever opens it tells


def test_a_copy_lives_as_long_as_it_is_read(memory: Any) -> None:
    """The copy keeps the file's name and bytes, and goes when the block ends, by an error, too."""
    memory.pipe("/talks/a.mp4", bytes(3_000_000))
    opening = copied("/talks/a.mp4", memory)
    path, name = opening.__enter__()
    assert (path.name, path.stat().st_size, name) == ("a.mp4", 3_000_000, "memory:///talks/a.mp4")
    failed = KeyError("while it was read")
    assert not opening.__exit__(KeyError, failed, None)
    assert not path.exists()
