"""A run over a long video as a state machine: segments are cut, prepared, uploaded, asked about and combined. Pure.

It decides what starts next and what a failure means; `run` carries out its actions and reports the results. It knows
no clock, no thread, no file and no model: the current time is passed in. Notes are combined in a tree if there are too
many for one request, as flat as the token budget allows.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Generic, Protocol, TypeVar

from qwen_omni.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    DeliveryError,
    Gap,
    NotFoundError,
    PermissionDeniedError,
    QwenOmniError,
    RateLimitError,
    SpendLimitError,
    StoreError,
    TooManyGapsError,
    TruncatedAnswerError,
)
from qwen_omni.media.plan.segments import Segment

T = TypeVar("T")

# --- The steps and limits of a run ---


@dataclass(frozen=True, slots=True)
class Cut:
    """Find where the next segment ends."""


@dataclass(frozen=True, slots=True)
class Prepare:
    """Prepare a segment for sending."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Deliver:
    """Upload a prepared segment. One that is embedded in its request takes no time here."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Ask:
    """Ask the model about a delivered segment."""

    segment: Segment


@dataclass(frozen=True, slots=True)
class Reduce:
    """Join notes. `last` is whether the result is the whole."""

    level: int
    index: int
    text: str
    last: bool

    @property
    def name(self) -> str:
        """Name of this step in the checkpoint."""
        return f"{self.level}.{self.index}"


Action = Cut | Prepare | Deliver | Ask | Reduce


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits of a run.

    Attributes:
        concurrency: requests in flight at once.
        preparers: segments prepared at once.
        deliverers: segments uploaded at once; two keep a link full, and more gain nothing.
        max_gaps: segments that may fail permanently.
        step_retries: retries of a step after a transient failure; an error that repeats exactly is permanent.
        retry_seconds: delay before the first retry; doubles each time.
        wanted: numbers of the segments to ask about; `None` for all.
    """

    concurrency: int = 8
    preparers: int = 2
    deliverers: int = 2
    max_gaps: int = 1
    step_retries: int = 2
    retry_seconds: float = 5.0
    wanted: frozenset[int] | None = None

    @property
    def window(self) -> int:
        """Most segments between cut and answer: those being asked, plus two prepared and two uploaded."""
        return self.concurrency + 4


class Part(Protocol):
    """The result of a join: part of the next join, or the whole."""

    @property
    def text(self) -> str:
        """The text that goes into the next join."""


# --- Joining notes ---

