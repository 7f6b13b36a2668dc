"""`qwen-omni caption`: many files, results kept, one failing alone."""

import base64
import contextlib
import csv
import functools
import io
import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pysrt
import pytest
from PIL import Image

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, MediaOutsideRootError
from qwen_omni.settings import Settings
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio, make_image, make_video
from qwen_omni.structured.batch import Results, caption_many
from qwen_omni.structured.models import VideoCaption
from tests.cli.conftest import RUN, Command, stop_at


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> list[TruthMedia]:
    folder = tmp_path_factory.mktemp("videos")
    return [make_video(folder / f"{name}.mp4", seconds=2, size=(160, 120), fps=5) for name in ("one", "two", "three")]


def make_animation(path: Path) -> None:
    frames = [Image.new("RGB", (320, 240), colour) for colour in ("red", "green", "blue")]
    frames[0].save(path, save_all=True, append_images=frames[1:], duration=400)


@pytest.fixture
def caption(command: Command) -> Command:
    """Run the command."""
    return functools.partial(command, "caption")


def test_a_result_for_every_file(caption, videos: list[TruthMedia], tmp_path: Path, standin: Standin) -> None:
    """One bad file does not end the others: they are printed in order, the bad one with its reason, status 1."""
    bad = tmp_path / "bad.mp4"
    bad.write_text("hello")
    status, out, err = caption(videos[0].path, bad, videos[1].path, tmp_path / "gone.mp4", "--json")
    told = json.loads(out)
    assert status == 1
    assert [entry["file"] for entry in told] == [
        str(videos[0].path),
        str(bad),
        str(videos[1].path),
        str(tmp_path / "gone.mp4"),
    ]
    assert videos[0].codes[0] in told[0]["caption"]["scene_description"]
    assert "not media" in told[1]["error"]
    assert told[3]["kind"] == "UnreadableMediaError"
    assert "4/4" in err
    assert len(standin.requests) == 2


def test_an_option_applies_to_the_files_that_it_suits(
    caption, videos: list[TruthMedia], tmp_path: Path, standin: Standin
) -> None:
    """The others are described without it, and a note names the first of each kind; the caption is stored as theirs."""
    for name in ("still.png", "other.png"):
        (tmp_path / name).write_bytes(make_image("4711", (320, 240)))
    shutil.copy(make_audio(tmp_path / "call.wav", seconds=2).path, tmp_path / "talk.wav")
    files = (videos[0].path, "still.png", "other.png", "call.wav", "talk.wav")
    status, out, err = caption(*files, "--fps", "2", "--max-pixels", "40000", "--json")
    assert status == 0
    assert [one["file"] for one in json.loads(out)] == [str(one) for one in files]
    notes = [line for line in err.splitlines() if "does not apply" in line]
    shown = {re.sub(r"(other|still)\.png", "IMAGE", re.sub(r"(call|talk)\.wav", "AUDIO", line)) for line in notes}
    assert shown == {
        "--fps does not apply to IMAGE: it and any other image are described without it.",
        "--fps does not apply to AUDIO: it and any other recording are described without it.",
        "--max-pixels does not apply to AUDIO: it and any other recording are described without it.",
    }
    assert len(notes) == len(shown)
    sent = [json.dumps(one.body) for one in standin.requests]
    assert {('"fps"' in one, '"max_pixels"' in one) for one in sent if '"image_url"' in one} == {(False, True)}
    assert {('"fps"' in one, '"max_pixels"' in one) for one in sent if '"input_audio"' in one} == {(False, False)}
    assert {('"fps"' in one, '"max_pixels"' in one) for one in sent if '"video_url"' in one} == {(True, True)}
    before = len(standin.requests)
    assert caption("call.wav")[0] == 0
    assert len(standin.requests) == before


def test_a_frame_is_chosen_from_the_files_that_have_some(
    caption, command: Command, videos: list[TruthMedia], tmp_path: Path, standin: Standin
) -> None:
    """Videos are described as a whole beside an animation; so it is in a question about both."""
    make_animation(tmp_path / "moving.gif")
    status, out, err = caption(videos[0].path, "moving.gif", "--frame", "1", "--json")
    assert status == 0
    assert f"--frame does not apply to {videos[0].path}: it and any other video are described without it." in err
    assert len(json.loads(out)) == 2
    assert sorted("image_url" in json.dumps(one.body) for one in standin.requests) == [False, True]
    standin.clear()
    assert command("ask", videos[0].path, "moving.gif", "What?", "--frame", "1")[0] == 0
    (asked,) = [json.dumps(one.body) for one in standin.requests]
    assert "image_url" in asked
    assert "video_url" in asked


