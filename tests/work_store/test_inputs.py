"""What became of inputs: entries that are replaced, add up, and are listed in pages, over every store."""

import contextlib
import sqlite3
from functools import partial

import pytest
from hypothesis import given, strategies as st

from qwen_omni.work_store import sqlite
from qwen_omni.work_store.inputs import InputFilter, StoredInput, merged
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.postgres import _MIGRATIONS
from qwen_omni.work_store.store import StepKey
from tests.support.postgres import shared_server
from tests.support.threads import in_threads
from tests.work_store.conftest import USE

RUN, ORIGIN = "archive caption d1", "dashscope"


def entry(name="a.mp4", *, at=1.0, **fields):
    """An entry whose attempt ended at a second."""
    return StoredInput(run=RUN, origin=ORIGIN, name=name, **{"version": "v1", "began": at, "ended": at, **fields})


@pytest.fixture
def store(place):
    with contextlib.closing(open_work_store(place, USE)) as store:
        yield store


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def any_store(request, tmp_path):
    """A store in memory decides as the others do."""
    place = None
    if request.param != "memory":
        place = tmp_path / "work.sqlite3" if request.param == "sqlite" else request.getfixturevalue("postgres")
    with contextlib.closing(open_work_store(place, USE)) as store:
        yield store


def named(store, *names):
    return store.inputs_named(RUN, ORIGIN, names)


def test_an_entry_names_its_answer(any_store):
    any_store.finish(StepKey(RUN, "digest", ORIGIN), {"value": "A door."})
    any_store.put_inputs([entry("a.mp4", answer="digest", value={"uri": "a.mp4"}), entry("copy.mp4", answer="digest")])
    found = named(any_store, "a.mp4", "copy.mp4", "unknown.mp4")
    assert {name: one.found for name, one in found.items()} == {
        key: {"value": "A door."} for key in ("a.mp4", "copy.mp4")
    }
    assert found["a.mp4"].value == {"uri": "a.mp4"}
    assert any_store.find_many(RUN, ORIGIN, ["digest", "other"]) == {"digest": {"value": "A door."}}


# What a second entry makes of a first one: status, attempts, tokens and cost.
FOLLOWING = {
    "a retry that succeeds": ({"status": "failed", "cost": 2.0}, {"status": "ok", "cost": 1.0}, ("ok", 2, 3.0)),
    "a retry that fails": ({"status": "failed", "cost": 2.0}, {"status": "failed", "cost": 1.0}, ("failed", 2, 3.0)),
    "a late failure": ({"status": "ok", "cost": 2.0}, {"status": "failed", "cost": 1.0}, ("ok", 1, 2.0)),
    "two answers": ({"status": "ok", "cost": 2.0}, {"status": "ok", "cost": 1.0}, ("ok", 2, 3.0)),
    "another version": (
        {"status": "ok", "cost": 2.0},
        {"status": "failed", "cost": 1.0, "version": "v2"},
        ("failed", 1, 1.0),
    ),
    "an unknown price": ({"status": "failed", "cost": None}, {"status": "ok", "cost": 1.0}, ("ok", 2, None)),
    "the same once more": ({"status": "ok", "cost": 2.0}, {"status": "ok", "cost": 2.0, "at": 1.0}, ("ok", 1, 2.0)),
}  # fmt: skip


@pytest.mark.parametrize("case", FOLLOWING)
@pytest.mark.parametrize("together", [True, False])
def test_what_follows(any_store, case, together):
    """Entries of one version add up, whether they are written together or one after the other."""
    first, second, (status, attempts, cost) = FOLLOWING[case]
    any_store.put_inputs([entry(**first)], now=not together)
    any_store.put_inputs([entry(**{"at": 2.0, **second})])
    found = named(any_store, "a.mp4")["a.mp4"]
    assert (found.status, found.attempts, found.cost) == (status, attempts, cost)


def test_threads_that_write_at_once_count_once(store):
    def put(number):
        for at in range(10):
            store.put_inputs([entry(f"{number % 3}", at=number + at / 100, cost=1.0)])

    in_threads(*(partial(put, number) for number in range(12)))
    assert sum(one.cost for one in store.count_inputs(InputFilter(run="archive "))) == 120


