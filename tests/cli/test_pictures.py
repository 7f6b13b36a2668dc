"""`--tile`, `--no-tile`, `--frame` and `--audio-track` of the commands that take pictures and animations."""

import json

import pytest
from PIL import Image

from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_video

COLOURS = ((220, 40, 40), (40, 180, 60), (50, 60, 220))


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """A tall picture, an animation of three frames, a file of three pages, and a video."""
    tmp_path = tmp_path_factory.mktemp("pictures")
    images = [Image.new("RGB", (64, 48), colour) for colour in COLOURS]
    Image.new("RGB", (500, 6000), COLOURS[0]).save(tmp_path / "tall.png")
    images[0].save(tmp_path / "moves.gif", save_all=True, append_images=images[1:], duration=800)
    images[0].save(tmp_path / "pages.tif", save_all=True, append_images=images[1:])
    make_video(tmp_path / "film.mp4", seconds=3, size=(160, 120), fps=5)
    return {name: str(tmp_path / name) for name in ("tall.png", "moves.gif", "pages.tif", "film.mp4")}


def ask(path: str, *options: str) -> tuple[str, ...]:
    return ("ask", path, "What is this?", *options)


def caption(path: str, *options: str) -> tuple[str, ...]:
    return ("caption", path, "--json", *options)


def estimate(path: str, *options: str) -> tuple[str, ...]:
    return ("estimate", path, "--json", *options)


COMMANDS = [ask, caption, estimate]
SENT = [
    ("tall.png", (), 3),
    ("tall.png", ("--tile",), 3),
    ("tall.png", ("--no-tile",), 1),
    ("pages.tif", (), 3),
    ("pages.tif", ("--frame", "1"), 1),
    ("moves.gif", ("--frame", "2"), 1),
    ("tall.png", ("--frame", "0"), 3),
    ("tall.png", ("--frame", "0", "--no-tile"), 1),
]


def images_sent(standin: Standin) -> list[str]:
    """Digests of what the service received as pictures, in order."""
    return [media.sha256 for media in standin.requests[-1].media if media.kind == "image"]


@pytest.mark.parametrize("row", SENT, ids=str)
@pytest.mark.parametrize("write", COMMANDS)
def test_as_many_images_as_the_options_say(command, files, standin: Standin, write, row) -> None:
    """Of a tall picture its tiles, of a file its pages, or the one that was chosen; an estimate is what that bills."""
    name, options, count = row
    code, out, err = command(*write(files[name], *options))

    assert code == 0, err
    if write is estimate:
        assert not standin.requests
        told = json.loads(out)["estimates"][0]["tokens"]["image"]
        assert command(*ask(files[name], *options))[0] == 0
        assert told == sum(media.tokens for media in standin.requests[-1].media)
    assert len(images_sent(standin)) == count


def test_each_frame_is_another_picture(command, files, standin: Standin) -> None:
    """What is sent is the frame of that number, not the first."""
    sent: list[str] = []
    for frame in range(3):
        code, _, err = command(*ask(files["moves.gif"], "--frame", str(frame)))
        assert code == 0, err
        sent += images_sent(standin)
    assert len(set(sent)) == len(sent) == 3


# Numbers that the parser of the command line refuses, in its own words: these of its newest version, or of its lowest.
BELOW_ZERO = ("Input should be greater than or equal to 0", "-1 is not in the range x>=0")
NOT_WHOLE = ("unable to parse string as an integer", "'1.5' is not a valid integer")
REFUSED = [
    ("moves.gif", ("--frame", "3"), "has 3 frames; there is no frame 3. Choose one from 0 to 2."),
    ("pages.tif", ("--frame", "9"), "has 3 frames; there is no frame 9. Choose one from 0 to 2."),
    ("tall.png", ("--frame", "1"), "has 1 frame; there is no frame 1"),
    ("film.mp4", ("--frame", "1"), "is not an image; --frame chooses one of an animation or of several pages"),
    ("moves.gif", ("--frame", "-1"), BELOW_ZERO),
    ("moves.gif", ("--frame", "1.5"), NOT_WHOLE),
    ("tall.png", ("--audio-track", "1"), "is an image; --audio-track is for local video and audio."),
    ("moves.gif", ("--frame", "0", "--audio-track", "1"), "is an image; --audio-track is for local video and audio."),
    ("moves.gif", ("--audio-track", "1"), "has no audio track 1; its audio tracks: none"),
    ("moves.gif", ("--audio-track", "second"), "--audio-track must be 'auto', 'mix' or the number of a track"),
    ("moves.gif", ("--audio-track", "-1"), "--audio-track must be 'auto', 'mix' or the number of a track"),
]


@pytest.mark.parametrize("row", REFUSED, ids=str)
@pytest.mark.parametrize("write", COMMANDS)
def test_refusals_have_numbers(command, files, standin: Standin, write, row) -> None:
    """The same words from each command, and nothing is sent."""
    name, options, told = row
    code, _, err = command(*write(files[name], *options))

    assert code == 2, err
    shown = " ".join(err.replace("│", " ").split())
    assert any(text in shown for text in ((told,) if isinstance(told, str) else told))
    assert "Traceback" not in err
    assert not standin.requests
