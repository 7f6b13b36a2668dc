"""The clients behind a model."""

import copy
import pickle

import pytest

from qwen_omni import RateLimits
from qwen_omni.integrations.model_fields import _MOST, Clients, ConnectionOptions
from qwen_omni.integrations.request_builder import plan_call


def options(**chosen: object) -> ConnectionOptions:
    return ConnectionOptions(base_url="http://127.0.0.1:9/v1", **chosen)  # type: ignore[arg-type]


def test_one_client_per_set_of_options(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same options share a client, other ones do not, and there are never more than a few dozen."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody")
    clients = Clients()
    first = clients.sync(options(timeout=1))
    assert clients.sync(options(timeout=1)) is first
    for seconds in range(2, _MOST + 2):
        clients.sync(options(timeout=seconds))
    assert len(clients._sync) == _MOST
    assert clients.sync(options(timeout=1)) is not first
    first.close()
    clients.close()
    assert len(clients._sync) == 0


def test_clients_do_not_travel(monkeypatch: pytest.MonkeyPatch) -> None:
    """A copy or a pickle starts without connections, and shows none of what it holds."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody")
    clients = Clients()
    clients.sync(options())
    for other in (copy.deepcopy(clients), pickle.loads(pickle.dumps(clients))):
        assert other._sync == {}
    assert repr(clients) == "Clients()"
    clients.close()


OMNI = RateLimits(rpm=60, tpm=100_000)


def test_limits_by_model_share_a_client(monkeypatch: pytest.MonkeyPatch) -> None:
    """Limits are part of the options of a client, in whatever order they are named, and reach its settings."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-nobody")
    clients = Clients()
    first = clients.sync(options(limits={"a": OMNI, "b": RateLimits(rpm=7)}, burst_wait=0))
    assert clients.sync(options(limits={"b": RateLimits(rpm=7), "a": OMNI}, burst_wait=0)) is first
    assert first.settings.rate_limits("a") == OMNI
    assert first.settings.rate_limits("c") is None
    assert clients.sync(options(limits=OMNI)).settings.rate_limits("c") == OMNI
    again = pickle.loads(pickle.dumps(options(limits={"a": OMNI})))
    assert again == options(limits={"a": OMNI})
    clients.close()


@pytest.mark.parametrize(
    ("fields", "call", "expected"),
    [
        ({"region": "jp", "workspace": "ws-1"}, {}, (None, "jp", "ws-1")),
        ({"region": "jp", "workspace": "ws-1"}, {"region": "us"}, (None, "us", None)),
        ({"region": "jp", "workspace": "ws-1"}, {"base_url": "https://h/v1"}, ("https://h/v1", None, None)),
        ({"region": "jp", "workspace": "ws-1"}, {"workspace": "ws-2"}, (None, "jp", "ws-2")),
        ({"base_url": "https://h/v1"}, {"workspace": "ws-2"}, (None, None, "ws-2")),
    ],
)
def test_address_region_and_workspace_replace_each_other(
    fields: dict[str, str], call: dict[str, str], expected: tuple[str | None, ...]
) -> None:
    """A call's choice of a host replaces that of the model; a workspace of the call keeps the model's region."""
    made = plan_call({"model": "qwen3.8-omni-flash", **fields}, (), call, who="Model").connection
    assert (made.base_url, made.region, made.workspace) == expected
