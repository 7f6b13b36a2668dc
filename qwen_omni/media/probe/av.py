"""Inspect audio and video with PyAV. One of the few modules that import `av`; `media.probe.probe` loads it when needed.

The file is opened by `media.probe.container`, which keeps FFmpeg from following references out of it.

Of several audio tracks, as in screen recordings and dubbed videos, the default one is used unless it is silent, the
requested one, or all of them mixed. A track is named by its position among them, from 0, as in FFmpeg's `0:a:1`.
"""

import contextlib
import re
import struct
from collections import Counter
from collections.abc import Callable, Iterator
from fractions import Fraction
from typing import IO, TYPE_CHECKING, Any, Literal, cast

import av
from av.stream import Discard, Disposition

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files.tempfiles import machine_fault
from qwen_omni.media.info import AudioTrack, AudioTrackChoice, ClockBreak, MediaInfo, exact, no_such_track
from qwen_omni.media.probe.container import (
    CODEC_OPTIONS,
    DEMUXERS,
    IMAGES,
    INDEXED,
    MOST_PIXELS,
    UNTIMED,
    audio_streams,
    base_of,
    frames_of,
    has_decoder,
    levels_of,
    open_container,
    packets_of,
    video_stream,
)
from qwen_omni.media.probe.mp4 import check_boxes, is_upright, second_edit
from qwen_omni.media.probe.timeline import Walk, walk
from qwen_omni.media.probe.truncation import (
    BrokenPromiseError,
    check_whole,
    codec_changes,
    count_zeros,
    ends_as_stated,
    has_zeros,
    refuse_second,
)
from qwen_omni.media.work import Deadline
from qwen_omni.redact import clean

if TYPE_CHECKING:
    from av.audio.codeccontext import AudioCodecContext
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet
    from av.stream import Stream
    from av.video.frame import VideoFrame
    from av.video.stream import VideoStream

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
# FFmpeg's names of containers whose index or header has the times of everything in them. Those of others are guessed
# from the first seconds and the last, or from the bit rate; only reading all of their packets is reliable.
_INDEXED = frozenset({
    "mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi", "wav", "w64", "aiff", "caf", "au",
})  # fmt: skip
_COARSE = frozenset({"asf", "mpc", "mpc8"})  # whose packets and headers state the duration to within about a second
_SHORT = Fraction(600)  # seconds; in a longer recording a second does not matter, and decoding it takes long
_UNSIGNED = "matroska,webm"  # FFmpeg reads no negative times there
_PROMISING = frozenset({"flac", "tta", "wv", "ape", "tak", "mxf"})  # their headers state how much they hold
_PROMISE = Fraction(1, 2)  # seconds that may be missing from them
_THINNEST = 250  # bytes per second; less is a clock that jumped, not a video
_LONGEST = Fraction(43_200)  # seconds; longer recordings are rare, and jumping clocks are not
_UNREAD = 0.02  # of a file, after the last packet
_BEGINNINGS = {"flv": b"FLV\x01", "tta": b"TTA1", "voc": b"Creative Voice File"}  # of files that state where they end
_STREAMED = frozenset({"mpegts", "mpeg"})  # what is joined to them may have other stream numbers
_FEW_BYTES = 4_096  # of bare audio that may belong to no frame
# Codecs of which no packet begins with many zeros.
_NEVER_ZEROS = frozenset({
    "h264", "hevc", "av1", "libdav1d", "vp8", "vp9", "mpeg4", "mpeg2video", "aac", "mp3", "mp3float", "ac3", "eac3",
    "opus", "vorbis", "flac", "alac",
})  # fmt: skip
_LEAST_PACKET, _PACKET_BEGINS = 16, 64  # bytes
_MOST_ZEROS = Fraction(1)  # seconds
_INTERRUPTED = (
    "as in a download that was interrupted after room for the whole file had been made; copy or download the whole "
    "file again"
)
_NEAR = 65_536  # bytes around a join in which the head of the second file is searched for
_BARE_NAMES = "h261 h263 h264 hevc vvc av1 obu mpegvideo m4v avs2 avs3 cavsvideo dirac vc1 dnxhd mjpeg mjpeg_2000 ipu"
_BARE = frozenset(_BARE_NAMES.split())  # video streams without a container: their packets have no times
_USUAL_RATE = 25  # frames per second, as FFmpeg assumes
_ODDEST_PIXEL = 16  # times as wide as high; more is nonsense in the file
_TAGGED_LENGTH = re.compile(r"(\d{1,6}):(\d{2}):(\d{2}(?:\.\d{1,12})?)")
_STATISTICS = "_STATISTICS_"  # tags of mkvmerge
_MOST_COUNTED = 100_000  # entries of an index checked one by one; a longer one, if it begins or ends with such an entry
_MOST_TRIES = 500  # packets within which the first frame or audio must be decoded
_RUN_UP = Fraction(1, 10)  # seconds of audio before the first frame
# The first bytes of a key frame of H.264, of one field if there are fields; parsers read the headers that it refers to.
_SLICE = bytes.fromhex("6588ffffffffffff")
_PROGRESSIVE = 1  # FFmpeg's AV_FIELD_PROGRESSIVE
_HEARD_WHOLE = Fraction(600)  # seconds in which a track is searched for audio without gaps
_EVERY, _EACH = Fraction(30), Fraction(1)  # after that: interval and length of each sample, in seconds
_LONGEST_TAG = 80  # characters
_MOST_SECONDS = 60.0  # for one inspection; usually it takes some hundredths


