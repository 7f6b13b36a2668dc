"""Events → deltas, without a connection: in which order, in which pieces, and what thinking is.

Every quirk of the service, whole and over a socket, is a row of `support/quirks`, which test_quirks serves.
"""

import itertools
import json

import pytest
from hypothesis import given, strategies as st

from qwen_omni import errors
from qwen_omni.responses import FinishDelta, StartDelta, TextDelta, ThinkingDelta, UsageDelta
from qwen_omni.wire.stream import Event, EventParser, StreamState
from qwen_omni.wire.values import parse_usage
from tests.support.quirks import COUNTS, QUIRKS, STOP, USAGE, chunk, events, plain, read, speech, text


@pytest.mark.parametrize("name", [name for name, quirk in QUIRKS.items() if quirk.error is None])
def test_pieces_do_not_matter(name):
    """Byte by byte, the answer is the one that the bytes give at once."""
    assert read(QUIRKS[name].body, 1) == read(QUIRKS[name].body)


def test_the_order_of_arrival_is_kept():
    """Beginning, thinking, text, finish, and usage that comes without choices (A1, A2)."""
    thought = chunk({"role": "assistant", "content": None, "reasoning_content": "hm"}, id="c1", model="m")
    state = StreamState()
    deltas = [*state.feed(events(thought, text("Hi"), STOP, USAGE)), *state.end()]
    assert deltas[:4] == [StartDelta(id="c1", model="m"), ThinkingDelta("hm"), TextDelta("Hi"), FinishDelta("stop")]
    assert isinstance(deltas[4], UsageDelta)
    assert deltas[4].usage.total_tokens == 11


