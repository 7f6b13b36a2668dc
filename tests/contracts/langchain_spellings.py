"""The LangChain spelling of every row of `conversations`."""

from typing import Any

from langchain_core.messages import AIMessage, BaseMessage, HumanMessage, SystemMessage, ToolMessage

from tests.contracts.conversations import HOST, SIGNED, TEXTS


def says(*blocks: Any) -> list[BaseMessage]:
    return [HumanMessage(blocks[0] if len(blocks) == 1 else list(blocks))]


def call(name: str, identifier: str, **arguments: Any) -> AIMessage:
    return AIMessage("", tool_calls=[{"type": "tool_call", "name": name, "args": arguments, "id": identifier}])


WHAT = {"type": "text", "text": "What?"}
VIDEO = {"type": "video", "url": HOST + "a.mp4"}
IMAGE = {"type": "image", "url": HOST + "a.png"}

SPELLINGS: dict[str, list[BaseMessage]] = {
    **{name: says(text) for name, text in TEXTS.items()},
    "two texts keep their order": says("a", "b"),
    "image with sampling": says({**IMAGE, "extras": {"min_pixels": 4096, "max_pixels": 9999}}, WHAT),
    "audio": says({"type": "audio", "url": HOST + "a.mp3"}, WHAT),
    "video with sampling": says(WHAT, {**VIDEO, "extras": {"fps": 0.5, "total_pixels": 10**6}}),
    "frame list": says({"type": "video", "video": [HOST + "1.jpg", HOST + "2.jpg"], "fps": 2}, WHAT),
    "mixed media keep their order": says(VIDEO, IMAGE, WHAT, {"type": "audio", "url": HOST + "a.wav"}),
    "system, history and thinking": [
        SystemMessage("Be brief."),
        HumanMessage("Hi"),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "Hello"}]),
        HumanMessage("What?"),
    ],
    "thinking in history only where the model uses it": [
        HumanMessage("Hi"),
        AIMessage([{"type": "reasoning", "reasoning": "hm"}, {"type": "text", "text": "a"}]),
        HumanMessage("b"),
    ],
    "tool calls and results": [
        HumanMessage("Weather?"),
        call("weather", "c1", x=1),
        ToolMessage("rain", tool_call_id="c1"),
    ],
    "a signed address keeps its query": says({**VIDEO, "url": SIGNED}, WHAT),
    "the same medium twice, and an empty text": says("hello", IMAGE, "", IMAGE),
    "what a tool showed follows its result": [
        HumanMessage("Look."),
        call("look", "c1"),
        ToolMessage([{"type": "text", "text": "this"}, IMAGE], tool_call_id="c1"),
    ],
}
