"""Draw the image of a summary page for the README: the sample clip, summarised by the stand-in, in Chromium.

    python -m scripts.page_image

Run it after a change of the page, of the sample clip, or of what the stand-in answers about it.
"""

import io
import os
import tempfile
from pathlib import Path

from PIL import Image

from qwen_omni import sample, summarize
from qwen_omni.standin import Standin
from tests.support.browser import Browser

TARGET = Path(__file__).parents[1] / "docs" / "images" / "summary-page.png"
WIDTH, HEIGHT = 1440, 900
COLOURS = 256
LARGEST = 150_000  # bytes


def main() -> None:
    """Write the image."""
    with tempfile.TemporaryDirectory() as folder, Standin().environment():
        os.environ["QWEN_OMNI_CACHE_DIR"] = folder  # no answer of an older stand-in
        page = Path(folder) / "page.html"
        summarize(sample(folder).path).to_html(page)
        with Browser() as browser:
            browser.open(page, width=WIDTH, height=HEIGHT, fragment="#t=9")
            browser.until("player.readyState === 4 && !player.seeking")
            # The page at rest, without the controls that show only under the mouse.
            browser.run("player.controls = false; scrollTo({top: 0, behavior: 'instant'})")
            browser.run("Promise.all([...document.images].map((one) => one.decode()))")
            browser.run("new Promise((done) => setTimeout(done, 500))")
            shot = browser.screenshot()
    TARGET.parent.mkdir(exist_ok=True)
    with Image.open(io.BytesIO(shot)) as image:
        few = image.convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
        few.save(TARGET, optimize=True)
    size = TARGET.stat().st_size
    if size > LARGEST:
        raise SystemExit(f"{TARGET.name} has {size:,} bytes; {LARGEST:,} are allowed.")
    print(f"{TARGET.name}: {size:,} bytes")


if __name__ == "__main__":
    main()
