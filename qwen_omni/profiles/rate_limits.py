"""Requests and tokens per minute, by model and region. Facts, each with its source.

The limits hold for an account and a model, over all workspaces and keys, and may be enforced per second as well (a
sixtieth of each). They are floors: the service lets more through while it has capacity. Models with dynamic limits have
the value of the lowest tier, which rises with what an account spends.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles.profile import Region
from qwen_omni.ranges import POSITIVE_COUNT, check_numbers

_PAGE = "Model Studio, Rate limits, October 2026"
_TIERS = "Model Studio, Dynamic rate limits, October 2026"
_CARDS = "Model Studio, model cards, Beijing, 30 requests a second; read November 2026"
_DYNAMIC = f"dynamic: 2, 5 or 10 million TPM by what the account spends; {_TIERS}"
_DYNAMIC_FLASH = f"dynamic: 5, 10 or 20 million TPM by what the account spends; {_TIERS}"
_UNPUBLISHED = f"TPM is dynamic and not published for this region; {_TIERS}"


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """Requests and tokens a minute. `None` is no limit, or one that is not published.

    Attributes:
        rpm: requests per minute.
        tpm: tokens per minute, input and output together.
        source: where the numbers were read, and when.

    Raises:
        ConfigurationError: a number is not at least 1.

    Example:
        >>> RateLimits(rpm=60, tpm=100_000).rpm
        60
    """

    rpm: int | None = None
    tpm: int | None = None
    source: str = "the caller"

    def __post_init__(self) -> None:
        check_numbers(self, {"rpm": POSITIVE_COUNT, "tpm": POSITIVE_COUNT})

    def __str__(self) -> str:
        counts = [f"{count:,} {name}" for count, name in ((self.rpm, "RPM"), (self.tpm, "TPM")) if count is not None]
        return " and ".join(counts) or "none published"


LimitsOverride = RateLimits | Mapping[str, RateLimits]
"""The caller's own limits: for every model, or by model name."""

_ALL: tuple[Region, ...] = ("cn", "intl", "us", "hk", "jp", "de")
_BOTH: tuple[Region, ...] = ("cn", "intl")


def _same(regions: tuple[Region, ...], rpm: int | None, tpm: int | None = None) -> dict[Region, RateLimits]:
    return dict.fromkeys(regions, RateLimits(rpm=rpm, tpm=tpm, source=_PAGE))


def _rows(rows: Mapping[Region, tuple[int, int]]) -> dict[Region, RateLimits]:
    """Return limits from thousands of requests and millions of tokens."""
    return {
        region: RateLimits(rpm=round(thousands * 1_000), tpm=millions * 1_000_000, source=_PAGE)
        for region, (thousands, millions) in rows.items()
    }


_OLDER_OMNI = _same(_BOTH, 60, 100_000)
RATE_LIMITS: dict[str, dict[Region, RateLimits]] = {
    "qwen3.8-omni-flash": {
        **_same(_ALL, 30_000, 2_000_000),
        "cn": RateLimits(rpm=30_000, tpm=2_000_000, source=_DYNAMIC),
        "intl": RateLimits(rpm=30_000, source=_UNPUBLISHED),
    },
    "qwen3.5-omni-plus": _OLDER_OMNI,
    "qwen3.5-omni-flash": _OLDER_OMNI,
    "qwen3-omni-flash": _OLDER_OMNI,
    "qwen-plus": {
        **_rows({"cn": (30, 5), "us": (15, 5)}),
        **_same(("hk", "de"), 600, 1_000_000),
    },
    "qwen-plus-latest": {
        "cn": RateLimits(rpm=15_000, tpm=1_200_000, source=_PAGE), **_same(("intl",), 600, 1_000_000),
    },
    "qwen-flash": {**_rows({"cn": (30, 10), "us": (15, 10), "de": (30, 10)}), **_same(("intl",), 600, 5_000_000)},
    "qwen3.6-plus": _rows(
        {"cn": (30, 5), "intl": (15, 5), "us": (30, 5), "hk": (30, 5), "jp": (15, 5), "de": (30, 5)}
    ),
    "qwen3.6-flash": _rows(
        {"cn": (30, 10), "intl": (15, 5), "us": (15, 5), "hk": (30, 10), "jp": (15, 10), "de": (15, 5)}
    ),
    "qwen3.7-plus": _rows({"cn": (30, 5), "intl": (15, 5), "us": (30, 5), "jp": (15, 5), "de": (30, 5)}),
    "qwen3.8-flash": {
        **_same(("us", "hk", "jp", "de"), 30_000, 5_000_000),
        **dict.fromkeys(_BOTH, RateLimits(tpm=5_000_000, source=_DYNAMIC_FLASH)),
    },
    "qwen3-asr-flash": _same(("cn", "intl", "us"), 100),
    "qwen3-asr-flash-filetrans": _same(_BOTH, 100),
    "fun-asr": _same(_BOTH, 600),
    "paraformer-v2": _same(("cn",), 1_200),
    "qwen-audio-3.0-asr-flash-filetrans": _same(_BOTH, 600),
    "qwen-audio-3.1-asr-flash-filetrans": _same(_BOTH, 600),
    "qwen-audio-3.1-asr-flash-message": _same(_BOTH, 1_200),
    "text-embedding-v4": {"cn": RateLimits(rpm=1_800, tpm=1_200_000, source=_CARDS)},
    "text-embedding-v3": {"cn": RateLimits(rpm=1_800, tpm=1_200_000, source=_CARDS)},
}  # fmt: skip

TRIAL_RPM = 1_000
"""Requests a minute on the trial hosts, whatever the model (Model Studio, base URLs, September 2026)."""
UPLOAD_LIMITS = RateLimits(rpm=100 * 60, source="Model Studio, Temporary file URL, 100 a second; read 2026-05-30")
"""Upload policies of one account and model. The page says that this limit cannot be raised."""
_UNKNOWN = RateLimits(source="not published")
# Dated names of these have the limits of the family; those of text models have lower ones, which are not listed here.
_WITH_SNAPSHOTS = ("omni", "asr", "paraformer")


def published_limits(model: str, region: Region | None, *, trial: bool = False) -> RateLimits:
    """Return the limits published for a model in a region (`None`: Beijing); its numbers are `None` if there are none.

    Example:
        >>> str(published_limits("qwen3.5-omni-flash-2026-03-15", "cn")), str(published_limits("qwen4", "cn"))
        ('60 RPM and 100,000 TPM', 'none published')
    """
    found = RATE_LIMITS.get(model, {}).get(region or "cn") or _of_family(model, region or "cn") or _UNKNOWN
    if not trial or (found.rpm is not None and found.rpm <= TRIAL_RPM):
        return found
    return RateLimits(rpm=TRIAL_RPM, tpm=found.tpm, source=f"trial hosts: {TRIAL_RPM:,} RPM; {found.source}")


def _of_family(model: str, region: Region) -> RateLimits | None:
    families = [
        name for name in RATE_LIMITS if model.startswith(name + "-") and any(m in name for m in _WITH_SNAPSHOTS)
    ]
    return RATE_LIMITS[max(families, key=len)].get(region) if families else None


def check_limits(given: object) -> None:
    """Check the caller's limits.

    Raises:
        ConfigurationError: they are neither a `RateLimits` nor several by model name.
    """
    each = given.values() if isinstance(given, Mapping) else (given,)
    wrong = [one for one in each if not isinstance(one, RateLimits)]
    if wrong:
        raise ConfigurationError(
            f"limits= must be RateLimits(rpm=..., tpm=...), or a dictionary of them by model name; got "
            f"{type(wrong[0]).__name__}."
        )
