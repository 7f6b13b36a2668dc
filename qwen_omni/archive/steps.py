"""What is asked about every input: captions, summaries, transcripts, notes, or any function.

A step is a value that can be pickled. Its digest identifies everything that affects an answer (the prompt, the schema,
the model, the options), and nothing else: more requests at once, or another place for the results, ask nothing again.
"""

import dataclasses
import re
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Protocol, runtime_checkable

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError
from qwen_omni.media.budget import MediaBudget, budget_key
from qwen_omni.media.source import MediaSource
from qwen_omni.media.work import usual_workers
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.pricing.costs import Cost, audio_cost
from qwen_omni.request.estimate import check_call_tier, estimate
from qwen_omni.request.fit import check_model
from qwen_omni.request.question import look
from qwen_omni.responses import Response
from qwen_omni.settings import Settings, region_of
from qwen_omni.structured.ask import AnswerText, ReadOptions, carry_out, read_answer
from qwen_omni.structured.batch import plain
from qwen_omni.structured.caption import DEFAULT_OPTIONS as CAPTION, CaptionOptions, plan_caption
from qwen_omni.structured.models import VideoCaption
from qwen_omni.structured.schema import SchemaLike, read_schema
from qwen_omni.transcription.options import (
    DEFAULT_OPTIONS as TRANSCRIPTION,
    TranscriptionOptions,
    choose_transcriber,
)
from qwen_omni.transcription.transcribe import transcribe
from qwen_omni.video.engine.run import check_text_tier, iter_notes
from qwen_omni.video.forecast import forecast
from qwen_omni.video.options import DEFAULT_OPTIONS as SUMMARY, SummaryOptions, on_server
from qwen_omni.video.schemas import PROMPTS_VERSION
from qwen_omni.video.summarize import summarize
from qwen_omni.work_store.store import digest

_NAME = re.compile(r"[a-z0-9][a-z0-9_.-]{0,60}")
_NOT_ASKED = frozenset(
    {
        "repair", "tier", "concurrency", "max_gaps", "step_retries", "retry_seconds", "rpm", "tpm", "checkpoint",
        "reuse_unverified", "workers", "wait_seconds", "poll_seconds", "fresh",
    }
)  # fmt: skip
"""Options that change how an answer is obtained or what it costs, not what is asked."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepContext:
    """What a step works with.

    Attributes:
        client: sends requests; at most as many at once as `in_flight` allows. Its ledger counts what they cost.
        checkpoint: where long videos store their segments: the same store, so that another step may use them.
        digest: SHA-256 of the content.
        uri: the name of the input.
        slot: waits for, and takes, one of the places for calls in flight, in a `with` block. The client does that by
            itself; a step that calls something else uses it around its call.
    """

    client: OmniClient
    checkpoint: Path | str
    digest: str
    uri: str
    slot: Callable[[], AbstractContextManager[Any]]


@dataclass(frozen=True, slots=True, kw_only=True)
class StepResult:
    """The answer about one input.

    Attributes:
        value: the answer, as JSON.
        truncated: whether it was cut short.
        model: the model that answered, if the step does not name it.
    """

    value: Any
    truncated: bool = False
    model: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepEstimate:
    """What one input is expected to use.

    Attributes:
        requests: the number of requests.
        input_tokens: of all of them.
        output_tokens: likewise.
        cost_cny: in yuan; `None` if a price is not known.
        seconds: of the media, as far as known.
        problem: why it would be refused; empty if it would not.
    """

    requests: int = 1
    input_tokens: int = 0
    output_tokens: int = 0
    cost_cny: float | None = None
    seconds: float = 0.0
    problem: str = ""


class Step(Protocol):
    """Something to ask about every input.

    Attributes:
        name: the name, in rows and in the store: lower-case letters, digits and `_.-`.
        model: the model that is asked; empty if that is only known with the answer.
    """

    @property
    def name(self) -> str:
        """The name."""

    @property
    def model(self) -> str:
        """The model that is asked."""

    @property
    def digest(self) -> str:
        """Identifies everything that affects an answer."""

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Answer one input; raise what makes its row."""


@runtime_checkable
class Checked(Protocol):
    """A step that can be checked before anything is paid for."""

    def check(self, settings: Settings) -> tuple[str, ...]:
        """Return the models that are asked; raise a `QwenOmniError` if none of its requests can succeed."""


@runtime_checkable
class Estimated(Protocol):
    """A step whose cost can be estimated."""

    def estimate(self, source: MediaSource, settings: Settings) -> StepEstimate:
        """Return what an input is expected to use. Opens it, and sends nothing."""


@runtime_checkable
class Paced(Protocol):
    """A step that makes several calls for one input."""

    def at_once(self, in_flight: int) -> int:
        """Return how many inputs to work on at once, besides a few that are prepared."""


@runtime_checkable
class InOneThread(Protocol):
    """A step that may make its calls one after another, in the thread that runs it.

    Attributes:
        in_one_thread: whether it does. Its place among the calls in flight is free again when its answer is stored.
    """

    in_one_thread: bool


