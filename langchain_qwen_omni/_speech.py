"""Speech in messages: pieces of PCM → blocks that join to one WAV file, and the file that they make.

LangChain joins pieces of base64 as text, copying everything so far for every piece: quadratic, milliseconds per piece
of a long answer. `SpeechChunk` adds up to the same message in near-linear time. Until the answer is complete, its
audio is held in a few blocks of decreasing size, of which only the last has the index of the stream, so that any merge
puts the next piece in the right place; the complete answer holds one block, whose header has the true length. Every
intermediate state can be read, dumped and merged by other code.
"""

import base64
import os
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.messages.ai import add_ai_message_chunks
from pydantic import ConfigDict

from langchain_qwen_omni._errors import to_langchain
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.responses import AudioDelta, to_wav

WAV = "audio/wav"
AUDIO_INDEX = "lc_aud_0"
_WHOLE = 3  # bytes per base64 group, so that encoded pieces can be joined
_UNKNOWN_SIZE = 0xFFFF_FFFF  # in the header of a WAV of unknown length
_SIZES_AT = (4, 40)
_HEADER_BYTES = 44
_HEADER_TEXT = 60  # characters of base64 that hold the header, in whole groups

Block = dict[str, Any]
_PLACEHOLDER: Block = {"type": "audio"}  # of the audio in chunks that are being added up


class Pieces:
    """Converts pieces of PCM to pieces of base64 that join to one WAV file: `feed` each piece, then call `rest`."""

    def __init__(self) -> None:
        self._begun = False
        self._held = b""

    def feed(self, delta: AudioDelta) -> str:
        """Return the next piece; empty while there is too little data for one."""
        head = b"" if self._begun else streamed_wav_header(delta.sample_rate)
        self._begun = True
        data = b"".join((self._held, head, delta.pcm)) if self._held or head else delta.pcm
        over = len(data) % _WHOLE
        self._held = data[len(data) - over :] if over else b""
        return base64.b64encode(data[: len(data) - over] if over else data).decode("ascii")

    def rest(self) -> str:
        """Return the remainder; only the very last piece may end inside a group."""
        held, self._held = self._held, b""
        return base64.b64encode(held).decode("ascii")


def streamed_wav_header(sample_rate: int) -> bytes:
    """Return a WAV header for 16 bit mono audio of unknown length; players read to the end of the data."""
    header = bytearray(to_wav(b"", sample_rate))
    for at in _SIZES_AT:
        struct.pack_into("<I", header, at, _UNKNOWN_SIZE)
    return bytes(header)


def with_true_sizes(encoded: str) -> str:
    """Write the final length into the header of a streamed WAV.

    Example:
        >>> start = base64.b64encode(streamed_wav_header(24_000) + bytes(4)).decode()
        >>> base64.b64decode(with_true_sizes(start)) == to_wav(bytes(4), 24_000)
        True
    """
    if len(encoded) < _HEADER_TEXT:
        return encoded
    header = bytearray(base64.b64decode(encoded[:_HEADER_TEXT]))
    if not header.startswith(b"RIFF") or any(
        struct.unpack_from("<I", header, at)[0] != _UNKNOWN_SIZE for at in _SIZES_AT
    ):
        return encoded
    padding = len(encoded) - len(encoded.rstrip("="))
    size = len(encoded) // 4 * 3 - padding
    struct.pack_into("<I", header, _SIZES_AT[0], size - 8)
    struct.pack_into("<I", header, _SIZES_AT[1], size - _HEADER_BYTES)
    return base64.b64encode(header).decode("ascii") + encoded[_HEADER_TEXT:]


def is_speech(block: object) -> bool:
    """Whether a content block holds a piece of audio that can be joined to its neighbours."""
    return isinstance(block, dict) and block.get("type") == "audio" and isinstance(block.get("base64"), str)


def one_block(pieces: Sequence[Block]) -> Block:
    """Join all pieces of one answer's audio."""
    joined = "".join([piece["base64"] for piece in pieces])
    return {**pieces[0], "base64": joined, "index": pieces[-1].get("index", AUDIO_INDEX)}


def join_speech(content: Sequence[Any]) -> list[Any]:
    """Return content with all audio in one block, at the position of its first piece.

    Example:
        >>> join_speech([{"type": "audio", "base64": "AAAA"}, {"type": "audio", "base64": "BBBB", "index": "lc_aud_0"}])
        [{'type': 'audio', 'base64': 'AAAABBBB', 'index': 'lc_aud_0'}]
    """
    pieces = [block for block in content if is_speech(block)]
    if len(pieces) < 2:  # noqa: PLR2004  (nothing to join)
        return list(content)
    joined: list[Any] = [block for block in content if not is_speech(block) or block is pieces[0]]
    joined[joined.index(pieces[0])] = one_block(pieces)
    return joined


