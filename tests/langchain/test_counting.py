"""Estimated tokens, and the clients behind a model."""

import copy
import pickle

import pytest

from langchain_qwen_omni._structured import plan_structure
from langchain_qwen_omni._tokens import ASSUMED_SECONDS, count_part, count_text
from qwen_omni.connections import _MOST, Clients, ConnectionOptions
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Part,
    Sampling,
    TextPart,
    ThinkingPart,
    ToolCallPart,
    ToolResultPart,
    VideoPart,
)
from qwen_omni.profiles import profile_for

RULES = profile_for("qwen3.8-omni-flash").tokens
SOURCE = MediaSource.from_path("nowhere.mp4")
SOUND = int(ASSUMED_SECONDS * 7)

PARTS: dict[str, tuple[Part, int]] = {
    "text": (TextPart(text="12345678"), 2),
    "thinking": (ThinkingPart(text="1234"), 1),
    "a tool's result": (ToolResultPart(tool_call_id="1", text="12345"), 2),
    "a tool call": (ToolCallPart(id="1", name="find", arguments="{}"), 2),
    "image": (ImagePart(source=SOURCE), 1280),
    "sound": (AudioPart(source=SOURCE), SOUND),
    "video": (VideoPart(source=SOURCE), 120 * 640 // 2 + SOUND),
    "video at half a frame a second": (VideoPart(source=SOURCE, sampling=Sampling(fps=0.5)), 30 * 640 // 2 + SOUND),
    "video at ten frames a second": (VideoPart(source=SOURCE, sampling=Sampling(fps=10)), 180_224 // 2 + SOUND),
    "frames": (FramesPart(frames=(SOURCE,) * 4), 4 * 640 // 2),
}


@pytest.mark.parametrize(("part", "tokens"), PARTS.values(), ids=PARTS.keys())
def test_count_part(part: Part, tokens: int) -> None:
    """Each part counts by its kind and what is known of it without opening it."""
    assert count_part(part, RULES) == tokens


@pytest.mark.parametrize(("text", "tokens"), [("", 0), ("a", 1), ("abcd", 1), ("abcde", 2), ("你好", 2), ("你好a", 3)])
def test_count_text(text: str, tokens: int) -> None:
    """Four ASCII characters are a token, and so is every other one."""
    assert count_text(text) == tokens


def options(**chosen: object) -> ConnectionOptions:
    return ConnectionOptions(base_url="http://127.0.0.1:9/v1", **chosen)  # type: ignore[arg-type]


def test_one_client_per_set_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options share a client, other ones do not, and there are never more than a few dozen."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody")
    clients = Clients()
    first = clients.sync(options(timeout=1))
    assert clients.sync(options(timeout=1)) is first
    for seconds in range(2, _MOST + 2):
        clients.sync(options(timeout=seconds))
    assert len(clients._sync) == _MOST
    assert clients.sync(options(timeout=1)) is not first
    first.close()
    clients.close()
    assert len(clients._sync) == 0


def test_clients_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy or a pickle starts without connections, and shows none of what it holds."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody")
    clients = Clients()
    clients.sync(options())
    for other in (copy.deepcopy(clients), pickle.loads(pickle.dumps(clients))):
        assert other._sync == {}
    assert repr(clients) == "Clients()"
    clients.close()


def test_schema_as_dictionary_by_function_calling() -> None:
    """A JSON schema as a tool gives its name to the choice, and dictionaries come back."""
    schema = {"title": "Fact", "description": "A fact.", "type": "object", "properties": {"fact": {"type": "string"}}}
    structure = plan_structure(schema, "function_calling", strict=None)
    assert structure.options["tool_choice"] == "Fact"
    assert type(structure.parser).__name__ == "JsonOutputKeyToolsParser"
