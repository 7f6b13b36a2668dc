"""Output of the command line, and the options that several commands share.

The only module that imports rich, and the only one that writes to standard output. File names and model answers are
untrusted: no control sequence in them reaches the terminal. Output files are checked before anything is paid for, and
written completely or not at all.
"""

import contextlib
import errno
import json
import os
import re
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar, get_args

import typer
from rich.console import Console
from rich.markup import escape as escape_markup
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from qwen_omni.errors import RESOURCES, ConfigurationError, LocalResourceError, QwenOmniError
from qwen_omni.options import Delivery, Effort, Tier
from qwen_omni.profiles import Region
from qwen_omni.redact import clean
from qwen_omni.responses import Usage
from qwen_omni.settings import Settings

_T = TypeVar("_T")
_UNLIMITED = 1000  # characters
_out = Console(soft_wrap=True, highlight=False)
_err = Console(stderr=True, soft_wrap=True, highlight=False)


def escape(text: str) -> str:
    """Escape untrusted text for a terminal and for rich."""
    return escape_markup(clean(text, "terminal"))


def one_line(text: str) -> str:
    """Escape an untrusted name to fit in one line."""
    return clean(text, "terminal", one_line=True)


def write_text(text: str) -> None:
    """Write text to standard output, as it arrives."""
    sys.stdout.write(clean(text, "terminal"))
    sys.stdout.flush()


def write_json(value: Any, *, indent: int | None = None) -> None:  # noqa: ANN401  (any JSON value)
    """Write JSON to standard output; control sequences and characters that UTF-8 cannot encode are escaped."""
    text = json.dumps(value, ensure_ascii=False, indent=indent)
    sys.stdout.write("".join(map(_escaped, re.split(r"([^\n -~]+)", text))) + "\n")
    sys.stdout.flush()


def _escaped(piece: str) -> str:
    return piece if clean(piece, "terminal") == piece else json.dumps(piece)[1:-1]


def show_error(message: str) -> None:
    """Print an error on standard error."""
    _err.print(f"[bold red]qwen-omni:[/] {escape(message)}")


def show_note(message: str) -> None:
    """Print a note on standard error."""
    _err.print(f"[dim]{escape(message)}[/]")


def end_thinking() -> None:
    """End the line of reasoning."""
    _err.print()


def show_thinking(piece: str) -> None:
    """Write a piece of the model's reasoning to standard error as it arrives."""
    _err.print(f"[dim italic]{escape(piece)}[/]", end="")


_MARKS = {"good": "[green]ok[/]  ", "odd": "[yellow]odd[/] ", "bad": "[bold red]bad[/] "}


def show_finding(name: str, verdict: str, text: str, step: str) -> None:
    """Print one finding of `doctor` on standard output, and below it what to do."""
    _out.print(f"{_MARKS[verdict]} [bold]{escape(name)}[/]: {escape(text)}")
    if step:
        _out.print(f"      → {escape(step)}")


def show_usage(usage: Usage) -> None:
    """Print the token usage of a call on standard error."""
    show_note(f"tokens: {usage.input_tokens:,} in{_kinds(usage.input_details)}, {usage.output_tokens:,} out"
              f"{_kinds(usage.output_details)}")  # fmt: skip


def _kinds(details: object) -> str:
    pairs = [f"{name} {count:,}" for name, count in dict(details or {}).items()]  # type: ignore[call-overload]
    return f" ({', '.join(pairs)})" if pairs else ""


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]], *, lines: bool = True) -> None:
    """Print a table on standard output; if that is not a terminal, the table is as wide as it needs to be.

    Without `lines` no borders are drawn, and no header if its labels are empty.
    """
    table = Table(show_lines=True) if lines else Table(box=None, show_header=any(columns), pad_edge=False)
    for column in columns:
        table.add_column(escape(column), overflow="fold")
    for row in rows:
        table.add_row(*map(escape, row))
    Console(highlight=False, width=None if sys.stdout.isatty() else _UNLIMITED).print(table)


def with_progress(finished: Iterable[tuple[str, _T]], total: int) -> Iterator[_T]:
    """Yield items and show progress on standard error: a line for each, and a bar on a terminal."""
    with Progress(console=_err, transient=True, disable=not _err.is_terminal or total == 1) as progress:
        task = progress.add_task("captions", total=total)
        for number, (label, item) in enumerate(finished, start=1):
            progress.advance(task)
            _err.print(f"[dim]{number}/{total} {escape(one_line(label))}[/]")
            yield item


