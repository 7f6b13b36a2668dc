"""Qwen-Omni for LlamaIndex. Names load on first use; see the changelog for what works today."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_qwen_omni.audio_reader import QwenOmniAudioReader as QwenOmniAudioReader
    from llama_index_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from llama_index_qwen_omni.tool_spec import QwenOmniToolSpec as QwenOmniToolSpec
    from qwen_omni.captions.models import VideoCaption as VideoCaption
    from qwen_omni.captions.timed import TimedCaptions as TimedCaptions

__all__ = ["CaptionOutputParser", "QwenOmniAudioReader", "QwenOmniToolSpec", "TimedCaptions", "VideoCaption"]
_HOMES = {
    "CaptionOutputParser": "llama_index_qwen_omni.output_parsers",
    "QwenOmniAudioReader": "llama_index_qwen_omni.audio_reader",
    "QwenOmniToolSpec": "llama_index_qwen_omni.tool_spec",
    "TimedCaptions": "qwen_omni.captions.timed",
    "VideoCaption": "qwen_omni.captions.models",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever is asked for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return __all__
