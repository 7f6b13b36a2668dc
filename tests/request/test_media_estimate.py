"""Tokens of media by its facts: every worked number of the guide, and what must hold for all numbers."""

from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import assume, given, settings, strategies as st

from qwen_omni.media.budget import PRESETS, PlanInputs, Sampling, budget_named
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import plan_media
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.profiles import profile_for
from qwen_omni.profiles.catalog import OMNI, RETIRED
from qwen_omni.profiles.token_formulas import frame_size, frames_seen
from qwen_omni.request.media_estimate import Asked, list_tokens, media_tokens, most_tokens, predicted_info, within

MODELS = [profile.name for profile in (*OMNI, *RETIRED)]
FLASH = profile_for("qwen3.8-omni-flash")
FILM = MediaInfo(
    kind="video", container="mp4", media_type="video/mp4", size_bytes=50_000_000, duration=Fraction(60), width=1920,
    height=1080, fps=Fraction(30), video_codec="h264", audio_codec="aac", sample_rate=48_000, channels=2,
)  # fmt: skip
SOUND = MediaInfo(kind="audio", container="mp3", media_type="audio/mpeg", size_bytes=9, audio_codec="mp3")
PHOTO = MediaInfo(kind="image", container="jpeg", media_type="image/jpeg", size_bytes=9, width=1, height=1)
every = settings(max_examples=60)
models = st.sampled_from(MODELS)
sides = st.integers(32, 4096)


def film(size, seconds, *, sound="aac", fps=30):
    return replace(
        FILM, width=size[0], height=size[1], duration=Fraction(seconds), audio_codec=sound, fps=Fraction(fps)
    )


@pytest.mark.parametrize(
    ("model", "size", "tokens"),
    [
        *[(model, size, tokens) for model in MODELS[:3] for size, tokens in (
            ((100, 100), 27), ((512, 512), 258), ((640, 480), 302), ((924, 924), 843), ((1280, 720), 882),
            ((1920, 1080), 1224), ((3840, 2160), 1224))],
        *[("qwen3-omni-flash", size, tokens) for size, tokens in (
            ((100, 100), 11), ((512, 512), 258), ((640, 480), 302), ((924, 924), 843), ((1280, 720), 882),
            ((1920, 1080), 1224), ((3840, 2160), 1224))],
        *[(model, size, tokens) for model in MODELS[4:] for size, tokens in (
            ((100, 100), 18), ((512, 512), 326), ((640, 480), 393), ((924, 924), 1091), ((1280, 720), 1198),
            ((1920, 1080), 1224), ((3840, 2160), 1224))],
    ],
)  # fmt: skip
def test_the_guides_pictures(model, size, tokens):
    """Reference 5.2, each cell of the table."""
    photo = replace(PHOTO, width=size[0], height=size[1])
    assert media_tokens(photo, profile_for(model)) == TokenCounts(image=tokens)


@pytest.mark.parametrize(
    ("size", "tokens"),
    [((100, 100), 27), ((512, 512), 258), ((640, 480), 302), ((924, 924), 843), ((1280, 720), 882),
     ((1920, 1080), 2042), ((3840, 2160), 8162)],
)  # fmt: skip
def test_the_guides_pictures_in_high_resolution(size, tokens):
    """Reference 5.2, the column of `vl_high_resolution_images`."""
    photo = replace(PHOTO, width=size[0], height=size[1])
    assert media_tokens(photo, FLASH, Asked(high_resolution=True)) == TokenCounts(image=tokens)


@pytest.mark.parametrize(
    ("model", "size", "seconds", "video", "audio"),
    [
        ("qwen3.8-omni-flash", (640, 480), 10, 3_002, 70),
        ("qwen3.8-omni-flash", (1280, 720), 10, 5_942, 70),
        ("qwen3.8-omni-flash", (1920, 1080), 60, 35_642, 420),
        ("qwen3.5-omni-plus", (1920, 1080), 60, 35_642, 420),
        ("qwen3.8-omni-flash", (1920, 1080), 600, 165_602, 4_200),
        ("qwen3.5-omni-flash", (1920, 1080), 3600, 156_674, 25_200),
        ("qwen3.8-omni-flash", (1920, 1080), 7200, 156_674, 50_400),
        ("qwen3-omni-flash", (640, 480), 10, 3_002, 125),
        ("qwen3-omni-flash", (1280, 720), 10, 7_202, 125),
        ("qwen3-omni-flash", (1920, 1080), 60, 15_842, 750),
        ("qwen-omni-turbo", (640, 480), 10, 3_912, 250),
        ("qwen-omni-turbo", (1280, 720), 10, 7_202, 250),
    ],
)
def test_the_guides_films(model, size, seconds, video, audio):
    """Reference 5.3, the computed table with sound; measured values are in `tests/profiles/test_token_formulas.py`."""
    assert media_tokens(film(size, seconds), profile_for(model)) == TokenCounts(video=video, audio=audio)


@pytest.mark.parametrize(("seconds", "dollars"), [(3600, 0.0273), (600, 0.0255)])
def test_the_guides_price_of_a_film(seconds, dollars):
    """Reference 5.4: an hour and ten minutes of 1080p with sound, at Singapore's prices."""
    cost = cost_of(media_tokens(film((1920, 1080), seconds), FLASH), FLASH, "intl")
    assert cost.usd == pytest.approx(dollars, abs=5e-5)


