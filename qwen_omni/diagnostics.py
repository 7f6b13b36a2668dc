"""Diagnose why media or requests do not get through: key, region, model, stores, and links as the service sees them.

`examine_link` is a flow and needs no key; `examine` asks the service and the stores. Each finding says what to do.
"""

import contextlib
import io
import math
import secrets
import wave
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlencode, urljoin, urlsplit

from PIL import Image

from qwen_omni.addresses import Server, expiry_of, host_kind, is_private_host, most_seconds, native_url
from qwen_omni.client import OmniClient
from qwen_omni.errors import (
    AccountError,
    APIError,
    AuthenticationError,
    ConfigurationError,
    NotFoundError,
    PermissionDeniedError,
    QwenOmniError,
    UnsupportedMediaError,
)
from qwen_omni.media.source import MediaSource, check_page
from qwen_omni.messages import AudioPart, ImagePart, MediaPart, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.redact import redact
from qwen_omni.settings import OssSettings, Settings, region_of
from qwen_omni.transport.api import Resolve, find_server, resolve_host, run
from qwen_omni.transport.flow import Flow, Reply, Request, ask
from qwen_omni.transport.proxies import proxy_for
from qwen_omni.transport.rate_limit import upload_pace
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.temporary import ask_policy
from qwen_omni.wire.errors import to_error
from qwen_omni.wire.values import MAX_COUNT, MalformedValueError, as_number, as_object, as_objects, decode_json

if TYPE_CHECKING:  # oss2 loads when a bucket is examined
    from qwen_omni.upload.oss import OssStore

Verdict = Literal["good", "odd", "bad"]
_MOST_REDIRECTS = 5
_REDIRECTS = (301, 302, 303, 307, 308)
_PARTIAL, _OK = 206, 200
_SAMPLE_RATE = 16_000
_SOON = 3600.0  # seconds; a request may wait for minutes before the service downloads
_MEDIA = ("image/", "video/", "audio/", "application/octet-stream", "application/vnd.rn-realmedia", "application/mp4")


@dataclass(frozen=True, slots=True)
class Finding:
    """The result of one check; `step` says what to do if it is not good."""

    name: str
    verdict: Verdict
    text: str
    step: str = ""


_KNOWN_KEY = Finding("key", "good", "The service knows the key.")


def examine(settings: Settings, model: str = DEFAULT_MODEL) -> Iterator[Finding]:
    """Check the key, the region, the model and the stores, and yield findings as they come. Costs a few tokens."""
    server = find_server(settings, model)
    yield _place(settings, server)
    yield _proxy(settings)
    answered = _service(settings, model)
    yield from answered
    works = all(finding.verdict == "good" for finding in answered)
    if works and server.dialect == "vllm":
        yield from _media(settings, model)
    if answered[0].verdict == "good" and server.dialect == "dashscope":
        yield _limits(settings, model)
    if answered[0].verdict == "good" and server.has_stores:
        yield _temporary(settings, model)
    if settings.oss is None:
        large = "large files go to the temporary store" if server.has_stores else "media goes inside requests"
        yield Finding("bucket", "good", f"No bucket is set; {large}.")
    else:
        yield from _bucket(settings, settings.oss)


def _place(settings: Settings, server: Server) -> Finding:
    region, kind, most = region_of(settings.base_url), host_kind(settings.base_url), most_seconds(settings.base_url)
    where = f"{kind} host, {region or 'region not known'}" if kind != "custom" else server.name or "a custom host"
    lasting = "no known limit of a request's duration" if math.isinf(most) else f"a request may last {most:,.0f} s"
    return Finding(
        "address", "good", f"{settings.base_url} ({where}; {lasting}), requests in the {server.dialect} format."
    )


def _proxy(settings: Settings) -> Finding:
    try:
        proxy = proxy_for(settings.base_url)
    except ConfigurationError as error:
        return Finding("proxy", "bad", str(error), "Every request fails until it is corrected.")
    if proxy is None:
        return Finding("proxy", "good", "No proxy is used for this address.")
    return Finding("proxy", "good", f"Requests go through {proxy.shown} ({proxy.variable}).")


