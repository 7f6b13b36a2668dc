"""Processes of Python code, with pipes."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def start(code, *arguments, environment=None):
    """Run Python code in a process with pipes."""
    given = {"env": {**os.environ, "PYTHONPATH": str(ROOT), **(environment or {})}, "cwd": ROOT, "text": True}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], **pipes, **given)


def lives(pid):
    """Whether a process runs or is stopped."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in ("Z", "X")
    except OSError:
        return False
