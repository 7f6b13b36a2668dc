"""Join notes in a tree when they are too many for one step, as flat as the token budget allows. Pure."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qwen_omni.transport.rate_limit import Limiter
from qwen_omni.video.engine.steps import Part, Reduce

_LETTERS_PER_TOKEN = 4
_SMALLEST_GROUP = 2  # at least two, so that every level halves


def text_tokens(text: str) -> int:
    """Estimate the tokens of a text: one per four letters, and one per character of a script without spaces.

    Example:
        >>> text_tokens("A door opens."), text_tokens("门开了")
        (4, 3)
    """
    plain = sum(1 for char in text if ord(char) < 0x2E80)  # noqa: PLR2004 - where East Asian scripts begin
    return math.ceil(plain / _LETTERS_PER_TOKEN) + len(text) - plain


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


@dataclass(slots=True)
class Node:
    """One join in the tree and its state: ready, joining, done, or over the spend limit."""

    action: Reduce
    tokens: int
    state: str = "ready"
    failures: int = 0
    last_error: str = ""
    not_before: float = float("-inf")


@dataclass(slots=True)
class Joins:
    """The levels of the tree, one after the other. `grow` it once; each further level starts when all steps are `done`.

    Attributes:
        budget: tokens of text joined in one step.
        limiter: rate limiter of the model that joins.
        level: depth of the tree so far.
        whole: result of the last step.
    """

    budget: int
    limiter: Limiter = field(default_factory=Limiter)
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
            Node(
                Reduce(self.level, at, "\n\n".join(texts[span.start : span.stop]), last=len(groups) == 1),
                tokens=sum(sizes[span.start : span.stop]),
            )
            for at, span in enumerate(groups)
        ]

    def actions(self, now: float, room: int) -> Iterator[Reduce]:
        """Yield the joins to start now; `room` is how many more may be in flight."""
        free = room - self.joining
        for node in [one for one in self.nodes if one.state == "ready"]:
            if free <= 0 or self.limiter.wait(node.tokens, now=now) > 0:
                return
            if node.not_before <= now:
                self.limiter.take(node.tokens, now=now)
                node.state = "joining"
                free -= 1
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

    def waits(self, now: float, room: int) -> Iterator[float]:
        """Yield, for each join that may start, the seconds until the rate limit allows it."""
        ready = [node for node in self.nodes if node.state == "ready"]
        yield from (node.not_before - now for node in ready if node.not_before > now)
        due = [node for node in ready if node.not_before <= now]
        if due and self.joining < room:
            yield self.limiter.wait(due[0].tokens, now=now)
