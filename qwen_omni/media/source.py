"""Where a piece of media is: a path, bytes, a URL. A value; it opens nothing.

`media.files.safe_open` opens what a source names, and `upload` sends it to the service.
"""

import base64
import binascii
import io
import os
import re
import shlex
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal
from urllib.parse import parse_qsl, unquote, urlsplit

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.redact import clean, redact

SourceKind = Literal["path", "bytes", "url"]
_DRIVE = re.compile(r"([A-Za-z])[:|](?=[/\\\\]|$)")
_URL_SCHEMES = ("http", "https", "oss")
_URL_SAFE = str.maketrans("-_", "+/")
_LONGEST_LABEL = 200  # characters
NAME_ONE = "Name one media file."
"""What to do about a file that is not media; not said of one that was found in a folder, or skipped."""
# Sites whose links are web pages around a video, by the end of their host. Their media files have other hosts.
_VIDEO_SITES = {
    "youtube.com": "YouTube", "youtu.be": "YouTube", "youtube-nocookie.com": "YouTube", "bilibili.com": "Bilibili",
    "b23.tv": "Bilibili", "bilibili.tv": "Bilibili", "vimeo.com": "Vimeo", "douyin.com": "Douyin",
    "iesdouyin.com": "Douyin", "tiktok.com": "TikTok", "youku.com": "Youku", "iqiyi.com": "iQIYI", "iq.com": "iQIYI",
    "v.qq.com": "Tencent Video", "channels.weixin.qq.com": "WeChat Channels", "ixigua.com": "Xigua",
    "kuaishou.com": "Kuaishou", "xiaohongshu.com": "Xiaohongshu", "xhslink.com": "Xiaohongshu", "weibo.com": "Weibo",
    "weibo.cn": "Weibo", "mgtv.com": "Mango TV", "acfun.cn": "AcFun", "x.com": "X", "twitter.com": "X",
    "instagram.com": "Instagram", "facebook.com": "Facebook", "fb.watch": "Facebook", "dailymotion.com": "Dailymotion",
    "dai.ly": "Dailymotion", "twitch.tv": "Twitch", "nicovideo.jp": "Niconico", "nico.ms": "Niconico",
    "rutube.ru": "Rutube", "vk.com": "VK", "vkvideo.ru": "VK", "ok.ru": "OK", "odysee.com": "Odysee",
    "rumble.com": "Rumble", "reddit.com": "Reddit", "redd.it": "Reddit", "linkedin.com": "LinkedIn",
    "soundcloud.com": "SoundCloud", "ted.com": "TED", "streamable.com": "Streamable", "loom.com": "Loom",
    "ximalaya.com": "Ximalaya", "music.163.com": "NetEase Music", "open.spotify.com": "Spotify",
}  # fmt: skip
_FILE = re.compile(
    r"\.(mp4|m4v|mov|mkv|webm|avi|flv|wmv|3gp|mp3|m4a|wav|aac|flac|ogg|opus|jpe?g|png|gif|webp|bmp)", re.IGNORECASE
)
_SAFE = re.compile(r"[\w-]{1,40}")


@dataclass(frozen=True, slots=True, kw_only=True)
class FileVersion:
    """The state of a file that was inspected, so that another file is never sent or reused in its place.

    `modified_ns` can be set back after the file was rewritten in place; `changed_ns` (ctime) cannot. On Windows it is
    the time of creation; the other fields make up for that as far as the system allows.
    """

    device: int
    inode: int
    size: int
    modified_ns: int
    changed_ns: int

    @classmethod
    def of(cls, stat: os.stat_result) -> "FileVersion":
        """Read the state from the system's `stat` result."""
        return cls(
            device=stat.st_dev,
            inode=stat.st_ino,
            size=stat.st_size,
            modified_ns=stat.st_mtime_ns,
            changed_ns=stat.st_ctime_ns,
        )