def probe_stream(
    file: IO[bytes], *, begins_as: str | None, size_bytes: int, label: str, audio_track: AudioTrackChoice = "auto"
) -> MediaInfo:
    """Read the streams of one audio or video file, and decode the first frame or audio if headers may mislead.

    Args:
        file: open and seekable.
        begins_as: the container by its first bytes, if they are known.
        size_bytes: size of the file.
        label: its name in errors.
        audio_track: which audio track is used.

    Raises:
        UnreadableMediaError: FFmpeg cannot read it, or it has neither video nor audio.
        UnsupportedMediaError: it has no such audio track.
    """
    deadline = Deadline(_MOST_SECONDS, label=label)
    with _own_errors(label, begins_as, size_bytes):
        check_boxes(file, size_bytes)
        check_whole(file, size_bytes)
        upright, edited_at = is_upright(file, size_bytes), second_edit(file, size_bytes)
        with open_container(file, size_bytes, deadline=deadline) as container:
            tracks = tracks_of(container)
            track = choose_track(tracks, audio_track, lambda: _for_listening(file, size_bytes, deadline), deadline) or 0
            video, audio = video_stream(container), audio_streams(container, track)
            facts = _facts(container, video, audio, deadline, upright=upright)
            facts |= {"container": _container_name(container, begins_as), "audio_tracks": tracks, "audio_track": track}
            facts |= _starts(container, video, audio)
            facts |= {"duration": _stated_duration(container, facts["origin"])}
            format_name = container.format.name
        if format_name == _UNSIGNED and facts["origin"] < -_RUN_UP:
            raise UnreadableMediaError(
                f"its clock begins at {float(facts['origin']):,.2f} s, and negative times do not exist in "
                "Matroska; repair it with `ffmpeg -i FILE -c copy -avoid_negative_ts make_zero repaired.mkv`"
            )
        if edited_at is not None:  # FFmpeg's times are continuous, but nothing may seek
            facts["breaks"] = (ClockBreak(position=0, shift=Fraction(0), at=facts["origin"] + edited_at),)
        elif format_name in _BARE:
            with open_container(file, size_bytes, deadline=deadline) as container:
                facts |= _counted(container, deadline)
        elif format_name in IMAGES:
            facts = _single(facts)
        elif _must_walk(file, format_name, facts, size_bytes):
            with open_container(file, size_bytes, deadline=deadline) as container:
                facts |= _walked(file, container, facts, deadline, size_bytes)
        if facts["kind"] != "image" and has_zeros(file, size_bytes):
            _check_zeros(file, size_bytes, facts, deadline)
        if _must_decode(format_name, facts):
            with open_container(file, size_bytes, deadline=deadline) as container:
                length = _decoded_length(container, audio_streams(container, track)[0], deadline)
                facts |= {"duration": length, "audio_duration": length}
    kind, name = facts["kind"], facts["container"]
    media_type = _MEDIA_TYPES.get(name, f"{{kind}}/{name}").format(kind=kind)
    return MediaInfo(media_type=media_type, size_bytes=size_bytes, **facts)


