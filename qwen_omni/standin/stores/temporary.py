"""The stand-in's temporary store: issues upload policies (getPolicy) and accepts forms. Knows no sockets.

Files are available under `oss://` for 48 hours, to the same model and account only. Source: Model Studio,
"Temporary file URL", read 2026-05-30. The policy is a real one: base64 of JSON, signed, with an expiry and conditions.
"""

from __future__ import annotations

import base64
import hmac
import json
import re
import uuid
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from qwen_omni.standin.server.spool import copy_range
from qwen_omni.standin.stores.objects import Objects, Stored
from qwen_omni.standin.stores.oss import StoreCall, StoreReply
from qwen_omni.standin.stores.signing import OssRefusal, forbidden

if TYPE_CHECKING:
    from collections.abc import Mapping

BUCKET = "dashscope-temporary"
LIFETIME = 48 * 3600.0
_KEY_ID, _SECRET = "TMP.standin", "temporary-secret"
_STAMP = "%Y-%m-%dT%H:%M:%S.000Z"
_HEAD_BYTES = 65_536
_NAME = re.compile(rb'name="([^"]*)"')
_TYPE = re.compile(rb"content-type:\s*([^\r\n]+)", re.IGNORECASE)


def make_policy(model: str, account: str, host: str, *, now: float, lifetime: float, limit_mb: int) -> dict[str, Any]:
    """Return the `data` of a getPolicy answer."""
    folder = f"dashscope-instant/{account[:32]}/{datetime.fromtimestamp(now, UTC):%Y-%m-%d}/{uuid.uuid4()}"
    text = json.dumps({
        "expiration": datetime.fromtimestamp(now + lifetime, UTC).strftime(_STAMP),
        "conditions": [
            ["content-length-range", 0, limit_mb * 1024 * 1024],
            ["starts-with", "$key", folder],
            {"bucket": BUCKET},
            {"x-oss-object-acl": "private"},
            {"x-oss-forbid-overwrite": "true"},
            {"standin-model": model},
            {"standin-account": account},
        ],
    })  # fmt: skip
    policy = base64.b64encode(text.encode()).decode()
    return {
        "policy": policy, "signature": _sign(policy), "upload_dir": folder, "upload_host": f"{host}/{BUCKET}",
        "expire_in_seconds": int(lifetime), "max_file_size_mb": limit_mb, "capacity_limit_mb": 999999999,
        "oss_access_key_id": _KEY_ID, "x_oss_object_acl": "private", "x_oss_forbid_overwrite": "true",
    }  # fmt: skip


def take_form(call: StoreCall, objects: Objects, now: float) -> StoreReply:
    """Check a form and store its file.

    Raises:
        OssRefusal: The form violates its policy, or is not a form.
    """
    fields, (start, stop), content_type = _read_form(call)
    decoded = _judge(fields, objects, now, stop - start)
    path = call.body.path.with_suffix(".file")
    copy_range(call.body.path, start, stop, path)
    call.body.drop()
    stored = Stored(
        files=(path,), size_bytes=stop - start, crc=None, etag=call.body.path.name.upper(),
        content_type=fields.get("x-oss-content-type", content_type), acl=fields.get("x-oss-object-acl", "default"),
        made_at=now, model=decoded["standin-model"], account=decoded["standin-account"], until=now + LIFETIME,
    )  # fmt: skip
    objects.put(BUCKET, fields["key"], stored)
    return StoreReply(status=int(fields.get("success_action_status") or 204))


def find(objects: Objects, url: str, model: str, account: str, now: float) -> Stored | None:
    """Return the object behind an `oss://` address, if the caller may read it and it has not expired."""
    held = objects.get(BUCKET, url.removeprefix("oss://"))
    if held is None or (held.model, held.account) != (model, account) or (held.until or 0) < now:
        return None
    return held


def _judge(fields: Mapping[str, str], objects: Objects, now: float, size: int) -> dict[str, str]:
    """Check a form against its policy; return the policy's exact values."""
    decoded = _checked_policy(fields, now)
    exact: dict[str, str] = {}
    for condition in decoded["conditions"]:
        if isinstance(condition, dict):
            exact |= condition
        else:
            _check_condition(condition, fields, size)
    for name in ("x-oss-object-acl", "x-oss-forbid-overwrite"):
        if fields.get(name) != exact[name]:
            raise forbidden("AccessDenied", f"Invalid according to Policy: {name}")
    if objects.get(BUCKET, fields["key"]) is not None:
        raise OssRefusal(
            409, "FileAlreadyExists", "The object you specified already exists and can not be overwritten."
        )
    return exact


def _checked_policy(fields: Mapping[str, str], now: float) -> dict[str, Any]:
    policy = fields.get("policy", "")
    if fields.get("OSSAccessKeyId") != _KEY_ID:
        raise forbidden("InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist.")
    if not hmac.compare_digest(_sign(policy), fields.get("Signature", "")):
        raise forbidden("SignatureDoesNotMatch", "The request signature we calculated does not match.")
    decoded: dict[str, Any] = json.loads(base64.b64decode(policy))
    end = datetime.strptime(decoded["expiration"], _STAMP).replace(tzinfo=UTC).timestamp()
    if now > end:
        raise forbidden("AccessDenied", "Invalid according to Policy: Policy expired.")
    return decoded


def _check_condition(condition: list[Any], fields: Mapping[str, str], size: int) -> None:
    if condition[0] == "starts-with" and not fields.get("key", "").startswith(f"{condition[2]}/"):
        raise forbidden("AccessDenied", 'Invalid according to Policy: ["starts-with", "$key"]')
    if condition[0] == "content-length-range" and not condition[1] <= size <= condition[2]:
        raise OssRefusal(400, "EntityTooLarge", "Your proposed upload exceeds the maximum allowed size.")


def _read_form(call: StoreCall) -> tuple[dict[str, str], tuple[int, int], str]:
    """Read the fields and locate the file, the last field, without reading it."""
    mark = call.headers.get("content-type", "").partition("boundary=")[2].strip('"').encode()
    with call.body.path.open("rb") as file:
        head = file.read(_HEAD_BYTES)
        file.seek(-min(call.body.size_bytes, _HEAD_BYTES), 2)
        end_bytes = file.read()
    tail = b"\r\n--" + mark + b"--\r\n"
    fields: dict[str, str] = {}
    at = 0
    while mark:
        at = head.find(b"--" + mark, at)
        end = head.find(b"\r\n\r\n", at)
        if at < 0 or end < 0:
            break
        about = head[at:end]
        name = (_NAME.search(about) or [b"", b""])[1].decode()
        if name == "file":
            begun = max(0, end + 4 - (call.body.size_bytes - len(end_bytes)))
            if end_bytes[begun - len(end_bytes) :].find(b"\r\n--" + mark) != len(end_bytes) - begun - len(tail):
                raise OssRefusal(400, "MalformedPOSTRequest", "The file must be the last field of the form.")
            kind = _TYPE.search(about)
            span = (end + 4, call.body.size_bytes - len(tail))
            return fields, span, kind[1].decode().strip() if kind else "application/octet-stream"
        stop = head.find(b"\r\n--" + mark, end)
        fields[name] = head[end + 4 : stop].decode()
        at = stop
    raise OssRefusal(
        400, "MalformedPOSTRequest", "The body of your POST request is not well-formed multipart/form-data."
    )


def _sign(policy: str) -> str:
    return base64.b64encode(hmac.digest(_SECRET.encode(), policy.encode(), "sha1")).decode()
