"""An agent with tools for a folder of videos and recordings.

    pip install langchain
    python examples/langchain/agent.py [videos/] [--offline]

Prints each call with the beginning of its result, and the answer. Paths come from the model, so nothing outside of
the folder is opened. The stand-in does not reason: it calls the tools named in the question.
"""

from pathlib import Path

from langchain.agents import create_agent

from _start import start
from langchain_qwen_omni import ChatQwenOmni, QwenOmniToolkit
from qwen_omni import SpendLimit


def main(folder: Path) -> None:
    """Run the agent once."""
    name = min(path.name for path in folder.glob("*.mp4"))
    llm = ChatQwenOmni(thinking=False, spend_limit=SpendLimit(tokens=200_000))  # agents may loop
    kit = QwenOmniToolkit(llm, media_root=str(folder))
    agent = create_agent(llm, kit.get_tools())
    question = f"See with probe_media how long {name} is, then find with ask_about_clip what can be read in {name}."
    for message in agent.invoke({"messages": [("user", question)]})["messages"]:
        for call in getattr(message, "tool_calls", None) or ():
            print(f"-> {call['name']} {call['args']}")
        if message.type == "tool":
            print(f"   {message.text[:150]}")
    print(message.text)
    kit.close()
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "folder") as (folder,):
        main(folder)
