"""Conversations in neutral parts, and the JSON that each adapter must encode them to.

Media are links, so that a row shows the whole request. All adapters must produce the same JSON.
"""

from dataclasses import dataclass, field
from typing import Any

from qwen_omni import (
    AudioPart,
    ChatOptions,
    FramesPart,
    ImagePart,
    MediaSource,
    Message,
    Sampling,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
    user,
)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One conversation, the messages that are sent, and the other fields of the request."""

    name: str
    messages: tuple[Message, ...] = (user("What?"),)
    sent: list[dict[str, Any]] = field(default_factory=lambda: says("What?"))
    fields: dict[str, Any] = field(default_factory=dict)
    options: ChatOptions = field(default_factory=ChatOptions)
    model: str = "qwen3.8-omni-flash"

    @property
    def body(self) -> dict[str, Any]:
        """The JSON of the request, without `model`, `stream` and `stream_options`."""
        return {"messages": self.sent, **self.fields}


HOST = "https://media.example.com/"
SIGNED = HOST + "a.mp4?Expires=4102444800&Signature=aB%2Bc"


def at(name: str) -> MediaSource:
    """Return a file on the example host."""
    return MediaSource.from_url(HOST + name)


def says(*content: Any) -> list[dict[str, Any]]:
    """Return the JSON of a conversation with one user message."""
    return [{"role": "user", "content": content[0] if isinstance(content[0], str) else list(content)}]


WEATHER = Tool(name="weather", description="Tell the weather.", parameters={"type": "object", "properties": {}})
WEATHER_JSON = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "Tell the weather.",
        "parameters": {"type": "object", "properties": {}},
    },
}
TIME_JSON = {
    "type": "function",
    "function": {"name": "time", "description": "Tell the time.", "parameters": {"type": "object", "properties": {}}},
}
TIME = Tool(name="time", description="Tell the time.", parameters={"type": "object", "properties": {}})
TEXT = {"type": "text", "text": "What?"}
IMAGE = {"type": "image_url", "image_url": {"url": HOST + "a.png"}}
VIDEO = {"type": "video_url", "video_url": {"url": HOST + "a.mp4"}}
MUST_CALL = "Answer by calling one of these tools: weather, time. Do not answer in words."
SHOWN = "this\n(What the tool returned follows in the next message.)"
IN_PROMPT = (
    'Answer with one JSON object that follows this JSON schema, on one line and with nothing else:\n{"type":"object"}'
)

CONVERSATIONS = [
    Row(name="text"),
    Row(
        name="two texts keep their order",
        messages=(user("a", "b"),),
        sent=says({"type": "text", "text": "a"}, {"type": "text", "text": "b"}),
    ),
    Row(
        name="image with sampling",
        messages=(user(ImagePart(source=at("a.png"), sampling=Sampling(min_pixels=4096, max_pixels=9999)), "What?"),),
        sent=says(
            {"type": "image_url", "image_url": {"url": HOST + "a.png"}, "min_pixels": 4096, "max_pixels": 9999}, TEXT
        ),
    ),
    Row(
        name="audio",
        messages=(user(AudioPart(source=at("a.mp3")), "What?"),),
        sent=says({"type": "input_audio", "input_audio": {"data": HOST + "a.mp3", "format": "mp3"}}, TEXT),
    ),
    Row(
        name="video with sampling",
        messages=(user("What?", VideoPart(source=at("a.mp4"), sampling=Sampling(fps=0.5, total_pixels=10**6))),),
        sent=says(TEXT, {"type": "video_url", "video_url": {"url": HOST + "a.mp4"}, "fps": 0.5, "total_pixels": 10**6}),
    ),
    Row(
        name="frame list",
        messages=(user(FramesPart(frames=(at("1.jpg"), at("2.jpg")), sampling=Sampling(fps=2)), "What?"),),
        sent=says({"type": "video", "video": [HOST + "1.jpg", HOST + "2.jpg"], "fps": 2}, TEXT),
    ),
    Row(
        name="mixed media keep their order",
        messages=(
            user(VideoPart(source=at("a.mp4")), ImagePart(source=at("a.png")), "What?", AudioPart(source=at("a.wav"))),
        ),
        sent=says(
            VIDEO, IMAGE, TEXT, {"type": "input_audio", "input_audio": {"data": HOST + "a.wav", "format": "wav"}}
        ),
    ),
    Row(
        name="system, history and thinking",
        messages=(
            Message(role="system", parts=(TextPart(text="Be brief."),)),
            user("Hi"),
            Message(role="assistant", parts=(ThinkingPart(text="hm"), TextPart(text="Hello"))),
            user("What?"),
        ),
        sent=[
            {"role": "system", "content": "Be brief."},
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "Hello", "reasoning_content": "hm"},
            {"role": "user", "content": "What?"},
        ],
    ),
    Row(
        name="thinking in history only where the model uses it",
        model="qwen3.5-omni-flash",
        messages=(
            user("Hi"),
            Message(role="assistant", parts=(ThinkingPart(text="hm"), TextPart(text="a"))),
            user("b"),
        ),
        sent=[
            {"role": "user", "content": "Hi"},
            {"role": "assistant", "content": "a"},
            {"role": "user", "content": "b"},
        ],
    ),
    Row(
        name="tool calls and results",
        messages=(
            user("Weather?"),
            Message(role="assistant", parts=(ToolCallPart(id="c1", name="weather", arguments='{"x": 1}'),)),
            Message(role="tool", parts=(ToolResultPart(tool_call_id="c1", text="rain"),)),
        ),
        options=ChatOptions(tools=(WEATHER,), tool_choice="auto", parallel_tool_calls=True),
        sent=[
            {"role": "user", "content": "Weather?"},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [
                    {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"x": 1}'}}
                ],
            },
            {"role": "tool", "tool_call_id": "c1", "content": "rain"},
        ],
        fields={"tools": [WEATHER_JSON], "tool_choice": "auto", "parallel_tool_calls": True},
    ),
    Row(
        name="a forced tool switches thinking off",
        messages=(user("Weather?"),),
        options=ChatOptions(tools=(WEATHER,), tool_choice="weather"),
        sent=says("Weather?"),
        fields={
            "tools": [WEATHER_JSON],
            "tool_choice": {"type": "function", "function": {"name": "weather"}},
            "reasoning_effort": "none",
        },
    ),
    Row(
        name="every plain option",
        options=ChatOptions(
            temperature=0.0,
            top_p=0.5,
            top_k=3,
            max_tokens=9,
            seed=1,
            stop=("x",),
            presence_penalty=0.5,
            repetition_penalty=1.1,
            high_resolution_images=True,
            multichannel=False,
            extra_body={"new_field": 1},
        ),
        fields={
            "temperature": 0.0,
            "top_p": 0.5,
            "top_k": 3,
            "max_tokens": 9,
            "seed": 1,
            "stop": ["x"],
            "presence_penalty": 0.5,
            "repetition_penalty": 1.1,
            "vl_high_resolution_images": True,
            "use_multichannel": False,
            "new_field": 1,
        },
    ),
    Row(
        name="speech",
        model="qwen3.5-omni-flash",
        options=ChatOptions(modalities=("text", "audio"), voice="Ethan"),
        fields={"modalities": ["text", "audio"], "audio": {"voice": "Ethan", "format": "wav"}},
    ),
    Row(
        name="JSON mode without thinking",
        messages=(user("Give json."),),
        options=ChatOptions(json_mode=True, thinking=False),
        sent=says("Give json."),
        fields={"response_format": {"type": "json_object"}, "reasoning_effort": "none"},
    ),
    Row(
        name="a schema where the model takes one",
        model="qwen3.8-flash",
        options=ChatOptions(json_schema={"title": "Answer", "type": "object"}),
        fields={
            "response_format": {
                "type": "json_schema",
                "json_schema": {"name": "Answer", "strict": True, "schema": {"title": "Answer", "type": "object"}},
            }
        },
    ),
    Row(name="thinking by effort", options=ChatOptions(thinking="low"), fields={"reasoning_effort": "low"}),
    Row(
        name="thinking by switch",
        model="qwen3-omni-flash",
        options=ChatOptions(thinking="high"),
        fields={"enable_thinking": True},
    ),
    Row(name="no switch where there is none", model="qwen3.5-omni-flash", options=ChatOptions(thinking=False)),
    Row(
        name="a signed address keeps its query",
        messages=(user(VideoPart(source=MediaSource.from_url(SIGNED)), "What?"),),
        sent=says({"type": "video_url", "video_url": {"url": SIGNED}}, TEXT),
    ),
    Row(
        name="the same medium twice, and an empty text",
        messages=(user("hello", ImagePart(source=at("a.png")), "", ImagePart(source=at("a.png"))),),
        sent=says({"type": "text", "text": "hello"}, IMAGE, {"type": "text", "text": ""}, IMAGE),
    ),
    Row(
        name="what a tool showed follows its result",
        messages=(
            user("Look."),
            Message(role="assistant", parts=(ToolCallPart(id="c1", name="look", arguments="{}"),)),
            Message(role="tool", parts=(ToolResultPart(tool_call_id="c1", text=SHOWN),)),
            user(ImagePart(source=at("a.png"))),
        ),
        sent=[
            {"role": "user", "content": "Look."},
            {
                "role": "assistant",
                "content": "",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "look", "arguments": "{}"}}],
            },
            {"role": "tool", "tool_call_id": "c1", "content": SHOWN},
            {"role": "user", "content": [IMAGE]},
        ],
    ),
    Row(
        name="any tool of several",
        messages=(Message(role="system", parts=(TextPart(text=MUST_CALL),)), user("Weather?")),
        options=ChatOptions(tools=(WEATHER, TIME), tool_choice="auto"),
        sent=[{"role": "system", "content": MUST_CALL}, {"role": "user", "content": "Weather?"}],
        fields={"tools": [WEATHER_JSON, TIME_JSON], "tool_choice": "auto"},
    ),
    Row(
        name="a schema in the prompt",
        messages=(Message(role="system", parts=(TextPart(text=IN_PROMPT),)), user("What?")),
        options=ChatOptions(json_mode=True, thinking=False),
        sent=[{"role": "system", "content": IN_PROMPT}, {"role": "user", "content": "What?"}],
        fields={"response_format": {"type": "json_object"}, "reasoning_effort": "none"},
    ),
    Row(
        name="web search",
        options=ChatOptions(enable_search=True),
        fields={"enable_search": True, "search_options": {"search_strategy": "agent"}},
    ),
]

_ANSWER = {"type": "json_schema", "json_schema": {"schema": {"title": "Answer", "type": "object"}}}
CALLS: dict[str, dict[str, Any]] = {
    "tool calls and results": {"tools": [WEATHER_JSON], "tool_choice": "auto", "parallel_tool_calls": True},
    "a forced tool switches thinking off": {"tools": [WEATHER_JSON], "tool_choice": "weather"},
    "every plain option": {
        "temperature": 0.0, "top_p": 0.5, "top_k": 3, "max_tokens": 9, "seed": 1, "stop": ["x"],
        "presence_penalty": 0.5, "repetition_penalty": 1.1, "high_resolution_images": True, "multichannel": False,
        "extra_body": {"new_field": 1},
    },
    "speech": {"modalities": ["text", "audio"], "voice": "Ethan"},
    "JSON mode without thinking": {"response_format": {"type": "json_object"}},
    "a schema where the model takes one": {"response_format": _ANSWER},
    "a schema in the prompt": {"response_format": _ANSWER},
    "thinking by effort": {"thinking": "low"},
    "thinking by switch": {"thinking": "high"},
    "no switch where there is none": {"thinking": False},
    "web search": {"enable_search": True},
    "any tool of several": {"tools": [WEATHER_JSON, TIME_JSON], "tool_choice": "required"},
}  # fmt: skip
"""The options of a call, which both frameworks spell alike, by the name of the row."""

TEXTS = {
    **dict.fromkeys(["text", *CALLS], "What?"),
    "a forced tool switches thinking off": "Weather?",
    "JSON mode without thinking": "Give json.",
    "any tool of several": "Weather?",
}
"""Rows with one message that is only text, which both frameworks spell alike."""
