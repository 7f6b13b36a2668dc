"""The arguments of each tool, as pydantic models: the JSON schema that a model sees, and the check of its calls."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from qwen_omni.ranges import check_span

_MOST_TEXT = 4000
_MOST_SECONDS = 1_000_000

Path = Annotated[
    str,
    Field(min_length=1, max_length=_MOST_TEXT, description="A file inside the media folder, e.g. 'talks/monday.mp4'."),
]


def _no_switch(value: Any) -> Any:  # noqa: ANN401  (what a model wrote)
    """Reject `true` where a number belongs; a number written as text is accepted."""
    if isinstance(value, bool):
        raise ValueError("must be a number, got true or false")  # noqa: TRY004  (pydantic reports a ValueError)
    return value


_Number = BeforeValidator(_no_switch)
Start = Annotated[
    float | None, Field(ge=0, le=_MOST_SECONDS, allow_inf_nan=False, description="Second to begin at."), _Number
]
End = Annotated[
    float | None, Field(gt=0, le=_MOST_SECONDS, allow_inf_nan=False, description="Second to end at."), _Number
]


def _usual_track(value: Any) -> Any:  # noqa: ANN401  (what a model wrote)
    """Treat no choice as the default, and accept names in any case."""
    if value is None:
        return "auto"
    return value.strip().lower() if isinstance(value, str) else _no_switch(value)


AudioTrack = Annotated[
    Literal["auto", "mix"] | Annotated[int, Field(ge=0, le=1000)],
    Field(description="Which audio track is heard: 'auto', its number from 0 (probe_media lists them), or 'mix'."),
    BeforeValidator(_usual_track),
]


class Arguments(BaseModel):
    """What the arguments of all tools have in common: unknown names are refused."""

    model_config = ConfigDict(extra="forbid")

    @model_validator(mode="after")
    def _ends_after_its_start(self) -> Self:
        check_span(getattr(self, "start", None), getattr(self, "end", None))
        return self


class ProbeMedia(Arguments):
    """Arguments of `probe_media`."""

    path: Annotated[str, Field(max_length=_MOST_TEXT, description="A file or a folder; '.' is the media folder.")] = "."


class AskAboutClip(Arguments):
    """Arguments of `ask_about_clip`."""

    path: Path
    question: Annotated[str, Field(min_length=1, max_length=_MOST_TEXT, description="What to find out.")]
    start: Start = None
    end: End = None
    fps: Annotated[
        float | None,
        Field(ge=0.1, le=10, allow_inf_nan=False, description="Frames per second to look at; 2 else."),
        _Number,
    ] = None
    audio_track: AudioTrack = "auto"


class CaptionVideo(Arguments):
    """Arguments of `caption_video`."""

    path: Path
    audio_track: AudioTrack = "auto"


class TranscribeAudio(Arguments):
    """Arguments of `transcribe_audio`."""

    path: Path
    start: Start = None
    end: End = None
    audio_track: AudioTrack = "auto"


class SummarizeVideo(TranscribeAudio):
    """Arguments of `summarize_video`."""

    focus: Annotated[
        str | None,
        Field(max_length=_MOST_TEXT, description="What to look out for; leave it out for a general summary."),
    ] = None


Within = Annotated[
    str | None,
    Field(
        min_length=1,
        max_length=_MOST_TEXT,
        description="Only this file, or the files of this folder, as search results name them; all if left out.",
    ),
]


class SearchVideos(Arguments):
    """Arguments of `search_videos`."""

    query: Annotated[
        str, Field(min_length=1, max_length=_MOST_TEXT, description="What to look for: a question, or words.")
    ]
    k: Annotated[int, Field(ge=1, le=20, description="How many windows at most."), _Number] = 5
    path: Within = None


class AskLibrary(Arguments):
    """Arguments of `ask_library`."""

    question: Annotated[str, Field(min_length=1, max_length=_MOST_TEXT, description="What to find out.")]
    looks: Annotated[
        int,
        Field(ge=0, le=12, description="How many windows are watched again at most; 0 answers from notes alone."),
        _Number,
    ] = 4
    path: Within = None


class FindMoment(Arguments):
    """Arguments of `find_moment`."""

    path: Path
    query: Annotated[str, Field(min_length=1, max_length=_MOST_TEXT, description="What to look for.")]
    audio_track: AudioTrack = "auto"
