"""Transcribe a recording or a video, with times, and save subtitles.

    python examples/core/transcribe.py [call.mp3] [--offline]

Prints each sentence with its times and speaker; writes transcript.srt. In the shell: qwen-omni transcribe call.mp3
"""

from pathlib import Path

from _start import start
from qwen_omni import TranscriptionOptions, transcribe


def main(recording: Path) -> None:
    """Transcribe once."""
    said = transcribe(recording, options=TranscriptionOptions(speakers=True))
    for sentence in said.sentences:
        speaker = "" if sentence.speaker is None else f" speaker {sentence.speaker + 1}"
        print(f"{sentence.start:7.2f} to {sentence.end:7.2f} s{speaker}: {sentence.text}")
    Path("transcript.srt").write_text(said.to_srt(), encoding="utf-8")
    print(f"{said.model} billed {said.billed_seconds} s; wrote transcript.srt")


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
