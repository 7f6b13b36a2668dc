"""Times in every spelling, captions put right, subtitles that real readers accept."""

import io
import json
from pathlib import Path

import av
import pysrt
import pytest
import webvtt
from hypothesis import given, settings, strategies as st
from pydantic import BaseModel  # noqa: TC002

from qwen_omni.structured.parse import parse_caption
from qwen_omni.structured.schema import read_schema
from qwen_omni.structured.subtitles import to_srt, to_webvtt
from qwen_omni.structured.timed import (
    TimedCaption,
    TimedCaptions,
    UnreadableTimeError,
    counts_milliseconds,
    read_time,
    split_range,
)
from qwen_omni.tools.handlers import Moments
from qwen_omni.video.schemas import SegmentAnswer
from qwen_omni.video.tasks import FindingsSchema

SPELLINGS = [
    (83.5, 83.5), (7, 7), ("83.5", 83.5), ("12,5", 12.5), (" 12 ", 12), ("12s", 12), ("12.5 seconds", 12.5), ("90 sec", 90),
    ("1:30", 90), ("01:30", 90), ("00:01:30", 90), ("0:05.5", 5.5), ("00:01:23.456", 83.456), ("00:01:23,456", 83.456),
    ("1:02:03.25", 3723.25), ("00:75", 75), ("00 : 12", 12), ("00:12s", 12), ("00:12:500", 12.5), ("00:00:01:500000", 1.5), ("00:01:02:500", 62.5),
    ("01:02:03:12", 3723), ("1m30s", 90), ("1 min 30 s", 90), ("1h2m3s", 3723), ("1h30", 5400), ("0.5min", 30),
    ("2 hours, 3 minutes and 4 seconds", 7384), ("1500ms", 1.5), ("PT1M30S", 90), ("0'12\"", 12), ("1′05″", 65),
    ("1分30秒", 90), ("第12秒", 12), ("12秒", 12), ("约12秒", 12), ("１２秒", 12), ("００：１２", 12), ("12秒左右", 12), ("1小时", 3600),
    ("[00:12]", 12), ("(00:12)", 12), ("<00:12>", 12), ("~12", 12), ("≈ 12 s", 12), ("about 12 s", 12), ("at 0:07", 7), ("t=12", 12),
    ("T+00:12", 12), ("500毫秒", 0.5),
]  # fmt: skip


@pytest.mark.parametrize(("written", "seconds"), SPELLINGS, ids=str)
def test_spellings(written: object, seconds: float) -> None:
    """Every spelling of a time seen in the wild gives its seconds."""
    assert read_time(written) == pytest.approx(seconds, abs=1e-9)


@pytest.mark.parametrize(
    "written",
    ["", "soon", "the end", "12:xx", "-3", -3, None, True, float("nan"), float("inf"), [], "1" * 200, "1:2:3:4:5",
     10**400, 10**5000, 1e308, "9" * 90, "9" * 90 + ":00", {}, "9" * 50 + " h"],
    ids=range(20),
)  # fmt: skip
def test_no_times(written: object) -> None:
    """What is no time raises and is not guessed at."""
    with pytest.raises(UnreadableTimeError):
        read_time(written)


@pytest.mark.parametrize(
    ("written", "duration", "seconds"),
    [
        (5000, 15, 5), (14_500, 15, 14.5), (12_000_000, 60, 12), ("5000", 15, 5), ("00:12:00", 15, 12), ("05:20", 15, 5),
        (45, 15, 45), (16, 15, 16), ("0:16", 15, 16), ("00:45", 15, 45), (100, 15, 100), (5000, None, 5000), (5000, 7200, 5000),
    ],
)  # fmt: skip
def test_duration_decides_the_unit(written: object, duration: float | None, seconds: float) -> None:
    """A time ten times behind the end is in another unit; one a little behind it is a model's mistake and stays."""
    assert read_time(written, duration=duration) == seconds


