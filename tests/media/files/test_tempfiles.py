"""A machine that lacks something is named as what it is: never the user's file, and nothing half is left behind."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import av
import pytest
from PIL import Image

from qwen_omni.errors import ConfigurationError, LocalResourceError, UnreadableMediaError
from qwen_omni.media.budget import EFFORTS, MediaBudget
from qwen_omni.media.files import tempfiles as temporary
from qwen_omni.media.files.store import keep
from qwen_omni.media.files.tempfiles import Scratch, machine_fault
from qwen_omni.media.prepare import prepare, split
from qwen_omni.media.probe import container, probe
from tests.support import making

CHILD = """
import json, os, resource, sys
from pathlib import Path
from qwen_omni.media.budget import MediaBudget
from qwen_omni.media.prepare import prepare
import qwen_omni.media.analysis, qwen_omni.media.encode.video, qwen_omni.media.encode.images
import qwen_omni.media.probe.av, qwen_omni.media.probe.image

limit, most, folder, *names = sys.argv[1:]
budget = MediaBudget(long_side=640, short_side=480)
prepare(Path(folder) / "first.png", budget=budget).close()  # all modules are there before the limit
if limit != "TMPDIR":
    used = len(os.listdir("/proc/self/fd")) if limit == "NOFILE" else 0
    kind = getattr(resource, "RLIMIT_" + limit)
    resource.setrlimit(kind, (used + int(most), resource.getrlimit(kind)[1]))
told = {}
for name in names:
    try:
        prepare(Path(folder) / name, budget=budget).close()
    except Exception as error:
        told[name] = type(error).__name__, getattr(error, "resource", None), str(error)
