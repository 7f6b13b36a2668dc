"""The stand-in's OSS endpoint: objects, multipart uploads and ranges; all signatures are actually checked.

Takes a call and returns an answer; bodies are files. `signing` authenticates the caller, `objects` stores the content.
Source: OSS API reference, read 2026-05. Buckets are private, whatever ACL an object has.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import formatdate
from typing import TYPE_CHECKING
from xml.sax.saxutils import escape

from qwen_omni.standin.stores.objects import Objects, Stored, Upload
from qwen_omni.standin.stores.signing import OssRefusal

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from qwen_omni.standin.server.spool import Spool

_PART = re.compile(rb"<PartNumber>\s*(\d+)\s*</PartNumber>")
_ETAG = re.compile(rb"<ETag>\s*(?:&quot;|\")?([0-9A-Fa-f]+)")
_RANGE = re.compile(r"bytes=(\d*)-(\d*)")
_SMALLEST_PART = 100 * 1024
_PAGE = 1000
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCall:
    """One request to a store; header names are lower case, query values are decoded."""

    operation: str
    method: str
    bucket: str
    key: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Spool

    @property
    def resource(self) -> str:
        """What a signature is about."""
        return f"/{self.bucket}/{self.key}"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreReply:
    """An answer of a store: a small body, or a range of a file."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    files: tuple[Path, ...] = ()
    span: tuple[int, int] = (0, 0)


def operation_of(method: str, key: str, query: Mapping[str, str]) -> str:
    """Return the name of the operation that a request to a bucket asks for."""
    if not key:
        of_bucket = {"acl": "acl" in query, "objects": query.get("list-type") == "2"}
        return next((name for name, asked in of_bucket.items() if asked and method == "GET"), "bucket")
    if "uploads" in query:
        return "begin"
    if "uploadId" in query:
        return {"PUT": "part", "POST": "complete", "GET": "list", "DELETE": "abort"}.get(method, "unknown")
    return {"PUT": "put", "GET": "get", "HEAD": "head", "DELETE": "delete"}.get(method, "unknown")


def respond_oss(call: StoreCall, objects: Objects, now: float) -> StoreReply:
    """Perform one operation.

    Raises:
        OssRefusal: The operation failed.
    """
    action = _ACTIONS.get(call.operation)
    if action is None:
        raise OssRefusal(405, "MethodNotAllowed", "The specified method is not allowed against this resource.")
    return action(call, objects, now)


def refuse(error: OssRefusal, request_id: str) -> StoreReply:
    """Return a refusal in the format of OSS."""
    body = (
        f"{_HEAD}<Error><Code>{error.code}</Code><Message>{escape(error.message)}</Message>"
        f"<RequestId>{request_id}</RequestId><HostId>standin</HostId></Error>"
    )
    return StoreReply(status=error.status, headers={"content-type": "application/xml"}, body=body.encode())


def _put(call: StoreCall, objects: Objects, now: float) -> StoreReply:
    content_type = call.headers.get("content-type", "application/octet-stream")
    stored = Stored(
        files=(call.body.path,), size_bytes=call.body.size_bytes, crc=call.body.crc, etag=call.body.etag,
        content_type=content_type, acl=call.headers.get("x-oss-object-acl", "default"), made_at=now,
    )  # fmt: skip
    objects.put(call.bucket, call.key, stored)
    return StoreReply(headers=_seal(stored))


