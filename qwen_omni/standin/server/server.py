"""The public interface of the stand-in: a context manager, and a function that runs it until interrupted.

Combines `service`, `app` and `listener`. Makes no decisions.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Self

from qwen_omni.standin.answers.nearly import NearlyRight
from qwen_omni.standin.answers.service import State, answer_line
from qwen_omni.standin.asr.tasks import Tasks
from qwen_omni.standin.batch.batches import Batches
from qwen_omni.standin.rules.prefix_cache import PrefixCache
from qwen_omni.standin.rules.quotas import Quota, Quotas
from qwen_omni.standin.server import environment as names
from qwen_omni.standin.server.app import make_app
from qwen_omni.standin.server.listener import Listener
from qwen_omni.standin.server.log import reporting
from qwen_omni.standin.server.script import Script
from qwen_omni.standin.stores.intake import Intake
from qwen_omni.standin.stores.signing import OssKey
from qwen_omni.standin.stores.stores import Stores

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from types import TracebackType

    from starlette.types import ASGIApp

    from qwen_omni.standin.server.log import Exchange, LoggedRequest

_LOOPBACK = "127.0.0.1"
_OSS_KEYS = {"standin-id": OssKey(secret="standin-secret")}  # noqa: S106 - only gives access to a local folder


class Standin:
    """A local service that validates requests and answers from decoded media. It is not Qwen.

    Use it as a context manager, plain or async; inside, `base_url` and `api_key` are what a client needs.

        with Standin() as standin:
            client = OpenAI(base_url=standin.base_url, api_key=standin.api_key)

    Args:
        media_map: Media behind http(s) and `oss://` addresses; entries may be added while running. Nothing outside
            loopback is ever downloaded.
        script: Scripted replies and faults; may be changed while running.
        keys: Accepted API keys.
        buckets: Names of the buckets of the OSS endpoint.
        oss_keys: Keys to the buckets, by id.
        oss_region: The endpoint's region, used in V4 signatures.
        host: A loopback address.
        port: 0 selects a free port.
        nearly_right: Corrupt every answer that is not scripted, as real models do: a seed, or a `NearlyRight` with
            selected ways.
        retired: Answer to the names that the service retired, too, as it did before.
        quotas: Requests and tokens a minute, by model name; also enforced per second, and reported by
            `GET /api/v1/quotas`. Without, nothing is limited.
        implicit_cache: Report input tokens that an earlier request began with as cached, where the model has an
            implicit cache. Off by default: it makes a bill depend on what was asked before.
        on_exchange: Called after every request, in the thread of the service.
    """

    def __init__(  # noqa: PLR0913 - one keyword per property of the service
        self,
        *,
        media_map: Mapping[str, bytes | Path] | None = None,
        script: Script | None = None,
        keys: tuple[str, ...] = ("sk-standin",),
        buckets: tuple[str, ...] = ("standin-media",),
        oss_keys: Mapping[str, OssKey] | None = None,
        oss_region: str = "cn-standin",
        host: str = _LOOPBACK,
        port: int = 0,
        nearly_right: int | NearlyRight | None = None,
        retired: bool = False,
        quotas: Mapping[str, Quota] | None = None,
        implicit_cache: bool = False,
        on_exchange: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.media_map = dict(media_map or {})
        self._oss = (buckets, dict(_OSS_KEYS if oss_keys is None else oss_keys), oss_region)
        self.stores = Stores(*self._oss)
        intake = Intake(media_map=self.media_map, stores=self.stores)
        self.tasks = Tasks(intake, tuple(keys), self.stores.now)
        self.batches = Batches(tuple(keys), lambda body, key: answer_line(body, key, self._state))
        self._state = State(
            keys=tuple(keys), intake=intake, script=script or Script(), stores=self.stores, tasks=self.tasks,
            batches=self.batches,
            retired=retired,
            quotas=None if quotas is None else Quotas(dict(quotas)),
        )  # fmt: skip
        self.nearly_right = nearly_right
        self._state.prefixes = PrefixCache() if implicit_cache else None
        self._host = host
        self._name = f"[{host}]" if ":" in host else host
        self._port = port
        self._listener: Listener | None = None
        app = make_app(self._state, self._transport)
        self.app: ASGIApp = app if on_exchange is None else reporting(app, on_exchange)

    @property
    def base_url(self) -> str:
        """The address for a client's `base_url`."""
        return f"http://{self._name}:{self._running.port}/compatible-mode/v1"

    @property
    def batch_base_url(self) -> str:
        """The address for a client's `batch_base_url`: Batch Chat."""
        return f"http://{self._name}:{self._running.port}/batch/compatible-mode/v1"

    @property
    def oss_endpoint(self) -> str:
        """The address of the OSS endpoint."""
        return f"http://{self._name}:{self._running.port}"

    @property
    def api_key(self) -> str:
        """An accepted API key."""
        return self._state.keys[0]

    @property
    def requests(self) -> list[LoggedRequest]:
        """All requests so far, oldest first."""
        return self._state.requests

    @property
    def connections(self) -> int:
        """The number of TCP connections accepted so far."""
        return self._running.accepted

    @property
    def script(self) -> Script:
        """Scripted replies and faults."""
        return self._state.script

    @script.setter
    def script(self, script: Script) -> None:
        self._state.script = script

    @property
    def nearly_right(self) -> NearlyRight | None:
        """What corrupts the answers; may be set to a seed, or to None, while running."""
        return self._state.nearly

    @nearly_right.setter
    def nearly_right(self, chosen: int | NearlyRight | None) -> None:
        self._state.nearly = NearlyRight(chosen) if isinstance(chosen, int) else chosen

    def clear(self) -> None:
        """Clear the logged requests."""
        self._state.requests.clear()

    def start(self) -> Self:
        """Start listening; return once connections are accepted."""
        self._listener = Listener(self.app, self._host, self._port)
        self._listener.start()
        return self

    def stop(self) -> None:
        """Close all connections and stop the thread."""
        if self._listener is not None:
            self._listener.stop()
        self.stores.close()

    @contextlib.contextmanager
    def environment(self, *, bucket: bool = False) -> Iterator[Self]:
        """Point programs that read the environment to this service while the block runs.

        Sets `DASHSCOPE_API_KEY`, `DASHSCOPE_BASE_URL` and `DASHSCOPE_BATCH_BASE_URL`, and with `bucket` the variables
        of its bucket, which are unset otherwise, so that no real bucket is written to. Starts the service if it does
        not run yet.

        Example:
            with Standin().environment() as standin:
                my_program()
            assert standin.requests
        """
        with contextlib.ExitStack() as stack:
            if self._listener is None:
                stack.enter_context(self)
            stack.enter_context(names.changed(self._variables(bucket=bucket)))
            yield self

    def _variables(self, *, bucket: bool) -> dict[str, str | None]:
        service = {
            names.API_KEY: self.api_key, names.BASE_URL: self.base_url, names.BATCH_URL: self.batch_base_url
        }  # fmt: skip
        if not bucket:
            return {**service, names.BUCKET: None}
        (bucket_name, *_), keys, region = self._oss
        key_id, key = next(iter(keys.items()))
        place = {names.BUCKET: bucket_name, names.ENDPOINT: self.oss_endpoint, names.REGION: region}
        return {**service, **place, names.KEY_ID: key_id, names.KEY_SECRET: key.secret, names.TOKEN: key.token}

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> Self:
        return await asyncio.to_thread(self.start)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await asyncio.to_thread(self.stop)

    @property
    def _running(self) -> Listener:
        if self._listener is None:
            raise RuntimeError("The stand-in is not running: use it in a `with` block or call start().")
        return self._listener

    def _transport(self, client: tuple[str, int] | None) -> asyncio.Transport | None:
        return self._listener.transports.get(client) if self._listener and client else None


def serve(
    host: str = _LOOPBACK,
    port: int = 8765,
    *,
    media_map: Mapping[str, bytes | Path] | None = None,
    keys: tuple[str, ...] = ("sk-standin",),
    on_ready: Callable[[Standin], None] | None = None,
    on_exchange: Callable[[Exchange], None] | None = None,
) -> None:
    """Run until interrupted; `on_ready` is called once connections are accepted, `on_exchange` after every request."""
    with (
        contextlib.suppress(KeyboardInterrupt),
        Standin(media_map=media_map, keys=keys, host=host, port=port, on_exchange=on_exchange) as standin,
    ):
        if on_ready is not None:
            on_ready(standin)
        threading.Event().wait()
