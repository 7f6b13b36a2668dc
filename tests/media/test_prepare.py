"""Prepared videos tell the truth: each picture and each sound is that of the second it claims."""

import asyncio
import contextlib
import gc
import hashlib
import itertools
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.budget import budget_named
from qwen_omni.media.encode.frames import read_frames
from qwen_omni.media.encode.video import _runs
from qwen_omni.media.files.tempfiles import scratch
from qwen_omni.media.plan.segments import plan_segments
from qwen_omni.media.prepare import PrepareOptions, aprepare, asplit, look_at, plan_for, prepare, split
from qwen_omni.media.probe.container import open_for_work, video_stream
from qwen_omni.media.source import as_source
from qwen_omni.media.work import Deadline, segments_apart, threads_for
from qwen_omni.standin import marked_media
from qwen_omni.standin.marked_media import Encoding
from qwen_omni.standin.media.perceive import Memory
from tests.support import making
from tests.support.odd import copy

GOPS = Encoding(options=(("preset", "ultrafast"), ("crf", "23"), ("g", "48"), ("bf", "3")))
RATES = [23.976, 25, 29.97, 30, 60]


@pytest.fixture(scope="module")
def film(tmp_path_factory) -> marked_media.TruthMedia:
    """Twenty-four seconds with B-frames and a key frame every two seconds."""
    return marked_media.make_video(
        tmp_path_factory.mktemp("film") / "film.mp4", seconds=24, size=(320, 180), encoding=GOPS
    )


def facts_of(prepared):
    return Memory().recall(prepared.info.kind, prepared.read())


def check(marks, codes, slack):
    assert [mark.code for mark in marks] == list(codes)
    for second, mark in enumerate(marks):
        assert abs(mark.start - second) <= slack, (second, mark)


@pytest.mark.slow
@pytest.mark.parametrize("fps", RATES)
def test_every_picture_shows_the_second_it_claims(fps, tmp_path):
    """At any frame rate, pictures are right to one output period and sound to a twentieth of a second."""
    made = marked_media.make_video(tmp_path / "a.mp4", seconds=13, size=(320, 180), fps=fps, encoding=GOPS)

    facts = facts_of(prepare(made.path, budget="static"))

    check(facts.picture_marks, made.codes, 0.2501)
    check(facts.sound_marks, made.codes, 0.05)
    assert facts.fps == 4
    assert abs(facts.duration - 13) <= 0.26


@pytest.mark.parametrize(
    "budget", ["auto", *(pytest.param(name, marks=pytest.mark.slow) for name in ("static", "original"))]
)
def test_a_file_that_fits_as_it_is_can_be_split(budget, tmp_path):
    """The whole could be sent untouched; its parts are made all the same, each with its own seconds."""
    made = marked_media.make_video(tmp_path / "a.mp4", seconds=24, size=(128, 96), fps=2)
    assert prepare(made.path, budget=budget).plan.action == "pass"

    codes = []
    for piece in split(made.path, seconds=12, budget=budget):
        with piece:
            codes += facts_of(piece).picture_codes
    assert [code for code, _ in itertools.groupby(codes)] == list(made.codes)


@pytest.mark.slow
def test_no_picture_is_half_a_second_late(film):
    """`ffmpeg -r 4` shows pictures two frames late; here every second's picture begins with its second."""
    facts = facts_of(prepare(film.path, budget="static"))

    assert [mark.start for mark in facts.picture_marks] == list(range(24))


