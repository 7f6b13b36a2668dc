"""Errors and notes of the core in the words of the command line: options for arguments, files for places. Pure.

The core names its arguments as Python does (`segment_seconds`, `delivery='oss'`), and a piece of media by its place in
the conversation. Whoever types a command knows neither, so everything that is printed about a command passes through
here.
"""

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

from qwen_omni.errors import ConfigurationError
from qwen_omni.redact import clean, redact
from qwen_omni.settings import (
    BASE_URL_VARIABLE,
    BATCH_URL_VARIABLE,
    BUCKET_VARIABLE,
    CACHE_VARIABLE,
    ENDPOINT_VARIABLE,
    REGION_VARIABLE,
    WORKSPACE_VARIABLE,
)

_ALIASES = {
    "segment_seconds": "seconds", "single_call_seconds": "seconds", "answer_tokens": "answer", "wait_seconds": "wait",
    "cny": "max_cny", "tokens": "max_tokens",
}  # fmt: skip
"""Arguments of the core that a command calls differently."""

_EVERYWHERE = (
    "tile", "frame", "fps", "max_pixels", "start", "end", "audio_track", "delivery", "model", "thinking", "tier",
    "strategy", "max_gaps",
)  # fmt: skip
"""Arguments that errors name in commands without this option, too; others have it."""

_VARIABLES = {"workspace": WORKSPACE_VARIABLE, "base_url": BASE_URL_VARIABLE, "batch_base_url": BATCH_URL_VARIABLE}
"""What sets an argument where the command has no option for it."""

_PLACE = re.compile(r"message \d+(?: \(\w+\))?(?: part (\d+))?: (?:budget: )?(.*)")
_TWICE = re.compile(r"(--[\w-]+) \(\1\)")  # where the core names the argument and the option
_WORDS = {"True": "on", "False": "off"}
_PHRASES: tuple[tuple[str, str], ...] = (
    # The bucket, which the environment sets.
    (r"\b(?:Pass|Set) oss=OssSettings\(\.\.\.\)", f"Set {BUCKET_VARIABLE}"),
    (r"\b(?:pass |set )?oss=OssSettings\(\.\.\.\)", f"set {BUCKET_VARIABLE}"),
    (r"Pass region=, for example region='([^']*)'", rf"Set {REGION_VARIABLE}, for example to \1"),
    (r"\bset oss=", f"set {BUCKET_VARIABLE}"),
    (r", or pass credentials= to OssSettings", ""),
    (r"pass credentials= a function that fetches a new one", "get a new one"),
    (r"Check bucket= and endpoint= of OssSettings", f"Check {BUCKET_VARIABLE} and {ENDPOINT_VARIABLE}"),
    # What both are named.
    (r" or, in code, pass api_key=", ""),
    (r"--region or region=", "--region"),
    (r"region= \(command line: --region\)", "--region"),
    (r"reuse_unverified=True \(--reuse-unverified\)", "--reuse-unverified"),
    (rf"set cache_dir \({CACHE_VARIABLE}\)", f"set {CACHE_VARIABLE}"),
    (r"Pass batch_base_url=, or set", "Set"),
    (r"Pass base_url or (\w+), not both: a \w+ is a short name for a base_url",
     r"Pass --base-url or --\1, not both: a \1 is a short name for an address"),
    (r"\((?:checkpoint=False|results=None)\)", "(--fresh)"),
    (r"Pass prices=, or limit tokens", "Limit tokens with --max-tokens"),
    # What the command line does in another way, or not at all.
    (r"lies outside media_root", "lies outside the current folder"),
    (r"Move the file there, or set media_root .*?trusted=True\)", "Pass its path instead of a file:// address"),
    (r"Transcribe it in parts \(start=, end=\)", "Cut it with `qwen-omni split`, and transcribe the parts"),
    (r"Send it as a video to show all of them, or choose", "Choose"),
    (r"; it was cut inside a character or decoded with errors='surrogateescape'.*?errors='replace'",
     ": it is not UTF-8. Type it again"),
    (r"; ask for one, without n in extra_body", ""),
    (r" for delete_after_use and for", " for"),
    (r", or a MediaBudget", ""),
    (r"; pass prices=", ""),
    (r", or pass keep=False", ""),
    (r" \((?:read_timeout|connect_timeout|total_timeout|wait_seconds|allow_truncated=True|request_kwargs=True)\)", ""),
    (r"; total_timeout= sets another limit", ""),
    (r",(?: or set)? a smaller max_tokens", ""),
    (r"allow more \(max_tokens\), or ask for less", "ask for less"),
    (r"; a larger max_tokens may help", ""),
    (r", or pass limits= if your account has more", ""),
    (r"; raise max_answer_bytes to allow longer answers", ""),
    (r" If this machine is just slow, pass a larger limit_seconds\.", ""),
    (r"takes no fps, min_pixels or max_pixels in requests: start vLLM .*?long_side=\.\.\.\)\)",
     "takes neither --fps nor --max-pixels; leave them out"),
)  # fmt: skip
_COMPILED = tuple((re.compile(pattern), words) for pattern, words in _PHRASES)