@contextlib.contextmanager
def _for_listening(file: IO[bytes], size_bytes: int, deadline: Deadline) -> "Iterator[InputContainer]":
    """Open an already open file for its audio; its position is restored."""
    at = file.tell()
    try:
        with open_container(file, size_bytes, deadline=deadline) as container:
            for stream in container.streams:
                if stream.type != "audio":
                    stream.discard = Discard.all
            yield container
    finally:
        file.seek(at)


def _must_decode(format_name: str, facts: dict[str, Any]) -> bool:
    """Whether only decoding shows how long a recording is: its packets' times do not, or its last one is not full."""
    if format_name == "caf":
        return not str(facts["audio_codec"]).startswith("pcm_")
    if format_name in _COARSE and facts["kind"] == "audio":
        return facts["duration"] is not None and facts["duration"] < _SHORT
    return format_name in UNTIMED and facts.get("audio_changes") is not None


def _must_walk(file: IO[bytes], format_name: str, facts: dict[str, Any], size_bytes: int) -> bool:
    """Whether only reading all packets shows how long a file is."""
    duration = facts["duration"]
    if format_name == "mp3":
        return not ends_as_stated(file, size_bytes)
    if duration is None or (format_name not in _INDEXED and not (format_name == "asf" and facts["kind"] == "audio")):
        return True
    if format_name == INDEXED and facts["origin"] > _RUN_UP:  # a later piece of a fragmented file states where it ends
        return True
    if format_name == "avi" and (facts.get("audio_duration") or 0) > duration + _PROMISE:  # it states that of the video
        return True
    return bool(duration > _LONGEST or (duration > 1 and size_bytes < duration * _THINNEST))


def _walked(
    file: IO[bytes], container: "InputContainer", facts: dict[str, Any], deadline: Deadline, size_bytes: int
) -> dict[str, Any]:
    """Read all packets of the chosen streams, and correct what the headers state.

    Raises:
        UnreadableMediaError: the headers promise more, or another file is appended to it.
    """
    video, audio = video_stream(container), audio_streams(container, facts["audio_track"])
    found = walk(container, [*([video] if video else []), *audio], deadline)
    _check_joined(file, container.format.name, found, size_bytes)
    _check_streams(container, video, found, size_bytes)
    _check_frames(container.format.name, found)
    if container.format.name == "mpegts" and (at := codec_changes(file, [one.position for one in found.breaks])):
        refuse_second(at, size_bytes)
    stated = facts["duration"]
    origin = facts["origin"] if found.start is None else max(facts["origin"], found.start)
    corrected: dict[str, Any] = {"origin": origin, "breaks": found.breaks}
    if found.end is not None and found.end > origin:
        corrected["duration"] = found.end - origin
        if container.format.name in _PROMISING and stated and stated - corrected["duration"] > _PROMISE:
            raise BrokenPromiseError(
                f"its headers state {float(stated):,.2f} s of {facts['kind']}, but it ends after "
                f"{float(corrected['duration']):,.2f} s; copy or download the whole file again"
            )
    earliest = origin if video is None else None  # decoders skip a recording's priming samples
    return corrected | _walked_video(video, found, facts, origin) | _walked_audio(audio, found, origin, earliest)


def _check_zeros(file: IO[bytes], size_bytes: int, facts: dict[str, Any], deadline: Deadline) -> None:
    with open_container(file, size_bytes, deadline=deadline) as container:
        format_name = container.format.name
        _check_holes(container, facts["audio_track"], deadline)
    if format_name == "ogg":
        with open_container(file, size_bytes, deadline=deadline) as container:
            _check_pages(file, container, size_bytes, facts["duration"])


def _check_holes(container: "InputContainer", track: int | Literal["mix"], deadline: Deadline) -> None:
    """Refuse a file in which a second or more of the chosen streams is zeros: decoders skip it, or show gray."""
    video, audio = video_stream(container), audio_streams(container, track)
    chosen = [stream for stream in (video, *audio) if stream and stream.codec_context.name in _NEVER_ZEROS]
    lost = dict.fromkeys((stream.index for stream in chosen), Fraction(0))
    for packet in packets_of(container, *chosen) if chosen else ():
        deadline.check()
        if packet.size > _LEAST_PACKET and not any(memoryview(packet)[:_PACKET_BEGINS]):
            lost[packet.stream.index] += (packet.duration or 0) * base_of(packet.stream)
    for stream in chosen:
        if lost[stream.index] >= _MOST_ZEROS:
            raise BrokenPromiseError(
                f"{float(lost[stream.index]):,.2f} s of its {stream.type} are zeros, {_INTERRUPTED}"
            )