class SpeechChunk(AIMessageChunk):
    """A chunk of an answer with speech. The complete sum is a plain `AIMessageChunk`."""

    model_config = ConfigDict(defer_build=True)  # takes milliseconds, which only speech needs

    def __add__(self, other: Any) -> BaseMessage:  # type: ignore[override]  # noqa: ANN401  (LangChain's signature)
        """Add a chunk, or a list of chunks."""
        others = [other] if isinstance(other, AIMessageChunk) else other
        if isinstance(others, list) and all(isinstance(chunk, AIMessageChunk) for chunk in others):
            return _added([self, *others])
        return cast("BaseMessage", super().__add__(other))

    def __radd__(self, other: Any) -> BaseMessage:  # noqa: ANN401  (LangChain's signature)
        """Add to a chunk without speech; Python calls this first, since this is a subclass."""
        return _added([other, self]) if isinstance(other, AIMessageChunk) else NotImplemented

    @classmethod
    def lc_id(cls) -> list[str]:
        """Dump as a plain `AIMessageChunk`."""
        return AIMessageChunk.lc_id()


def _added(chunks: Sequence[AIMessageChunk]) -> AIMessageChunk:
    """Add up chunks by LangChain's own rules, with a placeholder for the audio."""
    pieces: list[Block] = []
    light = [_without_audio(chunk, pieces) for chunk in chunks]
    merged = add_ai_message_chunks(light[0], *light[1:])
    complete = merged.chunk_position == "last"
    kind = AIMessageChunk if complete else SpeechChunk
    if type(merged) is not kind:
        merged = kind(**{name: value for name, value in merged.__dict__.items() if name != "type"})
    if pieces and isinstance(merged.content, list):
        at = merged.content.index(_PLACEHOLDER)
        merged.content[at : at + 1] = [_whole(pieces)] if complete else _few(pieces)
    return merged


def _without_audio(chunk: AIMessageChunk, pieces: list[Block]) -> AIMessageChunk:
    """Remove the pieces of audio from a chunk; the very first leaves a placeholder."""
    if not isinstance(chunk.content, list) or not any(map(is_speech, chunk.content)):
        return chunk
    kept: list[Any] = []
    for block in chunk.content:
        if not is_speech(block):
            kept.append(block)
            continue
        if not pieces:
            kept.append(dict(_PLACEHOLDER))
        pieces.append(cast("Block", block))
    return chunk.model_copy(update={"content": kept})


def _whole(pieces: Sequence[Block]) -> Block:
    joined = one_block(pieces)
    return {**joined, "base64": with_true_sizes(joined["base64"])}


def _few(pieces: Sequence[Block]) -> list[Block]:
    """Join pieces so that each is longer than all after it: few blocks, each character copied only a few times."""
    rising: list[Block] = []
    for piece in pieces:
        rising.append(piece)
        while len(rising) > 1 and len(rising[-2]["base64"]) <= len(rising[-1]["base64"]):
            last = rising.pop()
            rising[-1] = {**rising[-1], "base64": rising[-1]["base64"] + last["base64"]}
    closed = [{name: value for name, value in block.items() if name != "index"} for block in rising[:-1]]
    return [*closed, {**rising[-1], "index": AUDIO_INDEX}]


def speech_of(message: AIMessage) -> bytes | None:
    """Return the speech of an answer as the bytes of a WAV file, or `None` if there is none.

    Accepts answers of `invoke`, summed chunks (by any code), and answers read from a checkpoint or a file.
    """
    content = message.content if isinstance(message.content, list) else []
    pieces = [cast("Block", block) for block in content if is_speech(block)]
    if not pieces:
        return None
    return base64.b64decode(with_true_sizes("".join([piece["base64"] for piece in pieces])))


def save_speech(message: BaseMessage, path: str | os.PathLike[str]) -> Path:
    """Save the speech of an answer as a WAV file: 16 bit mono, 24,000 samples per second.

    Args:
        message: the answer of `invoke`, or the summed chunks of `stream`.
        path: where to write; an existing file is replaced.

    Returns:
        The path.

    Raises:
        UnsupportedContentError: the answer contains no speech.
        OSError: the file cannot be written.

    Example:
        answer = ChatQwenOmni(model="qwen3.5-omni-flash", modalities=["text", "audio"]).invoke("Say hello.")
        save_speech(answer, "hello.wav")
    """
    speech = speech_of(message) if isinstance(message, AIMessage) else None
    if speech is None:
        raise to_langchain(
            UnsupportedContentError(
                f"This {type(message).__name__} contains no speech. Request it with modalities=['text', "
                "'audio'] from a model that can speak, such as qwen3.5-omni-flash."
            )
        )
    target = Path(path)
    target.write_bytes(speech)
    return target
