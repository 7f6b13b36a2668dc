"""The MCP server, over standard input and output, with the SDK's own client."""

import asyncio
import contextlib
import importlib.util
import json
import os
import signal
import subprocess
import threading
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import anyio
import pytest

from qwen_omni import (
    ChatOptions,
    ChatRequest,
    MediaSource,
    MediaTools,
    Settings,
    VideoPart,
    estimate,
    user,
)
from qwen_omni.cli.main import run
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.support.agents import QUESTION, Detective, Place
from tests.support.watching import watched
from tests.tools.conftest import answered_over_mcp, server

pytestmark = pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="mcp is not installed")


def called(name: str, **arguments: object):
    """The parameters of a call, as the server gets them."""
    from mcp_types import CallToolRequestParams  # noqa: PLC0415

    return CallToolRequestParams(name=name, arguments=arguments)


def connected(root: Path, standin: Standin, settings: Settings):
    """The SDK's client of a server of its own."""
    import mcp  # noqa: PLC0415

    return mcp.Client(server(root, standin, settings))


@pytest.mark.slow
async def test_tools_over_mcp(place: Place, standin: Standin, settings: Settings) -> None:
    """The server offers the same tools with their schemas; a result has text and values; refusals are results."""
    async with connected(place.root, standin, settings) as client:
        listed = (await client.list_tools()).tools
        assert {
            "probe_media",
            "ask_about_clip",
            "caption_video",
            "transcribe_audio",
            "find_moment",
            "summarize_video",
        } == {tool.name for tool in listed}
        assert listed[1].input_schema["required"] == ["path", "question"]
        found = await client.call_tool("probe_media", {"path": "talks/monday.mp4"})
        assert found.content[0].text.startswith("talks/monday.mp4: video, 4.0 s")
        assert found.structured_content["result"]["duration"] == 4
        assert not found.is_error
        said = await client.call_tool("ask_about_clip", {"path": "talks/monday.mp4", "question": "What is shown?"})
        assert place.film.codes[0] in said.content[0].text
        with watched(*place.secrets) as seen:
            for path in ("../outside/secret.mp4", "link.mp4", "out/inner/deep.mp4", str(place.outside / "secret.mp4")):
                refused = await client.call_tool("ask_about_clip", {"path": path, "question": "What?"})
                assert refused.is_error
                assert "nothing was opened" in refused.content[0].text
        assert seen == []
        wrong = await client.call_tool("ask_about_clip", {"path": 3, "fps": "x"})
        assert wrong.is_error
        assert "question" in wrong.content[0].text
        unknown = await client.call_tool("drop_table", {})
        assert unknown.is_error


@pytest.mark.slow
async def test_an_agent_over_mcp_finds_the_moment(tmp_path: Path, standin: Standin, settings: Settings) -> None:
    """A loop with nothing but MCP tools, a folder and a question names the file and the second."""
    films: list[TruthMedia] = [
        make_video(tmp_path / f"{name}.mp4", seconds=5, size=(96, 64), fps=5) for name in ("one", "two")
    ]
    standin.script = Detective()
    code = films[1].codes[3]
    async with connected(tmp_path, standin, settings) as client:
        answer = await answered_over_mcp(client, settings, QUESTION.format(code=code))
    assert answer == f"{code} is in two.mp4 at second 3."


# --- progress, cancellation, limits ---


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """A folder with a video of three segments."""
    make_video(tmp_path / "a.mp4", seconds=200, size=(64, 48), fps=2, sound=False, seed=13)
    return tmp_path


STEPS = {
    "summarize_video": ({}, ("segment 3 of 3", "joined the notes", "done")),
    "find_moment": ({"query": "a number"}, ("looked at the file", "segment 3 of 3", "joined")),
    "ask_about_clip": (
        {"question": "What is shown?", "end": 5},
        ("looked at the file", "prepared", "the answer is there"),
    ),
    "caption_video": ({}, ("looked at the file", "prepared", "the answer is there")),
}


