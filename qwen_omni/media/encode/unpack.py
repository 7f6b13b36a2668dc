"""Unpack what the rest of the package cannot read directly, into a temporary file that it can.

Animations (GIF, WebP, PNG, AVIF) become a video with the exact time of each frame, SILK becomes WAV, and a bare video
stream, whose packets have no times, becomes a video in which frame n is shown at n / rate. All later steps
see one regular file.
"""

import contextlib
import io
import math
import wave
from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files.safe_open import Reopenable, temporary
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.probe.probe import ANIMATED, SILK_RATE
from qwen_omni.media.work import Deadline, scratch_file

if TYPE_CHECKING:
    from av.video.frame import VideoFrame

_MILLISECOND = Fraction(1, 1000)
_CODING = {"preset": "ultrafast", "crf": "4", "bf": "0", "tune": "zerolatency", "g": "50"}
_USUAL_RATE = Fraction(25)
_MOST_PIXELS = 3840 * 2160  # of a frame of an animation; several times what the service uses


def unpack(
    source: Reopenable, info: MediaInfo, deadline: Deadline, *, shortest: Fraction
) -> tuple[MediaInfo, Reopenable]:
    """Unpack a source; return its facts and a handle that opens it, which owns the temporary file.

    Args:
        source: the file.
        info: its facts; `info.unpacked` says that it needs unpacking.
        deadline: ends the work.
        shortest: minimum seconds of a video; the last frame of an animation is held that long.

    Raises:
        UnreadableMediaError: it is damaged or truncated.
        UnsupportedMediaError: the package that reads it is not installed.
    """
    suffix = {"audio": ".wav", "image": ".png", "video": ".mp4"}[info.kind]
    with scratch_file(suffix, source.label, deadline, damage="is damaged or truncated") as path:
        if info.container == "silk":
            _decode_silk(source, path)
            made = info
        elif info.kind == "image":
            made = _write_image(source, path)
        elif info.container in ANIMATED:
            made = _write_animation(source, info, path, deadline, shortest)
        else:
            made = _write_bare_stream(source, info, path, deadline)
        return made, temporary(path, label=source.label)


