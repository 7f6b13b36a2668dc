"""What may stand in a header of a request. Pure.

Whatever else is put there fails below us, in an error that quotes the whole value. So it is refused here, by its place.
"""

import re
import warnings
from collections.abc import Mapping
from typing import Any

from qwen_omni.errors import ConfigurationError

# RFC 9110, sections 5.1 and 5.5, without what is obsolete there.
_ODD_IN_NAME = re.compile(r"[^!#$%&'*+.^_`|~0-9A-Za-z-]")
_ODD_IN_VALUE = re.compile(r"[^ -~]|^ | \Z")
_IN_NAME = "a letter, a digit or one of !#$%&'*+-.^_`|~"


def check_header_value(value: str, what: str) -> None:
    """Check that a text can be sent as the value of a header.

    Args:
        value: the text; the error does not tell it.
        what: names it in the error.

    Raises:
        ConfigurationError: it is no text, or holds a character that cannot be sent.
    """
    _check(value, what, _ODD_IN_VALUE, "printable ASCII without a space at either end")


class HiddenHeaders(dict[str, str]):
    """Headers, which may hold secrets: shown by name alone, and pickled not at all."""

    def __repr__(self) -> str:
        return f"<headers {', '.join(sorted(self))}>" if self else "{}"

    def __copy__(self) -> "HiddenHeaders":
        return HiddenHeaders(self)

    def __deepcopy__(self, _: object) -> "HiddenHeaders":
        return HiddenHeaders(self)

    def __reduce__(self) -> tuple[Any, ...]:
        warn_of_headers(self)
        return HiddenHeaders, ()


def warn_of_headers(headers: Mapping[str, str] | None) -> None:
    """Warn that headers are left out of a pickle."""
    if headers:
        warnings.warn(
            f"Headers may hold secrets, so {', '.join(sorted(headers))} are left out of the pickle. Pass them again "
            "where it is loaded.",
            stacklevel=3,
        )


def check_headers(headers: Mapping[str, str], what: str) -> None:
    """Check that headers can be sent; `what` names them all in the error. Raises as `check_header_value` does."""
    for number, (name, value) in enumerate(headers.items(), start=1):
        _check(name, f"The name of header {number} in {what}", _ODD_IN_NAME, _IN_NAME)
        check_header_value(value, f"The header {name!r} in {what}")


def _check(text: object, what: str, odd: re.Pattern[str], wanted: str) -> None:
    if not isinstance(text, str):
        raise ConfigurationError(f"{what} must be text, not {type(text).__name__}.")
    found = odd.search(text)
    if found is not None:
        raise ConfigurationError(
            f"{what} cannot be sent: character {found.start() + 1} is not {wanted}. Copied text may hold characters "
            "that nobody sees; write it again."
        )
