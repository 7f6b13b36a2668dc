"""The estimate is the bill: thirty media by each family of models, through the whole call.

Two computations that share no code: the estimate from facts of the file, the stand-in's bill from what it decodes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path
from typing import Any, Literal

import pytest
from PIL import Image

from qwen_omni import (
    AudioPart,
    ChatOptions,
    ChatRequest,
    FramesPart,
    ImagePart,
    MediaSource,
    OmniClient,
    Sampling,
    Settings,
    VideoPart,
    estimate,
    user,
)
from qwen_omni.profiles import profile_for
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import Encoding, make_audio, make_image, make_video
from tests.support import making

Kind = Literal["image", "audio", "video"]
_OFF = ChatOptions(thinking=False)
FAMILIES = {
    "qwen3.8-omni-flash": _OFF, "qwen3.5-omni-plus": ChatOptions(), "qwen3-omni-flash": _OFF, "qwen3.8-flash": _OFF,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Row:
    """One medium: how it is made, and how it is asked about."""

    kind: Kind
    make: Callable[[Path], Any]
    sampling: Sampling = field(default_factory=Sampling)
    high_resolution: bool = False


def clip(suffix: str = ".mp4", **facts: Any) -> Callable[[Path], MediaSource]:
    """Return what makes a video; three seconds of 320x180 at 5 frames a second, unless told otherwise."""

    def make(folder: Path) -> MediaSource:
        return MediaSource.from_path(
            make_video(folder / f"a{suffix}", **{"seconds": 3, "size": (320, 180), "fps": 5, **facts}).path
        )

    return make


def recording(suffix: str = ".wav", **facts: Any) -> Callable[[Path], MediaSource]:
    """Return what makes a recording, of two seconds unless told otherwise."""
    return lambda folder: MediaSource.from_path(make_audio(folder / f"a{suffix}", **{"seconds": 2, **facts}).path)


def held(data: bytes) -> Callable[[Path], MediaSource]:
    """Return what hands out bytes."""
    return lambda _: MediaSource.from_bytes(data)


def photo(*size: int, kind: str = "PNG") -> Callable[[Path], MediaSource]:
    """Return what makes an image."""
    return lambda _: MediaSource.from_bytes(make_image("1234", (size[0], size[1]), kind))


def frames(count: int, *size: int) -> Callable[[Path], tuple[MediaSource, ...]]:
    """Return what makes a list of frames."""
    return lambda _: tuple(
        MediaSource.from_bytes(make_image(str(1000 + number), (size[0], size[1]), "JPEG")) for number in range(count)
    )


def transparent() -> bytes:
    """Return an image with an alpha channel."""
    return making.saved(Image.new("RGBA", (200, 120), (10, 20, 30, 90)))


VIDEOS = {
    "720p with sound": clip(size=(1280, 720), seconds=2, fps=2),
    "shortest": clip(seconds=2, size=(128, 96)),
    "an odd length at 30 fps": clip(".mkv", seconds=5, fps=30, size=(128, 96)),
    "ntsc, silent": clip(seconds=4, size=(426, 240), fps=23.976, sound=False),
    "upright": clip(size=(180, 320)),
    "square": clip(size=(256, 256)),
    "one frame a second": clip(seconds=20, fps=1, size=(96, 64)),
    "a third of a frame a second": clip(seconds=30, fps=Fraction(1, 3), size=(96, 64), sound=False),
    "60 fps": clip(seconds=2, fps=60, size=(64, 64)),
    "stereo": clip(encoding=Encoding(channels=2, sample_rate=44_100)),
    "mov": clip(".mov"),
    "avi": held(making.video("avi", "mpeg4", 3.5, size=(160, 120), sound_codec="mp2")),
    "half a second more": held(making.video("mp4", "mpeg4", 2.5, size=(160, 120))),
    "turned": held(making.video("mp4", "mpeg4", 3, size=(160, 96), rotation=90)),
}
SAMPLED = {
    "1 fps": Sampling(fps=1),
    "4 fps": Sampling(fps=4),
    "0.5 fps": Sampling(fps=0.5),
    "few pixels": Sampling(max_pixels=65_536),
}
IMAGES = {
    "square photo": photo(512, 512), "vga": photo(640, 480), "tiny": photo(60, 40),
    "hd": photo(1920, 1080, kind="JPEG"), "panorama": photo(2000, 40), "upright photo": photo(120, 900),
    "transparent": held(transparent()), "turned photo": held(making.turned_picture(6, (300, 200))),
}  # fmt: skip
SOUNDS = {
    "seven seconds": recording(seconds=7), "mp3": recording(".mp3"), "44.1 kHz": recording(sample_rate=44_100),
    "less than a second": held(making.wav(0.4)), "stereo sound": held(making.wav(2.3, channels=2)),
}  # fmt: skip
ROWS: dict[str, Row] = {
    **{name: Row(kind="video", make=make) for name, make in VIDEOS.items()},
    **{name: Row(kind="video", make=clip(seconds=4), sampling=one) for name, one in SAMPLED.items()},
    "frames": Row(kind="video", make=frames(4, 160, 120)),
    "an odd number of frames": Row(kind="video", make=frames(7, 320, 180), sampling=Sampling(fps=1)),
    **{name: Row(kind="image", make=make) for name, make in IMAGES.items()},
    "high resolution": Row(kind="image", make=photo(2400, 1600, kind="JPEG"), high_resolution=True),
    **{name: Row(kind="audio", make=make) for name, make in SOUNDS.items()},
}


def is_taken(model: str, row: Row) -> bool:
    """Whether a family takes a medium, and what is asked of it."""
    profile = profile_for(model)
    asks = row.sampling != Sampling() or row.high_resolution
    return row.kind in profile.inputs and (profile.sampling_fields or not asks)


CASES = [
    pytest.param(model, row, id=f"{model} {name}")
    for model in FAMILIES
    for name, row in ROWS.items()
    if is_taken(model, row)
]


@pytest.fixture(scope="module")
def service() -> Iterator[Standin]:
    """One stand-in for all rows."""
    with Standin() as standin:
        yield standin


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Callable[[Row], Any]:
    """Return the media of a row, made once for all families."""
    folder = tmp_path_factory.mktemp("bill")
    known: dict[int, Any] = {}

    def make(row: Row) -> Any:
        if id(row) not in known:
            place = folder / str(len(known))
            place.mkdir()
            known[id(row)] = row.make(place)
        return known[id(row)]

    return make


def part_of(row: Row, media: Any) -> Any:
    """Return the part that asks about a medium."""
    if isinstance(media, tuple):
        return FramesPart(frames=media, sampling=row.sampling)
    if row.kind == "video":
        return VideoPart(source=media, sampling=row.sampling)
    return (ImagePart if row.kind == "image" else AudioPart)(source=media)


def test_thirty_media() -> None:
    """The table is as large as it says, and each family takes most of it."""
    assert len(ROWS) >= 30
    assert all(sum(is_taken(model, row) for row in ROWS.values()) >= 28 for model in FAMILIES)


@pytest.mark.parametrize(("model", "row"), CASES)
def test_the_estimate_is_the_bill(
    model: str, row: Row, made: Callable[[Row], Any], service: Standin, tmp_path: Path
) -> None:
    """Tokens of images, videos and their audio: what was estimated is what is reported."""
    media = made(row)
    settings = Settings.load(api_key=service.api_key, base_url=service.base_url, cache_dir=tmp_path, max_retries=0)
    options = replace(FAMILIES[model], high_resolution_images=row.high_resolution or None)
    request = ChatRequest(model=model, messages=(user(part_of(row, media), "What?"),), options=options)
    told = estimate(request, settings=replace(settings, media_root=Path("/"))).tokens
    with OmniClient(replace(settings, media_root=Path("/"))) as client:
        usage = client.complete(request).usage
    assert usage is not None
    kinds = ("image", "video", "audio")
    assert {kind: getattr(told, kind) for kind in kinds} == {kind: usage.input_details.get(kind, 0) for kind in kinds}
    assert getattr(told, row.kind) > 0
