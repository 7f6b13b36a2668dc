"""Fill any JSON schema from evidence: the caller's schema, not a predefined one.

Values follow the field's type first, then what its name and description suggest: times get times of
moments, codes get codes, lists of timed objects get one entry per moment.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.answers import observed
from qwen_omni.standin.answers.evidence import SIGN, Evidence, Moment
from qwen_omni.standin.answers.schema_values import FORMATS, bounded, clock, distinct, type_of, weight, words

if TYPE_CHECKING:
    from collections.abc import Iterator

Schema = dict[str, Any]
_TIME = re.compile(r"\b(time|timestamp|start|begin|end|stop|until|second|seconds|offset|from|to|at)\b")
_END = re.compile(r"\b(end|stop|until|to)\b")
_LENGTH = re.compile(r"\b(duration|length)\b")
_CODE = re.compile(r"\b(code|codes|mark|marks|marker|markers|digits|qr)\b")
_COUNT = re.compile(r"\b(count|number|total|frames|how many)\b")
_SHARE = re.compile(r"\b(confidence|score|probability|share)\b")
_AUDIO = re.compile(r"\b(sound|audio|speech|music|voice)\b")
_PROSE = re.compile(r"\b(summary|description|answer|text|caption)\b")
_CLOCK = re.compile(r"\b(mm:ss|hh:mm|clock|timecode)\b")
_DEEPEST = 8
_USUAL = 2
_MOST = 2000


class BadSchemaError(Exception):
    """The value is not a JSON schema."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """The place of a value in the answer: its name and description in words, its name, its moment, and its depth."""

    name: str = ""
    field: str = ""
    moment: Moment | None = None
    index: int = 0
    depth: int = 0


def find_schema(texts: list[str]) -> Schema | None:
    """Return the last JSON schema in the latest text that has one; examples precede the real one."""
    for text in reversed(texts):
        found = [value for value, _ in _places(text) if _is_schema(value)]
        if found:
            return found[-1]
    return None


def without_schema(texts: list[str]) -> list[str]:
    """Return texts without what they say about the form of an answer: a paragraph with a JSON schema and all after it.

    A schema may stand in the question itself, beside the media.
    """
    kept = []
    for text in texts:
        schema = next((value for value in _places(text) if _is_schema(value[0])), None)
        if schema is None:
            kept.append(text)
            continue
        before = text[: schema[1]].rstrip("\n").rpartition("\n")[0]
        if before.strip():
            kept.append(before.rstrip())
    return kept


def fill(schema: Schema, evidence: Evidence) -> Any:  # noqa: ANN401 - any JSON value
    """Return a value that satisfies `schema`, built from evidence.

    Raises:
        BadSchemaError: It is not a JSON schema.
    """
    try:
        return _Filler(schema, evidence).value(schema, _Spot())
    except (ArithmeticError, LookupError, RecursionError, TypeError, ValueError, AttributeError, re.error) as error:
        raise BadSchemaError(str(error)) from error


def default_object(evidence: Evidence) -> Schema:
    """Return the object to answer with if JSON is requested without a schema."""
    return {
        "stand_in": True,
        "question": evidence.question,
        "facts": list(evidence.sentences),
        "marks": [{"code": m.code, "start": round(m.start, 3), "end": round(m.end, 3)} for m in evidence.moments],
    }


def _places(text: str) -> Iterator[tuple[Schema, int]]:
    """Yield every outermost JSON object in a text, and where it begins."""
    decoder, at = json.JSONDecoder(), text.find("{")
    while at >= 0:
        try:
            value, after = decoder.raw_decode(text, at)
        except ValueError:
            after = at + 1
        else:
            if isinstance(value, dict):
                yield value, at
        at = text.find("{", after)


def _is_schema(value: Schema) -> bool:
    named = any(isinstance(value.get(key), dict) for key in ("properties", "$defs"))
    described = value.get("type") in ("array", "object") and ("items" in value or "title" in value)
    return named or "$ref" in value or described or isinstance(value.get("anyOf") or value.get("oneOf"), list)


class _Filler:
    """Walks a schema, with its definitions and the evidence."""

    def __init__(self, root: Schema, evidence: Evidence) -> None:
        self._root = root
        self._evidence = evidence
        self._said = 0
        self._signed = False

    def value(self, schema: Any, spot: _Spot) -> Any:  # noqa: ANN401 - any JSON value, from any JSON schema
        if not isinstance(schema, dict):
            return None if schema is False else self._sentence(spot)
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self._chosen(schema["enum"])
        for key in ("anyOf", "oneOf"):
            if schema.get(key):
                return self.value(self._alternative(schema, key, spot), spot)
        spot = replace(spot, name=f"{spot.name} {words(str(schema.get('description', '')))}".strip())
        return self._typed(type_of(schema), schema, spot)

    def _typed(self, kind: str, schema: Schema, spot: _Spot) -> Any:  # noqa: ANN401 - any JSON value
        match kind:
            case "object":
                return self._object(schema, spot)
            case "array":
                return self._array(schema, spot)
            case "number" | "integer":
                return bounded(self._number(schema, spot), schema, whole=kind == "integer")
            case "boolean":
                return self._truth(spot)
            case "null":
                return None
            case _:
                return self._string(schema, spot)

    def _resolved(self, schema: Schema) -> Schema:
        """Follow references and fold `allOf` into one schema."""
        for _ in range(_DEEPEST):
            if "$ref" in schema:
                rest = {key: held for key, held in schema.items() if key != "$ref"}
                schema = {**self._pointed(str(schema["$ref"])), **rest}
            elif schema.get("allOf"):
                merged: Schema = {key: held for key, held in schema.items() if key != "allOf"}
                for part in schema["allOf"]:
                    one = self._resolved(part)
                    properties = {**merged.get("properties", {}), **one.get("properties", {})}
                    required = [*merged.get("required", []), *one.get("required", [])]
                    merged = {**one, **merged, "properties": properties, "required": required}
                schema = merged if merged["properties"] else {k: v for k, v in merged.items() if k != "properties"}
            else:
                break
        return schema

    def _pointed(self, reference: str) -> Schema:
        held: Any = self._root
        for step in reference.lstrip("#/").split("/") if reference != "#" else ():
            name = step.replace("~1", "/").replace("~0", "~")
            held = held.get(name, {}) if isinstance(held, dict) else {}
        return held if isinstance(held, dict) else {}

    def _alternative(self, schema: Schema, key: str, spot: _Spot) -> Schema:
        """Take the first alternative that is not null; deep down, null, so that recursion ends."""
        options = [self._resolved(option) for option in schema[key] if isinstance(option, dict)]
        nulls = [option for option in options if option.get("type") == "null"]
        others = [option for option in options if option.get("type") != "null"]
        deep = spot.depth >= _DEEPEST
        chosen = nulls[0] if (deep and nulls) or not others else min(others, key=weight) if deep else others[0]
        shared = {name: held for name, held in schema.items() if name not in ("anyOf", "oneOf", "default")}
        return {**shared, **chosen}

    def _chosen(self, options: list[Any]) -> Any:  # noqa: ANN401 - any JSON value
        known = " ".join([self._evidence.question, *self._evidence.sentences]).lower()
        other = observed.unlisted(options) if self._evidence.ordinary else options[0]
        return next((one for one in options if isinstance(one, str) and one and one.lower() in known), other)

    def _object(self, schema: Schema, spot: _Spot) -> Schema:
        properties = schema.get("properties") or {}
        required = set(schema.get("required") or ())
        filled: Schema = {}
        for name, part in properties.items():
            if spot.depth >= _DEEPEST and name not in required:
                continue
            filled[name] = self.value(part, replace(spot, name=words(name), field=words(name), depth=spot.depth + 1))
        for name in required - set(properties):
            filled[name] = self._sentence(replace(spot, name=words(name), field=words(name)))
        extra = schema.get("additionalProperties", True)
        for index in range(int(schema.get("minProperties", 0)) - len(filled)):
            filled[f"fact_{index + 1}"] = self.value(extra, replace(spot, name="fact", depth=spot.depth + 1))
        return filled

    def _array(self, schema: Schema, spot: _Spot) -> list[Any]:
        numbered = self._evidence.numbered(spot.field) if self._is_whole(schema.get("items")) else []
        if numbered and not spot.moment:
            return list(numbered)
        deeper = replace(spot, depth=spot.depth + 1)
        leading = [self.value(part, deeper) for part in schema.get("prefixItems") or ()]
        part = schema.get("items", {})
        least, most = int(schema.get("minItems", 0)), int(schema.get("maxItems", _MOST))
        moments = self._evidence.moments if not spot.moment else ()
        timed = part is not False and self._is_timed(part, spot)
        wanted = len(moments) if timed and moments else _USUAL + 1
        if self._evidence.ordinary and not spot.moment:
            found = observed.moments(spot.field, self._evidence) if timed else ()
            moments = found or ()
            wanted = len(moments) if timed else observed.count(spot.field, self._evidence)
        elif timed and spot.field == "evidence" and not spot.moment:
            moments = self._evidence.asked_moments()
            wanted = len(moments) if moments else wanted
        if spot.depth >= _DEEPEST or part is False:
            wanted = len(leading)
        values = list(leading)
        count = max(least, min(most, wanted))
        for index in range(len(leading), count):
            # If there are more moments than entries, the entries are spread over all of them.
            at = index * len(moments) // count if count < len(moments) else min(index, len(moments) - 1)
            moment = moments[at] if timed and moments else spot.moment
            values.append(self.value(part, replace(deeper, moment=moment, index=index)))
        return distinct(values, least) if schema.get("uniqueItems") else values[:most]

    def _is_whole(self, part: Any) -> bool:  # noqa: ANN401 - any JSON schema
        return isinstance(part, dict) and self._resolved(part).get("type") == "integer"

    def _is_timed(self, part: Any, spot: _Spot) -> bool:  # noqa: ANN401 - any JSON schema
        """Whether the entries of a list are about moments: objects with times or codes, or lists of them."""
        if not isinstance(part, dict):
            return False
        part = self._resolved(part)
        names = [words(name) for name in part.get("properties") or ()]
        if names:
            return any(_TIME.search(name) or _CODE.search(name) for name in names)
        return bool(_CODE.search(spot.name) or _TIME.search(spot.name))

    def _number(self, schema: Schema, spot: _Spot) -> float:
        name, moment = spot.name, spot.moment
        relevance = observed.relevance(spot.field, self._evidence) if self._evidence.ordinary else None
        if relevance is not None:
            return relevance
        if _SHARE.search(name):
            return 1.0 if spot.field != "sure" or self._evidence.holds_asked else 0.0
        if _LENGTH.search(name):
            return moment.end - moment.start if moment else self._evidence.duration
        if _COUNT.search(name):
            return float(len(self._evidence.moments))
        if _CODE.search(name) and self._code(spot).isdigit():
            return float(self._code(spot))
        return self._time(spot) if _TIME.search(name) else self._measured(schema, spot)

    def _measured(self, schema: Schema, spot: _Spot) -> float:
        measured = self._evidence.media[0] if self._evidence.media else None
        for name in ("width", "height", "fps", "tokens", "channels"):
            if measured and name in spot.name.split():
                return float(getattr(measured, name))
        numbers = re.findall(r"-?\d+(?:\.\d+)?", self._evidence.question)
        return float(numbers[0]) if numbers and "default" not in schema else float(spot.index)

    def _time(self, spot: _Spot) -> float:
        moment = spot.moment
        head = " ".join(spot.name.split()[:_USUAL])
        if moment is None:
            offset = self._evidence.offset
            return offset + (self._evidence.duration if _END.search(head) else 0.0)
        return round(moment.end if _END.search(head) else moment.start, 3)

    def _code(self, spot: _Spot) -> str:
        codes = self._evidence.codes
        if spot.moment and spot.moment.code:
            return spot.moment.code
        return codes[min(spot.index, len(codes) - 1)] if codes else ""

    def _truth(self, spot: _Spot) -> bool:
        if _AUDIO.search(spot.name):
            return any(facts.sound and facts.loudness is not None for facts in self._evidence.media)
        return bool(self._evidence.moments)

    def _string(self, schema: Schema, spot: _Spot) -> str:
        least, most = int(schema.get("minLength", 0)), int(schema.get("maxLength", _MOST))
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        first_words = " ".join(spot.name.split()[:_USUAL])
        pattern = schema.get("pattern")
        text = self._sentence(spot)
        sign = f"{SIGN} " if _PROSE.search(first_words) and len(SIGN) + len(text) < most else ""
        if self._evidence.ordinary:
            text, sign = self._observed(spot, least, most), ""
        if _CODE.search(first_words) and self._code(spot):
            text = self._code(spot)
        elif _CLOCK.search(spot.name) or (_TIME.search(first_words) and not _PROSE.search(first_words)):
            text = clock(self._time(spot))
        elif sign:
            text = f"{sign}{text}"
        if pattern and not re.search(pattern, text):
            text = self._matching(pattern, spot) or text
        return text[:most].ljust(least, ".")

    def _observed(self, spot: _Spot, least: int, most: int) -> str:
        """Return what a text says about ordinary media; the first one that is prose carries the sign."""
        evidence = self._evidence
        if "question" in spot.field.split():
            return evidence.question
        text = observed.text(spot.field, spot.moment, spot.index, evidence)
        if not text:
            return observed.UNKNOWN if least else ""
        whole = not spot.moment and text == " ".join(evidence.sentences)
        if whole and len(SIGN) + len(text) + len(evidence.closing) + _USUAL < most:
            text = f"{text} {evidence.closing}".rstrip()
        if not self._signed and (whole or _PROSE.search(spot.field)) and len(SIGN) + len(text) < most:
            self._signed = True
            text = f"{SIGN} {text}"
        return text

    def _matching(self, pattern: str, spot: _Spot) -> str | None:
        """Return something true that matches a pattern: a code, or a time in one of its usual formats."""
        time = self._time(spot)
        spelled = clock(time)
        times = (spelled, f"00:{spelled}", f"00:{spelled}.000", f"{time:.2f}", f"{int(time)}")
        tries = (self._code(spot), *times, "a", "A", "0", "aa", "abc", "ABC", "000", "a-1", "aaaa", "0000")
        return next((one for one in tries if re.search(pattern, one)), None)

    def _sentence(self, spot: _Spot) -> str:
        if spot.moment:
            return spot.moment.what
        if "question" in spot.name.split()[:_USUAL]:
            return self._evidence.question
        sentences = self._evidence.sentences
        self._said += 1
        return sentences[(self._said - 1) % len(sentences)] if sentences else ""
