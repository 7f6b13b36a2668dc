"""The store in a PostgreSQL database, for the processes of many machines.

`PostgresServer` is the server, for the threads of one process: connections, the tables, and what its errors mean.
Nothing depends on the state of a session: statements are not prepared, settings and locks end with their transaction.
So PgBouncer may stand in front, also in transaction mode. A pool of our own hands out connections: opening one raises
the error of the server itself, no thread is involved, and a fork leaves the parent's connections alone. `psycopg` is
imported by the first use.

`PostgresStore` keeps the steps in it. Claims expire by the clock of the server, never by that of a client. A restart of
the server prolongs them: an owner that could not renew its claim has not necessarily stalled. Where the server cannot
be asked, nothing is claimed, since others may have paid for the step: transient failures are retried for half a minute,
then `StoreError` is raised. What is finished meanwhile stays in memory.
"""

import contextlib
import functools
import importlib
import re
import threading
import time
import weakref
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from qwen_omni.errors import ConfigurationError, StoreError
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.statements import MINE, Transaction, loaded, names, select
from qwen_omni.work_store.store import Claim, Found, StepKey, StoreUse, Taken, describe, is_gone

if TYPE_CHECKING:
    import psycopg

T = TypeVar("T")

SCHEMA = 4
"""The version of the tables; the same number means the same entries as in a file."""
_MOST_CONNECTIONS = 4  # of one process
_IDLE_SECONDS = 240.0  # an unused connection is closed after this; firewalls drop them silently after some minutes
_TURN_SECONDS = 30.0  # how long a thread waits for one of the connections
_PATIENCE = 30.0  # how long transient failures are retried
_FIRST_PATIENCE = 5.0  # the same for the first use, which may have a wrong address
_PAUSES = (0.05, 0.1, 0.2, 0.4, 0.8, 1.0)

_CONNECTING: Mapping[str, Any] = {
    "connect_timeout": 10, "application_name": "qwen-omni", "client_encoding": "utf8",
    "keepalives_idle": 30, "keepalives_interval": 10, "keepalives_count": 3, "tcp_user_timeout": 30_000,
}  # fmt: skip
# A process that is suspended in a transaction must not block the others.
_BEGIN = (
    "BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '5s'; "
    "SET LOCAL idle_in_transaction_session_timeout = '5s'"
)

_MIGRATIONS: Mapping[int, str] = {
    3: """
CREATE TABLE facts (name text PRIMARY KEY, value text NOT NULL);
CREATE TABLE results (run text NOT NULL, origin text NOT NULL, step text NOT NULL, value text NOT NULL,
  stored_at float8 NOT NULL, expires_at float8, PRIMARY KEY (run, origin, step));
CREATE TABLE claims (run text NOT NULL, origin text NOT NULL, step text NOT NULL, owner text NOT NULL,
  lease float8 NOT NULL, renewed_at timestamptz NOT NULL, resume text, PRIMARY KEY (run, origin, step));
CREATE TABLE spend (id text PRIMARY KEY, run text NOT NULL, origin text NOT NULL, value text NOT NULL,
  at float8 NOT NULL);
CREATE INDEX spend_of_run ON spend (run);
CREATE TABLE digests (key text PRIMARY KEY, digest text NOT NULL);
CREATE TABLE records (name text PRIMARY KEY, value text NOT NULL) WITH (fillfactor = 50)
""",
    4: """
CREATE TABLE inputs (run text NOT NULL, origin text NOT NULL, name text COLLATE "C" NOT NULL,
  version text NOT NULL, status text NOT NULL, answer text NOT NULL, value text NOT NULL, attempts int NOT NULL,
  input_tokens int8 NOT NULL, output_tokens int8 NOT NULL, cost float8, began float8 NOT NULL, ended float8 NOT NULL,
  PRIMARY KEY (run, origin, name));
CREATE INDEX inputs_by_status ON inputs (run, origin, status, name)
""",
}
"""Statements that lead to each version of the tables from the one before."""
_MIGRATING = 0x71776E31  # the advisory lock of those who migrate
_TABLES = re.compile(r"(?<![\w.])(facts|results|claims|spend|digests|records|inputs)\b(?!_)")


