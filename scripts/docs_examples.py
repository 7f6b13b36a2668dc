"""Show the examples of docstrings as code in the API reference.

Our docstrings end in `Example:` and indented lines, which griffe treats as prose. Lines with a prompt become an
`Examples` section; others become a fenced block.
"""

import re
from typing import Any

import griffe

_EXAMPLE = re.compile(r"^Example:\n((?:[ ]{4}.*\n?|\n)+)", re.MULTILINE)


class Examples(griffe.Extension):
    """Rewrites each docstring when griffe finds it."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:  # noqa: ANN401  (griffe's signature)
        """Rewrite one docstring."""
        if obj.docstring is not None:
            obj.docstring.value = with_code(obj.docstring.value)


def with_code(docstring: str) -> str:
    """Mark the example in a docstring as code."""
    return _EXAMPLE.sub(_marked, docstring)


def _marked(match: re.Match[str]) -> str:
    body = match[1].rstrip("\n")
    if ">>>" in body:
        return f"Examples:\n{body}\n"
    return f"Example:\n    ```python\n{body}\n    ```\n"
