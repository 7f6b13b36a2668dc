"""Move thinking out of the text, where some servers write it between `<think>` and `</think>`. Pure.

An opening tag counts only at the very beginning, so an answer that talks about the tag stays as it is. Chat templates
of thinking models write the opening tag into the prompt, so that without a reasoning parser the answer of a vLLM server
holds only the closing one (`Unopened`). A tag in quotes or backticks is text.
"""

import re
from typing import Literal

from qwen_omni.responses import TextDelta, ThinkingDelta

Unopened = Literal["text", "split", "hold"]
"""What stands before a `</think>` that was never opened.

- `text`: it is text, and so is the tag.
- `split`: thinking in the whole answer; a stream, which cannot take back what it showed, passes it on as text.
- `hold`: thinking, in streams too: text is held back until the tag comes, or the answer ends.
"""

_OPEN = "<think>"
_CLOSE = "</think>"
_UNOPENED = re.compile(rf"(?<![`'\"]){_CLOSE}(?![`'\"])\n*")


class ThinkTags:
    """Text pieces in, text and thinking deltas out; holds back only what may be the start of a tag, or thinking."""

    def __init__(self, *, unopened: Unopened = "text") -> None:
        self._held: list[str] = []
        self._inside: bool | None = None
        self._unopened = unopened
        self._trims = False  # line breaks behind a closing tag
        self._waits = False  # for a tag that was never opened
        self._tail = ""

    def feed(self, text: str) -> list[TextDelta | ThinkingDelta]:
        """Take the next piece of text."""
        if self._inside is False:
            return self._behind(text)
        if self._waits:
            return self._wait(text)
        text = self.held + text
        self._held = []
        if self._inside is None:
            return self._begin(text)
        return self._within(text)

    @property
    def held(self) -> str:
        """What is held back."""
        return "".join(self._held)

    @property
    def held_text(self) -> str:
        """What is held back of the text, which is what it is if nothing follows."""
        return "" if self._inside else self.held

    def is_separate(self) -> None:
        """Take note that the server sends thinking in a field of its own, so that all text is text."""
        self._unopened = "text"

    def close(self) -> list[TextDelta | ThinkingDelta]:
        """Return what was held back; the text has ended."""
        held, self._held, self._waits = self.held, [], False
        if not held:
            return []
        return [ThinkingDelta(held) if self._inside else TextDelta(held)]

    def split(self, text: str) -> tuple[str, str]:
        """Split the whole text of an answer into thinking and text."""
        if self._unopened == "text" or self._inside:
            return "", text
        found = _UNOPENED.search(text)
        if found is None or _OPEN in text[: found.start()]:
            return "", text
        return text[: found.start()], text[found.end() :]

    def _behind(self, text: str) -> list[TextDelta | ThinkingDelta]:
        if self._trims:
            text = text.lstrip("\n")
            self._trims = not text
        return [TextDelta(text)] if text else []

    def _begin(self, text: str) -> list[TextDelta | ThinkingDelta]:
        start = text.lstrip()
        if start.startswith(_OPEN):
            self._inside, self._unopened = True, "text"
            return self._within(start[len(_OPEN) :])
        if _OPEN.startswith(start):
            self._held = [text]
            return []
        if self._unopened == "hold":
            self._waits = True
            return self._wait(text)
        self._inside = False
        return [TextDelta(text)]

    def _wait(self, text: str) -> list[TextDelta | ThinkingDelta]:
        """Hold text back until the closing tag comes."""
        if self._unopened != "hold":
            self._inside = False
            return [*self.close(), TextDelta(text)]
        self._held.append(text)
        seen, self._tail = self._tail + text, (self._tail + text)[-len(_CLOSE) :]
        if _CLOSE not in seen:
            return []
        thinking, rest = self.split(self.held)
        if not thinking and rest == self.held:
            return []
        self._held, self._waits, self._inside, self._unopened, self._trims = [], False, False, "text", True
        return [*([ThinkingDelta(thinking)] if thinking else []), *self._behind(rest)]

    def _within(self, text: str) -> list[TextDelta | ThinkingDelta]:
        before, found, after = text.partition(_CLOSE)
        if found:
            self._inside, self._trims = False, True
            return [*([ThinkingDelta(before)] if before else []), *self._behind(after)]
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:n])), 0)
        shown, self._held = text[: len(text) - keep], [text[len(text) - keep :]]
        return [ThinkingDelta(shown)] if shown else []
