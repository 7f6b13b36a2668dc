"""What each model can do. Data only. Every profile names its source and the day it was read.

Where sources disagree, the newest page wins: the Qwen-Omni guide (September 2026) over model pages (mid-2026)
over older copies. The profile's `source` names the least certain facts.
"""

from dataclasses import replace

from qwen_omni.profiles import voices
from qwen_omni.profiles.profile import MediaLimits, Profile, Retirement, TokenRules

_MIB = 2**20
_GUIDE = "Model Studio, Qwen-Omni guide, read 2026-09-18"

_TOKENS_3 = TokenRules(
    image_tokens=(4, 1280),
    image_tokens_high=None,
    frames=(2, 128),
    frame_tokens=(64, 768),
    video_tokens=16_384,
    audio_in=12.5,
    vocabulary="qwen2",
)
_TOKENS_TURBO = replace(_TOKENS_3, factor=28, frames=(4, 80), audio_in=25, audio_out=25)
_LIMITS_3 = MediaLimits(
    mixed=False,
    image_bytes=10 * _MIB,
    audios=1,
    audios_inline=1,
    audio_bytes=100 * _MIB,
    audio_seconds=20 * 60,
    videos=1,
    videos_inline=1,
    video_bytes=256 * _MIB,
    video_seconds=150,
    frames=(2, 128),
)
_LIMITS_TURBO = replace(
    _LIMITS_3,
    audio_bytes=10 * _MIB,
    audio_seconds=3 * 60,
    video_bytes=150 * _MIB,
    video_seconds=40,
    frames=(4, 80),
)

_FLASH_35 = Profile(
    name="qwen3.5-omni-flash",
    snapshots=("qwen3.5-omni-flash-2026-03-15",),
    context=262_144,
    max_input=196_608,
    max_output=65_536,
    speaks=True,
    tools=True,
    tools_with_search=False,
    web_search=True,
    sampling_fields=True,
    voices=voices.QWEN35,
    default_voice="Tina",
    source=_GUIDE + "; older model pages deny tools",
)
_TURBO = Profile(
    name="qwen-omni-turbo",
    snapshots=("qwen-omni-turbo-latest", "qwen-omni-turbo-2025-03-26", "qwen-omni-turbo-2025-01-19"),
    context=32_768,
    max_input=30_720,
    max_output=2_048,
    speaks=True,
    voices=voices.TURBO,
    default_voice="Ethan",
    limits=_LIMITS_TURBO,
    tokens=_TOKENS_TURBO,
    source="qwen-omni-turbo page of 2025-08-14; " + _GUIDE,
)
OMNI = (
    Profile(
        name="qwen3.8-omni-flash",
        context=1_000_000,
        max_input=991_808,
        max_input_thinking=983_616,
        max_output=131_072,
        thinking="effort",
        thinks_by_default=True,
        tools=True,
        web_search=True,
        json_object=True,
        cache_prefix=1_024,  # context cache page, September 2026
        multichannel=True,
        sampling_fields=True,
        limits=MediaLimits(
            videos=64,
            videos_inline=64,
            video_seconds=2 * 3600,
            sampled_fps=(0.1, 15),  # the guide and QwenLM's own clients, read 2026-09-30; the API reference says 10
        ),
        tokens=TokenRules(audio_out=None),
        source=_GUIDE + "; model page, read 2026-09-30. That it runs without streaming is known from clients only",
    ),
    replace(
        _FLASH_35,
        name="qwen3.5-omni-plus",
        snapshots=("qwen3.5-omni-plus-2026-03-15",),
        json_object=True,
        source=_GUIDE + "; older model pages deny tools or JSON mode",
    ),
    _FLASH_35,
    Profile(
        name="qwen3-omni-flash",
        snapshots=("qwen3-omni-flash-2025-12-01", "qwen3-omni-flash-2025-09-15"),
        context=65_536,
        max_input=49_152,
        max_input_thinking=16_384,
        max_output=16_384,
        speaks=True,
        thinking="switch",
        tools=True,
        voices=voices.QWEN3,
        default_voice="Ethan",
        limits=_LIMITS_3,
        tokens=_TOKENS_3,
        source=_GUIDE,
    ),
)
RETIRED = (  # the service no longer answers to these; other hosts may serve the weights that are open
    _TURBO,
    replace(
        _TURBO,
        name="qwen2.5-omni-7b",
        snapshots=(),
        voices=voices.OPEN_WEIGHTS,
        source="Model Studio, Model pricing, read 2026-05-30; limits taken from qwen-omni-turbo",
    ),
)
RETIREMENT = Retirement(
    on="2026-10-10",
    replacement="qwen3.5-omni-plus",
    source="Model Studio, model retirement, notice 118434, read 2026-09-30",
)
RETIRED_NAMES = (
    "qwen-omni-turbo*",
    "qwen2.5-omni-7b",
    "qwen3-omni-flash-2025-09-15",
    "qwen3-omni-flash-2025-12-01",
    "qwen3-omni-flash-realtime*",
    "qwen3-omni-30b-a3b-captioner",
)
"""The names of that notice, as patterns. `qwen3-omni-flash` itself is not among them."""

