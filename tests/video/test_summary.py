"""What a summary is written as, and what it costs: tables, no service."""

import itertools

import pysrt
import pytest

from qwen_omni.profiles import ExchangeRate, Prices
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings
from qwen_omni.video.results import Bill, Chapter, FailedSegment, Paid, VideoSummary, arrange_chapters, to_bill
from qwen_omni.video.schemas import ChapterAnswer, TimedNote, VideoFacts


def summary(*chapters, **given):
    ends = [*(start for start, _ in chapters[1:]), 100.0][: len(chapters)]
    told = [Chapter(start=start, end=end, title=title) for (start, title), end in zip(chapters, ends, strict=True)]
    return VideoSummary(video=VideoFacts(source="a.mp4", duration=100.0), summary="S.", chapters=told, **given)


CHAPTERS = [
    ([(0, "A"), (30, "B"), (60, "C")], "0:00 A\n0:30 B\n1:00 C"),
    ([(4, "A"), (30, "B")], "0:00 A\n0:30 B"),
    ([(0, "A"), (5, "B"), (30, "C")], "0:00 A / B\n0:30 C"),
    ([(0, "A"), (50, "B"), (95, "C")], "0:00 A\n0:50 B / C"),
    ([(0, "A\nline")], "0:00 A line"),
    ([], ""),
]


@pytest.mark.parametrize(("chapters", "lines"), CHAPTERS, ids=range(len(CHAPTERS)))
def test_chapters_as_youtube_takes_them(chapters, lines):
    """The first at 0:00, none shorter than ten seconds, no title lost."""
    assert summary(*chapters).to_youtube_chapters() == lines


def test_subtitles_are_read_by_others():
    """Every event is a cue, at its time; one without length is shown for a while."""
    found = summary(events=[TimedNote(start=1, end=2, text="one"), TimedNote(start=5, end=5, text="two --> three")])
    cues = pysrt.from_string(found.to_srt())
    assert [(cue.start.ordinal, cue.end.ordinal, cue.text) for cue in cues] == [
        (1000, 2000, "one"), (5000, 8000, "two → three"),
    ]  # fmt: skip
    assert found.to_vtt().startswith("WEBVTT\n")


def test_markdown_tells_everything():
    """Chapters, events, gaps, and both costs."""
    found = summary(
        (0, "A"), events=[TimedNote(start=61, end=62, text="it opens")],
        gaps=[FailedSegment(segment=1, start=10, end=20, reason="refused")], this_run=Bill(requests=1),
    )  # fmt: skip
    text = found.to_markdown()
    assert "**0:00 A**" in text
    assert "- 1:01 it opens" in text
    assert "0:10 to 0:20: refused" in text
    assert "this run: 1 request," in text


def test_bills_add_up_and_tell_what_is_not_known():
    """Two models at their prices; a model without a price is named, not guessed."""
    usage = Usage(input_tokens=1_000_000, output_tokens=0, total_tokens=1_000_000)
    settings = Settings.load(api_key="none", region="cn")
    bill = to_bill([Paid("qwen3.8-omni-flash", usage), Paid("my-own", usage)], settings)
    assert bill.cny == pytest.approx(0.8)
    assert "my-own" in bill.notes[0]
    assert (bill.requests, bill.input_tokens) == (2, 2_000_000)
    assert to_bill([Paid("my-own", usage)], settings).cny is None
    assert to_bill([], settings).cny == 0


MINE = Prices(currency="USD", text_in=3, text_out=3, source="my contract")


@pytest.mark.parametrize(
    ("model", "prices"),
    [
        ("qwen3.8-omni-flash", {"qwen3.8-omni-flash": MINE}),
        ("qwen-plus-2025-12-01", {"qwen-plus": MINE}),
        ("my-own", {"my-own": MINE}),
        ("my-own", [MINE]),
    ],
)
def test_prices_of_ones_own_count_for_any_model(model, prices, recwarn):
    """A known model, a snapshot of its family, and one that nobody knows; at the caller's own rate, without a guess."""
    usage = Usage(input_tokens=1_000_000, output_tokens=0, total_tokens=1_000_000)
    rate = ExchangeRate(cny_per_usd=8, source="my bank")
    bill = to_bill([Paid(model, usage)], Settings.load(api_key="none", prices=prices, exchange_rate=rate))
    assert (bill.usd, bill.cny, bill.notes) == (3, 24, ())
    assert not recwarn.list


def test_a_summary_survives_json():
    """It can be kept and read again."""
    found = summary((0, "A"), events=[TimedNote(start=1, end=2, text="one")])
    assert VideoSummary.model_validate_json(found.model_dump_json()) == found


@pytest.mark.parametrize("starts", [(), (0,), (30, 0, 95), (-5, 200)])
def test_chapters_of_any_number_are_arranged(starts):
    """None, one, out of order, outside of the video: each ends where the next begins, and nothing is lost."""
    told = [ChapterAnswer.model_construct(start=start, title=f"from {start}", summary="") for start in starts]
    found = arrange_chapters(told, start=0, end=100)
    assert len(found) == len(starts)
    assert all(one.end == then.start for one, then in itertools.pairwise(found))
    assert all(0 <= one.start <= one.end <= 100 for one in found)
    assert not found or found[-1].end == 100
