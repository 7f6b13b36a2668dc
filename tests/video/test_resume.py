"""Nothing is paid for twice: not after an error, not in another use, not in another process."""

import asyncio
import contextlib
import json
import sqlite3
from dataclasses import fields, replace
from pathlib import Path

import pytest

from qwen_omni.client import AsyncOmniClient
from qwen_omni.errors import AccountError, TooManyGapsError
from qwen_omni.media.budget import MediaBudget
from qwen_omni.options import ChatOptions
from qwen_omni.responses import Usage
from qwen_omni.standin.server.script import Fault
from qwen_omni.video.engine.run import aiter_notes, checkpoint_place, iter_notes, over_source
from qwen_omni.video.engine.worker import Checkpoint
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import Paid
from qwen_omni.video.schemas import SegmentNotes, TimedNote
from qwen_omni.video.summarize import asummarize, stream_summary, summarize
from qwen_omni.video.tasks import NotesTask, QuestionTask
from qwen_omni.work_store import sqlite
from tests.support.threads import in_threads
from tests.video.conftest import asked_segments, codes_of

OPTIONS = SummaryOptions(segment_seconds=12, single_call_seconds=0, detail="low", retry_seconds=0.0)


def same(one, other):
    """Everything but what was paid when."""
    bare = {"this_run", "whole_run", "notices"}
    return one.model_dump(exclude=bare) == other.model_dump(exclude=bare)


