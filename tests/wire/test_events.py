"""Bytes → events: any cut of the bytes gives the same events."""

import itertools

import pytest
from hypothesis import given, strategies as st

from qwen_omni.wire.stream import Event, EventParser

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


@pytest.mark.parametrize("tail", [b"", b"\n", b"\n\n", b"\r\n"], ids=["nothing", "line", "blank", "crlf"])
def test_the_last_event_needs_no_blank_line(tail):
    """An event at the very end counts, however it ends."""
    assert parse(b"data: x" + tail) == [Event(b"x")]
