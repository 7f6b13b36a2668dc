"""Prices per million tokens, by model and region. Data only; prices change, so every row says where it was read.

`cn` is the mainland's price list in CNY; `intl` is Singapore's.
"""

from qwen_omni.profiles.profile import ExchangeRate, Prices

_LIST = "Model Studio, Model pricing, read 2026-05-30"
_M35 = "Model Studio, qwen3.5-omni model pages, read 2026-05-30"
_GATEWAY = "gateways' price lists, September 2026; not seen on the official page"
_ONE_PROJECT = "one public project's configuration, September 2026; not seen on the official page"
_CARDS = "Model Studio, model cards of 2026-05-27"
_ASR = "Model Studio, speech recognition pages, CNY 0.00022 / 0.00026 a second; November 2026"
_K = 1_000


def _by_kind(
    inputs: tuple[float, float, float], outputs: tuple[float, float, float], batch: float | None = None
) -> tuple[Prices, ...]:
    """Return a row in CNY: text, audio and images or video in; text after text, text after media and audio out."""
    text_in, audio_in, seen_in = inputs
    text_out, text_out_media, audio_out = outputs
    return (
        Prices(
            currency="CNY", text_in=text_in, audio_in=audio_in, image_in=seen_in, video_in=seen_in, text_out=text_out,
            text_out_media=text_out_media, audio_out=audio_out, batch=batch, source=_LIST,
        ),
    )  # fmt: skip


PRICES: dict[str, dict[str, tuple[Prices, ...]]] = {
    "qwen3.8-omni-flash": {
        "cn": (Prices(currency="CNY", text_in=0.8, text_out=2.7, source=_ONE_PROJECT),),
        "intl": (Prices(currency="USD", text_in=0.15, text_out=0.47, cached_in=0.016, source=_GATEWAY),),
    },
    "qwen3.5-omni-plus": {
        "cn": (Prices(currency="CNY", text_in=7, audio_in=53, text_out=40, audio_out=213, batch=0.5, source=_M35),),
        "intl": (
            Prices(currency="CNY", text_in=10.49, audio_in=82.44, text_out=62.2, audio_out=329.74, source=_LIST),
        ),
    },
    "qwen3.5-omni-flash": {
        "cn": (Prices(currency="CNY", text_in=2.2, audio_in=18, text_out=13.3, audio_out=72, batch=0.5, source=_M35),),
        "intl": (Prices(currency="CNY", text_in=3, audio_in=22.48, text_out=16.49, audio_out=89.18, source=_LIST),),
    },
    "qwen3-omni-flash": {
        "cn": _by_kind((1.8, 15.8, 3.3), (6.9, 12.7, 62.6)),
        "intl": _by_kind((3.156, 27.962, 5.725), (12.183, 22.458, 110.896)),
    },
    "qwen-omni-turbo": {
        "cn": _by_kind((0.4, 25, 1.5), (1.6, 4.5, 50), batch=0.5),
        "intl": _by_kind((0.514, 32.586, 1.541), (1.982, 4.624, 65.246)),
    },
    "qwen2.5-omni-7b": {
        "cn": _by_kind((0.6, 38, 2), (2.4, 6, 76)),
        "intl": _by_kind((0.734, 49.613, 2.055), (2.936, 6.165, 99.153)),
    },
    "qwen-plus": {
        "cn": (
            Prices(currency="CNY", text_in=0.8, text_out=2, thinking_out=8, up_to=128 * _K, source=_CARDS),
            Prices(currency="CNY", text_in=2.4, text_out=20, thinking_out=24, up_to=256 * _K, source=_CARDS),
            Prices(currency="CNY", text_in=4.8, text_out=48, thinking_out=64, source=_CARDS),
        ),
        "intl": (Prices(currency="USD", text_in=0.4, text_out=1.2, thinking_out=4, source=_CARDS),),
    },
    "qwen3.6-plus": {
        "cn": (
            Prices(currency="CNY", text_in=2, text_out=12, up_to=256 * _K, source=_CARDS),
            Prices(currency="CNY", text_in=8, text_out=48, source=_CARDS),
        ),
    },
    "qwen3.6-flash": {
        "cn": (
            Prices(currency="CNY", text_in=1.2, text_out=7.2, up_to=256 * _K, source=_CARDS),
            Prices(currency="CNY", text_in=4.8, text_out=28.8, source=_CARDS),
        ),
        "intl": (Prices(currency="USD", text_in=0.19, text_out=1.13, source="about; " + _CARDS),),
    },
    "qwen3.7-plus": {
        "intl": (
            Prices(currency="USD", text_in=0.5, text_out=3, up_to=256 * _K, source=_GATEWAY),
            Prices(currency="USD", text_in=2, text_out=6, source=_GATEWAY),
        ),
    },
    "qwen3.8-flash": {
        "intl": (Prices(currency="USD", text_in=0.15, text_out=0.47, cached_in=0.016, source=_GATEWAY),),
    },
    "qwen3-asr-flash": {  # billed by the second, which it reports as 25 tokens of audio
        "cn": (Prices(currency="CNY", text_in=0, audio_in=0.00022 / 25 * 1e6, text_out=0, source=_ASR),),
        "intl": (Prices(currency="CNY", text_in=0, audio_in=0.00026 / 25 * 1e6, text_out=0, source=_ASR),),
    },
    "qwen-flash": {"intl": (Prices(currency="USD", text_in=0.05, text_out=0.4, source=_GATEWAY),)},
}  # fmt: skip

# The list gives Singapore's prices in yuan, other pages the same in dollars (10.49 and 1.4, 22.48 and 3).
USUAL_RATE = ExchangeRate(cny_per_usd=7.494, source="what Model Studio's price list of 2026-05-30 converts at")
