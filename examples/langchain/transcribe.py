"""Recordings as documents: transcripts with times and speakers, ready for a vector store.

    python examples/langchain/transcribe.py [call.mp3] [--offline]

Prints each passage with its source and times. A recording submitted within the last day is not paid for again.
"""

from pathlib import Path

from _start import start
from langchain_qwen_omni import ChatQwenOmni, QwenOmniAudioLoader
from qwen_omni import TranscriptionOptions


def main(recording: Path) -> None:
    """Load one recording; a folder, a glob pattern or a list works as well."""
    llm = ChatQwenOmni()  # only its connection is used; transcription has its own models
    options = TranscriptionOptions(speakers=True)
    for document in QwenOmniAudioLoader(recording, llm, options=options, mode="sentences").lazy_load():
        metadata = document.metadata
        print(f"{metadata['source']} {metadata['start']:.2f} to {metadata['end']:.2f} s by {metadata['model']}:")
        print(f"  {document.page_content}")
    llm.close()


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
