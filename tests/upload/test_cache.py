"""The upload cache: one upload for many threads and processes, and what happens when its file cannot be used."""

import contextlib
import os
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from qwen_omni.upload.cache import Claim, Held, UploadCache, cache_key
from qwen_omni.work_store.sqlite import FileTransaction
from tests.support.processes import start
from tests.support.threads import in_threads
from tests.upload.conftest import BUCKET, KEYS, MODEL, operations, random_file

_PATIENCE = 110  # seconds; shorter than a claim that nobody renews, which is what nobody may wait for
KEY = cache_key(digest="d", store="s", account="a", model="m", form="mp4")
CHILD = """
import os, signal, sys
from pathlib import Path
from qwen_omni import OssCredentials, OssSettings, Settings
from qwen_omni.client import make_carrier
from qwen_omni.messages import MediaPayload
from qwen_omni.media.files.safe_open import version_of

endpoint, base_url, secret, folder, film, route, model, most = sys.argv[1:]

def told(progress):
    if progress.sent_bytes >= int(most):
        os.kill(os.getpid(), signal.SIGKILL)

with open(film, "rb") as file:
    version = version_of(file)
media = MediaPayload(path=Path(film), version=version, size_bytes=version.size, format="mp4", content_type="video/mp4")
oss = OssSettings(bucket="standin-media", endpoint=endpoint, region="cn-standin", prefix="ours",
                  credentials=OssCredentials.of("LTAIstandin00001", secret))
settings = Settings.load(api_key="sk-standin", base_url=base_url, oss=oss, cache_dir=Path(folder), on_upload=told)
print("ready", flush=True)
sys.stdin.readline()
print(make_carrier(settings).carry(media, route, model=model, name="film").upload.location)
"""
NEVER = 10**18


def child(standin, cache_dir: Path, film: Path, route="oss", *, dies_after=NEVER) -> subprocess.Popen:
    """Start a process that uploads when it is told to, and kills itself when so many bytes have arrived."""
    secret = KEYS["LTAIstandin00001"].secret
    return start(CHILD, standin.oss_endpoint, standin.base_url, secret, cache_dir, film, route, MODEL, dies_after)


def begin(*children: subprocess.Popen) -> None:
    """Wait until all have started, then let all of them upload."""
    for one in children:
        assert one.stdout.readline() == "ready\n"
    for one in children:
        one.stdin.write("\n")
        one.stdin.flush()


def let_go(*children: subprocess.Popen) -> list[str]:
    begin(*children)
    return [one.communicate(timeout=_PATIENCE)[0].strip() for one in children]


@pytest.mark.parametrize("route", ["oss", "temporary"])
def test_twenty_threads_upload_once(standin, carrier, film, route):
    """Twenty threads that send the same file at once make one upload and get the same object."""
    one, media, start = carrier(), film(3 * 2**20), threading.Barrier(20)

    def send():
        start.wait()
        return one.carry(media, route, model=MODEL, name="x").upload.location

    assert len(set(in_threads(*[send] * 20))) == 1
    assert operations(standin) == {"oss": ["put"], "temporary": ["get_policy", "post_form"]}[route]


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("route", "processes"), [("oss", 4), ("temporary", 2)])
def test_processes_upload_once(standin, tmp_path, route, processes):
    """Processes that send the same file at once make one upload and get the same object."""
    path = random_file(tmp_path / "film.mp4", 3 * 2**20)

    found = let_go(*[child(standin, tmp_path / "cache", path, route) for _ in range(processes)])

    assert len(set(found)) == 1
    assert found[0]
    assert operations(standin) == {"oss": ["put"], "temporary": ["get_policy", "post_form"]}[route]


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_upload_goes_on_after_kill_9(standin, tmp_path):
    """A process killed in the middle of 64 MB costs only the parts in flight; the next one waits for nobody."""
    path = random_file(tmp_path / "film.mp4", 64 * 2**20)
    killed = child(standin, tmp_path / "cache", path, dies_after=20 * 2**20)
    begin(killed)
    killed.communicate(timeout=_PATIENCE)
    assert killed.returncode == -signal.SIGKILL
    while sum(call.status == 200 for call in standin.stores.calls) < 1 + 5:
        time.sleep(0.01)
    before = operations(standin)
    assert "complete" not in before
    kept = sum(call.operation == "part" and call.status == 200 for call in standin.stores.calls)
    assert 5 <= kept < 16

    let_go(child(standin, tmp_path / "cache", path))

    after = operations(standin)[len(before) :]
    assert [name for name in after if name != "part"] == ["list", "complete"]
    assert after.count("part") <= 16 - kept
    name = standin.stores.objects.names(BUCKET)[0]
    assert standin.stores.objects.get(BUCKET, name).sha256 in name


