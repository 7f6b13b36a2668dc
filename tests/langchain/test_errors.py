"""Our errors, also as LangChain's."""

import inspect
import pickle

import pytest
from langchain_core import exceptions as theirs

from langchain_qwen_omni import NoToolCallError
from langchain_qwen_omni._errors import as_langchain_errors, to_langchain
from qwen_omni import errors as ours
from qwen_omni.errors import QwenOmniError
from qwen_omni.responses import Response

KINDS = [kind for _, kind in inspect.getmembers(ours, inspect.isclass) if issubclass(kind, QwenOmniError)]
EXPECTED: dict[type[QwenOmniError], type[theirs.ModelError]] = {
    ours.AuthenticationError: theirs.ModelAuthenticationError,
    ours.AccountError: theirs.ModelPermissionDeniedError,
    ours.NotFoundError: theirs.ModelNotFoundError,
    ours.ContextOverflowError: theirs.ContextOverflowError,
    ours.MediaRefusedError: theirs.ModelInvalidRequestError,
    ours.RateLimitError: theirs.ModelRateLimitError,
    ours.ServerError: theirs.ModelAPIError,
    ours.APITimeoutError: theirs.ModelTimeoutError,
    ours.APIConnectionError: theirs.ModelConnectionError,
    ours.StreamInterruptedError: theirs.ModelAPIError,
    ours.ConfigurationError: theirs.ModelInvalidRequestError,
    ours.MediaOutsideRootError: theirs.ModelInvalidRequestError,
    NoToolCallError: theirs.ModelError,
}


def made(kind: type[QwenOmniError]) -> QwenOmniError:
    error = kind.__new__(kind)
    error.args = ("what happened",)
    error.__dict__["partial"] = Response(text="half")
    return error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_both_families(kind: type[QwenOmniError]) -> None:
    """Every error stays what it is and becomes LangChain's too; whether to retry is told alike, also after pickling."""
    for error in (to_langchain(made(kind)), pickle.loads(pickle.dumps(to_langchain(made(kind))))):
        assert isinstance(error, kind)
        assert isinstance(error, theirs.ModelError)
        assert error.is_retryable == kind.retryable
        assert (str(error), error.partial.text, type(error).__name__) == ("what happened", "half", kind.__name__)  # type: ignore[attr-defined]


@pytest.mark.parametrize(("kind", "parent"), EXPECTED.items(), ids=lambda kind: kind.__name__)
def test_nearest_class(kind: type[QwenOmniError], parent: type[theirs.ModelError]) -> None:
    """Each kind becomes the nearest class that LangChain has."""
    assert isinstance(to_langchain(made(kind)), parent)


def test_later_errors_are_covered() -> None:
    """An error class that joins ours later gets the class of its parent."""

    class QuotaError(ours.RateLimitError):
        """Made later."""

    error = to_langchain(QuotaError("wait", status=429))
    assert isinstance(error, QuotaError)
    assert isinstance(error, theirs.ModelRateLimitError)


def test_once_is_enough() -> None:
    """An error of both families is passed on as it is."""
    error = to_langchain(made(ours.ServerError))
    assert to_langchain(error) is error


def test_context_keeps_the_traceback_and_nothing_else() -> None:
    """The block raises the joined error with the place it came from; the first one does not show as a second error."""
    with pytest.raises(ours.ServerError) as caught, as_langchain_errors():
        raise ours.ServerError("busy", status=500, request_id="r1")
    assert caught.value.__suppress_context__
    assert caught.value.request_id == "r1"
    assert caught.traceback[-1].name.startswith("test_context")
