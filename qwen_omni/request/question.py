"""Media named by the program's user → messages: what estimates, the command line and tools ask about.

Inspects the media only to learn its kind; the client inspects all of it when it sends the message.
"""

import mimetypes
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from urllib.parse import urlsplit

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.budget import DEFAULT_SAMPLING, BudgetName, Sampling
from qwen_omni.media.files.safe_open import open_local
from qwen_omni.media.info import AudioTrackChoice, MediaInfo, MediaKind
from qwen_omni.media.prepare import Prepared
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import Anything, MediaSource, as_source, check_page
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPart, Message, Part, VideoPart

Askable = Anything | Prepared | Part | Message
"""A path or URL, bytes, media prepared or not, a part or a whole message."""

_KINDS: dict[str, MediaKind] = {"image": "image", "audio": "audio", "video": "video"}


def look(source: MediaSource, media_root: Path = Path()) -> MediaInfo | None:
    """Probe a local source; return `None` for a link, which is not fetched.

    Args:
        source: the source to probe.
        media_root: the folder that sources from messages must lie in: that of the client that will be asked.

    Raises:
        MediaOutsideRootError: it was not chosen by the program and lies outside of `media_root`; it is not opened.
        UnreadableMediaError: the file is missing, empty, damaged or not media.
    """
    if source.url is not None:
        return None
    with open_local(source, media_root) as file:
        return probe(file, label=source.label, media_type_hint=source.media_type)


def kind_of(source: MediaSource, media_root: Path = Path()) -> MediaKind:
    """Return the kind of media of a source; a link is not fetched, so its extension must show the kind.

    Raises:
        UnsupportedMediaError: the link's extension does not show the kind, or it is a page of a video site.
    """
    info = look(source, media_root)
    if info is not None:
        return info.kind
    check_page(source.url or "", name=source.label)
    media_type = source.media_type or mimetypes.guess_type(urlsplit(source.url or "").path)[0] or ""
    kind = _KINDS.get(media_type.partition("/")[0])
    if kind is None:
        raise UnsupportedMediaError(
            f"{source.label} does not show whether it is an image, audio or video; state which."
        )
    return kind


def takes_frame(source: MediaSource, media_root: Path = Path(), *, frame: int = 0) -> bool:
    """Whether a source is an image, an animation or a file of several pages, with a frame of this number.

    Raises:
        UnreadableMediaError: the file is missing, empty, damaged or not media.
    """
    if source.url is not None:
        return True  # not fetched; the service decides
    with open_local(source, media_root) as file:
        try:
            probe(file, label=source.label, media_type_hint=source.media_type, frame=frame)
        except UnsupportedMediaError as error:
            return error.option != "frame"
    return True


def misfits(
    source: MediaSource, kind: MediaKind, sampling: Sampling, audio_track: AudioTrackChoice = "auto"
) -> list[UnsupportedMediaError]:
    """Return an error for each option that does not suit the kind of a source."""
    found = []
    if audio_track != "auto" and (kind == "image" or source.url is not None):
        what = "an image" if kind == "image" else "a link, which the service reads unchanged"
        found.append((f"{what}; audio_track= is for local video and audio.", "audio_track"))
    if kind == "image" and sampling.fps is not None:
        found.append(("an image; fps= is for video.", "fps"))
    if kind == "audio":
        if sampling.fps is not None:
            found.append(("audio; fps= is for video.", "fps"))
        if replace(sampling, fps=None) != DEFAULT_SAMPLING:
            found.append(("audio; max_pixels= is for images and video.", "max_pixels"))
    return [UnsupportedMediaError(f"{source.label} is {text}").with_option(option) for text, option in found]


def as_part(
    source: MediaSource,
    kind: MediaKind,
    sampling: Sampling = DEFAULT_SAMPLING,
    audio_track: AudioTrackChoice = "auto",
    *,
    tile: bool = True,
    frame: int | None = None,
) -> MediaPart:
    """Build the part that shows a source; `tile` and `frame` are for images.

    Raises:
        UnsupportedMediaError: an option does not suit this kind of media.
    """
    if wrong := misfits(source, kind, sampling, audio_track):
        raise wrong[0]
    match kind:
        case "image":
            return ImagePart(source=source, sampling=sampling, tile=tile, frame=frame)
        case "video":
            return VideoPart(source=source, sampling=sampling, audio_track=audio_track)
        case "audio":
            return AudioPart(source=source, audio_track=audio_track)


