"""Still pictures of every kind come out upright, eight bits, on white, and no larger than allowed."""

import io
import itertools

import numpy as np
import pytest
from PIL import Image

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.media.look import Choices
from qwen_omni.media.prepare import prepare
from qwen_omni.profiles import profile_for
from qwen_omni.tokens import image_pixels, image_tokens
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

    assert out.size == ((905, 1448) if orientation >= 5 else (1448, 905))
    assert out.getexif().get(0x0112, 1) == 1


@pytest.mark.parametrize(
    ("image", "pixel"),
    [
        (Image.new("RGBA", (2000, 1000), (255, 0, 0, 0)), (255, 255, 255)),
        (Image.new("RGBA", (2000, 1000), (255, 0, 0, 255)), (254, 0, 0)),
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

    assert (out.mode, out.size, out.format) == ("RGB", (1635, 818), "JPEG")
    assert near(out.getpixel((10, 10)), pixel)


def test_print_colours_become_screen_colours():
    """CMYK is turned into RGB."""
    assert made_of(Image.new("CMYK", (2000, 1000), (0, 0, 0, 0)), "JPEG").mode == "RGB"


def grey(values, dtype=np.uint16, *, size=(60, 40)) -> Image.Image:
    """Make a grey picture of columns of these values."""
    row = np.repeat(np.array(values, dtype), size[0] // len(values))
    return Image.fromarray(np.tile(row, (size[1], 1)))


@pytest.mark.parametrize(
    ("image", "wanted"),
    [
        (grey([0, 2048, 4095]), [0, 128, 255]),
        (grey([0, 1024, 3000]), [0, 64, 187]),
        (grey([0, 512, 1023]), [0, 128, 255]),
        (grey([0, 8192, 16_383]), [0, 128, 255]),
        (grey([0, 32_768, 65_535]), [0, 128, 255]),
        (grey([0, 128, 255]), [0, 128, 255]),
        (grey([-1000, 0, 1000], np.int32), [0, 128, 255]),
        (grey([0.0, 0.5, 1.0], np.float32), [0, 128, 255]),
        (grey([0.0, 128.0, 255.0], np.float32), [0, 128, 255]),
        (grey([-2.0, 0.0, 2.0], np.float32), [0, 128, 255]),
        (grey([0.0, 500.0, 1000.0], np.float32), [0, 128, 255]),
    ],
    ids=["12 bit", "dim", "10 bit", "14 bit", "16 bit", "8 in 16", "signed", "to 1", "to 255", "around 0", "far"],
)  # fmt: skip
@pytest.mark.parametrize("scale", [1, 30], ids=["small", "large"])
def test_deep_grey_keeps_its_brightness(image, wanted, scale):
    """Black is black and white is white, whatever number the file writes for it; at any size."""
    out = made_of(image.resize((image.width * scale, image.height * scale), Image.Resampling.NEAREST), "TIFF")

    third = out.width // 3
    for column, value in enumerate(wanted):
        assert near(out.getpixel((third * column + third // 2, 10)), (value,) * 3), column


def test_the_file_may_say_what_is_white():
    """A scan whose brightest value is half of what its file calls white stays grey."""
    image = grey([0, 1000, 2047])
    held = io.BytesIO()
    image.save(held, "TIFF", tiffinfo={281: 4095})
    with prepare(held.getvalue()) as prepared:
        out = Image.open(io.BytesIO(prepared.read()))

    assert near(out.getpixel((50, 10)), (127,) * 3)


@pytest.mark.parametrize("size", [(40, 30), (3000, 2000)], ids=["small", "large"])
@pytest.mark.parametrize(
    ("image", "kind"),
    [
        (Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "PNG"),
        (Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "WEBP"),
        (Image.new("LA", (10, 10), (0, 0)), "PNG"),
        (Image.new("RGBA", (10, 10), (0, 0, 0, 0)), "TIFF"),
    ],
)
def test_what_is_see_through_lies_on_white(image, kind, size):
    """Black text on nothing would be black on black for a reader that drops the alpha channel."""
    options = {"lossless": True} if kind == "WEBP" else {}
    out = made_of(image.resize(size), kind, **options)

    assert near(out.getpixel((5, 5)), (255, 255, 255))


def test_a_palette_with_a_clear_colour_lies_on_white():
    """GIF and PNG name one colour of their palette as clear."""
    image = Image.new("P", (40, 30), 0)
    image.putpalette([0, 0, 0, 255, 0, 0])
    for kind in ("GIF", "PNG"):
        assert near(made_of(image, kind, transparency=0).getpixel((5, 5)), (255, 255, 255))


def test_a_full_alpha_channel_changes_nothing():
    """Screenshots have an alpha channel that is full everywhere: they pass byte for byte."""
    held = io.BytesIO()
    Image.new("RGBA", (40, 30), (9, 99, 9, 255)).save(held, "PNG")

    assert prepare(held.getvalue()).plan.action == "pass"


@pytest.mark.parametrize(
    ("image", "kind", "pixel"),
    [
        (Image.new("CMYK", (40, 30), (0, 255, 255, 0)), "TIFF", (254, 0, 0)),
        (Image.new("LAB", (40, 30), (255, 128, 128)), "TIFF", (255, 255, 255)),
    ],
)
def test_print_colours_are_turned_into_screen_colours(image, kind, pixel):
    """Few readers know CMYK and Lab."""
    out = made_of(image, kind)

    assert out.mode == "RGB"
    if image.mode == "CMYK":
        assert near(out.getpixel((5, 5)), pixel)


def striped(size: tuple[int, int]) -> bytes:
    """Make a picture in which every 100 pixels along its long side have a colour of their own."""
    upright = size[1] >= size[0]
    image = Image.new("RGB", size)
    for at in range(0, max(size), 100):
        colour = stripe(at // 100)
        image.paste(colour, (0, at, size[0], at + 100) if upright else (at, 0, at + 100, size[1]))
    held = io.BytesIO()
    image.save(held, "PNG")
    return held.getvalue()


def stripe(number: int) -> tuple[int, int, int]:
    return (number * 53 % 256, number * 97 % 256, number * 193 % 256)


@pytest.mark.parametrize("size", [(1080, 12_000), (6000, 1080), (1500, 6000), (20, 5000)])
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen-omni-turbo"])
def test_a_tall_picture_is_tiled(size, model):
    """Tiles cover the whole picture in order, overlap by a tenth, are sharp, and each is within the model's pixels."""
    profile = profile_for(model)
    with prepare(striped(size), choices=Choices(model=model)) as prepared:
        pieces = [image.plan.pieces[0] for image in prepared.images]
        opened = [Image.open(io.BytesIO(image.read())) for image in prepared.images]

    upright, long, short = size[1] >= size[0], max(size), min(size)
    spans = [(piece.box[1], piece.box[3]) if upright else (piece.box[0], piece.box[2]) for piece in pieces]
    assert len(pieces) > 1
    assert (spans[0][0], spans[-1][1]) == (0, long)
    for (begin, end), (follows, _) in itertools.pairwise(spans):
        assert 0.09 <= (end - follows) / (end - begin) <= 0.35
    for piece, image in zip(pieces, opened, strict=True):
        assert image.size == piece.size
        assert image.width * image.height <= image_pixels(profile)
        across = piece.size[0] if upright else piece.size[1]
        assert across == min(short, int(image_pixels(profile) ** 0.5))
        begin = piece.box[1] if upright else piece.box[0]
        scale = across / short
        middle = (begin // 100 + 1) * 100 + 50  # of a stripe that is wholly shown
        at = round((middle - begin) * scale)
        seen = image.getpixel((image.width // 2, at) if upright else (at, image.height // 2))
        assert all(abs(one - other) <= 12 for one, other in zip(seen, stripe(middle // 100), strict=True))
    assert prepared.plan.tokens == sum(image_tokens(profile, piece.size) for piece in pieces)
    assert f"{len(pieces)} tiles" in prepared.plan.reason


def test_a_tall_picture_may_be_shrunk_instead():
    """With `tile=False` it is one image, no smaller than the service would look at."""
    with prepare(striped((1080, 12_000)), choices=Choices(tile=False)) as prepared:
        assert prepared.plan.action == "image"
        assert prepared.plan.tokens == prepared.plan.tokens_as_is == 1192
        assert prepared.info.width >= 343


def pages(*sizes: tuple[int, int], modes="RGB", **options) -> bytes:
    """Make a TIFF of pages, the first red, the second green, ..."""
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    images = [Image.new("RGB", size, colours[at % 4]).convert(modes) for at, size in enumerate(sizes)]
    held = io.BytesIO()
    images[0].save(held, "TIFF", save_all=True, append_images=images[1:], **options)
    return held.getvalue()


def test_pages_are_images_in_order():
    """Every page of a TIFF is sent, each in its own size; a tall one as tiles."""
    with prepare(pages((60, 40), (1000, 9000), (30, 50))) as prepared:
        pieces = [image.plan.pieces[0] for image in prepared.images]
        colours = [Image.open(io.BytesIO(image.read())).getpixel((5, 5)) for image in prepared.images]

    assert [piece.page for piece in pieces] == [0, *[1] * (len(pieces) - 2), 2]
    assert len(pieces) > 4
    assert pieces[0].size == (60, 40)
    assert pieces[-1].size == (30, 50)
    assert near(colours[0], (250, 0, 0))
    assert near(colours[1], (0, 250, 0))
    assert near(colours[-1], (0, 0, 250))
    assert "3 pages" in prepared.plan.reason


def test_one_page_can_be_chosen():
    """`frame` chooses a page; one that does not exist is refused with the number of pages."""
    data = pages((60, 40), (50, 30), (30, 50))
    with prepare(data, choices=Choices(frame=1)) as prepared:
        assert (prepared.info.width, prepared.info.height) == (50, 30)
        assert near(Image.open(io.BytesIO(prepared.read())).getpixel((5, 5)), (0, 250, 0))
    with pytest.raises(MediaDoesNotFitError, match="has 3 frames; there is no frame=3"):
        prepare(data, choices=Choices(frame=3))


def test_a_smaller_copy_is_no_page():
    """Files of microscopes and maps hold the same picture again, smaller: that is said in their tags."""
    first, copy = Image.new("RGB", (60, 40), (250, 0, 0)), Image.new("RGB", (30, 20), (250, 0, 0))
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    held = io.BytesIO()
    first.save(held, "TIFF", save_all=True, append_images=[copy])
    with Image.open(io.BytesIO(held.getvalue())) as seen:
        seen.seek(1)
        assert seen.tag_v2.get(254) == 1

    assert prepare(held.getvalue()).plan.action == "pass"


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
