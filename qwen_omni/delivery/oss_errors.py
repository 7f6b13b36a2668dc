"""A refusal of an OSS endpoint → an error of ours that says what to do. Pure."""

import re
from dataclasses import dataclass
from email.utils import parsedate_to_datetime

from qwen_omni.errors import DeliveryError, StoreUnavailableError
from qwen_omni.oss_settings import KEY_ID_VARIABLE, OssSettings, with_scheme

_CODE = re.compile(rb"<Code>([\w.]{1,80})</Code>")
_MESSAGE = re.compile(rb"<Message>([^<]{1,400})</Message>")
_REPEATED = (408, 409, 425, 429)
_SERVER = 500


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """What an endpoint said, without the parts that hold keys and signatures.

    Attributes:
        status: the HTTP status; below 100 if there was no answer.
        code: the endpoint's own code, or the kind of failure.
        date: the endpoint's clock, as its header writes it.
    """

    status: int
    code: str
    message: str
    request_id: str = ""
    date: str | None = None

    @property
    def passes(self) -> bool:
        """Whether the same request may succeed if it is sent again."""
        if self.status in _REPEATED:
            return self.code != "FileAlreadyExists"  # a 409 that stays
        return self.status < 100 or self.status >= _SERVER  # noqa: PLR2004


# OSS, "Error responses", read 2026-05.
_STEPS = {
    "InvalidAccessKeyId": "The key id is not known: check the credentials ({variable}).",
    "SignatureDoesNotMatch": "The key's secret is wrong, or something on the way changed the request.",
    "AccessDenied": "The key needs oss:PutObject, oss:GetObject, oss:ListParts and oss:AbortMultipartUpload on "
    "{bucket}/{objects}, and oss:DeleteObject for delete_after_use and for `qwen-omni doctor`, which writes, reads and "
    "deletes one small object.",
    "SecurityTokenExpired": "The temporary key has run out; let credentials= be a function that fetches a new one.",
    "InvalidSecurityToken": "The token does not belong to the key; fetch key and token together.",
    "NoSuchBucket": "There is no bucket {bucket} at {endpoint}: check both names.",
    "InvalidBucketName": "Check the bucket's name.",
    "InconsistentError": "The bytes changed on the way; it was tried again as often as allowed.",
}


def to_delivery_error(refused: Refused, what: str, settings: OssSettings, now: float) -> DeliveryError:
    """Say what failed, with the numbers, and what to do.

    Args:
        refused: what the endpoint said.
        what: what was being done.
        settings: names the bucket.
        now: this machine's clock, in seconds since 1970.
    """
    place = f"the bucket {settings.bucket!r} at {with_scheme(settings.endpoint)}"
    said = f"{refused.status} {refused.code}" if refused.status >= 100 else refused.code  # noqa: PLR2004
    text = f"Could not {what}: {place} said {said}: {refused.message.strip()[:300]}"
    identity = f" (request id {refused.request_id})" if refused.request_id else ""
    if refused.passes or refused.code == "InconsistentError":
        step = _step(refused, settings) or "Check the network and the endpoint, or try again later."
        return StoreUnavailableError(f"{text}{identity}. {step}")
    return DeliveryError(f"{text}{identity}. {_skew(refused, now) or _step(refused, settings)}".rstrip())


def parse_xml(status: int, body: bytes, date: str | None = None) -> Refused:
    """Read an error answer of an OSS endpoint; it is XML, whatever was asked."""
    code, message = _CODE.search(body), _MESSAGE.search(body)
    return Refused(
        status=status,
        code=code[1].decode() if code else "an error",
        message=message[1].decode("utf-8", "replace") if message else "no further words",
        date=date,
    )


def _step(refused: Refused, settings: OssSettings) -> str:
    step = _STEPS.get(refused.code, "")
    return step.format(
        variable=KEY_ID_VARIABLE,
        bucket=settings.bucket,
        objects=settings.object_name("*"),
        endpoint=settings.endpoint,
    )


def _skew(refused: Refused, now: float) -> str:
    if refused.code != "RequestTimeTooSkewed" or refused.date is None:
        return ""
    try:
        minutes = (now - parsedate_to_datetime(refused.date).timestamp()) / 60
    except (ValueError, TypeError, OverflowError):
        return "This machine's clock and the store's differ; set it (NTP) and try again."
    return f"This machine's clock is {minutes:+.0f} min off the store's; set it (NTP) and try again."
