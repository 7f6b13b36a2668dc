"""What a batch takes: checked before anything is sent, with the numbers of Batch File (Model Studio, October 2026)."""

import json
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from qwen_omni import (
    AudioPart,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    DeliveryError,
    FramesPart,
    ImagePart,
    MediaDoesNotFitError,
    MediaSource,
    UnsupportedMediaError,
    VideoPart,
    user,
)
from qwen_omni.addresses import unsigned
from qwen_omni.archive import lines as lines_module
from qwen_omni.archive.lines import Lines, check_lines, estimate_lines
from qwen_omni.settings import Settings

CN = Settings.load(api_key="sk-1", base_url="https://dashscope.aliyuncs.com/compatible-mode/v1")
TEXT = ChatRequest(model="qwen-plus", messages=(user("Hi"),))


def link(path: str = "a.mp4", *, hours: float | None = None) -> MediaSource:
    """A link, signed for so many hours."""
    query = "" if hours is None else f"?Expires={int(time.time() + hours * 3600)}&OSSAccessKeyId=i&Signature=s"
    return MediaSource.from_url(f"https://bucket.oss-cn-beijing.aliyuncs.com/{path}{query}")


def about(*parts: Any, model: str = "qwen3.5-omni-plus") -> ChatRequest:
    """A question about media."""
    return ChatRequest(model=model, messages=(user(*parts, "What is it?"),))


def bodies(requests: dict[str, ChatRequest]) -> dict[str, dict[str, Any]]:
    """The bodies of the lines of a file, by name."""
    rows = written(check_lines(requests, CN, 24))
    assert all(row["method"] == "POST" for row in rows)
    return {row["custom_id"]: row["body"] for row in rows}


def written(lines: Lines) -> list[dict[str, Any]]:
    """The rows of a file, whose length is what was announced."""
    content = b"".join(lines)
    assert len(content) == lines.length
    return [json.loads(row) for row in content.splitlines()]


VIDEO = VideoPart(source=link())
IMAGE = ImagePart(source=link("a.png"))
SOUND = AudioPart(source=link("a.mp3"))
LOCAL = ImagePart(source=MediaSource.from_bytes(b"x"))
SPEAKS = ChatOptions(modalities=("text", "audio"))
HEADERS = ChatOptions(extra_headers={"X-A": "secret-header"})
REFUSED: list[tuple[str, dict[str, ChatRequest], type[Exception], str]] = [
    ("none", {}, ConfigurationError, "at least one request"),
    ("no request", {"a": "Hi"}, ConfigurationError, "expected a ChatRequest, got str"),  # type: ignore[dict-item]
    ("long name", {"x" * 257: TEXT}, ConfigurationError, "1 to 256 characters"),
    ("empty name", {"": TEXT}, ConfigurationError, "1 to 256 characters"),
    ("two models", {"a": TEXT, "b": replace(TEXT, model="qwen-flash")}, ConfigurationError, "must have one model"),
    ("model", {"a": replace(TEXT, model="qwen3.8-omni-flash")}, ConfigurationError, "not offered in Batch File"),
    ("speech", {"a": replace(about(), options=SPEAKS)}, ConfigurationError, "returns no speech"),
    ("headers", {"a": replace(TEXT, options=HEADERS)}, ConfigurationError, "drop extra_headers="),
    (
        "thinking",
        {"a": replace(TEXT, options=ChatOptions(thinking=True)), "b": TEXT},
        ConfigurationError,
        "Lines 'a' and 'b' have different thinking modes",
    ),
    ("two kinds", {"a": about(VIDEO, IMAGE)}, UnsupportedMediaError, "image and video"),
    ("sound beside", {"a": about(IMAGE, SOUND)}, UnsupportedMediaError, "audio and image"),
    ("local", {"a": about(LOCAL)}, DeliveryError, "is local, and Batch File takes links only"),
    (
        "temporary",
        {"a": about(VideoPart(source=MediaSource.from_url("oss://dashscope/a.mp4")))},
        DeliveryError,
        "is valid for 48 hours",
    ),
    ("short link", {"a": about(VideoPart(source=link(hours=23)))}, DeliveryError, "before the batch must have ended"),
    ("private", {"a": about(VideoPart(source=MediaSource.from_url("http://10.0.0.1/a.mp4")))}, DeliveryError, "10.0."),
    ("long line", {"a": replace(TEXT, messages=(user("x" * 1_000_000),))}, MediaDoesNotFitError, "takes 1,000,000"),
]  # fmt: skip


