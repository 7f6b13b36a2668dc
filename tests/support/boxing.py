"""Build the boxes of an MP4 byte by byte, valid or not."""

import struct


def box(kind: str, *inside: bytes, size: int | None = None) -> bytes:
    data = b"".join(inside)
    return struct.pack(">I4s", len(data) + 8 if size is None else size, kind.encode()) + data


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def fragment(flags: int, count: int, entries: int = 0, size: int | None = None) -> bytes:
    return box("moof", box("traf", box("trun", numbers(flags, count), bytes(entries), size=size)))


def matrix(data: bytes, *numbers: int) -> bytes:
    """Replace the display matrix of the first track, without its shift: where the axes of a frame point."""
    right, down, below_right, below_down = numbers
    rows = (right << 16, down << 16, 0, below_right << 16, below_down << 16, 0, 0, 0, 1 << 30)
    at = data.index(b"tkhd") + 4 + 40
    return data[:at] + struct.pack(">9i", *rows) + data[at + 36 :]


def edited(data: bytes, *edits: tuple[float, float], media_ticks: int) -> bytes:
    """Replace the edit list of an MP4 whose index comes last and which has one track.

    Args:
        data: the file.
        edits: where each edit begins in the media, and how long it is shown, in seconds.
        media_ticks: ticks per second of its track.
    """
    movie = data.rindex(b"moov") - 4
    ticks = int.from_bytes(data[movie + 28 : movie + 32], "big")
    entries = (struct.pack(">Iihh", round(long * ticks), round(at * media_ticks), 1, 0) for at, long in edits)
    made = box("edts", box("elst", numbers(0, len(edits)), *entries))
    begin = data.index(b"edts", movie) - 4
    end = begin + int.from_bytes(data[begin : begin + 4], "big")
    at = data.index(b"trak", movie) - 4
    head = bytearray(data[:begin])
    for place in (movie, at):
        longer = int.from_bytes(head[place : place + 4], "big") + len(made) - (end - begin)
        head[place : place + 4] = longer.to_bytes(4, "big")
    return bytes(head) + made + data[end:]


def track(count: int, *, sound: bool = False, ticks: int = 1, each: int = 2) -> bytes:
    handler = box("hdlr", numbers(0, 0), b"soun" if sound else b"vide", bytes(12))
    table = box("stbl", box("stts", numbers(0, 1, count, ticks)), box("stsz", numbers(0, each, count)))
    return box("trak", box("mdia", handler, box("minf", table)))
