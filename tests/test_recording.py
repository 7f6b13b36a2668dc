"""What is kept of a request and of an answer, and how it is written down."""

import base64
import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from vcr.request import Request

from qwen_omni.standin.marked_media import Encoding, make_audio, make_image, make_video
from tests.support import recording


def request(
    body: Any, uri: str = "https://dashscope.aliyuncs.com/compatible-mode/v1/chat/completions?Signature=x"
) -> Request:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-12345678", "User-Agent": "x"}
    return Request("POST", uri, iter([raw[:5], raw[5:]]), headers)


def uri_of(data: bytes, kind: str = "") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """The same second by two encoders' settings, and another second."""
    folder = tmp_path_factory.mktemp("clips")
    codes = ["1001", "1002"]
    make_video(folder / "a.mp4", codes=codes, size=(320, 180))
    make_video(folder / "b.mp4", codes=codes, size=(320, 180), encoding=Encoding(options={"crf": "35"}))
    make_video(folder / "c.mp4", codes=["1001", "1003"], size=(320, 180))
    make_audio(folder / "d.wav", codes=codes)
    return {path.stem: path.read_bytes() for path in folder.iterdir()}


def test_media_becomes_what_it_is(clips: dict[str, bytes]) -> None:
    """A video is told by kind, container, pixels, seconds, frame rate, sound and outer markers."""
    video = {"type": "video_url", "video_url": {"url": uri_of(clips["a"])}, "fps": 1}
    sound = {"type": "input_audio", "input_audio": {"data": uri_of(clips["d"]), "format": "wav"}}
    picture = {"type": "image_url", "image_url": {"url": uri_of(make_image("1001", (320, 240)), "image/png")}}
    assert recording.described([video, sound, picture]) == [
        {"type": "video_url", "fps": 1,
         "video_url": {"url": "<video mp4 320x180 2.0 s 25.00 fps with sound picture 1001..1002 sound 1001..1002>"}},
        {"type": "input_audio", "input_audio": {"data": "<audio wav 2.0 s sound 1001..1002>", "format": "wav"}},
        {"type": "image_url", "image_url": {"url": "<image png 320x240 picture 1001..1001>"}},
    ]  # fmt: skip


def test_encoders_may_differ_and_videos_may_not(clips: dict[str, bytes]) -> None:
    """Other bytes of the same film match; another film does not."""
    told = {name: recording.describe("video", base64.b64encode(clips[name]).decode()) for name in "abc"}
    assert clips["a"] != clips["b"]
    assert told["a"] == told["b"] != told["c"]


def test_request_keeps_no_secret() -> None:
    """Host, query, key and idle headers are gone; the body is what was asked, whoever streamed it."""
    body = {"model": "m", "messages": [{"content": "https://h/a.mp4?Signature=secret"}]}
    kept = recording.shrink_request(request(body))
    assert kept.uri == "https://service/compatible-mode/v1/chat/completions"
    assert dict(kept.headers) == {"Content-Type": "application/json"}
    assert json.loads(kept.body) == {"model": "m", "messages": [{"content": "https://h/a.mp4?<query>"}]}


def test_chance_is_numbered() -> None:
    """Random identifiers become numbers, so that a result still belongs to its call."""
    one, two = "0f8fad5b-d9cb-469f-a165-70867728950e", "7c9e6679-7425-40de-944b-e07fc1f90ae7"
    kept = recording.shrink_request(request({"a": one, "b": two, "c": one}))
    assert json.loads(kept.body) == {"a": "id-1", "b": "id-2", "c": "id-1"}


def test_what_is_no_json_or_no_media_stays() -> None:
    """A body that is not JSON is kept as it is; media that cannot be read is told by its length."""
    assert recording.shrink_request(request(b"--form data")).body == b"--form data"
    assert recording.describe("video", "AAAA") == "<video that cannot be read, 4 characters>"


def test_cassette_reads_like_a_text() -> None:
    """Bodies of requests are YAML, streams are blocks of lines, and both come back as they were."""
    stream = 'data: {"choices": [{"delta": {"content": "你好"}}]}\n\ndata: [DONE]\n\n'
    body = json.dumps({"messages": [{"content": "Hi\nyou"}]}, sort_keys=True)
    cassette = {"version": 1, "interactions": [
        {"request": {"method": "POST", "uri": "u", "body": body, "headers": {}},
         "response": {"body": {"string": stream}}}
    ]}  # fmt: skip
    text = recording.serialize(cassette)
    assert "      messages:\n" in text
    assert '        data: {"choices": [{"delta": {"content": "你好"}}]}' in text.splitlines()
    assert recording.deserialize(text) == cassette


def test_answer_keeps_status_type_and_body() -> None:
    """Of an answer's headers only the type is kept."""
    answer = {
        "status": {"code": 200},
        "headers": {"Content-Type": ["a"], "X-Request-Id": ["b"]},
        "body": {"string": b"c"},
    }
    assert recording.shrink_response(answer) == {**answer, "headers": {"Content-Type": ["a"]}}


def test_origin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A recording is called live only if there was a key, and says its day."""
    assert recording.origin() == "stand-in"
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-12345678")
    assert recording.origin() == "live"
    recording.write_origin(tmp_path, "stand-in", day=date(2026, 11, 23))
    told = (tmp_path / "ORIGIN.md").read_text()
    assert told.startswith("# Origin: stand-in\n\nRecorded on 2026-11-23 from the stand-in")


@pytest.mark.parametrize(
    ("text", "flaw"),
    [
        ("key: sk-12345678\n", "a key"),
        ("  Authorization: x\n", "an authorization header"),
        ("url: https://h/a?Expires=1\n", "a signed query"),
        (f"url: data:video/mp4;base64,{'A' * 80}\n", "inline media in a request"),
        ("x" * 100_001, "100,001 bytes"),
    ],
)
def test_flaws_are_found(text: str, flaw: str, tmp_path: Path) -> None:
    """Each thing that a cassette must not have is found by name."""
    (tmp_path / "a.yaml").write_text(text)
    assert flaw in recording.flaws(tmp_path / "a.yaml")
    assert recording.orphans(tmp_path, set()) == ["a.yaml"]
    assert recording.orphans(tmp_path, {"a"}) == []
