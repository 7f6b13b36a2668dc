"""A stand-in with a bucket of its own, and carriers that reach it."""

import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from qwen_omni.client import make_carrier
from qwen_omni.media.files.safe_open import version_of
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import MediaPayload, Message, media_parts
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.request.prepared_request import FittedMedia, Fitting, upload_media
from qwen_omni.settings import OssCredentials, OssSettings, Settings
from qwen_omni.standin import OssKey, Standin
from qwen_omni.upload.uploader import Uploader

MODEL = "qwen3.8-omni-flash"
BUCKET = "standin-media"
KEYS = {
    "LTAIstandin00001": OssKey(secret="very-secret-0001"),
    "STS.standin00002": OssKey(secret="very-secret-0002", token="very-long-token-0002"),
}


@pytest.fixture
def standin() -> Iterator[Standin]:
    """A stand-in whose bucket takes a plain key and a temporary one."""
    with Standin(oss_keys=KEYS) as service:
        yield service


def credentials(name: str = "LTAIstandin00001") -> OssCredentials:
    return OssCredentials.of(name, KEYS[name].secret, KEYS[name].token)


def bucket(standin: Standin, **choices) -> OssSettings:
    return OssSettings(**{
        "bucket": BUCKET, "endpoint": standin.oss_endpoint, "region": "cn-standin", "credentials": credentials(),
        "prefix": "ours", **choices,
    })  # fmt: skip


def settings_for(standin: Standin, cache_dir: Path, **choices) -> Settings:
    fixed = {"retry_wait": 0.0, "read_timeout": 20.0, "cache_dir": cache_dir, "oss": bucket(standin)}
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, **{**fixed, **choices})


def delivered(
    messages: tuple[Message, ...], profile: Profile, settings: Settings
) -> tuple[FittedMedia, dict[MediaSource, MediaPayload]]:
    """Check, fit and upload the media of a conversation, as a call does."""
    request = ChatRequest(model=profile.name, messages=messages)
    found = media_parts(request.messages)
    media = Fitting(request=request, found=found, profile=profile, settings=settings)
    media.check()
    fitted = media.fit()
    return fitted, upload_media(fitted, make_carrier(settings), request.model)


@pytest.fixture
def carrier(standin: Standin, tmp_path: Path) -> Callable[..., Uploader]:
    """Makes carriers that share one cache; `oss` takes choices about the bucket."""

    def make(*, oss: dict | None = None, **choices) -> Uploader:
        folder = choices.pop("cache_dir", tmp_path / "cache")
        return make_carrier(settings_for(standin, folder, **{"oss": bucket(standin, **(oss or {})), **choices}))

    return make


@pytest.fixture
def film(tmp_path: Path) -> Callable[[int], MediaPayload]:
    """Makes a file of so many random bytes that is ready to go."""

    def make(size_bytes: int) -> MediaPayload:
        return ready(random_file(tmp_path / f"my holiday film {size_bytes}.mp4", size_bytes))

    return make


def random_file(path: Path, size_bytes: int) -> Path:
    with path.open("wb") as file:
        for start in range(0, size_bytes, 2**20):
            file.write(os.urandom(min(2**20, size_bytes - start)))
    return path


def ready(path: Path) -> MediaPayload:
    with path.open("rb") as file:
        version = version_of(file)
    return MediaPayload(
        path=path.resolve(), version=version, size_bytes=version.size, format="mp4", content_type="video/mp4"
    )


def sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def operations(standin: Standin) -> list[str]:
    return [call.operation for call in standin.stores.calls]


def refreshed(item: MediaPayload, **changes) -> MediaPayload:
    return dataclasses.replace(item, **changes)
