"""Links are fetched in parts, whole or not at all, from where they should be, and nothing is left behind."""

import asyncio
import contextlib
import dataclasses
import io
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from qwen_omni.errors import APIConnectionError, DeliveryError, StoreUnavailableError, UnsupportedMediaError
from qwen_omni.media.files.tempfiles import scratch
from qwen_omni.settings import Settings
from qwen_omni.transport import api, downloads
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.downloads import downloaded, shown
from qwen_omni.transport.flow import Request, ask

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
        """Log nothing."""

    def do_GET(self) -> None:
        """Return a part, a redirect, a failure or the whole."""
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
        elif self.server.mode == "elsewhere":
            self._answer(302, b"", {"Location": f"http://inner.example:{self.server.server_address[1]}/a.mp4"})
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
        thread = threading.Thread(target=made.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
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
        ("wrong", Exception, "did not send the part"),
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


# --- The address that is really connected to ---

NAME = "media.example"
PRIVATE = [
    "127.0.0.1", "10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.100.100.200", "0.0.0.0", "224.0.0.1",
    "255.255.255.255", "198.18.0.5", "::1", "::", "fe80::1", "fe80::1%eth0", "fd00::1", "fec0::1", "ff02::1",
    "::ffff:10.0.0.1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "64:ff9b:1::a00:1", "2002:a00:1::1", "2002:7f00:1::",
    "::127.0.0.1",
]  # fmt: skip


class Names:
    """A name service that answers as it is told, and notes what it was asked."""

    def __init__(self, monkeypatch, *answers: list[str]) -> None:
        self.asked: list[str] = []
        self._answers, self._real = list(answers), socket.getaddrinfo
        monkeypatch.setattr(socket, "getaddrinfo", self._answer)

    def _answer(self, host, port, *more, **named):
        if host != NAME:  # the address that was chosen
            return self._real(host, port, *more, **named)
        self.asked.append(host)
        found = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (one, 0)) for one in found]


def taken_for_public(monkeypatch, *addresses: str) -> None:
    """Let addresses of this machine stand for public ones."""
    real = api.is_private_host
    monkeypatch.setattr(api, "is_private_host", lambda host: host not in addresses and real(host))


def fetched(url: str, settings: Settings, asynchronous: bool) -> object:
    """Ask for a link that a stranger chose."""
    flow = ask(Request(method="GET", url=url, public=True, headers={"Range": "bytes=0-9"}))
    return asyncio.run(arun(flow, settings)) if asynchronous else run(flow, settings)


@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
@pytest.mark.parametrize("address", PRIVATE)
def test_a_name_of_a_private_address_is_not_connected_to(server, settings, monkeypatch, address, asynchronous):
    """Whatever range the address is of, and however it is written."""
    Names(monkeypatch, [address])
    with pytest.raises(DeliveryError, match="has the private address"):
        fetched(f"http://{NAME}:{server.server_address[1]}/a.mp4", settings, asynchronous)
    assert server.asked == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"])
def test_an_address_in_the_link_is_checked_too(server, settings, host, asynchronous):
    with pytest.raises(DeliveryError, match=r"private address|no address"):
        fetched(f"http://{host}:{server.server_address[1]}/a.mp4", settings, asynchronous)
    assert server.asked == []


@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
def test_a_name_is_resolved_once(server, settings, monkeypatch, asynchronous):
    """A name service that answers otherwise the second time, as in DNS rebinding, is not asked a second time."""
    taken_for_public(monkeypatch, "127.0.0.1")
    names = Names(monkeypatch, ["127.0.0.1"], ["127.0.0.2"])
    reply = fetched(f"http://{NAME}:{server.server_address[1]}/a.mp4", settings, asynchronous)
    assert reply.body == CONTENT[:10]
    assert names.asked == [NAME]
    assert server.asked[0][1]["host"] == f"{NAME}:{server.server_address[1]}"