def _check_pages(file: IO[bytes], container: "InputContainer", size_bytes: int, duration: Fraction | None) -> None:
    """Refuse an Ogg file in which zeros replace a second or more: FFmpeg skips them to the next page.

    Headers may be padded with zeros, as those of FLAC are.
    """
    headers = next((packet.pos or 0 for packet in packets_of(container, *container.streams)), 0)
    zeros = count_zeros(file, headers)
    if duration and zeros * duration >= _MOST_ZEROS * (size_bytes - zeros):
        raise BrokenPromiseError(f"{zeros:,} of its {size_bytes:,} bytes are zeros, {_INTERRUPTED}")


def _check_joined(file: IO[bytes], format_name: str, found: Walk, size_bytes: int) -> None:
    """Refuse files of which FFmpeg does not read everything after a join."""
    if format_name in _BEGINNINGS and size_bytes - found.position > size_bytes * _UNREAD:
        file.seek(found.position)
        if _BEGINNINGS[format_name] in file.read(_NEAR):
            refuse_second(found.position, size_bytes)
    if format_name == "flac":  # its reader skips the last samples before the join
        for one in found.breaks:
            begin = max(1, one.position - _NEAR)
            file.seek(begin)
            place = file.read(2 * _NEAR).find(b"fLaC")
            if place >= 0:
                refuse_second(begin + place, size_bytes)


def _check_streams(container: "InputContainer", video: "VideoStream | None", found: Walk, size_bytes: int) -> None:
    """Refuse a stream of packets that goes on with another video or recording after the end of the chosen one."""
    alike = container.streams.video if video is not None else container.streams.audio
    if container.format.name in _STREAMED and len(alike) > 1 and size_bytes - found.position > size_bytes * _UNREAD:
        refuse_second(found.position, size_bytes)


def _check_frames(format_name: str, found: Walk) -> None:
    """Refuse bare audio of which a second or more, or a fiftieth, belongs to no frame: players skip it."""
    foreign, at = found.foreign
    if foreign < _FEW_BYTES or found.end is None or found.start is None:
        return
    if foreign * (found.end - found.start) >= found.position - foreign or foreign >= found.position * _UNREAD:
        raise BrokenPromiseError(
            f"from byte {at:,} on, {foreign:,} of its bytes are not {format_name}, and players skip them: another "
            "recording follows, or it is damaged. Send its parts one by one, or join them with a program that knows "
            "the formats, such as `ffmpeg -f concat`"
        )


def _walked_video(video: "VideoStream | None", found: Walk, facts: dict[str, Any], origin: Fraction) -> dict[str, Any]:
    if video is None:
        return {}
    count = found.packets[video.index]
    if video.index not in found.ends:  # raw streams have no times: each frame lasts as long as the others
        length = count / facts["fps"] if facts["fps"] else None
        return {"frame_count": count, "video_duration": length} | ({"duration": length} if length else {})
    begins, length = found.starts[video.index], found.ends[video.index] - found.starts[video.index]
    walked = {"frame_count": count, "video_start": max(Fraction(0), begins - origin)}
    return walked | {"video_duration": length if length > 0 else facts["video_duration"]}


def _walked_audio(
    audio: "list[AudioStream]", found: Walk, origin: Fraction, earliest: Fraction | None
) -> dict[str, Any]:
    timed = [stream.index for stream in audio if stream.index in found.ends]
    if not timed:
        return {}
    first, last = min(found.starts[index] for index in timed), max(found.ends[index] for index in timed)
    first = first if earliest is None else max(first, earliest)
    changes = [found.changes[index] - origin for index in timed if index in found.changes]
    return {"audio_start": first - origin, "audio_duration": last - first, "audio_changes": min(changes, default=None)}


