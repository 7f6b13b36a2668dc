"""`make live` works as far as the stand-in shows: every fact is tried, and none differs."""

import re
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

from qwen_omni.profiles.rate_limits import RateLimits

ROOT = Path(__file__).parents[1]


@pytest.mark.slow
def test_every_fact_is_tried(tmp_path):
    out = tmp_path / "live.json"
    command = [sys.executable, "scripts/live.py", "--offline", "--out", out]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout
    assert out.read_text() == "[]\n"
    for subject in (
        "without streaming", "limits of", "bill of the sample clip", "JSON mode", "a tool, qwen3.5-omni-plus",
        "cached tokens", "uploads on a", "video link in Batch Chat", "Batch File", "inline item",
    ):  # fmt: skip
        assert re.search(rf"^as believed .*{subject}", done.stdout, re.MULTILINE), subject


@pytest.mark.parametrize(
    ("own", "published", "agrees"),
    [
        (RateLimits(rpm=60, tpm=100_000), RateLimits(rpm=60, tpm=100_000), True),
        (RateLimits(rpm=30_000, tpm=5_000_000), RateLimits(rpm=30_000, tpm=2_000_000), True),  # a higher tier
        (RateLimits(rpm=30_000, tpm=5_000_000), RateLimits(rpm=30_000), True),  # not published
        (RateLimits(rpm=60), RateLimits(rpm=60, tpm=100_000), True),
        (RateLimits(rpm=30, tpm=100_000), RateLimits(rpm=60, tpm=100_000), False),
    ],
)
def test_published_limits_are_the_least(own, published, agrees):
    """An account that has more is no difference to report."""
    assert runpy.run_path(str(ROOT / "scripts" / "live.py"))["_allows"](own, published) is agrees