@pytest.mark.parametrize(
    ("written", "both"),
    [
        ("00:12 - 00:15", ("00:12", "00:15")), ("00:12-00:15", ("00:12", "00:15")), ("12.5s–14s", ("12.5s", "14s")),
        ("00:00:01,000 --> 00:00:02,000", ("00:00:01,000", "00:00:02,000")), ("[0:01 - 0:05]", ("0:01", "0:05")),
        ("3到5秒", ("3", "5秒")), ("0 to 5", ("0", "5")), ("12", None), ("soon - later", None),
    ],
)  # fmt: skip
def test_ranges(written: str, both: tuple[str, str] | None) -> None:
    """A range in one field is taken apart."""
    assert split_range(written) == both


def timed(*entries: object, duration: float | None = None) -> TimedCaptions:
    return TimedCaptions.model_validate(
        {"captions": entries}, context={} if duration is None else {"duration": duration}
    )


def entry(start: object, end: object, text: str = "x") -> dict[str, object]:
    return {"start": start, "end": end, "text": text}


def test_order_and_repairs() -> None:
    """Captions are ordered, turned round, cut at the end, left out behind it; repeats are flagged; all is told."""
    made = timed(
        entry(8, 14, "late"), entry("0:04", "0:02", "turned"), entry(0, 2, "first"), entry(2, 3, "First!"),
        entry("0:45", "0:48", "outside"), entry(5, 6, "dup"), entry(6, 7, "DUP."), duration=10,
    )  # fmt: skip
    assert [(one.start, one.end, one.text) for one in made.captions] == [
        (0, 2, "first"), (2, 3, "First!"), (2, 4, "turned"), (5, 6, "dup"), (6, 7, "DUP."), (8, 10, "late"),
    ]  # fmt: skip
    told = {(note.kind, note.index) for note in made.notes}
    assert told == {
        ("swapped", 1),
        ("clamped", 0),
        ("outside", 4),
        ("moved", 1),
        ("moved", 0),
        ("repeat", 3),
        ("repeat", 6),
    }
    assert "outside" in next(note.text for note in made.notes if note.kind == "outside")


def test_milliseconds_among_seconds() -> None:
    """Where one bare number must be milliseconds, others that lie behind the end are, too."""
    made = timed(entry(0, 500, "a"), entry(500, 12_000, "b"), entry("0:12", "13 s", "c"), duration=15)
    assert [(one.start, one.end) for one in made.captions] == [(0, 0.5), (0.5, 12), (12, 13)]


def test_other_names_and_ranges() -> None:
    """Fields by the names that models give them, and ranges in one field, are understood; a bare list is, too."""
    made = TimedCaptions.model_validate(
        [{"start_time": "0:01", "end_time": "0:02", "caption": "a"}, {"time": "00:03 - 00:05", "description": "b"},
         {"timestamp": "[6-7]", "text": "c"}]
    )  # fmt: skip
    assert [(one.start, one.end, one.text) for one in made.captions] == [(1, 2, "a"), (3, 5, "b"), (6, 7, "c")]


SAME_TIMES = [
    {"start": 1.5, "end": 4}, {"start_time": "1.5", "end_time": "4 s"}, {"start_seconds": 1.5, "end_seconds": 4},
    {"from": 1.5, "to": 4}, {"begin": "0:01.5", "end": "0:04"}, {"timestamp": "00:00:01.500 - 00:00:04.000"},
    {"timestamp": "[00:00:01:500-00:00:04:000]"}, {"time": "[00:00:01.500]-[00:00:04.000]"}, {"time_range": [1.5, 4]},
    {"start": 1500, "end": 4000}, {"start": "1500", "end": "4000"}, {"timestamp": [1500, 4000]},
    {"start_ms": 1500, "end_ms": 4000}, {"startTime": "1500ms", "endTime": "4s"}, {"range": "1.5-4"},
    {"interval": {"start": 1.5, "end": 4}}, {"start": None, "start_time": 1.5, "end": None, "end_time": 4},
]  # fmt: skip


