"""A local double of the chat service, for tests, examples and demonstrations. It is not Qwen.

It receives HTTP only, validates every request against the documented rules, actually decodes the media it receives,
and answers from their content. It imports nothing from the rest of the product, so that it is an independent check.
`standin.marked_media` generates media in which every second can be verified.
"""

try:
    from qwen_omni.standin.asr.tasks import HttpFault, LoggedTaskCall, Outcome
    from qwen_omni.standin.media.facts import ColourSpan, Mark, MediaFacts
    from qwen_omni.standin.rules.quotas import Quota
    from qwen_omni.standin.server.log import Exchange, LoggedRequest
    from qwen_omni.standin.server.script import Fault, Script, ToolCall, Turn
    from qwen_omni.standin.server.server import Standin, serve
    from qwen_omni.standin.stores.signing import OssKey
    from qwen_omni.standin.stores.stores import LoggedStoreCall, StoreFault
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("numpy", "starlette", "uvicorn", "zxingcpp"):
        raise
    message = f"The stand-in needs {error.name}: pip install 'qwen-omni[standin]'"
    raise ModuleNotFoundError(message, name=error.name) from None

__all__ = [
    "ColourSpan",
    "Exchange",
    "Fault",
    "HttpFault",
    "LoggedRequest",
    "LoggedStoreCall",
    "LoggedTaskCall",
    "Mark",
    "MediaFacts",
    "OssKey",
    "Outcome",
    "Quota",
    "Script",
    "Standin",
    "StoreFault",
    "ToolCall",
    "Turn",
    "serve",
]
