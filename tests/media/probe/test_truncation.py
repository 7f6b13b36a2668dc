"""A file whose headers tell of more than is there is refused; one that is still written, or lost only a table, is not.

What is missing would be priced, and neither seen nor heard.
"""

import io
import struct

import av
import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.media.probe.truncation import check_whole, codec_changes
from tests.support import making
from tests.support.boxing import box, fragment, numbers, track
from tests.support.odd import copy


def chunk(kind: bytes, *inside: bytes, size: int | None = None) -> bytes:
    """Build one chunk of a RIFF file; lists and RIFF itself begin with a kind of their own."""
    data = b"".join(inside)
    return kind + struct.pack("<I", len(data) if size is None else size) + data + bytes(len(data) % 2)


def avi(*behind: bytes, movi: bytes | None = None, size: int | None = None) -> bytes:
    film = chunk(b"LIST", b"movi", bytes(96)) if movi is None else movi
    return chunk(b"RIFF", b"AVI ", chunk(b"LIST", b"hdrl", bytes(7)), film, *behind, size=size)


def element(name: str, *inside: bytes, size: int | None = None) -> bytes:
    """Build one element of a Matroska file; `-1` is an unknown size."""
    data = b"".join(inside)
    told = len(data) if size is None else size
    return bytes.fromhex(name) + (b"\x01" + b"\xff" * 7 if told < 0 else (told | 1 << 56).to_bytes(8, "big")) + data


EBML, SEGMENT, CLUSTER, CUES, TAGS, VOID = "1a45dfa3", "18538067", "1f43b675", "1c53bb6b", "1254c367", "ec"
FILM = element(CLUSTER, bytes(50)) + element(CLUSTER, bytes(50))


def matroska(*inside: bytes, size: int | None = None) -> bytes:
    return element(EBML, bytes(20)) + element(VOID, bytes(9)) + element(SEGMENT, *inside, size=size)


def asf(packets: int = 100, size: int | None = None) -> bytes:
    head = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c") + struct.pack("<Q", 54) + bytes(30)
    told = packets + 24 if size is None else size
    data = bytes.fromhex("3626b2758e66cf11a6d900aa0062ce6c") + struct.pack("<Q", told) + bytes(packets)
    return head + data + bytes.fromhex("90080033b1e5cf1189f400a0c90349cb") + struct.pack("<Q", 56) + bytes(32)


