"""Look at sound and video with PyAV. One of the few modules that import `av`; `media.probe` loads it when needed.

FFmpeg is given our file object and nothing else: only demuxers of single plain files are allowed, no protocol at
all, and the reading is bounded, so that damaged bytes end in an error and never in a long wait.
"""

import contextlib
import io
from collections.abc import Iterator
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, cast

import av
from av.stream import Disposition

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.info import MediaInfo

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.codec import CodecContext
    from av.container import InputContainer
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

# FFmpeg's demuxer names → our short names. Whatever follows references or playlists is left out on purpose:
# hls, dash, concat, imf, image2, sdp, rtp, rtsp, ffmetadata, tty, lavfi, subtitles.
_DEMUXERS = {
    "mov,mp4,m4a,3gp,3g2,mj2": "mp4",
    "matroska,webm": "mkv",
    "avi": "avi",
    "flv": "flv",
    "asf": "wmv",
    "mpegts": "mpegts",
    "mpeg": "mpeg",
    "wav": "wav",
    "mp3": "mp3",
    "aac": "aac",
    "ogg": "ogg",
    "flac": "flac",
    "amr": "amr",
    "caf": "caf",
    "aiff": "aiff",
}
_FAMILIES = {"mov": "mp4", "3gp": "mp4", "m4a": "mp4", "webm": "mkv"}  # kinds that share a demuxer
_MEDIA_TYPES = {
    "mov": "video/quicktime",
    "mkv": "video/x-matroska",
    "avi": "video/x-msvideo",
    "flv": "video/x-flv",
    "wmv": "video/x-ms-wmv",
    "mpegts": "video/mp2t",
    "3gp": "{kind}/3gpp",
    "m4a": "{kind}/mp4",
    "mp3": "audio/mpeg",
}
_NOT_DEPENDABLE = frozenset({"aac"})  # its duration is guessed from the bit rate of the first frames
_CONTAINER_OPTIONS = {
    "format_whitelist": ",".join(_DEMUXERS),
    "protocol_whitelist": "",
    "probesize": "5000000",  # bytes
    "analyzeduration": "5000000",  # microseconds
}
_CODEC_OPTIONS = {"max_pixels": "89478485", "threads": "1"}  # as many pixels as `stills` decodes
# PyAV 14.2 crashes with them when streams turn up late, as in FLV; 18.1 is known to be right. Where they are left
# out, only our own decoding is bound by the number of pixels, not FFmpeg's first look.
_TAKES_CODEC_OPTIONS = int(av.__version__.partition(".")[0]) >= 18  # noqa: PLR2004
_MOST_TRIES = 500  # packets until the first picture or sound must have been decoded
_MOST_PACKETS = 2_000_000  # packets of a walk: a day of sound
_MOST_READ = 16 * 2**20  # bytes, beside a few times the file, until FFmpeg goes round in circles


class _Window:
    """A file for FFmpeg without its name, and with an end to what may be read."""

    def __init__(self, file: IO[bytes], size_bytes: int) -> None:
        self._file = file
        self._left = 4 * size_bytes + _MOST_READ

    def read(self, size: int) -> bytes:
        if self.exhausted:
            return b""  # an exception would be kept by PyAV, and old versions fail when it comes twice
        block = self._file.read(size)
        self._left -= max(len(block), 4096)  # a read of nothing counts too
        return block

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()

    @property
    def exhausted(self) -> bool:
        """Whether FFmpeg has read so much that it must be going round in circles."""
        return self._left <= 0


def probe_stream(file: IO[bytes], *, begins_as: str | None, size_bytes: int, label: str) -> MediaInfo:
    """Read the streams of one sound or video file and decode the first picture or sound of it.

    Args:
        file: open and seekable.
        begins_as: the container by its first bytes, where they are known.
        size_bytes: size of the file.
        label: how to name it in errors.

    Raises:
        UnreadableMediaError: FFmpeg cannot read it, or there is neither picture nor sound in it.
    """
    try:
        with _open(file, size_bytes) as container:
            container_name = _container_name(container, begins_as)
            facts = _facts(container)
            duration = _told_duration(container)
        if duration is None or container_name in _NOT_DEPENDABLE:
            with _open(file, size_bytes) as container:
                duration = _walked_duration(container) or duration
    except Exception as error:  # noqa: BLE001 - FFmpeg and its bindings raise anything for damaged bytes
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        kind = f"begins like {begins_as} but" if begins_as else "is no media or"
        raise UnreadableMediaError(f"{label} {kind} is damaged or cut ({size_bytes:,} bytes): {reason}.") from None
    kind = facts["kind"]
    media_type = _MEDIA_TYPES.get(container_name, f"{{kind}}/{container_name}").format(kind=kind)
    return MediaInfo(container=container_name, media_type=media_type, size_bytes=size_bytes, duration=duration, **facts)


