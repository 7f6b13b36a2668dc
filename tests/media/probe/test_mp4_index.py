"""A reader of a long MP4 is shown an index of the seconds it wants, and reads of those what the whole would give.

An index with anything unusual in it is left as it is, and none makes the work fail.
"""

import io
import itertools
import random
import shutil
import struct
import tempfile
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import MediaError
from qwen_omni.media.prepare import PrepareOptions, split
from qwen_omni.media.probe import mp4
from qwen_omni.media.probe.container import audio_streams, open_for_work, video_stream
from qwen_omni.media.probe.mp4 import Samples, Wanted, narrowed
from tests.support import making
from tests.support.boxing import box

LENGTH = 90  # seconds
RATE = 8_000

CODINGS = {
    "key frames far apart": {"g": "120"},
    "pictures that wait for later ones": {"preset": "medium", "bf": "3", "g": "40"},
    "open groups of pictures": {"preset": "medium", "x264-params": "open-gop=1:keyint=25:bframes=3"},
    "key frames only": {"g": "1"},
}
LAYOUTS = {
    "index at the end": {},
    "index at the front": {"movflags": "faststart"},
    "delays below zero": {"movflags": "negative_cts_offsets"},
    "no list of edits": {"use_editlist": "0"},
    "times in millionths": {"video_track_timescale": "1000000"},
}


def film(coding=(), layout=(), *, late=0.0, container="mp4") -> bytes:
    """Make a small film at 12 pictures a second, its times uneven, with sound."""
    folder = Path(tempfile.mkdtemp())
    with av.open(str(folder / "film"), "w", format=container, options=dict(layout)) as output:
        pictures = output.add_stream("libx264", rate=12, options={"preset": "ultrafast", "g": "25", **dict(coding)})
        pictures.time_base = pictures.codec_context.time_base = Fraction(1, 1200)
        tone = output.add_stream("aac", rate=RATE, layout="mono", options={"aac_coder": "fast"})
        times = (number * 100 + number % 3 * 10 + round(late * 1200) for number in range(LENGTH * 12))
        frames = ((at, making.grey_frame(number, (32, 32))) for number, at in enumerate(times))
        making.add_frames(output, pictures, frames, pictures.time_base, (32, 32))
        making.add_samples(output, tone, np.random.default_rng(2).integers(-9000, 9000, (LENGTH, RATE), dtype=np.int16))
    data = (folder / "film").read_bytes()
    shutil.rmtree(folder)
    return data


@pytest.fixture(autouse=True)
def short_ones_too(monkeypatch):
    """Narrow the index of a film of any length."""
    monkeypatch.setattr(mp4, "LEAST_SAMPLES", 1)


@pytest.fixture(scope="module")
def usual() -> bytes:
    return film()


def read(data: bytes, only: str, wanted: Wanted | None, begin: int, end: int):
    """Read the packets between two times after seeking; tell them, what the stream says, and how many it knows of."""
    with open_for_work(io.BytesIO(data), len(data), only=only, wanted=wanted) as container:
        stream = video_stream(container) if only == "video" else audio_streams(container, 0)[0]
        facts = stream.start_time, stream.duration, stream.time_base, stream.codec_context.extradata
        if begin:
            container.seek(int(begin / stream.time_base), stream=stream)
        packets = []
        for packet in container.demux(stream):
            if packet.pts is None or packet.pts * stream.time_base > end:
                break
            packets.append((packet.pts, packet.dts, packet.duration, packet.is_keyframe, bytes(packet)))
        return packets, facts, len(stream.index_entries)


def check_same(data: bytes, windows=((0, 5), (30, 31), (44, 52), (80, LENGTH))) -> None:
    for only in ("video", "audio"):
        for begin, end in windows:
            wanted = Wanted(begin=Fraction(begin), end=Fraction(end))
            packets, facts, entries = read(data, only, wanted, begin, end)
            whole, facts_of_whole, all_entries = read(data, only, None, begin, end)
            assert packets == whole
            assert packets
            assert facts == facts_of_whole
            assert entries <= all_entries / 2


@pytest.mark.slow
@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_wanted_is_read_as_from_the_whole(coding):
    """Pictures, sound, their times and where a group of pictures begins; from half of the index at most."""
    check_same(film(CODINGS[coding]), windows=((0, 5), (50, 51), (84, LENGTH)))


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_wherever_and_however_an_index_tells_it(layout):
    check_same(film(CODINGS["pictures that wait for later ones"], LAYOUTS[layout]))


@pytest.mark.slow
def test_a_film_that_begins_late():
    """An empty edit stands before it."""
    check_same(film(late=3.5))


def test_a_payload_whose_length_is_a_long_number(usual):
    """As cameras write it, who do not know in the beginning how long a film will be."""
    at = usual.index(b"mdat")
    assert usual[at - 12 : at - 4] == b"\0\0\0\x08free"
    length = int.from_bytes(usual[at - 4 : at], "big") + 8
    check_same(usual[: at - 12] + b"\0\0\0\1mdat" + length.to_bytes(8, "big") + usual[at + 4 :])


