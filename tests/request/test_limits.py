"""`request.fit` refuses what the model does not take, by its documented limits, and says where and what next."""

from dataclasses import replace
from fractions import Fraction

import pytest

from qwen_omni.errors import MediaDoesNotFitError, UnsupportedMediaError
from qwen_omni.media.info import MediaInfo
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import (
    AudioPart,
    FramesPart,
    ImagePart,
    Message,
    TextPart,
    VideoPart,
    media_of,
    media_parts,
    user,
)
from qwen_omni.profiles import Profile, profile_for
from qwen_omni.request.fit import check_conversation, check_part

NEW, PLUS, OLD, TURBO = (
    profile_for(name) for name in ("qwen3.8-omni-flash", "qwen3.5-omni-plus", "qwen3-omni-flash", "qwen-omni-turbo")
)
FILE = MediaSource.from_path("clip")
LINK = MediaSource.from_url("https://example.com/clip")
IMAGE = MediaInfo(kind="image", container="png", media_type="image/png", size_bytes=1000, width=100, height=50)
AUDIO = MediaInfo(kind="audio", container="wav", media_type="audio/wav", size_bytes=1000, duration=Fraction(9))
VIDEO = MediaInfo(
    kind="video", container="mp4", media_type="video/mp4", size_bytes=1000, duration=Fraction(9), width=64, height=48
)
A_SECOND = MediaSource.from_path("other")


def image(source: MediaSource = FILE) -> ImagePart:
    return ImagePart(source=source)


def audio(source: MediaSource = FILE) -> AudioPart:
    return AudioPart(source=source)


def video(source: MediaSource = FILE) -> VideoPart:
    return VideoPart(source=source)


def frames(count: int, source: MediaSource = FILE) -> FramesPart:
    return FramesPart(frames=(source,) * count)


def check_parts(messages: list[Message], profile: Profile, infos: dict[MediaSource, MediaInfo]) -> None:
    """Check a conversation, and each piece of media with known facts."""
    check_conversation(messages, profile)
    for place, part in media_parts(messages):
        for source in media_of(part):
            if source in infos:
                check_part(part, infos[source], profile, f"{place}: {source.label}")


@pytest.mark.parametrize(
    ("profile", "messages"),
    [
        pytest.param(NEW, [user("hi", image(), audio(), video(), frames(2))], id="3.8-mixes"),
        pytest.param(PLUS, [user(image(), video())], id="3.5-mixes"),
        pytest.param(OLD, [user(image(), image(A_SECOND), "text")], id="old-many-images"),
        pytest.param(OLD, [user(image()), user(audio()), user(video())], id="old-turns-differ"),
        pytest.param(TURBO, [user(frames(4)), user(image())], id="turbo-fewest-frames"),
        pytest.param(TURBO, [user(frames(80))], id="turbo-most-frames"),
        pytest.param(profile_for("qwen-plus"), [user("text"), Message(role="assistant", parts=())], id="text-model"),
        pytest.param(PLUS, [user(*[video(LINK)] * 512)], id="most-links"),
        pytest.param(PLUS, [user(*[image()] * 250, *[image(LINK)] * 1798)], id="most-images"),
    ],
)
def test_what_the_model_takes_passes(profile, messages):
    """Counts and mixtures up to the documented limits are let through."""
    check_conversation(messages, profile)


@pytest.mark.parametrize(
    ("profile", "messages", "says"),
    [
        pytest.param(
            profile_for("qwen-plus"),
            [user("a"), user("b", video())],
            "message 1 part 1: qwen-plus takes text, not video (clip). Use qwen3.8-omni-flash.",
            id="text-model",
        ),
        pytest.param(
            OLD, [user(image(), "x", audio())], "message 0 part 2: qwen3-omni-flash takes text and one", id="mix"
        ),
        pytest.param(TURBO, [user("x"), user(video(), frames(4), image())], "message 1 part 2", id="mix-frames-image"),
    ],
)
def test_kinds_and_mixtures_that_the_model_does_not_take(profile, messages, says):
    """The error names the place and a model that takes it."""
    if "frames" in str(messages):
        profile = replace(profile, limits=replace(profile.limits, videos=2, videos_inline=2))
    with pytest.raises(UnsupportedMediaError) as caught:
        check_conversation(messages, profile)

    assert says in str(caught.value)
    assert "qwen3.8-omni-flash" in str(caught.value)


@pytest.mark.parametrize(
    ("profile", "messages", "place", "limit", "actual"),
    [
        pytest.param(OLD, [user(video()), user("x", video(A_SECOND))], "message 1 part 1", 1, 2, id="one-video"),
        pytest.param(OLD, [user(video()), user(frames(2))], "message 1 part 0", 1, 2, id="frames-are-a-video"),
        pytest.param(OLD, [user(audio(LINK)), user(audio())], "message 1 part 0", 1, 2, id="one-audio"),
        pytest.param(NEW, [user(*[video()] * 70)], "message 0 part 64", 64, 70, id="64-videos"),
        pytest.param(PLUS, [user(*[video(LINK)] * 513)], "message 0 part 512", 512, 513, id="512-links"),
        pytest.param(PLUS, [user(*[audio()] * 251)], "message 0 part 250", 250, 251, id="250-inline"),
        pytest.param(PLUS, [user(*[image(LINK)] * 2049)], "message 0 part 2048", 2048, 2049, id="2048-links"),
        pytest.param(
            PLUS, [user(*[image(LINK)] * 1799, *[image()] * 250)], "message 0 part 2048", 2048, 2049, id="both"
        ),
        pytest.param(NEW, [user("x", frames(1))], "message 0 part 1", 2, 1, id="one-frame"),
        pytest.param(NEW, [user(frames(0))], "message 0 part 0", 2, 0, id="no-frame"),
        pytest.param(NEW, [user(frames(2049))], "message 0 part 0", 2048, 2049, id="too-many-frames"),
        pytest.param(OLD, [user(frames(129))], "message 0 part 0", 128, 129, id="too-many-frames-old"),
        pytest.param(TURBO, [user(frames(3))], "message 0 part 0", 4, 3, id="too-few-frames-turbo"),
    ],
)
def test_counts_beyond_the_limit(profile, messages, place, limit, actual):
    """The error names the first part too many, the limit and the number in the whole conversation."""
    with pytest.raises(MediaDoesNotFitError) as caught:
        check_conversation(messages, profile)

    assert str(caught.value).startswith(place + ":")
    assert (caught.value.limit, caught.value.actual) == (limit, actual)


