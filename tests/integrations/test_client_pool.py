"""The clients behind a model."""

import copy
import pickle

import pytest

from qwen_omni.integrations.model_fields import _MOST, Clients, ConnectionOptions


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