@dataclass(frozen=True, slots=True, repr=False)
class MediaSource:
    """A reference to one piece of media. Make it with one of the `from_…` methods.

    Attributes:
        kind: which of `path`, `data` and `url` is set.
        trusted: whether the program itself named the path. Paths from message content are not trusted and
            must lie inside `media_root`.
        media_type: the MIME type, if the caller stated one. The file's content takes precedence.
        title: what messages call it instead of its path, link or size.

    Example:
        >>> MediaSource.from_url("https://example.com/a.mp4?Signature=secret")
        MediaSource(url 'https://example.com/a.mp4?<query>')
    """

    kind: SourceKind
    path: Path | None = None
    data: bytes | None = field(default=None, repr=False)
    url: str | None = None
    media_type: str | None = None
    trusted: bool = False
    title: str = ""

    @classmethod
    def from_path(
        cls, path: str | os.PathLike[str], *, media_type: str | None = None, trusted: bool = False
    ) -> "MediaSource":
        """Refer to a local file. Pass `trusted=True` only if the path was chosen by the program, not by a message."""
        return cls(kind="path", path=Path(path), media_type=media_type, trusted=trusted)

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, *, media_type: str | None = None, title: str = ""
    ) -> "MediaSource":
        """Hold the media itself; `title` is what messages call it instead of its size."""
        return cls(kind="bytes", data=bytes(data), media_type=media_type, title=title)

    @classmethod
    def from_file(cls, file: IO[bytes], *, media_type: str | None = None) -> "MediaSource":
        """Read an open binary file from its current position to its end."""
        data = file.read()
        if not isinstance(data, bytes):
            raise UnreadableMediaError("The file object returns text; open it in binary mode ('rb').")
        return cls.from_bytes(data, media_type=media_type)

    @classmethod
    def from_base64(cls, text: str, *, media_type: str | None = None) -> "MediaSource":
        """Decode base64 text, in either alphabet, with or without padding.

        Raises:
            UnreadableMediaError: the text is not base64.
        """
        plain = "".join(text.split()).rstrip("=").translate(_URL_SAFE)
        try:
            data = base64.b64decode(plain + "=" * (-len(plain) % 4), validate=True)
        except (binascii.Error, ValueError) as error:
            raise UnreadableMediaError(f"{len(text):,} characters of base64 cannot be decoded: {error}.") from None
        return cls.from_bytes(data, media_type=media_type)

    @classmethod
    def from_url(cls, url: str, *, media_type: str | None = None) -> "MediaSource":
        """Refer to a URL (`http`, `https`, `oss`), a `file://` path or a `data:` URI.

        Raises:
            UnreadableMediaError: a data URI that cannot be decoded.
            UnsupportedMediaError: another scheme.
        """
        scheme = url.partition(":")[0].lower()
        if scheme == "data":
            return _from_data_uri(url, media_type)
        if scheme == "file":
            return cls.from_path(_path_of(url), media_type=media_type)
        if scheme in _URL_SCHEMES:
            return cls(kind="url", url=url, media_type=media_type)
        if "://" not in url:
            raise UnsupportedMediaError(
                f"{redact(url)[:120]!r} is not a URL: those begin with https://, http://, oss://, file:// or data:. "
                "For a local file, use path instead of url."
            )
        raise UnsupportedMediaError(
            f"{redact(url)[:120]!r} is not a URL that can be sent; use http, https, oss, file or data, "
            "or pass a local file as a path."
        )

    def __repr__(self) -> str:
        return f"MediaSource({self.kind} {self.label!r})"

    @property
    def label(self) -> str:
        """A short name for messages and traces: the title, path, URL without its query, or the number of bytes."""
        if self.title:
            return _shown(self.title)
        match self.kind:
            case "path":
                return _shown(str(self.path))
            case "url":
                return _shown(redact(self.url or ""))
            case "bytes":
                return f"{len(self.data or b''):,} bytes"

    @property
    def name(self) -> str:
        r"""The name in results, by which it can be found again: the path unchanged, or the label if there is no path.

        Example:
            >>> MediaSource.from_path("3.45\u202fPM.mov").name, MediaSource.from_bytes(b"abc").name
            ('3.45\u202fPM.mov', '3 bytes')
        """
        path = str(self.path)
        is_text = path == path.encode(errors="replace").decode()  # a path may be bytes that are not text
        return path if self.path is not None and is_text else self.label

    def open(self) -> IO[bytes]:
        """Open media held in memory; a path is opened by `media.files.safe_open`, which checks it first."""
        if self.data is None:
            raise TypeError(f"{self!r} holds no bytes")
        return io.BytesIO(self.data)


