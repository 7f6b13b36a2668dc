"""An MP4 whose index claims more than it holds is refused before FFmpeg makes room for it; honest ones are let be."""

import io
import struct

import pytest

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.boxes import MOST_SAMPLES, check_boxes
from qwen_omni.media.prepare import Choices, prepare
from tests.core.media import making
from tests.core.media.odd import ODD


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


def look(*boxes: bytes) -> None:
    data = box("ftyp", b"isom", bytes(4)) + b"".join(boxes)
    check_boxes(io.BytesIO(data), len(data))


CLAIMS = {
    "a run of samples": fragment(0x301, 67_108_889, 200),
    "a run that ends with the box around it": fragment(0x100, 1_000, 40, size=2**31),
    "a run whose flags say that other fields come first": fragment(0x105, 10, 40),
    "runs without fields": fragment(0, MOST_SAMPLES // 2) + fragment(0, MOST_SAMPLES // 2 + 1),
    "keys": box("moov", box("udta", box("meta", bytes(4), box("hdlr", bytes(24)), box("keys", numbers(0, 2**28))))),
    "keys of QuickTime": box("moov", box("meta", box("hdlr", bytes(24)), box("keys", numbers(0, 2**28)))),
    "items": box("meta", bytes(4), box("iinf", numbers(1 << 24, 2**30))),
    "items, counted shortly": box("meta", bytes(4), box("iinf", numbers(0, 60_000 << 16))),
    "pictures of one size": box("moov", track(MOST_SAMPLES + 1)),
    "pictures of all tracks": box("moov", *[track(MOST_SAMPLES // 4 + 1) for _ in range(4)]),
    "pieces of sound": box("moov", track(MOST_SAMPLES + 1, sound=True, ticks=1024)),
    "far too many boxes": bytes.fromhex("0000000866726565") * 500_001,
}


@pytest.mark.parametrize("claim", CLAIMS)
def test_a_claim_that_cannot_be_true_is_refused(claim):
    """The message tells the number claimed and how many there can be."""
    with pytest.raises(UnreadableMediaError, match=r"\d.*"):
        look(CLAIMS[claim])


HONEST = {
    "a run that fills its box": fragment(0x301, 25, 204),
    "a run whose samples are all alike": fragment(0, 1_000),
    "an hour of PCM": box("moov", track(48_000 * 3600 * 24, sound=True)),
    "a day of pictures and sound": box("moov", track(86_400 * 30), track(86_400 * 47, sound=True, ticks=1024)),
    "payload that looks like boxes": box("mdat", fragment(0x301, 67_108_889)),
    "a payload cut short": box("moov", track(10)) + box("mdat", bytes(50), size=10**6),
    "a payload longer than 4 GiB": box("moov", track(10)) + numbers(1) + b"mdat" + struct.pack(">Q", 2**40),
    "nothing": b"",
}


@pytest.mark.parametrize("name", HONEST)
def test_an_honest_index_is_let_be(name):
    """What real files have is no claim too much."""
    look(HONEST[name])


@pytest.mark.parametrize("data", [b"", b"\0", b"ID3\4", making.wav(0.1), making.video("matroska", "libx264", 1)])
def test_what_is_no_mp4_is_left_alone(data):
    """Other containers have nothing to check."""
    check_boxes(io.BytesIO(data), len(data))


def test_one_wrong_byte_does_not_cost_a_gigabyte(tmp_path):
    """A fragmented film of which one run claims 67 million samples once made FFmpeg fill 900 MB with zeros."""
    whole = ODD["fragments"].make(tmp_path).path.read_bytes()
    at = whole.index(b"trun") + 8
    film = whole[:at] + b"\4" + whole[at + 1 :]

    prepare(whole, budget="glance", choices=Choices(workers=1)).close()
    with pytest.raises(UnreadableMediaError, match="claims 67,108,8"):
        prepare(film, budget="glance", choices=Choices(workers=1))