@pytest.mark.slow
def test_a_claim_ends(tmp_path):
    """A claim is one thread's; it ends when given up, or when its owner stands still; what was begun is handed on."""
    moves = [True]
    cache, other = UploadCache(tmp_path, lease_seconds=0.4), UploadCache(tmp_path)
    first = cache.look(KEY, alive=lambda: moves[0])
    assert isinstance(first, Claim)
    assert cache.look(KEY) is None
    cache.note(first, "upload-1")
    until = time.monotonic() + 1.5
    while time.monotonic() < until:  # long past the lease: its owner works on
        assert other.look(KEY) is None
        time.sleep(0.05)
    moves[0] = False

    while (second := other.look(KEY)) is None:
        time.sleep(0.05)

    assert second.resume == "upload-1"
    cache.give_up(first)  # no longer its owner
    assert UploadCache(tmp_path).look(KEY) is None
    other.give_up(second)
    assert cache.look(KEY).resume == "upload-1"


def test_what_is_there_is_held_until_it_ends_or_is_forgotten(tmp_path, monkeypatch):
    """A finished upload serves until it expires; forgetting names the location, so a newer one stays."""
    now = [1000.0]
    monkeypatch.setattr(FileTransaction, "now", staticmethod(lambda: now[0]))
    cache = UploadCache(tmp_path)
    cache.finish(cache.look(KEY), "place", 2000.0)
    assert cache.look(KEY) == Held(location="place", expires_at=2000.0)
    cache.forget(KEY, "older place")
    assert isinstance(cache.look(KEY), Held)
    cache.forget(KEY, "place")
    assert isinstance(cache.look(KEY), Claim)
    cache.finish(Claim(key=KEY, resume=None), "place", 2000.0)
    now[0] = 2001.0
    assert isinstance(cache.look(KEY), Claim)


def test_keys_tell_apart_what_must_be_apart():
    """Content, store, account, model and format each make another key, and none can be read from it."""
    fixed = {"digest": "d", "store": "s", "account": "a", "model": "m", "form": "f"}
    keys = {cache_key(**{**fixed, name: "other"}) for name in fixed} | {cache_key(**fixed)}
    assert len(keys) == 6
    assert all(re.fullmatch(r"[0-9a-f]{64}", key) for key in keys)


def use_twice(one, media):
    with pytest.warns(UserWarning, match=r"upload cache .*(cannot be used|damaged).*QWEN_OMNI_CACHE_DIR"):
        first = one.carry(media, "temporary", model=MODEL, name="x")
    return first, one.carry(media, "temporary", model=MODEL, name="x")


def test_a_folder_that_cannot_be_made(standin, carrier, film, tmp_path):
    """Where the cache's folder is impossible, uploads work, with one warning, and are remembered in memory."""
    (tmp_path / "file").write_text("x")

    first, second = use_twice(carrier(cache_dir=tmp_path / "file" / "cache"), film(1000))

    assert first.url == second.url
    assert operations(standin).count("post_form") == 1


@contextlib.contextmanager
def read_only(folder: Path):
    """Make a folder that nobody may write, the super-user neither, where the system can."""
    folder.mkdir()
    if os.geteuid() != 0:
        folder.chmod(0o500)
        yield folder
        folder.chmod(0o700)
        return
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", folder], check=False,
                             capture_output=True)  # fmt: skip
    if mounted.returncode:
        pytest.skip("no folder is read-only for the super-user, and mounting is not allowed here")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


def test_a_read_only_folder(standin, carrier, film, tmp_path):
    """On a read-only file system uploads work, with one warning."""
    with read_only(tmp_path / "fixed") as folder:
        first, second = use_twice(carrier(cache_dir=folder), film(1000))

    assert first.url == second.url
    assert operations(standin).count("post_form") == 1


FULL = """
import resource, signal, sys, warnings
from pathlib import Path
from qwen_omni.upload.cache import UploadCache

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
cache = UploadCache(Path(sys.argv[1]))
cache.finish(cache.look("first"), "place", 1e12)
with warnings.catch_warnings(record=True) as told:
    warnings.simplefilter("always")
    resource.setrlimit(resource.RLIMIT_FSIZE, (64, resource.RLIM_INFINITY))  # from now on nothing can be written
    claim = cache.look("second")
    cache.finish(claim, "other place", 1e12)
    print(len(told), cache.look("second").location)
"""


def test_a_full_disk(tmp_path):
    """When the disk is full the cache goes on in memory, with one warning, and what it had written is not damaged."""
    done = subprocess.run([sys.executable, "-c", FULL, tmp_path], capture_output=True, text=True, check=True)

    assert done.stdout == "1 other place\n"
    assert UploadCache(tmp_path).look("first") == Held(location="place", expires_at=1e12)


def test_a_damaged_file(standin, carrier, film, tmp_path):
    """A cache file that is no database costs a warning."""
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "uploads.sqlite3").write_bytes(os.urandom(5000))

    first, second = use_twice(carrier(cache_dir=tmp_path / "odd"), film(1000))

    assert first.url == second.url
