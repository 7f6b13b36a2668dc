"""Recordings as documents: what is said, with the seconds and the speaker, ready for a vector store.

    python examples/langchain/transcribe.py [call.mp3] [--offline]

Prints each passage with its source and seconds. A recording that was submitted within a day is not paid again.
"""

from pathlib import Path

from langchain_qwen_omni import ChatQwenOmni, QwenOmniAudioLoader
from qwen_omni import TranscriptionOptions
from qwen_omni.standin.example import start


def main(recording: Path) -> None:
    """Load one recording; a folder, a pattern or a list does as well."""
    llm = ChatQwenOmni()  # its connection is used; transcribing models are others
    options = TranscriptionOptions(speakers=True)
    for document in QwenOmniAudioLoader(recording, llm, options=options, mode="sentences").lazy_load():
        told = document.metadata
        print(f"{told['source']} {told['start']:.2f} to {told['end']:.2f} s by {told['model']}:")
        print(f"  {document.page_content}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