class Unusable(Exception):  # noqa: N818  (internal: becomes a StoreError)
    """The database cannot be a store; `reason` is that of a `StoreError`."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def load_psycopg() -> Any:  # noqa: ANN401  (a module)
    """Import psycopg.

    Raises:
        ConfigurationError: it is not installed, or finds no libpq.
    """
    try:
        return importlib.import_module("psycopg")
    except ImportError as error:
        detail = "" if isinstance(error, ModuleNotFoundError) else f" ({str(error).splitlines()[0]})"
        raise ConfigurationError(
            f"A store in PostgreSQL needs psycopg{detail}: pip install 'qwen-omni[postgres]'"
        ) from error


# --- The address ---


class Address:
    """Where the server is, with a password that is never shown."""

    def __init__(self, given: str, fields: Mapping[str, Any]) -> None:
        self.given = given
        self.fields = fields

    @classmethod
    def parse(cls, given: str) -> "Address":
        """Read an address.

        Raises:
            StoreError: it cannot be read; the message does not quote it, since it may hold a password.
            ConfigurationError: psycopg is not installed.
        """
        psycopg = load_psycopg()
        try:
            fields = psycopg.conninfo.conninfo_to_dict(given)
        except psycopg.Error:
            fields = None
        # Of a password that is not encoded, libpq takes the end for a host or a database.
        if fields is None or any("@" in str(fields.get(name, "")) for name in ("host", "dbname")):
            raise StoreError(
                "The address of the PostgreSQL store cannot be read. Write postgresql://HOST:PORT/DATABASE, with USER@ "
                "before the host; characters such as / @ : in a password are percent-encoded, or the password is left "
                "to PGPASSWORD.",
                reason="address", address="postgresql://",
            )  # fmt: skip
        return cls(given, fields)

    def __str__(self) -> str:
        host, port, user = (str(self.fields.get(name) or "") for name in ("host", "port", "user"))
        where = f"{user}@" if user else ""
        if "/" not in host:
            where += host + (f":{port}" if port else "")
        shown = f"postgresql://{where}/{self.database}"
        return f"{shown}?host={host}" if "/" in host else shown

    __repr__ = __str__

    @property
    def database(self) -> str:
        """The name of the database."""
        return str(self.fields.get("dbname") or self.fields.get("user") or "")

    def without_password(self, text: str) -> str:
        """Remove the passwords of this address from a text, as written and percent-encoded."""
        secrets = [str(self.fields[name]) for name in ("password", "sslpassword") if self.fields.get(name)]
        found = re.search(r"://[^/@:]*:([^/@]+)@", self.given)
        for secret in [*secrets, *([found[1]] if found else [])]:
            text = text.replace(secret, "***")
        return text


# --- Connections ---


class PostgresServer:
    """The database of a store. Thread-safe; see `buffered.Database`."""

    def __init__(self, address: Address, use: StoreUse) -> None:
        self.address = address
        self._use = use
        self._psycopg = load_psycopg()
        self._ready = False
        self._idle: list[tuple[float, psycopg.Connection[Any]]] = []
        weakref.finalize(self, _end, self._idle)
        self._reset()

    def _reset(self) -> None:
        self._lock = threading.Lock()
        self._slots = threading.BoundedSemaphore(_MOST_CONNECTIONS)

    def read(self, action: Callable[[Transaction], T]) -> T:
        """Read, each statement for itself; repeat it for 30 s while failures are transient."""
        return self.patiently(lambda: self._once(action, transaction=False), _PATIENCE)

    def write(self, action: Callable[[Transaction], T]) -> T:
        """Run `action` in one transaction; retry once if an idle connection turns out to be dead."""
        with self._lock:
            had_idle = bool(self._idle)
        try:
            return self._once(action, transaction=True)
        except self._psycopg.OperationalError as error:
            if not (had_idle and _is_lost(error)):
                raise
            self.close()
            return self._once(action, transaction=True)

    def insist(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; repeat it for 30 s while failures are transient."""
        return self.patiently(lambda: self._once(action, transaction=True), _PATIENCE)

    def patiently(self, attempt: Callable[[], T], seconds: float) -> T:
        """Retry what fails for a transient reason."""
        until, pauses = time.monotonic() + seconds, iter(_PAUSES)
        while True:
            try:
                return attempt()
            except self._psycopg.Error as error:
                pause = next(pauses, _PAUSES[-1])
                if not meaning(error)[1] or time.monotonic() + pause > until:
                    raise
                if _is_lost(error):
                    self.close()  # the others are dead as well
            time.sleep(pause)

    def open_first(self) -> None:
        """Connect, and create or migrate the tables, before anything is paid for."""
        self.patiently(lambda: self._once(lambda _: None, transaction=False), _FIRST_PATIENCE)

    def _once(self, action: Callable[[Transaction], T], *, transaction: bool) -> T:
        with self._connection() as base:
            if not transaction:
                return action(_Statements(base))
            base.execute(_BEGIN)
            result = action(_Statements(base))
            base.execute("COMMIT")
            return result

    @contextlib.contextmanager
    def _connection(self) -> "Generator[psycopg.Connection[Any]]":
        slots = self._slots
        if not slots.acquire(timeout=_TURN_SECONDS):
            raise self._psycopg.OperationalError("every connection of this process is in use")
        try:
            base = self._take() or self._connect()
            try:
                yield base
            except BaseException:
                base.close()  # whatever state it is in, the next use opens another
                raise
            with self._lock:
                self._idle.append((time.monotonic(), base))
        finally:
            slots.release()

    def _take(self) -> "psycopg.Connection[Any] | None":
        now = time.monotonic()
        with self._lock:
            stale = [one for since, one in self._idle if now - since > _IDLE_SECONDS or one.closed]
            self._idle[:] = [(since, one) for since, one in self._idle if one not in stale]
            found = self._idle.pop()[1] if self._idle else None
        for one in stale:
            one.close()
        return found

    def _connect(self) -> "psycopg.Connection[Any]":
        given = {name: value for name, value in _CONNECTING.items() if name not in self.address.fields}
        base: psycopg.Connection[Any] = self._psycopg.connect(
            self.address.given, autocommit=True, prepare_threshold=None, **given
        )
        try:
            if not self._ready:
                migrate(base)
                self._ready = True
        except BaseException:
            base.close()
            raise
        return base

    def close(self) -> None:
        """Close the connections that are not in use; the next use opens new ones."""
        with self._lock:
            idle = list(self._idle)
            self._idle.clear()
        _end(idle)

    def before_fork(self) -> None:
        """Wait until no connection is being taken or returned."""
        self._lock.acquire()

    def after_fork(self, *, child: bool) -> None:
        """Resume after a fork; a child forgets the connections of its parent, which only the parent may end."""
        if child:
            _parents.extend(base for _, base in self._idle)
            self._idle.clear()
            self._reset()
        else:
            self._lock.release()


