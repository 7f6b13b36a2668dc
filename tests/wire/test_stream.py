"""Events → deltas: every quirk of the service, without a connection. The same bytes over a socket: test_quirks."""

import json

import pytest

from qwen_omni import errors
from qwen_omni.responses import (
    AudioDelta,
    FinishDelta,
    Response,
    StartDelta,
    TextDelta,
    ThinkingDelta,
    ToolCall,
    UsageDelta,
    collect,
)
from qwen_omni.wire.stream import StreamState
from qwen_omni.wire.values import parse_usage

USAGE = {"choices": [], "usage": {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}}


def chunk(delta: dict, finish: str | None = None, **more: object) -> dict:
    return {"choices": [{"index": 0, "delta": delta, "finish_reason": finish}], "usage": None, **more}


def stream(*values: object, done: bool = True) -> bytes:
    events = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return "".join(f"data: {event}\n\n" for event in [*events, *(["[DONE]"] if done else [])]).encode()


def read(data: bytes) -> Response:
    state = StreamState()
    deltas = [*state.feed(data), *state.end()]
    assert collect(deltas) == state.response, "what is given out and what is kept must be the same"
    return state.response


STOP = chunk({"content": ""}, "stop")


def test_a_plain_stream():
    """Role chunk, text, finish, usage without choices, end mark (A1, A2)."""
    data = stream(
        chunk({"role": "assistant", "content": ""}, id="c1", model="m"), chunk({"content": "Hi"}), STOP, USAGE
    )
    state = StreamState()
    deltas = [*state.feed(data), *state.end()]
    assert deltas[:3] == [StartDelta(id="c1", model="m"), TextDelta("Hi"), FinishDelta("stop")]
    assert isinstance(deltas[3], UsageDelta)
    assert deltas[3].usage.total_tokens == 11


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        pytest.param([chunk({"content": "a"}), chunk({"content": "b"}, "stop")], "ab", id="A3 text in the finish"),
        pytest.param([chunk({"content": "a"}), chunk({}, "stop")], "a", id="A3 empty finish"),
        pytest.param([{"choices": [{"delta": {"content": "a"}}]}, STOP], "a", id="A4 missing keys"),
        pytest.param([{"choices": [{"index": 0}]}, chunk({"content": "a"}), STOP], "a", id="A4 no delta"),
        pytest.param([chunk({"role": None, "content": None}), chunk({"content": "a"}), STOP], "a", id="A1 null role"),
        pytest.param([{"reated": 1, **chunk({"content": "a"})}, STOP], "a", id="A11 misspelt keys"),
        pytest.param([chunk({"audio": {"transcript": "a"}}), STOP], "a", id="B2 text inside the speech"),
        pytest.param(
            [chunk({"content": "a", "audio": {"transcript": "a"}}), chunk({"audio": {"transcript": "b"}}), STOP],
            "a",
            id="B2 both: counted once",
        ),
    ],
)
def test_text_comes_through(values, expected):
    """However the chunk is shaped, its text is neither lost nor doubled."""
    assert read(stream(*values, USAGE)).text == expected


