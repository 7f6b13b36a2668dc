"""The page of a summary: what is in it. What a browser makes of it: `test_page_in_browser`."""

import base64
import hashlib
import html
import io
import re
import shutil
from pathlib import Path
from urllib.parse import quote

import pytest
from PIL import Image

from qwen_omni.errors import ConfigurationError
from qwen_omni.media.source import MediaSource
from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.export.html import PageChoices
from qwen_omni.video.export.thumbnails import thumbnails
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import Bill, Chapter, FailedSegment, VideoSummary
from qwen_omni.video.schemas import TimedNote, VideoFacts
from qwen_omni.video.summarize import summarize

pytest.importorskip("jinja2")
EVIL = '<script>alert(1)</script>" onmouseover="x'


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("film") / "a film.mp4", seconds=12, size=(160, 90), fps=4, sound=False)


@pytest.fixture(scope="module")
def found(film):
    """A summary with everything that a page can show, and words that try to break it."""
    return VideoSummary(
        video=VideoFacts(source=str(film.path), duration=12.0, width=160, height=90),
        summary=f"What happens.\n\n{EVIL}",
        chapters=[
            Chapter(start=4 * n, end=4 * n + 4, title=f"Chapter {n} {EVIL}", summary="about " * 20) for n in range(3)
        ],
        events=[TimedNote(start=n, end=n + 1, text=f"event {n} {'long-word-' * 30}") for n in range(12)],
        speech=[TimedNote(start=2.5, end=3, text="Somebody speaks of tents")],
        gaps=[FailedSegment(segment=1, start=8, end=9, reason=f"ContentFilterError {EVIL}")],
        this_run=Bill(requests=3, input_tokens=1000, output_tokens=10, cny=0.01, usd=0.001),
        whole_run=Bill(requests=5, input_tokens=2000, output_tokens=20, cny=0.02, usd=0.002),
        model="qwen3.8-omni-flash", text_model="qwen-plus",
    )  # fmt: skip


def test_it_holds_everything_but_the_video(found, film, tmp_path):
    """Nothing is loaded from elsewhere, pictures are inside, and the player's file is named from where the page is."""
    page = found.to_html(film.path.parent / "page.html")
    loaded = re.findall(r"(?:src|poster)=\"([^\"]*)\"", page)
    embedded = [one.partition(";")[0] for one in loaded if one.startswith("data:")]
    assert [one for one in loaded if not one.startswith("data:")] == ["a%20film.mp4"]
    assert sorted(embedded) == ["data:image/jpeg"] * 4 + ["data:text/vtt"] * 2
    assert [one for one in re.findall(r"href=\"([^\"]*)\"", page) if not one.startswith("#")] == []
    assert "@import" not in page
    assert "url(" not in page
    other = found.to_html(tmp_path / "page.html")
    assert re.search(r"src=\"[^\"]*/a%20film.mp4\"", other)


@pytest.mark.parametrize("exact", [True, False])
def test_thumbnails_are_small_and_those_that_fail_are_left_out(film, exact):
    """Moments past the end have none; a recording, a damaged file and a missing one have none at all."""
    made = dict(thumbnails(film.path, [1.5, 10.5, 99], side=80, exact=exact))
    assert list(made) == [1.5, 10.5]
    with Image.open(io.BytesIO(base64.b64decode(made[1.5]))) as image:
        assert image.width == 80
    assert list(thumbnails(film.path.with_name("gone.mp4"), [1], side=80, exact=exact)) == []
    assert list(thumbnails(Path(__file__), [1], side=80, exact=exact)) == []


def test_strangers_words_stay_words(found):
    """Titles, events and reasons come from models and videos: nothing of them becomes markup."""
    page = found.to_html()
    assert "<script>alert" not in page
    assert page.count("<script>") == 2
    assert page.count("&lt;script&gt;alert(1)") >= 5
    assert not re.search(r"<[^>]*\" onmouseover", page)


def test_cost_and_gaps_are_told(found):
    """What it cost, now and in all, and what is missing."""
    page = found.to_html()
    assert "3 requests, 1,000 tokens in, 10 out, CNY 0.01" in page
    assert "5 requests" in page
    assert "0:08" in page.split('id="gaps"')[1]


