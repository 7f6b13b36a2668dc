"""The documented inputs and outputs of each model: the stand-in's own table.

Facts only, no decisions. It is deliberately separate from the product's profiles: the two must agree
because both follow the documentation, not because one reads the other.
Source: Model Studio documentation, 2026-09-18 (models, limits, voices, structured output); retirement notice 118434,
2026-09-30; pages of qwen3.7-plus, qwen3.8-flash and Vision, 2026-10-12.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from qwen_omni.standin.rules import tokens

if TYPE_CHECKING:
    from qwen_omni.standin.rules.tokens import TokenRule

ENCODED_LIMIT = 10_485_760  # characters of one data URI
SHORTEST_VIDEO = 2.0
SMALLEST_SIDE = 10
WIDEST_ASPECT = 200
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")

_MB = 1024 * 1024
_GB = 1024 * _MB
_MINUTE = 60.0
_HOUR = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class MediaLimits:
    """The limits on media in one request. Pairs are (by URL, as base64)."""

    videos: tuple[int, int]
    video_bytes: int
    video_seconds: float
    frames: tuple[int, int]
    audios: tuple[int, int]
    audio_bytes: int
    audio_seconds: float
    images: tuple[int, int]
    image_bytes: int
    mixed: bool
    tokens: TokenRule


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelLimits:
    """One model: its capabilities and limits."""

    name: str
    stream_only: bool = False
    max_input: int
    max_input_thinking: int = 0
    max_output: int
    thinking: Literal["none", "off", "on"] = "none"
    switches: frozenset[str] = frozenset()
    streams_thinking_only: bool = False
    voices: frozenset[str] = frozenset()
    closed_voices: bool = False
    speaks_in_transcript: bool = False
    tools: bool = True
    search: bool = False
    search_excludes_tools: bool = False
    json_object: bool = False
    json_schema: bool = False
    new_envelope: bool = False
    echo: str = ""
    asr: bool = False
    cache_prefix: int = 0
    media: MediaLimits | None = None
    retired: bool = False


_OMNI_3_8 = MediaLimits(
    videos=(64, 64), video_bytes=2 * _GB, video_seconds=2 * _HOUR, frames=(2, 2048),
    audios=(2048, 250), audio_bytes=2 * _GB, audio_seconds=3 * _HOUR,
    images=(2048, 250), image_bytes=20 * _MB, mixed=True, tokens=tokens.OMNI_3_8,
)  # fmt: skip
_OMNI_3_5 = MediaLimits(
    videos=(512, 250), video_bytes=2 * _GB, video_seconds=_HOUR, frames=(2, 2048),
    audios=(2048, 250), audio_bytes=2 * _GB, audio_seconds=3 * _HOUR,
    images=(2048, 250), image_bytes=20 * _MB, mixed=True, tokens=tokens.OMNI_3_5,
)  # fmt: skip
_OMNI_3 = MediaLimits(
    videos=(1, 1), video_bytes=256 * _MB, video_seconds=150.0, frames=(2, 128),
    audios=(1, 1), audio_bytes=100 * _MB, audio_seconds=20 * _MINUTE,
    images=(2048, 250), image_bytes=10 * _MB, mixed=False, tokens=tokens.OMNI_3,
)  # fmt: skip
_OMNI_TURBO = MediaLimits(
    videos=(1, 1), video_bytes=150 * _MB, video_seconds=40.0, frames=(4, 80),
    audios=(1, 1), audio_bytes=10 * _MB, audio_seconds=3 * _MINUTE,
    images=(2048, 250), image_bytes=10 * _MB, mixed=False, tokens=tokens.OMNI_TURBO,
)  # fmt: skip

_SEEING = MediaLimits(
    videos=(64, 64), video_bytes=2 * _GB, video_seconds=2 * _HOUR, frames=(4, 2000),
    audios=(0, 0), audio_bytes=0, audio_seconds=0.0,
    images=(2048, 250), image_bytes=20 * _MB, mixed=True, tokens=tokens.SEEING,
)  # fmt: skip
_ASR = MediaLimits(
    videos=(0, 0), video_bytes=0, video_seconds=0.0, frames=(2, 2),
    audios=(1, 1), audio_bytes=10 * _MB, audio_seconds=5 * _MINUTE,
    images=(0, 0), image_bytes=0, mixed=False, tokens=tokens.ASR,
)  # fmt: skip

_VOICES_3_5 = frozenset((
    "Tina", "Cindy", "Liora Mira", "Sunnybobi", "Raymond", "Ethan", "Theo Calm", "Serena", "Harvey", "Maia", "Evan",
    "Qiao", "Momo", "Wil", "Angel", "Mia", "Joyner", "Katerina", "Ryan", "Jennifer", "Aiden", "Mione", "Dylan",
    "Eric", "Peter", "Marcus", "Rocky", "Sohee", "Lenn", "Ono Anna",
))  # fmt: skip
_VOICES_3_SEPTEMBER = frozenset((
    "Cherry", "Ethan", "Nofish", "Jennifer", "Ryan", "Katerina", "Elias", "Jada", "Dylan", "Sunny", "Li", "Marcus",
    "Roy", "Peter", "Rocky", "Kiki", "Eric",
))  # fmt: skip
_VOICES_3 = _VOICES_3_SEPTEMBER | {"Serena", "Chelsie", "Momo"}
_VOICES_TURBO = frozenset({"Cherry", "Serena", "Ethan", "Chelsie"})
_BOTH = frozenset({"enable_thinking", "reasoning_effort"})
_ENABLE = frozenset({"enable_thinking"})


def _omni_3_5(name: str, *, json_object: bool, echo: str = "") -> ModelLimits:
    return ModelLimits(
        name=name, stream_only=True, max_input=196_608, max_output=65_536, voices=_VOICES_3_5, search=True,
        search_excludes_tools=True, json_object=json_object, media=_OMNI_3_5, echo=echo,
    )  # fmt: skip


def _omni_3(name: str, voices: frozenset[str], *, retired: bool = False) -> ModelLimits:
    return ModelLimits(
        name=name, stream_only=True, max_input=49_152, max_input_thinking=16_384, max_output=16_384,
        thinking="off", switches=_ENABLE, voices=voices, media=_OMNI_3, retired=retired,
    )  # fmt: skip


def _turbo(name: str) -> ModelLimits:
    return ModelLimits(
        name=name, stream_only=True, max_input=30_720, max_output=2_048, voices=_VOICES_TURBO, closed_voices=True,
        speaks_in_transcript=True, tools=False, media=_OMNI_TURBO, retired=True,
    )  # fmt: skip


def _text(name: str, max_input: int, max_output: int, thinking: Literal["off", "on"]) -> ModelLimits:
    newest = name.startswith("qwen3.8")
    sees = name in ("qwen3.7-plus", "qwen3.8-flash")
    return ModelLimits(
        name=name, max_input=max_input, max_output=max_output, thinking=thinking, media=_SEEING if sees else None,
        max_input_thinking=983_616 if sees else 0,
        switches=_BOTH if newest else _ENABLE, streams_thinking_only=name in ("qwen-plus", "qwen-flash"),
        search=True, json_object=True, json_schema=name.startswith(("qwen3.7", "qwen3.8")),
        new_envelope=name.startswith(("qwen3.7", "qwen3.8")),
    )  # fmt: skip


_MODELS = (
    ModelLimits(
        name="qwen3.8-omni-flash", max_input=991_808, max_input_thinking=983_616, max_output=131_072,
        thinking="on", switches=_BOTH, search=True, json_object=True, new_envelope=True, cache_prefix=1024,
        media=_OMNI_3_8,
    ),
    _omni_3_5("qwen3.5-omni-plus", json_object=True, echo="qwen3.5-omni-plus-2026-03-15"),
    _omni_3_5("qwen3.5-omni-plus-2026-03-15", json_object=True),
    _omni_3_5("qwen3.5-omni-flash", json_object=False),
    _omni_3_5("qwen3.5-omni-flash-2026-03-15", json_object=False),
    _omni_3("qwen3-omni-flash", _VOICES_3),
    _omni_3("qwen3-omni-flash-2025-12-01", _VOICES_3, retired=True),
    _omni_3("qwen3-omni-flash-2025-09-15", _VOICES_3_SEPTEMBER, retired=True),
    _turbo("qwen-omni-turbo"),
    _turbo("qwen-omni-turbo-latest"),
    _turbo("qwen-omni-turbo-2025-03-26"),
    _turbo("qwen-omni-turbo-2025-01-19"),
    _turbo("qwen2.5-omni-7b"),
    ModelLimits(
        name="qwen3-asr-flash", max_input=30_720, max_output=8_192, tools=False, asr=True, media=_ASR,
    ),
    _text("qwen-plus", 997_952, 32_768, "off"),
    _text("qwen-flash", 997_952, 32_768, "off"),
    _text("qwen3.6-plus", 991_808, 65_536, "on"),
    _text("qwen3.6-flash", 991_808, 65_536, "on"),
    _text("qwen3.7-plus", 991_808, 131_072, "on"),
    _text("qwen3.7-flash", 991_808, 65_536, "on"),
    _text("qwen3.7-max", 991_808, 65_536, "on"),
    _text("qwen3.8-flash", 991_808, 131_072, "on"),
    _text("qwen3.8-max", 991_808, 131_072, "on"),
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskModel:
    """A model that transcribes on native routes: the form of its input, its code for a failed download, its usage.

    With `at_once` it answers a single call, otherwise it runs as a task. With `by_token` it reports tokens instead
    of seconds.
    """

    name: str
    many: bool = True
    seconds: float = 12 * _HOUR
    download_code: str = "InvalidFile.DownloadFailed"
    usage_key: str = "duration"
    at_once: bool = False
    by_token: bool = False


# Speech recognition pages, read 2026-05-30; Qwen-Audio-3.x-ASR-Flash pages, read 2026-09-22.
TASK_MODELS = {
    model.name: model
    for model in (
        TaskModel(name="paraformer-v2"),
        TaskModel(name="fun-asr"),
        TaskModel(name="fun-asr-mtl"),
        TaskModel(
            name="qwen3-asr-flash-filetrans", many=False, download_code="FILE_DOWNLOAD_FAILED", usage_key="seconds"
        ),
        TaskModel(name="qwen-audio-3.0-asr-flash-filetrans"),
        TaskModel(name="qwen-audio-3.1-asr-flash-filetrans", by_token=True),
        TaskModel(name="qwen-audio-3.0-asr-flash", at_once=True, seconds=5 * _MINUTE),
        TaskModel(name="qwen-audio-3.1-asr-flash", at_once=True, seconds=5 * _MINUTE, by_token=True),
        TaskModel(name="qwen-audio-3.1-asr-flash-message", at_once=True, seconds=5 * _MINUTE, by_token=True),
        TaskModel(name="fun-asr-flash-2026-06-15", at_once=True, seconds=5 * _MINUTE),
    )
}
MODELS = {model.name: model for model in _MODELS}
_SNAPSHOT = re.compile(r"-(latest|\d{4}-\d{2}-\d{2})$")


def find_model(name: str) -> ModelLimits | None:
    """Return the limits of a model, or None; text models have dated snapshots, omni models are listed individually."""
    known = MODELS.get(name)
    if known is None:
        text = MODELS.get(_SNAPSHOT.sub("", name))
        known = text if text is not None and text.media is None else None
    return known
