"""`qwen-omni standin`: a local service for trying things without a key."""

from importlib.util import find_spec
from typing import TYPE_CHECKING, Annotated

import typer

from qwen_omni.cli.output import show_note
from qwen_omni.errors import ConfigurationError

if TYPE_CHECKING:
    from qwen_omni.standin import Standin

_NEEDS = ("starlette", "uvicorn", "zxingcpp", "numpy")


def standin(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on; loopback by default.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port; 0 chooses a free one.")] = 8787,
) -> None:
    """Run a local service that behaves like Qwen-Omni's, decodes its input and reports what it found.

    It is not a model: its answers begin with [stand-in].
    """
    missing = [name for name in _NEEDS if find_spec(name) is None]
    if missing:
        raise ConfigurationError(f"The stand-in needs {', '.join(missing)}: pip install 'qwen-omni[standin]'")
    from qwen_omni.standin import serve  # noqa: PLC0415  (an extra; loads on first use)

    serve(host, port, on_ready=_announce)


def _announce(service: "Standin") -> None:
    show_note(
        f"The stand-in is listening. In another terminal:\n"
        f"  export DASHSCOPE_API_KEY={service.api_key}\n"
        f"  export DASHSCOPE_BASE_URL={service.base_url}\n"
        f"  export DASHSCOPE_BATCH_BASE_URL={service.batch_base_url}\n"
        f"  qwen-omni ask FILE 'What is in it?'\n"
        f"Press Ctrl-C to stop."
    )