@contextlib.contextmanager
def _open(file: IO[bytes], size_bytes: int) -> Iterator["InputContainer"]:
    file.seek(0)
    window = _Window(file, size_bytes)
    with av.open(
        window,
        "r",
        options=_CODEC_OPTIONS if _TAKES_CODEC_OPTIONS else None,
        container_options=_CONTAINER_OPTIONS,
        metadata_errors="replace",
        io_open=_refuse,
    ) as container:
        yield container
    if window.exhausted:
        raise UnreadableMediaError("reading it does not come to an end")


def _refuse(url: str, _flags: int, _options: dict[str, str]) -> None:
    raise PermissionError(f"the file wants to open {url!r}")


def _container_name(container: "InputContainer", begins_as: str | None) -> str:
    name = _DEMUXERS[container.format.name]
    return begins_as if begins_as is not None and _FAMILIES.get(begins_as, begins_as) == name else name


def _facts(container: "InputContainer") -> dict[str, Any]:
    """Collect what differs between sound and video."""
    pictures = [stream for stream in container.streams.video if not stream.disposition & Disposition.attached_pic]
    sounds = [stream for stream in container.streams.audio if _has_decoder(stream)]
    sound = _sound_facts(sounds[0].codec_context) if sounds else {}
    if pictures:
        return {"kind": "video", **_picture_facts(container, pictures[0]), **sound}
    if not sounds:
        raise UnreadableMediaError("it holds neither a picture nor sound that can be decoded")
    if _first_frame(container, sounds[0]) is None:
        raise UnreadableMediaError("no sound can be decoded")
    return {"kind": "audio", **sound}


def _picture_facts(container: "InputContainer", stream: "VideoStream") -> dict[str, Any]:
    if not _has_decoder(stream):
        raise UnreadableMediaError("there is no decoder for its pictures")
    frame = cast("VideoFrame | None", _first_frame(container, stream))
    if frame is None:
        raise UnreadableMediaError("no picture can be decoded")
    rotation = round(-frame.rotation / 90) * 90 % 360  # FFmpeg tells it counter-clockwise
    sides = (frame.height, frame.width) if rotation in (90, 270) else (frame.width, frame.height)
    rate = stream.average_rate or stream.guessed_rate
    return {
        "width": sides[0],
        "height": sides[1],
        "fps": Fraction(rate) if rate else None,
        "frame_count": stream.frames or None,
        "video_codec": stream.codec_context.codec.canonical_name,
        "rotation": rotation,
    }


def _sound_facts(context: "AudioCodecContext") -> dict[str, Any]:
    return {
        "audio_codec": context.codec.canonical_name,
        "sample_rate": context.sample_rate or None,
        "channels": context.layout.nb_channels or None,
    }


def _has_decoder(stream: "AudioStream | VideoStream") -> bool:
    context: CodecContext | None = stream.codec_context  # the stubs do not say that it may be missing
    return context is not None


def _first_frame(container: "InputContainer", stream: "AudioStream | VideoStream") -> "AudioFrame | VideoFrame | None":
    """Decode the first picture or sound; broken packets before it are passed over, some files begin with them."""
    stream.codec_context.options = _CODEC_OPTIONS
    for tries, packet in enumerate(container.demux(stream)):
        if tries >= _MOST_TRIES:
            break
        try:
            frames = packet.decode()
        except av.InvalidDataError:
            continue
        if frames:
            return cast("AudioFrame | VideoFrame", frames[0])
    return None


def _told_duration(container: "InputContainer") -> Fraction | None:
    if container.duration is not None and container.duration > 0:
        return Fraction(container.duration, av.time_base)
    told = [stream.duration * stream.time_base for stream in _timed(container) if stream.duration and stream.time_base]
    return max(told, default=None)


def _walked_duration(container: "InputContainer") -> Fraction | None:
    """Read every packet's times; `None` if there are none, or too many packets to look at."""
    start: Fraction | None = None
    end: Fraction | None = None
    for count, packet in enumerate(container.demux(*_timed(container))):
        if count > _MOST_PACKETS:
            return None
        if packet.size == 0 or packet.pts is None or not packet.time_base:
            continue
        begins = packet.pts * packet.time_base
        ends = begins + (packet.duration or 0) * packet.time_base
        start = begins if start is None else min(start, begins)
        end = ends if end is None else max(end, ends)
    return None if start is None or end is None or end <= start else end - start


def _timed(container: "InputContainer") -> "list[Stream]":
    return [*container.streams.video, *container.streams.audio]
