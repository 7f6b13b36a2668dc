"""The temporary store: its flows without a network, and the whole way against the stand-in."""

import json
import time

import pytest

from qwen_omni.errors import (
    AuthenticationError,
    DeliveryError,
    MediaDoesNotFitError,
    QwenOmniError,
    RateLimitError,
    StoreUnavailableError,
)
from qwen_omni.messages import MediaPayload
from qwen_omni.settings import Settings
from qwen_omni.standin.stores.temporary import BUCKET
from qwen_omni.transcription.protocol import submit_url, task_url
from qwen_omni.transport.flow import Done, Reply, Request, Sleep, advance
from qwen_omni.transport.rate_limit import upload_pace
from qwen_omni.upload.temporary import Policy, ask_policy, parse_policy, post_file
from qwen_omni.upload.uploader import Uploader
from qwen_omni.work_store.sqlite import FileTransaction
from tests.upload.conftest import MODEL, operations, sha256

DATA = {
    "policy": "cG9saWN5", "signature": "sig", "upload_dir": "dir/1/", "upload_host": "https://store.example.com",
    "expire_in_seconds": "300", "max_file_size_mb": 1, "oss_access_key_id": "ID", "x_oss_object_acl": "private",
    "x_oss_forbid_overwrite": "true",
}  # fmt: skip


def carry(carrier, media, model=MODEL):
    return carrier.carry(media, "temporary", model=model, name="film.mp4")


def test_the_policy_is_asked_with_the_key_at_the_services_host():
    """The native route is derived from the chat address, and the key goes along."""
    flow = ask_policy("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "a model", None, lambda: 1000.0)

    request = advance(flow, None)
    done = advance(flow, Reply(status=200, body=json.dumps({"data": DATA}).encode()))

    assert request.url == "https://dashscope-intl.aliyuncs.com/api/v1/uploads?action=getPolicy&model=a+model"
    assert (request.method, request.with_key) == ("GET", True)
    assert isinstance(done, Done)
    assert (done.value.until, done.value.limit_bytes, done.value.folder) == (1300.0, 2**20, "dir/1")


@pytest.mark.parametrize(
    ("base_url", "native"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "https://dashscope.aliyuncs.com/api/v1"),
        ("https://gw.example.com/dashscope/compatible-mode/v1", "https://gw.example.com/dashscope/api/v1"),
        ("https://gw.example.com:8443/a/b/compatible-mode/v1/", "https://gw.example.com:8443/a/b/api/v1"),
        ("https://gw.example.com/v1", "https://gw.example.com/api/v1"),
        ("https://gw.example.com", "https://gw.example.com/api/v1"),
        ("https://gw.example.com/compatible-mode/v1/beta", "https://gw.example.com/api/v1"),
    ],
)
def test_a_gateways_path_is_kept(base_url, native):
    """What stands before the path of the chat routes stands before the native ones, for uploads and for tasks."""
    request = advance(ask_policy(base_url, "m", None, lambda: 0.0), None)

    assert request.url == f"{native}/uploads?action=getPolicy&model=m"
    assert submit_url(base_url) == f"{native}/services/audio/asr/transcription"
    assert task_url(base_url, "t/1") == f"{native}/tasks/t%2F1"


def test_requests_for_permission_are_kept_apart():
    """The service takes 100 a second: the second waits for its place, and the flow sleeps so long; models are apart."""
    settings = Settings.load(api_key="sk-uploads", base_url="https://h.example/v1")
    flows = [ask_policy(settings.base_url, m, upload_pace(settings, m), lambda: 0.0) for m in ("m", "m", "other")]

    first, second, other = (advance(flow, None) for flow in flows)

    assert not isinstance(first, Sleep)
    assert isinstance(second, Sleep)
    assert 0 < second.seconds <= 0.0101
    assert not isinstance(other, Sleep)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"data": {}}', b'{"data": null}'])
