"""Every way to ask, in both frameworks, over a real socket: what is sent, what comes back, and what is never sent.

All of these tests are coroutines, so every synchronous method is called inside a running event loop, as in a notebook.
"""

import asyncio
from typing import Any

import pytest

from qwen_omni import RateLimits
from qwen_omni.errors import (
    ConfigurationError,
    MediaOutsideRootError,
    NotFoundError,
    NoToolCallError,
    StreamInterruptedError,
    UnsupportedMediaError,
)
from qwen_omni.standin import Fault, Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia
from qwen_omni.transport.rate_limit import forget_limiters, limiter_of
from tests.contracts.frameworks import Framework, Medium, Way, each, each_framework, find, keep

pytestmark = pytest.mark.filterwarnings("ignore::langchain_core._api.beta_decorator.LangChainBetaWarning")


@each("ways")
async def test_a_retired_model_is_refused(framework: Framework, way: Way, standin: Standin, monkeypatch) -> None:
    """Every entry point names the replacement, and opens no connection to the vendor's host."""
    monkeypatch.setattr("socket.getaddrinfo", lambda *_, **__: pytest.fail("something was sent"))
    model = framework.model(
        standin, model="qwen-omni-turbo", base_url="https://dashscope.aliyuncs.com/compatible-mode/v1"
    )
    with pytest.raises(NotFoundError, match=r"retired on 2026-10-10.*use qwen3\.5-omni-plus"):
        await way(model, "Hello")


def _media(clip: TruthMedia) -> dict[str, tuple[Medium, tuple[str, ...]]]:
    return {
        "a file URL, slower": (Medium("video", url=f"file://{clip.path}", options={"fps": 1}), clip.codes),
        "bytes": (Medium("video", data=clip.path.read_bytes()), clip.codes),
        "half": (Medium("video", path=clip.path, options={"start": 2, "end": 4}), clip.codes[2:]),
    }


@each("chats")
@pytest.mark.parametrize("kind", ["a file URL, slower", "bytes", "half"])
async def test_media_is_seen(
    framework: Framework, way: Way, kind: str, llm: Any, standin: Standin, clip: TruthMedia
) -> None:
    """What the service decoded is what was in the file: its codes, in order, and the answer names them."""
    medium, shown = _media(clip)[kind]
    answer = framework.read(await way(llm, framework.says(medium, "Which codes are shown?"), thinking=False))
    (facts,) = standin.requests[-1].media
    assert facts.picture_codes == shown
    assert all(code in answer.text for code in shown)
    assert answer.details[medium.kind] > 0


@each("ways")
async def test_a_cut_connection(framework: Framework, way: Way, llm: Any, standin: Standin) -> None:
    """A connection that ends inside the answer is our error and the framework's in every way to ask, with what came."""
    standin.script.fault(Fault.cut(after_bytes=900))
    with pytest.raises(StreamInterruptedError) as caught:
        await way(llm, "Hello")
    assert isinstance(caught.value, framework.error)
    assert caught.value.partial.finish_reason is None


@each_framework
async def test_seconds_of_a_link(framework: Framework, llm: Any, standin: Standin, clip: TruthMedia) -> None:
    """Seconds in a link's address are told to have no effect, and the whole is seen; asked for, they are refused."""
    link = "https://media.example.com/clip.mp4#t=1,2"
    standin.media_map["https://media.example.com/clip.mp4"] = clip.path
    _, ask, *_ = framework.chats.values()
    with pytest.warns(UserWarning, match=r"part 0: https://media\.example\.com/clip\.mp4.* as a whole"):
        await ask(llm, framework.says(Medium("video", url=link), "What is shown?"))
    assert standin.requests[-1].media[0].picture_codes == clip.codes
    with pytest.raises(UnsupportedMediaError, match="is a link, and start= and end= are for local media"):
        await ask(llm, framework.says(Medium("video", url=link, options={"start": 1})))
    assert len(standin.requests) == 1


@each("chats")
@pytest.mark.parametrize("medium", [Medium("video", path="/etc/passwd"), Medium("image", url="file:///etc/passwd")])
async def test_files_outside_the_root(
    framework: Framework, way: Way, medium: Medium, llm: Any, standin: Standin
) -> None:
    """A message cannot name a file outside `media_root`; nothing is sent."""
    with pytest.raises(MediaOutsideRootError):
        await way(llm, framework.says(medium))
    assert standin.requests == []


