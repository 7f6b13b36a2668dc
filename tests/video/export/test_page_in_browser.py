"""The page of a summary in Chromium: it plays, follows, searches, links and prints, and everybody can read and use it.

Chromium is driven over its DevTools protocol; axe-core, which Lighthouse uses too, judges contrast, names and roles.
"""

import importlib.resources
import importlib.util
import itertools
import json
import random
import re

import pytest

from qwen_omni.library.page import windows_page
from qwen_omni.retrieval.windows import Window
from qwen_omni.samples import sample
from qwen_omni.standin.marked_media import Encoding, make_video
from qwen_omni.video.export.html import PageChoices
from qwen_omni.video.results import Bill, Chapter, FailedSegment, VideoSummary
from qwen_omni.video.schemas import TimedNote, VideoFacts
from tests.support.browser import CHROMIUM, Browser

pytest.importorskip("jinja2")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed (Debian: apt-get install chromium)"),
]
LONG_TASK = 50  # milliseconds, above which the browser itself calls a task long
EVIL = '</script><script>window.foreign = 1</script><img src=x onerror="window.foreign = 1">'
WIDE, PHONE = {"width": 1440, "height": 900}, {"width": 390, "height": 844}


def moments(*texts, length=2.0):
    return tuple(TimedNote(start=at, end=at + length, text=text) for at, text in texts)


def summary_of(path, **changed):
    """A summary of the sample clip, in the words of a model."""
    facts = VideoFacts(source=str(path), duration=20.0, width=640, height=360, video_codec="h264", audio_codec="aac")
    given = {
        "video": facts, "language": "en", "model": "qwen3.8-omni-flash",
        "summary": "A short advertisement for Harbour Coffee.\n\nIt ends at the lighthouse.",
        "chapters": (
            Chapter(start=0, end=6, title="The sign of the café", summary="A cup steams next to the name."),
            Chapter(start=6, end=13, title="The menu", summary="Prices of espresso, latte and cocoa."),
            Chapter(start=13, end=20, title="The way there", summary="A lighthouse by the sea."),
        ),
        "events": moments((0, "A cup steams."), (6, "A board is shown."), (9, "The latte is underlined."), (13, "A boat."), length=3),
        "speech": moments((1, "Welcome to Harbour Coffee."), (7, "Try our latte."), (14, "Find us next to the lighthouse.")),
        "on_screen_text": moments((6, "Latte $3.80"), (13, "Pier 4")),
        "gaps": (FailedSegment(segment=1, start=19, end=20, reason="ContentFilterError: refused"),),
        "this_run": Bill(requests=3, input_tokens=1000, output_tokens=10, cny=0.01, usd=0.001),
    }  # fmt: skip
    return VideoSummary(**{**given, **changed})


@pytest.fixture(scope="module")
def browser():
    with Browser() as running:
        yield running


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("pages")


@pytest.fixture(scope="module")
def clip(folder):
    return sample(folder).path


@pytest.fixture(scope="module")
def page(folder, clip):
    path = folder / "page.html"
    summary_of(clip).to_html(path)
    return path


def shows(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)})?.checkVisibility() ?? false")


def text_of(browser, selector):
    return browser.run(f"document.querySelector({json.dumps(selector)}).innerText.trim()")


def ready(browser, page, **how):
    browser.open(page, **how)
    browser.until("document.getElementById('player').readyState > 1")


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_the_summary_comes_first_and_the_player_stays(browser, page, size):
    """Wide: the player beside the summary, and still there at the end of the page. Phone: above it, and it stays, too."""
    ready(browser, page, **size)
    box = "document.querySelector('.stage').getBoundingClientRect()"
    summary, stage = (
        browser.run("document.querySelector('#summary').getBoundingClientRect().toJSON()"),
        f"{box}.toJSON()",
    )
    before = browser.run(stage)
    beside = before["left"] >= summary["right"]
    assert (beside, before["top"] < summary["bottom"]) == (size is WIDE, True)
    browser.run("scrollTo({top: document.body.scrollHeight, behavior: 'instant'})")
    after = browser.run(stage)
    assert 0 <= after["top"] < size["height"] / 4
    assert browser.run("scrollY") > 0
    assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
    assert browser.run("document.getElementById('player').poster.length") > 5_000
    assert (
        browser.run("Promise.all([...document.images].map((one) => one.decode().then(() => one.naturalWidth)))")
        == [320] * 3
    )
    assert browser.complaints() == []


