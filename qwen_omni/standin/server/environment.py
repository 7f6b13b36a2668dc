"""Environment variables set while a block runs. The names are those that clients of the service read."""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

API_KEY, BASE_URL, BATCH_URL = "DASHSCOPE_API_KEY", "DASHSCOPE_BASE_URL", "DASHSCOPE_BATCH_BASE_URL"
BUCKET, ENDPOINT, REGION = "QWEN_OMNI_OSS_BUCKET", "QWEN_OMNI_OSS_ENDPOINT", "QWEN_OMNI_OSS_REGION"
KEY_ID, KEY_SECRET, TOKEN = "OSS_ACCESS_KEY_ID", "OSS_ACCESS_KEY_SECRET", "OSS_SESSION_TOKEN"


@contextlib.contextmanager
def changed(variables: Mapping[str, str | None]) -> Iterator[None]:
    """Set variables, or unset those that are `None`; restore all of them at the end."""
    before = {name: os.environ.get(name) for name in variables}
    _apply(variables)
    try:
        yield
    finally:
        _apply(before)


def _apply(variables: Mapping[str, str | None]) -> None:
    for name, value in variables.items():
        if value is None:
            os.environ.pop(name, None)
        else:
            os.environ[name] = value
