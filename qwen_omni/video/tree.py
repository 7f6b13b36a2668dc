"""Which notes are joined in one step when they are too many for one: a tree, as flat as the budget allows. Pure."""

import math
from collections.abc import Sequence

_LETTERS_PER_TOKEN = 4
_SMALLEST_GROUP = 2  # two at least, so that every level halves


def text_tokens(text: str) -> int:
    """Guess the tokens of a text: a token for four letters, and one for each sign of a script without spaces.

    Example:
        >>> text_tokens("A door opens."), text_tokens("门开了")
        (4, 3)
    """
    plain = sum(1 for char in text if ord(char) < 0x2E80)  # noqa: PLR2004 - where East Asian scripts begin
    return math.ceil(plain / _LETTERS_PER_TOKEN) + len(text) - plain


def group(sizes: Sequence[int], budget: int) -> list[range]:
    """Put neighbours together, in order, as many as fit a budget; at least two, so that the tree gets narrower.

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
    if groups and len(sizes) - begin < _SMALLEST_GROUP:  # one left over joins its neighbours
        groups[-1] = range(groups[-1].start, len(sizes))
    else:
        groups.append(range(begin, len(sizes)))
    return groups
