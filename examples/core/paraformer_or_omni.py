"""Paraformer or Qwen-Omni? Process the same recording with both.

    python examples/core/paraformer_or_omni.py [call.mp3] [--offline]

A transcription model (paraformer-v2, fun-asr) returns every word with its times and distinguishes speakers, for hours
of audio, at a price per second. It returns words only. Qwen-Omni also understands music, noise, tone of voice and the
video itself, and answers questions; it is billed by tokens, and its times are approximate.

For every word, subtitles, or who spoke when: transcribe. For what it is about, how it sounds, or what can be seen:
ask. For both: transcribe first, and pass the text along with the question.
"""

from pathlib import Path

from _start import start
from qwen_omni import AudioPart, ChatOptions, ChatRequest, MediaSource, OmniClient, transcribe, user

QUESTION = "What kind of recording is this, how does it sound, and what is it about?"


def main(recording: Path) -> None:
    """Transcribe, ask, and ask with the transcript."""
    with OmniClient() as client:
        said = transcribe(recording, client=client)
        print(f"{said.model}: {said.text}")
        for sentence in said.sentences:
            print(f"  {sentence.start:.2f} s: {sentence.text} ({len(sentence.words)} words with times)")
        sound = AudioPart(source=MediaSource.from_path(recording, trusted=True))
        for text in (QUESTION, f"{QUESTION}\nThis was said: {said.text}"):
            request = ChatRequest(
                model="qwen3.8-omni-flash", messages=(user(sound, text),), options=ChatOptions(thinking=False)
            )
            response = client.complete(request)
            used = response.usage.total_tokens if response.usage else 0
            print(f"{request.model}: {response.text} ({used:,} tokens)")


if __name__ == "__main__":
    with start(__doc__, "audio") as (recording,):
        main(recording)
