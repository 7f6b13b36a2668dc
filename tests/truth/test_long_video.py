"""A long video, told second by second: nothing lost or told twice at a seam, all in order, nothing asked twice."""

import re
from collections import Counter

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.errors import AccountError
from qwen_omni.settings import Settings
from qwen_omni.standin.marked_media import make_video
from qwen_omni.standin.server.script import Fault
from qwen_omni.video.engine.run import iter_notes
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import summarize

OPTIONS = SummaryOptions(segment_seconds=14.3, overlap=3, single_call_seconds=0, detail="low", retry_seconds=0.0)


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Thirty-six seconds, four segments or so."""
    path = tmp_path_factory.mktemp("film") / "long.mp4"
    return make_video(path, seconds=36, size=(128, 96), fps=2, sound=False)


@pytest.fixture
def client(standin, tmp_path):
    """A client whose checkpoints are the test's own."""
    settings = Settings.load(
        api_key=standin.api_key, base_url=standin.base_url, cache_dir=tmp_path / "cache", retry_wait=0.0
    )
    with OmniClient(settings) as made:
        yield made


def codes_of(notes):
    return [re.search(r"\d{4,}", note.text)[0] for note in notes]


def test_every_second_is_told_once_at_its_time(client, standin, film):
    """Segments overlap, and both tell what lies there; the whole tells it once."""
    found = summarize(film.path, client=client, options=OPTIONS)
    seen = [code for request in standin.requests for one in request.media for code in one.picture_codes]
    assert len(seen) > len(film.codes)
    assert codes_of(found.events) == list(film.codes)
    assert [note.start for note in found.events] == pytest.approx(range(36), abs=0.9)
    assert not found.gaps


def test_notes_come_in_order(client, film):
    """Each segment begins after the one before, and tells its own seconds."""
    notes = list(iter_notes(film.path, client=client, options=OPTIONS))
    assert [one.index for one in notes] == list(range(len(notes)))
    assert [one.start for one in notes] == sorted(one.start for one in notes)
    assert notes[-1].end == 36
    for one in notes:
        assert codes_of(one.events)[0] == film.codes[int(one.start)]


def test_what_was_answered_is_not_asked_again(client, standin, film):
    """All but one are refused; the next run asks for those alone."""
    refused = []

    def is_late(request):
        if request.media and len(standin.requests) > 1:
            refused.append(request.media[0].picture_codes[0])
        return len(standin.requests) > 1

    unpaid = Fault.refuse(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
    standin.script.fault(unpaid, when=is_late)
    with pytest.raises(AccountError):
        summarize(film.path, client=client, options=OPTIONS)
    standin.script.clear()
    found = summarize(film.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(film.codes)
    asked = Counter(request.media[0].picture_codes[0] for request in standin.requests if request.media)
    answered = asked - Counter(refused)
    assert len(answered) == found.segments
    assert set(answered.values()) == {1}
