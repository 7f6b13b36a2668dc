"""Tool calls on the wire: told apart whatever a server makes of `index` and `id`; and what goes back in the history."""

import json

import pytest

from qwen_omni import errors
from qwen_omni.messages import Message, TextPart, ToolCallPart, ToolResultPart, user
from qwen_omni.profiles import profile_for
from qwen_omni.responses import Response, ToolCall, ToolCallDelta
from qwen_omni.wire.request import MALFORMED_ARGUMENTS, encode_messages
from qwen_omni.wire.stream import StreamState
from tests.support.quirks import CALLED, ROLE, USAGE, chunk, events


def piece(arguments: object = ..., call_id: object = ..., name: object = ..., index: object = ...) -> dict:
    """One entry of `tool_calls`; `...` leaves a key out."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not ...}
    fields = {"index": index, "id": call_id, "type": "function", "function": function}
    return {key: value for key, value in fields.items() if value is not ...}


def read(*chunks: object) -> tuple[Response, list[ToolCallDelta]]:
    """Read chunks, each a list of entries or one entry."""
    state = StreamState()
    told = [chunk({"tool_calls": entries if isinstance(entries, list) else [entries]}) for entries in chunks]
    deltas = [*state.feed(events(ROLE, *told, CALLED, USAGE)), *state.end()]
    return state.response, [delta for delta in deltas if isinstance(delta, ToolCallDelta)]


ROME, OSLO = '{"city": "Rome"}', '{"city": "Oslo"}'
TWO = [("c1", "weather", ROME), ("c2", "weather", OSLO)]
SHARED = {
    "whole calls": [piece(ROME, "c1", "weather", 0), piece(OSLO, "c2", "weather", 0)],
    "in pieces": [
        piece("", "c1", "weather", 0), piece(ROME[:5], "", ..., 0), piece(ROME[5:], None, None, 0),
        piece("", "c2", "weather", 0), piece(OSLO[:5], "", ..., 0), piece(OSLO[5:], None, None, 0),
    ],
    "interleaved by id": [
        piece("", "c1", "weather", 0), piece("", "c2", "weather", 0), piece(ROME[:5], "c1", ..., 0),
        piece(OSLO[:5], "c2", ..., 0), piece(ROME[5:], "c1", ..., 0), piece(OSLO[5:], "c2", ..., 0),
    ],
    "interleaved by id, named each time": [
        piece(ROME[:5], "c1", "weather", 0), piece(OSLO[:5], "c2", "weather", 0),
        piece(ROME[5:], "c1", "weather", 0), piece(OSLO[5:], "c2", "weather", 0),
    ],
    "interleaved by index": [
        piece(ROME[:5], "c1", "weather", 0), piece(OSLO[:5], "c2", "weather", 1),
        piece(ROME[5:], "", ..., 0), piece(OSLO[5:], "", ..., 1),
    ],
    "no index": [piece(ROME, "c1", "weather"), piece(OSLO, "c2", "weather")],
    "no index, in pieces": [
        piece(ROME[:5], "c1", "weather"), piece(ROME[5:]), piece(OSLO[:5], "c2", "weather"), piece(OSLO[5:]),
    ],
    "no index, in one chunk": [[piece(ROME, "c1", "weather"), piece(OSLO, "c2", "weather")]],
    "null index": [piece(ROME, "c1", "weather", None), piece(OSLO, "c2", "weather", None)],
    "odd index": [piece(ROME, "c1", "weather", "zero"), piece(OSLO, "c2", "weather", -1)],
    "a null between": [[piece(ROME, "c1", "weather", 0), None], [None, piece(OSLO, "c2", "weather", 1)]],
    "named each time": [
        piece(ROME[:5], "c1", "weather", 0), piece(ROME[5:], "c1", "weather", 0),
        piece(OSLO[:5], "c2", "weather", 1), piece(OSLO[5:], "c2", "weather", 1),
    ],
    "a whole call once more": [
        piece(ROME, "c1", "weather", 0), piece(ROME, "c1", "weather", 0), piece(OSLO, "c2", "weather", 1),
    ],
    "a new id for each piece": [
        piece(ROME[:5], "c1", "weather", 0), piece(ROME[5:], "x7", "", 0),
        piece(OSLO[:5], "c2", "weather", 1), piece(OSLO[5:], "x8", None, 1),
    ],
    "arguments as objects": [
        piece(json.loads(ROME), "c1", "weather", 0), piece(json.loads(OSLO), "c2", "weather", 0),
    ],
    "an empty entry": [piece(ROME, "c1", "weather", 0), piece("", "", "", 1), piece(OSLO, "c2", "weather", 1)],
    "an empty entry last": [piece(ROME, "c1", "weather", 0), piece(OSLO, "c2", "weather", 1), piece("", "", ..., 2)],
    "the name in pieces": [
        piece("", "c1", "wea", 0), piece(..., ..., "ther", 0), piece(ROME, ..., ..., 0),
        piece(OSLO, "c2", "weather", 1),
    ],
    "the name in pieces, with its id": [
        piece("", "c1", "wea", 0), piece("", "c1", "ther", 0), piece(ROME, "c1", ..., 0),
        piece(OSLO, "c2", "weather", 1),
    ],
    "the name in pieces, without an index": [
        piece("", "c1", "wea"), piece(None, None, "ther"), piece(ROME),
        piece("", "c2", "we"), piece(OSLO, ..., "ather"),
    ],
    "the name grows": [
        piece("", "c1", "wea", 0), piece("", "c1", "weather", 0), piece(ROME, "c1", "weather", 0),
        piece(OSLO, "c2", "weather", 1),
    ],
    "the name with blanks": [piece(ROME, "c1", " weather\n", 0), piece(OSLO, "c2", "weather ", 1)],
    "a new id and the name for each piece": [
        piece(ROME[:5], "c1", "weather", 0), piece(ROME[5:], "x7", "weather", 0),
        piece(OSLO[:5], "c2", "weather", 1), piece(OSLO[5:], "x8", "weather", 1),
    ],
    "an index that changes inside a call": [
        piece(ROME[:5], "c1", "weather", 0), piece(ROME[5:], ..., ..., 1),
        piece(OSLO[:5], "c2", "weather", 2), piece(OSLO[5:], ..., ..., 3),
    ],
    "an empty object first": [
        piece("{}", "c1", "weather", 0), piece(ROME, ..., ..., 0),
        piece({}, "c2", "weather", 1), piece(OSLO, "", "", 1),
    ],
    "the arguments once more": [
        piece(ROME[:5], "c1", "weather", 0), piece(ROME[5:], ..., ..., 0), piece(ROME, "c1", ..., 0),
        piece(OSLO, "c2", "weather", 1), piece(OSLO, ..., ..., 1),
    ],
    "arguments under another name": [
        {"index": 0, "id": "c1", "function": {"name": "weather", "parameters": ROME}},
        {"id": "c2", "type": "tool_use", "name": "weather", "input": OSLO},
    ],
    "one object instead of a list": [[piece(ROME, "c1", "weather", 0)], [piece(OSLO, "c2", "weather", 0)]],
}  # fmt: skip


@pytest.mark.parametrize("pieces", SHARED.values(), ids=SHARED)
def test_parallel_calls_are_told_apart(pieces):
    """A new id with a name begins a new call, and so does what would follow a complete object."""
    answer, deltas = read(*pieces)
    assert [(call.id, call.name, call.arguments) for call in answer.tool_calls] == TWO
    assert [delta.id for delta in deltas if delta.id] == ["c1", "c2"], "an id is told once"
    assert [delta.name for delta in deltas if delta.name] == ["weather", "weather"], "so is a name"


UNNUMBERED = {
    "no ids, one index": [piece(ROME, ..., "weather", 0), piece(OSLO, ..., "weather", 0)],
    "no ids, no index": [piece(ROME, ..., "weather"), piece(OSLO, ..., "weather")],
    "no ids, two indices": [piece(ROME, "", "weather", 0), piece(OSLO, None, "weather", 1)],
    "one id for both": [piece(ROME, "c1", "weather", 0), piece(OSLO, "c1", "weather", 1)],
    "one id for both, one index": [piece(ROME, "c1", "weather", 0), piece(OSLO, "c1", "weather", 0)],
    "one id for both, in pieces": [
        piece(ROME[:5], "c1", "weather", 0), piece(OSLO[:5], "c1", "weather", 1),
        piece(ROME[5:], "c1", ..., 0), piece(OSLO[5:], "c1", ..., 1),
    ],
    "an id that is no text": [piece(ROME, [1], "weather", 0), piece(OSLO, True, "weather", 1)],
}  # fmt: skip


@pytest.mark.parametrize("pieces", UNNUMBERED.values(), ids=UNNUMBERED)
def test_a_missing_id_is_made_up(pieces):
    """Ids are there, differ, and are the same in the deltas and in the answer; another answer has others."""
    answer, deltas = read(*pieces)
    assert [(call.name, call.arguments) for call in answer.tool_calls] == [("weather", ROME), ("weather", OSLO)]
    ids = [call.id for call in answer.tool_calls]
    assert all(ids)
    assert len({*ids}) == 2
    assert [delta.id for delta in deltas if delta.id] == ids
    again, _ = read(*pieces)
    made = {one for one in ids if one != "c1"}
    assert made.isdisjoint(call.id for call in again.tool_calls)


@pytest.mark.parametrize("empty", ["{}", "", None, {}, ...])
def test_calls_without_arguments_are_told_apart(empty):
    """What came first is passed on when the next call begins, and at the end; `{}` may have been a placeholder."""
    answer, deltas = read(piece(empty, "c1", "now", 0), piece(empty, "c2", "now", 1), piece(ROME, "c3", "weather", 2))
    kept = "{}" if empty in ("{}", {}) else ""
    assert [(call.id, call.arguments) for call in answer.tool_calls] == [("c1", kept), ("c2", kept), ("c3", ROME)]
    assert [delta.id for delta in deltas] == ["c1", "c2", "c3"]


def test_a_late_id_is_kept():
    """A call whose id comes with its name, after the first piece."""
    answer, _ = read(piece("", ..., "", 0), piece('{"a"', "c1", "f", 0), piece(": 1}", "", "", 0))
    assert answer.tool_calls == (ToolCall(id="c1", name="f", arguments='{"a": 1}'),)


def test_another_name_begins_another_call():
    """Two calls without ids and arguments, of different tools, at one index."""
    answer, _ = read(piece("", ..., "begin", 0), piece("", ..., "stop", 0))
    assert [call.name for call in answer.tool_calls] == ["begin", "stop"]


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        (piece("{}", "c1", ..., 0), "names no tool"),
        (piece("[" * 100_000, "c1", "f", 0), "200 levels"),
        ([piece('{"a":' * 150, "c1", "f", 0), piece('{"a":' * 150, "", ..., 0)], "200 levels"),
        ("x", "not a list"),
        ({"function": "f"}, "not an object"),
    ],
)
def test_a_call_that_makes_no_sense_is_an_error(entries, words):
    """Typed, with what came before in `partial`."""
    state = StreamState()
    with pytest.raises(errors.APIError, match=words) as caught:
        state.feed(events(chunk({"content": "Hi"}), chunk({"tool_calls": entries}), CALLED))
    assert caught.value.partial.text == "Hi"
    assert not caught.value.retryable


def test_brackets_inside_strings_are_no_nesting():
    """Many brackets in a text are not deep; work on them is linear in the pieces."""
    arguments = json.dumps({"art": "[{" * 5_000})
    answer, _ = read(
        *(
            piece(arguments[i : i + 10], "c1" if not i else "", "f" if not i else "", 0)
            for i in range(0, len(arguments), 10)
        )
    )
    assert answer.tool_calls[0].arguments == arguments


# --- The history ---


def sent(*messages: Message) -> list[dict]:
    return encode_messages(messages, profile_for("qwen3.8-omni-flash"))


def called(arguments: str, call_id: str = "c1", name: str = "look") -> Message:
    return Message(role="assistant", parts=(ToolCallPart(id=call_id, name=name, arguments=arguments),))


def result(call_id: str, text: str = "done") -> Message:
    return Message(role="tool", parts=(ToolResultPart(tool_call_id=call_id, text=text),))


@pytest.mark.parametrize(
    "raw", ['{"path": "a.mp4"', "[1]", "look!", '{"x": NaN}', '"x"', "null", "{'a': 1}", '{"a": "\x01"}']
)
@pytest.mark.parametrize("answered", [True, False])
def test_malformed_arguments_go_back_as_an_object(raw, answered):
    """What the model wrote is quoted in a valid object; a call that no tool answered is answered."""
    messages = [user("q"), called(raw), *([result("c1")] if answered else []), user("again")]
    body = sent(*messages)
    assert [message["role"] for message in body] == ["user", "assistant", "tool", "user"]
    assert json.loads(body[1]["tool_calls"][0]["function"]["arguments"]) == {MALFORMED_ARGUMENTS: raw}
    assert body[2]["tool_call_id"] == "c1"


@pytest.mark.parametrize("raw", ['{"path": "a.mp4"}', "{}", ' {"a": 1}\n'])
def test_good_arguments_go_back_as_they_were(raw):
    """Byte for byte, so that the service's cache still fits; and nothing is answered in the caller's place."""
    body = sent(user("q"), called(raw), user("again"))
    assert body[1]["tool_calls"][0]["function"]["arguments"] == raw
    assert [message["role"] for message in body] == ["user", "assistant", "user"]


def test_only_the_malformed_call_is_answered():
    """Of two calls the program ran the good one."""
    both = Message(
        role="assistant",
        parts=(
            ToolCallPart(id="good", name="look", arguments="{}"),
            ToolCallPart(id="bad", name="look", arguments="{"),
        ),
    )
    body = sent(user("q"), both, result("good"), user("again"))
    assert [(m["role"], m.get("tool_call_id")) for m in body] == [
        ("user", None), ("assistant", None), ("tool", "good"), ("tool", "bad"), ("user", None),
    ]  # fmt: skip


def test_missing_ids_of_the_history_are_made_up():
    """In order: the first result answers the first call."""
    both = Message(
        role="assistant",
        parts=(
            TextPart(text="Two."),
            ToolCallPart(id="", name="a", arguments=""),
            ToolCallPart(id="", name="", arguments="{}"),
        ),
    )
    body = sent(user("q"), both, result("", "A"), result("", "B"))
    first, second = body[1]["tool_calls"]
    assert first["id"] != second["id"]
    assert [message["tool_call_id"] for message in body[2:]] == [first["id"], second["id"]]
    assert second["function"]["name"]
    assert first["function"]["arguments"] == "{}"


@pytest.mark.parametrize("arguments", ["{}", "{"])
def test_calls_that_share_an_id_get_their_own(arguments):
    """In order, as their results do: the service refuses two calls of one answer with the same id."""
    both = Message(
        role="assistant",
        parts=tuple(ToolCallPart(id="c1", name=name, arguments=arguments) for name in ("a", "b", "c")),
    )
    body = sent(user("q"), both, result("c1", "A"), result("c1", "B"), result("c1", "C"), user("again"))
    ids = [call["id"] for call in body[1]["tool_calls"]]
    assert ids[0] == "c1"
    assert len({*ids}) == 3
    assert [(one["tool_call_id"], one["content"]) for one in body[2:5]] == list(zip(ids, "ABC", strict=True))
    assert [one["role"] for one in body] == ["user", "assistant", "tool", "tool", "tool", "user"]


def test_a_shared_id_without_its_result_is_answered():
    """The malformed call of two that share an id; the other was run."""
    parts = tuple(ToolCallPart(id="c1", name="look", arguments=arguments) for arguments in ("{}", "{"))
    body = sent(user("q"), Message(role="assistant", parts=parts), result("c1", "A"), user("again"))
    assert [(one["role"], one.get("content")) for one in body[2:]] == [
        ("tool", "A"), ("tool", "Not run: the arguments were not a JSON object."), ("user", "again"),
    ]  # fmt: skip


@pytest.mark.parametrize(("raw", "sent_as"), [('{"a": "\ud83d"}', "\ufffd"), ('{"a": "\ud83d\ude00"}', "\U0001f600")])
def test_half_a_character_in_the_history_is_replaced(raw, sent_as):
    """UTF-8 cannot hold it."""
    body = sent(user("q"), called(raw), result("c1"))
    assert json.loads(body[1]["tool_calls"][0]["function"]["arguments"]) == {"a": sent_as}


def test_errors_name_the_place_in_the_conversation():
    """An answer that was put in does not shift the numbers of messages."""
    bad = Message(role="assistant", parts=(ToolResultPart(tool_call_id="x", text=""),))
    with pytest.raises(errors.UnsupportedContentError, match=r"message 3 \(assistant\)"):
        sent(user("q"), called("{"), user("again"), bad)


@pytest.mark.parametrize("size", [1, 4, 1000])
@pytest.mark.parametrize(
    ("arguments", "right"),
    [
        (r'{"city": "\ud83d"}', "\ufffd"),
        (r'{"city": "\ude00"}', "\ufffd"),
        (r'{"city": "\ud83d\ude00"}', "\U0001f600"),
        (r'{"city": "\ud83d\ud83d\ude00!"}', "\ufffd\U0001f600!"),
        (r'{"city": "\uD83Dx\uDE00\n\u00e9"}', "\ufffdx\ufffd\n\u00e9"),
        (r'{"city": "C:\\ud83d"}', r"C:\ud83d"),
        (r'{"city": "\\\ud83d\\"}', "\\\ufffd\\"),
    ],
)
def test_half_a_character_in_arguments(arguments, right, size):
    """Escaped in the JSON of the arguments, it is no character that a tool could take."""
    pieces = [piece(arguments[at : at + size], ..., ..., 0) for at in range(0, len(arguments), size)]
    response, deltas = read(piece("", "c1", "weather", 0), *pieces)
    assert json.loads(response.tool_calls[0].arguments) == {"city": right}
    assert "".join(delta.arguments for delta in deltas) == response.tool_calls[0].arguments


@pytest.mark.parametrize(("cut", "right"), [('{"a": "\\ud83d', '{"a": "\\ufffd'), ('{"a": "\\', '{"a": "\\')])
def test_arguments_that_end_inside_an_escape(cut, right):
    """What came is kept, whole characters alone."""
    assert read(piece(cut, "c1", "weather", 0))[0].tool_calls[0].arguments == right
