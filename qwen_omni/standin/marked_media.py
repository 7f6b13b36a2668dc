"""Generate media that prove what reached the service: every second carries its own random code.

Second k shows a QR code of `codes[k]` on its own background colour, and plays the same digits as tone pairs starting
exactly at second k. Codes are drawn at generation time, so answers cannot be guessed. This module writes;
`standin.media.video_decode` and `standin.media.audio_decode` read, and share only the table of tones with it.
"""

from __future__ import annotations

import io
import random
import secrets
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import av
import numpy as np
import zxingcpp
from PIL import Image

from qwen_omni.standin.media.dtmf import REST_SECONDS, TONE_SECONDS, code_audio

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from av.audio.stream import AudioStream
    from av.container import OutputContainer
    from av.video.stream import VideoStream
    from numpy.typing import NDArray

_RATES = ("8000", "11025", "12000", "16000", "22050", "24000", "32000", "44100", "48000", "96000")
_MOST_TAKEN = sum(len(rate) - 3 for rate in _RATES)  # codes of four digits inside them
_CODE_DIGITS = 4
_QUIET_SHARE = 0.78  # of the frame's shorter side, covered by the QR code and its white border
_COLOURS = ((196, 48, 48), (48, 150, 60), (52, 78, 200), (214, 196, 40), (176, 60, 180), (40, 176, 186), (236, 132, 32))
_AUDIO_CODECS = {"mp3": "libmp3lame", "aac": "aac", "wav": "pcm_s16le", "m4a": "aac", "mp4": "aac", "flac": "flac"}
_STEP = 8192


@dataclass(frozen=True, slots=True, kw_only=True)
class TruthMedia:
    """A generated file and the codes of its seconds."""

    path: Path
    codes: tuple[str, ...]
    duration: float
    fps: Fraction | None = None
    size: tuple[int, int] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoding:
    """How a marked video is encoded; the default is fast and easy to read."""

    container: str | None = None
    codec: str = "libx264"
    pixel_format: str = "yuv420p"
    options: tuple[tuple[str, str], ...] = (("preset", "ultrafast"), ("crf", "23"))
    sound_codec: str = "aac"
    sample_rate: int = 24_000
    channels: int = 1
    sound_bitrate: int = 48_000
    sound_delay: float = 0.0


DEFAULT_ENCODING = Encoding()


def draw_codes(seconds: int, seed: int | None = None) -> tuple[str, ...]:
    """Draw one code per second, all different; `seed` makes the draw repeatable.

    No code is part of a common sample rate, since reports name the rate: "6000" would be found in "16000 Hz".
    """
    digits = max(_CODE_DIGITS, len(str(seconds)) + 1)
    numbers: random.Random = secrets.SystemRandom() if seed is None else random.Random(seed)  # noqa: S311 - not a secret
    drawn = numbers.sample(range(10 ** (digits - 1), 10**digits), seconds + _MOST_TAKEN)
    return tuple(code for code in map(str, drawn) if not any(code in rate for rate in _RATES))[:seconds]


def make_video(  # noqa: PLR0913 - one keyword per property of the video
    path: str | Path,
    *,
    codes: Sequence[str] | None = None,
    seconds: int = 10,
    size: tuple[int, int] = (640, 360),
    fps: float | Fraction = 25,
    sound: bool = True,
    seed: int | None = None,
    encoding: Encoding = DEFAULT_ENCODING,
) -> TruthMedia:
    """Write a video whose second k shows and plays `codes[k]`.

    Args:
        path: The file to write; its extension selects the container unless `encoding` does.
        codes: One string of digits per second; random by default.
        seconds: Number of codes to draw.
        size: Width and height in pixels, both even.
        fps: Frames per second; 23.976 and similar rates become exact fractions.
        sound: Whether the file has an audio track.
        seed: Makes the drawn codes repeatable.
        encoding: Codecs, container and sample rate.
    """
    path = Path(path)
    drawn = tuple(codes) if codes is not None else draw_codes(seconds, seed)
    rate = exact_rate(fps)
    with av.open(str(path), "w", format=encoding.container) as output:
        video = _video_stream(output, rate, size, encoding)
        track = _audio_stream(output, encoding) if sound else None
        samples = _track(drawn, encoding) if track else None
        done = 0
        for frame in _frames(drawn, rate, size, encoding.pixel_format):
            output.mux(video.encode(frame))
            if track is not None and samples is not None:
                upto = int(Fraction((frame.pts or 0) + 1) / rate * encoding.sample_rate)
                done = _encode_audio(output, track, samples, done, upto)
        output.mux(video.encode(None))
        if track is not None and samples is not None:
            _encode_audio(output, track, samples, done, None)
            output.mux(track.encode(None))
    return TruthMedia(path=path, codes=drawn, duration=float(len(drawn)), fps=rate, size=size)


