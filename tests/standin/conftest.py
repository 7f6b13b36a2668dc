"""What the stand-in's own tests share: one running server, and a client of bare sockets."""

from __future__ import annotations

import base64
import contextlib
import functools
import http.client
import io
import json
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import pytest
from PIL import Image

from qwen_omni.standin import Script, Standin
from qwen_omni.standin.marked_media import make_audio, make_image, make_video

PATH = "/compatible-mode/v1/chat/completions"
NO_THINKING = {"enable_thinking": False}


@dataclass
class Answered:
    """One HTTP answer, its events already parsed."""

    status: int
    headers: dict
    raw: bytes
    events: list = field(default_factory=list)

    @property
    def body(self):
        """The parsed body of an answer that is no stream."""
        return json.loads(self.raw)

    @property
    def deltas(self):
        """The deltas of a stream, in order."""
        return [event["choices"][0]["delta"] for event in self.events if event.get("choices")]

    @property
    def text(self):
        """What the deltas join to."""
        return "".join(delta.get("content") or "" for delta in self.deltas)

    @property
    def usage(self):
        """The usage of a stream that told one."""
        return self.events[-1]["usage"]

    @property
    def message(self):
        """The words of a refusal."""
        return self.body["error"]["message"]


def opened(standin, body, *, key=None, path=PATH, method="POST", headers=()):
    """Send one request on a connection of its own; return that and the response, which is not read yet."""
    where = urlsplit(standin.base_url)
    connection = http.client.HTTPConnection(where.hostname, where.port, timeout=20)
    fields = {"Authorization": f"Bearer {key or standin.api_key}", **dict(headers)}
    connection.request(method, path, body if isinstance(body, bytes) else json.dumps(body), fields)
    return connection, connection.getresponse()


def post(standin, body, **how):
    """Send one request and return its whole answer."""
    connection, response = opened(standin, body, **how)
    with contextlib.closing(connection):
        raw = response.read()
    answered = Answered(response.status, {k.lower(): v for k, v in response.getheaders()}, raw)
    if answered.headers.get("content-type", "").startswith("text/event-stream"):
        lines = [line[6:] for line in raw.split(b"\n\n") if line.startswith(b"data: ")]
        answered.events = [json.loads(line) for line in lines if line != b"[DONE]"]
    return answered


@pytest.fixture(scope="session")
def running():
    with Standin(retired=True) as standin:
        yield standin


@pytest.fixture
def standin(running):
    running.clear()
    running.script = Script()
    return running


@pytest.fixture
def ask(standin):
    return functools.partial(post, standin)


@pytest.fixture(scope="session")
def media(tmp_path_factory):
    """A small video, a recording and an image, made once."""
    folder = tmp_path_factory.mktemp("truth")
    return {
        "video": make_video(folder / "video.mp4", seconds=4, size=(320, 180)),
        "audio": make_audio(folder / "audio.wav", seconds=3),
        "image": make_image("5831", (320, 240)),
    }


@pytest.fixture(scope="session")
def parts(media):
    """The content parts of those media."""
    return {
        "video": video_part(media["video"].path.read_bytes()),
        "audio": audio_part(media["audio"].path.read_bytes()),
        "image": image_part(media["image"]),
    }


def data_uri(data, head="data:;base64,"):
    return head + base64.b64encode(data).decode()


def link_part(kind, url, **siblings):
    return {"type": f"{kind}_url", f"{kind}_url": {"url": url}, **siblings}


def video_part(data, head="data:;base64,", **siblings):
    return link_part("video", data_uri(data, head), **siblings)


def audio_part(data, name="wav"):
    return {"type": "input_audio", "input_audio": {"data": data_uri(data), "format": name}}


def image_part(data, **siblings):
    return link_part("image", data_uri(data, "data:image/png;base64,"), **siblings)


def frames_part(images, **siblings):
    return {"type": "video", "video": [data_uri(one, "data:image/jpeg;base64,") for one in images], **siblings}


def chat(*content, model="qwen3.8-omni-flash", **fields):
    """A streaming request whose last content is the question."""
    told = content[0] if len(content) == 1 and isinstance(content[0], str) else [_part(one) for one in content]
    body = {"model": model, "messages": [{"role": "user", "content": told}], "stream": True}
    return {**body, "stream_options": {"include_usage": True}, **fields}


def tool(name, description="", **properties):
    parameters = {"type": "object", "properties": properties, "required": list(properties)}
    return {"type": "function", "function": {"name": name, "description": description, "parameters": parameters}}


def speech(voice, **fields):
    """The fields of a request for audio output."""
    return {"modalities": ["text", "audio"], "audio": {"voice": voice, "format": "wav", **fields}}


def make_png(size, colour="red"):
    held = io.BytesIO()
    Image.new("RGB", size, colour).save(held, "PNG")
    return held.getvalue()


def _part(one):
    return {"type": "text", "text": one} if isinstance(one, str) else one
