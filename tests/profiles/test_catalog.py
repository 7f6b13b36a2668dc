"""The facts about models: one row per fact, with the day that its source was read."""

import re
import runpy
import warnings
from datetime import date
from pathlib import Path

import pytest

from qwen_omni.profiles import (
    DEFAULT_MODEL,
    DEFAULT_SPEECH_MODEL,
    DEFAULT_TEXT_MODEL,
    USUAL_RATE,
    known_models,
    near_names,
    profile_for,
    retirement_of,
)
from qwen_omni.profiles.catalog import OMNI, PROFILES, RETIREMENT, SUMMARISERS
from qwen_omni.profiles.transcription import TRANSCRIBERS

FLASH_38, TEXT_37, TEXT_38 = "qwen3.8-omni-flash", "qwen3.7-plus", "qwen3.8-flash"
SEEING = frozenset({"text", "image", "video"})

# model, fact, value, the day its source was read
FACTS = [
    (FLASH_38, "context", 1_000_000, "2026-09-30"),
    (FLASH_38, "max_input", 991_808, "2026-09-30"),
    (FLASH_38, "max_input_thinking", 983_616, "2026-09-30"),
    (FLASH_38, "max_output", 131_072, "2026-09-30"),
    (FLASH_38, "thinks_by_default", True, "2026-09-30"),
    (FLASH_38, "thinking", "effort", "2026-09-30"),
    (FLASH_38, "speaks", False, "2026-09-30"),
    (FLASH_38, "explicit_cache", False, "2026-09-30"),
    (FLASH_38, "limits.video_seconds", 7200, "2026-09-18"),
    (FLASH_38, "limits.videos", 64, "2026-09-18"),
    (FLASH_38, "limits.inline_bytes", 10_000_000, "2026-09-30"),
    (FLASH_38, "limits.sampled_fps", (0.1, 15), "2026-09-30"),
    ("qwen3.5-omni-plus", "limits.sampled_fps", (0.1, 10), "2026-09-18"),
    ("qwen3.5-omni-plus", "limits.inline_bytes", 10_000_000, "2026-09-18"),
    ("qwen3.5-omni-plus", "limits.video_seconds", 3600, "2026-09-18"),
    ("qwen3.5-omni-plus", "json_object", True, "2026-09-18"),
    ("qwen3.5-omni-flash", "json_object", False, "2026-09-18"),
    ("qwen3-omni-flash", "limits.video_seconds", 150, "2026-09-18"),
    (TEXT_37, "context", 1_000_000, "2026-10-10"),
    (TEXT_37, "max_input", 991_808, "2026-10-10"),
    (TEXT_37, "max_input_thinking", 983_616, "2026-10-10"),
    (TEXT_37, "max_output", 131_072, "2026-10-10"),
    (TEXT_37, "thinks_by_default", True, "2026-10-12"),
    (TEXT_37, "thinking", "switch", "2026-10-12"),
    (TEXT_37, "inputs", SEEING, "2026-10-10"),
    (TEXT_37, "json_schema", True, "2026-10-10"),
    (TEXT_37, "explicit_cache", True, "2026-10-11"),
    (TEXT_38, "max_input", 991_808, "2026-10-10"),
    (TEXT_38, "max_input_thinking", 983_616, "2026-10-10"),
    (TEXT_38, "max_output", 131_072, "2026-10-10"),
    (TEXT_38, "thinks_by_default", True, "2026-10-12"),
    (TEXT_38, "thinking", "effort", "2026-10-10"),
    (TEXT_38, "inputs", SEEING, "2026-10-10"),
    (TEXT_38, "tokens.frames", (4, 2000), "2026-10-12"),
    (TEXT_38, "tokens.audio_in", 0, "2026-10-12"),
    ("qwen3.6-plus", "thinks_by_default", True, "2026-05-27"),
    ("qwen3.6-flash", "explicit_cache", True, "2026-10-11"),
    ("qwen-plus", "thinks_by_default", False, "2026-05-27"),
    ("qwen-plus", "max_input", 997_952, "2026-05-27"),
]


