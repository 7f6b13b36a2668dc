"""Build the boxes of an MP4 byte by byte, valid or not."""

import struct


def box(kind: str, *inside: bytes, size: int | None = None) -> bytes:
    data = b"".join(inside)
    return struct.pack(">I4s", len(data) + 8 if size is None else size, kind.encode()) + data


def numbers(*values: int) -> bytes:
    return struct.pack(f">{len(values)}I", *values)


def fragment(flags: int, count: int, entries: int = 0, size: int | None = None) -> bytes:
    return box("moof", box("traf", box("trun", numbers(flags, count), bytes(entries), size=size)))


def track(count: int, *, sound: bool = False, ticks: int = 1, each: int = 2) -> bytes:
    handler = box("hdlr", numbers(0, 0), b"soun" if sound else b"vide", bytes(12))
    table = box("stbl", box("stts", numbers(0, 1, count, ticks)), box("stsz", numbers(0, each, count)))
    return box("trak", box("mdia", handler, box("minf", table)))
