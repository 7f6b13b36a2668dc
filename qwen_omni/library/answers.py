"""A question to a library: its options, what is asked about each window, and what the answer is based on. Pure.

The model that watches says when something is seen or heard; the text model joins what was found and names the shots it
used. The text model never writes times, so all times come from the model that watched.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from qwen_omni.addresses import Server
from qwen_omni.errors import ConfigurationError, SpendLimitError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, MediaPart, VideoPart
from qwen_omni.pricing.costs import count_text
from qwen_omni.pricing.limit import refusal_text
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_TEXT_MODEL, Profile
from qwen_omni.ranges import COUNT, START, Range, check_numbers
from qwen_omni.retrieval.passages import TimeRange, time_range_of
from qwen_omni.retrieval.windows import Window
from qwen_omni.settings import Settings
from qwen_omni.structured.ask import CaptionPlan
from qwen_omni.structured.schema import Frozen
from qwen_omni.structured.timed import TimedAnswer
from qwen_omni.video.export.markdown import counted
from qwen_omni.video.options import SummaryOptions, on_server
from qwen_omni.video.results import Bill
from qwen_omni.video.schemas import PROMPTS_VERSION, TimedNote, clock, seconds_text, words_for
from qwen_omni.video.tasks import FindingsSchema, as_share, plan_asking
from qwen_omni.work_store.store import digest

_RANGES = {
    "looks": COUNT,
    "fps": Range(least=0.1, most=10),
    "margin": START,
    "sure": Range(least=0, most=1),
}
_HELPS = 0.5  # relevance from which a look that is sure ends the looks
_NOTHING = "The library holds nothing about this question."
_NO_WORDS = "No passage shares a word with the question, and the spend limit did not allow a search by meaning."
_BY_WORDS = "Nothing was found by words alone."
_FINDING_ROOM = "x " * 600  # as long as what one look finds, for the share of a limit that is kept for the answer
_MOST_TEXT = 4_000  # characters of a window's notes that the text model receives


@dataclass(frozen=True, slots=True, kw_only=True)
class AskOptions:
    """How a library is asked.

    Attributes:
        model: the model that watches the best windows.
        text_model: the model that answers from what was found; one of the service.
        looks: windows that are watched at most; 0 answers from the notes alone.
        fps: frames per second at which they are watched: more than for the notes.
        margin: seconds added before and after a window.
        sure: how sure a look must be of the answer to be the last one, from 0 to 1; 1 watches on unless it is certain.
        language: of the answer, as you would write it ("French", "中文"); `None` leaves it to the model.
        keep: whether looks and answers are stored in the work store, and stored ones used.

    Raises:
        ConfigurationError: a number out of its range.
    """

    model: str = DEFAULT_MODEL
    text_model: str = DEFAULT_TEXT_MODEL
    looks: int = 6
    fps: float = 4.0
    margin: float = 2.0
    sure: float = 0.8
    language: str | None = None
    keep: bool = True

    def __post_init__(self) -> None:
        check_numbers(self, _RANGES)

    def steps(self, server: Server) -> SummaryOptions:
        """Return the options of the requests, as for a long video."""
        return on_server(
            SummaryOptions(model=self.model, text_model=self.text_model, language=self.language), server
        )  # fmt: skip


DEFAULT_ASK = AskOptions()


class LookSchema(FindingsSchema):
    """What one clip holds for the question, and whether more clips are needed."""

    sure: Annotated[float, BeforeValidator(as_share)] = Field(
        default=0.0,
        description="Score from 0 to 1 of how certain it is that this clip alone answers the question in full.",
    )


class AnswerSchema(TimedAnswer):
    """The answer to the question."""

    answer: str = Field(min_length=1, description="The answer, in a few sentences.")
    shots: tuple[int, ...] = Field(default=(), description="Which shots the answer is based on, by their numbers.")


class Look(Frozen):
    """What a look at a window found; times are seconds of the video."""

    relevance: float = 0.0
    sure: float = 0.0
    found: str = ""
    evidence: tuple[TimedNote, ...] = ()

    @property
    def is_relevant(self) -> bool:
        """Whether it helps to answer the question; `sure` is how well it does so on its own."""
        return self.relevance >= _HELPS


class Shot(Frozen):
    """A window of a video that the question led to.

    Attributes:
        source: path of the video.
        start: in seconds of the video.
        end: in seconds of the video.
        notes: what the library holds about it.
        look: what a look at it found; `None` if it was not watched.
        reused: whether the look was stored by an earlier question.
        reason: why it was not watched, if it was tried.
    """

    source: str
    start: float
    end: float
    notes: str = ""
    look: Look | None = None
    reused: bool = False
    reason: str = ""

    @property
    def helps(self) -> bool:
        """Whether it may hold something for the answer."""
        return self.look is None or self.look.relevance > 0


class LibraryEvidence(Frozen):
    """Something that supports the answer.

    Attributes:
        source: path of the video.
        start: in seconds of the video.
        end: in seconds of the video.
        text: what is seen or said.
        watched: whether it was seen or heard for this question; if not, it is from the notes.
    """

    source: str
    start: float
    end: float
    text: str
    watched: bool = True


Stopped = Literal["", "sure", "looks", "spend_limit"]


class LibraryAnswer(Frozen):
    """The answer to a question about a library.

    Attributes:
        question: the question.
        answer: the answer.
        evidence: what supports it, from the shots that the answer is based on.
        shots: the windows that were found, most promising first.
        stopped: why not every window was watched: a look was sure, `looks` were made, or the spend limit did not allow
            another one; empty if all were.
        basis: what the answer is based on, in words.
        written: whether the text model wrote the answer; if not, the spend limit did not allow it, and the answer lists
            what was found.
        this_run: usage and cost of this run.
        notices: what you should know: what the spend limit refused, with its numbers; looks that could not be stored.
    """

    question: str
    answer: str
    evidence: tuple[LibraryEvidence, ...] = ()
    shots: tuple[Shot, ...] = ()
    stopped: Stopped = ""
    basis: str = ""
    written: bool = True
    this_run: Bill = Bill()
    notices: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        from qwen_omni.library.page import answer_card  # noqa: PLC0415 - only notebooks need it

        return answer_card(self).to_html()


class WordMatches(list[Window]):
    """Windows that share words with a question, found where the spend limit left no room to compare its meaning.

    Attributes:
        notice: what happened, with the numbers of the limit.
    """

    def __init__(self, windows: Sequence[Window], error: SpendLimitError) -> None:
        super().__init__(windows)
        self.notice = (
            "The spend limit left no room to embed the question, so only its words were compared. "
            f"{refusal_text(error, 'Embedding it')}"
        )


def check_question(question: str, advice: str = "Ask something about the videos of the library.") -> str:
    """Return a question without surrounding blanks.

    Args:
        question: the question.
        advice: what the error recommends if it is empty.

    Raises:
        ConfigurationError: it is empty, or not text.
    """
    if not isinstance(question, str):
        raise ConfigurationError(f"The question must be text, got {type(question).__name__}.")
    if not question.strip():
        raise ConfigurationError(f"The question is empty. {advice}")
    return question.strip()


def check_length(question: str, options: AskOptions, settings: Settings) -> None:
    """Check that the models take a question of this length.

    Raises:
        ConfigurationError: it is longer than one of them takes.
    """
    for model in (options.text_model, *([options.model] if options.looks else ())):
        profile = settings.profile(model)
        if len(question) <= profile.max_input // 4:  # a character is four tokens at most
            continue
        tokens = count_text(question, "qwen2")
        if tokens > profile.max_input:
            raise ConfigurationError(
                f"The question has {tokens:,} tokens, and {model} takes {profile.max_input:,} with all that is found. "
                "Shorten the question: what is in the videos need not be part of it."
            )


# --- One look ---


def range_to_watch(window: Window, margin: float) -> TimeRange:
    """Return the time range of a window, with a margin.

    Raises:
        ConfigurationError: the window is not a time range of a local file.
    """
    facts = dict(window.hits[0].metadata) if window.hits else {}
    facts.update(source=window.source, start=window.start, end=window.end)
    return time_range_of(facts, margin=margin)


def part_of(where: TimeRange, options: AskOptions, profile: Profile) -> MediaPart:
    """Return the message part that shows a time range at the frame rate of a look."""
    source = MediaSource.from_path(where.source, trusted=True)
    track = "auto" if where.audio_track is None else where.audio_track
    if where.kind == "audio":
        return AudioPart(source=source, start=where.start, end=where.end, audio_track=track)
    sampling = Sampling(fps=options.fps) if profile.sampling_fields else Sampling()
    return VideoPart(source=source, start=where.start, end=where.end, sampling=sampling, audio_track=track)


def plan_look(question: str, where: TimeRange, options: AskOptions, settings: Settings) -> CaptionPlan:
    """Return the request for a look at a time range."""
    steps, seconds = options.steps(settings.server_of(options.model)), where.end - where.start
    task = words_for(options.language).ask_segment.format(seconds=seconds_text(seconds), question=question)
    part = part_of(where, options, settings.profile(options.model))
    return plan_asking(LookSchema, task, steps, about=part, duration=seconds, profile_of=settings.profile)


def look_key(content: str, where: TimeRange, plan: CaptionPlan, options: AskOptions) -> str:
    """Return the key under which a look is stored: everything that decides its answer.

    Args:
        content: digest of the file.
        where: the time range.
        plan: the request.
        options: those of the question.
    """
    said = [[getattr(part, "text", "") for part in message.parts] for message in plan.request.messages]
    place = (where.kind, f"{where.start:.3f}", f"{where.end:.3f}", str(where.audio_track))
    return digest("look", PROMPTS_VERSION, content, place, options.fps, options.model, said)


def read_look(answer: LookSchema, where: TimeRange) -> Look:
    """Return what a look found, with times of the whole video."""
    length = where.end - where.start
    evidence = tuple(
        TimedNote(
            start=round(where.start + min(one.start, length), 3), end=round(where.start + min(one.end, length), 3),
            text=one.text,
        )
        for one in answer.evidence
    )  # fmt: skip
    return Look(relevance=answer.relevance, sure=answer.sure, found=answer.found, evidence=evidence)


def is_enough(look: Look, options: AskOptions) -> bool:
    """Whether no other window needs to be watched.

    Example:
        >>> is_enough(Look(relevance=1, sure=0.9), AskOptions()), is_enough(Look(relevance=0, sure=1), AskOptions())
        (True, False)
    """
    return look.is_relevant and look.sure >= options.sure


# --- The answer ---


def in_order(shots: Sequence[Shot]) -> list[Shot]:
    """Return the shots that may help: the watched ones, most relevant first, then those not watched."""
    watched = [shot for shot in shots if shot.look is not None and shot.helps]
    watched.sort(key=lambda shot: -shot.look.relevance if shot.look is not None else 0.0)
    return [*watched, *(shot for shot in shots if shot.look is None)]


def shots_text(shots: Sequence[Shot]) -> str:
    """Return what is known about shots, for the text model."""
    return "\n\n".join(_shot_text(number, shot) for number, shot in enumerate(shots, start=1))


def _shot_text(number: int, shot: Shot) -> str:
    name = shot.source.replace("\\", "/").rpartition("/")[2]
    if shot.look is None:
        return f"Shot {number} of {name} (from the notes):\n{_short(_timed(shot))}"
    lines = [f"- {_precise(one.start)} {one.text}" for one in shot.look.evidence]
    return "\n".join([f"Shot {number} of {name} (watched): {shot.look.found}".rstrip(), *lines])


def _timed(shot: Shot) -> str:
    """Return the notes of a shot, with its time if they have none of their own."""
    return shot.notes if "\n" in shot.notes else f"{clock(shot.start)} {shot.notes}"


def _short(text: str) -> str:
    return text if len(text) <= _MOST_TEXT else f"{text[:_MOST_TEXT]}…"


def _precise(seconds: float) -> str:
    return f"{clock(seconds)}{f'{seconds % 1:.1f}'[1:] if seconds % 1 >= 0.05 else ''}"  # noqa: PLR2004


def plan_answer(question: str, shots: Sequence[Shot], options: AskOptions, settings: Settings) -> CaptionPlan:
    """Return the request for the answer, from what is known about shots."""
    steps = options.steps(settings.server_of(options.model))
    task = words_for(options.language).ask_library.format(count=len(shots), question=question)
    return plan_asking(AnswerSchema, task, steps, about=shots_text(shots), duration=0.0, profile_of=settings.profile)


def plan_longest_answer(
    question: str, windows: Sequence[Window], options: AskOptions, settings: Settings
) -> CaptionPlan:
    """Return the longest possible request for the answer; the looks may not use up what it costs."""
    shots = [
        shot.model_copy(update={"look": Look(relevance=1, found=_FINDING_ROOM)}) if number < options.looks else shot
        for number, shot in enumerate(map(to_shot, windows))
    ]
    return plan_answer(question, shots, options, settings)


def answer_key(plan: CaptionPlan, options: AskOptions) -> str:
    """Return the key under which an answer is stored."""
    said = [[getattr(part, "text", "") for part in message.parts] for message in plan.request.messages]
    return digest("answer", PROMPTS_VERSION, options.text_model, said)


def to_shot(window: Window) -> Shot:
    """Return the shot of a window that was not watched yet."""
    return Shot(source=window.source, start=window.start, end=window.end, notes=window.text)


def evidence_of(shots: Sequence[Shot], used: Sequence[int]) -> tuple[LibraryEvidence, ...]:
    """Return what supports an answer.

    Args:
        shots: as they were numbered, from 1.
        used: numbers of those that the answer is based on; if none of them is valid, all shots that were watched count.

    Example:
        >>> look = Look(relevance=1, evidence=(TimedNote(start=3, end=4, text="A dog barks."),))
        >>> seen = Shot(source="a.mp4", start=0, end=9, look=look)
        >>> shots = [seen, Shot(source="b.mp4", start=5, end=8, notes="Cats.")]
        >>> [(one.source, one.start, one.text) for one in evidence_of(shots, [1])]
        [('a.mp4', 3.0, 'A dog barks.')]
        >>> [(one.source, one.start, one.watched) for one in evidence_of(shots, [2])]
        [('b.mp4', 5.0, False)]
    """
    chosen = [shots[number - 1] for number in dict.fromkeys(used) if 1 <= number <= len(shots)]
    chosen = chosen or [shot for shot in shots if shot.look is not None] or list(shots)
    return tuple(one for shot in chosen for one in _evidence(shot))


def _evidence(shot: Shot) -> list[LibraryEvidence]:
    if shot.look is None:
        text = " ".join(shot.notes.split())
        return [LibraryEvidence(source=shot.source, start=shot.start, end=shot.end, text=text, watched=False)]
    if not shot.look.evidence:
        return [LibraryEvidence(source=shot.source, start=shot.start, end=shot.end, text=shot.look.found)]
    return [
        LibraryEvidence(source=shot.source, start=one.start, end=one.end, text=one.text) for one in shot.look.evidence
    ]


_WHY = {
    "": "",
    "sure": " The last look settled the question, so the others were not watched.",
    "looks": " The maximum number of looks was reached.",
    "spend_limit": " The spend limit did not allow another look.",
}


def basis_of(shots: Sequence[Shot], stopped: Stopped, *, written: bool = True) -> str:
    """Describe what an answer is based on.

    Example:
        >>> seen = Shot(source="a.mp4", start=0, end=9, look=Look(relevance=1))
        >>> basis_of([seen, Shot(source="b.mp4", start=0, end=9)], "looks")
        'Based on 1 of 2 shots watched again and the notes of 1. The maximum number of looks was reached.'
    """
    if not shots:
        return "Nothing was found."
    watched = sum(shot.look is not None for shot in shots)
    failed = sum(bool(shot.reason) for shot in shots)
    text = f"Based on {watched} of {counted(len(shots), 'shot')} watched again"
    if watched < len(shots):
        text += f" and the notes of {len(shots) - watched}"
    if failed:
        text += f"; {failed} could not be watched"
    late = "" if written else " No budget was left for a written answer, so this lists what was found."
    return f"{text}.{_WHY[stopped]}{late}"


def unwritten(shots: Sequence[Shot]) -> str:
    """Return an answer without the text model: what was found, shot by shot."""
    found = [_shot_text(number, shot) for number, shot in enumerate(shots, start=1)]
    return "\n".join(found) or _NOTHING


def nothing_found(question: str, windows: Sequence[Window] = ()) -> LibraryAnswer:
    """Return the answer where the search found nothing; `windows` are its empty outcome."""
    if isinstance(windows, WordMatches):
        return LibraryAnswer(
            question=question, answer=_NO_WORDS, basis=_BY_WORDS, stopped="spend_limit", written=False,
            notices=(windows.notice,),
        )  # fmt: skip
    return LibraryAnswer(question=question, answer=_NOTHING, basis=basis_of([], ""), written=False)