@pytest.mark.parametrize("times", SAME_TIMES, ids=str)
@pytest.mark.parametrize("kind", ["captions", "notes", "findings", "moments"])
def test_times_are_read_alike_everywhere(kind: str, times: dict[str, object]) -> None:
    """Under every usual name and in every unit: 1.5 s to 4 s, in captions, notes, findings and moments."""
    one = {**times, "text": "x"}
    whole: dict[str, tuple[type[BaseModel], dict[str, object]]] = {
        "captions": (TimedCaptions, {"captions": [one]}),
        "notes": (SegmentAnswer, {"summary": "s", "events": [one], "speech": [one]}),
        "findings": (FindingsSchema, {"relevance": 1, "evidence": [one]}),
        "moments": (Moments, {"moments": [one]}),
    }
    schema, data = whole[kind]
    made = parse_caption(json.dumps(data), read_schema(schema), facts={"duration": 15.0}).value
    fields = {"captions": ["captions"], "notes": ["events", "speech"], "findings": ["evidence"], "moments": ["moments"]}
    for field in fields[kind]:
        assert [(entry.start, entry.end) for entry in getattr(made, field)] == [(1.5, 4)], field


def test_a_line_with_a_range_is_an_entry() -> None:
    """The form of the service's own narrative prompt: `[hh:mm:ss:xxx-hh:mm:ss:xxx] text`."""
    made = timed("[00:00:01:500-00:00:04:000] A man enters.", "【0:05 - 0:06】He sits.", duration=15)
    assert [(one.start, one.end, one.text) for one in made.captions] == [(1.5, 4, "A man enters."), (5, 6, "He sits.")]


@pytest.mark.parametrize(
    ("numbers", "milliseconds"),
    [
        ([0, 5000, 14_500], True), ([1, 5, 14], False), ([1, 5, 20], False), (["1", "12_000"], False), ([0, 500], True),
        ([0, 5000, 200_000], None), ([5, 45], None), ([29, 90.5], None), ([0, 10**400], False), ([10**30], None), ([], False),
    ],
    ids=str,
)  # fmt: skip
def test_the_unit_is_decided_for_a_whole_answer(numbers: list[object], milliseconds: bool | None) -> None:
    """Milliseconds only if some lie behind the end and all fit after division; a little behind it is a little off."""
    if milliseconds is None:
        with pytest.raises(UnreadableTimeError, match="the recording lasts 15 s"):
            counts_milliseconds(numbers, duration=15)
    else:
        assert counts_milliseconds(numbers, duration=15) is milliseconds


@pytest.mark.parametrize("lack", ["start", "end", "text"])
def test_nothing_is_invented(lack: str) -> None:
    """A caption without start, end or text is an error, not a guess."""
    broken = {key: value for key, value in entry(1, 2).items() if key != lack}
    with pytest.raises(ValueError, match="Field required"):
        timed(broken)


TIMES = st.floats(0, 400_000, allow_nan=False)


@given(st.lists(st.tuples(TIMES, TIMES, st.text(min_size=1, max_size=20))), st.floats(0.5, 400_000))
@settings(max_examples=200)
def test_always_in_order_and_inside(entries: list[tuple[float, float, str]], duration: float) -> None:
    """Whatever comes in, captions are ordered and inside the video, and each is there or told as left out."""
    try:
        made = timed(*(entry(*one) for one in entries), duration=duration)
    except ValueError as error:
        assert "the recording lasts" in str(error)
        assert max(max(one[:2]) for one in entries) > duration * 1.5
        return
    assert [one.start for one in made.captions] == sorted(one.start for one in made.captions)
    assert all(0 <= one.start <= one.end <= duration for one in made.captions)
    left_out = sum(note.kind == "outside" for note in made.notes)
    assert len(made.captions) + left_out == len(entries)


