"""Marks survive the way they are sent, and tell the time of every frame and of the audio."""

from __future__ import annotations

from fractions import Fraction

import av
import numpy as np
import pytest

from qwen_omni.standin.marked_media import (
    Encoding,
    draw_codes,
    exact_rate,
    make_audio,
    make_frames,
    make_image,
    make_video,
)
from qwen_omni.standin.media.facts import Mark
from qwen_omni.standin.media.perceive import Memory


def see(path):
    return Memory().recall("video", path.read_bytes())


def starts(marks):
    return [mark.start for mark in marks]


@pytest.mark.parametrize(
    ("size", "fps"), [((1280, 720), 25), ((640, 360), 23.976), ((426, 240), 30), ((160, 90), 23.976)], ids=str
)
def test_round_trip(tmp_path, size, fps):
    """All codes are seen and heard in order, frames exactly, audio within 30 ms."""
    made = make_video(tmp_path / "video.mp4", seconds=3, size=size, fps=fps)
    facts = see(made.path)
    assert facts.picture_codes == facts.sound_codes == made.codes
    first_frames = [float(-(-second * exact_rate(fps) // 1) / exact_rate(fps)) for second in range(3)]
    assert starts(facts.picture_marks) == pytest.approx(first_frames, abs=1e-3)
    assert starts(facts.sound_marks) == pytest.approx([0, 1, 2], abs=0.03)
    assert (facts.width, facts.height, facts.frames) == (*size, -(-3 * exact_rate(fps) // 1))
    assert facts.fps == pytest.approx(float(exact_rate(fps)), abs=1e-3)
    assert facts.duration == pytest.approx(3, abs=0.05)


@pytest.mark.parametrize(
    ("name", "encoding"),
    [
        ("a.mkv", Encoding()),
        ("a.mov", Encoding(channels=2, sample_rate=44_100)),
        ("a.avi", Encoding(sound_codec="mp3", sample_rate=44_100)),
        ("a.flv", Encoding(sample_rate=44_100)),
        ("a.wmv", Encoding(codec="wmv2", sound_codec="wmav2", sample_rate=44_100, options=())),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_documented_containers(tmp_path, name, encoding):
    """Every documented video container is read, its audio within a tenth of a second of its frames."""
    made = make_video(tmp_path / name, seconds=3, size=(320, 180), encoding=encoding)
    facts = see(made.path)
    assert facts.picture_codes == facts.sound_codes == made.codes
    assert starts(facts.sound_marks) == pytest.approx(starts(facts.picture_marks), abs=0.1)


@pytest.mark.parametrize(
    ("name", "rate", "bitrate", "late"),
    [
        ("a.wav", 16_000, 64_000, 0),
        ("a.mp3", 16_000, 32_000, 0),
        ("a.m4a", 16_000, 32_000, 0),
        ("a.aac", 16_000, 32_000, 1024 / 16_000),  # raw AAC has no place to tell its lead-in of 1024 samples
    ],
)
def test_recordings(tmp_path, name, rate, bitrate, late):
    """Codes survive mono 16 kHz at 32 kbit/s, with onsets within 30 ms."""
    made = make_audio(tmp_path / name, seconds=4, sample_rate=rate, bitrate=bitrate)
    facts = Memory().recall("audio", made.path.read_bytes())
    assert facts.sound_codes == made.codes
    assert starts(facts.sound_marks) == pytest.approx([late, 1 + late, 2 + late, 3 + late], abs=0.03)
    assert (facts.sample_rate, facts.channels, facts.sound) == (rate, 1, True)


@pytest.mark.parametrize(
    ("size", "fps", "quality"), [((640, 360), 4, 32), ((426, 240), 2, 36), ((256, 144), 1, 40)], ids=str
)
@pytest.mark.slow
def test_poor_copies(tmp_path, size, fps, quality):
    """Few frames, few pixels and few bits leave every mark in its place."""
    poor = Encoding(options=(("crf", str(quality)),), sample_rate=16_000, sound_bitrate=32_000)
    made = make_video(tmp_path / "a.mp4", seconds=8, size=size, fps=fps, encoding=poor)
    facts = see(made.path)
    assert facts.picture_codes == facts.sound_codes == made.codes
    assert starts(facts.picture_marks) == pytest.approx(range(8))
    assert starts(facts.sound_marks) == pytest.approx(range(8), abs=0.03)


def test_codes_are_drawn_at_run_time():
    """No two draws are alike, no code comes twice, and a seed repeats a draw."""
    assert draw_codes(60) != draw_codes(60)
    assert len(set(draw_codes(2000))) == 2000
    assert draw_codes(9, seed=4) == draw_codes(9, seed=4)


def test_no_code_is_a_part_of_a_sample_rate():
    """A report that says "16000 Hz" names no code."""
    drawn = {code for seed in range(40) for code in draw_codes(999, seed=seed)}
    assert len(drawn) > 8000
    assert not {code for code in drawn if code in "8000 11025 16000 22050 24000 32000 44100 48000"}


@pytest.mark.parametrize("delay", [0.5, 0.06])
def test_shifted_audio_shows(tmp_path, delay):
    """Audio that comes late is reported late, by the amount."""
    made = make_video(tmp_path / "a.mp4", seconds=3, size=(320, 180), encoding=Encoding(sound_delay=delay))
    assert starts(see(made.path).sound_marks) == pytest.approx([delay, 1 + delay, 2 + delay], abs=0.03)


def test_shift_in_the_container_shows(tmp_path):
    """Audio that the container alone delays is reported late, too."""
    made = make_video(tmp_path / "a.mp4", seconds=3, size=(320, 180))
    shifted = tmp_path / "b.mkv"
    with av.open(str(made.path)) as source, av.open(str(shifted), "w") as output:
        copies = {stream: output.add_stream_from_template(stream) for stream in source.streams}
        for packet in source.demux():
            if packet.size == 0:
                continue
            if packet.stream.type == "audio":
                offset = int(Fraction(1, 2) / packet.time_base)
                packet.pts, packet.dts = packet.pts + offset, packet.dts + offset
            packet.stream = copies[packet.stream]
            output.mux(packet)
    facts = see(shifted)
    apart = [audio.start - frame.start for audio, frame in zip(facts.sound_marks, facts.picture_marks, strict=True)]
    assert apart == pytest.approx([0.5, 0.5, 0.5], abs=0.03)


@pytest.mark.parametrize(
    "order", [(0, 1, 3, 4), (0, 1, 1, 2, 3), (0, 2, 1, 3), (3, 2, 1, 0)], ids=["dropped", "doubled", "swapped", "back"]
)
@pytest.mark.slow
def test_mutations_show(tmp_path, order):
    """A dropped, doubled or shuffled second shows in the frames and in the audio."""
    codes = draw_codes(5)
    told = tuple(codes[index] for index in order)
    facts = see(make_video(tmp_path / "a.mp4", codes=told, size=(320, 180)).path)
    shown = [(mark.code, round(mark.end - mark.start, 2)) for mark in facts.picture_marks]
    runs = [(code, float(told.count(code))) for code in dict.fromkeys(told)]
    assert shown == runs
    assert facts.sound_codes == told


def test_silence_and_absence_differ(tmp_path):
    """A silent track is audio with nothing in it; no track is no audio."""
    quiet = tmp_path / "b.wav"
    with av.open(str(quiet), "w") as output:
        stream = output.add_stream("pcm_s16le", rate=16_000, layout="mono")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 32_000), np.int16), format="s16", layout="mono")
        frame.sample_rate = 16_000
        output.mux(stream.encode(frame))
        output.mux(stream.encode(None))
    heard = Memory().recall("audio", quiet.read_bytes())
    mute = see(make_video(tmp_path / "c.mp4", seconds=2, size=(320, 180), sound=False).path)
    assert (heard.sound, heard.loudness, heard.sound_marks) == (True, None, ())
    assert (mute.sound, mute.sound_duration, mute.sound_tokens) == (False, 0, 0)


def test_cuts_and_colours_show(tmp_path):
    """Every second has a colour of its own, and its change is a cut."""
    facts = see(make_video(tmp_path / "a.mp4", seconds=4, size=(320, 180)).path)
    assert facts.cuts == pytest.approx([1, 2, 3])
    assert [span.name for span in facts.colours] == ["red", "green", "blue", "yellow"]


def test_images():
    """An image tells its code and size, a frame list is made of such."""
    image = Memory().recall("image", make_image("90210", (400, 300), "WEBP"))
    assert (image.container, image.width, image.height, image.picture_codes) == ("webp", 400, 300, ("90210",))
    codes = [Memory().recall("image", one).picture_codes for one in make_frames(["11", "22"], (200, 200))]
    assert codes == [("11",), ("22",)]


@pytest.mark.slow
def test_a_minute_is_judged_in_time(tmp_path):
    """30 seconds of 640x360 are looked at in well under their length."""
    import time  # noqa: PLC0415

    made = make_video(tmp_path / "a.mp4", seconds=30)
    began = time.process_time()
    facts = see(made.path)
    assert facts.picture_codes == made.codes
    assert facts.picture_marks[0] == Mark(code=made.codes[0], start=0.0, end=1.0)
    assert time.process_time() - began < 3