@pytest.mark.parametrize(("model", "name", "value", "read"), FACTS, ids=[f"{row[0]} {row[1]}" for row in FACTS])
def test_facts_as_documented(model, name, value, read):
    """Each fact has the documented value, and the model's source names the page's date (or that of the constant)."""
    found = profile = profile_for(model)
    for step in name.split("."):
        found = getattr(found, step)
    assert found == value
    dates = set(re.findall(r"\d{4}-\d{2}-\d{2}", profile.source))
    assert read in dates | {"2026-09-30"}  # limits that every model shares are dated where they stand


def test_every_source_has_a_date():
    """Models, prices, transcribers, the retirement and the exchange rate: each says when it was read."""
    sources = [profile.source for profile in PROFILES.values()]
    sources += [row.source for name in PROFILES for rows in profile_for(name).prices.values() for row in rows]
    for one in TRANSCRIBERS.values():
        sources += [one.source, *(row.source for row in one.token_prices.values())]
    sources += [RETIREMENT.source, USUAL_RATE.source]
    for source in sources:
        days = [date.fromisoformat(found) for found in re.findall(r"\d{4}-\d{2}-\d{2}", source)]
        assert days, source
        assert max(days) <= date(2026, 11, 28), source
        assert not re.search(r"gateway|third part|public project", source), source


def test_facts_that_should_be_read_again():
    """`make facts` names what is older than its limit, by the newest date of its source, and nothing else."""
    script = runpy.run_path(str(Path(__file__).parents[2] / "scripts" / "facts.py"))
    known = dict(script["facts"]())
    assert {
        "model qwen3.8-flash", "price of qwen-plus in intl", "transcription model fun-asr", "exchange rate",
        "rate limits of qwen3.5-omni-plus in cn", "embedding model text-embedding-v4", "price of a batch",
    } <= set(known)  # fmt: skip
    assert any(what.startswith("qwen_omni/standin/rules/limits.py:") for what in known)
    judged = script["judged"]
    source = "Model pricing, read 2026-05-30; a page of 2025-01-01"
    assert judged("a price", source, date(2026, 11, 26), 180) == ""
    assert judged("a price", source, date(2026, 11, 27), 180).startswith("a price: read 2026-05-30, 181 days ago")
    assert judged("a limit", "Rate limits, October 2026", date(2027, 3, 30), 180) == ""
    assert judged("a limit", "Rate limits, October 2026", date(2027, 3, 31), 180).startswith("a limit: read 2026-10-01")
    assert not any(judged(what, source, date(2026, 11, 28), 10_000) for what, source in known.items())


RETIRED = [
    "qwen-omni-turbo", "qwen-omni-turbo-latest", "qwen-omni-turbo-2025-01-19", "qwen-omni-turbo-2025-03-26",
    "qwen-omni-turbo-realtime", "Qwen-Omni-Turbo", "qwen2.5-omni-7b", "qwen3-omni-flash-2025-09-15",
    "qwen3-omni-flash-2025-12-01", "qwen3-omni-flash-realtime", "qwen3-omni-flash-realtime-2025-12-01",
    "qwen3-omni-30b-a3b-captioner",
]  # fmt: skip


@pytest.mark.parametrize("model", RETIRED)
def test_names_of_the_retirement_notice(model):
    """Every name of notice 118434, its day and its replacement, which is not retired itself."""
    found = retirement_of(model)
    assert (found.on, found.replacement) == ("2026-10-10", "qwen3.5-omni-plus")
    assert retirement_of(found.replacement) is None


@pytest.mark.parametrize("profile", [*OMNI, *SUMMARISERS], ids=lambda one: one.name)
def test_names_that_are_in_service(profile):
    """The bare name `qwen3-omni-flash` is not on the notice, nor is any other current one."""
    assert retirement_of(profile.name) is None


