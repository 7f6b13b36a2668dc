"""The LlamaIndex spelling of every row of `conversations`."""

from typing import Any

from llama_index.core.base.llms.types import (
    AudioBlock,
    ChatMessage,
    ImageBlock,
    MessageRole,
    TextBlock,
    ThinkingBlock,
    ToolCallBlock,
    VideoBlock,
)

from tests.contracts.conversations import HOST, SIGNED, TEXTS

USER, ASSISTANT = MessageRole.USER, MessageRole.ASSISTANT


def turn(role: MessageRole, *blocks: Any) -> ChatMessage:
    return ChatMessage(role=role, blocks=[TextBlock(text=b) if isinstance(b, str) else b for b in blocks])


def says(*blocks: Any, **wishes: Any) -> list[ChatMessage]:
    return [
        ChatMessage(blocks=[TextBlock(text=b) if isinstance(b, str) else b for b in blocks], additional_kwargs=wishes)
    ]


VIDEO = VideoBlock(url=HOST + "a.mp4")
IMAGE = ImageBlock(url=HOST + "a.png")

SPELLINGS: dict[str, list[ChatMessage]] = {
    **{name: says(text) for name, text in TEXTS.items()},
    "two texts keep their order": says("a", "b"),
    "image with sampling": says(IMAGE, "What?", min_pixels=4096, max_pixels=9999),
    "audio": says(AudioBlock(url=HOST + "a.mp3"), "What?"),
    "video with sampling": says("What?", VIDEO, media={"fps": 0.5, "total_pixels": 10**6}),
    "frame list": says(ImageBlock(url=HOST + "1.jpg"), ImageBlock(url=HOST + "2.jpg"), "What?", frames={"fps": 2}),
    "mixed media keep their order": says(VIDEO, IMAGE, "What?", AudioBlock(url=HOST + "a.wav")),
    "system, history and thinking": [
        turn(MessageRole.SYSTEM, "Be brief."),
        turn(USER, "Hi"),
        turn(ASSISTANT, ThinkingBlock(content="hm"), "Hello"),
        turn(USER, "What?"),
    ],
    "thinking in history only where the model uses it": [
        turn(USER, "Hi"),
        turn(ASSISTANT, ThinkingBlock(content="hm"), "a"),
        turn(USER, "b"),
    ],
    "tool calls and results": [
        turn(USER, "Weather?"),
        turn(ASSISTANT, ToolCallBlock(tool_call_id="c1", tool_name="weather", tool_kwargs={"x": 1})),
        ChatMessage(role=MessageRole.TOOL, content="rain", additional_kwargs={"tool_call_id": "c1"}),
    ],
    "a signed address keeps its query": says(VideoBlock(url=SIGNED), "What?"),
    "the same medium twice, and an empty text": says("hello", IMAGE, "", IMAGE),
    "what a tool showed follows its result": [
        turn(USER, "Look."),
        turn(ASSISTANT, ToolCallBlock(tool_call_id="c1", tool_name="look", tool_kwargs={})),
        ChatMessage(role="tool", blocks=[TextBlock(text="this"), IMAGE], additional_kwargs={"tool_call_id": "c1"}),
    ],
}