def _service(settings: Settings, model: str) -> list[Finding]:
    thinks = settings.profile(model).thinking != "none"
    options = ChatOptions(max_tokens=8, thinking=False if thinks else None)
    request = ChatRequest(model=model, messages=(user("Say ok."),), options=options)
    try:
        with OmniClient(settings) as client:
            client.complete(request)
    except AuthenticationError as error:
        step = "Keys belong to a region: use a key for this address, or the address of this key's region."
        return [Finding("key", "bad", str(error), step)]
    except AccountError as error:
        step = f"Settle it in the Model Studio console; {model} is otherwise available."
        return [_KNOWN_KEY, Finding("account", "bad", str(error), step)]
    except (NotFoundError, PermissionDeniedError) as error:
        if error.status_code is None:  # refused here: the service was not asked, so nothing is known about the key
            return [Finding("model", "bad", str(error), "Choose the model that it names.")]
        step = f"Activate {model} for this account and region, or choose another model."
        return [_KNOWN_KEY, Finding("model", "bad", str(error), step)]
    except QwenOmniError as error:
        return [Finding("service", "bad", str(error), "Check the address, then try again.")]
    return [_KNOWN_KEY, Finding("model", "good", f"{model} answers.")]


def _limits(settings: Settings, model: str) -> Finding:
    """Report the limits that requests are paced by, and those of the account, where the service reports them."""
    paced = settings.rate_limits(model)
    used = "Requests are not paced" if paced is None else f"Requests are paced by {paced} ({paced.source})"
    try:
        account = run(ask_quotas(settings.base_url, model), settings)
    except NotFoundError:
        return Finding("limits", "good", f"{used}; this host does not report the account's limits.")
    except QwenOmniError as error:
        reason = " ".join(str(error).split())
        return Finding("limits", "good", f"{used}; the account's limits could not be read: {reason}")
    if account is None:
        return Finding("limits", "good", f"{used}; the account has none for {model}.")
    text = f"{used}; the account has {account} ({account.source})."
    pairs = () if paced is None else ((paced.rpm, account.rpm), (paced.tpm, account.tpm))
    if all(has is None or (uses is not None and uses <= has) for uses, has in pairs):
        return Finding("limits", "good", text)
    choice = f"limits=RateLimits(rpm={account.rpm}, tpm={account.tpm})"
    return Finding("limits", "odd", text, f"In Python, pass {choice}, so that fewer requests are refused.")


# Model Studio, List model quotas, 2026-09-28: on workspace hosts, and on the shared host of Virginia.
_QUOTAS = "/quotas?page_size=20&"


def ask_quotas(base_url: str, model: str) -> Flow[RateLimits | None]:
    """Request the rate limits of a model: the account's or, where it has lower ones, the workspace's. `None` for none.

    Raises:
        NotFoundError: this host has no such route.
        APIError: the service refused, or its answer is not in the documented format.
    """
    url = native_url(base_url, f"{_QUOTAS}{urlencode({'model': model})}")
    reply = yield from ask(Request(method="GET", url=url, with_key=True))
    if reply.status != _OK:
        raise to_error(reply.status, reply.body, reply.headers, url=reply.url)
    try:
        output = as_object(as_object(decode_json(reply.body), "the answer").get("output"), "output")
        rows = [row for row in as_objects(output.get("quotas"), "quotas") if row.get("model") == model]
        read = [_quota(row, level) for row in rows for level in ("model_limit", "workspace_limit")]
    except ValueError as error:
        raise APIError(f"the answer is not in the documented format ({error})", status_code=reply.status) from None
    rpm, tpm = (min(filter(None, limits), default=None) for limits in zip(*read, strict=True)) if read else (None, None)
    return None if rpm is None and tpm is None else RateLimits(rpm=rpm, tpm=tpm, source="as the service reports")


def _quota(row: Mapping[str, Any], level: str) -> tuple[int | None, int | None]:
    """Return requests and tokens a minute."""
    given = as_object(row.get(level), level)
    return _per_minute(given, "request_limit"), _per_minute(given, "usage_limit")


def _per_minute(given: Mapping[str, Any], kind: str) -> int | None:
    """Convert a limit to a limit per minute; `None` stays `None`."""
    limit, period = as_number(given.get(kind)), as_number(given.get(f"{kind}_period"))
    if limit is None:
        return None
    minute = limit * 60 / (period or 60)
    if not 1 <= minute <= MAX_COUNT:
        raise MalformedValueError(f"{kind} is {limit:g} in {period or 60:g} s")
    return int(minute)


_SAMPLED = "Frame rate and pixels can be set in requests, and the audio of videos is heard in them."
_NOT_SAMPLED = (
    "fps, min_pixels and max_pixels are refused before sending; the audio of local videos is sent beside them. To set "
    "them, start vLLM with --trust-request-mm-kwargs and, in Python, pass request_kwargs=True."
)


