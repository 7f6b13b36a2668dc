"""What notebooks show for results: thumbnails, times and cost, small, escaped, and never an error."""

import re

import pytest

from qwen_omni.notebook import MOST_ROWS, Card, Row
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.request.estimate import Estimate
from qwen_omni.request.media_estimate import MediaEstimate
from qwen_omni.responses import Response, Usage
from qwen_omni.samples import sample
from qwen_omni.structured.ask import CaptionResult
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.timed import TimedCaptions
from qwen_omni.video.results import Bill, Chapter, FailedSegment, VideoSummary
from qwen_omni.video.schemas import VideoFacts
from qwen_omni.video.tasks import Evidence, VideoAnswer

EVIL = '</div><script>alert(1)</script>" onmouseover="x\u202e'
BILL = Bill(requests=3, input_tokens=1000, output_tokens=10, cny=0.01, usd=0.001)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return sample(tmp_path_factory.mktemp("clip")).path


def summary_of(clip, chapters=3):
    return VideoSummary(
        video=VideoFacts(source=str(clip), duration=20.0), summary="A café.\n\nA pier.", this_run=BILL, whole_run=BILL,
        chapters=[Chapter(start=n * 6, end=n * 6 + 6, title=f"Part {n}", summary=EVIL) for n in range(chapters)],
    )  # fmt: skip


def answer_of(clip):
    return VideoAnswer(
        video=VideoFacts(source=str(clip), duration=20.0), question=f"Where? {EVIL}", answer="By the sea.",
        evidence=[Evidence(time=15, text="A lighthouse.")], this_run=BILL,
        gaps=[FailedSegment(segment=1, start=60, end=90, reason=EVIL)],
    )  # fmt: skip


def estimate_of(clip):
    tokens = TokenCounts(video=4_000, text_out=500)
    cost = cost_of(tokens, DEFAULT_MODEL, "intl")
    media = MediaEstimate(
        place="message 0 part 0", label=str(clip), kind="video", doing=EVIL, tokens=tokens, most=tokens, seconds=20.0
    )  # fmt: skip
    return Estimate(
        model=DEFAULT_MODEL, region="intl", tokens=tokens, most=tokens, cost_low=cost, cost=cost, cost_high=cost,
        as_is=None, cost_as_is=None, media=(media,), problems=("2 s at least",), notes=("500 tokens of answer",),
    )  # fmt: skip


CAPTION = VideoCaption(
    scene_description=EVIL,
    key_product_features=["hot", "cheap"],
    target_audience="sailors",
    recommended_music_style="calm",
)
TIMED = TimedCaptions.model_validate(
    {"captions": [{"start": 0, "end": 6, "text": "A cup."}, {"start": 6, "end": 13.5, "text": EVIL}]}
)
RESPONSE = Response(text="{}", model=DEFAULT_MODEL, usage=Usage(input_tokens=1_200, output_tokens=34))
ONCE, TWICE = (
    CaptionResult(value=CAPTION, responses=(RESPONSE,)),
    CaptionResult(value=CAPTION, truncated=True, responses=(RESPONSE,) * 2),
)
RESULTS = {
    "summary": (summary_of, ["sample.mp4", "0:20", "0:12", "Part 2", "CNY 0.01", "A pier."], 3),
    "answer": (answer_of, ["Where?", "0:15", "A lighthouse.", "CNY 0.01", "No notes from 1:00 to 1:30"], 1),
    "estimate": (estimate_of, ["sample.mp4", "4,000 tokens in", "CNY", "20.0 s", "refused: 2 s", "assumed: 500"], 0),
    "caption": (lambda _: ONCE, ["hot<br>cheap", "1,200 tokens in, 34 out"], 0),
    "repaired": (lambda _: TWICE, ["truncated", "a second time", "68 out"], 0),
    "caption's value": (lambda _: CAPTION, ["target_audience", "sailors"], 0),
    "timed": (lambda _: CaptionResult(value=TIMED), ["0 to 6 s", "A cup.", "6 to 13.5 s"], 0),
    "timed value": (lambda _: TIMED, ["6 to 13.5 s"], 0),
    "dictionary": (lambda _: CaptionResult(value={"a": {"b": [1]}, EVIL: None}), ["{&quot;b&quot;: [1]}"], 0),
}  # fmt: skip


@pytest.mark.parametrize(("make", "words", "images"), RESULTS.values(), ids=RESULTS)
def test_a_result_has_a_card(clip, make, words, images):
    """Its facts, images of its moments, no script, link or markup of strangers, and a few kilobytes."""
    card = make(clip)._repr_html_()
    assert [word for word in words if word not in card] == []
    assert card.count("data:image/jpeg;base64,") == images
    assert not re.search(r"<script|<[^>]*onmouseover|\u202e|href=|https?:", card)
    assert len(card) < 60_000
    tags = re.findall(r"<(/?)(div|p|table|tr|td|th)\b", card)
    assert len([one for one, _ in tags if one]) * 2 == len(tags)


def test_a_long_card_says_how_much_it_leaves_out(clip):
    """A hundred chapters are twelve rows, six images and a number."""
    card = summary_of(clip, chapters=100)._repr_html_()
    assert card.count("<tr") == MOST_ROWS
    assert 0 < card.count("<img") <= 6
    assert "and 88 more" in card
    assert "x" * 3_000 not in Card(title="x" * 10_000, rows=[Row(("x" * 10_000,))]).to_html()


@pytest.mark.parametrize("source", ["gone.mp4", "https://example.com/a.mp4", "\0", "x" * 5_000, "1,234 bytes", ""])
def test_a_video_that_is_not_here_has_no_images(source):
    """The card is shown all the same."""
    found = summary_of("").model_copy(update={"video": VideoFacts(source=source)})
    assert "<img" not in found._repr_html_()
