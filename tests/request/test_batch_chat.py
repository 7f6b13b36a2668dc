"""`tier="batch"`: the address, the waiting, unbilled time-outs, and what is refused before anything is sent."""

import io
import pickle
import socket
from dataclasses import replace
from functools import partial
from typing import Any

import pytest
from PIL import Image
from pydantic import SecretStr

from qwen_omni import (
    APIConnectionError,
    APIError,
    APITimeoutError,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    ImagePart,
    MediaSource,
    OmniClient,
    Response,
    SpendLimit,
    StreamInterruptedError,
    UsageLedger,
    estimate,
    user,
)
from qwen_omni.errors import BatchTimeoutError, MediaDownloadTimeoutError, RateLimitError, ServerError
from qwen_omni.options import check_tier
from qwen_omni.settings import Settings
from qwen_omni.standin import Fault, Standin
from qwen_omni.wire.errors import as_batch_timeout, to_error
from tests.support.asking import Way, complete, each_way
from tests.support.threads import in_threads

BATCH = ChatOptions(tier="batch")
HI = ChatRequest(model="qwen-plus", messages=(user("Hi"),), options=BATCH)
CN = "https://dashscope.aliyuncs.com/compatible-mode/v1"
HOST = "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"


@pytest.fixture
def batch(settings: Settings, standin: Standin) -> Settings:
    """Settings that reach the stand-in's Batch Chat, with a limit and a ledger."""
    return replace(settings, batch_base_url=standin.batch_base_url, spend_limit=SpendLimit(cny=1), ledger=UsageLedger())


# --- The address ---


@pytest.mark.parametrize(
    ("url", "tier", "expected"),
    [
        (CN, None, CN),
        (CN, "standard", CN),
        (CN, "batch", HOST),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "batch", HOST),
        (HOST, None, HOST),
        (HOST, "batch", HOST),
    ],
)
def test_the_address_follows_the_tier(url: str, tier: Any, expected: str) -> None:
    """One hour, and the origin of all the vendor's hosts: what was answered by one is not paid for at the other."""
    settings = Settings.load(api_key="sk-1", base_url=url)
    chosen = settings.for_tier(tier)
    assert chosen.base_url == expected
    assert chosen.origin == settings.origin == "dashscope"
    if expected == HOST:
        assert chosen.read_timeout > 3600
        assert chosen.answer_seconds > 3600


def test_a_total_timeout_of_the_callers_is_kept() -> None:
    """The service allows 60 to 3,600 s."""
    chosen = Settings.load(api_key="sk-1", base_url=CN, total_timeout=1800).for_tier("batch")
    assert chosen.answer_seconds == 1800


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        (
            {"base_url": "https://gateway.example.com/compatible-mode/v1"},
            "Pass batch_base_url=, or set DASHSCOPE_BATCH_",
        ),
        ({"base_url": "http://10.0.0.7:8000/v1"}, "needs DashScope"),
        ({"base_url": CN, "batch_base_url": "https://elsewhere.example.com/v1"}, "is on a different server"),
        ({"region": "intl"}, "exists in Beijing only, not in the region intl"),
    ],
)
def test_servers_without_batch_chat_are_refused(settings: dict[str, Any], words: str) -> None:
    """Before anything is sent, and the key goes to no other server."""
    with (
        OmniClient(Settings.load(api_key="sk-1", **settings)) as client,
        pytest.raises(ConfigurationError, match=words),
    ):
        client.complete(HI)


@pytest.mark.parametrize("url", ["not a url", "ftp://host/v1"])
def test_an_address_that_is_none(url: str) -> None:
    """The error names the setting."""
    with pytest.raises(ConfigurationError, match="batch_base_url must be an http or https URL"):
        Settings.load(api_key="sk-1", batch_base_url=url)


def test_the_address_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """As the other address does; it travels in a pickle, and the key does not."""
    monkeypatch.setenv("DASHSCOPE_BATCH_BASE_URL", "https://gw.example.com/batch/v1/")
    settings = Settings.load(api_key="sk-1", base_url="https://gw.example.com/v1")
    assert settings.batch_base_url == "https://gw.example.com/batch/v1"
    assert pickle.loads(pickle.dumps(settings)).batch_base_url == settings.batch_base_url


@pytest.mark.parametrize("tier", ["flex", "Batch", True, ""])
def test_other_tiers_are_refused(tier: Any) -> None:
    """The error lists the tiers."""
    with pytest.raises(ConfigurationError, match="choose one of 'standard', 'batch'"):
        check_tier(tier)
    with pytest.raises(ConfigurationError):
        ChatOptions(tier=tier)


# --- Calls ---


