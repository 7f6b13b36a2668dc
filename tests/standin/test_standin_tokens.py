"""The stand-in's token arithmetic equals every worked number of the documentation."""

from __future__ import annotations

import pytest

from qwen_omni.standin.rules.tokens import (
    OMNI_3,
    OMNI_3_8,
    OMNI_TURBO,
    Sampling,
    audio_tokens,
    frame_tokens,
    image_tokens,
    text_tokens,
    video_tokens,
)

_IMAGES = [
    ((100, 100), 27, 27, 11, 18),
    ((512, 512), 258, 258, 258, 326),
    ((640, 480), 302, 302, 302, 393),
    ((924, 924), 843, 843, 843, 1091),
    ((1280, 720), 882, 882, 882, 1198),
    ((1920, 1080), 1224, 2042, 1224, 1224),
    ((3840, 2160), 1224, 8162, 1224, 1224),
]


@pytest.mark.parametrize(("size", "newest", "high", "three", "turbo"), _IMAGES, ids=str)
def test_images(size, newest, high, three, turbo):
    """Every row of the image table, for every generation."""
    assert image_tokens(OMNI_3_8, *size) == newest
    assert image_tokens(OMNI_3_8, *size, Sampling(high_resolution=True)) == high
    assert image_tokens(OMNI_3, *size) == three
    assert image_tokens(OMNI_TURBO, *size) == turbo


@pytest.mark.parametrize(
    ("size", "seconds", "fps", "expected"),
    [
        ((640, 480), 2, None, 602),
        ((640, 480), 3, None, 902),
        ((320, 240), 3, None, 242),
        ((320, 240), 6, None, 482),
        ((320, 240), 6, 1, 242),
        ((320, 240), 6, 0.5, 162),
        ((1280, 720), 60, None, 35_642),
        ((1280, 720), 60, 4, 71_282),
        ((1280, 720), 60, 0.5, 8_912),
        ((640, 480), 10, None, 3_002),
        ((1280, 720), 10, None, 5_942),
        ((1920, 1080), 60, None, 35_642),
        ((1920, 1080), 600, None, 165_602),
        ((1920, 1080), 3600, None, 156_674),
        ((1920, 1080), 7200, None, 156_674),
    ],
)
def test_videos_of_the_newest(size, seconds, fps, expected):
    """The videos measured in public and the computed table, for 3.8 and 3.5."""
    assert video_tokens(OMNI_3_8, size, seconds, 30, Sampling(fps=fps)) == expected


@pytest.mark.parametrize(
    ("rule", "size", "seconds", "expected"),
    [
        (OMNI_3, (640, 480), 10, 3_002),
        (OMNI_3, (1280, 720), 10, 7_202),
        (OMNI_3, (1920, 1080), 60, 15_842),
        (OMNI_TURBO, (640, 480), 10, 3_912),
        (OMNI_TURBO, (1280, 720), 10, 7_202),
    ],
)
def test_videos_of_older_models(rule, size, seconds, expected):
    """The computed table for 3-omni-flash and turbo."""
    assert video_tokens(rule, size, seconds, 30) == expected


@pytest.mark.parametrize(("fps", "expected"), [(2, 132_002), (1, 66_002)])
def test_max_pixels(fps, expected):
    """1080p, 10 minutes, at most 230,400 pixels a frame."""
    assert video_tokens(OMNI_3_8, (1920, 1080), 600, 30, Sampling(fps=fps, max_pixels=230_400)) == expected


def test_older_models_ignore_sampling():
    """The fields beside a part are documented for 3.8 and 3.5 only."""
    asked = Sampling(fps=4, max_pixels=100_000)
    assert video_tokens(OMNI_3, (640, 480), 10, 30, asked) == video_tokens(OMNI_3, (640, 480), 10, 30)


@pytest.mark.parametrize(
    ("rule", "seconds", "expected"),
    [
        (OMNI_3_8, 60, 420),
        (OMNI_3_8, 600, 4_200),
        (OMNI_3_8, 3600, 25_200),
        (OMNI_3_8, 7200, 50_400),
        (OMNI_3, 60, 750),
        (OMNI_TURBO, 10, 250),
        (OMNI_3_8, 0.4, 7),
        (OMNI_3_8, 0, 0),
    ],
)
def test_audio(rule, seconds, expected):
    """Tokens a second by generation; less than a second counts as one."""
    assert audio_tokens(rule, seconds) == expected


def test_frame_lists_count_their_frames():
    """A frame list is billed by its frames, two by two."""
    assert frame_tokens(OMNI_3_8, (640, 480), 5) == 3 * 15 * 20 + 2


def test_text_counts_chinese_characters_apart():
    """Four letters, or one and a half Chinese characters, make a token."""
    assert (text_tokens("abcdefgh"), text_tokens("\u4f60\u597d\u4f60"), text_tokens("")) == (2, 2, 0)
