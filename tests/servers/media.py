"""The media of the servers' table: 25 files of every kind, made with FFmpeg's own test sources."""

import subprocess
from pathlib import Path

IMAGES = ("28x28", "64x48", "224x224", "640x360", "1280x720", "1920x1080", "100x1500")
SECONDS = (0.4, 1, 1.3, 2.5, 5.3, 10, 30.7)
FORMATS = ("mp3", "m4a", "flac", "ogg")
VIDEOS = {  # name: size, rate, seconds, whether it has sound
    "heard": ("320x180", 25, 4, True),
    "silent": ("320x180", 25, 4, False),
    "second": ("640x360", 30, 10, True),
    "large": ("1280x720", 10, 20.5, True),
    "slow": ("640x360", 4, 5, True),
    "tiny": ("96x96", 2, 3, False),
    "odd": ("224x224", 25, 6.7, True),
}


def _ffmpeg(*arguments: object) -> None:
    subprocess.run(["ffmpeg", "-hide_banner", "-loglevel", "error", "-y", *map(str, arguments)], check=True)


def make(folder: Path) -> dict[str, Path]:
    """Make all files; return them by name."""
    made: dict[str, Path] = {}
    for size in IMAGES:
        made[f"image {size}"] = path = folder / f"{size}.png"
        _ffmpeg("-f", "lavfi", "-i", f"testsrc2=size={size}:rate=1", "-frames:v", 1, path)
    for seconds in SECONDS:
        made[f"audio {seconds} s"] = path = folder / f"{seconds}.wav"
        _ffmpeg("-f", "lavfi", "-i", f"sine=440:duration={seconds}", "-ar", 16_000, path)
    for form in FORMATS:
        made[f"audio {form}"] = path = folder / f"sound.{form}"
        _ffmpeg("-i", folder / "5.3.wav", path)
    for name, (size, rate, seconds, heard) in VIDEOS.items():
        made[f"video {name}"] = path = folder / f"{name}.mp4"
        sound = ["-f", "lavfi", "-i", f"sine=440:duration={seconds}"] if heard else []
        shown = f"testsrc2=size={size}:rate={rate}:duration={seconds}"
        _ffmpeg("-f", "lavfi", "-i", shown, *sound, "-pix_fmt", "yuv420p", path)
    return made