def test_kept_frames_equal_a_full_decode(film):
    """Skipping and seeking change no bit of any frame that is kept."""
    look = look_at(as_source(film.path))
    plan = plan_for(look, budget="static")
    whole, kept = _all_frames(film.path), {}
    stretches = _runs(look.reopenable, look.info, plan, 2, Deadline())
    for stretch in stretches:
        with look.reopenable.open() as file, open_for_work(file, look.reopenable.size_bytes) as container:
            for frame, number, count in read_frames(container, video_stream(container), stretch, Deadline()):
                kept |= {number + more: _digest(frame) for more in range(count)}

    assert len(stretches) == 2
    assert kept == {
        number: whole[-(-number * 25 // 4) if number * 25 % 4 == 0 else number * 25 // 4] for number in kept
    }
    assert len(kept) == 96


def _all_frames(path):
    with av.open(str(path)) as container:
        return [_digest(frame) for frame in container.decode(video=0)]


def _digest(frame):
    return hashlib.sha256(b"".join(bytes(plane) for plane in frame.planes)).hexdigest()


@pytest.mark.parametrize("workers", [1, 2, pytest.param(3, marks=pytest.mark.slow)])
def test_any_number_of_workers_makes_the_same_pictures(film, workers):
    """Pieces are joined without a seam: same count, same times, same codes."""
    facts = facts_of(prepare(film.path, budget="static", choices=PrepareOptions(workers=workers)))

    check(facts.picture_marks, film.codes, 0.001)
    assert facts.frames == 96


@pytest.mark.parametrize("room", [10_000_000, 2**30, 2 * 2**30], ids=["request", "temporary store", "bucket"])
def test_a_few_seconds_are_made_however_much_room_there_is(film, room):
    """Much room and little time make a bit rate that no encoder counts; it is not asked for."""
    with prepare(film.path, start=0, end=2, choices=PrepareOptions(room_bytes=room)) as prepared:
        assert prepared.info.duration == 2


def test_a_range_is_cut_out_exactly(film):
    """Start and end are honoured to the frame, and only what is needed is read."""
    with prepare(film.path, budget="static", start=7, end=12.5) as prepared:
        facts = facts_of(prepared)

    check(facts.picture_marks, film.codes[7:13], 0.001)
    check(facts.sound_marks[:5], film.codes[7:12], 0.05)
    assert facts.frames == 22
    assert (prepared.start, prepared.end) == (7, Fraction(25, 2))


@pytest.mark.parametrize("overlap", [pytest.param(0, marks=pytest.mark.slow), 1.5])
def test_segments_cover_the_film_in_order(film, overlap):
    """Every second is in a segment, and each segment's pictures and sounds are its own seconds."""
    segments = list(split(film.path, seconds=10, overlap=overlap, budget="static"))

    assert segments[0].start == 0
    assert segments[-1].end == 24
    for earlier, later in itertools.pairwise(segments):
        assert later.start == earlier.end - Fraction(overlap)
    seen = set()
    for segment in segments:
        assert segment.segment.duration <= 10
        facts = facts_of(segment)
        first = -int(-segment.start // 1)
        for mark in facts.picture_marks:
            second = film.codes.index(mark.code)
            assert abs(float(segment.start) + mark.start - max(second, segment.start)) <= 0.2501
            seen.add(second)
        heard = [film.codes.index(mark.code) for mark in facts.sound_marks if mark.code in film.codes]
        assert first in heard
    assert seen == set(range(24))


def test_a_file_that_fits_passes_byte_for_byte(tmp_path):
    """Nothing is made of what needs nothing; the path is the caller's own and is not removed."""
    made = marked_media.make_video(tmp_path / "a.mp4", seconds=3, fps=4)
    with prepare(made.path, budget="static") as prepared:
        assert (prepared.plan.action, prepared.path, prepared.temporary) == ("pass", made.path, False)
    assert made.path.exists()


def test_glance_takes_key_frames_at_their_own_times(film):
    """Key frames only, as often as there are any, each where it belongs; the whole length stays."""
    prepared = prepare(film.path, budget="glance")
    facts = facts_of(prepared)

    assert (facts.frames, prepared.info.fps) == (12, Fraction(1, 2))
    assert facts.duration == prepared.info.duration == 24
    for mark in facts.picture_marks:
        second = round(mark.start)
        assert mark.code in film.codes[max(0, second - 1) : second + 1]


def test_a_glance_at_one_key_frame_lasts_as_long_as_the_film(tmp_path):
    """The picture is held, so that no service finds the video too short; sound stays where it was."""
    lone = Encoding(options=(("preset", "ultrafast"), ("g", "9999"), ("sc_threshold", "0")))
    made = marked_media.make_video(tmp_path / "a.mp4", seconds=9, size=(160, 120), encoding=lone)
    with prepare(made.path, budget="glance") as prepared:
        facts = facts_of(prepared)

    assert (facts.duration, prepared.info.duration, facts.frames) == (9, 9, 4)
    check(facts.sound_marks, made.codes, 0.05)


@pytest.mark.parametrize("seconds", [3, 5, 7])
@pytest.mark.slow
def test_sound_made_anew_is_exactly_as_long_as_its_source_says(seconds, tmp_path):
    """No frame is filled up at the end, since services bill what they decode; nor does the sound move."""
    made = marked_media.make_video(tmp_path / "a.mp4", seconds=seconds, size=(160, 120))
    with prepare(made.path, budget="static") as prepared:
        with av.open(str(prepared.path)) as container:
            frames = list(container.decode(audio=0))
        assert (frames[0].pts, sum(frame.samples for frame in frames)) == (0, seconds * 16_000)
        check(facts_of(prepared).sound_marks, made.codes, 0.05)


@pytest.mark.parametrize(
    ("size", "asked", "threads"),
    [
        ((1920, 1080), None, 4),
        ((2560, 1440), None, 2),
        ((3840, 2160), None, 2),
        ((3840, 2160), 3, 3),
        ((7680, 4320), None, 1),
        ((7680, 4320), 2, 1),
    ],
)
def test_large_pictures_are_decoded_on_fewer_threads(size, asked, threads, film):
    """Each thread keeps a decoder's pictures; two of an 8K film would fill the memory, whoever asks for them."""
    info = replace(look_at(as_source(film.path)).info, width=size[0], height=size[1])
    assert threads_for(info, asked=asked, usual=4) == threads


@given(st.integers(91, 20_000), st.integers(11, 90), st.integers(0, 5), st.integers(1, 4))
@pytest.mark.slow
def test_segments_apart_are_whole_rounds(length, seconds, overlap, threads):
    """Whole rounds get a thread each, and at least one segment, at most a round, is left for all threads together."""
    count = len(list(plan_segments(Fraction(length), seconds=Fraction(seconds), overlap=Fraction(overlap))))
    apart = segments_apart(Fraction(length), seconds=Fraction(seconds), overlap=Fraction(overlap), threads=threads)
    assert apart % threads == 0
    assert 0 < count - apart <= (threads if threads > 1 else count)


def test_frames_come_with_their_exact_times(film):
    """A frame list holds JPEG pictures and the second of the source that each shows."""
    stills = prepare(film.path, budget=replace(budget_named("static"), frames=True, fps=1), start=3, end=8).jpegs

    assert [still.time for still in stills] == [3, 4, 5, 6, 7]
    codes = [Memory().recall("image", still.data).picture_codes for still in stills]
    assert codes == [(code,) for code in film.codes[3:8]]


@pytest.mark.slow
def test_a_limit_on_bytes_is_kept(tmp_path):
    """A file that would be larger is coded more coarsely."""
    noise = np.random.default_rng(1)
    with av.open(str(tmp_path / "noise.mp4"), "w") as output:
        stream = output.add_stream("mpeg4", rate=10)
        stream.bit_rate = 8_000_000
        frames = (noise.integers(0, 256, (180, 320, 3), np.uint8) for _ in range(80))
        making.add_frames(output, stream, frames, size=(320, 180))

    free = prepare(tmp_path / "noise.mp4", budget="static")
    small = prepare(tmp_path / "noise.mp4", budget=replace(budget_named("static"), max_bytes=200_000))

    assert free.info.size_bytes > 200_000 >= small.info.size_bytes


def test_bytes_and_links(film):
    """Bytes are prepared like files; links are refused, since nothing is downloaded."""
    assert prepare(film.path.read_bytes(), budget="static").info.frame_count == 96
    with pytest.raises(UnsupportedMediaError, match="is a link"):
        prepare("https://example.com/a.mp4")


@pytest.mark.slow
async def test_the_asynchronous_forms_give_the_same(film):
    """`aprepare` and `asplit` run on threads and give what their siblings give."""
    prepared = await aprepare(film.path, budget="static")
    segments = [segment async for segment in asplit(film.path, seconds=10, budget="static")]

    assert prepared.info.frame_count == 96
    assert [segment.end for segment in segments][-1] == 24


def left() -> set[Path]:
    """List what lies in the temporary folder of this process."""
    gc.collect()
    path = scratch.new_path("")
    return {file for file in path.parent.iterdir() if file.name != "lock"}


def test_closing_a_generator_ends_the_work_and_leaves_no_file(film):
    """After the first segment nothing goes on, and what was made ahead is removed."""
    before = set(threading.enumerate())
    segments = split(film.path, seconds=8, budget="static")
    first = next(segments)
    segments.close()
    first.close()

    assert left() == set()
    assert set(threading.enumerate()) <= before


async def test_a_cancelled_task_leaves_no_file(film):
    """Cancelling ends the work at the next packet."""
    task = asyncio.create_task(aprepare(film.path, budget="static", choices=PrepareOptions(workers=1)))
    await asyncio.sleep(0.2)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
    del task

    assert left() == set()


def test_an_error_leaves_no_file(film, tmp_path):
    """A file that breaks in the middle of the work is an error of ours, and nothing stays behind."""
    cut = tmp_path / "cut.mkv"
    copy(film.path, cut)
    with pytest.raises(UnreadableMediaError, match="not finished within"):
        prepare(cut, budget="static", choices=PrepareOptions(limit_seconds=0.01))

    assert left() == set()


SCRIPT = """
import sys, time
from qwen_omni import prepare, split
kept = prepare(sys.argv[1], budget="static", end=3)
going = split(sys.argv[1], seconds=8, budget="static")
first = next(going)
print(first.path.parent, flush=True)
if sys.argv[2] != "exit":
    time.sleep(60)
"""


@pytest.mark.parametrize(
    ("name", "kind", "seconds"),
    [("a.mp4", "video", r"4\.\d+"), ("a.mp4", "audio", r"[34]\.\d+"), ("a.mp3", "audio", r"[34]\.\d+")],
)
def test_a_part_that_cannot_be_decoded_is_refused(name, kind, seconds, tmp_path):
    """The seconds that can be decoded are in the error."""
    path = tmp_path / name
    make = marked_media.make_video if name == "a.mp4" else marked_media.make_audio
    make(path, seconds=10)
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux(**{kind: 0}) if packet.size and packet.pos is not None]
        late = [packet for packet in packets if packet.pts * packet.time_base >= 4]
        for packet in late:
            data[packet.pos : packet.pos + packet.size] = b"\x55" * packet.size
    path.write_bytes(data)

    with pytest.raises(UnreadableMediaError, match=rf"{name}: only {seconds} of 10\.\d+ s of its {kind} can be"):
        prepare(path, budget="static")


@pytest.mark.slow
@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
@pytest.mark.parametrize("how", ["exit", "interrupt", "kill"])
def test_the_folder_goes_with_the_process(film, how):
    """At exit and Ctrl-C the folder is removed at once, after a kill by the next process that needs one."""
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, film.path, how], stdout=subprocess.PIPE, text=True, stderr=subprocess.DEVNULL
    )
    folder = Path(process.stdout.readline().strip())
    assert folder.parent == Path(tempfile.gettempdir())
    if how != "exit":
        time.sleep(0.2)
        process.send_signal(signal.SIGINT if how == "interrupt" else signal.SIGKILL)
    process.wait(20)
    process.stdout.close()
    if how == "kill":
        assert folder.exists()
        subprocess.run(
            [sys.executable, "-c", "from qwen_omni.media.files.tempfiles import scratch; scratch.new_path('')"],
            check=True,
        )

    assert not folder.exists()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_sound_does_not_drift_in_two_hours(tmp_path):
    """At the end of two hours sound is where it belongs, to a twentieth of a second."""
    made = marked_media.make_audio(tmp_path / "long.wav", seconds=7200, sample_rate=11_025, seed=3)

    facts = facts_of(prepare(made.path, budget="static"))

    assert facts.sound_marks[-1].code == made.codes[-1]
    assert abs(facts.sound_marks[-1].start - 7199) <= 0.05
