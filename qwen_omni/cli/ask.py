"""`qwen-omni ask`: one question about any number of files, answered word by word."""

import contextlib
import mimetypes
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from qwen_omni.cli.options import (
    BUDGETS,
    EFFORTS,
    TIERS,
    Budget,
    CallTier,
    End,
    ModelName,
    Start,
    Thinking,
    check_names,
    choose,
    option,
    read_media,
    read_service,
    sharing,
)
from qwen_omni.cli.output import Prose, Waiting, end_thinking, one_line, show_note, show_thinking, show_usage, waiting
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Message, TextPart, user
from qwen_omni.options import ChatOptions, ChatRequest, UploadProgress
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.request.question import MediaChoices, message_of
from qwen_omni.responses import Delta, FinishDelta, TextDelta, ThinkingDelta, UsageDelta
from qwen_omni.settings import Settings

_T = TypeVar("_T")
_STDIN = "-"
_MOST_BYTES = 256_000_000  # of media from standard input, which is held in memory


@sharing(sending=read_media, service=read_service)
def ask(  # noqa: PLR0913  (each argument is an option of the command)
    media: Annotated[
        list[str] | None,
        typer.Argument(metavar="FILE", help="Images, recordings or videos: paths, URLs, or - for standard input."),
    ] = None,
    *,
    text: Annotated[str, typer.Argument(metavar="QUESTION", help="The question; - reads it from standard input.")],
    model: ModelName = DEFAULT_MODEL,
    start: Start = None,
    end: End = None,
    budget: Budget = None,
    sending: dict[str, Any],
    thinking: Thinking = None,
    tier: CallTier = None,
    system: Annotated[str | None, option("System prompt.", "TEXT")] = None,
    service: Callable[..., Settings],
    show_thoughts: Annotated[bool, typer.Option("--show-thinking", help="Print the reasoning, dimmed.")] = False,
    usage: Annotated[bool, typer.Option("--usage", help="Print the tokens used.")] = False,
) -> None:
    """Ask a question about images, recordings and videos; the answer is printed as it arrives.

    The question comes last. Use - in place of a file to read it from standard input (cat clip.mp4 | qwen-omni ask -
    "What happens?"), or in place of the question to read that. For videos too long for one request, use summarize
    --question.
    """
    choices = MediaChoices(start=start, end=end, budget=choose("budget", budget, BUDGETS), **sending)
    options = ChatOptions(thinking=choose("thinking", thinking, EFFORTS), tier=choose("tier", tier, TIERS))
    media = media or []
    _check_order(media, text)
    with waiting(_waiting_text(media)) as spinner:
        settings = service(on_upload=lambda news: spinner.say(_upload_text(news)))
        asked = _read_question() if text == _STDIN else text
        about = message_of([_source(one) for one in media], settings.media_root, choices)
        rules = (Message(role="system", parts=(TextPart(text=system),)),) if system else ()
        question = Message(role="user", parts=(*about.parts, *user(asked).parts))
        request = ChatRequest(model=model, messages=(*rules, question), options=options)
        with OmniClient(settings) as client:
            _print(_after(spinner, client.stream(request)), thoughts=show_thoughts, usage=usage)


def _check_order(media: Sequence[str], text: str) -> None:
    """Refuse a file where the question belongs, before anything is sent.

    Raises:
        ConfigurationError: the question is missing or not last, or standard input is named twice.
    """
    if [*media, text].count(_STDIN) > 1:
        raise ConfigurationError("- stands for standard input, which can be read only once.")
    if _STDIN in (*media, text) and sys.stdin.isatty() and text != _STDIN:
        raise ConfigurationError("- reads media from standard input, which is a terminal: cat FILE | qwen-omni ask - …")
    check_names(media)
    if text.encode(errors="replace").decode() != text:
        raise ConfigurationError("The question is not UTF-8 text. Type it again, or set a UTF-8 locale.")
    if not text.strip():
        raise ConfigurationError("The question is empty. Put it last: qwen-omni ask FILE 'What happens here?'")
    if not _names_media(text):
        return
    if any(not _names_media(one) and (" " in one or one.endswith("?")) for one in media):
        raise ConfigurationError(f"The question comes last: qwen-omni ask {one_line(text)} 'What happens here?'")
    shown = " ".join(one_line(one) for one in (*media, text))
    raise ConfigurationError(f"The question is missing. Put it last: qwen-omni ask {shown} 'What happens here?'")


def _names_media(text: str) -> bool:
    """Whether a text is a file, or looks like the name or the address of one."""
    with contextlib.suppress(OSError, ValueError, RuntimeError):
        if Path(text).expanduser().is_file():
            return True
    kind = mimetypes.guess_type(text)[0] or ""
    return " " not in text and ("://" in text or kind.startswith(("image/", "audio/", "video/")))


def _source(name: str) -> str | MediaSource:
    """Return what a name stands for; media from standard input are read whole.

    Raises:
        ConfigurationError: standard input is empty, or holds more than fits in memory.
    """
    if name != _STDIN:
        return name
    data = sys.stdin.buffer.read(_MOST_BYTES + 1)
    if not data:
        raise ConfigurationError("Standard input is empty: cat FILE | qwen-omni ask - 'What happens here?'")
    if len(data) > _MOST_BYTES:
        raise ConfigurationError(
            f"Standard input holds more than {_MOST_BYTES / 1e6:,.0f} MB. Save it to a file, and pass its name."
        )
    return MediaSource.from_bytes(data, title="standard input")


def _read_question() -> str:
    if sys.stdin.isatty():
        show_note("Type the question; end with Ctrl-D.")
    text = sys.stdin.buffer.read().decode("utf-8", "replace").strip()
    if not text:
        raise ConfigurationError("Standard input holds no question: echo 'What happens?' | qwen-omni ask FILE -")
    return text


def _waiting_text(media: Sequence[str]) -> str:
    first = "" if not media else f" about {media[0]}" + (f" and {len(media) - 1} more" if len(media) > 1 else "")
    return f"Waiting for the answer{first}"


def _upload_text(news: UploadProgress) -> str:
    if news.sent_bytes >= news.total_bytes:
        return "Waiting for the answer"
    return f"Uploading {news.name}: {news.sent_bytes / news.total_bytes:.0%}"


def _after(spinner: Waiting, coming: Iterable[_T]) -> Iterable[_T]:
    """Remove the spinner when the first piece has come."""
    for one in coming:
        spinner.end()
        yield one


def _print(deltas: Iterable[Delta], *, thoughts: bool, usage: bool) -> None:
    thinking = False
    with Prose() as prose:
        for delta in deltas:
            if thinking and not isinstance(delta, ThinkingDelta):
                end_thinking()
                thinking = False
            match delta:
                case TextDelta():
                    prose.write(delta.text)
                case ThinkingDelta() if thoughts:
                    show_thinking(delta.text)
                    thinking = True
                case FinishDelta():
                    prose.write("\n")
                    if delta.reason != "stop":
                        show_note(f"The answer ended early: {delta.reason}.")
                case UsageDelta() if usage:
                    show_usage(delta.usage)
                case _:
                    pass
