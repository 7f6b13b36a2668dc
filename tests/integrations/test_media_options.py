"""What a caller writes beside a piece of media: a budget in each of its spellings means the same."""

from dataclasses import asdict
from typing import Any

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import UnsupportedContentError
from qwen_omni.integrations.media_options import check_options, media_part, seconds_of, sniffed_kind
from qwen_omni.media.budget import PRESETS, MediaBudget
from qwen_omni.media.source import MediaSource
from qwen_omni.retrieval.passages import fragment_url

BUDGETS = st.builds(
    MediaBudget,
    name=st.text(max_size=3),
    fps=st.none() | st.integers(1, 60) | st.floats(0.1, 60),
    keep=st.booleans(),
    max_pixels=st.none() | st.integers(1, 10**6),
    long_side=st.integers(2, 4000),
)


@given(BUDGETS)
def test_a_budget_is_read_from_what_was_made_of_it(budget: MediaBudget) -> None:
    """A budget, and the dictionary that a framework made of it, are the same to every kind that has one."""
    for kind in ("image", "video"):
        for written in (budget, asdict(budget)):
            assert check_options(kind, {"budget": written}, "here") == {"budget": budget}


def test_some_of_the_limits_are_enough() -> None:
    """What a dictionary leaves out is as in any budget of one's own; a preset stays its name."""
    told = check_options("video", {"budget": {"fps": 1}, "start": 2}, "here")
    part = media_part("video", MediaSource.from_url("https://example.com/a.mp4"), told)
    assert (part.budget, part.start) == (MediaBudget(fps=1), 2)  # type: ignore[union-attr]
    for name in PRESETS:
        assert check_options("image", {"budget": name}, "here") == {"budget": name}


@pytest.mark.parametrize(
    ("budget", "match"),
    [
        ("tiny", r"here: budget 'tiny' is not known; choose one of auto, .* a MediaBudget, or a dictionary"),
        (b"\x00" * 99, "here: budget of type bytes is not known"),
        (None, "budget of type NoneType is not known"),
        ([1], "budget of type list is not known"),
        ({"fsp": 1}, "here: budget has no 'fsp'; supported: .*fps"),
        ({1: 1}, "budget has no 1"),
        ({"fps": "1"}, "here: fps of the budget cannot be of type str"),
        ({"fps": True}, "fps of the budget cannot be of type bool"),
        ({"keep": 1}, "keep of the budget cannot be of type int"),
        ({"long_side": 2.5}, "long_side of the budget cannot be of type float"),
        ({"fps": 1000}, "here: budget: fps must be from 0.1 to 60, got 1000"),
        ({"long_side": 0}, "here: budget: long_side must be a whole number from 2 to 1,000,000, got 0"),
    ],
)
def test_wrong_budgets_are_named(budget: Any, match: str) -> None:
    """Whatever else stands for a budget raises with its place and what is wrong."""
    with pytest.raises(UnsupportedContentError, match=match):
        check_options("video", {"budget": budget}, "here")


@pytest.mark.parametrize(
    ("address", "seconds"),
    [
        ("file:///talk.mp4#t=60,90", {"start": 60, "end": 90}),
        ("FILE:///talk.mp4#t=60", {"start": 60}),
        ("file:///talk.mp4#t=,9.5", {"end": 9.5}),
        ("file:///talk.mp4?x#t=0,1", {"start": 0, "end": 1}),
        ("file:///talk.mp4#t=60,90&track=1", {"start": 60, "end": 90, "audio_track": 1}),
        ("file:///talk.mp4#t=60&track=mix", {"start": 60, "audio_track": "mix"}),
        ("file:///talk.mp4", {}),
        ("file:///talk.mp4#chapter", {}),
        ("file:///a%23t=1.mp4", {}),
        ("https://example.com/talk.mp4#t=60,90", {}),
        ("/talk.mp4#t=60,90", {}),
        ("file:///talk.mp4#t=5e-05,1", {"start": 0.00005, "end": 1}),
        ("file://[#t=1", {"start": 1}),
        ("", {}),
    ],
)
def test_seconds_of_an_address(address: str, seconds: dict[str, float]) -> None:
    """The address of a local file may name its seconds; nothing else does: a path may have any characters."""
    assert seconds_of(address, "here") == seconds


@given(st.floats(0, 10**6), st.floats(0, 10**6))
def test_the_seconds_of_a_passage_are_read_again(start: float, end: float) -> None:
    """What names a passage in its documents is understood where it is asked about."""
    told = seconds_of(fragment_url("talk.mp4", start, end), "here")
    assert (told["start"], told["end"]) == pytest.approx((start, end), rel=1e-9, abs=1e-90)


@pytest.mark.parametrize(
    "fragment",
    [
        "t=1:30,2:00",
        "t=",
        "t=,",
        "t=60,90&xywh=1",
        "t=1,2&track=-1",
        "t=1,2&track=x",
        "t=&track=1",
        "t=npt:3",
        "t=-1",
        "t=1e+999",
    ],
)
def test_seconds_in_other_words(fragment: str) -> None:
    """Seconds that cannot be read raise, with their place and how they are written."""
    with pytest.raises(UnsupportedContentError, match=r"here: #t=.* names no seconds; write them as #t=60,90"):
        seconds_of(f"file:///a.mp4#{fragment}", "here")


@pytest.mark.parametrize(
    ("head", "kind"),
    [
        (b"\x02#!SILK_V3", "audio"),
        (b"#!SILK_V3", "audio"),
        (b"OggS", "audio"),
        (b"\0\0\0\x18ftypM4A ", "audio"),
        (b"\0\0\0\x18ftypisom", "video"),
        (b"\x1a\x45\xdf\xa3\x42\x82\x84webm", "video"),
        (b"GIF89a", "image"),
        (b"%PDF", None),
        (b"", None),
    ],
)
def test_the_kind_of_media_by_its_first_bytes(head: bytes, kind: str | None) -> None:
    assert sniffed_kind(head) == kind