@pytest.mark.slow
async def test_every_step_of_a_tool_is_told(long: Path, standin: Standin, settings: Settings) -> None:
    """Every number is above the one before and below the total, and no place of this machine is in the words."""
    told: dict[str, list[tuple[float, float | None, str]]] = {tool: [] for tool in STEPS}
    async with connected(long, standin, settings) as client:  # one for all: its start costs most
        for tool, (arguments, _) in STEPS.items():

            async def hear(*progress, heard=told[tool]):
                heard.append(progress)

            result = await client.call_tool(tool, {"path": "a.mp4", **arguments}, progress_callback=hear)
            assert not result.is_error, result.content[0].text
    for tool, (_, words) in STEPS.items():
        assert len(told[tool]) >= 3, tool
        assert all(first[0] < second[0] for first, second in pairwise(told[tool])), tool
        assert all(total is None or done <= total for done, total, _ in told[tool]), tool
        text = "\n".join(message for *_, message in told[tool])
        assert [word for word in words if word not in text] == [], tool
        assert str(long) not in text


async def test_a_transcription_tells_what_it_waits_for(place: Place, standin: Standin, settings: Settings) -> None:
    """Prepared, submitted, there."""
    told = []

    async def hear(_, __, message):
        told.append(message.partition(" the task ")[0])

    from qwen_omni.tools import mcp_server  # noqa: PLC0415

    tools = MediaTools(place.root, settings=settings)
    asked = called("transcribe_audio", path="talks/monday.mp4")
    outcome = await mcp_server._carried_out(tools, asked, hear)
    await tools.aclose()
    assert outcome.error is None
    assert told[:1] == ["prepared the recording"]
    assert {"submitted", "the transcript is there"} <= set(told) or len(told) == 1  # a silent film has no task


async def test_a_quiet_call_says_that_it_goes_on(long: Path, standin: Standin, settings: Settings, monkeypatch) -> None:
    """Clients give up after a minute without a word; here a heartbeat is a fifth of a second."""
    from qwen_omni.tools import mcp_server  # noqa: PLC0415  (an extra)

    monkeypatch.setattr(mcp_server, "HEARTBEAT", 0.2)
    standin.script.fault(Fault.slow(first_byte_delay=1.5), times=9)
    told: list[tuple[float, str]] = []

    async def report(progress, _, message):
        told.append((progress, message))

    tools = MediaTools(long, settings=settings)
    asked = called("ask_about_clip", path="a.mp4", question="What?", end=5)
    outcome = await mcp_server._carried_out(tools, asked, report)
    await tools.aclose()
    assert outcome.error is None
    assert sum("still working" in message for _, message in told) >= 3
    assert all(first[0] < second[0] for first, second in pairwise(told))


@pytest.mark.parametrize(
    "tool",
    ["summarize_video", *(pytest.param(one, marks=pytest.mark.slow) for one in ("ask_about_clip", "find_moment"))],
)
async def test_a_cancelled_call_ends_its_work(tool, long: Path, standin: Standin, settings: Settings) -> None:
    """Whatever cancels, and however often: nothing more is asked, and nothing stays set aside."""
    from qwen_omni.tools import mcp_server  # noqa: PLC0415

    limit = SpendLimit(tokens=10_000_000)
    tools = MediaTools(long, settings=replace(settings, spend_limit=limit))
    standin.script.fault(Fault.slow(first_byte_delay=20), times=9)

    async def ignored(*_):
        pass

    call = mcp_server._carried_out(tools, called(tool, path="a.mp4", **STEPS[tool][0]), ignored)
    with anyio.CancelScope() as scope:  # as the SDK cancels a request: again at every step of the cleaning up
        async with anyio.create_task_group() as group:
            group.start_soon(lambda: call)
            while not (standin.requests and limit.reserved.tokens):  # noqa: ASYNC110
                await anyio.sleep(0.01)
            scope.cancel()
    sent = len(standin.requests)
    assert limit.reserved.tokens == 0
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("qwen-omni-video")]
    await tools.aclose()
    assert len(standin.requests) == sent