def test_it_plays_follows_and_shows_subtitles(browser, page):
    """A chapter is played from its start; the entry of the second is marked, named below the player and kept in sight."""
    ready(browser, page, width=1440, height=420)
    browser.run("document.querySelectorAll('#chapters a')[1].click()")
    browser.until("!player.paused && player.currentTime >= 6.2")
    assert browser.run("location.hash") == "#t=6"
    current = "[...document.querySelectorAll('[aria-current] .text')].map((one) => one.textContent)"
    assert browser.run(current)[0] == "The menu"
    assert {"A board is shown.", "Latte $3.80"} <= set(browser.run(current))
    assert text_of(browser, "#now-chapter") == "The menu"
    assert text_of(browser, "#now-count") == "Chapter 2 of 3"
    assert text_of(browser, "#now-entry") == "A board is shown."
    assert browser.run("[...player.textTracks].map((one) => [one.label, one.mode])") == [
        ["Speech", "showing"], ["Events", "disabled"],
    ]  # fmt: skip
    cues = "[...player.textTracks[0].activeCues].map((one) => one.text)"
    browser.until(f"player.currentTime > 7.2 && {cues}[0] === 'Try our latte.'")
    browser.run("document.getElementById('to-now').click()")
    browser.until("document.activeElement.matches('.group a[aria-current]')")
    away = browser.run("scrollY")
    browser.run("player.playbackRate = 3; player.ontimeupdate = () => player.currentTime > 13.3 && player.pause()")
    browser.until("player.paused")
    in_sight = """(() => { const found = [...document.querySelectorAll('.group a')].find((one) => one.textContent.includes('Pier 4'));
        const box = found.getBoundingClientRect(); return found.ariaCurrent && box.top >= 60 && box.bottom <= innerHeight; })()"""
    browser.until(in_sight)
    assert browser.run("scrollY") > away


def test_one_search_looks_everywhere(browser, page):
    """Summary, chapters, events, speech and text on screen, with counts of each; an empty state leads back."""
    ready(browser, page, **WIDE)
    browser.press("/")
    assert browser.run("document.activeElement.id") == "search"
    browser.write("LATTE")
    browser.until("document.getElementById('found').textContent")
    assert (
        " ".join(text_of(browser, "#found").split())
        == "4 results: 1 chapter, 1 event, 1 line of speech, 1 text on screen"
    )
    visible = "[...document.querySelectorAll('main .text')].filter((one) => one.checkVisibility()).map((one) => one.textContent)"
    assert browser.run(visible) == [
        "The menu", "Prices of espresso, latte and cocoa.", "Latte $3.80", "Try our latte.", "The latte is underlined.",
    ]  # fmt: skip
    assert browser.run("CSS.highlights.get('found').size") == 4
    assert text_of(browser, "#chapter-count") == "1 of 3"
    browser.run("document.querySelector('.kind[data-kind=speech]').click()")
    assert "Try our latte." not in browser.run(visible)
    browser.run("document.querySelector('.kind[data-kind=speech]').click()")
    browser.run("document.getElementById('search').focus()")
    browser.press("Enter")
    browser.until("player.currentTime >= 6 && location.hash === '#t=6'")
    browser.run("player.pause(); document.getElementById('search').focus(); document.getElementById('search').select()")
    browser.write("lighthouse ends")
    browser.until("document.getElementById('found').textContent.startsWith('1 result:')")
    assert browser.run(visible) == ["It ends at the lighthouse.", "A short advertisement for Harbour Coffee."][::-1]
    browser.run("document.getElementById('search').select()")
    browser.write("zebra")
    browser.until("document.getElementById('found').textContent === 'No results'")
    assert "zebra" in text_of(browser, "#none")
    assert browser.run(visible) == []
    browser.run("document.getElementById('clear').click()")
    assert not shows(browser, "#none")
    assert len(browser.run(visible)) == 2 + 6 + 9
    assert browser.run("document.activeElement.id") == "search"


