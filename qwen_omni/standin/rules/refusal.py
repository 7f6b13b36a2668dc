"""The service's refusals: status codes, error bodies and original messages.

Values and text only. Messages are those of Model Studio's error page (2026) and of public reports; where
the original wording is unknown, the message is ours and states the number.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import Any

_INVALID = "invalid_parameter_error"
_ALGO = "<400> InternalError.Algo.InvalidParameter: "
NO_OBJECT = "Required body invalid, please check the request body format."
HELP = " For details, see: https://help.aliyun.com/zh/model-studio/error-code"


@dataclass(slots=True)
class Refusal(Exception):  # noqa: N818 - an answer of the service, not a fault of this program
    """A request that the service refuses.

    `gateway` errors carry no `id`. `late` ones are detected behind the gateway: a stream has already
    sent its 200, and the error is its only event.
    """

    status: int
    code: str
    message: str
    kind: str = "invalid_request_error"
    gateway: bool = False
    late: bool = False

    def body(self) -> dict[str, Any]:
        """Return the documented envelope."""
        request_id = str(uuid.uuid4())
        error = {"code": self.code, "param": None, "message": self.message, "type": self.kind}
        if self.gateway:
            return {"error": error, "request_id": request_id}
        return {"error": error, "id": f"chatcmpl-{request_id}", "request_id": request_id}

    def event(self) -> bytes:
        """Return the error as an event of a stream, which identifies its request only in `id`."""
        body = self.body()
        body.pop("request_id", None)
        return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def invalid(message: str) -> Refusal:
    """Build a plain 400 of the parameter check."""
    return Refusal(400, _INVALID, message)


def algo(message: str, *, late: bool = False) -> Refusal:
    """Build a 400 of the inference backend, with the prefix of its messages."""
    return Refusal(400, _INVALID, _ALGO + message, late=late)


def wrong_key() -> Refusal:
    """Build the 401, which is also sent for a key of another region."""
    return Refusal(401, "invalid_api_key", "Incorrect API key provided." + HELP, gateway=True)


def unknown_model(name: str) -> Refusal:
    """Build the 404 for an unknown model name."""
    message = f"The model `{name}` does not exist or you do not have access to it."
    return Refusal(404, "model_not_found", message, gateway=True)


def native_model(name: str) -> Refusal:
    """Build the 404 for a model that only DashScope's own routes have."""
    message = f"Unsupported model `{name}` for OpenAI compatibility mode."
    return Refusal(404, "model_not_supported", message, gateway=True)


def rate_limited(code: str) -> Refusal:
    """Build the 429 of a limit; `code` says which one is reached."""
    message = _RATE_LIMITS.get(code, _RATE_LIMITS["limit_requests"])
    return Refusal(429, code, message + HELP, kind=code, gateway=True)


_RATE_LIMITS = {
    "limit_requests": "You exceeded your current requests list.",
    "Throttling": "Requests throttling triggered.",
    "Throttling.RateQuota": "Requests rate limit exceeded, please try again later.",
    "limit_burst_rate": "Request rate increased too quickly. To ensure system stability, please adjust your client "
    "logic to scale requests more smoothly over time.",
    "Throttling.AllocationQuota": "Allocated quota exceeded, please increase your quota limit.",
    "insufficient_quota": "You exceeded your current quota, please check your plan and billing details.",
}
STREAM_ONLY = "This model only support stream mode, please enable the stream parameter to access the model. "
BAD_URL = "The provided URL does not appear to be valid. Ensure it is correctly formatted."
NO_DOWNLOAD = "Failed to download multimodal content."
TOO_LARGE_URI = "Exceeded limit on max bytes per data-uri item : 10485760'."
TOO_LARGE_FILE = "Multimodal file size is too large"
BAD_VIDEO = "Invalid video file."
VIDEO_LENGTH = "The video modality input does not meet the requirements because: The video file is too {word}."
FRAME_RANGE = "the range of sequence images shoule be ({low}, {high})."
EMPTY_AUDIO = "The audio is empty"
BAD_AUDIO = "The audio format is illegal and cannot be opened."
LONG_AUDIO = "The audio is too long"
BAD_IMAGE = "Failed to decode the image during the data inspection."
IMAGE_SIDES = (
    "The image length and width do not meet the model restrictions. "
    "[height:{height} or width:{width} must be larger than 10]"
)
IMAGE_ASPECT = (
    "The image length and width do not meet the model restrictions. "
    "[absolute aspect ratio must be smaller than 200, got {width} / {height}]"
)
MIXED = "Multiple inputs of the same modality or mixed modality inputs are currently not applicable to the omni model."
NO_USER = "The input messages do not contain elements with the role of user."
JSON_WORD = "'messages' must contain the word 'json' in some form, to use 'response_format' of type 'json_object'."
NO_THINKING = "The model {model} does not support enable_thinking."
THINKING_STREAMS = "parameter.enable_thinking must be set to false for non-streaming calls"
THINKING_TOOL_CHOICE = "The tool_choice parameter does not support being set to required or object in thinking mode"
TOOL_CHOICE = 'tool_choice is one of the strings that should be ["none", "auto"]'
NO_TOOLS = "The tool call is not supported."
NO_SEARCH = "This model does not support enable_search."
SEARCH_WITH_TOOLS = "Agent mode does not support tools"
BAD_ARGUMENTS = 'The "function.arguments" parameter of the code model must be in JSON format.'
TOOL_SEARCH = "Tool names are not allowed to be [search]"
AUDIO_STREAMS = "'audio' output only support with stream=true"
TURBO_VOICES = "Input should be 'Cherry', 'Serena', 'Ethan' or 'Chelsie': parameters.audio.voice"
RESPONSE_FORMAT = "Unknown format of response_format"


def json_object(raw: bytes, refused: Refusal) -> dict[str, Any]:
    """Parse a body; raise `refused` if it is not one JSON object."""
    try:
        body = json.loads(raw)
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise refused
    return body
