"""Audio tracks and channels: what is heard is what somebody said, told in the plan, and never near silence."""

import av
import numpy as np
import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import ConfigurationError, UnsupportedMediaError
from qwen_omni.media.encode.audio import loudest_if_cancelled
from qwen_omni.media.info import read_audio_track
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.media.probe.container import Levels
from qwen_omni.standin.marked_media import make_audio
from qwen_omni.standin.media.perceive import Memory
from tests.support import making

RATE = 16_000


def tone(channels, *, seconds=2.0, layout, codec="flac", container="matroska", path):
    """Write a tone at the given strength in each channel; more than one list makes more than one track."""
    wave = np.sin(np.arange(int(seconds * RATE)) * 0.2) * 20_000
    with av.open(str(path), "w", format=container) as output:
        tracks = []
        for number, strengths in enumerate(channels):
            stream = output.add_stream(codec, rate=RATE, layout=layout)
            if number == 0:
                stream.disposition = av.stream.Disposition.default
            tracks.append((stream, strengths))
        for stream, strengths in tracks:
            samples = np.stack([wave * strength for strength in strengths]).astype(np.int16)
            making.add_samples(output, stream, [samples.T], layout)
    return path


def loudness(path, **choices):
    with prepare(path, start=0.1, choices=PrepareOptions(**choices)) as made:
        return Memory().recall("audio", made.read()).loudness or -100.0


@pytest.mark.parametrize(
    ("layout", "strengths"),
    [
        ("stereo", (1, -1)),
        ("stereo", (1, -0.8)),
        ("stereo", (0, 1)),
        ("5.1", (0, 0, 1, 0, 0, 0)),
        ("7.1", (0, 0, 0, 0, 0, 0, 0, 1)),
        ("7.1", (1, 1, 0, 0, -1, -1, 0, 0)),
        ("4.0", (1, -1, 1, -1)),
    ],
)
def test_loud_sound_stays_loud_in_one_channel(layout, strengths, tmp_path):
    """A tone of -7.3 dB in some channels, whatever their phases, is at most 12 dB weaker in the one that is sent."""
    assert loudness(tone([strengths], layout=layout, path=tmp_path / "a.mka")) > -20


def test_silence_stays_silence(tmp_path):
    """Nothing is made up where nothing is."""
    assert loudness(tone([(0, 0)], layout="stereo", path=tmp_path / "a.mka")) < -70


@given(st.lists(st.floats(0, 1), min_size=2, max_size=8), st.floats(0, 1), st.none() | st.integers(0, 9))
def test_what_is_chosen_is_never_much_weaker_than_the_loudest_channel(channels, mixed, before):
    """A mix keeps a tenth of the loudest channel's power; a channel that is taken alone has half of it at least."""
    chosen = loudest_if_cancelled(Levels(tuple(channels), mixed), before)
    if max(channels) <= 1e-6:
        assert chosen == before
    elif chosen is None:
        assert mixed >= 0.1 * max(channels)
    else:
        assert channels[chosen] >= max(channels) / 2


def test_the_default_track_is_heard_unless_it_is_silent(tmp_path):
    """A silent default gives way to the first track that is not; both are told in the plan."""
    path = tone([(0.0,), (1.0,)], layout="mono", path=tmp_path / "a.mka")
    assert loudness(path) > -12
    assert loudness(path, audio_track=0) < -70
    assert loudness(path, audio_track="mix") > -12
    with prepare(path) as made:
        assert "audio track 1 (flac) of 2" in made.plan.reason
        assert [track.index for track in made.source_info.audio_tracks] == [0, 1]
        assert made.source_info.audio_track == 1


def test_a_track_that_is_not_there_is_refused_with_those_that_are(tmp_path):
    """The error lists the tracks."""
    path = tone([(1.0,), (1.0,)], layout="mono", path=tmp_path / "a.mka")
    with pytest.raises(
        UnsupportedMediaError, match=r"no audio track 2; its audio tracks: 0 \(flac, default\), 1 \(flac\)"
    ):
        prepare(path, choices=PrepareOptions(audio_track=2))


@pytest.mark.parametrize("wrong", ["first", -1, True, 1.0, "", None, [0]])
def test_a_choice_that_is_none_is_refused(wrong):
    """Before any file is opened."""
    with pytest.raises(ConfigurationError, match="audio_track must be 'auto', 'mix' or the number of a track"):
        read_audio_track(wrong)


def test_two_files_of_one_recording_mixed_are_both_heard(tmp_path):
    """Tracks that speak in turn are all heard in the mix, in time."""
    first, second = (make_audio(tmp_path / f"{name}.wav", seconds=2, seed=seed) for name, seed in (("a", 1), ("b", 2)))
    path = tmp_path / "two.mka"
    with av.open(str(path), "w", format="matroska") as output:
        sources = [av.open(str(one.path)) for one in (first, second)]
        streams = [output.add_stream_from_template(source.streams.audio[0]) for source in sources]
        for source, stream, late in zip(sources, streams, (0, 2), strict=True):
            for packet in source.demux(audio=0):
                if packet.dts is not None:
                    packet.pts += int(late / packet.time_base)
                    packet.dts = packet.pts
                    packet.stream = stream
                    output.mux(packet)
    with prepare(path, choices=PrepareOptions(audio_track="mix")) as made:
        heard = Memory().recall("audio", made.read())
    assert [mark.code for mark in heard.sound_marks] == [*first.codes, *second.codes]
