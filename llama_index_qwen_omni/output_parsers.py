"""`CaptionOutputParser` for LlamaIndex: parses captions of a schema from the text of any LLM.

Parsing and the handling of truncated answers are decided in `qwen_omni.structured.ask`; this module adapts them to
LlamaIndex.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from llama_index.core.base.llms.types import ChatMessage, ChatResponse, CompletionResponse, MessageRole, TextBlock
from llama_index.core.types import BaseOutputParser

from llama_index_qwen_omni._convert_output import finish_of
from llama_index_qwen_omni.callbacks import usage_of
from qwen_omni.structured.ask import AnswerText, ReadOptions, read_answer, warn_if_truncated
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import SchemaLike, instructions, read_schema


class CaptionOutputParser(BaseOutputParser):
    """Parses a caption from the text of any model, in spite of fences, prose, comments and trailing commas.

    Example:
        from llama_index.core.prompts import PromptTemplate
        from llama_index_qwen_omni import CaptionOutputParser, VideoCaption

        parser = CaptionOutputParser(VideoCaption)
        question = parser.format("Describe the video.")   # the question, followed by the schema
        caption = parser.parse(answer)                    # VideoCaption(scene_description=…)
    """

    def __init__(
        self,
        schema: SchemaLike = VideoCaption,
        *,
        language: str | None = None,
        duration: float | None = None,
        allow_truncated: bool = False,
    ) -> None:
        """Create a parser.

        Args:
            schema: a pydantic model, a `TypedDict` or a JSON schema.
            language: language of the texts in the answer.
            duration: duration of the video in seconds, for `TimedCaptions`: times after its end are clipped.
            allow_truncated: accept a truncated caption that satisfies the schema, with a
                `TruncatedAnswerWarning`.

        Raises:
            ConfigurationError: the schema is invalid.
        """
        self._schema = read_schema(schema)
        self._language = language
        facts: Mapping[str, Any] = {} if duration is None else {"duration": duration}
        self._reading = ReadOptions(schema=self._schema, facts=facts, allow_truncated=allow_truncated)

    def parse(self, output: str | ChatResponse | CompletionResponse) -> Any:  # noqa: ANN401  (whatever the schema says)
        """Parse a whole answer.

        Pass the response itself if you have it: its text does not show why the answer ended.

        Raises:
            CaptionSyntaxError: no JSON, or JSON that violates the schema.
            TruncatedAnswerError: the answer was truncated, or its text ends inside the JSON.
        """
        return warn_if_truncated(read_answer(_answer(output), self._reading))

    def format(self, query: str) -> str:
        """Append the description of the answer's format to a question."""
        rules = instructions(self._schema, language=self._language, format_only=True)
        return f"{query}\n\n{rules}" if query else rules

    def format_messages(self, messages: Sequence[ChatMessage]) -> list[ChatMessage]:
        """Append it to a conversation: to the system message if there is one, else to the last message.

        The text goes after the last text block; media stay where they are. The original messages are not modified.
        """
        copies = list(messages)
        if copies:
            at = 0 if copies[0].role == MessageRole.SYSTEM else -1
            copies[at] = self._with_rules(copies[at])
        return copies

    def _with_rules(self, message: ChatMessage) -> ChatMessage:
        blocks = list(message.blocks)
        last = next((at for at in reversed(range(len(blocks))) if isinstance(blocks[at], TextBlock)), None)
        if last is None:
            blocks.append(TextBlock(text=self.format("")))
        else:
            text = blocks[last]
            blocks[last] = TextBlock(text=self.format(text.text if isinstance(text, TextBlock) else ""))
        return message.model_copy(update={"blocks": blocks})


def _answer(output: str | ChatResponse | CompletionResponse) -> AnswerText:
    if isinstance(output, ChatResponse):
        return AnswerText(output.message.content or "", finish_of(output), usage_of(output))
    if isinstance(output, CompletionResponse):
        return AnswerText(output.text, finish_of(output), usage_of(output))
    return AnswerText(output)
