"""A few marked videos, a stand-in for each test, and a client with a cache of its own."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from qwen_omni import OmniClient, Settings, UsageLedger
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import TruthMedia, make_video


@dataclass(frozen=True)
class Shelf:
    """A folder of videos, and what they show."""

    folder: Path
    films: tuple[TruthMedia, ...]

    def question(self, film: int, second: int) -> str:
        """Ask when the code of a second is shown."""
        return f"When is code {self.films[film].codes[second]} shown?"


@pytest.fixture(scope="session")
def shelf(tmp_path_factory: pytest.TempPathFactory) -> Shelf:
    """Three videos of six seconds, a code a second."""
    folder = tmp_path_factory.mktemp("shelf")
    films = [make_video(folder / f"film{n}.mp4", seconds=6, size=(128, 96), fps=4, seed=n) for n in range(3)]
    return Shelf(folder, tuple(films))


@pytest.fixture(scope="session")
def notes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache that all tests share, so that the videos are watched once."""
    return tmp_path_factory.mktemp("notes")


@pytest.fixture
def settings(standin: Standin, notes: Path) -> Settings:
    """Settings with a ledger of their own."""
    return Settings.load(
        api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0, cache_dir=notes, ledger=UsageLedger(),
    )  # fmt: skip


@pytest.fixture
def client(settings: Settings) -> Iterator[OmniClient]:
    with OmniClient(settings) as made:
        yield made