def _begin(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001 - all actions look alike
    upload = Upload(
        bucket=call.bucket, key=call.key, content_type=call.headers.get("content-type", "application/octet-stream"),
        acl=call.headers.get("x-oss-object-acl", "default"),
    )  # fmt: skip
    name = objects.begin(upload)
    return _xml(
        f"<InitiateMultipartUploadResult><Bucket>{call.bucket}</Bucket><Key>{escape(call.key)}</Key>"
        f"<UploadId>{name}</UploadId></InitiateMultipartUploadResult>"
    )


def _part(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    upload = _upload(call, objects)
    number = call.query.get("partNumber", "")
    if not number.isdecimal() or not 1 <= int(number) <= 10_000:  # noqa: PLR2004
        raise OssRefusal(400, "InvalidArgument", "Part number must be an integer between 1 and 10000, inclusive.")
    upload.parts[int(number)] = call.body
    return StoreReply(headers=_seal(call.body))


def _list(call: StoreCall, objects: Objects, now: float) -> StoreReply:
    upload = _upload(call, objects)
    after = int(call.query.get("part-number-marker") or 0)
    most = int(call.query.get("max-parts") or _PAGE)
    later = [number for number in sorted(upload.parts) if number > after]
    page = later[:most]
    parts = "".join(
        f"<Part><PartNumber>{number}</PartNumber><LastModified>{_iso(now)}</LastModified>"
        f'<ETag>"{upload.parts[number].etag}"</ETag>{_crc_xml(upload.parts[number])}'
        f"<Size>{upload.parts[number].size_bytes}</Size></Part>"
        for number in page
    )
    return _xml(
        f"<ListPartsResult><Bucket>{call.bucket}</Bucket><Key>{escape(call.key)}</Key>"
        f"<UploadId>{call.query['uploadId']}</UploadId><PartNumberMarker>{after}</PartNumberMarker>"
        f"<NextPartNumberMarker>{page[-1] if page else after}</NextPartNumberMarker><MaxParts>{most}</MaxParts>"
        f"<IsTruncated>{str(len(later) > most).lower()}</IsTruncated>{parts}</ListPartsResult>"
    )


def _complete(call: StoreCall, objects: Objects, now: float) -> StoreReply:
    upload = _upload(call, objects)
    document = call.body.path.read_bytes()
    numbers = [int(number) for number in _PART.findall(document)]
    tags = [tag.decode().upper() for tag in _ETAG.findall(document)]
    if not numbers or numbers != sorted(set(numbers)) or len(tags) != len(numbers):
        raise OssRefusal(400, "InvalidPartOrder", "The list of parts was not in ascending order.")
    for number, tag in zip(numbers, tags, strict=True):
        part = upload.parts.get(number)
        if part is None or part.etag != tag:
            raise OssRefusal(400, "InvalidPart", "One or more of the specified parts could not be found.")
        if number != numbers[-1] and part.size_bytes < _SMALLEST_PART:
            raise OssRefusal(400, "EntityTooSmall", "Your proposed upload smaller than the minimum allowed size.")
    files, size, crc = objects.join(upload, numbers)
    stored = Stored(
        files=files, size_bytes=size, crc=crc, etag=f"{tags[0]}-{len(numbers)}", content_type=upload.content_type,
        acl=upload.acl, made_at=now,
    )  # fmt: skip
    objects.put(call.bucket, call.key, stored)
    objects.end(call.query["uploadId"])
    reply = _xml(
        f"<CompleteMultipartUploadResult><Location>{escape(call.key)}</Location><Bucket>{call.bucket}</Bucket>"
        f'<Key>{escape(call.key)}</Key><ETag>"{stored.etag}"</ETag></CompleteMultipartUploadResult>'
    )
    return StoreReply(headers={**reply.headers, **_seal(stored)}, body=reply.body)


def _abort(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    _upload(call, objects)
    objects.end(call.query["uploadId"])
    return StoreReply(status=204)


def _get(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    stored = objects.get(call.bucket, call.key)
    if stored is None:
        raise OssRefusal(404, "NoSuchKey", "The specified key does not exist.")
    headers = {
        **_seal(stored), "content-type": stored.content_type, "accept-ranges": "bytes",
        "last-modified": formatdate(stored.made_at, usegmt=True), "content-length": str(stored.size_bytes),
    }  # fmt: skip
    span = _span(call.headers.get("range"), stored.size_bytes)
    if span is None:
        return StoreReply(headers=headers, files=stored.files, span=(0, stored.size_bytes))
    first, stop = span
    headers |= {"content-range": f"bytes {first}-{stop - 1}/{stored.size_bytes}", "content-length": str(stop - first)}
    return StoreReply(status=206, headers=headers, files=stored.files, span=span)


def _delete(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    objects.delete(call.bucket, call.key)
    return StoreReply(status=204)


def _acl(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    return _xml(
        "<AccessControlPolicy><Owner><ID>0</ID><DisplayName>0</DisplayName></Owner>"
        "<AccessControlList><Grant>private</Grant></AccessControlList></AccessControlPolicy>"
    )


def _objects(call: StoreCall, objects: Objects, now: float) -> StoreReply:  # noqa: ARG001
    """List objects in the order of their names; source: ListObjectsV2, OSS API reference, read 2026-05."""
    prefix, after = call.query.get("prefix", ""), call.query.get("continuation-token", "")
    most = min(int(call.query.get("max-keys") or 100), _PAGE)
    later = [name for name in sorted(objects.names(call.bucket)) if name.startswith(prefix) and name > after]
    page = [(name, stored) for name in later[:most] if (stored := objects.get(call.bucket, name)) is not None]
    next_token = f"<NextContinuationToken>{escape(page[-1][0])}</NextContinuationToken>" if later[most:] else ""
    contents = "".join(
        f"<Contents><Key>{escape(name)}</Key><LastModified>{_iso(stored.made_at)}</LastModified>"
        f'<ETag>"{stored.etag}"</ETag><Type>Normal</Type><Size>{stored.size_bytes}</Size>'
        "<StorageClass>Standard</StorageClass></Contents>"
        for name, stored in page
    )
    return _xml(
        f"<ListBucketResult><Name>{call.bucket}</Name><Prefix>{escape(prefix)}</Prefix><MaxKeys>{most}</MaxKeys>"
        f"<IsTruncated>{str(bool(later[most:])).lower()}</IsTruncated><KeyCount>{len(page)}</KeyCount>{next_token}"
        f"{contents}</ListBucketResult>"
    )


_ACTIONS: dict[str, Callable[[StoreCall, Objects, float], StoreReply]] = {
    "put": _put, "begin": _begin, "part": _part, "list": _list, "complete": _complete, "abort": _abort,
    "get": _get, "head": _get, "delete": _delete, "acl": _acl, "objects": _objects,
}  # fmt: skip


def _upload(call: StoreCall, objects: Objects) -> Upload:
    found = objects.upload(call.query.get("uploadId", ""), call.bucket, call.key)
    if found is None:
        raise OssRefusal(404, "NoSuchUpload", "The specified upload does not exist.")
    return found


def _span(header: str | None, size: int) -> tuple[int, int] | None:
    found = _RANGE.fullmatch(header or "")
    if found is None or found[0] == "bytes=-":
        return None
    if not found[1]:
        return max(0, size - int(found[2])), size
    first = int(found[1])
    stop = min(size, int(found[2]) + 1) if found[2] else size
    return (first, stop) if first < stop else None


def _seal(held: Spool | Stored) -> dict[str, str]:
    crc = {} if held.crc is None else {"x-oss-hash-crc64ecma": str(held.crc)}
    return {"etag": f'"{held.etag}"', **crc}


def _crc_xml(part: Spool) -> str:
    return "" if part.crc is None else f"<HashCrc64ecma>{part.crc}</HashCrc64ecma>"


def _iso(now: float) -> str:
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%S.000Z")


def _xml(text: str) -> StoreReply:
    return StoreReply(headers={"content-type": "application/xml"}, body=(_HEAD + text).encode())
