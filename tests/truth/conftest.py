"""A model to ask, and the switch that breaks our code on purpose.

With the environment variable QWEN_OMNI_MUTANT set, every test of this folder runs with that mutant of our code in
force; `python -m tests.mutants` does so for each of them and expects red.
"""

import os

import pytest

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Standin
from tests.support.mutants import MUTANTS

CHOSEN = os.environ.get("QWEN_OMNI_MUTANT")


@pytest.fixture(autouse=True)
def mutant(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the chosen mutant in force."""
    if CHOSEN:
        MUTANTS[CHOSEN](monkeypatch)


@pytest.fixture(scope="module")
def service():
    """One stand-in for a module; it remembers what it has decoded."""
    with Standin() as standin:
        yield standin


@pytest.fixture
def llm(service, tmp_path):
    """The model as a user makes it, on the stand-in."""
    return ChatQwenOmni(
        model="qwen3.5-omni-flash", api_key=service.api_key, base_url=service.base_url, media_root=tmp_path
    )
