"""`media.info` lets through what the service documents."""

import pytest

from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.media.info import MediaInfo, documented_format


def info(kind: str, container: str, codec: str | None = None) -> MediaInfo:
    return MediaInfo(kind=kind, container=container, media_type="", size_bytes=1, audio_codec=codec)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("kind", "container", "codec"),
    [
        ("audio", "wav", "pcm_s16le"), ("audio", "wav", "gsm_ms"), ("audio", "mp3", "mp3"), ("audio", "aac", "aac"),
        ("audio", "amr", "amr_nb"), ("audio", "3gp", "amr_wb"), ("audio", "3gp", "aac"), ("audio", "flac", "flac"),
        *(("image", kind, None) for kind in ("bmp", "jpeg", "png", "tiff", "webp", "heic")),
        *(("video", kind, None) for kind in ("mp4", "avi", "mkv", "webm", "mov", "flv", "wmv", "3gp")),
    ],
)  # fmt: skip
def test_documented_kinds_pass(kind, container, codec):
    """The name given is the one the service uses."""
    assert documented_format(info(kind, container, codec), name="clip") == container


@pytest.mark.parametrize(
    ("kind", "container", "codec", "says"),
    [
        ("audio", "ogg", "opus", "takes 3gp, aac, amr, flac, mp3, wav. Convert it to wav"),
        ("audio", "m4a", "aac", "aac audio in a m4a file"),
        ("audio", "wav", "mp3", "mp3 audio in a wav file"),
        ("audio", "mp4", "aac", "Convert it to wav"),
        ("image", "gif", None, "takes bmp, heic, jpeg, png, tiff, webp. Convert it to png"),
        ("image", "avif", None, "Convert it to png"),
        ("video", "mpegts", None, "Convert it to mp4"),
        ("video", "ogg", None, "Convert it to mp4"),
    ],
)
def test_other_kinds_are_refused_with_the_list(kind, container, codec, says):
    """The error tells what is taken and what to convert to."""
    with pytest.raises(UnsupportedMediaError, match="clip") as caught:
        documented_format(info(kind, container, codec), name="clip")

    assert says in str(caught.value)
