"""One call or many: every model of the table, short and long videos, every strategy; forecast and run decide alike."""

import pytest

from qwen_omni.cli.main import run as run_command
from qwen_omni.client import OmniClient
from qwen_omni.errors import MediaDoesNotFitError, NotFoundError
from qwen_omni.profiles.catalog import OMNI, RETIRED
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_video
from qwen_omni.video.engine.run import over_source
from qwen_omni.video.forecast import forecast
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.summarize import summarize

DURATIONS = (12, 45, 160)
"""Below every limit of a single call, above that of qwen-omni-turbo (40 s), above that of qwen3-omni-flash (150 s)."""


@pytest.fixture(scope="module")
def videos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("videos")
    for seconds in DURATIONS:
        make_video(folder / f"{seconds}.mp4", seconds=seconds, size=(64, 48), fps=2, sound=False, seed=3)
    return {seconds: folder / f"{seconds}.mp4" for seconds in DURATIONS}


@pytest.fixture(scope="module")
def standin():
    """One that still answers to the models with the shortest videos."""
    with Standin(retired=True) as service:
        yield service


@pytest.fixture
def settings(tmp_path):
    """A server that may still have every model."""
    return Settings.load(api_key="none is needed", base_url="http://10.0.0.7/compatible-mode/v1", cache_dir=tmp_path)


@pytest.mark.parametrize("names", [{"model": "qwen-omni-turbo"}, {"text_model": "qwen2.5-omni-7b"}], ids=str)
def test_a_retired_model_ends_the_run_before_it_begins(videos, tmp_path, names):
    """Neither forecast nor run look at the file: what answers about segments and what joins them are checked first."""
    settings = Settings.load(api_key="none is needed", cache_dir=tmp_path)
    for attempt in (forecast, over_source):
        with pytest.raises(NotFoundError, match=r"retired on 2026-10-10.*use qwen3\.5-omni-plus"):
            attempt(tmp_path / "missing.mp4", settings, SummaryOptions(**names))


@pytest.mark.parametrize("strategy", ["map_reduce", "single", "auto"])
@pytest.mark.parametrize("seconds", DURATIONS)
@pytest.mark.parametrize("profile", [*OMNI, *RETIRED], ids=lambda one: one.name)
def test_what_is_forecast_is_what_runs_and_no_segment_is_too_long(videos, settings, profile, seconds, strategy):
    """One row of the forecast is chosen, it is the way of the run, and the model takes every call of it."""
    options = SummaryOptions(model=profile.name, strategy=strategy)
    longest = profile.limits.video_seconds
    if strategy == "single" and seconds > longest:
        with pytest.raises(MediaDoesNotFitError, match=rf"{seconds}.* s of .*{longest:,.0f} s in one call.*map_reduce"):
            over_source(videos[seconds], settings, options)
        with pytest.raises(MediaDoesNotFitError) as caught:
            forecast(videos[seconds], settings, options)
        assert (caught.value.limit, caught.value.actual) == (longest, seconds)
        return
    footage, whole = over_source(videos[seconds], settings, options)
    assert whole == (seconds <= longest)  # all are shorter than single_call_seconds
    assert footage.seconds <= longest
    rows = forecast(videos[seconds], settings, options)
    (chosen,) = [one for one in rows if one.chosen]
    assert (chosen.strategy, chosen.segments) == ("single" if whole else "map_reduce", footage.about)
    assert not [one for one in rows if one.strategy == "single"] or whole


@pytest.mark.parametrize("single_call_seconds", [180, float("inf")])
def test_a_minute_is_summarised_by_a_model_that_takes_forty_seconds(videos, standin, tmp_path, single_call_seconds):
    """It is cut, and nothing is missing from the summary."""
    options = SummaryOptions(model="qwen-omni-turbo", single_call_seconds=single_call_seconds)
    with OmniClient(_settings(standin, tmp_path)) as client:
        found = summarize(videos[45], client=client, options=options)
    assert (found.strategy, found.gaps) == ("map_reduce", ())
    assert found.segments == 2


def test_the_command_cuts_it_too_and_its_forecast_says_so(videos, standin, tmp_path, monkeypatch, capsys):
    """`--dry-run` marks the way that the run then takes."""
    monkeypatch.setenv("QWEN_OMNI_CACHE_DIR", str(tmp_path))
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    command = ["summarize", str(videos[45]), "--model", "qwen-omni-turbo", "--base-url", standin.base_url]
    with pytest.raises(SystemExit) as ended:
        run_command([*command, "--dry-run"])
    shown = capsys.readouterr()
    assert ended.value.code == 0, shown.err
    assert "→" in next(line for line in shown.out.splitlines() if line.split()[-8:-6] == ["map_reduce", "medium"])
    assert "single" not in shown.out
    monkeypatch.setenv("DASHSCOPE_API_KEY", standin.api_key)
    with pytest.raises(SystemExit) as ended:
        run_command(command)
    assert ended.value.code == 0, capsys.readouterr().err


def _settings(standin, folder):
    return Settings.load(api_key=standin.api_key, base_url=standin.base_url, cache_dir=folder)