def show_text(text: str) -> None:
    """Print a text of several lines on standard output."""
    _out.print(escape(text))


@contextlib.contextmanager
def steps_bar(name: str) -> Iterator[Callable[[int, int, str], None]]:
    """Show a bar of steps on standard error while a block runs; yield its updating function (done, total, text)."""
    columns = (
        TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed:.0f}/{task.total:.0f}"),
        TextColumn("[dim]{task.fields[words]}[/]"), TimeRemainingColumn(),
    )  # fmt: skip
    with Progress(*columns, console=_err, disable=not _err.is_terminal) as bar:
        task = bar.add_task(escape(one_line(name)), total=1, words="")
        yield lambda done, total, words: bar.update(
            task, completed=done, total=max(total, 1), words=escape(one_line(words))
        )


@contextlib.contextmanager
def progress(name: str, total: float, *, shown: bool) -> Iterator[Callable[[float], None]]:
    """Show a bar on standard error while a block runs; yield the function that advances it."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeRemainingColumn(), console=_err, disable=not shown, transient=True) as bar:
        task = bar.add_task(escape(one_line(name)), total=total)
        yield lambda done: bar.update(task, completed=done)


_ADVICE = {
    "disk": "Free some space, or choose another location.",
    "file size": "Raise this process's limit (ulimit -f), or write smaller files.",
    "open files": "Raise this process's limit (ulimit -n).",
    "memory": "Free some memory.",
}
_TRIED_BYTES = 4096  # a full disk may still accept an empty file


def check_targets(paths: Iterable[Path]) -> None:
    """Reject output files that cannot be written, before anything is paid for. Leaves nothing behind.

    Raises:
        ConfigurationError: the name is too long, or is a folder, or a parent is a file.
        LocalResourceError: the disk is full, or the location is not writable.
    """
    for path in paths:
        try:
            _try_to_write(path)
        except (OSError, ValueError) as error:
            raise _cannot_write(path, error) from error


def _try_to_write(path: Path) -> None:
    """Try to write where `path` is or will be, changing nothing; `os.path` accepts any name, `Path` does not."""
    try:
        there = path.stat()
    except FileNotFoundError:
        folder = next(one for one in path.absolute().parents if os.path.exists(one))  # noqa: PTH110
        if not folder.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, f"{folder} is not a folder") from None
        with tempfile.TemporaryFile(dir=folder) as file:
            file.write(bytes(_TRIED_BYTES))
            file.flush()
        return
    if stat.S_ISDIR(there.st_mode):
        raise IsADirectoryError(errno.EISDIR, "it is a folder")
    if stat.S_ISREG(there.st_mode):
        with path.open("ab"):
            pass


def _cannot_write(path: Path, error: Exception) -> QwenOmniError:
    number = error.errno if isinstance(error, OSError) else None
    reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
    if isinstance(error, NotADirectoryError) and not reason.endswith("no folder"):
        folder = next((one for one in path.absolute().parents if os.path.exists(one) and not one.is_dir()), path)  # noqa: PTH110
        reason = f"{folder} is not a folder"
    problem = f"{path} cannot be written: {reason}."
    resource = RESOURCES.get(number or 0)
    if resource is None:
        return ConfigurationError(f"{problem} Choose another location with --out or --to.")
    advice = _ADVICE.get(resource, "Choose a location that you can write to.")
    return LocalResourceError(f"{problem} {advice}", resource=resource, path=str(path))


@contextlib.contextmanager
def writing(path: Path) -> Iterator[Path]:
    """Yield a file to write, which is moved to `path` when the block ends without an error.

    Raises:
        ConfigurationError: the name cannot be that of a file.
        LocalResourceError: the disk is full, or the location is not writable; an existing file is unchanged.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.exists() and not path.is_file():  # a pipe or a device cannot be replaced
            yield path
            return
        made = not path.exists()
        with path.open("ab"):  # rejects an invalid name, and gives a new file the usual permissions
            pass
        arriving = path.parent / f".qwen-omni-{secrets.token_hex(8)}"
        try:
            yield arriving
            arriving.chmod(stat.S_IMODE(path.stat().st_mode))
            arriving.replace(path.resolve())
            made = False
        finally:
            arriving.unlink(missing_ok=True)
            if made:
                path.unlink(missing_ok=True)
    except (OSError, ValueError) as error:
        if isinstance(error, QwenOmniError):
            raise
        raise _cannot_write(path, error) from error


