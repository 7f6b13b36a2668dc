"""Media preparation against the newest ffmpeg: wall, CPU and memory, as ratios of the same round, with their targets.

    python benchmarks/media.py [--rounds 5] [--long-rounds 2] [--clips film2,slides2] [--only prepare] [--bbb SDIST]

Peers: the `ffmpeg` of the newest imageio-ffmpeg wheel (`pip install imageio-ffmpeg` in any environment, or pass a
binary with --ffmpeg) with the command a user would write, two at once for segments; `ffprobe`; and for `glance` our
own `static`. Clips are made once, in --folder, with that ffmpeg: `film` is Big Buck Bunny (CC BY 3.0, from the
moviepy 2.2.1 sdist: `pip download --no-deps --no-binary :all: moviepy==2.2.1`) converted to 1080p30 or 4K30 with grain;
`grain`, `grain4k` and `slides` are synthetic; `bbb` is the film itself. Whole processes are measured, as counted by the
kernel. Each round runs everything once, a peer and then ours, so that a ratio compares adjacent runs. The table at the
end shows whether each target is met. Clips that fit into one segment of 90 s are not cut.

On two idle cores a round takes 70 s for `film2`, 60 s for `film4k`, 7 min for `film10`; five rounds of film2, film10,
film4k, slides2, slides10 and bbb take an hour and a half. Making the clips takes half an hour, once.
"""

import argparse
import contextlib
import io
import os
import shutil
import statistics
import subprocess
import sys
import tarfile
import tempfile
import time
import zipfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

SOUND = ["-ac", "1", "-ar", "16000", "-c:a", "aac", "-b:a", "32k"]
LINE = ["-vf", "fps=4,scale=-2:720", "-c:v", "libx264", "-preset", "veryfast", "-crf", "26", *SOUND]
H264 = ["-c:v", "libx264", "-profile:v", "high", "-preset", "fast", "-bf", "3", "-pix_fmt", "yuv420p"]
SEGMENT = 90  # seconds
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
from qwen_omni.media.prepare import look_at
from qwen_omni.media.source import as_source
look_at(as_source(sys.argv[1]))
begin = time.perf_counter()
for _ in range(9):
    look_at(as_source(sys.argv[1]))
print((time.perf_counter() - begin) / 9)
"""


LENGTH = """
import sys
from qwen_omni.media.prepare import look_at
from qwen_omni.media.source import as_source
print(float(look_at(as_source(sys.argv[1])).info.duration))
"""
KEPT = """
import hashlib, sys
from fractions import Fraction
from qwen_omni.media.probe.container import open_for_work, video_stream
from qwen_omni.media.prepare import look_at
from qwen_omni.media.source import as_source
from qwen_omni.media.encode.frames import FrameRun, read_frames
from qwen_omni.media.work import Deadline

def digest(frame):
    return hashlib.sha256(b"".join(bytes(plane) for plane in frame.planes)).digest()

look = look_at(as_source(sys.argv[1]))
source = look.reopenable
with source.open() as file, open_for_work(file, source.size_bytes) as container:
    wanted = FrameRun(begin=look.info.origin, period=Fraction(1, 4), count=480)
    shown = read_frames(container, video_stream(container), wanted, Deadline())
    kept = {frame.pts: digest(frame) for frame, _, _ in shown}
same = 0
with source.open() as file, open_for_work(file, source.size_bytes) as container:
    for frame in container.decode(video_stream(container)):
        same += frame.pts in kept and digest(frame) == kept[frame.pts]
        if frame.pts is not None and frame.pts > max(kept):
            break
