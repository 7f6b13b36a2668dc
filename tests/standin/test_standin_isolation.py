"""The stand-in shares nothing with the code it judges, and opens nothing that it was not given."""

from __future__ import annotations

import ast
import socket
import subprocess
import sys
from pathlib import Path

import pytest

import qwen_omni.standin
from qwen_omni.standin.marked_media import make_image, make_video
from qwen_omni.standin.media.open import AUDIO_CONTAINERS, VIDEO_CONTAINERS, UnreadableMediaError, open_media
from qwen_omni.standin.rules.refusal import Refusal
from qwen_omni.standin.stores.intake import Intake, Visitor
from tests.support.rawserver import RawServer

from .conftest import chat, link_part, video_part

FOLDER = Path(qwen_omni.standin.__file__).parent
NO_DOWNLOAD = "Failed to download multimodal content."


def imported(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


@pytest.mark.parametrize("path", sorted(FOLDER.rglob("*.py")), ids=lambda path: path.stem)
def test_imports(path):
    """No module of the stand-in imports the rest of the product, a client library or a framework."""
    names = set(imported(path))
    ours = {name for name in names if name.split(".")[0].startswith(("qwen_omni", "langchain", "llama_index"))}
    assert {name for name in ours if not name.startswith("qwen_omni.standin")} == set()
    assert not names & {"openai", "httpx", "httpx2", "requests"}


def test_only_its_eyes_and_ears_know_pyav():
    """PyAV enters through four modules."""
    users = {path.stem for path in FOLDER.rglob("*.py") if "av" in set(imported(path))}
    assert users == {"audio_decode", "marked_media", "open", "video_decode"}


def test_loading_it_loads_nothing_of_the_product():
    """At run time, too, only the stand-in's own modules are loaded, and what makes the package's own names lazy."""
    code = (
        "import sys, qwen_omni.standin;"
        "print(sorted(n for n in sys.modules if n.startswith('qwen_omni.') and not n.startswith('qwen_omni.standin')))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "['qwen_omni._lazy', 'qwen_omni._moved']"


HOSTILE = {
    "hls": "#EXTM3U\n#EXT-X-TARGETDURATION:4\n#EXTINF:4,\n{target}\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{target}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><BaseURL>{target}</BaseURL></MPD>',
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video {port} RTP/AVP 96\n",
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files(ask, tmp_path, kind):
    """A playlist that points at a video or at an address is not a video, and nothing is opened."""
    video = make_video(tmp_path / "video.mp4", seconds=2, size=(160, 90))
    with socket.create_server(("127.0.0.1", 0)) as trap:
        trap.settimeout(0.2)
        port = trap.getsockname()[1]
        for target in (str(video.path), f"http://127.0.0.1:{port}/video.mp4", f"file://{video.path}"):
            data = HOSTILE[kind].format(target=target, port=port).encode()
            for containers in (VIDEO_CONTAINERS, AUDIO_CONTAINERS):
                with pytest.raises(UnreadableMediaError):
                    open_media(data, containers)
            assert ask(chat(video_part(data))).message.endswith("Invalid video file.")
        with pytest.raises(TimeoutError):
            trap.accept()


@pytest.mark.parametrize(
    ("status", "headers", "words"),
    [
        ("200 OK", "Content-Type: image/png\r\nContent-Length: {size}", "6006"),
        (
            "403 Forbidden",
            "Content-Type: image/png\r\nContent-Length: {size}",
            "Don't have authorization to access the media resource",
        ),
        ("200 OK", "Content-Type: image/png", "Missing Content-Length of multimodal url"),
        ("200 OK", "Content-Type: text/html\r\nContent-Length: {size}", "Wrong Content-Type of multimodal url"),
        ("302 Found", "Location: http://192.0.2.1/a.png\r\nContent-Length: 0", NO_DOWNLOAD),
    ],
    ids=["good", "expired", "endless", "page", "away"],
)
def test_loopback_is_fetched(ask, status, headers, words):
    """An address on this machine is fetched, with the service's words for what is wrong with it."""
    data = make_image("6006", (120, 120))
    head = f"HTTP/1.0 {status}\r\n{headers.format(size=len(data))}\r\n\r\n".encode()
    with RawServer(lambda: [head, data]) as server:
        answered = ask(chat(link_part("image", f"http://{server.host}/a.png"), "which code?"))
    assert words in answered.events[0].get("error", {}).get("message", answered.text)


@pytest.mark.parametrize(
    "url", ["https://example.org/a.mp4", "http://192.0.2.1/a", "http://10.0.0.1/a", "https://127.0.0.1/a"]
)
def test_nothing_else_is_fetched(url, monkeypatch):
    """Any other address fails as a download does, late in the stream, and no connection is tried."""
    monkeypatch.setattr(socket, "create_connection", _no_connection)
    with pytest.raises(Refusal) as caught:
        Intake().fetch(url, visitor=Visitor(model="m", account="a", resolves_oss=False))
    assert caught.value.message.endswith(NO_DOWNLOAD)
    assert caught.value.late


def _no_connection(*args, **kwargs):
    raise AssertionError("a connection was tried")
