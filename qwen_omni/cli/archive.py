"""`qwen-omni archive`: one step for any number of files, on one machine or many, each paid for once."""

import contextlib
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any, get_args

import typer

from qwen_omni.addresses import StoreAddress
from qwen_omni.archive.export import FORMATS, ExportFormat, export as export_rows
from qwen_omni.archive.plan import ArchivePlan, plan as plan_archive
from qwen_omni.archive.rows import ArchiveRow
from qwen_omni.archive.run import (
    ArchiveProgress,
    ArchiveStatus,
    Mode,
    check_exists,
    retry as retry_rows,
    run as run_archive,
    status as status_of,
)
from qwen_omni.archive.sources import find_items
from qwen_omni.archive.steps import Step
from qwen_omni.cli.archive_options import (
    SPEED,
    STEPS,
    InFlight,
    Sources,
    StoreName,
    StoreOption,
    read_paced_service,
    read_spend_limit,
    read_step,
)
from qwen_omni.cli.human import money_text, span_text
from qwen_omni.cli.options import AsJson, check_files, choose, option, sharing
from qwen_omni.cli.output import LiveFacts, live_facts, one_line, show_error, show_note, show_table, waiting, write_json
from qwen_omni.errors import ConfigurationError, QwenOmniError
from qwen_omni.media.files.find import why_skipped
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.settings import Settings
from qwen_omni.video.export.markdown import counted

_FAILED = 1
_SHOWN_OF_A_KIND = 5  # files without an answer; all of them are in the store
_MINUTE, _DAY = 60.0, 86_400.0
_MODES: dict[str, Mode] = {name: name for name in get_args(Mode)}
_FORMATS: dict[str, ExportFormat] = {name: name for name in FORMATS}
_Do = Annotated[str | None, option("Only this step of `run`.", "STEP", "--do", choices=STEPS)]


HELP = """Ask the same question about any number of files, on one machine or many; each answer is paid for once.

Every answer and every failure is a row in a store; the same command, run again, resumes where it stopped.
"""


# --- Run, retry ---


@dataclass(slots=True, kw_only=True)
class _RunView:
    """The live display of a run.

    Attributes:
        name: the store and the step.
        total: how many inputs there are; `None` while that is being counted, or if it cannot be.
        limit: the most that may be spent.
        per_minute: the account's tokens a minute; `None` if not known.
        progress: how far the run has come.
        failures: the rows without an answer, by their reason.
        again: those of them that may succeed when they are tried again.
    """

    name: str
    limit: SpendLimit | None
    per_minute: int | None
    total: int | None = None
    progress: ArchiveProgress = field(default_factory=ArchiveProgress)
    failures: Counter[str] = field(default_factory=Counter)
    again: int = 0

    def add(self, row: ArchiveRow) -> None:
        """Count a row without an answer, and show it if it is one of the first of its kind."""
        if row.status == "ok":
            return
        self.failures[row.error_code] += 1
        self.again += row.retryable
        count = self.failures[row.error_code]
        if count <= _SHOWN_OF_A_KIND:
            show_note(_row_text(row))
        elif count == _SHOWN_OF_A_KIND + 1:
            show_note(f"More files have no answer for the reason {row.error_code}; they are in the store.")

    def look(self) -> LiveFacts:
        """Return what is shown now."""
        now, left = self.progress, self._left_text()
        rows = [
            ("archive", self.name), ("done", self._done_text()), ("without answer", self._wrong_text() or "0"),
            ("in progress", f"{now.in_flight:,}"), ("tokens", self._tokens_text()), ("cost", self._cost_text()),
            ("left", left),
        ]  # fmt: skip
        fraction = now.done / self.total if self.total else None
        return LiveFacts(rows=rows, fraction=fraction, sentence=self.sentence(f"{now.in_flight:,} in progress", left))

    def sentence(self, *more: str) -> str:
        """Return how far the run has come, in one line."""
        parts = (
            f"{self._done_text()} done", self._wrong_text(), f"tokens {self._tokens_text()}", self._cost_text(), *more,
        )  # fmt: skip
        return "; ".join(filter(None, parts))

    def _done_text(self) -> str:
        now = self.progress
        of_all = "" if self.total is None else f" of {self.total:,}"
        reused = f" ({now.reused:,} reused)" if now.reused else ""
        return f"{now.done:,}{of_all}{reused}"

    def _wrong_text(self) -> str:
        return _counts_text({name: count for name, count in self.progress.counts.items() if name != "ok"})

    def _tokens_text(self) -> str:
        return f"{self.progress.input_tokens:,} in, {self.progress.output_tokens:,} out"

    def _cost_text(self) -> str:
        return f"CNY {money_text(self.progress.cost_cny)}{self._limit_text()}"

    def _limit_text(self) -> str:
        most = {} if self.limit is None else self.limit.limits
        cny, tokens = most.get("CNY"), most.get("tokens")
        return (f" of {money_text(cny)}" if cny is not None else "") + (
            f", {tokens:,.0f} tokens at most" if tokens is not None else ""
        )

    def _left_text(self) -> str:
        """Return how long the rest takes: at the pace so far, and at least by the quota."""
        now = self.progress
        asked = now.counts.get("ok", 0) - now.reused
        if self.total is None or asked <= 0 or now.done >= self.total:
            return ""
        rest = (self.total - now.done) / asked
        pace = f"{span_text(rest * now.elapsed)} at this pace"
        if self.per_minute is None:
            return pace
        tokens = (now.input_tokens + now.output_tokens) * rest
        return f"{pace}, {span_text(_MINUTE * tokens / self.per_minute)} at {self.per_minute:,} tokens a minute"


