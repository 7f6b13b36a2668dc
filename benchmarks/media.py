"""Media preparation against the newest ffmpeg: wall, CPU and memory, as ratios of the same round.

    python benchmarks/media.py [--rounds 5] [--clips film2,slides2] [--ffmpeg PATH] [--bbb bbb.mp4] [--folder DIR]

Peers: the `ffmpeg` of the newest imageio-ffmpeg wheel (`pip install imageio-ffmpeg` into any environment, or name a
binary) with the line a user would write, and `ffprobe`. Clips are made once with that ffmpeg: `film` is Big Buck
Bunny (CC BY 3.0, out of the moviepy sdist) brought to 1080p30 or 4K30 with grain; `grain` and `slides` are drawn;
`bbb` is the film itself. Whole processes are measured as the kernel counts them. Each round runs the peer and then
ours, so a ratio compares neighbours in time. Short: `--rounds 1 --clips slides2`. Long: `--rounds 5` with all clips.
"""

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

SOUND = ["-ac", "1", "-ar", "16000", "-c:a", "aac", "-b:a", "32k"]
LINE = ["-vf", "fps=4,scale=-2:720", "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", *SOUND]
H264 = ["-c:v", "libx264", "-profile:v", "high", "-preset", "fast", "-bf", "3", "-pix_fmt", "yuv420p"]
TONE = ["-f", "lavfi", "-i", "sine=f=330:r=44100,tremolo=f=3"]
AAC = ["-c:a", "aac", "-b:a", "128k", "-ac", "2"]
OURS = """
import sys
from qwen_omni import prepare, split
path, budget, target = sys.argv[1:4]
if target == "split":
    made = [segment.info.size_bytes for segment in split(path, seconds=90, budget=budget)]
else:
    made = prepare(path, budget=budget)
    made.path.rename(target)
"""
PROBE = """
import sys, time
from qwen_omni.media.prepare import as_source, look_at
look_at(as_source(sys.argv[1]))
begin = time.perf_counter()
for _ in range(9):
    look_at(as_source(sys.argv[1]))
print((time.perf_counter() - begin) / 9)
"""


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    megabytes: float


def cost_of(command: list[str]) -> Cost:
    """Run a process to its end and tell what it took."""
    before = os.times()
    with (
        tempfile.TemporaryFile() as said_file,
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=said_file) as process,
    ):
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = status
        said_file.seek(0)
        said = said_file.read()
    after = os.times()
    if status:
        sys.exit(f"{command[0]} failed: {said.decode(errors='replace')[-800:]}")
    return Cost(after.elapsed - before.elapsed, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024)


def clips(ffmpeg: str, folder: Path, bbb: Path | None) -> dict[str, Callable[[Path], list[str]]]:
    """Tell how each clip is made."""

    def drawn(source: str, seconds: int, *coding: str) -> Callable[[Path], list[str]]:
        return lambda out: [ffmpeg, "-v", "error", "-f", "lavfi", "-i", source, *TONE, "-t", str(seconds), *H264,
                            *coding, *AAC, str(out)]  # fmt: skip

    def film(change: str, seconds: int, rate: str) -> Callable[[Path], list[str]]:
        return lambda out: [ffmpeg, "-v", "error", "-ss", "60", "-t", str(seconds), "-i", str(bbb), "-vf", change,
                            *H264, "-g", "60", "-b:v", rate, *AAC, str(out)]  # fmt: skip

    def longer(short: str) -> Callable[[Path], list[str]]:
        return lambda out: [ffmpeg, "-v", "error", "-stream_loop", "4", "-i", str(folder / f"{short}.mp4"), "-c",
                            "copy", str(out)]  # fmt: skip

    grain = "testsrc2=s=1920x1080:r=30,rotate=0.05*sin(t/3):c=gray,noise=alls=14:allf=t+u"
    slides = "testsrc=s=1920x1080:r=30,noise=alls=2:allf=t"
    made = {
        "grain2": drawn(grain, 120, "-g", "60", "-b:v", "5300k"),
        "slides2": drawn(slides, 120, "-g", "250", "-b:v", "1100k"),
        "grain10": longer("grain2"),
        "slides10": longer("slides2"),
    }
    if bbb is None:
        return made
    return made | {
        "film2": film("fps=30,scale=1920:1080,noise=alls=7:allf=t", 120, "5300k"),
        "film4k": film("fps=30,scale=3840:2160,noise=alls=5:allf=t", 60, "18000k"),
        "film10": longer("film2"),
        "bbb": lambda out: ["cp", str(bbb), str(out)],
    }


def ensure(name: str, known: dict[str, Callable[[Path], list[str]]], folder: Path) -> Path:
    """Make a clip and what it is made of, once."""
    path = folder / f"{name}.mp4"
    if not path.exists():
        if name.endswith("10"):
            ensure(f"{name[:-2]}2", known, folder)
        print(f"making {path.name} ...", flush=True)
        part = path.with_name(f"part-{path.name}")
        subprocess.run(known[name](part), check=True)
        part.rename(path)
    return path


