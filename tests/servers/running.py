"""Start the servers, each in a virtualenv of its own (`install.py`), with a tiny model of random weights.

LiteLLM runs in front of another server: vLLM, or the stand-in, which plays DashScope.
"""

import contextlib
import json
import os
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from qwen_omni.addresses import forget_servers
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from tests.servers.install import HERE, MODEL, folder, installed, python

HOSTED = "qwen3.8-omni-flash"  # what the stand-in behind LiteLLM plays
_START_SECONDS = 1_200  # a busy machine takes that long
_GATEWAY_KEY = "sk-gateway"
# 32 bits: many processors compute with 16 only slowly.
_VLLM = ("-m", "vllm.entrypoints.cli.main", "serve", MODEL, "--host", "127.0.0.1", "--max-model-len", "32768",
         "--enforce-eager", "--limit-mm-per-prompt", '{"image":8,"audio":4,"video":2}', "--skip-mm-profiling",
         "--max-num-seqs", "4", "--mm-processor-cache-gb", "0", "--enable-auto-tool-choice", "--tool-call-parser",
         "hermes", "--dtype", "float32", "--structured-outputs-config",
         '{"backend":"xgrammar","disable_any_whitespace":true}', "--port")  # fmt: skip
_TRANSFORMERS = (str(HERE / "transformers_server.py"), MODEL)
_ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1", "VLLM_NO_USAGE_STATS": "1", "DO_NOT_TRACK": "1", "VLLM_CPU_KVCACHE_SPACE": "1",
    "VLLM_CPU_OMP_THREADS_BIND": "nobind", "OMP_NUM_THREADS": "1", "LITELLM_LOCAL_MODEL_COST_MAP": "True",
}  # fmt: skip
_LEFT_OUT = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")


@dataclass(frozen=True, slots=True)
class Running:
    """A server that runs: its kind, its address, and the model that it has."""

    kind: str
    url: str
    model: str = MODEL
    key: str = "none"

    @property
    def hosted(self) -> bool:
        """Whether DashScope is behind it, so that hosted limits apply."""
        return self.model == HOSTED

    @property
    def refuses_sampling(self) -> bool:
        """Whether requests may not set the frame rate and pixels."""
        return self.kind in ("vllm", "litellm")

    def settings(self, media_root: Path) -> Settings:
        """Return the settings of a caller who knows only the address, and how vLLM was started."""
        trusting = True if self.kind == "vllm-trusting" else None
        return Settings.load(
            api_key=self.key, base_url=self.url, media_root=media_root, max_retries=0, request_kwargs=trusting
        )


KINDS = {  # kind: the virtualenvs that it needs
    "transformers": ("transformers",),
    "vllm": ("vllm",),
    "vllm-trusting": ("vllm",),
    "litellm": ("litellm", "vllm"),
    "litellm-dashscope": ("litellm",),
}


def missing(kind: str) -> str:
    """Return the name of a server that is not installed; empty if all are."""
    return next((name for name in KINDS[kind] if not installed(name)), "")


@contextlib.contextmanager
def running(kind: str, logs: Path) -> Iterator[Running]:
    """Start a server, and what stands behind it."""
    forget_servers()
    match kind:
        case "transformers":
            with _process("transformers", logs, *_TRANSFORMERS) as url:
                yield Running(kind, url)
        case "litellm":
            with _process("vllm", logs, *_VLLM) as behind, _litellm(logs, "hosted_vllm", behind, MODEL) as url:
                yield Running(kind, url, key=_GATEWAY_KEY)
        case "litellm-dashscope":
            with Standin() as standin, _litellm(logs, "openai", standin.base_url, HOSTED, standin.api_key) as url:
                yield Running(kind, url, model=HOSTED, key=_GATEWAY_KEY)
        case _:
            more = ("--trust-request-mm-kwargs",) if kind == "vllm-trusting" else ()
            with _process("vllm", logs, *_VLLM, after=more) as url:
                yield Running(kind, url)


@contextlib.contextmanager
def _litellm(logs: Path, provider: str, behind: str, model: str, key: str = "none") -> Iterator[str]:
    entry = {"model": f"{provider}/{model}", "api_base": behind, "api_key": key}
    config = logs / "litellm.json"  # its YAML is a superset
    config.write_text(
        json.dumps(
            {
                "model_list": [{"model_name": model, "litellm_params": entry}],
                "litellm_settings": {"drop_params": False, "num_retries": 0, "telemetry": False},
                "general_settings": {"master_key": _GATEWAY_KEY},
            }
        )
    )
    command = ("-m", "litellm.proxy.proxy_cli", "--host", "127.0.0.1", "--config", str(config), "--port")
    with _process("litellm", logs, *command, key=_GATEWAY_KEY) as url:
        yield url


@contextlib.contextmanager
def _process(name: str, logs: Path, *arguments: str, after: tuple[str, ...] = (), key: str = "none") -> Iterator[str]:
    port, log = _free_port(), logs / f"{name}.log"
    command = [str(python(name)), *arguments, str(port), *after]
    # Without stored bytecode, each start compiles all of PyTorch.
    environment = {name: value for name, value in os.environ.items() if name not in _LEFT_OUT} | _ENVIRONMENT
    with log.open("w") as out, subprocess.Popen(
        command, cwd=folder(name), env=environment, stdout=out, stderr=subprocess.STDOUT
    ) as process:  # fmt: skip
        try:
            url = f"http://127.0.0.1:{port}/v1"
            _wait(url, key, process, log)
            yield url
        finally:
            process.terminate()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return taken.getsockname()[1]


def _wait(url: str, key: str, process: subprocess.Popen, log: Path) -> None:
    asked = urllib.request.Request(f"{url}/models", headers={"Authorization": f"Bearer {key}"})
    until = time.monotonic() + _START_SECONDS
    while time.monotonic() < until and process.poll() is None:
        with contextlib.suppress(OSError), urllib.request.urlopen(asked, timeout=5):
            return
        time.sleep(1)
    raise RuntimeError(f"{process.args[0]} did not start: {log.read_text()[-2000:]}")
