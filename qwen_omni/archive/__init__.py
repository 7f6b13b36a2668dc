"""Work on many requests that outlives the process that began it."""

from qwen_omni.archive.batch import AsyncBatchJob, BatchJob, try_batch_file
from qwen_omni.archive.batch_flows import BatchResult
from qwen_omni.archive.lines import BatchEstimate
from qwen_omni.wire.batch import BatchStatus

__all__ = ["AsyncBatchJob", "BatchEstimate", "BatchJob", "BatchResult", "BatchStatus", "try_batch_file"]
