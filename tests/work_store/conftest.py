"""The places of stores, and stores on one place."""

import pytest

from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.store import StepKey, StoreUse
from tests.support.postgres import own_server, place, postgres

__all__ = ["own_server", "place", "postgres"]

USE = StoreUse(name="work store", way_out="Choose another.")
KEY = StepKey("run", "step", "dashscope")


def key(name, origin="dashscope"):
    """Another step of the same run."""
    return StepKey("run", name, origin)


@pytest.fixture
def stores(place):
    """Make stores on one place, as several runs of one process have them."""
    made = []

    def make(**kwargs):
        made.append(open_work_store(place, USE, **kwargs))
        return made[-1]

    yield make
    for store in made:
        store.close()
