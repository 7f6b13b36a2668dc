"""The total deadline: a server that drips, or keeps a request alive without end, ends it after the seconds allowed."""

import asyncio
import itertools
import time

import pytest
from pydantic import SecretStr

from qwen_omni import AsyncOmniClient, ChatRequest, ConfigurationError, OmniClient, Settings, errors, user
from qwen_omni.transport import flow
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Request
from tests.support.asking import each_way
from tests.support.quirks import ROLE, STOP, USAGE, chunk, events, text
from tests.support.rawserver import RawServer, answer

HELLO = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Say hello."),))
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n"
BEGUN = events(ROLE, text("Hi"), done=False)
SECONDS = 0.6


def dripping(*pieces: bytes, last: bytes):
    """Send what is given, then a little again and again, without end."""

    def made():
        yield from pieces
        for _ in itertools.count():
            time.sleep(0.03)
            yield last

    return made


def silent():
    """Begin well, then say nothing for a while."""
    yield from answer(BEGUN)()
    time.sleep(2)


def framed(data: bytes) -> bytes:
    """Write a chunk of a chunked body."""
    return b"%x\r\n%s\r\n" % (len(data), data)


DRIPS = {
    "comments": dripping(*answer(BEGUN)(), last=b": keep-alive\n\n"),
    "bytes of an event": dripping(*answer(BEGUN + b'data: {"choices":[{"delta":{"content":"')(), last=b"x"),
    "text": dripping(*answer(BEGUN)(), last=events(chunk({"content": ""}), done=False)),
    "the head": dripping(HEAD + b"X-Slow: ", last=b"x"),
    "informational answers": dripping(b"", last=b"HTTP/1.1 103 Early Hints\r\n\r\n"),
    "the size of a chunk": dripping(
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n" + framed(BEGUN) + b"1;", last=b"x"
    ),
    "an error's body": dripping(*answer(b"", status="500 No")(), last=b"x"),
    "a plain answer": dripping(*answer(b'{"choices": [{"message": {"content": "Hi')(), last=b"x"),
}  # fmt: skip


def settings_for(server: RawServer, **more: object) -> Settings:
    return Settings.load(api_key="sk-x", base_url=server.url, **{"total_timeout": SECONDS, "retry_wait": 0.0, **more})


@pytest.mark.timeout(30)
@each_way
@pytest.mark.parametrize("kind", DRIPS)
def test_a_drip_ends_at_the_deadline(ask, kind):
    """Whatever drips; what came before is kept, the setting is named, and nothing is asked again by itself."""
    with RawServer(DRIPS[kind]) as server:
        if kind == "an error's body":  # its status says enough
            with pytest.raises(errors.ServerError):
                ask(settings_for(server, max_retries=0), HELLO)
            return
        with pytest.raises(errors.DeadlineExceededError, match=r"within 0\.6 s \(total_timeout\)") as caught:
            ask(settings_for(server, max_retries=3), HELLO)
        assert len(server.requests) == 1
    assert isinstance(caught.value, errors.APITimeoutError)
    begun = kind in ("comments", "bytes of an event", "text", "the size of a chunk")
    assert (caught.value.partial.text if caught.value.partial else "") == ("Hi" if begun else "")


@pytest.mark.timeout(30)
@each_way
def test_silence_between_bytes_stays_apart(ask):
    """The read timeout is the shorter one here: it passes, and is tried again."""
    with RawServer(silent) as server:
        with pytest.raises(errors.QwenOmniError) as caught:
            ask(settings_for(server, total_timeout=20.0, read_timeout=0.3, max_retries=1), HELLO)
        assert len(server.requests) == (1 if "stream" in ask.__name__ else 2)
    assert "read_timeout" in str(caught.value)
    assert not isinstance(caught.value, errors.DeadlineExceededError)


@pytest.mark.timeout(30)
@each_way
def test_a_whole_answer_needs_no_end(ask):
    """Finish reason and usage have come; that the server goes on with comments takes nothing away."""
    with RawServer(dripping(*answer(events(ROLE, text("Hi"), STOP, USAGE, done=False))(), last=b": x\n\n")) as server:
        assert ask(settings_for(server), HELLO).text == "Hi"


