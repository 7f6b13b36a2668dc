"""Paths and names that moved: the old ones lead to the same objects for one more release, and say so."""

import dataclasses
import importlib
import pickle
import re
import subprocess
import sys
import tomllib
import warnings
from fractions import Fraction
from pathlib import Path

import pytest

import qwen_omni
from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from qwen_omni import (
    ChatOptions,
    MediaBudget,
    MediaInfo,
    MediaPlan,
    PageChoices,
    Prepared,
    RateLimitError,
    Sampling,
    SummaryOptions,
    UsageLedger,
    estimate,
    profile_for,
    sample,
    user,
)
from qwen_omni._moved import GONE, MOVED, MOVED_NAMES, MOVED_OPTIONS, MOVED_TOOLS
from qwen_omni.archive.steps import Summarize
from qwen_omni.integrations.media_options import read_budget
from qwen_omni.video.source_video import look_over
from qwen_omni.work_store.store import digest

ROOT = Path(__file__).parents[1]


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_leads_to_the_new_module(old, monkeypatch):
    with warnings.catch_warnings(action="ignore"):
        importlib.import_module(old.rpartition(".")[0])  # it may have moved as well
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} is now {MOVED[old]}; qwen-omni 0.3 removes the old name"):
        assert importlib.import_module(old) is importlib.import_module(MOVED[old])


@pytest.mark.parametrize("old", MOVED_NAMES)
def test_an_old_name_is_the_new_object(old):
    with pytest.warns(DeprecationWarning, match=f"qwen_omni.{old} is now"):
        assert getattr(qwen_omni, old) is getattr(qwen_omni, MOVED_NAMES[old])


def test_an_old_path_serves_from_imports():
    """As a user's program has them, in a process of its own."""
    program = "from qwen_omni.captions.batch import caption_many; from qwen_omni.standin.truth import make_video"
    subprocess.run([sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program], check=True)


@pytest.mark.filterwarnings("ignore:qwen_omni.captions is now")
def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("qwen_omni.captions.nothing")


@pytest.mark.parametrize(
    ("kind", "old", "new", "value"),
    [
        (SummaryOptions, "wish", "focus", "dogs"),
        (ChatOptions, "search", "enable_search", True),
        (MediaBudget, "sound_bitrate", "audio_bitrate", 64_000),
        (PageChoices, "pictures", "images", 3),
    ],
)
def test_an_old_keyword_sets_the_new_option(kind, old, new, value):
    """When a value is made, copied and read; the new keyword warns of nothing."""
    wanted = kind(**{new: value})
    with pytest.warns(DeprecationWarning, match=f"{kind.__name__}\\({old}=\\) is now {new}="):
        assert kind(**{old: value}) == wanted
    with pytest.warns(DeprecationWarning, match=old) as told:
        assert dataclasses.replace(kind(), **{old: value}) == wanted
    assert [one.filename for one in told] == [__file__], "the line of the caller, or Python hides it"
    with pytest.warns(DeprecationWarning, match=f"{kind.__name__}.{old} is now"):
        assert getattr(wanted, old) == value
    assert pickle.loads(pickle.dumps(wanted)) == dataclasses.replace(wanted) == wanted
    with pytest.raises(TypeError):
        kind(**{f"{old}es": value})


def test_old_attributes_of_prepared_media():
    with pytest.warns(DeprecationWarning, match=r"MediaInfo\(sound_duration=\) is now audio_duration="):
        info = MediaInfo(
            kind="video", container="mp4", media_type="video/mp4", size_bytes=9, sound_duration=Fraction(2)
        )
    plan = MediaPlan(action="pass", reason="it fits", budget=MediaBudget(), sampling=Sampling())
    prepared = Prepared(info=info, source_info=info, plan=plan)
    old_names = [(value, old) for value in (info, plan, prepared) for old in MOVED_OPTIONS if hasattr(type(value), old)]
    assert len(old_names) == 11
    for value, old in old_names:
        new = MOVED_OPTIONS[old]
        with pytest.warns(DeprecationWarning, match=f"{type(value).__name__}.{old} is now {new}; "):
            assert getattr(value, old) == getattr(value, new)


def test_stored_work_is_found_under_its_key(tmp_path):
    """The keys of 0.1, whose budget had `sound_bitrate`; and a budget that was stored with that name is read."""
    own = SummaryOptions(budget=MediaBudget(name="own", fps=1))
    assert Summarize(options=own).digest == "6638a579bdb01409e8f927cb2141b29e"
    video = look_over(sample(tmp_path).path, own, profile_for(own.model), media_root=tmp_path)
    assert digest(video.key_fields()) == "a23ef7bd1b3c1ca13891adea3f3210d163a045dd897642621dfba6ce11eae72d"
    with pytest.warns(DeprecationWarning, match="sound_bitrate"):
        assert read_budget({"fps": 1, "sound_bitrate": 64_000}, "options") == MediaBudget(fps=1, audio_bitrate=64_000)


def test_old_keywords_of_the_adapters():
    with pytest.warns(DeprecationWarning, match="search= is now enable_search="):
        model = ChatQwenOmni(api_key="sk-x", search=True)
    assert model.enable_search is True
    with pytest.warns(DeprecationWarning, match="search is now"):
        assert model.search is True
    with pytest.warns(DeprecationWarning, match="wish"):
        assert LongVideoChain(model, wish="dogs").options.focus == "dogs"


def test_the_status_of_an_error():
    with pytest.warns(DeprecationWarning, match="RateLimitError.status is now status_code"):
        assert RateLimitError("Too many requests.", status_code=429).status == 429


def test_the_asynchronous_client_of_an_llm():
    base = pytest.importorskip("llama_index_qwen_omni")
    llm = base.QwenOmni(api_key="sk-x")
    with pytest.warns(DeprecationWarning, match="async_client.. is now aclient"):
        assert llm.async_client() is llm.aclient()


TABLE = re.findall(r"^\| `([^`]+)` +\| `([^`]+)` +\|", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)


def test_the_changelog_has_a_table_of_all_of_them():
    """Every old path, name and tool, and nothing that does not warn."""
    paths = MOVED | {f"qwen_omni.{old}": f"qwen_omni.{new}" for old, new in MOVED_NAMES.items()}
    assert {old: new for old, new in TABLE if old.startswith("qwen_omni.")} == paths
    others = {old for old, _ in TABLE} - set(paths)
    assert {f"{old}=" for old in MOVED_OPTIONS} | set(MOVED_TOOLS) <= {
        name.rpartition("(")[2].rstrip(")") for name in others
    }


def test_the_release_that_removes_them_is_not_this_one():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    version = tuple(map(int, project["version"].split(".")[:2]))
    assert version < tuple(map(int, GONE.split()[1].split("."))), "remove what _moved.py lists"


def test_lines_are_those_of_the_text():
    for value in (UsageLedger(), estimate(user("Hello."))):
        with pytest.warns(DeprecationWarning, match="lines"):
            assert value.lines() == str(value).splitlines()