print(same, len(kept))
"""
PARTS = ("prepare", "segments", "glance", "frames", "probe")


@dataclass(frozen=True)
class Cost:
    wall: float
    cpu: float
    megabytes: float


def cost_of(command: list[str]) -> Cost:
    """Run a process to its end and return its cost."""
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
    """Return the commands that make each clip."""

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
        "grain4k": drawn(grain.replace("1920x1080", "3840x2160"), 60, "-g", "60", "-b:v", "18000k"),
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
    """Make a clip and its sources, once."""
    path = folder / f"{name}.mp4"
    if not path.exists():
        if name.endswith("10"):
            ensure(f"{name[:-2]}2", known, folder)
        print(f"making {path.name} ...", flush=True)
        part = path.with_name(f"part-{path.name}")
        subprocess.run(known[name](part), check=True)
        part.rename(path)
    return path


TARGETS = {
    "wall": 0.85, "cpu": 0.80, "segments wall": 0.80, "glance wall": 0.20, "probe": 0.35, "memory": 300.0,
    "segments memory": 300.0, "memory 4k": 450.0, "memory 10 / 2 min": 1.15, "ssim": 0.995, "bytes": 1.05,
    "kept frames": 1.0,
}  # fmt: skip
AT_LEAST = frozenset({"ssim", "kept frames"})
TABLE: list[tuple[str, str, float]] = []  # clip, what, value


def note(clip: str, what: str, value: float) -> None:
    """Record a figure for the table at the end."""
    TABLE.append((clip, what, value))


def run_rounds(commands: dict[str, list[list[str]]], rounds: int) -> list[dict[str, Cost]]:
    """Run all commands once per round, one after another, so that the ratios of a round compare adjacent runs."""
    return [{name: cost_of_all(some) for name, some in commands.items()} for _ in range(rounds)]


def compare(clip: str, what: str, costs: list[dict[str, Cost]], peer: str) -> None:
    """Print and record the medians of the ratios of each round."""
    pairs = [(one[peer], one[what]) for one in costs]
    wall = [mine.wall / other.wall for other, mine in pairs]
    cpu = [mine.cpu / other.cpu for other, mine in pairs]
    middle = statistics.median
    busy = middle(mine.cpu / mine.wall for _, mine in pairs) / (os.cpu_count() or 1)
    print(
        f"{clip + ': ' + what:<28} wall x {middle(wall):.2f} ({min(wall):.2f}-{max(wall):.2f})  cpu x {middle(cpu):.2f}"
        f" ({min(cpu):.2f}-{max(cpu):.2f})  peer {middle(other.wall for other, _ in pairs):.1f} s "
        f"{middle(other.megabytes for other, _ in pairs):.0f} MB  ours {middle(mine.wall for _, mine in pairs):.1f} s "
        f"{max(mine.megabytes for _, mine in pairs):.0f} MB  cores busy {busy:.0%}",
        flush=True,
    )
    prefix = "" if what == "prepare" else f"{what} "
    note(clip, f"{prefix}wall", middle(wall))
    note(clip, f"{prefix}cpu", middle(cpu))
    if what != "glance":
        note(clip, f"{prefix}memory", max(mine.megabytes for _, mine in pairs))


def cost_of_all(commands: list[list[str]]) -> Cost:
    """Run commands concurrently and return their combined cost."""
    if len(commands) == 1:
        return cost_of(commands[0])
    begin = time.perf_counter()
    with ThreadPoolExecutor(len(commands)) as pool:
        costs = list(pool.map(cost_of, commands))
    spent = time.perf_counter() - begin
    return Cost(spent, sum(cost.cpu for cost in costs), sum(cost.megabytes for cost in costs))


def show_table() -> None:
    """Print one table of ratios and targets."""
    values = {(clip, what): value for clip, what, value in TABLE}
    for short in ("grain", "slides", "film"):
        both = [values.get((f"{short}{minutes}", "memory")) for minutes in (2, 10)]
        if both[0] and both[1]:
            note(short, "memory 10 / 2 min", both[1] / both[0])
    print(f"\n{'clip':<10} {'what':<20} {'value':>8} {'target':>8}   holds")
    for clip, what, value in TABLE:
        target = TARGETS.get("memory 4k" if what == "memory" and "4k" in clip else what)
        good = target is None or (value >= target if what in AT_LEAST else value <= target)
        aim = "" if target is None else f"{'>=' if what in AT_LEAST else '<='} {target:g}"
        verdict = "" if target is None else "yes" if good else "NO"
        print(f"{clip:<10} {what:<20} {value:>8.3g} {aim:>8}   {verdict}")


def quality(ffmpeg: str, source: Path, made: Path) -> float:
    """Measure SSIM of a 720p 4 fps file against its source, scaled with Lanczos."""
    graph = "[1:v]fps=4:round=up,scale=-2:720:flags=lanczos[a];[0:v][a]ssim"
    log = subprocess.run(
        [ffmpeg, "-v", "info", "-i", str(made), "-t", "60", "-i", str(source), "-lavfi", graph, "-f", "null", "-"],
        capture_output=True, text=True, check=True,
    ).stderr  # fmt: skip
    return float(log.rpartition("All:")[2].split()[0])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--long-rounds", type=int, default=None, help="for clips of ten minutes, if not as many")
    parser.add_argument("--clips", default="")
    parser.add_argument("--only", default="", help=f"parts of {','.join(PARTS)}, or names of clips with --clips")
    parser.add_argument("--ffmpeg", default=None)
    parser.add_argument("--bbb", type=Path, default=None)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "qwen-omni-bench-clips")
    options = parser.parse_args()
    ffmpeg = options.ffmpeg or newest_ffmpeg()
    if ffmpeg is None:
        sys.exit("There is no ffmpeg to compare with: pip install imageio-ffmpeg, or name one with --ffmpeg.")
    options.folder.mkdir(parents=True, exist_ok=True)
    if options.bbb is not None and options.bbb.name.endswith(".tar.gz"):
        options.bbb = film_out_of(options.bbb, options.folder)
    known = clips(ffmpeg, options.folder, options.bbb)
    version = subprocess.run([ffmpeg, "-version"], capture_output=True, text=True, check=True).stdout.split()[2]
    print(f"peer: ffmpeg {version}; {os.cpu_count()} cores; {options.rounds} rounds, medians (least-most)")
    for name in options.clips.split(",") if options.clips else known:
        measure(name, ensure(name, known, options.folder), ffmpeg, options)
    show_table()


def film_out_of(sdist: Path, folder: Path) -> Path:
    """Extract Big Buck Bunny from the moviepy sdist, where it is in the ZIP file of a tutorial."""
    film = folder / "sdist-bbb.mp4"
    if not film.exists():
        with tarfile.open(sdist) as archive:
            name = next(name for name in archive.getnames() if name.endswith("moviepy_10_minutes.zip"))
            held = archive.extractfile(name)
            if held is None:
                sys.exit(f"{name} in {sdist} is no file.")
            with zipfile.ZipFile(io.BytesIO(held.read())) as tutorial:
                inside = next(name for name in tutorial.namelist() if name.endswith("/bbb.mp4"))
                film.write_bytes(tutorial.read(inside))
    return film


def newest_ffmpeg() -> str | None:
    with contextlib.suppress(ImportError):
        import imageio_ffmpeg  # noqa: PLC0415 - a peer, not needed with --ffmpeg

        return imageio_ffmpeg.get_ffmpeg_exe()
    return shutil.which("ffmpeg")


def measure(name: str, path: Path, ffmpeg: str, options: argparse.Namespace) -> None:
    wanted = options.only.split(",") if options.only else PARTS
    long = name.endswith("10") or name == "bbb"
    rounds = options.long_rounds if long and options.long_rounds else options.rounds
    with tempfile.TemporaryDirectory() as folder:
        commands, peers = commands_for(path, ffmpeg, Path(folder), wanted)
        costs = run_rounds(commands, rounds)
        for what, peer in peers.items():
            compare(name, what, costs, peer)
        if "prepare" in wanted:
            theirs, ours = Path(folder) / "theirs.mp4", Path(folder) / "ours.mp4"
            note(name, "bytes", ours.stat().st_size / theirs.stat().st_size)
            other, own = quality(ffmpeg, path, theirs), quality(ffmpeg, path, ours)
            print(f"{'':<28} SSIM {other} peer, {own} ours", flush=True)
            note(name, "ssim", round(own / other, 3))
    if "frames" in wanted:
        done = subprocess.run([sys.executable, "-c", KEPT, str(path)], capture_output=True, text=True, check=True)
        same, count = (int(number) for number in done.stdout.split())
        note(name, "kept frames", same / count)
    if "probe" in wanted and shutil.which("ffprobe"):
        probe(name, path, rounds)


def commands_for(
    path: Path, ffmpeg: str, folder: Path, wanted: Sequence[str]
) -> tuple[dict[str, list[list[str]]], dict[str, str]]:
    """Return the commands of a round by name, and which are compared with which."""
    mine = [sys.executable, "-c", OURS, str(path)]
    commands: dict[str, list[list[str]]] = {}
    peers: dict[str, str] = {}
    if "prepare" in wanted:
        commands["ffmpeg"] = [[ffmpeg, "-v", "error", "-y", "-i", str(path), *LINE, str(folder / "theirs.mp4")]]
        peers["prepare"] = "ffmpeg"
    if "prepare" in wanted or "glance" in wanted:
        commands["prepare"] = [[*mine, "static", str(folder / "ours.mp4")]]
    if "glance" in wanted:
        commands["glance"] = [[*mine, "glance", str(folder / "glance.mp4")]]
        peers["glance"] = "prepare"
    seconds = seconds_of(path)
    if "segments" in wanted and seconds > SEGMENT:  # a single segment is not cut
        commands["ffmpeg segments"] = two_processes(ffmpeg, path, folder, seconds)
        commands["segments"] = [[*mine, "static", "split"]]
        peers["segments"] = "ffmpeg segments"
    return commands, peers


def seconds_of(path: Path) -> float:
    """Return the duration of a clip in seconds."""
    done = subprocess.run([sys.executable, "-c", LENGTH, str(path)], capture_output=True, text=True, check=True)
    return float(done.stdout)


def two_processes(ffmpeg: str, path: Path, folder: Path, seconds: float) -> list[list[str]]:
    """Return ffmpeg's fastest commands for 90 s segments: two processes, each seeking to its half of the segments."""
    count = -(-seconds // SEGMENT)
    half = (count + 1) // 2 * SEGMENT
    cut = ["-f", "segment", "-segment_time", f"{SEGMENT}", "-force_key_frames", f"expr:gte(t,n_forced*{SEGMENT})"]
    start = [ffmpeg, "-v", "error", "-y", "-threads", str(max(1, (os.cpu_count() or 2) // 2))]
    first = [*start, "-t", str(half), "-i", str(path), *LINE, *cut, f"{folder}/a%03d.mp4"]
    if half >= seconds:
        return [first]
    return [first, [*start, "-ss", str(half), "-i", str(path), *LINE, *cut, f"{folder}/b%03d.mp4"]]


def probe(name: str, path: Path, rounds: int) -> None:
    peer = [cost_of(["ffprobe", "-v", "error", "-show_format", "-show_streams", str(path)]).wall for _ in range(rounds)]
    ours = [
        float(subprocess.run([sys.executable, "-c", PROBE, str(path)], capture_output=True, check=True).stdout)
        for _ in range(rounds)
    ]
    ratio = statistics.median(mine / other for mine, other in zip(ours, peer, strict=True))
    note(name, "probe", ratio)
    print(f"{name + ': probe':<28} x {ratio:.2f} of an ffprobe process ({statistics.median(ours) * 1000:.0f} ms)")


if __name__ == "__main__":
    main()
