"""The stand-in's token arithmetic equals every worked number of the documentation."""

from __future__ import annotations

import pytest

from qwen_omni.standin.rules import tokens
from qwen_omni.standin.rules.tokens import OMNI_3, OMNI_3_8, OMNI_TURBO, Sampling

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
    assert tokens.image_tokens(OMNI_3_8, *size) == newest
    assert tokens.image_tokens(OMNI_3_8, *size, Sampling(high_resolution=True)) == high
    assert tokens.image_tokens(OMNI_3, *size) == three
    assert tokens.image_tokens(OMNI_TURBO, *size) == turbo


@pytest.mark.parametrize(
    ("rule", "size", "seconds", "sampling", "expected"),
    [
        (OMNI_3_8, (640, 480), 2, {}, 602),
        (OMNI_3_8, (640, 480), 3, {}, 902),
        (OMNI_3_8, (320, 240), 3, {}, 242),
        (OMNI_3_8, (320, 240), 6, {}, 482),
        (OMNI_3_8, (320, 240), 6, {"fps": 1}, 242),
        (OMNI_3_8, (320, 240), 6, {"fps": 0.5}, 162),
        (OMNI_3_8, (1280, 720), 60, {}, 35_642),
        (OMNI_3_8, (1280, 720), 60, {"fps": 4}, 71_282),
        (OMNI_3_8, (1280, 720), 60, {"fps": 0.5}, 8_912),
        (OMNI_3_8, (640, 480), 10, {}, 3_002),
        (OMNI_3_8, (1280, 720), 10, {}, 5_942),
        (OMNI_3_8, (1920, 1080), 60, {}, 35_642),
        (OMNI_3_8, (1920, 1080), 600, {}, 165_602),
        (OMNI_3_8, (1920, 1080), 3600, {}, 156_674),
        (OMNI_3_8, (1920, 1080), 7200, {}, 156_674),
        (OMNI_3_8, (1920, 1080), 600, {"fps": 2, "max_pixels": 230_400}, 132_002),
        (OMNI_3_8, (1920, 1080), 600, {"fps": 1, "max_pixels": 230_400}, 66_002),
        (OMNI_3, (640, 480), 10, {}, 3_002),
        (OMNI_3, (640, 480), 10, {"fps": 4, "max_pixels": 100_000}, 3_002),  # documented for 3.8 and 3.5 only
        (OMNI_3, (1280, 720), 10, {}, 7_202),
        (OMNI_3, (1920, 1080), 60, {}, 15_842),
        (OMNI_TURBO, (640, 480), 10, {}, 3_912),
        (OMNI_TURBO, (1280, 720), 10, {}, 7_202),
    ],
)
def test_videos(rule, size, seconds, sampling, expected):
    """The videos measured in public and the computed tables; older models ignore the sampling beside a part."""
    assert tokens.video_tokens(rule, size, seconds, 30, Sampling(**sampling)) == expected


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
    assert tokens.audio_tokens(rule, seconds) == expected


def test_frame_lists_count_their_frames():
    """A frame list is billed by its frames, two by two."""
    assert tokens.frame_tokens(OMNI_3_8, (640, 480), 5) == 3 * 15 * 20 + 2


def test_text_counts_chinese_characters_apart():
    """Four letters, or one and a half Chinese characters, make a token."""
    assert [tokens.text_tokens(text) for text in ("abcdefgh", "\u4f60\u597d\u4f60", "")] == [2, 2, 0]
