"""`qwen-omni doctor` and `qwen-omni doctor URL`: every line as a user sees it, each fault with what to do."""

import http.server
import threading
from collections.abc import Callable, Iterator

import pytest

from qwen_omni.cli.main import run
from qwen_omni.standin import Standin
from tests.upload.conftest import BUCKET, KEYS

Said = Callable[..., tuple[int, dict[str, tuple[str, str, str]]]]
GOOD = {"Content-Length": "1000", "Content-Type": "video/mp4"}
PIECE = {"Content-Range": "bytes 0-0/1000", "Content-Type": "video/mp4", "Content-Length": "1"}


@pytest.fixture
def doctor(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Said:
    """Run the command; give its status and its lines: name → verdict, text, what to do."""
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv("QWEN_OMNI_PRIVATE_LINKS", "1")  # the hosts of these tests are on this machine

    def call(*arguments: str) -> tuple[int, dict[str, tuple[str, str, str]]]:
        with pytest.raises(SystemExit) as ended:
            run(["doctor", *arguments])
        found: dict[str, tuple[str, str, str]] = {}
        name = ""
        for line in capsys.readouterr().out.splitlines():
            if line.startswith("      → "):
                found[name] = (*found[name][:2], line.removeprefix("      → "))
                continue
            verdict, rest = line[:5].strip(), line[5:]
            name = next(known for known in (*LINK_LINES, *ACCOUNT_LINES) if rest.startswith(f"{known}: "))
            found[name] = (verdict, rest.removeprefix(f"{name}: "), "")
        return int(ended.value.code or 0), found

    return call


LINK_LINES = (
    "address", "expiry", "host", "redirect", "connection", "answer", "Content-Length", "Content-Type", "range",
)  # fmt: skip
ACCOUNT_LINES = (
    "proxy", "key", "model", "service", "limits", "temporary store", "bucket: write", "bucket: link", "bucket: delete",
    "bucket: private", "bucket",
)  # fmt: skip


@pytest.fixture
def account(monkeypatch: pytest.MonkeyPatch) -> Iterator[Standin]:
    """A stand-in with a bucket, and an environment that leads to both."""
    with Standin(oss_keys=KEYS) as standin:
        key = "LTAIstandin00001"
        for name, value in {
            "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url,
            "QWEN_OMNI_OSS_BUCKET": BUCKET, "QWEN_OMNI_OSS_ENDPOINT": standin.oss_endpoint,
            "QWEN_OMNI_OSS_REGION": "cn-standin", "OSS_ACCESS_KEY_ID": key, "OSS_ACCESS_KEY_SECRET": KEYS[key].secret,
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        yield standin


def test_a_good_account(doctor: Said, account: Standin) -> None:
    """Key, model, temporary store and each right on the bucket have a line; nothing is to do; nothing stays."""
    status, found = doctor()

    assert status == 0
    assert {verdict for verdict, _, _ in found.values()} == {"ok"}
    assert list(found) == [
        "address", "proxy", "key", "model", "limits", "temporary store", "bucket: write", "bucket: link", "bucket: delete",
        "bucket: private",
    ]  # fmt: skip
    assert "files up to 1,024 MiB for qwen3.8-omni-flash" in found["temporary store"][1]
    assert account.stores.objects.names(BUCKET) == []


def test_no_bucket(doctor: Said, account: Standin, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a bucket the line says where large files go."""
    monkeypatch.delenv("QWEN_OMNI_OSS_BUCKET")

    status, found = doctor()

    assert (status, found["bucket"][0]) == (0, "ok")
    assert "temporary store" in found["bucket"][1]


@pytest.mark.parametrize(
    ("name", "value", "line", "says", "step"),
    [
        ("DASHSCOPE_API_KEY", "sk-wrong", "key", "401", "Keys belong to a region"),
        ("DASHSCOPE_BASE_URL", "http://127.0.0.1:9/compatible-mode/v1", "service", "connection", "Check the address"),
        ("OSS_ACCESS_KEY_SECRET", "s3cr3t-w4", "bucket", "SignatureDoesNotMatch", "Grant the named permission"),
        ("QWEN_OMNI_OSS_BUCKET", "nobodys", "bucket", "Could not write an object", "Grant the named permission"),
    ],
    ids=["key", "address", "secret", "bucket"],
)
@pytest.mark.usefixtures("account")
def test_a_bad_account(  # noqa: PLR0913, PLR0917  (a table)
    doctor: Said, monkeypatch: pytest.MonkeyPatch, name: str, value: str, line: str, says: str, step: str
) -> None:
    """Each fault has its own line, with what was said and what to do, and the command ends with status 1."""
    monkeypatch.setenv(name, value)

    status, found = doctor()

    assert status == 1
    verdict, text, told = found[line]
    assert verdict == "bad"
    assert says in text
    assert step in told
    assert "SECRET" not in name or value not in f"{found}"


@pytest.mark.usefixtures("account")
def test_a_model_that_the_account_has_not(doctor: Said) -> None:
    """The key is good, the model is not, and the line says what to activate."""
    status, found = doctor("--model", "qwen9-omni")

    assert (status, found["key"][0], found["model"][0]) == (1, "ok", "bad")
    assert found["model"][2] == "Activate qwen9-omni for this account and region, or choose another model."


@pytest.mark.parametrize(
    ("operation", "line", "step"),
    [("get_policy", "temporary store", "Use a bucket of your own"), ("get", "bucket: link", "oss:GetObject")],
)
def test_rights_that_are_missing(doctor: Said, account: Standin, operation: str, line: str, step: str) -> None:
    """A refused right is named on its own line."""
    account.stores.fail(operation, status=403, code="AccessDenied")

    status, found = doctor()

    assert (status, found[line][0]) == (1, "bad")
    assert step in found[line][2]


@pytest.fixture
def host() -> Iterator[Callable[..., str]]:
    """Make a web server that answers HEAD and GET as told; gives its address."""
    servers = []

    def serve(head: tuple[int, dict[str, str]], piece: tuple[int, dict[str, str]]) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def answer(self, status: int, headers: dict[str, str]) -> None:
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.end_headers()

            def do_HEAD(self) -> None:
                self.answer(*head)

            def do_GET(self) -> None:
                assert "Authorization" not in self.headers
                self.answer(*piece)
                self.wfile.write(b"x")

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def test_a_link_whose_host_alone_is_wrong(doctor: Said, host: Callable[..., str]) -> None:
    """A sound file on this machine: every line is good but the host, which the service cannot reach; no key is needed."""
    status, found = doctor(f"{host((200, GOOD), (206, PIECE))}/a.mp4")

    assert status == 1
    assert {name: verdict for name, (verdict, _, _) in found.items()} == {
        "address": "ok", "expiry": "ok", "host": "bad", "answer": "ok", "Content-Length": "ok", "Content-Type": "ok",
        "range": "ok",
    }  # fmt: skip
    assert found["Content-Length"][1] == "1,000 bytes."
    assert "public link, or pass the file itself" in found["host"][2]


def test_a_private_link_is_not_connected_to(
    doctor: Said, host: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Unless the settings allow it, a link to this machine is judged by its address alone."""
    monkeypatch.delenv("QWEN_OMNI_PRIVATE_LINKS")
    status, found = doctor(f"{host((200, GOOD), (206, PIECE))}/a.mp4")
    assert status == 1
    assert set(found) == {"address", "expiry", "host"}
    assert found["host"][0] == "bad"