_parents: list[Any] = []  # never used, and never closed


def _end(idle: "list[tuple[float, psycopg.Connection[Any]]]") -> None:
    for _, base in idle:
        base.close()


class _Statements:
    """A `Transaction` over a connection."""

    def __init__(self, base: "psycopg.Connection[Any]") -> None:
        self._base = base

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        found: list[tuple[Any, ...]] = self._base.execute(_translated(sql), _storable(values)).fetchall()
        return found

    def run(self, sql: str, values: Sequence[Any] = ()) -> None:
        self._base.execute(_translated(sql), _storable(values))

    def run_many(self, sql: str, rows: Iterable[Sequence[Any]]) -> None:
        values = [_storable(row) for row in rows]
        if len(values) == 1:
            self._base.execute(_translated(sql), values[0])
        elif values:
            with self._base.cursor() as cursor:
                cursor.executemany(_translated(sql), values)

    def now(self) -> float:
        return float(self.rows("SELECT EXTRACT(EPOCH FROM clock_timestamp())::float8")[0][0])


@functools.lru_cache(maxsize=256)
def _translated(sql: str) -> Any:  # noqa: ANN401  (psycopg wants literal strings)
    """Return a statement with psycopg's marks, and our tables in our own schema, whatever the search path."""
    return _TABLES.sub(r"qwen_omni.\1", sql).replace("?", "%s")


def _storable(values: Sequence[Any]) -> tuple[Any, ...]:
    """Return values as text columns can hold them: without NUL and lone surrogates."""
    return tuple(
        value.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for value in values
    )


