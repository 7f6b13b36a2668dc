"""The media tools: what they give, what they refuse, and that they never raise."""

import json
import re
import warnings
from dataclasses import replace
from pathlib import Path

import pytest

from qwen_omni import ConfigurationError, MediaOutsideRootError, MediaTools, Settings
from qwen_omni.standin import Fault, Outcome, Standin
from qwen_omni.standin.marked_media import make_audio, make_video
from qwen_omni.tools.results import MOST_CHARACTERS, bounded, without_places
from tests.support.agents import Place, nasty_paths
from tests.support.watching import watched
from tests.tools.conftest import both


def test_probe_media(tools: MediaTools, standin: Standin) -> None:
    """Folders are listed without links and hidden files; a file is told in a line; nothing is sent."""
    listed = both(tools, "probe_media")
    names = {one["name"] for one in listed.artifact}
    assert names == {"talks/", "call.mp3", "still.png", "notes.txt", "pipe.mp4"}
    assert both(tools, "probe_media", path="talks").content.splitlines()[1].startswith("talks/monday.mp4 (")
    told = both(tools, "probe_media", path="talks/monday.mp4")
    assert "video, 4.0 s, 64x48 pixels, 5 frames per second, audio aac" in told.content
    assert told.artifact["duration"] == 4
    assert "not media" in both(tools, "probe_media", path="notes.txt").content
    assert not standin.requests


def test_probe_media_needs_no_key(place: Place) -> None:
    """What sends nothing works without a key; what needs one says so."""
    tools = MediaTools(place.root)
    assert tools.call("probe_media", {}).error is None
    asked = tools.call("ask_about_clip", {"path": "call.mp3", "question": "What?"})
    assert "DASHSCOPE_API_KEY" in asked.content
    assert "tell the user" in asked.content


def test_the_old_name_of_a_tool_still_works(tools: MediaTools) -> None:
    with pytest.warns(DeprecationWarning, match="The tool ask_video is now ask_about_clip"):
        told = tools.call("ask_video", {"path": "talks/monday.mp4", "question": "What is shown?"})
    assert told.error is None
    assert told == tools.call("ask_about_clip", {"path": "talks/monday.mp4", "question": "What is shown?"})
    assert "ask_video" not in [one.name for one in tools.definitions]


def test_ask_about_clip(tools: MediaTools, place: Place, standin: Standin) -> None:
    """The whole file or a piece of it is asked about, and the answer says from where its times count."""
    whole = both(tools, "ask_about_clip", path="talks/monday.mp4", question="What is shown?")
    assert all(code in whole.content for code in place.film.codes)
    piece = both(tools, "ask_about_clip", path="talks/monday.mp4", question="What is shown?", start=1, end=3, fps=4)
    assert place.film.codes[0] not in piece.content
    assert place.film.codes[1] in piece.content
    assert piece.content.startswith("(Times in this answer count from second 1 of the file.)")
    assert standin.requests[-1].media[0].duration == pytest.approx(2, abs=0.1)
    for path in ("call.mp3", "still.png"):
        assert both(tools, "ask_about_clip", path=path, question="What is it?").error is None
    assert "leave start and end out" in both(tools, "ask_about_clip", path="still.png", question="x", start=1).content


def test_caption_and_transcribe(tools: MediaTools, place: Place) -> None:
    """A caption is JSON of its schema; a transcript has a line for each sentence, with the file's seconds."""
    caption = both(tools, "caption_video", path="talks/monday.mp4")
    assert json.loads(caption.content) == caption.artifact
    assert place.film.codes[0] in caption.artifact["scene_description"]
    said = both(tools, "transcribe_audio", path="talks/monday.mp4", start=1)
    assert said.content.startswith("[1.0-")
    assert place.film.codes[1] in said.content
    assert said.artifact["sentences"][0]["words"][0]["text"] == place.film.codes[1]
    assert said.artifact["source"] == "talks/monday.mp4"


def test_find_moment(tools: MediaTools, place: Place) -> None:
    """Moments are told with their seconds, in order; a picture has none."""
    found = both(tools, "find_moment", path="talks/monday.mp4", query=f"the code {place.film.codes[2]}")
    moment = next(one for one in found.artifact["moments"] if place.film.codes[2] in one["what"])
    assert (moment["start"], moment["end"]) == pytest.approx((2, 3), abs=0.25)
    assert f"{moment['start']:.1f}-{moment['end']:.1f} s: " in found.content
    assert "no moments" in both(tools, "find_moment", path="still.png", query="x").content


@pytest.mark.slow
def test_find_moment_in_a_long_file(tmp_path: Path, settings: Settings, standin: Standin) -> None:
    """Three minutes and more are asked about in pieces; each moment is told once, at its own second, and paid once."""
    call = make_audio(tmp_path / "long.wav", seconds=200)
    tools = MediaTools(tmp_path, settings=settings)
    found = both(tools, "find_moment", path="long.wav", query="each code")
    assert len(standin.requests) == 4
    for one in found.artifact["moments"]:
        code = re.search(r"\d{4}", one["what"])[0]
        assert one["start"] == pytest.approx(call.codes.index(code), abs=0.5)
    assert len({one["what"] for one in found.artifact["moments"]}) == len(found.artifact["moments"])
    assert len(found.artifact["moments"]) >= 150
    assert found.artifact["gaps"] == []
    tools.close()
    again = MediaTools(tmp_path, settings=settings)
    assert again.call("find_moment", {"path": "long.wav", "query": "each code"}).artifact == found.artifact
    assert len(standin.requests) == 4


