"""A long video in, a summary out: every second of it is told once, at its time, and each model is asked its part."""

import pytest

from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import summarize
from tests.video.conftest import SMALL, codes_of

QUICK = {"detail": "low", "retry_seconds": 0.0}


def check_truth(film, found, *, begins=0):
    """Every second's code once, in order, within a second of its time."""
    assert codes_of(found.events) == list(film.codes)
    assert max(abs(note.start - second) for second, note in enumerate(found.events, begins)) < 1
    assert all(note.end > note.start for note in found.events)
    assert not found.gaps


def check_log(standin, found):
    """Segments went to the omni model in order, each once; joining went to qwen-plus, after all of them."""
    models = [request.body["model"] for request in standin.requests]
    assert models == ["qwen3.8-omni-flash"] * found.segments + ["qwen-plus"] * (len(models) - found.segments)
    assert "qwen-plus" in models
    seen = [request.media[0].picture_codes for request in standin.requests if request.media]
    assert len(seen) == found.segments
    assert not any(request.media for request in standin.requests if request.body["model"] == "qwen-plus")


@pytest.mark.slow
def test_a_minute_in_segments(fresh, client, one_minute):
    """No second lost at a seam, none told twice; who was asked, and what it cost, is told as it was."""
    options = SummaryOptions(segment_seconds=20, single_call_seconds=0, **QUICK)
    found = summarize(one_minute.path, client=client, options=options)
    check_truth(one_minute, found)
    check_log(fresh, found)
    assert found.segments >= 4
    assert found.this_run.requests == len(fresh.requests)
    assert found.this_run.cny > 0


CUTS = [(30, 2), (90, 5), (150, 0)]
OTHER_CUTS = [(30, 0), (30, 5), (90, 0), (90, 2), (150, 2), (150, 5)]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("seconds", "overlap"), [*CUTS, *(pytest.param(*cut, marks=pytest.mark.long) for cut in OTHER_CUTS)]
)
def test_ten_minutes_cut_in_every_way(fresh, client, ten_minutes, overlap, seconds):
    """Ten minutes, for every length and overlap."""
    options = SummaryOptions(overlap=overlap, segment_seconds=seconds, **QUICK)
    found = summarize(ten_minutes.path, client=client, options=options)
    check_truth(ten_minutes, found)
    check_log(fresh, found)


@pytest.mark.parametrize(("overlap", "seconds"), [pytest.param(0, 14.3, marks=pytest.mark.slow), (5, 20.7)])
def test_cuts_in_the_middle_of_a_second(fresh, client, one_minute, overlap, seconds, monkeypatch):
    """Where a cut divides what happens, both halves become one again."""
    monkeypatch.setattr("qwen_omni.media.analysis.find_cut_points", lambda *_: [])
    options = SummaryOptions(overlap=overlap, segment_seconds=seconds, single_call_seconds=0, **QUICK)
    found = summarize(one_minute.path, client=client, options=options)
    check_truth(one_minute, found)
    seen = [code for request in fresh.requests for one in request.media for code in one.picture_codes]
    assert len(seen) > len(one_minute.codes)  # some were told twice


def test_a_part_of_a_video(fresh, client, one_minute):
    """Times stay those of the whole video when only a part of it is summarised."""
    options = SummaryOptions(start=15, end=50, segment_seconds=15, single_call_seconds=0, **QUICK)
    found = summarize(one_minute.path, client=client, options=options)
    assert codes_of(found.events) == list(one_minute.codes[15:50])
    assert abs(found.events[0].start - 15) < 1
    assert found.chapters[0].start >= 15
    assert found.chapters[-1].end == 50


def test_one_call(fresh, client, one_minute):
    """A short video goes in one call, which gives its chapters too; nobody else is asked."""
    found = summarize(one_minute.path, client=client, options=SummaryOptions(**QUICK))
    check_truth(one_minute, found)
    assert [request.body["model"] for request in fresh.requests] == ["qwen3.8-omni-flash"]
    assert (found.strategy, found.segments, found.text_model) == ("single", 1, "")
    assert found.chapters
    assert found.chapters[0].start == 0


@pytest.mark.long
@pytest.mark.timeout(400)
def test_two_hours(fresh, client, tmp_path_factory):
    """Two hours in 82 segments: all 7,200 seconds, once, at their times."""
    film = make_video(tmp_path_factory.mktemp("film") / "long.mp4", seconds=7200, **SMALL)
    found = summarize(film.path, client=client, options=SummaryOptions(**QUICK))
    check_truth(film, found)
    check_log(fresh, found)
    assert found.segments >= 80


@pytest.mark.slow
def test_sound_reaches_the_model_too(fresh, client, tmp_path):
    """Each segment is sent with its sound: the tones of its seconds, in order."""
    film = make_video(tmp_path / "sound.mp4", seconds=200, size=(128, 96), fps=2)
    summarize(film.path, client=client, options=SummaryOptions(**QUICK))
    sent = sorted(
        (request.media[0] for request in fresh.requests if request.media),
        key=lambda one: film.codes.index(one.picture_codes[0]),
    )
    heard = list(dict.fromkeys(code for one in sent for code in one.sound_codes))
    assert heard == [code for code in film.codes if code in heard]
    assert len(heard) >= 198  # a tone that a cut divides may be heard by neither side
