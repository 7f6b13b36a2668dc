"""Count the modules that a call passes through: one row for each of five flows, run against the stand-in.

    python scripts/hops.py                    # the table
    python scripts/hops.py --pairs text       # which modules call which, in flows whose names contain "text"

"modules" are the modules of this project in which functions were called, "functions" those functions, and "changes" the
calls from one module of the project into another. Lazy imports happen before counting; work in other threads counts,
other processes and the stand-in do not.
"""

import argparse
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

from langchain_core.messages import HumanMessage

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain, QwenOmniVideoLoader, caption_chain
from qwen_omni import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_video

_PROJECT = ("qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni")
_NOT_COUNTED = ("qwen_omni.standin",)
_SETTLE_SECONDS = 0.2  # threads that a flow left behind


@dataclass(slots=True)
class Hops:
    """The counts of one flow."""

    modules: set[str] = field(default_factory=set)
    functions: set[CodeType] = field(default_factory=set)
    pairs: Counter[tuple[str, str]] = field(default_factory=Counter)  # caller, module entered
    entries: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # caller, module entered, its function

    @property
    def changes(self) -> int:
        """Calls from one module of the project into another."""
        return self.pairs.total()

    def note(self, frame: FrameType, event: str, _: object) -> None:
        """Count one call; the signature is that of `sys.setprofile`."""
        entered = _module_of(frame) if event == "call" else None
        if entered is None:
            return
        caller = frame.f_back
        while caller is not None and _module_of(caller) is None:
            caller = caller.f_back
        self.modules.add(entered)
        self.functions.add(frame.f_code)
        before = _module_of(caller) if caller is not None else None
        if before is not None and before != entered:
            self.pairs[before, entered] += 1
            self.entries[before, entered, frame.f_code.co_qualname] += 1

    def table(self) -> str:
        """Return the pairs of modules, those with the most calls first, each with the functions entered."""
        lines = []
        for (caller, entered), calls in self.pairs.most_common():
            names = sorted((-n, name) for (a, b, name), n in self.entries.items() if (a, b) == (caller, entered))
            lines.append(f"{calls:6}  {caller} -> {entered}: {', '.join(f'{name} {-n}' for n, name in names)}\n")
        return "".join(lines)


def _module_of(frame: FrameType) -> str | None:
    name = str(frame.f_globals.get("__name__", ""))
    ours = name.partition(".")[0] in _PROJECT and not name.startswith(_NOT_COUNTED)
    return name if ours and frame.f_code.co_name != "<module>" else None


@contextmanager
def counted() -> Iterator[Hops]:
    """Count while the block runs, in this thread and in threads started meanwhile."""
    hops = Hops()
    threading.setprofile(hops.note)
    sys.setprofile(hops.note)
    try:
        yield hops
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        time.sleep(_SETTLE_SECONDS)


def flows(folder: Path) -> dict[str, Callable[[Path], Any]]:
    """Return the flows by name. Each is called with a file that no flow has used before."""
    llm = ChatQwenOmni(media_root=folder)

    def ask(path: Path) -> object:
        blocks: list[str | dict[Any, Any]] = [{"type": "video", "path": str(path)}, "What is shown?"]
        return llm.invoke([HumanMessage(blocks)])

    return {
        "text": lambda _: llm.invoke("Hello."),
        "video with a path": ask,
        "caption_chain": lambda path: caption_chain(llm).invoke(str(path)),
        "loader": lambda path: QwenOmniVideoLoader(path, llm).load(),
        "long video": lambda path: LongVideoChain(llm).invoke(str(path)),
    }


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Count the modules that a call passes through.")
    parser.add_argument("--pairs", metavar="FLOW", help="also print who calls whom in the flows whose names hold FLOW")
    wanted = parser.parse_args().pairs
    with tempfile.TemporaryDirectory() as folder, Standin().environment():
        root = Path(folder).resolve()
        rows = []
        for name, flow in flows(root).items():
            first, second = (make_video(root / f"{name} {one}.mp4", seconds=6).path for one in (1, 2))
            flow(first)
            with counted() as hops:
                flow(second)
            rows.append((name, len(hops.modules), len(hops.functions), hops.changes))
            if wanted is not None and wanted in name:
                sys.stdout.write(f"{name}: {' '.join(sorted(hops.modules))}\n{hops.table()}\n")
    sys.stdout.write(f"{'flow':20}{'modules':>9}{'functions':>11}{'changes':>9}\n")
    for name, modules, functions, changes in rows:
        sys.stdout.write(f"{name:20}{modules:>9}{functions:>11}{changes:>9}\n")


if __name__ == "__main__":
    Settings.load(needs_key=False)
    main()
