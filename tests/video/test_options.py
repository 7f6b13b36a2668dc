"""What may be chosen about a long video: each wrong choice is told before anything is prepared, and how to mend it."""

import math
import warnings
from dataclasses import replace
from fractions import Fraction
from typing import Any

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError, UnsupportedContentError, UnsupportedMediaError
from qwen_omni.media.budget import MediaBudget, Sampling
from qwen_omni.media.plan.segments import Segment
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, Part, TextPart, VideoPart
from qwen_omni.options import ChatOptions
from qwen_omni.profiles import Prices
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.ask import ask_video
from qwen_omni.video.engine.machine import Machine, Reduce, Rules
from qwen_omni.video.engine.run import Tracker, iter_notes, notes_run
from qwen_omni.video.export.markdown import bill_texts
from qwen_omni.video.forecast import forecast
from qwen_omni.video.options import SummaryOptions, single_media_part
from qwen_omni.video.summarize import summarize

BOUNDS = [
    ("concurrency", (0, 65, -1), "must be a whole number from 1 to 64", (1, 64)),
    ("segment_seconds", (0, -1, math.nan, math.inf), "must be .*greater than 0", (0.5, 1000)),
    ("overlap", (-1, math.nan, math.inf), "must be .*from 0 to", (0, 30)),
    ("single_call_seconds", (-1,), "must be at least 0", (0, math.inf)),
    ("start", (-1, math.nan), "must be .*from 0 to", (0, 5)),
    ("end", (0, -1), "must be greater than 0", (0.5,)),
    ("max_gaps", (-1, 0.5), "must be a whole number from 0", (0, None)),
    ("step_retries", (-1,), "must be a whole number from 0", (0,)),
    ("retry_seconds", (-1,), "must be from 0", (0,)),
    ("rpm", (0, -5), "must be a whole number from 1", (1, None)),
    ("tpm", (0,), "must be a whole number from 1", (1, None)),
    ("workers", (0,), "must be a whole number from 1 to 64", (1, None)),
    ("reduce_tokens", (999,), "must be a whole number from 1,000", (1000,)),
    ("detail", ("enormous",), "=.*choose one of low, medium, high", ("low",)),
    ("strategy", ("magic",), "=.*choose one of map_reduce, single, auto", ("auto",)),
    ("thinking", ("maybe",), "=.*choose True, False or one of none, minimal", (True, "low")),
]


WRONG_KINDS = [
    ({"budget": "static"}, r"budget must be MediaBudget\(\.\.\.\), got str"),
    ({"chat": {"seed": 1}}, r"chat must be ChatOptions\(\.\.\.\), got dict"),
    ({"model": None}, "model must be text, got NoneType"),
    ({"language": 5}, "language must be text, got int"),
    ({"focus": ["goals"]}, "focus must be text, got list"),
]


@pytest.mark.parametrize(("given", "words"), WRONG_KINDS, ids=[words for _, words in WRONG_KINDS])
def test_a_value_of_another_kind_is_refused_by_name(given, words):
    """Where it is given, not where it is first used."""
    with pytest.raises(ConfigurationError, match=words):
        SummaryOptions(**given)


@pytest.mark.parametrize(("name", "wrong", "advice", "right"), BOUNDS, ids=[name for name, *_ in BOUNDS])
def test_each_bound_names_its_option_and_its_range(name, wrong, advice, right):
    """The error names what was chosen and what may be; the ends of the range themselves are taken."""
    for value in wrong:
        with pytest.raises(ConfigurationError, match=f"^{name} ?{advice}"):
            SummaryOptions(**{name: value})
    for value in right:
        assert getattr(SummaryOptions(**{name: value}), name) == value


UNREAD = [
    (ChatOptions(tier="batch"), r"tier=.*SummaryOptions\(tier="),
    (ChatOptions(thinking=True, voice="Tina"), r"thinking=, voice=.*SummaryOptions\(thinking="),
    (ChatOptions(stop=("x",)), r"stop="),
]


@pytest.mark.parametrize(("chat", "advice"), UNREAD)
def test_options_of_an_answer_that_no_request_has_are_refused(chat, advice):
    """Options that a run decides itself are an error that names them, not ignored; those of an answer are taken."""
    with pytest.raises(ConfigurationError, match=f"^chat= sets {advice}"):
        SummaryOptions(chat=chat)
    taken = ChatOptions(temperature=0.5, max_tokens=10, seed=1, extra_headers={"x-a": "b"})
    assert SummaryOptions(chat=taken).chat is taken


