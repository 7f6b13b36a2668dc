"""Two agents that share a task: one examines the videos, the other writes.

    python examples/llama_index/two_agents.py [promo.mp4] [--offline]

Prints each agent's steps, then the answer. Only the first agent has tools, which can only read the folder of the file.
"""

import asyncio
from pathlib import Path

from llama_index.core.agent.workflow import AgentOutput, AgentWorkflow, FunctionAgent, ToolCallResult

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniToolSpec


async def main(path: Path) -> None:
    """Let the agents describe one video."""
    llm = QwenOmni(thinking=False)
    spec = QwenOmniToolSpec(llm, media_root=path.parent)
    looker = FunctionAgent(
        name="looker",
        description="Looks into videos.",
        system_prompt="Look into videos with your tools. Hand what you saw to the writer.",
        llm=llm,
        tools=spec.to_tool_list(["probe_media", "ask_about_clip"]),
        can_handoff_to=["writer"],
    )
    writer = FunctionAgent(name="writer", description="Writes.", system_prompt="Write two sentences.", llm=llm)
    workflow = AgentWorkflow(agents=[looker, writer], root_agent="looker")
    running = workflow.run(user_msg=f"Use ask_about_clip on {path.name}, and tell what is shown, and when.")
    async for event in running.stream_events():
        if isinstance(event, ToolCallResult):
            print(f"{event.tool_name} {event.tool_kwargs}: {event.tool_output.content}")
        elif isinstance(event, AgentOutput) and event.response.content:
            print(f"{event.current_agent_name}: {event.response.content}")
    print(await running)
    await spec.aclose()
    await llm.aclose()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "video") as (path,):
        asyncio.run(main(path))
