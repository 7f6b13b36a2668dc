"""The same standard tests against the running stand-in: two profiles, both versions of output, no recordings.

Differences to `test_standard`: `enable_vcr_tests` is off, because its one test plays a recording many times; and
the suite drops its models without closing them, which leaves connections to be dropped with them.
"""
# ruff: noqa: D102  (the suite's own documentation says what each property means)

from collections.abc import Callable, Iterator

import pytest

from qwen_omni.standin import Script, Standin
from tests.langchain import test_standard
from tests.langchain.test_standard import Suite

pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]
web, offline_web = test_standard.web, test_standard.offline_web
SCRIPTS: dict[str, Callable[[], Script]] = test_standard.SCRIPTS


@pytest.fixture(autouse=True)
def running(request: pytest.FixtureRequest, web: dict[str, bytes], monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in with the script of this test."""
    with Standin(script=SCRIPTS.get(request.node.originalname, Script)(), media_map=web) as standin:
        monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
        monkeypatch.setenv("DASHSCOPE_BASE_URL", standin.base_url)
        yield


class Live(Suite):
    """Against the stand-in."""

    @property
    def enable_vcr_tests(self) -> bool:
        return False


@pytest.mark.slow
class TestTextV0(Live):
    """The default profile."""


@pytest.mark.slow
class TestTextV1(Live):
    """The default profile, standard blocks as content."""

    options = {"output_version": "v1"}  # noqa: RUF012  (declared where the class is made)


@pytest.mark.slow
class TestSpeechV0(Live):
    """The profile that speaks."""

    profiled = "qwen3.5-omni-flash"


class TestSpeechV1(Live):
    """The profile that speaks, standard blocks as content."""

    profiled = "qwen3.5-omni-flash"
    options = {"output_version": "v1"}  # noqa: RUF012
