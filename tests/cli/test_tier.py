"""`--tier batch` of the commands."""

import json
from typing import Any

import pytest
from PIL import Image

from qwen_omni.standin import Standin
from tests.cli.conftest import Command

BATCH_PATH = "/batch/compatible-mode/v1/chat/completions"


@pytest.fixture(autouse=True)
def picture(command: Command, standin: Standin, monkeypatch: pytest.MonkeyPatch) -> str:
    """An image in the folder of the command, and the stand-in's Batch Chat."""
    monkeypatch.setenv("DASHSCOPE_BATCH_BASE_URL", standin.batch_base_url)
    Image.new("RGB", (64, 64), "red").save("a.png")
    return "a.png"


@pytest.mark.parametrize("arguments", [("ask", "a.png", "What is it?"), ("caption", "a.png", "--json")])
def test_commands_that_ask(command: Command, standin: Standin, arguments: tuple[str, ...]) -> None:
    """The request goes to Batch Chat."""
    status, _, err = command(*arguments, "-m", "qwen3.5-omni-plus", "--tier", "batch")
    assert (status, [request.path for request in standin.requests]) == (0, [BATCH_PATH]), err


def test_estimates(command: Command) -> None:
    """Both prices, and that the newest model is cheaper."""
    _, out, _ = command("estimate", "a.png", "-m", "qwen3.5-omni-plus", "--tier", "batch", "--json")
    made: dict[str, Any] = json.loads(out)["estimates"][0]
    assert made["list_cost"]["cny"] == pytest.approx(2 * made["cost"]["cny"])
    assert any("batch is dearer here" in note for note in made["notes"])
