"""What a call asks for by name arrives: channels and pixels are not lost while media are made to fit."""

from dataclasses import replace

import pytest

from qwen_omni import (
    AudioPart,
    ChatOptions,
    ChatRequest,
    ImagePart,
    MediaSource,
    OmniClient,
    Sampling,
    VideoPart,
    estimate,
    user,
)
from qwen_omni.errors import MediaDoesNotFitError
from qwen_omni.profiles import profile_for
from qwen_omni.request.fit import Fitter
from qwen_omni.standin.marked_media import Encoding, make_audio, make_image, make_video
from tests.upload.conftest import MODEL

SLOW = 0.05  # megabits a second: whatever can be made smaller is


def request_for(part, **options):
    asked = ChatOptions(thinking=False, **options)
    return ChatRequest(model=MODEL, messages=(user(part, "What is it?"),), options=asked)


def at(path):
    return MediaSource.from_path(path, trusted=True)


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    """Stereo and mono sound, a film with stereo sound, one of full HD without sound, a large picture."""
    folder = tmp_path_factory.mktemp("asked")
    make_audio(folder / "stereo.wav", seconds=6, sample_rate=48_000, channels=2)
    make_audio(folder / "stereo.m4a", seconds=3, channels=2)
    make_audio(folder / "mono.wav", seconds=3)
    make_video(folder / "film.mp4", seconds=3, size=(320, 180), encoding=Encoding(channels=2))
    make_video(folder / "hd.mp4", seconds=3, size=(1920, 1080), fps=8, sound=False)
    (folder / "photo.jpg").write_bytes(make_image("4711", (3840, 2160), "JPEG"))
    return folder


@pytest.fixture
def ask(standin, settings):
    """Asks, and gives what was estimated and billed for pictures, and what the service saw."""

    def asked(part, *, uplink_mbps=SLOW, **options):
        request = request_for(part, **options)
        told = estimate(request, settings=settings).tokens
        with OmniClient(replace(settings, uplink_mbps=uplink_mbps)) as client:
            billed = client.complete(request).usage.input_details
        (facts,) = standin.requests[-1].media
        return (told.image, told.video), (billed.get("image", 0), billed.get("video", 0)), facts

    return asked


@pytest.mark.parametrize(("multichannel", "channels"), [(True, 2), (None, 1)])
@pytest.mark.slow
def test_channels_arrive(standin, media, ask, multichannel, channels):
    """Sound to be heard by channel goes as it is, however long that takes; without the option it is made smaller."""
    *_, facts = ask(AudioPart(source=at(media / "stereo.wav")), multichannel=multichannel)

    assert facts.channels == channels
    assert standin.requests[-1].body.get("use_multichannel") is multichannel


def test_channels_of_a_film_arrive(media, ask):
    """A film that the service takes as it is keeps its channels."""
    *_, facts = ask(VideoPart(source=at(media / "film.mp4")), multichannel=True, uplink_mbps=0.001)

    assert (facts.channels, facts.fps) == (2, 25)


def test_one_channel_is_not_lost(media, ask):
    """Of sound that has one channel a part can be asked about with the option set."""
    *_, facts = ask(AudioPart(source=at(media / "mono.wav"), start=1), multichannel=True)

    assert facts.duration == pytest.approx(2, abs=0.1)


LOST = {
    "a part": (lambda folder: AudioPart(source=at(folder / "stereo.wav"), start=1), "only a part of it is used"),
    "a format": (lambda folder: AudioPart(source=at(folder / "stereo.m4a")), "does not document aac"),
    "a part of a film": (lambda folder: VideoPart(source=at(folder / "film.mp4"), end=2.5), "only a part of it"),
    "a budget": (lambda folder: VideoPart(source=at(folder / "film.mp4"), budget="static"), "the budget 'static' asks"),
}


@pytest.mark.parametrize(("part", "why"), LOST.values(), ids=LOST)
def test_what_would_lose_channels_is_refused(standin, settings, media, part, why):
    """What has to be made anew would have one channel: the error says so, with the way out, and the estimate too."""
    request = request_for(part(media), multichannel=True)

    told = rf"2 channels.*cannot be sent unchanged: .*{why}.*one channel.*turn multichannel off"
    with OmniClient(settings) as client, pytest.raises(MediaDoesNotFitError, match=told) as caught:
        client.complete(request)

    assert (caught.value.limit, caught.value.actual) == (1, 2)
    assert standin.requests == []
    assert any(why in problem for problem in estimate(request, settings=settings).problems)


def test_what_is_too_large_is_refused(media):
    """Sound that no way of delivery has room for cannot keep its channels either."""
    fitter = Fitter(profile=profile_for(MODEL), media_root=media, room_bytes=100_000, multichannel=True)

    with pytest.raises(MediaDoesNotFitError, match=r"more than can be delivered.*turn multichannel off"):
        fitter.plan(AudioPart(source=at(media / "stereo.wav")), "message 0 part 0")


@pytest.mark.parametrize(
    ("high", "most", "seen"),
    [(None, None, (1526, 859, 1224)), (True, None, (3840, 2160, 8_162)), (True, 500_000, (3840, 2160, 8_162)),
     (None, 16_777_216, (3840, 2160, 8_162))],
)  # fmt: skip
def test_pixels_of_a_picture_arrive(standin, media, ask, high, most, seen):
    """High resolution and `max_pixels` lift the budget's sides; the estimate equals the bill."""
    part = ImagePart(source=at(media / "photo.jpg"), sampling=Sampling(max_pixels=most))
    told, billed, facts = ask(part, high_resolution_images=high)

    assert (facts.width, facts.height, billed[0]) == seen
    assert told == billed
    (sent, _) = standin.requests[-1].body["messages"][0]["content"]
    assert sent.get("max_pixels") == most


@pytest.mark.slow
def test_pixels_of_a_film_arrive(media, ask):
    """`max_pixels` lifts the sides of a film; the estimate equals the bill."""
    part = VideoPart(source=at(media / "hd.mp4"), sampling=Sampling(max_pixels=2_000_000), budget="static")
    told, billed, facts = ask(part)

    assert 1_990_000 <= facts.width * facts.height <= 2_010_000
    assert told == billed
    usual, *_ = ask(replace(part, sampling=Sampling(max_pixels=921_600)))
    assert told[1] > 2 * usual[1]
