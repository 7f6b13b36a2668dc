"""A transcript as passages for retrieval: sentences together up to a length, each with its seconds. Pure."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from qwen_omni.transcription.transcript import Sentence, Transcript

Mode = Literal["passages", "sentences", "single"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Passage:
    """A piece of what was said, and where it lies. `about` is plain JSON, the same for every framework."""

    text: str
    about: dict[str, Any]

    @property
    def key(self) -> str:
        """A name that stays the same as long as source, place and text do."""
        told = f"{self.about.get('source')}\n{self.about.get('start')}\n{self.text}"
        return hashlib.sha256(told.encode()).hexdigest()[:32]


def to_passages(said: Transcript, *, mode: Mode = "passages", seconds: float = 60.0) -> Iterator[Passage]:
    """Cut a transcript into passages; one without times, or in which nobody speaks, is one passage or none.

    Args:
        said: the transcript.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` joins all.
        seconds: the longest passage, unless a single sentence is longer.

    Example:
        >>> said = Transcript(text="Hello.", source="a.mp3", sentences=(Sentence(start=1, end=2, text="Hello."),))
        >>> [(one.text, one.about["start"], one.about["url"]) for one in to_passages(said)]
        [('Hello.', 1.0, 'a.mp3#t=1,2')]
    """
    if not said.text.strip():
        return
    longest = {"passages": seconds, "sentences": 0.0, "single": math.inf}[mode]
    groups = _groups(said.sentences, longest)
    if not groups:
        yield Passage(text=said.text, about=_about(said, 0, 1, None))
    for number, group in enumerate(groups):
        text = said.text if mode == "single" else " ".join(_told(one, group) for one in group)
        yield Passage(text=text, about=_about(said, number, len(groups), group))


def _groups(sentences: tuple[Sentence, ...], seconds: float) -> list[list[Sentence]]:
    groups: list[list[Sentence]] = []
    for one in sentences:
        if groups and one.end - groups[-1][0].start <= seconds:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _told(one: Sentence, group: list[Sentence]) -> str:
    several = len({each.speaker for each in group}) > 1
    return f"Speaker {one.speaker + 1}: {one.text}" if several and one.speaker is not None else one.text


def _about(said: Transcript, number: int, count: int, group: list[Sentence] | None) -> dict[str, Any]:
    told: dict[str, Any] = {
        "source": said.source, "duration": said.duration, "segment": number, "segments": count, "model": said.model,
        "language": said.language,
    }  # fmt: skip
    if group:
        start, end = group[0].start, max(one.end for one in group)
        speakers = sorted({one.speaker for one in group if one.speaker is not None})
        told |= {"start": start, "end": end, "url": f"{said.source}#t={start:g},{end:g}"}
        told |= {"speakers": speakers} if speakers else {}
    return {name: value for name, value in told.items() if value is not None}
