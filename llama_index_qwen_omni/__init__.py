"""Qwen-Omni for LlamaIndex. Names load on first use; see the changelog for what works today."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from llama_index_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
    from qwen_omni.captions.models import VideoCaption as VideoCaption
    from qwen_omni.captions.timed import TimedCaptions as TimedCaptions

__all__ = ["CaptionOutputParser", "TimedCaptions", "VideoCaption"]
_HOMES = {
    "CaptionOutputParser": "llama_index_qwen_omni.output_parsers",
    "TimedCaptions": "qwen_omni.captions.timed",
    "VideoCaption": "qwen_omni.captions.models",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever is asked for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    try:
        return getattr(import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "llama_index":
            raise
        told = f"{name} needs llama-index-core: pip install 'qwen-omni[llama-index]'"
        raise ModuleNotFoundError(told, name=error.name) from None


def __dir__() -> list[str]:
    return __all__