_CHARACTERS_PER_TOKEN = 4
_SMALLEST_GROUP = 2  # at least two, so that every level halves


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four characters, and one per character of a script without spaces.

    Example:
        >>> text_tokens("A door opens."), text_tokens("门开了")
        (4, 3)
    """
    plain = sum(1 for char in text if ord(char) < 0x2E80)  # noqa: PLR2004 - where East Asian scripts begin
    return math.ceil(plain / _CHARACTERS_PER_TOKEN) + len(text) - plain


def group(sizes: Sequence[int], budget: int) -> list[range]:
    """Group neighbours in order, as many as fit the budget; at least two, so that every level of the tree is smaller.

    Example:
        >>> group([40, 40, 40, 40, 40], 100)
        [range(0, 2), range(2, 5)]
    """
    groups: list[range] = []
    begin, held = 0, 0
    for at, size in enumerate(sizes):
        if at - begin >= _SMALLEST_GROUP and held + size > budget:
            groups.append(range(begin, at))
            begin, held = at, 0
        held += size
    if groups and len(sizes) - begin < _SMALLEST_GROUP:  # a single one left over joins its neighbours
        groups[-1] = range(groups[-1].start, len(sizes))
    else:
        groups.append(range(begin, len(sizes)))
    return groups


@dataclass(slots=True, kw_only=True)
class _Step:
    """The state of a unit of work.

    Attributes:
        state: of a segment, cut, preparing, prepared, delivering, ready or asking; of a join, ready, joining or done;
            of either, over the spend limit (short).
        failures: transient failures so far, by the kind of action that failed.
        last_error: the last of them, in words.
        not_before: the time of the next attempt.
    """

    state: str
    failures: Counter[type[Action]] = field(default_factory=Counter)
    last_error: str = ""
    not_before: float = float("-inf")


@dataclass(slots=True, kw_only=True)
class Node(_Step):
    """One join in the tree."""

    state: str = "ready"
    action: Reduce


@dataclass(slots=True)
class Joins:
    """The levels of the tree, one after the other. `grow` it once; each further level starts when all steps are `done`.

    Attributes:
        budget: tokens of text joined in one step.
        level: depth of the tree so far.
        whole: result of the last step.
    """

    budget: int
    level: int = 0
    whole: Part | None = None
    nodes: list[Node] = field(default_factory=list)
    _results: dict[int, Part] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether `grow` has been called."""
        return bool(self.nodes) or self.whole is not None

    @property
    def joining(self) -> int:
        """Number of joins in flight."""
        return sum(node.state == "joining" for node in self.nodes)

    def grow(self, texts: Sequence[str]) -> None:
        """Start the next level of the tree."""
        sizes = [text_tokens(text) for text in texts]
        groups = group(sizes, self.budget)
        self._results = {}
        self.nodes = [
            Node(action=Reduce(self.level, at, "\n\n".join(texts[span.start : span.stop]), last=len(groups) == 1))
            for at, span in enumerate(groups)
        ]

    def actions(self, now: float, room: int) -> Iterator[Reduce]:
        """Yield the joins to start now; `room` is how many more may be in flight."""
        due = [node for node in self.nodes if node.state == "ready" and node.not_before <= now]
        for node in due[: max(0, room - self.joining)]:
            node.state = "joining"
            yield node.action

    def done(self, action: Reduce, joined: Part) -> None:
        """Record the result of a join."""
        self.nodes[action.index].state = "done"
        self._results[action.index] = joined
        if len(self._results) < len(self.nodes):
            return
        if action.last:
            self.whole, self.nodes = joined, []
            return
        self.level += 1
        self.grow([self._results[at].text for at in sorted(self._results)])

    def waits(self, now: float) -> Iterator[float]:
        """Yield, for each join that waits for its next attempt, the seconds until then."""
        yield from (node.not_before - now for node in self.nodes if node.state == "ready" and node.not_before > now)


# --- The machine ---

BUSY_SECONDS = 0.5
"""Seconds before checking again on a step that another process is working on."""
LATE_SECONDS = 30.0
"""Seconds without new requests after the service rejected one for its rate limit through all retries."""

_STOPS: tuple[type[BaseException], ...] = (
    AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError, DeliveryError, RateLimitError,
    APIConnectionError, SpendLimitError, StoreError,
)  # fmt: skip


_BEFORE: dict[type[Action], str] = {Prepare: "cut", Deliver: "prepared", Ask: "prepared", Reduce: "ready"}
"""The state to which a failed action returns its step. After a failed answer a segment is delivered again: the upload
cache knows what was uploaded, and a link may have expired."""


@dataclass(slots=True, kw_only=True)
class _Place(_Step):
    """One segment."""

    state: str = "cut"
    segment: Segment