def compare(name: str, theirs: list[str], ours: list[str], rounds: int) -> None:
    """Print medians of paired rounds."""
    pairs = [(cost_of(theirs), cost_of(ours)) for _ in range(rounds)]
    wall = [mine.wall / other.wall for other, mine in pairs]
    cpu = [mine.cpu / other.cpu for other, mine in pairs]
    middle = statistics.median
    busy = middle(mine.cpu / mine.wall for _, mine in pairs) / (os.cpu_count() or 1)
    print(
        f"{name:<28} wall x {middle(wall):.2f} ({min(wall):.2f}-{max(wall):.2f})  cpu x {middle(cpu):.2f} "
        f"({min(cpu):.2f}-{max(cpu):.2f})  peer {middle(other.wall for other, _ in pairs):.1f} s "
        f"{middle(other.megabytes for other, _ in pairs):.0f} MB  ours {middle(mine.wall for _, mine in pairs):.1f} s "
        f"{max(mine.megabytes for _, mine in pairs):.0f} MB  cores busy {busy:.0%}",
        flush=True,
    )


def quality(ffmpeg: str, source: Path, made: Path) -> str:
    """Measure SSIM of a 720p 4 fps file against its source, scaled with Lanczos."""
    graph = "[1:v]fps=4:round=up,scale=-2:720:flags=lanczos[a];[0:v][a]ssim"
    told = subprocess.run(
        [ffmpeg, "-v", "info", "-i", str(made), "-t", "60", "-i", str(source), "-lavfi", graph, "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    return told.rpartition("All:")[2].split()[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clips", default="")
    parser.add_argument("--ffmpeg", default=None)
    parser.add_argument("--bbb", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "qwen-omni-bench-clips")
    options = parser.parse_args()
    ffmpeg = options.ffmpeg or newest_ffmpeg()
    if ffmpeg is None:
        sys.exit("There is no ffmpeg to compare with: pip install imageio-ffmpeg, or name one with --ffmpeg.")
    options.folder.mkdir(parents=True, exist_ok=True)
    known = clips(ffmpeg, options.folder, options.bbb)
    version = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"peer: ffmpeg {version}; {os.cpu_count()} cores; {options.rounds} rounds, medians (least-most)")
    for name in options.clips.split(",") if options.clips else known:
        measure(name, ensure(name, known, options.folder), ffmpeg, options)


def newest_ffmpeg() -> str | None:
    with contextlib.suppress(ImportError):
        import imageio_ffmpeg  # noqa: PLC0415 - a peer, not needed where --ffmpeg names one

        return imageio_ffmpeg.get_ffmpeg_exe()
    return shutil.which("ffmpeg")


def measure(name: str, path: Path, ffmpeg: str, options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        theirs, ours = Path(folder) / "theirs.mp4", Path(folder) / "ours.mp4"
        line = [ffmpeg, "-v", "error", "-y", "-i", str(path), *LINE, str(theirs)]
        mine = [sys.executable, "-c", OURS, str(path), "static"]
        compare(f"{name}: 720p 4 fps", line, [*mine, str(ours)], options.rounds)
        print(
            f"{'':<28} bytes {theirs.stat().st_size:,} peer, {ours.stat().st_size:,} ours; SSIM "
            f"{quality(ffmpeg, path, theirs)} peer, {quality(ffmpeg, path, ours)} ours", flush=True,
        )  # fmt: skip
        segments = ["-f", "segment", "-segment_time", "90", "-force_key_frames", "expr:gte(t,n_forced*90)"]
        one_pass = [ffmpeg, "-v", "error", "-y", "-i", str(path), *LINE, *segments, f"{folder}/%03d.mp4"]
        compare(f"{name}: 90 s segments", one_pass, [*mine, "split"], max(1, options.rounds // 2))
        glance = [sys.executable, "-c", OURS, str(path), "glance", str(Path(folder) / "g.mp4")]
        compare(f"{name}: glance / static", [*mine, str(ours)], glance, max(1, options.rounds // 2))
        if shutil.which("ffprobe"):
            probe(name, path, options.rounds)


def probe(name: str, path: Path, rounds: int) -> None:
    peer = [cost_of(["ffprobe", "-v", "error", "-show_format", "-show_streams", str(path)]).wall for _ in range(rounds)]
    ours = [
        float(subprocess.run([sys.executable, "-c", PROBE, str(path)], capture_output=True, check=True).stdout)
        for _ in range(rounds)
    ]
    ratio = statistics.median(mine / other for mine, other in zip(ours, peer, strict=True))
    print(f"{name + ': probe':<28} x {ratio:.2f} of an ffprobe process ({statistics.median(ours) * 1000:.0f} ms)")


if __name__ == "__main__":
    main()
