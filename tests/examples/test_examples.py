"""Every example runs as its docstring says: with `--offline` alone, and without it on the service that is named."""

import csv
import re
import runpy
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.example import start
from qwen_omni.standin.truth import make_audio, make_image, make_video

FOLDER = Path(__file__).parents[2] / "examples"
EXAMPLES = sorted(path for path in FOLDER.glob("*/*.py"))
WITHOUT = () if find_spec("llama_index") else ("llama_index",)  # its dependencies are a group of their own
RUNNING = [
    pytest.param(
        path, marks=pytest.mark.skipif(path.parent.name in WITHOUT, reason="llama-index-core is not installed")
    )
    for path in EXAMPLES
]
each_running = pytest.mark.parametrize("path", RUNNING, ids=[str(path.relative_to(FOLDER)) for path in EXAMPLES])
old_names = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use old names of pydantic
NEEDS = {
    "langchain/speech.py": ["audio"], "core/transcribe.py": ["audio"], "core/paraformer_or_omni.py": ["audio"],
    "langchain/video_rag.py": ["folder"], "langchain/agent.py": ["folder"],
    "langchain/mixed_media.py": ["image", "audio", "video"], "core/batch_captions.py": ["video", "video"],
}  # fmt: skip


def named(path):
    return str(path.relative_to(FOLDER))


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run an example in an empty folder, as `python FILE ARGUMENTS` does; gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def running(path, *arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr()

    return running


@pytest.fixture
def files(tmp_path):
    """Media as a user may name them, and the codes in them."""
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "photo.jpg").write_bytes(make_image("4712", image_format="JPEG"))
    film = make_video(folder / "promo.mp4", seconds=3, size=(320, 180))
    other = make_video(folder / "other.mp4", seconds=2, size=(320, 180))
    sound = make_audio(folder / "call.wav", seconds=2)
    made = {
        "image": [folder / "photo.jpg"], "audio": [sound.path], "video": [film.path, other.path], "folder": [folder],
    }  # fmt: skip

    def wanted(path):
        kinds = NEEDS.get(named(path), ["video"])
        return [made[kind][kinds[:at].count(kind)] for at, kind in enumerate(kinds)]

    return wanted, ("4712", *film.codes, *other.codes, *sound.codes)


@old_names
@each_running
def test_it_runs_offline(path, run, tmp_path):
    """No key, no file, no network: it makes media, asks the stand-in, and shows or writes what it saw in the media."""
    done = run(path, "--offline")
    assert "It is not Qwen" in done.err
    assert done.out
    shown = done.out + "".join(table.read_text(encoding="utf-8") for table in tmp_path.glob("*.csv"))
    assert re.search(r"\b\d{4}\b", shown), "a code out of the media"


@old_names
@each_running
def test_it_asks_the_service_of_the_environment(path, run, files):
    """Without `--offline` it goes where key and address lead, with the files that are named; so with a real key."""
    wanted, codes = files
    with Standin().environment(bucket=True) as standin:
        done = run(path, *wanted(path))
    seen = {code for request in standin.requests for facts in request.media for code in facts.picture_codes}
    heard = {code for request in standin.requests for facts in request.media for code in facts.sound_codes}
    told = set(re.findall(r"\b\d{4}\b", done.out))  # what is transcribed is no request of a chat
    assert (seen | heard | told) & set(codes)
    assert "It is not Qwen" not in done.err


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_it_is_short_and_listed(path):
    """Under 60 lines, says how to run it, and is in the index."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"python examples/{named(path)} [" in text
    assert f"({named(path)})" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_the_index_lists_nothing_else():
    """Each link of the index leads to a file."""
    links = re.findall(r"\]\(([^)]+)\)", (FOLDER / "README.md").read_text(encoding="utf-8"))
    assert sorted(links) == sorted(named(path) for path in (*EXAMPLES, *FOLDER.glob("notebooks/*.ipynb")))


def test_captions_become_a_table_and_are_paid_once(run, files):
    """A second run asks for what failed in the first, and for nothing else."""
    wanted, _ = files
    path = FOLDER / "core" / "batch_captions.py"
    with Standin().environment() as standin:
        refused = Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content.")
        standin.script.fault(refused)
        run(path, *wanted(path))
        assert len(standin.requests) == 2
        rows = list(csv.DictReader(Path("captions.csv").read_text(encoding="utf-8").splitlines()))
        assert sorted(bool(row["error"]) for row in rows) == [False, True]
        again = run(path, *wanted(path))
        assert len(standin.requests) == 3
    assert again.out.count("known already") == 1
    rows = list(csv.DictReader(Path("captions.csv").read_text(encoding="utf-8").splitlines()))
    assert all(row["scene_description"] and not row["error"] for row in rows)


def test_the_bucket_is_used_once(run, files):
    """Two questions, one upload, and the service is given links."""
    wanted, _ = files
    path = FOLDER / "langchain" / "own_bucket.py"
    with Standin().environment(bucket=True) as standin:
        run(path, *wanted(path))
        operations = [call.operation for call in standin.stores.calls]
    assert len(standin.requests) == 2
    assert operations.count("put") == 1, operations
    (first, second) = (request.body["messages"][0]["content"][0]["video_url"]["url"] for request in standin.requests)
    assert first.partition("?")[0] == second.partition("?")[0] != ""


def test_a_folder_is_indexed_once(run, files):
    """The second run finds the same passage and sends one request: the closer question about it."""
    wanted, _ = files
    path = FOLDER / "langchain" / "video_rag.py"
    with Standin().environment() as standin:
        first = run(path, *wanted(path))
        sent = len(standin.requests)
        again = run(path, *wanted(path))
        assert len(standin.requests) == sent + 1 > 3
    assert again.out.splitlines()[0] == first.out.splitlines()[0]


def test_the_made_folder_is_searched(run):
    """The number is in one of three videos; that one is found, and asked again."""
    done = run(FOLDER / "langchain" / "video_rag.py", "--offline")
    assert "garden.mp4" in done.out.splitlines()[0]
    assert all(code in done.out.splitlines()[-1] for code in ("4710", "4711", "4712", "4713"))


def test_the_limit_refuses_and_the_ledger_counts(run, files):
    """One answer is paid; what is refused is never sent."""
    wanted, _ = files
    path = FOLDER / "langchain" / "spend_limit.py"
    with Standin().environment() as standin:
        done = run(path, *wanted(path))
        assert len(standin.requests) == 1
    assert "Nothing was sent." in done.out
    assert "1 calls" in done.out


def test_a_page_is_written_and_paid_once(run, tmp_path):
    """The page holds every second's number; the second run of a long video costs nothing."""
    film = make_video(tmp_path / "film.mp4", seconds=64, size=(160, 90), fps=5)
    path = FOLDER / "langchain" / "long_video.py"
    with Standin().environment() as standin:
        run(path, film.path)
        sent = len(standin.requests)
        again = run(path, film.path)
        assert len(standin.requests) == sent > 2
    assert "0 requests" in again.out
    page = Path("summary.html").read_text(encoding="utf-8")
    assert [code for code in film.codes if code not in page] == []


def test_too_many_files_are_wrong_use(monkeypatch, capsys):
    """A file that nothing would be done with is not ignored."""
    monkeypatch.setattr(sys, "argv", ["x", "a.mp4", "b.mp4"])
    with pytest.raises(SystemExit) as ended, start("Do.", "video"):
        pass
    assert ended.value.code == 2
    assert "2 files are given and 1 can be used" in capsys.readouterr().err
