"""`doctor`: each fault is found, named, and has a next step."""

import http.server
import json
import threading
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from qwen_omni.diagnostics import ask_quotas, examine, examine_link
from qwen_omni.errors import APIConnectionError, APIError
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.settings import Settings
from qwen_omni.standin import Fault, Quota, Standin
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Done, Reply, advance
from tests.upload.conftest import KEYS, bucket, settings_for


@pytest.fixture
def standin():
    """A stand-in with a bucket."""
    with Standin(oss_keys=KEYS) as service:
        yield service


NOW = datetime(2026, 11, 23, tzinfo=UTC)
GOOD = {"content-length": "1000", "content-type": "video/mp4"}
PIECE = {"content-range": "bytes 0-0/1000", "content-type": "video/mp4", "content-length": "1"}


def link_findings(url, *replies, addresses=("93.184.216.34",)):
    """Drive the flow without a network."""
    flow = examine_link(url, now=NOW, resolve=lambda _: list(addresses))
    step = advance(flow, None)
    waiting = list(replies)
    while not isinstance(step, Done):
        step = advance(flow, waiting.pop(0))
    return {finding.name: finding for finding in step.value}


def both(status=200, head=GOOD, piece=PIECE):
    return Reply(status=status, headers=head), Reply(status=206 if status == 200 else status, headers=piece)


def test_a_good_link_has_nothing_to_do():
    """A public link with size, type and ranges is good in every line."""
    found = link_findings("https://example.com/a.mp4", *both())

    assert {finding.verdict for finding in found.values()} == {"good"}
    assert found["Content-Length"].text == "1,000 bytes."


LINK = "https://example.com/a"
NO_RANGE = (Reply(status=200, headers=GOOD), Reply(status=200, headers=GOOD))
FOR_GET = (Reply(status=403), Reply(status=206, headers=PIECE))
MOVED = Reply(status=302, headers={"location": "/b?Signature=s3cr3t"})
BAD_LINKS = {
    "403": (LINK, both(403), "answer", "bad", "GET 403.", "Sign the link again"),
    "404": (LINK, both(404), "answer", "bad", "GET 404.", "Check the path."),
    "get alone": (LINK, FOR_GET, "answer", "good", "HEAD 403, GET 206.", "Signed for GET alone?"),
    "no length": (
        LINK, both(head={}, piece={"content-type": "video/mp4"}), "Content-Length", "bad", "does not report the size",
        "turn off chunked responses",
    ),
    "type": (LINK, both(piece={**PIECE, "content-type": "text/html"}), "Content-Type", "bad", "text/html", "own type"),
    "no range": (LINK, NO_RANGE, "range", "odd", "Range requests are not supported.", "a store that supports ranges"),
    "ended": (
        f"{LINK}?Expires=1700000000&Signature=s3cr3t", both(), "expiry", "bad", "Expired 2023-11-14", "Sign it again.",
    ),
    "ends soon": (
        f"{LINK}?Expires=1795393500&Signature=s3cr3t", both(), "expiry", "odd", "Expires at 2026-11", "several hours",
    ),
    "private": ("http://127.0.0.1/a", both(), "host", "bad", "'127.0.0.1' is not on the internet.", "a public link"),
    "scheme": ("ftp://example.com/a", both(), "address", "bad", "ftp:// is not a web address", "http(s) link"),
    "down": (LINK, (APIConnectionError("refused"),), "connection", "bad", "refused", "its firewall"),
    "redirect": (LINK, (MOVED, *both()), "redirect", "odd", "302 redirects to", "Use the final address"),
    "loop": (LINK, (MOVED,) * 6, "redirect", "bad", "More than 5 redirects.", "Use the final address"),
}  # fmt: skip


@pytest.mark.parametrize(("url", "replies", "name", "verdict", "says", "step"), BAD_LINKS.values(), ids=BAD_LINKS)
def test_a_bad_link_says_what_to_do(url, replies, name, verdict, says, step):
    """Each fault has its line, its verdict and a step, and no signature is shown."""
    found = link_findings(url, *replies)

    assert found[name].verdict == verdict
    assert says in found[name].text
    assert step in found[name].step
    assert "s3cr3t" not in repr(found)


def test_a_name_with_a_private_address_is_found():
    """A public name that leads to a private address cannot be fetched by the service."""
    assert link_findings("https://example.com/a", *both(), addresses=("10.0.0.1",))["host"].verdict == "bad"
    assert link_findings("https://example.com/a", *both(), addresses=())["host"].verdict == "bad"