def _decoded_length(container: "InputContainer", stream: "AudioStream", deadline: Deadline) -> Fraction:
    """Decode audio to measure its duration, if packet times assume another sample rate than the packets have."""
    samples: Counter[int] = Counter()
    for frame in frames_of(container, stream, deadline):
        samples[frame.sample_rate] += frame.samples
    return sum((Fraction(count, rate) for rate, count in samples.items() if rate), Fraction(0))


def _counted(container: "InputContainer", deadline: Deadline) -> dict[str, Any]:
    """Count the frames of a bare video stream, which has no timestamps: each lasts as long as its rate says."""
    stream = video_stream(container)
    assert stream is not None  # it was found a moment ago
    count = 0
    for packet in packets_of(container, stream):
        deadline.check()
        count += packet.size > 0
    # FFmpeg assumes an average of 25 per second if the container states none; the frames themselves often state it.
    rate = exact(stream.codec_context.framerate or stream.average_rate or stream.guessed_rate or _USUAL_RATE)
    lasts = count / rate
    return {"frame_count": count, "fps": rate, "video_duration": lasts, "duration": lasts, "unpacked": True}


def _single(facts: dict[str, Any]) -> dict[str, Any]:
    """Reduce the facts to those of an image that FFmpeg takes for a video of one frame."""
    image = {name: facts[name] for name in ("container", "width", "height")}
    return {"kind": "image", "unpacked": True, **image}


def check_first_frame(file: IO[bytes], *, size_bytes: int, label: str) -> None:
    """Decode the first frame of a video that will be sent unchanged, so that damage is found before it is billed.

    Raises:
        UnreadableMediaError: it cannot be decoded.
    """
    deadline = Deadline(_MOST_SECONDS, label=label)
    with _own_errors(label, "a video", size_bytes), open_container(file, size_bytes, deadline=deadline) as container:
        stream = video_stream(container)
        if stream is None or _first_frame(container, stream, deadline) is None:
            raise UnreadableMediaError("no frame can be decoded")


@contextlib.contextmanager
def _own_errors(label: str, begins_as: str | None, size_bytes: int) -> Iterator[None]:
    """Translate whatever is raised inside to the errors of this package."""
    try:
        yield
    except UnsupportedMediaError as error:
        raise UnsupportedMediaError(f"{label} {error}.").with_option(error.option) from None
    except Exception as error:  # FFmpeg and its bindings raise arbitrary errors for damaged bytes
        fault = machine_fault(error, f"read {label}")
        if fault is not None:
            raise fault from error
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        reason = reason.removesuffix(".")
        kind = f"begins like {begins_as} but" if begins_as else "is not media or"
        kind = "is media but" if begins_as is None and isinstance(error, BrokenPromiseError) else kind
        error_type = BrokenPromiseError if isinstance(error, BrokenPromiseError) else UnreadableMediaError
        raise error_type(f"{label} {kind} is damaged or truncated ({size_bytes:,} bytes): {reason}.") from None


def _container_name(container: "InputContainer", begins_as: str | None) -> str:
    name = DEMUXERS[container.format.name]
    return begins_as if begins_as is not None and _FAMILIES.get(begins_as, begins_as) == name else name


def _starts(container: "InputContainer", video: "VideoStream | None", audio: "list[AudioStream]") -> dict[str, Any]:
    """Return the instant that players call zero, in the file's own time, and when video and audio begin after it.

    It is where the first of video and audio begins. Audio that begins up to a tenth of a second earlier than the
    video is a codec's priming and not counted, so that frames keep their exact times.
    """
    seen = None if video is None else _begin(video)
    heard = [begin for stream in audio if (begin := _begin(stream)) is not None]
    starts = heard if seen is None else [seen, *heard]
    origin = min(starts, default=Fraction(container.start_time or 0, av.time_base))
    if video is not None and starts and starts[0] - origin < _RUN_UP:
        origin = starts[0]
    return {
        "origin": origin,
        "video_start": Fraction(0) if seen is None else max(Fraction(0), seen - origin),
        "audio_start": min(heard) - origin if heard else Fraction(0),
    }


def _begin(stream: "AudioStream | VideoStream") -> Fraction | None:
    """Return when a stream begins, in the file's own time; `None` if that is not known."""
    if stream.start_time is None or not stream.time_base:
        return None
    return stream.start_time * exact(stream.time_base)