@pytest.mark.slow
def test_summarize_video(tmp_path: Path, settings: Settings, standin: Standin) -> None:
    """A long file is told with its chapters, in seconds; the same again sends nothing, another focus is asked anew."""
    call = make_audio(tmp_path / "long.wav", seconds=200)
    tools = MediaTools(tmp_path, settings=settings)
    found = both(tools, "summarize_video", path="long.wav")
    sent = len(standin.requests)
    assert found.artifact["duration"] == pytest.approx(200, abs=0.2)
    assert found.artifact["chapters"][0]["start"] == 0
    assert found.content.startswith("long.wav:\n")
    assert f"Chapters:\n{found.artifact['chapters'][0]['start']:.1f}-" in found.content
    assert sent == 4
    part = both(tools, "summarize_video", path="long.wav", start=20, end=24, focus="each code")
    assert call.codes[22] in part.content
    assert call.codes[60] not in part.content
    assert len(standin.requests) == sent + 1
    assert "each code" in str(standin.requests[-1].body)


@pytest.mark.slow
def test_a_part_that_failed_is_told(tmp_path: Path, settings: Settings, standin: Standin) -> None:
    """A piece that the service refuses is no error of the tool, and the model learns which seconds are missing."""
    make_audio(tmp_path / "long.wav", seconds=200)
    tools = MediaTools(tmp_path, settings=settings)
    standin.script.fault(
        Fault.refuse(400, "data_inspection_failed", "Input data may contain inappropriate content."), times=1
    )
    outcome = tools.call("find_moment", {"path": "long.wav", "query": "each code"})
    assert outcome.error is None
    assert "[No answer for " in outcome.content
    assert len(outcome.artifact["gaps"]) == 1


def test_no_place_outside_is_named(tmp_path: Path, settings: Settings) -> None:
    """An error about the program's own folders says so in words, without telling where they are."""
    (tmp_path / "media").mkdir()
    make_audio(tmp_path / "media" / "long.wav", seconds=3)
    blocked = tmp_path / "a cache" / "here"
    blocked.parent.mkdir()
    blocked.write_text("a file where a folder should be")
    tools = MediaTools(tmp_path / "media", settings=replace(settings, cache_dir=blocked))
    outcome = both(tools, "summarize_video", path="long.wav")
    assert isinstance(outcome.error, ConfigurationError)
    assert "a place outside the media folder" in outcome.content
    for part in (tmp_path, *tmp_path.parents):
        assert len(part.parts) < 2 or str(part) not in outcome.content


PLACES = {
    "inside": ("/films/a b.mp4 is damaged", "a b.mp4 is damaged"),
    "the folder itself": ("/films is empty", "the media folder is empty"),
    "elsewhere": ("cannot read /etc/passwd.", "cannot read (a place outside the media folder)."),
    "in quotes": ("No such file: '/var/x/y.mp4'", "No such file: '(a place outside the media folder)'"),
    "the home": ("~/x/y failed", "(a place outside the media folder) failed"),
    "windows": ("C:\\Users\\me\\x failed", "(a place outside the media folder) failed"),
    "a link": ("see https://example.com/a/b now", "see https://example.com/a/b now"),
    "relative": ("talks/monday.mp4 and 3/4 fps", "talks/monday.mp4 and 3/4 fps"),
    "alone": ("a / b", "a / b"),
}


@pytest.mark.parametrize(("words", "told"), PLACES.values(), ids=PLACES)
def test_places_in_words(words: str, told: str) -> None:
    """Files of the folder keep their names; other places have none."""
    assert without_places(words, Path("/films")) == told


@pytest.mark.parametrize(
    "tool", ["probe_media", "ask_about_clip", "caption_video", "transcribe_audio", "find_moment", "summarize_video"]
)
def test_what_lies_outside_is_refused_in_words(tool: str, tools: MediaTools, place: Place, standin: Standin) -> None:
    """Ways out, links among them, are refused by every tool; nothing there is opened, nothing is sent."""
    more = {"ask_about_clip": {"question": "What?"}, "find_moment": {"query": "a dog"}}.get(tool, {})
    ways = [
        "../outside/secret.mp4",
        str(place.outside / "secret.mp4"),
        "link.mp4",
        "out/inner/deep.mp4",
        "talks/up.mp4",
    ]
    with watched(*place.secrets) as seen:
        for way in ways:
            outcome = both(tools, tool, path=way, **more)
            assert "outside the media folder; nothing was opened" in outcome.content
            assert isinstance(outcome.error, MediaOutsideRootError)
            assert str(place.root) not in outcome.content
    assert seen == []
    assert not standin.requests
    assert not standin.tasks.calls


