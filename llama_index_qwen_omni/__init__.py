"""Qwen-Omni for LlamaIndex: text, images, audio and video in one message, through `QwenOmni`.

Example:
    from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock
    from llama_index_qwen_omni import QwenOmni

    question = ChatMessage(blocks=[VideoBlock(path="promo.mp4"), TextBlock(text="What is sold here?")])
    print(QwenOmni().chat([question]).message.content)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_qwen_omni._documents import clip as clip
    from llama_index_qwen_omni.llm import QwenOmni as QwenOmni
    from llama_index_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from llama_index_qwen_omni.readers import QwenOmniVideoReader as QwenOmniVideoReader
    from qwen_omni.captions.models import VideoCaption as VideoCaption
    from qwen_omni.captions.timed import TimedCaptions as TimedCaptions
    from qwen_omni.errors import NoToolCallError as NoToolCallError

__all__ = [
    "CaptionOutputParser",
    "NoToolCallError",
    "QwenOmni",
    "QwenOmniVideoReader",
    "TimedCaptions",
    "VideoCaption",
    "clip",
]
_HOMES = {
    "CaptionOutputParser": "llama_index_qwen_omni.output_parsers",
    "NoToolCallError": "qwen_omni.errors",
    "QwenOmni": "llama_index_qwen_omni.llm",
    "QwenOmniVideoReader": "llama_index_qwen_omni.readers",
    "TimedCaptions": "qwen_omni.captions.timed",
    "VideoCaption": "qwen_omni.captions.models",
    "clip": "llama_index_qwen_omni._documents",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever is asked for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