@pytest.mark.parametrize(
    ("profile", "part", "info"),
    [
        pytest.param(NEW, image(), replace(IMAGE, width=11, height=2200), id="smallest-and-narrowest"),
        pytest.param(NEW, image(), replace(IMAGE, size_bytes=20 * 2**20), id="image-bytes"),
        pytest.param(NEW, video(), replace(VIDEO, duration=Fraction(7200)), id="two-hours"),
        pytest.param(NEW, video(), replace(VIDEO, duration=Fraction(2)), id="two-seconds"),
        pytest.param(NEW, video(), replace(VIDEO, duration=None), id="unknown-seconds"),
        pytest.param(TURBO, audio(), replace(AUDIO, duration=Fraction(180), size_bytes=10 * 2**20), id="turbo-audio"),
        pytest.param(NEW, audio(), replace(AUDIO, duration=Fraction(1, 10)), id="short-sound"),
    ],
)
def test_media_within_the_limits_pass(profile, part, info):
    """The limits themselves are allowed."""
    check_parts([user(part)], profile, {FILE: info})


@pytest.mark.parametrize(
    ("profile", "part", "info", "limit", "actual"),
    [
        pytest.param(
            NEW, image(), replace(IMAGE, size_bytes=20 * 2**20 + 1), 20 * 2**20, 20 * 2**20 + 1, id="image-bytes"
        ),
        pytest.param(OLD, image(), replace(IMAGE, size_bytes=11 * 2**20), 10 * 2**20, 11 * 2**20, id="image-bytes-old"),
        pytest.param(TURBO, audio(), replace(AUDIO, size_bytes=11 * 2**20), 10 * 2**20, 11 * 2**20, id="audio-bytes"),
        pytest.param(OLD, video(), replace(VIDEO, size_bytes=257 * 2**20), 256 * 2**20, 257 * 2**20, id="video-bytes"),
        pytest.param(NEW, video(), replace(VIDEO, duration=Fraction(7201)), 7200, 7201, id="over-two-hours"),
        pytest.param(PLUS, video(), replace(VIDEO, duration=Fraction(7200)), 3600, 7200, id="over-one-hour"),
        pytest.param(TURBO, video(), replace(VIDEO, duration=Fraction(81, 2)), 40, 40.5, id="over-40-seconds"),
        pytest.param(NEW, video(), replace(VIDEO, duration=Fraction(19, 10)), 2, 1.9, id="under-2-seconds"),
        pytest.param(OLD, audio(), replace(AUDIO, duration=Fraction(1201)), 1200, 1201, id="audio-over-20-minutes"),
        pytest.param(NEW, image(), replace(IMAGE, width=10, height=100), 11, 10, id="narrow"),
        pytest.param(NEW, image(), replace(IMAGE, width=4000, height=16), 200, 250, id="aspect"),
        pytest.param(NEW, frames(2), replace(IMAGE, height=9), 11, 9, id="frame-too-small"),
    ],
)
def test_media_beyond_a_limit(profile, part, info, limit, actual):
    """The error names place, label, limit and the number found."""
    with pytest.raises(MediaDoesNotFitError) as caught:
        check_parts([user("x"), user("y", part)], profile, {FILE: info})

    assert str(caught.value).startswith("message 1 part 1: clip ")
    assert (caught.value.limit, caught.value.actual) == (limit, actual)


@pytest.mark.parametrize(
    ("part", "info", "says"),
    [
        pytest.param(image(), VIDEO, "is a video (mp4) and cannot be sent as an image. Send it as a video", id="video"),
        pytest.param(video(), AUDIO, "is audio without video (wav)", id="sound-as-video"),
        pytest.param(audio(), VIDEO, "Send it as a video", id="video-as-sound"),
        pytest.param(frames(2), VIDEO, "cannot be a frame", id="video-as-frame"),
        pytest.param(video(), IMAGE, "Send it as an image", id="image-as-video"),
    ],
)
def test_media_that_is_not_what_its_part_says(part, info, says):
    """What is in the file counts, and the error says which part to use."""
    with pytest.raises(UnsupportedMediaError) as caught:
        check_parts([user(part)], NEW, {FILE: info})

    assert says in str(caught.value)


def test_the_first_fault_of_the_conversation_is_told():
    """With two faults the earlier part is named."""
    infos = {FILE: replace(VIDEO, duration=Fraction(9000)), A_SECOND: replace(VIDEO, duration=Fraction(1))}

    with pytest.raises(MediaDoesNotFitError, match="message 0 part 1: other"):
        check_parts([user("x", video(A_SECOND), video())], NEW, infos)


def test_links_are_only_counted():
    """Nothing is known about a link, so nothing but its kind and number is checked."""
    check_parts([user(video(LINK), TextPart(text="what?"))], NEW, {})
