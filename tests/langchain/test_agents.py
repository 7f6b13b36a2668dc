"""The model in loops: agents that call tools, graphs with checkpoints, histories with video, middleware that counts."""

import base64
from pathlib import Path
from typing import Any

import pytest
from langchain_core.messages import AIMessage, HumanMessage, ToolMessage, trim_messages
from pydantic import BaseModel

from langchain_qwen_omni import ChatQwenOmni, to_reference
from qwen_omni.standin import Standin, ToolCall, Turn
from qwen_omni.standin.marked_media import TruthMedia, make_video

pytest.importorskip("langchain", reason="langchain is not installed")  # which brings langgraph
from langchain.agents import create_agent
from langchain.agents.middleware import SummarizationMiddleware
from langgraph.checkpoint.memory import InMemorySaver
from langgraph.graph import START, MessagesState, StateGraph

SECONDS = 240


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """Four minutes, each second with a code of its own."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=SECONDS, size=(160, 120), fps=2)


@pytest.mark.slow
@pytest.mark.parametrize("streamed", [False, True], ids=["invoke", "stream"])
def test_agent_answers_about_a_film_by_two_calls(
    llm: ChatQwenOmni, standin: Standin, film: TruthMedia, streamed: bool
) -> None:
    """An agent asks twice about passages of a film; its answer holds what only those passages show."""
    llm = llm.model_copy(update={"media_root": film.path.parent})
    asked: list[tuple[int, int]] = []

    def look(start: int, end: int) -> str:
        """Tell which codes are shown in the film from one second to another."""
        asked.append((start, end))
        block = {"type": "video", "path": str(film.path), "extras": {"start": start, "end": end, "fps": 2}}
        return str(llm.invoke([HumanMessage([block, "Which codes are shown?"])], thinking=False).text)

    standin.script.reply(_call("look", start=30, end=34), when=_has_tools, times=1)
    standin.script.reply(_call("look", start=200, end=204), when=_has_tools, times=1)
    agent = create_agent(llm, [look], system_prompt="Look at the film with the tool.")
    question: Any = {"messages": [HumanMessage("Which codes are shown from 30 to 34 s and from 200 to 204 s?")]}
    if streamed:
        states = list(agent.stream(question, stream_mode="values"))
        messages = states[-1]["messages"]
    else:
        messages = agent.invoke(question)["messages"]
    assert asked == [(30, 34), (200, 204)]
    results = [str(message.text) for message in messages if isinstance(message, ToolMessage)]
    for (start, end), result in zip(asked, results, strict=True):
        inner = film.codes[start + 1 : end - 1]
        assert all(code in result for code in inner)
        assert not any(code in result for code in film.codes[: start - 2] + film.codes[end + 2 :])
    final = standin.requests[-1].body["messages"]
    assert [message["content"] for message in final if message["role"] == "tool"] == results
    assert isinstance(messages[-1], AIMessage)
    assert not messages[-1].tool_calls


def _call(name: str, **arguments: Any) -> Turn:
    return Turn(tool_calls=(ToolCall(name=name, arguments=arguments),))


def _has_tools(request: Any) -> bool:
    return bool(request.body.get("tools"))


def test_agent_with_video_in_its_history(llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """A video in the first message is sent again with every turn of the loop, and is seen each time."""

    def note(text: str) -> str:
        """Write a note."""
        return f"noted {text}"

    standin.script.reply(_call("note", text="codes"), when=_has_tools, times=1)
    agent = create_agent(llm, [note])
    question = HumanMessage([{"type": "video", "base64": _b64(clip), "mime_type": "video/mp4"}, "Which codes?"])
    messages = agent.invoke({"messages": [question]})["messages"]
    assert [request.media[0].picture_codes for request in standin.requests] == [clip.codes] * 2
    assert messages[-1].text
    assert question.content[0]["type"] == "video"  # type: ignore[index]


def _b64(clip: TruthMedia) -> str:
    return base64.b64encode(Path(clip.path).read_bytes()).decode()


class Seen(BaseModel):
    """What was seen."""

    what: str


def test_agent_with_a_structured_answer(llm: ChatQwenOmni, standin: Standin) -> None:
    """An agent that must answer in a schema, beside tools of its own, gets an object."""
    standin.script.reply(_call("Seen", what="a door"), when=_has_tools, times=1)
    agent = create_agent(llm, [], response_format=Seen)
    assert agent.invoke({"messages": [HumanMessage("What is there?")]})["structured_response"] == Seen(what="a door")


def test_graph_goes_on_from_its_checkpoint(llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """A graph keeps a light history in its checkpoints; the video that it names is seen in a later turn."""

    def ask(state: MessagesState) -> dict[str, Any]:
        return {"messages": [llm.invoke(state["messages"])]}

    graph = StateGraph(MessagesState).add_node("ask", ask).add_edge(START, "ask").compile(checkpointer=InMemorySaver())
    thread: Any = {"configurable": {"thread_id": "1"}}
    held = HumanMessage([{"type": "video", "base64": _b64(clip), "mime_type": "video/mp4"}, "Keep this in mind."])
    graph.invoke({"messages": [to_reference(held)]}, thread)
    state = graph.invoke({"messages": [HumanMessage("Which codes are shown?")]}, thread)
    assert all(code in str(state["messages"][-1].text) for code in clip.codes)
    assert standin.requests[-1].media[0].picture_codes == clip.codes
    kept = graph.get_state(thread).values["messages"]
    assert len(kept) == 4
    assert sum(len(message.model_dump_json()) for message in kept) < 8_000


def test_trimming_counts_video_as_video(llm: ChatQwenOmni, clip: TruthMedia) -> None:
    """A video is weighed by its kind, held or named: the trimmed history is the same, and nothing is cut inside."""
    held = HumanMessage([{"type": "video", "base64": _b64(clip), "mime_type": "video/mp4"}, "Look."])
    for first in (held, to_reference(held)):
        history = [first, AIMessage("Seen."), HumanMessage("And now?")]
        video = llm.get_num_tokens_from_messages([first])
        kept = trim_messages(history, max_tokens=video + 50, token_counter=llm, strategy="last")
        assert kept == history
        cut = trim_messages(history, max_tokens=video - 50, token_counter=llm, strategy="last")
        assert cut == history[1:]


def test_summarising_counts_video_as_video(llm: ChatQwenOmni, standin: Standin, clip: TruthMedia) -> None:
    """Summarising middleware with our counter begins when the video is too heavy, not when its base64 is long."""
    held = HumanMessage([{"type": "video", "base64": _b64(clip), "mime_type": "video/mp4"}, "Look."])
    weight = llm.get_num_tokens_from_messages([held])
    for limit, summarised in ((weight * 2, False), (weight // 2, True)):
        middleware = SummarizationMiddleware(
            model=llm, trigger=("tokens", limit), keep=("messages", 1), token_counter=llm.get_num_tokens_from_messages
        )
        agent = create_agent(llm, [], middleware=[middleware])
        standin.clear()
        agent.invoke({"messages": [to_reference(held), AIMessage("Seen."), HumanMessage("And now?")]})
        assert (len(standin.requests) == 2) is summarised
