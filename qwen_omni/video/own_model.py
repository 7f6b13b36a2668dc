"""What the adapters share about a `TextModel` that wraps another library's model."""

import contextlib
from collections.abc import Iterator

from qwen_omni.errors import QwenOmniError
from qwen_omni.messages import Message, TextPart


@contextlib.contextmanager
def told_as_ours() -> Iterator[None]:
    """Raise whatever another library's model raises as an error that a run knows how to end with.

    Raises:
        QwenOmniError: the model failed; its own error is the cause.
    """
    try:
        yield
    except QwenOmniError:
        raise
    except Exception as error:
        raise QwenOmniError(f"The model that joins notes failed: {type(error).__name__}: {error}") from error


def words_of(message: Message) -> str:
    """Give the text of a message; what joins notes is asked in nothing else."""
    return "\n\n".join(part.text for part in message.parts if isinstance(part, TextPart))
