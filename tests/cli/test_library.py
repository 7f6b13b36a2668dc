"""`qwen-omni library`: what is printed, written and paid for, over a store in memory."""

import json
import re
from pathlib import Path

import pytest

from qwen_omni.standin.marked_media import TruthMedia, make_video
from tests.support.memory_store import MemoryStore


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    folder = tmp_path_factory.mktemp("films")
    return [make_video(folder / f"film{n}.mp4", seconds=4, size=(128, 96), fps=4, seed=n) for n in range(2)]


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def stores(monkeypatch: pytest.MonkeyPatch, cache: Path) -> dict[str, MemoryStore]:
    """Libraries are folders whose rows are in memory, and notes are shared."""
    made: dict[str, MemoryStore] = {}

    def opened(place: Path) -> MemoryStore:
        Path(place).mkdir(exist_ok=True)
        return made.setdefault(str(place), MemoryStore())

    monkeypatch.setattr("qwen_omni.library.library.LanceStore", opened)
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))
    return made


def test_a_folder_is_added_searched_asked_and_removed(command, films, standin):
    folder, code = films[0].path.parent, films[1].codes[2]
    assert command("library", "add", folder)[:2] == (0, "library.lance: 2 added, 0 unchanged, 0 left out\n")
    standin.clear()
    assert command("library", "add", folder)[1] == "library.lance: 0 added, 2 unchanged, 0 left out\n"
    assert not standin.requests
    status, out, _ = command("library", "search", f"code {code}", "-k", 1)
    assert status == 0
    first, *lines = out.splitlines()
    assert re.fullmatch(rf"{re.escape(str(films[1].path))} 0:0\d-0:0\d", first)
    assert any(code in line for line in lines)
    status, out, err = command("library", "ask", f"When is code {code} shown?")
    assert status == 0
    assert f"{films[1].path} 0:02-0:03: [stand-in] code {code} is shown" in out
    assert "shots watched again" in err
    assert "CNY" in err
    assert command("library", "remove", films[0].path)[1] == f"{films[0].path}: 12 passages removed\n"
    status, _, err = command("library", "remove", films[0].path)
    assert status == 2
    assert "is not in the library library.lance, which has 1 video: film1.mp4." in err


@pytest.mark.slow
def test_json_has_files_and_times(command, films):
    added = json.loads(command("library", "add", films[0].path, "--json")[1])
    assert added == [
        {"file": str(films[0].path), "passages": 12, "embedded": 4, "removed": 0, "unchanged": False, "gaps": 0}
    ]
    (window,) = json.loads(command("library", "search", films[0].codes[1], "--json")[1])
    assert (window["file"], window["start"]) == (str(films[0].path), 0.0)
    answer = json.loads(command("library", "ask", f"When is {films[0].codes[1]} shown?", "--json")[1])
    assert answer["evidence"][0]["start"] == 1.0


