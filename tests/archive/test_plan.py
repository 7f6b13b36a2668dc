"""What a run would do and cost: counted, estimated from a sample, and nothing sent."""

import shutil
import time
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from qwen_omni import RateLimits, SummaryOptions
from qwen_omni.archive import Caption, FunctionStep, Summarize, Transcribe, plan, run
from qwen_omni.archive.plan import Counted, days_of, to_plan
from qwen_omni.archive.steps import StepEstimate
from qwen_omni.errors import ConfigurationError, NotFoundError
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video
from tests.support.archives import SETTINGS, Asking, files


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=4, size=(320, 180)).path


def counted(found):
    return (found.files, found.duplicates, found.done, found.stored, found.unusable, found.to_ask)


def test_everything_is_counted(tmp_path):
    step, made = Asking(), files(tmp_path / "in", "a", "a", "b", "cc", "", "ServerError", "InvalidRequestError")
    assert counted(plan(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS)) == (7, 1, 0, 0, 1, 5)
    assert not (tmp_path / "s.db").exists()
    list(run(made[2:], step, store=tmp_path / "s.db", settings=SETTINGS))
    moved = tmp_path / "in" / "moved.mp4"
    shutil.copy(made[2], moved)
    time.sleep(0.06)
    found = plan([*made, moved, tmp_path / "gone.mp4"], step, store=tmp_path / "s.db", settings=SETTINGS)
    assert counted(found) == (9, 1, 4, 1, 1, 2)
    assert [one.code for one in found.problems] == ["missing"]
    assert step.calls == 4


def test_digests_are_computed_once(tmp_path, monkeypatch):
    """What the plan has read to find copies, the run does not read again to recognise them."""
    step, made = Asking(), files(tmp_path / "in", "a", "a")
    list(run(made[0], step, store=tmp_path / "s.db", settings=SETTINGS))
    assert plan(made, step, store=tmp_path / "s.db", settings=SETTINGS).to_ask == 1  # its content is not known yet
    files(tmp_path / "in", "a", "a", "a")
    plan(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS)
    found = plan(tmp_path / "in", step, store=tmp_path / "s.db", settings=SETTINGS)
    assert (found.stored, found.to_ask) == (3, 0)


def test_a_caption_is_estimated_as_the_call_is(clip):
    from qwen_omni import estimate  # noqa: PLC0415

    found = plan(clip, Caption(), settings=SETTINGS)
    one = Caption().estimate(item_source(clip), SETTINGS)
    assert (found.requests, found.input_tokens, found.cost_cny) == (1, one.input_tokens, pytest.approx(one.cost_cny))
    assert found.input_tokens > estimate(clip, settings=SETTINGS).input_tokens  # and the prompt with its schema
    assert (found.seconds, found.refused, found.sampled) == (pytest.approx(4, abs=0.2), 0, 1)
    assert found.limits.tpm == 2_000_000
    assert found.days == pytest.approx((found.input_tokens + found.output_tokens) / 2_000_000 / 1440)


def item_source(path):
    from qwen_omni import MediaSource  # noqa: PLC0415

    return MediaSource.from_path(path, trusted=True)


def test_a_sample_stands_for_the_rest(clip, tmp_path):
    """Links to nothing are not opened beyond the sample."""
    made = [tmp_path / f"{number}.mp4" for number in range(6)]
    for number, path in enumerate(made):
        path.write_bytes(clip.read_bytes() + b"\0" * number)
    whole = plan(made, Caption(), settings=SETTINGS)
    some = plan(made, Caption(), settings=SETTINGS, sample=2)
    assert (whole.sampled, some.sampled, some.to_ask) == (6, 2, 6)
    assert some.input_tokens == pytest.approx(whole.input_tokens, rel=0.01)
    assert some.cost_cny == pytest.approx(whole.cost_cny, rel=0.01)
    assert plan(made, Caption(), settings=SETTINGS, sample=0).cost_cny is None


def test_what_would_be_refused(clip, tmp_path):
    (tmp_path / "bad.mp4").write_bytes(b"no media at all")
    found = plan([clip, tmp_path / "bad.mp4"], Caption(), settings=SETTINGS)
    assert (found.to_ask, found.sampled, found.refused) == (2, 2, 1)
    assert "bad.mp4" in found.problems[0].text


def test_a_summary(tmp_path):
    clip = make_video(tmp_path / "clip.mp4", seconds=16, size=(160, 90)).path
    options = SummaryOptions(segment_seconds=9, overlap=0, single_call_seconds=0)
    found = plan(clip, Summarize(options), settings=SETTINGS)
    assert (found.requests, found.cost_cny > 0, found.input_tokens > 1_000) == (3, True, True)


def test_a_transcript(clip):
    found = plan(clip, Transcribe(), settings=SETTINGS)
    assert found.cost_cny == pytest.approx(found.seconds * 0.00008, rel=0.3)
    assert (found.limits, found.days) == (None, None)


def test_a_function_has_no_price(tmp_path):
    files(tmp_path / "in", "a")
    found = plan(tmp_path / "in", FunctionStep("f", len, "d"), settings=SETTINGS)
    assert (found.to_ask, found.sampled, found.cost_cny, found.days) == (1, 0, None, None)


def test_nothing_left_costs_nothing(tmp_path):
    files(tmp_path / "in", "")
    found = plan(tmp_path / "in", Caption(), settings=SETTINGS)
    assert (found.to_ask, found.cost_cny, found.days) == (0, 0.0, 0.0)


def test_what_the_caller_knows_about_the_account(clip):
    found = plan(clip, Caption(), settings=SETTINGS, limits=RateLimits(rpm=1))
    assert (found.limits.rpm, found.days) == (1, pytest.approx(1 / 1440))


def test_no_key_is_needed(clip):
    found = plan(clip, Caption(), settings=Settings.load(needs_key=False))
    assert found.cost_cny > 0


def test_what_concerns_every_input_is_an_error(clip):
    step = Caption(options=replace(Caption().options, model="qwen-omni-turbo"))
    with pytest.raises(NotFoundError):
        plan(clip, step, settings=SETTINGS)
    with pytest.raises(ConfigurationError, match="sample"):
        plan(clip, Caption(), settings=SETTINGS, sample=-1)


@given(st.lists(st.tuples(st.integers(0, 5), st.floats(0, 9) | st.none(), st.booleans()), min_size=1, max_size=5))
def test_sums(found):
    """The rest is like the sample: refused ones in it cost nothing, one unknown price makes the whole unknown."""
    sample = [
        StepEstimate(requests=number, input_tokens=number, cost_cny=cost, problem="x" if bad else "")
        for number, cost, bad in found
    ]
    made = to_plan(Counted(files=99, to_ask=3 * len(sample), sample=sample), None)
    fit = [one for one in sample if not one.problem]
    assert made.requests == 3 * sum(one.requests for one in fit)
    known = all(one.cost_cny is not None for one in fit)
    assert made.cost_cny == (pytest.approx(3 * sum(one.cost_cny for one in fit)) if known else None)


@pytest.mark.parametrize(
    ("requests", "tokens", "limits", "days"),
    [
        (28 * 1440, 2_000_000 * 1440, RateLimits(rpm=30_000, tpm=2_000_000), 1.0),
        (60 * 1440, 0, RateLimits(rpm=60), 1.0),
        (5, 5, RateLimits(), None),
        (5, 5, None, None),
        (0, 0, RateLimits(tpm=5), 0.0),
    ],
)
def test_days_at_a_quota(requests, tokens, limits, days):
    assert days_of(requests, tokens, limits) == days
