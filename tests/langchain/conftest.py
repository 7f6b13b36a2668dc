"""Cassettes for these tests: `cassettes/langchain/<module>/<test>.yaml`, replayed with the network blocked.

`pytest --record-mode=rewrite tests/langchain` records anew: from the live service if `DASHSCOPE_API_KEY` is set
(and `DASHSCOPE_BASE_URL`, if it is another address), else from the stand-in. Nothing else changes.
"""

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
from pydantic import SecretStr
from vcr import VCR
from vcr.cassette import Cassette

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.standin import Script, Standin
from qwen_omni.standin.marked_media import TruthMedia
from tests.support import recording

FOLDER = recording.ROOT / "langchain"


def pytest_recording_configure(config: pytest.Config, vcr: VCR) -> None:
    """Write cassettes in our way."""
    vcr.register_serializer("yaml", recording)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Block the network wherever a cassette is replayed, this machine included."""
    recorded = [item for item in items if item.get_closest_marker("vcr") is not None]
    for item in recorded:
        item.add_marker(pytest.mark.block_network)
        if config.getoption("--record-mode") not in (None, "none"):
            # The suites drop their models without closing them; only while recording is there a connection to drop.
            item.add_marker(pytest.mark.filterwarnings("ignore::ResourceWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"))
            item.add_marker(pytest.mark.filterwarnings("ignore:Benchmark fixture was not used"))


@pytest.fixture(scope="module")
def vcr_cassette_dir(request: pytest.FixtureRequest) -> str:
    """Keep the cassettes of a module in a folder of its name."""
    return str(FOLDER / Path(request.node.path).stem.removeprefix("test_"))


@pytest.fixture
def vcr_config(request: pytest.FixtureRequest) -> dict[str, object]:
    """Return the configuration of every cassette; langchain-tests has one of its own, which this replaces."""
    # The one benchmark plays its recording many times.
    return {**recording.vcr_settings(), "allow_playback_repeats": "benchmark" in request.fixturenames}


@pytest.fixture
async def llm(standin: Standin, clip: TruthMedia) -> AsyncIterator[ChatQwenOmni]:
    """A model at the stand-in that does not retry and may read the folder of the clip."""
    model = ChatQwenOmni(
        api_key=SecretStr(standin.api_key), base_url=standin.base_url, max_retries=0, media_root=clip.path.parent
    )
    yield model
    model.close()
    await model.aclose()


@pytest.fixture
def script() -> Script:
    """Return what the stand-in is to answer where it could not know; a test module may override this."""
    return Script()


@pytest.fixture
def media_map() -> dict[str, bytes]:
    """Return what stands behind web addresses; a test module may override this."""
    return {}


@pytest.fixture(autouse=True)
def service(
    request: pytest.FixtureRequest,
    record_mode: str,
    monkeypatch: pytest.MonkeyPatch,
    quiet_environment: None,
) -> Iterator[None]:
    """Point tests with a cassette at the service to record from, or at no address at all when replaying."""
    if request.node.get_closest_marker("vcr") is None:
        yield
        return
    folder = Path(request.getfixturevalue("vcr_cassette_dir"))
    if record_mode == "none":
        monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-replayed")
        monkeypatch.setenv("DASHSCOPE_BASE_URL", "https://service.invalid/compatible-mode/v1")
        yield
        return
    recording.write_origin(folder, recording.origin())
    if os.environ.get("DASHSCOPE_API_KEY"):
        yield
        return
    script, media_map = request.getfixturevalue("script"), request.getfixturevalue("media_map")
    with Standin(script=script, media_map=media_map) as standin:
        monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
        yield


@pytest.fixture(autouse=True)
def fully_played(vcr: Cassette | None, record_mode: str) -> Iterator[None]:
    """Fail a test that leaves a part of its cassette unplayed: it no longer asks what was recorded."""
    yield
    if vcr is not None and record_mode == "none":
        assert vcr.all_played, f"{vcr.play_count} of {len(vcr)} recorded answers were played"