@pytest.mark.slow
def test_a_page_shows_images_links_and_nothing_untrusted(command, films, tmp_path, standin):
    command("library", "add", films[0].path)
    question = f"When is {films[0].codes[1]} shown, <script>alert(1)</script>?"
    status, out, err = command("library", "search", question, "--html", "found.html")
    assert (status, out, err) == (0, "", "wrote found.html\n")
    page = (tmp_path / "found.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "script-src ;" in page.replace("script-src  ;", "script-src ;")
    assert page.count("data:image/jpeg;base64,") == 1
    link = re.search(r'href="([^"]+)#t=0,4"', page)[1]
    assert (tmp_path / link).resolve() == films[0].path.resolve()
    assert command("library", "ask", question, "--html", "answer.html")[0] == 0
    page = (tmp_path / "answer.html").read_text(encoding="utf-8")
    assert "shot watched again" in page
    assert "watched again</span>" in page
    assert 'class="answer"' in page
    assert "<script" not in page


def test_a_dry_run_watches_nothing(command, films, standin):
    command("library", "add", films[0].path)
    standin.clear()
    status, out, _ = command("library", "ask", "What is shown at the end?", "--dry-run")
    assert status == 0
    assert "film0.mp4, 0-4 s: " in out
    assert "at most" in out.splitlines()[-1]
    assert [request.path.rpartition("/")[2] for request in standin.requests] == ["embeddings"]


def test_the_limit_ends_looking_and_not_the_answer(command, films, standin):
    command("library", "add", films[0].path)
    standin.clear()
    status, out, err = command("library", "ask", "Which sign is first?", "--max-cny", 0.002)
    assert status == 0
    assert "Based on 0 of 1 shot watched again and the notes of 1. The spend limit did not allow another look." in err
    assert out.startswith("[stand-in]")
    assert not any(request.media for request in standin.requests)


def test_files_that_cannot_be_read_are_left_out(command, films, tmp_path):
    (tmp_path / "text.mp4").write_text("notes\n" * 40)
    status, out, err = command("library", "add", "text.mp4", films[0].path)
    assert (status, out) == (1, "library.lance: 1 added, 0 unchanged, 1 left out\n")
    assert "text.mp4 is not media" in err
    assert "Name one media file" not in err
    assert json.loads(command("library", "add", "text.mp4", films[0].path, "--json")[1])[0]["file"].endswith("text.mp4")
    assert command("library", "add", "text.mp4")[0] == 1
    assert command("library", "add", "gone.mp4")[0] == 1


def test_a_source_selects_videos(command, films):
    folder = films[0].path.parent
    command("library", "add", folder)
    for given, names in (
        (["--source", folder], {"film0", "film1"}),
        (["--source", films[0].path], {"film0"}),
        (["--source", f"{folder}/*1.mp4"], {"film1"}),
        (["--source", films[0].path, "--source", films[1].path], {"film0", "film1"}),
    ):
        status, out, _ = command("library", "search", "code", "-k", 9, *given, "--json")
        assert status == 0
        assert {Path(one["file"]).stem for one in json.loads(out)} == names
    status, out, _ = command("library", "ask", "What is shown?", "--source", films[1].path, "--dry-run")
    assert status == 0
    assert "film0" not in out
    for wrong in (["search", "x"], ["ask", "x"], ["ask", "x", "--dry-run"]):
        status, _, err = command("library", *wrong, "--source", "talks")
        assert status == 2
        assert "talks is not in the library library.lance, which has 2 videos: film0.mp4, film1.mp4." in err


def test_without_any_money_the_numbers_are_told(command, films, standin):
    command("library", "add", films[0].path)
    standin.clear()
    status, out, err = command("library", "ask", "Zebras?", "--max-cny", 0)
    assert (status, standin.requests) == (0, [])
    assert out.startswith("No passage shares a word with the question")
    assert "Embedding it may cost up to CNY" in err
    assert "holds nothing" not in out


def test_nothing_found_is_said(command, films, stores):
    command("library", "add", films[0].path)
    command("library", "remove", films[0].path)
    assert command("library", "search", "anything")[1] == "Nothing was found.\n"
    assert command("library", "ask", "Anything?")[1].startswith("The library holds nothing about this question.")


def test_agents_get_the_library_over_mcp(command, monkeypatch, films, tmp_path):
    pytest.importorskip("mcp")
    served = []

    async def serve(tools):
        served.extend(one.name for one in tools.definitions)

    monkeypatch.setattr("qwen_omni.tools.mcp_server.serve_stdio", serve)
    (tmp_path / "some.lance").mkdir()
    assert command("mcp", "--root", tmp_path, "--library", "some.lance")[0] == 0
    assert served[-2:] == ["search_videos", "ask_library"]


def test_a_library_of_another_embedding_is_refused_before_it_is_served(command, films, tmp_path, stores):
    pytest.importorskip("mcp")
    command("library", "add", films[0].path, "--embedding", "text-embedding-v3")
    status, _, err = command("mcp", "--root", tmp_path, "--library", "library.lance")
    assert status == 2
    assert "was made with the embedding text-embedding-v3" in err
    assert len(err.splitlines()) == 1
