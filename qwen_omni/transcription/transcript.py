"""A transcript, its sentences and words, in seconds. Values; `transcription.protocol` parses them.

Subtitles are written by `structured.subtitles`; only where a long sentence is split for them is decided here.
"""

from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from qwen_omni.errors import ConfigurationError
from qwen_omni.structured.schema import Frozen
from qwen_omni.structured.subtitles import to_srt, to_webvtt
from qwen_omni.structured.timed import TimedCaption

_CUE_CHARACTERS = 84  # two lines of 42, the usual limit for subtitles
_CUE_SECONDS = 7.0


class Word(Frozen):
    """One word with its punctuation."""

    start: float = Field(description="Seconds from the beginning.")
    end: float = Field(description="Seconds from the beginning.")
    text: str


class Sentence(Frozen):
    """One sentence, as the service segmented the speech."""

    start: float = Field(description="Seconds from the beginning.")
    end: float = Field(description="Seconds from the beginning.")
    text: str
    speaker: int | None = Field(default=None, description="Number of the speaker from 0, if they were distinguished.")
    channel: int | None = Field(default=None, description="Track of the recording, if several were transcribed.")
    language: str | None = None
    emotion: str | None = None
    words: tuple[Word, ...] = ()


class Transcript(Frozen):
    """The speech of one recording. Times are seconds of the original file.

    Example:
        >>> said = Transcript(text="Good morning.", sentences=(Sentence(start=0.5, end=1.5, text="Good morning."),))
        >>> print(said.to_srt())
        1
        00:00:00,500 --> 00:00:01,500
        Good morning.
        <BLANKLINE>
    """

    text: str = Field(description="Everything that was said; empty if nobody spoke.")
    sentences: tuple[Sentence, ...] = Field(default=(), description="In order; empty if the model reports no times.")
    language: str | None = None
    duration: float | None = Field(default=None, description="Seconds of the whole recording, if known.")
    billed_seconds: float | None = Field(
        default=None, description="Seconds that the service billed, if it reported them."
    )
    model: str = ""
    source: str = ""
    audio_track: int | Literal["mix"] | None = Field(
        default=None, description="The audio track that was heard, where the file has several."
    )
    task_id: str | None = None

    @property
    def speakers(self) -> tuple[int, ...]:
        """The numbers of the speakers, in order."""
        return tuple(sorted({one.speaker for one in self.sentences if one.speaker is not None}))

    def to_srt(self) -> str:
        """Return SubRip subtitles.

        Raises:
            ConfigurationError: the model returned no times.
        """
        return to_srt(self._cues())

    def to_vtt(self) -> str:
        """Return WebVTT subtitles; raises as `to_srt` does."""
        return to_webvtt(self._cues())

    def _cues(self) -> list[TimedCaption]:
        if self.text and not self.sentences:
            raise ConfigurationError(
                f"{self.model or 'The model'} returns no times, so no subtitles can be made; transcribe with "
                "paraformer-v2, fun-asr or qwen3-asr-flash-filetrans."
            )
        several = len(self.speakers) > 1
        return [cue for sentence in self.sentences for cue in _cut(sentence, named=several)]


def _cut(sentence: Sentence, *, named: bool) -> Iterator[TimedCaption]:
    """Split a sentence that is too long for one subtitle, between words with known times."""
    label = f"Speaker {sentence.speaker + 1}: " if named and sentence.speaker is not None else ""
    long = len(sentence.text) > _CUE_CHARACTERS or sentence.end - sentence.start > _CUE_SECONDS
    if not long or not sentence.words:
        yield TimedCaption(start=sentence.start, end=sentence.end, text=label + sentence.text)
        return
    held: list[Word] = []
    for word in sentence.words:
        grown = _joined([*held, word])
        if held and (len(grown) > _CUE_CHARACTERS or word.end - held[0].start > _CUE_SECONDS):
            yield TimedCaption(start=held[0].start, end=held[-1].end, text=label + _joined(held))
            held = []
        held.append(word)
    yield TimedCaption(start=held[0].start, end=held[-1].end, text=label + _joined(held))


def _joined(words: list[Word]) -> str:
    """Join words: with spaces between alphabetic ones, without between Chinese characters."""
    text = ""
    for word in words:
        piece = word.text.strip()
        spaced = bool(text) and bool(piece) and not (_is_wide(text[-1]) or _is_wide(piece[0]))
        text += f" {piece}" if spaced else piece
    return text


def _is_wide(letter: str) -> bool:
    return "\u3000" <= letter <= "\u9fff" or "\uff00" <= letter <= "\uffef"