@each_framework
async def test_one_connection(framework: Framework, llm: Any, standin: Standin) -> None:
    """Calls one after another share a connection, whole and streamed."""
    whole, _, streamed, _ = framework.chats.values()
    for _ in range(3):
        await whole(llm, "Hello")
        await streamed(llm, "Hello")
    assert standin.connections == 1


class Limiter:
    """The rate limiter of both frameworks; counts who asks for a place."""

    def __init__(self) -> None:
        self.asked = 0

    def acquire(self, **_: object) -> bool:
        """Wait for a place."""
        self.asked += 1
        return True

    async def aacquire(self, **_: object) -> bool:
        """Wait for a place, by LangChain's name."""
        return self.acquire()

    async_acquire = aacquire


@each("chats")
async def test_rate_limiter(framework: Framework, way: Way, llm: Any, standin: Standin) -> None:
    """The framework's rate limiter is asked once for each call."""
    limiter = Limiter()
    await way(llm.model_copy(update={"rate_limiter": limiter}), "Hello")
    assert limiter.asked == len(standin.requests) == 1


@each_framework
def test_hosts_and_limits(framework: Framework, standin: Standin) -> None:
    """A workspace's host, the account's limits, and the queue for bursts reach the client of either framework."""
    fields = {"base_url": None, "workspace": "ws-1", "region": "de", "burst_wait": 0}
    limits = {"qwen-plus": RateLimits(rpm=7, tpm=8)}
    for given in (limits, {"qwen-plus": {"rpm": 7, "tpm": 8}}):
        model = framework.model(standin, **fields, limits=given)
        settings = model.client().settings
        assert settings.base_url == "https://ws-1.eu-central-1.maas.aliyuncs.com/compatible-mode/v1"
        assert settings.answer_seconds == 3600
        assert (settings.rate_limits("qwen-plus").rpm, settings.rate_limits("qwen-plus").tpm) == (7, 8)
        assert settings.burst_wait == 0
    with pytest.raises(ConfigurationError, match="has no shared host"):
        framework.model(standin, base_url=None, region="jp").client()


@each("chats")
async def test_the_models_limits_are_kept(framework: Framework, way: Way, standin: Standin) -> None:
    """Two calls at once of two models with one key: the second waits for its turn."""
    forget_limiters()
    models = [framework.model(standin, limits=RateLimits(rpm=120)) for _ in range(2)]
    await asyncio.gather(*(way(model, "Hello") for model in models))
    limiter = limiter_of(models[0].client().settings, models[0].model)
    first, second = limiter._sent
    assert second.sent_at - first.sent_at >= 0.499
    assert len(standin.requests) == 2


FOUND = Turn(text="Let me look.", tool_calls=(ToolCall(name="find", arguments={"query": "x"}),))


@each("chats")
async def test_a_call_that_must_come_is_asked_for_again(
    framework: Framework, way: Way, llm: Any, standin: Standin
) -> None:
    """One answer without it is asked for again, unseen, and the usage counts both; a second one is an error."""
    standin.script.reply("I would rather talk.").reply(FOUND).reply("No.", times=2)
    answer = framework.read(await framework.call(way, llm, find, keep, must=True))
    assert "rather" not in answer.text
    assert [(name, arguments) for _, name, arguments in answer.calls] == [("find", {"query": "x"})]
    assert len(standin.requests) == 2
    assert answer.input_tokens >= 2 * 20
    with pytest.raises(NoToolCallError, match=r"(?s)find, keep.*asked twice|asked twice.*find, keep") as caught:
        await framework.call(way, llm, find, keep, must=True)
    assert (caught.value.partial.text, caught.value.retryable) == ("No.", False)
    assert caught.value.partial.usage is not None


@each_framework
def test_exports(framework: Framework) -> None:
    """The package exports exactly its sorted list."""
    package = framework.own
    assert sorted(package.__all__) == package.__all__ == dir(package)
    assert all(getattr(package, name) for name in package.__all__)
    with pytest.raises(AttributeError, match="nothing_like_it"):
        package.nothing_like_it  # noqa: B018
