"""Files made by somebody who means harm, or by a broken disk: typed errors, nothing else opened, no long wait."""

import contextlib
import io
import os
import struct
from datetime import timedelta
from pathlib import Path

import av
import pytest
from hypothesis import HealthCheck, given, settings, strategies as st

from qwen_omni.errors import MediaError, UnreadableMediaError
from qwen_omni.media.files.safe_open import open_local
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource
from tests.support import making
from tests.support.watching import listener, watched

_LISTS = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXTINF:10,\n{target}\n#EXT-X-ENDLIST\n",
    "hls-key": '#EXTM3U\n#EXT-X-TARGETDURATION:10\n#EXT-X-KEY:METHOD=AES-128,URI="{target}"\n#EXTINF:10,\n{target}\n',
    "hls-master": "#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\n{target}\n",
    "hls-after-noise": "\x01\x02\n#EXTM3U\n#EXTINF:10,\n{target}\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\nduration 10\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" mediaPresentationDuration="PT10S"><Period>'
    '<AdaptationSet mimeType="video/mp4"><Representation id="1" bandwidth="1"><BaseURL>{target}</BaseURL>'
    "</Representation></AdaptationSet></Period></MPD>",
    "ffmetadata": ";FFMETADATA1\nmovie={target}\n",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\nc=IN IP4 127.0.0.1\nm=video 5004 RTP/AVP 96\na=control:{target}\n",
    "m3u": "{target}\n",
    "asx": '<asx version="3.0"><entry><ref href="{target}"/></entry></asx>',
    "rtsptext": "RTSPtextRTSP://{target}\n",
    "svg": '<svg xmlns="http://www.w3.org/2000/svg"><image href="{target}"/></svg>',
}


@pytest.mark.parametrize("aim", ["file", "file-url", "http"])
@pytest.mark.parametrize("kind", _LISTS)
def test_a_list_named_like_a_video_leads_nowhere(tmp_path: Path, kind, aim):
    """A playlist or manifest named .mp4 is refused; neither the file nor the address it names is touched."""
    target = tmp_path / "target.mp4"
    target.write_bytes(making.video("mp4"))
    crafted = tmp_path / "crafted.mp4"
    with listener() as (port, peers), watched(target) as seen:
        aims = {"file": str(target), "file-url": target.as_uri(), "http": f"http://127.0.0.1:{port}/target.mp4"}
        crafted.write_text(_LISTS[kind].format(target=aims[aim]))
        source = MediaSource.from_path(crafted)
        with open_local(source, tmp_path) as file, pytest.raises(UnreadableMediaError, match=r"crafted\.mp4"):
            probe(file, label=source.label, media_type_hint="video/mp4")

    assert seen == []
    assert peers == []


def _alias(target: Path) -> bytes:
    """Write a QuickTime alias record: the data lie in another file (QuickTime File Format, data reference atom)."""
    path = os.fsencode(target)
    path += b"\0" * (len(path) % 2)
    record = bytes(10) + bytes(1 + 27) + bytes(12) + bytes([6]) + b"target".ljust(63, b"\0") + bytes(16)
    record += struct.pack(">HH", 1, 1) + bytes(16) + struct.pack(">HH", 2, len(path)) + path + b"\xff\xff\0\0"
    return struct.pack(">I4sI", 12 + len(record), b"alis", 0) + record


def _with_alias(movie: bytes, target: Path) -> bytes:
    """Let the first track of a movie point at another file; its index stands at the end, so nothing else moves."""
    reference = _alias(target)
    at = movie.index(b"dref") + 12
    old = int.from_bytes(movie[at : at + 4], "big")
    patched = bytearray(movie[:at] + reference + movie[at + old :])
    start = 0
    for box in (b"moov", b"trak", b"mdia", b"minf", b"dinf", b"dref"):
        start = patched.rindex(box, start, at) - 4
        size = int.from_bytes(patched[start : start + 4], "big") + len(reference) - old
        patched[start : start + 4] = size.to_bytes(4, "big")
    return bytes(patched)


