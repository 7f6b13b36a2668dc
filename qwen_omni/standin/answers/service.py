"""The stand-in itself: takes a request and returns a reply.

`respond` is the only entry point: it validates the request as the documented service would, decodes its media, and
answers from their content, or as scripted. It knows no sockets; `standin.server.server` transports its bytes.
"""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs

from qwen_omni.standin.answers.answers import compose
from qwen_omni.standin.answers.embeddings import EMBEDDINGS_PATH, answer_embeddings
from qwen_omni.standin.answers.schema import BadSchemaError
from qwen_omni.standin.batch.batches import CHAT_MODELS, UNSUPPORTED
from qwen_omni.standin.media.perceive import Memory, Perception
from qwen_omni.standin.rules import refusal
from qwen_omni.standin.rules.limits import TASK_MODELS, find_model
from qwen_omni.standin.rules.messages import all_text, read_messages
from qwen_omni.standin.rules.refusal import NO_OBJECT, Refusal, algo, invalid, json_object
from qwen_omni.standin.rules.rules import check_dictation, check_fields, is_thinking
from qwen_omni.standin.rules.shapes import KNOWN_FIELDS, check_shapes
from qwen_omni.standin.rules.tokens import text_tokens
from qwen_omni.standin.server import sse
from qwen_omni.standin.server.exchange import Reply, Request
from qwen_omni.standin.server.log import LoggedRequest, without_media, without_secrets
from qwen_omni.standin.server.script import Fault, Script
from qwen_omni.standin.stores.intake import Intake, Visitor
from qwen_omni.standin.stores.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable

    from qwen_omni.standin.answers.nearly import NearlyRight
    from qwen_omni.standin.asr.tasks import Tasks
    from qwen_omni.standin.batch.batches import Batches
    from qwen_omni.standin.media.facts import MediaFacts
    from qwen_omni.standin.rules.limits import ModelLimits
    from qwen_omni.standin.rules.prefix_cache import PrefixCache
    from qwen_omni.standin.rules.quotas import Quotas

CHAT_PATH = "/compatible-mode/v1/chat/completions"
QUOTAS_PATH = "/api/v1/quotas"
BATCH_CHAT_PATH = "/batch/compatible-mode/v1/chat/completions"
_MOST_BATCHED = 256_000  # input tokens of a Batch Chat request, or of a line
STREAM_TYPE = "text/event-stream;charset=UTF-8"
_OVERHEAD = 4  # tokens around each message
_UNLIMITED: tuple[float, Callable[[int], None]] = (0.0, lambda _: None)


@dataclass(slots=True, kw_only=True)
class State:
    """The state kept between requests."""

    keys: tuple[str, ...]
    intake: Intake = field(default_factory=Intake)
    script: Script = field(default_factory=Script)
    memory: Memory = field(default_factory=Memory)
    requests: list[LoggedRequest] = field(default_factory=list)
    stores: Stores = field(default_factory=lambda: Stores((), {}, "cn-standin"))
    tasks: Tasks | None = None
    batches: Batches | None = None
    nearly: NearlyRight | None = None
    retired: bool = False
    quotas: Quotas | None = None
    prefixes: PrefixCache | None = None


def respond(request: Request, state: State) -> Reply:
    """Answer one request."""
    if request.path == EMBEDDINGS_PATH:
        return _embedded(request, state)
    logged = _logged(request)
    body: dict[str, Any] = {}
    problem: Refusal | None = None
    model: ModelLimits | None = None
    wait, answered = _UNLIMITED
    try:
        request.checked_key(state.keys, refusal.wrong_key())
        if request.path == QUOTAS_PATH and state.quotas is not None:
            return _quotas_reply(request.query, state.quotas)
        _check_door(request)
        body = json_object(request.body, invalid(NO_OBJECT))
        logged = replace(logged, body=without_media(body), unknown=tuple(sorted(set(body) - KNOWN_FIELDS)))
        check_shapes(body)
        model = _find(body, state)
        if request.path == BATCH_CHAT_PATH and not CHAT_MODELS.fullmatch(model.name):
            raise invalid(UNSUPPORTED.format(name=model.name))
        logged = replace(logged, media=_judge(request, body, model, state))
        batched = request.line or request.path == BATCH_CHAT_PATH  # exempt from the limits of real time
        if state.quotas is not None and not batched:
            wait, answered = _admit(request, body, logged, state.quotas)
    except Refusal as error:
        problem = error
        logged = replace(logged, refused=error.message)
    state.requests.append(logged)
    reply = _reply(body, model, logged, problem, state, answered, plain=request.line)
    asked = body.get("model")
    return replace(reply, first_byte_delay=reply.first_byte_delay + wait, model=asked if isinstance(asked, str) else "")


