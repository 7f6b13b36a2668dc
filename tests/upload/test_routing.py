"""Which way media goes: by encoded size, length, and what is open."""

import pytest

from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError
from qwen_omni.messages import MediaPayload
from qwen_omni.upload.uploader import AvailableRoutes, choose_route

LIMIT = 10_000_000
SMALL, LARGE = MediaPayload(size_bytes=7_000_000), MediaPayload(size_bytes=8_000_000)
HUGE = MediaPayload(size_bytes=1_200_000_000)


def ways(delivery="auto", *, bucket=False, temporary=True, limit=LIMIT):
    return AvailableRoutes(delivery=delivery, inline_limit=limit, bucket=bucket, temporary=temporary)


@pytest.mark.parametrize(
    ("media", "seconds", "open_", "route"),
    [
        pytest.param(SMALL, 30, ways(bucket=True), "inline", id="short-and-small"),
        pytest.param(SMALL, None, ways(bucket=True), "inline", id="image"),
        pytest.param(SMALL, 30.1, ways(bucket=True), "oss", id="long-with-bucket"),
        pytest.param(SMALL, 300, ways(), "inline", id="long-without-bucket"),
        pytest.param(LARGE, 10, ways(bucket=True), "oss", id="large-with-bucket"),
        pytest.param(LARGE, 10, ways(), "temporary", id="large-without-bucket"),
        pytest.param(HUGE, 10, ways(bucket=True), "oss", id="huge-with-bucket"),
        pytest.param(LARGE, 10, ways(limit=None, temporary=False), "inline", id="no-limit"),
        pytest.param(SMALL, 10, ways("oss", bucket=True), "oss", id="asked-oss"),
        pytest.param(SMALL, 10, ways("temporary"), "temporary", id="asked-temporary"),
        pytest.param(SMALL, 300, ways("inline", bucket=True), "inline", id="asked-inline"),
    ],
)
def test_the_route(media, seconds, open_, route):
    """Inline while short and small; then the bucket; then inline if it fits; then the temporary store."""
    assert choose_route(media, open_, seconds=seconds, name="x") == route


@pytest.mark.parametrize(
    ("media", "open_", "error", "says"),
    [
        pytest.param(LARGE, ways("inline"), MediaDoesNotFitError, r"10\.7 MB.*10 MB.*delivery='auto'", id="inline"),
        pytest.param(LARGE, ways(temporary=False), MediaDoesNotFitError, r"oss=OssSettings", id="nothing-open"),
        pytest.param(HUGE, ways(), MediaDoesNotFitError, r"takes 1,024 MiB", id="too-large-for-temporary"),
        pytest.param(SMALL, ways("oss"), ConfigurationError, r"no bucket is set.*OssSettings", id="no-bucket"),
        pytest.param(SMALL, ways("temporary", temporary=False), ConfigurationError, "only DashScope", id="vllm"),
    ],
)
def test_what_is_not_open_says_what_to_set(media, open_, error, says):
    """A refusal names the numbers and the setting that helps."""
    with pytest.raises(error, match=says):
        choose_route(media, open_, seconds=10, name="x")