def test_what_is_stored_next_is_written_with_an_entry(place):
    """An answer and its entry are in one transaction; without anything else, closing writes the entry."""
    with (
        contextlib.closing(open_work_store(place, USE)) as store,
        contextlib.closing(open_work_store(place, USE)) as other,
    ):
        store.put_inputs([entry(answer="digest")], now=False)
        assert not other.inputs_after(RUN, ORIGIN)
        assert named(store, "a.mp4")["a.mp4"].found is None
        store.finish(StepKey(RUN, "digest", ORIGIN), {"value": 1})
        assert other.inputs_after(RUN, ORIGIN)[0].found == {"value": 1}
        store.put_inputs([entry("b.mp4")], now=False)
    with contextlib.closing(open_work_store(place, USE)) as store:
        assert list(named(store, "b.mp4")) == ["b.mp4"]


ODD = ["é 中文/🎬.mp4", "a b\tc", "%_'\"", "https://h/v?id=1&x=[2]", "Z", "a", "_", "~"]


def test_pages_in_the_order_of_names(any_store):
    """By code points, whatever the language of the server; none twice, none left out."""
    any_store.put_inputs([entry(name, status="failed" if at % 2 else "ok") for at, name in enumerate(ODD)])
    after, found = "", []
    while page := any_store.inputs_after(RUN, ORIGIN, after, most=3):
        assert len(page) <= 3
        found += [one.name for one in page]
        after = page[-1].name
    assert found == sorted(ODD)
    failed = [one.name for one in any_store.inputs_after(RUN, ORIGIN, status="failed")]
    assert failed == sorted(ODD[1::2])
    assert set(named(any_store, *ODD)) == set(ODD)


def test_more_than_one_statement_can_ask_for(store):
    names = [f"{number:05}" for number in range(2_500)]
    store.put_inputs([entry(name) for name in names])
    assert set(named(store, *names, "other")) == set(names)
    store.finish_all({StepKey(RUN, name, ORIGIN): {"value": name} for name in names})
    assert store.find_many(RUN, ORIGIN, names)["02499"] == {"value": "02499"}


def test_counts_by_run_origin_and_status(any_store):
    other = StoredInput(
        run="archive notes d2", origin="https://own", name="a", status="failed", cost=None, began=5, ended=9
    )
    any_store.put_inputs([
        entry("a", cost=1.0, input_tokens=10, output_tokens=1, at=3.0), entry("b", cost=2.0, input_tokens=20, at=4.0),
        entry("c", status="skipped"), other,
    ])  # fmt: skip
    found = any_store.count_inputs(InputFilter(run="archive "))
    assert [(one.run, one.origin, one.status, one.count) for one in found] == [
        (RUN, ORIGIN, "ok", 2), (RUN, ORIGIN, "skipped", 1), ("archive notes d2", "https://own", "failed", 1),
    ]  # fmt: skip
    ok = found[0]
    assert (ok.input_tokens, ok.output_tokens, ok.cost, ok.unpriced, ok.began, ok.ended) == (30, 1, 3.0, 0, 3.0, 4.0)
    assert (found[2].cost, found[2].unpriced) == (0.0, 1)
    chosen = {
        ("archive caption ", False, None): 3, ("archive caption d", True, None): 0, (RUN, True, None): 3,
        ("archive ", False, "https://own"): 1, ("", False, None): 4,
    }  # fmt: skip
    for (run, whole, origin), count in chosen.items():
        wanted = InputFilter(run=run, whole=whole, origin=origin)
        assert sum(one.count for one in any_store.count_inputs(wanted)) == count


def test_steps_in_progress_are_counted(any_store):
    for name in ("d1", "d2"):
        any_store.claim(StepKey(RUN, name, ORIGIN))
    any_store.claim(StepKey("archive notes d", "d1", ORIGIN))
    assert any_store.count_claims(InputFilter(run="archive caption ")) == 2
    any_store.release(StepKey(RUN, "d1", ORIGIN))
    assert any_store.count_claims(InputFilter(run="archive ")) == 2


