"""The requests of a batch: checked before anything is sent, written as lines, and what they will cost. Sends nothing.

What a line answers is keyed by its content, without the signatures of its links: the same request in a later job is not
paid for again.
"""

import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from qwen_omni.addresses import Server, expiry_of, unsigned
from qwen_omni.errors import (
    ConfigurationError,
    DeliveryError,
    MediaDoesNotFitError,
    UnsupportedMediaError,
)
from qwen_omni.messages import FramesPart, media_of, media_parts
from qwen_omni.options import ChatRequest
from qwen_omni.pricing.costs import Cost, Pricing, TokenCounts, pricing_for
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_TEXT_MODEL, Profile, profile_for
from qwen_omni.profiles.batch import (
    LONGEST_CUSTOM_ID,
    MOST_FILE_BYTES,
    MOST_LINE_BYTES,
    MOST_LINES,
    SHARE,
    TEST_BYTES,
    TEST_LINES,
    TEST_MODEL,
    WINDOW_HOURS,
    why_not,
)
from qwen_omni.ranges import Range, checked
from qwen_omni.request.estimate import EstimatedCall, dearer_than_real_time, thinks
from qwen_omni.request.media_estimate import MediaEstimator
from qwen_omni.request.prepared_request import Fitting, RequestBody
from qwen_omni.settings import Settings, region_of
from qwen_omni.wire.batch import encode_line, thinking_of, unstreamed
from qwen_omni.wire.request import draft_request
from qwen_omni.work_store.store import digest

WINDOW = Range(least=WINDOW_HOURS[0], most=WINDOW_HOURS[1], whole=True)
_UNTIL_READ = timedelta(hours=1)  # between this check and the moment that the window begins
_SHOWN = 3
_BLOCK = 262_144  # bytes sent at once


@dataclass(frozen=True, slots=True)
class Lines:
    """The checked requests of one file. `Content` of an upload: the lines are written as they are sent.

    Attributes:
        requests: by `custom_id`.
        digests: the content of each line, by `custom_id`.
        sizes: the bytes of each line, by `custom_id`.
        settings: how links are checked, and who answers.
        chosen: the lines that go into the file; all of them if `None`.
    """

    requests: Mapping[str, ChatRequest]
    digests: Mapping[str, str]
    sizes: Mapping[str, int]
    settings: Settings
    chosen: Sequence[str] | None = None

    @property
    def model(self) -> str:
        """The model of all lines."""
        return next(iter(self.requests.values())).model

    def only(self, names: Sequence[str]) -> "Lines":
        """Return a file of some of the lines."""
        return replace(self, chosen=names)

    @property
    def length(self) -> int:
        """Bytes of the file."""
        return sum(self.sizes[name] for name in self._names)

    @property
    def _names(self) -> Iterable[str]:
        return self.requests if self.chosen is None else self.chosen

    def __iter__(self) -> Iterator[bytes]:
        block = bytearray()
        for name in self._names:
            block += encode_line(name, body_of(self.requests[name], self.settings))
            if len(block) >= _BLOCK:
                yield bytes(block)
                block.clear()
        yield bytes(block)

    def __repr__(self) -> str:
        return f"Lines({len(self.requests):,} requests to {self.model})"


def check_lines(requests: Mapping[str, ChatRequest], settings: Settings, hours: int) -> Lines:
    """Check requests against every limit of Batch File, and read their content once. Sends and opens nothing.

    Raises:
        ConfigurationError: a model, a region, an option or a `custom_id` that Batch File does not take, or a mixture of
            models or thinking modes.
        UnsupportedMediaError: a line with media of several types.
        DeliveryError: media that is not a link, or a link that expires before the window ends.
        MediaDoesNotFitError: too many lines, or too many bytes.
    """
    checked("window_hours", hours, WINDOW)
    _check_names(requests)
    _check_model(requests, settings)
    until = datetime.now(UTC) + timedelta(hours=hours) + _UNTIL_READ
    seen: Counter[str] = Counter()
    digests: dict[str, str] = {}
    sizes: dict[str, int] = {}
    modes: dict[tuple[object, ...], str] = {}
    for name, request in requests.items():
        _check_request(name, request, until, hours)
        body = body_of(request, settings)
        line = encode_line(name, body)
        if len(line) > MOST_LINE_BYTES:
            raise _too_large(f"Line {name!r} has {len(line):,} bytes", MOST_LINE_BYTES, len(line))
        sizes[name] = len(line)
        modes.setdefault(thinking_of(body), name)
        content = digest(_without_signatures(body))
        digests[name] = digest(
            content, seen[content]
        )  # equal requests are different questions, as with a sampled model
        seen[content] += 1
    if len(modes) > 1:
        first, second = list(modes.values())[:2]
        raise ConfigurationError(
            f"Lines {first!r} and {second!r} have different thinking modes; set the same thinking= for all."
        )
    size = sum(sizes.values())
    most = TEST_BYTES if next(iter(requests.values())).model == TEST_MODEL else MOST_FILE_BYTES
    if size > most:
        raise _too_large(f"The file has {size:,} bytes", most, size)
    return Lines(requests=dict(requests), digests=digests, sizes=sizes, settings=settings)