def test_a_movie_whose_data_lie_in_another_file_leads_nowhere(tmp_path: Path):
    """A QuickTime file may name another file as the place of its data; FFmpeg can follow it, we never do."""
    target = tmp_path / "target.mov"
    target.write_bytes(making.video("mov", "mpeg4"))
    crafted = tmp_path / "crafted.mov"
    crafted.write_bytes(_with_alias(making.video("mov", "mpeg4"), target))

    with watched(target) as seen, crafted.open("rb") as file, contextlib.suppress(UnreadableMediaError):
        probe(file, label="clip")
    with watched(target) as followed, contextlib.suppress(av.FFmpegError):
        av.open(str(crafted), container_options={"enable_drefs": "1", "use_absolute_path": "1"}).close()

    assert seen == []
    assert followed


def test_the_watch_sees_ffmpeg_follow_a_playlist(tmp_path: Path):
    """The proof above is worth something: FFmpeg, left alone with the same playlist, does open the other file."""
    target = tmp_path / "target.ts"
    target.write_bytes(making.video("mpegts", "mpeg2video"))
    playlist = tmp_path / "list.m3u8"
    playlist.write_text(_LISTS["hls"].format(target=target.name))

    with watched(target) as seen, av.open(str(playlist)) as container:
        assert container.format.name == "hls"

    assert seen


SAMPLES = {
    "mp4": making.video("mp4", "mpeg4", 1, sound_codec="aac"),
    "mkv": making.video("matroska", "libx264", 1),
    "avi": making.video("avi", "msmpeg4", 1),
    "flv": making.video("flv", "flv", 1),
    "wmv": making.video("asf", "wmv2", 1),
    "ts": making.video("mpegts", "mpeg2video", 1),
    "wav": making.wav(0.5),
    "mp3": making.sound("mp3", "libmp3lame", 0.5, cover=True),
    "aac": making.sound("adts", "aac", 0.5),
    "flac": making.sound("flac", "flac", 0.5),
    "ogg": making.sound("ogg", "libopus", 0.5, rate=48_000),
    "png": making.picture("PNG"),
    "jpeg": making.turned_picture(6),
    "gif": making.picture("GIF"),
    "tiff": making.picture("TIFF"),
    "webp": making.picture("WEBP"),
    "bmp": making.picture("BMP"),
    "avif": making.picture("AVIF"),
}
FUZZ = settings(
    max_examples=100,
    deadline=timedelta(seconds=5),
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)


def look(data: bytes) -> None:
    with contextlib.suppress(MediaError):
        info = probe(io.BytesIO(data), label="clip")
        assert info.duration is None or info.duration > 0
        assert info.kind == "audio" or (info.width or 0) > 0


@FUZZ
@given(name=st.sampled_from(sorted(SAMPLES)), at=st.floats(0, 1))
def test_any_truncation_is_media_or_a_typed_error(name, at):
    """A file cut anywhere is read or refused, never anything else."""
    look(SAMPLES[name][: int(len(SAMPLES[name]) * at)])


@FUZZ
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    flips=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=40),
    early=st.booleans(),
)
def test_any_flipped_bits_are_media_or_a_typed_error(name, flips, early):
    """A file with flipped bits, often in its header, is read or refused."""
    data = bytearray(SAMPLES[name])
    reach = min(len(data), 600) if early else len(data)
    for at, bit in flips:
        data[int(at * reach)] ^= 1 << bit
    look(bytes(data))


@FUZZ
@given(
    start=st.sampled_from([b"", *(data[:16] for data in SAMPLES.values())]),
    rest=st.binary(max_size=3000),
)
def test_any_bytes_are_media_or_a_typed_error(start, rest):
    """Random bytes, also behind a true beginning, are read or refused."""
    look(start + rest)


class _Endless(io.RawIOBase):
    """A file that claims to be small and never ends."""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        return 1000 if whence == io.SEEK_END else offset

    def tell(self) -> int:
        return 0

    def read(self, size: int = -1) -> bytes:
        return SAMPLES["aac"][:size]


@pytest.mark.timeout(60)
def test_reading_comes_to_an_end():
    """A file that grows without end while it is read is refused after a bounded number of bytes."""
    with pytest.raises(UnreadableMediaError):
        probe(_Endless(), label="clip")