resource.setrlimit(resource.RLIMIT_NOFILE, (1024, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
left = sorted(path.name for path in Path(os.environ["TMPDIR"]).glob("qwen-omni-*/0*"))
print(json.dumps({"told": told, "left": left}))
"""
MEDIA = {"film.mp4": "encode", "film.mkv": "remux", "talk.wav": "audio", "picture.png": "image"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    made = tmp_path_factory.mktemp("media")
    (made / "first.png").write_bytes(making.picture("PNG", (800, 600)))
    (made / "picture.png").write_bytes(noise())
    (made / "film.mp4").write_bytes(making.video("mp4", "libx264", 2, size=(800, 600)))
    (made / "film.mkv").write_bytes(making.video("matroska", "libx264", 4, size=(320, 240)))
    (made / "talk.wav").write_bytes(making.wav(20, 2))
    return made


NO_SPACE = OSError(errno.ENOSPC, "No space left on device")


def noise() -> bytes:
    """Return a picture whose JPEG is larger than a small limit."""
    return making.saved(Image.effect_noise((800, 600), 80).convert("RGB"))


def limited(limit: str, most: int, folder: Path, place: Path, *names: str) -> dict:
    done = subprocess.run(
        [sys.executable, "-c", CHILD, limit, str(most), str(folder), *names],
        capture_output=True, text=True, check=False, env={**os.environ, "TMPDIR": str(place)},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
@pytest.mark.slow
def test_a_file_size_limit(folder, tmp_path):
    """The limit and its number are told for every way that a file is made, and no partial file stays."""
    found = limited("FSIZE", 300, folder, tmp_path, *MEDIA)
    assert set(found["told"]) == set(MEDIA)
    for name, (kind, lacking, text) in found["told"].items():
        assert (kind, lacking) == ("LocalResourceError", "file size"), (name, kind, text)
        assert "300 bytes" in text
        assert "damaged" not in text
    assert found["left"] == []


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")
def test_too_many_open_files(folder, tmp_path):
    """The number of files that may be open is told."""
    found = limited("NOFILE", 0, folder, tmp_path, *MEDIA)
    assert set(found["told"]) == set(MEDIA)
    for name, (kind, lacking, text) in found["told"].items():
        assert (kind, lacking) == ("LocalResourceError", "open files"), (name, kind, text)
        assert "ulimit -n" in text


@pytest.fixture
def tiny(tmp_path):
    """A disk of 128 kB, where that can be mounted."""
    place = tmp_path / "tiny"
    place.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(place)]
    if not sys.platform.startswith("linux") or subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("no small disk can be mounted here")
    yield place
    subprocess.run(["umount", str(place)], check=True)


@pytest.mark.slow
def test_a_full_disk(folder, tiny):
    """How much is free and where, and TMPDIR as the way out; the folder is as empty as before."""
    (tiny / "full").write_bytes(bytes(120 * 1024))
    found = limited("TMPDIR", 0, folder, tiny, "film.mp4", "film.mkv", "talk.wav", "picture.png")
    assert "picture.png" in found["told"]
    for name, (kind, lacking, text) in found["told"].items():
        assert (kind, lacking) == ("LocalResourceError", "disk"), (name, kind, text)
        assert "bytes free" in text
        assert "TMPDIR" in text
    assert found["left"] == []


@pytest.mark.parametrize("effort", ["", "veryfst", "Fast", "8", None])
def test_an_effort_that_is_none(effort):
    """Refused where it enters, with the words that are known."""
    with pytest.raises(ConfigurationError, match=r"effort must be one of ultrafast, .*placebo, got "):
        MediaBudget(effort=effort)


def test_every_effort_is_known_to_the_encoder(tmp_path):
    source = tmp_path / "film.mp4"
    source.write_bytes(making.video("mp4", "mpeg4", 1, size=(64, 48)))
    for effort in EFFORTS:
        with prepare(source, budget=MediaBudget(effort=effort, fps=2)) as made:
            assert made.info.video_codec == "h264"


@pytest.mark.parametrize(
    ("error", "lacking"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), "disk"),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), "disk"),
        (OSError(errno.EFBIG, "File too large"), "file size"),
        (OSError(errno.EMFILE, "Too many open files"), "open files"),
        (OSError(errno.ENFILE, "Too many open files in system"), "open files"),
        (OSError(errno.EROFS, "Read-only file system"), "permission"),
        (MemoryError(), "memory"),
        (RuntimeError("can't start new thread"), "threads"),
        (TypeError("open() got an unexpected keyword argument 'metadata_errors'"), "library"),
        (TypeError("encode() takes exactly 1 positional argument (2 given)"), "library"),
        (AttributeError("module 'av' has no attribute 'AudioResampler'"), "library"),
        (ImportError("cannot import name 'Discard' from 'av.stream'"), "library"),
    ],
)
@pytest.mark.parametrize("name", ["film.mp4", "talk.wav", "film.mkv"])
def test_whatever_it_is(folder, monkeypatch, error, lacking, name):
    """Raised anywhere below, it is never told as a damaged file."""
    failing = Mock(side_effect=error)
    monkeypatch.setattr(container.av, "open", failing)
    monkeypatch.setattr(probe, "_inspected", {})  # otherwise the file is not opened again
    with pytest.raises(LocalResourceError) as found:
        prepare(folder / name)
    assert found.value.resource == lacking
    assert "damaged" not in str(found.value)
    monkeypatch.undo()
    monkeypatch.setattr("qwen_omni.media.encode.video.remux", failing)
    monkeypatch.setattr("qwen_omni.media.encode.video.make_video", failing)
    monkeypatch.setattr("qwen_omni.media.encode.audio.add_audio", failing)
    with pytest.raises(LocalResourceError) as found:
        prepare(folder / name, budget="static")
    assert found.value.resource == lacking


def test_a_picture_that_cannot_be_written(folder, monkeypatch):
    monkeypatch.setattr(Image.Image, "save", Mock(side_effect=NO_SPACE))
    with pytest.raises(LocalResourceError, match="No space left"):
        prepare(folder / "picture.png", budget=MediaBudget(long_side=640, short_side=480))


def test_damage_stays_damage(tmp_path):
    """A damaged file is not blamed on the machine, whatever number FFmpeg gives it."""
    for number in (errno.EIO, errno.EPERM, errno.ENOMEM, errno.EACCES, errno.EINVAL):
        assert machine_fault(av.error.FFmpegError(number, "x"), "read it") is None
    path = tmp_path / "film.mp4"
    whole = making.video("mp4", "mpeg4", 1)
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UnreadableMediaError):
        prepare(path)


def test_a_folder_that_another_process_removes(tmp_path, monkeypatch):
    """Between making the folder and locking it, others may take it for abandoned: another one is made."""
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    taken, lock = [], temporary._lock

    def swept(path):
        if len(taken) < 3:
            taken.append(path)
            path.touch()
            temporary._sweep(tmp_path)
        return lock(path)

    monkeypatch.setattr(temporary, "_lock", swept)
    own = Scratch()
    path = own.new_path(".mp4")
    path.write_bytes(b"x")
    assert len(taken) == 3
    temporary._sweep(tmp_path)
    assert path.read_bytes() == b"x"
    own.remove()
    assert not path.parent.exists()


def test_temporary_files_without_a_place(tmp_path, monkeypatch):
    """No folder can be made: which, why and what to set."""
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "file"))
    with pytest.raises(LocalResourceError, match="TMPDIR") as found:
        Scratch().new_path(".mp4")
    assert found.value.resource == "folder"


# In a process of its own: only there is every thread at the fork known.
FORKING = """
import faulthandler, gc, os, sys, warnings
import av
from qwen_omni.media.files import tempfiles
from qwen_omni.media.prepare import prepare
warnings.simplefilter("ignore", DeprecationWarning)
gc.disable()

def forked(work):
    pid = os.fork()
    if pid == 0:
        faulthandler.dump_traceback_later(30, exit=True)
        work()
        gc.collect()
        tempfiles.scratch.remove()
        os._exit(0)
    assert os.waitpid(pid, 0)[1] == 0
"""
REMOVING = f"""
{FORKING}
prepared = prepare(sys.argv[1], budget="static")

def child():
    global prepared
    prepared.close()
    prepared.__exit__()
    del prepared

forked(child)
assert len(prepared.read()) == prepared.info.size_bytes
prepared.close()
assert not prepared.path.exists()
"""
COLLECTING = f"""
{FORKING}
prepare(sys.argv[1], budget="static").close()  # loads the decoders
with av.open(sys.argv[1]) as film:
    film.streams.video[0].thread_type = "AUTO"
    film.streams.video[0].codec_context.thread_count = 4
    next(film.decode(video=0))
    cycle = [film.streams.video[0].codec_context]
    cycle.append(cycle)
del film, cycle
forked(lambda: None)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are not forked here")
@pytest.mark.parametrize(("code", "name"), [(REMOVING, "talk.wav"), (REMOVING, "film.mp4"), (COLLECTING, "film.mp4")])
def test_a_forked_child_leaves_what_is_its_parents(folder, code, name):
    """Whether it closes, forgets, collects garbage or exits: the file is its parent's, and so are decoders' threads.

    A decoder waits for its threads when it is freed, and a child has none of them.
    """
    command = [sys.executable, "-c", code, folder / name]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_kept_media(tmp_path, monkeypatch):
    """A full disk is told as such, and nothing half is kept."""

    def full(*_arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("qwen_omni.media.files.store.os.fsync", full, raising=False)
    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(LocalResourceError, match="No space left"):
        keep(b"some bytes", tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_segment(folder, monkeypatch):
    """What `split` makes on threads fails alike."""
    monkeypatch.setattr("qwen_omni.media.encode.audio.add_audio", Mock(side_effect=NO_SPACE))
    with pytest.raises(LocalResourceError, match="No space left"):
        list(split(folder / "talk.wav", seconds=8))
