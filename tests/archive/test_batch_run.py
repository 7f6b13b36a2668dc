"""An archive through Batch File: one batch for many links, paid once, resumed by whoever runs next."""

import asyncio
import contextlib
from dataclasses import replace
from functools import partial
from unittest.mock import Mock

import pytest

from qwen_omni import CaptionOptions, GeneralCaption, SpendLimit, UsageLedger
from qwen_omni.archive import Caption, FunctionStep, Summarize, arun, batch_run, run
from qwen_omni.archive.batch import BatchJob
from qwen_omni.archive.remote import oss_store
from qwen_omni.archive.run import status
from qwen_omni.errors import ConfigurationError, ServerError
from qwen_omni.settings import OssCredentials, OssSettings, Settings
from qwen_omni.standin.batch.batches import BatchFault
from qwen_omni.standin.marked_media import make_video
from tests.support.threads import in_threads

STEP = Caption(GeneralCaption, CaptionOptions(model="qwen3.5-omni-flash"))


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(batch_run, "_POLL_SECONDS", 0.01)


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("clips") / "clip.mp4", seconds=2, size=(160, 90)).path


@pytest.fixture
def links(standin, clip):
    """Three links that the stand-in can read, and one to nothing."""
    found = [f"https://media.example.com/{number}.mp4" for number in range(3)]
    standin.media_map.update({f"{link}": clip for link in found})
    return [*found, "https://media.example.com/gone.mp4"]


def rows_of(source, store, settings, step=STEP, **options):
    return list(run(source, step, store=store, settings=settings, mode="batch", **options))


def paid_once(standin, lines, batches=1):
    """Whether so many lines were billed, each once, in so many batches."""
    billed = standin.batches.billed
    return (len(billed), len(set(billed)), len(standin.batches.created)) == (lines, lines, batches)


def chats(standin):
    return sum(one.path.endswith("/chat/completions") and one.method == "POST" for one in standin.requests)


def test_one_batch_for_all(tmp_path, standin, settings: Settings, links):
    store, seen = tmp_path / "s.db", []
    rows = {row.uri: row for row in rows_of(links, store, settings, on_progress=seen.append)}
    assert [rows[link].status for link in links[:3]] == ["ok"] * 3
    assert (rows[links[3]].status, rows[links[3]].error_code) == ("refused", "media_refused")
    assert all(rows[link].value["title"] for link in links[:3])
    assert all(rows[link].input_tokens and rows[link].cost_cny for link in links[:3])
    assert (len(seen), seen[-1].counts) == (4, {"ok": 3, "refused": 1})
    assert seen[-1].cost_cny == pytest.approx(sum(row.cost_cny for row in rows.values()))
    known = status(store)
    assert (known.counts, known.cost_cny) == ({"ok": 3, "refused": 1}, pytest.approx(seen[-1].cost_cny))
    assert (chats(standin), len(list(rows_of(links, store, settings)))) == (0, 4)
    assert paid_once(standin, 3)
    again = list(run(links, STEP, store=store, settings=settings))  # in real time
    assert {row.uri: row.value for row in again} == {uri: row.value for uri, row in rows.items()}
    assert chats(standin) == 0


def test_rows_and_ledger_agree(tmp_path, settings: Settings, links):
    """Both know the price of Batch File."""
    ledger = UsageLedger()
    rows = rows_of(links, tmp_path / "s.db", replace(settings, ledger=ledger))
    assert ledger.total.cny == pytest.approx(sum(row.cost_cny for row in rows))
    assert ledger.total.tokens.total == sum(row.input_tokens + row.output_tokens for row in rows)


def test_local_files_are_for_real_time(tmp_path, settings: Settings, clip):
    """They have a row that says so, and a run in real time takes them up."""
    (row,) = rows_of(clip, tmp_path / "s.db", settings)
    assert (row.status, row.error_code, row.retryable) == ("refused", "batch_needs_link", True)
    (row,) = run(clip, STEP, store=tmp_path / "s.db", settings=settings)
    assert row.status == "ok"