def _check_names(requests: Mapping[str, ChatRequest]) -> None:
    if not requests:
        raise ConfigurationError("A batch needs at least one request.")
    for one, request in requests.items():
        named: object = one  # whatever a program passes
        asked: object = request
        if not isinstance(asked, ChatRequest):
            raise ConfigurationError(f"Line {named!r}: expected a ChatRequest, got {type(asked).__name__}.")
        if not isinstance(named, str) or not 1 <= len(named) <= LONGEST_CUSTOM_ID:
            raise ConfigurationError(
                f"custom_id {str(named)[:60]!r} must be text of 1 to {LONGEST_CUSTOM_ID} characters."
            )


def _check_model(requests: Mapping[str, ChatRequest], settings: Settings) -> None:
    models = sorted({request.model for request in requests.values()})
    if len(models) > 1:
        raise ConfigurationError(
            f"The requests are for {len(models)} models ({', '.join(models[:_SHOWN])}); a file must have one model."
        )
    if settings.dialect_used == "vllm":
        raise ConfigurationError(f"Batch File needs DashScope; {settings.base_url} is another server.")
    refused = why_not(models[0], region_of(settings.base_url), "file")
    if refused:
        raise ConfigurationError(refused)
    most = TEST_LINES if models[0] == TEST_MODEL else MOST_LINES
    if len(requests) > most:
        raise _too_large(f"There are {len(requests):,} requests", most, len(requests))


def _check_request(name: str, request: ChatRequest, until: datetime, hours: int) -> None:
    options = request.options
    if options.speaks:
        raise ConfigurationError(f"Line {name!r}: Batch File returns no speech; drop modalities=.")
    if options.extra_headers:
        raise ConfigurationError(f"Line {name!r}: a line cannot have headers; drop extra_headers=.")
    parts = media_parts(request.messages)
    kinds = sorted({"video" if isinstance(part, FramesPart) else part.modality for _, part in parts})
    if len(kinds) > 1:
        raise UnsupportedMediaError(
            f"Line {name!r} holds {' and '.join(kinds)}; Batch File takes one type of media a line."
        )
    for place, part in parts:
        for source in media_of(part):
            _check_link(f"line {name!r}, {place}: {source.label}", source.url, until, hours)


def _check_link(name: str, url: str | None, until: datetime, hours: int) -> None:
    if url is None:
        raise DeliveryError(
            f"{name} is local, and Batch File takes links only (a local path would be accepted and never finish). "
            "Upload it to a bucket, and pass a public link or one signed for longer than the window."
        )
    if url.startswith("oss://"):
        raise DeliveryError(
            f"{name} is in the temporary store: its link is valid for 48 hours and needs a header, which a line cannot "
            "have. Pass a public link, or one signed for longer than the window."
        )
    expiry = expiry_of(url)
    if expiry is not None and expiry < until:
        raise DeliveryError(
            f"{name}: the link expires at {expiry:%Y-%m-%d %H:%M} UTC, before the batch must have ended "
            f"({until:%Y-%m-%d %H:%M} UTC, window_hours={hours}). Sign it for longer, or shorten the window."
        )


def _too_large(what: str, limit: int, actual: int) -> MediaDoesNotFitError:
    return MediaDoesNotFitError(f"{what}; Batch File takes {limit:,}. Split the job.", limit=limit, actual=actual)


