"""Recordings as documents: transcripts with times and speakers, ready for an index.

    python examples/llama_index/transcribe.py [call.mp3] [--offline]

Prints each passage with its source and times. A recording submitted within the last day is not paid for again.
"""

from pathlib import Path

from llama_index.core import SimpleDirectoryReader

from _start import start
from llama_index_qwen_omni import QwenOmni, QwenOmniAudioReader
from qwen_omni import TranscriptionOptions


def main(recording: Path) -> None:
    """Read one recording; pass SimpleDirectoryReader a folder to read many, along with texts and tables."""
    llm = QwenOmni()  # only its connection is used; transcription has its own models
    spoken = QwenOmniAudioReader(llm, options=TranscriptionOptions(speakers=True), mode="sentences")
    folder = SimpleDirectoryReader(
        input_files=[recording], file_extractor={recording.suffix: spoken}, raise_on_error=True
    )
    for node in folder.load_data():
        found = node.metadata
        print(f"{found['file_name']} {found['start']:.2f} to {found['end']:.2f} s by {found['model']}: {node.text}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
