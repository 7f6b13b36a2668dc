"""The route that a piece of media takes to the service. Pure; `upload.uploader` carries it out.

Sizes are those of the encoded string, since that is what the service limits. Length counts because the service
reads a long clip more reliably from a link than from inside a request.
"""

from dataclasses import dataclass
from datetime import datetime

from qwen_omni.addresses import check_link
from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import MediaPayload, Route
from qwen_omni.options import Delivery
from qwen_omni.profiles import Profile
from qwen_omni.settings import Settings

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
    """

    delivery: Delivery = "auto"
    inline_limit: int | None
    bucket: bool = False
    temporary: bool = False

    @property
    def stores(self) -> bool:
        """Whether local media may be sent through a store."""
        return self.delivery != "inline" and (self.bucket or self.temporary)


def ways_of(settings: Settings, profile: Profile) -> AvailableRoutes:
    """Return the routes available for a model."""
    dashscope = settings.dialect_used == "dashscope"
    return AvailableRoutes(
        delivery=settings.delivery,
        inline_limit=profile.limits.inline_bytes if dashscope else None,
        bucket=settings.oss is not None,
        temporary=dashscope,
    )


def room_inline(profile: Profile) -> int:
    """Return the size in bytes of the largest file whose data URI may be sent inside a request.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> room_inline(profile_for("qwen3.8-omni-flash"))
        7864272
    """
    return 3 * ((profile.limits.inline_bytes - _LONGEST_PREFIX) // 4)


def room_of(settings: Settings, profile: Profile) -> int:
    """Return the size in bytes of the largest file that can be sent to the service."""
    inline = room_inline(profile)
    if settings.delivery == "inline":
        return inline if settings.dialect_used == "dashscope" else profile.limits.video_bytes
    if settings.oss is not None or settings.dialect_used != "dashscope":
        return profile.limits.video_bytes
    return max(inline, min(TEMPORARY_LIMIT, profile.limits.video_bytes))


def is_link(source: MediaSource, *, name: str, now: datetime, allow_private: bool = False) -> bool:
    """Whether a source is a link; also check it as far as that needs no network.

    Args:
        source: the media to send.
        name: place and label, for errors.
        now: the current time, with its time zone.
        allow_private: the service is on a private network itself, so links to private hosts may work.

    Raises:
        UnsupportedMediaError: not a link that can be sent.
        DeliveryError: a link that the service cannot fetch.
    """
    if source.url is None:
        return False
    check_link(source.url, name=name, now=now, allow_private=allow_private)
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
        f"{name} is {ready.encoded_bytes / 2**20:.1f} MiB as base64; media inside a request may have "
        f"{limit / 2**20:.0f} MiB.{larger} {_STEPS}",
        limit=limit,
        actual=ready.encoded_bytes,
    )


def _missing(name: str, delivery: str, why: str) -> Route:
    raise ConfigurationError(f"{name}: delivery={delivery!r} is not possible: {why}, or use delivery='auto'.")
