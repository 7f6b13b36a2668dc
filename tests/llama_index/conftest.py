"""These tests need LlamaIndex: `pip install --group test-llama-index`. Without it they skip, and say so."""

from importlib.util import find_spec

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Skip this folder where LlamaIndex is not installed."""
    if find_spec("llama_index") is None:
        why = pytest.mark.skip(reason="llama-index-core is not installed (dependency group test-llama-index)")
        for item in items:
            if "llama_index" in str(item.path.parent):
                item.add_marker(why)
