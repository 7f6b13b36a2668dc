"""Damaged streams: an answer is whole, or it is an error. Nothing is left out of an answer without a word."""

import contextlib
import json
import random
import re
from pathlib import Path

import pytest
import yaml

from qwen_omni import errors
from qwen_omni.responses import Response, collect
from qwen_omni.wire.stream import StreamState
from tests.support.quirks import QUIRKS, ROLE, STOP, USAGE, call, chunk, events, read, speech, text

ROOT = Path(__file__).parents[2]


def with_line(line: bytes) -> bytes:
    """A stream whose text is `Do mix A and B.`, with a line of its own after the first word."""
    return events(ROLE, text("Do "), done=False) + line + events(text("mix A and B."), STOP, USAGE)


def lone(data: str) -> bytes:
    return b"data: " + data.encode("utf-8", "surrogatepass") + b"\n\n"


NOT = '{"choices":[{"index":0,"delta":{"content":"NOT %s"},"finish_reason":null}]}'


@pytest.mark.parametrize(
    "line",
    [
        pytest.param(lone(NOT % "\x01"), id="a raw control character"),
        pytest.param(lone(NOT % "").replace(b"NOT", b"N\xffT"), id="invalid UTF-8"),
        pytest.param(lone(NOT % "").replace(b"NOT", b"N\xed\xa0\xbdT"), id="a half in UTF-8"),
        pytest.param(lone(NOT % "").replace(b"NOT", b"N\nOT"), id="a line break in a text"),
        pytest.param(lone(NOT % "").replace(b'"delta"', b'\n"delta"'), id="a line break between keys"),
        pytest.param(lone(NOT % "").replace(b'"delta"', b'\ndata: "delta",'), id="a field in the middle"),
        pytest.param(lone(NOT[:40]), id="cut"),
        pytest.param(lone(""), id="empty"),
        pytest.param(lone("keep-alive"), id="prose"),
        pytest.param(lone(NOT % "" + "}"), id="a brace too many"),
        pytest.param(lone(NOT % "").removesuffix(b"\n"), id="no blank line"),
        pytest.param(lone(NOT % "").replace(b"data", b"dta"), id="a damaged prefix"),
        pytest.param(lone(NOT % "").replace(b"data:", b":ata:"), id="a prefix that became a comment"),
        pytest.param(lone(NOT % "").replace(b"data:", b"data"), id="no colon"),
        pytest.param(lone(NOT % "").replace(b"data:", b" data:"), id="a space before"),
        pytest.param(lone(NOT % "").replace(b"data:", b"DATA:"), id="capitals"),
        pytest.param(b"upstream error\n\n", id="prose without a field"),
        pytest.param(lone("[DONE").replace(b"\n\n", b"\n\n"), id="a damaged end mark"),
        pytest.param(
            events(call('{"a"', "c1", "f"), done=False).replace(b"arguments", b"argu\nments"), id="a tool call"
        ),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
def test_a_line_that_cannot_be_read_is_an_interruption(line, size):
    """It may have been the word NOT. What came before is in `partial`."""
    with pytest.raises(errors.StreamInterruptedError) as caught:
        read(with_line(line), size)
    assert caught.value.partial.text == "Do "


@pytest.mark.parametrize(
    "line", [b": keep-alive\n\n", b"id: 7\n\n", b"retry: 100\n\n", b"event: result\n", b"id\n", b":\n"]
)
def test_comments_and_known_fields_hold_nothing(line):
    """The standard's other fields, and comments, are no part of an answer."""
    assert read(with_line(line)).text == "Do mix A and B."


def halves(field: str, *pieces: str) -> bytes:
    """Chunks with text as it stands on the wire, escapes and all."""
    chunks = [f'data: {{"choices":[{{"delta":{{{field % piece}}}}}]}}\n\n' for piece in pieces]
    return "".join(chunks).encode() + events(STOP, USAGE)


@pytest.mark.parametrize(
    ("pieces", "whole"),
    [
        ((r"a\ud83c", r"\udf0db"), "a🌍b"),
        ((r"a\uD83C", "", r"\uDF0Db"), "a🌍b"),
        ((r"a\ud83cx", "b"), "a�xb"),
        ((r"a\udf0d", "b"), "a�b"),
        ((r"a\ud83c", "b"), "a�b"),
        (("a", r"b\ud83c"), "ab�"),
        ((r"\ud83c\ud83c", r"\udf0d"), "�🌍"),
        ((r"\ud83c\udf0d", "b"), "🌍b"),
    ],
)
@pytest.mark.parametrize("size", [None, 1])
def test_halves_of_a_character_are_joined(pieces, whole, size):
    """A character cut between two deltas is whole again; half a character alone becomes U+FFFD. So everywhere."""
    assert read(halves('"content":"%s"', *pieces), size).text == whole
    assert read(halves('"reasoning_content":"%s"', *pieces), size).thinking == whole
    first, *rest = pieces
    told = '"tool_calls":[{"index":0,"id":"c","function":{"name":"f","arguments":"%s"}}]'
    answer = read(halves(told, first).removesuffix(events(STOP, USAGE)) + halves(told, *rest), size)
    assert [tool.arguments for tool in answer.tool_calls] == [whole]


def test_halves_of_different_texts_stay_apart():
    """Thinking, text and each call have a character of their own under way."""
    state = StreamState()
    wire = (
        r'{"choices":[{"delta":{"reasoning_content":"t\ud83c"}}]}',
        r'{"choices":[{"delta":{"content":"c\ud83c"}}]}',
        r'{"choices":[{"delta":{"tool_calls":[{"index":0,"id":"a","function":{"name":"f","arguments":"0\ud83c"}}]}}]}',
        r'{"choices":[{"delta":{"tool_calls":[{"index":1,"id":"b","function":{"name":"f","arguments":"1\ud83c"}}]}}]}',
        r'{"choices":[{"delta":{"content":"\udf0d"}}]}',
        r'{"choices":[{"delta":{"tool_calls":[{"index":1,"function":{"arguments":"\udf0d"}}]}}]}',
        r'{"choices":[{"delta":{"tool_calls":[{"index":0,"function":{"arguments":"\udf0d"}}]}}]}',
        r'{"choices":[{"delta":{"reasoning_content":"\udf0d"}}]}',
    )
    deltas = state.feed("".join(f"data: {one}\n\n" for one in wire).encode() + events(STOP, USAGE))
    answer = collect([*deltas, *state.end()])
    assert (answer.thinking, answer.text) == ("t🌍", "c🌍")
    assert [tool.arguments for tool in answer.tool_calls] == ["0🌍", "1🌍"]


def test_a_plain_answer_has_no_halves():
    """The same in an answer that is one JSON object."""
    body = rb'{"choices":[{"message":{"content":"a\ud83c"},"finish_reason":"stop"}],"usage":{"prompt_tokens":1}}'
    assert read(body).text == "a�"


def test_half_a_character_reaches_no_name():
    """Ids, model names and finish reasons are whole, too."""
    body = (
        rb'data: {"id":"\ud83c","model":"m\udf0d","choices":[{"delta":{"content":"a"},"finish_reason":"st\ud83cop"}]}'
    )
    answer = read(body + b"\n\ndata: [DONE]\n\n")
    assert (answer.id, answer.model, answer.finish_reason) == ("�", "m�", "st�op")


# --- A fuzz ---

LONG = events(
    ROLE,
    chunk({"reasoning_content": "Hm, \ud83c\udf0d.".encode("utf-16", "surrogatepass").decode("utf-16")}),
    *(text(word) for word in ("Do ", "NOT ", "mix ", "A and B. ", "\u4f60\u597d ")),
    call('{"a"', "c1", "f"), call(": 1}"), *speech("AAEC", "AwQF"), chunk({}, "tool_calls"), USAGE,
)  # fmt: skip
ESCAPED = b"".join(
    b"data: " + json.dumps(text(word)).encode() + b"\r\n\r\n" for word in ("Do ", "NOT \U0001f30d ", "mix \u4f60 ")
) + events(STOP, USAGE)  # fmt: skip
PREFIX = re.compile(rb"^data: ?", re.MULTILINE)


def recorded() -> list[bytes]:
    """Streams out of the cassettes that are whole answers."""
    found: list[bytes] = []
    for path in sorted((ROOT / "cassettes" / "contracts" / "recorded").glob("*.yaml"))[:24]:
        for exchange in yaml.load(
            path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)
        )["interactions"]:
            body = exchange["response"]["body"].get("string", "")
            found.append(body if isinstance(body, bytes) else body.encode())
    return [body for body in found if body.startswith(b"data:") and len(body) < 20_000 and is_whole(body)]


def is_whole(stream: bytes) -> bool:
    """Whether a stream is read to its end without an error."""
    with contextlib.suppress(errors.QwenOmniError):
        read(stream)
        return True
    return False


def mutated(stream: bytes, draw: random.Random) -> bytes:  # noqa: PLR0911  (a way each)
    """Damage a stream: a payload, its prefix, or where it is cut into lines."""
    at = draw.randrange(len(stream))
    before, after = stream[:at], stream[at + 1 :]
    match draw.randrange(9):
        case 0:
            return before + bytes([draw.randrange(256)]) + after
        case 1:
            return before + after
        case 2:
            return before + draw.choice((b"\n", b"\r\n", b"\n\n", b"\r")) + stream[at:]
        case 3:
            return before + draw.choice((b"\x00", b"\xff", b"\xed\xa0\xbd", b'"', b"\\", b"\\ud83d")) + stream[at:]
        case 4:
            return before + stream[at + draw.randrange(1, 200) :]
        case 5:
            return before
        case 6:
            begin, end = draw.choice([found.span() for found in PREFIX.finditer(stream)])
            place = draw.randrange(begin, end)
            return stream[:place] + bytes([draw.randrange(33, 127)]) + stream[place + 1 :]
        case 7:
            lines = stream.split(b"\n\n")
            left_out = draw.randrange(len(lines) - 1)
            return b"\n\n".join(lines[:left_out] + lines[left_out + 1 :])
        case _:
            return before + stream[at : at + 1] * 2 + after


def is_damaged(stream: bytes) -> bool:
    """Whether, before the end mark, a line is no comment and no field, or a payload no JSON, by Python's own reader."""
    data: list[bytes] = []
    for line in stream.replace(b"\r\n", b"\n").split(b"\n"):
        if not line:
            payload, data = b"\n".join(data), []
            if payload == b"[DONE]":
                return False
            try:
                json.loads(payload.decode() or "null")
            except (ValueError, RecursionError):
                return True
        elif line.startswith(b"data:"):
            data.append(line[6:] if line[5:6] == b" " else line[5:])
        elif not line.startswith(b":") and line.partition(b":")[0] not in (b"event", b"id", b"retry"):
            return True
    return False


def is_plain(stream: bytes) -> bool:
    """Whether a stream follows the standard, so that `is_damaged` finds all that is wrong with it after a change."""
    return stream.startswith(b"data") and b"\n\n" in stream and not is_damaged(stream)


def told(answer: Response) -> tuple:
    return answer.text, answer.thinking, answer.audio, answer.tool_calls, answer.finish_reason


SIZES = (None, None, None, 257, 64, 64, 64, 11)
"""Bytes of a piece. Small ones cost most: each is a call of its own."""


def fuzz(streams: list[bytes], rounds: int, seed: int) -> dict[str, int]:
    """Mutate streams at random; count the outcomes."""
    draw, counts = random.Random(seed), {"same": 0, "error": 0, "other": 0}
    whole = {stream: told(read(stream)) for stream in streams}
    for number in range(rounds):
        stream = draw.choice(streams)
        damaged = mutated(stream, draw)
        try:
            answer = told(read(damaged, draw.choice(SIZES)))
        except errors.QwenOmniError:
            counts["error"] += 1
            continue
        except Exception as error:
            raise AssertionError(f"seed {seed}, round {number}: {damaged!r}") from error
        same = answer == whole[stream]
        counts["same" if same else "other"] += 1
        if not same and "\ufffd" not in answer[0] + answer[1]:
            assert not is_damaged(damaged), f"seed {seed}, round {number}: a line was left out of {damaged!r}"
    return counts


STREAMS = [
    LONG,
    ESCAPED,
    *(quirk.body for quirk in QUIRKS.values() if quirk.error is None and is_plain(quirk.body)),
]


def test_mutated_streams_lose_nothing():
    """A quick look at what the long fuzz does."""
    counts = fuzz([LONG, ESCAPED], 800, seed=1)
    assert min(counts["same"], counts["error"]) > 50


@pytest.mark.slow
def test_many_mutated_streams_lose_nothing():
    """24,000 damaged streams: the same answer, an error of ours, or U+FFFD in place; never a shorter answer."""
    counts = fuzz([*STREAMS, *recorded()], 24_000, seed=20261128)
    assert sum(counts.values()) == 24_000
    assert min(counts["same"], counts["error"]) > 2_000


ODD: list[object] = [
    None, True, 0, -1, 1.5, float("inf"), float("nan"), 10**400, "", "x", "9" * 400, "\ud83d", [], [None], ["x"], [[]],
    {}, {"a": 1}, {"type": "text", "text": "t"},
]  # fmt: skip


def swapped(value: object, draw: random.Random) -> object:
    """Replace one value inside JSON by an odd one, or double, drop or rename a key."""
    if isinstance(value, dict) and value and draw.random() < 0.9:
        key = draw.choice(sorted(value))
        if draw.random() < 0.1:
            return {(name if name != key else draw.choice(("", "error", "usage", "choices", "é"))): one
                    for name, one in value.items()}  # fmt: skip
        return {**value, key: swapped(value[key], draw)}
    if isinstance(value, list) and value and draw.random() < 0.8:
        at = draw.randrange(len(value))
        return [*value[:at], swapped(value[at], draw), *value[at + 1 :]]
    return draw.choice(ODD)


def fuzz_values(rounds: int, seed: int) -> None:
    """Swap values of chunks at random: an answer, or an error of ours that can be shown and pickled."""
    draw = random.Random(seed)
    chunks = [
        ROLE, text("Hi"), call('{"a": 1}', "c1", "f"), *speech("AAEC"), STOP, USAGE,
        chunk({"reasoning_content": "hm", "annotations": [{"language": "en"}]}, usage=USAGE["usage"]),
        {"error": {"code": "x", "message": "<429> m"}, "id": "c"},
    ]  # fmt: skip
    for number in range(rounds):
        odd = json.dumps(swapped(draw.choice(chunks), draw)).replace("NaN", draw.choice(("NaN", "1e999", "-1e999")))
        body = events(ROLE, text("a"), odd, text("b"), STOP, USAGE)
        plain = json.dumps(
            swapped({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, draw)
        ).encode()
        for data in (body, plain):
            try:
                answer = read(data)
                repr(answer), json.dumps(answer.text).encode(), answer.text.encode()
            except errors.QwenOmniError as error:
                str(error).encode()
            except Exception as error:
                raise AssertionError(f"seed {seed}, round {number}: {data!r}") from error


def test_odd_values_raise_nothing_foreign():
    """A quick look at what the long fuzz does."""
    fuzz_values(400, seed=2)


@pytest.mark.slow
def test_many_odd_values_raise_nothing_foreign():
    """20,000 chunks and plain answers with a value of another type, size or name: sense, or an error of ours."""
    fuzz_values(20_000, seed=7)


# --- Answers in other shapes ---


def several(*contents: str) -> dict:
    return {"choices": [{"index": at, "delta": {"content": content}} for at, content in enumerate(contents)]}


@pytest.mark.parametrize(
    "body",
    [
        pytest.param(events(ROLE, several("one", "two"), STOP, USAGE), id="in one chunk"),
        pytest.param(
            events(ROLE, text("one"), {"choices": [{"index": 1, "delta": {"content": "two"}}]}, STOP, USAGE),
            id="in chunks of their own",
        ),
        pytest.param(
            b'{"choices":[{"index":0,"message":{"content":"one"},"finish_reason":"stop"},'
            b'{"index":1,"message":{"content":"two"},"finish_reason":"stop"}]}',
            id="in a plain answer",
        ),
    ],
)
def test_several_answers_are_not_mixed(body):
    """Their texts would come out as one; one answer is asked for."""
    with pytest.raises(errors.APIError, match="more than one answer"):
        read(body)


@pytest.mark.parametrize("index", [None, 0, 1, "0", "x"])
def test_one_answer_may_have_any_number(index):
    """Some gateways count from 1, or write no number."""
    chunks = ({"choices": [{"index": index, "delta": {"content": piece}}]} for piece in ("a", "b"))
    end = {"choices": [{"index": index, "delta": {}, "finish_reason": "stop"}]}
    assert read(events(*chunks, end, USAGE)).text == "ab"


def test_a_refusal_is_what_the_model_says():
    """OpenAI's field beside the content; null in every other answer."""
    assert read(events(ROLE, chunk({"content": None, "refusal": "No."}), STOP, USAGE)).text == "No."
    assert read(events(ROLE, chunk({"content": "a", "refusal": None}), STOP, USAGE)).text == "a"


def test_the_former_way_to_call_a_function_is_read():
    """As old gateways stream it: name, then arguments in pieces, no id."""
    pieces = ({"name": "f", "arguments": ""}, {"arguments": '{"a"'}, {"arguments": ": 1}"})
    answer = read(events(ROLE, *(chunk({"function_call": one}) for one in pieces), chunk({}, "function_call"), USAGE))
    assert [(one.name, one.arguments, bool(one.id)) for one in answer.tool_calls] == [("f", '{"a": 1}', True)]


@pytest.mark.parametrize("function", [None, {}, {"name": None}, {"name": "", "arguments": None}])
def test_a_call_of_no_function_is_an_error(function):
    """It was announced by its id, and would be missing without a word."""
    body = events(ROLE, chunk({"tool_calls": [{"index": 0, "id": "c1", "function": function}]}), STOP, USAGE)
    with pytest.raises(errors.APIError, match="names no tool"):
        read(body)
