"""A transcript as passages for retrieval: sentences together up to a length, each with its seconds. Pure.

The passages are those of videos (`qwen_omni.video.passages`), with the same names of facts.
"""

import math
from collections.abc import Iterator
from typing import Literal

from qwen_omni.ranges import Range, checked
from qwen_omni.transcription.transcript import Sentence, Transcript
from qwen_omni.video.passages import Passage, Value, make_passage

Mode = Literal["passages", "sentences", "single"]

PASSAGE_SECONDS = Range(above=0, endless=True)
"""How long a passage may be."""


def to_passages(said: Transcript, *, mode: Mode = "passages", seconds: float = 60.0) -> Iterator[Passage]:
    """Cut a transcript into passages; one without times, or in which nobody speaks, is one passage or none.

    Args:
        said: the transcript.
        mode: `passages` joins sentences up to `seconds`, `sentences` joins none, `single` joins all.
        seconds: the longest passage, unless a single sentence is longer.

    Example:
        >>> said = Transcript(text="Hello.", source="a.mp3", sentences=(Sentence(start=1, end=2, text="Hello."),))
        >>> [(one.text, one.metadata["start"], one.metadata["kind"]) for one in to_passages(said)]
        [('Hello.', 1.0, 'speech')]
    """
    checked("seconds", seconds, PASSAGE_SECONDS)
    if not said.text.strip():
        return
    longest = {"passages": seconds, "sentences": 0.0, "single": math.inf}[mode]
    groups = _groups(said.sentences, longest)
    if not groups:
        yield make_passage(said.text, _facts(said, 0, 1), "speech", None)
    for number, group in enumerate(groups):
        text = said.text if mode == "single" else speech_text(group)
        speakers = _speakers(group)
        facts = _facts(said, number, len(groups)) | ({"speakers": speakers} if speakers else {})
        yield make_passage(text, facts, "speech", (group[0].start, max(one.end for one in group)))


def speech_text(sentences: list[Sentence]) -> str:
    """Write sentences one after another; who says them is told where several speak."""
    several = len({one.speaker for one in sentences}) > 1
    return " ".join(
        f"Speaker {one.speaker + 1}: {one.text}" if several and one.speaker is not None else one.text
        for one in sentences
    )


def _groups(sentences: tuple[Sentence, ...], seconds: float) -> list[list[Sentence]]:
    groups: list[list[Sentence]] = []
    for one in sentences:
        if groups and one.end - groups[-1][0].start <= seconds:
            groups[-1].append(one)
        else:
            groups.append([one])
    return groups


def _speakers(group: list[Sentence]) -> str:
    """Name who speaks as the text does; one text, since stores of vectors take no lists."""
    return ", ".join(str(one + 1) for one in sorted({one.speaker for one in group if one.speaker is not None}))


def _facts(said: Transcript, number: int, count: int) -> dict[str, Value]:
    told = {
        "source": said.source, "duration": said.duration, "segment": number, "segments": count, "model": said.model,
        "language": said.language, "kind": "speech", "audio_track": said.audio_track,
    }  # fmt: skip
    return {name: value for name, value in told.items() if value is not None}