def test_a_download_of_many_parts_stays_at_its_address(server, settings, monkeypatch):
    taken_for_public(monkeypatch, "127.0.0.1")
    names = Names(monkeypatch, ["127.0.0.1"], ["10.0.0.1"])
    with downloaded(f"http://{NAME}:{server.server_address[1]}/a.mp4", settings) as path:
        assert path.read_bytes() == CONTENT
    assert names.asked == [NAME]
    assert len(server.asked) > 5


def test_only_public_addresses_are_tried(server, settings, monkeypatch):
    """Of several addresses the private ones are left out, and one that does not answer is followed by the next."""
    taken_for_public(monkeypatch, "127.0.0.1", "::1")
    Names(monkeypatch, ["10.0.0.1", "::1", "127.0.0.1"])
    reply = fetched(f"http://{NAME}:{server.server_address[1]}/a.mp4", settings, asynchronous=False)
    assert reply.body == CONTENT[:10]


def test_a_redirect_is_checked_like_the_first_link(server, settings, monkeypatch):
    """A public host that leads to a name with a private address gets nothing fetched from there."""
    taken_for_public(monkeypatch, "127.0.0.1")
    real = socket.getaddrinfo
    answers = {NAME: "127.0.0.1", "inner.example": "169.254.169.254"}
    monkeypatch.setattr(
        socket, "getaddrinfo", lambda host, port, *more, **named: real(answers.get(host, host), port, *more, **named)
    )
    server.mode = "elsewhere"
    with (
        pytest.raises(DeliveryError, match=r"inner.example has the private address 169.254.169.254"),
        downloaded(f"http://{NAME}:{server.server_address[1]}/a.mp4", settings),
    ):
        pass
    assert len(server.asked) == 1


def test_settings_and_the_environment_allow_private_links(server, settings, monkeypatch):
    with pytest.raises(DeliveryError, match="cannot be reached from the internet"), downloaded(server.url(), settings):
        pass
    with downloaded(server.url(), dataclasses.replace(settings, private_links=True)) as path:
        assert path.read_bytes() == CONTENT
    monkeypatch.setenv("QWEN_OMNI_PRIVATE_LINKS", "1")
    assert Settings.load(api_key="sk-x").private_links


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
@pytest.mark.parametrize("named", [NAME, "other.example"])
def test_a_certificate_is_still_checked_by_name(server, settings, monkeypatch, tmp_path, named, asynchronous):
    """The connection goes to an address, TLS asks for the name and takes no other's certificate."""
    certificate, key = tmp_path / "certificate.pem", tmp_path / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", f"/CN={named}", "-addext", f"subjectAltName=DNS:{named}", "-keyout", key, "-out", certificate],
        check=True, capture_output=True,
    )  # fmt: skip
    asked: list[str] = []
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    context.sni_callback = lambda _, name, __: asked.append(name)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    monkeypatch.setattr(api, "tls", lambda: ssl.create_default_context(cafile=certificate))
    taken_for_public(monkeypatch, "127.0.0.1")
    Names(monkeypatch, ["127.0.0.1"])
    url = f"https://{NAME}:{server.server_address[1]}/a.mp4"
    if named == NAME:
        assert fetched(url, settings, asynchronous).body == CONTENT[:10]
    else:
        with pytest.raises(APIConnectionError, match="certificate"):
            fetched(url, settings, asynchronous)
    assert asked == [NAME]


@pytest.mark.parametrize("asynchronous", [False, True], ids=["run", "arun"])
def test_behind_a_proxy_private_names_are_refused_and_unknown_ones_left_to_it(
    server, settings, monkeypatch, asynchronous
):
    """The proxy connects, and may know names that this machine does not."""
    monkeypatch.setenv("HTTP_PROXY", server.url(""))
    Names(monkeypatch, ["10.0.0.1"])
    with pytest.raises(DeliveryError, match="private address"):
        fetched(f"http://{NAME}/a.mp4", settings, asynchronous)
    assert server.asked == []
    Names(monkeypatch, [])
    assert fetched(f"http://{NAME}/a.mp4", settings, asynchronous).body == CONTENT[:10]
    assert server.asked[0][0] == f"http://{NAME}/a.mp4"
