"""Advice when the service refused media: how it was sent, and what to try. Pure."""

from collections.abc import Sequence

from qwen_omni.messages import MediaPayload, Route

_MOST = 3
_SENT: dict[Route, str] = {
    "inline": "inside the request (inline), so no link was involved: check the file itself",
    "oss": "through your bucket (oss) as a signed link; `qwen-omni doctor` tries the bucket",
    "temporary": "through the service's temporary store (temporary), which has it for 48 h for one model and account",
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
