"""Work on many files that outlives the process that began it: archives, and batches of requests at half price."""

from qwen_omni.archive.batch import AsyncBatchJob, BatchJob, try_batch_file
from qwen_omni.archive.batch_flows import BatchResult
from qwen_omni.archive.export import export
from qwen_omni.archive.lines import BatchEstimate
from qwen_omni.archive.plan import ArchivePlan, plan
from qwen_omni.archive.rows import ArchivePassage, ArchiveRow, Problem, Status, passages_of
from qwen_omni.archive.run import ArchiveProgress, ArchiveStatus, arun, iter_rows, retry, run, status
from qwen_omni.archive.sources import ArchiveItem, find_items
from qwen_omni.archive.steps import (
    Caption,
    FunctionStep,
    Notes,
    Step,
    StepContext,
    StepEstimate,
    StepResult,
    Summarize,
    Transcribe,
)
from qwen_omni.archive.worker import ArchiveWorker
from qwen_omni.wire.batch import BatchStatus

__all__ = [
    "ArchiveItem",
    "ArchivePassage",
    "ArchivePlan",
    "ArchiveProgress",
    "ArchiveRow",
    "ArchiveStatus",
    "ArchiveWorker",
    "AsyncBatchJob",
    "BatchEstimate",
    "BatchJob",
    "BatchResult",
    "BatchStatus",
    "Caption",
    "FunctionStep",
    "Notes",
    "Problem",
    "Status",
    "Step",
    "StepContext",
    "StepEstimate",
    "StepResult",
    "Summarize",
    "Transcribe",
    "arun",
    "export",
    "find_items",
    "iter_rows",
    "passages_of",
    "plan",
    "retry",
    "run",
    "status",
    "try_batch_file",
]
