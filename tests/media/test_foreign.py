"""Files of other programs: every second that a player shows and sounds is in what is sent, or the file is refused.

Each file goes through the client to the stand-in, which bills what was estimated.
"""

import importlib.util
import os
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from qwen_omni import ChatOptions, ChatRequest, OmniClient, Settings, estimate, user
from qwen_omni.errors import MediaError
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.messages import VideoPart
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.request.question import MediaChoices, message_of
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import Encoding, make_audio, make_video
from qwen_omni.standin.media.perceive import Memory
from tests.support.foreign import AUDIO_SECONDS, ROWS, SHARED, VIDEO_SECONDS, Row

pytestmark = pytest.mark.slow
_SEEN_SLACK, _HEARD_SLACK = 0.3, 0.15  # seconds
_QUESTION = "What is said?"
_TRIED = [
    pytest.param(row, id=row.file, marks=[pytest.mark.long] * (number % 2)) for number, row in enumerate(ROWS)
]  # CI tries every second one; neighbours are of one kind
_ADAPTED = ["emptyv.mp4", "latea.mkv", "two.ts", "a.wmv", "xing.mp3", "phase.m4a"]  # through both adapters as well


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """The marked files that all recipes begin with, and their codes; the workers of a run share what takes long."""
    folder = tmp_path_factory.mktemp("foreign")
    encoding = Encoding(options=(("preset", "veryfast"), ("crf", "20"), ("bf", "0")))
    film = make_video(folder / "a.mp4", seconds=VIDEO_SECONDS, size=(192, 144), fps=10, seed=31, encoding=encoding)
    voices = {
        name: make_audio(folder / f"{name}.wav", seconds=AUDIO_SECONDS, seed=seed).codes
        for name, seed in (("a", 32), ("b", 33))
    }
    return folder, film.codes, voices


@pytest.fixture(scope="module")
def service():
    """A stand-in, and settings that reach it."""
    with Standin() as standin:
        yield standin, Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0.0)


@pytest.fixture
def client(service, tmp_path: Path):
    """A client of the stand-in, whose log is empty."""
    standin, settings = service
    standin.clear()
    with OmniClient(replace(settings, cache_dir=tmp_path / "cache")) as one:
        yield one


