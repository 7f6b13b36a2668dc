"""The tools of a library: what a model is told, what a program gets, and agents of both frameworks and over MCP."""

import asyncio
import importlib.util
import pickle
import re
from dataclasses import replace

import pytest

from qwen_omni import ConfigurationError, MediaTools, OmniClient, Settings, SpendLimit, VideoLibrary
from qwen_omni.standin import Fault, LoggedRequest, Script, ToolCall, Turn
from qwen_omni.standin.marked_media import make_video
from tests.support.agents import _text
from tests.support.memory_store import MemoryStore
from tests.tools.conftest import answered_over_mcp, both, server

CODE = re.compile(r"\d{4,}")


@pytest.fixture(scope="module")
def films(tmp_path_factory):
    """A folder of two videos, and one outside of it."""
    folder = tmp_path_factory.mktemp("films")
    (folder / "media").mkdir()
    places = (folder / "media" / "one.mp4", folder / "media" / "two.mp4", folder / "outside.mp4")
    return [make_video(path, seconds=4, size=(128, 96), fps=4, seed=n) for n, path in enumerate(places)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture
def settings(standin, cache):
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0, cache_dir=cache)


@pytest.fixture
def library(settings, films, standin):
    with OmniClient(settings) as client:
        made = VideoLibrary(MemoryStore(), client=client)
        made.add([film.path for film in films])
        standin.clear()
        yield made


@pytest.fixture
def tools(library, films, settings):
    made = MediaTools(films[0].path.parent, settings=settings, library=library)
    yield made
    made.close()


def test_the_tools_are_offered_where_there_is_a_library(tools, films, settings):
    names = [one.name for one in tools.definitions]
    assert names[-2:] == ["search_videos", "ask_library"]
    assert "search_videos" not in [one.name for one in MediaTools(films[0].path.parent, settings=settings).definitions]


def test_a_search_names_files_and_seconds_as_other_tools_take_them(tools, films):
    outcome = both(tools, "search_videos", query=f"code {films[1].codes[2]}")
    best = outcome.artifact["windows"][0]
    assert best["path"] == "two.mp4"
    assert best["start"] <= 2 <= best["end"]
    assert outcome.content.splitlines()[0] == "3 windows, best first:"
    assert tools.call("probe_media", {"path": best["path"]}).error is None


def test_a_video_outside_the_folder_is_named_without_its_place(tools, films):
    outcome = tools.call("search_videos", {"query": films[2].codes[0], "k": 1})
    assert outcome.artifact["windows"][0]["path"] == "outside.mp4"
    assert str(films[2].path.parent) not in outcome.content


def test_a_question_is_answered_with_evidence_and_what_it_rests_on(tools, films, standin):
    reports = []
    arguments = {"question": f"When is code {films[1].codes[3]} shown?"}
    outcome = tools.call("ask_library", arguments, on_progress=reports.append)
    assert outcome.error is None
    assert outcome.artifact["evidence"] == [
        {
            "path": "two.mp4",
            "start": 3.0,
            "end": 4.0,
            "text": f"[stand-in] code {films[1].codes[3]} is shown",
            "watched": True,
        }
    ]
    assert "two.mp4, 3.0-4.0 s: " in outcome.content
    assert "shots watched again" in outcome.content
    assert [one.done for one in reports] == sorted(one.done for one in reports)
    standin.clear()
    assert both(tools, "ask_library", **arguments).content == outcome.content
    assert not any(request.media for request in standin.requests)  # stored


@pytest.mark.parametrize(
    ("path", "names"),
    [
        ("two.mp4", {"two.mp4"}),
        ("./one.mp4", {"one.mp4"}),
        (".", {"one.mp4", "two.mp4"}),
        ("outside.mp4", {"outside.mp4"}),
    ],
)  # fmt: skip
def test_a_model_may_name_a_file_or_a_folder(tools, films, path, names):
    outcome = both(tools, "search_videos", query="code", path=path)
    assert {one["path"] for one in outcome.artifact["windows"]} == names


def test_a_search_by_words_alone_is_said_to_the_model_once(library, films, settings):
    """Not as a warning of Python: those are errors here."""
    poor = OmniClient(replace(settings, spend_limit=SpendLimit(cny=0)))
    tools = MediaTools(
        films[0].path.parent, settings=settings, library=VideoLibrary(library._store, client=poor)
    )  # fmt: skip
    for name, given in (("search_videos", "query"), ("ask_library", "question")):
        outcome = both(tools, name, **{given: f"code {films[1].codes[2]}"})
        assert outcome.content.count("only its words were compared") == 1
    poor.close()


