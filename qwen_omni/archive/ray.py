"""An archive on Ray Data: the engine moves rows between machines, the work store keeps what was paid for.

Ray repeats the work of a dead worker, and a restarted driver begins from the first row. Neither pays twice: a worker
finds earlier answers in the store, including those of other workers. `decide_layout` decides how many workers there
are, what each may do at once, and whether the cluster has room for them; it does not import Ray.
"""

import contextlib
import json
import logging
import math
import os
import platform
import queue
import socket
import threading
import time
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from pydantic import SecretStr

from qwen_omni.addresses import StoreAddress, is_dashscope
from qwen_omni.archive.export import arrow_schema, encodable
from qwen_omni.archive.rows import ArchiveRow, error_text
from qwen_omni.archive.run import OnProgress, Tracker, in_pages
from qwen_omni.archive.sources import LIST_COLUMNS, ArchiveItem, Source, find_items
from qwen_omni.archive.steps import Step
from qwen_omni.archive.worker import ArchiveWorker
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.work import StoppedError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import PARALLEL, Range, checked
from qwen_omni.settings import API_KEY_VARIABLE, Settings
from qwen_omni.work_store.inputs import InputFilter

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

WORKER_CPUS = 0.5
"""Logical CPUs that Ray reserves for a worker, which waits for answers most of the time."""
_READING_CPUS = 1.0  # of the task that reads the list, and of the one that writes the result
_CALLS_AT_ONCE = 2  # of `ArchiveWorker` in one process: the next block fills the gaps that the last rows of one leave
_QUEUED = 1  # blocks that wait at a worker, so that it never waits for the driver
_NO_KEY = "none is needed"
_SIGN_SECONDS, _DEAD_SECONDS = 0.5, 15.0  # between two looks at the sign; without a look, a worker is dead
_GO, _STOP, _LEAVE = range(3)  # what the sign says
_ROWS_AHEAD = 1_000  # that were read and not asked for yet
_IN_FLIGHT = Range(least=1, most=100_000, whole=True)
_WORKERS = Range(least=1, most=10_000, whole=True)
_CPUS = Range(above=0, most=1e6)


@dataclass(frozen=True, slots=True, kw_only=True)
class RayLayout:
    """How an archive is spread over a cluster.

    Attributes:
        workers: the number of processes.
        in_flight: files that each of them has in progress at once.
        rows: rows of a block: what a dead worker's successor looks up again in the store.
    """

    workers: int
    in_flight: int
    rows: int