@pytest.fixture
def started(place: Place, standin: Standin, settings: Settings, monkeypatch: pytest.MonkeyPatch, capsys):
    """Start the command in this process, and hang up at once: its status, standard error, and the tools it served."""
    from qwen_omni.tools import mcp_server  # noqa: PLC0415

    def start(options: list[str], variables: dict[str, str]) -> tuple[int, str, list[MediaTools]]:
        served: list[MediaTools] = []

        async def serve(tools: MediaTools) -> None:
            served.append(tools)

        monkeypatch.setattr(mcp_server, "serve_stdio", serve)
        for name, value in {**(server(place.root, standin, settings).env or {}), **variables}.items():
            monkeypatch.setenv(name, value)
        with pytest.raises(SystemExit) as ended:
            run(["mcp", "--root", str(place.root), *options])
        out, err = capsys.readouterr()
        assert not out, "standard output is the protocol's"
        return int(ended.value.code or 0), " ".join(err.split()), served

    return start


LIMITS = [
    (["--max-tokens", "50"], {}, "50 tokens"),
    (["--max-cny", "0.00001"], {}, "CNY 1e-05"),
    ([], {"QWEN_OMNI_MAX_TOKENS": "60"}, "60 tokens"),
    ([], {"QWEN_OMNI_MAX_CNY": "0.00002"}, "CNY 2e-05"),
]


@pytest.mark.parametrize(("options", "variables", "refused"), LIMITS, ids=[row[2] for row in LIMITS])
def test_a_limit_is_kept(options, variables, refused, started, standin: Standin) -> None:
    """A call that would break it is text that an agent can act on; nothing was sent."""
    _, _, (tools,) = started(options, variables)
    result = tools.call("ask_about_clip", {"path": "talks/monday.mp4", "question": "What is shown?"})
    assert result.error is not None
    assert refused in result.content
    assert "shorter piece (start, end)" in result.content
    assert "probe_media is free" in result.content
    assert tools.call("probe_media", {"path": "."}).error is None
    assert not standin.requests
    tools.close()


@pytest.mark.parametrize("place_of_it", ["in a task of the SDK", "between tasks", "after a task failed"])
def test_ctrl_c_ends_it_in_one_line(place_of_it, place: Place, monkeypatch, capsys, caplog) -> None:
    """Wherever the signal arrives: nothing is wrapped in a group of exceptions, and the status is 130."""
    from qwen_omni.cli import mcp as command  # noqa: PLC0415
    from qwen_omni.tools import mcp_server  # noqa: PLC0415

    async def press() -> None:
        if place_of_it == "between tasks":
            asyncio.get_running_loop().call_soon(signal.raise_signal, signal.SIGINT)
        else:
            signal.raise_signal(signal.SIGINT)
        if place_of_it == "after a task failed":
            raise ConnectionResetError

    async def serve(tools: MediaTools) -> None:
        async with anyio.create_task_group() as group:
            group.start_soon(press)
            await anyio.sleep_forever()

    statuses: list[int] = []
    monkeypatch.setattr(mcp_server, "serve_stdio", serve)
    monkeypatch.setattr(command.os, "_exit", statuses.append)
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-test")
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(SystemExit):
        run(["mcp", "--root", str(place.root), "--max-tokens", "9"])
    assert statuses == [130]
    assert capsys.readouterr().err.splitlines()[1:] == ["Stopped."]
    assert not caplog.text
    assert signal.getsignal(signal.SIGINT) is before


TOLD = [
    ([], {}, 0, "Spend limit of this run: 5,000,000 tokens (CNY 4 as text to qwen3.8-omni-flash"),
    (["--max-cny", "2.5", "--max-tokens", "900"], {}, 0, "Spend limit of this run: 900 tokens and CNY 2.5"),
    (["--no-limit"], {}, 0, "No spend limit"),
    (["--max-tokens", "-1"], {}, 2, "tokens must be"),
    (["--max-cny", "nan"], {}, 2, "cny must be"),
    (["--no-limit", "--max-cny", "1"], {}, 2, "--no-limit cannot be combined"),
    (["--no-limit"], {"QWEN_OMNI_MAX_CNY": "1"}, 2, "--no-limit cannot be combined"),
]


@pytest.mark.parametrize(("options", "variables", "status", "told"), TOLD)
def test_the_limit_is_printed_at_the_start_or_refused(options, variables, status, told, started) -> None:
    """On standard error; what is none is refused before the server starts."""
    ended, err, served = started(options, variables)
    assert ended == status
    assert told in err
    assert len(served) == (status == 0)
    for tools in served:
        tools.close()


