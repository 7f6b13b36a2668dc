"""An MP4 whose index claims more than it holds is refused before FFmpeg makes room for it; honest ones are let be.

And a thread that works on the pictures of a film sees its index without the tracks of sound, and the other way round.
"""

import io
import struct

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.media.probe.container import open_for_work
from qwen_omni.media.probe.mp4 import MOST_SAMPLES, check_boxes, hide_boxes, is_upright, tracks_of
from tests.support import making
from tests.support.boxing import box, fragment, numbers, track
from tests.support.odd import ODD


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


OTHERS = {
    "nothing": b"",
    "a zero": b"\0",
    "mp3": b"ID3\4",
    "wav": making.wav(0.1),
    "matroska": making.video("matroska", "libx264", 1),
}


@pytest.mark.parametrize("data", OTHERS.values(), ids=OTHERS)
def test_what_is_no_mp4_is_left_alone(data):
    """Other containers have nothing to check."""
    check_boxes(io.BytesIO(data), len(data))


def test_one_wrong_byte_does_not_cost_a_gigabyte(tmp_path):
    """A fragmented film of which one run claims 67 million samples once made FFmpeg fill 900 MB with zeros."""
    whole = ODD["fragments"].make(tmp_path).path.read_bytes()
    at = whole.index(b"trun") + 8
    film = whole[:at] + b"\4" + whole[at + 1 :]

    prepare(whole, budget="glance", choices=PrepareOptions(workers=1)).close()
    with pytest.raises(UnreadableMediaError, match="claims 67,108,8"):
        prepare(film, budget="glance", choices=PrepareOptions(workers=1))


def refers(kind: bytes) -> bytes:
    """A track that refers to another one, as sound does to its chapters."""
    return box("trak", box("tref", box("chap", numbers(3))), box("mdia", box("hdlr", numbers(0, 0), kind, bytes(12))))


def two_handlers() -> bytes:
    """A track that says of itself that it is sound, and then that it is a picture."""
    return box("trak", box("mdia", *[box("hdlr", numbers(0, 0), kind, bytes(12)) for kind in (b"soun", b"vide")]))


FILMS = {
    "picture and sound": (box("moov", track(9), track(9, sound=True)), 1, 1),
    "sound twice": (box("moov", track(9), track(9, sound=True), track(9, sound=True)), 1, 2),
    "its index at the end": (box("mdat", bytes(99)) + box("moov", track(9), track(9, sound=True)), 1, 1),
    "a payload of more than 4 GiB": (
        numbers(1) + b"mdat" + struct.pack(">Q", 26) + bytes(10) + box("moov", track(9), track(9, sound=True)), 1, 1,
    ),
    "sound with chapters": (box("moov", track(9), refers(b"soun")), 1, 0),
    "a track of two kinds": (box("moov", two_handlers(), track(9)), 1, 0),
    "a track of text": (box("moov", track(9), box("trak", box("mdia", box("hdlr", numbers(0, 0), b"text")))), 1, 0),
    "fragments before any index": (fragment(0, 9) + box("moov", track(9)), 0, 0),
    "tracks in the payload": (box("mdat", box("moov", track(9, sound=True))), 0, 0),
    "nothing": (b"", 0, 0),
}  # fmt: skip


@pytest.mark.parametrize("name", FILMS)
def test_the_tracks_of_one_kind_are_found(name):
    """Where they begin is told by where their kind stands; what is not surely of that kind alone is left out."""
    data, pictures, sounds = FILMS[name]
    for handler, count in ((b"vide", pictures), (b"soun", sounds)):
        places = tracks_of(io.BytesIO(data), len(data), handler)
        assert [data[place : place + 4] for place in places] == [b"trak"] * count
        assert all(data.index(handler, place) < place + 60 for place in places)


UPRIGHT = (1 << 16, 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)
TURNED = (0, 1 << 16, 0, (1 << 32) - (1 << 16), 0, 0, 0, 0, 1 << 30)


def film_of(film: tuple[int, ...], *tracks: tuple[int, ...], version: int = 0) -> bytes:
    """Return an index whose film and tracks are to be turned so."""
    more = 3 * version  # times take twice the room in version 1
    heads = [box("tkhd", numbers(version << 24, *[0] * (9 + more), *matrix, 0, 0)) for matrix in tracks]
    own = box("mvhd", numbers(version << 24, *[0] * (8 + more), *film, *[0] * 7))
    return box("ftyp", b"isom") + box("moov", own, *(box("trak", head) for head in heads))


@pytest.mark.parametrize("version", [0, 1])
@pytest.mark.parametrize(
    ("film", "tracks", "upright"),
    [
        (UPRIGHT, [UPRIGHT], True),
        (UPRIGHT, [UPRIGHT, UPRIGHT], True),
        (UPRIGHT, [UPRIGHT, TURNED], False),
        (TURNED, [UPRIGHT], False),
        (UPRIGHT, [(0,) * 9], False),
    ],
)
def test_a_film_is_upright_where_nothing_in_it_is_turned(film, tracks, upright, version):
    data = film_of(film, *tracks, version=version)

    assert is_upright(io.BytesIO(data), len(data)) is upright


@given(st.binary(max_size=200))
def test_a_file_that_does_not_say_it_is_not_taken_for_upright(data):
    for some in (data, film_of(UPRIGHT, UPRIGHT)[: len(data)], box("moov", data)):
        assert not is_upright(io.BytesIO(some), len(some))


@given(st.binary(max_size=60), st.sets(st.integers(0, 14)), st.lists(st.integers(1, 9)))
def test_boxes_are_hidden_however_a_file_is_read(data, places, sizes):
    """Blocks of any size, joined, are the file with the kinds of those boxes replaced, and nothing else."""
    kinds = [place * 4 for place in places if place * 4 + 4 <= len(data)]
    wanted = bytearray(data)
    for kind in kinds:
        wanted[kind : kind + 4] = b"free"
    read, at = b"", 0
    for size in [*sizes, len(data)]:
        read += hide_boxes(data[at : at + size], at, kinds)
        at += size
    assert read == wanted


@pytest.mark.parametrize("only", ["video", "audio"])
def test_of_a_film_opened_for_one_kind_only_that_kind_is_kept(only, tmp_path):
    """The other tracks are not there at all; those that are give what they give beside the others."""
    film = ODD["mp4 h264"].make(tmp_path).path.read_bytes()
    packets = []
    for asked, kinds in ((only, {only}), (None, {"video", "audio"})):
        with open_for_work(io.BytesIO(film), len(film), only=asked) as container:
            assert {stream.type for stream in container.streams} == kinds
            stream = next(stream for stream in container.streams if stream.type == only)
            packets.append([(packet.pts, packet.dts, bytes(packet)) for packet in container.demux(stream)])
    assert packets[0] == packets[1]
