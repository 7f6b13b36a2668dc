"""What only a server can do: refuse, restart, run full, be of another version, stand behind PgBouncer."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from qwen_omni import Settings
from qwen_omni.addresses import StoreAddress
from qwen_omni.errors import ConfigurationError, StoreError
from qwen_omni.video.options import SummaryOptions
from qwen_omni.work_store import postgres as module
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.postgres import _CODES, _STEPS, meaning
from qwen_omni.work_store.store import Claim, Found, StoreUse, Taken
from tests.support.postgres import shared_server
from tests.work_store.conftest import KEY, key

psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")

from qwen_omni.work_store.postgres import PostgresStore  # noqa: E402

ROOT = Path(__file__).parents[2]
SECRET = "s3cr%2Ft"  # as written in an address; "s3cr/t" for the server


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    """Give up soon."""
    monkeypatch.setattr(module, "_PATIENCE", 0.3)
    monkeypatch.setattr(module, "_FIRST_PATIENCE", 0.1)


# --- Addresses ---


@pytest.mark.parametrize(
    ("place", "address"),
    [
        ("postgresql://u@h/d", "postgresql://u@h/d"),
        ("postgres://u@h:1/d?sslmode=require", "postgres://u@h:1/d?sslmode=require"),
        ("postgresql:///d?host=/tmp", "postgresql:///d?host=/tmp"),
        (Path("postgresql://u@h/d"), "postgresql://u@h/d"),
        ("work.sqlite3", None), ("postgresql.sqlite3", None), (Path("a/postgresql:x"), None),
    ],
)  # fmt: skip
def test_what_an_address_is(place, address):
    assert StoreAddress.read(place) == address


@pytest.mark.parametrize("place", ["mysql://u:pw@h/d", "redis://:pw@h", "sqlite:///a.db", "s3://bucket/a"])
def test_other_addresses_are_refused(place):
    with pytest.raises(ConfigurationError, match=r"cannot be at a \w+:// address.*postgresql://HOST") as raised:
        open_work_store(place, StoreUse(name="store", way_out=""))
    assert "pw" not in str(raised.value)


@pytest.mark.parametrize(
    "address",
    [f"postgresql://me:{SECRET}@h/d", f"postgresql://h/d?user=me&password={SECRET}", f"postgresql://:{SECRET}@/d"],
)
def test_a_password_is_never_shown(address):
    """Not by settings, options, or an address itself."""
    shown = repr(Settings.load(api_key="sk-1", store=address)), repr(SummaryOptions(checkpoint=address))
    assert all("s3cr" not in text and "postgresql://" in text for text in shown)
    assert SummaryOptions(checkpoint=Path(address)).checkpoint == address


def test_a_file_is_no_store_of_machines():
    with pytest.raises(ConfigurationError, match="database that machines share"):
        Settings.load(api_key="sk-1", store="work.sqlite3")


# --- What is wrong with the server ---


@contextlib.contextmanager
def answering(reply):
    """Listen as a server that answers the first message with some bytes and hangs up."""
    with socket.create_server(("127.0.0.1", 0)) as server:

        def serve():
            with contextlib.suppress(OSError):
                while True:
                    link, _ = server.accept()
                    with link:
                        link.recv(1024)
                        link.sendall(reply)

        threading.Thread(target=serve, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)


def refusal(code, text):
    fields = f"SFATAL\0VFATAL\0C{code}\0M{text}\0\0".encode()
    return b"E" + (len(fields) + 4).to_bytes(4, "big") + fields


REFUSALS = {
    "password": (refusal("28P01", 'password authentication failed for user "me"'), "disable", "password"),
    "no such user": (refusal("28000", 'role "me" does not exist'), "disable", "password"),
    "not allowed from here": (refusal("28000", 'no pg_hba.conf entry for host "1.2.3.4"'), "disable", "password"),
    "database": (refusal("3D000", 'database "work" does not exist'), "disable", "database"),
    "too many": (refusal("53300", "sorry, too many clients already"), "disable", "connections"),
    "starting": (refusal("57P03", "the database system is starting up"), "disable", "unreachable"),
    "no TLS": (b"N", "require", "tls"),
    "broken TLS": (b"S garbage", "require", "tls"),
    "hangs up": (b"", "disable", "unreachable"),
}


@pytest.mark.parametrize("kind", REFUSALS)
def test_a_refused_connection_is_one_line(kind):
    """What is wrong, the next step, no password."""
    reply, mode, reason = REFUSALS[kind]
    with answering(reply) as port, pytest.raises(StoreError) as raised:
        PostgresStore(f"postgresql://me:{SECRET}@127.0.0.1:{port}/work?sslmode={mode}&gssencmode=disable")
    error = raised.value
    assert (error.reason, error.address) == (reason, f"postgresql://me@127.0.0.1:{port}/work")
    assert error.transient == (reason in ("connections", "unreachable"))
    assert "\n" not in str(error)
    assert str(error).endswith(_STEPS[reason])
    assert "s3cr" not in f"{error!s}{error!r}{error.__cause__!r}"


def test_no_server_and_no_host(postgres):
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    for address in (
        f"postgresql://me@127.0.0.1:{port}/d",
        "postgresql://me@no-such-host.invalid/d",
        "postgresql:///d?host=/no",
    ):
        with pytest.raises(StoreError, match=r"unreachable.*Check the host") as raised:
            PostgresStore(address)
        assert raised.value.transient


@pytest.mark.parametrize("address", ["postgresql://u:p@ss/wo@h:x/d", "postgresql://u@h/d?nonsense=1"])
def test_an_address_that_cannot_be_read(address):
    with pytest.raises(StoreError, match="percent-encoded") as raised:
        PostgresStore(address)
    assert address not in str(raised.value)


def test_a_real_password_a_real_database_a_real_right(postgres):
    """Of the server itself, not of a script."""
    server = shared_server()
    with pytest.raises(StoreError, match=r"\(database\).*createdb"):
        PostgresStore(server.url_of("nowhere"))
    with contextlib.suppress(psycopg.Error):
        server.run("CREATE ROLE guest LOGIN")
    guest = postgres.replace("postgres@", "guest@")
    with pytest.raises(StoreError, match=r"\(permission\): permission denied for database .* GRANT CREATE"):
        PostgresStore(guest)
    server.run("CREATE SCHEMA IF NOT EXISTS qwen_omni AUTHORIZATION guest", url=postgres)
    with contextlib.closing(PostgresStore(guest)) as store:
        assert store.finish(KEY, 1) == 1
    server.run("ALTER TABLE qwen_omni.claims OWNER TO postgres", url=postgres)
    with pytest.raises(StoreError, match=r"\(permission\).*claims"), contextlib.closing(PostgresStore(guest)) as store:
        store.claim(key("other"))


def test_another_encoding(postgres):
    server = shared_server()
    with contextlib.suppress(psycopg.Error):
        server.run("CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0")
    with pytest.raises(StoreError, match=r"LATIN1.*UTF8"):
        PostgresStore(server.url_of("latin"))


TABLES = {
    "newer": ("UPDATE qwen_omni.facts SET value = '5'", "version", "newer version .schema 5; this one reads 4.*Update"),
    "words": ("UPDATE qwen_omni.facts SET value = 'x'", "damaged", "schema version is 'x'"),
    "a table is gone": ("DROP TABLE qwen_omni.spend", "damaged", "missing"),
    "all tables but one": ("DROP TABLE qwen_omni.facts", "damaged", "none of this package"),
}


@pytest.mark.parametrize("kind", TABLES)
def test_tables_that_cannot_be_used(postgres, kind):
    statement, reason, words = TABLES[kind]
    PostgresStore(postgres).close()
    shared_server().run(statement, url=postgres)
    with pytest.raises(StoreError, match=words) as raised:
        PostgresStore(postgres)
    assert raised.value.reason == reason


def test_other_tables_of_the_database_stay_as_they_are(postgres):
    """Ours are in a schema of their own, whatever the search path."""
    shared_server().run("DROP TABLE IF EXISTS results", "CREATE TABLE results (theirs int)", url=postgres)
    with contextlib.closing(PostgresStore(postgres)) as store:
        store.finish(KEY, 1)
    assert shared_server().run("SELECT count(*) FROM results", url=postgres) == [(0,)]


WRITES = {
    "read-only": ("ALTER ROLE {role} SET default_transaction_read_only = on", "read-only", "primary"),
    "slow": ("ALTER ROLE {role} SET statement_timeout = '30ms'", "timeout", "statement_timeout"),
}


@pytest.mark.parametrize("kind", WRITES)
def test_a_server_that_does_not_write(postgres, kind, monkeypatch):
    """An answer is kept in memory and written later; nothing is claimed meanwhile."""
    statement, reason, words = WRITES[kind]
    server, role = shared_server(), f"writer_{os.getpid()}"
    with contextlib.suppress(psycopg.Error):
        server.run(f"CREATE ROLE {role} LOGIN SUPERUSER")
    PostgresStore(postgres).close()
    server.run(statement.format(role=role))
    if kind == "slow":
        monkeypatch.setattr(module, "_BEGIN", "BEGIN; SELECT pg_sleep(1)")
    with contextlib.closing(PostgresStore(postgres.replace("postgres@", f"{role}@"))) as store:
        with pytest.raises(StoreError, match=words) as raised:
            store.claim(KEY)
        assert (raised.value.reason, raised.value.transient) == (reason, True)
        assert store.finish(KEY, "answer") == "answer"
        assert (store.unkept("dashscope"), bool(store.trouble)) == (1, True)
        assert store.find(KEY).value == "answer"
        monkeypatch.setattr(module, "_BEGIN", "BEGIN")
        server.run(f"ALTER ROLE {role} RESET ALL")
        store.database.close()
        store.write_rest()
        assert (store.unkept("dashscope"), store.trouble) == (0, "")
    with contextlib.closing(PostgresStore(postgres)) as other:
        assert other.find(KEY).value == "answer"


@pytest.mark.parametrize(
    ("code", "reason", "transient"),
    [("53100", "disk", False), ("58030", "disk", False), ("40P01", "timeout", True), ("57P01", "unreachable", True),
     ("08006", "unreachable", True), ("XX001", "damaged", False), ("22012", "other", False)],
)  # fmt: skip
def test_what_a_code_means(code, reason, transient):
    assert meaning(psycopg.errors.lookup(code)("x")) == (reason, transient)
    assert {reason for reason, _ in _CODES.values()} <= set(_STEPS)


# --- Connections ---


def lost(server, url):
    """End every connection to a database, as a restart does."""
    server.run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
               "AND datname = current_database()", url=url)  # fmt: skip


def test_lost_connections_are_opened_again(postgres):
    """Whatever comes first after the loss: a read, a claim, an answer, a record."""
    uses = {
        "find": lambda store: store.find(KEY),
        "claim": lambda store: store.claim(key("new")),
        "finish": lambda store: store.finish(key("other"), 2),
        "exchange": lambda store: store.exchange("a", lambda *_: (1, 2)),
    }
    with contextlib.closing(PostgresStore(postgres)) as store:
        store.finish(KEY, 1)
        for use in uses.values():
            lost(shared_server(), postgres)
            assert use(store)
            assert store.trouble == ""
        assert store.unkept("dashscope") == 0


def test_a_connection_that_breaks_inside_a_transaction_writes_once(postgres, monkeypatch):
    """After COMMIT was sent nobody knows whether it was done: the same again changes nothing."""
    sent = module._Statements.run
    broken = []

    def breaks(self, sql, values=()):
        sent(self, sql, values)
        if sql.startswith("UPDATE records") and len(broken) < 2:
            broken.append(1)
            if len(broken) == 2:
                self._base.execute("COMMIT")
            lost(shared_server(), postgres)

    monkeypatch.setattr(module._Statements, "run", breaks)
    monkeypatch.setattr(module, "_PATIENCE", 10)
    with contextlib.closing(PostgresStore(postgres)) as store:
        ids = store.exchange(
            "ids", lambda value, _: ([*(value or []), *(() if "me" in (value or []) else ["me"])],) * 2
        )
        assert ids == ["me"]
    assert len(broken) == 2


def test_at_most_four_connections_of_a_process(postgres):
    with contextlib.closing(PostgresStore(postgres)) as store, ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda n: store.claim(key(str(n))), range(64)))
        (count,) = shared_server().run("SELECT count(*) FROM pg_stat_activity WHERE application_name = 'qwen-omni' "
                                       "AND datname = current_database()", url=postgres)[0]  # fmt: skip
        assert 1 <= count <= 4


def test_it_is_loaded_when_it_is_needed():
    code = "import qwen_omni.work_store.opening, sys; assert 'psycopg' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_without_psycopg(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qwen-omni\[postgres\]'"):
        PostgresStore("postgresql://u@h/d")


# --- Leases by the server's clock ---


def test_a_lease_ends_by_the_servers_clock(postgres, monkeypatch):
    """A client whose clock is a year wrong takes nothing over; a claim that is too old by the server's clock ends."""
    one, two = PostgresStore(postgres, lease_seconds=50), PostgresStore(postgres, lease_seconds=50)
    with contextlib.closing(one), contextlib.closing(two):
        one.claim(KEY)
        one.held.clear()  # as if it was another machine's
        monkeypatch.setattr("qwen_omni.work_store.postgres.is_gone", lambda _: None)
        monkeypatch.setattr("qwen_omni.work_store.buffered.is_here", lambda _: False)
        now = time.time()
        monkeypatch.setattr(time, "time", lambda: now + 3e7)
        assert isinstance(two.claim(KEY), Taken)
        shared_server().run("UPDATE qwen_omni.claims SET renewed_at = now() - interval '51 s'", url=postgres)
        (age,) = shared_server().run("SELECT extract(epoch FROM now() - pg_postmaster_start_time())", url=postgres)[0]
        if age > 50:
            assert isinstance(two.claim(KEY), Claim)
        else:  # a server that has just started prolongs claims: nobody could renew them
            assert isinstance(two.claim(KEY), Taken)
            shared_server().run("UPDATE qwen_omni.claims SET lease = 0", url=postgres)
            assert isinstance(two.claim(KEY), Claim)