Opening = Callable[[], contextlib.AbstractContextManager["InputContainer"]]
"""Opens a file again for its audio."""


def tracks_of(container: "InputContainer") -> tuple[AudioTrack, ...]:
    """List the audio tracks of a file."""
    return tuple(
        AudioTrack(
            index=index,
            codec=heard.get("audio_codec"),
            sample_rate=heard.get("sample_rate"),
            channels=heard.get("channels"),
            language=_tag(stream.metadata.get("language")),
            title=_tag(stream.metadata.get("title")),
            default=bool(stream.disposition & Disposition.default),
        )
        for index, stream in enumerate(container.streams.audio)
        for heard in (_audio_facts(stream.codec_context) if has_decoder(stream) else {},)
    )


def _tag(tag: str | None) -> str | None:
    """Clean a tag, which comes from an untrusted file, as part of one line."""
    return None if tag is None else clean(tag[:_LONGEST_TAG], "terminal", one_line=True)


def choose_track(
    tracks: tuple[AudioTrack, ...], choice: AudioTrackChoice, opening: Opening, deadline: Deadline
) -> int | Literal["mix"] | None:
    """Decide which track is used; `None` if there is none that can be.

    Args:
        tracks: of the file.
        choice: the caller's choice.
        opening: opens the file to analyse its audio, if that decides.
        deadline: checked meanwhile.

    Raises:
        UnsupportedMediaError: the file has no such track, or there is no decoder for it.
    """
    decodable = [track for track in tracks if track.codec is not None]
    if choice == "mix":
        return None if not decodable else "mix" if len(decodable) > 1 else decodable[0].index
    if choice != "auto":
        return _asked_for(tracks, choice)
    if len(decodable) < 2:  # noqa: PLR2004 - nothing to choose from
        return decodable[0].index if decodable else None
    usual = next((track for track in decodable if track.default), decodable[0])
    for track in (usual, *(track for track in decodable if track is not usual)):
        if is_audible(opening, track.index, deadline):
            return track.index
    return usual.index


def _asked_for(tracks: tuple[AudioTrack, ...], choice: int) -> int:
    if not 0 <= choice < len(tracks):
        raise UnsupportedMediaError(no_such_track(tracks, choice)).with_option("audio_track")
    if tracks[choice].codec is None:
        raise UnsupportedMediaError(f"has an audio track {choice} for which there is no decoder").with_option(
            "audio_track"
        )
    return choice


def is_audible(opening: Opening, index: int, deadline: Deadline) -> bool:
    """Whether a track is not silent. The first ten minutes are checked entirely, then one second in thirty."""
    with opening() as container:
        stream = container.streams.audio[index]
        begin, at = None, Fraction(0)
        for frame in frames_of(container, stream, deadline):
            if levels_of([frame]).audible:
                return True
            at = Fraction(frame.pts or 0) * exact(frame.time_base or 0)
            begin = at if begin is None else begin
            if at - begin > _HEARD_WHOLE:
                break
        else:
            return False
        return any(_audible_at(container, stream, at, deadline) for at in _places(stream, at))


def _places(stream: "AudioStream", at: Fraction) -> Iterator[Fraction]:
    if not stream.duration or not stream.time_base:
        return
    end = ((stream.start_time or 0) + stream.duration) * exact(stream.time_base)
    while (at := at + _EVERY) < end:
        yield at


def _audible_at(container: "InputContainer", stream: "AudioStream", at: Fraction, deadline: Deadline) -> bool:
    try:
        container.seek(int(at / exact(stream.time_base or 1)), stream=stream)
    except (av.FFmpegError, ValueError):
        return False
    for frame in frames_of(container, stream, deadline):
        if levels_of([frame]).audible:
            return True
        if Fraction(frame.pts or 0) * exact(frame.time_base or 0) > at + _EACH:
            break
    return False


def _facts(
    container: "InputContainer",
    video: "VideoStream | None",
    audio: "list[AudioStream]",
    deadline: Deadline,
    *,
    upright: bool,
) -> dict[str, Any]:
    """Collect what differs between audio and video."""
    heard: dict[str, Any] = {}
    if audio:
        lengths = [length for stream in audio if (length := _length(stream)) is not None]
        heard = {**_audio_facts(audio[0].codec_context), "audio_duration": max(lengths, default=None)}
    if video:
        return {"kind": "video", **_video_facts(container, video, deadline, upright=upright), **heard}
    if not audio:
        raise UnreadableMediaError("it holds neither video nor audio that can be decoded")
    if _first_frame(container, audio[0], deadline) is None:
        raise UnreadableMediaError("no audio can be decoded")
    return {"kind": "audio", **heard}


