"""Readable cassettes: what vcrpy records of a request and of an answer, and how it is written.

A request is identified by its method, path and JSON body, in which each media part is replaced by a description
(kind, container, pixels, seconds, frame rate, audio, first and last marker): encoders differ between builds, so
bytes would not match, and another video must not match. What cannot be decoded is replaced by its length and digest.
Keys, signed queries and irrelevant headers are never recorded. An upload is identified by the form's fields and a
description of its file; its authorization (policy, signature, key id) is hidden.

A cassette begins with what it proves, where its answers come from, and when they were recorded. `docs/cassettes.md`
lists that.
"""

import base64
import binascii
import hashlib
import inspect
import json
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import yaml
from vcr.request import Request

from qwen_omni.addresses import host_kind
from qwen_omni.redact import redact
from qwen_omni.standin import MediaFacts
from qwen_omni.standin.media.facts import Kind
from qwen_omni.standin.media.open import UnreadableMediaError
from qwen_omni.standin.media.perceive import Memory

ROOT = Path(__file__).resolve().parent.parent.parent / "cassettes"
MAX_BYTES = 100_000
HOST = "https://service"
"""Placeholder for the host that was asked."""
RESULTS = "https://results.aliyuncs.com"
"""Placeholder for the host that keeps transcripts."""
Origin = Literal["stand-in", "service", "documentation"]
ORIGINS: tuple[Origin, ...] = ("stand-in", "service", "documentation")

_DATA_URI = re.compile(r"^data:[^,]*;base64,")
_RESULT_LINK = re.compile(r'("transcription_url"\s*:\s*")(https?://[^"]*)')
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")
_KINDS: dict[str, Kind] = {"image_url": "image", "input_audio": "audio", "video_url": "video", "video": "image"}
_KEPT_HEADERS = ("content-type", "x-dashscope-ossresourceresolve")
_NATIVE = "api/v1/"  # the queries of these routes contain no secrets
_HIDDEN = "<hidden>"
_LEAVE = ("OSSAccessKeyId", "policy", "Signature")  # fields of an upload form that authorize the upload
_FOLDER = "<folder>"
_MEMORY = Memory()


# --- What is recorded ---


def vcr_settings() -> dict[str, Any]:
    """Return the configuration for every cassette."""
    return {
        "match_on": ["method", "path", "query", "body"],
        "before_record_request": shrink_request,
        "before_record_response": shrink_response,
        "decode_compressed_response": True,
    }


def shrink_request(request: Request) -> Request:
    """Reduce a request to what it asks for; always a new object, since changing a streamed body in place breaks it."""
    path, _, query = request.uri.split("://", 1)[-1].partition("/")[2].partition("?")
    headers = {
        name: value.partition("; boundary=")[0]
        for name, value in request.headers.items()
        if name.lower() in _KEPT_HEADERS
    }
    body, kept = _bytes_of(request), f"?{query}" if query and path.startswith(_NATIVE) else ""
    mark = _mark_of(request.headers)
    shrunk = _shrunk_body(body) if mark is None else _shrunk_form(body, mark)
    return Request(request.method, f"{HOST}/{path}{kept}", shrunk, headers)


def _mark_of(headers: Mapping[str, str]) -> bytes | None:
    """Return the boundary of a multipart form; `None` if the body is not a form."""
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    found = re.search(r"^multipart/form-data; boundary=(\S+)$", kind)
    return found[1].encode() if found else None


def _shrunk_form(body: bytes, mark: bytes) -> bytes:
    fields: dict[str, str] = {}
    for part in body.split(b"--" + mark)[1:-1]:
        head, _, value = part.removeprefix(b"\r\n").partition(b"\r\n\r\n")
        name = (re.search(rb'name="([^"]*)"', head) or [b"", b""])[1].decode()
        value = value.removesuffix(b"\r\n")
        kind = (re.search(rb"Content-Type: (\w+)/", head) or [b"", b"video"])[1].decode()
        fields[name] = describe(kind, base64.b64encode(value).decode()) if b"filename=" in head else value.decode()
    fields["leave to upload"] = _HIDDEN if all(fields.pop(name, "") for name in _LEAVE) else "incomplete"
    ending = fields.get("key", "").rpartition(".")[2]
    return json.dumps({**fields, "key": f"{_FOLDER}/<a new name>.{ending}"}, sort_keys=True).encode()


