"""An archive on Ray Data: the engine moves rows between machines, the work store protects money.

Ray repeats whatever a dead worker had in hand, and a driver that is started again begins from the first row. Neither
pays twice: a worker finds in the store what was answered before, whoever asked. `decide_layout` decides how many
workers there are, what each may do at once, and whether the cluster has room for them; it knows nothing of Ray.
"""

import contextlib
import math
import platform
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

from pydantic import SecretStr

from qwen_omni.addresses import StoreAddress
from qwen_omni.archive.rows import ArchiveRow
from qwen_omni.archive.steps import Step
from qwen_omni.archive.worker import ArchiveWorker
from qwen_omni.errors import ConfigurationError
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import PARALLEL, Range, checked
from qwen_omni.servers import is_dashscope
from qwen_omni.settings import API_KEY_VARIABLE, Settings

if TYPE_CHECKING:
    import pyarrow as pa
    from ray.data import Dataset

WORKER_CPUS = 0.5
"""Logical CPUs that Ray reserves for a worker, which waits for answers most of the time."""
_READING_CPUS = 1.0  # of the task that reads the list, and of the one that writes the result
_CALLS_AT_ONCE = 2  # of `ArchiveWorker` in one process: the next block fills the gaps that the last rows of one leave
_QUEUED = 1  # blocks that wait at a worker, so that it never waits for the driver
_READ = ("uri", "version", "etag", "size")  # columns of the list
_NO_KEY = "none is needed"
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
    """Return how many workers leave a whole logical CPU on some machine, wherever Ray puts them."""
    filling = sum(math.floor((one - _READING_CPUS) / WORKER_CPUS) + 1 for one in cpus if one >= _READING_CPUS)
    return max(0, filling - 1)


def _no_room(cpus: float, workers: int, most: int) -> ConfigurationError:
    who = "1 worker" if workers == 1 else f"{workers:,} workers"
    enough = math.ceil(workers * WORKER_CPUS + _READING_CPUS)
    return ConfigurationError(
        f"Ray has {cpus:,.6g} logical CPU{'' if cpus == 1 else 's'}: with {who}, each of {WORKER_CPUS}, none may be "
        f"left to read the list, and the job would never begin. Start Ray with more, as in ray.init(num_cpus={enough})"
        f"{f', or pass workers={most}' if most else ''}; workers mostly wait, so the CPUs need not exist."
    )


class WorkerPlan:
    """What a worker is made from, on its way to another machine.

    Not a dataclass, a mapping or a text: Ray writes those into its event files, with everything that they hold.
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


class RayWorker:
    """`ArchiveWorker` in one of Ray's processes; it gives its leases back when Ray ends the process in good order."""

    def __init__(self, plan: WorkerPlan) -> None:
        self._worker = plan.build()

    def __call__(self, block: "pa.Table") -> "pa.Table":
        """Return the rows of a block, whose columns have the same types in every block."""
        named = {name: block[name].to_pylist() for name in _READ if name in block.column_names}
        return to_table(self._worker(named))

    def __del__(self) -> None:
        worker = self.__dict__.get("_worker")
        if worker is not None:
            with contextlib.suppress(Exception):  # the process ends; leases expire by themselves
                worker.close()


def to_table(columns: Mapping[str, Sequence[Any]]) -> "pa.Table":
    """Return columns of rows as a table, with the types that `ArchiveRow` says."""
    import pyarrow as pa  # noqa: PLC0415  (an extra)

    kinds = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), float | None: pa.float64()}
    fields = [(name, kinds.get(kind, pa.string())) for name, kind in get_type_hints(ArchiveRow).items()]
    texts = {name: [_encodable(one) for one in values] for name, values in columns.items()}
    return pa.Table.from_pydict(texts, schema=pa.schema(fields))


def _encodable(value: Any) -> Any:  # noqa: ANN401  (of a row)
    """Return a text without lone surrogates, which file names and answers may hold; anything else as it is."""
    return value.encode(errors="backslashreplace").decode() if isinstance(value, str) else value


def _store_for(store: str | Path, *, machines: int) -> str | Path:
    """Return the place of the store as workers find it, wherever they are started."""
    address = StoreAddress.read(store)
    if address is not None:
        return address
    if machines > 1:
        raise ConfigurationError(
            f"Ray has {machines} machines, and a store in the file {store} can serve one only. Name a database: "
            "postgresql://HOST/DATABASE"
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
    try:
        import ray  # noqa: PLC0415  (an extra)
        from ray.data import ActorPoolStrategy  # noqa: PLC0415
    except ModuleNotFoundError as error:
        raise ConfigurationError("An archive on Ray needs an extra package: pip install 'qwen-omni[ray]'") from error
    columns = dataset.columns(fetch_if_missing=False)
    if columns is not None and "uri" not in columns:
        raise ConfigurationError(
            f"The dataset has no column 'uri', only {', '.join(map(repr, columns))}. Rename one with "
            "dataset.rename_columns({...: 'uri'})."
        )
    cpus = [float(node["Resources"].get("CPU", 0.0)) for node in ray.nodes() if node["Alive"]]
    place = _store_for(store, machines=len(cpus))
    if cluster_cpus is not None:
        cpus = [checked("cluster_cpus", cluster_cpus, _CPUS)]
    layout = decide_layout(cpus, in_flight, workers)
    given = {"store": place, "spend_limit": spend_limit, "limits": limits, "in_flight": layout.in_flight, "job": job}
    plan = WorkerPlan(step, given, settings or Settings.load(needs_key=False))
    mapped = dataset.repartition(target_num_rows_per_block=layout.rows).map_batches(
        RayWorker,
        batch_size=None,
        batch_format="pyarrow",
        fn_constructor_args=(plan,),
        num_cpus=WORKER_CPUS,
        udf_modifying_row_count=False,
        compute=ActorPoolStrategy(
            size=layout.workers,
            max_concurrent_calls_per_actor=_CALLS_AT_ONCE,
            max_tasks_in_flight_per_actor=_CALLS_AT_ONCE + _QUEUED,
            enable_true_multi_threading=True,
        ),
    )
    mapped.set_name(f"archive_{step.name}")
    return mapped
