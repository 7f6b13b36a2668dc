"""Where the service's routes lie, and who answers there. Pure."""

import hashlib
import re
from urllib.parse import urlsplit

from qwen_omni.profiles.values import SHARED_HOST_SECONDS, WORKSPACE_HOST_SECONDS

CHAT_PATH = "/compatible-mode/v1"
"""Where the OpenAI-compatible routes are (Model Studio, Chat API reference, September 2026)."""
_NATIVE_PATH = "/api/v1"
# Shared, workspace, trial and batch hosts (Model Studio, base URLs, November 2026; QwenCloud, the same).
_VENDOR_HOST = re.compile(
    r"(?:.+\.)?(?:dashscope(?:-[a-z0-9-]+)?\.aliyuncs\.com|maas\.aliyuncs\.com|qwencloudapi\.com)"
)
_SHARED_HOST = re.compile(
    r"(?:[a-z0-9-]+\.)?dashscope(?:-[a-z0-9-]+)?\.aliyuncs\.com|trial\.[a-z0-9-]+\.maas\.aliyuncs\.com"
)
_WAITING_HOST = "batch.dashscope.aliyuncs.com"
_STANDIN_KEY = "sk-standin"
_PORTS = {"http": 80, "https": 443}
VENDOR, STANDIN = "dashscope", "standin"


def native_url(base_url: str, route: str) -> str:
    """Give the address of one of DashScope's own routes, on the host of the chat routes.

    A gateway that serves the chat routes under a path of its own serves these under the same.

    Example:
        >>> native_url("https://gw.example.com/dashscope/compatible-mode/v1", "/tasks/1")
        'https://gw.example.com/dashscope/api/v1/tasks/1'
    """
    split = urlsplit(base_url)
    path = split.path.rstrip("/")
    before = path.removesuffix(CHAT_PATH) if path.endswith(CHAT_PATH) else ""
    return f"{split.scheme}://{split.netloc}{before}{_NATIVE_PATH}{route}"


def most_seconds(base_url: str) -> float:
    """Return how long a request may last at an address, in seconds.

    Example:
        >>> most_seconds("https://dashscope.aliyuncs.com/compatible-mode/v1")
        600.0
        >>> most_seconds("https://ws-1.cn-beijing.maas.aliyuncs.com/compatible-mode/v1")
        3600.0
    """
    host = (urlsplit(base_url.strip()).hostname or "").rstrip(".")
    shared = _SHARED_HOST.fullmatch(host) and host != _WAITING_HOST
    return SHARED_HOST_SECONDS if shared else WORKSPACE_HOST_SECONDS


def origin_of(base_url: str, api_key: str) -> str:
    """Name who answers at an address, so that an answer is reused only for whoever would have given it.

    All hosts of the vendor are one; the stand-in is known by its key, whatever its port; every other server is its own,
    and so is every path of a gateway. Holds no key, no user and no path that can be read.

    Example:
        >>> origin_of("https://dashscope-intl.aliyuncs.com/compatible-mode/v1", "sk-1")
        'dashscope'
        >>> origin_of("http://127.0.0.1:9000/v1", "sk-standin-1"), origin_of("http://127.0.0.1:9000/v1", "sk-1")
        ('standin', 'http://127.0.0.1:9000')
    """
    if api_key.strip().startswith(_STANDIN_KEY):
        return STANDIN
    split = urlsplit(base_url.strip())
    host = (split.hostname or "").rstrip(".")
    if _VENDOR_HOST.fullmatch(host):
        return VENDOR
    port = split.port or _PORTS.get(split.scheme, 0)
    path = split.path.rstrip("/").removesuffix(CHAT_PATH).removesuffix("/v1")
    told = "/".join(one for one in (path, split.query) if one)
    place = f"#{hashlib.sha256(told.encode()).hexdigest()[:16]}" if told else ""
    return f"{split.scheme}://{f'[{host}]' if ':' in host else host}:{port}{place}"
