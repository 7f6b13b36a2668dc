"""Tables for the documentation, generated from the values that the code uses."""

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

from langchain_qwen_omni._errors import to_langchain
from qwen_omni.errors import QwenOmniError
from qwen_omni.media.budget import PRESETS, Sampling
from qwen_omni.profiles import Profile, Region, profile_for
from qwen_omni.profiles.catalog import OMNI, RETIRED_NAMES, RETIREMENT, SUMMARISERS
from qwen_omni.profiles.profile import Prices
from qwen_omni.profiles.rate_limits import RATE_LIMITS
from qwen_omni.profiles.token_formulas import audio_tokens, frames_seen, video_tokens
from qwen_omni.profiles.transcription import TRANSCRIBERS, TranscriptionProfile
from qwen_omni.tools.media_tools import DEFINITIONS, LIBRARY_DEFINITIONS
from qwen_omni.wire.errors import _BY_CODE, _BY_STATUS, _BY_WORDS, _NEXT_STEP

ROOT = Path(__file__).parents[1]
_NOTHING = "\N{EM DASH}"
_SIZE, _FPS = (1280, 720), 25.0
_OPTIONAL = re.compile(r"\(([^()]*)\)(\?)?")


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(cell or _NOTHING for cell in line)} |" for line in lines)


# --- Errors ---


def error_table() -> str:
    """One row per error: when it is raised, whether it is retried, and its LangChain class."""
    rows = [
        [f"{'&ensp;' * 2 * depth}`{kind.__name__}`", _first_line(kind), _repeats(kind), f"`{_theirs(kind)}`"]
        for depth, kind in _family(QwenOmniError)
    ]
    return table(["error", "when", "retried automatically", "in LangChain also"], rows)


def _family(kind: type[QwenOmniError], depth: int = 0) -> Iterator[tuple[int, type[QwenOmniError]]]:
    yield depth, kind
    for child in kind.__subclasses__():
        if child.__module__ == QwenOmniError.__module__:
            yield from _family(child, depth + 1)


def _first_line(kind: type[QwenOmniError]) -> str:
    return (kind.__doc__ or "").strip().splitlines()[0].replace("|", "\\|")


def _repeats(kind: type[QwenOmniError]) -> str:
    if not kind.retryable:
        return "no"
    return "yes" if kind.retry_limit is None else f"yes, {kind.retry_limit} times at most"


def _theirs(kind: type[QwenOmniError]) -> str:
    error = kind.__new__(kind, "")
    error.args = ("",)
    return next(
        base.__name__ for base in type(to_langchain(error)).__mro__ if base.__module__.startswith("langchain_core")
    )


def code_table() -> str:
    """One row per error of the service: the codes, words and HTTP statuses that identify it, and what to do."""
    kinds = dict.fromkeys([*(kind for _, kind in (*_BY_CODE, *_BY_WORDS)), *_BY_STATUS.values()])
    return table(["error", "code", "or words in the message", "or status", "what to do"], map(_code_row, kinds))


def _code_row(kind: type[QwenOmniError]) -> list[str]:
    codes = [f"`{word}`" for pattern, one in _BY_CODE if one is kind for word in spelled(pattern.pattern)]
    phrases = [f"“{word}”" for pattern, one in _BY_WORDS if one is kind for word in spelled(pattern.pattern)]
    status = [str(number) for number, one in _BY_STATUS.items() if one is kind]
    step = next((text for parent, text in _NEXT_STEP if issubclass(kind, parent)), "")
    server = ["500 and above"] if kind.__name__ == "ServerError" else []
    return [f"`{kind.__name__}`", ", ".join(codes), ", ".join(phrases), ", ".join([*status, *server]), step]


def spelled(pattern: str) -> list[str]:
    """Spell out the alternatives of a pattern for readers.

    Example:
        >>> spelled(r"^model_?not_?(found|supported)$"), spelled("free tier .{0,60}exhausted")
        (['model_not_found', 'model_not_supported'], ['free tier … exhausted'])
    """
    plain = re.sub(r"\.\{0,\d+\}", "… ", pattern.strip("^$")).replace("_?", "_").replace("\\", "")
    return [word.strip() for part in _split(plain) for word in _expanded(part)]


def _split(pattern: str) -> list[str]:
    """Split at the alternatives outside of groups."""
    depth, parts = 0, [""]
    for sign in pattern:
        depth += (sign == "(") - (sign == ")")
        parts = [*parts, ""] if sign == "|" and depth == 0 else [*parts[:-1], parts[-1] + sign]
    return parts


