"""Where the service's routes lie. Pure."""

from urllib.parse import urlsplit

CHAT_PATH = "/compatible-mode/v1"
"""Where the OpenAI-compatible routes are (Model Studio, Chat API reference, September 2026)."""
_NATIVE_PATH = "/api/v1"


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