def make_audio(  # noqa: PLR0913 - one keyword per property of the recording
    path: str | Path,
    *,
    codes: Sequence[str] | None = None,
    seconds: int = 10,
    sample_rate: int = 16_000,
    channels: int = 1,
    bitrate: int = 64_000,
    seed: int | None = None,
) -> TruthMedia:
    """Write an audio file whose second k plays `codes[k]`; the extension of `path` selects the format."""
    path = Path(path)
    drawn = tuple(codes) if codes is not None else draw_codes(seconds, seed)
    encoding = Encoding(
        sound_codec=_AUDIO_CODECS[path.suffix.lstrip(".").lower()],
        sample_rate=sample_rate,
        channels=channels,
        sound_bitrate=bitrate,
    )
    container = "adts" if path.suffix.lower() == ".aac" else None
    with av.open(str(path), "w", format=container) as output:
        track = _audio_stream(output, encoding)
        _encode_audio(output, track, _track(drawn, encoding), 0, None)
        output.mux(track.encode(None))
    return TruthMedia(path=path, codes=drawn, duration=float(len(drawn)))


def make_image(code: str, size: tuple[int, int] = (640, 360), image_format: str = "PNG") -> bytes:
    """Return an image showing `code`, as the bytes of an image file."""
    held = io.BytesIO()
    Image.fromarray(draw_frame(code, 0, size)).save(held, image_format)
    return held.getvalue()


def make_frames(codes: Sequence[str], size: tuple[int, int] = (640, 360)) -> list[bytes]:
    """Return one JPEG per code, for a frame list."""
    return [make_image(code, size, "JPEG") for code in codes]


def exact_rate(fps: float | Fraction) -> Fraction:
    """Return the fraction that a frame rate stands for: 23.976 is 24000/1001."""
    if isinstance(fps, Fraction):
        return fps
    ntsc = Fraction(round(fps * 1001 / 1000) * 1000, 1001)
    return ntsc if fps != int(fps) and abs(float(ntsc) - fps) < 0.005 else Fraction(fps).limit_denominator(1001)  # noqa: PLR2004


