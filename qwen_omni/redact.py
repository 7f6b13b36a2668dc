"""Take secrets and media out of a text before a person, a log or a trace sees it.

Everything that shows text which came from outside (an answer of the service, a URL, an exception of the
connection) sends it through `redact` first. It keeps what helps to find a mistake: hosts, paths, numbers.
"""

import re

_DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,[A-Za-z0-9+/=_-]*")
_KEY = re.compile(r"\bsk-[A-Za-z0-9_*-]{4,}")
_BEARER = re.compile(r"(?i)\b(bearer)\s+[^\s\"',]+")
_QUERY = re.compile(r"(\b[a-z][a-z0-9+.-]*://[^\s\"'<>?#]*)[?#](?!<query>)[^\s\"'<>]*", re.IGNORECASE)
_USER = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/\"'<>@]+@", re.IGNORECASE)


def redact(text: str) -> str:
    """Replace keys, signed queries, user names in URLs and inline media by short marks.

    Example:
        >>> redact("see https://host/a.mp4?Signature=abc, key sk-12345678")
        'see https://host/a.mp4?<query> key <key>'
    """
    text = _DATA_URI.sub("<inline media>", text)
    text = _BEARER.sub(r"\1 <key>", text)
    text = _KEY.sub("<key>", text)
    text = _USER.sub(r"\1<user>@", text)
    return _QUERY.sub(r"\1?<query>", text)
