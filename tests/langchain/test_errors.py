"""Our errors, also as LangChain's."""

import asyncio
import inspect
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from langchain_core import exceptions as theirs
from langchain_core.document_loaders import Blob
from langchain_core.documents import Document
from langchain_core.messages import AIMessage

from langchain_qwen_omni import (
    ChatQwenOmni,
    NoToolCallError,
    QwenOmniMediaParser,
    QwenOmniToolkit,
    QwenOmniVideoLoader,
    clip,
    save_speech,
)
from langchain_qwen_omni._errors import as_langchain_errors, to_langchain
from qwen_omni import errors as ours
from qwen_omni.errors import CaptionSyntaxError, QwenOmniError, TruncatedAnswerError
from qwen_omni.responses import Response
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_video

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
        is_parsing = issubclass(kind, CaptionSyntaxError | TruncatedAnswerError)
        parent = theirs.OutputParserException if is_parsing else theirs.ModelError
        assert isinstance(error, parent)
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

    error = to_langchain(QuotaError("wait", status_code=429))
    assert isinstance(error, QuotaError)
    assert isinstance(error, theirs.ModelRateLimitError)


def test_once_is_enough() -> None:
    """An error of both families is passed on as it is."""
    error = to_langchain(made(ours.ServerError))
    assert to_langchain(error) is error


def test_context_keeps_the_traceback_and_nothing_else() -> None:
    """The block raises the joined error with the place it came from; the first one does not show as a second error."""
    with pytest.raises(ours.ServerError) as caught, as_langchain_errors():
        raise ours.ServerError("busy", status_code=500, request_id="r1")
    assert caught.value.__suppress_context__
    assert caught.value.request_id == "r1"
    assert caught.traceback[-1].name.startswith("test_context")


DOORS: dict[str, tuple[Callable[[Path, ChatQwenOmni], Any], type[QwenOmniError]]] = {
    "load": (lambda film, llm: QwenOmniVideoLoader(film, llm).load(), ours.AuthenticationError),
    "aload": (lambda film, llm: asyncio.run(QwenOmniVideoLoader(film, llm).aload()), ours.AuthenticationError),
    "parse": (lambda film, llm: QwenOmniMediaParser(llm).parse(Blob.from_path(film)), ours.AuthenticationError),
    "no such file": (lambda film, llm: QwenOmniVideoLoader(f"{film}.mp4", llm).load(), ours.UnreadableMediaError),
    "no such mode": (lambda film, _: QwenOmniVideoLoader(film, mode="frames"), ours.ConfigurationError),  # type: ignore[arg-type]
    "no such mode of blobs": (lambda *_: QwenOmniMediaParser(mode="frames"), ours.ConfigurationError),  # type: ignore[arg-type]
    "clip": (lambda *_: clip(Document("text")), ours.ConfigurationError),
    "toolkit": (lambda film, llm: QwenOmniToolkit(llm, media_root=str(film)), ours.ConfigurationError),
    "speech": (lambda film, _: save_speech(AIMessage("hi"), film), ours.UnsupportedContentError),
}


@pytest.mark.parametrize(("door", "kind"), DOORS.values(), ids=DOORS.keys())
def test_every_door_raises_both(
    door: Callable[[Path, ChatQwenOmni], Any], kind: type[QwenOmniError], standin: Standin, tmp_path: Path
) -> None:
    """Whatever part of the package fails, and whether it blocks or not, its error is LangChain's, too."""
    film = make_video(tmp_path / "film.mp4", seconds=2, size=(64, 48), fps=2, sound=False).path
    llm = ChatQwenOmni(api_key="sk-wrong", base_url=standin.base_url, max_retries=0)  # type: ignore[arg-type]
    with pytest.raises(kind) as caught:
        door(film, llm)
    llm.close()
    assert isinstance(caught.value, theirs.LangChainException)
