"""Pictures, pages and animations through the LLM; the answer tells how each was sent."""

import io

import pytest
from llama_index.core.base.llms.types import ChatMessage, ImageBlock, TextBlock, VideoBlock
from PIL import Image

from llama_index_qwen_omni import QwenOmni
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.standin.marked_media import make_image

CODES = ("1111", "2222", "3333", "4444")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
    folder = tmp_path_factory.mktemp("media")
    images = [Image.open(io.BytesIO(make_image(code, (320, 180)))).convert("RGB") for code in CODES]
    images[0].save(folder / "a.webp", save_all=True, append_images=images[1:], duration=1000)
    images[0].save(folder / "pages.tif", save_all=True, append_images=images[1:])
    Image.new("RGB", (1000, 9000), "white").save(folder / "tall.png")
    return folder


@pytest.fixture
def llm(standin, media):
    return QwenOmni(api_key=standin.api_key, base_url=standin.base_url, media_root=media, thinking=False, max_retries=0)


def asks(block, **asked) -> list[ChatMessage]:
    return [ChatMessage(role="user", blocks=[block, TextBlock(text="What is shown?")], additional_kwargs=asked)]


def test_an_animation_is_a_video_and_no_image(llm, standin, media):
    """Every frame arrives; as an image it is refused with both ways out, one of which is a frame."""
    llm.chat(asks(VideoBlock(path=media / "a.webp")))
    assert standin.requests[-1].media[0].picture_codes == CODES

    with pytest.raises(UnsupportedMediaError, match=r"4 frames.*VideoPart.*frame=0"):
        llm.chat(asks(ImageBlock(path=media / "a.webp")))
    llm.chat(asks(ImageBlock(path=media / "a.webp"), frame=2))
    assert standin.requests[-1].media[0].picture_codes == ("3333",)


def test_pages_and_tiles_are_told(llm, standin, media):
    """In `raw`, the same for whole and streamed answers."""
    pages = llm.chat(asks(ImageBlock(path=media / "pages.tif"))).raw["media"]
    assert [one["page"] for one in pages] == [0, 1, 2, 3]

    question = asks(ImageBlock(path=media / "tall.png"))
    tiles = llm.chat(question).raw["media"]
    assert len(tiles) == len(standin.requests[-1].media) > 5
    assert tiles[0]["box"][:2] == [0, 0]
    assert tiles[-1]["box"][2:] == [1000, 9000]
    *_, last = llm.stream_chat(question)
    assert last.raw["media"] == tiles
    llm.chat(asks(ImageBlock(path=media / "tall.png"), tile=False))
    assert len(standin.requests[-1].media) == 1


def test_a_page_of_a_video_site_is_named(llm, standin):
    """Nothing is sent; the error holds the command."""
    with pytest.raises(UnsupportedMediaError, match=r"web page of Bilibili.*yt-dlp"):
        llm.chat(asks(VideoBlock(url="https://www.bilibili.com/video/BV1xx411c7mD")))
    assert not standin.requests