def test_a_run_that_ends_early_is_resumed(tmp_path, standin, settings: Settings, links, monkeypatch):
    """The batch that runs is followed by the next run, whatever its source is; it is not created twice."""
    store = tmp_path / "s.db"
    with monkeypatch.context() as patched:
        patched.setattr(BatchJob, "wait", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rows_of(links, store, settings)
    assert not status(store).total
    rows = rows_of([*reversed(links), "https://media.example.com/new.mp4"], store, settings)
    assert [row.status for row in rows] == ["refused", "ok", "ok", "ok", "refused"]
    assert status(store).total == 5
    assert paid_once(standin, 3, batches=2)  # the second one is about the new link


def test_a_batch_that_was_never_created(tmp_path, settings: Settings, links, monkeypatch):
    """A record without a batch leaves its inputs to the next run."""
    store = tmp_path / "s.db"
    with monkeypatch.context() as patched:
        patched.setattr(BatchJob, "submit", Mock(side_effect=KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            rows_of(links, store, settings)
    assert {row.status for row in rows_of(links, store, settings)} == {"ok", "refused"}


def test_two_runs_at_once_share_a_batch(place, standin, settings: Settings, links):
    """Also where their sources differ: each link is paid for once."""
    store, sources = place, (links[:3], links[:3], links[1:3])
    found = in_threads(*(partial(rows_of, source, store, settings) for source in sources))
    assert sorted([row.status for row in rows] for rows in found) == [["ok"] * 2, ["ok"] * 3, ["ok"] * 3]
    assert status(store).counts == {"ok": 3}
    assert sorted(standin.batches.billed) == sorted(set(standin.batches.billed))
    rows = {row.uri: row for rows in found for row in rows}
    assert status(store).cost_cny == pytest.approx(sum(row.cost_cny for row in rows.values()))
    assert {row.attempt for row in rows.values()} == {1}


def test_chunks(tmp_path, standin, settings: Settings, links, monkeypatch):
    monkeypatch.setattr(batch_run, "_MOST", 2)
    assert len(rows_of(links, tmp_path / "s.db", settings)) == 4
    assert status(tmp_path / "s.db").total == 4
    assert paid_once(standin, 3, batches=2)


def test_money(tmp_path, settings: Settings, links):
    """What does not fit is over_budget, and nothing is submitted; a higher limit takes it up."""
    store = tmp_path / "s.db"
    rows = rows_of(links[:3], store, settings, spend_limit=SpendLimit(cny=0.000001))
    assert {(row.status, row.retryable) for row in rows} == {("over_budget", True)}
    assert {row.status for row in rows_of(links[:3], store, settings, spend_limit=SpendLimit(cny=10))} == {"ok"}


def test_a_batch_that_expires(tmp_path, standin, settings: Settings, links):
    standin.batches.end_next("expired")
    rows = rows_of(links[:3], tmp_path / "s.db", settings)
    assert {(row.status, row.error_code) for row in rows} <= {("failed", "batch_expired"), ("ok", "")}
    assert {row.status for row in rows_of(links[:3], tmp_path / "s.db", settings)} == {"ok"}


def test_an_answer_that_violates_the_schema(tmp_path, standin, settings: Settings, links):
    """It was paid for, and another batch would return it again; a run in real time asks anew on request."""
    own = Caption({"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}, STEP.options)
    standin.script.reply('{"n": "many"}')
    (row,) = rows_of(links[:1], tmp_path / "s.db", settings, step=own)
    assert (row.status, row.error_code, row.retryable, row.input_tokens > 0) == (
        "failed",
        "invalid_answer",
        False,
        True,
    )
    assert rows_of(links[:1], tmp_path / "s.db", settings, step=own) == [row]
    assert len(standin.batches.created) == 1


def test_links_that_expire_too_soon(tmp_path, settings: Settings, links):
    signed = f"{links[0]}?Expires=1&Signature=x"
    (row,) = rows_of([signed], tmp_path / "s.db", settings)
    assert (row.status, row.retryable, "expires" in row.error) == ("failed", True, True)
    assert "Signature" not in row.error


@pytest.mark.parametrize(
    ("step", "words"),
    [
        (Summarize(), "it supports Caption but not"),
        (FunctionStep("f", len, "d"), "it supports Caption but not"),
        (Caption(), "3.8-omni-flash is not offered in Batch File"),
    ],
)
def test_what_batches_do_not_take(tmp_path, settings: Settings, links, step, words):
    with pytest.raises(ConfigurationError, match=words):
        rows_of(links, tmp_path / "s.db", settings, step=step)


def test_an_unknown_mode(tmp_path, settings: Settings, links):
    with pytest.raises(ConfigurationError, match="choose one of realtime, batch"):
        list(run(links, STEP, store=tmp_path / "s.db", settings=settings, mode="fast"))


def test_asyncio(tmp_path, settings: Settings, links):
    async def collect():
        coming = arun(links[:2], STEP, store=tmp_path / "s.db", settings=settings, mode="batch")
        async with contextlib.aclosing(coming):
            return [row.status async for row in coming]

    assert asyncio.run(collect()) == ["ok", "ok"]


def test_a_service_that_fails_on_creation(tmp_path, standin, settings: Settings, links):
    """It is not known whether the batch was created: the next run looks for it first."""
    standin.batches.fail(BatchFault(operation="create", after=True))
    standin.batches.fail(BatchFault(operation="list", times=9))
    with pytest.raises(ServerError):
        rows_of(links[:3], tmp_path / "s.db", settings)
    standin.batches._faults.clear()
    assert {row.status for row in rows_of(links[:3], tmp_path / "s.db", settings)} == {"ok"}
    assert paid_once(standin, 3)


def test_objects_of_a_bucket(tmp_path, standin, settings: Settings, clip):
    """They are signed for longer than the window, or their rows say that this is too short."""
    pytest.importorskip("oss2")
    oss = OssSettings(
        bucket="standin-media", endpoint=standin.oss_endpoint, region="cn-standin",
        credentials=OssCredentials.of("standin-id", "standin-secret"),
    )  # fmt: skip
    short, long = (replace(settings, oss=replace(oss, link_seconds=hours * 3600)) for hours in (6, 100))
    headers = {"Content-Type": "video/mp4"}
    oss_store("standin-media", short).uploads.put_object("videos/a.mp4", clip.read_bytes(), headers=headers)
    (row,) = rows_of("oss://standin-media/videos/", tmp_path / "s.db", short)
    assert (row.status, row.retryable, "the link expires" in row.error) == ("failed", True, True)
    (row,) = rows_of("oss://standin-media/videos/", tmp_path / "s.db", long)
    assert (row.status, row.error, row.uri) == ("ok", "", "oss://standin-media/videos/a.mp4")
