"""Create small media at run time, so that the repository has no binary files."""

import io
import wave
from fractions import Fraction

import av
import numpy as np
from PIL import Image

RATE = 16_000


def picture(kind: str = "PNG", size: tuple[int, int] = (40, 30), **options) -> bytes:
    """Return a grey image in any of Pillow's formats."""
    return saved(Image.new("RGB", size, (90, 120, 150)), kind=kind, **options)


def saved(*images: Image.Image, kind: str = "PNG", **options) -> bytes:
    """Return a file of one image, or of several: pages or an animation."""
    buffer = io.BytesIO()
    if len(images) > 1:
        options = {**options, "save_all": True, "append_images": images[1:]}
    images[0].save(buffer, kind, **options)
    return buffer.getvalue()


def add_frames(output, stream, frames, tick: Fraction | float | None = None, size=None) -> None:
    """Encode frames to the end of a track, a tick apart; without one the encoder counts them.

    A frame may be a pair of its time, in ticks, and itself, and an array of grey or RGB values instead.
    """
    if size is not None:
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
    for number, frame in enumerate(frames):
        at, frame = frame if isinstance(frame, tuple) else (number, frame)  # noqa: PLW2901
        if isinstance(frame, np.ndarray):
            frame = av.VideoFrame.from_ndarray(frame, "gray" if frame.ndim == 2 else "rgb24")  # noqa: PLW2901
        if tick is not None:
            frame.pts, frame.time_base = at, Fraction(tick)
        output.mux(stream.encode(frame))
    output.mux(stream.encode(None))


def grey_frame(number: int, size: tuple[int, int]) -> np.ndarray:
    """Return a frame of one grey, brighter by one than that of the number before."""
    return np.full((size[1], size[0], 3), number % 250, np.uint8)


def add_samples(output, stream, pieces, layout: str = "mono") -> None:
    """Encode pieces of samples, one after the other, to the end of a track of their rate."""
    rate, at = stream.codec_context.sample_rate, 0
    for piece in pieces:
        frame = av.AudioFrame.from_ndarray(piece.reshape(1, -1), "flt" if piece.dtype == np.float32 else "s16", layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
        output.mux(stream.encode(frame))
        at += frame.samples
    output.mux(stream.encode(None))


def turned_picture(orientation: int, size: tuple[int, int] = (40, 30)) -> bytes:
    """Return a JPEG with an EXIF orientation."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return picture("JPEG", size, exif=exif.tobytes())


def wav(seconds: float = 1, channels: int = 1) -> bytes:
    """Return noise as 16-bit PCM."""
    buffer = io.BytesIO()
    samples = np.random.default_rng(1).integers(-9000, 9000, int(seconds * RATE) * channels, dtype=np.int16)
    with wave.open(buffer, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())
    return buffer.getvalue()


def sound(container: str, codec: str, seconds: float = 2, *, rate: int = RATE, cover: bool = False) -> bytes:
    """Return a tone in any of FFmpeg's containers, optionally with a cover image."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate, layout="mono")
        if cover:
            art = output.add_stream("mjpeg", rate=1)
            art.width, art.height, art.pix_fmt = 64, 48, "yuvj420p"
            art.disposition = av.stream.Disposition.attached_pic
        _write_tone(output, stream, seconds)
        if cover:
            add_frames(output, art, [av.VideoFrame(64, 48, "yuvj420p")])
    return buffer.getvalue()


def video(
    container: str = "mp4",
    codec: str = "mpeg4",
    seconds: float = 2,
    *,
    size: tuple[int, int] = (64, 48),
    sound_codec: str | None = None,
    rotation: int = 0,
) -> bytes:
    """Return a video of brightening frames at 10 fps, with a tone if an audio codec is given."""
    buffer = io.BytesIO()
    with av.open(buffer, "w", format=container) as output:
        stream = output.add_stream(codec, rate=10)
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        tone = output.add_stream(sound_codec, rate=RATE, layout="mono") if sound_codec else None
        add_frames(output, stream, (grey_frame(number, size) for number in range(round(seconds * 10))), Fraction(1, 10))
        if tone:
            _write_tone(output, tone, seconds)
    return buffer.getvalue()


def _write_tone(output, stream, seconds: float) -> None:
    resampler = av.AudioResampler(stream.codec_context.format or "s16", "mono", stream.codec_context.sample_rate)
    rate = stream.codec_context.sample_rate
    step = 160
    for start in range(0, round(seconds * rate), step):
        wave_form = 8000 * np.sin(np.arange(start, start + step) * 2 * np.pi * 440 / rate)
        frame = av.AudioFrame.from_ndarray(wave_form.astype(np.int16)[None, :], "s16", "mono")
        frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
        for piece in resampler.resample(frame):
            output.mux(stream.encode(piece))
    output.mux(stream.encode(None))