def _expanded(part: str) -> list[str]:
    pieces: list[list[str]] = []
    end = 0
    for group in _OPTIONAL.finditer(part):
        choices = group[1].split("|") + ([""] if group[2] else [])
        pieces += [[part[end : group.start()]], choices]
        end = group.end()
    return ["".join(chosen) for chosen in itertools.product(*pieces, [part[end:]])]


# --- Tools ---


def tool_table() -> str:
    """One row per agent tool: its name, its arguments, and the description that the model reads."""
    return table(["tool", "arguments", "what it does"], [
        [f"`{one.name}`", ", ".join(_arguments(one.schema)), one.description]
        for one in (*DEFINITIONS, *LIBRARY_DEFINITIONS)
    ])  # fmt: skip


def _arguments(schema: Mapping[str, Any]) -> Iterator[str]:
    for name in schema["properties"]:
        yield f"`{name}`" if name in schema.get("required", ()) else f"(`{name}`)"


# --- Models ---


def limit_table() -> str:
    """One row per model that takes media: its limits for one request and its capabilities."""
    heads = ["model", "context", "video", "frames", "audio", "mixed media", "speech", "reasoning", "JSON mode"]
    seeing = [profile for profile in SUMMARISERS if "video" in profile.inputs]
    return table(heads, [_limit_row(profile) for profile in (*OMNI, *seeing)])


def _limit_row(profile: Profile) -> list[str]:
    limits = profile.limits
    thinks = "no" if profile.thinking == "none" else "by default" if profile.thinks_by_default else "on request"
    return [
        f"`{profile.name}`",
        f"{profile.context:,}",
        f"{limits.min_video_seconds:g} s to {_long(limits.video_seconds)}, {limits.video_bytes / 2**20:,.0f} MiB",
        f"{limits.frames[0]} to {limits.frames[1]:,}",
        f"up to {_long(limits.audio_seconds)}" if "audio" in profile.inputs else "not read, in videos either",
        "yes" if limits.mixed else "no: text and one other kind",
        f"yes, {len(profile.voices)} known voices" if profile.speaks else "no",
        thinks,
        "yes" if profile.json_object else "no",
    ]


def _long(seconds: float) -> str:
    units = ((3600, "h"), (60, "min"), (1, "s"))
    size, unit = next((size, unit) for size, unit in units if seconds % size == 0 or size == 1)
    return f"{seconds / size:g} {unit}"


def rate_table() -> str:
    """One row per model and limit: requests and tokens a minute, the regions they hold in, and their source."""
    rows: dict[tuple[str, str, str, str], list[str]] = {}
    for model, limits in RATE_LIMITS.items():
        for region, one in limits.items():
            counts = ["not published" if count is None else f"{count:,}" for count in (one.rpm, one.tpm)]
            rows.setdefault((f"`{model}`", *counts, one.source), []).append(region)
    return table(["model", "regions", "requests a minute", "tokens a minute", "source"], [
        [model, ", ".join(regions), rpm, tpm, source] for (model, rpm, tpm, source), regions in rows.items()
    ])  # fmt: skip


def retired_table() -> str:
    """One row per name that the service has retired."""
    heads = ["retired", "since", "use instead", "source"]
    one = RETIREMENT
    return table(heads, [[f"`{name}`", one.on, f"`{one.replacement}`", one.source] for name in RETIRED_NAMES])


_UNKNOWN = "unknown"


def price_table() -> str:
    """One row per model, price list and range of input lengths: the price of a million tokens, and its source."""
    heads = ["model", "region", "input tokens", "text in", "cached", "image, video in", "audio in", "text out",
             "with thinking", "speech out", "batch", "source"]  # fmt: skip
    models = [profile_for(profile.name) for profile in (*OMNI, *SUMMARISERS)]
    return table(heads, [
        [f"`{profile.name}`", regions, *cells]
        for profile in models for regions, prices in _by_region(profile.prices)
        for cells in (_priced_rows(prices, profile) or [["any", *[_UNKNOWN] * 2, *[""] * 7]])
    ])  # fmt: skip


def _by_region(prices: Mapping[Region, Any]) -> list[tuple[str, Any]]:
    """Join the regions that have the same prices; those without any come last."""
    lists: dict[Any, list[str]] = {}
    for region, rows in prices.items():
        lists.setdefault(rows, []).append(region)
    rest = [region for region in get_args(Region) if region not in prices]
    return [
        *((", ".join(regions), rows) for rows, regions in lists.items()),
        *([(", ".join(rest), ())] if rest else []),
    ]