def test_links_lead_to_a_time(browser, page):
    """`#t=` in seconds or as a clock, on loading and later, seeks without playing; bad ones do nothing."""
    ready(browser, page, fragment="#t=8.5", **WIDE)
    browser.until("player.currentTime === 8.5")
    assert browser.run("player.paused")
    assert text_of(browser, "#now-chapter") == "The menu"
    browser.run("location.hash = '#t=0:14'")
    browser.until("player.currentTime === 14")
    browser.run("location.hash = '#t=...'; location.hash = '#nothing'")
    assert browser.run("new Promise((done) => setTimeout(() => done(player.currentTime), 100))") == 14
    ready(browser, page, fragment="#t=99999", **WIDE)
    browser.until("player.currentTime === 20")
    assert browser.complaints() == []


def test_the_theme_is_kept(browser, page):
    """The system's at first; what the reader chose afterwards, on every page."""
    back = "getComputedStyle(document.body).backgroundColor"
    browser.open(page, dark=True, **WIDE)
    dark = browser.run(back)
    browser.open(page, **WIDE)
    light = browser.run(back)
    assert light != dark
    try:
        browser.run("document.getElementById('theme').click()")
        browser.reload()
        assert browser.run(back) == dark
        assert browser.run("document.getElementById('theme').ariaPressed") == "true"
    finally:
        browser.run("localStorage.clear()")


def test_keys_do_what_the_list_says(browser, page):
    """Chapters, five seconds, play and pause, entries of a list; single keys can be turned off."""
    ready(browser, page, **WIDE)
    browser.press("n")
    browser.until("player.currentTime >= 6 && player.currentTime < 9")
    browser.press("k")
    browser.until("player.paused")
    at = browser.run("player.currentTime")
    browser.press("ArrowRight")
    browser.until(f"Math.abs(player.currentTime - {at} - 5) < 0.1")
    browser.press("p")
    browser.until("player.currentTime >= 6 && player.currentTime < 8")
    browser.press("k")
    browser.run("document.querySelector('.group a').focus()")
    browser.press("ArrowDown")
    assert browser.run("document.activeElement.innerText").split("\n")[-1] == "Welcome to Harbour Coffee."
    browser.press("?")
    assert shows(browser, "dialog")
    browser.run("document.getElementById('single').click()")
    browser.press("Escape")
    browser.press("n")
    assert browser.run("new Promise((done) => setTimeout(() => done(player.currentTime), 200))") < 13
    browser.run("localStorage.clear()")


def test_a_file_that_is_not_there_can_be_chosen(browser, folder, clip):
    """The message names the file and where it was looked for; the chosen one plays from the same second."""
    moved = folder / "moved.html"
    summary_of(clip).to_html(moved, choices=PageChoices(player=folder / "old place" / "promo.mp4"))
    browser.open(moved, fragment="#t=14", **WIDE)
    browser.until("document.getElementById('what').textContent")
    assert text_of(browser, "#what") == "sample.mp4 was not found"
    assert "old place/promo.mp4" in text_of(browser, "#why")
    browser.choose_file("#file", clip)
    browser.until("player.readyState > 1 && player.currentTime === 14")
    assert not shows(browser, "#trouble")
    assert text_of(browser, "#warning") == ""
    short = make_video(folder / "other.mp4", seconds=4, size=(160, 90), fps=4, sound=False).path
    browser.run("document.getElementById('trouble').hidden = false")
    browser.choose_file("#file", short)
    browser.until("document.getElementById('warning').textContent")
    assert text_of(browser, "#warning") == "This file is 0:04 long, the summarised one 0:20: times may not match."
    assert [one for one in browser.complaints() if "ERR_FILE_NOT_FOUND" not in one] == []
    link = folder / "link.html"
    summary_of(clip).to_html(link, choices=PageChoices(player="http://127.0.0.1:9/a.mp4?key=1"))  # nobody listens there
    browser.open(link, **WIDE)
    browser.until("document.getElementById('what').textContent")
    assert text_of(browser, "#what") == "sample.mp4 could not be loaded"
    assert text_of(browser, "#why").startswith("127.0.0.1:9 does not answer, or the link has expired.")
    gone = folder / "gone.html"
    summary_of(folder / "gone.mp4").to_html(gone)
    browser.open(gone, **WIDE)
    assert text_of(browser, "#what") == "gone.mp4 is not here"
    browser.choose_file("#file", clip)
    browser.until("player.readyState > 1")