def _bytes_of(request: Request) -> bytes:
    body = request.body
    if body is None or isinstance(body, bytes):
        return body or b""
    return body.read() if hasattr(body, "read") else b"".join(body)


def _shrunk_body(body: bytes) -> bytes:
    try:
        value = json.loads(body or b"null")
    except ValueError:
        return f"<{digest(body)}>".encode()
    if value is None:
        return body
    return _without_chance(json.dumps(described(value), ensure_ascii=False, sort_keys=True)).encode()


def _without_chance(text: str) -> str:
    """Number random identifiers in order of appearance, so that references are kept and recordings are reproducible."""
    found = list(dict.fromkeys(_UUID.findall(text)))
    return _UUID.sub(lambda match: f"id-{found.index(match.group()) + 1}", text)


def shrink_response(response: dict[str, Any]) -> dict[str, Any]:
    """Reduce an answer to its status, type and body; of an upload authorization, keep what is not secret."""
    headers = {name: value for name, value in response["headers"].items() if name.lower() in _KEPT_HEADERS}
    body = _without_leave(_without_link(response["body"]["string"]))
    return {**response, "headers": headers, "body": {**response["body"], "string": body}}


def _without_link(body: bytes | str) -> bytes | str:
    """Replace the signed address of a transcript: whoever has it can read the transcript."""
    text = body.decode(errors="surrogateescape") if isinstance(body, bytes) else body
    shrunk = _RESULT_LINK.sub(lambda found: f"{found[1]}{RESULTS}{urlsplit(found[2]).path}", text)
    return shrunk.encode(errors="surrogateescape") if isinstance(body, bytes) else shrunk


def _without_leave(body: bytes | str) -> bytes | str:
    try:
        value = json.loads(body)
        data = value["data"]
        host = urlsplit(data["upload_host"])
    except (ValueError, TypeError, KeyError):
        return body
    hidden = dict.fromkeys(("policy", "signature", "oss_access_key_id"), _HIDDEN)
    place = {"upload_dir": _FOLDER, "upload_host": f"{HOST}{host.path}"}
    return json.dumps({**value, "request_id": "a request", "data": {**data, **hidden, **place}}).encode()


def described(value: Any, kind: Kind = "image") -> Any:
    """Replace every data URI in a JSON value with a description, and every signed query with a placeholder.

    Descriptions of tools are often docstrings, which Python 3.13 dedents and older ones do not: all are dedented here.
    """
    match value:
        case dict():
            inner = _KINDS.get(str(value.get("type")), kind)
            return {
                name: inspect.cleandoc(item)
                if name == "description" and isinstance(item, str)
                else described(item, inner)
                for name, item in value.items()
            }
        case list():
            return [described(item, kind) for item in value]
        case str() if found := _DATA_URI.match(value):
            return describe(kind, value[found.end() :])
        case str() if value.startswith("oss://"):
            return f"oss://{_FOLDER}/<a new name>.{value.rpartition('.')[2]}"
        case str() if value.startswith(("http://", "https://")):
            return redact(value)
        case _:
            return value


def describe(kind: str, encoded: str) -> str:
    """Describe base64 media in one line."""
    try:
        data = base64.b64decode(encoded, validate=True)
    except binascii.Error:
        return f"<{kind} that is not base64: {digest(encoded.encode())}>"
    try:
        return to_words(_MEMORY.recall(kind, data))
    except UnreadableMediaError:
        return f"<{kind} that cannot be read: {digest(data)}>"


