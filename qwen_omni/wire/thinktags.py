"""Move a leading `<think>…</think>` out of the text: some servers write thinking there. Pure.

Only a tag at the very beginning counts, so an answer that talks about the tag stays as it is.
"""

from qwen_omni.responses import TextDelta, ThinkingDelta

_OPEN = "<think>"
_CLOSE = "</think>"


class ThinkTags:
    """Fed text pieces, gives text and thinking deltas; holds back only what may be the start of a tag."""

    def __init__(self) -> None:
        self._held = ""
        self._inside: bool | None = None

    def feed(self, text: str) -> list[TextDelta | ThinkingDelta]:
        """Take the next piece of text."""
        if self._inside is False:
            return [TextDelta(text)]
        text, self._held = self._held + text, ""
        if self._inside is None:
            return self._begin(text)
        return self._within(text)

    def close(self) -> list[TextDelta | ThinkingDelta]:
        """Give what was held back; the text has ended."""
        held, self._held = self._held, ""
        if not held:
            return []
        return [ThinkingDelta(held) if self._inside else TextDelta(held)]

    def _begin(self, text: str) -> list[TextDelta | ThinkingDelta]:
        if text.startswith(_OPEN):
            self._inside = True
            return self._within(text[len(_OPEN) :])
        if _OPEN.startswith(text):
            self._held = text
            return []
        self._inside = False
        return [TextDelta(text)]

    def _within(self, text: str) -> list[TextDelta | ThinkingDelta]:
        before, found, after = text.partition(_CLOSE)
        if found:
            self._inside = False
            after = after.lstrip("\n")
            return [*([ThinkingDelta(before)] if before else []), *([TextDelta(after)] if after else [])]
        keep = next((n for n in range(len(_CLOSE) - 1, 0, -1) if text.endswith(_CLOSE[:n])), 0)
        shown, self._held = text[: len(text) - keep], text[len(text) - keep :]
        return [ThinkingDelta(shown)] if shown else []