@pytest.mark.slow
def test_a_film_of_quicktime(usual):
    check_same(film(container="mov"))


def test_how_much_is_kept_does_not_grow_with_the_film(usual):
    """So memory is flat: the first samples, those wanted, some before and some behind."""
    wanted = Wanted(begin=Fraction(40), end=Fraction(45))
    for only, most in (("video", (5 + 10) * 12 + 250 + 2 * 64 + 12), ("audio", (5 + 10) * RATE // 1024 + 2 * 64 + 2)):
        assert read(usual, only, wanted, 40, 45)[2] <= most


@pytest.mark.slow
def test_segments_are_the_same(usual, monkeypatch):
    """Bit for bit, with the index of each segment as with the whole."""
    made = []
    for least in (1, 10**9):
        monkeypatch.setattr(mp4, "LEAST_SAMPLES", least)
        segments = split(usual, seconds=20, overlap=2, budget="static", choices=PrepareOptions(workers=2))
        made.append([(segment.start, segment.end, segment.read()) for segment in segments])
    assert made[0] == made[1]
    assert len(made[0]) > 4


def changed(data: bytes, kind: bytes, at: int, new: bytes) -> bytes:
    place = data.index(kind, data.index(b"vide")) + at
    return data[:place] + new + data[place + len(new) :]


def nested(depth: int) -> list[bytes]:
    """Boxes in boxes, in a track of pictures."""
    handler = box("mdia", box("hdlr", bytes(8), b"vide", bytes(12)))
    return [handler, *(struct.pack(">I4s", 8 * deep, b"stbl") for deep in range(depth, 0, -1))]


UNUSUAL = {
    "something behind the last box": lambda data: data + b"\0",
    "a payload without an end": lambda data: data[: data.index(b"mdat") - 4] + bytes(4) + data[data.index(b"mdat") :],
    "two indexes": lambda data: data + data[data.index(b"moov") - 4 :],
    "no clock of the film": lambda data: data.replace(b"mvhd", b"xxxx"),
    "no clock of the track": lambda data: data.replace(b"mdhd", b"xxxx"),
    "a clock that stands still": lambda data: changed(data, b"mdhd", 16, bytes(4)),
    "fragments": lambda data: data + box("moof"),
    "another way to tell of samples": lambda data: data.replace(b"stss", b"stps"),
    "a table twice": lambda data: data.replace(b"stsc", b"stsz"),
    "samples of one size": lambda data: changed(data, b"stsz", 8, struct.pack(">I", 3)),
    "more samples than sizes": lambda data: changed(data, b"stsz", 12, struct.pack(">I", 10**6)),
    "fewer times than samples": lambda data: changed(data, b"stts", 12, struct.pack(">I", 0)),
    "a time before the one before": lambda data: changed(data, b"stts", 16, b"\xff\xff\xff\x00"),
    "chunks out of order": lambda data: changed(data, b"stsc", 12, struct.pack(">I", 9)),
    "chunks without samples": lambda data: changed(data, b"stsc", 16, bytes(4)),
    "a second codec": lambda data: changed(data, b"stsc", 20, struct.pack(">I", 2)),
    "key frames out of order": lambda data: changed(data, b"stss", 12, struct.pack(">I", 9000)),
    "samples behind all numbers": lambda data: changed(
        changed(data, b"stco", 12, b"\xff" * 4), b"stsz", 16, b"\xff" * 4
    ),
    "a speed of its own": lambda data: data.replace(b"\0\1\0\0", b"\0\2\0\0"),
    "thousands of boxes in boxes": lambda _: box("moov", box("mvhd", bytes(100)), box("trak", *nested(3000))),
    "no MP4": lambda _: b"RIFF" + bytes(1000),
    "nothing": lambda _: b"",
}


@pytest.mark.parametrize("name", UNUSUAL)
def test_an_unusual_index_is_left_as_it_is(name, usual):
    """Nothing is guessed; a reader takes more memory then, and that is all."""
    wanted = Wanted(begin=Fraction(44), end=Fraction(45))
    data = UNUSUAL[name](usual)

    assert data != usual
    assert narrowed(io.BytesIO(usual), len(usual), b"vide", wanted) is not None
    assert narrowed(io.BytesIO(data), len(data), b"vide", wanted) is None


def test_most_of_a_film_is_not_narrowed(usual):
    """To write half of an index anew takes longer than to keep the whole."""
    for begin, end in ((0, None), (0, 60), (20, 70)):
        wanted = Wanted(begin=Fraction(begin), end=None if end is None else Fraction(end))
        assert narrowed(io.BytesIO(usual), len(usual), b"vide", wanted) is None


def test_a_short_film_is_not_narrowed(usual, monkeypatch):
    monkeypatch.undo()
    wanted = Wanted(begin=Fraction(44), end=Fraction(45))
    assert narrowed(io.BytesIO(usual), len(usual), b"vide", wanted) is None


@pytest.mark.slow
@given(st.data())
def test_damage_is_no_worse_for_it(usual, data):
    """Whatever is wrong in an index, narrowing it raises nothing, and what comes of it is an error of a known kind."""
    damaged = bytearray(usual)
    index = usual.index(b"moov")
    for _ in range(data.draw(st.integers(1, 6))):
        damaged[data.draw(st.integers(index, len(usual) - 1))] = data.draw(st.integers(0, 255))
    wanted = Wanted(begin=Fraction(44), end=Fraction(45))
    only = data.draw(st.sampled_from(["video", "audio"]))

    narrowed(io.BytesIO(damaged), len(damaged), b"vide" if only == "video" else b"soun", wanted)
    try:
        with open_for_work(io.BytesIO(damaged), len(damaged), only=only, wanted=wanted) as container:
            for stream in container.streams:
                container.seek(10, stream=stream)
                next(container.demux(stream), None)
    except (av.FFmpegError, MediaError, ValueError, EOFError):
        pass


def table(*numbers: int) -> bytes:
    return struct.pack(f">{len(numbers) + 1}I", 0, *numbers)


def unpacked(data: bytes, before: int = 8) -> list[int]:
    return list(struct.unpack(f">{(len(data) - before) // 4}I", data[before:]))


def expanded(pairs: list[int]) -> list[int]:
    return [value for count, value in zip(pairs[::2], pairs[1::2], strict=True) for _ in range(count)]


@st.composite
def tracks(draw):
    """Draw a track's tables, how long each sample lasts, and what else they tell of it."""
    count = draw(st.integers(300, 600))
    numbers = random.Random(draw(st.integers(0, 10**6)))
    durations = [numbers.randrange(1, 5) if numbers.random() < 0.3 else 2 for _ in range(count)]
    delays = [numbers.choice((0, 0, 0, 6, 2**32 - 2)) for _ in range(count)]
    sizes = [numbers.randrange(1, 50) for _ in range(count)]
    keys = sorted({0, *numbers.sample(range(count), count // 10)})
    borders = sorted({0, count, *numbers.sample(range(count), count // 4)})
    chunks = [later - earlier for earlier, later in itertools.pairwise(borders)]
    starts = [numbers.randrange(10**9) for _ in chunks]
    ends = [0, *itertools.accumulate(chunks)]
    places = [
        start + sum(sizes[first:number])
        for start, (first, end) in zip(starts, itertools.pairwise(ends), strict=True)
        for number in range(first, end)
    ]
    entries = [number for chunk, each in enumerate(chunks, 1) for number in (chunk, each, 1)]
    boxes = {
        b"stts": table(count, *(number for each in durations for number in (1, each))),
        b"ctts": table(count, *(number for each in delays for number in (1, each))),
        b"stss": table(len(keys), *(key + 1 for key in keys)),
        b"stsz": table(0, count, *sizes),
        b"stsc": table(len(chunks), *entries),
        b"stco": table(len(starts), *starts),
        b"sdtp": bytes(4) + bytes(numbers.randrange(256) for _ in range(count)),
    }
    facts = [(delays[n], sizes[n], places[n], n in keys, boxes[b"sdtp"][4 + n]) for n in range(count)]
    return boxes, durations, facts


@given(tracks(), st.integers(0, 900), st.integers(0, 60))
def test_each_sample_that_is_kept_is_told_as_before(track, begin, length):
    """Of any tables: its time, delay, size, place and mark; and what is wanted is among those kept, from a key on."""
    boxes, durations, facts = track
    samples = Samples(boxes)
    begin = min(begin, sum(durations) - 1)
    try:
        samples.keep(Fraction(begin), Fraction(begin + length), skipped=0)
    except mp4.UnusualIndexError:
        return
    lasting = expanded(unpacked(samples.table(b"stts")))
    delays = expanded(unpacked(samples.table(b"ctts")))
    sizes, places = unpacked(samples.table(b"stsz"), 12), unpacked(samples.table(b"stco"))
    keys, marks = unpacked(samples.table(b"stss")), samples.table(b"sdtp")[4:]
    times = [0, *itertools.accumulate(lasting)][:-1]
    kept = {
        time: (delay, size, place, number in keys, mark)
        for number, (time, delay, size, place, mark) in enumerate(
            zip(times, delays, sizes, places, marks, strict=True), 1
        )
    }
    before = dict(zip([0, *itertools.accumulate(durations)], facts, strict=False))
    assert kept.items() <= before.items()
    assert sum(lasting) == sum(durations)
    earlier = [time for time in kept if time <= begin and kept[time][3]]
    wanted = {time for time in before if max(earlier) <= time <= begin + length}
    assert wanted <= kept.keys()
    assert max(earlier) == max(time for time, fact in before.items() if time <= begin and fact[3])
