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
    from langchain_qwen_omni.chat_models import ChatQwenOmni as ChatQwenOmni

__all__ = ["ChatQwenOmni", "NoToolCallError"]
_HOMES = {"ChatQwenOmni": "chat_models", "NoToolCallError": "_errors"}


def __getattr__(name: str) -> Any:  # noqa: ANN401  (whatever is asked for)
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module  # noqa: PLC0415  (only at first use)

    return getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return __all__
