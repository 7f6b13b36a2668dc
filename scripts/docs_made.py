"""Write the generated parts of the documentation, so that they match the code.

    python scripts/docs_made.py           # write them
    python scripts/docs_made.py --check   # list outdated pages, and exit with status 1

A generated part is between `<!-- made: NAME -->` and `<!-- end -->`. `docs_tables` and `docs_help` produce the texts;
this script only inserts them. A test runs the check as well.
"""

import re
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "benchmarks"))  # for its table of costs
sys.path.append(str(Path(__file__).parents[1]))  # for the tables of files from other programs

from archive_machines import machine_table
from cost_table import cost_table
from docs_help import help_texts
from docs_tables import (
    cassette_table,
    code_table,
    error_table,
    limit_table,
    price_table,
    rate_table,
    retired_table,
    token_table,
    tool_table,
    transcriber_table,
)

from tests.media.encode.test_images_odd import table as image_table
from tests.support.foreign import table as format_table
from tests.support.real import table as real_files_table

ROOT = Path(__file__).parents[1]
MAKERS: dict[str, Callable[[], str]] = {
    "archive": machine_table,
    "cassettes": cassette_table,
    "cost": cost_table,
    "help": help_texts,
    "errors": error_table,
    "codes": code_table,
    "limits": limit_table,
    "prices": price_table,
    "retired": retired_table,
    "transcribers": transcriber_table,
    "rates": rate_table,
    "tokens": token_table,
    "tools": tool_table,
    "formats": format_table,
    "realfiles": real_files_table,
    "images": image_table,
}
_PART = re.compile(r"(<!-- made: (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)
_WORD = re.compile(r"[^\s│─╭╮╰╯|]+")


def main() -> None:
    """Write or check the generated parts."""
    old = [page for page in (ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))) if stale_parts(page)]
    if "--check" in sys.argv[1:]:
        if old:
            raise SystemExit(f"Outdated: {', '.join(page.name for page in old)}. Run `make docs-made`.")
        return
    for page in old:
        page.write_text(written(page.read_text(encoding="utf-8")), encoding="utf-8")
        print(f"wrote {page.relative_to(ROOT)}")


def stale_parts(page: Path) -> list[str]:
    """Return the names of the outdated parts of a page. Line breaks are ignored."""
    parts = _PART.findall(page.read_text(encoding="utf-8"))
    return [name for _, name, held, _ in parts if words(held) != words(MAKERS[name]())]


def words(text: str) -> Counter[str]:
    """Count the words of a text, without the frames drawn around them, which depend on the version of rich."""
    return Counter(_WORD.findall(text))


def written(text: str) -> str:
    """Fill in every part of a page."""
    return _PART.sub(lambda match: f"{match[1]}\n{MAKERS[match[2]]()}\n\n{match[4]}", text)


if __name__ == "__main__":
    main()