def _decode_silk(source: Reopenable, path: Path) -> None:
    try:
        import pysilk  # noqa: PLC0415 - an extra; loads on first use
    except ImportError:
        raise UnsupportedMediaError(
            f"{source.label} is a SILK recording (WeChat, QQ) and no codec for it is installed. Install it with "
            "`pip install 'qwen-omni[silk]'`, or convert it to WAV."
        ) from None
    held = io.BytesIO()
    try:
        with source.open() as file:
            pysilk.decode(file, held, SILK_RATE)
    except Exception as error:  # noqa: BLE001 - its errors are of its own classes
        raise UnreadableMediaError(f"{source.label} is a SILK recording but is damaged: {error}.") from None
    with wave.open(str(path), "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(SILK_RATE)
        out.writeframes(held.getvalue())


def _write_image(source: Reopenable, path: Path) -> MediaInfo:
    """Write an image that only FFmpeg reads as PNG."""
    from qwen_omni.media.probe.container import open_container, video_stream  # noqa: PLC0415 - PyAV loads on first use
    from qwen_omni.media.probe.image import probe_image  # noqa: PLC0415 - Pillow loads on first use

    with source.open() as file, open_container(file, source.size_bytes) as container:
        frame = next(_decoded(container, video_stream(container)), None)
        if frame is None:
            raise UnreadableMediaError(f"{source.label} cannot be decoded; it is damaged or truncated.")
        frame.to_image().save(path, "PNG", compress_level=1)  # type: ignore[no-untyped-call]
    with path.open("rb") as file:
        made = probe_image(file, container="png", size_bytes=path.stat().st_size, label=source.label)
    return replace(made, unpacked=True)


def _write_animation(
    source: Reopenable, info: MediaInfo, path: Path, deadline: Deadline, shortest: Fraction
) -> MediaInfo:
    from qwen_omni.media.probe.image import frames_of, open_image  # noqa: PLC0415 - Pillow loads on first use

    end = Fraction(0)
    with (
        source.open() as file,
        open_image(file, info.container, source.label) as image,
        _Writer.opened(path, size := _unpacked_size(image.size), "yuv444p") as writer,
    ):
        for frame in frames_of(image, info.container, source.label):
            deadline.check()
            writer.show(_whole(frame.image, size), frame.begin)
            end = frame.end
        held = max(Fraction(0), shortest - end)
        writer.end(end + held)
    return replace(info, duration=end + held, video_duration=end + held, held=held)


def _unpacked_size(size: tuple[int, int]) -> tuple[int, int]:
    """Return the size in which the frames of an animation are written: no more pixels than any later step needs."""
    share = Fraction(math.sqrt(_MOST_PIXELS / (size[0] * size[1])))
    return size if share >= 1 else (max(1, int(size[0] * share)), max(1, int(size[1] * share)))


def _whole(image: Any, size: tuple[int, int]) -> "VideoFrame":  # noqa: ANN401  (Pillow loads on first use)
    """Return a frame of an animation as an FFmpeg frame, in this size and on white."""
    import av  # noqa: PLC0415 - loads on first use

    from qwen_omni.media.encode.images import plain_colours  # noqa: PLC0415 - Pillow loads on first use

    plain = plain_colours(image if image.size == size else image.convert("RGBA").resize(size))
    frame = av.VideoFrame(plain.width, plain.height, "rgb24")
    line, plane = plain.width * 3, frame.planes[0]
    data = plain.tobytes()
    if plane.line_size == line:
        plane.update(data)
    else:
        pad = bytes(plane.line_size - line)
        plane.update(b"".join(data[at : at + line] + pad for at in range(0, len(data), line)))
    return frame


def _write_bare_stream(source: Reopenable, info: MediaInfo, path: Path, deadline: Deadline) -> MediaInfo:
    from qwen_omni.media.probe.container import open_for_work, video_stream  # noqa: PLC0415 - PyAV loads on first use

    rate, count = info.fps or _USUAL_RATE, 0
    with source.open() as file, open_for_work(file, source.size_bytes, only="video", deadline=deadline) as container:
        stream = video_stream(container)
        if stream is None:
            raise UnreadableMediaError(f"{source.label} has no video that can be decoded.")
        frames = _decoded(container, stream)
        first = next(frames, None)
        if first is None:
            raise UnreadableMediaError(
                f"{source.label}: none of its frames can be decoded; it is damaged or truncated."
            )
        size = (first.width, first.height)
        with _Writer.opened(path, size, "yuv420p") as writer:
            writer.show(first, Fraction(0))
            for count, frame in enumerate(frames, 1):
                deadline.check()
                if (frame.width, frame.height) != size:
                    frame = frame.reformat(*size)  # noqa: PLW2901 - the same frame in the size of the first
                writer.show(frame, count / rate)
            writer.end((count + 1) / rate)
    lasts = (count + 1) / rate
    return replace(info, duration=lasts, video_duration=lasts, fps=rate, frame_count=count + 1)


def _decoded(container: Any, stream: Any) -> Iterator["VideoFrame"]:  # noqa: ANN401
    import av  # noqa: PLC0415 - loads on first use

    for packet in container.demux(stream):
        with contextlib.suppress(av.InvalidDataError):
            yield from packet.decode()


class _Writer:
    """Writes a temporary video that is nearly lossless, each frame at its own time."""

    def __init__(self, output: Any, size: tuple[int, int], pixels: str) -> None:  # noqa: ANN401
        self._output = output
        self._stream = output.add_stream("libx264", rate=1000, options=dict(_CODING))
        self._stream.width, self._stream.height = size
        self._stream.pix_fmt = pixels
        self._stream.codec_context.time_base = _MILLISECOND
        self._times: list[int] = []
        self._waiting: list[Any] = []

    @classmethod
    @contextlib.contextmanager
    def opened(cls, path: Path, size: tuple[int, int], pixels: str) -> Iterator["_Writer"]:
        import av  # noqa: PLC0415 - loads on first use

        with av.open(str(path), "w", format="mp4", options={"video_track_timescale": "1000"}) as output:
            yield cls(output, size, pixels)

    def show(self, frame: "VideoFrame", begin: Fraction) -> None:
        """Show a frame from `begin` on, in seconds."""
        frame.pts, frame.time_base = round(begin / _MILLISECOND), _MILLISECOND
        frame.pict_type = 0
        self._times.append(frame.pts)
        self._waiting += self._stream.encode(frame)
        self._write()

    def end(self, at: Fraction) -> None:
        """End the last frame at this second."""
        self._waiting += self._stream.encode(None)
        self._times.append(max(round(at / _MILLISECOND), self._times[-1] + 1))
        self._write()

    def _write(self) -> None:
        """Write the packets whose end is known: each lasts until the next frame."""
        while self._waiting and len(self._times) > 1:
            packet = self._waiting.pop(0)
            begin = self._times.pop(0)
            packet.duration = round((self._times[0] - begin) * _MILLISECOND / packet.time_base)
            self._output.mux(packet)
