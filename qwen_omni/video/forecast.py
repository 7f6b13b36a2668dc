"""The expected tokens, cost and time of each strategy for a summary, before anything is sent. Arithmetic.

The times are estimates from the uplink speed, time to first token and output speed measured with such models (2026),
within the rate limits for requests and tokens per minute.
"""

from dataclasses import dataclass, replace
from typing import Literal

from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError
from qwen_omni.media.source import Anything
from qwen_omni.media.work import usual_workers
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.profiles.token_formulas import audio_tokens, video_tokens
from qwen_omni.ranges import check_options
from qwen_omni.request.estimate import FIRST_TOKEN_SECONDS, TOKENS_PER_SECOND
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings
from qwen_omni.video.engine.run import over_source
from qwen_omni.video.options import DEFAULT_OPTIONS, DETAIL_FPS, Detail, SummaryOptions, on_server
from qwen_omni.video.results import Bill, Paid, to_bill
from qwen_omni.video.source_video import SourceVideo

_WORDS_IN = 700  # tokens of a prompt with its schema
_NOTES_OUT = 900  # tokens of an answer about a segment
_SUMMARY_OUT = 1200
_UPLINK = 20e6 / 8
_PREPARE_SPEED = 25.0  # seconds of video that one core prepares per second


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """The expected cost of one strategy.

    Attributes:
        strategy: in segments, or in a single call.
        detail: how closely the model looks.
        segments: number of segments.
        bill: tokens and cost.
        seconds: estimated duration of the run.
        chosen: whether the options select this strategy.
    """

    strategy: Literal["map_reduce", "single"]
    detail: Detail
    segments: int
    bill: Bill
    seconds: float
    chosen: bool


def forecast(
    source: Anything, settings: Settings | None = None, options: SummaryOptions = DEFAULT_OPTIONS
) -> list[Forecast]:
    """Return the expected cost of each strategy. Inspects the source; sends nothing and needs no API key.

    Raises what `summarize` would raise; a strategy that was not chosen and is not possible is left out.

    Raises:
        MediaError: the source cannot be used.
        ConfigurationError: the segment length and overlap leave no room to advance.
    """
    check_options(options, SummaryOptions)
    settings = settings or Settings.load(needs_key=False)
    options = on_server(options, settings.server_of(options.model))
    forecasts = []
    _, single = over_source(source, settings, options)
    for detail in DETAIL_FPS:
        for strategy in ("map_reduce", "single"):
            asked = replace(options, detail=detail, strategy=strategy, single_call_seconds=0)
            try:
                video, whole = over_source(source, settings, asked)
            except (ConfigurationError, MediaDoesNotFitError):
                continue  # the chosen strategy was checked above
            chosen = detail == options.detail and whole == single
            forecasts.append(_forecast_of(video, asked, settings, whole=whole, chosen=chosen))
    return forecasts


def _forecast_of(
    video: SourceVideo, options: SummaryOptions, settings: Settings, *, whole: bool, chosen: bool
) -> Forecast:
    count = 1 if whole else video.about
    tokens = segment_tokens(video, float(video.duration) / count + (0 if whole else float(video.overlap)), whole=whole)
    answers = [Paid(options.model, Usage(input_tokens=sum(tokens) + _WORDS_IN, output_tokens=_NOTES_OUT,
                                         input_details={"video": tokens[0], "audio": tokens[1]}))] * count  # fmt: skip
    if not whole:
        joined = Usage(input_tokens=count * _NOTES_OUT, output_tokens=_SUMMARY_OUT)
        answers.append(Paid(options.text_model_name, joined, options.tier or "standard"))
    return Forecast(
        strategy="single" if whole else "map_reduce",
        detail=options.detail,
        segments=count,
        bill=to_bill(answers, settings),
        seconds=_seconds(video, options, count, sum(tokens) + _WORDS_IN, settings),
        chosen=chosen,
    )


def segment_tokens(video: SourceVideo, seconds: float, *, whole: bool) -> tuple[int, int]:
    """Estimate the video and audio tokens of one segment."""
    info, profile = video.look.info, video.profile
    plan = video.whole if whole else video.piece
    audio = audio_tokens(profile, seconds) if info.has_audio or info.kind == "audio" else 0
    if info.kind == "audio":
        return 0, audio
    size = plan.encoding.size if plan.encoding is not None else (info.width or 2, info.height or 2)
    fps = 1 / plan.encoding.period if plan.encoding is not None else info.fps or 2
    return video_tokens(profile, size, seconds, fps, plan.sampling), audio


def _seconds(video: SourceVideo, options: SummaryOptions, count: int, tokens: int, settings: Settings) -> float:
    limits = settings.rate_limits(options.model, options.limits) or RateLimits()
    one = FIRST_TOKEN_SECONDS + _NOTES_OUT / TOKENS_PER_SECOND
    bounds = [
        float(video.duration) / _PREPARE_SPEED / (options.workers or usual_workers()),
        video.whole.size_bytes / _UPLINK,
        one * -(-count // options.concurrency),
        (count - 1) * 60 / limits.rpm if limits.rpm else 0.0,
        (count - 1) * tokens * 60 / limits.tpm if limits.tpm else 0.0,
    ]
    last = 0.0 if count == 1 else FIRST_TOKEN_SECONDS + _SUMMARY_OUT / TOKENS_PER_SECOND
    return max(bounds) + one + last