@pytest.mark.parametrize("empty", ["", None, ...], ids=["empty", "null", "absent"])
def test_the_empty_states_of_thinking_are_one(empty):
    """Text, thinking and nothing may each come as "", null or not at all (A6)."""

    def pair(content: object, thinking: object) -> dict:
        both = {"content": content, "reasoning_content": thinking}
        return chunk({key: value for key, value in both.items() if value is not ...})

    answer = read(events(pair(empty, "hm"), pair("Hi", empty), pair(empty, empty), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("hm", "Hi")


@pytest.mark.parametrize("size", range(1, 9))
def test_think_tags_are_thinking(size):
    """A leading <think> block in the text is thinking, however it is cut (B7)."""
    written = "<think>one < two</think>\n\nHi <b>"
    pieces = [text(written[i : i + size]) for i in range(0, len(written), size)]
    answer = read(events(*pieces, STOP, USAGE))
    assert (answer.thinking, answer.text.lstrip("\n")) == ("one < two", "Hi <b>")


@pytest.mark.parametrize("written", ["<thin", "<", "a <think>b</think>", "<b>", "<thinking>"])
def test_other_tags_are_text(written):
    """Only the whole tag at the very beginning counts."""
    answer = read(events(*(text(letter) for letter in written), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("", written)


def test_an_open_think_tag_stays_thinking():
    """An answer that ends inside the tag has no text."""
    answer = read(events(text("<think>abc</thi"), STOP, USAGE))
    assert (answer.thinking, answer.text) == ("abc</thi", "")


def test_broken_speech_is_an_interruption():
    """Speech that cannot be decoded is an error, not noise."""
    with pytest.raises(errors.StreamInterruptedError, match="base64"):
        read(events(*speech("%%%%"), STOP, USAGE))


@pytest.mark.parametrize("finish", ["stop", "length", "content_filter"])
def test_why_it_stopped_is_told(finish):
    """The finish reason is passed on as it is."""
    assert read(events(chunk({"content": "a"}, finish), USAGE)).finish_reason == finish


def test_a_cut_answer_has_no_finish_reason():
    """Neither has its partial answer, so that nothing takes it for whole (A10)."""
    with pytest.raises(errors.StreamInterruptedError) as caught:
        read(events(text("half ")))
    assert caught.value.partial.finish_reason is None


@pytest.mark.parametrize(
    "data",
    [
        pytest.param(events(chunk({"content": "Hi"}, "stop", usage=COUNTS)), id="usage in the finish"),
        pytest.param(events(text("Hi"), STOP, USAGE).rstrip(b"\n"), id="no blank line at the end"),
        pytest.param(b"\xef\xbb\xbf" + events(text("Hi"), STOP), id="byte order mark"),
    ],
)
def test_one_missing_sign_is_harmless(data):
    """A finish reason with either the usage or the end mark is a whole answer."""
    assert read(data).text == "Hi"


@pytest.mark.parametrize("size", [1, 7, None])
def test_a_plain_json_answer_is_accepted(size):
    """Some models answer a streamed request with plain JSON (B6)."""
    answer = read(json.dumps(json.loads(plain("Hi", "stop")), indent=1).encode(), size)
    assert (answer.text, answer.usage.total_tokens) == ("Hi", 11)


def test_unknown_details_are_kept():
    """Details may be missing, empty, or have names nobody has seen (B5)."""
    details = {"video_tokens": 4, "text_tokens": 1, "new_tokens": 9, "odd": None}
    counted = {"prompt_tokens": 5, "completion_tokens": 3, "completion_tokens_details": {}}
    usage = parse_usage({**counted, "prompt_tokens_details": details})
    assert (usage.total_tokens, dict(usage.input_details)) == (8, {"video": 4, "text": 1, "new": 9})
    assert parse_usage({"prompt_tokens": None, "prompt_tokens_details": None}) is None


# --- Bytes → events ---


STREAM = b"".join(
    (
        b": comment\n\n",
        b'data: {"a": 1}\n\n',
        b'data:{"b": 2}\r\n\r\n',
        b'id:1\nevent:error\n:HTTP_STATUS/429\ndata:{"code":"Throttling"}\n\n',
        'data: {"c": "\u4f60\u597d"}\n\n'.encode(),
        b"data: one\ndata: two\n\n",
        b"data: [DONE]",
    )
)
EVENTS = [
    Event(b'{"a": 1}'),
    Event(b'{"b": 2}'),
    Event(b'{"code":"Throttling"}', "error", 429),
    Event('{"c": "\u4f60\u597d"}'.encode()),
    Event(b"one\ntwo"),
    Event(b"[DONE]"),
]


def parse(*pieces: bytes) -> list[Event]:
    parser = EventParser()
    return [event for piece in pieces for event in parser.feed(piece)] + [*parser.close()]


def test_both_dialects_are_read():
    """A space behind `data:` is optional, lines may end in CRLF, a status may stand in a comment."""
    assert parse(STREAM) == EVENTS


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted))
def test_any_cut_gives_the_same_events(cuts):
    """How the network cuts the bytes decides nothing."""
    edges = [0, *cuts, len(STREAM)]
    assert parse(*(STREAM[a:b] for a, b in itertools.pairwise(edges))) == EVENTS


@given(cuts=st.lists(st.integers(0, len(STREAM)), max_size=12).map(sorted), end=st.sampled_from([b"\r", b"\r\n"]))
def test_any_line_break_ends_a_line(cuts, end):
    """A carriage return, a line feed, or both; also where the bytes are cut between them."""
    stream = STREAM.replace(b"\r\n", b"\n").replace(b"\n", end)
    edges = [0, *(cut for cut in cuts if cut < len(stream)), len(stream)]
    assert parse(*(stream[a:b] for a, b in itertools.pairwise(edges))) == EVENTS
    assert parse(*(bytes([one]) for one in stream)) == EVENTS


def test_names_are_compared_in_lower_case():
    """`Error` is an error, too."""
    assert parse(b"event: Error\ndata: x\n\n") == [Event(b"x", "error")]


def test_a_name_belongs_to_its_own_event():
    """It is forgotten at a blank line; an error without data is an event nevertheless."""
    assert parse(b"event: ping\n:HTTP_STATUS/429\n\ndata: x\n\n") == [Event(b"x")]
    assert parse(b"event: error\n:HTTP_STATUS/429\n\ndata: x\n\n") == [Event(b"", "error", 429), Event(b"x")]


@pytest.mark.parametrize("size", [1, 2, 3, 4, 1000])
@pytest.mark.parametrize("marks", [b"\xef\xbb\xbf", b"\xef\xbb\xbf\n\xef\xbb\xbf", b"\0\xef\xbb\xbf "])
def test_a_byte_order_mark_may_come_in_pieces(marks, size):
    """Before an answer it says nothing."""
    body = marks + events(text("Hi"), STOP, USAGE)
    state = StreamState()
    for at in range(0, len(body), size):
        state.feed(body[at : at + size])
    state.end()
    assert state.response.text == "Hi"


@pytest.mark.parametrize("body", [b"\x1f\x8b\x08\x00\xff\xfe" * 20, "data: x\n".encode("utf-16")])
def test_bytes_that_are_not_text_are_not_shown(body):
    """A compressed answer without its header, say: the error counts them."""
    with pytest.raises(errors.APIError, match=rf"{len(body.splitlines()[0]):,} bytes that are not text") as caught:
        StreamState().feed(body + b"\n\n")
    assert "\\x" not in str(caught.value)


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n", b"\r\n"], ids=["nothing", "line", "blank", "crlf"])
def test_the_last_event_needs_no_blank_line(tail):
    """An event at the very end counts, however it ends."""
    assert parse(b"data: x" + tail) == [Event(b"x")]
