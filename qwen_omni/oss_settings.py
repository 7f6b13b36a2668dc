"""The caller's own bucket on Alibaba Cloud OSS, and the keys to it. Values; `delivery.oss` uses them.

Keys come from explicit values, from a provider that is asked before every request, or from the environment. They
are in no repr and in no pickle: an unpickled value takes them from the environment.
"""

import os
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, Self
from urllib.parse import urlsplit

from pydantic import SecretStr

from qwen_omni.errors import ConfigurationError
from qwen_omni.headers import check_header_value
from qwen_omni.ranges import WAIT, Range, check_numbers

KEY_ID_VARIABLE = "OSS_ACCESS_KEY_ID"
KEY_SECRET_VARIABLE = "OSS_ACCESS_KEY_SECRET"  # noqa: S105  (a name)
TOKEN_VARIABLE = "OSS_SESSION_TOKEN"  # noqa: S105  (a name)
BUCKET_VARIABLE = "QWEN_OMNI_OSS_BUCKET"
ENDPOINT_VARIABLE = "QWEN_OMNI_OSS_ENDPOINT"
REGION_VARIABLE = "QWEN_OMNI_OSS_REGION"
PREFIX_VARIABLE = "QWEN_OMNI_OSS_PREFIX"

# Longest life of a V4 link; OSS, "Sign a URL with V4", read 2026-05.
LONGEST_LINK_SECONDS = 7 * 24 * 3600
_LATEST = 1e12  # seconds since 1970
_REGION = re.compile(r"(?:^|\.)oss-([a-z0-9-]+?)(?:-internal)?\.aliyuncs\.com$")


@dataclass(frozen=True, slots=True, kw_only=True)
class OssCredentials:
    """A key to a bucket; `security_token` belongs to a temporary key of STS, `expires_at` (seconds since 1970) too.

    Raises:
        ConfigurationError: a text that no header can carry; the error does not tell it.
    """

    access_key_id: SecretStr
    access_key_secret: SecretStr
    security_token: SecretStr | None = None
    expires_at: float | None = None

    def __post_init__(self) -> None:
        check_numbers(self, {"expires_at": Range(least=0, most=_LATEST)})
        for name in ("access_key_id", "access_key_secret", "security_token"):
            hidden: SecretStr | None = getattr(self, name)
            if hidden is not None:
                check_header_value(hidden.get_secret_value(), f"The {name} of the bucket's key")

    @classmethod
    def of(
        cls, key_id: str, secret: str, token: str | None = None, *, expires_at: float | None = None
    ) -> "OssCredentials":
        """Make credentials from plain texts. Raises as the class does."""
        hidden = None if not token else SecretStr(token)
        return cls(
            access_key_id=SecretStr(key_id),
            access_key_secret=SecretStr(secret),
            security_token=hidden,
            expires_at=expires_at,
        )

    def __repr__(self) -> str:
        return "OssCredentials(<hidden>)"

    def __reduce__(self) -> tuple[Any, ...]:
        return environment_credentials, ()  # no key travels in a pickle

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self


CredentialsSource = OssCredentials | Callable[[], OssCredentials]