_CARDS = "Model Studio, model cards of 2026-05-27"
_CACHE_PAGE = "Context Cache, read 2026-10-11"
_SEEING = "Vision, read 2026-10-12; lengths and token counts of images and video are those of Qwen3-VL"
_PLUS_36 = Profile(
    name="qwen3.6-plus",
    context=1_000_000,
    max_input=991_808,
    max_output=65_536,
    inputs=frozenset({"text"}),
    thinking="switch",
    thinks_by_default=True,
    tools=True,
    json_object=True,
    explicit_cache=True,
    source=f"{_CARDS}; {_CACHE_PAGE}",
)
# Explicit caching lasts five minutes; a lifetime of an hour belongs to Qwen4 (Explicit Cache (Qwen4), read 2026-11-16).
# The page names implicit caching alone for qwen3.8-omni-flash.
_PLUS = replace(
    _PLUS_36,
    name="qwen-plus",
    snapshots=("qwen-plus-latest",),
    max_input=997_952,
    max_output=32_768,
    thinks_by_default=False,
    web_search=True,
)
_TOKENS_VL = TokenRules(
    image_tokens=(4, 2560), frames=(4, 2000), frame_tokens=(4, 640), video_tokens=131_072, audio_in=0, audio_out=None
)
_SEES = replace(
    _PLUS_36,
    max_input_thinking=983_616,
    max_output=131_072,
    inputs=frozenset({"text", "image", "video"}),
    web_search=True,
    json_schema=True,
    sampling_fields=True,
    limits=MediaLimits(audios=0, audios_inline=0, video_seconds=2 * 3600, frames=(4, 2000)),
    tokens=_TOKENS_VL,
)
SUMMARISERS = (
    _PLUS,
    _PLUS_36,
    replace(_PLUS_36, name="qwen3.6-flash"),
    replace(
        _SEES,
        name="qwen3.7-plus",
        source=f"Model Studio, qwen3.7-plus page, read 2026-10-10; {_CACHE_PAGE}; {_SEEING}",
    ),
    replace(
        _SEES,
        name="qwen3.8-flash",
        thinking="effort",
        source=f"Model Studio, qwen3.8-flash page, read 2026-10-10; {_CACHE_PAGE}; {_SEEING}",
    ),
    replace(
        _PLUS,
        name="qwen-flash",
        snapshots=(),
        web_search=False,
        source=f"{_CACHE_PAGE}; sizes taken from qwen-plus, {_CARDS}",
    ),
)

TRANSCRIBERS = (
    Profile(
        name="qwen3-asr-flash",
        context=32_768,
        max_input=30_720,
        max_output=8_192,
        inputs=frozenset({"audio"}),
        limits=MediaLimits(audios=1, audios_inline=1, audio_bytes=10 * 2**20, audio_seconds=300),
        tokens=TokenRules(audio_in=25, audio_out=None),
        source="Model Studio, speech recognition pages, read 2026-05-30; sizes of the context are a guess",
    ),
)

PROFILES: dict[str, Profile] = {profile.name: profile for profile in (*OMNI, *RETIRED, *SUMMARISERS, *TRANSCRIBERS)}
