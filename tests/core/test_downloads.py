"""Links are fetched in parts, whole or not at all, from where they should be, and nothing is left behind."""

import contextlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qwen_omni import downloads
from qwen_omni.downloads import downloaded, shown
from qwen_omni.errors import DeliveryError, StoreUnavailableError, UnsupportedMediaError
from qwen_omni.media.scratch import scratch
from qwen_omni.settings import Settings

CONTENT = bytes(range(256)) * 401  # no round number of parts


class Server(ThreadingHTTPServer):
    """Serves one file and keeps what was asked."""

    mode = "parts"
    failures = 0

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[tuple[str, dict[str, str]]] = []

    def url(self, path: str = "/a.mp4") -> str:
        """Where a path is."""
        return f"http://127.0.0.1:{self.server_address[1]}{path}"


class Handler(BaseHTTPRequestHandler):
    """Answers as the server's mode says."""

    server: Server

    def log_message(self, *_: object) -> None:
        """Say nothing."""

    def do_GET(self) -> None:
        """Give a part, a redirect, a failure or the whole."""
        self.server.asked.append((self.path, {name.lower(): value for name, value in self.headers.items()}))
        if self.server.failures:
            self.server.failures -= 1
            self._answer(503, b"")
        elif self.server.mode == "moved" and self.path != "/there.mp4":
            self._answer(302, b"", {"Location": "/there.mp4"})
        elif self.server.mode == "circle":
            self._answer(302, b"", {"Location": self.path})
        elif self.server.mode == "inside":
            self._answer(302, b"", {"Location": "http://10.0.0.1/a.mp4"})
        elif self.server.mode == "gone":
            self._answer(404, b"no")
        elif self.server.mode == "whole":
            self._answer(200, CONTENT)
        else:
            first, last = self.headers["Range"].removeprefix("bytes=").split("-")
            begin, end = int(first), min(int(last) + 1, len(CONTENT))
            told = f"bytes {begin + (self.server.mode == 'wrong')}-{end - 1}/{len(CONTENT)}"
            self._answer(206, CONTENT[begin:end], {"Content-Range": told})

    def _answer(self, status: int, body: bytes, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


@pytest.fixture
def server() -> Iterator[Server]:
    """A web server on loopback."""
    with Server() as made:
        thread = threading.Thread(target=made.serve_forever, daemon=True)
        thread.start()
        yield made
        made.shutdown()
        thread.join()


@pytest.fixture
def settings(monkeypatch) -> Settings:
    """Settings with a key, small parts and no waiting."""
    monkeypatch.setattr(downloads, "PART", 10_000)
    return Settings.load(api_key="sk-never-sent-anywhere", retry_wait=0.0, read_timeout=5.0)


def fetch(url: str, settings: Settings) -> bytes:
    """Download a link of this machine."""
    with downloaded(url, settings, allow_private=True) as path:
        assert path.suffix == ".mp4"
        return path.read_bytes()


@pytest.mark.parametrize("mode", ["parts", "moved"])
def test_a_file_comes_whole_in_parts_without_the_key(server, settings, mode):
    """Each part is asked for once; the key goes nowhere; the file is gone after the block."""
    server.mode = mode
    assert fetch(server.url(), settings) == CONTENT
    parts = [headers["range"] for path, headers in server.asked if mode == "parts" or path == "/there.mp4"]
    assert len(parts) == len(set(parts)) == -(-len(CONTENT) // 10_000)
    assert all("authorization" not in headers for _, headers in server.asked)
    assert {path.name for path in scratch.new_path("").parent.iterdir()} <= {"lock"}


def test_a_failed_part_is_asked_for_again(server, settings):
    """A server that stumbles costs one part, not the whole."""
    server.failures = 2
    assert fetch(server.url(), settings) == CONTENT


def test_a_small_file_may_come_in_one_piece(server, settings, monkeypatch):
    """A server that knows no parts is fine as long as one part is enough."""
    server.mode = "whole"
    monkeypatch.setattr(downloads, "PART", len(CONTENT) + 1)
    assert fetch(server.url(), settings) == CONTENT


@pytest.mark.parametrize(
    ("mode", "error", "words"),
    [
        ("whole", DeliveryError, "Download it yourself"),
        ("wrong", Exception, "another part"),
        ("gone", DeliveryError, "404"),
        ("circle", DeliveryError, "redirects"),
    ],
)
def test_what_cannot_be_fetched_says_why(server, settings, mode, error, words):
    """Nothing is handed out in half, and the signature in a link is not told."""
    server.mode = mode
    with pytest.raises(error, match=words) as caught:
        fetch(server.url("/a.mp4?Signature=abc"), settings)
    assert "abc" not in str(caught.value)
    assert {path.name for path in scratch.new_path("").parent.iterdir()} <= {"lock"}


def test_a_server_that_stays_down_is_told(server, settings):
    """After the last repetition the failure is the caller's."""
    server.failures = 99
    with pytest.raises(StoreUnavailableError, match="503"):
        fetch(server.url(), settings)
    assert len(server.asked) == settings.max_retries + 1


def test_private_hosts_are_refused_before_and_behind_a_redirect(server, settings):
    """A loader that is given strangers' links must not become a way to look inside a network."""
    with pytest.raises(DeliveryError, match=r"127\.0\.0\.1"), downloaded(server.url(), settings):
        pass
    assert not server.asked
    with pytest.raises(UnsupportedMediaError), downloaded("ftp://example.com/a.mp4", settings):
        pass


def test_a_redirect_into_a_private_network_is_refused(settings):
    """The check is made at every hop."""
    flow = downloads.download("https://example.com/a.mp4", io.BytesIO(), downloads.RetryPolicy())
    request = next(flow)
    assert request.url == "https://example.com/a.mp4"
    with pytest.raises(DeliveryError, match=r"10\.0\.0\.1"):
        flow.send(downloads.Reply(status=302, headers={"location": "http://10.0.0.1/a.mp4"}))


def test_an_absurd_length_is_refused(settings):
    """A part is paid for, not the whole."""
    flow = downloads.download("https://example.com/a.mp4", io.BytesIO(), downloads.RetryPolicy())
    next(flow)
    headers = {"content-range": f"bytes 0-2/{10**12}"}
    with pytest.raises(DeliveryError, match="1,000,000,000,000"):
        flow.send(downloads.Reply(status=206, headers=headers, body=b"abc"))


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://h/a.mp4?x-oss-signature=1&x-oss-expires=2", "https://h/a.mp4"),
        ("https://h/a.mp4?access_token=1", "https://h/a.mp4"),
        ("https://h/watch?v=7#t=3", "https://h/watch?v=7"),
    ],
)
def test_what_is_kept_of_a_link(url, kept):
    """An index never holds a signature."""
    assert shown(url) == kept
