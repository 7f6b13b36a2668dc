"""The client over a real socket: streaming, connections, retries, faults, both ways of calling."""

import asyncio
import functools
import gc
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from unittest.mock import Mock

import pytest

from qwen_omni import (
    AsyncOmniClient,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    MediaSource,
    OmniClient,
    Settings,
    TextDelta,
    Tool,
    UsageLedger,
    VideoPart,
    collect,
    errors,
    user,
)
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import make_video
from tests.support.asking import each_way
from tests.support.threads import in_threads

ROOT = str(Path(__file__).parents[1])
MODEL = "qwen3.5-omni-flash"
HELLO = ChatRequest(model=MODEL, messages=(user("Say hello."),))


def test_ten_calls_use_one_connection(client, standin):
    """The body is read to its end, so the connection serves the next call."""
    for _ in range(5):
        client.complete(HELLO)
        collect(client.stream(HELLO))
    assert (len(standin.requests), standin.connections) == (10, 1)


def test_another_ledger_over_the_same_connection(client, standin):
    """The calls of each are in its own books."""
    ledgers = [UsageLedger(), UsageLedger()]
    for ledger in ledgers:
        client.with_ledger(ledger).complete(HELLO)
    client.complete(HELLO)
    assert [one.total.calls for one in ledgers] == [1, 1]
    assert (client.settings.ledger, standin.connections) == (None, 1)


async def test_ten_asynchronous_calls_use_one_connection(settings, standin):
    """The same for asyncio."""
    async with AsyncOmniClient(settings) as client:
        for _ in range(5):
            await client.complete(HELLO)
            _ = [delta async for delta in client.stream(HELLO)]
    assert (len(standin.requests), standin.connections) == (10, 1)


def test_event_loops_may_come_and_go(settings, standin):
    """One object serves loop after loop, and leaves no open socket behind (warnings are errors here)."""
    client = AsyncOmniClient(settings)
    for _ in range(3):
        assert asyncio.run(client.complete(HELLO)).text
    gc.collect()
    assert standin.connections == 3


LOADED = """
import sys
from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, Settings, user
settings = Settings.load()
client = KIND(settings)
before = {"openai", "httpx", "httpx2"} & set(sys.modules)
request = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Say hello."),))
CALL
after = {"openai", "httpx", "httpx2"} & set(sys.modules)
assert before == after, (before, after)
"""
CALLS = {
    "OmniClient": "assert client.complete(request).text",
    "AsyncOmniClient": "import asyncio\nassert asyncio.run(client.complete(request)).text",
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CALLS)
def test_a_client_loads_the_libraries_when_it_is_made(standin, kind):
    """The SDK fails where another thread is still loading a library that it looks for: calls load none."""
    lines = LOADED.replace("KIND", kind).replace("CALL", CALLS[kind])
    with standin.environment():
        subprocess.run([sys.executable, "-c", lines], check=True, timeout=60, env={**os.environ, "PYTHONPATH": ROOT})


def test_deltas_arrive_while_the_service_is_still_sending(client, standin):
    """The first words are here long before the last."""
    standin.script.reply("one two three four five six seven eight nine ten " * 4)
    standin.script.fault(Fault.slow(bytes_per_second=12_000))
    begun = time.monotonic()
    times = [time.monotonic() - begun for delta in client.stream(HELLO) if isinstance(delta, TextDelta)]
    assert times[0] < times[-1] / 2


def test_an_abandoned_stream_frees_its_connection(client, standin):
    """Leaving a stream in the middle breaks nothing: the next call works."""
    for _ in range(3):
        for delta in client.stream(HELLO):
            if isinstance(delta, TextDelta):
                break
    gc.collect()
    assert client.complete(HELLO).finish_reason == "stop"


async def test_a_cancelled_call_frees_its_connection(settings, standin):
    """Cancelling leaves nothing behind that a later call could trip over."""
    async with AsyncOmniClient(settings) as client:
        standin.script.fault(Fault.slow(first_byte_delay=5))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(client.complete(HELLO), 0.3)
        standin.script.clear()
        assert (await client.complete(HELLO)).finish_reason == "stop"