def test_entries_wait_in_memory_while_the_file_is_locked(tmp_path, monkeypatch):
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    path = tmp_path / "work.sqlite3"
    with contextlib.closing(open_work_store(path, USE)) as store:
        with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
            base.execute("BEGIN EXCLUSIVE")
            store.put_inputs([entry(cost=1.0)])
            assert store.trouble
            assert (store.unwritten, named(store, "a.mp4")["a.mp4"].cost) == (1, 1.0)
            base.execute("ROLLBACK")
        store.write_rest()
        assert (store.unwritten, store.trouble) == (0, "")
        assert store.inputs_after(RUN, ORIGIN)[0].cost == 1.0


def test_digests_are_written_with_what_is_stored_next(place):
    version = ("/in/a.mp4", "1 2 3")
    with (
        contextlib.closing(open_work_store(place, USE)) as store,
        contextlib.closing(open_work_store(place, USE)) as other,
    ):
        store.remember_digests({version: "d"}, now=False)
        assert store.known_digests([version]) == {version: "d"}
        assert not other.known_digests([version])
        store.put_inputs([entry()])
        assert other.known_digests([version]) == {version: "d"}
        store.check_readable()


def test_damaged_entries_are_left_out(tmp_path):
    path = tmp_path / "work.sqlite3"
    with contextlib.closing(open_work_store(path, USE)) as store:
        store.put_inputs([entry("a"), entry("b"), entry("c")])
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.execute("UPDATE inputs SET value = '[1' WHERE name = 'a'")
        base.execute("UPDATE inputs SET attempts = 'many' WHERE name = 'b'")
    with contextlib.closing(open_work_store(path, USE)) as store:
        assert [one.name for one in store.inputs_after(RUN, ORIGIN)] == ["c"]


def test_a_file_of_the_version_before_has_no_inputs_yet(tmp_path):
    path = tmp_path / "work.sqlite3"
    with contextlib.closing(open_work_store(path, USE)) as store:
        store.finish(StepKey("run", "step", ORIGIN), 1)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as base:
        base.executescript("DROP TABLE inputs; UPDATE facts SET value = '3' WHERE name = 'form';")
    with contextlib.closing(open_work_store(path, USE)) as store:
        store.put_inputs([entry()])
        assert len(store.inputs_after(RUN, ORIGIN)) == 1
        assert store.find(StepKey("run", "step", ORIGIN)).value == 1


def test_a_server_of_the_version_before_has_no_inputs_yet(postgres):
    shared_server().run(
        "CREATE SCHEMA qwen_omni", "SET search_path = qwen_omni", *_MIGRATIONS[3].strip().split(";\n"),
        "INSERT INTO facts VALUES ('form', '3')", "INSERT INTO results VALUES ('run', 'dashscope', 'step', '1', 0)",
        url=postgres,
    )  # fmt: skip
    with contextlib.closing(open_work_store(postgres, USE)) as store:
        store.put_inputs([entry()])
        assert len(store.inputs_after(RUN, ORIGIN)) == 1
        assert store.find(StepKey("run", "step", ORIGIN)).value == 1


ENTRIES = st.lists(
    st.builds(
        entry, name=st.sampled_from("ab"), status=st.sampled_from(["ok", "failed"]), at=st.integers(1, 5).map(float),
        version=st.sampled_from(["v1", "v2"]), cost=st.none() | st.integers(0, 3).map(float),
    ),
    min_size=1, max_size=6,
)  # fmt: skip


@given(ENTRIES)
def test_memory_decides_as_the_table_does(entries):
    """`after` and the statement that writes are two forms of one rule."""
    with contextlib.closing(sqlite3.connect(":memory:", isolation_level=None)) as base:
        base.executescript(
            "CREATE TABLE inputs (run, origin, name, version, status, answer, value, attempts, input_tokens, "
            "output_tokens, cost, began, ended, PRIMARY KEY (run, origin, name))"
        )
        for one in entries:
            base.execute(_write(), _values(one))
        rows = base.execute("SELECT name, status, attempts, cost, version FROM inputs ORDER BY name").fetchall()
    groups = {
        name: merged(one for one in entries if one.name == name) for name in sorted({one.name for one in entries})
    }
    assert rows == [(name, one.status, one.attempts, one.cost, one.version) for name, one in groups.items()]


def _write():
    from qwen_omni.work_store import inputs  # noqa: PLC0415  (the statement itself)

    return inputs._WRITE


def _values(one):
    return (*one.key, one.version, one.status, one.answer, "{}", one.attempts, 0, 0, one.cost, one.began, one.ended)
