"""Media of a conversation are checked, made to fit, and each takes the way that is open."""

import base64
import io
import os
import subprocess
import sys
import tracemalloc
from dataclasses import replace
from pathlib import Path

import pytest
from PIL import Image

from qwen_omni.errors import (
    DeliveryError,
    MediaDoesNotFitError,
    MediaOutsideRootError,
    QwenOmniError,
    UnreadableMediaError,
    UnsupportedMediaError,
)
from qwen_omni.media.probe.probe import probe
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, FramesPart, ImagePart, MediaPayload, Message, VideoPart, user
from qwen_omni.profiles import profile_for
from qwen_omni.request.prepared_request import RequestBody
from qwen_omni.settings import Settings
from tests.support import making
from tests.support.watching import opened_by_python, watched
from tests.upload.conftest import delivered

MODEL = profile_for("qwen3.8-omni-flash")
LINK = MediaSource.from_url("https://example.com/a.mp4")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A folder with one file of each kind."""
    root = tmp_path / "root"
    root.mkdir()
    (root / "clip.mp4").write_bytes(making.video("mp4", "mpeg4", 3, sound_codec="aac"))
    (root / "tone.mp3").write_bytes(making.sound("mp3", "libmp3lame"))
    (root / "photo.jpg").write_bytes(making.turned_picture(6))
    return root


def within(root: Path, **choices) -> Settings:
    """Settings for the service itself: all local media travel inside the request."""
    fixed = {"base_url": "https://dashscope.aliyuncs.com/compatible-mode/v1", "delivery": "inline"}
    return Settings.load(api_key="unused", media_root=root, **{**fixed, **choices})


def run(root: Path, *messages: Message, model=MODEL, **choices) -> dict[MediaSource, MediaPayload]:
    _, media = delivered(messages, model, within(root, **choices))
    return media


def test_each_kind_travels_as_the_service_wants_it(root):
    """Files are named, bytes are held; images tell their type, sound its format; links go as they are."""
    clip, tone, photo = (MediaSource.from_path(root / name) for name in ("clip.mp4", "tone.mp3", "photo.jpg"))
    frame = MediaSource.from_bytes(making.picture("WEBP"))

    found = run(
        root,
        user("look", VideoPart(source=clip), AudioPart(source=tone), ImagePart(source=photo)),
        user(FramesPart(frames=(frame, frame)), VideoPart(source=LINK), VideoPart(source=clip)),
    )

    upright = list(found)[2]  # the photo lay on its side, so it is sent as another file
    assert list(found) == [clip, tone, upright, frame, LINK]
    assert (found[clip].path, found[clip].data, found[clip].media_type) == (root / "clip.mp4", None, "")
    assert found[clip].size_bytes == (root / "clip.mp4").stat().st_size
    assert (found[tone].format, found[tone].media_type) == ("mp3", "")
    assert found[upright].media_type == "image/jpeg"
    with Image.open(found[upright].path) as turned:
        assert turned.size == (30, 40)
    assert (found[frame].path, found[frame].data, found[frame].media_type) == (None, frame.data, "image/webp")
    assert found[LINK] == MediaPayload(url=LINK.url)
    body = RequestBody({"media": list(found.values())})
    assert len(b"".join(body)) == body.length


def test_each_source_is_opened_for_itself_and_not_for_each_part(root):
    """A file that appears in many parts is looked at once, and decoded a little once, since it is sent as it is."""
    clip = MediaSource.from_path(root / "clip.mp4")

    with opened_by_python() as names:
        run(root, user(VideoPart(source=clip), VideoPart(source=clip)), user(VideoPart(source=clip)))

    assert names.count("clip.mp4") == 2


def test_a_conversation_of_text_opens_nothing(root):
    """Without media nothing is read."""
    with opened_by_python() as names:
        assert run(root, user("hello")) == {}

    assert names == []


def test_a_forbidden_path_anywhere_stops_everything(root):
    """When the last of many paths leads out of the root, not even the first is opened."""
    good, bad = MediaSource.from_path(root / "clip.mp4"), MediaSource.from_url("file:///etc/passwd")

    refused = pytest.raises(MediaOutsideRootError, match=r"message 1 part 1: /etc/passwd.*media_root")
    with opened_by_python() as names, watched(root / "clip.mp4") as seen, refused:
        run(root, user(VideoPart(source=good)), user("x", ImagePart(source=bad)))

    assert (names, seen) == ([], [])


@pytest.mark.parametrize(
    ("model", "parts"),
    [
        ("qwen-plus", lambda clip: [VideoPart(source=clip)]),
        ("qwen3-omni-flash", lambda clip: [VideoPart(source=clip), ImagePart(source=clip)]),
        ("qwen3-omni-flash", lambda clip: [VideoPart(source=clip), VideoPart(source=LINK)]),
    ],
    ids=["modality", "mixture", "count"],
)
def test_what_shows_without_opening_is_checked_first(root, model, parts):
    """Wrong kinds, mixtures and counts are refused before any file is opened."""
    with watched(root / "clip.mp4") as seen, pytest.raises((UnsupportedMediaError, MediaDoesNotFitError)):
        run(root, user(*parts(MediaSource.from_path(root / "clip.mp4"))), model=profile_for(model))

    assert seen == []


def test_the_first_fault_is_told(root):
    """With several faults the first in the conversation is the one raised, whatever kind it is."""
    (root / "text.mp4").write_text("hello")
    text, gone = MediaSource.from_path(root / "text.mp4"), MediaSource.from_path(root / "gone.mp4")
    private = MediaSource.from_url("http://localhost/a.mp4")
    faults = {text: UnreadableMediaError, gone: UnreadableMediaError, private: DeliveryError}

    for sources in ([text, gone, private], [private, text, gone], [gone, private, text]):
        with pytest.raises(faults[sources[0]], match="message 0 part 0") as caught:
            run(root, user(*(VideoPart(source=source) for source in sources)))
        assert sources[0].label in str(caught.value)


@pytest.mark.timeout(10)
@pytest.mark.parametrize(
    ("make", "error", "says"),
    [
        pytest.param(lambda path: path.touch(), UnreadableMediaError, "empty", id="zero-byte-mp4"),
        pytest.param(lambda path: path.write_text("hello"), UnreadableMediaError, "text", id="text-named-mp4"),
        pytest.param(lambda path: path.write_text("#EXTM3U\n/etc/x\n"), UnreadableMediaError, "HLS", id="playlist"),
        pytest.param(Path.mkdir, UnreadableMediaError, "a folder", id="folder"),
        pytest.param(os.mkfifo, UnreadableMediaError, "a named pipe", id="pipe"),
        pytest.param(lambda path: path.symlink_to("/dev/zero"), MediaOutsideRootError, "media_root", id="dev-zero"),
        pytest.param(lambda path: path.symlink_to("/etc/passwd"), MediaOutsideRootError, "media_root", id="link-out"),
        pytest.param(
            lambda path: path.write_bytes(making.video("mp4", "mpeg4", 1)),
            MediaDoesNotFitError,
            "1.00 s",
            id="too-short",
        ),
        pytest.param(
            lambda path: path.write_bytes(making.wav(3)), UnsupportedMediaError, "Send it as audio", id="sound"
        ),
    ],
)
def test_hostile_and_unfit_files(root, make, error, says):
    """Each is a typed error that names place and file."""
    make(root / "x.mp4")

    with pytest.raises(error, match=r"message 0 part 1: .*x\.mp4") as caught:
        run(root, user("look", VideoPart(source=MediaSource.from_path(root / "x.mp4"))))

    assert says in str(caught.value)


def test_a_container_that_the_service_does_not_document_becomes_mp4(root):
    """A transport stream goes as MP4."""
    (root / "x.ts").write_bytes(making.video("mpegts", "mpeg2video", 3))

    (made,) = run(root, user(VideoPart(source=MediaSource.from_path(root / "x.ts")))).values()

    assert made.format == "mp4"


def test_a_range_and_a_budget_reach_the_request(root):
    """A part's range is cut out and its budget's sampling stands beside it; its own file stays as it is."""
    (root / "long.mp4").write_bytes(making.video("mp4", "mpeg4", 9))
    part = VideoPart(source=MediaSource.from_path(root / "long.mp4"), start=2, end=6.5, budget="static")

    fitted, media = delivered((user("look", part, part),), MODEL, within(root))
    sent = fitted.messages[0].parts[1]

    assert sent.sampling.fps == 4
    with media[sent.source].path.open("rb") as file:
        assert probe(file, label="x").duration == 4.5
    assert len(media) == 1


def test_a_range_of_a_link_is_refused(root):
    """Nothing of a link is downloaded here, so nothing can be cut out of it."""
    with pytest.raises(UnsupportedMediaError, match="is a link"):
        run(root, user(VideoPart(source=LINK, start=3)))


@pytest.mark.parametrize("part", [VideoPart, AudioPart])
@pytest.mark.parametrize("fragment", ["t=60,90", "t=npt:60", "xywh=0,0,9,9&t=60"])
def test_seconds_in_the_address_of_a_link_are_told(root, part, fragment):
    """The service takes a link as a whole: it is sent as it is, and a warning says so, without what signs the link."""
    link = MediaSource.from_url(f"https://example.com/a.mp4?Signature=secret#{fragment}")

    with pytest.warns(UserWarning, match=r"message 0 part 1: https://example\.com/a\.mp4.* as a whole.*#t=") as told:
        found = run(root, user("look", part(source=link)))

    assert found[link].url == link.url
    assert ["secret" in str(one.message) for one in told] == [False]


@pytest.mark.parametrize("fragment", ["", "#", "#start", "#at=60", "#xywh=0,0,9,9"])
def test_other_addresses_are_sent_without_a_word(root, fragment):
    """Only seconds are told of; a picture has none."""
    link, picture = (MediaSource.from_url(f"https://example.com/{end}") for end in (f"a.mp4{fragment}", "a.png#t=1"))

    assert len(run(root, user(VideoPart(source=link), ImagePart(source=picture)))) == 2


def test_a_temporary_file_lives_as_long_as_its_delivery(root):
    """What was made for a request is there until the request is forgotten, and gone then."""
    part = VideoPart(source=MediaSource.from_path(root / "clip.mp4"), start=0, end=2.5)
    media = run(root, user(part))
    (path,) = [made.path for made in media.values()]

    assert path.exists()
    del media
    assert not path.exists()


@pytest.mark.slow
def test_sound_too_large_for_a_request_is_made_smaller(root):
    """Twelve megabytes of base64 become a small MP3 of the same length."""
    data = making.wav(seconds=9 * 2**20 / 32_000)
    uri = f"data:audio/wav;base64,{base64.b64encode(data).decode()}"
    assert len(uri) > 12 * 10**6

    (made,) = run(root, user(AudioPart(source=MediaSource.from_url(uri)))).values()

    assert made.format == "mp3"
    assert made.size_bytes < 2 * 10**6


def test_a_data_uri_of_twelve_megabytes_does_not_fit(root):
    """The limit is on the encoded string, and the error tells both numbers and what to do."""
    data = making.picture("BMP", (2048, 1536))
    uri = f"data:image/bmp;base64,{base64.b64encode(data).decode()}"
    assert len(uri) > 12 * 10**6

    with pytest.raises(MediaDoesNotFitError, match=r"12\.6 MB as base64.*10 MB.*URL") as caught:
        run(root, user(ImagePart(source=MediaSource.from_url(uri), budget="original")))

    assert caught.value.limit == 10_000_000
    assert caught.value.actual > 12 * 10**6


def test_private_links_pass_only_where_the_service_is_private(root):
    """A stand-in on loopback may be given loopback links."""
    private = MediaSource.from_url("http://127.0.0.1:9/a.mp4")

    with pytest.raises(DeliveryError, match="cannot be reached"):
        run(root, user(VideoPart(source=private)))
    assert run(root, user(VideoPart(source=private)), base_url="http://10.0.0.7/compatible-mode/v1") == {
        private: MediaPayload(url=private.url)
    }


def test_a_large_file_stays_out_of_memory(root):
    """Delivering and sending 7 MB takes less than 2 MB of memory at once."""
    (root / "long.wav").write_bytes(making.wav(seconds=7 * 10**6 / 32_000))
    message = user(AudioPart(source=MediaSource.from_path(root / "long.wav")))
    run(root, message)  # what loads on first use is not counted

    tracemalloc.start()
    try:
        body = RequestBody({"media": list(run(root, message).values())})
        sent = sum(len(block) for block in body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert sent == body.length > 9 * 10**6
    assert peak < 2 * 10**6


def test_media_libraries_load_on_first_use():
    """Importing `request.prepare` loads neither PyAV nor Pillow."""
    code = "import sys, qwen_omni.request.prepared_request; sys.exit(bool({'av', 'PIL'} & set(sys.modules)))"

    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_refusal_is_an_error_of_ours(root):
    """Whatever text stands in a message as a path, the outcome is media or a typed error."""
    odd = [
        "a\0b",
        "~/x",
        "\ud800",
        "x" * 9000,
        "C:\\x",
        "\\\\host\\x",
        "",
        "//",
        "...",
        "con:",
        "/dev/stdin",
        "/proc/self/mem",
    ]
    for told in odd:
        with pytest.raises(QwenOmniError):
            run(root, user(ImagePart(source=MediaSource.from_path(told))))


def test_frames_are_made_to_fit_like_images(root):
    """Frames beyond the budget are made smaller, each in its place; small ones and those of `original` go untouched."""
    large, small = (MediaSource.from_bytes(making.picture("JPEG", size)) for size in ((2560, 1440), (320, 180)))
    part = FramesPart(frames=(large, small, large, small))

    fitted, media = delivered((user(part),), MODEL, within(root))
    (sent,) = fitted.messages[0].parts
    sizes = []
    for frame in sent.frames:
        ready = media[frame]
        with Image.open(io.BytesIO(ready.data) if ready.data else ready.path) as seen:
            sizes.append(seen.size)

    assert sizes == [(1280, 720), (320, 180), (1280, 720), (320, 180)]
    untouched, _ = delivered((user(replace(part, budget="original")),), MODEL, within(root))
    assert untouched.messages[0].parts[0].frames == part.frames


@pytest.mark.parametrize(("uplink_mbps", "as_it_is"), [(1000, True), (0.001, False)])
def test_the_speed_of_sending_is_weighed(root, uplink_mbps, as_it_is):
    """On a quick line a clip goes as it is; on a slow one it is made smaller first."""
    clip = MediaSource.from_bytes(making.video("mp4", "mpeg4", 6, size=(480, 360)))
    sent, _ = delivered((user(VideoPart(source=clip)),), MODEL, within(root, uplink_mbps=uplink_mbps))
    assert (sent.messages[0].parts[0].source == clip) is as_it_is