def digest(data: bytes) -> str:
    """Return the length and the digest of bytes that are not recorded."""
    return f"{len(data):,} bytes, sha256 {hashlib.sha256(data).hexdigest()[:16]}"


def to_words(facts: MediaFacts) -> str:
    """Describe media in one line, using only properties on which all encoders agree."""
    names = facts.container.split(",")  # FFmpeg reports a family: "mov,mp4,m4a,3gp,3g2,mj2"
    words = [facts.kind, "mp4" if "mp4" in names else names[0]]
    if facts.width:
        words.append(f"{facts.width}x{facts.height}")
    if facts.kind != "image":
        words.append(f"{facts.duration:.1f} s")
    if facts.kind == "video":
        words += [f"{facts.fps:.2f} fps", "with sound" if facts.sound else "silent"]
    for name, codes in (("picture", facts.picture_codes), ("sound", facts.sound_codes)):
        if codes:
            words.append(f"{name} {codes[0]}..{codes[-1]}")
    return f"<{' '.join(words)}>"


# --- How it is written (a serializer for vcrpy) ---


_Loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)  # ten times as fast, where libyaml is there


class _Dumper(yaml.SafeDumper):
    """Writes multi-line texts as blocks, so that a streamed answer is readable."""


def _text(dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None)


_Dumper.add_representer(str, _text)


def serialize(cassette: dict[str, Any]) -> str:
    """Write a cassette; JSON bodies of requests are written as YAML."""
    interactions = [{**one, "request": _readable(one["request"])} for one in cassette["interactions"]]
    written = {**cassette, "interactions": interactions}
    return yaml.dump(written, Dumper=_Dumper, allow_unicode=True, width=10_000, sort_keys=False)


def _readable(request: dict[str, Any]) -> dict[str, Any]:
    try:
        return {**request, "body": json.loads(request["body"])}
    except (TypeError, ValueError):
        return request


def deserialize(text: str) -> dict[str, Any]:
    """Read a cassette."""
    cassette = yaml.load(text, Loader=_Loader)
    for one in cassette["interactions"]:
        body = one["request"]["body"]
        if isinstance(body, dict | list):
            one["request"]["body"] = json.dumps(described(body), ensure_ascii=False, sort_keys=True)
    return cassette


# --- What a cassette says about itself ---


@dataclass(frozen=True, kw_only=True)
class Label:
    """The first lines of a cassette.

    Attributes:
        proves: one sentence: the first line of the test's docstring, or the description of its case.
        origin: where the answers come from.
        recorded: the day of the recording; of a documented answer, the day on which the page was seen.
        source: the page that documents the answer, and what was filled in.
    """

    proves: str
    origin: Origin
    recorded: date
    source: str = ""


def present_origin() -> Origin:
    """Return what would be recorded now: the service if there is a key, else the stand-in.

    Raises:
        ValueError: there is a key, but the address is not the service's, so that a label would be wrong.
    """
    if not os.environ.get("DASHSCOPE_API_KEY"):
        return "stand-in"
    address = os.environ.get("DASHSCOPE_BASE_URL", "")
    if address and host_kind(address) == "custom":
        raise ValueError(
            f"DASHSCOPE_BASE_URL={address} is not the service. Unset DASHSCOPE_API_KEY to use the stand-in."
        )
    return "service"


def put_label(cassette: Path, proves: str, origin: Origin) -> None:
    """Write the first lines of a cassette that was just recorded."""
    head = {"proves": proves, "origin": origin, "recorded": datetime.now(UTC).date()}
    text = yaml.dump(head, Dumper=_Dumper, allow_unicode=True, width=10_000, sort_keys=False)
    cassette.write_text(text + cassette.read_text(encoding="utf-8"), encoding="utf-8")


