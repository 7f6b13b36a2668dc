"""A complete request as JSON fields, with its media unchanged, as a call encodes it if nothing has to be fitted."""

from typing import Any

from qwen_omni.addresses import Server
from qwen_omni.messages import media_parts
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import Profile
from qwen_omni.wire.request import draft_request
from qwen_omni.wire.vllm import Look

_DASHSCOPE = Server(dialect="dashscope")


def encode_request(request: ChatRequest, profile: Profile, look: Look, server: Server = _DASHSCOPE) -> dict[str, Any]:
    """Draft a request and put its own media into it."""
    draft = draft_request(request, profile, server)
    return draft.body([(part,) for _, part in media_parts(request.messages)], look)