def _embedded(request: Request, state: State) -> Reply:
    """Answer a request for embeddings, unless a scripted fault comes first."""
    logged = _logged(request)
    problem: Refusal | None = None
    pieces: tuple[bytes, ...] = ()
    try:
        request.checked_key(state.keys, refusal.wrong_key())
        body = json_object(request.body, invalid(NO_OBJECT))
        logged = replace(logged, body=body)
        pieces = (json.dumps(answer_embeddings(body)).encode(),)
    except Refusal as error:
        problem = error
        logged = replace(logged, refused=error.message)
    state.requests.append(logged)
    fault = state.script.next_fault(logged)
    broken = _broken(fault, streams=False)
    if broken is not None:
        return broken
    return _refused(problem, streams=False) if problem else _impaired(Reply(headers=_ids(), pieces=pieces), fault)


def _logged(request: Request) -> LoggedRequest:
    headers = without_secrets(request.headers)
    return LoggedRequest(
        method=request.method, path=request.path, headers=headers, body={}, raw_bytes=len(request.body)
    )


def answer_line(body: dict[str, Any], key: str, state: State) -> tuple[int, dict[str, Any]]:
    """Answer a line of a batch: the status, and the whole answer or the error."""
    streamed = {**body, "stream": True, "stream_options": {"include_usage": True}}
    headers = {"authorization": f"Bearer {key}"}
    line = Request(method="POST", path="", headers=headers, body=json.dumps(streamed).encode(), line=True)
    reply = respond(line, state)
    answer: dict[str, Any] = json.loads(reply.pieces[0].removeprefix(b"data: ")) if reply.pieces else {}
    return (400 if "error" in answer else reply.status), answer


def _admit(
    request: Request, body: dict[str, Any], logged: LoggedRequest, quotas: Quotas
) -> tuple[float, Callable[[int], None]]:
    tokens = prompt_text_tokens(body) + sum(one.tokens for one in logged.media)
    patience = request.headers.get("x-dashscope-wait-timeout", "0")
    return quotas.admit(request.key, body["model"], tokens, float(patience) if patience.isdecimal() else 0.0)


def _quotas_reply(query: str, quotas: Quotas) -> Reply:
    (model,) = parse_qs(query).get("model", [None])
    return Reply(headers=_ids(), pieces=(json.dumps(quotas.report(model)).encode(),))


def _reply(  # noqa: PLR0913 - what decides an answer
    body: dict[str, Any],
    model: ModelLimits | None,
    logged: LoggedRequest,
    problem: Refusal | None,
    state: State,
    answered: Callable[[int], None],
    *,
    plain: bool,
) -> Reply:
    """Apply a scripted fault first, then refusals, then the script, then the stand-in's own answer."""
    streams = body.get("stream") is True
    fault = None if problem is not None and problem.gateway else state.script.next_fault(logged)
    broken = _broken(fault, streams=streams)
    if broken is not None:
        return broken
    if problem is not None or model is None:
        return _refused(problem or invalid("no model"), streams=streams)
    scripted = state.script.next_reply(logged)
    if isinstance(scripted, Reply):
        return _impaired(scripted, fault)
    try:
        cached = 0
        if state.prefixes is not None and model.cache_prefix:
            cached = state.prefixes.cached_tokens(body, logged.media, least=model.cache_prefix)
        answer = compose(body, model, logged.media, scripted, prompt_text_tokens(body), cached)
    except BadSchemaError as error:
        return _refused(invalid(f"Input should be a valid JSON schema: {error}"), streams=False)
    answered(answer.usage.get("completion_tokens", 0))
    if state.nearly is not None and scripted is None:
        answer = state.nearly.spoil(answer)
    plain = plain or not streams or (fault is not None and fault.kind == "plain_json")
    if plain:
        return _impaired(Reply(headers=_ids(), pieces=(sse.body(answer),)), fault)
    return _impaired(_streamed(*sse.events(answer)), fault)