@every
@given(
    model=models,
    size=st.tuples(st.integers(200, 1500), st.integers(200, 900)),
    more=st.tuples(st.integers(0, 64), st.integers(0, 64)),
)
def test_more_pixels_never_bill_less(model, size, more):
    """As long as no cap shrinks the picture or enlarges it, a wider or higher one bills no fewer tokens.

    (Where a cap takes hold, sides are rounded down, so that a picture just over it may bill less than one just under.)
    """
    profile = profile_for(model)
    larger = (size[0] + more[0], size[1] + more[1])
    # Sides are drawn where no limit holds; both sizes must lie between the limits.
    least, most = (limit * profile.tokens.factor**2 for limit in profile.tokens.image_tokens)
    factor = profile.tokens.factor
    for width, height in (size, larger):
        rounded = max(factor, round(width / factor) * factor) * max(factor, round(height / factor) * factor)
        assume(least <= rounded <= most)
    small, large = (media_tokens(replace(PHOTO, width=w, height=h), profile).image for w, h in (size, larger))
    assert small <= large


@every
@given(model=models, size=st.tuples(sides, sides), count=st.integers(2, 500), more=st.integers(0, 60))
def test_more_frames_never_bill_less(model, size, count, more):
    """As long as the pool of all frames does not shrink them, more frames bill no fewer tokens."""
    profile = profile_for(model)
    assume(frame_size(profile, size, count) == frame_size(profile, size, count + more))
    assert list_tokens(size, count, profile).video <= list_tokens(size, count + more, profile).video


@every
@given(
    model=models, size=st.tuples(sides, sides), seconds=st.fractions(2, 7000, max_denominator=100),
    more=st.fractions(0, 200, max_denominator=100), fps=st.sampled_from([10, 24, Fraction(30000, 1001), 60]),
)  # fmt: skip
def test_more_seconds_never_bill_less(model, size, seconds, more, fps):
    """As long as the pool does not shrink the frames, a longer film bills no less; its sound never does.

    (The guide's own numbers: ten minutes of 1080p bill 165,602, an hour 156,674.)
    """
    profile = profile_for(model)
    short, long = film(size, seconds, fps=fps), film(size, seconds + more, fps=fps)
    before, after = media_tokens(short, profile), media_tokens(long, profile)
    assert before.audio <= after.audio
    seen = [frame_size(profile, size, frames_seen(profile, one.duration, one.fps)) for one in (short, long)]
    assume(seen[0] == seen[1])
    assert before.video <= after.video


@every
@given(
    model=models,
    size=st.tuples(sides, sides),
    share=st.fractions(Fraction(1, 1000), 1, max_denominator=1000),
    fps=st.sampled_from([1, 10, 30]),
    sampling=st.builds(Sampling, fps=st.sampled_from([None, 0.5, 4, 10]), max_pixels=st.sampled_from([None, 921_600])),
)
def test_nothing_bills_more_than_the_caps(model, size, share, fps, sampling):
    """Whatever its size and length, media within the model's limits bills no more than `most_tokens` says."""
    profile, asked = profile_for(model), Asked(sampling=sampling)
    seconds = max(Fraction(2), Fraction(profile.limits.video_seconds) * share)
    seen, most = media_tokens(film(size, seconds, fps=fps), profile, asked), most_tokens("video", profile, asked)
    assert seen.video <= most.video
    assert seen.audio <= most.audio
    # The documented cap, but for the last of an odd count of frames, which is billed as a pair; the cap is not reached
    # with fewer than 43 frames of the largest size.
    assert most.video <= max(profile.tokens.video_tokens * Fraction(44, 43), profile.tokens.frames[1] // 2 * 68) + 2
    photo = replace(PHOTO, width=size[0], height=size[1])
    assert (
        media_tokens(photo, profile).image <= most_tokens("image", profile).image <= profile.tokens.image_tokens[1] + 2
    )
    heard = replace(SOUND, duration=Fraction(profile.limits.audio_seconds) * share)
    assert media_tokens(heard, profile).audio <= most_tokens("audio", profile).audio


def test_an_unknown_length_is_not_guessed():
    """A file that does not tell how long it is has no count; a picture always has."""
    assert media_tokens(replace(FILM, duration=None), FLASH) is None
    assert media_tokens(replace(SOUND, duration=Fraction(1, 2)), FLASH) == TokenCounts(audio=7)


def test_streams_of_different_lengths_count_by_their_own():
    """Sound that ends early bills its own seconds, and the picture its own."""
    uneven = replace(FILM, video_duration=Fraction(60), audio_duration=Fraction(10))
    assert media_tokens(uneven, FLASH) == TokenCounts(video=35_642, audio=70)
    assert within(uneven, Fraction(5), Fraction(20)).audio_duration == 5
    assert within(uneven, Fraction(30), Fraction(40)).audio_duration == 0


def test_streams_that_begin_late_are_billed_until_they_end():
    """The first picture is held from zero on, and silence is heard until the sound begins: 10 s of each, not 8."""
    late = replace(FILM, duration=Fraction(10), video_duration=Fraction(8), video_start=Fraction(2),
                   audio_duration=Fraction(8), audio_start=Fraction(2))  # fmt: skip
    plan = plan_media(late, PlanInputs(budget=budget_named("static"), profile=FLASH), label="film")
    will = predicted_info(late, plan)
    assert (will.video_duration, will.audio_duration) == (10, 10)
    counts = media_tokens(will, FLASH, Asked(sampling=plan.sampling))
    assert counts.audio == 70
    assert counts.video + counts.audio == plan.tokens


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize("budget", PRESETS)
def test_a_plans_outcome_bills_what_the_plan_says(model, budget):
    """The estimator and the planner agree: two ways to one number, for each preset and model."""
    profile = profile_for(model)
    info = film((1920, 1080), 30)
    plan = plan_media(info, PlanInputs(budget=budget_named(budget), profile=profile, lively=False), label="it")
    counted = media_tokens(predicted_info(info, plan), profile, Asked(sampling=plan.sampling))
    assert counted.input == plan.tokens
