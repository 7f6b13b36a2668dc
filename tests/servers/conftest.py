"""One server after another, and the media that all are asked about."""

from collections.abc import Iterator

import pytest

from qwen_omni.addresses import forget_servers
from qwen_omni.settings import Settings
from tests.servers.media import make
from tests.servers.running import KINDS, Running, missing, running


@pytest.fixture(scope="session", params=KINDS)
def server(request, tmp_path_factory) -> Iterator[Running]:
    """A server that runs; skips if it is not installed."""
    if absent := missing(request.param):
        pytest.skip(f"{absent} is not installed: run make test-servers")
    with running(request.param, tmp_path_factory.mktemp(request.param)) as started:
        yield started


@pytest.fixture(scope="session")
def files(tmp_path_factory):
    return make(tmp_path_factory.mktemp("media"))


@pytest.fixture
def settings_here(server, files) -> Settings:
    """The settings of a caller who has asked this server nothing yet."""
    forget_servers()
    return server.settings(next(iter(files.values())).parent)
