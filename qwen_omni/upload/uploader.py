"""The route of local media to the service, and their upload to a store, once. Blocks while it uploads.

`cache` decides what is already uploaded, `oss` and `temporary` do the upload itself. Nothing is created before the
first piece of media needs it.

Sizes are those of the encoded string, since that is what the service limits. Length counts because the service reads a
long clip more reliably from a link than from inside a request.
"""

import functools
import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from qwen_omni.addresses import STANDIN, Server, check_link, is_loopback, is_private_url, native_url
from qwen_omni.errors import (
    APIConnectionError,
    ConfigurationError,
    LocalNetworkError,
    MediaDoesNotFitError,
    StoreUnavailableError,
)
from qwen_omni.media.files.safe_open import Digests
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import MediaPayload, Route, Store, Upload
from qwen_omni.options import Delivery, UploadProgress
from qwen_omni.profiles import Profile
from qwen_omni.settings import Settings
from qwen_omni.transport.flow import Flow, Runner, T, repeating
from qwen_omni.transport.rate_limit import upload_pace
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.cache import Claim, Held, UploadCache, cache_key
from qwen_omni.upload.temporary import (
    LIFETIME_SECONDS,
    Policy,
    PolicyExpiredError,
    ask_policy,
    is_usable,
    post_file,
)

if TYPE_CHECKING:  # oss2 is imported when a bucket is first used
    from qwen_omni.upload.oss import OssStore

# --- The route of a piece of media. Pure ---

