"""What is kept of a request and of an answer, and how it is written down."""

import base64
import json
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


def test_what_is_no_json_or_no_media() -> None:
    """A body that is not JSON, and media that cannot be read, become their length and digest; an empty body stays."""
    assert recording.shrink_request(request(b"a film")).body == b"<6 bytes, sha256 eb4d67fa94a1035e>"
    assert recording.describe("video", "AAAA") == "<video that cannot be read: 3 bytes, sha256 709e80c88487a241>"
    assert recording.describe("video", "A") == "<video that is not base64: 1 bytes, sha256 559aead08264d579>"
    assert recording.shrink_request(request(b"")).body == b""


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


def test_a_transcript_is_not_behind_a_signed_link() -> None:
    """Whoever has the address of a result can read it, so the host and the query are replaced."""
    link = "https://dashscope-result.oss-cn-beijing.aliyuncs.com/prod/1.json?Expires=1&Signature=x"
    body = json.dumps({"output": {"results": [{"transcription_url": link, "subtask_status": "SUCCEEDED"}]}}).encode()
    kept = recording.shrink_response({"headers": {}, "body": {"string": body}})["body"]["string"]
    assert json.loads(kept)["output"]["results"] == [
        {"transcription_url": f"{recording.RESULTS}/prod/1.json", "subtask_status": "SUCCEEDED"}
    ]
