"""Which way a piece of media goes to the service. Pure; `upload.uploader` carries it out.

Sizes are those of the encoded string, since that is what the service limits. Lengths count because the service
reads a long clip more surely from a link than out of a request.
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

INLINE_SECONDS = 30  # our own measure: a longer clip goes by link where there is a bucket for it
TEMPORARY_LIMIT = 1024 * 2**20  # measured for qwen3.5-omni-flash, read 2026-08-15; the policy tells the true one
_LONGEST_PREFIX = 64  # characters of a data URI before its base64
_STEPS = (
    "Set oss=OssSettings(...) to use a bucket of your own, put it behind an http(s) URL that the service can reach, "
    "or make it smaller (720p at 4 frames per second is enough for most questions)."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class AvailableRoutes:
    """The ways that are open.

    Attributes:
        wish: what the caller asked for.
        inline_limit: characters of a data URI at most; `None` where the service sets no limit.
        bucket: the caller has a bucket of their own.
        temporary: the service has a temporary store.
    """

    wish: Delivery = "auto"
    inline_limit: int | None
    bucket: bool = False
    temporary: bool = False

    @property
    def stores(self) -> bool:
        """Whether local media may travel through a store."""
        return self.wish != "inline" and (self.bucket or self.temporary)


def ways_of(settings: Settings, profile: Profile) -> AvailableRoutes:
    """Return the ways to a model that are open."""
    dashscope = settings.dialect_used == "dashscope"
    return AvailableRoutes(
        wish=settings.delivery,
        inline_limit=profile.limits.inline_bytes if dashscope else None,
        bucket=settings.oss is not None,
        temporary=dashscope,
    )


def room_inline(profile: Profile) -> int:
    """Return the bytes of the largest file whose data URI may travel inside a request.

    Example:
        >>> from qwen_omni.profiles import profile_for
        >>> room_inline(profile_for("qwen3.8-omni-flash"))
        7864272
    """
    return 3 * ((profile.limits.inline_bytes - _LONGEST_PREFIX) // 4)


def room_of(settings: Settings, profile: Profile) -> int:
    """Return the bytes of the largest file that has a way to the service."""
    inline = room_inline(profile)
    if settings.delivery == "inline":
        return inline if settings.dialect_used == "dashscope" else profile.limits.video_bytes
    if settings.oss is not None or settings.dialect_used != "dashscope":
        return profile.limits.video_bytes
    return max(inline, min(TEMPORARY_LIMIT, profile.limits.video_bytes))


def is_link(source: MediaSource, *, name: str, now: datetime, allow_private: bool = False) -> bool:
    """Tell whether a source is a link, and check it as far as that needs no network.

    Args:
        source: what is to be sent.
        name: place and label, for errors.
        now: the present time, with its zone.
        allow_private: the service is on a private network itself, so links to private hosts may work.

    Raises:
        UnsupportedMediaError: not a link that can be sent.
        DeliveryError: a link that the service cannot follow.
    """
    if source.url is None:
        return False
    check_link(source.url, name=name, now=now, allow_private=allow_private)
    return True


def choose_route(ready: MediaPayload, ways: AvailableRoutes, *, seconds: float | None, name: str) -> Route:
    """Choose how local media travels.

    Args:
        ready: the media as it would travel inside the request.
        ways: what is open.
        seconds: how long it plays; `None` for images.
        name: place and label, for errors.

    Raises:
        ConfigurationError: the way asked for is not open.
        MediaDoesNotFitError: too large for every way that is open.
    """
    fits = ways.inline_limit is None or ready.encoded_bytes <= ways.inline_limit
    match ways.wish:
        case "inline":
            return "inline" if fits else _too_large(ready, ways, name)
        case "oss":
            return "oss" if ways.bucket else _missing(name, "oss", "no bucket is set; pass oss=OssSettings(...)")
        case "temporary":
            return "temporary" if ways.temporary else _missing(name, "temporary", "only DashScope has that store")
        case "auto":
            return _automatic(ready, ways, seconds, name, fits=fits)


def _automatic(ready: MediaPayload, ways: AvailableRoutes, seconds: float | None, name: str, *, fits: bool) -> Route:
    short = seconds is None or seconds <= INLINE_SECONDS
    if fits and (short or not ways.bucket):
        return "inline"
    if ways.bucket:
        return "oss"
    if ways.temporary and ready.size_bytes <= TEMPORARY_LIMIT:
        return "temporary"
    return _too_large(ready, ways, name)


def _too_large(ready: MediaPayload, ways: AvailableRoutes, name: str) -> Route:
    limit = ways.inline_limit or 0
    larger = ""
    if ways.wish == "inline":
        larger = " delivery='auto' may use a store."
    elif ways.temporary:
        larger = f" DashScope's temporary store takes {TEMPORARY_LIMIT // 2**20:,} MiB."
    raise MediaDoesNotFitError(
        f"{name} is {ready.encoded_bytes / 2**20:.1f} MiB as base64; media inside a request may have "
        f"{limit / 2**20:.0f} MiB.{larger} {_STEPS}",
        limit=limit,
        actual=ready.encoded_bytes,
    )


def _missing(name: str, wish: str, why: str) -> Route:
    raise ConfigurationError(f"{name}: delivery={wish!r} is not possible: {why}, or use delivery='auto'.")