def test_a_format_that_the_browser_lacks_is_named(browser, folder, clip):
    """Damaged, or HEVC, whose sound alone plays: it says that this browser cannot decode it, and what to do."""
    damaged = folder / "damaged.mp4"
    damaged.write_bytes(clip.read_bytes()[:5_000])
    hevc = make_video(folder / "hevc.mp4", seconds=4, size=(320, 180), fps=4, encoding=Encoding(codec="libx265")).path
    for file in (damaged, hevc):
        browser_page = file.with_suffix(".html")
        facts = VideoFacts(source=str(file), duration=4.0, video_codec=file.stem)
        summary_of(file, video=facts).to_html(browser_page)
        browser.open(browser_page, **WIDE)
        browser.until("document.getElementById('what').textContent", seconds=5)
        assert text_of(browser, "#what") == f"This browser cannot decode {file.name}"
        assert file.stem in text_of(browser, "#why")
        assert shows(browser, "label.button")


def test_a_recording_has_its_own_layout(browser, folder, clip):
    """No black picture: a small player, what is said next to it, and no images."""
    facts = VideoFacts(source=str(clip), kind="audio", duration=20.0, audio_codec="aac")
    path = folder / "talk.html"
    summary_of(clip, video=facts).to_html(path)
    for size in (WIDE, PHONE):
        ready(browser, path, fragment="#t=7", **size)
        browser.until("player.currentTime === 7")
        assert browser.run("player.tagName") == "AUDIO"
        assert browser.run("document.querySelector('.stage').offsetHeight") < 120
        assert text_of(browser, "#now-entry") == "Try our latte."
        assert browser.run("document.images.length") == 0
        assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0


def test_all_scripts_and_hostile_words_are_right(browser, folder, clip):
    """Arabic runs to the left, Chinese and endless words wrap, and what looks like markup is shown as it is."""
    path = folder / "odd.html"
    odd = summary_of(
        clip, language="ar",
        summary=f"这是一段关于港口咖啡馆的短片。\n\nهذا مقطع قصير (Latte $3.80).\n\n{'Donaudampfschiff' * 30}\n\n{EVIL}",
        chapters=[Chapter(start=0, end=9, title="مقهى الميناء", summary=EVIL), Chapter(start=9, end=20, title=EVIL + "x" * 300)],
        events=moments((0, "https://example.com/" + "a" * 400), (9, EVIL)), speech=moments((0, "\u200fأهلاً بكم!"), (9, "灯塔。" * 60)),
        gaps=[FailedSegment(segment=1, start=8, end=9, reason=EVIL + "y" * 300)], notices=(EVIL,), model=EVIL,
    )  # fmt: skip
    odd.to_html(path, choices=PageChoices(title=EVIL + " مقهى " * 40))
    for size in (WIDE, PHONE):
        ready(browser, path, fragment="#t=9.5", **size)
        assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
        clipped = """[...document.querySelectorAll('.text, h3, #gaps, footer, .now')].filter((one) => one.checkVisibility()
            && one.scrollWidth > one.clientWidth + 1 && getComputedStyle(one).display !== 'inline').map((one) => one.outerHTML)"""
        assert browser.run(clipped) == []
        side = "[...document.querySelectorAll('#summary p')].map((one) => getComputedStyle(one).direction)"
        assert browser.run(side) == ["ltr", "rtl", "ltr", "ltr"]
    assert EVIL in browser.run("document.querySelector('#summary').innerText")
    assert browser.run("[...document.querySelectorAll('.group .text')].map((one) => one.textContent)")[1] == "أهلاً بكم!"
    assert browser.run("window.foreign ?? 0") == 0
    assert browser.complaints() == []
    browser.run(
        "document.body.append(Object.assign(document.createElement('script'), {textContent: 'window.foreign = 2'}))"
    )
    assert browser.run("window.foreign ?? 0") == 0  # the policy: no script but the page's own
    assert "Content Security Policy" in " ".join(browser.complaints())