class _Host(http.server.BaseHTTPRequestHandler):
    def do_HEAD(self):
        self.send_response(200)
        self.send_header("Content-Length", "100000000")
        self.send_header("Content-Type", "video/mp4")
        self.end_headers()

    def do_GET(self):
        self.do_HEAD()
        try:
            for _ in range(100):
                self.wfile.write(bytes(10**6))
        except OSError:
            self.server.hung_up.set()

    def log_message(self, *_):
        pass


@pytest.mark.parametrize("mode", ["sync", "async"])
async def test_one_byte_is_read_over_a_real_connection(mode):
    """Both drivers carry the flow; a host without ranges is not read to its end, and no key is sent."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Host)
    server.hung_up = threading.Event()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    settings = Settings.load(api_key="sk-nobody", read_timeout=10.0)
    flow = examine_link(f"http://127.0.0.1:{server.server_port}/a.mp4", now=NOW, allow_private=True)
    try:
        findings = await arun(flow, settings) if mode == "async" else run(flow, settings)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()

    found = {finding.name: finding for finding in findings}
    assert (found["Content-Length"].verdict, found["range"].verdict) == ("good", "odd")
    assert server.hung_up.wait(30)


def examined(settings):
    return {finding.name: finding for finding in examine(settings)}


def test_a_good_account(standin, tmp_path):
    """Key, model, temporary store and every right of the bucket are tried, and nothing is left behind."""
    found = examined(settings_for(standin, tmp_path))

    assert {finding.verdict for finding in found.values()} == {"good"}
    assert {"key", "model", "temporary store", "bucket: write", "bucket: link", "bucket: delete"} <= set(found)
    assert standin.stores.objects.names("standin-media") == []


@pytest.mark.parametrize(
    ("prefix", "begins", "where"), [("", "doctor-", "objects."), ("/films/", "films/doctor-", "objects under films/.")]
)
def test_the_objects_name_never_begins_with_a_slash(standin, tmp_path, prefix, begins, where):
    """OSS refuses such names; the doctor's object is named as uploads are."""
    found = examined(settings_for(standin, tmp_path, oss=bucket(standin, prefix=prefix)))

    assert {call.key[: len(begins)] for call in standin.stores.calls if call.key.endswith(".txt")} == {begins}
    assert found["bucket: write"].text.endswith(where)


@pytest.mark.parametrize(
    ("operation", "fault", "tells"),
    [("get", {"cut_after": 0}, "failed"), ("delete", {"status": 503}, "delete an object")],
    ids=["fetching", "deleting"],
)
def test_nothing_is_left_behind_by_what_fails(standin, tmp_path, operation, fault, tells):
    """Where the link or the deletion fails, that is told, and the object is deleted all the same."""
    standin.stores.fail(operation, times=1, **fault)

    found = examined(settings_for(standin, tmp_path))

    assert (found["bucket"].verdict, tells in found["bucket"].text) == ("bad", True)
    assert [call.operation for call in standin.stores.calls].count("put") == 1
    assert standin.stores.objects.names("standin-media") == []


def test_whoever_stops_listening_leaves_nothing_behind(standin, tmp_path):
    """Findings come as they are made; the object goes even if nobody asks for the rest."""
    findings = examine(settings_for(standin, tmp_path))
    assert any(finding.name == "bucket: write" for finding in findings)
    assert len(standin.stores.objects.names("standin-media")) == 1

    findings.close()

    assert standin.stores.objects.names("standin-media") == []


def test_every_right_is_named(standin, tmp_path):
    """A key that may not write is told all that it needs, on which objects."""
    standin.stores.fail("put", status=403, code="AccessDenied")

    text = examined(settings_for(standin, tmp_path))["bucket"].text

    for right in ("PutObject", "GetObject", "ListParts", "AbortMultipartUpload", "DeleteObject"):
        assert f"oss:{right}" in text
    assert "on standin-media/ours/*," in text


@pytest.mark.parametrize(
    ("status", "code", "says"),
    [
        (400, "Arrearage", "Access denied, please make sure your account is in good standing."),
        (403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted."),
    ],
)
def test_an_account_that_has_to_pay(standin, tmp_path, status, code, says):
    """Nobody is sent to activate a model when it is the bill."""
    standin.script.fault(Fault.refuse(status, code, says))

    found = examined(settings_for(standin, tmp_path))

    assert (found["key"].verdict, found["account"].verdict) == ("good", "bad")
    assert says in found["account"].text
    assert "console" in found["account"].step
    assert "Activate" not in f"{found}"


def test_a_retired_model(tmp_path):
    """It is named before the service is asked; so nothing is said about the key."""
    settings = Settings.load(api_key="sk-x", region="cn", cache_dir=tmp_path)
    found = {one.name: one for one in examine(settings, "qwen-omni-turbo")}

    assert "key" not in found
    assert (found["model"].verdict, found["model"].step) == ("bad", "Choose the model that it names.")
    assert "use qwen3.5-omni-plus" in found["model"].text


def test_a_model_that_is_not_there(standin, tmp_path):
    """An unknown model leaves the key good. Each unknown name is warned of once, so this one is the test's own."""
    with pytest.warns(UserWarning, match="newer than this version"):
        found = {one.name: one for one in examine(settings_for(standin, tmp_path), "qwen9-omni-doctor")}

    assert (found["key"].verdict, found["model"].verdict) == ("good", "bad")


# --- Hosts and limits ---


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", ("shared host, cn", "may last 600 s")),
        ("https://ws-1.ap-northeast-1.maas.aliyuncs.com/compatible-mode/v1", ("workspace host, jp", "3,600 s")),
        ("https://trial.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", ("trial host, intl", "600 s")),
        ("http://127.0.0.1:8000/v1", ("a custom host", "no known limit", "vllm")),
    ],
)
def test_the_host_and_its_time(url, says):
    """Which host it is, where, and how long a request may last."""
    found = next(examine(Settings.load(api_key="sk-1", base_url=url)))
    assert all(words in found.text for words in says)