@each_way
def test_a_call_goes_to_batch_chat(ask: Way, batch: Settings, standin: Standin) -> None:
    """With the body of the call in real time, as a stream; real time keeps its own connection; half price is booked."""
    text = ask(batch, HI).text
    ask(batch, replace(HI, options=ChatOptions()))
    slow, fast = standin.requests
    assert (slow.path, fast.path) == (
        "/batch/compatible-mode/v1/chat/completions",
        "/compatible-mode/v1/chat/completions",
    )
    assert "Hi" in text
    assert slow.body == fast.body
    assert slow.body["stream"] is True
    entry = batch.ledger.total
    whole = Settings.load(api_key="sk-1").ledger or UsageLedger()
    whole.record(entry.tokens, model="qwen-plus")
    assert entry.cny == pytest.approx(whole.total.cny * 0.75)  # two equal calls, one of them at half price


@each_way
def test_a_plain_answer_is_accepted(ask: Way, batch: Settings, standin: Standin) -> None:
    """Batch Chat returns "the whole result at once": as one JSON object although a stream was requested."""
    standin.script.fault(Fault.plain_json())
    assert "Hi" in ask(batch, HI).text


def test_media_go_along(batch: Settings, standin: Standin) -> None:
    """An omni model takes media there."""
    drawn = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(drawn, "PNG")
    picture = ImagePart(source=MediaSource.from_bytes(drawn.getvalue()))
    request = ChatRequest(model="qwen3.5-omni-plus", messages=(user(picture, "What is it?"),), options=BATCH)
    complete(batch, request)
    assert len(standin.requests[-1].media) == 1


@each_way
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen3-omni-flash", "qwen3.5-omni-flash"])
def test_models_are_checked_before_anything_is_sent(ask: Way, model: str, batch: Settings, standin: Standin) -> None:
    """The service would refuse them; no connection is made, and nothing stays reserved."""
    with pytest.raises(ConfigurationError, match=f'{model} is not offered in Batch Chat.*Drop tier="batch"'):
        ask(batch, replace(HI, model=model))
    assert standin.connections == 0
    assert batch.spend_limit.reserved.tokens == 0


def test_the_standin_refuses_them_too(standin: Standin, settings: Settings) -> None:
    """In the service's words."""
    other = replace(settings, base_url=standin.batch_base_url)
    with pytest.raises(APIError, match=r"qwen3.8-omni-flash is not supported by the Batch API"):
        complete(other, ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hi"),)))


# --- Time-outs ---

REFUSALS = [
    (408, "RequestTimeOut", "Request timed out, please try again later."),
    (504, "", "Gateway Time-out"),
    (500, "RequestTimeOut", "Request timed out, please try again later."),
    (503, "ResponseTimeout", "Response timeout!"),
]


@pytest.mark.parametrize(("status", "code", "message"), REFUSALS)
@each_way
def test_a_request_that_waited_in_vain(
    ask: Way, status: int, code: str, message: str, batch: Settings, standin: Standin
) -> None:
    """It is typed, unbilled, and may be sent again; the reservation is released."""
    standin.script.fault(Fault.refuse(status, code, message), times=4)
    with pytest.raises(BatchTimeoutError, match="is not billed") as caught:
        ask(replace(batch, max_retries=1), HI)
    assert isinstance(caught.value, APITimeoutError)
    assert caught.value.retryable
    assert (caught.value.status_code, len(standin.requests)) == (status, 2)
    assert (batch.spend_limit.reserved.tokens, batch.spend_limit.spent.tokens) == (0, 0)
    assert batch.ledger.total.calls == 0


@each_way
def test_it_is_sent_again(ask: Way, batch: Settings, standin: Standin) -> None:
    """The next attempt may have more luck; only its answer is paid."""
    standin.script.fault(Fault.refuse(408, "RequestTimeOut", "Request timed out."))
    assert "Hi" in ask(batch, HI).text
    assert batch.ledger.total.calls == 1


@each_way
def test_a_time_out_inside_a_stream(ask: Way, batch: Settings, standin: Standin) -> None:
    """As the only event of a response that began with 200."""
    standin.script.fault(
        Fault.error_event_only("RequestTimeOut", "Request timed out, please try again later."), times=9
    )
    with pytest.raises(BatchTimeoutError):
        ask(replace(batch, max_retries=0), HI)


def test_a_time_out_behind_half_an_answer_is_not_one_of_the_queue(batch: Settings, standin: Standin) -> None:
    """The request had its turn, so it is billed as an interrupted answer."""
    standin.script.fault(Fault.error_in_stream("RequestTimeOut", "Request timed out."))
    with pytest.raises(APIError) as caught:
        complete(replace(batch, max_retries=0), HI)
    assert not isinstance(caught.value, BatchTimeoutError)
    assert batch.spend_limit.spent.tokens > 0


def test_real_time_has_no_queue(settings: Settings, standin: Standin) -> None:
    """There the same refusal keeps its class."""
    standin.script.fault(Fault.refuse(408, "RequestTimeOut", "Request timed out."))
    with pytest.raises(ServerError):
        complete(replace(settings, max_retries=0), replace(HI, options=ChatOptions()))


@each_way
def test_our_own_deadline(ask: Way, batch: Settings, standin: Standin) -> None:
    """A caller who waits for a shorter time gets the same error, with the limit."""
    standin.script.fault(Fault.slow(first_byte_delay=30), times=4)
    with pytest.raises(BatchTimeoutError, match="total_timeout"):
        ask(replace(batch, total_timeout=0.2, max_retries=0), HI)


def test_a_server_that_cannot_be_reached_is_no_queue(settings: Settings) -> None:
    """Nothing was sent, so nothing waited."""
    with socket.socket() as taken:  # bound, not listening
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}/compatible-mode/v1"
        with pytest.raises(APIConnectionError) as caught:
            complete(replace(settings, batch_base_url=url, max_retries=0, connect_timeout=0.5), HI)
    assert not isinstance(caught.value, BatchTimeoutError)


