"""The boundary of foreign JSON: sense where there is one, an error of ours where there is none, no bare error ever."""

import contextlib
import json
import pickle

import pytest

from qwen_omni import ChatRequest, OmniClient, Settings, SpendLimit, errors, user
from qwen_omni.responses import Response, Usage
from qwen_omni.standin import Standin
from qwen_omni.wire.values import parse_usage
from tests.support.quirks import COUNTS, ROLE, STOP, USAGE, chunk, events, read as read_bytes, text


def read(*chunks: object) -> Response:
    return read_bytes(events(ROLE, *chunks, STOP, USAGE))


PART = {"type": "text", "text": "Hi"}


@pytest.mark.parametrize(
    "content",
    [PART, [PART], ["Hi"], [None, PART], {"text": "Hi"}, [{"type": "text", "text": "H"}, {"text": "i"}], ["H", "i"]],
)
def test_text_in_parts_is_text(content):
    """Text, a part, a list of parts: in answers, thinking and plain JSON alike."""
    assert read(chunk({"content": content})).text == "Hi"
    assert read(chunk({"content": "x", "reasoning_content": content})).thinking == "Hi"
    plain = {"choices": [{"message": {"content": content}, "finish_reason": "stop"}], "usage": COUNTS}
    assert read_bytes(json.dumps(plain).encode()).text == "Hi"


@pytest.mark.parametrize(
    "odd",
    [
        {"choices": [None]}, {"choices": None}, {"choices": []}, {"choices": [{}]}, {"choices": [{"delta": None}]},
        chunk({"content": None}), chunk({"content": []}), chunk({"content": [None]}), chunk({"tool_calls": [None]}),
        chunk({"tool_calls": []}), chunk({"annotations": [None]}), chunk({"annotations": "x"}), chunk({"audio": None}),
        chunk({"annotations": [{"language": 5}]}), chunk({}, usage="n/a"), chunk({}, usage=[1]), chunk({}, usage=5),
        {"id": 5, "model": ["m"], "choices": []}, {"created": "x", "choices": []}, {"choices": [], "error": None},
        {"choices": [], "error": ""}, chunk({}, usage={"prompt_tokens": -1}), chunk({"role": 5}), {},
    ],
)  # fmt: skip
def test_what_holds_nothing_changes_nothing(odd):
    """Nulls, empty values and metadata of other types."""
    answer = read(odd, text("Hi"))
    assert (answer.text, answer.usage.total_tokens) == ("Hi", 11)


@pytest.mark.parametrize(
    ("odd", "words"),
    [
        ({"choices": "x"}, "choices is text, not a list"),
        ({"choices": 5}, "choices is a number"),
        ({"choices": [5]}, "an entry of choices is a number, not an object"),
        ({"choices": [{"delta": "x"}]}, "delta is text, not an object"),
        (chunk({"content": 5}), "content is a number, not text"),
        (chunk({"content": True}), "content is a truth value"),
        (chunk({"content": {"a": 1}}), "content is an object, not text"),
        (chunk({"content": [5]}), "an entry of content is a number"),
        (chunk({"content": [[PART]]}), "an entry of content is a list"),
        (chunk({"content": [{"type": "image_url"}]}), "an object of type 'image_url'"),
        (chunk({"content": [{"type": "text", "text": 5}]}), "an object of type 'text'"),
        (chunk({"reasoning_content": 5}), "reasoning_content is a number"),
        (chunk({"audio": "x"}), "audio is text, not an object"),
        (chunk({"audio": {"data": 5}}), r"audio\.data is a number"),
        (chunk({"audio": {"transcript": 5}}), r"audio\.transcript is a number"),
        (chunk({}, 5), "finish_reason is not text"),
        (chunk({}, {"a": 1}), "finish_reason is not text"),
        ("5", "an event holds int"),
        ("null", "an event holds NoneType"),
        ('"x"', "an event holds str"),
        ("[]", "an event holds list"),
    ],
)
def test_what_makes_no_sense_is_an_error(odd, words):
    """Typed, final, with the text so far; it can be pickled."""
    with pytest.raises(errors.APIError, match=words) as caught:
        read(text("so far"), odd)
    assert type(caught.value) is errors.APIError
    assert not caught.value.retryable
    assert caught.value.partial.text == "so far"
    assert pickle.loads(pickle.dumps(caught.value)).partial.text == "so far"


@pytest.mark.parametrize(
    "error", [5, True, [1], {"message": {"a": 1}}, {"message": None}, {"code": [1]}, {"a": 1}, "x"]
)
def test_an_error_of_any_shape_is_an_error(error):
    """What stands under `error` is one, whatever it is."""
    with pytest.raises(errors.APIError):
        read(text("so far"), {"error": error, "choices": []})


