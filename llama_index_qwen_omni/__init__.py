"""Qwen-Omni for LlamaIndex: text, images, audio and video in one message, through `QwenOmni`.

Example:
    from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock
    from llama_index_qwen_omni import QwenOmni

    question = ChatMessage(blocks=[VideoBlock(path="promo.mp4"), TextBlock(text="What is sold here?")])
    print(QwenOmni().chat([question]).message.content)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_qwen_omni.base import QwenOmni as QwenOmni
    from llama_index_qwen_omni.callbacks import UsageLedgerHandler as UsageLedgerHandler
    from llama_index_qwen_omni.long_video import (
        LongVideoProgress as LongVideoProgress,
        LongVideoStart as LongVideoStart,
        LongVideoWorkflow as LongVideoWorkflow,
    )
    from llama_index_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from llama_index_qwen_omni.readers import (
        QwenOmniAudioReader as QwenOmniAudioReader,
        QwenOmniVideoReader as QwenOmniVideoReader,
        clip as clip,
    )
    from llama_index_qwen_omni.tool_spec import (
        QwenOmniToolProgress as QwenOmniToolProgress,
        QwenOmniToolSpec as QwenOmniToolSpec,
    )
    from qwen_omni.errors import NoToolCallError as NoToolCallError
    from qwen_omni.structured.models import VideoCaption as VideoCaption
    from qwen_omni.structured.timed import TimedCaptions as TimedCaptions

_HOMES = {
    "CaptionOutputParser": "llama_index_qwen_omni.output_parsers",
    "LongVideoProgress": "llama_index_qwen_omni.long_video",
    "LongVideoStart": "llama_index_qwen_omni.long_video",
    "LongVideoWorkflow": "llama_index_qwen_omni.long_video",
    "NoToolCallError": "qwen_omni.errors",
    "QwenOmni": "llama_index_qwen_omni.base",
    "QwenOmniAudioReader": "llama_index_qwen_omni.readers",
    "QwenOmniToolProgress": "llama_index_qwen_omni.tool_spec",
    "QwenOmniToolSpec": "llama_index_qwen_omni.tool_spec",
    "QwenOmniVideoReader": "llama_index_qwen_omni.readers",
    "TimedCaptions": "qwen_omni.structured.timed",
    "UsageLedgerHandler": "llama_index_qwen_omni.callbacks",
    "VideoCaption": "qwen_omni.structured.models",
    "clip": "llama_index_qwen_omni.readers",
}
_THEIRS = ("llama_index", "fsspec")  # the latter comes with the former
__all__ = sorted(_HOMES)  # noqa: PLE0605  (computed, to avoid a third list of names)


def __getattr__(name: str) -> Any:  # noqa: ANN401  (any public object)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] not in _THEIRS:
            raise
        message = f"{name} needs llama-index-core: pip install 'qwen-omni[llama-index]'"
        raise ModuleNotFoundError(message, name=error.name) from None


def __dir__() -> list[str]:
    return __all__
