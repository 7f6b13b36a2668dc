"""Qwen-Omni for LangChain: text, images, audio and video in one message, through `ChatQwenOmni`.

Example:
    from langchain_core.messages import HumanMessage
    from langchain_qwen_omni import ChatQwenOmni

    question = HumanMessage([{"type": "video", "path": "promo.mp4"}, {"type": "text", "text": "What is sold here?"}])
    print(ChatQwenOmni().invoke([question]).text)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_omni._references import to_reference as to_reference
    from langchain_qwen_omni._speech import save_speech as save_speech
    from langchain_qwen_omni.callbacks import UsageLedgerHandler as UsageLedgerHandler
    from langchain_qwen_omni.captions import caption_chain as caption_chain
    from langchain_qwen_omni.chat_models import ChatQwenOmni as ChatQwenOmni
    from langchain_qwen_omni.document_loaders import (
        QwenOmniAudioLoader as QwenOmniAudioLoader,
        QwenOmniMediaParser as QwenOmniMediaParser,
        QwenOmniVideoLoader as QwenOmniVideoLoader,
        clip as clip,
    )
    from langchain_qwen_omni.long_video import LongVideoChain as LongVideoChain
    from langchain_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from langchain_qwen_omni.tools import (
        TOOL_PROGRESS_EVENT as TOOL_PROGRESS_EVENT,
        QwenOmniToolkit as QwenOmniToolkit,
    )
    from qwen_omni.errors import NoToolCallError as NoToolCallError
    from qwen_omni.structured.models import VideoCaption as VideoCaption
    from qwen_omni.structured.timed import TimedCaptions as TimedCaptions

_HOMES = {
    "CaptionOutputParser": "langchain_qwen_omni.output_parsers",
    "ChatQwenOmni": "langchain_qwen_omni.chat_models",
    "LongVideoChain": "langchain_qwen_omni.long_video",
    "NoToolCallError": "qwen_omni.errors",
    "QwenOmniAudioLoader": "langchain_qwen_omni.document_loaders",
    "QwenOmniMediaParser": "langchain_qwen_omni.document_loaders",
    "QwenOmniToolkit": "langchain_qwen_omni.tools",
    "QwenOmniVideoLoader": "langchain_qwen_omni.document_loaders",
    "TOOL_PROGRESS_EVENT": "langchain_qwen_omni.tools",
    "TimedCaptions": "qwen_omni.structured.timed",
    "UsageLedgerHandler": "langchain_qwen_omni.callbacks",
    "VideoCaption": "qwen_omni.structured.models",
    "caption_chain": "langchain_qwen_omni.captions",
    "clip": "langchain_qwen_omni.document_loaders",
    "save_speech": "langchain_qwen_omni._speech",
    "to_reference": "langchain_qwen_omni._references",
}
__all__ = sorted(_HOMES)  # noqa: PLE0605  (computed, to avoid a third list of names)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any public object)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "langchain_core":
            raise
        message = f"{name} needs langchain-core: pip install 'qwen-omni[langchain]'"
        raise ModuleNotFoundError(message, name=error.name) from None


def __dir__() -> list[str]:
    return __all__
