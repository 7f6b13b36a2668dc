"""Still pictures of every kind come out upright, eight bits, on white, and no larger than allowed."""

import io

import numpy as np
import pytest
from PIL import Image

from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.prepare import prepare
from tests.core.media import making


def made_of(image: Image.Image, kind: str = "PNG", budget="auto", **options) -> Image.Image:
    """Save, prepare and open a picture again."""
    held = io.BytesIO()
    image.save(held, kind, **options)
    with prepare(held.getvalue(), budget=budget) as prepared:
        opened = Image.open(io.BytesIO(prepared.read()))
        opened.load()
        assert opened.size == (prepared.info.width, prepared.info.height)
        return opened


def near(pixel, wanted) -> bool:
    return all(abs(one - other) <= 6 for one, other in zip(pixel, wanted, strict=True))


@pytest.mark.parametrize("orientation", [3, 5, 6, 7, 8])
def test_a_turned_photo_is_upright(orientation):
    """What EXIF says about how the camera was held is done, once."""
    image = Image.new("RGB", (1600, 1000), (200, 30, 30))
    image.paste((30, 30, 200), (0, 0, 1600, 200))
    exif = Image.Exif()
    exif[0x0112] = orientation
    out = made_of(image, "JPEG", exif=exif.tobytes())

    assert out.size == ((720, 1152) if orientation >= 5 else (1152, 720))
    assert out.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGBA", (2000, 1000), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2000, 1000), (255, 0, 0, 255)), (255, 0, 0)),
        (Image.new("LA", (2000, 1000), (0, 128)), (127, 127, 127)),
        (Image.new("P", (2000, 1000), 0), (0, 0, 0)),
        (Image.new("1", (2000, 1000), 1), (255, 255, 255)),
        (Image.new("L", (2000, 1000), 77), (77, 77, 77)),
        (Image.fromarray(np.full((1000, 2000), 32_896, np.uint16)), (128, 128, 128)),
        (Image.fromarray(np.full((1000, 2000), 257 * 40, np.uint16)), (40, 40, 40)),
    ],
    ids=["clear", "opaque", "half clear", "palette", "one bit", "grey", "16 bit", "dark 16 bit"],
)
def test_every_mode_becomes_plain_colour(image, pixel):
    """Deep, clear, grey and palette pictures look as they did, on white."""
    out = made_of(image)

    assert (out.mode, out.size, out.format) == ("RGB", (1280, 640), "JPEG")
    assert near(out.getpixel((10, 10)), pixel)


def test_print_colours_become_screen_colours():
    """CMYK is turned into RGB."""
    assert made_of(Image.new("CMYK", (2000, 1000), (0, 0, 0, 0)), "JPEG").mode == "RGB"


def test_of_an_animation_the_first_picture_is_taken():
    """GIF is not documented by the service; its first picture goes as JPEG."""
    first, second = Image.new("RGB", (64, 48), (250, 0, 0)), Image.new("RGB", (64, 48), (0, 0, 250))
    out = made_of(first, "GIF", save_all=True, append_images=[second])

    assert near(out.getpixel((5, 5)), (250, 0, 0))


def test_a_small_upright_picture_passes_byte_for_byte():
    """Nothing is made of what fits."""
    data = making.picture("PNG")
    prepared = prepare(data)

    assert (prepared.plan.action, prepared.data) == ("pass", data)


def test_a_cut_picture_is_refused():
    """A picture whose end is missing is damaged."""
    data = making.picture("JPEG", (2000, 1500))
    with pytest.raises(UnreadableMediaError, match="damaged or cut"):
        prepare(data[: len(data) // 2])