@pytest.mark.parametrize(("requests", "kind", "words"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_is_refused(requests: dict[str, ChatRequest], kind: type[Exception], words: str) -> None:
    """One line each, with what to do; no secret in it."""
    with pytest.raises(kind, match=words) as caught:
        check_lines(requests, CN, 24)
    assert "secret" not in str(caught.value)
    assert "Signature=s" not in str(caught.value)


@pytest.mark.parametrize(("hours", "lifetime", "good"), [(24, 26, True), (24, 24.5, False), (336, 340, True)])
def test_links_outlive_the_window(hours: int, lifetime: float, good: bool) -> None:
    """With an hour to spare before the batch begins; a public link has no end."""
    requests = {"a": about(VideoPart(source=link(hours=lifetime)))}
    check_lines({"a": about(VIDEO)}, CN, hours)
    if good:
        check_lines(requests, CN, hours)
        return
    with pytest.raises(DeliveryError):
        check_lines(requests, CN, hours)


@pytest.mark.parametrize("hours", [23, 337, 24.5, float("nan"), "24h"])
def test_the_window(hours: Any) -> None:
    """24 to 336 hours."""
    with pytest.raises(ConfigurationError, match="window_hours"):
        check_lines({"a": TEXT}, CN, hours)


@pytest.mark.parametrize(
    ("limit", "value", "count", "words"),
    [("MOST_LINES", 3, 4, "4 requests; Batch File takes 3"), ("MOST_FILE_BYTES", 300, 4, "Batch File takes 300")],
)
def test_the_size_of_a_file(monkeypatch: pytest.MonkeyPatch, limit: str, value: int, count: int, words: str) -> None:
    """Too many lines, or bytes, with the numbers in the error."""
    monkeypatch.setattr(lines_module, limit, value)
    with pytest.raises(MediaDoesNotFitError, match=words):
        check_lines({str(at): TEXT for at in range(count)}, CN, 24)


def test_the_documented_numbers() -> None:
    """50,000 lines, 500 MB, 1 MB a line: where the page and its script disagree, the smaller."""
    assert (lines_module.MOST_LINES, lines_module.MOST_FILE_BYTES, lines_module.MOST_LINE_BYTES) == (
        50_000,
        500_000_000,
        1_000_000,
    )
    with pytest.raises(MediaDoesNotFitError, match="101 requests; Batch File takes 100"):
        check_lines({str(at): replace(TEXT, model="batch-test-model") for at in range(101)}, CN, 24)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"region": "us"}, "Beijing and Singapore only"), ({"base_url": "http://10.0.0.7:8000/v1"}, "needs DashScope")],
)
def test_servers_without_batch_file(settings: dict[str, Any], words: str) -> None:
    """Named before anything is sent."""
    with pytest.raises(ConfigurationError, match=words):
        check_lines({"a": TEXT}, Settings.load(api_key="sk-1", **settings), 24)