@sharing(step=read_step, service=read_paced_service, limit=read_spend_limit)
def run(  # noqa: PLR0913  (each argument is an option of the command)
    source: Sources,
    *,
    step: Step,
    store: StoreName,
    limit: SpendLimit | None,
    in_flight: InFlight = None,
    ray: Annotated[
        str | None,
        option(
            "Use a Ray cluster: local starts one on this machine, auto finds one that runs here.",
            "ADDRESS",
            "--ray",
            panel=SPEED,
        ),
    ] = None,
    mode: Annotated[
        str,
        option(
            "realtime, or batch: captions of links at half price, within --window-hours (models of Batch File).",
            "MODE",
            panel=SPEED,
            choices=_MODES,
        ),
    ] = "realtime",
    window_hours: Annotated[int, option("How long a batch may take, 24 to 336.", "HOURS", panel=SPEED)] = 24,
    as_json: AsJson = False,
    service: Callable[..., Settings],
) -> None:
    """Ask about every file and store each answer; run the same command again to resume.

    What is answered is never paid for again: not after a crash, for a copy of a file, or on another machine.

    A file without an answer does not stop the others; the exit code is then 1.
    """
    check_files(source, "archive run")
    settings = service()
    view = _view(step, store, settings, limit)
    options: dict[str, Any] = {
        "store": store, "settings": settings, "spend_limit": limit,
        "on_progress": lambda news: setattr(view, "progress", news),
    }  # fmt: skip
    if in_flight is not None:
        options["in_flight"] = in_flight
    coming = _coming(source, step, ray, choose("mode", mode, _MODES) or "realtime", window_hours, options)
    _count(view, source, settings)
    _follow(coming, view, lambda: _rows_in(store, step))
    _finish(view, as_json=as_json)


@sharing(step=read_step, service=read_paced_service, limit=read_spend_limit)
def retry(  # noqa: PLR0913  (each argument is an option of the command)
    source: Annotated[list[str] | None, typer.Argument(metavar="SOURCE", help="Only these; default: all.")] = None,
    *,
    step: Step,
    store: StoreName,
    limit: SpendLimit | None,
    permanent: Annotated[bool, typer.Option("--permanent", help="Also those that are expected to fail again.")] = False,
    in_flight: InFlight = None,
    as_json: AsJson = False,
    service: Callable[..., Settings],
) -> None:
    """Try the files without an answer again; `run` does that, too, but looks at every file.

    By default only those that may succeed now: a limit was reached, the service was busy, a disk was full.
    """
    check_files(source or [], "archive retry")
    check_exists(store)
    settings = service()
    view = _view(step, store, settings, limit)
    coming = retry_rows(
        step, store=store, source=source or None, permanent=permanent, settings=settings, spend_limit=limit,
        in_flight=8 if in_flight is None else in_flight, on_progress=lambda news: setattr(view, "progress", news),
    )  # fmt: skip
    _follow(coming, view, lambda: _rows_in(store, step))
    if not view.progress.done:
        show_note("Nothing to try again." if permanent else "Nothing to try again; --permanent tries all failures.")
    _finish(view, as_json=as_json)


