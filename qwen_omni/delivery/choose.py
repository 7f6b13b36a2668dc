"""Which way a piece of media goes to the service. Pure; `delivery.deliver` carries it out.

In this version links go as they are and local media go inside the request.
"""

from datetime import datetime
from typing import Literal

from qwen_omni.delivery.links import check_link, is_private_host
from qwen_omni.media.source import MediaSource

__all__ = ["Way", "choose_way", "is_private_host"]

Way = Literal["link", "inline"]


def choose_way(source: MediaSource, *, name: str, now: datetime, allow_private: bool = False) -> Way:
    """Choose how a source travels, and check a link as far as that needs no network.

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
        return "inline"
    check_link(source.url, name=name, now=now, allow_private=allow_private)
    return "link"