NEWER = {
    "qwen3.9-omni-flash": FLASH_38, "qwen4-omni-plus": FLASH_38, "qwen3.10-omni-flash": FLASH_38,
    "qwen10-omni": FLASH_38, "qwen4-omni-flash-2027-01-01": FLASH_38, "qwen4-plus": TEXT_38, "qwen3.9-flash": TEXT_38,
}  # fmt: skip
OTHERS = {
    "qwen3.8-omni-plus": FLASH_38, "qwen3.5-omni-max": "qwen3.5-omni-plus", "qwen3.7-omni-flash": FLASH_38,
    "qwen3.7-flash": TEXT_37, "qwen3.8-max": TEXT_38, "qwen-max": "qwen-plus", "qwen-plus-character": "qwen-plus",
    "qwen3.8-omni-flash-realtime": FLASH_38, "qwen2.5-omni-3b": FLASH_38, "gpt-4o": FLASH_38, "my-av-model": FLASH_38,
}  # fmt: skip
TYPOS = {
    "qwen3.8-omni-flsh": FLASH_38, "qwen3.8-omni_flash": FLASH_38, "Qwen3.8-Omni-Flash": FLASH_38,
    "qwen38-omni-flash": FLASH_38, "qwen3.5-omni-pluss": "qwen3.5-omni-plus", "qwen3.7-pluss": TEXT_37,
    "qwen-pluss": "qwen-plus", "dashscope/qwen3.8-omni-flash": FLASH_38, "qwen/qwen3-omni-flash": "qwen3-omni-flash",
    "models/qwen3.5-omni-plus-2026-03-15": "qwen3.5-omni-plus", "qwen3_8_omni_flash": FLASH_38,
    "\uff51wen3.8\uff0domni-flash": FLASH_38, "qwen 3.7 plus": TEXT_37,
}  # fmt: skip


def _warned(model: str) -> str:
    profile_for.cache_clear()
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        profile_for(model)
        profile_for(model)
    assert len(caught) == 1
    assert caught[0].filename == "qwen_omni"  # no path of a file
    assert "\n" not in str(caught[0].message)
    return str(caught[0].message)


@pytest.mark.parametrize(("model", "kin"), (NEWER | OTHERS | TYPOS).items())
def test_whose_limits_an_unknown_name_gets(model, kin):
    """Under its own name, without prices, with one warning of one line; newer ones get the newest family's limits."""
    text = _warned(model)
    profile, like = profile_for(model), profile_for(kin)
    assert (profile.name, profile.prices) == (model, {})
    assert (profile.limits, profile.max_input, profile.inputs) == (like.limits, like.max_input, like.inputs)
    assert f"limits of {kin!r}" in text
    assert "its price is unknown" in text
    assert ("newer than this version" in text) is (model in NEWER)
    assert ("did you mean" in text) is (model in TYPOS)
    assert (near_names(model)[:1] == (kin,)) is (model in TYPOS)


SNAPSHOTS = ["qwen3.8-omni-flash-2026-09-17", "qwen-plus-latest", "qwen-plus-2025-12-01", "qwen-plus-us"]


@pytest.mark.parametrize("model", SNAPSHOTS)
def test_snapshots_need_no_warning(model):
    """A date, `latest` or a scope behind a known name; inference in the US only has a price list of its own."""
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        profile = profile_for(model)
    assert bool(profile.prices) is not model.endswith("-us")
    assert profile.limits == profile_for(FLASH_38 if "omni" in model else "qwen-plus").limits
    assert near_names(model) == ()


def test_known_names_have_no_near_ones():
    """What is known is never called a typo; the default is current."""
    for name in known_models():
        assert near_names(name) == ()
        assert profile_for(name).max_input <= profile_for(name).context
    assert {DEFAULT_MODEL, DEFAULT_SPEECH_MODEL, DEFAULT_TEXT_MODEL} <= {*known_models()}
    assert retirement_of(DEFAULT_MODEL) is None
    assert profile_for(DEFAULT_SPEECH_MODEL).speaks