@pytest.mark.parametrize("name", ["caption", "transcribe"])
def test_no_signature_is_printed(command: Command, name: str) -> None:
    """Neither in the line of the file nor in its error."""
    status, _, err = command(name, "https://media.example/a.mp4?Signature=secret&Expires=9")
    assert status == 1
    assert "1/1 https://media.example/a.mp4?<query>: failed" in err
    assert "qwen-omni: https://media.example/a.mp4?<query>: the signed link expired" in err
    assert "secret" not in err


def test_nothing_is_paid_twice(caption, videos: list[TruthMedia], standin: Standin, tmp_path: Path) -> None:
    """Finished files are not asked again, under other names either; a changed question, model or --fresh asks."""
    paths = [video.path for video in videos]
    assert caption(*paths, "--json")[0] == 0
    first = caption(*paths, "--json")[1]
    copy = tmp_path / "copy.mp4"
    copy.write_bytes(paths[0].read_bytes())
    assert json.loads(caption(copy, "--json")[1])[0]["caption"] == json.loads(first)[0]["caption"]
    assert len(standin.requests) == 3
    for number, change in enumerate(
        (["--prompt", "x"], ["--language", "fr"], ["-m", "qwen3-omni-flash"], ["--fresh"], ["--fps", "1"], ["--timed"]),
        start=4,
    ):
        caption(paths[0], *change)
        assert len(standin.requests) == number, change


def stored(path: Path) -> list[dict[str, object]]:
    """Read the captions of a results file, as any other program would."""
    if not path.exists():
        return []
    with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as base:
        try:
            return [json.loads(value) for (value,) in base.execute("SELECT value FROM results")]
        except sqlite3.OperationalError:  # its tables are not made yet
            return []


@pytest.mark.parametrize("apart", [True, False], ids=["two results", "one results"])
@pytest.mark.slow
def test_two_batches_at_once_pay_once(
    videos: list[TruthMedia], standin: Standin, settings: Settings, tmp_path: Path, apart: bool
) -> None:
    """Each has every caption; what one is asking for, the other waits for, and goes on with the rest meanwhile."""
    standin.script.fault(Fault.slow(first_byte_delay=0.5), when=lambda _: True)
    paths = [str(video.path) for video in videos]
    shared = Results(tmp_path / "done.sqlite3")
    found: list[list[str]] = []
    heard: list[str] = []

    def batch(media: list[str]) -> None:
        results = Results(tmp_path / "done.sqlite3") if apart else shared
        with OmniClient(settings) as client:
            coming = caption_many(
                media, VideoCaption, client=client, concurrency=2, results=results, on_notice=heard.append
            )
            found.append(sorted(one.value.scene_description for one in coming))

    threads = [threading.Thread(target=batch, args=(media,)) for media in (paths, paths[::-1], [*paths, *paths])]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(standin.requests) == 3
    assert found[0] == found[1] or {*found[0]} == {*found[1]}
    assert len(found) == 3


