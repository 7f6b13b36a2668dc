"""What is known about the server behind an address: its format, and what it takes. Values, and one register.

The register lives as long as the process. `transport.api.find_server` fills it, once for each address; without an entry
the address alone decides. Sources: the code of vLLM 0.32, transformers 5.24 and LiteLLM 1.106, and what they answered,
November 2026.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from pydantic_core import from_json

from qwen_omni.addresses import CHAT_PATH, is_private_url, is_vendor_url
from qwen_omni.options import Dialect

_SELF_HOSTED = {
    "vllm": "vLLM",
    "sglang": "SGLang",
    "llamacpp": "llama.cpp",
    "library": "Ollama",
    "organization_owner": "LM Studio",
}
"""The `owned_by` of the models in a list, and the software that sends it."""
TRANSFORMERS, LITELLM, VLLM = "transformers serve", "LiteLLM", "vLLM"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """A server.

    Attributes:
        dialect: the request format.
        name: of its software; empty if not known.
        request_kwargs: whether requests may set options of the processor (frame rate, pixels, the audio of a video);
            `None` if not known.
        context: tokens that input and answer may have together, if the server says so.
        models: the servers of single models, where several stand behind one address.
    """

    dialect: Dialect
    name: str = ""
    request_kwargs: bool | None = None
    context: int | None = None
    models: Mapping[str, "Server"] = field(default_factory=dict)

    def of(self, model: str) -> "Server":
        """Return what is known about the server of one model."""
        found = self.models.get(model)
        return self if found is None else replace(found, request_kwargs=self.request_kwargs)

    @property
    def reads_data_urls(self) -> bool:
        """Whether it takes a video as a data URI; the other way is a link, or a file on the server's machine."""
        return self.name != TRANSFORMERS

    @property
    def has_formats(self) -> bool:
        """Whether it has `response_format`; transformers serve ignores it."""
        return self.name != TRANSFORMERS

    @property
    def has_stores(self) -> bool:
        """Whether it may have DashScope's routes beside chat: uploads to the temporary store, transcription tasks."""
        return self.dialect == "dashscope" and self.name != LITELLM

    @property
    def hears_videos(self) -> bool:
        """Whether it uses the audio of videos without being asked."""
        return self.dialect == "dashscope" or self.name == TRANSFORMERS


_known: dict[str, Server] = {}


def known_server(base_url: str) -> Server | None:
    """Return what was found out about an address, if anything was."""
    return _known.get(_key(base_url))


def server_at(base_url: str, model: str) -> Server:
    """Return what was found out about the server of a model, or what its address shows."""
    return (known_server(base_url) or guess_server(base_url)).of(model)


def remember_server(base_url: str, server: Server) -> None:
    """Remember what was found out about an address, for all clients of the process."""
    _known[_key(base_url)] = server


def forget_servers() -> None:
    """Forget everything, for example after a server was restarted with other options."""
    _known.clear()


def remember_refusal(base_url: str, server: Server) -> None:
    """Remember that a server refuses processor options in requests."""
    remember_server(base_url, replace(known_server(base_url) or server, request_kwargs=False))


def _key(base_url: str) -> str:
    return base_url.strip().rstrip("/")


def is_dashscope(base_url: str) -> bool:
    """Whether an address alone says that DashScope is behind it: the vendor's hosts, and its path on any host.

    Example:
        >>> is_dashscope("https://gw.example.com/compatible-mode/v1"), is_dashscope("http://10.0.0.7:8091/v1")
        (True, False)
    """
    return CHAT_PATH in base_url or is_vendor_url(base_url)


def guess_server(base_url: str) -> Server:
    """Return what the address alone says: a private host is taken for a self-hosted server, any other for a gateway.

    Example:
        >>> guess_server("http://10.0.0.7:8091/v1").dialect, guess_server("https://gateway.example.com/v1").dialect
        ('vllm', 'dashscope')
    """
    if is_dashscope(base_url):
        return Server(dialect="dashscope")
    return Server(dialect="vllm" if is_private_url(base_url) else "dashscope")


def read_server(body: bytes, model: str, guess: Server) -> Server:
    """Read who answers from a list of models (`GET /models`).

    Args:
        body: the list.
        model: the model that is asked; its own entry decides, where several servers share one address.
        guess: what is returned where nothing is recognised.

    Example:
        >>> read_server(b'{"data":[{"id":"m","owned_by":"vllm","max_model_len":32768}]}', "m",
        ...     Server(dialect="dashscope")).context
        32768
    """
    entries = _entries(body)
    named = [one for one in entries if one.get("id") == model]
    for entry in named or entries:
        owner = str(entry.get("owned_by") or "").lower()
        if owner in _SELF_HOSTED:
            return Server(dialect="vllm", name=_SELF_HOSTED[owner], context=_count(entry.get("max_model_len")))
        if isinstance(entry.get("status"), dict) and "object" in entry:
            return Server(dialect="vllm", name=TRANSFORMERS, request_kwargs=True)
    return guess


def may_be_litellm(body: bytes) -> bool:
    """Whether a list of models may be LiteLLM's: it calls every model OpenAI's.

    Example:
        >>> may_be_litellm(b'{"data":[{"id":"qwen-plus","owned_by":"openai"}]}')
        True
    """
    owners = {one.get("owned_by") for one in _entries(body)}
    return owners == {"openai"}


def read_litellm(body: bytes, guess: Server) -> Server:
    """Read which servers are behind LiteLLM's models (`GET /model/info`); `guess` if it is not LiteLLM.

    Example:
        >>> info = b'{"data":[{"model_name":"m","litellm_params":{"model":"hosted_vllm/qwen"}}]}'
        >>> read_litellm(info, Server(dialect="vllm")).of("m").dialect
        'vllm'
    """
    models: dict[str, Server] = {}
    for entry in _entries(body):
        name, behind = entry.get("model_name"), entry.get("litellm_params")
        if isinstance(name, str) and isinstance(behind, dict):
            models[name] = _behind(behind)
    return Server(dialect="dashscope", name=LITELLM, models=models) if models else guess


def _behind(params: Mapping[str, Any]) -> Server:
    provider = str(params.get("model") or "").partition("/")[0]
    base_url = params.get("api_base")
    if provider in ("hosted_vllm", "vllm"):
        return Server(dialect="vllm", name=VLLM)
    if provider == "openai" and isinstance(base_url, str) and base_url:
        guess = guess_server(base_url)
        return guess if guess.dialect == "vllm" else Server(dialect="dashscope", name=LITELLM)
    return Server(dialect="dashscope", name=LITELLM)


def _entries(body: bytes) -> list[dict[str, Any]]:
    try:
        value = from_json(body)
    except ValueError:
        return []
    data = value.get("data") if isinstance(value, dict) else None
    return [one for one in data if isinstance(one, dict)] if isinstance(data, list) else []


def _count(value: object) -> int | None:
    return value if type(value) is int and value > 0 else None