_RANGES = {
    "link_seconds": Range(least=60, most=LONGEST_LINK_SECONDS, whole=True),  # a link of seconds helps nobody
    "reuse_seconds": WAIT,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class OssSettings:
    """A bucket for media that is too large or too long for a request. It stays private: links are signed.

    Attributes:
        bucket: its name.
        endpoint: the address that the service can reach, e.g. `oss-cn-beijing.aliyuncs.com`. The bucket should be
            in the region of the model.
        upload_endpoint: the address for our own requests where it is another one, e.g. the internal endpoint.
        region: e.g. `cn-beijing`; read from the endpoint if not given. V4 signatures need it.
        prefix: what object names begin with.
        credentials: the key, or a function that gives the present one; `None` reads OSS_ACCESS_KEY_ID,
            OSS_ACCESS_KEY_SECRET and OSS_SESSION_TOKEN before every request.
        signature: version of signatures.
        link_seconds: how long a link works. Longer than the service may queue a request.
        reuse_seconds: how long an uploaded object is trusted to be there; the service's word counts in any case.
        delete_after_use: delete each object when its request is done; then nothing is reused.
        check_crc: compare checksums of what was sent and what was stored. Slow where `crcmod` has no C extension.

    Example:
        >>> OssSettings(bucket="my-media", endpoint="oss-cn-beijing.aliyuncs.com").region_name
        'cn-beijing'
    """

    bucket: str
    endpoint: str
    upload_endpoint: str | None = None
    region: str | None = None
    prefix: str = "qwen-omni"
    credentials: CredentialsSource | None = field(default=None, repr=False)
    signature: Literal["v4", "v1"] = "v4"
    link_seconds: int = 6 * 3600
    reuse_seconds: float = 7 * 24 * 3600
    delete_after_use: bool = False
    check_crc: bool = True

    def __post_init__(self) -> None:
        for name in ("bucket", "endpoint", "upload_endpoint", "region"):
            told: str | None = getattr(self, name)
            if told is not None:
                check_header_value(told, f"{name}= of OssSettings")
        check_numbers(self, _RANGES)
        if self.signature == "v4" and self.region_name is None:
            raise ConfigurationError(
                f"The region of {self.endpoint!r} is not known, and V4 signatures need it. Pass region=, "
                "for example region='cn-beijing'."
            )

    @property
    def region_name(self) -> str | None:
        """The region, told or read from the endpoint."""
        found = _REGION.search(urlsplit(with_scheme(self.endpoint)).hostname or "")
        return self.region or (found[1] if found else None)

    def object_name(self, name: str) -> str:
        """Give the whole name of an object; none begins with a slash, which OSS refuses.

        Example:
            >>> OssSettings(bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", prefix="/films/").object_name("a.mp4")
            'films/a.mp4'
        """
        prefix = self.prefix.strip("/")
        return f"{prefix}/{name}" if prefix else name

    def current_credentials(self) -> OssCredentials:
        """Give the key to use now.

        Raises:
            ConfigurationError: there is none, or no header can carry it.
        """
        if callable(self.credentials):
            return self.credentials()
        if self.credentials is not None:
            return self.credentials
        return environment_credentials(f" {self.bucket!r}")

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self  # nothing of it changes, and its key would be lost on the way of a pickle

    def __getstate__(self) -> dict[str, Any]:
        # No key travels in a pickle; the other end takes its own from the environment.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return {**kept, "credentials": None}

    def __setstate__(self, state: Mapping[str, Any]) -> None:
        for name, value in state.items():
            object.__setattr__(self, name, value)


def environment_credentials(bucket: str = "") -> OssCredentials:
    """Read the key of a bucket from the environment.

    Raises:
        ConfigurationError: there is none, or no header can carry it.
    """
    key_id, secret, token = (
        os.environ.get(name, "").strip() for name in (KEY_ID_VARIABLE, KEY_SECRET_VARIABLE, TOKEN_VARIABLE)
    )
    if not key_id or not secret:
        raise ConfigurationError(
            f"No key for the bucket{bucket}. Set {KEY_ID_VARIABLE} and {KEY_SECRET_VARIABLE} "
            f"(and {TOKEN_VARIABLE} for a temporary key), or pass credentials= to OssSettings."
        )
    return OssCredentials.of(key_id, secret, token)


def with_scheme(endpoint: str) -> str:
    """Give an endpoint as a URL; https unless it says otherwise."""
    return endpoint if "://" in endpoint else f"https://{endpoint}"


def from_environment() -> OssSettings | None:
    """Make settings from QWEN_OMNI_OSS_BUCKET, …_ENDPOINT, …_REGION and …_PREFIX; `None` if no bucket is named.

    Raises:
        ConfigurationError: a bucket without an endpoint.
    """
    bucket = os.environ.get(BUCKET_VARIABLE, "").strip()
    if not bucket:
        return None
    endpoint = os.environ.get(ENDPOINT_VARIABLE, "").strip()
    if not endpoint:
        raise ConfigurationError(f"{BUCKET_VARIABLE} is set but {ENDPOINT_VARIABLE} is not; set both.")
    region = os.environ.get(REGION_VARIABLE, "").strip() or None
    return OssSettings(
        bucket=bucket, endpoint=endpoint, region=region, prefix=os.environ.get(PREFIX_VARIABLE, "qwen-omni")
    )
