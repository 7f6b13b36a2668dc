"""Recordings as documents: what is said, with the seconds and the speaker, ready for an index.

    python examples/llama_index/transcribe.py [call.mp3] [--offline]

Prints each passage with its source and seconds. A recording that was submitted within a day is not paid again.
"""

from pathlib import Path

from llama_index.core import SimpleDirectoryReader

from llama_index_qwen_omni import QwenOmni, QwenOmniAudioReader
from qwen_omni import TranscriptionOptions
from qwen_omni.standin.example import start


def main(recording: Path) -> None:
    """Read one recording; give SimpleDirectoryReader a folder to read many, texts and tables among them."""
    llm = QwenOmni()  # its connection is used; transcribing models are others
    spoken = QwenOmniAudioReader(llm, options=TranscriptionOptions(speakers=True), mode="sentences")
    folder = SimpleDirectoryReader(
        input_files=[recording], file_extractor={recording.suffix: spoken}, raise_on_error=True
    )
    for node in folder.load_data():
        told = node.metadata
        print(f"{told['file_name']} {told['start']:.2f} to {told['end']:.2f} s by {told['model']}: {node.text}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