def with_name(name: str, text: str) -> str:
    """Return a text about a file with its name before it, unless it has the name anyway.

    Example:
        >>> with_name("./a.mp4", "a.mp4 is empty."), with_name("a.mp4", "It is empty.")
        ('a.mp4 is empty.', 'a.mp4: It is empty.')
        >>> with_name("https://example.com/a.mp4?Signature=s", "It is gone.")
        'https://example.com/a.mp4?<query>: It is gone.'
    """
    shown = [clean(redact(one), "terminal", one_line=True) for one in (name, str(Path(name)))]
    return text if any(one in text for one in shown) else f"{shown[0]}: {text}"


def shown_path(path: str) -> str:
    """Return a path as one would type it: relative, if it is inside the current folder.

    Example:
        >>> shown_path(str(Path("talks", "a.mp4").absolute())), shown_path("/elsewhere/a.mp4")
        ('talks/a.mp4', '/elsewhere/a.mp4')
    """
    absolute = Path(path)
    return str(absolute.relative_to(Path.cwd())) if absolute.is_relative_to(Path.cwd()) else path


def as_files(arguments: Sequence[str], options: Collection[str], *, is_file: Callable[[str], bool]) -> list[str]:
    """Return arguments with ./ before files whose names begin with a dash, as `*.mp4` yields them.

    Args:
        arguments: as typed.
        options: the options of the command; one of them is never a file.
        is_file: whether a file of a name exists.

    Example:
        >>> as_files(["-a.mp4", "-j", "--", "-a.mp4"], ["-j"], is_file=lambda name: True)
        ['./-a.mp4', '-j', '--', '-a.mp4']
    """
    end = arguments.index("--") if "--" in arguments else len(arguments)
    return [
        f"./{one}" if at < end and one.startswith("-") and "." in one and one not in options and is_file(one) else one
        for at, one in enumerate(arguments)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandLine:
    """What was typed, as far as messages need it.

    Attributes:
        options: the options of the command, by the name of their argument.
        negated: the options that switch one off, by the same name.
        flags: the names of options without a value.
        given: the names of the arguments that were typed.
        media: the files, in the order typed.
        foreign: texts that were typed and may appear in messages: they are never changed.
    """

    options: Mapping[str, str] = field(default_factory=dict)
    negated: Mapping[str, str] = field(default_factory=dict)
    flags: frozenset[str] = frozenset()
    given: frozenset[str] = frozenset()
    media: tuple[str, ...] = ()
    foreign: tuple[str, ...] = ()

    @classmethod
    def of(cls, context: Any) -> "CommandLine":  # noqa: ANN401  (typer's context; its module depends on the version)
        """Read what was typed from the context of the running command."""
        found = [one for one in context.command.params if one.param_type_name == "option"]
        typed = context.params
        return cls(
            options={one.name: _longest(one.opts) for one in found},
            negated={one.name: _longest(one.secondary_opts) for one in found if one.secondary_opts},
            flags=frozenset(one.name for one in found if one.is_flag),
            given=frozenset(name for name in typed if _typed(context, name)),
            media=tuple(_texts(typed.get("media"))),
            foreign=tuple(text for value in typed.values() for text in _texts(value)),
        )

    def words(self, text: str) -> str:
        """Return a message in the words of this command; what was typed appears in it as it was typed."""
        kept = [one for one in self._names() if self._changed(one) != one]
        if not kept:
            return "\n".join(self._changed(line) for line in text.split("\n"))
        apart = re.split(f"({'|'.join(map(re.escape, kept))})", text)
        return "".join(piece if number % 2 else self._changed(piece) for number, piece in enumerate(apart))

    def is_wrong_use(self, error: Exception | None) -> bool:
        """Whether an error is about what was typed, and not about a file, the service or this machine."""
        option = getattr(error, "option", None) or ""
        return isinstance(error, ConfigurationError) or _ALIASES.get(option, option) in self.given

    def _names(self) -> list[str]:
        """Return what must not be changed, as it appears in messages, the longest first."""
        shown = {clean(one, "terminal", one_line=True) for one in self.foreign} | {*self.foreign}
        return sorted((one for one in shown if one), key=len, reverse=True)

    def _changed(self, text: str) -> str:
        text = _PLACE.sub(self._file, text)
        for pattern, words in _COMPILED:
            text = pattern.sub(words, text)
        text = _arguments_pattern(tuple(self._arguments())).sub(self._option, text)
        return _TWICE.sub(r"\1", text)

    def _file(self, found: re.Match[str]) -> str:
        """Return what stands for a place: nothing if the text names the file anyway."""
        part, rest = found[1], found[2]
        name = self.media[int(part)] if part is not None and int(part) < len(self.media) else ""
        return rest if name in ("", "-") else with_name(name, rest)

    def _arguments(self) -> Iterable[str]:
        yield from self.options
        yield from (name for name, own in _ALIASES.items() if own in self.options)
        yield from (name for name in (*_VARIABLES, *_EVERYWHERE) if name not in self.options)

    def _option(self, found: re.Match[str]) -> str:
        """Return the option that stands for an argument, with the value it is named with."""
        name = found["name"] or found["bad"] or found["word"] or found["bound"]
        name, value = _ALIASES.get(name, name), found["value"] or ""
        if name not in self.options and name in _VARIABLES:
            return _VARIABLES[name]
        option = self.options.get(name, f"--{name.replace('_', '-')}")
        if value == "False" and (name in self.negated or name == "tile"):
            return self.negated.get(name, "--no-tile")
        is_flag = value == "True" and name in self.flags
        return option if is_flag or not value else f"{option} {_plain(value)}"


@lru_cache
def _arguments_pattern(names: tuple[str, ...]) -> re.Pattern[str]:
    """Return the pattern of arguments, with values; one that is a plain word only where it cannot be anything else."""
    every = "|".join(map(re.escape, names)) or "(?!)"
    long = "|".join(name for name in names if "_" in name) or "(?!)"
    value = r"'[^']*'|\"[^\"]*\"|-?\d[\d.,]*\d|-?\d|\w[\w.-]*\w"
    return re.compile(
        rf"(?<![-\w=./'])(?:(?P<name>{every})=(?P<value>{value})?"
        rf"|(?<!\w )(?P<bad>{every})(?=(?: for \S+)?(?: \([^)]*\))? must be )"
        rf"|(?P<word>{long})(?![\w=])"
        rf"|(?<=greater than )(?P<bound>{every})(?= \())"
    )


def _plain(value: str) -> str:
    """Return a value as it is typed: without quotes, if it needs none."""
    bare = value[1:-1] if value[:1] in ("'", '"') else value
    return _WORDS.get(bare, bare) if re.fullmatch(r"[\w.,-]+", bare) else value


def _longest(options: Iterable[str]) -> str:
    return max(options, key=len)


def _typed(context: Any, name: str) -> bool:  # noqa: ANN401  (typer's context)
    source = context.get_parameter_source(name)
    return source is not None and source.name == "COMMANDLINE"


def _texts(value: object) -> list[str]:
    if isinstance(value, list | tuple):
        return [str(one) for one in value]
    return [] if value is None or isinstance(value, bool | int | float) else [str(value)]
