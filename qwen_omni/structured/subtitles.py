"""Timed captions → the subtitle formats SubRip (.srt) and WebVTT (.vtt). Pure.

Times are rounded to milliseconds, the unit of both formats; a caption is shown for at least one. Empty lines would end
a cue and "-->" would look like times, so the former are removed and the latter is written as an arrow.
"""

from collections.abc import Iterable, Iterator

from qwen_omni.redact import clean
from qwen_omni.structured.timed import TimedCaption

_ESCAPES = {"&": "&amp;", "<": "&lt;", ">": "&gt;"}


def to_srt(captions: Iterable[TimedCaption]) -> str:
    """Return captions as SubRip.

    Example:
        >>> print(to_srt([TimedCaption(start=0, end=1.5, text="A tent.")]))
        1
        00:00:00,000 --> 00:00:01,500
        A tent.
        <BLANKLINE>
    """
    cues = (
        f"{number}\n{_clock(start, ',')} --> {_clock(end, ',')}\n{text}\n"
        for number, (start, end, text) in enumerate(_cues(captions), start=1)
    )
    return "\n".join(cues)


def to_webvtt(captions: Iterable[TimedCaption]) -> str:
    """Return captions as WebVTT.

    Example:
        >>> print(to_webvtt([TimedCaption(start=0, end=1.5, text="A <tent>.")]))
        WEBVTT
        <BLANKLINE>
        00:00:00.000 --> 00:00:01.500
        A &lt;tent&gt;.
        <BLANKLINE>
    """
    cues = (
        f"{_clock(start, '.')} --> {_clock(end, '.')}\n{''.join(_ESCAPES.get(char, char) for char in text)}\n"
        for start, end, text in _cues(captions)
    )
    return "\n".join(("WEBVTT\n", *cues))


def _cues(captions: Iterable[TimedCaption]) -> Iterator[tuple[int, int, str]]:
    """Yield start and end in milliseconds, and the text of each cue."""
    for caption in captions:
        start, end = round(caption.start * 1000), round(caption.end * 1000)
        text = _lines(caption.text)
        if text:
            yield start, max(end, start + 1), text


def _lines(text: str) -> str:
    plain = clean(text, "terminal").replace("-->", "→")
    lines = (" ".join(line.split()) for line in plain.splitlines())
    return "\n".join(line for line in lines if line)


def _clock(milliseconds: int, mark: str) -> str:
    seconds, rest = divmod(milliseconds, 1000)
    return f"{seconds // 3600:02d}:{seconds // 60 % 60:02d}:{seconds % 60:02d}{mark}{rest:03d}"
