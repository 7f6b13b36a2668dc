"""Prices per million tokens, by model and region. Data only; prices change, so every row says where it was read.

Each region has its own rows. A region without a row has no known price: another region's may be 40 % off. Where a
region has several deployment scopes at different prices and the workspace decides which applies (Tokyo, Frankfurt), the
row is left out. In Virginia a name without `-us` means the global scope.
"""

from collections.abc import Mapping

from qwen_omni.profiles.profile import ExchangeRate, Prices, Region

PriceRows = Mapping[Region, tuple[Prices, ...]]

_LIST = "Model Studio, Model pricing, read 2026-10-10"
_CACHE = _LIST + "; cached input at 20 % (Context Cache, read 2026-10-11)"
_PAGE = "Model Studio, model page of qwen3.8-flash, read 2026-10-10"
_OLD_LIST = "Model Studio, Model pricing, read 2026-05-30"
_HALF = 0.5  # Batch File and, as a promotion, Batch Chat; Model Studio, Batch pages, read 2026-10-12
_IMPLICIT = 0.2  # of the input price, wherever no other is listed
_WRITTEN = 1.25  # of the input price, for what an explicit cache mark stores
_K = 1_000

_Tier = tuple[int | None, float, float] | tuple[int | None, float, float, float]


def _tiers(*tiers: _Tier, batch: float | None = None, implicit: bool = False) -> tuple[Prices, ...]:
    """Return rows in CNY from (thousands of input tokens, in, out, out with thinking)."""
    return tuple(
        Prices(
            currency="CNY", text_in=tier[1], text_out=tier[2], thinking_out=tier[3] if len(tier) > 3 else None,  # noqa: PLR2004
            cached_in=round(tier[1] * _IMPLICIT, 6) if implicit else None, written_in=round(tier[1] * _WRITTEN, 6),
            up_to=None if tier[0] is None else tier[0] * _K, batch=batch, source=_CACHE if implicit else _LIST,
        )
        for tier in tiers
    )  # fmt: skip


def _by_kind(
    inputs: tuple[float, float, float], outputs: tuple[float, float, float], *, source: str = _LIST
) -> tuple[Prices, ...]:
    """Return a row in CNY: text, audio and images or video in; text after text, text after media and audio out."""
    text_in, audio_in, seen_in = inputs
    text_out, text_out_media, audio_out = outputs
    return (
        Prices(
            currency="CNY", text_in=text_in, audio_in=audio_in, image_in=seen_in, video_in=seen_in, text_out=text_out,
            text_out_media=text_out_media, audio_out=audio_out, source=source,
        ),
    )  # fmt: skip


def _omni_35(text_in: float, audio_in: float, text_out: float, audio_out: float, batch: float | None = None) -> Prices:
    return Prices(
        currency="CNY", text_in=text_in, audio_in=audio_in, text_out=text_out, audio_out=audio_out, batch=batch,
        source=_LIST,
    )  # fmt: skip


def _flash_38(
    text_in: float, cached_in: float, text_out: float, *, written_in: float | None = None, batch: float | None = None,
    source: str = _LIST,
) -> tuple[Prices, ...]:  # fmt: skip
    return (
        Prices(
            currency="CNY", text_in=text_in, cached_in=cached_in, written_in=written_in, text_out=text_out, batch=batch,
            source=source,
        ),
    )  # fmt: skip


def _seconds(price: float) -> tuple[Prices, ...]:
    """Return the row of a model that is billed by the second, and reports a second as 25 tokens of audio."""
    return (Prices(currency="CNY", text_in=0, audio_in=price / 25 * 1e6, text_out=0, source=_LIST),)


_OMNI_38 = _flash_38(0.8, 0.1, 2.7)
_FLASH_38 = _flash_38(0.8, 0.1, 2.7, written_in=1.25, source=_PAGE)
_PLUS = ((128, 0.8, 2, 8), (256, 2.4, 20, 24), (None, 4.8, 48, 64))
_PLUS_36, _FLASH_36 = ((256, 2, 12), (None, 8, 48)), ((256, 1.2, 7.2), (None, 4.8, 28.8))
_PLUS_37, _FLASH = ((256, 2, 8), (None, 6, 24)), ((128, 0.15, 1.5), (256, 0.6, 6), (None, 1.2, 12))