def draw_frame(code: str, second: int, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Draw the RGB frame of one second: its colour, with its code in the middle."""
    width, height = size
    colour = np.array(_COLOURS[second % len(_COLOURS)], np.uint8)
    frame = np.tile(colour, (height, width, 1))
    barcode = zxingcpp.create_barcode(code, zxingcpp.BarcodeFormat.QRCode)
    modules = np.array(zxingcpp.write_barcode_to_image(barcode))
    scale = max(1, int(min(width, height) * _QUIET_SHARE) // modules.shape[0])
    square = np.kron(modules, np.ones((scale, scale), np.uint8))
    top, left = (height - square.shape[0]) // 2 & ~1, (width - square.shape[1]) // 2 & ~1
    if top >= 0 and left >= 0:
        frame[top : top + square.shape[0], left : left + square.shape[1]] = square[..., None]
    return frame


def _frames(codes: Sequence[str], rate: Fraction, size: tuple[int, int], pixel_format: str) -> Iterator[av.VideoFrame]:
    """Yield every frame of the video; the frames of a second share one drawing, except for a moving bar."""
    shown, second = 0, -1
    planes: NDArray[np.uint8] = np.zeros(0, np.uint8)
    while shown < len(codes) * rate:
        if int(shown / rate) != second:
            second = int(shown / rate)
            drawn = av.VideoFrame.from_ndarray(draw_frame(codes[second], second, size), format="rgb24")
            planes = drawn.reformat(format="yuv420p").to_ndarray().astype(np.uint8, copy=False)
        frame = av.VideoFrame.from_ndarray(_with_bar(planes, size, shown), format="yuv420p")
        if pixel_format != "yuv420p":
            frame = frame.reformat(format=pixel_format)
        frame.pts, frame.time_base = shown, 1 / rate
        yield frame
        shown += 1


def _with_bar(planes: NDArray[np.uint8], size: tuple[int, int], shown: int) -> NDArray[np.uint8]:
    """Draw a small bar at the lower edge that moves with every frame, so that no two are alike."""
    width, height = size
    thick, long = max(2, height // 60), max(4, width // 24)
    left = shown * max(2, width // 160) % (width - long)
    moved = planes.copy()
    moved[height - thick : height, left : left + long] = 235
    return moved


def _video_stream(output: OutputContainer, rate: Fraction, size: tuple[int, int], encoding: Encoding) -> VideoStream:
    stream = cast("VideoStream", output.add_stream(encoding.codec, rate=rate, options=dict(encoding.options)))
    stream.width, stream.height = size
    stream.pix_fmt = encoding.pixel_format
    stream.time_base = 1 / rate
    return stream


def _audio_stream(output: OutputContainer, encoding: Encoding) -> AudioStream:
    layout: Any = "stereo" if encoding.channels == 2 else "mono"  # noqa: PLR2004 - two channels are stereo
    # FFmpeg's thorough AAC search takes longer than encoding all frames; two clean tones do not need it.
    options = {"aac_coder": "fast"} if encoding.sound_codec == "aac" else {}
    stream = cast(
        "AudioStream",
        output.add_stream(encoding.sound_codec, rate=encoding.sample_rate, layout=layout, options=options),
    )
    if not encoding.sound_codec.startswith(("pcm", "flac")):
        stream.bit_rate = encoding.sound_bitrate
    return stream


def _track(codes: Sequence[str], encoding: Encoding) -> NDArray[np.int16]:
    """Render the whole audio track: the digits of `codes[k]` start at sample k times rate, plus the requested delay."""
    rate = encoding.sample_rate
    samples = np.zeros(len(codes) * rate, np.float32)
    digits = max((len(code) for code in codes), default=1) or 1  # a silent second has none
    tone_seconds = min(TONE_SECONDS, 0.78 / digits - REST_SECONDS)
    for second, code in enumerate(codes):
        start = round((second + encoding.sound_delay) * rate)
        wave = code_audio(code, rate, tone_seconds=tone_seconds)[: max(0, len(samples) - start)]
        samples[start : start + len(wave)] += wave
    return (samples * 32767).astype(np.int16)


def _encode_audio(
    output: OutputContainer, track: AudioStream, samples: NDArray[np.int16], done: int, upto: int | None
) -> int:
    """Encode complete blocks of the samples between `done` and `upto`; return the next sample."""
    end = len(samples) if upto is None else min(upto, len(samples))
    while done < end and (upto is None or done + _STEP <= end):
        piece = samples[done : min(done + _STEP, end)]
        channels = track.codec_context.channels
        frame = av.AudioFrame.from_ndarray(
            np.repeat(piece, channels).reshape(1, -1), format="s16", layout=track.codec_context.layout.name
        )
        frame.sample_rate, frame.pts = track.codec_context.sample_rate, done
        frame.time_base = Fraction(1, frame.sample_rate)
        output.mux(track.encode(frame))
        done += len(piece)
    return done