@pytest.mark.slow
def test_a_process_that_is_stopped_inside_a_transaction_blocks_nobody(postgres):
    """It holds the lock of a record; the server ends its transaction."""
    code = (
        "import sys, time\nfrom qwen_omni.work_store.postgres import PostgresStore\n"
        "store = PostgresStore(sys.argv[1])\n"
        "def decide(value, now):\n    print('inside', flush=True)\n    time.sleep(60)\n    return 'late', None\n"
        "store.exchange('a', decide)"
    )
    with subprocess.Popen([sys.executable, "-c", code, postgres], stdout=subprocess.PIPE, text=True, cwd=ROOT) as other:
        assert other.stdout.readline() == "inside\n"
        os.kill(other.pid, signal.SIGSTOP)
        module._PATIENCE = 30
        with contextlib.closing(PostgresStore(postgres)) as store:
            began = time.monotonic()
            assert store.exchange("a", lambda value, _: ("mine", value)) is None
            assert time.monotonic() - began < 15
            other.kill()
            assert store.exchange("a", lambda value, _: (value, value)) == "mine"


# --- Killed and restarted ---

WORKING = """
import sys, time, uuid
from pathlib import Path
from qwen_omni.work_store.postgres import PostgresStore
from qwen_omni.work_store.store import Claim, Spent, StepKey, Taken
address, count, billed = sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])
store = PostgresStore(address, lease_seconds=20)
left = [str(n) for n in range(count)]
print("ready", flush=True)
while left:
    step = left.pop(0)
    state = store.claim(StepKey("run", step, "dashscope"))
    if isinstance(state, Claim):
        with billed.open("a") as file:
            file.write(step + chr(10))
        time.sleep(0.02)
        store.finish(StepKey("run", step, "dashscope"), {"by": step})
    elif isinstance(state, Taken):
        left.append(step)
        time.sleep(0.02)
store.close()
print(store.unkept("dashscope"), flush=True)
"""


