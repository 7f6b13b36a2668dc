"""The command line in this process, on the stand-in."""

from collections.abc import Callable
from pathlib import Path

import pytest

from qwen_omni.cli.main import run
from qwen_omni.standin import Standin

Command = Callable[..., tuple[int, str, str]]


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
