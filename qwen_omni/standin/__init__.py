"""A local double of the chat service, for tests, examples and demonstrations. It is not Qwen.

It receives nothing but HTTP, judges every request by the documented rules, really decodes the media it is
sent and answers from what it saw and heard. It imports nothing from the rest of the product, so that it
can judge it. `standin.marked_media` makes media whose every second proves itself.
"""

try:
    from qwen_omni.standin.asr.tasks import HttpFault, LoggedTaskCall, Outcome
    from qwen_omni.standin.media.facts import ColourSpan, Mark, MediaFacts
    from qwen_omni.standin.server.log import LoggedRequest
    from qwen_omni.standin.server.script import Fault, Script, ToolCall, Turn
    from qwen_omni.standin.server.server import Standin, serve
    from qwen_omni.standin.stores.signing import OssKey
    from qwen_omni.standin.stores.stores import LoggedStoreCall, StoreFault
except ModuleNotFoundError as error:
    if (error.name or "").partition(".")[0] not in ("numpy", "starlette", "uvicorn", "zxingcpp"):
        raise
    told = f"The stand-in needs {error.name}: pip install 'qwen-omni[standin]'"
    raise ModuleNotFoundError(told, name=error.name) from None

__all__ = [
    "ColourSpan",
    "Fault",
    "HttpFault",
    "LoggedRequest",
    "LoggedStoreCall",
    "LoggedTaskCall",
    "Mark",
    "MediaFacts",
    "OssKey",
    "Outcome",
    "Script",
    "Standin",
    "StoreFault",
    "ToolCall",
    "Turn",
    "serve",
]