def check_step(step: Step) -> None:
    """Check a step's name and digest, which are part of keys in the store.

    Raises:
        ConfigurationError: the name has other characters, or one of them is empty.
    """
    if not _NAME.fullmatch(step.name):
        raise ConfigurationError(
            f"The step's name {step.name!r:.80} must consist of lower-case letters, digits and _.-, 61 at most."
        )
    if not step.digest or " " in step.digest:
        raise ConfigurationError(
            f"The digest {step.digest!r:.80} of {step.name} must be a non-empty string without spaces."
        )


def models_of(step: Step, settings: Settings) -> tuple[str, ...]:
    """Return the models that a step asks, checked where the step can do that; raises what its `check` raises."""
    return step.check(settings) if isinstance(step, Checked) else tuple(filter(None, (step.model,)))


def _asked(options: Any, **others: Any) -> dict[str, Any]:  # noqa: ANN401  (a dataclass; JSON)
    """Return the options that affect an answer and differ from the defaults."""
    usual = type(options)()
    chosen = {one.name: getattr(options, one.name) for one in dataclasses.fields(options)}
    changed = {
        name: value for name, value in chosen.items() if name not in _NOT_ASKED and value != getattr(usual, name)
    }
    return {**{name: _plain(value) for name, value in changed.items()}, **others}


def _plain(value: object) -> object:
    if isinstance(value, MediaBudget):
        return budget_key(value)
    return dataclasses.asdict(value) if dataclasses.is_dataclass(value) and not isinstance(value, type) else value


def _key(*parts: object) -> str:
    return digest("archive", *parts)[:32]


@dataclass(frozen=True, slots=True)
class Caption:
    """A caption of each input, as a value of a schema. The answer is the caption as JSON.

    Example:
        >>> Caption().digest == Caption(options=CaptionOptions(tier="batch")).digest
        True
    """

    schema: SchemaLike = VideoCaption
    options: CaptionOptions = CAPTION
    name: str = field(default="caption", init=False)
    in_one_thread: ClassVar[bool] = True

    @property
    def model(self) -> str:
        """The model that is asked."""
        return self.options.model

    @property
    def digest(self) -> str:
        """Identifies everything that affects an answer."""
        return _key(self.name, read_schema(self.schema).json_schema, _asked(self.options, model=self.model))

    def check(self, settings: Settings) -> tuple[str, ...]:
        """Return the model; raise if it is retired, or not offered in this way."""
        check_model(self.model, settings.base_url)
        chat = ChatOptions(tier=self.options.tier)
        check_call_tier(ChatRequest(model=self.model, messages=(), options=chat), settings)
        return (self.model,)

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Ask for the caption, and once more if the answer violates the schema."""
        made = carry_out(self._plan(source, task.client.settings), task.client)
        return StepResult(value=plain(made.value), truncated=made.truncated)

    def request(self, source: MediaSource, settings: Settings) -> ChatRequest:
        """Return the request about an input, for a batch."""
        made: ChatRequest = self._plan(source, settings).request
        return dataclasses.replace(made, options=dataclasses.replace(made.options, tier=None))

    def read(self, response: Response) -> StepResult:
        """Return the caption of an answer; raise as `caption` does if it is not complete or violates the schema."""
        reading = ReadOptions(schema=read_schema(self.schema), allow_truncated=self.options.allow_truncated)
        parsed = read_answer(AnswerText(response.text, response.finish_reason, response.usage), reading)
        return StepResult(value=plain(parsed.value), truncated=parsed.truncated)

    def _plan(self, source: MediaSource, settings: Settings) -> Any:  # noqa: ANN401  (a CaptionPlan)
        profile = settings.profile(self.model)
        return plan_caption(
            source, self.schema, self.options, media_root=settings.media_root, many_media=True, profile=profile
        )

    def estimate(self, source: MediaSource, settings: Settings) -> StepEstimate:
        """Return what the caption is expected to use."""
        request: ChatRequest = self._plan(source, settings).request
        made = estimate(request, settings=settings)
        return StepEstimate(
            input_tokens=made.input_tokens, output_tokens=made.tokens.output, cost_cny=made.cost.cny,
            seconds=made.seconds, problem=made.problems[0] if made.problems else "",
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _OfVideo:
    """What steps about long videos share."""

    options: SummaryOptions = SUMMARY

    @property
    def model(self) -> str:
        """The model that sees the segments."""
        return self.options.model

    def _parts(self) -> dict[str, Any]:
        texts = self.options.text_model_name
        chosen = _asked(self.options, model=self.model, text_model=texts, version=PROMPTS_VERSION)
        return {**{name: value for name, value in chosen.items() if name != "chat"}, **self.options.chat_key}

    def _options(self, task: StepContext) -> SummaryOptions:
        return dataclasses.replace(self.options, checkpoint=task.checkpoint, workers=self.options.workers or 1)

    def at_once(self, in_flight: int) -> int:
        """Return how many videos to work on at once: each has segments to ask about, and one thread that makes them."""
        return min(in_flight, usual_workers())

    def check(self, settings: Settings) -> tuple[str, ...]:
        """Return the models; raise if one is retired, or not offered in this way."""
        used = on_server(self.options, settings.server_of(self.model))
        own = (used.text_model,) if isinstance(used.text_model, str) else ()
        for model in (used.model, *own):
            check_model(model, settings.base_url)
        check_text_tier(settings, used)
        return (used.model, *own)

    def estimate(self, source: MediaSource, settings: Settings) -> StepEstimate:
        """Return what the run is expected to use."""
        chosen = next(one for one in forecast(source, settings, self.options) if one.chosen)
        info = look(source, settings.media_root)
        return StepEstimate(
            requests=chosen.bill.requests, input_tokens=chosen.bill.input_tokens,
            output_tokens=chosen.bill.output_tokens, cost_cny=chosen.bill.cny,
            seconds=0.0 if info is None else float(info.duration or 0),
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Summarize(_OfVideo):
    """A summary of each video of any length, with chapters and events. The answer is a `VideoSummary` as JSON.

    Notes of segments are stored in the same store: another way to join them reuses them.
    """

    name: str = field(default="summarize", init=False)

    @property
    def digest(self) -> str:
        """Identifies everything that affects an answer."""
        return _key(self.name, self._parts())

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Summarise the video."""
        made = summarize(source, client=task.client, options=self._options(task), on_progress=lambda _: None)
        value = made.model_dump(mode="json", exclude={"this_run", "whole_run"})
        value["video"]["source"] = ""  # an answer belongs to a content, which may have many names
        return StepResult(value=value, truncated=any("truncated" in notice for notice in made.notices))