def test_no_nasty_path_raises(tools: MediaTools, place: Place) -> None:
    """Every path gives text, and none tells where the folder is on this machine."""
    for path in nasty_paths(place):
        outcome = tools.call("transcribe_audio", {"path": path, "start": 90})
        assert outcome.error is not None
        assert 0 < len(outcome.content) < 1000
        assert str(place.root) not in outcome.content, path


def test_wrong_arguments_are_explained(tools: MediaTools) -> None:
    """A model is told which argument is wrong; what it wrote is not quoted."""
    outcome = both(tools, "ask_about_clip", path="call.mp3", fps="very-high-value", extra=1)
    assert "question: Field required" in outcome.content
    assert "fps:" in outcome.content
    assert "extra:" in outcome.content
    assert "very-high-value" not in outcome.content
    assert "available: probe_media" in both(tools, "drop_table").content


FAULTS = {
    "a key that is wrong": (Fault.refuse(401, "invalid_api_key", "Incorrect API key"), "will not help"),
    "an unpaid bill": (Fault.refuse(400, "Arrearage", "Access denied, your account is in arrears."), "will not help"),
    "too many requests": (Fault.rate_limit(), "later may work"),
    "a broken service": (Fault.server_error(), "later may work"),
    "a cut answer": (Fault.cut(200), "later may work"),
    "refused content": (Fault.refuse(400, "data_inspection_failed", "inappropriate content"), "will not help"),
}


@pytest.mark.parametrize(("fault", "advice"), FAULTS.values(), ids=FAULTS)
def test_faults_of_the_service_are_text(fault: Fault, advice: str, tools: MediaTools, standin: Standin) -> None:
    """Whatever the service does, the model gets words and knows whether to try again."""
    standin.script.fault(fault, times=99)
    outcome = both(tools, "ask_about_clip", path="call.mp3", question="What?")
    assert outcome.content.startswith("Failed: ")
    assert advice in outcome.content


def test_a_failed_task_is_text(tools: MediaTools, standin: Standin) -> None:
    """So it is for tasks."""
    standin.tasks.fail(Outcome(kind="subtask"))
    assert "InvalidFile.DecodeFailed" in tools.call("transcribe_audio", {"path": "call.mp3"}).content


def test_an_unforeseen_failure_is_text(tools: MediaTools, monkeypatch: pytest.MonkeyPatch) -> None:
    """A bug of ours does not end the agent; its words stay with the program."""

    def broken(*_: object, **__: object) -> object:
        raise ZeroDivisionError("a secret")

    monkeypatch.setattr("qwen_omni.tools.folder.probe", broken)
    outcome = both(tools, "probe_media", path="call.mp3")
    assert "ZeroDivisionError" in outcome.content
    assert "secret" not in outcome.content
    assert isinstance(outcome.error, ZeroDivisionError)


def test_text_is_bounded(tmp_path: Path, settings: Settings) -> None:
    """A folder of thousands is told in a page, with how much was left out."""
    for number in range(1500):
        (tmp_path / f"{number:04d}.mp4").touch()
    told = MediaTools(tmp_path, settings=settings).call("probe_media", {})
    assert len(told.content) < MOST_CHARACTERS + 100
    assert "lines left out. Name a folder inside it." in told.content
    assert len(told.artifact) == 1500
    assert len(bounded(["x" * 9000], "Less.")) < MOST_CHARACTERS + 100


def test_a_folder_that_is_none(tmp_path: Path) -> None:
    """The program's own mistake is an error for the program."""
    with pytest.raises(ConfigurationError, match="not a folder"):
        MediaTools(tmp_path / "gone")


def test_the_folder_may_be_a_link(place: Place, tmp_path: Path, settings: Settings) -> None:
    """The program chooses the folder, so it may be reached through a link; what is in it is inside."""
    (tmp_path / "here").symlink_to(place.root)
    tools = MediaTools(tmp_path / "here", settings=settings)
    assert tools.call("probe_media", {"path": "call.mp3"}).error is None
    assert tools.call("probe_media", {"path": str(place.root / "call.mp3")}).error is None


def test_settings_of_the_program_keep_their_own_root(place: Place, settings: Settings, tmp_path: Path) -> None:
    """The tools' folder counts, whatever `media_root` the settings have."""
    film = make_video(tmp_path / "own.mp4", seconds=2, size=(64, 48), fps=5)
    tools = MediaTools(tmp_path, settings=settings)
    answer = tools.call("ask_about_clip", {"path": "own.mp4", "question": "What?"})
    assert film.codes[0] in answer.content


@pytest.mark.parametrize("dialect", ["dashscope", "vllm"])
def test_a_model_of_ones_own_has_no_hosted_limits(dialect, tmp_path):
    """What the tools believe of a model is what it can do on their server, and a name of one's own is no warning."""
    settings = Settings.load(api_key="none", base_url="http://127.0.0.1:9/v1", dialect=dialect)
    tools = MediaTools(tmp_path, settings=settings, model="my-tools-model")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        profile = tools._context.profile
    assert bool(caught) == (dialect == "dashscope")
    assert profile.limits == settings.profile("my-tools-model").limits