def asked_quotas(reply):
    """Return what the account has, or the error."""
    flow = ask_quotas("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "qwen3.5-omni-flash")
    request = advance(flow, None)
    assert request.url == (
        "https://ws-1.cn-beijing.maas.aliyuncs.com/api/v1/quotas?page_size=20&model=qwen3.5-omni-flash"
    )
    assert request.with_key
    step = advance(flow, reply)
    assert isinstance(step, Done)
    return step.value


def quota_of(model="qwen3.5-omni-flash", limit=None, workspace=None):
    return {"model": model, "workspace_id": "ws-1", "model_limit": limit, "workspace_limit": workspace}


RPM = {"request_limit": 60, "request_limit_period": 60}
QPS = {"request_limit": 2, "request_limit_period": 1, "usage_limit": None}
TPM = {"usage_limit": "100000", "usage_limit_field": "total_tokens", "usage_limit_period": 60}


@pytest.mark.parametrize(
    ("quotas", "expected"),
    [
        ([quota_of(limit={**RPM, **TPM})], (60, 100_000)),
        ([quota_of(limit=QPS)], (120, None)),
        ([quota_of(limit={**RPM, **TPM}, workspace={"request_limit": 30, "request_limit_period": 60})], (30, 100_000)),
        ([quota_of("qwen3.5-omni-flash-realtime", RPM), quota_of(limit=QPS)], (120, None)),
        ([quota_of("another", RPM)], None),
        ([quota_of()], None),
        (None, None),
    ],
)
def test_the_limits_of_an_account(quotas, expected):
    """Model Studio, List model quotas, 2026-09-28: by the minute or the second, and the lower one of a workspace."""
    found = asked_quotas(Reply(status=200, body=json.dumps({"output": {"total": 1, "quotas": quotas}}).encode()))
    assert (found and (found.rpm, found.tpm)) == expected


@pytest.mark.parametrize(
    "body",
    [b"", b"[]", b"<html>", b'{"output": 3}', b'{"output": {"quotas": "none"}}', b'{"output": {"quotas": [3]}}',
     json.dumps({"output": {"quotas": [quota_of(limit={"request_limit": -4, "request_limit_period": 60})]}}).encode(),
     json.dumps({"output": {"quotas": [quota_of(limit={"request_limit": 1e300, "request_limit_period": 1})]}}).encode(),
     json.dumps({"output": {"quotas": [quota_of(limit=7)]}}).encode()],
)  # fmt: skip
def test_an_odd_answer_about_limits_is_one_error(body):
    """And never anything but an `APIError`."""
    with pytest.raises(APIError, match="not in the documented format"):
        asked_quotas(Reply(status=200, body=body))


def test_the_doctor_says_which_limits(tmp_path):
    """Those that requests are paced by beside those of the account; a host without the route is one line."""
    with Standin() as plain:
        assert "does not report" in examined(settings_for(plain, tmp_path))["limits"].text
    with Standin(quotas={DEFAULT_MODEL: Quota(rpm=600, tpm=1_000_000)}) as service:
        ours = settings_for(service, tmp_path)
        unpaced = examined(ours)["limits"]
        fast = examined(replace(ours, limits=RateLimits(rpm=6_000, tpm=1_000_000)))["limits"]
        good = examined(replace(ours, limits=RateLimits(rpm=600, tpm=1_000_000)))["limits"]
    assert (unpaced.verdict, fast.verdict, good.verdict) == ("good", "odd", "good")
    assert "Requests are not paced; the account has 600 RPM and 1,000,000 TPM" in unpaced.text
    assert fast.step == "In Python, pass limits=RateLimits(rpm=600, tpm=1000000), so that fewer requests are refused."