PASSING = {
    "503": Fault.server_error(503),
    "cut before any byte": Fault.cut(None),
    "cut in the headers": Fault.cut(0),
    "empty stream": Fault.empty_stream(),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_passing_faults_are_repeated(client, standin, fault):
    """What passes is tried again, as long as nothing was shown."""
    for ask in (client.complete, lambda request: collect(client.stream(request))):
        standin.clear()
        standin.script.fault(fault, times=2)
        assert ask(HELLO).finish_reason == "stop"
        assert len(standin.requests) == 3


LATE = {
    "error event": Fault.error_in_stream("x", "<503> overloaded", after_deltas=2),
    "cut": Fault.cut(after_bytes=900),
}


@pytest.mark.parametrize("fault", LATE.values(), ids=LATE)
def test_after_the_first_words_only_unseen_answers_are_repeated(client, standin, fault):
    """`complete` asks again; `stream` has shown something and raises, with what came."""
    standin.script.reply("one two three four five six seven eight nine ten " * 4, times=4)
    standin.script.fault(fault)
    assert client.complete(HELLO).finish_reason == "stop"
    assert len(standin.requests) == 2
    standin.clear()
    standin.script.fault(fault)
    shown = []
    with pytest.raises(errors.QwenOmniError) as caught:
        shown.extend(delta.text for delta in client.stream(HELLO) if isinstance(delta, TextDelta))
    assert len(standin.requests) == 1
    assert caught.value.partial.text == "".join(shown) != ""


def test_an_unknown_model_is_told(client):
    """A 404 names the model; the unknown name itself warns once and is sent all the same."""
    with (
        pytest.warns(UserWarning, match="not a known model"),
        pytest.raises(errors.NotFoundError, match="no-such-omni"),
    ):
        client.complete(ChatRequest(model="no-such-omni", messages=HELLO.messages))


@pytest.fixture
def unreachable(monkeypatch):
    """Make any attempt to find a host fail the test, in another way than the one expected."""
    refuse = Mock(side_effect=AssertionError("something was sent"))
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)


HOSTS = {
    "cn": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "hk": "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1",
    "workspace": "https://ws-1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1",
}
OLD = ChatRequest(model="qwen-omni-turbo-latest", messages=(user("Hello."),))


@pytest.mark.parametrize("base_url", HOSTS.values(), ids=HOSTS)
@each_way
@pytest.mark.usefixtures("unreachable")
def test_a_retired_model_is_refused_before_anything_is_sent(base_url, ask):
    """Sync and async, whole and streamed, on every kind of the vendor's hosts: with the day and the replacement."""
    with pytest.raises(errors.NotFoundError, match=r"retired on 2026-10-10.*use qwen3\.5-omni-plus"):
        ask(Settings.load(api_key="sk-x", base_url=base_url), OLD)


def test_old_weights_on_other_servers_are_sent(standin, client):
    """A server of one's own may still have them, and the stand-in answers as the service did if it is told to."""
    old = ChatRequest(model="qwen2.5-omni-7b", messages=HELLO.messages)
    with (
        Standin(retired=True) as before,
        OmniClient(Settings.load(api_key="sk-standin", base_url=before.base_url)) as has,
    ):
        assert has.complete(old).text
    with pytest.raises(errors.NotFoundError, match=r"does not exist.*use qwen3\.5-omni-plus"):
        client.complete(old)
    assert standin.requests


def test_no_answer_is_a_timeout(standin):
    """Silence longer than `read_timeout` is an error that names the setting."""
    standin.script.fault(Fault.slow(first_byte_delay=5))
    short = Settings.load(api_key=standin.api_key, base_url=standin.base_url, read_timeout=0.2, max_retries=0)
    with OmniClient(short) as client, pytest.raises(errors.APITimeoutError, match="read_timeout"):
        client.complete(HELLO)


