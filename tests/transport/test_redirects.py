"""No redirect is followed where the key, the prompt or media would go along; the error names both hosts, no query."""

import asyncio
from datetime import UTC, datetime

import pytest

from qwen_omni import ChatRequest, OssSettings, Settings, errors, user
from qwen_omni.messages import MediaPayload
from qwen_omni.profiles.transcription import transcriber
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.task import TaskContext, look, submit
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Flow
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.oss import OssStore
from qwen_omni.upload.temporary import Policy, ask_policy, post_file
from tests.support.asking import each_way
from tests.support.rawserver import RawServer, answer
from tests.upload.conftest import credentials

KEY = "sk-0123456789abcdef"
HELLO = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Say hello."),))
STATUSES = pytest.mark.parametrize("status", [302, 303, 307, 308])


@pytest.fixture
def elsewhere():
    """The host that is redirected to; it must never be asked."""
    with RawServer(answer(b"{}")) as server:
        yield server
        assert server.requests == []


@pytest.fixture
def redirecting(elsewhere, status):
    """A host that redirects everything, to an address with a secret in its query."""
    target = f"http://{elsewhere.host}/taken?token=very-secret"
    with RawServer(answer(b"moved", status=f"{status} Moved", headers=[("Location", target)])) as server:
        yield server


def check(error: errors.QwenOmniError, redirecting: RawServer, elsewhere: RawServer, status: int) -> None:
    assert redirecting.host in str(error)
    assert elsewhere.host in str(error)
    assert str(status) in str(error)
    assert "very-secret" not in f"{error!r}{vars(error)}"
    assert len(redirecting.requests) == 1, "it is final: the same would come again"


@STATUSES
@each_way
def test_chat_follows_no_redirect(redirecting, elsewhere, status, ask):
    """Neither the headers of the caller nor the prompt go to another host."""
    settings = Settings.load(api_key=KEY, base_url=redirecting.url, headers={"X-Secret": "very-secret"}, retry_wait=0.0)
    with pytest.raises(errors.APIError) as caught:
        ask(settings, HELLO)
    assert caught.value.status_code == status
    check(caught.value, redirecting, elsewhere, status)


def flows(host: RawServer) -> dict[str, Flow[object]]:
    """Each flow that carries a key, media or a signature."""
    policy = Policy(host=f"http://{host.host}/", folder="f", fields={}, until=1e12, limit_bytes=None)
    media = MediaPayload(data=b"abc", size_bytes=3, format="mp4", content_type="video/mp4")
    desk = TaskContext(base_url=host.url, label="a.mp3", retry=RetryPolicy(first_wait=0.0), clock=lambda: 0.0)
    options = TranscriptionOptions()
    return {
        "submit": submit(desk, transcriber("fun-asr"), options, "https://example.com/a.mp3"),
        "look": look(desk, "t-1"),
        "policy": ask_policy(host.url, HELLO.model, None, lambda: datetime.now(UTC).timestamp()),
        "post": post_file(policy, media, label="a.mp4", sent=lambda _: None),
    }


@STATUSES
@pytest.mark.parametrize("name", ["policy", "post", "submit", "look"])
@pytest.mark.parametrize("asynchronous", [False, True])
def test_native_routes_follow_no_redirect(redirecting, elsewhere, status, name, asynchronous):
    """Leave to upload, the upload itself, and the tasks of transcription."""
    settings = Settings.load(api_key=KEY, base_url=redirecting.url, retry_wait=0.0)
    flow = flows(redirecting)[name]
    with pytest.raises(errors.QwenOmniError) as caught:
        asyncio.run(arun(flow, settings)) if asynchronous else run(flow, settings)
    check(caught.value, redirecting, elsewhere, status)


@pytest.mark.parametrize("status", [302, 307])
def test_a_bucket_follows_no_redirect(redirecting, elsewhere, status):
    """The signed headers are for this host."""
    oss = OssSettings(
        bucket="media-one", endpoint=f"http://{redirecting.host}", region="cn-x", credentials=credentials()
    )
    store = OssStore(oss, retry=RetryPolicy(max_retries=2, first_wait=0.0), timeout=5.0)
    with pytest.raises(errors.DeliveryError) as caught:
        store.write("a.txt", b"a")
    check(caught.value, redirecting, elsewhere, status)
