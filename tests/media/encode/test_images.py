"""Still pictures of every kind come out upright, eight bits, on white, and no larger than allowed."""

import io
import itertools
import struct
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from qwen_omni.errors import MediaDoesNotFitError, UnreadableMediaError, UnsupportedMediaError
from qwen_omni.media.prepare import PrepareOptions, prepare
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import ImagePart
from qwen_omni.profiles import profile_for
from qwen_omni.profiles.token_formulas import image_pixels, image_tokens
from qwen_omni.request.fit import Fitter
from tests.support import making


def made_of(image: Image.Image, kind: str = "PNG", budget="auto", **options) -> Image.Image:
    """Save, prepare and open a picture again."""
    with prepare(making.saved(image, kind=kind, **options), budget=budget) as prepared:
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


TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_90,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_270,
}
"""How a picture is stored so that it is upright again once the orientation of EXIF is applied."""
CORNERS = ((250, 20, 20), (20, 250, 20), (20, 20, 250), (250, 250, 250))


def quarters(size=(100, 60)) -> Image.Image:
    """Draw a picture of four colours, none of which stands where another would after any turn."""
    image, (across, down) = Image.new("RGB", size), (size[0] // 2, size[1] // 2)
    for at, colour in enumerate(CORNERS):
        image.paste(colour, (at % 2 * across, at // 2 * down, (at % 2 + 1) * across, (at // 2 + 1) * down))
    return image


def corners(image: Image.Image) -> list[int]:
    """Return which of the four colours stands in each corner."""
    right, bottom = image.width - 4, image.height - 4
    seen = [image.convert("RGB").getpixel(at) for at in ((3, 3), (right, 3), (3, bottom), (right, bottom))]
    return [
        next(n for n, one in enumerate(CORNERS) if max(abs(a - b) for a, b in zip(one, it, strict=True)) < 60)
        for it in seen
    ]


def turned(orientation: int) -> tuple[Image.Image, bytes]:
    exif = Image.Exif()
    exif[0x0112] = orientation
    return quarters().transpose(TURNS[orientation]), exif.tobytes()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", list(TURNS))
def test_a_small_turned_picture_is_upright(orientation, kind):
    """Also one that is only mirrored, or a TIFF, which Pillow turns by itself: not every reader does."""
    image, exif = turned(orientation)
    out = made_of(image, kind, exif=exif)

    assert (out.format, out.size, corners(out)) == ("JPEG", (100, 60), [0, 1, 2, 3])
    assert out.getexif().get(0x0112, 1) == 1


def test_turned_pages_are_upright():
    """Each page of a TIFF has an orientation of its own."""
    images = [turned(orientation)[0] for orientation in TURNS]
    for image, orientation in zip(images, TURNS, strict=True):
        image.encoderinfo = {"tiffinfo": {0x0112: orientation}}

    with prepare(making.saved(quarters(), *images, kind="TIFF")) as prepared:
        assert prepared.source_info.pages == ((100, 60),) * 8
        for still in prepared.jpegs:
            image = Image.open(io.BytesIO(still.data))
            assert (image.size, corners(image)) == ((100, 60), [0, 1, 2, 3])


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
    out = made_of(image, "TIFF", tiffinfo={281: 4095})

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
@pytest.mark.slow
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
    assert prepare(making.saved(Image.new("RGBA", (40, 30), (9, 99, 9, 255)))).plan.action == "pass"


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
    return making.saved(image)


def stripe(number: int) -> tuple[int, int, int]:
    return (number * 53 % 256, number * 97 % 256, number * 193 % 256)


@pytest.mark.slow
@pytest.mark.parametrize("size", [(1080, 12_000), (6000, 1080), (1500, 6000), (20, 5000)])
@pytest.mark.parametrize("model", ["qwen3.8-omni-flash", "qwen-omni-turbo"])
def test_a_tall_picture_is_tiled(size, model):
    """Tiles cover the whole picture in order, overlap by a tenth, are sharp, and each is within the model's pixels."""
    profile = profile_for(model)
    with prepare(striped(size), choices=PrepareOptions(model=model)) as prepared:
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


@pytest.mark.slow
def test_a_tall_picture_may_be_shrunk_instead():
    """With `tile=False` it is one image, no smaller than the service would look at."""
    with prepare(striped((1080, 12_000)), choices=PrepareOptions(tile=False)) as prepared:
        assert prepared.plan.action == "image"
        assert prepared.plan.tokens == prepared.plan.tokens_as_is == 1192
        assert prepared.info.width >= 343


def pages(*sizes: tuple[int, int], modes="RGB", **options) -> bytes:
    """Make a TIFF of pages, the first red, the second green, ..."""
    colours = [(250, 0, 0), (0, 250, 0), (0, 0, 250), (250, 250, 0)]
    images = [Image.new("RGB", size, colours[at % 4]).convert(modes) for at, size in enumerate(sizes)]
    return making.saved(*images, kind="TIFF", **options)


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
    with prepare(data, choices=PrepareOptions(frame=1)) as prepared:
        assert (prepared.info.width, prepared.info.height) == (50, 30)
        assert near(Image.open(io.BytesIO(prepared.read())).getpixel((5, 5)), (0, 250, 0))
    with pytest.raises(MediaDoesNotFitError, match="has 3 frames; there is no frame 3"):
        prepare(data, choices=PrepareOptions(frame=3))


def test_a_smaller_copy_is_no_page():
    """Files of microscopes and maps hold the same picture again, smaller: that is said in their tags."""
    first, copy = Image.new("RGB", (60, 40), (250, 0, 0)), Image.new("RGB", (30, 20), (250, 0, 0))
    copy.encoderinfo = {"tiffinfo": {254: 1}}
    data = making.saved(first, copy, kind="TIFF")
    with Image.open(io.BytesIO(data)) as seen:
        seen.seek(1)
        assert seen.tag_v2.get(254) == 1

    assert prepare(data).plan.action == "pass"


def test_a_small_upright_picture_passes_byte_for_byte():
    """Nothing is made of what fits."""
    data = making.picture("PNG")
    prepared = prepare(data)

    assert (prepared.plan.action, prepared.data) == ("pass", data)


def test_a_cut_picture_is_refused():
    """A picture whose end is missing is damaged."""
    data = making.picture("JPEG", (2000, 1500))
    with pytest.raises(UnreadableMediaError, match="damaged or truncated"):
        prepare(data[: len(data) // 2])


def test_a_damaged_page_is_named():
    """The error says which page it is, of how many, and how to send another one."""
    noise = [Image.effect_noise((200, 300), 90).convert("RGB") for _ in range(3)]
    data = bytearray(making.saved(*noise, kind="TIFF", compression="tiff_deflate"))
    with Image.open(io.BytesIO(data)) as seen:
        seen.seek(1)
        begin = seen.tag_v2[273][0]  # where the page's first strip lies
    data[begin : begin + 600] = b"\xaa" * 600

    with pytest.raises(UnreadableMediaError, match=r"page 1 of 3 \(counted from 0\).*frame="):
        prepare(bytes(data))
    with prepare(bytes(data), choices=PrepareOptions(frame=2)) as prepared:
        assert prepared.info.width == 200


def test_more_pages_than_are_read_are_refused_with_their_number(monkeypatch):
    """None is left out in silence."""
    monkeypatch.setattr("qwen_omni.media.probe.image._MOST_FRAMES", 2)
    data = pages((60, 40), (50, 30), (30, 50))
    with pytest.raises(MediaDoesNotFitError, match="has 3 pages; at most 2 are decoded"):
        prepare(data)


@pytest.mark.parametrize("claimed", [(9500, 9500), (30_000, 30_000), (65_535, 65_535)])
def test_a_huge_claim_is_refused_with_its_pixels(claimed):
    """The number is that of the file, not one of Pillow's limits."""
    data = bytearray(making.picture("BMP"))
    data[18:26] = struct.pack("<ii", *claimed)
    pixels = claimed[0] * claimed[1]
    with pytest.raises(MediaDoesNotFitError, match=f"has {pixels:,} pixels; at most 89,478,485") as caught:
        prepare(bytes(data))
    assert (caught.value.actual, caught.value.limit) == (pixels, 89_478_485)


@pytest.mark.parametrize("span", [{"start": 1}, {"end": 2}, {"start": 0, "end": 1.5}])
def test_a_picture_has_no_seconds(span):
    """A range is refused rather than dropped; the beginning of it is the whole of it."""
    with pytest.raises(UnsupportedMediaError, match="is an image and has no duration; omit start and end"):
        prepare(making.picture("PNG"), **span)
    assert prepare(making.picture("PNG"), start=0).plan.action == "pass"


@pytest.mark.parametrize("kind", ["PNG", "GIF"])
def test_a_picture_has_no_audio_tracks(kind):
    """A number is refused; all tracks together are none."""
    data = making.saved(Image.new("RGB", (64, 48)), Image.new("RGB", (64, 48), "red"), kind=kind)
    with pytest.raises(UnsupportedMediaError, match="has no audio track 1; its audio tracks: none"):
        prepare(data, choices=PrepareOptions(audio_track=1))
    prepare(data, choices=PrepareOptions(audio_track="mix")).close()


@pytest.mark.parametrize("place", [0, 2])
def test_a_page_too_small_for_the_model_is_named(place):
    """The service takes no image of ten pixels, wherever in a file it stands."""
    sizes = [(60, 40), (50, 30), (30, 50)]
    sizes[place] = (30, 8)
    part = ImagePart(source=MediaSource.from_bytes(pages(*sizes)))
    with pytest.raises(MediaDoesNotFitError, match="30 by 8 pixels; each side needs at least 11") as caught:
        Fitter(profile=profile_for("qwen3.8-omni-flash"), media_root=Path(), room_bytes=2**20).plan(
            part, "message 0 part 0"
        )
    assert (f"page {place}" in str(caught.value)) == (place > 0)
