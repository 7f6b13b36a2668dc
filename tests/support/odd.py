"""Unusual media files, created at run time: containers, codecs, dimensions and timestamps found in real files.

Every video shows and plays the codes of its seconds, so that results can be read back. `ODD` lists them all.
"""

# ruff: noqa: E501 - one line per odd file reads as a table
import io
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from qwen_omni.standin import marked_media
from qwen_omni.standin.marked_media import Encoding, TruthMedia
from tests.support import making

SECONDS = 4
FAST = (("preset", "ultrafast"), ("crf", "23"), ("g", "25"))


@dataclass(frozen=True, slots=True)
class Odd:
    """One unusual file: how it is made, and the expected result."""

    make: Callable[[Path], TruthMedia]
    size: tuple[int, int] | None = (320, 180)
    sound: bool = True
    marks: bool = True
    slack: float = 0.3
    late: float = 0.0  # seconds by which the file's own audio is late


def film(name: str, *, size=(320, 180), fps=25, sound=True, **encoding) -> Callable[[Path], TruthMedia]:
    """Make a marked video with this name and these properties."""

    def make(folder: Path) -> TruthMedia:
        settings = replace(Encoding(options=FAST), **encoding)
        return marked_media.make_video(
            folder / name, seconds=SECONDS, size=size, fps=fps, sound=sound, seed=7, encoding=settings
        )

    return make


def copied(name: str, change: Callable[[Path, Path], None], **options) -> Callable[[Path], TruthMedia]:
    """Make a marked video, then copy its streams into another file with changes."""

    def make(folder: Path) -> TruthMedia:
        plain = film("plain.mp4", **options)(folder)
        change(plain.path, folder / name)
        return replace(plain, path=folder / name)

    return make


def politely(make: Callable[[Path], TruthMedia]) -> Callable[[Path], TruthMedia]:
    """Restore normal scheduling: as root, SVT-AV1 raises the priority of the calling thread above all others."""

    def made(folder: Path) -> TruthMedia:
        try:
            return make(folder)
        finally:
            if hasattr(os, "sched_setscheduler"):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))

    return made


def turned(degrees: int) -> Callable[[Path, Path], None]:
    """Set the rotation of the video in the file."""

    def change(source: Path, target: Path) -> None:
        copy(source, target, prepare=lambda picture: picture.set_display_rotation(degrees))

    return change


def copy(source, target, *, format=None, shift=0.0, sound_shift=0.0, prepare=None, options=None, extra=None) -> None:  # noqa: A002, PLR0913
    """Copy streams, with their timestamps shifted by some seconds."""
    with (
        av.open(str(source)) as old,
        av.open(target if hasattr(target, "write") else str(target), "w", format=format, options=options or {}) as new,
    ):
        streams = {stream.index: new.add_stream_from_template(stream) for stream in old.streams}
        if prepare:
            prepare(streams[0])
        more = extra(new) if extra else None
        for packet in old.demux():
            if packet.dts is None:
                continue
            moved = shift + (sound_shift if packet.stream.type == "audio" else 0)
            ticks = round(moved / packet.time_base)
            packet.pts, packet.dts = packet.pts + ticks, packet.dts + ticks
            packet.stream = streams[packet.stream.index]
            new.mux(packet)
        if more:
            more()


def two_tracks(source: Path, target: Path) -> None:
    """Add a second audio track, of noise, after the first."""

    def extra(new):
        track = new.add_stream("aac", rate=24_000, layout="mono")

        def write():
            starts = range(0, SECONDS * 24_000, 1024)
            noise = (np.random.default_rng(start).integers(-9000, 9000, 1024, dtype=np.int16) for start in starts)
            making.add_samples(new, track, noise)

        return write

    copy(source, target, extra=extra)


def with_cover(source: Path, target: Path) -> None:
    """Add an image of another size as cover."""

    def extra(new):
        art = new.add_stream("mjpeg", rate=1)
        art.width, art.height, art.pix_fmt = 64, 64, "yuvj420p"
        art.disposition = av.stream.Disposition.attached_pic

        def write():
            making.add_frames(new, art, [av.VideoFrame(64, 64, "yuvj420p")])

        return write

    copy(source, target, extra=extra)