# --- The tables ---


def migrate(base: "psycopg.Connection[Any]") -> None:
    """Create the tables, or bring them to this version, all or nothing; one process at a time.

    Raises:
        Unusable: the tables are of a newer version or another program, or the database is not in UTF-8.
        psycopg.Error: the server failed.
    """
    if _version(base, alone=False) == SCHEMA:
        return
    encoding = _one(base, "SELECT current_setting('server_encoding')")
    if encoding != "UTF8":
        raise Unusable("database", f"its encoding is {encoding}; create it with ENCODING 'UTF8' TEMPLATE template0")
    base.execute("BEGIN ISOLATION LEVEL READ COMMITTED; SET LOCAL lock_timeout = '20s'")
    base.execute("SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
    version = _version(base, alone=True)
    if version != SCHEMA:
        if not _one(base, "SELECT count(*) FROM pg_namespace WHERE nspname = 'qwen_omni'"):
            base.execute("CREATE SCHEMA qwen_omni")
        base.execute("SET LOCAL search_path = qwen_omni")
        for number in sorted(_MIGRATIONS):
            if number > version:
                base.execute(_MIGRATIONS[number].encode())
        base.execute(
            "INSERT INTO facts VALUES ('form', %s) ON CONFLICT (name) DO UPDATE SET value = excluded.value",
            (str(SCHEMA),),
        )
    base.execute("COMMIT")


def _version(base: "psycopg.Connection[Any]", *, alone: bool) -> int:
    """Return the version of the tables, 0 if there are none; raise `Unusable` if they cannot be used.

    Unless this process is `alone`, another may create them at this moment.
    """
    # Not by to_regclass: after waiting for the lock it may still answer from what it knew before.
    names = _one(
        base, "SELECT coalesce(array_agg(tablename::text), '{}') FROM pg_tables WHERE schemaname = 'qwen_omni'"
    )
    if "facts" not in names:
        if alone and names:
            raise Unusable("damaged", "its schema qwen_omni holds tables that are none of this package's")
        return 0
    form = _one(base, "SELECT value FROM qwen_omni.facts WHERE name = 'form'")
    if not (isinstance(form, str) and form.isascii() and form.isdigit()):
        raise Unusable("damaged", f"its schema version is {str(form)[:40]!r}")
    if int(form) > SCHEMA:
        raise Unusable("version", f"it was written by a newer version (schema {form[:12]}; this one reads {SCHEMA})")
    wanted = set(re.findall(r"CREATE TABLE (\w+)", "".join(_MIGRATIONS.values())))
    if int(form) == SCHEMA and not wanted <= set(names):
        raise Unusable("damaged", "tables of its schema qwen_omni are missing")
    return int(form)


def _one(base: "psycopg.Connection[Any]", sql: str) -> Any:  # noqa: ANN401
    row = base.execute(sql.encode()).fetchone()
    return None if row is None else row[0]


# --- What an error means ---


_STEPS: Mapping[str, str] = {
    "unreachable": "Check the host and the port, that the server runs, and that a firewall lets this machine through.",
    "password": "Check the user and the password, in the address, PGPASSWORD or ~/.pgpass.",
    "database": "Create it (createdb -E UTF8 NAME), or correct the address.",
    "permission": "Let an administrator grant it: GRANT CREATE ON DATABASE ... TO the user, or, if the schema exists, "
    "GRANT ALL ON SCHEMA qwen_omni and ALL TABLES IN SCHEMA qwen_omni.",
    "tls": "Check sslmode and sslrootcert in the address.",
    "read-only": "Connect to the primary server (target_session_attrs=read-write), or switch writing on.",
    "disk": "Free disk space on the server and call again; what was answered meanwhile is kept in memory.",
    "connections": "Raise max_connections of the server, or put PgBouncer in front of it.",
    "timeout": "Raise statement_timeout for this user, or see what keeps the server busy (pg_stat_activity).",
    "version": "Update this package.",
    "damaged": "Choose another database, or restore this one.",
    "other": "See the log of the server.",
}  # fmt: skip
_CODES: Mapping[str, tuple[str, bool]] = {
    "08": ("unreachable", True), "57P01": ("unreachable", True), "57P02": ("unreachable", True),
    "57P03": ("unreachable", True), "57P05": ("unreachable", True), "25P03": ("unreachable", True),
    "40": ("timeout", True), "55P03": ("timeout", True), "57014": ("timeout", True), "25P04": ("timeout", True),
    "53100": ("disk", False), "53300": ("connections", True), "53": ("other", True),
    "25006": ("read-only", True), "28": ("password", False), "3D000": ("database", False),
    "42501": ("permission", False), "42P01": ("damaged", False), "3F000": ("damaged", False),
    "42703": ("damaged", False), "XX001": ("damaged", False), "XX002": ("damaged", False), "58": ("disk", False),
}  # fmt: skip
# Failed connections come without a code; the server's texts may be translated, then they count as unreachable.
_TEXTS = (
    (r"password|authentication|pg_hba|role .* does not exist|no encryption", "password", False),
    (r"database .* does not exist", "database", False),
    (r"too many (clients|connections)|connection slots|no more connections allowed", "connections", True),
    (r"starting up|shutting down|recovery mode|not yet accepting", "unreachable", True),
    (r"\bSSL\b|certificate|\bTLS\b", "tls", False),
    (r"read-only|not.*read.write", "read-only", True),
    (r"no space left", "disk", False),
    (r"permission denied for", "permission", False),
)


def meaning(error: Exception) -> tuple[str, bool]:
    """Return the reason of a `StoreError`, and whether it is transient."""
    if isinstance(error, Unusable):
        return error.reason, False
    code = getattr(error, "sqlstate", None)
    if code:
        return _CODES.get(code) or _CODES.get(code[:2]) or ("other", False)
    for pattern, reason, transient in _TEXTS:
        if re.search(pattern, str(error), re.IGNORECASE):
            return reason, transient
    lost = any(kind.__name__ == "OperationalError" for kind in type(error).__mro__)
    return ("unreachable", True) if lost else ("other", False)


_PREFIX = r"^(connection failed: )?(connection to server [^\n]*? failed: )?(FATAL: +)?"


def _is_lost(error: Exception) -> bool:
    return meaning(error)[0] in ("unreachable", "read-only")


def detail(error: Exception, address: Address) -> str:
    """Return what the server said, in one line without a password."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    text = re.sub(_PREFIX, "", lines[0] if lines else "")
    return address.without_password(text.rstrip(".:") or type(error).__name__)[:300]


def to_error(error: Exception, address: Address, use: StoreUse) -> StoreError:
    """Return the error that names the server, what is wrong and what to do."""
    reason, transient = meaning(error)
    return StoreError(
        f"The {use.name} {address} cannot be used ({reason}): {detail(error, address)}. {_STEPS[reason]}",
        reason=reason, address=str(address), transient=transient,
    )  # fmt: skip


LEASE_SECONDS = 60.0
"""Seconds that an owner may stall before others take over its claims; one whose process ended on this machine is
noticed at once."""
_PLAIN = StoreUse(name="work store", way_out="Check the address.")
_ENDED = (
    "(claims.owner = '' OR clock_timestamp() > "
    "GREATEST(claims.renewed_at, pg_postmaster_start_time()) + claims.lease * interval '1 second')"
)
_STEP = "run = ? AND origin = ? AND step = ?"


class PostgresStore(BufferedStore):
    """The store in a PostgreSQL database (extra `postgres`)."""

    lock_row = " FOR UPDATE"
    among = "= ANY(ARRAY(SELECT jsonb_array_elements_text(?::jsonb)))"

    def __init__(self, address: str, use: StoreUse = _PLAIN, *, lease_seconds: float | None = None) -> None:
        """Connect, and create the tables where they are missing, in the schema `qwen_omni`.

        Args:
            address: `postgresql://USER@HOST:PORT/DATABASE`, or anything else that libpq takes. The password is best
                left to PGPASSWORD or ~/.pgpass.
            use: what the store is for, in messages.
            lease_seconds: how long this owner may stall before others take over; 60 if not given.

        Raises:
            StoreError: the server cannot be reached or used, or its tables are of a newer version.
            ConfigurationError: psycopg is not installed.
        """
        self.address = Address.parse(address)
        lease = LEASE_SECONDS if lease_seconds is None else lease_seconds
        super().__init__(str(self.address), use, lease, identity=address)
        self._server = PostgresServer(self.address, use)
        self.database = self._server
        self.faults = (load_psycopg().Error, Unusable)
        try:
            self._server.open_first()
        except self.faults as error:
            raise to_error(error, self.address, use) from None  # the cause may quote the address

    def __repr__(self) -> str:
        return f"PostgresStore({self.place})"

    # --- Failures ---

    def reason(self, error: Exception) -> str:
        """Return why a transaction failed, for people."""
        return detail(error, self.address)

    def is_transient(self, error: Exception) -> bool:
        """Whether the same transaction may soon succeed."""
        return meaning(error)[1]

    def unread(self, error: Exception, otherwise: T) -> T:  # noqa: ARG002
        """Raise what a failed read means: others may have finished and paid for what is asked for."""
        raise to_error(error, self.address, self.use) from None

    def insist(self, action: Callable[[Transaction], T]) -> T:
        """Write in one transaction; repeat it for 30 s while failures are transient.

        Raises:
            StoreError: it failed for another reason, or for longer.
        """
        try:
            return self._server.insist(action)
        except self.faults as error:
            self.failed(error)
            raise to_error(error, self.address, self.use) from None

    def insist_read(self, action: Callable[[Transaction], T]) -> T:
        """Read; repeat it for 30 s while failures are transient.

        Raises:
            StoreError: it failed for another reason, or for longer.
        """
        try:
            return self._server.read(action)
        except self.faults as error:
            raise to_error(error, self.address, self.use) from None

    # --- Claims ---

    def claim_written(self, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        """Return the finished step, or claim it unless another process works on it.

        Raises:
            StoreError: the server cannot be asked.
        """
        return self.insist(lambda base: self._claim_in(base, key, unverified=unverified))

    def _claim_in(self, base: Transaction, key: StepKey, *, unverified: bool) -> Found | Claim | Taken:
        resumed: list[tuple[Any, ...]] = []
        while not resumed:
            seen = _claim_row(base, key)
            holder = None if seen is None else self._holder(key, *seen)
            if holder is not None:
                return Taken(describe(holder))
            owner = "" if seen is None else seen[0]
            gone = bool(owner) and not (seen is not None and seen[1])  # its lease runs, and its process has ended
            resumed = base.rows(
                "INSERT INTO claims VALUES (?, ?, ?, ?, ?, clock_timestamp()) ON CONFLICT (run, origin, step) "
                "DO UPDATE SET owner = excluded.owner, lease = excluded.lease, renewed_at = excluded.renewed_at "
                f"WHERE claims.owner = ? AND (?::bool OR {_ENDED}) RETURNING resume",
                (*names(key), self.owner, self._lease, owner, gone),
            )
        # Only now: whoever finished the step ended its claim in the same transaction.
        rows = select(base, key, unverified=unverified)
        found = None if not rows else self.decoded(key, rows, base)
        if found is not None:
            base.run(f"DELETE FROM claims {MINE}", (*names(key), self.owner))
            return found
        return Claim(key, loaded(resumed[0][0]), lost=bool(owner) and not self.ended_here(owner, key))

    def holder(self, base: Transaction, key: StepKey) -> str | None:
        """Return who works on a step; `None` if no claim on it lasts."""
        row = _claim_row(base, key)
        return None if row is None else self._holder(key, *row)

    def _holder(self, key: StepKey, owner: str, ended: bool) -> str | None:
        return None if ended or is_gone(owner) or self.ended_here(owner, key) else owner

    def renew(self, base: Transaction, keys: Sequence[StepKey]) -> None:
        """Renew the leases of claims."""
        base.run_many(
            f"UPDATE claims SET renewed_at = clock_timestamp() {MINE}", [(*names(one), self.owner) for one in keys]
        )


def _claim_row(base: Transaction, key: StepKey) -> tuple[str, bool] | None:
    """Return the owner of a claim, and whether its lease is over."""
    rows = base.rows(f"SELECT owner, {_ENDED} FROM claims WHERE {_STEP}", names(key))
    return (rows[0][0], bool(rows[0][1])) if rows else None