def test_an_answer_that_is_no_policy_is_told(body):
    """A policy that cannot be read is an error with a next step."""
    with pytest.raises(StoreUnavailableError, match=r"upload policy cannot be read.*OssSettings"):
        parse_policy(body, 0.0)


def test_the_form_has_the_file_last_and_a_name_of_its_own():
    """Fields go back as they came, the file comes last, the name is new each time, no key goes to the store."""
    policy = parse_policy(json.dumps({"data": DATA}).encode(), 0.0)
    media = MediaPayload(data=b"abc", size_bytes=3, format="mp4", content_type="video/mp4")
    flows = [post_file(policy, media, label="x", sent=lambda _: None) for _ in range(2)]

    requests = [advance(flow, None) for flow in flows]

    body = b"".join(requests[0].content)
    names = [line for line in body.decode().splitlines() if "form-data" in line]
    assert len(body) == requests[0].content.length
    assert names[-1].startswith('Content-Disposition: form-data; name="file"')
    assert b'"x-oss-forbid-overwrite"\r\n\r\ntrue' in body
    assert not requests[0].with_key
    links = [advance(flow, Reply(status=200)).value for flow in flows]
    assert len(set(links)) == 2
    assert links[0].startswith("oss://dir/1/")


def test_larger_than_the_policy_allows_is_not_sent():
    """The limit of the policy is checked before anything goes out."""
    policy = Policy(host="h", folder="d", fields={}, until=0, limit_bytes=10)

    with pytest.raises(MediaDoesNotFitError, match=r"film is.*OssSettings"):
        advance(post_file(policy, MediaPayload(data=b"x" * 11, size_bytes=11), label="film", sent=print), None)


def test_upload_and_reuse(standin, carrier, film):
    """The bytes arrive whole; one policy serves several files; the same file goes out once."""
    one = carrier()
    first, second = film(3_000_000), film(3_000_001)

    found = [carry(one, media) for media in (first, second, first)]

    stored = standin.stores.objects.get(BUCKET, found[0].url.removeprefix("oss://"))
    assert (stored.sha256, stored.content_type) == (sha256(first.path), "video/mp4")
    assert operations(standin) == ["get_policy", "post_form", "post_form"]
    assert found[2].url == found[0].url
    assert "holiday" not in found[0].url


def test_each_model_and_account_uploads_for_itself(standin, carrier, film):
    """Links belong to one model, so another model uploads again."""
    media = film(1000)
    links = {carry(carrier(), media, model).url for model in (MODEL, "qwen3.5-omni-flash", MODEL)}

    assert len(links) == 2


class Services:
    """Answers every request at any address as the store does; remembers where leave to upload was asked for."""

    def __init__(self):
        self.asked = []

    def run(self, flow):
        """Carry a flow to its end."""
        step = advance(flow, None)
        while not isinstance(step, Done):
            if isinstance(step, Request) and step.method == "GET":
                self.asked.append(step.url.partition("/uploads")[0])
            is_sleep = isinstance(step, Sleep)
            step = advance(flow, None if is_sleep else Reply(status=200, body=json.dumps({"data": DATA}).encode()))
        return step.value


def test_each_gateway_of_a_host_uploads_for_itself(film, tmp_path):
    """Two paths may lead to two accounts, whose links work for one alone; one path spelled twice is one."""
    media, services = film(1000), Services()

    def link(base_url):
        settings = Settings.load(api_key="sk-x", base_url=base_url, cache_dir=tmp_path / "cache")
        return carry(Uploader(settings, services.run), media).url

    one, again, other = (
        link(f"https://gw.example.com/{path}/compatible-mode/v1{slash}")
        for path, slash in (("team-a", ""), ("team-a", "/"), ("team-b", ""))
    )

    assert one == again != other
    assert services.asked == [f"https://gw.example.com/{team}/api/v1" for team in ("team-a", "team-b")]