def _coming(
    source: list[str], step: Step, ray: str | None, mode: Mode, window_hours: int, options: Mapping[str, Any]
) -> Generator[ArchiveRow]:
    """Return the rows of a run, on this machine or on Ray."""
    if ray is None:
        return run_archive(source, step, mode=mode, window_hours=window_hours, **options)
    if mode == "batch":
        raise ConfigurationError("--mode batch sends one file of requests, so --ray has no effect; drop one of them.")
    from qwen_omni.archive.ray import run_on_ray  # noqa: PLC0415  (an extra)

    return run_on_ray(source, step, address=ray, **options)


def _view(step: Step, store: str, settings: Settings, limit: SpendLimit | None) -> _RunView:
    limits = settings.rate_limits(step.model) if step.model else None
    name = f"{_place_text(store)}: {step.name}{f' by {step.model}' if step.model else ''}"
    return _RunView(name=name, limit=limit, per_minute=None if limits is None else limits.tpm)


def _place_text(store: str) -> str:
    address = StoreAddress.read(store)
    return store if address is None else address.without_password()


def _follow(coming: Generator[ArchiveRow], view: _RunView, stored: Callable[[], int]) -> None:
    """Show a run until it ends.

    Args:
        coming: the rows.
        view: what is shown.
        stored: returns how many rows of the step the store has.
    """
    before = stored()
    try:
        with contextlib.closing(coming), live_facts(view.look):
            for row in coming:
                view.add(row)
    except KeyboardInterrupt:
        count = f"at least {view.progress.done:,}" if before else f"{stored():,}"
        of_all = "" if view.total is None else f" of {view.total:,}"
        raise KeyboardInterrupt(f"{count.capitalize()}{of_all} rows stored; run again to resume.") from None


def _rows_in(store: str, step: Step) -> int:
    """Return how many rows of a step a store has; none if there is no such file."""
    exists = StoreAddress.read(store) is not None or Path(store).is_file()
    return status_of(store, step).total if exists else 0


def _count(view: _RunView, source: list[str], settings: Settings) -> None:
    """Count the inputs on a thread; what prevents that ends the run itself."""

    def work() -> None:
        with contextlib.suppress(QwenOmniError, OSError):
            view.total = sum(1 for _ in find_items(source, settings=settings))

    threading.Thread(target=work, daemon=True, name="qwen-omni-count").start()


def _finish(view: _RunView, *, as_json: bool) -> None:
    """Print the outcome of the files; exit with 1 if one has no answer."""
    now = view.progress
    if as_json:
        write_json({"counts": dict(now.counts), "reused": now.reused, "input_tokens": now.input_tokens,
                    "output_tokens": now.output_tokens, "cost_cny": now.cost_cny})  # fmt: skip
    elif now.done:
        show_note(view.sentence(f"took {span_text(now.elapsed)}"))
    if view.failures:
        show_error(_failures_text(view))
        raise typer.Exit(_FAILED)


def _row_text(row: ArchiveRow) -> str:
    """Return why a file has no answer, with its name once."""
    named = row.error if row.uri in row.error else f"{row.uri}: {row.error}"
    return one_line(f"{row.status.replace('_', ' ')}: {why_skipped(named)}")


def _failures_text(view: _RunView) -> str:
    """Return how many files have no answer, why, and what to do."""
    count, again = view.failures.total(), view.again
    reasons = _counts_text(dict(view.failures.most_common()))
    step = "run again to try it again" if again == 1 else f"run again to try {again:,} of them again"
    then = f"; {step}." if again else "; they would fail again unchanged."
    return f"Files without an answer: {count:,} of {view.progress.done:,} ({reasons}){then}"


# --- Plan, status, export ---


@sharing(step=read_step, service=read_paced_service)
def plan(
    source: Sources,
    *,
    step: Step,
    store: Annotated[str | None, StoreOption] = None,
    sample: Annotated[int, option("How many files are opened to estimate the others.", "NUMBER")] = 100,
    as_json: AsJson = False,
    service: Callable[..., Settings],
) -> None:
    """Show what a run would do, cost and take. Sends nothing and needs no key.

    Counts copies of a file, answers that are stored already, and files that cannot be used.
    """
    check_files(source, "archive plan")
    with waiting("Inspecting the files"):
        found = plan_archive(source, step, store=store, settings=service(needs_key=False), sample=sample)
    if as_json:
        write_json(asdict(found))
        return
    show_table(("", ""), [*_plan_rows(found)], lines=False)
    for problem in found.problems:
        show_note(one_line(why_skipped(problem.text)))
    if found.sampled < found.to_ask:
        show_note(f"Estimated from {found.sampled:,} of {found.to_ask:,} files; --sample opens more.")
    show_note("Nothing was sent. Input tokens follow the service's formulas; output tokens are guesses.")