def test_an_error_of_odd_numbers_can_be_shown():
    """A number of 4,000 digits where the words belong."""
    with pytest.raises(errors.APIError):
        read('{"error":{"message":' + "9" * 4_000 + ',"code":5}}')


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (COUNTS, (9, 2, 11)),
        ({"prompt_tokens": "9", "completion_tokens": 2.0}, (9, 2, 11)),
        ({"prompt_tokens": 9, "completion_tokens": None, "total_tokens": None}, (9, 0, 9)),
        ({"total_tokens": 11}, (0, 0, 11)),
        ({"seconds": 3}, (0, 0, 0)),
        *(({**COUNTS, name: odd}, None) for name in COUNTS for odd in (-1, 1.5, 10**400, "x", True, [], {}, 10**10)),
        *(({**COUNTS, "prompt_tokens": odd}, None) for odd in (float("inf"), float("nan"), "1e999", "-1", "٣x")),
        ({}, None), ("n/a", None), (5, None), ([1], None), (None, None), (True, None),
    ],
)  # fmt: skip
def test_usage_is_counted_or_unknown(usage, expected):
    """A total that cannot be one makes the usage unknown, which the account estimates, rather than nothing."""
    found = parse_usage(usage)
    assert (found and (found.input_tokens, found.output_tokens, found.total_tokens)) == expected


def test_odd_details_are_left_out():
    """Details are optional; the totals are billed."""
    odd = {
        "text_tokens": 4,
        "audio_tokens": "x",
        "image_tokens": -1,
        "video_tokens": 10**400,
        "a": None,
        "b_tokens": 3.0,
    }
    found = parse_usage({**COUNTS, "prompt_tokens_details": odd, "completion_tokens_details": [1], "seconds": 10**400})
    assert found == Usage(input_tokens=9, output_tokens=2, total_tokens=11, input_details={"text": 4, "b": 3})


@pytest.mark.parametrize(
    "data",
    ["[" * 300, '{"a":' * 300, '["\\ud83d",' + "[" * 100_000, "9" * 5_000, '{"choices":' * 150 + "1" + "}" * 150],
    ids=["lists", "objects", "halves", "digits", "choices"],
)
def test_bombs_of_nesting_and_digits(data):
    """Damage, or an answer that holds nothing; never a RecursionError."""
    with pytest.raises((errors.StreamInterruptedError, errors.APIError)):
        read(text("so far"), data, "x")


def test_the_last_of_two_equal_keys_counts():
    """As for every reader of JSON."""
    assert read('{"choices":[{"delta":{"content":"a","content":"Hi"}}]}').text == "Hi"


PAGES = (
    b"<html><body>Please <b>sign in</b></body></html>",
    b"\n <!DOCTYPE html>Please sign in",
    b"<html>Please sign in" + b"<p>" * 50_000,
)


@pytest.mark.parametrize("body", PAGES, ids=["page", "doctype", "long"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_web_page_says_so(body, size):
    """It is told as one, with its words, and is final: the next request would meet the same page."""
    with pytest.raises(errors.APIError, match=r"a web page, with status 200: 'Please sign in.*base_url") as caught:
        read_bytes(body, size)
    assert not caught.value.retryable


@pytest.mark.parametrize("body", [b"upstream connect error\n", b"Service Unavailable", b"event stream not found\n\n"])
def test_prose_says_so(body):
    """Neither an event stream nor JSON."""
    with pytest.raises(errors.APIError, match="neither an event stream nor JSON"):
        read_bytes(body)


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter", "tool_calls"])
@pytest.mark.parametrize("plain", [True, False])
def test_an_answer_of_nothing_is_an_error(finish, plain):
    """No content, no tool call, no usage: nothing was answered, and nothing is billed."""
    message = {"message": {"content": ""}, "finish_reason": finish}
    body = json.dumps({"choices": [message]}).encode() if plain else events(ROLE, chunk({}, finish))
    with pytest.raises(errors.StreamInterruptedError, match="no content, no tool call and no usage"):
        read_bytes(body)


def test_an_empty_answer_with_its_usage_is_one():
    """The model had nothing to say, and said so."""
    assert read().text == ""


ODD_ENDS = {
    "usage that is text": events(text("Hi"), STOP, {"choices": [], "usage": "n/a"}),
    "usage of 400 digits": events(text("Hi"), STOP, {"choices": [], "usage": {"prompt_tokens": 10**400}}),
    "a damaged line": events(text("Hi"), "{", STOP, USAGE),
    "choices of another type": events(text("Hi"), {"choices": "x"}, STOP, USAGE),
    "a web page": b"<html>x</html>",
}


@pytest.mark.parametrize("body", ODD_ENDS.values(), ids=ODD_ENDS)
def test_whatever_comes_nothing_stays_reserved(body):
    """The reservation of a call is settled or given back, however its answer ended."""
    limit = SpendLimit(tokens=10_000)
    with Standin() as standin:
        standin.script.raw(body)
        settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url, max_retries=0, spend_limit=limit)
        with OmniClient(settings) as client, contextlib.suppress(errors.QwenOmniError):
            client.complete(ChatRequest(model="qwen3.8-omni-flash", messages=(user("Say hello."),)))
    assert limit.reserved.tokens == 0
    assert (limit.spent.tokens > 0) == (b"Hi" in body), "an answer that had begun is billed as estimated"
