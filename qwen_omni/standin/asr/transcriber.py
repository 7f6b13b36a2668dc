"""The stand-in's transcript of a recording: each tone code is a word, with its start and end time.

It knows only what was decoded: of ordinary audio, one sentence says that speech is not recognised. Words close
together form a sentence; speakers are distinguished by their codes: those that begin with an even digit belong to one
speaker, the others to another.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from qwen_omni.standin.media.facts import MediaFacts
from qwen_omni.standin.media.open import AUDIO_CONTAINERS, VIDEO_CONTAINERS
from qwen_omni.standin.media.perceive import decode_audio

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_omni.standin.media.facts import Mark

_ALL_CONTAINERS = f"{VIDEO_CONTAINERS},{AUDIO_CONTAINERS},ogg"
_SENTENCE_WORDS = 4
_PAUSE = 1.5  # seconds between two words that end a sentence
_MS = 1000


def decode_recording(data: bytes) -> MediaFacts:
    """Decode the audio of a file.

    Raises:
        UnreadableMediaError: It is not media, or has no audio.
    """
    return decode_audio(MediaFacts(kind="audio", container="", size_bytes=len(data), sha256=""), data, _ALL_CONTAINERS)


def speaker_of(code: str) -> int:
    """Return the speaker of a code."""
    return int(code[0], 16) % 2 if code[0] in "0123456789ABCD" else 0


def sentences(marks: Sequence[Mark], *, first_id: int, words: bool, speakers: bool, qwen: bool) -> list[dict[str, Any]]:
    """Return the sentences of a result file, in the older or the newer family's form."""
    result = []
    for number, group in enumerate(_groups(marks, by_speaker=speakers), start=first_id):
        one: dict[str, Any] = {
            "sentence_id": number, "begin_time": _ms(group[0].start), "end_time": _ms(group[-1].end),
            "text": " ".join(mark.code for mark in group) + ".",
        }  # fmt: skip
        if speakers:
            one["speaker_id"] = speaker_of(group[0].code)
        if qwen:
            one |= {"language": "en", "emotion": "neutral"}
        if words:
            one["words"] = [_word(mark, last=mark is group[-1]) for mark in group]
        result.append(one)
    return result


def _groups(marks: Sequence[Mark], *, by_speaker: bool) -> list[list[Mark]]:
    groups: list[list[Mark]] = []
    for mark in marks:
        last = groups[-1] if groups else None
        if (
            last is None
            or len(last) == _SENTENCE_WORDS
            or mark.start - last[-1].end > _PAUSE
            or (by_speaker and speaker_of(mark.code) != speaker_of(last[-1].code))
        ):
            groups.append([mark])
        else:
            last.append(mark)
    return groups


def _word(mark: Mark, *, last: bool) -> dict[str, Any]:
    return {
        "begin_time": _ms(mark.start), "end_time": _ms(mark.end), "text": mark.code, "punctuation": "." if last else "",
    }  # fmt: skip


def _ms(seconds: float) -> int:
    return round(seconds * _MS)