def _video_facts(
    container: "InputContainer", stream: "VideoStream", deadline: Deadline, *, upright: bool
) -> dict[str, Any]:
    if not has_decoder(stream):
        raise UnreadableMediaError("there is no decoder for its video codec")
    _check_pixels(stream.width, stream.height)
    rotation, mirrored, interlaced, sides = 0, False, False, _stated_size(stream) if upright else None
    if sides is None:
        frame = cast("VideoFrame | None", _first_frame(container, stream, deadline))
        if frame is None:
            raise UnreadableMediaError("no frame can be decoded")
        interlaced = bool(frame.interlaced_frame)
        rotation, mirrored = _turn_of(frame)
        sides = (frame.height, frame.width) if rotation in (90, 270) else (frame.width, frame.height)
    average = stream.average_rate or stream.guessed_rate
    rate = exact(average) if average else None
    length, hidden = _length(stream), _hidden_frames(stream) if container.format.name == INDEXED else 0
    shown = stream.frames - hidden if stream.frames else None
    if hidden and shown and length:
        rate = shown / length
    return {
        "width": sides[0],
        "height": sides[1],
        "fps": rate,
        "frame_count": shown,
        "hidden_frames": hidden,
        "video_duration": length,
        "video_codec": stream.codec_context.codec.canonical_name,
        "rotation": rotation,
        "mirrored": mirrored,
        "covered": any(not one.disposition & Disposition.attached_pic for one in _before(container, stream)),
        "pixel_aspect": _pixel_aspect(stream, turned=rotation in (90, 270)),
        "interlaced": interlaced,
    }


def _before(container: "InputContainer", stream: "VideoStream") -> "list[VideoStream]":
    return [one for one in container.streams.video if one.index < stream.index]


def _turn_of(frame: "VideoFrame") -> tuple[int, bool]:
    """Return by how many degrees a frame is turned clockwise to be shown, and whether it is mirrored after that.

    Front cameras write mirroring matrices. FFmpeg states the angle by where the matrix takes the horizontal axis.
    """
    stated = frame.side_data.get("DISPLAYMATRIX")
    if stated is None:
        return 0, False
    right, down, _, below_right, below_down, *_ = struct.unpack("=9i", cast("Any", stated))
    area = right * below_down - down * below_right
    if not area:  # it would flatten everything; players ignore it
        return 0, False
    angle = round(-frame.rotation / 90) * 90 % 360  # FFmpeg counts counter-clockwise
    return (angle, False) if area > 0 else ((180 - angle) % 360, True)


def _hidden_frames(stream: "VideoStream") -> int:
    """Count the frames of an MP4 that its edit list hides: others refer to them, so they are decoded, not shown."""
    entries = stream.index_entries
    if not stream.frames or not len(entries):
        return 0
    if len(entries) > _MOST_COUNTED and not (entries[0].is_discard or entries[-1].is_discard):
        return max(0, stream.frames - len(entries))
    return max(0, stream.frames - sum(not entry.is_discard for entry in entries))


def _check_pixels(width: int, height: int) -> None:
    if width * height > MOST_PIXELS:
        raise UnreadableMediaError(
            f"its frames claim {width:,} by {height:,} pixels; at most {MOST_PIXELS:,} are decoded"
        )


def _stated_size(stream: "VideoStream") -> tuple[int, int] | None:
    """Read the frame size without decoding, if possible; decoding one 4K frame takes longer than everything else."""
    context = stream.codec_context
    if context.codec.canonical_name != "h264" or context.extradata is None:
        return None
    size = progressive_size(bytes(context.extradata))
    if size is not None:
        _check_pixels(*size)  # the container may claim less
    return size