@dataclass
class Machine(Generic[T]):
    """One run. Do what `actions` yields and record the result (`prepared`, `answered`, `failed`, …) until `over`.

    Attributes:
        rules: the limits of the run.
        answers: by number of the segment.
        gaps: segments that failed permanently, by number.
        joins: joins the answers at the end; `None` if nothing is joined.
        error: what stopped the run.
        notices: what the user should know; whoever reports them takes them out.
        known: how many answers the checkpoint already had.
        last_cut: the newest segment, if any.
        count: number of segments cut so far.
        cut_all: whether the last segment has been cut.
    """

    rules: Rules
    joins: Joins | None = None
    to_text: Callable[[T], str] | None = None
    answers: dict[int, T] = field(default_factory=dict)
    gaps: dict[int, Gap] = field(default_factory=dict)
    error: QwenOmniError | None = None
    notices: list[str] = field(default_factory=list)
    known: int = 0
    last_cut: Segment | None = None
    count: int = 0
    cut_all: bool = False
    _open: dict[int, _Place] = field(default_factory=dict)
    _cutting: bool = False
    _held: dict[type[Action], float] = field(default_factory=dict)  # until when, after a rate limit
    _waited_for: set[str] = field(default_factory=set)

    # --- What starts next ---

    def actions(self, now: float) -> Iterator[Action]:
        """Yield the actions to start now; each counts as started once it is yielded."""
        if self.error is not None:
            return
        if not self.cut_all and not self._cutting and len(self._open) < self.rules.window:
            self._cutting = True
            yield Cut()
        yield from self._begin(Prepare, "cut", "preparing", self.rules.preparers, now)
        if not self._number("short"):  # else wait until the actual costs show whether there is budget left
            yield from self._begin(Deliver, "prepared", "delivering", self.rules.deliverers, now)
        if now >= self._held.get(Ask, now):
            yield from self._begin(Ask, "ready", "asking", self.rules.concurrency, now)
        if self.mapped and self.joins is not None and now >= self._held.get(Reduce, now):
            if not self.joins.begun:
                ordered = [self.answers[index] for index in sorted(self.answers)]
                self.joins.grow([self.to_text(one) if self.to_text else "" for one in ordered])
            yield from self.joins.actions(now, self.rules.concurrency)

    def _begin(
        self, action: type[Prepare | Deliver | Ask], before: str, during: str, most: int, now: float
    ) -> Iterator[Action]:
        """Yield an action for the segments that wait for it, in order, with at most `most` of them at once."""
        due = [place for place in self._open.values() if place.state == before and place.not_before <= now]
        free = max(0, most - self._number(during))
        for place in sorted(due, key=lambda one: one.segment.index)[:free]:
            place.state = during
            yield action(place.segment)

    # --- Results ---

    def cut(self, segment: Segment | None, answer: T | None = None) -> None:
        """Record the next segment, with its answer if that is known; `None` after the last one."""
        self._cutting = False
        if segment is None:
            self.cut_all = True
            self._stop_if_empty()
            return
        self.count += 1
        self.last_cut = segment
        if answer is not None:
            self.known += 1
            self.answers[segment.index] = answer
        elif self.rules.wanted is None or segment.index in self.rules.wanted:
            self._open[segment.index] = _Place(segment=segment)

    def prepared(self, segment: Segment) -> None:
        """Record that a segment is ready to be uploaded."""
        self._open[segment.index].state = "prepared"

    def delivered(self, segment: Segment) -> None:
        """Record that a segment is uploaded, or embedded in its request."""
        self._open[segment.index].state = "ready"

    def answered(self, segment: Segment, answer: T) -> None:
        """Record the answer about a segment."""
        self._open.pop(segment.index, None)
        self.answers[segment.index] = answer
        self._try_the_short()

    def reduced(self, action: Reduce, joined: Part) -> None:
        """Record the result of a join."""
        assert self.joins is not None
        self.joins.done(action, joined)
        self._try_the_short()

    def busy(self, action: Prepare | Ask | Reduce, now: float, holder: str = "another process") -> None:
        """Record that another process works on this step."""
        step = self._step(action)
        assert step is not None
        step.state, step.not_before = ("cut" if isinstance(action, Prepare) else "ready"), now + BUSY_SECONDS
        if holder not in self._waited_for:
            self._waited_for.add(holder)
            what = "combines notes" if isinstance(action, Reduce) else f"asks about segment {action.segment.index}"
            self.notices.append(
                f"Waiting for {holder}, which {what} of the same video; its answer will be used here too."
            )

    def failed(self, action: Action, error: QwenOmniError, now: float) -> None:
        """Record a failure: the step is retried, becomes a gap, or stops the run."""
        step = self._step(action)
        if isinstance(error, RateLimitError):
            self._held[Reduce if isinstance(action, Reduce) else Ask] = now + LATE_SECONDS
        if isinstance(error, SpendLimitError) and step is not None and self._others_hold(step):
            step.state = "short"  # others reserve more than they cost; there may be room later
            return
        self._give_up_or_repeat(step, action, error, now)
        self._try_the_short()

    def _give_up_or_repeat(self, step: _Step | None, action: Action, error: QwenOmniError, now: float) -> None:
        kind = type(action)
        if step is not None and self._may_pass(step, error) and step.failures[kind] < self.rules.step_retries:
            step.not_before = now + self.rules.retry_seconds * 2 ** step.failures[kind]
            step.state, step.last_error = _BEFORE[kind], _in_words(error)
            step.failures[kind] += 1
        elif isinstance(step, _Place) and not self._stops(error):
            self._gap(step, error)
        else:
            self.stop(error)

    @staticmethod
    def _may_pass(step: _Step, error: QwenOmniError) -> bool:
        """Whether a retry may end differently: an error that repeats exactly is permanent.

        A rate limit always has the same text, yet passes with time. An answer that breaks off although no limit was
        reached is a slip of the model.
        """
        slip = isinstance(error, TruncatedAnswerError) and error.reason == "incomplete"
        passing = isinstance(error, RateLimitError) or _in_words(error) != step.last_error
        return (error.retryable or slip) and passing

    def _try_the_short(self) -> None:
        """Retry the steps held back by the spend limit: the actual cost of others is known now."""
        for step in (*self._open.values(), *self._nodes):
            if step.state == "short":
                step.state = "ready" if isinstance(step, Node) else "prepared"

    def stop(self, error: QwenOmniError) -> None:
        """Start nothing more; the first error is the one reported."""
        self.error = self.error or error
        self._cutting = False

    def _others_hold(self, step: _Step) -> bool:
        """Whether other steps hold a reservation."""
        holding = [place for place in self._open.values() if place.state in ("delivering", "ready", "asking")]
        joining = [node for node in self._nodes if node.state == "joining"]
        return any(one is not step for one in (*holding, *joining))

    @property
    def _nodes(self) -> list[Node]:
        return [] if self.joins is None else self.joins.nodes

    def _step(self, action: Action) -> _Step | None:
        match action:
            case Prepare() | Deliver() | Ask():
                return self._open.get(action.segment.index)
            case Reduce():
                return self._nodes[action.index]
            case Cut():
                return None

    @staticmethod
    def _stops(error: QwenOmniError) -> bool:
        """Whether the next segment would fail with the same error."""
        if isinstance(error, APITimeoutError):
            return False
        return isinstance(error, _STOPS) or getattr(error, "stops_run", False)

    def _gap(self, place: _Place, error: QwenOmniError) -> None:
        segment = self._open.pop(place.segment.index).segment
        reason = _in_words(error)
        self.gaps[segment.index] = Gap(
            index=segment.index, start=float(segment.start), end=float(segment.end), reason=reason
        )
        count = len(self.gaps)
        if count > self.rules.max_gaps:
            self.stop(
                TooManyGapsError(
                    f"{count} segment{'' if count == 1 else 's'} failed permanently (max_gaps={self.rules.max_gaps}). "
                    f"The last error: {reason}",
                    gaps=tuple(self.gaps[index] for index in sorted(self.gaps)),
                )
            )
        self._stop_if_empty()

    def _stop_if_empty(self) -> None:
        if self.rules.wanted is not None:
            return  # the chosen segments have answers from an earlier pass
        if self.mapped and self.gaps and not self.answers:
            gaps = tuple(self.gaps.values())
            self.stop(TooManyGapsError(f"All segments failed. The last error: {gaps[-1].reason}", gaps=gaps))

    # --- Progress ---

    @property
    def mapped(self) -> bool:
        """Whether every segment has an answer or is a gap."""
        return self.cut_all and not self._open

    @property
    def over(self) -> bool:
        """Whether there is nothing left to do."""
        if self.error is not None:
            return True
        return self.mapped and (self.joins is None or self.joins.whole is not None)

    @property
    def joined(self) -> Part | None:
        """The final result, once everything is joined."""
        return None if self.joins is None else self.joins.whole

    def state_of(self, segment: Segment) -> str:
        """Return the state of a segment; empty if it is not in the pipeline (any more)."""
        place = self._open.get(segment.index)
        return "" if place is None else place.state

    def wake(self, now: float) -> float | None:
        """Return the seconds until something may start without new results; `None` if only a result can help."""
        waits = [place.not_before - now for place in self._open.values() if place.state in ("cut", "prepared", "ready")]
        waits = [wait for wait in waits if wait > 0]
        if self.joins is not None:
            waits += self.joins.waits(now)
        waits += [until - now for until in self._held.values() if until > now]
        return max(0.001, min(waits)) if waits else None

    def _number(self, state: str) -> int:
        return sum(place.state == state for place in self._open.values())


def _in_words(error: QwenOmniError) -> str:
    return f"{type(error).__name__}: {error}"