KEPT = [
    to_error(429, '{"error": {"code": "limit_requests", "message": "timeout"}}'),
    to_error(400, '{"error": {"code": "invalid_parameter_error", "message": "Download multimodal file timed out"}}'),
    to_error(500, '{"error": {"code": "internal_error", "message": "An internal error has occured"}}'),
    APIConnectionError("broken"),
    ConfigurationError("x"),
]


@pytest.mark.parametrize("error", KEPT, ids=lambda error: type(error).__name__)
def test_other_errors_keep_their_class(error: Any) -> None:
    """Too many requests, media that took long to download, a broken connection."""
    assert as_batch_timeout(error, 10) is error
    assert {type(one) for one in KEPT} >= {RateLimitError, MediaDownloadTimeoutError}


ENDED = [APIConnectionError("broken"), StreamInterruptedError("the stream was empty", partial=Response())]


@pytest.mark.parametrize("error", ENDED, ids=lambda error: type(error).__name__)
def test_a_connection_that_ends_after_an_hour(error: Any) -> None:
    """The page says that the connection is ended then, not how; before that, it is a broken connection."""
    assert type(as_batch_timeout(error, 3600)) is BatchTimeoutError
    assert as_batch_timeout(error, 1800) is error


def test_a_wait_that_the_server_asks_for_is_kept() -> None:
    """The retry keeps to it."""
    late = as_batch_timeout(to_error(504, "", {"retry-after": "7", "x-request-id": "r-1"}), 10)
    assert (late.retry_after, getattr(late, "request_id", None)) == (7.0, "r-1")


def test_threads_share_the_connections(batch: Settings, standin: Standin) -> None:
    """Both tiers, from several threads at once, in one client."""
    with OmniClient(batch) as client:
        both = [HI, replace(HI, options=ChatOptions())] * 3
        assert all(answer.text for answer in in_threads(*(partial(client.complete, one) for one in both)))
    assert sum("/batch/" in one.path for one in standin.requests) == 3


def test_the_key_goes_to_the_batch_host_only_in_headers(batch: Settings) -> None:
    """No repr shows it."""
    hidden = replace(batch, api_key=SecretStr("sk-standin-secret"))
    assert "secret" not in repr(hidden.for_tier("batch"))


# --- Estimates ---


def test_the_estimate_shows_both_prices_and_the_date() -> None:
    """Half of the list price is a promotion, so both are there."""
    made, fast = estimate(HI), estimate(replace(HI, options=ChatOptions()))
    assert made.cost.cny == pytest.approx((fast.cost.cny or 0) / 2)
    assert made.list_cost is not None
    assert made.list_cost.cny == fast.cost.cny
    assert fast.list_cost is None
    assert "Batch Chat charges 50% of it (Model Studio, Batch Chat, 2026-10-12)" in str(made)
    assert made.as_dict()["list_cost"]["cny"] == fast.cost.cny
    assert not [note for note in made.notes if "dearer" in note]


def test_the_estimate_says_when_batch_is_dearer() -> None:
    """An omni model at half price costs more than the newest one in real time."""
    made = estimate(replace(HI, model="qwen3.5-omni-plus"))
    assert any(note.startswith("batch is dearer here: qwen3.8-omni-flash takes CNY") for note in made.notes)


def test_the_estimate_names_what_would_be_refused() -> None:
    """The model, and more input than 256,000 tokens."""
    assert "not offered in Batch Chat" in estimate(replace(HI, model="qwen3.8-omni-flash")).problems[0]
    long = replace(HI, messages=(user("word " * 300_000),))
    assert any("takes 256,000" in problem for problem in estimate(long).problems)
    assert not estimate(replace(long, options=ChatOptions())).problems
