# Written by scripts/stubs.py.

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
    thumbnail as thumbnail,
)
from langchain_qwen_omni.long_video import LongVideoChain as LongVideoChain
from langchain_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
from langchain_qwen_omni.retrievers import VideoRetriever as VideoRetriever
from langchain_qwen_omni.tools import TOOL_PROGRESS_EVENT as TOOL_PROGRESS_EVENT, QwenOmniToolkit as QwenOmniToolkit
from langchain_qwen_omni.video_qa import LIBRARY_EVENT as LIBRARY_EVENT, VideoQAChain as VideoQAChain
from qwen_omni.errors import NoToolCallError as NoToolCallError
from qwen_omni.structured.models import GeneralCaption as GeneralCaption, VideoCaption as VideoCaption
from qwen_omni.structured.timed import TimedCaptions as TimedCaptions
