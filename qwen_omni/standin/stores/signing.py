"""Check OSS signatures, versions 1 and 4, in the header and in the query. Pure, and written from the vendor's docs.

It uses nothing from the client library, so a wrong signature there cannot pass here.
Sources: OSS documentation, "Include a V1/V4 signature in the header/URL", read 2026-05.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

if TYPE_CHECKING:
    from collections.abc import Mapping

    from qwen_omni.standin.stores.oss import StoreCall

_SKEW = 900.0  # seconds
_LONGEST = 7 * 24 * 3600
_V4 = "OSS4-HMAC-SHA256"
_STAMP = "%Y%m%dT%H%M%SZ"
# Query fields that are part of a V1 signature.
_SUBRESOURCES = frozenset((
    "acl", "append", "continuation-token", "cors", "delete", "encryption", "lifecycle", "location", "logging",
    "objectMeta", "partNumber", "policy", "position", "referer", "response-cache-control",
    "response-content-disposition", "response-content-encoding", "response-content-language",
    "response-content-type", "response-expires", "restore", "security-token", "sequential", "stat", "style",
    "symlink", "tagging", "uploadId", "uploads", "versionId", "versioning", "versions", "website",
    "x-oss-async-process", "x-oss-process", "x-oss-request-payer", "x-oss-traffic-limit",
))  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class OssKey:
    """A key to the buckets; one with a `token` is temporary and expires at `until` (seconds since 1970)."""

    secret: str
    token: str | None = None
    until: float | None = None


@dataclass(slots=True)
class OssRefusal(Exception):  # noqa: N818 - an answer, not a fault of this program
    """A refusal, with the original wording of OSS."""

    status: int
    code: str
    message: str


def forbidden(code: str, message: str) -> OssRefusal:
    """Build a 403."""
    return OssRefusal(403, code, message)


def check_signature(call: StoreCall, keys: Mapping[str, OssKey], region: str, now: float) -> str:
    """Authenticate the caller, and return the id of the key.

    Raises:
        OssRefusal: The signature is missing, wrong or expired, the key is unknown, or the clock is off.
    """
    authorization = call.headers.get("authorization", "")
    if authorization.startswith(_V4):
        return _check_v4_header(call, authorization, keys, region, now)
    if authorization.startswith("OSS "):
        return _check_v1_header(call, authorization, keys, now)
    if "x-oss-signature" in call.query:
        return _check_v4_link(call, keys, region, now)
    if "Signature" in call.query:
        return _check_v1_link(call, keys, now)
    raise forbidden("AccessDenied", "You have no right to access this object because of bucket acl.")


def _key_of(name: str, keys: Mapping[str, OssKey], token: str | None, now: float) -> OssKey:
    key = keys.get(name)
    if key is None:
        raise forbidden("InvalidAccessKeyId", "The OSS Access Key Id you provided does not exist in our records.")
    if key.token is not None and token != key.token:
        raise forbidden("InvalidSecurityToken", "The security token you provided is invalid.")
    if key.until is not None and now > key.until:
        raise forbidden("SecurityTokenExpired", "The security token you provided has expired.")
    return key


def _check_v4_header(call: StoreCall, authorization: str, keys: Mapping[str, OssKey], region: str, now: float) -> str:
    fields = dict(part.strip().partition("=")[::2] for part in authorization.removeprefix(_V4).split(","))
    credential = fields.get("Credential", "")
    name = credential.partition("/")[0]
    stamp = call.headers.get("x-oss-date", "")
    key = _key_of(name, keys, call.headers.get("x-oss-security-token"), now)
    _check_clock(_seconds(stamp), now)
    additional = fields.get("AdditionalHeaders", "")
    wanted = _v4(call, key.secret, credential, stamp, additional, region)
    _compare(wanted, fields.get("Signature", ""))
    return name


def _check_v4_link(call: StoreCall, keys: Mapping[str, OssKey], region: str, now: float) -> str:
    query = call.query
    credential, stamp = query.get("x-oss-credential", ""), query.get("x-oss-date", "")
    name = credential.partition("/")[0]
    key = _key_of(name, keys, query.get("x-oss-security-token"), now)
    lifetime = query.get("x-oss-expires", "")
    if not lifetime.isdecimal() or not 0 < int(lifetime) <= _LONGEST:
        raise forbidden("AccessDenied", "Invalid x-oss-expires.")
    unsigned = {field: value for field, value in query.items() if field != "x-oss-signature"}
    additional = query.get("x-oss-additional-headers", "")
    wanted = _v4(replace(call, query=unsigned), key.secret, credential, stamp, additional, region)
    _compare(wanted, query["x-oss-signature"])
    _check_end(_seconds(stamp) + int(lifetime), now)
    return name


def _v4(call: StoreCall, secret: str, credential: str, stamp: str, additional: str, region: str) -> str:
    date, scope = stamp[:8], credential.partition("/")[2]
    if scope != f"{date}/{region}/oss/aliyun_v4_request":
        raise OssRefusal(400, "InvalidArgument", f"The scope of the credential is wrong: {scope}.")
    extra = set(filter(None, additional.split(";")))
    signed = sorted(
        (name, value.strip())
        for name, value in call.headers.items()
        if name.startswith("x-oss-") or name in ("content-type", "content-md5") or name in extra
    )
    fields = sorted((quote(name, safe="~"), quote(value, safe="~")) for name, value in call.query.items())
    canonical = "\n".join((
        call.method,
        quote(call.resource, safe="/~"),
        "&".join(f"{name}={value}" if value else name for name, value in fields),
        "".join(f"{name}:{value}\n" for name, value in signed),
        ";".join(sorted(extra)),
        call.headers.get("x-oss-content-sha256", "UNSIGNED-PAYLOAD"),
    ))  # fmt: skip
    text = "\n".join((_V4, stamp, scope, hashlib.sha256(canonical.encode()).hexdigest()))
    key = f"aliyun_v4{secret}".encode()
    for step in (date, region, "oss", "aliyun_v4_request"):
        key = hmac.digest(key, step.encode(), "sha256")
    return hmac.digest(key, text.encode(), "sha256").hex()


def _check_v1_header(call: StoreCall, authorization: str, keys: Mapping[str, OssKey], now: float) -> str:
    name, _, signature = authorization.removeprefix("OSS ").partition(":")
    # The newer SDK sends the second header.
    token = call.headers.get("x-oss-security-token") or call.headers.get("security-token")
    key = _key_of(name, keys, token, now)
    date = call.headers.get("x-oss-date") or call.headers.get("date", "")
    try:
        _check_clock(parsedate_to_datetime(date).timestamp(), now)
    except (TypeError, ValueError) as error:
        raise forbidden("AccessDenied", "OSS authentication requires a valid Date.") from error
    _compare(_v1(call, key.secret, date), signature)
    return name


def _check_v1_link(call: StoreCall, keys: Mapping[str, OssKey], now: float) -> str:
    query = call.query
    name, until = query.get("OSSAccessKeyId", ""), query.get("Expires", "")
    key = _key_of(name, keys, query.get("security-token"), now)
    _compare(_v1(call, key.secret, until), query["Signature"])
    _check_end(float(until), now)
    return name


def _v1(call: StoreCall, secret: str, date: str) -> str:
    headers = "".join(f"{name}:{value}\n" for name, value in sorted(call.headers.items()) if name.startswith("x-oss-"))
    fields = [
        f"{name}={value}" if value else name for name, value in sorted(call.query.items()) if name in _SUBRESOURCES
    ]
    resource = call.resource + ("?" + "&".join(fields) if fields else "")
    lines = (call.method, call.headers.get("content-md5", ""), call.headers.get("content-type", ""), date)
    text = "\n".join(lines) + "\n" + headers + resource
    return base64.b64encode(hmac.digest(secret.encode(), text.encode(), "sha1")).decode()


def _seconds(stamp: str) -> float:
    try:
        return datetime.strptime(stamp, _STAMP).replace(tzinfo=UTC).timestamp()
    except ValueError as error:
        raise forbidden("AccessDenied", "Invalid x-oss-date.") from error


def _check_clock(then: float, now: float) -> None:
    if abs(now - then) > _SKEW:
        raise forbidden(
            "RequestTimeTooSkewed", "The difference between the request time and the current time is too large."
        )


def _check_end(until: float, now: float) -> None:
    if now > until:
        raise forbidden("AccessDenied", "Request has expired.")


def _compare(wanted: str, given: str) -> None:
    if not hmac.compare_digest(wanted.encode(), given.encode()):
        raise forbidden(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your key and signing method.",
        )
