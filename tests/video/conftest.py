"""Marked films for the tests of long videos, made once, and a client whose checkpoints are the test's own."""

import re

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video

SMALL = {"size": (128, 96), "fps": 2, "sound": False}


@pytest.fixture(scope="session")
def ten_minutes(tmp_path_factory):
    """Ten minutes, a code a second."""
    return make_video(tmp_path_factory.mktemp("film") / "ten.mp4", seconds=600, **SMALL)


@pytest.fixture(scope="session")
def one_minute(tmp_path_factory):
    """A minute, a code a second."""
    return make_video(tmp_path_factory.mktemp("film") / "one.mp4", seconds=60, **SMALL)


@pytest.fixture(scope="session")
def short(tmp_path_factory):
    """Thirty-six seconds, a code a second: enough for three or four segments."""
    return make_video(tmp_path_factory.mktemp("film") / "short.mp4", seconds=36, **SMALL)


@pytest.fixture
def fresh(service):
    """The module's stand-in with an empty log and an empty script."""
    service.clear()
    service.script.clear()
    return service


@pytest.fixture
def client(fresh, tmp_path):
    """A client on the stand-in."""
    made = OmniClient(
        Settings.load(api_key=fresh.api_key, base_url=fresh.base_url, cache_dir=tmp_path / "cache", retry_wait=0.0)
    )
    with made:
        yield made


def codes_of(notes):
    """Return the codes that entries name, in their order."""
    return [re.search(r"\d{4,}", note.text)[0] for note in notes]


def asked_segments(standin):
    """Return the codes of the first marker of each request with media that was answered, in the order of arrival."""
    return [request.media[0].picture_codes[0] for request in standin.requests if request.media and not request.refused]
