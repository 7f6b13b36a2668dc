"""When a request is sent again."""

import asyncio
import time
from types import SimpleNamespace

import pytest
from hypothesis import given, strategies as st

from qwen_omni import ChatRequest, Settings, errors, user
from qwen_omni.messages import MediaPayload
from qwen_omni.responses import Response
from qwen_omni.settings import OssSettings
from qwen_omni.standin import Standin
from qwen_omni.transport.api import run
from qwen_omni.transport.retry import LONGEST_WAIT, Attempts, RetryPolicy
from qwen_omni.upload.oss import OssStore, Refused, parse_xml, to_delivery_error
from qwen_omni.upload.temporary import Policy, post_file
from qwen_omni.wire.errors import parse_retry_after, to_error
from tests.support.asking import Way, once_each
from tests.support.rawserver import RawServer, answer
from tests.upload.conftest import credentials

PASSING = [
    errors.RateLimitError("x"),
    errors.ServerError("x"),
    errors.APIConnectionError("x"),
    errors.APITimeoutError("x"),
    errors.MediaDownloadTimeoutError("x"),
    errors.StreamInterruptedError("x", partial=Response()),
]
FINAL = [
    errors.AccountError("x"),
    errors.ContentFilterError("x"),
    errors.InvalidRequestError("x"),
    errors.AuthenticationError("x"),
    errors.MediaRefusedError("x"),
    errors.ConfigurationError("x"),
    errors.MediaOutsideRootError("x"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_passing_errors_are_repeated_till_something_was_shown(error):
    """What passes is tried again, but never once the caller has seen a piece of the answer."""
    policy = RetryPolicy()
    assert policy.wait(error, 0, shown=False) is not None
    assert policy.wait(error, 0, shown=True) is None


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_final_errors_are_not_repeated(error):
    """What will fail again costs no second try."""
    assert RetryPolicy().wait(error, 0, shown=False) is None


def test_media_downloads_are_tried_twice_again():
    """An error may allow fewer tries than the settings."""
    policy = RetryPolicy(max_retries=9)
    error = errors.MediaDownloadTimeoutError("x")
    assert [policy.wait(error, attempt, shown=False) is not None for attempt in range(4)] == [True, True, False, False]


@given(attempt=st.integers(0, 50), draw=st.floats(0, 1), error=st.sampled_from(PASSING))
def test_waits_are_bounded_and_grow(attempt, draw, error):
    """A wait never exceeds a minute, nor falls under half of the one before."""
    policy = RetryPolicy(max_retries=99)
    wait = policy.wait(error, attempt, shown=False, draw=lambda: draw)
    if wait is not None:
        assert 0 < wait <= LONGEST_WAIT
        after = policy.wait(error, attempt + 1, shown=False, draw=lambda: draw)
        assert after is None or after >= wait


def test_token_limits_wait_longest():
    """`insufficient_quota` is the limit of tokens per minute here, so it is worth waiting for."""
    policy = RetryPolicy()
    waits = [
        policy.wait(error, 0, shown=False, draw=lambda: 0)
        for error in (
            errors.ServerError("x"),
            errors.RateLimitError("x", code="limit_requests"),
            errors.RateLimitError("x", code="insufficient_quota"),
        )
    ]
    assert waits == sorted(waits)
    assert waits[2] == 15


def test_the_last_error_says_how_often():
    """An error that was tried again tells so."""
    attempts = Attempts(RetryPolicy(max_retries=2, first_wait=0))
    for _ in range(2):
        attempts.failed(errors.ServerError("x"))
    with pytest.raises(errors.ServerError) as caught:
        attempts.failed(errors.ServerError("x"))
    assert caught.value.__notes__ == ["Tried 3 times."]


# --- Statuses, and how long a server may ask to wait ---


HELLO = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Say hello."),))


@pytest.fixture
def standin(service):
    """With an empty log."""
    service.script.clear()
    service.requests.clear()
    return service


@pytest.fixture
def waits(monkeypatch):
    """The waits of both clients, which are not waited."""
    told: list[float] = []

    async def note(seconds: float) -> None:
        told.append(seconds)

    monkeypatch.setattr("qwen_omni.client.time", SimpleNamespace(sleep=told.append))
    monkeypatch.setattr("qwen_omni.client.asyncio", SimpleNamespace(**{**vars(asyncio), "sleep": note}))
    return told


def asked(ask: Way, standin: Standin) -> str:
    return ask(Settings.load(api_key=standin.api_key, base_url=standin.base_url, max_retries=2), HELLO).text


@once_each
@pytest.mark.parametrize("status", [408, 409, 425, 429, 500, 502, 503, 504])
def test_a_status_that_passes_is_tried_again(standin, waits, ask, status):
    """Once refused, then answered."""
    standin.script.raw(b"busy", status=status, content_type="text/plain")
    assert asked(ask, standin)
    assert (len(standin.requests), len(waits)) == (2, 1)


@once_each
@pytest.mark.parametrize("status", [400, 401, 402, 403, 404, 405, 410, 413, 422])
def test_other_refusals_are_final(standin, waits, ask, status):
    """What will be refused again is sent once."""
    standin.script.raw(b"no", status=status, content_type="text/plain")
    with pytest.raises(errors.APIError) as caught:
        asked(ask, standin)
    assert caught.value.status_code == status
    assert (len(standin.requests), waits) == (1, [])


WISHES = [
    ("0", 0), ("7", 7), ("0.25", 0.25), ("60", 60),
    ("Thu, 01 Jan 2026 00:00:30 GMT", 30), ("Thu, 01 Jan 1970 00:00:00 GMT", 0),
]  # fmt: skip


@once_each
@pytest.mark.parametrize(("value", "seconds"), WISHES)
def test_a_server_may_ask_to_wait(standin, waits, ask, value, seconds):
    """Seconds, or a date beside its own clock; exactly so long is waited."""
    for _ in range(2):
        headers = [("Retry-After", value), ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")]
        standin.script.raw(b"busy", status=429, content_type="text/plain", headers=headers)
    assert asked(ask, standin)
    assert waits == [seconds, seconds]


@once_each
@pytest.mark.parametrize(
    ("value", "seconds"), [("61", 61), ("3600", 3600), ("Thu, 01 Jan 2026 02:00:00 GMT", 7200), ("1e300", 1e300)]
)
@pytest.mark.parametrize("status", [429, 503])
def test_nobody_waits_for_more_than_a_minute(standin, waits, ask, value, seconds, status):
    """The error comes at once, with the number."""
    headers = [("Retry-After", value), ("Date", "Thu, 01 Jan 2026 00:00:00 GMT")]
    standin.script.raw(b"busy", status=status, content_type="text/plain", headers=headers)
    with pytest.raises(errors.APIError, match=r"asks to wait [\de+,]+ s \(Retry-After\)") as caught:
        asked(ask, standin)
    assert caught.value.retry_after == seconds
    assert (len(standin.requests), waits) == (1, [])


ODD = [None, "", "soon", "-1", "nan", "inf", "9" * 400, "Thu, 99 Foo", "Thu, 01 Jan 99999 00:00:00 GMT"]


@pytest.mark.parametrize("value", ODD)
def test_an_odd_wish_is_none(value):
    """The usual waits apply."""
    assert parse_retry_after(value) is None


def test_a_date_without_a_clock_beside_it_goes_by_ours():
    """A date in the past is now."""
    assert parse_retry_after("Thu, 01 Jan 1970 00:00:00 GMT") == 0


def test_a_wish_is_no_reason_to_try_again():
    """A final error stays final, an error that was tried enough too, and an answer that was shown is not repeated."""
    final = to_error(400, "no", {"retry-after": "1"})
    passing = to_error(429, "no", {"retry-after": "1"})
    policy = RetryPolicy(max_retries=1)
    assert policy.wait(final, 0, shown=False) is None
    assert policy.wait(passing, 0, shown=False) == 1
    assert policy.wait(passing, 1, shown=False) is None
    assert policy.wait(passing, 0, shown=True) is None


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ("<429> Too many", 429), (" <503> x", 503), ("<5000202> engine", 500), ("see <500>", 400),
        ("a <404> b <500>", 400),
        ("<100> x", 400), ("<200> x", 400), ("<42> x", 400), ("Expected <100> to <500> tokens", 400), ("429", 400),
        ("<999> x", 400),
    ],
)  # fmt: skip
def test_a_status_counts_at_the_beginning_alone(message, status):
    """Messages quote what was sent; only `<NNN>` in front is the service's."""
    assert to_error(400, '{"error": {"message": "%s"}}' % message).status_code == status  # noqa: UP031


@pytest.mark.parametrize(
    ("status", "code", "passes"),
    [
        (408, "RequestTimeout", True), (409, "OperationAborted", True), (409, "FileAlreadyExists", False),
        (425, "x", True), (429, "x", True), (500, "x", True), (503, "x", True), (0, "RequestError", True),
        (400, "x", False), (403, "AccessDenied", False), (404, "NoSuchBucket", False), (307, "Redirect", False),
    ],
)  # fmt: skip
def test_a_bucket_is_asked_again_by_the_same_statuses(status, code, passes):
    """But for a 409 that stays."""
    assert Refused(status=status, code=code, message="m").passes == passes


@pytest.mark.parametrize(
    "body", [b"", b"<Error>", b"\xff\x00", b"<Code>" + b"x" * 10**6, b"<Code><Code></Code>", b"{}"]
)
@pytest.mark.parametrize("date", [None, "", "soon", "Thu, 99 Foo", "9" * 400])
def test_an_odd_refusal_of_a_bucket_is_an_error_of_ours(body, date):
    """Not XML, half of it, no date that can be read."""
    refused = parse_xml(403, body, date)
    skewed = Refused(status=403, code="RequestTimeTooSkewed", message=refused.message, date=date)
    oss = OssSettings(bucket="b", endpoint="https://oss-cn-beijing.aliyuncs.com", credentials=credentials())
    for one in (refused, skewed):
        assert len(str(to_delivery_error(one, "write", oss, 0.0))) < 1000


def busy(times: list[int], *, status: str = "503 Busy") -> RawServer:
    """A server that is busy once, and asks to be left alone for seven seconds."""

    def reply() -> list[bytes]:
        times.append(1)
        if len(times) > 1:
            return answer(b"", headers=[("ETag", '"x"')])()
        return answer(b"<Error/>", status=status, headers=[("Retry-After", "7")])()

    return RawServer(reply)


def test_a_bucket_may_ask_to_wait(monkeypatch):
    """Its uploads wait as told."""
    times, waited = [], []
    clock = SimpleNamespace(sleep=waited.append, time=time.time)
    monkeypatch.setattr("qwen_omni.upload.oss.time", clock)
    with busy(times) as server:
        oss = OssSettings(bucket="media-one", endpoint=f"http://{server.host}", region="x", credentials=credentials())
        OssStore(oss, retry=RetryPolicy(), timeout=5.0).write("a.txt", b"a")
    assert (len(times), waited) == (2, [7])


def test_the_temporary_store_may_ask_to_wait(settings):
    """The error tells the number, by which uploads are repeated."""
    media = MediaPayload(data=b"abc", size_bytes=3, format="mp4", content_type="video/mp4")
    with busy([]) as server:
        policy = Policy(host=f"http://{server.host}/", folder="f", fields={}, until=1e12, limit_bytes=None)
        with pytest.raises(errors.StoreUnavailableError) as caught:
            run(post_file(policy, media, label="a.mp4", sent=lambda _: None), settings)
    assert RetryPolicy().wait(caught.value, 0, shown=False) == 7
