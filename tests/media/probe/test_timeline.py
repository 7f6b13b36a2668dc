"""One timeline over clocks that restart, and exact parts without an index: pure walks, and files of our encoder."""

from dataclasses import dataclass
from fractions import Fraction

import av
import pytest
from hypothesis import assume, given, strategies as st

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.prepare import look_at, prepare, split
from qwen_omni.media.probe.timeline import _Frames, _Walker
from qwen_omni.media.source import as_source
from qwen_omni.standin.marked_media import Encoding, make_video
from qwen_omni.standin.media.perceive import Memory
from tests.support.odd import copy


@dataclass
class _Stream:
    index: int
    type: str
    time_base: Fraction = Fraction(1, 1000)
    codec_context: None = None


@dataclass
class _Packet:
    stream: _Stream
    dts: int | None
    pos: int | None
    duration: int = 100
    size: int = 10
    time_base: Fraction = Fraction(1, 1000)

    @property
    def pts(self):
        return self.dts


VIDEO, AUDIO = _Stream(0, "video"), _Stream(1, "audio")


def walked(packets, *, jumps=True):
    walker = _Walker([VIDEO, AUDIO], jumps=jumps)
    for packet in packets:
        walker.add(packet)
    return walker.result()


def run(begin: int, count: int, at: int, stream=VIDEO):
    return [_Packet(stream, begin + 100 * number, at + 10 * number) for number in range(count)]


@given(st.lists(st.tuples(st.integers(0, 10**8), st.integers(1, 40)), min_size=1, max_size=6))
def test_whatever_the_clocks_are_joined_pieces_last_as_long_as_all_of_them(pieces):
    """Pieces whose clocks begin anywhere follow each other; those that happen to fit keep what is between them."""
    packets, at, expected, last = [], 0, 0, None
    for begin, count in pieces:
        hole = 0 if last is None else begin - last
        broken = last is not None and (begin > last - 100 + 10_000 or begin < last - 200)
        assume(broken or hole >= 0)  # a small step back is an overlap, not a break
        expected += count * 100 + (0 if broken or last is None else hole)
        packets += run(begin, count, at)
        at, last = at + 10 * count, begin + 100 * count
    found = walked(packets)
    assert found.end - found.start == Fraction(expected, 1000)
    assert all(one.shift == pytest.approx(one.shift) for one in found.breaks)


def test_a_break_that_shows_late_takes_the_long_packet_before_it():
    """A long video packet comes out after a short one of sound that lies behind it in the file."""
    packets = [
        *run(0, 10, 0),
        *run(0, 10, 5, AUDIO),
        _Packet(AUDIO, 50, 220),
        _Packet(VIDEO, 0, 200),
        *run(100, 9, 230),
    ]
    found = walked([*packets, *run(150, 9, 235, AUDIO)])
    assert [one.position for one in found.breaks] == [200]
    assert found.ends[0] - found.starts[0] == 2


def test_a_jump_in_a_clock_that_is_believed_is_refused_with_its_second():
    """In MP4 and Matroska a hole of an hour is damage, and the error says where it is."""
    with pytest.raises(UnreadableMediaError, match=r"jumps ahead by 3,9\d\d s after second 1\.00"):
        walked([*run(0, 10, 0), *run(4_000_000, 10, 100)], jumps=False)


def test_times_that_are_counted_on_break_nothing():
    """FFmpeg counts times of packets that were stored as one, at the first rate; the file's own time corrects it."""
    packets = [_Packet(AUDIO, 0, 0), _Packet(AUDIO, 900, None), _Packet(AUDIO, 400, 50), _Packet(AUDIO, 1300, None)]
    assert walked(packets).breaks == ()


def copied(source, target, container, **options):
    """Pack the streams of a file into another container, as muxers do."""
    with av.open(str(source)) as given, av.open(str(target), "w", format=container, options=options) as output:
        streams = {one.index: output.add_stream_from_template(one) for one in given.streams}
        for packet in given.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                output.mux(packet)
    return target


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    folder = tmp_path_factory.mktemp("film")
    encoding = Encoding(options=(("preset", "ultrafast"), ("g", "250"), ("bf", "2")))
    return make_video(folder / "a.mp4", seconds=24, size=(96, 64), fps=10, seed=3, encoding=encoding)


@pytest.fixture(scope="module")
def streamed(film):
    return copied(film.path, film.path.with_suffix(".ts"), "mpegts")


def seen(prepared):
    facts = Memory().recall("video", prepared.read())
    return [mark.code for mark in facts.picture_marks], [mark.code for mark in facts.sound_marks]