def test_a_path_that_the_library_does_not_hold_is_named(tools, films, standin):
    for name, asked in (("search_videos", "query"), ("ask_library", "question")):
        outcome = both(tools, name, **{asked: "code", "path": "talks/three.mp4"})
        assert outcome.error is not None
        assert (
            "talks/three.mp4 is not in the library, which has 3 videos: one.mp4, two.mp4, outside.mp4"
            in outcome.content
        )
        assert "Only the people" not in outcome.content  # the model can correct it
    assert not standin.requests


def test_an_answer_from_one_file(tools, films):
    arguments = {"question": f"When is code {films[1].codes[3]} shown?", "path": "two.mp4"}
    outcome = both(tools, "ask_library", **arguments)
    assert {one["path"] for one in outcome.artifact["evidence"]} == {"two.mp4"}


@pytest.mark.parametrize(
    ("name", "arguments", "says"),
    [
        ("search_videos", {}, "query: Field required"),
        ("search_videos", {"query": ""}, "query"),
        ("search_videos", {"query": "x", "k": 0}, "k:"),
        ("search_videos", {"query": "x", "k": True}, "must be a number"),
        ("ask_library", {"question": "x", "looks": 99}, "looks"),
        ("ask_library", {"question": "x", "source": "y"}, "source"),
        ("ask_library", {"question": "x", "path": ""}, "path"),
    ],
)
def test_wrong_arguments_are_named(tools, name, arguments, says):
    outcome = tools.call(name, arguments)
    assert outcome.error is not None
    assert says in outcome.content


def test_without_a_library_there_is_no_such_tool(films, settings):
    outcome = MediaTools(films[0].path.parent, settings=settings).call("search_videos", {"query": "x"})
    assert "Unknown tool 'search_videos'" in outcome.content


@pytest.mark.slow
def test_the_spend_limit_of_the_tools_ends_looking(library, films, settings, standin):
    poor = replace(settings, spend_limit=SpendLimit(tokens=1_500))
    with_limit = MediaTools(films[0].path.parent, settings=poor, library=library)
    outcome = with_limit.call("ask_library", {"question": f"Which sign follows {films[0].codes[1]}?"})
    with_limit.close()
    assert outcome.artifact["stopped"] == "spend_limit"
    assert "spend limit did not allow another look" in outcome.content
    assert not any(request.media for request in standin.requests)


def test_a_failure_tells_no_place(tools, films, standin):
    standin.script.fault(Fault.server_error(), times=9)
    outcome = tools.call("search_videos", {"query": "x"})
    assert outcome.error is not None
    assert str(films[0].path.parent.parent) not in outcome.content


class Librarian(Script):
    """An agent that knows no file: it asks the library, and reports the evidence that the tool returned."""

    def next_reply(self, request: LoggedRequest) -> Turn | None:
        """Return the agent's next step; requests without tools come from a tool."""
        if not request.body.get("tools"):
            return super().next_reply(request)
        messages = request.body["messages"]
        results = [_text(one) for one in messages if one["role"] == "tool"]
        code = next(found[0] for one in messages if one["role"] == "user" for found in [CODE.search(_text(one))])
        if len(results) == 0:
            return Turn(tool_calls=(ToolCall(name="search_videos", arguments={"query": f"code {code}"}),))
        if len(results) == 1:
            return Turn(
                tool_calls=(ToolCall(name="ask_library", arguments={"question": f"When is code {code} shown?"}),)
            )
        found = re.search(rf"(\S+\.mp4), (\d+\.\d)-\S+ s: .*code {code}", results[1])
        return Turn(text=f"{code} is in {found[1]} at second {found[2]}." if found else "Nothing was found.")


ASKED = "In which video, and when, is the code {code} shown?"


