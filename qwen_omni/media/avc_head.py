"""How large H.264 pictures are, by the head of their stream: what a decoder reads before its first picture. Pure.

The box of an MP4 around the stream names a size, too, but it may be the size for display, or wrong.
(ISO/IEC 14496-15, 5.3.3.1, the decoder configuration; ITU-T H.264, 7.3.2.1.1, the sequence parameter set.)
"""

_CHROMA_PROFILES = frozenset({100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135})  # they tell their chroma
_PLAIN_CHROMA, _FULL_CHROMA = 1, 3  # 4:2:0 and 4:4:4
_CROP_UNITS = {0: (1, 1), 1: (2, 2), 2: (2, 1), 3: (1, 1)}  # pixels, by chroma format
_MOST_ENTRIES = 255
_MOST_ZEROS = 32  # bits before a number; more is nonsense


def progressive_size(configuration: bytes) -> tuple[int, int] | None:
    """Read width and height in pixels, as they come out of the decoder.

    Args:
        configuration: what an `avcC` box holds; FFmpeg calls it extradata.

    Returns:
        `None` where it is not certain: several heads, pictures that may be interlaced, damage, another kind of stream.
    """
    if len(configuration) < 8 or configuration[0] != 1 or configuration[5] & 0x1F != 1:  # noqa: PLR2004 - of the box
        return None
    length = int.from_bytes(configuration[6:8], "big")
    head = configuration[8 : 8 + length].replace(b"\0\0\3", b"\0\0")  # the escape of a start code
    try:
        return _size(_Bits(head))
    except (EOFError, KeyError):
        return None


class _Bits:
    """Bits of a text of bytes, and the two kinds of numbers that H.264 writes with them."""

    def __init__(self, data: bytes) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)

    def take(self, count: int) -> int:
        self._left -= count
        if self._left < 0:
            raise EOFError
        return self._value >> self._left & ((1 << count) - 1)

    def number(self) -> int:
        """Read an unsigned number: as many zeros as it has bits behind its first one."""
        zeros = 0
        while not self.take(1):
            zeros += 1
            if zeros > _MOST_ZEROS:
                raise EOFError
        return (1 << zeros) - 1 + self.take(zeros)

    def signed(self) -> int:
        number = self.number()
        return (number + 1) // 2 if number % 2 else -(number // 2)


def _size(bits: _Bits) -> tuple[int, int] | None:
    bits.take(8)  # the kind of unit
    profile = bits.take(8)
    bits.take(16)  # constraints and level
    bits.number()  # its own number
    chroma = _chroma(bits) if profile in _CHROMA_PROFILES else _PLAIN_CHROMA
    bits.number()  # bits of a frame's number
    _pass_order(bits)
    bits.number()  # reference frames
    bits.take(1)
    columns, rows = bits.number() + 1, bits.number() + 1
    if not bits.take(1):  # frames may be two fields
        return None
    bits.take(1)
    crop = [bits.number() for _ in range(4)] if bits.take(1) else [0] * 4
    across, down = _CROP_UNITS[chroma]
    width, height = 16 * columns - across * (crop[0] + crop[1]), 16 * rows - down * (crop[2] + crop[3])
    return (width, height) if width > 0 and height > 0 else None


def _chroma(bits: _Bits) -> int:
    chroma = bits.number()
    if chroma == _FULL_CHROMA:
        bits.take(1)
    bits.number()  # depth of luma
    bits.number()  # depth of chroma
    bits.take(1)
    if bits.take(1):
        for index in range(12 if chroma == _FULL_CHROMA else 8):
            if bits.take(1):
                _pass_scaling(bits, 16 if index < 6 else 64)  # noqa: PLR2004 - six small lists come first
    return chroma


def _pass_scaling(bits: _Bits, entries: int) -> None:
    last, following = 8, 8
    for _ in range(entries):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _pass_order(bits: _Bits) -> None:
    """Pass over how the order of display is told."""
    kind = bits.number()
    if kind == 0:
        bits.number()
    elif kind == 1:
        bits.take(1)
        bits.signed()
        bits.signed()
        for _ in range(min(bits.number(), _MOST_ENTRIES)):
            bits.signed()