# --- a process of its own, spoken to line by line ---


class Spoken:
    """A running `qwen-omni mcp`, without the SDK's client: what it is sent is exactly what a test writes."""

    def __init__(self, parameters, *options: str) -> None:
        self.process = subprocess.Popen(
            [parameters.command, *parameters.args, *options], env={**os.environ, **parameters.env}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        about = {"protocolVersion": "2025-06-18", "capabilities": {}, "clientInfo": {"name": "test", "version": "1"}}
        self.tell("initialize", about, id=1)

    def tell(self, method: str, params=None, **more) -> None:
        """Send a request (`id=`) or a notification."""
        assert self.process.stdin is not None
        said = {"jsonrpc": "2.0", "method": method, **more, **({} if params is None else {"params": params})}
        self.process.stdin.write(json.dumps(said) + "\n")
        self.process.stdin.flush()

    def heard(self):
        """Read the next message; an end of the stream fails."""
        assert self.process.stdout is not None
        return json.loads(self.process.stdout.readline())

    def asks(self, number: int) -> None:
        """Call `ask_about_clip`."""
        arguments = {"path": "a.mp4", "question": "What is shown?", "end": 5}
        self.tell("tools/call", {"name": "ask_about_clip", "arguments": arguments}, id=number)

    def __enter__(self):
        try:
            assert self.heard()["id"] == 1
            self.tell("notifications/initialized")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            with contextlib.suppress(BrokenPipeError):
                pipe.close()


def until_asked(standin: Standin, count: int = 1) -> None:
    """Wait until so many requests have reached the service."""
    while len(standin.requests) < count:
        threading.Event().wait(0.02)


@pytest.mark.slow
def test_a_cancelled_request_gives_its_money_back(long: Path, standin: Standin, settings: Settings) -> None:
    """`notifications/cancelled`: the call ends at once although its answer is ten minutes away; no answer is sent.

    The limit lets one call run, and a second only when the output that the first had set aside is given back.
    """
    part = VideoPart(source=MediaSource.from_path(long / "a.mp4"), end=5)
    question = "What is shown?\n\n(This is a piece of a longer file; count times from its beginning.)"
    asked = ChatRequest(
        model="qwen3.8-omni-flash", messages=(user(part, question),), options=ChatOptions(thinking=False)
    )
    reckoned = estimate(asked, settings=replace(settings, media_root=long))
    whole, into = reckoned.cost.tokens, reckoned.tokens.input
    assert whole - into > 200
    standin.script.fault(Fault.slow(first_byte_delay=600), times=1)
    with Spoken(server(long, standin, settings), "--max-tokens", str(whole + into + 100)) as spoken:
        spoken.asks(2)
        until_asked(standin)
        spoken.asks(3)
        refused = spoken.heard()
        assert (refused["id"], refused["result"]["isError"]) == (3, True)
        spoken.tell("notifications/cancelled", {"requestId": 2, "reason": "not wanted"})
        answers = []
        for number in range(4, 104):
            spoken.asks(number)
            answers.append(spoken.heard())
            if not answers[-1]["result"]["isError"]:
                break
        assert not answers[-1]["result"]["isError"], answers[-1]
        assert 2 not in [one["id"] for one in answers]
    assert len(standin.requests) == 2


@pytest.mark.slow
def test_hanging_up_ends_the_server(long: Path, standin: Standin, settings: Settings) -> None:
    """Standard input is closed while calls run whose answers are ten minutes away: the process ends by itself."""
    standin.script.fault(Fault.slow(first_byte_delay=600), times=99)
    with Spoken(server(long, standin, settings)) as spoken:
        for number, tool in enumerate(("ask_about_clip", "find_moment", "summarize_video"), 2):
            sent = len(standin.requests)
            spoken.tell("tools/call", {"name": tool, "arguments": {"path": "a.mp4", **STEPS[tool][0]}}, id=number)
            until_asked(standin, sent + 1)
        spoken.process.stdin.close()
        assert spoken.process.wait(120) == 0
