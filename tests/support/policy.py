"""An agent's head for the stand-in: it knows a question and tools, no file, and decides from what the tools say."""

import json
import re
from typing import Any

from qwen_omni.standin import LoggedRequest, Script, ToolCall, Turn

_CODE = re.compile(r"\d{4,}")
QUESTION = "In which file is the code {code} shown, and at which second? Use the tools."


class Detective(Script):
    """Lists the folder, looks into one film after another, and tells where and when the code of the question is.

    Requests without tools are not the agent's but a tool's own: the stand-in answers them from the media.
    """

    def next_reply(self, request: LoggedRequest) -> Turn | None:
        """Say what the agent does next."""
        if not request.body.get("tools"):
            return super().next_reply(request)
        messages = request.body["messages"]
        code = next(found[0] for one in messages if one["role"] == "user" for found in [_CODE.search(_text(one))])
        told = [_text(one) for one in messages if one["role"] == "tool"]
        if not told:
            return _call("probe_media", path=".")
        films = re.findall(r"^(\S+\.mp4) ", told[0], re.MULTILINE)
        asked = [_arguments(one) for message in messages for one in message.get("tool_calls") or ()][1:]
        for arguments, answer in zip(asked, told[1:], strict=True):
            found = re.search(rf"{code}@(\d+(?:\.\d+)?)", answer)
            if found is not None:
                return Turn(text=f"{code} is in {arguments['path']} at second {float(found[1]):g}.")
        if len(asked) == len(films):
            return Turn(text=f"{code} is nowhere.")
        return _call("ask_video", path=films[len(asked)], question="Which marks are shown, and when?")


def _call(name: str, **arguments: Any) -> Turn:
    return Turn(tool_calls=(ToolCall(name=name, arguments=arguments),))


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    return json.loads(call["function"]["arguments"])


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
