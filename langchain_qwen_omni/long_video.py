"""`LongVideoChain`: a Runnable that turns a video of any length into a `VideoSummary` or an answer to a question.

A thin layer over `qwen_omni.video` with the connection and model of the chat model. Segments and requests appear as
child runs in callbacks, traces and `astream_events` (see `_traces`), and progress as custom events. Reading the input
opens no file; unsupported input is rejected rather than ignored.
"""
# ruff: noqa: ANN401  (LangChain's own signatures: any keyword)

import contextlib
import operator
import os
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from langchain_core.callbacks import adispatch_custom_event, dispatch_custom_event
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import BaseMessage, HumanMessage
from langchain_core.messages.utils import convert_to_messages
from langchain_core.prompt_values import PromptValue
from langchain_core.runnables import RunnableConfig
from langchain_core.runnables.config import patch_config

from langchain_qwen_omni._convert_input import to_messages
from langchain_qwen_omni._errors import as_langchain_errors
from langchain_qwen_omni._progress import ProgressChain
from langchain_qwen_omni._traces import PARENT, RunTraces
from langchain_qwen_omni.callbacks import parse_usage
from langchain_qwen_omni.chat_models import ChatQwenOmni
from qwen_omni.errors import UnsupportedContentError
from qwen_omni.integrations.model_fields import with_choices
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import Part, TextPart
from qwen_omni.responses import Response
from qwen_omni.transport.flow import adrive, drive
from qwen_omni.video.options import ForeignTextModel, Texts, choices_of, single_media_part

if TYPE_CHECKING:
    from qwen_omni.media.source import Anything
    from qwen_omni.video.engine.run import OnProgress
    from qwen_omni.video.options import SummaryOptions


@dataclass(frozen=True, slots=True, kw_only=True)
class VideoInput:
    """One parsed input of the chain.

    Attributes:
        source: the video or recording.
        question: the question in the input, if any.
        choices: run options in the input: `start`, `end`, `audio_track`.
    """

    source: "Anything"
    question: str | None = None
    choices: Mapping[str, Any] = field(default_factory=dict)


def read_input(given: Any, input_key: str) -> VideoInput:
    """Return the one video in an input, with its question and options.

    Raises:
        UnsupportedContentError: it does not hold exactly one video or recording, or holds an option that long videos do
            not support; the text says what to use instead.
        MediaError: invalid media.
    """
    asked = None
    if isinstance(given, Mapping) and "type" not in given:
        if input_key not in given:
            raise UnsupportedContentError(
                f"The input has no {input_key!r}: pass a path, a content block, or a mapping that holds one "
                f"under {input_key!r} (or choose another input_key=)."
            )
        asked, given = given.get("question") or None, given[input_key]
    if isinstance(given, str | os.PathLike | MediaSource | bytes):
        return VideoInput(source=given, question=asked)
    parts = _parts(given)
    part = single_media_part(parts)
    text = "\n".join(one.text for one in parts if isinstance(one, TextPart) and one.text.strip()) or None
    if asked is not None and text is not None and asked != text:
        raise UnsupportedContentError('The input has two questions: remove "question" or the text next to the video.')
    return VideoInput(source=part.source, question=asked or text, choices=choices_of(part))


def _parts(given: Any) -> Sequence[Part]:
    """Return the parts of the single message of an input."""
    messages = to_messages(_conversation(given))
    if len(messages) != 1 or messages[0].role != "user":
        roles = ", ".join(message.role for message in messages)
        raise UnsupportedContentError(
            f"A long video must be in one user message, but the input has {len(messages)} ({roles}). "
            "Pass only that message; use focus= to describe what to focus on."
        )
    return messages[0].parts


def _conversation(given: Any) -> Sequence[BaseMessage]:
    if isinstance(given, PromptValue):
        return given.to_messages()
    if isinstance(given, BaseMessage):
        return [given]
    items: Any = [given] if isinstance(given, Mapping) else given
    if not isinstance(items, Sequence):
        raise UnsupportedContentError(
            f"{type(given).__name__} is not a video: pass a path, a content block, a message, or a mapping of these."
        )
    if all(_is_block(one) for one in items):
        return [HumanMessage([dict(one) if isinstance(one, Mapping) else one for one in items])]
    try:
        return convert_to_messages(items)
    except (ValueError, TypeError, NotImplementedError):  # its text repeats the input, including the media
        kinds = ", ".join(sorted({type(one).__name__ for one in items}))
        raise UnsupportedContentError(
            f"The input is a list of {kinds}: pass content blocks, or one user message."
        ) from None


def _is_block(one: object) -> bool:
    return isinstance(one, str) or (isinstance(one, Mapping) and "role" not in one)


LongVideoInput = str | os.PathLike[str] | Mapping[str, Any] | HumanMessage | PromptValue | Sequence[Any]

PROGRESS_EVENT = "qwen_omni_long_video"
"""Name of the custom events that report the progress of a run."""


