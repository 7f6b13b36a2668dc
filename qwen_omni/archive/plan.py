"""What an archive will cost and how long it will take, before anything is paid for.

Every input is looked up, a sample is opened and estimated, and the rest is assumed to be like the sample. Nothing is
sent. Files of the same size are compared, so that copies are counted once; the digests that this computes are
remembered, and `run` does not compute them again.
"""

import contextlib
import itertools
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path

from qwen_omni.addresses import StoreAddress
from qwen_omni.archive.rows import ArchiveRow, Problem, error_text, from_stored, problem_of, run_name
from qwen_omni.archive.sources import ArchiveItem, Seen, Source, find_items, opened
from qwen_omni.archive.steps import Estimated, Step, StepEstimate, check_step, models_of
from qwen_omni.archive.worker import is_final, open_store
from qwen_omni.errors import QwenOmniError
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import COUNT, checked
from qwen_omni.settings import Settings
from qwen_omni.work_store.buffered import BufferedStore

_PAGE = 512
_MOST_PROBLEMS = 20  # that are listed
_MINUTES_A_DAY = 24 * 60


@dataclass(frozen=True, slots=True, kw_only=True)
class ArchivePlan:
    """What a run would do.

    Attributes:
        files: the number of inputs.
        duplicates: those whose content another one of them has, as far as it is known; they share an answer.
        done: those that have a row which would not be tried again.
        stored: those without such a row whose answer is stored, for the same content.
        unusable: those that cannot be used: missing, empty, …
        to_ask: those that would be asked about.
        sampled: how many of these were opened for the estimate.
        refused: how many of the sampled ones would get no answer, such as files that are not media.
        requests: of those to ask, estimated from the sample.
        input_tokens: likewise.
        output_tokens: likewise; the length of answers is assumed.
        cost_cny: likewise; `None` if a price is not known, or the step cannot be estimated.
        seconds: of media, likewise.
        limits: the rate limits that apply; `None` if none are known.
        days: how long the quota takes for it, if nothing else is slower; `None` if no limits are known.
        problems: what is wrong with inputs, the first 20.
    """

    files: int = 0
    duplicates: int = 0
    done: int = 0
    stored: int = 0
    unusable: int = 0
    to_ask: int = 0
    sampled: int = 0
    refused: int = 0
    requests: int = 0
    input_tokens: int = 0
    output_tokens: int = 0
    cost_cny: float | None = None
    seconds: float = 0.0
    limits: RateLimits | None = None
    days: float | None = None
    problems: tuple[Problem, ...] = ()


@dataclass(slots=True)
class Counted:
    """What was found so far."""

    files: int = 0
    duplicates: int = 0
    done: int = 0
    stored: int = 0
    unusable: int = 0
    to_ask: int = 0
    problems: list[Problem] = field(default_factory=list)
    sample: list[StepEstimate] = field(default_factory=list)

    def problem(self, problem: Problem) -> None:
        """Record a problem as an example, up to a maximum number of examples."""
        if len(self.problems) < _MOST_PROBLEMS:
            self.problems.append(problem)


def plan(
    source: Source,
    step: Step,
    *,
    store: str | Path | None = None,
    settings: Settings | None = None,
    limits: RateLimits | None = None,
    sample: int = 100,
) -> ArchivePlan:
    """Return what a run would do and cost. Sends nothing, and needs no key.

    Args:
        source: as in `run`.
        step: as in `run`.
        store: as in `run`; if there is none yet, nothing is done.
        settings: as in `run`.
        limits: as in `run`.
        sample: how many inputs are opened to estimate the others.

    Raises:
        ConfigurationError: the source is empty, or an option concerns every input.
        NotFoundError: the model is retired.
        StoreError: the store cannot be used.
        LocalResourceError: the same, for a file.

    Example:
        from qwen_omni.archive import Caption, plan

        expected = plan("videos/", Caption(), store="archive.db")
        print(expected.to_ask, expected.cost_cny, expected.days)
    """
    check_step(step)
    most = checked("sample", sample, COUNT)
    chosen = settings or Settings.load(needs_key=False)
    chosen = chosen if limits is None else replace(chosen, limits=limits)
    models = models_of(step, chosen)
    exists = store is not None and (StoreAddress.read(store) is not None or Path(store).is_file())
    with closing(open_store(store)) if exists and store is not None else nullcontext() as opened_store:
        planner = _Planner(step, chosen, opened_store, most)
        count = planner.count(source)
    rates = next((found for model in models if (found := chosen.rate_limits(model)) is not None), None)
    return to_plan(count, rates)


def to_plan(count: Counted, limits: RateLimits | None) -> ArchivePlan:
    """Extend the sample to all inputs that are to be asked about."""
    sampled = len(count.sample)
    fit = [one for one in count.sample if not one.problem]
    share = count.to_ask / sampled if sampled else 0.0
    costs = [one.cost_cny for one in fit]
    known = [cost for cost in costs if cost is not None]
    requests = round(share * sum(one.requests for one in fit))
    tokens_in = round(share * sum(one.input_tokens for one in fit))
    tokens_out = round(share * sum(one.output_tokens for one in fit))
    return ArchivePlan(
        files=count.files, duplicates=count.duplicates, done=count.done, stored=count.stored,
        unusable=count.unusable, to_ask=count.to_ask, sampled=sampled, refused=sampled - len(fit), requests=requests,
        input_tokens=tokens_in, output_tokens=tokens_out,
        cost_cny=share * sum(known) if len(known) == len(costs) and (sampled or not count.to_ask) else None,
        seconds=share * sum(one.seconds for one in fit), limits=limits,
        days=days_of(requests, tokens_in + tokens_out, limits), problems=tuple(count.problems),
    )  # fmt: skip