@pytest.fixture(scope="module")
def long_page(folder, clip):
    """Two hours: 100 chapters and 3,400 entries."""
    draw = random.Random(1)
    words = ("the", "speaker", "explains", "a", "proof", "of", "lemma", "graph", "vertex", "edge", "board", "asks")

    def said(count):
        return " ".join(draw.choice(words) for _ in range(count))

    def series(count, every):
        return tuple(TimedNote(start=n * every, end=(n + 1) * every, text=said(12)) for n in range(count))

    path = folder / "long.html"
    summary_of(
        clip, video=VideoFacts(source=str(clip), duration=7200.0, width=640, height=360), summary=said(150),
        chapters=[Chapter(start=72 * n, end=72 * n + 72, title=said(4), summary=said(15)) for n in range(100)],
        events=series(1_200, 6), speech=series(1_600, 4.5), on_screen_text=series(600, 12),
    ).to_html(path)  # fmt: skip
    return path


SCROLL = """new Promise(async (done) => {
  const frame = () => new Promise((next) => requestAnimationFrame(next)), most = document.documentElement.scrollHeight;
  for (let n = 0; n <= 50; n++) { scrollTo({top: most * n / 50, behavior: "instant"}); await frame(); }
  done();
})"""
SEARCH = """new Promise((done) => {
  document.getElementById("search").value = "lemma vertex";
  document.getElementById("find").requestSubmit();
  document.getElementById("player").pause();
  requestAnimationFrame(() => setTimeout(done));
})"""


def test_hours_scroll_without_a_pause(browser, long_page):
    """100 chapters and 3,400 entries: no task takes 50 ms while the whole page is scrolled; a search takes a few such."""
    ready(browser, long_page, **WIDE)
    assert browser.run("document.querySelectorAll('#chapters li').length") == 100
    assert browser.run("document.querySelectorAll('.group li').length") == 3_400
    browser.run("new Promise((done) => requestIdleCallback(done))")
    scrolling, searching = browser.tasks(SCROLL), browser.tasks(SEARCH)
    print(
        f"\nscrolling: {len(scrolling)} tasks, the longest {max(scrolling):.0f} ms; searching: {max(searching):.0f} ms"
    )
    assert len(scrolling) > 50
    assert max(scrolling) < LONG_TASK
    assert max(searching) < 4 * LONG_TASK
    assert int(text_of(browser, "#found").partition(" ")[0].replace(",", "")) > 100


