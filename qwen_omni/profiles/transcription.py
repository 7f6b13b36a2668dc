"""Models that only transcribe: how each is called, its limits and its prices. Facts, each with its source."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles.profile import Region

_ASR = "Model Studio, speech recognition pages, read 2026-05-30"
_MAINLAND: frozenset[Region] = frozenset({"cn"})
_BOTH: frozenset[Region] = frozenset({"cn", "intl"})

AUDIO_TOKENS_PER_SECOND = 25
"""Tokens that a second of audio counts as, as qwen3-asr-flash reports it (the same pages); tasks report seconds."""
RESULT_SECONDS = 24 * 3600  # how long a finished task and its result stay readable (the same pages)
DEFAULT_TRANSCRIPTION_MODEL = "paraformer-v2"
"""The cheapest; available on the mainland only."""
DEFAULT_TRANSCRIPTION_MODEL_ABROAD = "fun-asr"


@dataclass(frozen=True, slots=True, kw_only=True)
class TranscriptionProfile:
    """What one transcription model can do.

    Attributes:
        name: the model's name.
        route: `task` takes a link and is polled until it is done; `chat` answers at once.
        many: a task takes a list of files and returns a list of results; else one of each.
        regions: where it is offered.
        max_bytes: of a file.
        max_seconds: of a file.
        times: whether it returns the times of sentences; `words` whether those of words too, always or on request.
        speakers: whether it can tell speakers apart.
        prices: CNY per second of audio, by region.
        source: where this was read, and when.
    """

    name: str
    route: Literal["task", "chat"]
    many: bool = True
    regions: frozenset[Region]
    max_bytes: int = 2 * 2**30
    max_seconds: float = 12 * 3600
    times: bool = True
    words: Literal["always", "asked", "never"] = "always"
    speakers: bool = True
    prices: Mapping[Region, float] = field(default_factory=dict)
    source: str


TRANSCRIBERS: dict[str, TranscriptionProfile] = {
    profile.name: profile
    for profile in (
        TranscriptionProfile(
            name="paraformer-v2", route="task", regions=_MAINLAND, prices={"cn": 0.00008}, source=_ASR,
        ),
        TranscriptionProfile(
            name="fun-asr", route="task", regions=_BOTH, prices={"cn": 0.00022, "intl": 0.00026}, source=_ASR,
        ),
        TranscriptionProfile(
            name="qwen3-asr-flash-filetrans", route="task", many=False, regions=_BOTH, words="asked", speakers=False,
            prices={"cn": 0.00022, "intl": 0.00026}, source=_ASR + "; 2026-11",
        ),
        TranscriptionProfile(
            name="qwen3-asr-flash", route="chat", many=False, regions=_BOTH, max_bytes=10 * 2**20, max_seconds=300,
            times=False, words="never", speakers=False,
            prices={"cn": 0.00022, "intl": 0.00026}, source=_ASR + "; clients, 2026-09",
        ),
    )
}  # fmt: skip
_DATED = re.compile(r"-\d{4}-\d{2}-\d{2}$")
_ALIKE = (("filetrans", "qwen3-asr-flash-filetrans"), ("asr-flash", "qwen3-asr-flash"), ("fun-asr", "fun-asr"))


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
    family = next((name for mark, name in (*_ALIKE, ("paraformer", "paraformer-v2")) if mark in model), None)
    if family is None:
        raise ConfigurationError(
            f"{model!r} is not a known transcription model; choose one of {', '.join(TRANSCRIBERS)}. To ask a "
            "Qwen-Omni model about audio, which it answers in its own words, use `ask`."
        )
    warnings.warn(f"{model!r} has no profile here; it is treated like {family!r}.", UserWarning, stacklevel=2)
    return replace(TRANSCRIBERS[family], name=model, prices={})
