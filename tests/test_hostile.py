"""Hostile media through the front doors: each is a typed error, nothing is opened and nothing is sent."""

import base64
import io
import os
import wave
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import ChatRequest, ImagePart, MediaSource, OmniClient, Settings, errors, user
from tests.support.watching import listener, opened_by_python

ASK = {"type": "text", "text": "What is in it?"}


@pytest.fixture
def root(tmp_path):
    """The folder that messages may name files in; a secret lies beside it."""
    (tmp_path / "root").mkdir()
    (tmp_path / "secret.mp4").write_bytes(b"\0\0\0\x18ftypmp42secret")
    return tmp_path / "root"


@pytest.fixture
def llm(standin, root):
    """A model confined to the folder."""
    return ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=root)


def linked(root):
    """A link inside the folder that leads out of it."""
    (root / "link.mp4").symlink_to(root.parent / "secret.mp4")
    return str(root / "link.mp4")


def linked_folder(root):
    """A linked folder that leads out."""
    (root / "up").symlink_to(root.parent)
    return str(root / "up" / "secret.mp4")


OUTSIDE = {
    "absolute": lambda root: str(root.parent / "secret.mp4"),
    "dots": lambda root: str(root / ".." / "secret.mp4"),
    "link": linked,
    "linked folder": linked_folder,
    "system file": lambda _: "/etc/passwd",
    "home": lambda _: str(Path.home() / ".profile"),
}


@pytest.mark.parametrize("spelling", ["path", "file URL", "OpenAI part", "v0 block"])
@pytest.mark.parametrize("make", OUTSIDE.values(), ids=OUTSIDE)
def test_files_outside_the_root(llm, standin, root, make, spelling):
    """However a message spells it, a file outside `media_root` is refused unopened; the error names the setting."""
    path = make(root)
    block = {
        "path": {"type": "video", "path": path},
        "file URL": {"type": "video", "url": f"file://{path}"},
        "OpenAI part": {"type": "video_url", "video_url": {"url": f"file://{path}"}},
        "v0 block": {"type": "video", "source_type": "url", "url": f"file://{path}"},
    }[spelling]
    with opened_by_python() as opened, pytest.raises(errors.MediaOutsideRootError, match="media_root"):
        llm.invoke([HumanMessage([block, ASK])])
    assert os.path.realpath(path) not in map(os.path.realpath, opened)
    assert standin.requests == []


PLAYLISTS = {
    "HLS of a file": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{file}\n#EXT-X-ENDLIST\n",
    "HLS of a URL": "#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{url}/a.ts\n#EXT-X-ENDLIST\n",
    "concat": "ffconcat version 1.0\nfile '{file}'\nfile '{url}/a.mp4'\n",
}


@pytest.mark.parametrize("text", PLAYLISTS.values(), ids=PLAYLISTS)
def test_playlists_in_disguise(llm, standin, root, text):
    """A playlist named .mp4 is no video; what it points at is neither opened nor fetched."""
    pipe = root / "trap.mp4"
    os.mkfifo(pipe)  # whoever opens it hangs, and the test runs into its time limit
    with listener() as (port, peers):
        (root / "a.mp4").write_text(text.format(file=pipe, url=f"http://127.0.0.1:{port}"))
        with pytest.raises(errors.UnreadableMediaError, match="not media"):
            llm.invoke([HumanMessage([{"type": "video", "path": str(root / "a.mp4")}, ASK])])
    assert peers == []
    assert standin.requests == []


def large_uri(root):
    """A data URI of 12 MB and more, well formed, that shall travel as it is."""
    data = Path(noisy_image(root)["path"]).read_bytes()
    uri = "data:image/png;base64," + base64.b64encode(data).decode()
    return {"type": "image", "url": uri, "extras": {"budget": "original"}}


def noisy_image(root):
    """A picture that is fine but too large to travel inside a request as it is."""
    Image.effect_noise((4000, 3000), 90).save(root / "a.png")
    return {"type": "image", "path": str(root / "a.png"), "extras": {"budget": "original"}}


@pytest.mark.slow
@pytest.mark.parametrize("make", [large_uri, noisy_image])
def test_what_is_too_large_to_travel_inside_the_request(llm, standin, root, make):
    """Where it must, that is told before anything is sent or stored."""
    with pytest.raises(errors.MediaDoesNotFitError, match="MB as base64"):
        llm.invoke([HumanMessage([make(root), ASK])], delivery="inline")
    assert (standin.requests, standin.stores.calls) == ([], [])


@pytest.mark.slow
def test_a_large_recording_is_made_to_fit(llm, standin):
    """Five minutes of silence, 12 MB as base64: what can be made to fit is, and arrives whole."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setparams((1, 2, 16_000, 0, "NONE", ""))
        file.writeframes(bytes(9_600_000))
    uri = "data:audio/wav;base64," + base64.b64encode(out.getvalue()).decode()
    llm.invoke([HumanMessage([{"type": "audio", "url": uri}, ASK])], delivery="inline", thinking=False)
    (heard,) = standin.requests[0].media
    assert heard.size_bytes < 7_864_000
    assert heard.duration == pytest.approx(300, abs=0.2)


def test_links_to_private_hosts_are_refused_for_a_public_service():
    """A public service cannot reach a private address; a message that asks for it may be up to no good."""
    with OmniClient(Settings.load(api_key="sk-x", region="cn", max_retries=0)) as client:
        for url in ("http://127.0.0.1/a.png", "http://169.254.169.254/latest", "http://[::1]/a.png", "http://0x7f.1/a"):
            request = ChatRequest(
                model="qwen3.8-omni-flash", messages=(user(ImagePart(source=MediaSource.from_url(url)), "What?"),)
            )
            with pytest.raises(errors.DeliveryError, match="cannot be reached"):
                client.complete(request)