def test_a_part_between_key_frames_of_a_stream_is_exact(film, streamed):
    """With one key frame in the whole file, reading goes back to it."""
    with prepare(streamed, start=13, end=17, budget="static") as part:
        assert seen(part) == ([*film.codes[13:17]], [*film.codes[13:17]])


@pytest.mark.slow
def test_segments_of_a_stream_hold_every_second(film, streamed):
    """Nothing between two segments is lost, and nothing is in two."""
    pictures, sounds = [], []
    for part in split(streamed, seconds=10, budget="static"):
        with part:
            shown, heard = seen(part)
            pictures += shown
            sounds += heard
    assert list(dict.fromkeys(pictures)) == list(film.codes)
    assert "".join(sounds) == "".join(film.codes)  # a cut may fall into a code, and then its halves are heard


@pytest.mark.slow
def test_a_stream_joined_with_itself_plays_twice(film, streamed, tmp_path):
    """As `cat` and dashcams do it; told, priced and shown as long as it plays."""
    path = tmp_path / "two.ts"
    path.write_bytes(streamed.read_bytes() * 2)
    info = look_at(as_source(path)).info
    assert len(info.breaks) == 1
    assert float(info.breaks[0].at - info.origin) == pytest.approx(24, abs=0.2)
    assert float(info.duration) == pytest.approx(48, abs=0.2)
    with prepare(path, start=22, end=26, budget="static") as part:
        codes = [*film.codes[22:], *film.codes[:2]]
        assert seen(part) == (codes, codes)
    with prepare(path, start=22, end=26) as part:
        assert "only a part" in part.plan.reason
    with prepare(path) as whole:
        assert "its clock restarts or jumps at second 24" in whole.plan.reason


@pytest.mark.parametrize("container", ["matroska", "mp4", "mpegts"])
def test_a_part_that_begins_before_a_late_picture_shows_it(film, container, tmp_path):
    """Where the picture begins 3 s behind the sound, its first frame is held until then, and none is lost."""
    path = tmp_path / "late"
    copy(film.path, path, format=container, shift=3, sound_shift=-3)

    with prepare(path, budget="static", start=1, end=6) as part:
        found = Memory().recall("video", part.read())
        assert part.info.video_duration == 5
    assert [mark.code for mark in found.picture_marks] == list(film.codes[:3])
    assert [round(float(mark.start)) for mark in found.picture_marks] == [0, 3, 4]
    look = look_at(as_source(path))
    assert float(look.info.video_start) == pytest.approx(3, abs=0.1)
    assert float(look.info.audio_start) == pytest.approx(0, abs=0.1)


def test_a_late_decoding_time_is_of_the_clock_before_a_jump():
    """Program streams store several frames as one: of the last, FFmpeg counts on the decoding time over a break."""
    packets = [
        _Packet(VIDEO, 0, 0),
        _Packet(VIDEO, 100, 50),
        _Packet(VIDEO, 4_000_000, None),
        _Packet(AUDIO, 4_000_000, 90),
    ]
    (found,) = walked(packets).breaks
    assert found.shift < -3000


MP3, JUNK = b"\xff\xfb\x90\x44" + bytes(412), bytes(range(1, 251)) * 20
FOREIGN = {
    "frames": ([MP3] * 3, 0),
    "another recording": ([MP3, JUNK, MP3], len(JUNK)),
    "a frame and what follows it": ([MP3 + JUNK], len(MP3) + len(JUNK) - 4_096),
    "padding": ([MP3, bytes(9_000)], 0),
    "a tag with a cover between two songs": ([MP3, b"ID3\x03\0\0\0\0\x4e\x10" + JUNK, JUNK, MP3], 0),
    "more than its tag": ([b"ID3\x03\0\0\0\0\0\x10", JUNK, JUNK], len(JUNK)),
    "an APE tag": ([MP3, b"APETAGEX" + bytes(4) + (5_000).to_bytes(4, "little") + bytes(16), JUNK], 0),
    "lyrics": ([MP3, b"LYRICSBEGIN" + JUNK, JUNK, b"TAG" + JUNK[:125]], 0),
}


@pytest.mark.parametrize("case", FOREIGN)
def test_bytes_of_no_frame_are_counted(case):
    """What belongs to no frame of bare audio counts; tags and padding do not."""
    packets, foreign = FOREIGN[case]
    frames, at = _Frames.of("mp3"), 0
    for packet in packets:
        frames.check(at, memoryview(packet))
        at += len(packet)
    assert frames.foreign == foreign
