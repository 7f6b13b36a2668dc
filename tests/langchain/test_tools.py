"""`QwenOmniToolkit`: the tools as LangChain sees them, and an agent that has nothing but a folder and a question."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings as rules, strategies as st
from langchain_core.messages import ToolMessage

from langchain_qwen_omni import ChatQwenOmni, QwenOmniToolkit
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.support.agents import QUESTION, Detective, Place, make_place, nasty_paths, written_for
from tests.support.watching import watched


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Place:
    return make_place(tmp_path_factory.mktemp("place"))


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    """A folder with three films."""
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"{name}.mp4", seconds=6, size=(96, 64), fps=5) for name in ("a", "b", "c")]


@pytest.fixture
def llm(standin: Standin) -> Iterator[ChatQwenOmni]:
    made = ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, max_retries=0, thinking=False)
    yield made
    made.close()


def test_text_for_the_model_artifact_for_the_program(llm: ChatQwenOmni, place: Place) -> None:
    """A call gives a tool message whose artifact is plain values; sync and async alike."""
    kit = QwenOmniToolkit(llm, media_root=str(place.root))
    tools = {tool.name: tool for tool in kit.get_tools()}
    call = {"type": "tool_call", "id": "1", "name": "probe_media", "args": {"path": "talks/monday.mp4"}}
    message = tools["probe_media"].invoke(call)
    assert isinstance(message, ToolMessage)
    assert message.text.startswith("talks/monday.mp4: video, 4.0 s")
    assert message.artifact["duration"] == 4
    assert tools["ask_about_clip"].args_schema.model_json_schema()["required"] == ["path", "question"]
    kit.close()


async def test_the_async_road(llm: ChatQwenOmni, place: Place) -> None:
    """`ainvoke` asks over the asynchronous client."""
    kit = QwenOmniToolkit(llm, media_root=str(place.root))
    tools = {tool.name: tool for tool in kit.get_tools()}
    said = await tools["ask_about_clip"].ainvoke({"path": "talks/monday.mp4", "question": "What is shown?"})
    assert place.film.codes[0] in said
    await kit.aclose()


def test_refusals_are_words(llm: ChatQwenOmni, place: Place) -> None:
    """A path outside, a link and wrong arguments come back as text the agent can act on."""
    tools = {tool.name: tool for tool in QwenOmniToolkit(llm, media_root=str(place.root)).get_tools()}
    with watched(*place.secrets) as seen:
        for path in ("../outside/secret.mp4", "link.mp4", "out/secret.mp4"):
            assert "nothing was opened" in tools["ask_about_clip"].invoke({"path": path, "question": "What?"})
    assert seen == []
    assert "question: Field required" in tools["ask_about_clip"].invoke({"path": "x"})


def test_no_arguments_raise(llm: ChatQwenOmni, place: Place) -> None:
    """Whatever a model writes, LangChain's own validation included, no exception leaves a tool."""
    tools = QwenOmniToolkit(llm, media_root=str(place.root)).get_tools()
    paths = nasty_paths(place)
    calls = st.one_of(
        *(st.tuples(st.just(tool), written_for(tool.args_schema.model_json_schema(), paths)) for tool in tools)
    )

    @rules(max_examples=30, database=None, suppress_health_check=list(HealthCheck))
    @given(calls)
    def attempt(call):
        tool, arguments = call
        message = tool.invoke({"type": "tool_call", "id": "1", "name": tool.name, "args": arguments})
        assert message.text

    attempt()


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::PendingDeprecationWarning")
def test_an_agent_finds_the_moment(llm: ChatQwenOmni, films: list[TruthMedia], standin: Standin) -> None:
    """Given only a folder and a question, LangChain's agent names the file and the second."""
    agents = pytest.importorskip("langchain.agents")
    standin.script = Detective()
    kit = QwenOmniToolkit(llm, media_root=str(films[0].path.parent))
    agent = agents.create_agent(llm, kit.get_tools())
    code = films[1].codes[4]
    answer = agent.invoke({"messages": [("user", QUESTION.format(code=code))]})
    assert answer["messages"][-1].text == f"{code} is in b.mp4 at second 4."
    assert [message.name for message in answer["messages"] if message.type == "tool"] == [
        "probe_media", "ask_about_clip", "ask_about_clip",
    ]  # fmt: skip
    kit.close()