def label_of(cassette: Path) -> Label | None:
    """Read the first lines of a cassette; `None` if it has none, as one that was recorded just now."""
    head = cassette.read_text(encoding="utf-8").partition("\nversion: 1\n")[0]
    if not head.startswith("proves: "):
        return None
    return Label(**yaml.load(head, Loader=_Loader))


def sentence_of(docstring: str | None) -> str:
    """Return the first paragraph of a test's docstring as Markdown, without "Test that" and links."""
    first = inspect.cleandoc(docstring or "").partition("\n\n")[0]
    plain = re.sub(r"\[([^\]]*)\]\(+[^)]*\)+", r"\1", re.sub(r"\s+", " ", first.replace("``", "`")).strip())
    said = re.sub(r"^Test (to verify )?(that )?", "", plain)
    return said[:1].upper() + said[1:]


# --- Requirements ---


def tests_of(folder: Path) -> Path:
    """Return the module whose tests play the cassettes in a folder."""
    place = folder.relative_to(ROOT)
    return ROOT.parent / "tests" / place.parent / f"test_{place.name}.py"


def folder_of(module: Path) -> Path:
    """Return the folder of the cassettes of a module of tests: `cassettes/` mirrors `tests/`."""
    place = module.relative_to(ROOT.parent / "tests")
    return ROOT / place.parent / module.stem.removeprefix("test_")


def misplaced(cassettes: Iterable[Path], owned: Mapping[Path, Mapping[str, str]]) -> list[str]:
    """List cassettes that no test plays, tests that have none, and cassettes that claim something else than their test.

    Args:
        cassettes: all of them.
        owned: of each folder whose tests were all collected, the cassettes that they play, and what each must prove;
            empty for a test that need not have one.
    """
    found = {path.parent: set[str]() for path in cassettes}
    for path in cassettes:
        found[path.parent].add(path.stem)
    lost = [f"{folder}: there is no {tests_of(folder).name}" for folder in found if not tests_of(folder).is_file()]
    for folder, names in owned.items():
        there = found.get(folder, set())
        needed = {name for name, proves in names.items() if proves}
        lost += [f"{folder / name}.yaml: no test plays it" for name in sorted(there - names.keys())]
        lost += [f"{folder / name}.yaml is missing: run `make record`" for name in sorted(needed - there)]
        claims = {name: label_of(folder / f"{name}.yaml") for name in sorted(needed & there)}
        lost += [
            f"{folder / name}.yaml does not say that it proves {names[name]!r}"
            for name, label in claims.items()
            if label is None or label.proves != names[name]
        ]
    return lost


def flaws(cassette: Path) -> list[str]:
    """List the flaws of a cassette: excess size, keys, signed queries, accounts, media, a missing origin."""
    text = cassette.read_text(encoding="utf-8")
    found = []
    if cassette.stat().st_size > MAX_BYTES:
        found.append(f"{cassette.stat().st_size:,} bytes")
    found += [name for name, pattern in _FORBIDDEN.items() if re.search(pattern, text, re.IGNORECASE | re.MULTILINE)]
    label = label_of(cassette)
    if label is None or label.origin not in ORIGINS or not label.proves.endswith("."):
        found.append("no origin, or nothing that it proves")
    elif label.origin == "documentation" and not label.source:
        found.append("no source of what is documented")
    return found


_FORBIDDEN = {
    "a key": r"\bsk-[a-z0-9-]{4,}|\b(LTAI|STS\.)[a-z0-9]{8,}",
    "an authorization header": r"^\s*(authorization|x-api-key|cookie)\b|\bbearer ",
    "a signed query": r"[?&](signature|expires|ossaccesskeyid|x-oss-signature|security-token)=",
    "an account": r"\bacs:ram::\d|\bws-[a-z0-9]{8,}\.|https?://[^/\s]*\d{16}",
    "a machine's address": r"127\.0\.0\.1|localhost|/home/|/tmp/",
    "inline media in a request": r"data:[\w/+.-]*;base64,\w{64}",
}
