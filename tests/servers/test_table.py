"""The table of docs/self-hosting.md, tried on the real servers: `make test-servers`.

Each server runs in a virtualenv of its own (`install.py`), one after another, with a tiny model of random weights: what
it says is noise, but what it accepts, decodes and counts is real. A server that is not installed is skipped by name.
"""

import contextlib
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, ImagePart, Message, TextPart, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest, Tool
from qwen_omni.request.estimate import estimate
from qwen_omni.servers import forget_servers
from qwen_omni.settings import Settings
from tests.servers.install import HERE, MODEL, folder, installed, python
from tests.servers.media import FORMATS, IMAGES, SECONDS, VIDEOS, make

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

_WITHIN = 2  # tokens between the estimate and `prompt_tokens`
_START_SECONDS = 600
_VLLM = ("-m", "vllm.entrypoints.cli.main", "serve", MODEL, "--host", "127.0.0.1", "--max-model-len", "32768",
         "--enforce-eager", "--limit-mm-per-prompt", '{"image":8,"audio":4,"video":2}', "--skip-mm-profiling",
         "--max-num-seqs", "4", "--mm-processor-cache-gb", "0", "--enable-auto-tool-choice", "--tool-call-parser",
         "hermes", "--port")  # fmt: skip
_SERVERS = {
    "transformers": ("transformers", (str(HERE / "transformers_server.py"), MODEL), ()),
    "vllm": ("vllm", _VLLM, ()),
    "vllm-trusting": ("vllm", _VLLM, ("--trust-request-mm-kwargs",)),
}
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "2",
}  # fmt: skip


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _wait(url: str, process: subprocess.Popen, log) -> None:
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(f"{url}/models", timeout=5):
            return
        time.sleep(1)
    pytest.fail(f"the server did not start: {log.read_text()[-2000:]}")


@pytest.fixture(scope="module", params=_SERVERS)
def url(request, tmp_path_factory) -> Iterator[str]:
    """Start a server; skip if it is not installed."""
    name, arguments, options = _SERVERS[request.param]
    if not installed(name):
        pytest.skip(f"{name} is not installed: run make test-servers")
    port, log = _free_port(), tmp_path_factory.mktemp("server") / "log.txt"
    command = [str(python(name)), *arguments, str(port), *options]
    with log.open("w") as out, subprocess.Popen(
        command, cwd=folder(name), env={**os.environ, **_ENVIRONMENT}, stdout=out, stderr=subprocess.STDOUT
    ) as process:  # fmt: skip
        try:
            address = f"http://127.0.0.1:{port}/v1"
            _wait(address, process, log)
            yield address
        finally:
            process.terminate()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    return make(tmp_path_factory.mktemp("media"))


@pytest.fixture
def ask(url, request, files):
    """Ask a question about media; return what was counted and what was estimated."""
    forget_servers()
    trusting = request.node.callspec.params["url"] == "vllm-trusting"
    media_root = next(iter(files.values())).parent
    settings = Settings.load(
        api_key="none", base_url=url, media_root=media_root, max_retries=0, request_kwargs=trusting or None
    )
    with OmniClient(settings) as client:

        def counted(*messages: Message, **options: object) -> tuple[int, int]:
            asked = ChatRequest(model=MODEL, messages=messages, options=ChatOptions(max_tokens=2, **options))
            used = client.complete(asked).usage
            return used.input_tokens, estimate(asked, settings=settings).input_tokens

        yield counted


def _part(name, files, **options):
    kind = {"image": ImagePart, "audio": AudioPart, "video": VideoPart}[name.partition(" ")[0]]
    budget = {} if kind is AudioPart else {"budget": "original"}
    return kind(source=MediaSource.from_path(files[name]), **budget, **options)


MEDIA = [*(f"image {size}" for size in IMAGES), *(f"audio {one} s" for one in SECONDS),
         *(f"audio {form}" for form in FORMATS), *(f"video {name}" for name in VIDEOS)]  # fmt: skip


@pytest.mark.parametrize("name", MEDIA)
def test_each_kind_is_taken_and_estimated(name, ask, files):
    counted, estimated = ask(user(_part(name, files), "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN)


@pytest.mark.parametrize(
    "names",
    [
        ("video heard", "audio 2.5 s"), ("video silent", "audio 2.5 s"), ("video heard", "video silent"),
        ("video heard", "video odd"), ("image 224x224", "audio 1 s", "video tiny"),
    ],
    ids=" + ".join,
)  # fmt: skip
def test_mixtures_are_taken_and_estimated(names, ask, files):
    counted, estimated = ask(user(*(_part(name, files) for name in names), "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN * len(names))


def test_audio_of_an_earlier_turn_is_taken(ask, files):
    before = user(_part("audio 2.5 s", files), "x"), Message(role="assistant", parts=(TextPart(text="y"),))
    counted, estimated = ask(*before, user(_part("video heard", files), "x"))
    assert estimated == pytest.approx(counted, abs=2 * _WITHIN)


@pytest.mark.parametrize("sampling", [{"fps": 0.5}, {"fps": 1}, {"fps": 4}, {"max_pixels": 150_528}], ids=str)
def test_sampling_is_obeyed_or_refused(sampling, ask, files, request):
    part = _part("video second", files, sampling=Sampling(**sampling))
    if request.node.callspec.params["url"] == "vllm":
        with pytest.raises(UnsupportedContentError, match="trust-request-mm-kwargs"):
            ask(user(part, "x"))
        return
    counted, estimated = ask(user(part, "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0, "top_p": 0.9, "seed": 1}, {"top_k": 3}, {"repetition_penalty": 1.1}, {"stop": ("zzz",)},
        {"presence_penalty": 0.5}, {"thinking": False}, {"json_schema": {"title": "x", "type": "object"}},
        {"tools": (Tool(name="look", parameters={"type": "object", "properties": {}}),)},
    ],
    ids=str,
)  # fmt: skip
def test_options_are_taken_or_refused_before_sending(options, ask):
    with contextlib.suppress(ConfigurationError):  # raised here; a refusal of the server is another error
        assert ask(user("x"), **options)[0] > 0
