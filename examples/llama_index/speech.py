"""Get a spoken answer, and save it as a WAV file.

    python examples/llama_index/speech.py [question.wav] [--offline]

Writes answer.wav and prints its text and duration. (The stand-in answers with tones.)
"""

import wave
from pathlib import Path

from llama_index.core.llms import AudioBlock, ChatMessage, TextBlock

from _start import start
from llama_index_qwen_omni import QwenOmni


def main(question: Path) -> None:
    """Ask a spoken question and save the spoken answer."""
    llm = QwenOmni(model="qwen3.5-omni-flash", modalities=["text", "audio"], voice="Tina", media_root=question.parent)
    asked = ChatMessage(blocks=[AudioBlock(path=question), TextBlock(text="Answer this, please.")])
    answer = llm.chat([asked]).message
    print(answer.content)
    (speech,) = (block for block in answer.blocks if isinstance(block, AudioBlock))
    Path("answer.wav").write_bytes(speech.resolve_audio().read())
    with wave.open("answer.wav") as file:
        print(f"answer.wav: {file.getnframes() / file.getframerate():.1f} s at {file.getframerate()} Hz")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (question,):
        main(question)