def test_a_batch_that_waits_for_another_says_so(
    videos: list[TruthMedia], standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """Once, within two seconds, by name; and it takes over when the other gives up."""
    other = Results(tmp_path / "done.sqlite3")
    held = {"key": "", "told": 0.0}
    real = Results.claim

    class Watched(Results):
        def claim(self, key: str, origin: str = "local"):
            if not held["key"]:
                held["key"] = key
                assert real(other, key, origin) is None
            return super().claim(key, origin)

    def heard(text: str) -> None:
        notices.append(text)
        other.release(held["key"], settings.origin)

    notices: list[str] = []
    with OmniClient(settings) as client:
        results = Watched(tmp_path / "done.sqlite3")
        coming = caption_many([str(videos[0].path)], VideoCaption, client=client, results=results, on_notice=heard)
        (one,) = coming
    assert one.value is not None
    assert len(notices) == 1
    assert notices[0].startswith("Waiting for another run in this process, which asks for the caption of ")


def test_captions_of_the_stand_in_are_not_given_out_as_real(
    videos: list[TruthMedia], standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """Another server is asked itself, with the same file of results."""
    results = Results(tmp_path / "done.sqlite3")
    with Standin(keys=("sk-real",)) as other:
        real = Settings.load(api_key="sk-real", base_url=other.base_url, cache_dir=tmp_path / "cache")
        for one in (settings, real, real):
            with OmniClient(one) as client:
                list(caption_many([str(videos[0].path)], VideoCaption, client=client, results=results))
        assert (len(standin.requests), len(other.requests)) == (1, 1)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_kill_9_costs_only_what_was_in_flight(standin: Standin, tmp_path: Path) -> None:
    """A run that is killed after three of six files asks only about the others when it starts again."""
    codes = [f"41{n}0" for n in range(6)]
    for code in codes:
        make_video(tmp_path / f"{code}.mp4", codes=[code, f"{code[:3]}1"], size=(160, 120), fps=5)
    held = threading.Event()
    standin.script.fault(
        Fault.slow(first_byte_delay=600), when=lambda _: len(standin.requests) > 3 and not held.is_set(), times=2
    )
    environment = {
        **os.environ, "DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url,
        "QWEN_OMNI_CACHE_DIR": str(tmp_path / "cache"),
    }  # fmt: skip
    command = [*RUN, "caption", *(f"{code}.mp4" for code in codes), "--json", "-j", "2"]
    kept = tmp_path / "cache" / "captions.sqlite3"
    with subprocess.Popen(
        command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as killed:
        while len(stored(kept)) < 3 or len(standin.requests) < 5:
            assert killed.poll() is None
            time.sleep(0.01)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
    held.set()
    asked = [request.media[0].picture_codes[0] for request in standin.requests]
    finished = {Path(entry["media"]).stem for entry in stored(kept)}
    assert len(finished) == 3

    again = subprocess.run(command, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True)

    later = [request.media[0].picture_codes[0] for request in standin.requests[len(asked) :]]
    assert sorted(later) == sorted(set(codes) - finished)
    told = json.loads(again.stdout)
    assert [entry["file"] for entry in told] == [f"{code}.mp4" for code in codes]
    assert all(code in entry["caption"]["scene_description"] for code, entry in zip(codes, told, strict=True))
    assert "cached" in again.stderr


def test_every_option_reaches_the_request(
    caption, videos: list[TruthMedia], standin: Standin, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Prompt, language, model, thinking and sampling are asked as told, at the address told; usage and results follow."""
    monkeypatch.setenv("DASHSCOPE_BASE_URL", "http://127.0.0.1:9/v1")
    status, out, err = caption(
        videos[0].path, "--table", "--prompt", "Name the tents.", "--language", "中文", "--thinking", "low", "--fps", 1,
        "--max-pixels", 300_000, "--base-url", standin.base_url, "--usage", "--results", "kept/mine.jsonl",
    )  # fmt: skip
    (request,) = standin.requests
    (asked,) = request.body["messages"]
    assert (status, request.body["model"], request.body["reasoning_effort"]) == (0, "qwen3.8-omni-flash", "low")
    assert request.body["response_format"] == {"type": "json_object"}
    assert "Write every text in 中文" in asked["content"][2]["text"]
    assert asked["content"][1] == {"type": "text", "text": "Name the tents."}
    assert (asked["content"][0]["fps"], asked["content"][0]["max_pixels"]) == (1, 300_000)
    assert "scene description" in out
    assert re.search(r"tokens: [\d,]+ in \(.*video [\d,]+.*\), [\d,]+ out", err)
    (kept,) = (tmp_path / "kept").iterdir()
    assert kept.name == "mine.sqlite3"


def test_two_files_of_one_content_are_asked_about_once(
    caption, videos: list[TruthMedia], standin: Standin, tmp_path: Path
) -> None:
    """The same content under several names in one run is one request."""
    names = [tmp_path / f"{n}.mp4" for n in range(4)]
    for name in names:
        name.write_bytes(videos[0].path.read_bytes())
    assert caption(*names, "--json")[0] == 0
    assert len(standin.requests) == 1


def test_a_run_that_was_stopped_goes_on(caption, videos: list[TruthMedia], standin: Standin, tmp_path: Path) -> None:
    """What failed in the first run is all that the second one asks, also behind a line that was cut."""
    standin.script.fault(
        Fault.refuse(400, "Arrearage", "Access denied, unpaid"), when=lambda _: len(standin.requests) > 2
    )
    paths = [video.path for video in videos]
    status, _, err = caption(*paths, "-j", 1, "--json", "--results", "done.sqlite3")
    assert (status, len(standin.requests)) == (1, 3)
    assert "failed" in err
    standin.script.clear()
    with (tmp_path / "done.jsonl").open("a") as file:
        file.write('{"key": "half a li')
    for _ in range(2):
        assert caption(*paths, "--json", "--results", "done.sqlite3")[0] == 0
        assert len(standin.requests) == 4


def test_results_are_in_the_cache(caption, videos: list[TruthMedia], standin: Standin, tmp_path: Path) -> None:
    """The place is said; the folder stays clean; results of an older version in it are used, and said."""
    path = videos[0].path
    _, _, err = caption(path, "--json")
    cache = Path(os.environ["QWEN_OMNI_CACHE_DIR"]) / "captions.sqlite3"
    assert cache.exists()
    assert f"Captions are stored in {cache}" in " ".join(err.split())
    assert list(tmp_path.iterdir()) == []
    assert "Nothing was stored" in caption(path, "--fresh")[2]

    shutil.move(cache, tmp_path / "qwen-omni-captions.sqlite3")
    _, _, err = caption(path, "--json")
    assert "Using qwen-omni-captions.sqlite3 from an older version" in err
    assert len(standin.requests) == 2  # the first, and the fresh one


def test_ctrl_c_says_what_is_kept(command: Command, videos: list[TruthMedia], standin: Standin) -> None:
    """What was in flight is counted too; the next run asks only about the rest."""
    standin.script.fault(Fault.slow(first_byte_delay=0.2), when=lambda _: stop_at(len(standin.requests) == 2))
    paths = [video.path for video in videos]
    status, out, err = command("caption", *paths, "-j", 1)
    assert (status, out) == (130, "")
    assert "Stopped. 2 of 3 captions kept; run again to resume." in err
    assert command("caption", *paths, "-j", 1)[0] == 0
    assert len(standin.requests) == 3


def test_concurrency_is_bounded(caption, videos: list[TruthMedia], standin: Standin) -> None:
    """No more requests than -j are in flight."""
    assert caption(*(video.path for video in videos), "-j", 1)[0] == 0
    assert standin.connections == 1


def test_csv(caption, videos: list[TruthMedia]) -> None:
    """CSV has a column for each field and a row for each file; lists are joined."""
    _, out, _ = caption(videos[0].path, videos[1].path, "--csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert list(rows[0]) == [
        "file",
        "scene_description",
        "key_product_features",
        "target_audience",
        "recommended_music_style",
    ]
    assert videos[1].codes[0] in rows[1]["scene_description"]


def test_formulas_in_csv_are_harmless(caption, videos: list[TruthMedia], standin: Standin) -> None:
    """A text that a spreadsheet would run is printed as text."""
    standin.script.reply(
        '{"scene_description": "=1+1", "key_product_features": [], "target_audience": "a", "recommended_music_style": "b"}'
    )
    assert "'=1+1" in caption(videos[0].path, "--csv")[1]


def test_table_is_the_default(caption, videos: list[TruthMedia]) -> None:
    """Without a form a table is printed, with everything in it."""
    out = caption(videos[0].path)[1]
    assert out.startswith(f"{videos[0].path}\n  scene description")
    assert videos[0].codes[0] in out


def test_subtitles(caption, videos: list[TruthMedia], tmp_path: Path) -> None:
    """One file's subtitles are printed, those of several are written beside each other."""
    out = caption(videos[0].path, "--timed", "--srt")[1]
    items = pysrt.from_string(out)
    assert [(item.start.ordinal, item.end.ordinal) for item in items] == [(0, 1000), (1000, 2000)]
    assert [code in item.text for item, code in zip(items, videos[0].codes, strict=True)] == [True, True]
    assert caption(videos[0].path, videos[1].path, "--vtt", "--out", "subs")[0] == 0
    assert (tmp_path / "subs" / "two.vtt").read_text().startswith("WEBVTT\n\n00:00:00.000 --> 00:00:01.000\n")


def test_schemas(caption, videos: list[TruthMedia], tmp_path: Path) -> None:
    """A class of a module in the current folder and a JSON file both are schemas."""
    (tmp_path / "my_tents.py").write_text(
        "from pydantic import BaseModel\nclass Tent(BaseModel):\n    codes: list[str]\n"
    )
    (tmp_path / "tent.json").write_text(
        '{"type": "object", "properties": {"codes": {"type": "array", "items": {"type": "string"}}}, "required": ["codes"]}'
    )
    for schema in ("my_tents:Tent", "tent.json", str(tmp_path / "my_tents.py:Tent")):
        _, out, err = caption(videos[0].path, "--schema", schema, "--json", "--fresh")
        (told,) = json.loads(out)
        assert told["caption"] == {"codes": list(videos[0].codes)}
        assert told["schema"] == schema
        assert f"Schema: {schema}." in err


@pytest.mark.parametrize(
    ("schema", "field"),
    [
        ("product", "scene_description"),
        ("general", "on_screen_text"),
        ("timed", "captions"),
        (None, "scene_description"),
    ],
)
def test_schemas_by_name(caption, videos: list[TruthMedia], schema: str | None, field: str) -> None:
    """As in the API, the default is for products; each is named in the output."""
    _, out, err = caption(videos[0].path, "--json", *(["--schema", schema] if schema else []))
    (told,) = json.loads(out)
    assert field in told["caption"]
    assert told["schema"] == (schema or "product")
    assert f"Schema: {schema or 'product'}." in err


def test_results_of_somebody_else_are_refused(tmp_path: Path) -> None:
    """A file that holds something else is not appended to."""
    other = tmp_path / "notes.txt"
    other.write_text("my notes\nmore notes\n")
    with pytest.raises(ConfigurationError, match="no results of this package"):
        Results(other)


def test_results_that_cannot_be_written_end_nothing(
    videos: list[TruthMedia], standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """Captions come all the same, with one warning, and none is paid twice; all are kept when there is room again."""
    kept = tmp_path / "done.jsonl"
    results = Results(kept)
    results.close()
    kept = results.place
    kept.unlink()
    kept.mkdir()
    paths = [str(video.path) for video in videos]
    with OmniClient(settings) as client:
        with pytest.warns(UserWarning, match=r"(cannot|could not) be written") as told:
            found = list(caption_many([*paths, paths[0]], VideoCaption, client=client, results=results))
        kept.rmdir()
        list(caption_many(paths, VideoCaption, client=client, results=results))
    assert [one.error for one in found] == [None] * 4
    assert (len(told), len(standin.requests)) == (2, 3)
    assert "could not be written to the results file" in str(told[1].message)
    assert f"{kept}: 3 " in str(told[1].message)
    assert not results.trouble
    with OmniClient(settings) as client:
        again = list(caption_many(paths, VideoCaption, client=client, results=Results(kept)))
    assert [one.reused for one in again] == [True] * 3


def test_every_spelling_of_media_has_a_result_of_its_own(
    videos: list[TruthMedia], standin: Standin, settings: Settings, tmp_path: Path
) -> None:
    """Content counts, also that of `data:` URLs; a `file:` URL out of the client's root is refused unread."""
    outside = tmp_path / "notes.txt"
    outside.write_text("no media at all")
    data = [f"data:video/mp4;base64,{base64.b64encode(one.path.read_bytes()).decode()}" for one in videos[:2]]
    media = [*data, videos[0].path.as_uri(), outside.as_uri()]
    rooted = replace(settings, media_root=videos[0].path.parent)
    with OmniClient(rooted) as client:
        results = Results(tmp_path / "done.jsonl")
        coming = caption_many(media, VideoCaption, client=client, concurrency=1, results=results)
        found = {one.media: one for one in coming}
    told = [found[one].value.scene_description for one in media[:3]]
    assert [videos[n].codes[0] in text for n, text in zip((0, 1, 0), told, strict=True)] == [True] * 3
    assert isinstance(found[media[3]].error, MediaOutsideRootError)
    assert len(standin.requests) == 2


def test_half_characters_are_kept(tmp_path: Path) -> None:
    """Names that are no UTF-8 and answers with halves of characters do not lose a result."""
    Results(tmp_path / "done.jsonl").add("key", {"media": "\udcff.mp4", "answer": "\ud83d"})
    assert Results(tmp_path / "done.jsonl").find("key") == {"media": "\udcff.mp4", "answer": "\ud83d"}


def test_results_from_many_threads(tmp_path: Path) -> None:
    """Results of many threads are all there, whole."""
    results = Results(tmp_path / "done.jsonl")
    threads = [threading.Thread(target=results.add, args=(str(n), {"answer": "x" * 5000})) for n in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    again = Results(tmp_path / "done.jsonl")
    assert all(again.find(str(n)) == {"answer": "x" * 5000} for n in range(40))
