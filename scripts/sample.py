"""Make the sample clip of the package: three drawn scenes with cuts, on-screen words, and speech.

    python -m scripts.sample

Its text, question and answer are in `qwen_omni/samples/`; a test compares them with what is heard and seen.
"""

import io
import math
import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image, ImageDraw, ImageFont

from qwen_omni.samples import SCENES
from tests.support.speech import speak

TARGET = Path(__file__).parents[1] / "qwen_omni" / "samples" / "sample.mp4"
WIDTH, HEIGHT, FPS, RATE = 640, 360, 15, 22_050
SCALE = 2  # drawn larger and reduced, for smooth edges
LEAD = 0.4  # seconds of silence before each scene's speech
WHITE, CREAM, BROWN, RED = "#ffffff", "#f6ead2", "#5b3a29", "#c8443c"


def write(draw: ImageDraw.ImageDraw, place: tuple[float, float, str], words: str, size: int, colour: str) -> None:
    """Write words; `place` is x, y and Pillow's anchor."""
    x, y, anchor = place
    font = ImageFont.load_default(size * SCALE)
    draw.text((x * SCALE, y * SCALE), words, font=font, fill=colour, anchor=anchor)


def box(*corners: float) -> list[float]:
    """Scale coordinates."""
    return [corner * SCALE for corner in corners]


def cup(draw: ImageDraw.ImageDraw, at: float) -> None:
    """A cup with rising steam, and the name."""
    draw.rectangle(box(0, 0, WIDTH, HEIGHT), fill="#1f6f78")
    draw.ellipse(box(150, 190, 250, 260), outline=CREAM, width=9 * SCALE)
    draw.rounded_rectangle(box(70, 170, 210, 290), radius=34 * SCALE, fill=CREAM)
    draw.ellipse(box(40, 282, 240, 306), fill=WHITE)
    for n in range(3):
        rise = [(105 + 35 * n + 9 * math.sin(y / 16 + at * 3 + n), 160 - y) for y in range(0, 90, 6)]
        draw.line([(x * SCALE, y * SCALE) for x, y in rise], fill=WHITE, width=5 * SCALE, joint="curve")
    write(draw, (420, 150, "mm"), "Harbour", 62, CREAM)
    write(draw, (420, 215, "mm"), "Coffee", 62, CREAM)


def menu(draw: ImageDraw.ImageDraw, at: float) -> None:
    """A board with prices; a line is drawn under one of them."""
    draw.rectangle(box(0, 0, WIDTH, HEIGHT), fill=BROWN)
    draw.rectangle(box(60, 30, 580, 330), fill="#22302b", outline="#a9805b", width=8 * SCALE)
    for row, (name, price) in enumerate((("Espresso", "$2.50"), ("Latte", "$3.80"), ("Cocoa", "$3.20"))):
        write(draw, (110, 100 + 80 * row, "lm"), name, 44, WHITE)
        write(draw, (530, 100 + 80 * row, "rm"), price, 44, CREAM)
    drawn = min(1.0, max(0.0, at - 1.5) / 1.5)
    if drawn:
        draw.line(box(110, 212, 110 + 420 * drawn, 212), fill="#e8b04a", width=6 * SCALE)


def harbour(draw: ImageDraw.ImageDraw, at: float) -> None:
    """A lighthouse, and a boat that passes."""
    draw.rectangle(box(0, 0, WIDTH, 230), fill="#9bd3f2")
    draw.rectangle(box(0, 230, WIDTH, HEIGHT), fill="#1d5f9c")
    for n in range(5):
        draw.rectangle(box(492, 80 + 30 * n, 548, 110 + 30 * n), fill=RED if n % 2 == 0 else WHITE)
    draw.polygon(box(484, 80, 556, 80, 520, 46), fill=BROWN)
    draw.polygon(box(440, 232, 600, 232, 568, 226, 472, 226), fill="#7d6b5d")
    x = 40 + 46 * at
    draw.polygon(box(x, 250, x + 110, 250, x + 90, 282, x + 18, 282), fill=WHITE)
    draw.polygon(box(x + 52, 242, x + 52, 170, x + 100, 242), fill=RED)
    write(draw, (250, 60, "mm"), "Pier 4", 54, BROWN)
    write(draw, (250, 112, "mm"), "daily 7:00 to 19:00", 30, BROWN)


def frames() -> Iterator[Image.Image]:
    """Draw every frame."""
    for scene, drawn in zip(SCENES, (cup, menu, harbour), strict=True):
        for n in range(round((scene.end - scene.start) * FPS)):
            image = Image.new("RGB", (WIDTH * SCALE, HEIGHT * SCALE))
            drawn(ImageDraw.Draw(image), n / FPS)
            yield image.resize((WIDTH, HEIGHT), Image.Resampling.LANCZOS)


def audio() -> np.ndarray:
    """Return the speech of all scenes, 16-bit mono."""
    whole = np.zeros(round(SCENES[-1].end * RATE), dtype=np.int16)
    for scene in SCENES:
        data, seconds = speak(scene.speech)
        if LEAD + seconds > scene.end - scene.start:
            raise SystemExit(f"{scene.speech!r} takes {seconds:.1f} s, longer than its scene")
        with wave.open(io.BytesIO(data)) as file:
            if file.getframerate() != RATE:
                raise SystemExit(f"The speech has {file.getframerate()} samples per second, expected {RATE}")
            samples = np.frombuffer(file.readframes(file.getnframes()), dtype=np.int16)
        at = round((scene.start + LEAD) * RATE)
        whole[at : at + len(samples)] = samples
    return whole


def main() -> None:
    """Encode the clip."""
    TARGET.parent.mkdir(exist_ok=True)
    with av.open(str(TARGET), "w", options={"movflags": "faststart"}) as output:
        seen = output.add_stream("libx264", rate=FPS, options={"crf": "23", "preset": "veryslow", "g": "75"})
        seen.width, seen.height, seen.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        heard = output.add_stream("aac", rate=RATE, layout="mono", bit_rate=48_000)
        for image in frames():
            output.mux(seen.encode(av.VideoFrame.from_image(image)))
        output.mux(seen.encode(None))
        resampler = av.AudioResampler(format="fltp", layout="mono", rate=RATE)
        frame = av.AudioFrame.from_ndarray(audio()[None, :], format="s16", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        for part in [*resampler.resample(frame), None]:
            output.mux(heard.encode(part))
    print(f"{TARGET.name}: {TARGET.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
