"""What every test gets: an empty environment, no network but this machine, a stand-in or a cassette on request."""
# ruff: noqa: PLC0414  (fixtures and hooks are found by their names here)

import functools
import gc
import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings as profiles
from hypothesis.strategies import none
from pytest_socket import socket_allow_hosts

from qwen_omni.addresses import forget_servers
from qwen_omni.client import OmniClient
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.answers.service import State
from qwen_omni.standin.marked_media import TruthMedia, make_video
from qwen_omni.standin.media.perceive import Memory
from qwen_omni.standin.server import server
from tests.support.replay import (
    answering_service as answering_service,
    default_cassette_name as default_cassette_name,
    fully_played as fully_played,
    media_map as media_map,
    pytest_collection_modifyitems as pytest_collection_modifyitems,
    pytest_recording_configure as pytest_recording_configure,
    pytest_runtest_teardown as pytest_runtest_teardown,
    script as script,
    vcr_cassette_dir as vcr_cassette_dir,
    vcr_config as vcr_config,
)

# How long an example takes says something about the machine; what must be quick is measured in benchmarks/. Each run of
# the suite has the same examples, so that a failure can be repeated; `make test-long` and `make fuzz` draw new ones.
profiles.register_profile(
    "suite", deadline=None, derandomize="QWEN_OMNI_FUZZ" not in os.environ, suppress_health_check=[HealthCheck.too_slow]
)
profiles.load_profile("suite")

# Stores commit every answer to disk; in memory, that costs nothing. Without enough room, the usual folder is used.
_MEMORY = Path("/dev/shm")
if "TMPDIR" not in os.environ and os.access(_MEMORY, os.W_OK) and shutil.disk_usage(_MEMORY).free > 4 * 2**30:
    os.environ["TMPDIR"] = str(_MEMORY)
    tempfile.tempdir = None

# A shell starts what runs in the background with SIGINT ignored, and children inherit that: those of the tests that are
# sent a SIGINT would never end. Any handler is reset in children; this one keeps ignoring it here.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, lambda *_: None)


@given(none())
@profiles(database=None, max_examples=1)
def first_example(_: None) -> None:
    """Create Hypothesis's random generator, which it can no longer find among the objects that are frozen."""


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Pause the garbage collector, and exclude from it what is imported here: that lives as long as the process."""
    gc.disable()
    try:
        return (yield)
    finally:
        first_example()
        gc.freeze()
        gc.enable()


def pytest_itemcollected(item: pytest.Item) -> None:
    """Long tests are slow ones, too: no command that leaves out the slow ones runs them."""
    if item.get_closest_marker("long"):
        item.add_marker("slow")


def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    """Let the end of the process find all that there is; extensions report what is left as leaks.

    Temporary files are removed from memory after a successful run. Not earlier: a later test would get the same path.
    """
    gc.unfreeze()
    if exitstatus == 0 and os.environ.get("TMPDIR") == str(_MEMORY) and not hasattr(session.config, "workerinput"):
        shutil.rmtree(session.config._tmp_path_factory.getbasetemp(), ignore_errors=True)  # type: ignore[attr-defined]


# All stand-ins of a process remember together what they have decoded: the same clips are sent by hundreds of tests.
server.State = functools.partial(State, memory=Memory())  # type: ignore[assignment,misc]

LOOPBACK = ["127.0.0.1", "::1"]
_OURS = ("DASHSCOPE_", "QWEN_", "OPENAI_", "LANGCHAIN_", "LANGSMITH_", "LC_", "OSS_")


_CACHES = pytest.StashKey[Path]()


def pytest_configure(config: pytest.Config) -> None:
    """Create a folder for the upload caches of the tests."""
    folder = tempfile.TemporaryDirectory(prefix="qwen-omni-tests-", ignore_cleanup_errors=True)
    config.add_cleanup(folder.cleanup)
    config.stash[_CACHES] = Path(folder.name)


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Take keys, addresses and tracing switches of the developer's shell away, and give each test a new upload cache.

    A test reaches this machine only, and with a cassette not even that; while recording, the service. This is a hook,
    since a fixture of every test takes longer than most of the tests.
    """
    forget_servers()
    if item.config.getoption("--record-mode", None) in (None, "none"):
        for name in [name for name in os.environ if name.startswith(_OURS)]:
            del os.environ[name]
        replays = item.get_closest_marker("vcr") is not None
        socket_allow_hosts([] if replays else LOOPBACK, allow_unix_socket=not replays)
    os.environ["QWEN_OMNI_CACHE_DIR"] = str(item.config.stash[_CACHES] / os.urandom(6).hex())


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> TruthMedia:
    """A video of four seconds with a code in picture and sound for each."""
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=4, size=(320, 180))


@pytest.fixture
def standin() -> Iterator[Standin]:
    """A stand-in service on loopback, with an empty log."""
    with Standin() as service:
        yield service


@pytest.fixture(scope="module")
def service() -> Iterator[Standin]:
    """One stand-in for all tests of a module; it remembers what it has decoded."""
    with Standin() as running:
        yield running


@pytest.fixture
def settings(standin: Standin) -> Settings:
    """Settings that reach the stand-in and never wait between tries."""
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0, read_timeout=20.0)


@pytest.fixture
def client(settings: Settings) -> Iterator[OmniClient]:
    """A client on the stand-in."""
    with OmniClient(settings) as client:
        yield client
