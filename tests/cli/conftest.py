"""The command line in this process, on the stand-in."""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qwen_omni.cli import output
from qwen_omni.cli.main import run
from qwen_omni.standin import Standin

Command = Callable[..., tuple[int, str, str]]
RUN = (sys.executable, "-c", "from qwen_omni.cli.main import run; run()")
"""The command in a process of its own."""


def stop_at(now: bool) -> bool:
    """Press Ctrl-C if it is time; for faults of the stand-in."""
    if now:
        os.kill(os.getpid(), signal.SIGINT)
    return now


@pytest.fixture
def command(
    standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run a command in a folder of its own; return its status, standard output and standard error."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
    monkeypatch.chdir(tmp_path)

    def call(*arguments: object) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as ended:
            run([*map(str, arguments)])
        out, err = capsys.readouterr()
        return int(ended.value.code or 0), out, err

    return call


@contextlib.contextmanager
def terminal(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Make standard error a terminal of 80 columns for a while; the list holds what it was sent, at the end."""
    leader, follower = os.openpty()
    pieces: list[bytes] = []

    def read() -> None:
        with contextlib.suppress(OSError):  # the other end is closed
            while piece := os.read(leader, 65536):
                pieces.append(piece)

    reader = threading.Thread(target=read, daemon=True)
    reader.start()
    shown: list[str] = []
    with monkeypatch.context() as patched, os.fdopen(follower, "w", encoding="utf-8") as stream:
        patched.setenv("COLUMNS", "80")
        patched.setenv("TERM", "xterm")
        patched.setattr(sys, "stderr", stream)
        patched.setattr(
            output, "_err", output._Console(stderr=True, highlight=False)
        )  # knows its stream from the start
        yield shown
    reader.join(5)
    os.close(leader)
    shown.append(b"".join(pieces).decode())
