"""Every field of `Sampling` is sent or refused by each kind of server, and is an option of both adapters."""

import dataclasses
import json
from typing import Any

import pytest

from langchain_qwen_omni import _convert_input as langchain_input
from qwen_omni.addresses import TRANSFORMERS, Server
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import MediaPayload, VideoPart, user
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import profile_for
from tests.support.encoding import encode_request

pytest.importorskip("llama_index.core")

from llama_index.core.base.llms.types import VideoBlock

from llama_index_qwen_omni import _convert_input as llama_index_input

URL = "https://host/a.mp4"
VALUE = 2
FIELDS = [field.name for field in dataclasses.fields(Sampling)]
SERVERS = {
    "dashscope": Server(dialect="dashscope"),
    "vllm": Server(dialect="vllm", request_kwargs=True),
    "transformers": Server(dialect="vllm", name=TRANSFORMERS),
}


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class NewSampling(Sampling):
    """Sampling with a field that no server has been taught."""

    new_field: int | None = None


def encoded(sampling: Sampling, server: Server) -> str:
    part = VideoPart(source=MediaSource.from_url(URL), sampling=sampling)
    request = ChatRequest(model="qwen3.5-omni-flash", messages=(user(part, "?"),))
    body = encode_request(request, profile_for(request.model), lambda source: MediaPayload(url=source.url), server)
    return json.dumps(body, default=str)


@pytest.mark.parametrize("server", SERVERS)
@pytest.mark.parametrize("name", [*FIELDS, "new_field"])
def test_a_field_is_sent_or_refused(name: str, server: str) -> None:
    """No server silently drops a field, not even one that is added later."""
    sampling = NewSampling(**{name: VALUE})  # type: ignore[arg-type]
    try:
        body = encoded(sampling, SERVERS[server])
    except ConfigurationError as error:
        assert server != "dashscope"
        assert str(error).startswith(f"{name} is available on DashScope only")
    else:
        assert f'"{name}": {VALUE}' in body


def _langchain(options: dict[str, Any]) -> Any:
    return langchain_input.to_part({"type": "video", "url": URL, "extras": options}, "message 0")


def _llama_index(options: dict[str, Any]) -> Any:
    [part] = llama_index_input.to_parts(VideoBlock(url=URL), "message 0", options)
    return part


@pytest.mark.parametrize("convert", [_langchain, _llama_index])
@pytest.mark.parametrize("name", FIELDS)
def test_a_field_is_an_option_of_both_adapters(name: str, convert: Any) -> None:
    """What the service can be asked for can be asked for in each framework."""
    assert convert({name: VALUE}).sampling == Sampling(**{name: VALUE})  # type: ignore[arg-type]