def decide_layout(cpus: Sequence[float], in_flight: int, workers: int | None = None) -> RayLayout:
    """Decide how many workers there are, and what each of them does.

    Args:
        cpus: logical CPUs of each machine.
        in_flight: the most files in progress at once, of all workers together.
        workers: the number of processes; about one for each logical CPU if not given.

    Raises:
        ConfigurationError: no machine may have a logical CPU left to read the list with, so that the job would wait
            forever; a number out of range.

    Example:
        >>> decide_layout([2], 32)
        RayLayout(workers=2, in_flight=16, rows=32)
    """
    in_flight = checked("in_flight", in_flight, _IN_FLIGHT)
    most = _most_workers(cpus)
    usual = max(1, min(math.floor(sum(cpus)), most))
    workers = min(usual if workers is None else checked("workers", workers, _WORKERS), in_flight)
    if workers > most:
        raise _no_room(sum(cpus), workers, most)
    each = checked(f"in_flight of each of {workers} workers", in_flight // workers, PARALLEL)
    return RayLayout(workers=workers, in_flight=each, rows=2 * each)


def _most_workers(cpus: Iterable[float]) -> int:
    """Return the most workers that leave a whole logical CPU on some machine, wherever Ray places them."""
    filling = sum(math.floor((one - _READING_CPUS) / WORKER_CPUS) + 1 for one in cpus if one >= _READING_CPUS)
    return max(0, filling - 1)


def _no_room(cpus: float, workers: int, most: int) -> ConfigurationError:
    machines = "1 logical CPU" if cpus == 1 else f"{cpus:,.6g} logical CPUs"
    who = f"1 worker at {WORKER_CPUS} CPU" if workers == 1 else f"{workers:,} workers at {WORKER_CPUS} CPU each"
    enough = math.ceil(workers * WORKER_CPUS + _READING_CPUS)
    fewer = f", or pass workers={most}" if most else ""
    return ConfigurationError(
        f"Ray has {machines}. {who} could leave none for the task that reads the input list, so the job would never "
        f"start. Start Ray with more logical CPUs, as in ray.init(num_cpus={enough}){fewer}; num_cpus may exceed the "
        "real number, since workers mostly wait."
    )


class WorkerPlan:
    """The arguments of a worker, in a form that can be sent to another machine.

    Deliberately not a dataclass, mapping or string: Ray would write its contents, keys included, to its event files.
    """

    def __init__(self, step: Step, given: Mapping[str, Any], settings: Settings | Callable[[], Settings]) -> None:
        self._step, self._given, self._settings = step, dict(given), settings

    def __repr__(self) -> str:
        return f"<worker of an archive: {self._step.name}>"

    def build(self) -> ArchiveWorker:
        """Return the worker; its key is read where it runs.

        Raises:
            ConfigurationError: there is no key.
        """
        settings = self._settings() if callable(self._settings) else self._settings
        if not settings.api_key.get_secret_value():
            if is_dashscope(settings.base_url):
                raise ConfigurationError(
                    f"A worker on {platform.node()} has no API key. Set {API_KEY_VARIABLE} where Ray is started "
                    "there, or pass map_archive a function as settings=, which each worker calls."
                )
            settings = replace(settings, api_key=SecretStr(_NO_KEY))
        return ArchiveWorker(self._step, settings=settings, **self._given)


class StopSign:
    """The signal that tells the workers of a run to stop. It tracks which of them still wait for answers.

    An actor of Ray: Ray ends processes without waiting for what they have asked and will pay for.
    """

    def __init__(self) -> None:
        self._says = _GO
        self._busy: dict[str, float] = {}

    def look(self, worker: str, *, over: bool = False) -> int:
        """Return the signal; record that a worker is alive, or that it has nothing left in flight."""
        if over:
            self._busy.pop(worker, None)
        else:
            self._busy[worker] = time.monotonic()
        return self._says

    def say(self, word: int) -> None:
        """Signal the workers to start nothing new or, once all answers are stored, to leave."""
        self._says = word

    def busy(self) -> int:
        """Return the number of workers with calls in flight; one that has not been seen recently counts as dead."""
        since = time.monotonic() - _DEAD_SECONDS
        return sum(seen >= since for seen in self._busy.values())


class RayWorker:
    """`ArchiveWorker` in one of Ray's processes; it returns its leases when Ray shuts the process down properly.

    With a `StopSign`, it lets calls in flight finish and stores their answers when the run ends.
    """

    def __init__(self, plan: WorkerPlan, look: Callable[..., int] | None = None) -> None:
        self._worker = plan.build()
        self._released = threading.Event()
        self._name = f"{platform.node()}:{os.getpid()}"
        if look is not None:
            if look(self._name) != _GO:
                self._worker.stop()
            threading.Thread(target=self._watch, args=(look,), daemon=True, name="qwen-omni-stop").start()

    def __call__(self, block: "pa.Table") -> "pa.Table":
        """Return the rows of a block, whose columns have the same types in every block."""
        named = {name: block[name].to_pylist() for name in LIST_COLUMNS if name in block.column_names}
        try:
            return to_table(self._worker(named))
        except (StoppedError, CancelledError):
            self._released.wait()  # an error would end the other workers at once
            raise

    def _watch(self, look: Callable[..., int]) -> None:
        """Poll the sign until the run that owns it is gone."""
        ending: threading.Thread | None = None
        try:
            while True:
                over = ending is not None and not ending.is_alive()
                says = look(self._name, over=over)
                if says != _GO and ending is None:
                    ending = threading.Thread(target=self._end, daemon=True, name="qwen-omni-end")
                    ending.start()
                if says == _LEAVE:
                    self._released.set()
                time.sleep(_SIGN_SECONDS)
        except Exception:  # noqa: BLE001  (of Ray: there is no sign any more)
            self._released.set()

    def _end(self) -> None:
        self._worker.finish()
        with contextlib.suppress(QwenOmniError):  # a later run asks again
            self._worker.check_written()

    def __del__(self) -> None:
        worker = self.__dict__.get("_worker")
        if worker is not None:
            with contextlib.suppress(Exception):  # the process ends; leases expire by themselves
                worker.close()


def to_table(columns: Mapping[str, Sequence[Any]]) -> "pa.Table":
    """Return columns of rows as a table, with the types of exported files."""
    import pyarrow as pa  # noqa: PLC0415  (an extra)

    texts = {name: [encodable(one) if isinstance(one, str) else one for one in columns[name]] for name in columns}
    return pa.Table.from_pydict(texts, schema=arrow_schema())


def _store_for(store: str | Path, *, machines: int) -> str | Path:
    """Return the location of the store in a form that is valid in every worker."""
    address = StoreAddress.read(store)
    if address is not None:
        return address
    if machines > 1:
        raise ConfigurationError(
            f"Ray has {machines} machines, but the store is a file, {store}, which only one of them can use. "
            "Pass a database: postgresql://HOST/DATABASE"
        )
    return Path(store).absolute()


def map_archive(  # noqa: PLR0913 - each keyword is an independent option
    dataset: "Dataset",
    step: Step,
    *,
    store: str | Path,
    settings: Settings | Callable[[], Settings] | None = None,
    spend_limit: SpendLimit | None = None,
    limits: RateLimits | None = None,
    in_flight: int = 32,
    workers: int | None = None,
    cluster_cpus: float | None = None,
    job: str = "",
) -> "Dataset":
    """Return a dataset with one row for every row of a dataset of files: the columns of `ArchiveRow`.

    Like every dataset it is lazy: files are asked about when it is written or iterated over. A row that fails says so
    in its columns and never ends the job. Run it again after anything: what was answered is in the store.

    Keys do not travel, nor do headers. A worker reads `DASHSCOPE_API_KEY` and the variables of a bucket from its own
    environment, which on a local cluster is that of the process that started it. Set them where `ray start` runs, not
    in `runtime_env`, which the dashboard shows. The address of a store travels with its password, and is not shown.

    Args:
        dataset: what to work on; the column `uri` has paths or addresses that every worker can open.
        step: what to do with each file.
        store: the work store: on one machine the path of an SQLite file, on several the address of a PostgreSQL
            database.
        settings: of the service, or a function that each worker calls to get them, with a key from wherever secrets
            are; from the environment if not given.
        spend_limit: limit on what all workers, and all later runs of the same job, spend together.
        limits: requests and tokens a minute of the account, shared by all workers.
        in_flight: the most files in progress at once, of all workers together.
        workers: the number of processes; one for each logical CPU if not given.
        cluster_cpus: logical CPUs of a cluster that grows; those that there are now if not given.
        job: identifies the job whose spending is limited.

    Raises:
        ConfigurationError: Ray is not installed; the cluster has too few logical CPUs; the dataset has no column `uri`;
            a store in a file, and a cluster of several machines; a number out of range.

    Example:
        import ray
        from qwen_omni.archive import Summarize
        from qwen_omni.archive.ray import map_archive

        videos = ray.data.read_parquet("videos.parquet")
        map_archive(videos, Summarize(), store="postgresql://me@db/work").write_parquet("summaries")
    """
    given = {"store": store, "spend_limit": spend_limit, "limits": limits, "job": job}
    return _mapped(dataset, step, given, settings, (in_flight, workers, cluster_cpus))


def _mapped(
    dataset: "Dataset",
    step: Step,
    given: dict[str, Any],
    settings: Settings | Callable[[], Settings] | None,
    size: tuple[int, int | None, float | None],
    *sign: Callable[..., int],
) -> "Dataset":
    """Return the dataset of `map_archive`; its workers look at a sign, if there is one."""
    ray = _ray()
    in_flight, workers, cluster_cpus = size
    columns = dataset.columns(fetch_if_missing=False)
    if columns is not None and "uri" not in columns:
        raise ConfigurationError(
            f"The dataset has no column 'uri', only {', '.join(map(repr, columns))}. Rename one with "
            "dataset.rename_columns({...: 'uri'})."
        )
    cpus = [float(node["Resources"].get("CPU", 0.0)) for node in ray.nodes() if node["Alive"]]
    place = _store_for(given["store"], machines=len(cpus))
    if cluster_cpus is not None:
        cpus = [checked("cluster_cpus", cluster_cpus, _CPUS)]
    layout = decide_layout(cpus, in_flight, workers)
    plan = WorkerPlan(
        step, {**given, "store": place, "in_flight": layout.in_flight}, settings or Settings.load(needs_key=False)
    )
    mapped = dataset.repartition(target_num_rows_per_block=layout.rows).map_batches(
        RayWorker,
        batch_size=None,
        batch_format="pyarrow",
        fn_constructor_args=(plan, *sign),
        num_cpus=WORKER_CPUS,
        udf_modifying_row_count=False,
        compute=ray.data.ActorPoolStrategy(
            size=layout.workers,
            max_concurrent_calls_per_actor=_CALLS_AT_ONCE,
            max_tasks_in_flight_per_actor=_CALLS_AT_ONCE + _QUEUED,
            enable_true_multi_threading=True,
        ),
    )
    mapped.set_name(f"archive_{step.name}")
    return mapped


LOCAL = "local"
"""The address of a cluster of one machine, which lives as long as a run."""
_TABLE_ROWS = 10_000
_LAST_PORT, _CONNECT_SECONDS = 65_535, 5.0
_LOOK_SECONDS = 2.0  # between two looks at how many files are in progress


def run_on_ray(  # noqa: PLR0913 - each keyword is an independent option
    source: Source,
    step: Step,
    *,
    address: str = LOCAL,
    store: str | Path,
    settings: Settings | None = None,
    spend_limit: SpendLimit | None = None,
    in_flight: int = 32,
    limits: RateLimits | None = None,
    job: str = "",
    on_progress: OnProgress | None = None,
) -> Generator[ArchiveRow]:
    """Ask about every input of a source on a cluster of Ray; yield its row. The same as `run`, with more processes.

    This process looks inputs up in the store, and hands to Ray those that have to be asked about. Closing the iterator,
    or Ctrl-C, waits for calls in flight and stores what they answer; another Ctrl-C does not wait.

    Args:
        source: as in `run`; every machine opens the same names.
        step: as in `run`; it has to be importable, or picklable, on every machine.
        address: of the cluster: `local` starts one on this machine and ends it afterwards; `auto` finds one that runs.
        store: as in `map_archive`.
        settings: as in `run`; workers read the key from their own environment.
        spend_limit: as in `run`.
        in_flight: the most files in progress at once, of all workers together.
        limits: as in `run`.
        job: as in `run`.
        on_progress: called after every row, and every two seconds, from a thread.

    Raises:
        ConfigurationError: Ray is not installed, or there is no cluster at the address; as in `run` and `map_archive`.
    """
    ray = _ray()
    check_cluster(address)
    options: dict[str, Any] = {"store": store, "spend_limit": spend_limit, "limits": limits, "job": job}
    with (
        ArchiveWorker(step, in_flight=1, settings=settings, **options) as worker,
        _Watched(worker, on_progress) as watched,
    ):
        left = _Left()
        for page in in_pages(find_items(source, settings=worker.settings)):
            for one in worker.look_up(page):
                if isinstance(one, ArchiveRow):
                    yield watched.row(one)
                else:
                    left.add(one)
        tables = left.tables()
        if tables:
            with _connected(ray, address), _Stoppable(ray) as stoppable:
                dataset = ray.data.from_arrow(tables)
                mapped = _mapped(dataset, step, options, settings, (in_flight, None, None), stoppable.look)
                for columns in stoppable.read(mapped.iter_rows()):
                    yield watched.row(_row_of(columns))


class _Look:
    """Polls the sign from another process."""

    def __init__(self, sign: Any) -> None:  # noqa: ANN401  (an actor)
        self._sign = sign

    def __call__(self, worker: str, *, over: bool = False) -> int:
        return int(_ray().get(self._sign.look.remote(worker, over=over)))


class _Stoppable:
    """A job whose workers, if it is stopped, store what they have in flight before Ray ends them.

    Rows are read on a thread, because Ray Data ends its workers at once if Ctrl-C finds it reading.

    Attributes:
        look: what workers look at.
    """

    def __init__(self, ray: Any) -> None:  # noqa: ANN401  (a module without types)
        self._ray, self._sign = ray, ray.remote(num_cpus=0)(StopSign).remote()
        self.look = _Look(self._sign)
        self._rows: queue.Queue[Mapping[str, Any] | BaseException | None] = queue.Queue(_ROWS_AHEAD)
        self._left, self._reader = threading.Event(), threading.Thread()

    def read(self, rows: Iterable[Mapping[str, Any]]) -> Iterator[Mapping[str, Any]]:
        """Yield the rows of a dataset."""
        self._reader = threading.Thread(target=self._read, args=(rows,), daemon=True, name="qwen-omni-rows")
        self._reader.start()
        while (row := self._rows.get()) is not None:
            if isinstance(row, BaseException):
                raise row
            yield row

    def _read(self, rows: Iterable[Mapping[str, Any]]) -> None:
        try:
            for row in rows:
                self._put(row)
        except BaseException as error:  # noqa: BLE001  (raised where rows are awaited)
            self._put(error)
        else:
            self._put(None)

    def _put(self, row: Mapping[str, Any] | BaseException | None) -> None:
        waiting = True
        while waiting and not self._left.is_set():
            with contextlib.suppress(queue.Full):
                self._rows.put(row, timeout=_SIGN_SECONDS)
                waiting = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._left.set()
        if kind is None or not issubclass(kind, KeyboardInterrupt | GeneratorExit):
            return
        logging.getLogger("ray.data").setLevel(
            logging.CRITICAL
        )  # until the connection ends: that workers fail is asked
        with contextlib.suppress(self._ray.exceptions.RayError):  # the cluster is gone
            self._ray.get(self._sign.say.remote(_STOP))
            while self._ray.get(self._sign.busy.remote()):
                time.sleep(_SIGN_SECONDS)
            self._ray.get(self._sign.say.remote(_LEAVE))
        if self._reader.ident is not None:
            self._reader.join(_DEAD_SECONDS)  # what it called of Ray after the end would start a cluster


class _Watched(Tracker):
    """Counts rows, with what all their attempts used; checks now and then how many files are in progress."""

    def __init__(self, worker: ArchiveWorker, on_progress: OnProgress | None) -> None:
        super().__init__(on_progress)
        self._worker, self._over = worker, threading.Event()
        self._wanted = InputFilter(run=worker.run, origin=worker.origin)

    def row(self, row: ArchiveRow) -> ArchiveRow:
        """Count a row and return it."""
        self.count(row, **(self._used(row) if self.is_new(row) else {}))
        return row

    def _used(self, row: ArchiveRow) -> dict[str, Any]:
        """Return what was used so far, with a row that has what all its attempts used, those of earlier runs too."""
        now, before = self._now, self._worker.earlier(row)
        tokens = (before.input_tokens, before.output_tokens) if before else (0, 0)
        cost = (row.cost_cny or 0.0) - ((before.cost or 0.0) if before else 0.0)
        return {
            "input_tokens": now.input_tokens + max(0, row.input_tokens - tokens[0]),
            "output_tokens": now.output_tokens + max(0, row.output_tokens - tokens[1]),
            "cost_cny": now.cost_cny + max(0.0, cost),
        }

    def _look(self) -> None:
        while not self._over.wait(_LOOK_SECONDS):
            with contextlib.suppress(QwenOmniError):  # the next look may succeed
                self.report(in_flight=self._worker.store.count_claims(self._wanted))

    def __enter__(self) -> Self:
        if self._on_progress is not None:
            threading.Thread(target=self._look, daemon=True, name="qwen-omni-look").start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()


class _Left:
    """Inputs for Ray, in tables, which take a tenth of the memory of objects."""

    def __init__(self) -> None:
        self._rows: list[dict[str, Any]] = []
        self._tables: list[pa.Table] = []

    def add(self, item: ArchiveItem) -> None:
        """Add an input, under a name that holds in any folder."""
        remote = "://" in item.uri
        name = item.link or (item.uri if remote else str(Path(item.uri).absolute()))
        self._rows.append({"uri": name, "version": item.version if remote else "", "size": item.size})
        if len(self._rows) >= _TABLE_ROWS:
            self._end_table()

    def tables(self) -> "list[pa.Table]":
        """Return the inputs collected so far."""
        if self._rows:
            self._end_table()
        return self._tables

    def _end_table(self) -> None:
        import pyarrow as pa  # noqa: PLC0415  (an extra)

        types = pa.schema([("uri", pa.string()), ("version", pa.string()), ("size", pa.int64())])
        self._tables.append(pa.Table.from_pylist(self._rows, schema=types))
        self._rows = []


def _row_of(columns: Mapping[str, Any]) -> ArchiveRow:
    value = columns["value"]
    return ArchiveRow.from_dict({**columns, "value": None if value is None else json.loads(value)})


def _ray() -> Any:  # noqa: ANN401  (a module without types)
    try:
        import ray  # noqa: PLC0415  (an extra)
        import ray.data  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError("An archive on Ray needs an extra package: pip install 'qwen-omni[ray]'") from error
    return ray


def check_cluster(address: str) -> None:
    """Check that something listens at the address of a cluster; Ray itself looks for minutes.

    Raises:
        ConfigurationError: nothing does, or it is not an address.
    """
    if address in (LOCAL, "auto"):
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or int(port) > _LAST_PORT or "/" in host:
        raise ConfigurationError(
            f"{address!r} is not the address of a Ray cluster. Use HOST:PORT, {LOCAL!r} for one on this machine, or "
            "'auto' to find one that runs."
        )
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=_CONNECT_SECONDS).close()
    except OSError as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> ConfigurationError:
    return ConfigurationError(
        f"There is no Ray cluster at {address!r} ({error_text(error)}). Start one with `ray start --head`, or use "
        f"{LOCAL!r}."
    )


@contextlib.contextmanager
def _connected(ray: Any, address: str) -> Iterator[None]:  # noqa: ANN401  (a module without types)
    """Connect to a cluster, unless this process is connected already."""
    if ray.is_initialized():
        yield
        return
    # Workers mostly wait, so the logical CPUs need not exist: one has to be left to read the list.
    more = {"num_cpus": max(os.cpu_count() or 1, 2), "include_dashboard": False} if address == LOCAL else {}
    try:
        ray.init(address=address, log_to_driver=False, logging_level="ERROR", **more)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise _no_cluster(address, error) from error
    logger = logging.getLogger("ray.data")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        ray.data.DataContext.get_current().enable_progress_bars = False
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="The minimum number of concurrent actors")
            yield
    finally:
        ray.shutdown()
        logger.setLevel(level)
