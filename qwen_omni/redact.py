"""Take secrets and media out of a text before a person, a log or a trace sees it.

Everything that shows text which came from outside (an answer of the service, a URL, an exception of the
connection) sends it through `redact` first. It keeps what helps to find a mistake: hosts, paths, numbers.
"""

import re

_DATA_URI = re.compile(r"data:[\w.+/-]*(?:;[\w=.+-]+)*;base64,[A-Za-z0-9+/=_-]*")
_KEY = re.compile(r"\bsk-[A-Za-z0-9_*-]{4,}")
_KEY_ID = re.compile(r"\b(?:LTAI|STS\.)[A-Za-z0-9_-]{6,}")  # key ids of the vendor's object store
_BEARER = re.compile(r"(?i)\b(bearer)\s+[^\s\"',]+")
_QUERY = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>?#]*)[?#](?!<query>)[^\s\"'<>]*")
_USER = re.compile(r"(\b[A-Za-z][A-Za-z0-9+.-]*://)[^\s/\"'<>@]+@")


def redact(text: str) -> str:
    """Replace keys, signed queries, user names in URLs and inline media by short marks.

    Example:
        >>> redact("see https://host/a.mp4?Signature=abc, key sk-12345678")
        'see https://host/a.mp4?<query> key <key>'
    """
    text = _DATA_URI.sub("<inline media>", text)
    text = _USER.sub(r"\1<user>@", text)
    text = _QUERY.sub(r"\1?<query>", text)  # before the keys: their marks would end a query too early
    text = _BEARER.sub(r"\1 <key>", text)
    text = _KEY.sub("<key>", text)
    return _KEY_ID.sub("<key id>", text)
