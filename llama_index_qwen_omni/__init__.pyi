# Written by scripts/stubs.py.

from llama_index_qwen_omni.base import QwenOmni as QwenOmni
from llama_index_qwen_omni.callbacks import UsageLedgerHandler as UsageLedgerHandler
from llama_index_qwen_omni.long_video import (
    LongVideoProgress as LongVideoProgress,
    LongVideoStart as LongVideoStart,
    LongVideoWorkflow as LongVideoWorkflow,
)
from llama_index_qwen_omni.output_parsers import CaptionOutputParser as CaptionOutputParser
from llama_index_qwen_omni.query_engine import (
    VideoQueryEngine as VideoQueryEngine,
    VideoQueryProgress as VideoQueryProgress,
)
from llama_index_qwen_omni.readers import (
    QwenOmniAudioReader as QwenOmniAudioReader,
    QwenOmniVideoReader as QwenOmniVideoReader,
    clip as clip,
    thumbnail as thumbnail,
)
from llama_index_qwen_omni.retrievers import (
    VideoRetriever as VideoRetriever,
    VideoWindowPostprocessor as VideoWindowPostprocessor,
)
from llama_index_qwen_omni.tool_spec import (
    QwenOmniToolProgress as QwenOmniToolProgress,
    QwenOmniToolSpec as QwenOmniToolSpec,
)
from qwen_omni.errors import NoToolCallError as NoToolCallError
from qwen_omni.structured.models import GeneralCaption as GeneralCaption, VideoCaption as VideoCaption
from qwen_omni.structured.timed import TimedCaptions as TimedCaptions
