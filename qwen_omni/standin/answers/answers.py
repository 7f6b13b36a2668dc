"""Compose the stand-in's own answer: prose, JSON or tool calls, with its usage.

The counterpart of `service`: that validates, this answers. All content comes from `evidence`.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.answers import schema
from qwen_omni.standin.answers.evidence import SIGN, Evidence, gather, material_of, prose, spoken
from qwen_omni.standin.answers.speech import seconds_of, speak
from qwen_omni.standin.answers.tools import choose_calls, tool_results, written
from qwen_omni.standin.rules.messages import last_user_texts, prompt_texts
from qwen_omni.standin.rules.rules import is_thinking, wants_speech
from qwen_omni.standin.rules.tokens import text_tokens
from qwen_omni.standin.server.script import Turn
from qwen_omni.standin.server.sse import Answer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from qwen_omni.standin.media.facts import MediaFacts
    from qwen_omni.standin.rules.limits import ModelLimits

_CHARACTERS_PER_TOKEN = 4


def compose(
    body: dict[str, Any],
    model: ModelLimits,
    media: Sequence[MediaFacts],
    scripted: Turn | None,
    text_in: int,
    cached: int = 0,
) -> Answer:
    """Return what the model says to this request; `cached` is how many of its input tokens the cache holds."""
    asked = schema.without_schema(last_user_texts(body))
    evidence = gather(media, "\n".join(asked), "\n".join(prompt_texts(body)), material=material_of(asked))
    if model.asr and scripted is None:
        words = evidence.codes or [mark.code for mark in evidence.utterances]
        scripted = Turn(text=" ".join(words) + ".")
    turn = scripted or _own_turn(body, model, evidence)
    reasoning = turn.reasoning
    if reasoning is None and is_thinking(body, model):
        reasoning = _thoughts(evidence)
    text, finish = _limited(turn.text, body)
    if turn.tool_calls and finish == "stop":
        finish = "tool_calls"
    pcm = speak(text) if wants_speech(body) and text else b""
    speech_tokens = round(seconds_of(pcm) * model.media.tokens.audio_out) if model.media is not None else 0
    usage = _usage(media, text_in, (text, reasoning, turn), speech_tokens)
    if cached:
        usage["prompt_tokens_details"]["cached_tokens"] = cached
    if model.asr:
        usage["seconds"] = round(sum(one.duration for one in media))
    return Answer(
        model=model.echo or str(body["model"]),
        text=text,
        reasoning=reasoning,
        tool_calls=turn.tool_calls,
        finish_reason=turn.finish_reason or finish,
        usage=usage,
        include_usage=bool((body.get("stream_options") or {}).get("include_usage")),
        new_envelope=model.new_envelope,
        transcript_only=model.speaks_in_transcript,
        pcm=pcm,
        annotations=({"type": "audio_info", "language": "en", "emotion": "neutral"},) if model.asr else (),
    )


def _own_turn(body: dict[str, Any], model: ModelLimits, evidence: Evidence) -> Turn:
    calls = choose_calls(body, evidence)
    if calls:
        return Turn(tool_calls=calls)
    results = tool_results(body)
    wanted = _json_wanted(body)
    if wanted is not None:
        value = schema.fill(wanted, evidence) if wanted else schema.default_object(evidence)
        written_json = json.dumps(value, ensure_ascii=False)
        # Without JSON mode, real models often put a code fence around JSON; so does this one.
        fenced = body.get("response_format") is None or (model.media is not None and not model.json_object)
        return Turn(text=f"```json\n{written_json}\n```" if fenced else written_json)
    if results:
        quoted = " ".join(f'"{result}"' for result in results)
        return Turn(text=f"{SIGN} The tool said: {quoted}")
    return Turn(text=spoken(evidence) if "<soc><sos>" in evidence.question else prose(evidence))


def _json_wanted(body: dict[str, Any]) -> dict[str, Any] | None:
    """Return the schema to fill, an empty one for "any JSON", or None if prose was requested."""
    asked = body.get("response_format") or {}
    if asked.get("type") == "json_schema":
        return dict(asked["json_schema"]["schema"])
    texts = prompt_texts(body)
    found = schema.find_schema(texts)
    if asked.get("type") == "json_object":
        return found or {}
    says_json = any("json" in text.lower() for text in texts)
    return found if says_json else None


def _thoughts(evidence: Evidence) -> str:
    seen = ", ".join(f"{facts.kind} of {facts.tokens} tokens" for facts in evidence.media) or "no media"
    words = len(evidence.question.split())
    return f"{SIGN} The request holds {seen} and a question of {words} words. I decode, measure and then answer."


def _limited(text: str, body: dict[str, Any]) -> tuple[str, str]:
    """Apply `stop` and `max_tokens`; return the text and the finish reason."""
    stops = body.get("stop") or []
    for stop in filter(None, [stops] if isinstance(stops, str) else stops):
        text = text.split(stop, 1)[0]
    most = body.get("max_tokens") or body.get("max_completion_tokens")
    if most is not None and text_tokens(text) > most:
        return text[: int(most) * _CHARACTERS_PER_TOKEN], "length"
    return text, "stop"


def _usage(
    media: Sequence[MediaFacts], text_in: int, said: tuple[str, str | None, Turn], speech: int
) -> dict[str, Any]:
    """Count input tokens by kind, and output tokens."""
    text, reasoning, turn = said
    images = sum(one.picture_tokens for one in media if one.kind == "image")
    video = sum(one.picture_tokens for one in media if one.kind in ("video", "frames"))
    audio = sum(one.sound_tokens for one in media)
    prompt = {"text_tokens": text_in, "image_tokens": images, "video_tokens": video, "audio_tokens": audio}
    spoken = text_tokens(text) + sum(text_tokens(written(call)) + text_tokens(call.name) for call in turn.tool_calls)
    thought = text_tokens(reasoning or "")
    details = {"text_tokens": spoken, "reasoning_tokens": thought, "audio_tokens": speech}
    inward, outward = sum(prompt.values()), spoken + thought + speech
    return {
        "prompt_tokens": inward,
        "completion_tokens": outward,
        "total_tokens": inward + outward,
        "prompt_tokens_details": {name: count for name, count in prompt.items() if count},
        "completion_tokens_details": {name: count for name, count in details.items() if count},
    }
