"""What the family's open models can do on a self-hosted server.

Sources: `preprocessor_config.json` and `config.json` of Qwen/Qwen2.5-Omni-7B and Qwen/Qwen3-Omni-30B-A3B-Instruct, and
the processors of transformers 5.24, read 2026-11; token counts compared with the `prompt_tokens` of vLLM 0.32 and
transformers serve 5.24.
"""

from dataclasses import replace

from qwen_omni.profiles.profile import MediaLimits, Profile, TokenRules

# No limits, as finite numbers: a terabyte, and a month.
_MANY, _ENDLESS = 10**12, 30 * 24 * 3600.0
_LIMITS = MediaLimits(
    inline_bytes=_MANY, images=_MANY, images_inline=_MANY, image_bytes=_MANY, audios=_MANY, audios_inline=_MANY,
    audio_bytes=_MANY, audio_seconds=_ENDLESS, videos=_MANY, videos_inline=_MANY, video_bytes=_MANY,
    video_seconds=_ENDLESS, min_video_seconds=0, frames=(1, _MANY), min_side=1, most_image_pixels=_MANY,
    most_frame_pixels=_MANY, sampled_fps=(0, _ENDLESS),
)  # fmt: skip
_TOKENS_25 = TokenRules(
    factor=28,
    image_tokens=(4, 16_384),
    image_tokens_high=None,
    frames=(4, 768),
    whole_pairs=True,
    frame_tokens=(128, 768),
    video_tokens=_MANY,
    audio_in=25,
    audio_out=None,
    audio_seconds=0,
    audio_markers=2,
    vocabulary="qwen2",
)
_OPEN_25 = Profile(
    name="Qwen2.5-Omni",
    context=_MANY,
    max_input=_MANY,
    max_output=_MANY,
    speaks=True,
    tools=True,
    json_object=True,
    json_schema=True,
    limits=_LIMITS,
    tokens=_TOKENS_25,
    source="Qwen/Qwen2.5-Omni-7B, read 2026-11; the server, not the model, adds tools and JSON",
)
_OPEN_3 = replace(
    _OPEN_25,
    name="Qwen3-Omni",
    tokens=replace(_TOKENS_25, factor=32, image_tokens=(4, 12_544), audio_in=13),
    source="Qwen/Qwen3-Omni-30B-A3B-Instruct, read 2026-11; the server, not the model, adds tools and JSON",
)


def open_profile(
    model: str,
    *,
    like: Profile | None = None,
    sampling_fields: bool = False,
    context: int | None = None,
    formats: bool = True,
) -> Profile:
    """Return what a model can do on a self-hosted server: no hosted limit applies, and no modality is refused.

    Args:
        model: the name that the server gives it.
        like: a model of the service whose limits and prices apply all the same.
        sampling_fields: requests may set the frame rate and pixels.
        formats: the server has JSON mode and schemas.
        context: tokens that input and answer may have together; only the server knows.

    Example:
        >>> open_profile("my-asr-model", context=32_768).max_input
        32768
    """
    name = model.lower()
    base = like or (_OPEN_25 if "2.5" in name or "2_5" in name else _OPEN_3)
    room = base.max_input if context is None else context
    return replace(
        base, name=model, snapshots=(), context=room, max_input=room, max_output=min(base.max_output, room),
        max_input_thinking=None, thinking="none", thinks_by_default=False, speaks=True, tools=True, json_object=formats,
        json_schema=formats, explicit_cache=False, sampling_fields=sampling_fields,
    )  # fmt: skip
