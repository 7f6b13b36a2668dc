"""What is done with a file, and that it never costs more than leaving it alone."""

import itertools
from dataclasses import replace
from fractions import Fraction

import pytest
from hypothesis import given, settings, strategies as st

from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError
from qwen_omni.media.budget import MediaBudget, PlanInputs, Sampling, budget_named
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.plan.plan import plan_media
from qwen_omni.profiles import profile_for
from qwen_omni.profiles.token_formulas import image_pixels, image_size, image_tokens

OMNI = profile_for("qwen3.8-omni-flash")
MODELS = [
    profile_for(name) for name in ("qwen3.8-omni-flash", "qwen3.5-omni-plus", "qwen3-omni-flash", "qwen-omni-turbo")
]
FILM = MediaInfo(
    kind="video", container="mp4", media_type="video/mp4", size_bytes=405_000_000, duration=Fraction(600), width=1920,
    height=1080, fps=Fraction(30), video_codec="h264", audio_codec="aac", sample_rate=48_000, channels=2,
)  # fmt: skip
SOUND = MediaInfo(
    kind="audio", container="mp3", media_type="audio/mpeg", size_bytes=1_000_000, duration=Fraction(60),
    audio_codec="mp3", sample_rate=44_100, channels=2,
)  # fmt: skip
PHOTO = MediaInfo(
    kind="image", container="jpeg", media_type="image/jpeg", size_bytes=4_000_000, width=4032, height=3024
)


def plan(info, budget="auto", **wish):
    return plan_media(info, PlanInputs(budget=budget_named(budget), profile=OMNI, **wish), label="it")


films = st.builds(
    lambda width, height, duration, rate, sound, size: replace(
        FILM, width=width, height=height, duration=duration, fps=rate, audio_codec=sound, size_bytes=size
    ),
    st.integers(16, 4096),
    st.integers(16, 4096),
    st.fractions(2, 7200, max_denominator=1000),
    st.fractions(Fraction(1, 10), 120, max_denominator=1001),
    st.sampled_from(["aac", None]),
    st.integers(1_000, 2 * 2**30),
)


def test_a_very_narrow_film_is_not_made_dearer():
    """The service sees narrow pictures enlarged: a smaller one may cost more, so it keeps its size."""
    narrow = replace(FILM, width=16, height=2032, duration=Fraction(2), fps=Fraction(1, 10), size_bytes=7_000_001)
    made = plan(narrow, room_bytes=7_000_000)
    assert (made.action, made.encoding.size) == ("video", (16, 2032))
    assert made.tokens <= made.tokens_as_is


@settings(max_examples=100)
@given(info=films, profile=st.sampled_from(MODELS), lively=st.booleans(), room=st.sampled_from([None, 7_000_000]))
def test_auto_never_bills_more_than_the_untouched_original(info, profile, lively, room):
    """Whatever `auto` makes of a video, the service's formulas count no more tokens than for the original."""
    made = plan_media(
        info, PlanInputs(budget=budget_named("auto"), profile=profile, lively=lively, room_bytes=room), label="it"
    )

    assert made.tokens <= made.tokens_as_is


@given(width=st.integers(11, 9000), height=st.integers(11, 9000), profile=st.sampled_from(MODELS))
def test_auto_never_bills_more_for_a_picture(width, height, profile):
    """The same for pictures, where nothing forces a change."""
    info = replace(PHOTO, width=width, height=height)
    made = plan_media(info, PlanInputs(budget=budget_named("auto"), profile=profile), label="it")

    assert made.tokens <= made.tokens_as_is


@given(width=st.integers(11, 9000), height=st.integers(11, 9000), profile=st.sampled_from(MODELS))
def test_a_picture_is_never_shrunk_below_what_the_service_looks_at(width, height, profile):
    """Sent as one image, it is seen exactly as the original would be."""
    info = replace(PHOTO, width=width, height=height)
    made = plan_media(info, PlanInputs(budget=budget_named("auto"), profile=profile), label="it")
    sent = made.encoding.size if made.encoding else (width, height)

    assert image_size(profile, sent) == image_size(profile, (width, height))