class _OneWay(io.RawIOBase):
    """A file that is not seekable while it is written, so that it contains no length."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("wb")

    def writable(self) -> bool:
        return True

    def write(self, data) -> int:
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()


def unfinished(kind: str) -> Callable[[Path, Path], None]:
    """Write a file as a live stream does: without a length or an index."""

    def change(source: Path, target: Path) -> None:
        out = _OneWay(target)
        copy(source, out, format=kind)
        out.close()

    return change


def written(
    name: str, frames: Callable[[], object], codec="libx264", size=(320, 180), pixel="yuv420p", prepare=None
) -> Callable[[Path], TruthMedia]:
    """Make a silent video from (seconds, image) pairs, each at its own time."""

    def make(folder: Path) -> TruthMedia:
        path = folder / name
        codes = marked_media.draw_codes(SECONDS, 7)
        with av.open(str(path), "w") as output:
            stream = output.add_stream(codec, rate=25, options=dict(FAST) if codec == "libx264" else {})
            stream.width, stream.height = size
            stream.pix_fmt = pixel
            stream.codec_context.time_base = Fraction(1, 1000)
            stream.time_base = Fraction(1, 1000)
            if prepare:
                prepare(stream)
            for at in frames():
                second = min(int(at), SECONDS - 1)
                drawn = av.VideoFrame.from_ndarray(marked_media.draw_frame(codes[second], second, size), "rgb24")
                frame = drawn.reformat(format=pixel)
                frame.pts, frame.time_base = round(at * 1000), Fraction(1, 1000)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
        return TruthMedia(path=path, codes=codes, duration=float(SECONDS), size=size)

    return make


def _steady():
    return [number / 25 for number in range(SECONDS * 25)]


def _unsteady():
    """Alternate between five and fifty frames per second."""
    at, times = 0.0, []
    while at < SECONDS - 0.001:
        times.append(round(at, 3))
        at += 0.2 if int(at) % 2 else 0.02
    return times


def _anamorphic(stream) -> None:
    stream.codec_context.sample_aspect_ratio = Fraction(2, 1)


def _interlaced(stream) -> None:
    stream.codec_context.options = {**dict(FAST), "x264-params": "tff=1:interlaced=1"}


def recording(name: str, codec: str, *, rate=24_000, layout="mono", container=None) -> Callable[[Path], TruthMedia]:
    """Make an audio file in any codec and layout."""

    def make(folder: Path) -> TruthMedia:
        plain = marked_media.make_audio(folder / "plain.wav", seconds=SECONDS, sample_rate=24_000, seed=7)
        with av.open(str(plain.path)) as old, av.open(str(folder / name), "w", format=container) as new:
            track = new.add_stream(codec, rate=rate, layout=layout)
            track.bit_rate = 128_000
            resampler = av.AudioResampler(track.codec_context.format or "s16", layout, rate)
            for frame in old.decode(audio=0):
                for piece in resampler.resample(frame):
                    new.mux(track.encode(piece))
            for piece in resampler.resample(None):
                new.mux(track.encode(piece))
            new.mux(track.encode(None))
        return replace(plain, path=folder / name)

    return make


def gif(folder: Path) -> TruthMedia:
    """Make an animation with one image per second."""
    codes = marked_media.draw_codes(SECONDS, 7)
    pictures = [Image.fromarray(marked_media.draw_frame(code, at, (320, 180))) for at, code in enumerate(codes)]
    pictures[0].save(folder / "a.gif", save_all=True, append_images=pictures[1:], duration=1000)
    return TruthMedia(path=folder / "a.gif", codes=codes, duration=SECONDS, size=(320, 180))


def surround(folder: Path) -> TruthMedia:
    """Make a video with 5.1 audio in which every channel plays the codes."""
    plain = film("plain.mkv", sound=True, container="matroska")(folder)
    with av.open(str(plain.path)) as old, av.open(str(folder / "s.mkv"), "w") as new:
        picture = new.add_stream_from_template(old.streams.video[0])
        track = new.add_stream("ac3", rate=48_000, layout="5.1")
        resampler = av.AudioResampler("fltp", "5.1", 48_000)
        for packet in old.demux():
            if packet.dts is None:
                continue
            if packet.stream.type == "video":
                packet.stream = picture
                new.mux(packet)
                continue
            for frame in packet.decode():
                for piece in resampler.resample(frame):
                    new.mux(track.encode(piece))
        for piece in resampler.resample(None):
            new.mux(track.encode(piece))
        new.mux(track.encode(None))
    return replace(plain, path=folder / "s.mkv")


_MPEG = {"options": (("b", "2000000"),)}
_X265 = (("preset", "ultrafast"), ("x265-params", "log-level=none"))

ODD: dict[str, Odd] = {
    "mp4 h264": Odd(film("a.mp4")),
    "mkv h264": Odd(film("a.mkv")),
    "mov h264": Odd(film("a.mov")),
    "webm vp9 opus": Odd(film("a.webm", codec="libvpx-vp9", options=(("deadline", "realtime"), ("cpu-used", "8"), ("b", "1000000")), sound_codec="libopus", sample_rate=48_000)),
    "avi msmpeg4 mp3": Odd(film("a.avi", codec="msmpeg4", sound_codec="libmp3lame", sample_rate=44_100, **_MPEG)),
    "avi mpeg4 pcm": Odd(film("a.avi", codec="mpeg4", sound_codec="pcm_s16le", **_MPEG)),
    "flv h264": Odd(film("a.flv", sample_rate=44_100)),
    "flv sorenson mp3": Odd(film("b.flv", codec="flv", sound_codec="libmp3lame", sample_rate=44_100, **_MPEG)),
    "wmv": Odd(film("a.wmv", codec="wmv2", sound_codec="wmav2", sample_rate=44_100, sound_bitrate=128_000, **_MPEG)),
    "3gp mpeg4": Odd(film("a.3gp", codec="mpeg4", **_MPEG)),
    "3gp h263 amr": Odd(film("b.3gp", codec="h263", size=(352, 288), fps=Fraction(30000, 1001), sound_codec="libopencore_amrnb", sample_rate=8_000, sound_bitrate=12_200, **_MPEG), size=(352, 264)),
    "transport stream": Odd(film("a.ts", container="mpegts")),
    "program stream mpeg2": Odd(film("a.mpg", codec="mpeg2video", sound_codec="mp2", sample_rate=44_100, sound_bitrate=128_000, container="mpeg", **_MPEG)),
    "program stream mpeg1": Odd(film("b.mpg", codec="mpeg1video", sound_codec="mp2", sample_rate=44_100, sound_bitrate=128_000, container="mpeg", **_MPEG)),
    "hevc": Odd(film("h.mp4", codec="libx265", options=_X265)),
    "hevc 10 bit": Odd(film("t.mp4", codec="libx265", options=_X265, pixel_format="yuv420p10le")),
    "hevc hdr": Odd(film("d.mp4", codec="libx265", options=(("preset", "ultrafast"), ("x265-params", "log-level=none:colorprim=bt2020:transfer=smpte2084:colormatrix=bt2020nc")), pixel_format="yuv420p10le")),
    "av1": Odd(politely(film("a1.mp4", codec="libsvtav1", options=(("preset", "12"), ("svtav1-params", "logical-processors=1"))))),
    "prores pcm": Odd(film("p.mov", codec="prores_ks", options=(), pixel_format="yuv422p10le", sound_codec="pcm_s16le")),
    "prores 4444": Odd(film("q.mov", codec="prores_ks", options=(), pixel_format="yuva444p10le")),
    "mjpeg avi": Odd(film("m.avi", codec="mjpeg", options=(), pixel_format="yuvj420p", sound_codec="pcm_s16le")),
    "ffv1 flac": Odd(film("f.mkv", codec="ffv1", options=(), sound_codec="flac")),
    "h264 4:4:4": Odd(film("y.mp4", pixel_format="yuv444p")),
    "h264 4:2:2 10 bit": Odd(film("z.mkv", pixel_format="yuv422p10le")),
    "h264 b-frames": Odd(film("n.mp4", options=(("preset", "medium"), ("bf", "3"), ("g", "250")))),
    "h264 open gop": Odd(film("og.mp4", options=(("preset", "medium"), ("x264-params", "open-gop=1:keyint=25:bframes=3")))),
    "h264 intra refresh": Odd(film("ir.mkv", options=(("preset", "medium"), ("x264-params", "intra-refresh=1:keyint=25")))),
    "no sound": Odd(film("s.mp4", sound=False), sound=False),
    "sound at 8 kHz": Odd(film("k.mkv", sound_codec="pcm_s16le", sample_rate=8_000)),
    "stereo at 44.1 kHz": Odd(film("st.mp4", sample_rate=44_100, channels=2)),
    "5.1 sound": Odd(surround),
    "late sound": Odd(film("l.mp4", sound_delay=0.1), late=0.1),
    "turned 90": Odd(copied("r90.mp4", turned(90)), size=(180, 320)),
    "turned 180": Odd(copied("r180.mp4", turned(180))),
    "turned 270": Odd(copied("r270.mov", turned(270)), size=(180, 320)),
    "odd sides": Odd(written("o.mkv", _steady, size=(321, 181), pixel="yuv444p"), size=(320, 180), sound=False),
    "tiny": Odd(film("ti.mp4", size=(16, 16)), size=(16, 16), marks=False),
    "one pixel wide": Odd(written("w.mov", _steady, codec="png", size=(1, 1000), pixel="rgb24"), size=(2, 1000), sound=False, marks=False),
    "one pixel high": Odd(written("v.mov", _steady, codec="png", size=(1000, 1), pixel="rgb24"), size=(1000, 2), sound=False, marks=False),
    "large": Odd(film("big.mp4", size=(2560, 1440)), size=(1280, 720)),
    "portrait": Odd(film("por.mp4", size=(1080, 1920)), size=(720, 1280)),
    "anamorphic": Odd(written("an.mp4", _steady, prepare=_anamorphic, size=(320, 240)), size=(320, 120), sound=False),
    "interlaced": Odd(written("in.mp4", _steady, size=(640, 360), prepare=_interlaced), size=(640, 360), sound=False),
    "variable frame rate": Odd(written("vfr.mp4", _unsteady), sound=False),
    "variable frame rate mkv": Odd(written("vfr.mkv", _unsteady), sound=False),
    "low frame rate": Odd(film("low.mp4", fps=3), slack=0.4),
    "23.976 fps": Odd(film("ntsc.mp4", fps=23.976)),
    "59.94 fps": Odd(film("fast.mp4", fps=59.94)),
    "edit list with offset": Odd(copied("e.mp4", lambda old, new: copy(old, new, shift=1.0))),
    "negative times": Odd(copied("neg.mkv", lambda old, new: copy(old, new, shift=-0.04, options={"avoid_negative_ts": "disabled"}))),
    "late start": Odd(copied("ls.ts", lambda old, new: copy(old, new, shift=3.0, format="mpegts"))),
    "missing duration mkv": Odd(copied("live.mkv", unfinished("matroska"))),
    "missing duration flv": Odd(copied("live.flv", unfinished("flv"), sample_rate=44_100)),
    "fragments": Odd(copied("frag.mp4", lambda old, new: copy(old, new, options={"movflags": "frag_keyframe+empty_moov"}))),
    "two sound tracks": Odd(copied("two.mp4", two_tracks)),
    "cover picture": Odd(copied("cover.mp4", with_cover)),
    "mp3 alone": Odd(recording("a.mp3", "libmp3lame"), size=None),
    "m4a alone": Odd(recording("a.m4a", "aac"), size=None),
    "ogg opus alone": Odd(recording("a.ogg", "libopus", rate=48_000), size=None),
    "flac alone": Odd(recording("a.flac", "flac"), size=None),
    "wav 8 kHz alone": Odd(recording("a.wav", "pcm_s16le", rate=8_000), size=None),
    "wav 5.1 alone": Odd(recording("six.wav", "pcm_s16le", layout="5.1"), size=None),
    "wma alone": Odd(recording("a.wma", "wmav2", rate=44_100, container="asf"), size=None),
    "aiff alone": Odd(recording("a.aiff", "pcm_s16be"), size=None),
    "gif": Odd(gif, sound=False),
}  # fmt: skip