@pytest.mark.slow
def test_a_server_that_is_killed_and_restarted_loses_nothing(own_server, tmp_path):
    """Three workers go on over two crashes of the server; every step is billed once."""
    url, count, billed = own_server.new_database(), 150, tmp_path / "billed"
    run = [sys.executable, "-c", WORKING, url, str(count), str(billed)]
    with contextlib.ExitStack() as stack:
        workers = [
            stack.enter_context(subprocess.Popen(run, stdout=subprocess.PIPE, text=True, cwd=ROOT)) for _ in range(3)
        ]
        assert [one.stdout.readline() for one in workers] == ["ready\n"] * 3
        for _ in range(2):
            time.sleep(0.4)
            own_server.kill()
            time.sleep(0.5)
            own_server.start()
        assert [one.communicate(timeout=60)[0] for one in workers] == ["0\n"] * 3
    rows = own_server.run("SELECT step, value FROM qwen_omni.results", url=url)
    assert {step: json.loads(value) for step, value in rows} == {str(n): {"by": str(n)} for n in range(count)}
    assert sorted(billed.read_text().split()) == sorted(str(n) for n in range(count))
    assert own_server.run("SELECT count(*) FROM qwen_omni.claims", url=url) == [(0,)]


def test_find_after_a_claim_that_raced(postgres):
    """Whoever finishes between another's look and its claim is found: nothing is asked twice."""
    one, two = PostgresStore(postgres), PostgresStore(postgres)
    with contextlib.closing(one), contextlib.closing(two):
        one.claim(KEY)
        looks = module._Statements.rows

        def racing(self, sql, values=()):
            if sql.startswith("INSERT INTO claims"):
                one.finish(KEY, "first")
            return looks(self, sql, values)

        two.peek = lambda *_, **__: None
        one.held.clear()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module._Statements, "rows", racing)
            assert two.claim(KEY) == Found("first", "dashscope")
        assert shared_server().run("SELECT count(*) FROM qwen_omni.claims", url=postgres) == [(0,)]