def messages_of(
    what: Askable | Sequence[Askable], media_root: Path
) -> tuple[tuple[Message, ...], dict[MediaSource, Prepared]]:
    """Build a conversation from whatever was passed, and return it with the prepared media in it.

    Messages stay messages, everything else becomes parts of one.
    """
    held: dict[MediaSource, Prepared] = {}
    many = list(what) if isinstance(what, Sequence) and not isinstance(what, str | bytes) else [what]
    messages: list[Message] = []
    loose: list[Part] = []
    for one in many:
        if isinstance(one, Message):
            messages.append(one)
        else:
            loose.append(_part(one, held, media_root))
    if loose:
        messages.append(Message(role="user", parts=tuple(loose)))
    return tuple(messages), held


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaChoices:
    """How the media of a question are sent. A choice applies to every file that it suits, and must suit one.

    Attributes:
        sampling: how the service samples videos and images.
        start: the second at which videos and recordings begin; `end` is where they stop.
        budget: how closely local videos and images are looked at.
        audio_track: which audio track of videos and recordings is used.
        tile: whether tall or wide images may be sent as several images.
        frame: which frame of an animation, or page of a file, to send as an image, from 0.
    """

    sampling: Sampling = DEFAULT_SAMPLING
    start: float | None = None
    end: float | None = None
    budget: BudgetName | None = None
    audio_track: AudioTrackChoice = "auto"
    tile: bool = True
    frame: int | None = None


DEFAULT_CHOICES = MediaChoices()


def message_of(
    media: Sequence[Anything], media_root: Path = Path(), choices: MediaChoices = DEFAULT_CHOICES
) -> Message:
    """Build one message from media named by the program's user; local files are inspected to learn their kind.

    Args:
        media: paths (they may lie anywhere), URLs, bytes or sources.
        media_root: the folder that `file://` URLs, and sources from messages, must lie in.
        choices: how they are sent.

    Raises:
        MediaError: a file is missing, damaged or not media, a link does not show its kind, or a choice suits none.
    """
    parts = _parts(media, media_root, choices)
    _check_choices(parts, choices)
    return Message(role="user", parts=tuple(_chosen(part, choices) for part in parts))


def _parts(media: Sequence[Anything], media_root: Path, choices: MediaChoices) -> tuple[Part, ...]:
    """Return the parts of a question; a frame is chosen from every file that has some, or, to be refused, from all."""
    if choices.frame is None:
        return tuple(_part(one, {}, media_root) for one in media)
    chosen = [takes_frame(as_source(one), media_root) for one in media]
    return tuple(
        ImagePart(source=as_source(one), tile=choices.tile, frame=choices.frame)
        if takes or not any(chosen)
        else _part(one, {}, media_root)
        for one, takes in zip(media, chosen, strict=True)
    )


def _check_choices(parts: Sequence[Part], choices: MediaChoices) -> None:
    found = [part for part in parts if isinstance(part, ImagePart | AudioPart | VideoPart)]
    timed = [part for part in found if not isinstance(part, ImagePart)]
    seen = [part for part in found if not isinstance(part, AudioPart)]
    if found and not timed and (wrong := misfits(found[0].source, "image", DEFAULT_SAMPLING, choices.audio_track)):
        raise wrong[0]
    wanted = (
        ("fps=", "video", choices.sampling.fps, [part for part in seen if isinstance(part, VideoPart)]),
        ("max_pixels=", "images and video", choices.sampling.max_pixels, seen),
        ("budget=", "images and video", choices.budget, seen),
        ("start= and end=", "video and audio", choices.end if choices.start is None else choices.start, timed),
    )
    for name, kinds, value, suited in wanted:
        if value is not None and found and not suited:
            first = found[0]
            what = "an image" if first.modality == "image" else "audio"
            raise UnsupportedMediaError(
                f"{first.source.label} is {what}; {name} {'are' if ' ' in name else 'is'} for {kinds}."
            ).with_option("end" if "start" in name and choices.start is None else name.partition("=")[0])


def _chosen(part: Part, choices: MediaChoices) -> Part:
    budget = choices.budget or "auto"
    match part:
        case VideoPart():
            return replace(part, sampling=choices.sampling, start=choices.start, end=choices.end, budget=budget,
                           audio_track=choices.audio_track)  # fmt: skip
        case AudioPart():
            return replace(part, start=choices.start, end=choices.end, audio_track=choices.audio_track)
        case ImagePart():
            return replace(part, sampling=replace(choices.sampling, fps=None), tile=choices.tile, budget=budget)
        case _:
            return part


def _part(one: Anything | Prepared | Part, held: dict[MediaSource, Prepared], media_root: Path) -> Part:
    if isinstance(one, Prepared):
        source = _source_of(one)
        held[source] = one
        part = as_part(source, one.info.kind)
        return part if isinstance(part, AudioPart | FramesPart) else replace(part, sampling=one.plan.sampling)
    if isinstance(one, Part):
        return one
    source = as_source(one)
    return as_part(source, kind_of(source, media_root))


def _source_of(made: Prepared) -> MediaSource:
    if made.path is not None:
        return MediaSource.from_path(made.path, media_type=made.info.media_type, trusted=True)
    return MediaSource.from_bytes(made.data or b"".join(jpeg.data for jpeg in made.jpegs))