def days_of(requests: int, tokens: int, limits: RateLimits | None) -> float | None:
    """Return the days that a quota takes; `None` if there is none.

    Example:
        >>> days_of(28 * 24 * 60, 2_000_000 * 24 * 60, RateLimits(rpm=30_000, tpm=2_000_000))
        1.0
    """
    if limits is None or (limits.rpm is None and limits.tpm is None):
        return None
    minutes = [requests / limits.rpm if limits.rpm else 0.0, tokens / limits.tpm if limits.tpm else 0.0]
    return max(minutes) / _MINUTES_A_DAY


class _Planner:
    """Counts the inputs of a source."""

    def __init__(self, step: Step, settings: Settings, store: BufferedStore | None, most: int) -> None:
        self._step, self._settings, self._store, self._most = step, settings, store, most
        self._run = run_name(step.name, step.digest)

    def count(self, source: Source) -> Counted:
        """Look every input up, and estimate a sample."""
        count, items = Counted(), find_items(source, settings=self._settings)
        with closing(_Copies(self._settings, self._store)) as copies:
            while page := list(itertools.islice(items, _PAGE)):
                count.files += len(page)
                for item in self._left(page, count):
                    self._add(item, copies, count)
        return count

    def _add(self, item: ArchiveItem, copies: "_Copies", count: Counted) -> None:
        digest = copies.digest_of(item)
        if digest is not None and not copies.is_new(digest):
            count.duplicates += 1
        elif digest is not None and self._answers([digest]):
            count.stored += 1
        else:
            count.to_ask += 1
            if len(count.sample) < self._most:
                self._estimate(item, count)

    def _answers(self, digests: Iterable[str]) -> Mapping[str, object]:
        return {} if self._store is None else self._store.find_many(self._run, self._settings.origin, digests)

    def _left(self, page: list[ArchiveItem], count: Counted) -> Iterator[ArchiveItem]:
        """Yield the inputs that are neither done nor unusable, and have no stored answer."""
        origin, store = self._settings.origin, self._store
        rows = {} if store is None else store.inputs_named(self._run, origin, [item.name for item in page])
        versions = [(item.name, item.version) for item in page if item.version and item.settled]
        digests = {} if store is None else store.known_digests(versions)
        answers = self._answers(set(digests.values()))
        for item in page:
            row = rows.get(item.name)
            if row is not None and is_final(row, item) and isinstance(from_stored(row), ArchiveRow):
                count.done += 1
            elif item.problem is not None:
                count.unusable += 1
                count.problem(item.problem)
            elif digests.get((item.name, item.version)) in answers:
                count.stored += 1
            else:
                yield item

    def _estimate(self, item: ArchiveItem, count: Counted) -> None:
        if not isinstance(self._step, Estimated):
            return
        try:
            with opened(item, self._settings) as media:
                made = self._step.estimate(media.source, self._settings)
        except QwenOmniError as error:
            problem = problem_of(error)
            made = StepEstimate(problem=problem.text)
            count.problem(problem)
        else:
            if made.problem:
                text = f"{item.uri}: {error_text(QwenOmniError(made.problem))}"
                count.problem(Problem(status="refused", code="would_be_refused", text=text))
        count.sample.append(made)


class _Copies:
    """Finds copies among files of the same size, with a temporary database instead of memory."""

    def __init__(self, settings: Settings, store: BufferedStore | None) -> None:
        self._settings, self._store = settings, store
        self._base = sqlite3.connect("", isolation_level=None)
        self._base.execute("PRAGMA journal_mode=OFF")
        self._base.execute("CREATE TABLE sizes (size INTEGER PRIMARY KEY, uri BLOB)")
        self._digests = Seen()

    def digest_of(self, item: ArchiveItem) -> str | None:
        """Return the digest of a local file that has the size of an earlier one; `None` for any other."""
        if item.size is None or "://" in item.uri:
            return None
        first = self._base.execute("SELECT uri FROM sizes WHERE size = ?", (item.size,)).fetchone()
        if first is None:
            uri = item.uri.encode("utf-8", "surrogateescape")
            self._base.execute("INSERT INTO sizes VALUES (?, ?)", (item.size, uri))
            return None
        if first[0]:
            earlier = self._digest(ArchiveItem(uri=first[0].decode("utf-8", "surrogateescape")))
            self._base.execute("UPDATE sizes SET uri = '' WHERE size = ?", (item.size,))  # from now on it is known
            if earlier is not None:
                self.is_new(earlier)
        return self._digest(item)

    def _digest(self, item: ArchiveItem) -> str | None:
        with contextlib.suppress(QwenOmniError), opened(item, self._settings) as media:
            if self._store is not None and media.item.settled:
                self._store.remember_digests({(media.item.name, media.item.version): media.digest}, now=False)
            return media.digest
        return None

    def is_new(self, digest: str) -> bool:
        """Record a digest; return whether it is new."""
        return self._digests.is_new(digest)

    def close(self) -> None:
        """Remove the databases."""
        self._base.close()
        self._digests.close()
