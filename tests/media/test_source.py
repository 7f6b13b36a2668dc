"""`MediaSource` takes every spelling, opens nothing, and shows no secret."""

import base64
import io
from pathlib import PureWindowsPath

import pytest

from qwen_omni.errors import MediaError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.source import MediaSource, local_path
from tests.support.watching import opened_by_python


@pytest.mark.parametrize(
    ("url", "kind", "value"),
    [
        pytest.param("https://host/a.mp4", "url", "https://host/a.mp4", id="https"),
        pytest.param("OSS://bucket/key", "url", "OSS://bucket/key", id="oss"),
        pytest.param("file:///tmp/a%20b.mp4", "path", "/tmp/a b.mp4", id="file"),
        pytest.param("FILE://LOCALHOST/tmp/a.mp4", "path", "/tmp/a.mp4", id="file-localhost"),
        pytest.param("data:video/mp4;base64,YWJj", "bytes", b"abc", id="data"),
        pytest.param("data:;base64,YW\nJj", "bytes", b"abc", id="data-with-line-break"),
        pytest.param("data:image/png;base64,YWJj%0A", "bytes", b"abc", id="data-percent-encoded"),
    ],
)
def test_urls_of_every_kind(url, kind, value):
    """A URL becomes a link, a path or bytes; nothing is opened."""
    with opened_by_python() as names:
        source = MediaSource.from_url(url)

    assert names == []
    assert source.kind == kind
    found = {"url": source.url, "path": str(source.path), "bytes": source.data}[kind]
    assert found == value
    assert not source.trusted


@pytest.mark.parametrize(
    ("url", "error"),
    [
        pytest.param("ftp://host/a.mp4", UnsupportedMediaError, id="ftp"),
        pytest.param("concat:/etc/passwd|/etc/shadow", UnsupportedMediaError, id="ffmpeg-protocol"),
        pytest.param("/etc/passwd", UnsupportedMediaError, id="no-scheme"),
        pytest.param("file://server/share/a.mp4", UnsupportedMediaError, id="file-on-another-host"),
        pytest.param("file://[/etc/passwd", UnsupportedMediaError, id="file-broken"),
        pytest.param("data:video/mp4;base64", UnreadableMediaError, id="data-without-comma"),
        pytest.param("data:text/plain,hello", UnreadableMediaError, id="data-not-base64"),
        pytest.param("data:;base64,???", UnreadableMediaError, id="data-damaged"),
        pytest.param("data:;base64,YWJjZ", UnreadableMediaError, id="data-cut"),
        pytest.param("data:;base64,йй", UnreadableMediaError, id="data-not-ascii"),
        pytest.param("", UnsupportedMediaError, id="nothing"),
    ],
)
def test_urls_that_cannot_be_sent(url, error):
    """Every other text is a typed error."""
    with pytest.raises(error) as caught:
        MediaSource.from_url(url)

    assert isinstance(caught.value, MediaError)


def test_a_file_object_is_read_from_where_it_stands():
    """Text mode is refused, and so is text that is no base64."""
    assert MediaSource.from_file(io.BytesIO(b"abc")).data == b"abc"
    with pytest.raises(UnreadableMediaError, match="binary mode"):
        MediaSource.from_file(io.StringIO("abc"))  # type: ignore[arg-type]
    with pytest.raises(UnreadableMediaError, match="base64"):
        MediaSource.from_base64("%%%")


def test_what_is_shown_holds_neither_media_nor_secrets():
    """The repr tells a size, a path or a URL without its query."""
    secret = base64.b64encode(b"secret media").decode()

    assert repr(MediaSource.from_base64(secret)) == "MediaSource(bytes '12 bytes')"
    assert "Signature" not in repr(MediaSource.from_url("https://host/a?Signature=s3cret"))
    assert len(MediaSource.from_path("x" * 4000).label) <= 200
    assert MediaSource.from_path("a\nb\x1b[1m").label.isprintable()
    assert MediaSource.from_path("видео.mp4").label == "видео.mp4"


@pytest.mark.parametrize(
    ("drive", "path", "windows", "posix"),
    [
        ("", "/C:/films/a b.mp4", "C:/films/a b.mp4", "/C:/films/a b.mp4"),
        ("", "/c:/a.mp4", "c:/a.mp4", "/c:/a.mp4"),
        ("", "/C|/a.mp4", "C:/a.mp4", "/C|/a.mp4"),
        ("", "C:/a.mp4", "C:/a.mp4", "C:/a.mp4"),
        ("", "/C:\\films\\a.mp4", "C:\\films\\a.mp4", "/C:\\films\\a.mp4"),
        ("C:", "/a.mp4", "C:/a.mp4", None),
        ("", "/films/a.mp4", "/films/a.mp4", "/films/a.mp4"),
        ("", "/CD:/a.mp4", "/CD:/a.mp4", "/CD:/a.mp4"),
        ("", "/C:a.mp4", "/C:a.mp4", "/C:a.mp4"),
    ],
)
def test_a_drive_of_windows_is_kept(drive, path, windows, posix):
    """A file:// URL names its drive behind the third slash; elsewhere the same text is an ordinary path."""
    named = PureWindowsPath(local_path(drive, path, windows=True))
    assert named == PureWindowsPath(windows)
    if windows[1:2] == ":":
        assert named.drive.upper() == "C:"
        assert named.is_absolute()
    if posix is not None:
        assert local_path("", path, windows=False) == posix
