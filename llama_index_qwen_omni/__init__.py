"""Qwen-Omni for LlamaIndex: text, images, audio and video in one message, through `QwenOmni`.

Example:
    from llama_index.core.llms import ChatMessage, TextBlock, VideoBlock
    from llama_index_qwen_omni import QwenOmni

    question = ChatMessage(blocks=[VideoBlock(path="promo.mp4"), TextBlock(text="What is sold here?")])
    print(QwenOmni().chat([question]).message.content)
"""

from qwen_omni._lazy import attach

_HOMES = {
    "llama_index_qwen_omni.base": "QwenOmni",
    "llama_index_qwen_omni.callbacks": "UsageLedgerHandler",
    "llama_index_qwen_omni.long_video": "LongVideoProgress LongVideoStart LongVideoWorkflow",
    "llama_index_qwen_omni.output_parsers": "CaptionOutputParser",
    "llama_index_qwen_omni.query_engine": "VideoQueryEngine VideoQueryProgress",
    "llama_index_qwen_omni.readers": "QwenOmniAudioReader QwenOmniVideoReader clip thumbnail",
    "llama_index_qwen_omni.retrievers": "VideoRetriever VideoWindowPostprocessor",
    "llama_index_qwen_omni.tool_spec": "QwenOmniToolProgress QwenOmniToolSpec",
    "qwen_omni.errors": "NoToolCallError",
    "qwen_omni.structured.models": "GeneralCaption VideoCaption",
    "qwen_omni.structured.timed": "TimedCaptions",
}
# fsspec comes with LlamaIndex.
__getattr__, __dir__, __all__ = attach(__name__, _HOMES, extra="llama-index", theirs=("llama_index", "fsspec"))
