"""Qwen-Omni for LangChain: text, images, audio and video in one message, through `ChatQwenOmni`.

Example:
    from langchain_core.messages import HumanMessage
    from langchain_qwen_omni import ChatQwenOmni

    question = HumanMessage([{"type": "video", "path": "promo.mp4"}, {"type": "text", "text": "What is sold here?"}])
    print(ChatQwenOmni().invoke([question]).text)
"""

from qwen_omni._lazy import attach

_HOMES = {
    "langchain_qwen_omni._references": "to_reference",
    "langchain_qwen_omni._speech": "save_speech",
    "langchain_qwen_omni.callbacks": "UsageLedgerHandler",
    "langchain_qwen_omni.captions": "caption_chain",
    "langchain_qwen_omni.chat_models": "ChatQwenOmni",
    "langchain_qwen_omni.document_loaders": """
        QwenOmniAudioLoader QwenOmniMediaParser QwenOmniVideoLoader clip thumbnail
    """,
    "langchain_qwen_omni.long_video": "LongVideoChain",
    "langchain_qwen_omni.output_parsers": "CaptionOutputParser",
    "langchain_qwen_omni.retrievers": "VideoRetriever",
    "langchain_qwen_omni.tools": "QwenOmniToolkit TOOL_PROGRESS_EVENT",
    "langchain_qwen_omni.video_qa": "LIBRARY_EVENT VideoQAChain",
    "qwen_omni.errors": "NoToolCallError",
    "qwen_omni.structured.models": "GeneralCaption VideoCaption",
    "qwen_omni.structured.timed": "TimedCaptions",
}
__getattr__, __dir__, __all__ = attach(__name__, _HOMES, extra="langchain", theirs=("langchain_core",))
