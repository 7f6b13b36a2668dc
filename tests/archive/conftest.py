"""Jobs on the stand-in that never wait."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen_omni import ChatRequest, SpendLimit, UsageLedger, user
from qwen_omni.archive import BatchJob, batch_flows
from qwen_omni.settings import Settings
from tests.support.postgres import place

__all__ = ["place"]

MakeJob = Callable[..., BatchJob]


def questions(count: int, model: str = "qwen-plus") -> dict[str, ChatRequest]:
    """Requests by name."""
    return {f"q{at}": ChatRequest(model=model, messages=(user(f"Question {at}"),)) for at in range(count)}


@pytest.fixture(autouse=True)
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch that was created is in the list at once, and is looked for without a pause."""
    monkeypatch.setattr(batch_flows, "_SETTLE_SECONDS", 0.0)


@pytest.fixture
def limit() -> SpendLimit:
    return SpendLimit(cny=1)


@pytest.fixture
def ledger() -> UsageLedger:
    return UsageLedger()


@pytest.fixture
def money(settings: Settings, limit: SpendLimit, ledger: UsageLedger) -> Settings:
    """Settings with the limit and the ledger."""
    return replace(settings, spend_limit=limit, ledger=ledger, max_retries=1)


@pytest.fixture
def make(money: Settings, tmp_path: Path) -> MakeJob:
    """Build a job of a few questions, in the test's own store."""

    def build(count: int = 4, **others: Any) -> BatchJob:
        given = {"requests": questions(count), "store": tmp_path / "batches.sqlite3", "settings": money, **others}
        return BatchJob(given.pop("requests"), **given)

    return build
