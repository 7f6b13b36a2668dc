"""Paraformer or Qwen-Omni? The same recording through both.

    python examples/core/paraformer_or_omni.py [call.mp3] [--offline]

A transcribing model (paraformer-v2, fun-asr) writes every word with its times and tells speakers apart, for hours of
sound, at a price per second. It knows nothing but words. Qwen-Omni hears everything, music, noise and tone of voice,
sees the picture too, and answers a question; it is billed by tokens, and its times are its own guess.

Want every word, subtitles, who spoke when: transcribe. Want to know what it is about, how it sounds, what is seen:
ask. Want both: transcribe first, and give the text with the question.
"""

from pathlib import Path

from qwen_omni import AudioPart, ChatOptions, ChatRequest, MediaSource, OmniClient, transcribe, user
from qwen_omni.standin.example import start

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
