"""What LangChain's tracing service would be sent."""

from typing import Any

from langchain_core.tracers.base import BaseTracer


class Trace(BaseTracer):
    """Keeps it: `sent` as JSON, `shown` as Python prints it."""

    def __init__(self) -> None:
        super().__init__(_schema_format="original+chat")
        self.runs = 0
        self.sent = self.shown = ""

    def _persist_run(self, run: Any) -> None:
        self.runs += 1
        self.sent += run.model_dump_json()
        self.shown += f"{run!r} {run.model_dump()}"
