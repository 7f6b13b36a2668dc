"""The clients of one chat model of a framework: created on first use, one per set of connection options.

They belong to the process that created them. Copies and pickles of a model start without clients, so they carry no
connection, lock or key. The environment is read here, through `Settings.load`, and never stored in the model.
"""

import functools
import os
import threading
import weakref
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

from pydantic import SecretStr

from qwen_omni.options import Delivery, Dialect
from qwen_omni.pricing.ledger import UsageLedger
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import Region
from qwen_omni.ranges import check_numbers
from qwen_omni.settings import SETTINGS_RANGES, OssSettings, Settings

if TYPE_CHECKING:  # the client imports the HTTP library, which importing an adapter should not
    from qwen_omni.client import AsyncOmniClient, OmniClient

CONNECTION_RANGES = {
    "timeout": SETTINGS_RANGES["read_timeout"],
    "total_timeout": SETTINGS_RANGES["total_timeout"],
    "connect_timeout": SETTINGS_RANGES["connect_timeout"],
    "max_retries": SETTINGS_RANGES["max_retries"],
    "max_answer_bytes": SETTINGS_RANGES["max_answer_bytes"],
}
"""Ranges of the numeric connection options of a chat model."""

_Client = TypeVar("_Client")
_MOST = 32  # clients of one kind; a program with new options for every call must not accumulate connections


class CallKey(SecretStr):
    """A call's key, which frameworks store and may pickle: it unpickles as `None`, so the environment's is used."""

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return _no_key, ()


def _no_key() -> None:
    return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The caller's connection options; `None` leaves one to the environment or the default."""

    api_key: SecretStr | None = None
    base_url: str | None = None
    region: Region | None = None
    timeout: float | None = None
    total_timeout: float | None = None
    connect_timeout: float | None = None
    max_retries: int | None = None
    max_answer_bytes: int | None = None
    media_root: str | Path | None = None
    delivery: Delivery | None = None
    oss: OssSettings | None = None
    dialect: Dialect | None = None
    spend_limit: SpendLimit | None = None
    ledger: UsageLedger | None = None

    def __post_init__(self) -> None:
        check_numbers(self, CONNECTION_RANGES)

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickle holds no key; the environment supplies one where it is loaded.
        kept = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return functools.partial(ConnectionOptions, **{**kept, "api_key": None}), ()

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, _: object) -> Self:
        return self  # immutable, and a copy through a pickle would lose the key

    def load(self, *, needs_key: bool = True) -> Settings:
        """Return settings, with gaps filled from the environment; see `Settings.load`.

        Raises:
            ConfigurationError: there is no key, or the address is invalid.
        """
        given = {name: getattr(self, name) for name in self.__dataclass_fields__}
        given["read_timeout"] = given.pop("timeout")
        if self.media_root is not None:
            given["media_root"] = Path(self.media_root)
        return Settings.load(needs_key=needs_key, **given)


class Clients:
    """Holds the clients of one chat model. Safe to share between threads."""

    def __init__(self) -> None:
        self._start()
        _made.add(self)

    def _start(self) -> None:
        self._lock = threading.Lock()
        self._sync: dict[ConnectionOptions, OmniClient] = {}
        self._async: dict[ConnectionOptions, AsyncOmniClient] = {}
        weakref.finalize(self, _close_all, self._sync)

    def sync(self, options: ConnectionOptions) -> "OmniClient":
        """Return the client for these options, created on first use."""
        from qwen_omni.client import OmniClient  # noqa: PLC0415

        with self._lock:
            client = self._sync.get(options)
            if client is None:
                client = _keep(self._sync, options, OmniClient(options.load()))
            return client

    def asynchronous(self, options: ConnectionOptions) -> "AsyncOmniClient":
        """Return the asynchronous client for these options, created on first use."""
        from qwen_omni.client import AsyncOmniClient  # noqa: PLC0415

        with self._lock:
            client = self._async.get(options)
            if client is None:
                client = _keep(self._async, options, AsyncOmniClient(options.load()))
            return client

    def close(self) -> None:
        """Close the synchronous clients; the next call creates new ones."""
        with self._lock:
            _close_all(self._sync)

    async def aclose(self) -> None:
        """Close the connections of the asynchronous clients in the running event loop."""
        with self._lock:
            clients = list(self._async.values())
        for client in clients:
            await client.aclose()

    def __reduce__(self) -> tuple[Any, ...]:
        return Clients, ()

    def __repr__(self) -> str:
        return "Clients()"


_made: weakref.WeakSet[Clients] = weakref.WeakSet()


def _start_anew() -> None:
    """In a forked process, drop the clients of the parent, and locks that a thread of the parent may hold."""
    for clients in list(_made):
        clients._start()  # noqa: SLF001  (this module's own)


if hasattr(os, "register_at_fork"):  # not on Windows, which cannot fork
    os.register_at_fork(after_in_child=_start_anew)


def _close_all(kept: dict[ConnectionOptions, "OmniClient"]) -> None:
    while kept:
        kept.popitem()[1].close()


def _keep(kept: dict[ConnectionOptions, _Client], options: ConnectionOptions, client: _Client) -> _Client:
    if len(kept) >= _MOST:
        del kept[next(iter(kept))]  # calls that still run hold their client themselves
    kept[options] = client
    return client
