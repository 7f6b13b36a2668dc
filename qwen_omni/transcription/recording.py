"""The audio of one recording, prepared for transcription: inspected, extracted from a video, compressed.

The limits are those of the models' profiles; the work is done by `media` and `upload`. Blocks.
"""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Literal, cast

from qwen_omni.addresses import check_link, is_private_url
from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.files.safe_open import digest_of
from qwen_omni.media.prepare import MediaLook, Prepared, PrepareOptions, look_at
from qwen_omni.media.source import Anything, MediaSource, as_source
from qwen_omni.messages import AudioPart, MediaPayload, Message, Store, TextPart
from qwen_omni.profiles import MediaLimits, Profile, profile_for
from qwen_omni.profiles.transcription import TRANSCRIBERS, TranscriptionProfile
from qwen_omni.request.fit import Fitter, extract_audio
from qwen_omni.settings import Settings
from qwen_omni.transcription.options import TranscriptionOptions
from qwen_omni.transcription.transcript import Sentence, Transcript, Word
from qwen_omni.upload.uploader import Uploader, choose_route, routes_of

_PLACE = "transcription"


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """One recording, ready to send: the caller's link, or local audio.

    Attributes:
        label: its name in messages.
        source: source of its transcript: the path as given, so that it can be found again; else the label.
        part: the audio as a message part.
        seconds: length of the selected part; `None` for links.
        start: its start in the file, in seconds.
        whole: length of the whole file, in seconds; `None` if unknown.
        audio_track: the one that is used, if the file has several.
        ready: local audio as it will be sent.
        held: keeps a temporary file alive as long as this object.
    """

    label: str
    source: str
    part: AudioPart
    seconds: float | None = None
    start: float = 0.0
    whole: float | None = None
    audio_track: int | Literal["mix"] | None = None
    ready: MediaPayload | None = field(default=None, repr=False)
    held: Prepared | None = field(default=None, repr=False)

    def identity(self) -> str:
        """Return an identifier of the content; for a link, of the link itself.

        Raises:
            UnreadableMediaError: the file changed since it was inspected.
        """
        return f"link {self.part.source.url}" if self.ready is None else digest_of(self.ready)

    def carried(self, carrier: Uploader, settings: Settings, model: str) -> MediaPayload:
        """Upload the audio and return it with its link.

        Raises:
            ConfigurationError: no store may be used.
            DeliveryError: the store rejected it.
        """
        if self.ready is None:
            return MediaPayload(url=self.part.source.url)
        return carrier.carry(self.ready, _store(settings, self.label, model), model=model, name=self.label)

    def sent_at_once(self, carrier: Uploader, settings: Settings, profile: TranscriptionProfile) -> MediaPayload:
        """Return the audio for a call that is answered at once: inside the request if it fits, else with its link.

        Raises:
            MediaDoesNotFitError: too large for every available route.
            DeliveryError: the store rejected it.
        """
        if self.ready is None:
            return MediaPayload(url=self.part.source.url)
        routes = routes_of(settings, _limits(profile))
        route = choose_route(self.ready, routes, seconds=self.seconds, name=self.label)
        carried = carrier.carry(self.ready, route, model=profile.name, name=self.label)
        return replace(carried, media_type=carried.content_type)

    def question(self, options: TranscriptionOptions) -> tuple[Message, ...]:
        """Build the conversation for the chat model: the context, if there is one, then the audio alone."""
        asked = Message(role="user", parts=(self.part,))
        if options.context is None:
            return (asked,)
        return Message(role="system", parts=(TextPart(text=options.context),)), asked

    def placed(self, said: Transcript, **about: object) -> Transcript:
        """Shift the times of a transcript to those of the file, and add its source."""
        length = self.whole or said.duration or self.seconds  # the service knows only the part it received
        fields = {"source": self.source, "duration": length, "audio_track": self.audio_track, **about}
        moved = tuple(_moved(one, self.start) for one in said.sentences) if self.start else said.sentences
        return said.model_copy(update={**fields, "sentences": moved})


