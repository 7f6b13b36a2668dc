"""Options for a transcription, and whether a model supports them. Values and decisions."""

from dataclasses import dataclass

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.info import AudioTrackChoice, read_audio_track
from qwen_omni.profiles import Region
from qwen_omni.profiles.transcription import (
    DEFAULT_TRANSCRIPTION_MODEL,
    DEFAULT_TRANSCRIPTION_MODEL_ABROAD,
    TRANSCRIBERS,
    TranscriptionProfile,
    transcriber,
)
from qwen_omni.ranges import END, START, WAIT, Range, check_numbers, check_options, check_span

_RANGES = {
    "speakers": Range(least=1, most=100, whole=True, switch=True),
    "start": START,
    "end": END,
    "wait_seconds": Range(least=0, endless=True),
    "poll_seconds": WAIT,
}

_NEEDED = {"speakers": "speakers", "vocabulary": "vocabulary_id", "tidy": "tidy", "context": "context"}
"""What a model must be able to do, and the option that needs it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionOptions:
    """Options for a transcription.

    Attributes:
        model: the model; `None` chooses the cheapest one in the region.
        language: of the speech, as a code (`en`, `zh`); `None` lets the model detect it.
        speakers: distinguish speakers; a number sets how many there are.
        words: times of single words too, for models that return them only on request.
        context: names and terms that may be spoken, as text (the models that answer at once, qwen3-asr-*).
        vocabulary_id: ID of a list of hot words stored at the service (all but qwen3-asr-*).
        tidy: leave out filler words (paraformer-v2, fun-asr).
        start: start of the range in a local file, in seconds; times still count from the start of the file.
        end: end of the range, in seconds.
        audio_track: which of several audio tracks to use: `"auto"`, a number from 0, or `"mix"`.
        wait_seconds: how long to wait for a task before `TaskUnfinishedError`; the task continues at the service.
        poll_seconds: first interval between two status requests; later ones grow to 15 s.
        fresh: submit again even if this recording was submitted within the last day, and pay again.
    """

    model: str | None = None
    language: str | None = None
    speakers: bool | int = False
    words: bool = True
    context: str | None = None
    vocabulary_id: str | None = None
    tidy: bool = False
    start: float | None = None
    end: float | None = None
    audio_track: AudioTrackChoice = "auto"
    wait_seconds: float = 7200.0
    poll_seconds: float = 1.0
    fresh: bool = False

    def __post_init__(self) -> None:
        check_numbers(self, _RANGES)
        check_span(self.start, self.end)
        object.__setattr__(self, "audio_track", read_audio_track(self.audio_track))


DEFAULT_OPTIONS = TranscriptionOptions()


def choose_transcriber(options: TranscriptionOptions, region: Region | None) -> TranscriptionProfile:
    """Choose the model, and check that it supports the options.

    Args:
        options: the options of the transcription.
        region: region of the service; `None` if unknown.

    Raises:
        ConfigurationError: the region does not offer the model, the model does not support an option, or `options` are
            not `TranscriptionOptions`.
    """
    check_options(options, TranscriptionOptions)
    usual = DEFAULT_TRANSCRIPTION_MODEL if region in (None, "cn") else DEFAULT_TRANSCRIPTION_MODEL_ABROAD
    profile = transcriber(options.model or usual)
    if region is not None and region not in profile.regions:
        raise ConfigurationError(
            f"{profile.name} is not offered in {region!r}, only in {', '.join(sorted(profile.regions))}. "
            "Choose another model, or use a key and base_url of that region."
        )
    for ability, option in _NEEDED.items():
        if getattr(options, option) not in (None, False) and not getattr(profile, ability):
            able = " or ".join(one.name for one in TRANSCRIBERS.values() if getattr(one, ability))
            raise ConfigurationError(f"{profile.name} does not support {option}=; choose {able}.")
    return profile