@pytest.mark.parametrize("row", _TRIED)
def test_a_file_of_another_program_is_read_right(row: Row, sources, service, client, tmp_path: Path):
    """Whole and in part, by what is seen and heard in it, for the tokens that were estimated; or refused."""
    path = make(row, sources[0], tmp_path)
    if row.refused:
        with pytest.raises(MediaError, match=row.refused):
            prepare(path)
        return
    seen, heard = _codes(row, sources)
    (told,) = bill(client, row, path, "static")
    (facts,) = service[0].requests[-1].media
    assert told.seconds == pytest.approx(row.seconds or float(len(seen) or len(heard)), abs=row.slack)
    assert [mark.code for mark in facts.picture_marks] == seen
    assert [mark.code for mark in facts.sound_marks] == heard
    bill(client, row, path, "auto", only_untouched=True)

    marks = facts.picture_marks if len(facts.picture_marks) > 1 else facts.sound_marks
    offsets = [float(mark.start) for mark in marks]
    first = max(1, len(offsets) // 2 - 1)  # over the seam of joined files
    begin, end = round(offsets[first], 2), round(offsets[min(first + 3, len(offsets) - 1)], 2) + 0.7
    with prepare(path, budget="static", start=begin, end=end, choices=PrepareOptions(audio_track=row.track)) as part:
        found = Memory().recall(part.info.kind, part.read())
    _check_part(found.picture_marks, facts.picture_marks, begin, end, _SEEN_SLACK)
    _check_part(found.sound_marks, facts.sound_marks, begin, end, _HEARD_SLACK)


def bill(client: OmniClient, row: Row, path: Path, budget: str, *, only_untouched: bool = False):
    """Send a file, and compare the bill with the estimate of the same request; return the estimate of its media."""
    parts = message_of([path], choices=MediaChoices(audio_track=row.track)).parts
    parts = tuple(replace(one, budget=budget) if isinstance(one, VideoPart) else one for one in parts)
    request = ChatRequest(
        model=DEFAULT_MODEL, messages=(user(*parts, _QUESTION),), options=ChatOptions(thinking=False, max_tokens=9)
    )
    media = estimate(request, settings=client.settings).media
    if only_untouched and not all(one.exact for one in media):
        return media
    details = client.complete(request).usage.input_details
    billed = {kind: details.get(kind, 0) for kind in ("video", "audio")}
    estimated = {kind: sum(getattr(one.tokens, kind) for one in media) for kind in billed}
    assert estimated == billed, media
    return media


@pytest.mark.parametrize("door", ["langchain", "llama_index"])
@pytest.mark.parametrize("file", _ADAPTED)
def test_an_adapters_estimate_equals_the_bill(door: str, file: str, sources, service, tmp_path: Path):
    """The same through both frameworks."""
    standin, settings = service
    standin.clear()
    path = make(next(row for row in ROWS if row.file == file), sources[0], tmp_path)
    estimated = _DOORS[door](settings, path, tmp_path)

    (facts,) = standin.requests[-1].media
    assert (estimated.tokens.video, estimated.tokens.audio) == (facts.picture_tokens, facts.sound_tokens)


def _through_langchain(settings: Settings, path: Path, folder: Path):
    from langchain_qwen_omni import ChatQwenOmni  # noqa: PLC0415

    model = ChatQwenOmni(api_key=settings.api_key, base_url=settings.base_url, media_root=folder)
    kind = "audio" if path.suffix in (".mp3", ".m4a") else "video"
    messages = [HumanMessage([{"type": "text", "text": _QUESTION}, {"type": kind, "path": str(path)}])]
    told = model.estimate(messages)
    model.invoke(messages)
    return told


def _through_llama_index(settings: Settings, path: Path, folder: Path):
    pytest.importorskip("llama_index.core")
    from llama_index.core.base.llms.types import AudioBlock, ChatMessage, TextBlock, VideoBlock  # noqa: PLC0415

    from llama_index_qwen_omni import QwenOmni  # noqa: PLC0415

    model = QwenOmni(api_key=settings.api_key.get_secret_value(), base_url=settings.base_url, media_root=folder)
    block = AudioBlock(path=path) if path.suffix in (".mp3", ".m4a") else VideoBlock(path=path)
    messages = [ChatMessage(role="user", blocks=[TextBlock(text=_QUESTION), block])]
    told = model.estimate(messages)
    model.chat(messages)
    return told


_DOORS = {"langchain": _through_langchain, "llama_index": _through_llama_index}


def make(row: Row, folder: Path, tmp_path: Path) -> Path:
    """Write the file of a row, or skip the test where a program is missing."""
    newest = _newest()
    for program in row.programs:
        if (program == "$NEW_FFMPEG" and newest is None) or (program[0] != "$" and shutil.which(program) is None):
            pytest.skip(f"{program.strip('$')} is not installed")
    for name in {word for word in re.findall(r"[\w.]+", row.recipe) if word in SHARED}:
        if not (folder / name).exists():
            _run(SHARED[name], folder)
    for source in folder.iterdir():
        (tmp_path / source.name).symlink_to(source)
    (tmp_path / row.file).unlink(missing_ok=True)
    errors = _run(row.recipe, tmp_path)
    path = tmp_path / row.file
    if "Unknown encoder" in errors:
        pytest.skip(errors.strip()[:100])
    assert path.exists(), errors
    assert path.stat().st_size, errors
    return path


def _run(recipe: str, folder: Path) -> str:
    """Run a recipe in a folder and return what it complains about."""
    return subprocess.run(
        ["bash", "-c", recipe], cwd=folder, capture_output=True, text=True, check=False, timeout=120,
        env={**os.environ, "NEW_FFMPEG": _newest() or "", "LC_ALL": "C"},
    ).stderr  # fmt: skip


def _newest() -> str | None:
    """The newest ffmpeg of a wheel, if it is installed."""
    if "NEW_FFMPEG" in os.environ:
        return os.environ["NEW_FFMPEG"]
    if importlib.util.find_spec("imageio_ffmpeg") is None:
        return None
    import imageio_ffmpeg  # noqa: PLC0415 - optional

    return str(imageio_ffmpeg.get_ffmpeg_exe())


def _codes(row: Row, sources) -> tuple[list[str], list[str]]:
    _, film, voices = sources
    seen = [film[second] for second in row.picture or ()]
    heard = [(film if row.picture is not None else voices[name[0]])[int(name[1:])] for name in row.sound]
    return seen, heard


def _check_part(found, whole, begin: float, end: float, slack: float) -> None:
    """What begins well inside the part is in it, at its time."""
    inside = [mark for mark in whole if begin + slack < mark.start < end - 1]
    for mark in inside:
        times = [one.start for one in found if one.code == mark.code]
        assert any(abs(time - (mark.start - begin)) <= slack for time in times), (mark, times)


def test_the_matrix_is_wide():
    """At least two hundred files of other programs are tried, each once."""
    assert len(ROWS) >= 200
    assert len({row.file for row in ROWS}) == len({row.what for row in ROWS}) == len(ROWS)
    assert all(re.search(r"\w", row.recipe) for row in ROWS)