def _priced_rows(prices: Sequence[Prices], profile: Profile) -> list[list[str]]:
    limits = [None, *(price.up_to for price in prices)]
    return [
        [_input_range(above, price.up_to), *_price_cells(price, profile)]
        for above, price in zip(limits, prices, strict=False)
    ]


def _input_range(above: int | None, up_to: int | None) -> str:
    """Return the inputs, in tokens, that a price applies to.

    Example:
        >>> _input_range(None, None), _input_range(None, 128_000), _input_range(256_000, None)
        ('any', 'up to 128,000', 'above 256,000')
    """
    if up_to is not None:
        return f"up to {up_to:,}"
    return "any" if above is None else f"above {above:,}"


def _price_cells(price: Prices, profile: Profile) -> list[str]:
    out = price.text_out if price.text_out_media is None else price.text_out_media
    seen = price.text_in if price.video_in is None else price.video_in
    heard = price.text_in if price.audio_in is None else price.audio_in
    shown = [
        price.text_in, price.cached_in, seen if "image" in profile.inputs else None,
        heard if "audio" in profile.inputs else None, out, price.thinking_out, price.audio_out,
    ]  # fmt: skip
    batch = "" if price.batch is None else f"{price.batch:.0%}"
    return [*("" if value is None else f"{value:g}" for value in shown), batch, price.source]


def transcriber_table() -> str:
    """One row per transcription model: how it is called, what it can do, and its price."""
    heads = ["model", "called as", "longest", "times", "speakers", "`context`", "price by region", "source"]
    return table(heads, [_transcriber_row(one) for one in TRANSCRIBERS.values()])


def _transcriber_row(one: TranscriptionProfile) -> list[str]:
    words = {"always": "sentences and words", "asked": "sentences, words on request", "never": "none promised"}
    way = {"task": "a task", "chat": "one call, chat route", "native": "one call, native route"}
    paid = [f"{region} CNY {price:.5f} a second" for region, price in one.prices.items()]
    paid += [
        f"{region} CNY {price.text_in:g} in, {price.text_out:g} out per million tokens"
        for region, price in one.token_prices.items()
    ]
    yes = {True: "yes", False: "no"}
    times = "turns of speakers" if one.prompted else words[one.words]
    paid = ["by token, as in [Models and limits](models.md)"] if one.prompted else paid
    return [f"`{one.name}`", way[one.route], _long(one.max_seconds), times, yes[one.speakers],
            yes[one.context], "; ".join(paid), one.source]  # fmt: skip


def token_table() -> str:
    """The tokens of one minute of 720p video with audio, by preset and by sampling."""
    profile = profile_for("qwen3.8-omni-flash")
    ways = {
        "the service's default": Sampling(),
        **{f'`budget="{name}"`': Sampling(fps=PRESETS[name].sampling_fps) for name in ("glance", "static", "action")},
        '`"fps": 0.5`': Sampling(fps=0.5),
        '`"fps": 0.5, "max_pixels": 230400`': Sampling(fps=0.5, max_pixels=230_400),
    }
    audio = audio_tokens(profile, 60)
    return table(["option", "frames sampled", "video tokens", "audio tokens", "total"], [
        [name, str(frames_seen(profile, 60, _FPS, ways[name])), f"{video:,}", str(audio), f"{video + audio:,}"]
        for name in ways for video in [video_tokens(profile, _SIZE, 60, _FPS, ways[name])]
    ])  # fmt: skip


# --- Cassettes ---


def cassette_table() -> str:
    """One table per module of tests: what each cassette proves, who answered, and when."""
    from tests.support import recording  # noqa: PLC0415  (its folder is on the path of scripts alone)

    folders = sorted({path.parent for path in recording.ROOT.rglob("*.yaml")})
    return "\n\n".join(f"**{recording.tests_of(folder).relative_to(ROOT)}**\n\n{_folder(folder)}" for folder in folders)


def _folder(folder: Path) -> str:
    from tests.support import recording  # noqa: PLC0415

    rows: dict[tuple[str, str, str], list[str]] = {}
    for path in sorted(folder.glob("*.yaml")):
        label = recording.label_of(path)
        if label is None:
            raise SystemExit(f"{path} does not say what it proves. Run `make record`.")
        who = f"documentation: {label.source.partition(':')[0]}" if label.source else f"the {label.origin}"
        rows.setdefault((label.proves, who, label.recorded.isoformat()), []).append(_short(path.stem))
    return table(
        ["what it proves", "cassettes", "answers by", "day"],
        [[proves.replace("|", "\\|"), ", ".join(names), who, day] for (proves, who, day), names in rows.items()],
    )


def _short(name: str) -> str:
    return f"`{name.replace('.test_', '.')}`"