class LongVideoChain(ProgressChain[LongVideoInput, Any]):
    """Summarises videos of any length, or answers a question about them; nothing is paid for twice.

    Its input is a path (chosen by the program, so it may be anywhere), a content block or a message with one video or
    recording (which must be inside the model's `media_root`), or a mapping that holds either under `input_key`. A
    `start` or `end` in the block overrides that in `options`; the text of a message is the question. A conversation of
    several messages is rejected, as are sampling options (`fps`, `max_pixels`, `budget`). `stream` yields `Progress`
    values and the result last. Traces and `astream_events` show a run for every segment and an LLM run for every
    request.

    Args:
        llm: the chat model; its connection and model name are used.
        text_model: merges the notes: a model of the service, or any other chat model of LangChain.
        question: answer this instead of summarising. An input's own "question", or the text of its message, wins.
        options: everything else, see `SummaryOptions`; further keywords are fields of it.
        input_key: the key of the video in a mapping, for graphs.
        output_key: return `{output_key: result}` instead of the result, for a node of a graph.
        on_progress: called after every step, as in `qwen_omni.summarize`; for example a `qwen_omni.ProgressBar`.

    Example:
        from langchain_qwen_omni import ChatQwenOmni, LongVideoChain

        found = LongVideoChain(ChatQwenOmni(), detail="low").invoke("lecture.mp4")
        print(found.summary, found.chapters, found.this_run.cny)
    """

    def __init__(  # noqa: PLR0913 - one keyword per property of a run
        self,
        llm: ChatQwenOmni,
        *,
        text_model: str | BaseChatModel | None = None,
        question: str | None = None,
        options: "SummaryOptions | None" = None,
        input_key: str = "video",
        output_key: str | None = None,
        on_progress: "OnProgress | None" = None,
        **choices: Any,
    ) -> None:
        from qwen_omni.video.options import SummaryOptions  # noqa: PLC0415  (loads on first use)

        with as_langchain_errors():
            changes = {"model": llm.model, "chat": llm.chat_options(), **choices}
            if llm.tier is not None:
                changes = {"tier": llm.tier, **changes}
            if text_model is not None:
                changes["text_model"] = text_model if isinstance(text_model, str) else ChatTextModel(text_model)
            self.options = with_choices(options or SummaryOptions(), changes, LongVideoChain)
        self.llm = llm
        self.question = question
        self.input_key = input_key
        self.output_key = output_key
        self.on_progress = on_progress

    def _work(self, inputs: Iterator[LongVideoInput], run_manager: Any, config: RunnableConfig) -> Iterator[Any]:
        from qwen_omni.video.ask import stream_either  # noqa: PLC0415
        from qwen_omni.video.engine.run import Progress  # noqa: PLC0415

        child = patch_config(config, callbacks=run_manager.get_child())
        traces = RunTraces(run_manager, config, self.llm, self.options)
        with as_langchain_errors():
            try:
                source, question, options = self._read(list(inputs)[-1])
                coming = stream_either(
                    source, question, client=self.llm.client(), options=options, tracing=traces.request
                )
                with contextlib.closing(coming):
                    for news in coming:
                        if not isinstance(news, Progress):
                            yield self._result(news)
                            return
                        drive(traces.report(news), operator.call)
                        dispatch_custom_event(PROGRESS_EVENT, asdict(news), config=child)
                        if self.on_progress is not None:
                            self.on_progress(news)
                        yield news
            except BaseException as error:
                drive(traces.fail(error), operator.call)
                raise

    async def _awork(
        self, inputs: AsyncIterator[LongVideoInput], run_manager: Any, config: RunnableConfig
    ) -> AsyncIterator[Any]:
        from qwen_omni.video.ask import astream_either  # noqa: PLC0415
        from qwen_omni.video.engine.run import Progress  # noqa: PLC0415

        child = patch_config(config, callbacks=run_manager.get_child())
        traces = RunTraces(run_manager, config, self.llm, self.options)
        with as_langchain_errors():
            try:
                source, question, options = self._read([given async for given in inputs][-1])
                coming = astream_either(
                    source, question, client=self.llm.aclient(), options=options, tracing=traces.arequest
                )
                async with contextlib.aclosing(coming):
                    async for news in coming:
                        if not isinstance(news, Progress):
                            yield self._result(news)
                            return
                        await adrive(traces.report(news), operator.call)
                        await adispatch_custom_event(PROGRESS_EVENT, asdict(news), config=child)
                        if self.on_progress is not None:
                            self.on_progress(news)
                        yield news
            except BaseException as error:
                await adrive(traces.fail(error), operator.call)
                raise

    def _read(self, given: Any) -> "tuple[Any, str | None, SummaryOptions]":
        """Return the video in an input, its question and its options; see `read_input`."""
        found = read_input(given, self.input_key)
        return found.source, found.question or self.question, replace(self.options, **found.choices)


class ChatTextModel(ForeignTextModel):
    """Any chat model of LangChain, as the model that merges notes."""

    def __init__(self, llm: BaseChatModel) -> None:
        name = getattr(llm, "model_name", None) or getattr(llm, "model", None)
        super().__init__(str(name or llm._llm_type))  # noqa: SLF001  (LangChain's own name for it)
        self._llm = llm

    def ask(self, texts: Texts) -> Response:
        """Answer a conversation."""
        return _to_response(self._llm.invoke([*texts], config=PARENT.get()))

    async def aask(self, texts: Texts) -> Response:
        """The same in `asyncio`."""
        return _to_response(await self._llm.ainvoke([*texts], config=PARENT.get()))


def _to_response(answer: Any) -> Response:
    used = answer.usage_metadata
    from langchain_qwen_omni.output_parsers import finish_of  # noqa: PLC0415  (imports the parsers)

    return Response(
        text=str(answer.text),
        usage=parse_usage(used) if used else None,
        finish_reason=finish_of(answer) or "stop",
        id=answer.id,
    )
