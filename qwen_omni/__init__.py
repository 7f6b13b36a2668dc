"""Qwen-Omni: text, images, audio and video in one message, the answer as a stream. The framework-independent core.

Names are imported on first use (`_HOMES`), so that `import qwen_omni` is fast; run `scripts/stubs.py` after a change.
"""

from qwen_omni import _moved
from qwen_omni._lazy import attach

_HOMES = {
    "qwen_omni.client": "AsyncOmniClient OmniClient",
    "qwen_omni.errors": """
        APIConnectionError APIError APITimeoutError AccountError AuthenticationError BatchCancelledError
        BatchExpiredError BatchTimeoutError CaptionSyntaxError
        ConfigurationError ContentFilterError ContextOverflowError DeadlineExceededError DeliveryError
        InvalidRequestError LocalNetworkError LocalResourceError MediaDoesNotFitError
        MediaDownloadTimeoutError MediaError MediaOutsideRootError MediaRefusedError NoToolCallError
        NotFoundError PermissionDeniedError QwenOmniError RateLimitError ServerError SpendLimitError
        StoreError StoreUnavailableError StreamInterruptedError TaskFailedError TaskUnfinishedError TooManyGapsError
        ToolArgumentsError TruncatedAnswerError UnknownOptionError UnreadableMediaError UnsupportedContentError
        UnsupportedMediaError
    """,
    "qwen_omni.library.answers": "AskOptions LibraryAnswer LibraryEvidence",
    "qwen_omni.library.ask": """
        LibraryEstimate LibraryProgress aask_library ask_library astream_library estimate_library stream_library
    """,
    "qwen_omni.library.embeddings": "TextEmbedding",
    "qwen_omni.library.adding": "Added",
    "qwen_omni.library.library": "VideoLibrary",
    "qwen_omni.media.budget": "MediaBudget Sampling",
    "qwen_omni.media.info": "MediaInfo",
    "qwen_omni.media.plan.images": "JpegImage",
    "qwen_omni.media.plan.plan": "MediaPlan",
    "qwen_omni.media.prepare": "PrepareOptions Prepared aprepare asplit prepare split",
    "qwen_omni.media.source": "MediaSource",
    "qwen_omni.messages": """
        AudioPart FramesPart ImagePart Message Part TextPart ThinkingPart ToolCallPart ToolResultPart
        VideoPart user
    """,
    "qwen_omni.options": "ChatOptions ChatRequest Tool",
    "qwen_omni.pricing.costs": "Cost TokenCounts cost_of",
    "qwen_omni.pricing.ledger": "UsageLedger",
    "qwen_omni.pricing.limit": "Reservation SpendLimit",
    "qwen_omni.profiles": "ExchangeRate Prices Profile known_models profile_for",
    "qwen_omni.profiles.rate_limits": "RateLimits",
    "qwen_omni.request.estimate": "Estimate estimate",
    "qwen_omni.request.media_estimate": "MediaEstimate",
    "qwen_omni.responses": """
        AudioDelta Delta FinishDelta Response ResponseBuilder SentMedia StartDelta TextDelta ThinkingDelta
        ToolCall ToolCallDelta Usage UsageDelta acollect collect
    """,
    "qwen_omni.samples": "Sample sample",
    "qwen_omni.settings": "OssCredentials OssSettings Settings",
    "qwen_omni.structured.ask": "CaptionResult TruncatedAnswerWarning",
    "qwen_omni.structured.caption": "CaptionOptions acaption caption",
    "qwen_omni.structured.models": "GeneralCaption VideoCaption",
    "qwen_omni.structured.subtitles": "to_srt to_webvtt",
    "qwen_omni.structured.timed": "TimedCaption TimedCaptions",
    "qwen_omni.tools.media_tools": "MediaTools ToolDefinition",
    "qwen_omni.tools.results": "ToolOutcome",
    "qwen_omni.transcription.options": "TranscriptionOptions",
    "qwen_omni.transcription.transcribe": "atranscribe atranscribe_many transcribe transcribe_many",
    "qwen_omni.transcription.transcript": "Sentence Transcript Word",
    "qwen_omni.video.ask": "aask_video ask_video astream_answer stream_answer",
    "qwen_omni.video.engine.run": "Progress aiter_notes iter_notes",
    "qwen_omni.video.export.html": "PageChoices",
    "qwen_omni.video.forecast": "Forecast forecast",
    "qwen_omni.video.options": "SummaryOptions",
    "qwen_omni.video.progress_bar": "ProgressBar",
    "qwen_omni.video.results": "Chapter VideoSummary",
    "qwen_omni.video.schemas": "SegmentNotes TimedNote",
    "qwen_omni.video.summarize": "astream_summary asummarize stream_summary summarize",
    "qwen_omni.video.tasks": "VideoAnswer",
}  # fmt: skip

_moved.install()
__getattr__, __dir__, __all__ = attach(__name__, _HOMES, moved=_moved.MOVED_NAMES)
