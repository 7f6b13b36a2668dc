"""An agent with tools for the videos in one folder.

    python examples/llama_index/agent.py [promo.mp4] [--offline]

Prints each tool call with its result, then the answer. The agent can read the folder of the file and nothing else.
"""

import asyncio
from pathlib import Path

from llama_index.core.agent.workflow import FunctionAgent, ToolCallResult

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniToolSpec


async def main(path: Path) -> None:
    """Ask the agent once."""
    llm = QwenOmni(thinking=False)
    question = f"Look into {path.name} with ask_about_clip: what is shown, and when?"
    tools = QwenOmniToolSpec(llm, media_root=path.parent)
    running = FunctionAgent(llm=llm, tools=tools.to_tool_list()).run(user_msg=question)
    async for event in running.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"{event.tool_name} {event.tool_kwargs}: {event.tool_output.content}")
    print(await running)
    await tools.aclose()
    await llm.aclose()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        asyncio.run(main(path))
