"""The tree of joins at the end of a run: what is joined with what, and when. Pure; a part of `machine`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from qwen_omni.video.limiter import Limiter
from qwen_omni.video.steps import Part, Reduce
from qwen_omni.video.tree import group, text_tokens


@dataclass(slots=True)
class Node:
    """One step of joining, and where it is on its way: ready, joining, done, or short of money."""

    action: Reduce
    tokens: int
    state: str = "ready"
    failures: int = 0
    last_error: str = ""
    not_before: float = float("-inf")


@dataclass(slots=True)
class Joins:
    """The levels of a tree, one after the other. `grow` it once; it goes on by itself as its steps are `done`.

    Attributes:
        budget: tokens of text that are joined in one step.
        limiter: of the model that joins.
        level: how deep the tree has become.
        whole: what came of the last step.
    """

    budget: int
    limiter: Limiter = field(default_factory=Limiter)
    level: int = 0
    whole: Part | None = None
    nodes: list[Node] = field(default_factory=list)
    _results: dict[int, Part] = field(default_factory=dict)

    @property
    def begun(self) -> bool:
        """Whether it has grown at all."""
        return bool(self.nodes) or self.whole is not None

    @property
    def joining(self) -> int:
        """How many steps are under way."""
        return sum(node.state == "joining" for node in self.nodes)

    def grow(self, texts: Sequence[str]) -> None:
        """Begin the next level of the tree."""
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
        """Give the steps that begin now; `room` of them may be under way."""
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
        """Take in what came of a step."""
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
        """Give the seconds after which a step may begin."""
        ready = [node for node in self.nodes if node.state == "ready"]
        yield from (node.not_before - now for node in ready if node.not_before > now)
        due = [node for node in ready if node.not_before <= now]
        if due and self.joining < room:
            yield self.limiter.wait(due[0].tokens, now=now)