@given(
    long=st.integers(300, 60_000), short=st.integers(11, 3000), upright=st.booleans(), profile=st.sampled_from(MODELS)
)
def test_tiles_cover_a_picture(long, short, upright, profile):
    """Whatever its shape, tiles lie in order, leave nothing out, and are each within what the model takes."""
    info = replace(PHOTO, width=short if upright else long, height=long if upright else short)
    made = plan_media(info, PlanInputs(budget=budget_named("auto"), profile=profile, tile=True), label="it")
    if made.action != "images":
        return
    if info.width > info.height:
        spans = [(piece.box[0], piece.box[2]) for piece in made.pieces]
    else:
        spans = [(piece.box[1], piece.box[3]) for piece in made.pieces]
    assert spans[0][0] == 0
    assert spans[-1][1] == max(long, short)
    assert all(before[1] > after[0] >= before[0] for before, after in itertools.pairwise(spans))
    for piece in made.pieces:
        assert piece.size[0] * piece.size[1] <= image_pixels(profile)
        assert max(piece.size) <= profile.limits.max_aspect * min(piece.size)
    assert made.tokens == sum(image_tokens(profile, piece.size) for piece in made.pieces)


@given(info=films)
def test_a_planned_size_is_within_the_budget(info):
    """Sides are even, within the budget, and never larger than the source but for rounding to even."""
    made = plan(info, "static")
    if made.action == "video":
        width, height = made.encoding.size
        assert width % 2 == height % 2 == 0
        assert max(width, height) <= 1280
        assert min(width, height) <= 720
        assert width <= info.width + 1
        assert height <= info.height + 1
        assert 1 / made.encoding.period <= 4


@pytest.mark.parametrize(
    ("info", "budget", "wish", "action", "says"),
    [
        (FILM, "static", {}, "video", "1280x720 at 4 fps"),
        (FILM, "action", {}, "video", "1280x720 at 8 fps"),
        (FILM, "original", {}, "pass", "the budget says so"),
        (FILM, "glance", {}, "video", "at 1 fps"),
        (FILM, "auto", {}, "video", "either way"),
        (FILM, "auto", {"lively": True}, "video", "at 8 fps"),
        (replace(FILM, size_bytes=2_000_000), "auto", {}, "pass", "would save neither time nor tokens"),
        (replace(FILM, size_bytes=2_000_000), "auto", {"end": Fraction(9)}, "video", "only a part"),
        (replace(FILM, width=640, height=360, fps=Fraction(4)), "static", {}, "pass", "already fits"),
        (replace(FILM, width=640, height=360, fps=Fraction(4), rotation=90), "static", {}, "video", "turned by 90"),
        (replace(FILM, width=640, height=360, fps=Fraction(4), mirrored=True), "static", {}, "video", "mirrored"),
        (replace(FILM, video_duration=Fraction(1, 10)), "original", {}, "video", "after 0.10 of"),
        (replace(FILM, width=640, height=360, fps=Fraction(4), container="mpegts"), "static", {}, "remux", "mpegts"),
        (replace(FILM, size_bytes=9_000_000, video_codec="prores"), "auto", {}, "video", "prores"),
        (replace(FILM, size_bytes=9_000_000), "auto", {"room_bytes": 7_000_000}, "video", "more than can be"),
        (SOUND, "auto", {}, "pass", "sent as it is"),
        (SOUND, "static", {}, "audio", "mono MP3"),
        (replace(SOUND, container="ogg", audio_codec="opus"), "auto", {}, "audio", "opus in ogg"),
        (replace(SOUND, size_bytes=200_000), "static", {}, "pass", "already small"),
        (PHOTO, "auto", {}, "image", "made 1335x1001: the service uses no more pixels, 1,232 tokens either way"),
        (replace(PHOTO, width=640, height=480), "auto", {}, "pass", "already fits"),
        (replace(PHOTO, width=480, height=640, rotation=90), "auto", {}, "image", "turned"),
        (replace(PHOTO, width=64, height=48, container="gif"), "auto", {}, "image", "gif"),
    ],
)  # fmt: skip
def test_each_plan_says_what_and_why(info, budget, wish, action, says):
    """A plan explains its choice in one line."""
    made = plan(info, budget, **wish)

    assert made.action == action
    assert says in made.reason
    assert "\n" not in made.reason


