"""Which audio track of a file is heard: the default one, unless it is silent; one that was asked for; or all, mixed.

Screen recorders and dubbed films have several. A track is named by its place among the audio tracks, from 0, as in
FFmpeg's `0:a:1`.
"""

import contextlib
from collections.abc import Callable, Generator, Iterable, Iterator
from fractions import Fraction
from typing import TYPE_CHECKING, Any, Literal, cast

import av
from av.stream import Disposition

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.containers import has_decoder, packets_of
from qwen_omni.media.downmix import levels_of
from qwen_omni.media.info import AudioTrack, AudioTrackChoice, exact, no_such_track
from qwen_omni.media.watch import Watch
from qwen_omni.redact import clean

if TYPE_CHECKING:
    from av.audio.frame import AudioFrame
    from av.audio.stream import AudioStream
    from av.container import InputContainer
    from av.packet import Packet

_HEARD_WHOLE = Fraction(600)  # seconds in which a track is searched for sound without a hole
_EVERY, _EACH = Fraction(30), Fraction(1)  # seconds behind that: so often, so long
_MOST_BROKEN = 500  # packets in a row
_PIECE = 8192  # samples
_LONGEST_TAG = 80  # characters

Opening = Callable[[], contextlib.AbstractContextManager["InputContainer"]]
"""Opens a file anew for the audio in it."""


def tracks_of(container: "InputContainer") -> tuple[AudioTrack, ...]:
    """List the audio tracks of a file."""
    return tuple(
        AudioTrack(
            index=index,
            codec=stream.codec_context.codec.canonical_name if has_decoder(stream) else None,
            sample_rate=(stream.codec_context.sample_rate or None) if has_decoder(stream) else None,
            channels=(stream.codec_context.layout.nb_channels or None) if has_decoder(stream) else None,
            language=_tag(stream.metadata.get("language")),
            title=_tag(stream.metadata.get("title")),
            default=bool(stream.disposition & Disposition.default),
        )
        for index, stream in enumerate(container.streams.audio)
    )


def _tag(told: str | None) -> str | None:
    """Write a tag, which whoever made the file chose, as a part of one line."""
    return None if told is None else clean(told[:_LONGEST_TAG], "terminal", one_line=True)


def choose_track(
    tracks: tuple[AudioTrack, ...], choice: AudioTrackChoice, opening: Opening, watch: Watch
) -> int | Literal["mix"] | None:
    """Decide which track is heard; `None` where there is none that can be.

    Args:
        tracks: of the file.
        choice: what the caller wants.
        opening: opens the file to listen to it, if that decides.
        watch: checked while listening.

    Raises:
        UnsupportedMediaError: the file has no such track, or there is no decoder for it.
    """
    heard = [track for track in tracks if track.codec is not None]
    if choice == "mix":
        return None if not heard else "mix" if len(heard) > 1 else heard[0].index
    if choice != "auto":
        return _asked_for(tracks, choice)
    if len(heard) < 2:  # noqa: PLR2004 - nothing to choose from
        return heard[0].index if heard else None
    usual = next((track for track in heard if track.default), heard[0])
    for track in (usual, *(track for track in heard if track is not usual)):
        if is_audible(opening, track.index, watch):
            return track.index
    return usual.index


def _asked_for(tracks: tuple[AudioTrack, ...], choice: int) -> int:
    if not 0 <= choice < len(tracks):
        raise UnsupportedMediaError(no_such_track(tracks, choice))
    if tracks[choice].codec is None:
        raise UnsupportedMediaError(f"has an audio track {choice} for which there is no decoder")
    return choice


def is_audible(opening: Opening, index: int, watch: Watch) -> bool:
    """Whether a track holds any sound. The first ten minutes are heard whole, and one second in thirty behind that."""
    with opening() as container:
        stream = container.streams.audio[index]
        begin, at = None, Fraction(0)
        for frame in frames_of(container, stream, watch):
            if levels_of([frame]).audible:
                return True
            at = Fraction(frame.pts or 0) * exact(frame.time_base or 0)
            begin = at if begin is None else begin
            if at - begin > _HEARD_WHOLE:
                break
        else:
            return False
        return any(_audible_at(container, stream, at, watch) for at in _places(stream, at))


def _places(stream: "AudioStream", at: Fraction) -> Iterator[Fraction]:
    if not stream.duration or not stream.time_base:
        return
    end = ((stream.start_time or 0) + stream.duration) * exact(stream.time_base)
    while (at := at + _EVERY) < end:
        yield at


def _audible_at(container: "InputContainer", stream: "AudioStream", at: Fraction, watch: Watch) -> bool:
    try:
        container.seek(int(at / exact(stream.time_base or 1)), stream=stream)
    except (av.FFmpegError, ValueError):
        return False
    for frame in frames_of(container, stream, watch):
        if levels_of([frame]).audible:
            return True
        if Fraction(frame.pts or 0) * exact(frame.time_base or 0) > at + _EACH:
            break
    return False


def frames_of(container: "InputContainer", stream: "AudioStream", watch: Watch) -> Iterator["AudioFrame"]:
    """Decode a track from where the container stands; broken packets are passed over, but not for ever."""
    frames = decoded(packets_of(container, stream), watch, most_broken=_MOST_BROKEN)
    return (frame for frame in frames if frame.samples)


def decoded(packets: "Iterable[Packet[Any]]", watch: Watch, *, most_broken: int) -> Iterator["AudioFrame"]:
    """Decode packets of sound, and end once more than `most_broken` in a row are broken."""
    broken = 0
    for packet in packets:
        watch.check()
        try:
            frames = packet.decode()
        except (av.FFmpegError, ValueError, EOFError):
            broken += 1
            if broken > most_broken:
                return
            continue
        broken = 0
        yield from cast("list[AudioFrame]", frames)


def mixed(tracks: "list[Iterator[AudioFrame]]", rate: int) -> "Generator[AudioFrame]":
    """Add up tracks of mono frames whose times count samples from zero; a limiter keeps the sum within full scale."""
    _graph, sources, sink = _adder(len(tracks), rate)  # it must live as long as its ends
    ended = [False] * len(tracks)
    while True:
        for number, (track, source) in enumerate(zip(tracks, sources, strict=True)):
            if ended[number]:
                continue
            frame = next(track, None)
            ended[number] = frame is None
            source.push(frame)
        yield from _pulled(sink)
        if all(ended):
            return


def _adder(count: int, rate: int) -> tuple["av.filter.Graph", list[Any], Any]:
    graph = av.filter.Graph()
    sources = [
        graph.add_abuffer(format="s16", sample_rate=rate, layout="mono", time_base=Fraction(1, rate))
        for _ in range(count)
    ]
    adder = graph.add("amix", f"inputs={count}:duration=longest:normalize=0:dropout_transition=0")
    for place, source in enumerate(sources):
        source.link_to(adder, 0, place)
    last: Any = adder
    for name, arguments in (
        ("alimiter", "limit=0.98:level=0:latency=1"),
        ("aformat", f"sample_fmts=s16:channel_layouts=mono:sample_rates={rate}"),
        ("asetnsamples", f"n={_PIECE}:p=0"),
        ("abuffersink", None),
    ):
        following = graph.add(name, arguments)
        last.link_to(following)
        last = following
    graph.configure()
    return graph, sources, last


def _pulled(sink: Any) -> Iterator["AudioFrame"]:  # noqa: ANN401 - a filter's context
    while True:
        try:
            yield sink.pull()
        except (av.BlockingIOError, av.EOFError):
            return
