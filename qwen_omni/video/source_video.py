"""The source video of a run: where it is cut, the key of its segments, and one call or many. Blocks.

The strategy is decided here for the forecast, every run and both adapters, so none of them promises a call that the
model refuses. Asynchronous callers use threads.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

from qwen_omni.errors import MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.budget import MediaBudget, Sampling, budget_key
from qwen_omni.media.plan.plan import MediaPlan
from qwen_omni.media.plan.segments import CutPoint, Segment, check_lengths, count_segments, plan_segments
from qwen_omni.media.prepare import MediaLook, Prepared, PrepareOptions, carry_out, look_at, plan_for
from qwen_omni.media.source import Anything, MediaSource, as_source, check_page
from qwen_omni.media.work import Deadline, usual_workers
from qwen_omni.messages import AudioPart, MediaPart, VideoPart
from qwen_omni.options import ChatOptions
from qwen_omni.profiles import DEFAULT_MODEL, Profile
from qwen_omni.profiles.token_formulas import frames_seen
from qwen_omni.ranges import exact_seconds
from qwen_omni.request.estimate import thinks
from qwen_omni.video.options import DETAIL_FPS, SummaryOptions, segment_budget
from qwen_omni.video.schemas import VideoFacts

_AT_ONCE = 1 << 20
_ALWAYS_EXACT = frozenset({"mp4", "mov", "m4a", "3gp", "mkv", "webm", "wav"})


@dataclass(slots=True, kw_only=True)
class SourceVideo:
    """One source and the way it is cut. Create it with `look_over`.

    Attributes:
        look: result of the inspection.
        whole: the media plan for all of it.
        piece: the media plan for a part of it. A part must be encoded even where the whole could be sent as it is.
        seconds: maximum length of a segment.
        overlap: seconds that neighbours share.
        choices: how segments are prepared.
        deadline: limits the time spent on it.
    """

    look: MediaLook
    whole: MediaPlan
    piece: MediaPlan
    seconds: Fraction
    overlap: Fraction
    choices: PrepareOptions
    deadline: Deadline = field(default_factory=Deadline)

    @property
    def profile(self) -> Profile:
        """Profile of the model that will see it."""
        return self.choices.profile

    @property
    def start(self) -> Fraction:
        """Start of the selected range."""
        return self.whole.start

    @property
    def end(self) -> Fraction:
        """End of the selected range."""
        assert self.whole.end is not None
        return self.whole.end

    @property
    def duration(self) -> Fraction:
        """Length of the selected range."""
        return self.end - self.start

    @property
    def shortest(self) -> Fraction:
        """Minimum length of a segment that the model accepts."""
        return exact_seconds(self.profile.limits.min_video_seconds) if self.look.info.kind == "video" else Fraction(0)

    def check(self) -> None:
        """Check that it can be cut, before anything is prepared.

        Raises:
            ConfigurationError: the segment length and overlap leave no room to advance.
            MediaDoesNotFitError: the selected range is shorter than the model accepts.
        """
        if self.duration < self.shortest:
            raise MediaDoesNotFitError(
                f"{self.look.label}: from {float(self.start):g} s to {float(self.end):g} s there are "
                f"{float(self.duration):.2g} s; {self.profile.name} takes video of at least {float(self.shortest):g} s."
                " Choose an earlier start or a later end.",
                limit=float(self.shortest),
                actual=float(self.duration),
            )
        check_lengths(self.duration, seconds=self.seconds, overlap=self.overlap, shortest=self.shortest)

    @property
    def about(self) -> int:
        """Estimated number of segments."""
        return count_segments(self.duration, seconds=self.seconds, overlap=self.overlap)

    @property
    def segments_text(self) -> str:
        """How many segments there will be, in words."""
        return "1 segment" if self.about == 1 else f"about {self.about} segments of at most {float(self.seconds):g} s"

    @property
    def facts(self) -> VideoFacts:
        """Facts about the source."""
        info = self.look.info
        return VideoFacts(
            source=self.look.source.name,
            kind=info.kind,
            duration=None if info.duration is None else float(info.duration),
            width=info.width,
            height=info.height,
            fps=None if info.fps is None else round(float(info.fps), 3),
            video_codec=info.video_codec,
            audio_codec=info.audio_codec,
            audio_track=info.track_heard,
        )

    def digest(self) -> str:
        """Hash the content, one block at a time."""
        found = hashlib.sha256()
        with (self.look.original or self.look.reopenable).open() as file:
            while piece := file.read(_AT_ONCE):
                self.deadline.check()
                found.update(piece)
        return found.hexdigest()

    def key_fields(self) -> Mapping[str, Any]:
        """Return everything about cutting and preparing that decides an answer."""
        fields: dict[str, Any] = {
            "start": str(self.start), "end": str(self.end), "seconds": str(self.seconds), "overlap": str(self.overlap),
            "budget": budget_key(self.whole.budget), "sampling": asdict(self.whole.sampling),
        }  # fmt: skip
        info = self.look.info
        if info.track_heard is not None:
            fields["audio_track"] = info.track_heard
        if info.container not in _ALWAYS_EXACT:
            fields["exact"] = True  # answers about less exact cuts keep their own key
        return fields

    def segments(self, known: Mapping[int, Segment]) -> Iterator[Segment]:
        """Yield the segments one at a time; known ones are yielded as they were."""
        count = 0

        def places(earliest: Fraction, nominal: Fraction) -> Sequence[CutPoint]:
            if count in known:
                return (CutPoint(at=known[count].end - self.start),)
            from qwen_omni.media.analysis import find_cut_points  # noqa: PLC0415 - PyAV loads on first use

            window = (earliest, nominal)
            return find_cut_points(self.look.reopenable, self.look.info, window, self.start, self.deadline)

        for segment in plan_segments(
            self.duration, seconds=self.seconds, overlap=self.overlap, shortest=self.shortest, places=places
        ):
            count = segment.index + 1
            yield replace(segment, start=segment.start + self.start, end=segment.end + self.start)

    def prepare(self, segment: Segment) -> Prepared:
        """Prepare a segment for sending.

        Raises:
            MediaError: the media is damaged there.
        """
        alone = replace(self.choices, workers=1)
        if segment.start == self.start and segment.end == self.end:
            return carry_out(self.look, self.whole, choices=alone, parent=self.deadline, segment=segment)
        plan = replace(self.piece, start=segment.start, end=segment.end)
        return carry_out(self.look, plan, choices=alone, parent=self.deadline, segment=segment)

    def part(self, prepared: Prepared) -> MediaPart:
        """Return the message part for a prepared segment; a file sent unchanged stays inside its `media_root`."""
        if prepared.path is not None and not prepared.temporary:
            source = replace(self.look.source, media_type=prepared.info.media_type)
        elif prepared.path is not None:
            source = MediaSource.from_path(prepared.path, media_type=prepared.info.media_type, trusted=True)
        else:
            source = MediaSource.from_bytes(prepared.read(), media_type=prepared.info.media_type)
        if prepared.info.kind == "audio":
            return AudioPart(source=source)
        return VideoPart(source=source, sampling=self.whole.sampling, budget="original")


def look_over(
    source: Anything, options: SummaryOptions, profile: Profile, *, media_root: Path, room_bytes: int | None = None
) -> SourceVideo:
    """Inspect a source and decide how it is cut.

    Raises:
        MediaError: it is a link, an image, damaged, or has no known length.
        ConfigurationError: the segment length and overlap leave no room to advance.
    """
    asked = as_source(source)
    if asked.url is not None:
        check_page(asked.url, name=asked.label)
        raise UnsupportedMediaError(
            f"{asked.label} is a link, and long videos are cut on this machine. Download it first, or ask about the "
            "link directly in one call."
        )
    budget = segment_budget(options, profile)
    fps = budget.sampling_fps or DETAIL_FPS[options.detail]
    choices = PrepareOptions(
        model=profile, sampling=Sampling(fps=fps) if profile.sampling_fields else Sampling(), media_root=media_root,
        room_bytes=room_bytes, workers=options.workers or usual_workers(), audio_track=options.audio_track,
    )  # fmt: skip
    look = look_at(asked, choices=choices)
    if look.info.kind == "image":
        raise UnsupportedMediaError(f"{look.label} is an image; a summary needs a video or a recording.")
    if look.info.kind == "audio":
        choices = replace(choices, sampling=Sampling())
    if look.info.kind not in profile.inputs:
        raise UnsupportedMediaError(
            f"{profile.name} takes {', '.join(sorted(profile.inputs))}, not {look.info.kind} ({look.label}). "
            f"Use model={DEFAULT_MODEL!r}."
        ).with_option("model")
    return _planned(look, budget, options, choices)


def _planned(look: MediaLook, budget: MediaBudget, options: SummaryOptions, choices: PrepareOptions) -> SourceVideo:
    plan = plan_for(look, budget=budget, start=options.start, end=options.end, choices=choices)
    if plan.end is None:
        raise MediaDoesNotFitError(
            f"{look.label} has neither a known length nor times in its packets, so it cannot be cut. "
            "Convert it to MP4 first.",
            limit=options.segment_seconds,
            actual=0,
        )
    profile = choices.model
    assert isinstance(profile, Profile)
    most = profile.limits.audio_seconds if look.info.kind == "audio" else profile.limits.video_seconds
    longest = min(exact_seconds(options.segment_seconds), exact_seconds(most))
    first = plan.start + min(longest, (plan.end - plan.start) / 2)
    piece = plan_for(look, budget=budget, start=plan.start, end=first, choices=choices)
    return SourceVideo(
        look=look, whole=plan, piece=piece, seconds=longest, overlap=exact_seconds(options.overlap),
        choices=choices, deadline=Deadline(label=look.label),
    )  # fmt: skip


_ROOM = 0.8  # share of the maximum input for media; the rest is for text
_SAME_FRAMES = 0.9  # share of the frames that the model would see in segments


def chosen_strategy(video: SourceVideo, options: SummaryOptions) -> Literal["single", "map_reduce"]:
    """Choose how a video is processed.

    A short video goes in one call if the model accepts that much. "auto" takes one call for longer ones, too, if the
    model then sees as many frames as it would in segments: the frames of a call are limited.

    Raises:
        MediaDoesNotFitError: one call was requested, and the model does not accept that much.
    """
    if options.strategy == "single":
        refusal = one_call_refusal(video, options)
        if refusal is not None:
            raise refusal
        return "single"
    if one_call_refusal(video, options, share=_ROOM) is not None:
        return "map_reduce"
    if video.duration <= options.single_call_seconds:
        return "single"
    return "single" if options.strategy == "auto" and _sees_as_much(video, options) else "map_reduce"


def one_call_refusal(video: SourceVideo, options: SummaryOptions, *, share: float = 1) -> MediaDoesNotFitError | None:
    """Return the error that a single call about all of it would raise; `None` if the model accepts it.

    Args:
        video: the video of the call.
        options: whether the model reasons first, which leaves some models less room for input.
        share: share of the maximum input that media may take.
    """
    profile, seconds, tokens = video.profile, float(video.duration), video.whole.tokens or 0
    limits, label = profile.limits, video.look.label
    longest = limits.audio_seconds if video.look.info.kind == "audio" else limits.video_seconds
    advice = "Choose strategy='map_reduce' or 'auto', or a shorter range with start= and end=."
    if seconds > longest:
        return MediaDoesNotFitError(
            f"strategy='single': {seconds:,.1f} s of {label} are selected, and {profile.name} takes at most "
            f"{longest:,.0f} s in one call. {advice}",
            limit=longest,
            actual=seconds,
        ).with_option("strategy")
    thinking = thinks(profile, ChatOptions(thinking=options.thinking)) and profile.max_input_thinking
    room = (thinking or profile.max_input) * share
    if tokens > room:
        return MediaDoesNotFitError(
            f"strategy='single': {label} makes about {tokens:,} tokens, and {profile.name} has room for {room:,.0f} of "
            f"media in one call. {advice}",
            limit=room,
            actual=tokens,
        ).with_option("strategy")
    return None


def _sees_as_much(video: SourceVideo, options: SummaryOptions) -> bool:
    """Whether the model sees as many frames in one call as in segments; audio is heard in full either way."""
    if video.look.info.kind == "audio":
        return True
    seconds, fps = float(video.duration), DETAIL_FPS[options.detail]
    return frames_seen(video.profile, seconds, 2 * fps, Sampling(fps=fps)) >= _SAME_FRAMES * fps * seconds
