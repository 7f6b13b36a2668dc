"""Streamed base64 speech → PCM samples. Pure.

The service calls the format "wav" but sends raw PCM: 16 bit little-endian, mono, 24 kHz, no header. Pieces may end
inside a base64 group or inside a sample.
"""

import base64

SAMPLE_BYTES = 2
_RIFF = b"RIFF"
_RIFF_HEADER = 512  # a header longer than this is not one


class PcmDecoder:
    """Decodes pieces of base64 to whole samples, carrying incomplete ones over to the next piece."""

    def __init__(self) -> None:
        self._text = ""
        self._bytes = b""
        self._begun = False

    def feed(self, piece: str) -> bytes:
        """Decode one piece; return whole samples only.

        Raises:
            ValueError: the piece is not base64.
        """
        text = self._text + piece
        whole = len(text) if text.endswith("=") else len(text) - len(text) % 4
        self._text = text[whole:]
        return self._samples(_decode(text[:whole]))

    def close(self) -> bytes:
        """Decode the remainder.

        Raises:
            ValueError: it is not base64.
        """
        text, self._text = self._text, ""
        rest = _decode(text) if len(text) > 1 else b""
        self._begun = True
        return self._samples(rest)

    def _samples(self, data: bytes) -> bytes:
        data = self._bytes + data
        if not self._begun:
            data = self._without_header(data)
        whole = len(data) - len(data) % SAMPLE_BYTES if self._begun else 0
        self._bytes = data[whole:]
        return data[:whole]

    def _without_header(self, data: bytes) -> bytes:
        if len(data) < len(_RIFF) and _RIFF.startswith(data):
            return data
        if not data.startswith(_RIFF):
            self._begun = True
            return data
        start = data.find(b"data", 12)
        if start < 0 or len(data) < start + 8:
            self._begun = len(data) > _RIFF_HEADER
            return data
        self._begun = True
        return data[start + 8 :]


def decode_piece(encoded: str) -> bytes:
    """Decode a self-contained piece of speech, with or without a WAV header.

    Raises:
        ValueError: it is not base64.
    """
    decoder = PcmDecoder()
    return decoder.feed(encoded) + decoder.close()


def _decode(text: str) -> bytes:
    # A piece has padding in the middle if a server joined several encoded pieces.
    try:
        if "=" in text.rstrip("="):
            groups = text.replace("=", "= ").replace("= =", "==").split()
            return b"".join(_decode(group) for group in groups)
        return base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4), validate=True)
    except ValueError as error:  # `binascii.Error`, or text that is not ASCII
        raise ValueError(f"speech is not base64: {error}") from None
