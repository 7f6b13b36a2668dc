"""Every example runs as its docstring says: with `--offline` alone, and without it on the service that is named."""

import csv
import json
import re
import runpy
import shutil
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import get_args

import pytest

from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import make_audio, make_image, make_video
from tests.support.own_server import answer, own_server

FOLDER = Path(__file__).parents[2] / "examples"
sys.path.append(str(FOLDER))
import _cli as example  # noqa: E402
from _cli import start  # noqa: E402

EXAMPLES = sorted(path for path in FOLDER.glob("*/*.py") if path.name != "_start.py")
WITHOUT = () if find_spec("llama_index") else ("llama_index",)  # its dependencies are a group of their own
NO_LIBRARY = find_spec("lancedb") is None
RUNNING = [
    pytest.param(
        path,
        marks=[
            pytest.mark.skipif(path.parent.name in WITHOUT, reason="llama-index-core is not installed"),
            pytest.mark.skipif(path.name == "library.py" and NO_LIBRARY, reason="lancedb is not installed"),
        ],
    )
    for path in EXAMPLES
]
IDS = [str(path.relative_to(FOLDER)) for path in EXAMPLES]
OWN = ("own_bucket.py", "spend_limit.py", "batch_captions.py", "video_rag.py", "index_folder.py", "pipeline.py")
"""Examples with tests of their own, below, which ask the service of the environment, too."""
old_names = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # LlamaIndex's agents use old names of pydantic
NEEDS = {  # by the name of an example, in whichever folder; all others take one video
    "speech.py": ["audio"], "transcribe.py": ["audio"], "paraformer_or_omni.py": ["audio"],
    "video_rag.py": ["folder"], "index_folder.py": ["folder"], "core/archive.py": ["folder"], "library.py": ["folder"],
    "langchain/agent.py": ["folder"],
    "mixed_media.py": ["image", "audio", "video"], "batch_captions.py": ["video", "video"],
}  # fmt: skip


def named(path):
    return str(path.relative_to(FOLDER))


