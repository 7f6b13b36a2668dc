"""What has already been uploaded: the same bytes are sent once, from any thread or process of this machine.

The first caller that needs a piece of media *claims* it and uploads; the others wait for the claim to end. The claim
of a process that died or hangs is taken over, with what is needed to resume the upload. Rows hold no key, no
signed link and no file name. If the file cannot be used, the cache continues in memory, with one warning. A server
that cannot be used is an error: other machines may have paid for what it holds.
"""

import hashlib
import threading
import warnings
from dataclasses import dataclass
from pathlib import Path

from qwen_omni.errors import ConfigurationError, LocalResourceError
from qwen_omni.work_store.buffered import BufferedStore
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import LOCAL, Alive, Claim as StoreClaim, Found, StepKey, StoreUse, Taken

_FILE = "uploads.sqlite3"
_WAY_OUT = (
    "{} are remembered in memory until this process ends. Free some space, remove that file if it is damaged, or "
    "set cache_dir (QWEN_OMNI_CACHE_DIR) to a folder that can be written."
)
UPLOADS = StoreUse(name="upload cache", way_out=_WAY_OUT.format("Uploads"))
TASKS = StoreUse(name="record of transcription tasks", way_out=_WAY_OUT.format("Tasks"))

# What could not be written outlives the caches that hold it: it has been paid for.
_shared = threading.RLock()
_in_memory: dict[Path, SqliteStore] = {}
_unwritten: set[BufferedStore] = set()


@dataclass(frozen=True, slots=True, kw_only=True)
class Held:
    """The media is there."""

    location: str
    expires_at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Claim:
    """Permission to upload; `resume` continues what another process began."""

    key: str
    resume: str | None


def cache_key(*, digest: str, store: str, account: str, model: str, form: str | None) -> str:
    """Return the key of an upload: what it is, where it is stored and who may use it; none of it can be read back."""
    identity = "\n".join((digest, store, account, model, form or ""))
    return hashlib.sha256(identity.encode()).hexdigest()


class UploadCache:
    """The uploads of one user of one machine, or of all machines that share a store on a server.

    Safe to share between threads and processes.

    Keys include the store and the account, so a link is only found by the account that can use it; see `cache_key`.
    """

    def __init__(
        self,
        folder: Path,
        *,
        file: str = _FILE,
        use: StoreUse = UPLOADS,
        server: str | None = None,
        lease_seconds: float | None = None,
    ) -> None:
        """Set where uploads are recorded: in a file of a folder, or on the server of a work store."""
        self._path = folder / file
        self._server = server
        self._use = use
        self._lease = lease_seconds
        self._lock = threading.Lock()
        self._opened: BufferedStore | None = None
        self._warned = False

    def look(self, key: str, *, alive: Alive | None = None) -> Held | Claim | None:
        """Find an upload, or claim it; `None` while another upload of it is running.

        Args:
            key: see `cache_key`.
            alive: whether the upload makes progress; the claim lasts as long as it does.
        """
        while True:
            stands = self._store().claim(self._key(key), alive=alive)
            self._warn_of_trouble()
            if isinstance(stands, Taken):
                return None
            if isinstance(stands, StoreClaim):
                return Claim(key=key, resume=stands.resume if isinstance(stands.resume, str) else None)
            held = _held(stands)
            if held is not None:
                return held
            self._store().discard(self._key(key), stands.value, damaged=True)

    def note(self, claim: Claim, resume: str) -> None:
        """Store what another process needs to resume this upload."""
        self._store().note(StoreClaim(self._key(claim.key)), resume)

    def finish(self, claim: Claim, location: str, expires_at: float) -> None:
        """Record the uploaded media's location, and until when it can be used."""
        self._store().finish(self._key(claim.key), {"location": location}, expires_at=expires_at)
        self._warn_of_trouble()

    def give_up(self, claim: Claim) -> None:
        """End a claim without an upload; what has arrived can still be resumed."""
        self._store().release(self._key(claim.key))

    def forget(self, key: str, location: str) -> None:
        """Drop an upload that is gone, unless it has been replaced meanwhile."""
        self._store().discard(self._key(key), {"location": location})

    def _key(self, key: str) -> StepKey:
        return StepKey(self._path.stem, key)

    def _store(self) -> BufferedStore:
        """Open the file when it is first needed; fall back to memory if that fails, unless others share it."""
        with self._lock:
            if self._opened is None and self._server is not None:
                self._opened = open_work_store(self._server, self._use, lease_seconds=self._lease)
            elif self._opened is None:
                try:
                    self._opened = SqliteStore(self._path, self._use, lease_seconds=self._lease)
                except (ConfigurationError, LocalResourceError) as error:
                    self._warn(str(error))
                    with _shared:
                        self._opened = _in_memory.setdefault(self._path, SqliteStore(None))
                else:
                    _move(self._path, self._opened)
            return self._opened

    def _warn_of_trouble(self) -> None:
        store = self._store()
        if store.trouble:
            self._warn(f"The {self._use.name} {store.place} cannot be used: {store.trouble}. {self._use.way_out}")
        with _shared:
            _unwritten.difference_update([one for one in _unwritten if not one.pending])
            if store.pending:
                _unwritten.add(store)

    def _warn(self, text: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(text, UserWarning, stacklevel=4)


def _move(path: Path, store: BufferedStore) -> None:
    """Write what was remembered in memory while a file could not be opened."""
    with _shared:
        remembered = _in_memory.pop(path, None)
    if remembered is None:
        return
    for step in remembered.steps(path.stem, LOCAL):
        key = StepKey(path.stem, step)
        found = remembered.find(key)
        if found is not None:
            store.finish(key, found.value, expires_at=found.expires_at)


def _held(found: Found) -> Held | None:
    location = found.value.get("location") if isinstance(found.value, dict) else None
    if not isinstance(location, str) or found.expires_at is None:
        return None
    return Held(location=location, expires_at=found.expires_at)