def test_a_run_that_ended_goes_on(fresh, client, short):
    """The bill was unpaid for a while: afterwards only what was missing is asked, and the cost of all is told."""
    unpaid = Fault.refuse(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
    fresh.script.fault(unpaid, when=lambda request: len(fresh.requests) > 1)
    with pytest.raises(AccountError, match="run it again"):
        summarize(short.path, client=client, options=OPTIONS)
    first = asked_segments(fresh)
    fresh.script.clear()
    found = summarize(short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)
    assert found.this_run.requests < found.whole_run.requests
    assert found.whole_run.requests == found.segments + 1
    answered = [code for code in asked_segments(fresh) if code in first]
    assert len(answered) <= len(first) + OPTIONS.concurrency


def test_the_second_time_costs_nothing(fresh, client, short):
    """Summarised twice: nothing is asked, the result is the same, and both costs are told."""
    first = summarize(short.path, client=client, options=OPTIONS)
    fresh.clear()
    again = summarize(short.path, client=client, options=OPTIONS)
    assert fresh.requests == []
    assert same(first, again)
    assert again.this_run.requests == 0
    assert again.this_run.cny == 0
    assert again.whole_run == first.whole_run


@pytest.mark.slow
def test_an_index_after_a_summary_costs_nothing(fresh, client, short):
    """`iter_notes` finds what `summarize` has paid for, in order, marked as reused."""
    summarize(short.path, client=client, options=OPTIONS)
    fresh.clear()
    notes = list(iter_notes(short.path, client=client, options=OPTIONS))
    assert fresh.requests == []
    assert [one.index for one in notes] == list(range(len(notes)))
    assert all(one.reused and one.segments == len(notes) for one in notes)
    assert notes[0].video.duration == 36


def test_notes_come_while_later_ones_are_missing(fresh, client, short):
    """Lazy: after the first note not everything has been asked for; closing loses nothing of it."""
    options = SummaryOptions(segment_seconds=10, single_call_seconds=0, detail="low", concurrency=1)
    coming = iter_notes(short.path, client=client, options=options)
    first = next(coming)
    assert first.index == 0
    coming.close()
    assert 1 <= len(fresh.requests) <= 3


OTHER = {
    "model": "qwen3.5-omni-flash", "language": "French", "focus": "dogs", "detail": "medium", "strategy": "single",
    "single_call_seconds": 200, "segment_seconds": 14, "overlap": 1, "start": 2, "end": 30, "thinking": True,
    "budget": MediaBudget(name="mine", fps=1), "chat": ChatOptions(temperature=0.5),
}  # fmt: skip
SAME = {
    "text_model": "qwen-flash", "concurrency": 3, "max_gaps": 4, "step_retries": 1, "retry_seconds": 1.0, "rpm": 5,
    "tpm": 50_000, "reduce_tokens": 5000, "checkpoint": Path("elsewhere"), "workers": 1, "reuse_unverified": True,
    "allow_truncated": True, "note_tokens": 900, "tier": "standard", "audio_track": "mix",  # of one track
}  # fmt: skip


def test_every_option_that_changes_what_is_asked_changes_the_name_of_a_run(client, short):
    """What changes the answers changes the key, and nothing else does; each option is in one list, for both uses."""
    assert set(OTHER) | set(SAME) == {field.name for field in fields(SummaryOptions)}

    def names(**change):
        usual = {"segment_seconds": 12, "overlap": 0, "single_call_seconds": 0, "detail": "low"}
        options = SummaryOptions(**{**usual, **change})
        footage, whole = over_source(short.path, client.settings, options)
        end = float(footage.end)
        tasks = (
            QuestionTask(options=options, question="Who?", duration=end),
            NotesTask(options=options, duration=end, whole=whole),
        )
        return [checkpoint_place(footage, task.key_fields, client.settings, options)[1] for task in tasks]

    usual = names()
    assert len(set(usual)) == 2
    for name, value in OTHER.items():
        assert not set(names(**{name: value})) & set(usual), name
    for name, value in SAME.items():
        assert names(**{name: value}) == usual, name


@pytest.mark.slow
async def test_asyncio_gives_the_same(fresh, client, short, tmp_path):
    """The asynchronous twin asks the same and gives the same; it reads the same checkpoint."""
    other = client.settings.__class__(
        **{name: getattr(client.settings, name) for name in client.settings.__slots__}
        | {"cache_dir": tmp_path / "other"}
    )
    async with AsyncOmniClient(other) as aclient:
        found = await asummarize(short.path, client=aclient, options=OPTIONS)
        asked = len(fresh.requests)
        notes = [one async for one in aiter_notes(short.path, client=aclient, options=OPTIONS)]
    assert asked == len(fresh.requests) == found.segments + 1
    assert len(notes) == found.segments
    assert same(found, await asyncio.to_thread(summarize, short.path, client=client, options=OPTIONS))


@pytest.mark.slow
async def test_a_cancelled_run_keeps_what_is_finished(fresh, client, short):
    """Cancel after the first answer: it ends at once, and the next run does not ask for that again."""
    async with AsyncOmniClient(client.settings) as aclient:
        first = asyncio.Event()
        run = asyncio.create_task(
            asummarize(
                short.path, client=aclient, options=OPTIONS,
                on_progress=lambda news: first.set() if news.kind == "segment" else None,
            )
        )  # fmt: skip
        await first.wait()
        run.cancel()
        with pytest.raises(asyncio.CancelledError):
            await run
    found = await asyncio.to_thread(summarize, short.path, client=client, options=OPTIONS)
    assert codes_of(found.events) == list(short.codes)
    assert found.this_run.requests < found.segments + 1


@pytest.mark.slow
def test_two_runs_at_once_share_the_work(fresh, client, short):
    """Two threads on one checkpoint: both give the same, and no segment is asked about twice."""
    found = in_threads(*[lambda: summarize(short.path, client=client, options=OPTIONS)] * 2)
    assert same(*found)
    seen = asked_segments(fresh)
    assert len(seen) == len(set(seen)) == found[0].segments


@pytest.mark.slow
def test_a_refused_segment_is_a_gap_and_is_asked_again_next_time(fresh, client, short):
    """Content inspection refuses the second segment: the summary tells the gap; the next run asks for it alone."""
    options = SummaryOptions(segment_seconds=12, single_call_seconds=0, detail="low", overlap=0, max_gaps=1)
    code = short.codes[20]
    refused = Fault.refuse(400, "data_inspection_failed", "Input or output data may contain inappropriate content.")
    fresh.script.fault(refused, when=lambda request: any(code in one.picture_codes for one in request.media))
    found = summarize(short.path, client=client, options=options)
    (gap,) = found.gaps
    assert gap.start <= 20 < gap.end
    assert "inappropriate" in gap.reason
    assert code not in codes_of(found.events)
    assert "Gaps" in found.to_markdown()
    with pytest.raises(TooManyGapsError):
        summarize(
            short.path,
            client=client,
            options=SummaryOptions(**{name: getattr(options, name) for name in options.__slots__} | {"max_gaps": 0}),
        )
    fresh.script.clear()
    fresh.clear()
    again = summarize(short.path, client=client, options=options)
    assert codes_of(again.events) == list(short.codes)
    assert len(asked_segments(fresh)) == 1


def make_checkpoint(film, client, options=OPTIONS):
    """Make the empty checkpoint of a run."""
    footage, _ = over_source(film.path, client.settings, options)
    task = NotesTask(options=options, duration=float(footage.end))
    path, _ = checkpoint_place(footage, task.key_fields, client.settings, options)
    Checkpoint(path).close()
    return path


def stored(path):
    """Count the answers in a checkpoint, as any other program would."""
    with contextlib.closing(sqlite3.connect(path)) as base:
        (count,) = base.execute("SELECT COUNT(*) FROM results WHERE origin != 'local'").fetchone()
    return count


@pytest.fixture
def full(monkeypatch):
    """A disk without room for another page, for as long as `full` is set."""
    state = {"full": False}
    connecting = sqlite._connect

    def connect(path):
        base = connecting(path)
        if state["full"]:
            (pages,) = base.execute("PRAGMA page_count").fetchone()
            base.execute(f"PRAGMA max_page_count={pages}")
        return base

    monkeypatch.setattr(sqlite, "_connect", connect)
    return state


def test_a_full_disk_loses_nothing(fresh, client, short, full):
    """The checkpoint cannot grow any more: the run goes on in memory, and the result says how many were not kept."""
    path = make_checkpoint(short, client)
    full["full"] = True
    news = list(stream_summary(short.path, client=client, options=OPTIONS))
    assert codes_of(news[-1].events) == list(short.codes)
    assert any("full" in one.text and "memory" in one.text for one in news[:-1] if one.kind == "notice")
    told = " ".join(news[-1].notices)
    missing = news[-1].segments + 1 - stored(path)  # of the answers and the summary
    assert missing > 0
    assert f"could not be written to the checkpoint {path}: {missing} (database or disk is full)" in told


def test_an_index_on_a_full_disk_warns(fresh, client, short, full):
    """Where nobody listens to progress, a warning says how many answers were not kept."""
    path = make_checkpoint(short, client)
    full["full"] = True
    with pytest.warns(UserWarning, match="checkpoint") as told:
        notes = list(iter_notes(short.path, client=client, options=OPTIONS))
    assert f"could not be written to the checkpoint {path}: {len(notes) - stored(path)} " in str(told[-1].message)


def test_room_on_the_disk_again(tmp_path, full):
    """What could not be written is written with the next row."""
    large = json.dumps("x" * 100_000)
    Checkpoint(tmp_path / "a.sqlite3").close()
    full["full"] = True
    with Checkpoint(tmp_path / "a.sqlite3") as kept:
        kept.finish("one", large)
        assert "full" in kept.trouble
        assert "checkpoint" in kept.unkept
        assert kept.find("one") == large
        full["full"] = False
        kept.write_rest()
        assert not kept.trouble
        assert not kept.unkept
    with Checkpoint(tmp_path / "a.sqlite3") as again:
        assert again.find("one") == large


def test_the_first_answer_counts(tmp_path):
    """Should a step ever be answered twice, everybody keeps the first, and is told which it is."""
    with Checkpoint(tmp_path / "a.sqlite3") as one, Checkpoint(tmp_path / "a.sqlite3") as two:
        assert one.finish("s", '"first"') is None
        assert two.finish("s", '"second"') == '"first"'
        assert one.find("s") == two.find("s") == '"first"'


def test_what_was_paid_is_kept(tmp_path):
    """Usage survives, whatever became of the answer."""
    usage = Usage(input_tokens=5, output_tokens=7, total_tokens=12, input_details={"video": 4})
    with Checkpoint(tmp_path / "a.sqlite3") as kept:
        kept.pay("a", "m", usage)
        kept.pay("a", "m", usage)
        kept.pay("b", "n", usage)
    with Checkpoint(tmp_path / "a.sqlite3") as kept:
        assert kept.paid() == [Paid("m", usage), Paid("n", usage)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "value",
    ['{"index": 0}', '{"index": 1, "start": 0, "end": 12}', '{"index": 0, "start": 3, "end": 12}', "[]", "{"],
)
def test_an_answer_that_cannot_be_read_is_asked_for_again_once(fresh, client, short, value):
    """Notes of another segment, of other seconds, of another version or none at all: told, replaced, and then sound."""
    summarize(short.path, client=client, options=OPTIONS)
    (path,) = (client.settings.cache_dir / "video").glob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE results SET value = ? WHERE step = 'segment:0'", (value,))
        base.execute("UPDATE results SET value = ? WHERE step LIKE 'join:%'", (value,))
    fresh.clear()
    again = summarize(short.path, client=client, options=OPTIONS)
    assert len(fresh.requests) == 2
    assert codes_of(again.events) == list(short.codes)
    assert any(f"unreadable entries in {path}" in notice for notice in again.notices)
    fresh.clear()
    assert summarize(short.path, client=client, options=OPTIONS).notices == ()
    assert fresh.requests == []


@pytest.mark.slow
def test_answers_of_an_older_version_are_kept_and_used_on_request(fresh, client, short):
    """Who gave them is not known: they are counted in the result, and reused with `reuse_unverified` alone."""
    first = summarize(short.path, client=client, options=OPTIONS)
    (path,) = (client.settings.cache_dir / "video").glob("*.sqlite3")
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE results SET origin = '' WHERE origin != 'local'")
        base.execute("UPDATE spend SET origin = ''")
    fresh.clear()
    reused = summarize(short.path, client=client, options=replace(OPTIONS, reuse_unverified=True))
    assert fresh.requests == []
    assert same(first, reused)
    assert reused.whole_run == first.whole_run
    asked = summarize(short.path, client=client, options=OPTIONS)
    assert len(fresh.requests) == first.segments + 1
    assert any(f"recording which server gave them: {first.segments + 1}." in notice for notice in asked.notices)


@pytest.mark.slow
def test_a_thousand_segments_fit_in_a_small_checkpoint(tmp_path):
    """12 h and more, an event for every second: the file stays under 50 MB."""
    events = [TimedNote(start=n, end=n + 1, text=f"[stand-in] code {n:06} is shown to the camera") for n in range(90)]
    written = SegmentNotes(
        index=0, start=0, end=90, summary="word " * 100, events=events, speech=events
    ).model_dump_json()
    with Checkpoint(tmp_path / "a.sqlite3") as kept:
        for index in range(1000):
            kept.finish(f"segment:{index}", written)
    assert (tmp_path / "a.sqlite3").stat().st_size < 50_000_000