@pytest.mark.slow
def test_an_agent_of_langchain_answers_with_evidence(standin, library, films):
    from langchain.agents import create_agent  # noqa: PLC0415

    from langchain_qwen_omni import ChatQwenOmni, QwenOmniToolkit  # noqa: PLC0415

    standin.script = Librarian()
    llm = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url)
    toolkit = QwenOmniToolkit(llm, media_root=str(films[0].path.parent), library=library)
    agent = create_agent(llm, toolkit.get_tools())
    answer = agent.invoke({"messages": [("user", ASKED.format(code=films[1].codes[2]))]})["messages"][-1].text
    assert answer == f"{films[1].codes[2]} is in two.mp4 at second 2.0."
    toolkit.close()
    llm.close()


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use old names of pydantic
def test_an_agent_of_llama_index_answers_with_evidence(standin, library, films):
    pytest.importorskip("llama_index.core")
    from llama_index.core.agent.workflow import FunctionAgent  # noqa: PLC0415

    from llama_index_qwen_omni import QwenOmni, QwenOmniToolSpec  # noqa: PLC0415

    standin.script = Librarian()
    llm = QwenOmni(api_key=standin.api_key, base_url=standin.base_url)
    spec = QwenOmniToolSpec(llm, media_root=films[0].path.parent, library=library)

    async def asked():
        agent = FunctionAgent(llm=llm, tools=spec.to_tool_list(), streaming=False)
        try:
            return str(await agent.run(user_msg=ASKED.format(code=films[0].codes[1])))
        finally:
            await spec.aclose()
            await llm.aclose()

    assert asyncio.run(asked()) == f"{films[0].codes[1]} is in one.mp4 at second 1.0."
    spec.close()


@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="mcp is not installed")
def test_over_mcp_a_question_is_answered_with_evidence(tools, films):
    import anyio  # noqa: PLC0415
    from mcp.client import Client  # noqa: PLC0415

    from qwen_omni.tools.mcp_server import make_server  # noqa: PLC0415

    async def asked():
        async with Client(make_server(tools)) as client:
            names = [one.name for one in (await client.list_tools()).tools]
            question = {"question": f"When is code {films[0].codes[3]} shown?"}
            result = await client.call_tool("ask_library", question)
            await tools.aclose()
            return names, result

    names, result = anyio.run(asked)
    assert {"search_videos", "ask_library"} <= set(names)
    assert not result.is_error
    (evidence,) = result.structured_content["result"]["evidence"]
    assert (evidence["path"], evidence["start"]) == ("one.mp4", 3.0)


@pytest.mark.slow
@pytest.mark.skipif(importlib.util.find_spec("mcp") is None, reason="mcp is not installed")
def test_an_agent_of_a_library_on_disk_over_standard_streams(standin, settings, films, tmp_path):
    """The command that a host runs, a library that another process made, and a loop without any framework."""
    pytest.importorskip("lancedb")
    import anyio  # noqa: PLC0415
    import mcp  # noqa: PLC0415

    root, place = films[0].path.parent, tmp_path / "library.lance"
    with OmniClient(settings) as model:
        VideoLibrary(place, client=model).add(root)
    standin.script = Librarian()

    async def asked():
        async with mcp.Client(server(root, standin, settings, "--library", str(place))) as client:
            return await answered_over_mcp(client, settings, ASKED.format(code=films[0].codes[3]))

    assert anyio.run(asked) == f"{films[0].codes[3]} is in one.mp4 at second 3.0."


def test_tools_with_a_library_can_be_pickled(films, settings, tmp_path, monkeypatch):
    """Connections stay behind; the library is opened anew."""
    monkeypatch.setattr("qwen_omni.library.store.find_spec", lambda _: True)
    made = MediaTools(films[0].path.parent, settings=settings, library=VideoLibrary(tmp_path / "library.lance"))
    again = pickle.loads(pickle.dumps(made))
    assert [one.name for one in again.definitions] == [one.name for one in made.definitions]


def test_a_question_without_a_library_is_a_matter_of_configuration(films):
    from qwen_omni.tools.definitions import SearchVideos  # noqa: PLC0415
    from qwen_omni.tools.folder import MediaFolder  # noqa: PLC0415
    from qwen_omni.tools.handlers import ToolContext  # noqa: PLC0415
    from qwen_omni.tools.library_tools import search_videos  # noqa: PLC0415

    context = ToolContext(folder=MediaFolder(root=films[0].path.parent), model="m")
    with pytest.raises(ConfigurationError, match="pass library="):
        next(search_videos(context, SearchVideos(query="x")))
