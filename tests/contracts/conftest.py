"""A model of each framework, and the media of the cassettes."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from qwen_omni.standin.marked_media import make_audio, make_image, make_video
from tests.contracts.frameworks import Medium
from tests.contracts.recorded import AUDIO, FILM, IMAGE, LINK, VIDEO, reach


@pytest.fixture
async def llm(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """A model of the test's framework, which may read the folder of its media: at the stand-in, or of a cassette."""
    asked = request.node.callspec.params
    if request.node.get_closest_marker("vcr") is None:
        root = str(request.getfixturevalue("clip").path.parent)
        model = asked["framework"].model(request.getfixturevalue("standin"), media_root=root)
    else:
        root = str(request.getfixturevalue("media")[VIDEO].path.parent)
        request.getfixturevalue("answering_service")
        model = asked["face"].model(reach(), **{"media_root": root, **asked["case"].fields})
    yield model
    model.close()
    await model.aclose()


@pytest.fixture(scope="session")
def media(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Medium]:
    """Media with fixed codes, so that the recorded media are these."""
    folder = tmp_path_factory.mktemp("recorded")
    make_video(folder / "clip.mp4", codes=["2401", "2402", "2403"], size=(320, 180), fps=5)
    codes = [str(3100 + second) for second in range(10)]
    make_video(folder / "film.mp4", codes=codes, size=(128, 96), fps=2, sound=False)
    make_audio(folder / "call.wav", codes=["3501", "3502", "3503"])
    return {
        VIDEO: Medium("video", path=folder / "clip.mp4"),
        FILM: Medium("video", path=folder / "film.mp4"),
        AUDIO: Medium("audio", path=folder / "call.wav"),
        IMAGE: Medium("image", data=make_image("2718", (320, 240))),
        LINK: Medium("video", url="https://media.example.com/there-is-no-such-video.mp4"),
    }