def _plan_rows(found: ArchivePlan) -> Iterator[tuple[str, str]]:
    """Yield a label and a text for each fact that is known."""
    yield "files", f"{found.files:,}"
    counts = {"done": found.done, "stored answers": found.stored, "copies": found.duplicates,
              "unusable": found.unusable}  # fmt: skip
    yield from ((label, f"{count:,}") for label, count in counts.items() if count)
    opened = f" ({found.refused:,} of the {found.sampled:,} files opened would get no answer)"
    yield "to ask", f"{found.to_ask:,}{opened if found.refused else ''}"
    if not found.to_ask:
        return
    if found.seconds:
        yield "media", span_text(found.seconds)
    if found.requests:
        yield "requests", f"{found.requests:,}"
    if found.input_tokens or found.output_tokens:
        yield "tokens", f"{found.input_tokens:,} in, {found.output_tokens:,} out"
    yield "cost", "unknown" if found.cost_cny is None else f"CNY {money_text(found.cost_cny)}"
    if found.days is not None:
        yield "takes", f"at least {span_text(found.days * _DAY)} at {found.limits}"


def status(store: StoreName, *, do: _Do = None, as_json: AsJson = False) -> None:
    """Show what is stored: rows with and without an answer, tokens, cost, and what is in progress.

    Reads the store alone, so it can be asked while a run works, from any machine that reaches the store.
    """
    found = status_of(store, choose("do", do, STEPS))
    if as_json:
        write_json(asdict(found))
        return
    show_table(("", ""), [*_status_rows(found)], lines=False)


def _status_rows(found: ArchiveStatus) -> Iterator[tuple[str, str]]:
    yield "rows", f"{found.total:,}"
    yield from ((name.replace("_", " "), f"{count:,}") for name, count in found.counts.items())
    yield "in progress", f"{found.in_flight:,}"
    yield "tokens", f"{found.input_tokens:,} in, {found.output_tokens:,} out"
    unpriced = f" and the unknown cost of {found.unpriced:,} rows" if found.unpriced else ""
    yield "cost", f"CNY {money_text(found.cost_cny)}{unpriced}"
    for label, when in (("since", found.since), ("last", found.until)):
        if when is not None:
            yield label, f"{datetime.fromtimestamp(when).astimezone():%Y-%m-%d %H:%M:%S %z}"


def export(  # noqa: PLR0913  (each argument is an option of the command)
    file: Annotated[str, typer.Argument(metavar="FILE", help="File to write: .parquet, .jsonl or .csv.")],
    *,
    store: StoreName,
    do: _Do = None,
    passages: Annotated[
        bool, typer.Option("--passages", help="Write the passages in the answers, ready for embedding; each once.")
    ] = False,
    form: Annotated[
        str | None,
        option(
            f"{', '.join(FORMATS)}; default: by the name of the file.",
            "NAME",
            "--format",
            choices={name: name for name in FORMATS},
        ),
    ] = None,
    origin: Annotated[str | None, option("Only what this server answered, if several did.", "NAME")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file if it exists.")] = False,
) -> None:
    """Write the rows of a store to a file, which appears when it is complete.

    Reads the store alone; rows that are made meanwhile may be missing.
    """
    if file.strip() in ("", "-"):
        raise ConfigurationError("archive export needs the name of the file to write.")
    with waiting(f"Writing {Path(file).name}"):
        count = export_rows(
            store, file, step=choose("do", do, STEPS), passages=passages, format=choose("format", form, _FORMATS),
            origin=origin, overwrite=overwrite,
        )  # fmt: skip
    show_note(f"wrote {one_line(file)}: {counted(count, 'passage' if passages else 'row')}")


def _counts_text(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name.replace('_', ' ')}" for name, count in counts.items() if count)


COMMANDS: tuple[Callable[..., None], ...] = (plan, run, status, retry, export)
"""The commands of the group."""