INDEX, PAYLOAD = box("moov", track(10)), box("mdat", bytes(100))
WHOLENESS = {  # and how many bytes are missing
    "MP4": (INDEX + PAYLOAD, 0),
    "MP4, one byte short": (INDEX + PAYLOAD[:-1], 1),
    "MP4, half of its payload": (INDEX + PAYLOAD[:-50], 50),
    "MP4, cut in a second payload": (INDEX + PAYLOAD + PAYLOAD[:-50], 50),
    "MP4, a long payload, cut": (INDEX + numbers(1) + b"mdat" + struct.pack(">Q", 116) + bytes(60), 40),
    "MP4, more behind its payload": (INDEX + PAYLOAD + box("free", bytes(9)) + b"\0\1", 0),
    "MP4, something else cut behind its payload": (INDEX + PAYLOAD + box("uuid", bytes(9), size=2**30), 0),
    "MP4, payload up to the end": (INDEX + numbers(0) + b"mdat" + bytes(50), 0),
    "MP4, fragments of a live recording, the last one cut": (
        box("moov", track(0)) + fragment(0, 3) + PAYLOAD[:-50], 50,
    ),
    "MP4, no index yet": (PAYLOAD[:-50], 0),
    "MP4, an index at its end, cut in a track": (PAYLOAD + box("moov", track(9), track(9))[:-10], 10),
    "MP4, an index at its end, cut in its titles": (PAYLOAD + box("moov", track(9), box("udta", bytes(50)))[:-10], 0),
    "Matroska": (matroska(FILM, element(CUES, bytes(9))), 0),
    "Matroska, one byte short": (matroska(FILM)[:-1], 1),
    "Matroska, cut in a cluster": (matroska(FILM, element(CUES, bytes(9)))[:-60], 60),
    "Matroska, cut between clusters": (matroska(FILM)[: -len(FILM) // 2], len(FILM) // 2),
    "Matroska whose tables come first, cut in a cluster": (matroska(element(CUES, bytes(9)), FILM)[:-9], 9),
    "Matroska, a cluster of unknown size": (matroska(FILM, element(CLUSTER, bytes(50), size=-1))[:-9], 9),
    "Matroska, its tables cut": (matroska(FILM, element(CUES, bytes(90)))[:-50], 0),
    "Matroska, its tags cut": (matroska(FILM, element(CUES, bytes(9)), element(TAGS, bytes(90)))[:-50], 0),
    "Matroska, still written": (matroska(FILM, size=-1)[:-50], 0),
    "Matroska, with more behind it": (matroska(FILM) + bytes(50), 0),
    "Matroska, cut before its film": (matroska(FILM)[:30], 0),
    "AVI": (avi(chunk(b"idx1", bytes(40))), 0),
    "AVI, cut in its film": (avi(chunk(b"idx1", bytes(40)))[:-60], 60),
    "AVI, its table cut": (avi(chunk(b"idx1", bytes(40)))[:-9], 0),
    "AVI, still written": (avi(size=0)[:-50], 0),
    "AVI, still written by FFmpeg": (avi(size=2**32 - 1)[:-50], 0),
    "AVI, its film still written": (avi(movi=chunk(b"LIST", b"movi", bytes(96), size=0), size=2**20), 0),
    "AVI, a second part": (avi() + chunk(b"RIFF", b"AVIX", chunk(b"LIST", b"movi", bytes(96))), 0),
    "AVI, cut in its second part": (avi() + chunk(b"RIFF", b"AVIX", chunk(b"LIST", b"movi", bytes(96)))[:-50], 50),
    "ASF": (asf(), 0),
    "ASF, its table cut": (asf()[:-50], 0),
    "ASF, cut in its packets": (asf()[:-57], 1),
    "ASF, a broadcast": (asf(size=0)[:-100], 0),
    "ASF, the size of its packets cut": (asf()[:70], 0),
    "WAV": (chunk(b"RIFF", b"WAVE", chunk(b"data", bytes(40), size=400)), 0),
    "nothing": (b"", 0),
}  # fmt: skip


@pytest.mark.parametrize("name", WHOLENESS)
def test_a_file_that_promises_more_than_it_has_is_refused(name):
    data, missing = WHOLENESS[name]

    if missing:
        with pytest.raises(UnreadableMediaError, match=f"of {len(data) + missing:,} bytes, so {missing} are missing"):
            check_whole(io.BytesIO(data), len(data))
    else:
        check_whole(io.BytesIO(data), len(data))


def early_index(data: bytes, folder) -> bytes:
    """Copy a video into an MP4 whose index comes first."""
    (folder / "late.mp4").write_bytes(data)
    copy(folder / "late.mp4", folder / "film.mp4", options={"movflags": "faststart"})
    return (folder / "film.mp4").read_bytes()


CONTAINERS = {
    "mp4": lambda folder: early_index(making.video("mp4", "libx264", 4), folder),
    "mkv": lambda _: making.video("matroska", "libx264", 4, sound_codec="aac"),
    "webm": lambda _: making.video("webm", "libvpx-vp9", 4),
    "avi": lambda _: making.video("avi", "mpeg4", 4, sound_codec="mp2"),
    "wmv": lambda _: making.video("asf", "wmv2", 4),
}


@pytest.mark.parametrize("budget", ["auto", "static", "original"])
@pytest.mark.parametrize("name", CONTAINERS)
def test_a_download_that_broke_off_is_refused(name, budget, tmp_path):
    """Half of it would be priced as the whole."""
    whole = CONTAINERS[name](tmp_path)
    half = whole[: len(whole) // 2]

    prepare(whole, budget=budget, choices=PrepareOptions(workers=1)).close()
    with pytest.raises(UnreadableMediaError, match=r"bytes, so [\d,]+ are missing; copy or download the whole"):
        prepare(half, budget=budget, choices=PrepareOptions(workers=1))


@pytest.mark.parametrize(("container", "codec"), [("au", "pcm_s16be"), ("tta", "tta"), ("voc", "pcm_u8")])
def test_two_recordings_in_one_file_are_refused(container, codec):
    """Players read the first one only, or its header states its length only."""
    one = making.sound(container, codec, seconds=1)
    with pytest.raises(UnreadableMediaError, match=f"the first ends after .* of {2 * len(one):,} bytes"):
        prepare(one + one)


def test_two_windows_media_files_in_one_are_refused():
    """The second one is found after the objects of the first."""
    with pytest.raises(UnreadableMediaError, match=f"the first ends after {len(asf()):,} of {2 * len(asf()):,} bytes"):
        check_whole(io.BytesIO(asf() + asf()), 2 * len(asf()))


@pytest.mark.parametrize("container", ["matroska", "webm"])
def test_a_recording_that_is_still_going_on_is_taken(container):
    """Browsers and streams write Matroska of unknown size."""
    buffer = io.BytesIO()
    codec = "libvpx-vp9" if container == "webm" else "libx264"
    with av.open(buffer, "w", format=container, options={"live": "1"}) as out:
        stream = out.add_stream(codec, rate=10)
        making.add_frames(out, stream, (av.VideoFrame(64, 48, "yuv420p") for _ in range(20)), size=(64, 48))
    begun = buffer.getvalue()[:-20]

    with prepare(begun, budget="static", choices=PrepareOptions(workers=1)) as made:
        assert made.info.duration > 1


ASF_HEADER = bytes.fromhex("3026b2758e66cf11a6d900aa0062ce6c")
W64_RIFF = bytes.fromhex("726966662e91cf11a5d628db04c10000")


@pytest.mark.parametrize("size", [2**62, 2**63 - 1, 2**63, 2**63 + 36, 2**64 - 1])
@pytest.mark.parametrize(
    ("start", "order"),
    [
        (ASF_HEADER, "little"),
        (W64_RIFF + bytes(8) + b"wave" + bytes(12) + b"junk" + bytes(12), "little"),
        (b"caff\0\1\0\0desc", "big"),
    ],
    ids=["asf", "w64", "caf"],
)
def test_a_size_beyond_every_file(start, order, size):
    """A chunk may claim to end where no file can be read."""
    file = io.BytesIO(start + size.to_bytes(8, order) + bytes(200))
    try:
        check_whole(file, len(file.getvalue()))
    except UnreadableMediaError as error:
        assert "missing" in str(error)
    assert file.tell() == 0


@given(
    st.sampled_from([data for data, _ in WHOLENESS.values()]),
    st.binary(max_size=40),
    st.integers(0, 200),
    st.integers(0, 200),
)
def test_any_damage_ends_in_a_typed_error_or_none(data, noise, at, cut):
    """Whatever the headers claim, looking at them ends, and the file is at its start again."""
    damaged = data[:at] + noise + data[at + len(noise) : max(at, len(data) - cut)]
    file = io.BytesIO(damaged)

    try:
        check_whole(file, len(damaged))
    except UnreadableMediaError as error:
        assert "missing" in str(error)
    assert file.tell() == 0


def program_map(*streams: tuple[int, int, bytes]) -> bytes:
    """Return a packet of a transport stream with a program map: type, PID and descriptors of each stream."""
    listed = b"".join(struct.pack(">BHH", kind, 0xE000 | pid, 0xF000 | len(more)) + more for kind, pid, more in streams)
    section = struct.pack(">HBBBHH", 1, 0xC1, 0, 0, 0xE100, 0xF000) + listed + bytes(4)
    return (b"\x47\x50\x00\x10\x00\x02" + struct.pack(">H", 0xB000 | len(section)) + section).ljust(188, b"\xff")


H264, HEVC, AAC = (0x1B, 256, b""), (0x24, 256, b""), (0x0F, 257, b"\x0a\x04eng\0")
FRENCH, PRIVATE, AC3 = (0x0F, 257, b"\x0a\x04fra\0"), (0x06, 257, b""), (0x06, 257, b"\x6a\x01\0")
JOINS = {
    "the same codecs": ([H264, AAC], [H264, AAC], False),
    "another language": ([H264, AAC], [H264, FRENCH], False),
    "another PID": ([H264], [H264, AAC], False),
    "another video codec": ([H264, AAC], [HEVC, AAC], True),
    "another audio codec": ([H264, AAC], [H264, AC3], True),
    "named by a descriptor alone": ([H264, PRIVATE], [H264, AC3], True),
}


@pytest.mark.parametrize("case", JOINS)
@pytest.mark.parametrize("apart", [0, 3_000_000])
def test_a_codec_that_changes_under_its_pid_is_found(case, apart):
    """At the place of its map; a map that is cut off at the end of what is read states nothing."""
    first, second, changes = JOINS[case]
    rest = b"\x47\x01\x00\x10".ljust(188, b"\0") * (apart // 188)
    start = program_map(*first) + rest
    data = start + program_map(*second) + rest + program_map(*second)[:20]
    assert codec_changes(io.BytesIO(data), [len(start) + 400]) == (len(start) if changes else 0)
    assert codec_changes(io.BytesIO(data), []) == 0


def test_a_stream_of_many_breaks_is_read_once():
    """The clock of a dashcam's or a damaged recording may break thousands of times."""

    class Counted(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1) -> bytes:
            block = super().read(size)
            self.total += len(block)
            return block

    data = program_map(H264) * 20_000
    file = Counted(data)
    assert codec_changes(file, range(188, len(data), 188)) == 0
    assert file.total <= len(data)
