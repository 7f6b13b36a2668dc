"""Parse the stand-in's prose: the codes that it reports for each media part."""

import re
from dataclasses import dataclass

_PIECE = re.compile(r"\b(video|audio|image|frames) \d+: ", re.IGNORECASE)
_MARK = re.compile(r"(\d{4})@(\d+(?:\.\d+)?)")


@dataclass(frozen=True, slots=True)
class Report:
    """The report about one media part."""

    kind: str
    words: str

    @property
    def seen(self) -> list[tuple[str, float]]:
        """The codes in the video, each with its second."""
        return self._marks("Picture marks")

    @property
    def heard(self) -> list[tuple[str, float]]:
        """The codes in the audio, each with its second."""
        return self._marks("Sound marks")

    def _marks(self, title: str) -> list[tuple[str, float]]:
        found = re.search(rf"{title}: ((?:\d{{4}}@[\d.]+ ?)+)", self.words)
        return [(code, float(at.rstrip("."))) for code, at in _MARK.findall(found[1])] if found else []


def read(answer: str) -> list[Report]:
    """Split an answer into its reports about each part, in order."""
    assert answer.startswith("[stand-in]"), answer[:80]
    pieces = _PIECE.split(answer)[1:]
    return [Report(kind.lower(), words) for kind, words in zip(pieces[::2], pieces[1::2], strict=True)]


def only(answer: str) -> Report:
    """Read an answer that must be about exactly one media part."""
    reports = read(answer)
    assert len(reports) == 1, f"{len(reports)} pieces reached the service, not 1: {answer[:200]}"
    return reports[0]
