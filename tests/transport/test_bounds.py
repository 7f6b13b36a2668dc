"""What a server sends is bounded: by bytes read and bytes held, whatever it sends and however it is packed."""

import asyncio
import base64
import functools
import gzip
import itertools
import pickle
import traceback
import tracemalloc
from datetime import UTC, datetime

import pytest

from qwen_omni import ChatRequest, ConfigurationError, OmniClient, Settings, errors, user
from qwen_omni.transport.api import arun, run
from qwen_omni.transport.flow import Request, ask
from qwen_omni.upload.temporary import ask_policy
from qwen_omni.wire.stream import MAX_EVENT_BYTES, EventParser, EventTooLongError, StreamState
from tests.support.asking import Way, acomplete, complete, stream
from tests.support.quirks import ROLE, STOP, USAGE, events, speech, text
from tests.support.rawserver import RawServer, answer, endless

pytestmark = pytest.mark.slow

KEY = "sk-0123456789abcdef"
HELLO = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Say hello."),))
MB = 2**20
SLACK = 8 * MB  # socket buffers, and the piece that a limit falls into


def settings_for(server: RawServer, **more: object) -> Settings:
    return Settings.load(api_key=KEY, base_url=server.url, max_retries=0, read_timeout=20.0, **more)


def failure(server: RawServer, way: Way, **more: object) -> errors.QwenOmniError:
    """Ask, and return the error that comes."""
    with pytest.raises(errors.QwenOmniError) as caught:
        way(settings_for(server, **more), HELLO)
    return caught.value


@functools.cache
def bomb() -> bytes:
    """300 MB of zeros in 300 kB of gzip."""
    return gzip.compress(bytes(300 * MB), 1)


WAYS = pytest.mark.parametrize("way", [complete, stream, acomplete], ids=lambda way: way.__name__)


@WAYS
def test_a_packed_error_is_not_unpacked(way):
    """300 MB of zeros in 300 kB of gzip behind a 500: a megabyte of it is decoded."""
    with RawServer(answer(bomb(), status="500 No", headers=[("Content-Encoding", "gzip")])) as server:
        failure(server, way)  # what is loaded at the first call is not counted
        tracemalloc.start()
        error = failure(server, way)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert type(error) is errors.ServerError
    assert peak < 100 * MB, "one piece of the socket at most; httpx, under openai 2, unpacks 64 kB at once"


@WAYS
def test_an_endless_error_is_read_for_a_megabyte(way):
    """The rest is left unread."""
    with RawServer(endless(b"x" * 65_536, status="400 No")) as server:
        error = failure(server, way)
        assert server.sent < MB + SLACK
    assert error.status_code == 400
    assert len(str(error)) < 1000


@WAYS
def test_an_endless_line_ends_at_32_mb(way):
    """One event holds a fraction of that."""
    with RawServer(endless(b"x" * 65_536, first=events(text("Hi"), done=False) + b"data: ")) as server:
        error = failure(server, way)
        assert MAX_EVENT_BYTES <= server.sent < MAX_EVENT_BYTES + SLACK
    assert type(error) is errors.APIError
    assert error.partial.text == "Hi"


ENDLESS = {
    "text": events(text("word " * 200), done=False),
    "thinking": events({"choices": [{"delta": {"reasoning_content": "word " * 200}}]}, done=False),
    "speech": events(*speech(base64.b64encode(bytes(3000)).decode()), done=False),
    "comments": b": keep-alive\n\n" * 100,
    "plain JSON": b" " * 1000,
    "data lines without a blank": b"data: x\n" * 100,
}


@WAYS
@pytest.mark.parametrize("kind", ENDLESS)
def test_an_endless_answer_ends_at_the_setting(way, kind):
    """Whatever it is made of; the error names the setting, and holds what came."""
    first = b"{" if kind == "plain JSON" else events(ROLE, done=False)
    with RawServer(endless(ENDLESS[kind], first=first)) as server:
        error = failure(server, way, max_answer_bytes=3 * MB)
        assert server.sent < 3 * MB + SLACK
    assert type(error) is errors.APIError
    assert "3,145,728 bytes; raise max_answer_bytes" in str(error)
    assert not error.retryable
    assert bool(error.partial.text) == (kind == "text")


def test_a_packed_answer_is_bounded_by_what_it_unpacks_to():
    """The setting counts bytes after decoding."""
    body = gzip.compress(events(*itertools.repeat(text("word " * 2000), 1000), done=False))
    with RawServer(answer(body, headers=[("Content-Encoding", "gzip")])) as server:
        error = failure(server, complete, max_answer_bytes=2 * MB)
    assert "max_answer_bytes" in str(error)


@pytest.mark.parametrize("value", [0, -1])
def test_the_bound_must_be_one(value):
    """Checked where it is chosen."""
    with pytest.raises(ConfigurationError, match="max_answer_bytes must be"):
        Settings.load(api_key=KEY, max_answer_bytes=value)


def test_a_long_answer_within_the_setting_comes_whole():
    """10 MB of text in 10,000 events."""
    body = events(ROLE, *itertools.repeat(text("w" * 1000), 10_000), STOP, USAGE)
    with RawServer(answer(body)) as server, OmniClient(settings_for(server)) as client:
        assert len(client.complete(HELLO).text) == 10_000_000


