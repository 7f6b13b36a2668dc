"""Models that only transcribe: how each is called, its limits and its prices. Facts, each with its source."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal, get_args

from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles.profile import Prices, Region, warn_of_name

_ASR = "Model Studio, speech recognition pages, read 2026-05-30; Model pricing, read 2026-10-10"
_NEW = "Model Studio, Qwen-Audio-3.x-ASR-Flash pages, read 2026-09-22; Model pricing, read 2026-10-10"
_MAINLAND: frozenset[Region] = frozenset({"cn"})
_BOTH: frozenset[Region] = frozenset({"cn", "intl"})

AUDIO_TOKENS_PER_SECOND = 25
"""Tokens that a second of audio counts as, as qwen3-asr-flash reports it (the same pages); tasks report seconds."""
SPOKEN_TOKENS_PER_SECOND = 10
"""Tokens of transcript assumed for a second of audio: fast speech has four words. Only for models priced by token."""
RESULT_SECONDS = 24 * 3600  # how long a finished task and its result stay readable (the same pages)
DEFAULT_TRANSCRIPTION_MODEL = "paraformer-v2"
"""The cheapest; available on the mainland only."""
DEFAULT_TRANSCRIPTION_MODEL_ABROAD = "fun-asr"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionProfile:
    """What one transcription model can do.

    Attributes:
        name: the model's name.
        route: `task` takes a link and is polled until it is done; `chat` and `native` answer at once, on the
            OpenAI-compatible and on DashScope's own route.
        many: a task takes a list of files and returns a list of results; else one of each.
        regions: where it is offered.
        max_bytes: of a file.
        max_seconds: of a file.
        times: whether it returns the times of sentences; `words` whether those of words too, always or on request.
        speakers: whether it can tell speakers apart.
        vocabulary: whether it takes the ID of a list of hot words; `tidy` whether it can leave out filler words;
            `context` whether it takes a text about what may be said.
        prompted: whether it is a model that answers questions too, and is asked for a transcript in words.
        prices: CNY per second of audio, by region.
        token_prices: prices by region of a model that is billed by token instead.
        source: where this was read, and when.
    """

    name: str
    route: Literal["task", "chat", "native"]
    many: bool = True
    regions: frozenset[Region] = _BOTH
    max_bytes: int = 2 * 2**30
    max_seconds: float = 12 * 3600
    times: bool = True
    words: Literal["always", "asked", "never"] = "always"
    speakers: bool = True
    vocabulary: bool = True
    tidy: bool = False
    context: bool = False
    prompted: bool = False
    prices: Mapping[Region, float] = field(default_factory=dict)
    token_prices: Mapping[Region, Prices] = field(default_factory=dict)
    source: str


def _by_token(text_in: float, text_out: float) -> Prices:
    return Prices(currency="CNY", text_in=text_in, text_out=text_out, source=_NEW)


_SECONDS: Mapping[Region, float] = {"cn": 0.00022, "intl": 0.00026}
_TOKENS: Mapping[Region, Prices] = {"cn": _by_token(0.8, 2.7), "intl": _by_token(1.094, 3.427)}
_FUN_ASR = TranscriptionProfile(name="fun-asr", route="task", tidy=True, prices=_SECONDS, source=_ASR)
_QWEN3 = TranscriptionProfile(
    name="qwen3-asr-flash-filetrans", route="task", many=False, words="asked", speakers=False, vocabulary=False,
    context=True, prices=_SECONDS, source=_ASR,
)  # fmt: skip
# The page promises no times for these; they are read where an answer has them.
_NATIVE = TranscriptionProfile(
    name="qwen-audio-3.1-asr-flash", route="native", max_bytes=10 * 2**20, max_seconds=300, times=False, words="never",
    speakers=False, context=True, token_prices=_TOKENS, source=_NEW,
)  # fmt: skip
TRANSCRIBERS: dict[str, TranscriptionProfile] = {
    profile.name: profile
    for profile in (
        replace(_FUN_ASR, name="paraformer-v2", regions=_MAINLAND, prices={"cn": 0.00008}),
        _FUN_ASR,
        replace(_FUN_ASR, name="fun-asr-mtl"),
        TranscriptionProfile(
            name="qwen-audio-3.1-asr-flash-filetrans", route="task", token_prices=_TOKENS, source=_NEW,
        ),
        TranscriptionProfile(
            name="qwen-audio-3.0-asr-flash-filetrans", route="task", speakers=False, prices=_SECONDS, source=_NEW,
        ),
        _QWEN3,
        replace(
            _QWEN3, name="qwen3-asr-flash", route="chat", max_bytes=10 * 2**20, max_seconds=300, times=False,
            words="never", source=_ASR + "; clients, 2026-09-30",
        ),
        _NATIVE,
        replace(_NATIVE, name="qwen-audio-3.0-asr-flash", prices=_SECONDS, token_prices={}),
        replace(
            _NATIVE, name="qwen-audio-3.1-asr-flash-message",
            token_prices={"cn": _by_token(6, 4.5), "intl": _by_token(6.781, 5.104)},
        ),
        replace(_NATIVE, name="fun-asr-flash-2026-06-15", prices=_SECONDS, token_prices={}),  # there is no other name
        TranscriptionProfile(
            name="qwen3.8-omni-flash", route="chat", many=False, max_seconds=3 * 3600, words="never", prompted=True,
            vocabulary=False, context=True,
            regions=frozenset(get_args(Region)), source="Qwen-Omni guide, prompts for speakers, read 2026-10-10",
        ),
    )
}  # fmt: skip
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
# Beginnings of the names of a family, and the member whose route and limits an unknown name gets.
_FAMILIES = (
    (re.compile(r"qwen3?-asr-.*filetrans"), "qwen3-asr-flash-filetrans"),
    (re.compile(r"qwen3?-asr-"), "qwen3-asr-flash"),
    (re.compile(r"qwen.*asr.*filetrans"), "qwen-audio-3.1-asr-flash-filetrans"),
    (re.compile(r"qwen.*asr"), "qwen-audio-3.1-asr-flash"),
    (re.compile(r"fun-asr-flash"), "fun-asr-flash-2026-06-15"),
    (re.compile(r"fun-asr"), "fun-asr"),
    (re.compile(r"paraformer"), "paraformer-v2"),
)
_LIVE = re.compile(r"realtime|streaming|^gummy-")


def transcriber(model: str) -> TranscriptionProfile:
    """Find the profile of a transcription model; a new name of a known family gets the family's, and a warning.

    Raises:
        ConfigurationError: nothing similar is known.

    Example:
        >>> transcriber("paraformer-v2").max_seconds
        43200
    """
    known = TRANSCRIBERS.get(model) or TRANSCRIBERS.get(_DATED.sub("", model))
    if known is not None:
        return replace(known, name=model)
    if _LIVE.search(model):
        raise ConfigurationError(
            f"{model!r} transcribes live audio over a WebSocket, not recordings; choose one of "
            f"{', '.join(TRANSCRIBERS)}."
        )
    family = next((name for pattern, name in _FAMILIES if pattern.match(model)), None)
    if family is None:
        raise ConfigurationError(
            f"{model!r} is not a known transcription model; choose one of {', '.join(TRANSCRIBERS)}. To ask a "
            "Qwen-Omni model about audio, which it answers in its own words, use `ask`."
        )
    warn_of_name(f"{model!r} is not a known model: it is called like {family!r}, and its price is unknown.")
    return replace(TRANSCRIBERS[family], name=model, prices={}, token_prices={})