@pytest.mark.parametrize("dialect", ["dashscope", "vllm"])
def test_a_server_of_ones_own_has_no_hosted_names(dialect, tmp_path):
    """The name of a model on one's own server says nothing, so nothing is warned about, and the rules come first."""
    settings = Settings.load(api_key="none", base_url="http://127.0.0.1:9/v1", dialect=dialect)
    film = make_video(tmp_path / "a.mp4", seconds=3, size=(64, 48), fps=2, sound=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run = notes_run(film.path, settings, SummaryOptions(model="my-notes-model", checkpoint=False), joins=False)
        segment = Segment(index=0, start=Fraction(0), end=Fraction(3))
        plan = run.worker.task.ask(VideoPart(source=MediaSource.from_path(film.path)), segment)
    assert bool([one for one in caught if "my-notes-model" in str(one.message)]) == (dialect == "dashscope")
    assert (plan.request.messages[0].role == "system") == (dialect == "vllm")


LENGTHS = [
    ({"segment_seconds": 5}, ConfigurationError, r"more than 9 s, or less overlap"),
    ({"segment_seconds": 10, "overlap": 5}, ConfigurationError, r"more than 12 s, or less overlap"),
    ({"start": 35.5}, MediaDoesNotFitError, r"from 35\.5 s to 36 s .*at least 2 s.*earlier start"),
    ({"model": "qwen-plus"}, UnsupportedMediaError, r"takes text, not video.*model='qwen3"),
]


@pytest.mark.parametrize(("change", "kind", "told"), LENGTHS, ids=["short", "overlap", "range", "model"])
def test_the_dry_run_and_the_run_refuse_the_same(fresh, client, short, change, kind, told):
    """Whoever may see a price may have the summary: one check, before anything is prepared or kept."""
    options = SummaryOptions(**{"single_call_seconds": 0, "detail": "low", **change})
    for door in (
        lambda: forecast(short.path, client.settings, options),
        lambda: summarize(short.path, client=client, options=options),
        lambda: next(iter_notes(short.path, client=client, options=options)),
    ):
        with pytest.raises(kind, match=told) as caught:
            door()
        assert "run it again" not in str(caught.value)
    assert fresh.requests == []


def test_a_way_that_cannot_be_gone_is_left_out(client, short):
    """Short segments are no matter where all goes in one call: the dry run shows what can be."""
    options = SummaryOptions(segment_seconds=5, detail="low")
    assert {one.strategy for one in forecast(short.path, client.settings, options)} == {"single"}


def test_earlier_runs_are_told_where_there_were_some(client, fresh, short):
    """One bill for a run that did everything, two after a resume."""
    options = SummaryOptions(detail="low")
    first = summarize(short.path, client=client, options=options)
    assert len(bill_texts(first)) == 1
    assert "earlier" not in first.to_markdown()
    again = summarize(short.path, client=client, options=options)
    assert [line.split(":")[0] for line in bill_texts(again)] == ["this run", "with earlier runs"]


@pytest.mark.parametrize(
    ("step", "told"),
    [
        (Reduce(0, 0, "", last=True), "joined the notes"),
        (Reduce(0, 2, "", last=False), "joined the notes of part 3"),
        (Reduce(1, 0, "", last=False), "joined parts into part 1"),
        (Reduce(2, 0, "", last=True), "joined the parts"),
    ],
)
def test_joining_is_told_in_words(step, told):
    """People read it: no numbers of levels."""
    tracker = Tracker(machine=Machine(rules=Rules()), about=1)
    assert tracker.after(step, []).text == told


@pytest.mark.slow
def test_prices_of_ones_own_count_in_every_bill(client, short):
    """The dry run, the run, what earlier runs paid, and a question: all at a dollar a token, in and out."""
    mine = Prices(currency="USD", text_in=1e6, text_out=1e6, source="my contract")
    settings = replace(client.settings, prices={"qwen3.8-omni-flash": mine, "qwen-plus": mine})
    options = SummaryOptions(detail="low", segment_seconds=20, single_call_seconds=0)
    with OmniClient(settings) as own:
        found = summarize(short.path, client=own, options=options)
        answer = ask_video(short.path, "What is shown?", client=own, options=options)
    bills = [one.bill for one in forecast(short.path, settings, options)]
    for bill in (*bills, found.this_run, found.whole_run, answer.this_run):
        assert bill.usd == bill.input_tokens + bill.output_tokens > 0


# --- What a run takes of a message ---


FILE = MediaSource.from_path("a.mp4")
VIDEO = VideoPart(source=FILE)
TEXT = TextPart(text="What is shown?")


@pytest.mark.parametrize(
    "part",
    [VIDEO, VideoPart(source=FILE, start=60, end=90), AudioPart(source=FILE), AudioPart(source=FILE, start=1)],
    ids=["video", "seconds of a video", "recording", "seconds of a recording"],
)
def test_the_one_video_or_recording_is_taken(part: Part) -> None:
    """It is given back as it is, with its seconds, wherever texts stand."""
    assert single_media_part([part]) == single_media_part([TEXT, part, TEXT]) == part


def video(**said: Any) -> VideoPart:
    return VideoPart(source=FILE, **said)


REFUSED: dict[str, tuple[list[Part], str]] = {
    "frames a second": ([video(sampling=Sampling(fps=4))], r'fps=4, .* omit it .* detail="low" \(0\.5 frames'),
    "a rate that is no whole number": ([video(sampling=Sampling(fps=0.5))], r"fps=0\.5, "),
    "fewest pixels": ([video(sampling=Sampling(min_pixels=9))], "asks for min_pixels, .* omit it .* budget="),
    "most pixels": ([video(sampling=Sampling(max_pixels=9))], "asks for max_pixels, .* budget="),
    "pixels of all": ([video(sampling=Sampling(total_pixels=9))], "asks for total_pixels, .* budget="),
    "the name of a budget": ([video(budget="static")], "asks for budget, .* budget=MediaBudget"),
    "a budget": ([video(budget=MediaBudget(fps=1))], "asks for budget, .* budget=MediaBudget"),
    "a budget beside seconds": ([video(budget="glance", start=1, end=2)], "asks for budget, "),
    "an image": ([ImagePart(source=FILE)], "holds an image; pass exactly one video or recording"),
    "a list of frames": ([FramesPart(frames=(FILE,))], "holds a list of frames; "),
    "two": ([VIDEO, TEXT, VIDEO], "holds a video, a video; "),
    "sound beside it": ([VIDEO, AudioPart(source=FILE)], "holds a video, a recording; "),
    "words alone": ([TEXT], "holds no media; "),
    "nothing": ([], "holds no media; "),
}


@pytest.mark.parametrize(("parts", "words"), REFUSED.values(), ids=REFUSED.keys())
def test_what_cannot_be_used_is_refused(parts: list[Part], words: str) -> None:
    """The error names what was asked, and what to use in place."""
    with pytest.raises(UnsupportedContentError, match=words):
        single_media_part(parts)