class Counted(bytes):
    """Bytes that count how many of them are looked through or copied."""

    work = 0

    def split(self, *arguments):  # noqa: D102
        Counted.work += len(self)
        return [Counted(part) for part in super().split(*arguments)]

    def __add__(self, other):
        Counted.work += len(self) + len(other)
        return Counted(super().__add__(other))

    def __radd__(self, other):
        Counted.work += len(self) + len(other)
        return Counted(bytes(other) + bytes(self))


@pytest.mark.parametrize("size", [64, 1024, 65_536])
def test_work_on_one_long_line_is_linear(size):
    """Each byte is looked through once as it comes, and copied once when its line is whole, in pieces of any size."""
    line, parser = b'data: "' + b"x" * (8 * MB) + b'"\n\n', EventParser()
    Counted.work = 0
    found = [event for at in range(0, len(line), size) for event in parser.feed(Counted(line[at : at + size]))]
    assert [len(event.data) for event in found] == [8 * MB + 2]
    assert Counted.work < 3 * len(line)


def test_a_long_line_is_held_once():
    """While it comes, and not again for each piece."""
    state, piece = StreamState(), b"x" * 65_536
    state.feed(events(ROLE, done=False) + b'data: {"choices":[{"delta":{"content":"')
    tracemalloc.start()
    for _ in range(256):
        state.feed(piece)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 2 * MB, "pieces are kept as they came"


@pytest.mark.parametrize("size", [1 * MB, 64 * MB])
def test_the_limit_of_a_line_is_exact_whatever_the_pieces(size):
    """32 MB pass; more do not."""
    parser = EventParser(max_event_bytes=32 * MB)
    line = b"x" * (32 * MB - 6)
    pieces = [b"data: ", *(line[at : at + size] for at in range(0, len(line), size)), b"\n\n"]
    assert [len(event.data) for piece in pieces for event in parser.feed(piece)] == [len(line)]
    for piece in pieces[:-1]:
        list(parser.feed(piece))
    with pytest.raises(EventTooLongError, match="32 MB"):
        list(parser.feed(b"xxxxxxx"))


# --- Content-Encoding that lies ---


@WAYS
@pytest.mark.parametrize("encoding", ["gzip", "deflate", "gzip, deflate"])
def test_an_encoding_that_lies_is_an_error_without_the_key(way, encoding):
    """Typed, final, with nothing of the request in it, its pickle or what it hangs on."""
    with RawServer(answer(events(text("Hi"), STOP, USAGE), headers=[("Content-Encoding", encoding)])) as server:
        error = failure(server, way)
    assert type(error) is errors.APIError
    assert not error.retryable
    assert "Content-Encoding" in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    assert KEY.encode() not in pickle.dumps(error)
    assert type(pickle.loads(pickle.dumps(error))) is errors.APIError


@WAYS
@pytest.mark.parametrize("status", ["401 No", "500 No", "307 Elsewhere"])
def test_an_error_whose_encoding_lies_keeps_its_status(way, status):
    """The words cannot be read; the status can."""
    with RawServer(answer(b"not gzip", status=status, headers=[("Content-Encoding", "gzip")])) as server:
        error = failure(server, way)
    assert error.status_code == int(status[:3])
    assert KEY.encode() not in pickle.dumps(error)


def test_no_traceback_of_a_refusal_holds_the_key():
    """Not among the locals of its frames, either."""
    with RawServer(answer(b"no", status="500 No")) as server:
        error = failure(server, complete)
    ours = [frame for frame in traceback.walk_tb(error.__traceback__) if "site-packages" in frame[0].f_code.co_filename]
    assert ours == [], "no frame of the libraries, whose locals are the request"


@pytest.mark.parametrize("asynchronous", [False, True])
def test_native_answers_are_bounded_too(asynchronous):
    """A policy of 300 MB in 300 kB; an endless one; one whose encoding lies."""

    def go(server: RawServer) -> None:
        flow = ask_policy(server.url, HELLO.model, None, lambda: datetime.now(UTC).timestamp())
        settings = settings_for(server)
        asyncio.run(arun(flow, settings)) if asynchronous else run(flow, settings)

    with RawServer(answer(bomb(), headers=[("Content-Encoding", "gzip")])) as server:
        tracemalloc.start()
        with pytest.raises(errors.StoreUnavailableError):
            go(server)
        assert tracemalloc.get_traced_memory()[1] < 4 * SLACK
        tracemalloc.stop()
    with RawServer(endless(b"x" * 65_536)) as server:
        with pytest.raises(errors.StoreUnavailableError):
            go(server)
        assert server.sent < MB + SLACK
    with RawServer(answer(b"{}", headers=[("Content-Encoding", "gzip")])) as server:
        with pytest.raises(errors.APIError) as caught:
            go(server)
        assert KEY.encode() not in pickle.dumps(caught.value)


def test_a_flow_reads_what_it_asks_for():
    """`most_bytes`, and no more than the piece that it falls into."""
    with RawServer(endless(b"x" * 65_536)) as server:
        reply = run(ask(Request(method="GET", url=server.url, most_bytes=100)), settings_for(server))
        assert len(reply.body) == 100
        assert server.sent < SLACK