def progressive_size(configuration: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels from the headers of H.264, as decoded; FFmpeg's parser reads them.

    The box around the stream states a size too, but it may be the display size, or wrong.

    Args:
        configuration: content of an `avcC` box (ISO/IEC 14496-15, 5.3.3.1); FFmpeg calls it extradata.

    Returns:
        `None` if it is not certain: several headers, possibly interlaced frames, damage, another kind of stream.
    """
    if len(configuration) < 8 or configuration[0] != 1 or configuration[5] & 0x1F != 1:  # noqa: PLR2004 - of the box
        return None
    context = av.CodecContext.create("h264", "r")
    context.extradata = configuration
    length_bytes = (configuration[4] & 3) + 1
    try:
        for data in (len(_SLICE).to_bytes(length_bytes, "big") + _SLICE, b""):
            context.parse(data)
    except (av.FFmpegError, ValueError, EOFError):
        return None
    size = (context.width, context.height)
    return size if min(size) > 0 and context.field_order == _PROGRESSIVE else None


def _pixel_aspect(stream: "VideoStream", *, turned: bool) -> Fraction:
    stated = exact(stream.sample_aspect_ratio or 1)
    aspect = stated if Fraction(1, 16) < stated < _ODDEST_PIXEL else Fraction(1)
    return 1 / aspect if turned else aspect


def _audio_facts(context: "AudioCodecContext") -> dict[str, Any]:
    return {
        "audio_codec": context.codec.canonical_name,
        "sample_rate": context.sample_rate or None,
        "channels": context.layout.nb_channels or None,
    }


def _first_frame(
    container: "InputContainer", stream: "AudioStream | VideoStream", deadline: Deadline
) -> "AudioFrame | VideoFrame | None":
    """Decode the first frame or audio; broken packets before it are skipped, since some files begin with them."""
    stream.codec_context.options = CODEC_OPTIONS
    for tries, packet in enumerate(packets_of(container, stream)):
        deadline.check()
        if tries >= _MOST_TRIES:
            break
        frames = _decoded(packet)
        if not frames and packet.size and packet.is_keyframe and not packet.is_discard and stream.type == "video":
            frames = _drained(stream)  # the decoder waits for frames that may come between; this one is enough
        if frames:
            return cast("AudioFrame | VideoFrame", frames[0])
    return None


def _decoded(packet: "Packet[Any]") -> list[Any]:
    try:
        return list(packet.decode())
    except av.InvalidDataError:
        return []


def _drained(stream: "AudioStream | VideoStream") -> list[Any]:
    context = stream.codec_context
    try:
        return list(context.decode(None))
    except (av.InvalidDataError, EOFError):
        return []
    finally:
        context.flush_buffers()


def _stated_duration(container: "InputContainer", origin: Fraction) -> Fraction | None:
    if container.duration is not None and container.duration > 0:
        end = Fraction(container.duration, av.time_base)
        # Matroska states when it ends, by a clock that need not begin at zero.
        return end - origin if container.format.name == _UNSIGNED and _RUN_UP < origin < end else end
    lengths = [
        stream.duration * stream.time_base for stream in _timed(container) if stream.duration and stream.time_base
    ]
    return max(lengths, default=None)


def _length(stream: "AudioStream | VideoStream") -> Fraction | None:
    """Return how long one stream is, if the file states it: in its own field, or in Matroska's tag."""
    tagged = _TAGGED_LENGTH.fullmatch(stream.metadata.get("DURATION", ""))
    # FFmpeg assumes that a track of Matroska which is too short to measure lasts as long as the file.
    if stream.duration and stream.time_base and (tagged is None or stream.container.format.name != _UNSIGNED):
        return max(Fraction(0), stream.duration * exact(stream.time_base)) or None
    if stream.frames and stream.type == "audio" and stream.time_base and stream.container.format.name == "avi":
        return stream.frames * exact(stream.time_base)
    if tagged is None:
        return None
    hours, minutes, seconds = tagged.groups()
    ends = int(hours) * 3600 + int(minutes) * 60 + Fraction(seconds)
    # mkvmerge writes the length there; FFmpeg, and programs that use it, the second at which the track ends.
    begins = Fraction(0) if any(name.startswith(_STATISTICS) for name in stream.metadata) else _begin(stream)
    return ends - max(Fraction(0), begins or Fraction(0)) or None


def _timed(container: "InputContainer") -> "list[Stream]":
    return [*container.streams.video, *container.streams.audio]