PRICES: dict[str, PriceRows] = {
    "qwen3.8-omni-flash": {
        "cn": _OMNI_38, "intl": _flash_38(1.094, 0.117, 3.427),
        "us": _OMNI_38, "hk": _OMNI_38, "jp": _OMNI_38, "de": _OMNI_38,
    },
    "qwen3.5-omni-plus": {"cn": (_omni_35(7, 53, 40, 213, _HALF),), "intl": (_omni_35(10.49, 82.44, 62.2, 329.74),)},
    "qwen3.5-omni-flash": {"cn": (_omni_35(2.2, 18, 13.3, 72, _HALF),), "intl": (_omni_35(3, 22.48, 16.49, 89.18),)},
    "qwen3-omni-flash": {
        "cn": _by_kind((1.8, 15.8, 3.3), (6.9, 12.7, 62.6)),
        "intl": _by_kind((3.156, 27.962, 5.725), (12.183, 22.458, 110.896)),
    },
    "qwen-omni-turbo": {
        "cn": _by_kind((0.4, 25, 1.5), (1.6, 4.5, 50)),
        "intl": _by_kind((0.514, 32.586, 1.541), (1.982, 4.624, 65.246)),
    },
    "qwen2.5-omni-7b": {
        "cn": _by_kind((0.6, 38, 2), (2.4, 6, 76), source=_OLD_LIST),
        "intl": _by_kind((0.734, 49.613, 2.055), (2.936, 6.165, 99.153), source=_OLD_LIST),
    },
    "qwen-plus": {
        "cn": _tiers(*_PLUS, batch=_HALF, implicit=True),
        "intl": _tiers((256, 2.936, 8.807, 29.357), (None, 8.807, 26.421, 88.071), batch=_HALF, implicit=True),
        "us": _tiers(*_PLUS, implicit=True),
    },
    "qwen3.6-plus": {
        "cn": _tiers(*_PLUS_36, batch=_HALF),
        "intl": _tiers((256, 3.7471, 22.4826), (None, 14.9884, 44.965)),
        "us": _tiers(*_PLUS_36), "jp": _tiers(*_PLUS_36), "de": _tiers(*_PLUS_36),
    },
    "qwen3.6-flash": {
        "cn": _tiers(*_FLASH_36, batch=_HALF),
        "intl": _tiers((256, 1.87355, 11.2413), (None, 7.4942, 29.9758)),
        "us": _tiers(*_FLASH_36), "jp": _tiers(*_FLASH_36), "de": _tiers(*_FLASH_36),
    },
    "qwen3.7-plus": {  # list prices; the undated name was 20 % off when they were read
        "cn": _tiers(*_PLUS_37, batch=_HALF, implicit=True),
        "intl": _tiers((256, 2.998, 11.991), (None, 8.993, 35.972), batch=_HALF, implicit=True),
        "us": _tiers(*_PLUS_37, implicit=True), "de": _tiers(*_PLUS_37, implicit=True),
    },
    "qwen3.8-flash": {
        "cn": _flash_38(0.8, 0.1, 2.7, written_in=1.25, batch=_HALF, source=_PAGE),
        "intl": _flash_38(1.094, 0.117, 3.427, written_in=1.458, source=_PAGE),
        "us": _FLASH_38, "jp": _FLASH_38, "de": _FLASH_38,
    },
    "qwen-flash": {
        "cn": _tiers(*_FLASH, batch=_HALF, implicit=True),
        "intl": _tiers((256, 0.367, 2.936), (None, 1.835, 14.678), batch=_HALF, implicit=True),
        "us": _tiers(*_FLASH, implicit=True), "de": _tiers(*_FLASH, implicit=True),
    },
    # The list gives Virginia's price as 0.000035 yuan, a sixth of Beijing's and exactly Singapore's in dollars.
    "qwen3-asr-flash": {"cn": _seconds(0.00022), "intl": _seconds(0.00026)},
}  # fmt: skip

USUAL_RATE = ExchangeRate(
    cny_per_usd=7.29,
    source="the rate implied by the newest rows of Model Studio's price list of 2026-10-10 (older rows: 7.494)",
)