def line_profile(model: str) -> Profile:
    """Return the profile of the model of a line; the test model is like any text model."""
    return profile_for(DEFAULT_TEXT_MODEL if model == TEST_MODEL else model)


def line_pricing(model: str, settings: Settings, *, batch: bool = True) -> Pricing:
    """Return the prices of the model of a line: those of Batch File, or those of real time."""
    return pricing_for(
        line_profile(model), region_of(settings.base_url), prices=settings.prices, rate=settings.exchange_rate,
        batch=batch,
    )  # fmt: skip


def body_of(request: ChatRequest, settings: Settings) -> dict[str, Any]:
    """Return the body of a line: that of the same call in real time, as one whole answer where the model has them."""
    profile = line_profile(request.model)
    draft = draft_request(request, profile, Server(dialect="dashscope"))
    found = media_parts(request.messages)
    media = Fitting(request=request, found=found, profile=profile, settings=settings)
    media.check()
    fitted = media.fit()
    fields = draft.body(fitted.parts, lambda source: fitted.media[source].ready)
    body: dict[str, Any] = json.loads(b"".join(RequestBody(fields)))
    streams = "omni" in profile.name or thinks(profile, request.options)  # neither has whole answers in real time
    return unstreamed(body, streams=streams)


def _without_signatures(value: Any) -> Any:  # noqa: ANN401  (JSON)
    if isinstance(value, dict):
        return {name: _without_signatures(one) for name, one in value.items()}
    if isinstance(value, list):
        return [_without_signatures(one) for one in value]
    return unsigned(value) if isinstance(value, str) and value.startswith(("http://", "https://")) else value


# --- Cost ---


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchEstimate:
    """What a job will cost, at most, with the answers that `estimate` assumes.

    Attributes:
        lines: requests without an answer yet.
        cost: at the price of Batch File.
        list_cost: the same tokens in real time, with the same model.
        notes: assumptions, and whether another model is cheaper in real time.
    """

    lines: int
    cost: Cost
    list_cost: Cost
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Return a readable explanation of several lines."""
        price = "no price is known" if self.cost.cny is None else f"CNY {self.cost.cny:.4g} = USD {self.cost.usd:.4g}"
        full = "" if self.list_cost.cny is None else f" ({SHARE:.0%} of CNY {self.list_cost.cny:.4g} in real time)"
        return "\n".join([f"{self.lines:,} lines: {price}{full}", *(f"assumed: {note}" for note in self.notes)])


def estimate_lines(requests: Sequence[ChatRequest], model: str, settings: Settings) -> BatchEstimate:
    """Estimate requests to one model; each is billed by itself, so the price depends on the length of each."""
    batch, listed = line_pricing(model, settings), line_pricing(model, settings, batch=False)
    fast = line_pricing(DEFAULT_MODEL, settings, batch=False)
    tokens = [] if model == TEST_MODEL else [_tokens(request, settings) for request in requests]
    cost = total([batch.cost(one) for one in tokens] or [batch.cost(TokenCounts())])
    dearer = dearer_than_real_time(cost, TokenCounts.sum(tokens), fast) if "omni" in model else ""
    return BatchEstimate(
        lines=len(requests),
        cost=cost,
        list_cost=total([listed.cost(one) for one in tokens] or [listed.cost(TokenCounts())]),
        notes=(*batch.notes, *filter(None, (dearer,))),
    )


def _tokens(request: ChatRequest, settings: Settings) -> TokenCounts:
    """Return the upper bound of the input, and the assumed answer."""
    made = EstimatedCall(request, settings, exact_text=False).estimate(
        MediaEstimator.of(request, settings, {}).estimate_all(), None
    )
    answer = {name: getattr(made.tokens, name) for name in ("text_out", "thinking_out", "audio_out")}
    return replace(made.most, **answer)


def total(costs: Iterable[Cost]) -> Cost:
    """Add up costs at one list of prices."""
    every = list(costs)
    known = all(one.cny is not None for one in every)
    return replace(
        every[0],
        tokens=sum(one.tokens for one in every),
        cny=sum(one.cny or 0.0 for one in every) if known else None,
        usd=sum(one.usd or 0.0 for one in every) if known else None,
    )
