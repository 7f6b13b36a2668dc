"""A run over a long video as a state machine: segments are cut, prepared, asked about, and joined in a tree. Pure.

It decides what is to be begun now and what a failure means; `threads` and `aio` do what it says and tell it what
came of it. It knows no clock, no thread, no file and no model: times are given to it.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from qwen_omni.errors import (
    APIConnectionError,
    APITimeoutError,
    AuthenticationError,
    ConfigurationError,
    DeliveryError,
    NotFoundError,
    PermissionDeniedError,
    QwenOmniError,
    RateLimitError,
    SpendLimitError,
    TooManyGapsError,
)
from qwen_omni.media.segments import Segment
from qwen_omni.video.limiter import Limiter
from qwen_omni.video.steps import Action, Ask, Cut, Gap, Joined, Prepare, Reduce, Rules, ToText
from qwen_omni.video.tree import group, text_tokens

T = TypeVar("T")

BUSY_SECONDS = 0.5
"""How long to wait before looking again at a step that another process works on."""
LATE_SECONDS = 30.0
"""How long nothing is sent after the service said, through all repetitions, that it is too much."""

_STOPS: tuple[type[BaseException], ...] = (
    AuthenticationError, PermissionDeniedError, NotFoundError, ConfigurationError, DeliveryError, RateLimitError,
    APIConnectionError, SpendLimitError,
)  # fmt: skip


@dataclass(slots=True)
class _Place:
    """Where a segment is on its way."""

    segment: Segment
    state: str = "cut"
    tokens: int = 0
    failures: int = 0
    not_before: float = float("-inf")


@dataclass(slots=True)
class _Node:
    action: Reduce
    tokens: int
    state: str = "ready"
    failures: int = 0
    not_before: float = float("-inf")


@dataclass
class Machine(Generic[T]):
    """One run. Ask `actions` what to begin, do it, and `tell` what came of it, until `over`.

    Attributes:
        rules: what it keeps to.
        limiter: of the model that looks at segments.
        text_limiter: of the model that joins.
        answers: of the segments that are done, by number.
        gaps: of the segments that failed for good, by number.
        joined: the whole, at the end.
        error: what stopped the run.
        notices: what somebody should be told; taken out by whoever tells.
        known: how many answers were there before.
        last_cut: the newest segment.
    """

    rules: Rules
    limiter: Limiter = field(default_factory=Limiter)
    text_limiter: Limiter = field(default_factory=Limiter)
    to_text: ToText[T] | None = None
    answers: dict[int, T] = field(default_factory=dict)
    gaps: dict[int, Gap] = field(default_factory=dict)
    joined: Joined | None = None
    error: QwenOmniError | None = None
    notices: list[str] = field(default_factory=list)
    known: int = 0
    last_cut: Segment | None = None
    _open: dict[int, _Place] = field(default_factory=dict)
    _count: int = 0
    _cutting: bool = False
    _all_cut: bool = False
    _level: int = 0
    _nodes: list[_Node] = field(default_factory=list)
    _results: dict[int, Joined] = field(default_factory=dict)
    _warned: bool = False

    # --- What to begin ---

    def actions(self, now: float) -> Iterator[Action]:
        """Give what is to be begun now; each counts as begun when it is given."""
        if self.error is not None:
            return
        if not self._all_cut and not self._cutting and len(self._open) < self.rules.window:
            self._cutting = True
            yield Cut()
        yield from self._prepares(now)
        yield from self._asks(now)
        yield from self._reduces(now)

    def _prepares(self, now: float) -> Iterator[Action]:
        free = self.rules.preparers - self._number("preparing")
        for place in list(self._open.values()):
            if free > 0 and place.state == "cut" and place.not_before <= now:
                free -= 1
                place.state = "preparing"
                yield Prepare(place.segment)

    def _asks(self, now: float) -> Iterator[Action]:
        free = self.rules.concurrency - self._number("asking")
        if self._number("short"):
            return  # nothing new before it shows whether there is money left
        for place in sorted(self._open.values(), key=lambda one: one.segment.index):
            if free <= 0:
                return
            if place.state != "ready" or place.not_before > now:
                continue
            if self._must_wait(place.tokens, now):
                return  # in order: a smaller one does not overtake
            self.limiter.take(place.tokens, now=now)
            place.state = "asking"
            free -= 1
            yield Ask(place.segment)

    def _must_wait(self, tokens: int, now: float) -> bool:
        if self.limiter.too_large(tokens):
            if self._number("asking"):
                return True  # alone, on a full bucket
            self._warn_once(tokens)
        return self.limiter.wait(tokens, now=now) > 0

    def _warn_once(self, tokens: int) -> None:
        if not self._warned:
            self._warned = True
            self.notices.append(
                f"A request of about {tokens:,} tokens is above the {self.limiter.tpm:,} that a minute allows; such "
                "requests go out alone, and may be refused. Take shorter segments or less detail."
            )

    def _reduces(self, now: float) -> Iterator[Action]:
        if not self.mapped or self.rules.reduce_tokens is None:
            return
        if not self._nodes and self.joined is None:
            self._grow([(self.to_text(self.answers[index]) if self.to_text else "") for index in sorted(self.answers)])
        free = self.rules.concurrency - self._joining()
        for node in [one for one in self._nodes if one.state == "ready"]:
            if free <= 0 or self.text_limiter.wait(node.tokens, now=now) > 0:
                return
            if node.not_before <= now:
                self.text_limiter.take(node.tokens, now=now)
                node.state = "joining"
                free -= 1
                yield node.action

    def _grow(self, texts: list[str]) -> None:
        """Begin the next level of the tree."""
        assert self.rules.reduce_tokens is not None
        sizes = [text_tokens(text) for text in texts]
        groups = group(sizes, self.rules.reduce_tokens)
        self._results = {}
        self._nodes = [
            _Node(
                Reduce(self._level, at, "\n\n".join(texts[span.start : span.stop]), last=len(groups) == 1),
                tokens=sum(sizes[span.start : span.stop]),
            )
            for at, span in enumerate(groups)
        ]

    # --- What came of it ---

    def cut(self, segment: Segment | None, answer: T | None = None) -> None:
        """Take in the next segment, with its answer if it is known; `None` if there is none any more."""
        self._cutting = False
        if segment is None:
            self._all_cut = True
            self._stop_if_empty()
            return
        self._count += 1
        self.last_cut = segment
        if answer is not None:
            self.known += 1
            self.answers[segment.index] = answer
        elif self.rules.wanted is None or segment.index in self.rules.wanted:
            self._open[segment.index] = _Place(segment)

    def prepared(self, segment: Segment, tokens: int) -> None:
        """Take in that a segment is ready to be sent, and how many tokens it will take."""
        place = self._open[segment.index]
        place.state, place.tokens = "ready", tokens

    def answered(self, segment: Segment, answer: T) -> None:
        """Take in the answer about a segment."""
        self._open.pop(segment.index, None)
        self.answers[segment.index] = answer
        self._try_the_short()

    def reduced(self, action: Reduce, joined: Joined) -> None:
        """Take in what came of joining."""
        self._nodes[action.index].state = "done"
        self._try_the_short()
        self._results[action.index] = joined
        if len(self._results) < len(self._nodes):
            return
        if action.last:
            self.joined, self._nodes = joined, []
            return
        self._level += 1
        self._grow([self._results[at].text for at in sorted(self._results)])

    def busy(self, action: Prepare | Reduce, now: float) -> None:
        """Take in that another process works on this step."""
        if isinstance(action, Prepare):
            place = self._open[action.segment.index]
            place.state, place.not_before = "cut", now + BUSY_SECONDS
        else:
            node = self._nodes[action.index]
            node.state, node.not_before = "ready", now + BUSY_SECONDS

    def failed(self, action: Action, error: QwenOmniError, now: float) -> None:
        """Take in a failure: the step is begun again, becomes a gap, or stops the run."""
        self._failed(action, error, now)
        if not self._number("asking"):
            self._try_the_short()

    def _try_the_short(self) -> None:
        """Let those that a spend limit kept back try again: others have told what they did cost."""
        steps: list[_Place | _Node] = [*self._open.values(), *self._nodes]
        for step in steps:
            if step.state == "short":
                step.state = "ready"

    def _failed(self, action: Action, error: QwenOmniError, now: float) -> None:
        if isinstance(error, RateLimitError):
            (self.text_limiter if isinstance(action, Reduce) else self.limiter).hold(LATE_SECONDS, now=now)
        step = self._step(action)
        if isinstance(error, SpendLimitError) and step is not None and self._others_ask(step):
            step.state = "short"  # what the others have set aside is more than they cost; there may be room then
            return
        if step is not None and error.retryable and step.failures < self.rules.step_retries:
            step.not_before = now + self.rules.retry_seconds * 2**step.failures
            step.failures += 1
            step.state = "cut" if isinstance(action, Prepare) else "ready"
            return
        if isinstance(step, _Place) and not self._stops(error):
            self._gap(step, error)
            return
        self.stop(error)

    def stop(self, error: QwenOmniError) -> None:
        """Begin nothing more; the first error is the one told."""
        self.error = self.error or error
        self._cutting = False

    def _others_ask(self, step: _Place | _Node) -> bool:
        busy = [place for place in self._open.values() if place.state == "asking"]
        joining = [node for node in self._nodes if node.state == "joining"]
        return any(one is not step for one in (*busy, *joining))

    def _step(self, action: Action) -> _Place | _Node | None:
        match action:
            case Prepare() | Ask():
                return self._open.get(action.segment.index)
            case Reduce():
                return self._nodes[action.index]
            case Cut():
                return None

    @staticmethod
    def _stops(error: QwenOmniError) -> bool:
        """Tell whether the next segment would meet the same error."""
        if isinstance(error, APITimeoutError):
            return False
        return isinstance(error, _STOPS) or getattr(error, "stops_run", False)

    def _gap(self, place: _Place, error: QwenOmniError) -> None:
        segment = self._open.pop(place.segment.index).segment
        told = f"{type(error).__name__}: {error}"
        self.gaps[segment.index] = Gap(
            index=segment.index, start=float(segment.start), end=float(segment.end), reason=told
        )
        if len(self.gaps) > self.rules.max_gaps:
            self.stop(
                TooManyGapsError(
                    f"{len(self.gaps)} segments failed for good; max_gaps allows {self.rules.max_gaps}. The last: "
                    f"{told} What is finished is kept: run it again to ask about the rest.",
                    gaps=tuple(self.gaps[index] for index in sorted(self.gaps)),
                )
            )

        self._stop_if_empty()

    def _stop_if_empty(self) -> None:
        if self.mapped and self.gaps and not self.answers:
            gaps = tuple(self.gaps.values())
            self.stop(TooManyGapsError(f"No segment gave an answer. The last: {gaps[-1].reason}", gaps=gaps))

    # --- How far it is ---

    @property
    def mapped(self) -> bool:
        """Whether every segment has its answer, or is a gap."""
        return self._all_cut and not self._open

    @property
    def over(self) -> bool:
        """Whether there is nothing more to do."""
        if self.error is not None:
            return True
        return self.mapped and (self.rules.reduce_tokens is None or self.joined is not None)

    @property
    def cut_all(self) -> bool:
        """Whether the last segment has been cut."""
        return self._all_cut

    @property
    def level(self) -> int:
        """How deep the tree of joins has become."""
        return self._level

    @property
    def count(self) -> int:
        """How many segments were cut so far."""
        return self._count

    def wake(self, now: float) -> float | None:
        """Give the seconds after which something may begin though nothing has come; `None` if only news can help."""
        times = [place.not_before for place in self._open.values() if place.state in ("cut", "ready")]
        times += [node.not_before for node in self._nodes if node.state == "ready"]
        waits = [time - now for time in times if time > now]
        ready = [place for place in self._open.values() if place.state == "ready" and place.not_before <= now]
        if ready and self._number("asking") < self.rules.concurrency:
            first = min(ready, key=lambda one: one.segment.index)
            if not (self.limiter.too_large(first.tokens) and self._number("asking")):
                waits.append(self.limiter.wait(first.tokens, now=now))
        waiting = [node for node in self._nodes if node.state == "ready" and node.not_before <= now]
        if waiting and self._joining() < self.rules.concurrency:
            waits.append(self.text_limiter.wait(waiting[0].tokens, now=now))
        return max(0.001, min(waits)) if waits else None

    def _joining(self) -> int:
        return sum(node.state == "joining" for node in self._nodes)

    def _number(self, state: str) -> int:
        return sum(place.state == state for place in self._open.values())