@pytest.mark.timeout(30)
def test_the_reader_of_a_stream_may_take_its_time():
    """Only waiting for the server counts."""
    body = events(ROLE, *(text(f"{n} ") for n in range(4)), STOP, USAGE)

    async def slowly(settings):
        async with AsyncOmniClient(settings) as aclient:
            async for _ in aclient.stream(HELLO):
                await asyncio.sleep(SECONDS / 4)

    with RawServer(answer(*(body[at : at + 9] for at in range(0, len(body), 9)))) as server:
        with OmniClient(settings_for(server)) as client:
            for _ in client.stream(HELLO):
                time.sleep(SECONDS / 4)
        asyncio.run(slowly(settings_for(server)))


@pytest.mark.timeout(30)
async def test_streams_that_take_turns_have_a_deadline_each():
    """Two in one thread, read alternately: one drips, the other ends well."""
    with (
        RawServer(DRIPS["comments"]) as slow,
        RawServer(answer(events(ROLE, text("a"), STOP, USAGE))) as quick,
        OmniClient(settings_for(slow)) as one,
        OmniClient(settings_for(quick)) as other,
    ):
        begun = one.stream(HELLO)
        next(begun)
        assert len(list(other.stream(HELLO))) > 2
        with pytest.raises(errors.DeadlineExceededError):
            list(begun)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("kind", ["comments", "the head"])
async def test_native_routes_and_downloads_end_too(kind):
    """What goes beside the chat route."""
    with RawServer(DRIPS[kind]) as server:
        settings = settings_for(server)
        link = Request(method="GET", url=f"http://{server.host}/api/v1/tasks/1")
        with pytest.raises(errors.DeadlineExceededError, match="/api/v1/tasks/1 within"):
            run(flow.ask(link), settings)
        with pytest.raises(errors.DeadlineExceededError, match="/api/v1/tasks/1 within"):
            await arun(flow.ask(link), settings)


@pytest.mark.parametrize(
    ("url", "seconds"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", 600),
        ("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", 600),
        ("https://dashscope-us.aliyuncs.com/compatible-mode/v1", 600),
        ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", 600),
        ("https://trial.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", 600),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", 3600),
        ("https://batch.dashscope.aliyuncs.com/compatible-mode/v1", 3600),
        ("http://127.0.0.1:8000/v1", float("inf")),
        ("https://gateway.example.com/v1", float("inf")),
    ],
)
def test_the_host_decides_unless_the_caller_does(url, seconds):
    """Model Studio, base URLs, September 2026; other hosts document no limit."""
    assert Settings.load(api_key="sk-x", base_url=url).answer_seconds == seconds
    assert Settings.load(api_key="sk-x", base_url=url, total_timeout=5.0).answer_seconds == 5


@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_the_deadline_must_be_one(value):
    """Checked where it enters."""
    with pytest.raises(ConfigurationError, match="total_timeout"):
        Settings.load(api_key="sk-x", total_timeout=value)


@pytest.mark.timeout(30)
@pytest.mark.parametrize("framework", ["langchain", "llama_index"])
async def test_the_models_of_both_frameworks_take_it(framework):
    """As a field and, in streams, with what came."""
    with RawServer(DRIPS["comments"]) as server:
        choices = {"api_key": SecretStr("sk-x"), "base_url": server.url, "total_timeout": SECONDS}
        if framework == "langchain":
            chat = pytest.importorskip("langchain_qwen_omni").ChatQwenOmni(**choices)
            calls = (lambda: chat.invoke("Hi"), lambda: list(chat.stream("Hi")))
        else:
            llm = pytest.importorskip("llama_index_qwen_omni").QwenOmni(**choices)
            calls = (lambda: llm.complete("Hi"), lambda: list(llm.stream_complete("Hi")))
        for call in calls:
            with pytest.raises(errors.DeadlineExceededError) as caught:
                call()
            assert caught.value.partial.text == "Hi"