INLINE_SECONDS = 30  # our own threshold: a longer clip is sent as a link if there is a bucket
TEMPORARY_LIMIT = 1024 * 2**20  # measured for qwen3.5-omni-flash, read 2026-08-15; the policy has the actual limit
_LONGEST_PREFIX = 64  # characters of a data URI before its base64
_STEPS = (
    "Set oss=OssSettings(...) to use a bucket of your own, put it behind an http(s) URL that the service can reach, "
    "or make it smaller (720p at 4 frames per second is enough for most questions)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableRoutes:
    """The routes that are available.

    Attributes:
        delivery: the caller's choice.
        inline_limit: maximum characters of a data URI; `None` where the service sets no limit.
        bucket: the caller has a bucket of their own.
        temporary: the service has a temporary store.
        room_bytes: size of the largest file that can be sent.
    """

    delivery: Delivery = "auto"
    inline_limit: int | None
    bucket: bool = False
    temporary: bool = False
    room_bytes: int = TEMPORARY_LIMIT

    @property
    def stores(self) -> bool:
        """Whether local media may be sent through a store."""
        return self.delivery != "inline" and (self.bucket or self.temporary)


def routes_of(settings: Settings, profile: Profile) -> AvailableRoutes:
    """Return the routes available for a model."""
    server, inline, most = settings.server_of(profile.name), room_inline(profile), profile.limits.video_bytes
    dashscope = server.dialect == "dashscope"
    if settings.delivery == "inline":
        room = inline if dashscope else most
    else:
        stored = min(TEMPORARY_LIMIT, most) if server.has_stores else inline
        room = most if settings.oss is not None or not dashscope else max(inline, stored)
    return AvailableRoutes(
        delivery=settings.delivery,
        inline_limit=profile.limits.inline_bytes if dashscope else None,
        bucket=settings.oss is not None,
        temporary=server.has_stores,
        room_bytes=room,
    )


def room_inline(profile: Profile) -> int:
    """Return the size in bytes of the largest file whose data URI may be sent inside a request.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> room_inline(profile_for("qwen3.8-omni-flash"))
        7499952
    """
    return 3 * ((profile.limits.inline_bytes - _LONGEST_PREFIX) // 4)


def is_link(source: MediaSource, *, name: str, base_url: str) -> bool:
    """Whether a source is a link; also check it as far as that needs no network.

    Args:
        source: the media to send.
        name: place and label, for errors.
        base_url: the service; on a private network itself, it may reach links to private hosts.

    Raises:
        UnsupportedMediaError: not a link that can be sent.
        DeliveryError: a link that the service cannot fetch.
    """
    if source.url is None:
        return False
    check_link(source.url, name=name, now=datetime.now(UTC), allow_private=is_private_url(base_url))
    return True


def choose_route(ready: MediaPayload, routes: AvailableRoutes, *, seconds: float | None, name: str) -> Route:
    """Choose the route of local media.

    Args:
        ready: the media as it would be sent inside the request.
        routes: the available routes.
        seconds: its duration; `None` for images.
        name: place and label, for errors.

    Raises:
        ConfigurationError: the requested route is not available.
        MediaDoesNotFitError: too large for every available route.
    """
    fits = routes.inline_limit is None or ready.encoded_bytes <= routes.inline_limit
    match routes.delivery:
        case "inline":
            return "inline" if fits else _too_large(ready, routes, name)
        case "oss":
            return "oss" if routes.bucket else _missing(name, "oss", "no bucket is set; pass oss=OssSettings(...)")
        case "temporary":
            return "temporary" if routes.temporary else _missing(name, "temporary", "only DashScope has that store")
        case "auto":
            return _automatic(ready, routes, seconds, name, fits=fits)


def choose_file(routes: AvailableRoutes, base_url: str, server: Server, *, name: str) -> Route:
    """Choose the route of a local video to a server that takes no data URI: a bucket, or its own file system.

    Raises:
        ConfigurationError: there is no bucket, and the server is on another machine.
    """
    if routes.bucket and routes.delivery != "inline":
        return "oss"
    if is_loopback(base_url):
        return "inline"
    raise ConfigurationError(
        f"{name}: {server.name} takes videos as links or as files of its own machine, not inside a request. "
        "Pass oss=OssSettings(...) or a link, or run the program on the server's machine."
    )


def _automatic(ready: MediaPayload, routes: AvailableRoutes, seconds: float | None, name: str, *, fits: bool) -> Route:
    short = seconds is None or seconds <= INLINE_SECONDS
    if fits and (short or not routes.bucket):
        return "inline"
    if routes.bucket:
        return "oss"
    if routes.temporary and ready.size_bytes <= TEMPORARY_LIMIT:
        return "temporary"
    return _too_large(ready, routes, name)


def _too_large(ready: MediaPayload, routes: AvailableRoutes, name: str) -> Route:
    limit = routes.inline_limit or 0
    larger = ""
    if routes.delivery == "inline":
        larger = " delivery='auto' may use a store."
    elif routes.temporary:
        larger = f" DashScope's temporary store takes {TEMPORARY_LIMIT // 2**20:,} MiB."
    raise MediaDoesNotFitError(
        f"{name} is {ready.encoded_bytes / 1e6:.1f} MB as base64; media inside a request may have "
        f"{limit / 1e6:.0f} MB.{larger} {_STEPS}",
        limit=limit,
        actual=ready.encoded_bytes,
    )


def _missing(name: str, delivery: str, why: str) -> Route:
    raise ConfigurationError(f"{name}: delivery={delivery!r} is not possible: {why}, or use delivery='auto'.")


_MOST = 3
_SENT: dict[Route, str] = {
    "inline": "inside the request (inline), so no link was involved: check the file itself",
    "oss": "through your bucket (oss) as a signed link; `qwen-omni doctor` tries the bucket",
    "temporary": "through the service's temporary store (temporary), which keeps it for 48 h for one model and account",
    "link": "as a link; `qwen-omni doctor URL` fetches it and lists what may stop the service",
}


def hint_for(media: Sequence[MediaPayload]) -> str:
    """Name the routes of a request's media and the next step.

    Example:
        >>> hint_for([MediaPayload(url="https://host/a.mp4?sign=x")])[:40]
        'The media was sent as a link; `qwen-omni'
    """
    routes = list(dict.fromkeys(one.route for one in media))
    sent = "; and ".join(_SENT[route] for route in routes)
    if not sent:
        return ""
    links = [one.url.partition("?")[0] for one in media if one.route == "link" and one.url]
    named = f" Links: {', '.join(links[:_MOST])}{' …' if len(links) > _MOST else ''}." if links else ""
    return f"The media was sent {sent}.{named}"


# --- Uploading ---

_MARGIN = 3600.0  # seconds; an upload this close to its expiry is not used for a new request
_LINK_MARGIN = 600.0  # seconds; a link this close to its expiry is signed again before a retry
_MOST_LINKS = 1_000  # links remembered
_POLL_SECONDS = 0.05


class Uploader:
    """Uploads media to the stores of one client. Safe to share between threads."""

    def __init__(self, settings: Settings, run: Runner) -> None:
        self._settings = settings
        self._run = run
        self.retry = RetryPolicy(max_retries=settings.max_retries, first_wait=settings.retry_wait)
        self._cache = UploadCache(settings.cache_dir, server=settings.store)
        self._digests = Digests()
        self._policies: dict[str, Policy] = {}
        self._signed: dict[str, tuple[str, float, float]] = {}  # links by object, until when, and until when for others
        self._policy_lock = threading.Lock()

    def carry(self, ready: MediaPayload, route: Route, *, model: str, name: str) -> MediaPayload:
        """Upload one piece of media along its route, and return it with its link.

        Raises:
            UnreadableMediaError: the file is gone, or changed since it was inspected.
            DeliveryError: a store refused, or could not be reached.
            APIError: the service refused permission to upload.
        """
        match route:
            case "inline" | "link":
                return ready
            case "oss":
                return self._linked(ready, self._to_bucket(ready, name))
            case "temporary":
                return self._linked(ready, self._to_temporary(ready, model, name))

    def renewed(self, delivered: MediaPayload, *, model: str, gone: bool) -> MediaPayload:
        """Return media whose link works again: uploaded again if it is `gone`, signed again if its link expires soon.

        Returns the same value if there is nothing to do. Raises as `carry` does.
        """
        upload = delivered.upload
        if upload is None:
            return delivered
        if gone and upload.reused:
            self._cache.forget(upload.key, upload.location)
            again = self.carry(replace(delivered, url=None, upload=None), upload.store, model=model, name="the media")
            return replace(again, upload=replace(again.upload, reused=False)) if again.upload else again
        if upload.store == "oss" and upload.link_until < time.time() + _LINK_MARGIN:
            return self._linked(delivered, upload)
        return delivered

    @property
    def deletes(self) -> bool:
        """Whether uploads are for one request only."""
        return self._settings.oss is not None and self._settings.oss.delete_after_use

    def release(self, delivered: MediaPayload) -> None:
        """Delete what was uploaded for one request only."""
        if self.deletes and delivered.upload is not None and delivered.upload.store == "oss":
            self._bucket.delete(delivered.upload.location)

    @functools.cached_property
    def _bucket(self) -> "OssStore":
        from qwen_omni.upload.oss import OssStore  # noqa: PLC0415  (oss2 is an extra; loads on first use)

        assert self._settings.oss is not None
        return OssStore(self._settings.oss, retry=self.retry, timeout=max(self._settings.connect_timeout, 60.0))

    def _to_bucket(self, ready: MediaPayload, name: str) -> Upload:
        oss, digest = self._settings.oss, self._digests.of(ready)
        assert oss is not None  # otherwise no route leads to a bucket
        ending = f".{ready.format}" if ready.format else ""
        if oss.delete_after_use:
            once = secrets.token_hex(16)  # a concurrent request with the same media may delete its own object first
            location = oss.object_name(f"{digest}-{once}{ending}")
            self._put(ready, location, name, claim=None)
            return Upload(store="oss", location=location, link_until=0)
        location = oss.object_name(f"{digest}{ending}")
        key = cache_key(
            digest=digest,
            store=f"oss {oss.endpoint} {oss.bucket} {oss.prefix}",
            account=STANDIN if self._settings.origin == STANDIN else "",  # only the stand-in knows its buckets
            model="",
            form=ready.format,
        )

        def put(claim: Claim) -> tuple[str, float]:
            self._put(ready, location, name, claim)
            return location, time.time() + oss.reuse_seconds

        return self._once(key, "oss", put)

    def _put(self, ready: MediaPayload, location: str, name: str, claim: Claim | None) -> None:
        from qwen_omni.upload.oss import UploadJob  # noqa: PLC0415

        job = UploadJob(
            object_name=location,
            label=name,
            sent=self._progress(ready, "oss", name),
            resume=claim.resume if claim else None,
            begun=lambda resume: self._cache.note(claim, resume) if claim else None,
            resumable=claim is not None,
        )
        self._bucket.put(ready, job)

    def _to_temporary(self, ready: MediaPayload, model: str, name: str) -> Upload:
        key = cache_key(
            digest=self._digests.of(ready),
            store=f"temporary {native_url(self._settings.base_url, '')}",  # gateways on one host may have many accounts
            account=self._account,
            model=model,
            form=ready.format,
        )

        def post(_: Claim) -> tuple[str, float]:
            begun = time.time()
            sent = self._progress(ready, "temporary", name)
            return self._post(ready, model, name, sent), begun + LIFETIME_SECONDS - _MARGIN

        return self._once(key, "temporary", post)

    def _post(self, ready: MediaPayload, model: str, name: str, sent: Callable[[int], None]) -> str:
        def attempt() -> Flow[str]:
            return post_file(self._policy(model), ready, label=name, sent=sent)

        try:
            return self._ran(attempt, name)
        except PolicyExpiredError:
            self._policies.pop(model, None)
            return self._ran(attempt, name)

    def _policy(self, model: str) -> Policy:
        """Return permission to upload; asks once, since the caller repeats the whole flow."""
        with self._policy_lock:
            policy = self._policies.get(model)
            if policy is None or not is_usable(policy, time.time()):
                pace = upload_pace(self._settings, model)
                policy = self._run(ask_policy(self._settings.base_url, model, pace, time.time))
                self._policies[model] = policy
            return policy

    @functools.cached_property
    def _account(self) -> str:
        return hashlib.sha256(self._settings.api_key.get_secret_value().encode()).hexdigest()

    def _ran(self, attempt: Callable[[], Flow[T]], name: str) -> T:
        try:
            return self._run(repeating(attempt, self.retry))
        except LocalNetworkError:
            raise
        except APIConnectionError as error:
            text = str(error)
        raise StoreUnavailableError(
            f"Could not upload {name} to the service's temporary store, after {self._settings.max_retries + 1} tries: "
            f"{text} A bucket of your own does not need that store (oss=OssSettings(...))."
        )

    def _once(self, key: str, store: Store, upload: Callable[[Claim], tuple[str, float]]) -> Upload:
        """Upload unless it has been done, and wait while another upload runs."""
        while True:
            found = self._cache.look(key)
            match found:
                case Held():
                    return Upload(
                        store=store, location=found.location, link_until=found.expires_at, key=key, reused=True
                    )
                case Claim():
                    try:
                        location, expires_at = upload(found)
                    except BaseException:
                        self._cache.give_up(found)
                        raise
                    self._cache.finish(found, location, expires_at)
                    return Upload(store=store, location=location, link_until=expires_at, key=key)
                case None:
                    time.sleep(_POLL_SECONDS)

    def _linked(self, ready: MediaPayload, upload: Upload) -> MediaPayload:
        if upload.store == "temporary":
            return replace(ready, url=upload.location, upload=upload)
        url, until = self._link(upload.location)
        return replace(ready, url=url, upload=replace(upload, link_until=until))

    def _link(self, location: str) -> tuple[str, float]:
        """Return a signed link to an object and when it expires.

        A link is used again for half its life: requests about one medium then begin with the same bytes, which an
        implicit cache needs.
        """
        now = time.time()
        known = self._signed.get(location)
        if known is not None and now < min(known[2], known[1] - _LINK_MARGIN):
            return known[:2]
        url, until = self._bucket.sign(location)
        if len(self._signed) >= _MOST_LINKS:
            self._signed.clear()
        self._signed[location] = (url, until, (now + until) / 2)
        return url, until

    def _progress(self, ready: MediaPayload, store: Store, name: str) -> Callable[[int], None]:
        def sent(count: int) -> None:
            if self._settings.on_upload is not None:
                progress = UploadProgress(name=name, sent_bytes=count, total_bytes=ready.size_bytes, store=store)
                self._settings.on_upload(progress)

        return sent