def test_uploads_are_used_for_47_hours(standin, carrier, film, monkeypatch):
    """An hour before the store forgets a file it is uploaded again."""
    one, media = carrier(), film(1000)
    first = carry(one, media)
    clock = time.time()

    monkeypatch.setattr(FileTransaction, "now", staticmethod(lambda: clock + 46.9 * 3600))
    assert carry(one, media).url == first.url
    monkeypatch.setattr(FileTransaction, "now", staticmethod(lambda: clock + 47.1 * 3600))
    assert carry(one, media).url != first.url


def test_a_policy_that_ran_out_is_fetched_again(standin, carrier, film):
    """403 "Policy expired" costs a new policy and a second post."""
    one = carrier()
    carry(one, film(1000))
    standin.stores.clock_offset = 301

    carry(one, film(1001))

    assert operations(standin)[2:] == ["post_form", "get_policy", "post_form"]


def test_a_policy_that_is_always_too_old_is_reported(standin, carrier, film):
    """A second expired policy is an error that names the clock."""
    standin.stores.fail("post_form", status=403, code="AccessDenied", times=9,
                        message="Invalid according to Policy: Policy expired.")  # fmt: skip

    with pytest.raises(DeliveryError, match=r"Policy expired.*clock is wrong"):
        carry(carrier(), film(1000))
    assert operations(standin).count("post_form") == 2


@pytest.mark.parametrize(
    ("operation", "fault", "error", "says"),
    [
        ("get_policy", {"status": 429, "code": "Throttling.RateQuota"}, RateLimitError, "429"),
        ("get_policy", {"status": 401, "code": "InvalidApiKey"}, AuthenticationError, "valid in one region"),
        ("post_form", {"status": 503}, StoreUnavailableError, r"503 ServiceUnavailable.*OssSettings"),
        ("post_form", {"cut_after": 1000}, StoreUnavailableError, r"after 4 tries.*OssSettings"),
    ],
    ids=["429", "401", "503", "cut"],
)
def test_lasting_faults_are_reported(  # noqa: PLR0913, PLR0917  (a table)
    standin, carrier, film, operation, fault, error, says
):
    """What does not pass ends in an error of its kind with a next step; nothing half is kept."""
    standin.stores.fail(operation, times=99, **fault)

    with pytest.raises(error, match=says):
        carry(carrier(), film(3_000_000))
    assert standin.stores.objects.names(BUCKET) == []


@pytest.mark.parametrize("fault", [{"status": 429, "code": "Throttling.RateQuota"}, {"status": 500}, {"cut_after": 0}])
def test_leave_to_upload_is_asked_for_as_often_as_allowed(standin, carrier, film, fault):
    """Asking for leave and posting are repeated together: one budget of tries, whichever of them fails."""
    standin.stores.fail("get_policy", times=99, **fault)
    with pytest.raises(QwenOmniError):
        carry(carrier(max_retries=3), film(1000))
    assert operations(standin) == ["get_policy"] * 4


def test_one_budget_of_tries_covers_leave_and_posting(standin, carrier, film):
    """Leave that came late is kept for the tries that are left."""
    standin.stores.fail("get_policy", times=2, status=500)
    standin.stores.fail("post_form", times=99, status=503)
    with pytest.raises(StoreUnavailableError):
        carry(carrier(max_retries=3), film(1000))
    assert operations(standin) == ["get_policy"] * 3 + ["post_form"] * 2


def test_a_store_that_is_down(standin, carrier, film):
    """Nobody listens: tried as often as allowed, then told."""
    one = carrier(max_retries=1)
    standin.stop()

    with pytest.raises(StoreUnavailableError, match=r"after 2 tries.*connection"):
        carry(one, film(1000))


def test_progress_is_told(carrier, film):
    """`on_upload` hears of the bytes as they go, up to all of them."""
    told = []
    media = film(3_000_000)

    carry(carrier(on_upload=told.append), media)

    assert [one.sent_bytes for one in told] == sorted(one.sent_bytes for one in told)
    assert (told[-1].sent_bytes, told[-1].total_bytes, told[-1].store) == (3_000_000, 3_000_000, "temporary")
