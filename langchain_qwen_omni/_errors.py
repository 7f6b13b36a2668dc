"""Errors of this package that are LangChain errors too: an `except` clause of either family catches them.

`to_langchain` returns an error that is an instance of its own class in `qwen_omni.errors` *and* of a class in
`langchain_core.exceptions`, chosen from the table below. `is_retryable`, which LangChain's retry middleware reads, is
our `retryable`. An error class that is added later is covered by the row of its parent.
"""

import contextlib
import functools
from collections.abc import Iterator
from typing import Any

from langchain_core import exceptions as theirs

from qwen_omni import errors as ours
from qwen_omni.errors import QwenOmniError

# The first matching row counts, so subclasses come before their parents.
_TABLE: tuple[tuple[type[QwenOmniError], type[theirs.LangChainException]], ...] = (
    (ours.CaptionSyntaxError, theirs.OutputParserException),
    (ours.TruncatedAnswerError, theirs.OutputParserException),
    (ours.AuthenticationError, theirs.ModelAuthenticationError),
    (ours.PermissionDeniedError, theirs.ModelPermissionDeniedError),
    (ours.NotFoundError, theirs.ModelNotFoundError),
    (ours.ContextOverflowError, theirs.ContextOverflowError),
    (ours.InvalidRequestError, theirs.ModelInvalidRequestError),
    (ours.ContentFilterError, theirs.ModelInvalidRequestError),
    (ours.RateLimitError, theirs.ModelRateLimitError),
    (ours.ServerError, theirs.ModelAPIError),
    (ours.APITimeoutError, theirs.ModelTimeoutError),
    (ours.APIConnectionError, theirs.ModelConnectionError),
    (ours.APIError, theirs.ModelAPIError),
    (ours.StreamInterruptedError, theirs.ModelAPIError),
    (ours.ConfigurationError, theirs.ModelInvalidRequestError),
    (ours.UnsupportedContentError, theirs.ModelInvalidRequestError),
    (ours.MediaError, theirs.ModelInvalidRequestError),
    (QwenOmniError, theirs.ModelError),
)


def to_langchain(error: QwenOmniError) -> QwenOmniError:
    """Return the error as one of both families; one that already is both is returned unchanged.

    Example:
        >>> from qwen_omni.errors import RateLimitError
        >>> isinstance(to_langchain(RateLimitError("slow down")), theirs.ModelRateLimitError)
        True
    """
    return error if isinstance(error, theirs.LangChainException) else _copy(error, _both(type(error)))  # type: ignore[arg-type]  # mypy doubts that classes hash


@contextlib.contextmanager
def as_langchain_errors() -> Iterator[None]:
    """Re-raise our errors from inside the block as errors of both families, with their traceback."""
    try:
        yield
    except QwenOmniError as error:
        raise to_langchain(error).with_traceback(error.__traceback__) from error.__cause__


@functools.cache
def _both(kind: type[QwenOmniError]) -> type[QwenOmniError]:
    parent = next(theirs_ for ours_, theirs_ in _TABLE if issubclass(kind, ours_))
    fields: dict[str, Any] = {
        "__doc__": kind.__doc__,
        "__module__": __name__,
        "__reduce__": lambda error: (to_langchain, (_copy(error, kind),)),  # the joined class cannot be imported
        "is_retryable": kind.retryable,
    }
    if parent is theirs.OutputParserException:
        fields |= {"llm_output": property(_text), "observation": property(str), "send_to_llm": False}
    return type(kind.__name__, (kind, parent), fields)


def _text(error: ours.CaptionSyntaxError | ours.TruncatedAnswerError) -> str:
    return error.text


def _copy(error: QwenOmniError, kind: type[QwenOmniError]) -> QwenOmniError:
    copied = kind.__new__(kind)
    copied.args = error.args
    copied.__dict__.update(error.__dict__)
    return copied