def _media(settings: Settings, model: str) -> Iterator[Finding]:
    """Send an image, a recording and a video to a self-hosted server: only that shows which of them it takes."""
    with OmniClient(replace(settings, max_retries=0)) as client:
        for kind, part in _samples():
            options = ChatOptions(max_tokens=1)
            try:
                client.complete(ChatRequest(model=model, messages=(user(part, "?"),), options=options))
            except QwenOmniError as error:
                step = f"Check that the model takes {kind} and that the server's limits allow it."
                yield Finding(kind, "bad", str(error), step)
            else:
                yield Finding(kind, "good", f"{model} takes it.")
    text = _SAMPLED if settings.server_of(model).request_kwargs else _NOT_SAMPLED
    yield Finding("sampling", "good", text)


def _samples() -> Iterator[tuple[str, MediaPart]]:
    """Yield a small image, recording and video."""
    image = io.BytesIO()
    Image.new("RGB", (64, 64), "navy").save(image, "PNG")
    yield "image", ImagePart(source=MediaSource.from_bytes(image.getvalue(), media_type="image/png"))
    recording = io.BytesIO()
    with wave.open(recording, "wb") as file:
        file.setparams((1, 2, _SAMPLE_RATE, 0, "NONE", ""))
        file.writeframes(bytes(2 * _SAMPLE_RATE))
    yield "audio", AudioPart(source=MediaSource.from_bytes(recording.getvalue(), media_type="audio/wav"))
    frames = [Image.new("RGB", (64, 64), color) for color in ("navy", "teal") * 4]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:], duration=250)
    yield "video", VideoPart(source=MediaSource.from_bytes(moving.getvalue(), media_type="image/gif"))


def _temporary(settings: Settings, model: str) -> Finding:
    try:
        pace = upload_pace(settings, model)
        flow = ask_policy(settings.base_url, model, pace, lambda: datetime.now(UTC).timestamp())
        policy = run(flow, settings)
    except QwenOmniError as error:
        return Finding("temporary store", "bad", str(error), "Use a bucket of your own (oss=OssSettings(...)).")
    limit = "any size" if policy.limit_bytes is None else f"files up to {policy.limit_bytes / 2**20:,.0f} MiB"
    return Finding("temporary store", "good", f"Accepts {limit} for {model} and keeps them for 48 h.")


def _bucket(settings: Settings, oss: OssSettings) -> Iterator[Finding]:
    """Write, link, fetch and delete one small object."""
    from qwen_omni.upload.oss import OssStore  # noqa: PLC0415  (oss2 is an extra)

    name, content = oss.object_name(f"doctor-{secrets.token_hex(8)}.txt"), b"qwen-omni doctor"
    try:
        store = OssStore(oss, retry=RetryPolicy(max_retries=0), timeout=settings.connect_timeout)
        store.write(name, content)
        yield from _object(store, name, content, settings)
    except QwenOmniError as error:
        yield Finding("bucket", "bad", str(error), "Grant the named permission, or set oss=.")
        return
    yield _privacy(store)


def _object(store: "OssStore", name: str, content: bytes, settings: Settings) -> Iterator[Finding]:
    """Fetch a stored object through its link, then delete it, even if the fetch fails."""
    deleted = False
    try:
        folder = name.rpartition("/")[0]
        where = f" under {folder}/" if folder else ""
        yield Finding("bucket: write", "good", f"{store.settings.bucket} accepts objects{where}.")
        url, _ = store.sign(name)
        yield _fetched(run(ask(Request(method="GET", url=url)), settings), content)
        store.delete(name)
        deleted = True
        yield Finding("bucket: delete", "good", "Objects can be deleted.")
    finally:
        if not deleted:
            with contextlib.suppress(QwenOmniError):  # the earlier failure is reported
                store.delete(name)


def _fetched(reply: Reply, content: bytes) -> Finding:
    if reply.status == _OK and reply.body == content:
        return Finding("bucket: link", "good", "A signed link returns the object.")
    needs = "The key needs oss:GetObject on the prefix."
    return Finding("bucket: link", "bad", f"A signed link returns {reply.status}.", needs)


def _privacy(store: "OssStore") -> Finding:
    try:
        private = store.is_private()
    except QwenOmniError:
        return Finding("bucket: private", "good", "Not checked: the key may not read the ACL.")
    if private:
        return Finding("bucket: private", "good", "It cannot be read without a signature.")
    step = "Set the bucket's ACL to private; links are signed and need no public bucket."
    return Finding("bucket: private", "odd", "The bucket is public.", step)


# --- Links ---


