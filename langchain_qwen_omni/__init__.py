"""Qwen-Omni for LangChain: text, images, audio and video in one message, through `ChatQwenOmni`.

Example:
    from langchain_core.messages import HumanMessage
    from langchain_qwen_omni import ChatQwenOmni

    question = HumanMessage([{"type": "video", "path": "promo.mp4"}, {"type": "text", "text": "What is sold here?"}])
    print(ChatQwenOmni().invoke([question]).text)
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from langchain_qwen_omni._errors import NoToolCallError as NoToolCallError
    from langchain_qwen_omni.audio_loader import QwenOmniAudioLoader as QwenOmniAudioLoader
    from langchain_qwen_omni.captions import caption_chain as caption_chain
    from langchain_qwen_omni.chat_models import ChatQwenOmni as ChatQwenOmni
    from langchain_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from langchain_qwen_omni.tools import QwenOmniToolkit as QwenOmniToolkit
    from qwen_omni.captions.models import VideoCaption as VideoCaption
    from qwen_omni.captions.timed import TimedCaptions as TimedCaptions

__all__ = [
    "CaptionOutputParser",
    "ChatQwenOmni",
    "NoToolCallError",
    "QwenOmniAudioLoader",
    "QwenOmniToolkit",
    "TimedCaptions",
    "VideoCaption",
    "caption_chain",
]
_HOMES = {
    "CaptionOutputParser": "langchain_qwen_omni.output_parsers",
    "ChatQwenOmni": "langchain_qwen_omni.chat_models",
    "NoToolCallError": "langchain_qwen_omni._errors",
    "QwenOmniAudioLoader": "langchain_qwen_omni.audio_loader",
    "QwenOmniToolkit": "langchain_qwen_omni.tools",
    "TimedCaptions": "qwen_omni.captions.timed",
    "VideoCaption": "qwen_omni.captions.models",
    "caption_chain": "langchain_qwen_omni.captions",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever is asked for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
