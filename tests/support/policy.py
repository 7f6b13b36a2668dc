"""A scripted agent for the stand-in: it knows a question and tools, but no files, and decides from tool results."""

import json
import re
from typing import Any

from qwen_omni.standin import LoggedRequest, Script, ToolCall, Turn

_CODE = re.compile(r"\d{4,}")
QUESTION = "In which file is the code {code} shown, and at which second? Use the tools."


class Detective(Script):
    """Lists the folder, examines one video after another, and reports where and when the code of the question appears.

    Requests without tools come from a tool, not from the agent: the stand-in answers them from the media.
    """

    def next_reply(self, request: LoggedRequest) -> Turn | None:
        """Return the agent's next step."""
        if not request.body.get("tools"):
            return super().next_reply(request)
        messages = request.body["messages"]
        code = next(found[0] for one in messages if one["role"] == "user" for found in [_CODE.search(_text(one))])
        results = [_text(one) for one in messages if one["role"] == "tool"]
        if not results:
            return _call("probe_media", path=".")
        films = re.findall(r"^(\S+\.mp4) ", results[0], re.MULTILINE)
        asked = [_arguments(one) for message in messages for one in message.get("tool_calls") or ()][1:]
        for arguments, answer in zip(asked, results[1:], strict=True):
            found = re.search(rf"{code}@(\d+(?:\.\d+)?)", answer)
            if found is not None:
                return Turn(text=f"{code} is in {arguments['path']} at second {float(found[1]):g}.")
        if len(asked) == len(films):
            return Turn(text=f"{code} is nowhere.")
        return _call("ask_about_clip", path=films[len(asked)], question="Which marks are shown, and when?")


def _call(name: str, **arguments: Any) -> Turn:
    return Turn(tool_calls=(ToolCall(name=name, arguments=arguments),))


def _arguments(call: dict[str, Any]) -> dict[str, Any]:
    return json.loads(call["function"]["arguments"])


def _text(message: dict[str, Any]) -> str:
    content = message["content"]
    return content if isinstance(content, str) else "".join(part.get("text", "") for part in content or ())