def examine_link(
    url: str, *, now: datetime, resolve: Resolve = resolve_host, allow_private: bool = False
) -> Flow[list[Finding]]:
    """Fetch a link as the service would, and report what may go wrong. Reads one byte of the media.

    Connects to a private address only with `allow_private`: the link may be untrusted.
    """
    try:
        check_page(url, name=redact(url))
    except UnsupportedMediaError as error:
        return [Finding("address", "bad", str(error), "Download the video and pass the file.")]
    findings = [_scheme(url), _expiry(url, now)]
    for _ in range(_MOST_REDIRECTS + 1):
        findings += _host(url, resolve)
        if findings[-1].verdict == "bad" and not allow_private:
            return [finding for finding in findings if finding.text]
        try:
            reply = yield from ask(Request(method="HEAD", url=url, public=not allow_private))
            if reply.status not in _REDIRECTS:
                byte = {"Range": "bytes=0-0"}
                piece = yield from ask(
                    Request(method="GET", url=url, headers=byte, most_bytes=1, public=not allow_private)
                )
                return [finding for finding in (*findings, *_judged(reply, piece)) if finding.text]
        except QwenOmniError as error:
            step = "The service sees the same: check the host, its certificate and its firewall."
            return [*findings, Finding("connection", "bad", str(error), step)]
        target = urljoin(url, reply.headers.get("location", ""))
        step = "Use the final address: the service may not follow redirects, and every hop costs time."
        findings.append(Finding("redirect", "odd", f"{reply.status} redirects to {redact(target)}.", step))
        url = target
    return [*findings, Finding("redirect", "bad", f"More than {_MOST_REDIRECTS} redirects.", "Use the final address.")]


def _scheme(url: str) -> Finding:
    scheme = urlsplit(url).scheme
    if scheme in ("http", "https"):
        return Finding("address", "good", redact(url))
    step = "Use an http(s) link, or pass the file itself."
    return Finding("address", "bad", f"{scheme or 'nothing'}:// is not a web address.", step)


def _expiry(url: str, now: datetime) -> Finding:
    end = expiry_of(url)
    if end is None:
        return Finding("expiry", "good", "The link has no expiry.")
    left = (end - now).total_seconds()
    if left <= 0:
        return Finding("expiry", "bad", f"Expired {end:%Y-%m-%d %H:%M} UTC.", "Sign it again.")
    text = f"Expires at {end:%Y-%m-%d %H:%M} UTC, in {left / 60:,.0f} min."
    if left <= _SOON:
        return Finding("expiry", "odd", text, "Sign it for several hours.")
    return Finding("expiry", "good", text)


def _host(url: str, resolve: Resolve) -> list[Finding]:
    host = urlsplit(url).hostname or ""
    step = "The service is on the public internet: use a public link, or pass the file itself."
    if is_private_host(host):
        return [Finding("host", "bad", f"{host!r} is not on the internet.", step)]
    addresses = resolve(host)
    if not addresses:
        return [Finding("host", "bad", f"{host!r} has no address.", "Check its name.")]
    private = [address for address in addresses if is_private_host(address)]
    if private:
        return [Finding("host", "bad", f"{host} has the private address {private[0]}.", step)]
    return [Finding("host", "good", f"{host} is on the internet.")]


def _judged(head: Reply, piece: Reply) -> Iterator[Finding]:
    yield _status(head, piece)
    if piece.status not in (_OK, _PARTIAL):
        return
    yield _length(head, piece)
    yield _kind(piece.headers.get("content-type") or head.headers.get("content-type") or "")
    if piece.status == _PARTIAL:
        yield Finding("range", "good", "Range requests are supported.")
    else:
        step = "Small files are fine; use a store that supports ranges for large ones."
        yield Finding("range", "odd", "Range requests are not supported.", step)


def _status(head: Reply, piece: Reply) -> Finding:
    if piece.status in (_OK, _PARTIAL):
        step = "" if head.status == _OK else "Signed for GET alone? That is enough for the service."
        return Finding("answer", "good", f"HEAD {head.status}, GET {piece.status}.", step)
    steps = {401: "Use a signed link.", 403: "Sign the link again, with a key that may read.", 404: "Check the path."}
    step = steps.get(piece.status, "The host must answer 200 to a GET without cookies.")
    return Finding("answer", "bad", f"GET {piece.status}.", step)


def _length(head: Reply, piece: Reply) -> Finding:
    whole = piece.headers.get("content-range", "").rpartition("/")[2]
    length = whole if whole.isdecimal() else head.headers.get("content-length") or piece.headers.get("content-length")
    if length and length.isdecimal():
        return Finding("Content-Length", "good", f"{int(length):,} bytes.")
    step = "The service refuses media without it: turn off chunked responses, or use a bucket."
    return Finding("Content-Length", "bad", "The host does not report the size.", step)


def _kind(content_type: str) -> Finding:
    if content_type.lower().startswith(_MEDIA):
        return Finding("Content-Type", "good", content_type)
    step = "The service refuses such media: have the host send the file's own type, e.g. video/mp4."
    return Finding("Content-Type", "bad", content_type or "The host does not report the type.", step)