_Choice = TypeVar("_Choice")
_Form = TypeVar("_Form", bound=str)

Tile = Annotated[
    bool, typer.Option("--tile/--no-tile", help="Send a tall or wide image as several overlapping images.")
]
Frame = Annotated[
    int | None, typer.Option(min=0, help="Send one frame of an animation, or page of a file, as an image; from 0.")
]

SubtitleFolder = Annotated[
    Path,
    typer.Option(help="Folder for the subtitles of several files, replacing older ones; one file's are printed."),
]

EFFORTS: dict[str, bool | Effort] = {
    "on": True, "off": False, "minimal": "minimal", "low": "low", "medium": "medium", "high": "high", "max": "max",
}  # fmt: skip
WAYS: dict[str, Delivery] = {"auto": "auto", "inline": "inline", "oss": "oss", "temporary": "temporary"}
TIERS: dict[str, Tier] = {"standard": "standard", "batch": "batch"}
REGIONS: dict[str, Region] = {name: name for name in get_args(Region)}

# Options that several commands share; a command whose option means something of its own declares that itself.
AudioTrack = Annotated[
    str, typer.Option(help="The audio track: auto, mix, or its number from 0. auto skips a silent default track.")
]
SegmentSeconds = Annotated[float, typer.Option(help="Maximum length of a segment in seconds, overlap included.")]
ServiceRegion = Annotated[str | None, typer.Option(help=f"One of {', '.join(REGIONS)}; keys are per region.")]
ServiceWorkspace = Annotated[
    str | None, typer.Option(help="ID of a workspace, to use its own host; DASHSCOPE_WORKSPACE does the same.")
]
ServiceUrl = Annotated[str | None, typer.Option(help="URL of another service, e.g. the stand-in.")]
Thinking = Annotated[str, typer.Option(help=f"One of {', '.join(EFFORTS)}.")]
CallTier = Annotated[
    str | None,
    typer.Option("--tier", help="batch: half price, an answer within an hour; some models only, in Beijing."),
]


def choose(name: str, given: str | None, choices: Mapping[str, _Choice]) -> _Choice | None:
    """Return the value that a word stands for.

    Raises:
        ConfigurationError: it is none of the choices.
    """
    if given is not None and given not in choices:
        raise ConfigurationError(f"--{name} {given!r} is not known; choose one of {', '.join(choices)}.")
    return None if given is None else choices[given]


def settings_for(
    region: str | None,
    base_url: str | None,
    workspace: str | None,
    delivery: str | None = None,
    **more: Any,  # noqa: ANN401  (fields of `Settings`)
) -> Settings:
    """Return the settings that the options of a command name; the rest is read from the environment.

    Raises:
        ConfigurationError: an unknown region or delivery, or no key.
    """
    return Settings.load(
        base_url=base_url, region=choose("region", region, REGIONS), workspace=workspace,
        delivery=choose("delivery", delivery, WAYS), **more,
    )  # fmt: skip


def one_form(asked: Mapping[_Form, bool], usual: _Form) -> _Form:
    """Return the one form of output that was asked for, or the usual one.

    Raises:
        ConfigurationError: several were.
    """
    chosen = [name for name, on in asked.items() if on]
    if len(chosen) > 1:
        raise ConfigurationError(f"--{' and --'.join(chosen)} exclude each other; choose one.")
    return chosen[0] if chosen else usual


def subtitle_paths(media: Iterable[str], folder: Path, form: str) -> dict[str, Path]:
    """Choose the subtitle file of each media file: its name in `folder`, with the suffix of the format.

    Raises:
        ConfigurationError: two files would get the same name.
    """
    paths = {item: folder / f"{Path(item.partition('?')[0]).stem}.{form}" for item in media}
    taken: dict[Path, str] = {}
    for item, path in paths.items():
        other = taken.setdefault(path, item)
        if other != item:
            raise ConfigurationError(f"{other} and {item} would both become {path}; run them separately.")
    return paths


def write_file(path: Path, text: str) -> None:
    """Write a text to a file, as `writing` does."""
    with writing(path) as file:
        file.write_text(text, encoding="utf-8")


def failed_entry(media: str, error: Exception) -> dict[str, Any]:
    """Return what the JSON output holds about a file that failed."""
    return {"file": media, "error": str(error), "kind": type(error).__name__}
