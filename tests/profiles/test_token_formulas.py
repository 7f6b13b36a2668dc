"""The documented token formulas, with every worked number of the guide and of public measurements."""

import pytest

from qwen_omni.media.budget import Sampling
from qwen_omni.profiles import profile_for
from qwen_omni.profiles.token_formulas import audio_tokens, frames_tokens, image_tokens, video_tokens
from qwen_omni.standin.rules import tokens as standin
from qwen_omni.standin.rules.limits import MODELS

OMNI, THREE, TURBO = (profile_for(name) for name in ("qwen3.8-omni-flash", "qwen3-omni-flash", "qwen-omni-turbo"))


@pytest.mark.parametrize(
    ("size", "seconds", "sampling", "tokens"),
    [
        ((640, 480), 2, Sampling(), 602),
        ((640, 480), 3, Sampling(), 902),
        ((320, 240), 3, Sampling(), 242),
        ((320, 240), 6, Sampling(), 482),
        ((320, 240), 6, Sampling(fps=1), 242),
        ((320, 240), 6, Sampling(fps=0.5), 162),
        ((1280, 720), 60, Sampling(), 35_642),
        ((1280, 720), 60, Sampling(fps=4), 71_282),
        ((1280, 720), 60, Sampling(fps=0.5), 8_912),
        ((1920, 1080), 600, Sampling(max_pixels=230_400), 132_002),
        ((1920, 1080), 600, Sampling(max_pixels=230_400, fps=1), 66_002),
    ],
)
def test_videos_as_measured_and_documented(size, seconds, sampling, tokens):
    """Reference 5.3: a video's picture at 30 fps, with what stands beside the part (`test_media_estimate` has more)."""
    assert video_tokens(OMNI, size, seconds, 30, sampling) == tokens


@pytest.mark.parametrize(
    ("profile", "seconds", "tokens"),
    [(OMNI, 60, 420), (OMNI, 0.3, 7), (OMNI, 0, 0), (THREE, 60, 750), (TURBO, 1, 25)],
)
def test_sound_as_documented(profile, seconds, tokens):
    """Reference 5.1: so many tokens a second, and a clip under a second counts as one."""
    assert audio_tokens(profile, seconds) == tokens


def test_a_list_of_frames_bills_like_a_video_of_as_many():
    """Frames merge in pairs, however they came."""
    assert frames_tokens(OMNI, (640, 480), 4) == video_tokens(OMNI, (640, 480), 2, 30)


def test_sampling_is_ignored_where_it_is_not_documented():
    """Older models look at a video their own way whatever is asked."""
    asked = video_tokens(THREE, (640, 480), 10, 30, Sampling(fps=8, max_pixels=100_000))
    assert asked == video_tokens(THREE, (640, 480), 10, 30)


FAMILIES = [
    "qwen3.8-omni-flash",
    "qwen3.5-omni-plus",
    "qwen3-omni-flash",
    "qwen-omni-turbo",
    "qwen3.7-plus",
    "qwen3.8-flash",
]
SIZES = [(11, 11), (100, 100), (333, 222), (640, 480), (720, 1280), (1280, 720), (1920, 1080), (4000, 30), (3840, 2160)]
# size, seconds, frames per second, what stands beside the part
VIDEOS = [
    ((64, 48), 2, 30, {}), ((320, 240), 2.4, 25, {}), ((320, 240), 2.6, 25, {}), ((640, 360), 7.5, 29.97, {}),
    ((1280, 720), 10, 24, {"fps": 4}), ((1280, 720), 60, 30, {"fps": 0.5}), ((1280, 720), 61, 1, {}),
    ((1920, 1080), 600, 25, {}), ((1920, 1080), 600, 25, {"max_pixels": 230_400}), ((360, 640), 40, 15, {"fps": 10}),
    ((3840, 2160), 30, 60, {"min_pixels": 100_352}), ((1280, 320), 1800, 12, {"fps": 2, "max_pixels": 65_536}),
    ((1280, 720), 3600, 30, {}), ((854, 480), 7200, 30, {"fps": 0.1}),
]  # fmt: skip
SECONDS = [0, 0.3, 1, 1.5, 59.96, 180, 3600]


@pytest.mark.parametrize("model", FAMILIES)
def test_both_arithmetics_agree(model):
    """Thirty media on every family: what is estimated is what the stand-in, which shares no code, would bill."""
    profile, rule = profile_for(model), MODELS[model].media.tokens
    assert len(SIZES) + len(VIDEOS) + len(SECONDS) == 30
    for size in SIZES:
        assert image_tokens(profile, size) == standin.image_tokens(rule, *size), size
    for size, seconds, fps, beside in VIDEOS:
        told = standin.video_tokens(rule, size, seconds, fps, standin.Sampling(**beside))
        assert video_tokens(profile, size, seconds, fps, Sampling(**beside)) == told, (size, seconds, beside)
    for seconds in SECONDS:
        assert audio_tokens(profile, seconds) == standin.audio_tokens(rule, seconds), seconds
    assert frames_tokens(profile, (640, 480), 5) == standin.frame_tokens(rule, (640, 480), 5)


def test_the_models_that_only_see():
    """By hand, after the Vision page: 640x360 for 60 s at 2 fps is 60 pairs of 20 x 11; its audio is not read."""
    profile = profile_for("qwen3.8-flash")
    assert video_tokens(profile, (640, 360), 60, 30) == 60 * 20 * 11 + 2
    assert image_tokens(profile, (1920, 1080)) == 60 * 34 + 2
    assert audio_tokens(profile, 60) == 0