def prepare_recording(
    media: object, settings: Settings, options: TranscriptionOptions, profile: TranscriptionProfile
) -> Recording:
    """Inspect and prepare a recording.

    Raises:
        UnsupportedMediaError: an image, a video without audio, or a range of a link.
        MediaDoesNotFitError: longer or larger than the model accepts.
        MediaError: missing, damaged or not media.
        DeliveryError: a link that the service cannot fetch.
        ConfigurationError: the server has no transcription routes.
    """
    if settings.dialect_used != "dashscope":
        raise ConfigurationError(f"{settings.base_url} is not DashScope; {profile.name} is only available there.")
    source = as_source(cast("Anything", media))
    if source.url is not None:
        return _linked(source, settings, options)
    if profile.route == "task":
        _store(settings, source.label, profile.name)
    look = look_at(source, choices=PrepareOptions(media_root=settings.media_root, audio_track=options.audio_track))
    start, seconds = _check(look, options, profile)
    if look.info.kind == "video":
        choices = PrepareOptions(model=_limits(profile), media_root=settings.media_root)
        held = extract_audio(look, start=options.start, end=options.end, choices=choices)
        assert held.path is not None
        part = AudioPart(source=MediaSource.from_path(held.path, media_type=held.info.media_type, trusted=True))
    else:
        held = None
        part = AudioPart(source=source, start=options.start, end=options.end, audio_track=options.audio_track)
    fitter = Fitter(profile=_limits(profile), media_root=settings.media_root, room_bytes=profile.max_bytes)
    (made,) = fitter.fit(part, _PLACE)  # audio stays in one piece
    kept = replace(made.part, start=None, end=None) if isinstance(made.part, AudioPart) else part
    return Recording(
        label=source.label, source=source.name, part=kept, seconds=seconds, start=start,
        whole=None if look.info.duration is None else float(look.info.duration), audio_track=look.info.track_heard,
        ready=made.ready, held=held,
    )  # fmt: skip


def _linked(source: MediaSource, settings: Settings, options: TranscriptionOptions) -> Recording:
    private = is_private_url(settings.base_url)
    check_link(source.url or "", name=source.label, now=datetime.now(UTC), allow_private=private)
    if options.start is not None or options.end is not None:
        raise UnsupportedMediaError(
            f"{source.label} is a link, and start= and end= are for local files; nothing is downloaded."
        ).with_option("end" if options.start is None else "start")
    return Recording(label=source.label, source=source.name, part=AudioPart(source=source))


def _check(look: MediaLook, options: TranscriptionOptions, profile: TranscriptionProfile) -> tuple[float, float | None]:
    """Raise for what cannot be transcribed; return the start and the length of the selected range."""
    info, label = look.info, look.label
    if not info.has_audio:
        what = "an image" if info.kind == "image" else "a video without an audio track"
        raise UnsupportedMediaError(f"{label} is {what}; it has no audio to transcribe.")
    start = max(0.0, options.start or 0.0)
    if info.duration is None:
        return start, None
    end = float(info.duration) if options.end is None else min(options.end, float(info.duration))
    if end - start > profile.max_seconds:
        longer = ", ".join(one.name for one in TRANSCRIBERS.values() if one.max_seconds >= end - start)
        raise MediaDoesNotFitError(
            f"{label}: {end - start:,.1f} s of audio; {profile.name} takes at most {profile.max_seconds:,.0f} s. "
            f"{f'Use {longer}.' if longer else 'Transcribe it in parts (start=, end=).'}",
            limit=profile.max_seconds,
            actual=end - start,
        )
    return start, max(0.0, end - start)


def _limits(profile: TranscriptionProfile) -> Profile:
    limits = MediaLimits(audio_bytes=profile.max_bytes, audio_seconds=profile.max_seconds)
    return replace(profile_for("qwen3-asr-flash"), name=profile.name, limits=limits)


def _store(settings: Settings, label: str, model: str) -> Store:
    if settings.delivery == "inline":
        raise ConfigurationError(
            f"{model} takes only links, so {label} cannot be sent inside the request: use delivery='auto', or "
            "qwen3-asr-flash or qwen-audio-3.1-asr-flash for up to five minutes."
        )
    if settings.delivery == "oss" and settings.oss is None:
        raise ConfigurationError("delivery='oss' needs a bucket: pass oss=OssSettings(...).")
    return "oss" if settings.oss is not None and settings.delivery != "temporary" else "temporary"


def _moved(one: Sentence, by: float) -> Sentence:
    words = tuple(Word(start=word.start + by, end=word.end + by, text=word.text) for word in one.words)
    return one.model_copy(update={"start": one.start + by, "end": one.end + by, "words": words})