@pytest.fixture
def run(monkeypatch, tmp_path, capsys):
    """Run an example in an empty folder, as `python FILE ARGUMENTS` does; gives what it printed."""
    monkeypatch.chdir(tmp_path)

    def running(path, *arguments):
        monkeypatch.setattr(sys, "argv", [str(path), *map(str, arguments)])
        monkeypatch.syspath_prepend(path.parent)
        runpy.run_path(str(path), run_name="__main__")
        return capsys.readouterr()

    return running


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Media as a user may name them, and the codes in them."""
    folder = tmp_path_factory.mktemp("mine")
    (folder / "photo.jpg").write_bytes(make_image("4712", image_format="JPEG"))
    film = make_video(folder / "promo.mp4", seconds=3, size=(320, 180))
    other = make_video(folder / "other.mp4", seconds=2, size=(320, 180))
    sound = make_audio(folder / "call.wav", seconds=2)
    made = {
        "image": [folder / "photo.jpg"], "audio": [sound.path], "video": [film.path, other.path], "folder": [folder],
    }  # fmt: skip

    def wanted(path):
        kinds = NEEDS.get(named(path)) or NEEDS.get(path.name) or ["video"]
        return [made[kind][kinds[:at].count(kind)] for at, kind in enumerate(kinds)]

    return wanted, ("4712", *film.codes, *other.codes, *sound.codes)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """What examples make for themselves, made once for all of them."""
    return tmp_path_factory.mktemp("kept")


@pytest.fixture
def made_once(kept, monkeypatch):
    """Let examples find the media made that they ask for."""
    make = example._made

    def copy(kind, path):
        before = next(kept.glob(f"{path.name}*"), None) or make(kind, kept / path.name)
        return Path((shutil.copytree if before.is_dir() else shutil.copy)(before, path.parent / before.name))

    monkeypatch.setattr(example, "_made", copy)


@pytest.mark.slow
@old_names
@pytest.mark.parametrize("path", RUNNING, ids=IDS)
def test_it_runs_offline(path, run, tmp_path, made_once):
    """No key, no file, no network: it makes media, asks the stand-in, and shows or writes what it saw in the media."""
    done = run(path, "--offline")
    assert "It is not Qwen" in done.err
    assert done.out
    shown = done.out + "".join(table.read_text(encoding="utf-8") for table in tmp_path.glob("*.csv"))
    assert re.search(r"\b\d{4}\b", shown), "a code out of the media"
    if path.name == "video_rag.py":  # of three videos the one with the number is found, and asked again
        assert "garden.mp4" in done.out.splitlines()[0]
        assert all(code in done.out.splitlines()[-1] for code in ("4710", "4711", "4712", "4713"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", get_args(example.Kind))
def test_media_are_made(kind, tmp_path):
    """Each kind of media is made, as a file that is there or a folder with videos, and again without being asked."""
    made = example._made(kind, tmp_path / "0")
    assert made.parent == tmp_path
    assert len(list(made.glob("*.mp4"))) == 3 if kind == "folder" else made.stat().st_size > 1000


@pytest.mark.slow
@old_names
@pytest.mark.parametrize("path", [one for one in RUNNING if one.values[0].name not in OWN], ids=named)
def test_it_asks_the_service_of_the_environment(path, run, files):
    """Without `--offline` it goes where key and address lead, with the files that are named; so with a real key."""
    wanted, codes = files
    with Standin().environment() as standin:
        done = run(path, *wanted(path))
    assert told(standin, done) & set(codes)
    assert "It is not Qwen" not in done.err


def told(standin, done):
    """The codes that were in what was sent, or, since what is transcribed is no request of a chat, in what came out."""
    media = [facts for request in standin.requests for facts in request.media]
    seen = {code for facts in media for code in (*facts.picture_codes, *facts.sound_codes)}
    return seen | set(re.findall(r"\b\d{4}\b", done.out))


def of_both(name):
    """Run a test with the examples of a name of both frameworks."""
    chosen = [one for one in RUNNING if one.values[0].name == name and one.values[0].parent.name != "core"]
    assert len(chosen) == 2
    return pytest.mark.parametrize("path", chosen, ids=lambda path: path.parent.name)


@pytest.mark.parametrize("kind", ["transformers", pytest.param("vllm", marks=pytest.mark.slow)])
@of_both("self_hosted.py")
def test_it_asks_a_server_of_ones_own(path, kind, run, files, monkeypatch):
    """It finds out what the server is, sends what that server takes, and prints its recorded answer."""
    wanted, _ = files
    with own_server(kind) as server:
        for name, value in (("BASE_URL", server.url), ("API_KEY", "none")):
            monkeypatch.setenv(f"DASHSCOPE_{name}", value)
        monkeypatch.setenv("QWEN_OMNI_MODEL", "qwen2.5-omni-7b")
        done = run(path, *wanted(path))
    pieces = [json.loads(line[6:]) for line in answer(f"{kind}_stream.txt").decode().splitlines() if "content" in line]
    assert done.out.strip() == "".join(one["choices"][0]["delta"].get("content") or "" for one in pieces).strip() != ""
    assert "/v1/models" in server.asked
    (body,) = server.bodies
    assert not {"mm_processor_kwargs", "media_io_kwargs"} & set(body)


@pytest.mark.parametrize("path", EXAMPLES, ids=named)
def test_it_is_short_and_listed(path):
    """Under 60 lines, says how to run it, and is in the index."""
    text = path.read_text(encoding="utf-8")
    assert len(text.splitlines()) < 60
    assert f"python examples/{named(path)} [" in text
    assert f"({named(path)})" in (FOLDER / "README.md").read_text(encoding="utf-8")


def test_no_example_imports_the_stand_in():
    """It is started in one place, so that an example holds nothing but what its reader will write."""
    assert [named(path) for path in EXAMPLES if "qwen_omni.standin" in path.read_text(encoding="utf-8")] == []


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


@pytest.mark.slow
@of_both("batch_captions.py")
def test_one_that_fails_does_not_end_the_others(path, run, files):
    """The table has a row for every file, with its caption or its error."""
    wanted, codes = files
    with Standin().environment() as standin:
        refused = Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content.")
        standin.script.fault(refused)
        run(path, *wanted(path))
    rows = list(csv.DictReader(Path("captions.csv").read_text(encoding="utf-8").splitlines()))
    assert [Path(row["file"]).name for row in rows] == ["promo.mp4", "other.mp4"]
    assert sorted(bool(row["error"]) for row in rows) == [False, True]
    assert any(code in row["scene_description"] for row in rows for code in codes)


@of_both("own_bucket.py")
def test_the_bucket_is_used_once(path, run, files):
    """Two questions, one upload, and the service is given links."""
    wanted, codes = files
    with Standin().environment(bucket=True) as standin:
        done = run(path, *wanted(path))
        operations = [call.operation for call in standin.stores.calls]
    assert len(standin.requests) == 2
    assert told(standin, done) & set(codes)
    assert operations.count("put") == 1, operations
    first, second = (
        next(part["video_url"]["url"] for part in request.body["messages"][0]["content"] if "video_url" in part)
        for request in standin.requests
    )
    assert first.partition("?")[0] == second.partition("?")[0] != ""


@pytest.mark.slow
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


KEPT_IN_STEP = {
    "langchain/index_folder.py": ("again: 0 added, ", 3),  # two videos and a recording
    "llama_index/pipeline.py": ("the same again: True", 2),
}


@pytest.mark.parametrize("path", [one for one in RUNNING if named(one.values[0]) in KEPT_IN_STEP], ids=named)
@pytest.mark.slow
def test_an_index_is_kept_in_step(path, run, files):
    """Each file is asked about once, and the second run changes nothing."""
    wanted, codes = files
    with Standin().environment() as standin:
        done = run(path, *wanted(path))
    said, requests = KEPT_IN_STEP[named(path)]
    assert said in done.out
    assert told(standin, done) & set(codes)
    assert len(standin.requests) == requests


@of_both("spend_limit.py")
def test_the_limit_refuses_and_the_ledger_counts(path, run, files):
    """One answer is paid; what is refused is never sent."""
    wanted, codes = files
    with Standin().environment() as standin:
        done = run(path, *wanted(path))
        assert len(standin.requests) == 1
    assert told(standin, done) & set(codes)
    assert "Nothing was sent." in done.out
    assert "1 calls" in done.out


@pytest.mark.slow
def test_a_page_is_written_and_paid_once(run, tmp_path):
    """The page holds every second's number; the second run of a long video costs nothing."""
    film = make_video(tmp_path / "film.mp4", seconds=36, size=(160, 90), fps=5)
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
    assert "expected at most 1 files, got 2" in capsys.readouterr().err