def test_a_quick_uplink_sends_more_as_it_is():
    """The same file goes untouched where sending is quick, and is made smaller where it is slow."""
    film = replace(FILM, size_bytes=60_000_000)
    assert plan(film, "auto", uplink_mbps=1000).action == "pass"
    assert plan(film, "auto", uplink_mbps=2).action == "video"


def test_a_saving_has_the_unit_of_the_sizes_beside_it():
    """Sizes of files are shown in MB, so what re-encoding saves is in MB, not MiB."""
    film = replace(FILM, size_bytes=60_000_000)
    made, untouched = plan(film, "auto", uplink_mbps=2), plan(film, "original")

    assert f", {(untouched.size_bytes - made.size_bytes) / 1_000_000:.1f} MB less, " in made.reason


def test_static_shows_what_its_sampling_costs():
    """The file and the sampling at four a second bill about twice the service's default, and say so."""
    made = plan(replace(FILM, duration=Fraction(60)), "static")
    assert made.sampling.fps == 4
    assert made.tokens > made.tokens_as_is


@pytest.mark.parametrize(
    ("info", "budget", "most", "size"),
    [
        (PHOTO, "auto", 4_000_000, (2309, 1732)),
        (PHOTO, "static", 4_000_000, (2309, 1732)),
        (PHOTO, "auto", 300_000, (632, 474)),
        (PHOTO, MediaBudget(long_side=640, short_side=640), 4_000_000, (640, 480)),
        (FILM, "static", 300_000, (1280, 720)),
        (FILM, "static", 1_500_000, (1632, 918)),
        (FILM, MediaBudget(fps=1, max_pixels=1_500_000), None, (1632, 918)),
        (FILM, MediaBudget(long_side=640, short_side=360), 1_500_000, (640, 360)),
    ],
)
def test_pixels_that_are_asked_for_lift_the_usual_sides(info, budget, most, size):
    """No picture is made smaller than what the service is asked to look at, but for sides of the caller's own."""
    assert plan(info, budget, sampling=Sampling(max_pixels=most)).encoding.size == size


@settings(max_examples=50)
@given(info=films, most=st.integers(4_096, 2_048_000))
def test_lifted_sides_bill_no_more_than_the_original(info, most):
    """`auto` bills at most what the untouched original would with the same `max_pixels`."""
    made = plan(info, "auto", sampling=Sampling(max_pixels=most), room_bytes=7_000_000)
    assert made.tokens <= made.tokens_as_is


def test_an_empty_range_is_refused():
    """A range behind the end names both numbers."""
    with pytest.raises(MediaDoesNotFitError, match=r"lasts 600\.00 s; nothing lies in the range from 700"):
        plan(FILM, start=Fraction(700))


@pytest.mark.parametrize("wrong", [{"fps": 0}, {"fps": 1000}, {"short_side": 1}, {"max_bytes": 0}])
def test_a_budget_that_leaves_nothing_is_refused(wrong):
    """Impossible limits are told when they are set."""
    with pytest.raises(ConfigurationError):
        MediaBudget(**wrong)


def test_an_unknown_preset_is_refused():
    """The error lists the presets."""
    with pytest.raises(ConfigurationError, match="auto, static, action, original, glance"):
        budget_named("tiny")


@pytest.mark.parametrize("room", [10**6, 2**30, 2**33])
def test_much_room_asks_for_no_impossible_rate(room):
    """A second of a film may be given any room: the encoder is asked for a rate that it can count to."""
    told = plan(FILM, "static", room_bytes=room, start=Fraction(2), end=Fraction(3))
    assert told.encoding is not None
    assert 0 < told.encoding.most_bits < 2**31
