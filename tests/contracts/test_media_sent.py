"""Pictures, pages and animations through both frameworks; the answer tells how each was sent."""

import io
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from qwen_omni import SentMedia
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import make_image
from tests.contracts.frameworks import FRAMEWORKS, Framework, Medium, each_framework

CODES = ("1111", "2222", "3333", "4444")


@pytest.fixture(scope="module")
def media(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("media")
    images = [Image.open(io.BytesIO(make_image(code, (320, 180)))).convert("RGB") for code in CODES]
    for name in ("a.gif", "a.webp", "a.png", "a.avif"):
        images[0].save(folder / name, save_all=True, append_images=images[1:], duration=1000)
    images[0].save(folder / "pages.tif", save_all=True, append_images=images[1:])
    tall = Image.new("RGB", (1000, 9000), "white")
    for at, image in enumerate(images):
        tall.paste(image, (300, 300 + at * 2500))
    tall.save(folder / "tall.png")
    return folder


@pytest.fixture
def llm(framework: Framework, standin: Standin, media: Path) -> Any:
    model = framework.model(standin, media_root=str(media), thinking=False)
    yield model
    model.close()


async def ask(framework: Framework, llm: Any, *media: Medium, way: int = 0) -> Any:
    """Ask about media, whole or streamed."""
    return framework.read(await [*framework.chats.values()][way](llm, framework.says(*media, "What is shown?")))


ANIMATIONS = [(FRAMEWORKS[0], name) for name in ("a.gif", "a.webp", "a.png", "a.avif")] + [(FRAMEWORKS[1], "a.webp")]


@pytest.mark.parametrize(("framework", "name"), ANIMATIONS)
async def test_an_animation_is_a_video(framework: Framework, llm: Any, standin: Standin, media: Path, name: str):
    """Every frame arrives, in order; as an image it is refused with both ways out, one of which is a frame."""
    await ask(framework, llm, Medium("video", path=media / name))
    assert standin.requests[-1].media[0].picture_codes == CODES
    with pytest.raises(UnsupportedMediaError, match=r"4 frames.*as a video.*frame=0"):
        await ask(framework, llm, Medium("image", path=media / name))
    await ask(framework, llm, Medium("image", path=media / name, options={"frame": 2}))
    assert standin.requests[-1].media[0].picture_codes == ("3333",)


@each_framework
async def test_pages_are_images(framework: Framework, llm: Any, standin: Standin, media: Path):
    """A TIFF of four pages is four images, in order."""
    answer = await ask(framework, llm, Medium("image", path=media / "pages.tif"))
    assert [one.picture_codes for one in standin.requests[-1].media] == [(code,) for code in CODES]
    assert [one["page"] for one in answer.media] == [0, 1, 2, 3]


@each_framework
@pytest.mark.slow
async def test_tiles_are_billed_as_estimated_and_told(framework: Framework, llm: Any, standin: Standin, media: Path):
    """What is said of a tile is found in the original; streaming tells the same; the estimate equals the bill."""
    tall = Medium("image", path=media / "tall.png")
    answer = await ask(framework, llm, tall)
    seen, told = standin.requests[-1].media, answer.media
    assert len(seen) == len(told) > 5
    assert {code for one in seen for code in one.picture_codes} == set(CODES)
    estimate = llm.estimate(framework.says(tall, "What is shown?"))
    assert estimate.tokens.image == sum(one.picture_tokens for one in seen) == answer.details["image"]
    assert [tuple(one["sent_size"]) for one in told] == [(one.width, one.height) for one in seen]
    assert all(one["original_size"] == [1000, 9000] for one in told)
    assert (told[0]["box"][:2], told[-1]["box"][2:]) == ([0, 0], [1000, 9000])
    whole = SentMedia(**told[-1])
    assert whole.to_original(*whole.sent_size) == (1000, 9000)
    assert (await ask(framework, llm, tall, way=2)).media == told
    await ask(framework, llm, Medium("image", path=media / "tall.png", options={"tile": False}))
    assert len(standin.requests[-1].media) == 1


@each_framework
async def test_each_medium_is_told_in_order(framework: Framework, llm: Any, media: Path):
    """With its part and its place; a question without media tells nothing."""
    part = Medium("video", path=media / "a.gif", options={"start": 1.0, "end": 4.0})
    answer = await ask(framework, llm, part, Medium("image", path=media / "a.png", options={"frame": 1}))
    video, image = answer.media
    assert (video["kind"], video["start"], video["seconds"], video["original_size"]) == ("video", 1.0, 3.0, [320, 180])
    assert (image["kind"], image["page"], image["place"]) == ("image", 1, "message 0 part 1")
    assert not (await ask(framework, llm)).media


@each_framework
async def test_a_page_of_a_video_site_is_named(framework: Framework, llm: Any, standin: Standin):
    """Nothing is sent; the error holds the command."""
    with pytest.raises(UnsupportedMediaError, match=r"web page of YouTube.*yt-dlp"):
        await ask(framework, llm, Medium("video", url="https://www.youtube.com/watch?v=abc"))
    assert not standin.requests
