"""Whatever a model writes as arguments: no exception leaves a tool, and no file outside the folder is opened."""

import pytest
from hypothesis import HealthCheck, given, settings as rules, strategies as st

from qwen_omni import MediaTools, Settings
from qwen_omni.standin import Standin
from qwen_omni.tools.media_tools import DEFINITIONS
from tests.support.agents import Place, nasty_paths, written_for
from tests.support.watching import opened_by_python, watched


def try_all(tools: MediaTools, place: Place, cases: int) -> None:
    """Call every tool with what its schema allows and what it does not."""
    paths = nasty_paths(place)
    calls = st.one_of(*(st.tuples(st.just(one.name), written_for(one.schema, paths)) for one in DEFINITIONS))
    tried = 0

    @rules(max_examples=cases, database=None, suppress_health_check=list(HealthCheck))
    @given(calls)
    def attempt(call):
        nonlocal tried
        tried += 1
        outcome = tools.call(*call)
        assert outcome.content
        assert len(outcome.content) < 10_000

    with watched(*place.secrets) as seen, opened_by_python() as names:
        attempt()
    assert tried >= cases
    assert seen == [], "something outside was opened"
    forbidden = (str(place.outside), "/etc/passwd", "/proc/self/environ", "/dev/zero")
    assert not [name for name in names if name.startswith(forbidden)]


def test_some_cases(tools: MediaTools, place: Place, standin: Standin) -> None:
    """The quick form of the next."""
    try_all(tools, place, 30)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("cases", [500, pytest.param(2000, marks=pytest.mark.long)])
def test_many_cases(cases: int, place: Place, standin: Standin, settings: Settings) -> None:
    """Calls of every kind, with a service that answers."""
    with_service = MediaTools(place.root, settings=settings)
    try_all(with_service, place, cases)
    with_service.close()


def test_the_trap_works(place: Place) -> None:
    """What is watched is really seen: a reading of a secret shows."""
    with watched(*place.secrets) as seen:
        (place.outside / "secret.mp4").read_bytes()
    assert seen