def prompt_text_tokens(body: dict[str, Any]) -> int:
    """Count the text tokens of a request: its text plus an overhead for every message."""
    return text_tokens(all_text(body)) + _OVERHEAD * len(body["messages"])


def _check_door(request: Request) -> None:
    if request.path.rstrip("/") not in (CHAT_PATH, BATCH_CHAT_PATH) and not request.line:
        raise Refusal(404, "not_found", f"Not Found: {request.path}", gateway=True)
    if request.method != "POST":
        raise Refusal(405, "method_not_allowed", f"Request method '{request.method}' is not supported.", gateway=True)


def _find(body: dict[str, Any], state: State) -> ModelLimits:
    name = body.get("model")
    if not isinstance(name, str) or not name:
        raise invalid("you must provide a model parameter")
    model = find_model(name)
    if model is None and name in TASK_MODELS:
        raise refusal.native_model(name)
    if model is None or (model.retired and not state.retired):
        raise refusal.unknown_model(name)
    return model


def _judge(request: Request, body: dict[str, Any], model: ModelLimits, state: State) -> tuple[MediaFacts, ...]:
    """Apply every rule to a request and return the facts of its media."""
    parts = read_messages(body)
    check_fields(body, model)
    if model.asr:
        check_dictation(body)
    if parts and model.media is None:
        raise algo(f"The model {model.name} takes text only; the request holds {len(parts)} media parts.")
    facts: tuple[MediaFacts, ...] = ()
    if model.media is not None:
        visitor = Visitor(model=body["model"], account=request.key, resolves_oss=request.resolves_oss)
        perception = Perception(intake=state.intake, memory=state.memory, limits=model.media, visitor=visitor)
        facts = tuple(perception.perceive(parts))
        if model.asr and not any(one.utterances for one in facts):
            raise algo("ASR_RESPONSE_HAVE_NO_WORDS")
    most = (is_thinking(body, model) and model.max_input_thinking) or model.max_input
    if request.line or request.path == BATCH_CHAT_PATH:
        most = min(most, _MOST_BATCHED)
    if prompt_text_tokens(body) + sum(one.tokens for one in facts) > most:
        raise algo(f"Range of input length should be [1, {most}]")
    return facts


def _refused(problem: Refusal, *, streams: bool) -> Reply:
    if problem.late and streams:
        return _streamed(problem.event())
    body = problem.body()
    return Reply(
        status=problem.status, headers=_ids(body["request_id"]), pieces=(json.dumps(body, ensure_ascii=False).encode(),)
    )


def _streamed(*events: bytes, status: int = 200) -> Reply:
    return Reply(status=status, content_type=STREAM_TYPE, headers=_ids(), pieces=events)


def _broken(fault: Fault | None, *, streams: bool) -> Reply | None:
    """Return the answer of a fault that replaces the whole reply."""
    if fault is None or fault.kind == "in_stream":
        return None
    if fault.kind == "empty":
        return _streamed()
    if fault.kind == "cut" and fault.after_bytes is None:
        return Reply(ending="drop")
    problem = fault.answer
    if problem is None:
        return None
    if fault.kind == "refuse":
        return _refused(problem, streams=streams)
    framed = b"data: " + json.dumps(problem.body()).encode() + b"\n\n"
    return _streamed(problem.event() if fault.kind == "event_only" else framed, status=problem.status)


def _impaired(reply: Reply, fault: Fault | None) -> Reply:
    """Return a good answer with a transmission fault."""
    if fault is None:
        return reply
    if fault.kind == "slow":
        return replace(reply, first_byte_delay=fault.first_byte_delay, bytes_per_second=fault.bytes_per_second)
    if fault.kind == "cut" and fault.after_bytes is not None:
        return reply.cut(fault.after_bytes, reset=fault.reset)
    if fault.kind == "in_stream" and fault.answer is not None:
        return replace(reply, pieces=(*reply.pieces[: fault.after_deltas + 1], fault.answer.event()))
    return reply


def _ids(request_id: str | None = None) -> tuple[tuple[str, str], ...]:
    return (("x-request-id", request_id or str(uuid.uuid4())),)