@dataclass(frozen=True, slots=True)
class Notes(_OfVideo):
    """Notes of each segment of each video, without a summary. The answer is `{"segments": [...]}`, each `SegmentNotes`.

    They are shared with `Summarize`: what one has paid for costs the other nothing.
    """

    name: str = field(default="notes", init=False)

    @property
    def digest(self) -> str:
        """Identifies everything that affects an answer."""
        parts = self._parts()
        return _key(
            self.name, {name: value for name, value in parts.items() if name not in ("text_model", "reduce_tokens")}
        )

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Take the notes."""
        options = self._options(task)
        found = list(iter_notes(source, client=task.client, options=options, on_progress=lambda _: None))
        segments = [one.model_dump(mode="json", exclude={"usages", "video"}) for one in found]
        return StepResult(value={"segments": segments}, truncated=any(one.truncated for one in found))


@dataclass(frozen=True, slots=True)
class Transcribe:
    """A transcript of the speech in each recording or video. The answer is a `Transcript` as JSON."""

    options: TranscriptionOptions = TRANSCRIPTION
    name: str = field(default="transcribe", init=False)

    @property
    def model(self) -> str:
        """The model; empty if the region decides."""
        return self.options.model or ""

    @property
    def digest(self) -> str:
        """Identifies everything that affects an answer."""
        return _key(self.name, _asked(self.options))

    def check(self, settings: Settings) -> tuple[str, ...]:
        """Return no model, because transcriptions have limits of their own; raise if it lacks one of the options."""
        choose_transcriber(self.options, region_of(settings.base_url))
        return ()

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Transcribe the recording."""
        with task.slot():
            said = transcribe(source, client=task.client, options=self.options)
        value = said.model_dump(mode="json", exclude={"task_id"})
        return StepResult(value={**value, "source": ""}, model=said.model)

    def estimate(self, source: MediaSource, settings: Settings) -> StepEstimate:
        """Return what the transcription is expected to cost."""
        region = region_of(settings.base_url)
        profile = choose_transcriber(self.options, region)
        info = look(source, settings.media_root)
        seconds = 0.0 if info is None else float(info.duration or 0)
        cost: Cost = audio_cost(seconds, profile, region, prices=settings.prices, rate=settings.exchange_rate)
        late = seconds > profile.max_seconds
        problem = f"{seconds:,.0f} s are more than the {profile.max_seconds:,.0f} s of {profile.name}" if late else ""
        return StepEstimate(cost_cny=cost.cny, seconds=seconds, problem=problem)


Function = Callable[[MediaSource, StepContext], Any]


@dataclass(frozen=True, slots=True)
class FunctionStep:
    """Any function as a step.

    Attributes:
        name: the name, in rows and in the store.
        function: takes the media and the context, returns the answer as JSON, or a `StepResult`. It must be importable
            to be used in other processes, and may be called again for the same input after a failure.
        digest: a word that identifies what affects an answer: change it with the function, its prompt or its model.
        model: the model, for the rows.
        takes_slot: whether a call of the function counts as one call in flight. A function that prepares media first
            takes a place itself, with `task.slot()`, and passes `False`.

    Example:
        >>> def count(source: MediaSource, task: StepContext) -> int:
        ...     return len(task.uri)
        >>> FunctionStep("length", count, "version-1").name
        'length'
    """

    name: str
    function: Function
    digest: str
    model: str = ""
    takes_slot: bool = True

    def run(self, source: MediaSource, task: StepContext) -> StepResult:
        """Call the function."""
        if self.takes_slot:
            with task.slot():
                made = self.function(source, task)
        else:
            made = self.function(source, task)
        return made if isinstance(made, StepResult) else StepResult(value=made)