def test_nobody_listens():
    """A refused connection is an error with the address, tried again as often as the settings say."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    gone = Settings.load(api_key="sk-x", base_url=f"http://127.0.0.1:{port}/v1", retry_wait=0.0, max_retries=2)
    with OmniClient(gone) as client, pytest.raises(errors.APIConnectionError, match=str(port)) as caught:
        client.complete(HELLO)
    assert caught.value.__notes__ == ["Tried 3 times."]


@pytest.mark.slow
def test_a_body_that_never_ends_costs_two_seconds(settings):
    """After the end mark the answer is given, whatever the connection does then."""
    event = b'data: {"choices":[{"delta":{"content":"Hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve() -> None:
            peer, _ = server.accept()
            held.append(peer)
            while b"include_usage" not in peer.recv(65_536):
                pass
            head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
            peer.sendall(head + b"%x\r\n" % len(event) + event + b"\r\n")

        thread = threading.Thread(target=serve)
        thread.start()
        address = f"http://127.0.0.1:{server.getsockname()[1]}/compatible-mode/v1"
        begun = time.monotonic()
        with OmniClient(Settings.load(api_key="sk-x", base_url=address, max_retries=0)) as client:
            assert client.complete(HELLO).text == "Hi"
        assert time.monotonic() - begun < 10
        thread.join()
        held[0].close()


def test_nothing_of_an_openai_account_travels_along(standin, monkeypatch):
    """Keys, organisations and headers set for another company stay at home."""
    for name in ("OPENAI_API_KEY", "OPENAI_ORG_ID", "OPENAI_PROJECT_ID", "OPENAI_ADMIN_KEY"):
        monkeypatch.setenv(name, "sk-other-company")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Other: other-company")
    monkeypatch.setenv("OPENAI_BASE_URL", "http://127.0.0.1:9/other-company")
    with OmniClient(Settings.load(api_key=standin.api_key, base_url=standin.base_url)) as client:
        client.complete(HELLO)
    assert "other-company" not in str(standin.requests[0].headers)
    assert standin.requests[0].headers["user-agent"].startswith("qwen-omni/")


def test_headers_of_the_caller_are_sent(standin):
    """Headers of the settings and of one call both arrive."""
    reach = Settings.load(api_key=standin.api_key, base_url=standin.base_url, headers={"X-One": "1"})
    with OmniClient(reach) as client:
        client.complete(
            ChatRequest(model=MODEL, messages=HELLO.messages, options=ChatOptions(extra_headers={"X-Two": "2"}))
        )
    assert {"x-one": "1", "x-two": "2"}.items() <= standin.requests[0].headers.items()


def test_every_request_streams(client, standin, settings):
    """No way of asking sends `stream: false` or leaves it out, for any model, stream-only or not."""
    options = [ChatOptions(), ChatOptions(tools=(Tool(name="f", parameters={"type": "object", "properties": {}}),))]
    for model in ("qwen3.8-omni-flash", MODEL, "qwen3-omni-flash", "qwen-plus"):
        for option in options:
            request = ChatRequest(model=model, messages=HELLO.messages, options=option)
            client.complete(request)
            collect(client.stream(request))
    with pytest.raises(ConfigurationError, match="streams"):
        client.complete(
            ChatRequest(model=MODEL, messages=HELLO.messages, options=ChatOptions(extra_body={"stream": False}))
        )
    bodies = [entry.body for entry in standin.requests]
    assert len(bodies) == 16
    assert all(body["stream"] is True and body["stream_options"] == {"include_usage": True} for body in bodies)


def test_threads_do_not_mix_answers(client, standin):
    """Many threads on one object each get their own answer."""
    marks = [f"{number}000{number}" for number in range(1, 25)]
    questions = [ChatRequest(model=MODEL, messages=(user(f"Repeat the number {mark}."),)) for mark in marks]
    answers = in_threads(*(functools.partial(client.complete, question) for question in questions))
    assert all(mark in answer.text for mark, answer in zip(marks, answers, strict=True))


def test_a_retry_sends_the_video_again_whole(client, standin, tmp_path):
    """A body with a file in it can be read twice."""
    film = make_video(tmp_path / "a.mp4", seconds=3, size=(160, 90))
    standin.script.fault(Fault.server_error(503))
    part = VideoPart(source=MediaSource.from_path(film.path, trusted=True))
    client.complete(ChatRequest(model=MODEL, messages=(user(part, "What?"),)))
    sizes = {entry.raw_bytes for entry in standin.requests}
    assert (len(standin.requests), len(sizes)) == (2, 1)
    assert [mark.code for mark in standin.requests[1].media[0].picture_marks] == list(film.codes)


def test_a_stand_in_counts_connections_per_client(standin):
    """Two clients are two connections; the count above means something."""
    for _ in range(2):
        with OmniClient(Settings.load(api_key=standin.api_key, base_url=standin.base_url)) as client:
            client.complete(HELLO)
    assert isinstance(standin, Standin)
    assert standin.connections == 2