def test_print_shows_everything_on_paper(browser, page):
    """Summary, chapters and all entries in black on white, even after a search and in the dark; no player, no controls."""
    ready(browser, page, dark=True, **WIDE)
    browser.run("search.value = 'latte'; document.getElementById('find').requestSubmit(); player.pause()")
    browser.call(
        "Emulation.setEmulatedMedia", media="print", features=[{"name": "prefers-color-scheme", "value": "dark"}]
    )
    hidden = {one: shows(browser, one) for one in ("#player", "#find", "#theme", ".kinds", "#none", "dialog")}
    assert not any(hidden.values()), hidden
    texts = "[...document.querySelectorAll('.text')].filter((one) => one.checkVisibility({contentVisibilityAuto: true})).length"
    assert browser.run(texts) == 2 + 6 + 9
    assert browser.run("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.run("getComputedStyle(document.body).color") == "rgb(0, 0, 0)"
    parts = "[...document.querySelectorAll('#summary, .rest > *')].filter((one) => one.checkVisibility())"
    boxes = browser.run(f"{parts}.map((one) => one.getBoundingClientRect()).map((one) => [one.top, one.bottom])")
    assert len({round(below[0] - above[1]) for above, below in itertools.pairwise(boxes)}) == 1  # evenly spaced
    printed = browser.pdf()
    assert printed.startswith(b"%PDF")
    assert 1 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 3


AXE = importlib.util.find_spec("axe_core_python")
VIOLATIONS = """axe.run(document.querySelector(".trouble:not([hidden])") || document, {runOnly: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "best-practice"]})
  .then((found) => found.violations.map((one) => [one.id, one.nodes.map((node) => node.html.slice(0, 120) + node.failureSummary)]))"""


@pytest.mark.skipif(AXE is None, reason="axe-core-python is not installed (pip install axe-core-python)")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing(browser, page, folder, dark):
    """Contrast, names, roles and landmarks, at both widths: a page at rest, one that plays and is searched, an error."""
    script = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    gone = folder / "away.html"
    summary_of(folder / "away.mp4").to_html(gone)
    for shown, size in [(page, WIDE)] if dark else [(page, WIDE), (page, PHONE), (gone, WIDE)]:
        browser.open(shown, dark=dark, fragment="#t=9.5" if shown is page else "", **size)
        browser.run(script + "; 0")
        browser.run("document.querySelector('.kind').click()")
        assert browser.run(VIOLATIONS) == []
    browser.run(
        "search.value = 'zebra'; document.getElementById('find').requestSubmit(); document.getElementById('help').showModal()"
    )
    assert browser.run(VIOLATIONS) == []


@pytest.mark.skipif(AXE is None, reason="axe-core-python is not installed (pip install axe-core-python)")
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_axe_finds_nothing_on_the_pages_of_a_library(browser, folder, clip, dark):
    """What a search found and an answer, of a video, a recording and a file that is gone, at both widths."""
    script = importlib.resources.files("axe_core_python").joinpath("axe.min.js").read_text(encoding="utf-8")
    files = (str(clip), str(folder / "talk.wav"), str(folder / "gone.mp4"))
    windows = [Window(source=one, start=0.0, end=9.0, text="A latte.") for one in files]
    shown = folder / "found.html"
    for size in (WIDE, PHONE):
        shown.write_text(windows_page("What does a latte cost?", windows, folder), encoding="utf-8")
        browser.open(shown, dark=dark, **size)
        assert browser.run("document.documentElement.scrollWidth - innerWidth") <= 0
        browser.run(script + "; 0")
        assert browser.run(VIOLATIONS) == []
        assert browser.run("[...document.querySelectorAll('.none')].map((one) => one.offsetHeight > 30)") == [
            True,
            True,
        ]
        seen = []
        for _ in range(3):
            browser.press("Tab")
            seen.append(browser.run("document.activeElement.innerText"))
        assert [one.partition(" ")[0] for one in seen] == ["sample.mp4", "talk.wav", "gone.mp4"]


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
def test_every_control_is_reached_named_and_seen(browser, page, size):
    """Tab reaches every control in order, each with a visible frame and out from under the header; targets are 44 px high."""
    ready(browser, page, **size)
    seen = []
    for _ in range(60):
        browser.press("Tab")
        stop = browser.run("""(() => { const one = document.activeElement, box = one.getBoundingClientRect(), style = getComputedStyle(one);
            return [one.id || one.getAttribute('href') || one.tagName, one.matches(':focus-visible'), parseFloat(style.outlineWidth),
                box.top >= 0 && box.bottom <= innerHeight + 1, box.height]; })()""")
        if stop[0] == "BODY" or (seen and stop[0] == seen[0][0]):
            break
        seen.append(stop)
    names = [str(one[0]) for one in seen]
    assert names[:2] == ["#summary", "#timeline"]
    assert {"search", "theme", "player", "previous", "next", "#t=0", "#t=13"} <= set(names)
    ours = [one for one in seen if one[0] != "player"]  # its own controls are the browser's
    assert [one for one in ours if not one[1] or one[2] < 2] == []
    assert [one for one in ours if not one[3]] == []
    assert [one for one in ours[2:] if one[4] < 44] == []