@pytest.mark.parametrize("empty", ["", None, ...], ids=["empty", "null", "absent"])
def test_the_empty_states_of_thinking_are_one(empty):
    """Text, thinking and nothing may each come as "", null or not at all (A6)."""

    def pair(content: object, thinking: object) -> dict:
        both = {"content": content, "reasoning_content": thinking}
        return chunk({key: value for key, value in both.items() if value is not ...})

    answer = read(stream(pair(empty, "hm"), pair("Hi", empty), pair(empty, empty), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("hm", "Hi")


@pytest.mark.parametrize("size", range(1, 9))
def test_think_tags_are_thinking(size):
    """A leading <think> block in the text is thinking, however it is cut (B7)."""
    text = "<think>one < two</think>\n\nHi <b>"
    pieces = [chunk({"content": text[i : i + size]}) for i in range(0, len(text), size)]
    answer = read(stream(*pieces, STOP, USAGE))
    assert (answer.thinking, answer.text.lstrip("\n")) == ("one < two", "Hi <b>")


@pytest.mark.parametrize("text", ["<thin", "<", "a <think>b</think>", "<b>", "<thinking>"])
def test_other_tags_are_text(text):
    """Only the whole tag at the very beginning counts."""
    answer = read(stream(*(chunk({"content": letter}) for letter in text), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("", text)


def test_an_open_think_tag_stays_thinking():
    """An answer that ends inside the tag has no text."""
    answer = read(stream(chunk({"content": "<think>abc</thi"}), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("abc</thi", "")


def test_speech_comes_beside_text():
    """Speech has chunks of its own, without a content key; its data may be empty or absent (B1, B4)."""
    sound = [{"data": "AAEC", "expires_at": 1, "id": "audio_1"}, {"data": ""}, {"id": "x"}, {"data": "AwQFBgc="}]
    answer = read(stream(chunk({"content": "Hi"}), *(chunk({"audio": piece}) for piece in sound), STOP, USAGE))
    assert (answer.text, answer.audio) == ("Hi", bytes(range(8)))


def test_broken_speech_is_an_interruption():
    """Speech that cannot be decoded is an error, not noise."""
    with pytest.raises(errors.StreamInterruptedError, match="base64"):
        read(stream(chunk({"audio": {"data": "%%%%"}}), STOP, USAGE))


def call(arguments: object, call_id: object = "", name: object = ..., index: object = 0) -> dict:
    function = {"arguments": arguments, "name": name}
    fields = {"id": call_id, "type": "function", "index": index}
    return {
        "tool_calls": [
            {
                **{key: value for key, value in fields.items() if value is not ...},
                "function": {key: value for key, value in function.items() if value is not ...},
            }
        ]
    }


@pytest.mark.parametrize(
    "later",
    [
        pytest.param([call('{"a"'), call(": 1}")], id="C1 empty ids, no names"),
        pytest.param([call('{"a"', name=""), call(": 1}", name="")], id="C1 empty names"),
        pytest.param([call('{"a"', None, None), call(": 1}", None, None)], id="C1 nulls"),
        pytest.param([call('{"a"'), call(": 1}", "call_1", "f")], id="C1 the id again"),
        pytest.param([call('{"a"'), call(": 1}"), call(None)], id="C2 null arguments"),
        pytest.param([call('{"a"'), call(": 1}"), call(...)], id="C2 no arguments"),
        pytest.param([call('{"a"', index=...), call(": 1}", index=...)], id="no index"),
    ],
)
def test_tool_calls_are_joined_by_index(later):
    """Id and name come once; whatever empty or repeated ones follow, it is one call."""
    first = {"role": "assistant", "content": None, **call("", "call_1", "f")}
    answer = read(stream(chunk(first), *map(chunk, later), chunk({}, "tool_calls"), USAGE))
    assert answer.tool_calls == (ToolCall(id="call_1", name="f", arguments='{"a": 1}'),)
    assert answer.finish_reason == "tool_calls"


def test_parallel_calls_keep_their_first_arguments():
    """The chunk that opens a call may hold arguments already, and several calls (C3)."""
    pieces = [call('{"x":1}', "c1", "f", 0), call('{"y"', "c2", "g", 1), call(":2}", "", ..., 1)]
    answer = read(stream(*map(chunk, pieces), chunk({}, "tool_calls"), USAGE))
    assert [(c.id, c.name, c.arguments) for c in answer.tool_calls] == [("c1", "f", '{"x":1}'), ("c2", "g", '{"y":2}')]


def test_a_call_inside_the_thinking_stays_thinking():
    """Markup of a call in the thinking is not a call (C7)."""
    markup = '<tool_call>{"name": "f"}</tool_call>'
    answer = read(stream(chunk({"reasoning_content": markup}), STOP, USAGE))
    assert (answer.thinking, answer.tool_calls) == (markup, ())


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_why_it_stopped_is_told(finish):
    """The finish reason is passed on as it is."""
    assert read(stream(chunk({"content": "a"}, finish), USAGE)).finish_reason == finish


@pytest.mark.parametrize(
    ("data", "kept"),
    [
        pytest.param(b"", "", id="nothing"),
        pytest.param(b"\n\n", "", id="blank lines"),
        pytest.param(stream(), "", id="only the end mark"),
        pytest.param(stream(chunk({"content": "half "}), done=False), "half ", id="no finish"),
        pytest.param(stream(chunk({"content": "half "})), "half ", id="end mark without finish"),
        pytest.param(stream(chunk({"content": "a"}, "stop"), done=False), "a", id="no usage and no end mark"),
        pytest.param(stream(chunk({"content": "a"}), done=False) + b'data: {"choices": [{"de', "a", id="cut event"),
        pytest.param(b'{"choices": [{"mess', "", id="cut plain answer"),
    ],
)
def test_a_cut_answer_is_never_a_short_success(data, kept):
    """Without a finish reason, and a usage or an end mark behind it, the answer is not whole (A10)."""
    with pytest.raises(errors.StreamInterruptedError) as caught:
        read(data)
    assert caught.value.partial.text == kept
    assert caught.value.partial.finish_reason is None or kept == "a"


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(stream(chunk({"content": "Hi"}, "stop"), USAGE, done=False), id="no end mark"),
        pytest.param(stream(chunk({"content": "Hi"}, "stop")), id="no usage"),
        pytest.param(stream(chunk({"content": "Hi"}, "stop", usage=USAGE["usage"])), id="usage in the finish"),
        pytest.param(stream(chunk({"content": "Hi"}), STOP, USAGE).rstrip(b"\n"), id="no blank line at the end"),
        pytest.param(b"\xef\xbb\xbf" + stream(chunk({"content": "Hi"}), STOP), id="byte order mark"),
    ],
)
def test_one_missing_sign_is_harmless(data):
    """A finish reason with either the usage or the end mark is a whole answer."""
    assert read(data).text == "Hi"


PLAIN = {
    "id": "c1",
    "model": "m",
    "choices": [{"index": 0, "message": {"role": "assistant", "content": "Hi"}, "finish_reason": "stop"}],
    "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2},
}


@pytest.mark.parametrize("size", [1, 7, 10_000])
def test_a_plain_json_answer_is_accepted(size):
    """Some models answer a streamed request with plain JSON (B6)."""
    body = json.dumps(PLAIN, indent=1).encode()
    state = StreamState()
    for i in range(0, len(body), size):
        state.feed(body[i : i + size])
    state.end()
    assert (state.response.text, state.response.usage.total_tokens) == ("Hi", 2)


def test_a_plain_answer_without_finish_reason_is_cut():
    """The service cuts answers that take too long and still says 200 (D6)."""
    value = {**PLAIN, "choices": [{**PLAIN["choices"][0], "finish_reason": None}]}
    with pytest.raises(errors.StreamInterruptedError) as caught:
        read(json.dumps(value).encode())
    assert caught.value.partial.text == "Hi"


def test_plain_tool_calls_may_hold_an_index():
    """Content is "" beside tool calls, and each call has an index (C5)."""
    message = {"role": "assistant", "content": "", **call('{"a": 1}', "call_1", "f")}
    value = {**PLAIN, "choices": [{"message": message, "finish_reason": "tool_calls"}]}
    assert read(json.dumps(value).encode()).tool_calls == (ToolCall(id="call_1", name="f", arguments='{"a": 1}'),)


ERROR = {"message": "<429> Too many requests", "type": "server_error", "code": "x", "param": None}


@pytest.mark.parametrize(
    ("data", "kind", "status"),
    [
        pytest.param(stream({"error": ERROR, "id": "c1"}, done=False), errors.RateLimitError, 429, id="A7 only event"),
        pytest.param(
            stream({"error": {**ERROR, "message": "<400> InternalError.Algo.InvalidParameter: no"}}, done=False),
            errors.InvalidRequestError,
            400,
            id="A7 status in the text",
        ),
        pytest.param(
            stream(chunk({"content": "half "}), {"id": "c", "index": 0, "error": ERROR}, done=False),
            errors.RateLimitError,
            429,
            id="A9 after content",
        ),
        pytest.param(
            stream(
                chunk({"content": "half "}), {"error": {"message": "Output data may contain inappropriate content."}}
            ),
            errors.ContentFilterError,
            200,
            id="A9 inspection",
        ),
        pytest.param(
            b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"m","request_id":"r"}\n\n',
            errors.InvalidRequestError,
            400,
            id="native error event",
        ),
        pytest.param(
            stream(chunk({"content": "An error occurred in model serving"}, "error_finish")),
            errors.ServerError,
            500,
            id="error_finish",
        ),
        pytest.param(b"event: error\ndata: gone\n\n", errors.APIError, 200, id="error event in prose"),
        pytest.param(json.dumps({"error": ERROR}).encode(), errors.RateLimitError, 429, id="plain JSON error"),
        pytest.param(
            json.dumps({"code": "Arrearage", "message": "Access denied"}).encode(),
            errors.AccountError,
            200,
            id="flat plain error",
        ),
    ],
)
def test_an_error_inside_a_200_is_an_error(data, kind, status):
    """An error event raises its own class, with the status written in its text and what came before."""
    with pytest.raises(errors.APIError) as caught:
        read(data)
    assert type(caught.value) is kind
    assert caught.value.status_code == status
    assert caught.value.partial.text == ("half " if b"half" in data else "")


def test_unknown_details_are_kept():
    """Details may be missing, empty, or have names nobody has seen (B5)."""
    usage = parse_usage(
        {
            "prompt_tokens": 5,
            "completion_tokens": 3,
            "prompt_tokens_details": {"video_tokens": 4, "text_tokens": 1, "new_tokens": 9, "odd": None},
            "completion_tokens_details": {},
        }
    )
    assert (usage.total_tokens, dict(usage.input_details)) == (8, {"video": 4, "text": 1, "new": 9})
    assert parse_usage({"prompt_tokens": None, "prompt_tokens_details": None}) is None


def test_thinking_comes_before_text():
    """The order of arrival is kept."""
    state = StreamState()
    values = [chunk({"content": None, "reasoning_content": "hm"}), chunk({"content": "Hi", "reasoning_content": None})]
    deltas = state.feed(stream(*values, STOP, USAGE))
    assert [delta for delta in deltas if isinstance(delta, TextDelta | ThinkingDelta | AudioDelta)] == [
        ThinkingDelta("hm"),
        TextDelta("Hi"),
    ]