def _shown(foreign: str) -> str:
    """Make untrusted text fit for a message: one line, nothing invisible, limited length."""
    shown = clean(foreign, "terminal", one_line=True)
    return shown if len(shown) <= _LONGEST_LABEL else f"{shown[: _LONGEST_LABEL - 60]}…{shown[-59:]}"


def _path_of(url: str) -> str:
    try:
        split = urlsplit(url)
    except ValueError as error:
        raise UnsupportedMediaError(f"{_shown(url)!r} is not a file:// path: {error}.") from None
    windows = os.name == "nt"
    if split.netloc.lower() not in ("", "localhost") and not (windows and _DRIVE.fullmatch(split.netloc)):
        raise UnsupportedMediaError(f"{redact(url)!r} names another host; only local file:// paths can be read.")
    return local_path(split.netloc if _DRIVE.fullmatch(split.netloc) else "", unquote(split.path), windows=windows)


def local_path(drive: str, path: str, *, windows: bool) -> str:
    """Return the local path that the parts of a file:// URL name. Pure.

    Example:
        >>> local_path("", "/C:/videos/a.mp4", windows=True), local_path("", "/C:/videos/a.mp4", windows=False)
        ('C:/videos/a.mp4', '/C:/videos/a.mp4')
    """
    if not windows:
        return path
    whole = drive + path
    found = _DRIVE.match(whole.lstrip("/"))
    return whole if found is None else found[1] + ":" + whole.lstrip("/")[found.end() :]


def _from_data_uri(uri: str, media_type: str | None) -> MediaSource:
    header, comma, payload = uri.partition(",")
    if not comma:
        raise UnreadableMediaError(
            "The data URI has no comma, which stands between its type with ;base64 and its data."
        )
    if ";base64" not in header.lower():
        raise UnreadableMediaError("The data URI is not base64: its type must end in ;base64, before the comma.")
    stated = header[len("data:") :].partition(";")[0] or None
    return MediaSource.from_base64(unquote(payload) if "%" in payload else payload, media_type=media_type or stated)


def check_page(url: str, *, name: str) -> None:
    """Refuse the page of a video site: downloading the link would return HTML.

    Raises:
        UnsupportedMediaError: it is one; names the command that downloads the video.
    """
    site = video_site(url)
    if site is None:
        return
    command = f"yt-dlp -f 'bv*[height<=720]+ba/b' --merge-output-format mp4 -o video.mp4 {_page(url)}"
    raise UnsupportedMediaError(
        f"{name} is a web page of {site}, not a media file: the service downloads the file behind a link and would get "
        f"HTML. Download the video first, then pass video.mp4: {command}"
    )


def _page(url: str) -> str:
    """Return a page's address for a shell, without the query: it may sign or track, so errors omit it."""
    split = urlsplit(url)
    named = dict(parse_qsl(split.query)).get("v", "")
    if named and video_site(url) == "YouTube" and _SAFE.fullmatch(named):
        return f"https://youtu.be/{named}"
    return "'<the link>'" if named else shlex.quote(f"{split.scheme}://{split.hostname}{split.path}")


def video_site(url: str) -> str | None:
    """Return the name of the video site that a link is a page of; `None` for files and everything else.

    Example:
        >>> video_site("https://m.youtube.com/watch?v=a1"), video_site("https://example.com/a.mp4")
        ('YouTube', None)
    """
    try:
        split = urlsplit(url)
        host = (split.hostname or "").rstrip(".")
    except ValueError:
        return None
    if split.scheme.lower() not in ("http", "https") or _FILE.fullmatch(_ending(split.path)):
        return None
    return next((site for end, site in _VIDEO_SITES.items() if host == end or host.endswith("." + end)), None)


def _ending(path: str) -> str:
    last = path.rpartition("/")[2]
    return last[last.rfind(".") :] if "." in last else ""


Anything = MediaSource | str | os.PathLike[str] | bytes
"""How a program may name media: a source, a path or a URL, or bytes."""


def as_source(source: Anything) -> MediaSource:
    """Build a source from what the program named. A text with `://` is a URL, any other a path."""
    match source:
        case MediaSource():
            return source
        case bytes():
            return MediaSource.from_bytes(source)
        case str() if "://" in source or source.startswith("data:"):
            return MediaSource.from_url(source)
        case _:
            return MediaSource.from_path(Path(source).expanduser(), trusted=True)
