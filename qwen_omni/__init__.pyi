# Written by scripts/stubs.py.

from qwen_omni.client import AsyncOmniClient as AsyncOmniClient, OmniClient as OmniClient
from qwen_omni.errors import (
    AccountError as AccountError,
    APIConnectionError as APIConnectionError,
    APIError as APIError,
    APITimeoutError as APITimeoutError,
    AuthenticationError as AuthenticationError,
    BatchCancelledError as BatchCancelledError,
    BatchExpiredError as BatchExpiredError,
    BatchTimeoutError as BatchTimeoutError,
    CaptionSyntaxError as CaptionSyntaxError,
    ConfigurationError as ConfigurationError,
    ContentFilterError as ContentFilterError,
    ContextOverflowError as ContextOverflowError,
    DeadlineExceededError as DeadlineExceededError,
    DeliveryError as DeliveryError,
    InvalidRequestError as InvalidRequestError,
    LocalNetworkError as LocalNetworkError,
    LocalResourceError as LocalResourceError,
    MediaDoesNotFitError as MediaDoesNotFitError,
    MediaDownloadTimeoutError as MediaDownloadTimeoutError,
    MediaError as MediaError,
    MediaOutsideRootError as MediaOutsideRootError,
    MediaRefusedError as MediaRefusedError,
    NotFoundError as NotFoundError,
    NoToolCallError as NoToolCallError,
    PermissionDeniedError as PermissionDeniedError,
    QwenOmniError as QwenOmniError,
    RateLimitError as RateLimitError,
    ServerError as ServerError,
    SpendLimitError as SpendLimitError,
    StoreError as StoreError,
    StoreUnavailableError as StoreUnavailableError,
    StreamInterruptedError as StreamInterruptedError,
    TaskFailedError as TaskFailedError,
    TaskUnfinishedError as TaskUnfinishedError,
    ToolArgumentsError as ToolArgumentsError,
    TooManyGapsError as TooManyGapsError,
    TruncatedAnswerError as TruncatedAnswerError,
    UnknownOptionError as UnknownOptionError,
    UnreadableMediaError as UnreadableMediaError,
    UnsupportedContentError as UnsupportedContentError,
    UnsupportedMediaError as UnsupportedMediaError,
)
from qwen_omni.library.adding import Added as Added
from qwen_omni.library.answers import (
    AskOptions as AskOptions,
    LibraryAnswer as LibraryAnswer,
    LibraryEvidence as LibraryEvidence,
)
from qwen_omni.library.ask import (
    LibraryEstimate as LibraryEstimate,
    LibraryProgress as LibraryProgress,
    aask_library as aask_library,
    ask_library as ask_library,
    astream_library as astream_library,
    estimate_library as estimate_library,
    stream_library as stream_library,
)
from qwen_omni.library.embeddings import TextEmbedding as TextEmbedding
from qwen_omni.library.library import VideoLibrary as VideoLibrary
from qwen_omni.media.budget import MediaBudget as MediaBudget, Sampling as Sampling
from qwen_omni.media.info import MediaInfo as MediaInfo
from qwen_omni.media.plan.images import JpegImage as JpegImage
from qwen_omni.media.plan.plan import MediaPlan as MediaPlan
from qwen_omni.media.prepare import (
    Prepared as Prepared,
    PrepareOptions as PrepareOptions,
    aprepare as aprepare,
    asplit as asplit,
    prepare as prepare,
    split as split,
)
from qwen_omni.media.source import MediaSource as MediaSource
from qwen_omni.messages import (
    AudioPart as AudioPart,
    FramesPart as FramesPart,
    ImagePart as ImagePart,
    Message as Message,
    Part as Part,
    TextPart as TextPart,
    ThinkingPart as ThinkingPart,
    ToolCallPart as ToolCallPart,
    ToolResultPart as ToolResultPart,
    VideoPart as VideoPart,
    user as user,
)
from qwen_omni.options import ChatOptions as ChatOptions, ChatRequest as ChatRequest, Tool as Tool
from qwen_omni.pricing.costs import Cost as Cost, TokenCounts as TokenCounts, cost_of as cost_of
from qwen_omni.pricing.ledger import UsageLedger as UsageLedger
from qwen_omni.pricing.limit import Reservation as Reservation, SpendLimit as SpendLimit
from qwen_omni.profiles import (
    ExchangeRate as ExchangeRate,
    Prices as Prices,
    Profile as Profile,
    known_models as known_models,
    profile_for as profile_for,
)
from qwen_omni.profiles.rate_limits import RateLimits as RateLimits
from qwen_omni.request.estimate import Estimate as Estimate, estimate as estimate
from qwen_omni.request.media_estimate import MediaEstimate as MediaEstimate
from qwen_omni.responses import (
    AudioDelta as AudioDelta,
    Delta as Delta,
    FinishDelta as FinishDelta,
    Response as Response,
    ResponseBuilder as ResponseBuilder,
    SentMedia as SentMedia,
    StartDelta as StartDelta,
    TextDelta as TextDelta,
    ThinkingDelta as ThinkingDelta,
    ToolCall as ToolCall,
    ToolCallDelta as ToolCallDelta,
    Usage as Usage,
    UsageDelta as UsageDelta,
    acollect as acollect,
    collect as collect,
)
from qwen_omni.samples import Sample as Sample, sample as sample
from qwen_omni.settings import OssCredentials as OssCredentials, OssSettings as OssSettings, Settings as Settings
from qwen_omni.structured.ask import CaptionResult as CaptionResult, TruncatedAnswerWarning as TruncatedAnswerWarning
from qwen_omni.structured.caption import CaptionOptions as CaptionOptions, acaption as acaption, caption as caption
from qwen_omni.structured.models import GeneralCaption as GeneralCaption, VideoCaption as VideoCaption
from qwen_omni.structured.subtitles import to_srt as to_srt, to_webvtt as to_webvtt
from qwen_omni.structured.timed import TimedCaption as TimedCaption, TimedCaptions as TimedCaptions
from qwen_omni.tools.media_tools import MediaTools as MediaTools, ToolDefinition as ToolDefinition
from qwen_omni.tools.results import ToolOutcome as ToolOutcome
from qwen_omni.transcription.options import TranscriptionOptions as TranscriptionOptions
from qwen_omni.transcription.transcribe import (
    atranscribe as atranscribe,
    atranscribe_many as atranscribe_many,
    transcribe as transcribe,
    transcribe_many as transcribe_many,
)
from qwen_omni.transcription.transcript import Sentence as Sentence, Transcript as Transcript, Word as Word
from qwen_omni.video.ask import (
    aask_video as aask_video,
    ask_video as ask_video,
    astream_answer as astream_answer,
    stream_answer as stream_answer,
)
from qwen_omni.video.engine.run import Progress as Progress, aiter_notes as aiter_notes, iter_notes as iter_notes
from qwen_omni.video.export.html import PageChoices as PageChoices
from qwen_omni.video.forecast import Forecast as Forecast, forecast as forecast
from qwen_omni.video.options import SummaryOptions as SummaryOptions
from qwen_omni.video.progress_bar import ProgressBar as ProgressBar
from qwen_omni.video.results import Chapter as Chapter, VideoSummary as VideoSummary
from qwen_omni.video.schemas import SegmentNotes as SegmentNotes, TimedNote as TimedNote
from qwen_omni.video.summarize import (
    astream_summary as astream_summary,
    asummarize as asummarize,
    stream_summary as stream_summary,
    summarize as summarize,
)
from qwen_omni.video.tasks import VideoAnswer as VideoAnswer

Captioned = CaptionResult
Choices = PrepareOptions
Foresight = Forecast
Plan = MediaPlan
Still = JpegImage
foresee = forecast
