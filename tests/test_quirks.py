"""Every quirk of the service, served as raw bytes over a real socket, to both clients."""

import asyncio
import functools
from collections.abc import Callable, Iterable

import pytest
from hypothesis import HealthCheck, given, settings as budget, strategies as st

from qwen_omni import AsyncOmniClient, ChatRequest, OmniClient, Response, Settings, acollect, collect, errors, user
from qwen_omni.standin import Standin
from qwen_omni.wire.stream import StreamState
from tests.support.quirks import COUNTS, QUIRKS, ROLE, STOP, USAGE, Quirk, call, chunk, events, speech, text

REQUEST = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Say hello."),))
MODES = ("complete", "stream", "acomplete", "astream")


@pytest.fixture(scope="module")
def ask(service):
    """Ask through one of the four ways; the connections live as long as the module, as a user's would."""
    reach = Settings.load(api_key=service.api_key, base_url=service.base_url, max_retries=0, read_timeout=10.0)
    with OmniClient(reach) as client, asyncio.Runner() as runner:
        aclient = AsyncOmniClient(reach)

        async def astream() -> Response:
            return await acollect(aclient.stream(REQUEST))

        ways = {
            "complete": lambda: client.complete(REQUEST),
            "stream": lambda: collect(client.stream(REQUEST)),
            "acomplete": lambda: runner.run(aclient.complete(REQUEST)),
            "astream": lambda: runner.run(astream()),
        }
        yield lambda mode: ways[mode]()
        runner.run(aclient.aclose())


def told(answer: Response) -> dict:
    """What a quirk's row says of an answer."""
    calls = [(tool.id, tool.name, tool.arguments) for tool in answer.tool_calls]
    return {
        "text": answer.text,
        "thinking": answer.thinking,
        "audio": answer.audio,
        "finish_reason": answer.finish_reason,
        "tool_calls": calls,
        "usage": answer.usage and answer.usage.total_tokens,
    }


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("quirk", QUIRKS.values(), ids=QUIRKS)
def test_quirk(service: Standin, ask, quirk: Quirk, mode: str):
    """The bytes become the answer or the error that the row tells, in all four ways."""
    service.script.clear()
    service.script.raw(quirk.body, status=quirk.status, content_type=quirk.content_type)
    if quirk.error is None:
        answer = told(ask(mode))
        assert {name: answer[name] for name in quirk.answer} == quirk.answer
        return
    with pytest.raises(errors.QwenOmniError) as caught:
        ask(mode)
    assert type(caught.value) is quirk.error
    found = {name: getattr(caught.value, name) for name in quirk.about}
    if "partial" in found:
        found["partial"] = found["partial"].text
    assert found == quirk.about


SHORT = {
    "text": events(ROLE, text("Hi"), text(" you"), STOP, USAGE),
    "tool": events(call("", "c1", "f"), call('{"a":1}'), chunk({}, "tool_calls"), USAGE),
    "usage in the finish": events(text("Hi"), chunk({"content": "!"}, "stop", usage=COUNTS)),
    "speech": events(text("Hi"), *speech("AAEC", "AwQF"), STOP, USAGE),
}


def check_cuts(read: Callable[[int], Response], whole: Response, body: bytes, cuts: Iterable[int]) -> None:
    """Wherever the bytes end, the answer is whole or an interruption: never a short success."""
    first_whole = None
    for cut in cuts:
        try:
            answer = read(cut)
        except errors.StreamInterruptedError as error:
            assert first_whole is None, f"cut at {cut}: interrupted, though it was whole at {first_whole}"
            assert whole.text.startswith(error.partial.text)
        else:
            first_whole = first_whole or cut
            assert answer == whole, f"cut at {cut} of {len(body)} gave a short success"
    assert first_whole is not None, "the end mark alone may be missing"
    assert first_whole > body.index(b'finish_reason": "')


@pytest.mark.slow
@pytest.mark.parametrize("kind", SHORT)
def test_bytes_that_end_anywhere(kind: str):
    """Every byte, without a connection."""

    def read(cut: int) -> Response:
        state = StreamState()
        collect([*state.feed(SHORT[kind][:cut]), *state.end()])
        return state.response

    body = SHORT[kind]
    check_cuts(read, read(len(body)), body, range(len(body)))


@pytest.mark.slow
@pytest.mark.parametrize("step", [32, pytest.param(1, marks=pytest.mark.long)])
@pytest.mark.parametrize("kind", SHORT)
def test_a_connection_cut_anywhere(service: Standin, ask, kind: str, step: int):
    """At both ends of every line and at every so many bytes between; at every byte in `make test-long`."""
    body = SHORT[kind]
    service.script.clear()
    service.script.raw(body)
    whole = ask("complete")

    def read(cut: int) -> Response:
        service.script.raw(body, cut_after=cut)
        return ask("complete")

    ends = (at for at in range(len(body)) if b"\n" in body[max(0, at - 2) : at + 2])
    check_cuts(read, whole, body, sorted({*range(0, len(body), step), *ends}))


@functools.cache
def whole_of(body: bytes) -> Response:
    """The answer that uncut bytes give."""
    with Standin() as standin, OmniClient(Settings.load(api_key=standin.api_key, base_url=standin.base_url)) as client:
        standin.script.raw(body)
        return client.complete(REQUEST)


@pytest.mark.slow
@budget(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(kind=st.sampled_from(sorted(SHORT)), data=st.data(), reset=st.booleans(), mode=st.sampled_from(MODES))
def test_any_cut_in_any_pieces(service, ask, kind, data, reset, mode):
    """The same for any cut, in any pieces, closed or reset, in all four ways."""
    body = SHORT[kind]
    cut = data.draw(st.integers(0, len(body)))
    edges = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=5)))
    pieces = [body[a:b] for a, b in zip([0, *edges], [*edges, len(body)], strict=True) if a < b]
    service.script.clear()
    service.script.raw(pieces, cut_after=cut, reset=reset)
    try:
        answer = ask(mode)
    except (errors.StreamInterruptedError, errors.APIConnectionError) as error:
        assert cut < len(body)
        if isinstance(error, errors.APIConnectionError):
            assert reset, "a closed connection after a good start is an interrupted answer"
        return
    assert answer == whole_of(body)