@pytest.mark.parametrize("address", ["javascript:alert(1)", "ftp://host/a.mp4", "data:text/html,x"])
def test_only_files_and_web_addresses_are_played(found, address):
    """Anything else is refused, with what may be given."""
    with pytest.raises(ConfigurationError, match="http or https"):
        found.to_html(choices=PageChoices(player=address))


def test_a_link_is_played_as_it_is(found):
    assert 'src="https://example.com/a.mp4"' in found.to_html(choices=PageChoices(player="https://example.com/a.mp4"))


@pytest.mark.slow
def test_a_name_with_any_space_and_of_any_length_is_played(client, short, tmp_path):
    """As recorders name their files, in a folder far down: the page finds it, and the name can be read."""
    file = tmp_path / ("far-down-" * 25) / "Recording 3.45.10\u202fPM\u3000(1)\xa0b.mp4"
    file.parent.mkdir()
    shutil.copyfile(short.path, file)
    found = summarize(file, client=client, options=SummaryOptions(detail="low"))
    assert found.video.source == str(file)
    page = found.to_html(file.parent / "page.html")
    assert f'src="{quote(file.name)}"' in page
    assert '<h1 dir="auto">Recording 3.45.10 PM (1) b.mp4</h1>' in page
    assert found.to_markdown().startswith(f"# {file.parent}/Recording 3.45.10 PM (1) b.mp4 (")


def test_what_a_terminal_would_obey_is_written_out(found):
    """The name of a stranger's file moves no cursor where it is read."""
    named = found.model_copy(update={"video": VideoFacts(source="a\x1b[2J\nb\u202e.mp4")})
    assert r"a\x1b[2J b\u202e.mp4" in named.to_html()
    assert r"a\\x1b\[2J b\\u202e.mp4" in named.to_markdown()


@pytest.mark.parametrize("name", ["clips/a film.mp4", "видео.mp4", "3.45\u202fPM.mov", "x" * 250])
def test_facts_name_a_path_as_it_was_given(name):
    assert MediaSource.from_path(name).name == name


def test_a_name_that_is_no_text_is_told_by_its_label():
    """Facts are JSON, which has no place for it."""
    source = MediaSource.from_path("\udcff.mp4")
    assert source.name == source.label == r"\udcff.mp4"


@pytest.mark.parametrize("player", [None, "https://example.com:8443/a.mp4"])
def test_a_policy_allows_the_page_alone(found, player):
    """Only the script and style that stand in the page run, pictures are inside, and only media come from elsewhere."""
    page = found.to_html(choices=PageChoices(player=player))
    (policy,) = re.findall(r'<meta http-equiv="Content-Security-Policy" content="([^"]*)">', page)
    rules = dict(one.strip().split(" ", 1) for one in html.unescape(policy).split(";"))
    assert rules["default-src"] == rules["base-uri"] == rules["form-action"] == "'none'"
    assert rules["img-src"] == "data:"
    assert rules["media-src"] == ("http: https:" if player else "'self' file:") + " data: blob:"
    for name in ("script", "style"):
        inside = re.findall(rf"(?s)<{name}>(.*?)</{name}>", page)
        digests = [base64.b64encode(hashlib.sha256(one.encode()).digest()).decode() for one in inside]
        assert rules[f"{name}-src"].split() == [f"'sha256-{one}'" for one in digests]
    assert page.index("Content-Security-Policy") < page.index("<style>")
    assert not re.search(r"<[^>\"]+(\"[^\"]*\"[^>\"]+)*\s(on\w+|style)=", page)


def test_half_a_character_does_not_keep_a_page_from_being_written(found, tmp_path):
    """What a model wrote, or a file is named, always becomes a file of UTF-8."""
    odd = found.model_copy(update={"summary": "half \ud83d", "notices": ("\x1b[2J",)})
    odd.to_html(tmp_path / "page.html")
    for written in (odd.to_markdown(), (tmp_path / "page.html").read_text(encoding="utf-8")):
        assert "ud83d" in written.encode().decode()
        assert "\x1b" not in written