BODIES: list[tuple[str, ChatRequest, Callable[[dict[str, Any]], object], object]] = [
    ("text is not streamed", TEXT, lambda body: body.get("stream"), None),
    ("omni models only stream", about(VIDEO), lambda body: body["stream"], True),
    (
        "thinking only streams",
        replace(TEXT, options=ChatOptions(thinking=True)),
        lambda body: (body["stream"], body["enable_thinking"]),
        (True, True),
    ),
    ("options go along", replace(TEXT, options=ChatOptions(max_tokens=9)), lambda body: body["max_tokens"], 9),
    ("the tier does not", replace(TEXT, options=ChatOptions(tier="batch")), sorted, ["messages", "model"]),
    (
        "frames are a video",
        about(FramesPart(frames=(link("1.jpg"), link("2.jpg")))),
        lambda body: body["messages"][0]["content"][0]["type"],
        "video",
    ),
]  # fmt: skip


@pytest.mark.parametrize(("request_", "look", "right"), [row[1:] for row in BODIES], ids=[row[0] for row in BODIES])
def test_bodies(request_: ChatRequest, look: Callable[[dict[str, Any]], object], right: object) -> None:
    """A line holds the body of the same call in real time."""
    assert look(bodies({"a": request_})["a"]) == right


def test_the_test_model_has_an_endpoint_of_its_own() -> None:
    """And no profile, so nothing warns."""
    rows = written(check_lines({"a": replace(TEXT, model="batch-test-model")}, CN, 24))
    assert (rows[0]["url"], rows[0]["body"]["model"]) == ("/v1/chat/ds-test", "batch-test-model")


def test_the_content_of_a_line_is_its_key() -> None:
    """A new signature is not a new question; the same question twice in a job is two."""
    first, second = (
        check_lines({"a": about(VideoPart(source=link(hours=hours)))}, CN, 24).digests["a"] for hours in (30, 40)
    )
    assert first == second
    other = check_lines({"a": about(VideoPart(source=link("b.mp4", hours=30)))}, CN, 24).digests["a"]
    twice = check_lines({"a": TEXT, "b": TEXT}, CN, 24).digests
    assert len({first, other, *twice.values()}) == 4
    assert check_lines({"other": TEXT}, CN, 24).digests["other"] == twice["a"]


@pytest.mark.parametrize(
    ("url", "right"),
    [
        ("https://h/a?x=1", "https://h/a?x=1"),
        ("https://h/a?Expires=1893456000&Signature=s&OSSAccessKeyId=i&v=2", "https://h/a?v=2"),
        ("https://h/a?x-oss-date=20260101T000000Z&x-oss-expires=60&x-oss-signature=s", "https://h/a"),
        ("https://h/a?X-Amz-Date=20260101T000000Z&X-Amz-Expires=60&X-Amz-Signature=s&p=", "https://h/a?p="),
    ],
)
def test_unsigned(url: str, right: str) -> None:
    """Only what a signature adds is taken away."""
    assert unsigned(url) == right


def test_the_estimate_of_a_job() -> None:
    """Each request is billed by itself, at half price; the newest model in real time is cheaper than 3.5-omni."""
    made = estimate_lines([TEXT, TEXT], "qwen-plus", CN)
    assert made.cost.cny == pytest.approx((made.list_cost.cny or 0) / 2)
    assert (made.lines, made.notes) == (2, ())
    omni = estimate_lines([about(IMAGE)], "qwen3.5-omni-flash", CN)
    assert omni.notes[-1].startswith("batch is dearer here: qwen3.8-omni-flash takes CNY")
    assert "dearer" in str(omni)


def test_nothing_is_opened(tmp_path: Path) -> None:
    """A local path is refused by its kind; whether it exists is never asked."""
    with pytest.raises(DeliveryError):
        check_lines({"a": about(VideoPart(source=MediaSource.from_path(tmp_path / "gone.mp4")))}, CN, 24)


def test_a_large_file_is_sent_in_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of whole lines, whatever part of the requests goes into the file."""
    monkeypatch.setattr(lines_module, "_BLOCK", 300)
    lines = check_lines({str(at): TEXT for at in range(9)}, CN, 24)
    assert len(list(lines)) > 2
    assert [row["custom_id"] for row in written(lines.only(["7", "3"]))] == ["7", "3"]
    assert len(written(lines)) == 9
