"""Get a spoken answer, and save it as a WAV file.

    python examples/langchain/speech.py [question.wav] [--offline]

Writes answer.wav and prints its text and duration. (The stand-in answers with tones.)
"""

import wave
from pathlib import Path

from langchain_core.messages import HumanMessage

from _start import start
from langchain_qwen_omni import ChatQwenOmni, save_speech


def main(question: Path) -> None:
    """Ask a spoken question and save the spoken answer."""
    llm = ChatQwenOmni(
        model="qwen3.5-omni-flash", modalities=["text", "audio"], voice="Tina", media_root=question.parent
    )
    content = [{"type": "audio", "path": str(question)}, {"type": "text", "text": "Answer this, please."}]
    answer = llm.invoke([HumanMessage(content)])
    print(answer.text)
    saved = save_speech(answer, "answer.wav")
    with wave.open(str(saved)) as file:
        print(f"{saved}: {file.getnframes() / file.getframerate():.1f} s at {file.getframerate()} Hz")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (question,):
        main(question)