NASTY = [
    TimedCaption(start=0, end=1.25, text="Plain words."),
    TimedCaption(start=1.25, end=2.9996, text="two\nlines\n\n\nand a gap"),
    TimedCaption(start=3.0004, end=4, text="1\n00:00:09,000 --> 00:00:10,000 no cue"),
    TimedCaption(start=4, end=4, text="no length <b>&amp; tags</b> & more"),
    TimedCaption(start=59.999, end=61.5, text="轻便的帐篷 😀 «été»"),
    TimedCaption(start=3599.9999, end=3600.5, text="NOTE this STYLE"),
    TimedCaption(start=3700, end=400_000, text="WEBVTT"),
]


def milliseconds(captions: list[TimedCaption]) -> list[tuple[int, int]]:
    times = [(round(one.start * 1000), round(one.end * 1000)) for one in captions]
    return [(start, max(end, start + 1)) for start, end in times]


def through_ffmpeg(text: str, ending: str, folder: Path) -> list[tuple[int, int]]:
    path = folder / f"subtitles.{ending}"
    path.write_text(text, encoding="utf-8")
    with av.open(str(path)) as container:
        packets = [packet for packet in container.demux() if packet.size]
        return [
            (
                round(float(one.pts * one.time_base) * 1000),
                round(float((one.pts + one.duration) * one.time_base) * 1000),
            )
            for one in packets
            if one.pts is not None and one.duration is not None and one.time_base is not None
        ]


def from_pysrt(text: str) -> list[tuple[int, int]]:
    return [(item.start.ordinal, item.end.ordinal) for item in pysrt.from_string(text)]


def from_webvtt(text: str) -> list[tuple[int, int]]:
    def count(clock: str) -> int:
        hours, minutes, seconds = clock.split(":")
        return round((int(hours) * 3600 + int(minutes) * 60) * 1000 + float(seconds) * 1000)

    return [(count(cue.start), count(cue.end)) for cue in webvtt.from_buffer(io.StringIO(text))]


def test_three_readers_read_the_same_times(tmp_path: Path) -> None:
    """pysrt, webvtt-py and FFmpeg read back the times that were written, whatever the texts hold."""
    expected = milliseconds(NASTY)
    srt, vtt = to_srt(NASTY), to_webvtt(NASTY)
    assert from_pysrt(srt) == expected
    assert through_ffmpeg(srt, "srt", tmp_path) == expected
    assert from_webvtt(vtt) == expected
    assert through_ffmpeg(vtt, "vtt", tmp_path) == expected


def test_texts_read_back() -> None:
    """The words come back: empty lines closed up, arrows written as arrows, markup of WebVTT escaped."""
    assert pysrt.from_string(to_srt(NASTY))[1].text == "two\nlines\nand a gap"
    assert "→" in pysrt.from_string(to_srt(NASTY))[2].text
    assert (
        list(webvtt.from_buffer(io.StringIO(to_webvtt(NASTY))))[3].raw_text
        == "no length &lt;b&gt;&amp;amp; tags&lt;/b&gt; &amp; more"
    )


@given(
    st.lists(st.tuples(st.integers(0, 359_999_000), st.integers(1, 100_000), st.text(st.characters(categories=["L", "N", "P", "Zs"]), min_size=1, max_size=30)), max_size=8)
)  # fmt: skip
@settings(max_examples=60)
def test_any_captions_read_back(entries: list[tuple[int, int, str]]) -> None:
    """Any captions come back from pysrt and webvtt-py with equal times."""
    captions = [
        TimedCaption(start=start / 1000, end=(start + length) / 1000, text=text)
        for start, length, text in entries
        if text.strip()
    ]
    assert from_pysrt(to_srt(captions)) == milliseconds(captions)
    assert from_webvtt(to_webvtt(captions)) == milliseconds(captions)
