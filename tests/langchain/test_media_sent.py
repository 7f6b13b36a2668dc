"""Pictures, pages and animations through the chat model; the answer tells how each was sent."""

import io

import pytest
from langchain_core.messages import HumanMessage
from PIL import Image

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import SentMedia
from qwen_omni.errors import UnsupportedMediaError
from qwen_omni.standin.marked_media import make_image

CODES = ("1111", "2222", "3333", "4444")


@pytest.fixture(scope="module")
def media(tmp_path_factory):
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
def llm(standin, media):
    model = ChatQwenOmni(
        api_key=standin.api_key, base_url=standin.base_url, media_root=media, thinking=False, max_retries=0
    )
    yield model
    model.close()


def asks(*blocks) -> list[HumanMessage]:
    return [HumanMessage([*blocks, {"type": "text", "text": "What is shown?"}])]


@pytest.mark.parametrize("name", ["a.gif", "a.webp", "a.png", "a.avif"])
def test_an_animation_is_a_video(llm, standin, media, name):
    """Every frame arrives, in order; as an image it is refused with both ways out, one of which is a frame."""
    llm.invoke(asks({"type": "video", "path": str(media / name)}))
    assert standin.requests[-1].media[0].picture_codes == CODES

    with pytest.raises(UnsupportedMediaError, match=r"4 frames.*VideoPart.*frame=0"):
        llm.invoke(asks({"type": "image", "path": str(media / name)}))
    llm.invoke(asks({"type": "image", "path": str(media / name), "extras": {"frame": 2}}))
    assert standin.requests[-1].media[0].picture_codes == ("3333",)


def test_pages_are_images(llm, standin, media):
    """A TIFF of four pages is four images, in order."""
    answer = llm.invoke(asks({"type": "image", "path": str(media / "pages.tif")}))

    assert [one.picture_codes for one in standin.requests[-1].media] == [(code,) for code in CODES]
    assert [one["page"] for one in answer.response_metadata["media"]] == [0, 1, 2, 3]


def test_tiles_are_billed_as_estimated_and_told(llm, standin, media):
    """What is said of a tile is found in the original; streaming tells the same; the estimate equals the bill."""
    question = asks({"type": "image", "path": str(media / "tall.png")})
    answer = llm.invoke(question)
    seen, told = standin.requests[-1].media, answer.response_metadata["media"]

    assert len(seen) == len(told) > 5
    assert {code for one in seen for code in one.picture_codes} == set(CODES)
    estimate = llm.estimate(question)
    assert estimate.tokens.image == sum(one.picture_tokens for one in seen)
    assert estimate.tokens.image == answer.usage_metadata["input_token_details"]["image"]
    assert [tuple(one["sent_size"]) for one in told] == [(one.width, one.height) for one in seen]
    assert all(one["original_size"] == [1000, 9000] for one in told)
    whole = SentMedia(**told[-1])
    assert whole.to_original(*whole.sent_size) == (1000, 9000)
    streamed = None
    for chunk in llm.stream(question):
        streamed = chunk if streamed is None else streamed + chunk
    assert streamed.response_metadata["media"] == told


def test_a_tall_picture_is_shrunk_where_that_is_asked_for(llm, standin, media):
    """`tile=False` sends one image."""
    llm.invoke(asks({"type": "image", "path": str(media / "tall.png"), "extras": {"tile": False}}))

    assert len(standin.requests[-1].media) == 1


def test_each_medium_is_told_in_order(llm, media):
    """Links tell only that they are links, and a question without media tells nothing."""
    blocks = [
        {"type": "video", "path": str(media / "a.gif"), "extras": {"start": 1.0, "end": 4.0}},
        {"type": "image", "path": str(media / "a.png"), "extras": {"frame": 1}},
    ]
    video, image = llm.invoke(asks(*blocks)).response_metadata["media"]

    assert (video["kind"], video["start"], video["seconds"], video["original_size"]) == ("video", 1.0, 3.0, [320, 180])
    assert (image["kind"], image["page"], image["place"]) == ("image", 1, "message 0 part 1")
    assert "media" not in llm.invoke("Hello").response_metadata


def test_a_page_of_a_video_site_is_named(llm, standin):
    """Nothing is sent; the error holds the command."""
    with pytest.raises(UnsupportedMediaError, match=r"web page of YouTube.*yt-dlp"):
        llm.invoke(asks({"type": "video", "url": "https://www.youtube.com/watch?v=abc"}))
    assert not standin.requests
