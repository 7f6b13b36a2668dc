"""List the facts about the service that were read long ago and should be checked again.

    python scripts/facts.py [DAYS]

A fact is older than DAYS (180) if the newest date in its source is; a month counts as its first day. Covers models,
prices, rate limits, batch prices, models for transcription and embedding, the retirement notice and the exchange rate,
and every line of the profiles and the stand-in's own tables that says "read".
"""

import calendar
import re
import sys
from collections.abc import Iterator
from datetime import date
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1]))

from qwen_omni.profiles import USUAL_RATE
from qwen_omni.profiles.batch import PROMOTION
from qwen_omni.profiles.catalog import PROFILES, RETIREMENT
from qwen_omni.profiles.embedding import EMBEDDINGS
from qwen_omni.profiles.prices import PRICES
from qwen_omni.profiles.rate_limits import RATE_LIMITS
from qwen_omni.profiles.transcription import TRANSCRIBERS

ROOT = Path(__file__).parents[1]
PLACES = ("qwen_omni/profiles/*.py", "qwen_omni/standin/rules/limits.py", "qwen_omni/standin/rules/tokens.py")
DAYS = 180
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")
_MONTH = re.compile(rf"\b({'|'.join(calendar.month_name[1:])}) (\d{{4}})\b")
_READ = re.compile(r"\bread (\d{4}-\d{2}-\d{2})")


def main() -> None:
    """Print one line per fact that is too old."""
    days = int(sys.argv[1]) if len(sys.argv) > 1 else DAYS
    today = date.today()  # noqa: DTZ011 - a day more or less does not matter
    old = [line for what, source in facts() if (line := judged(what, source, today, days))]
    print("\n".join(old) or f"No fact is older than {days} days.")


def facts() -> Iterator[tuple[str, str]]:
    """Yield what each fact is about, and its source."""
    models = (("model", PROFILES), ("transcription model", TRANSCRIBERS), ("embedding model", EMBEDDINGS))
    for what, table in models:
        yield from ((f"{what} {name}", one.source) for name, one in table.items())
    for name, regions in PRICES.items():
        yield from ((f"price of {name} in {region}", rows[0].source) for region, rows in regions.items())
    for name, limits in RATE_LIMITS.items():
        yield from ((f"rate limits of {name} in {region}", one.source) for region, one in limits.items())
    yield "price of a batch", PROMOTION
    yield "retired names", RETIREMENT.source
    yield "exchange rate", USUAL_RATE.source
    for place in PLACES:
        for path in sorted(ROOT.glob(place)):
            yield from lines(path)


def lines(path: Path) -> Iterator[tuple[str, str]]:
    """Yield the lines of a module that say when they were read."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if _READ.search(line):
            yield f"{path.relative_to(ROOT)}:{number}", line.strip()


def judged(what: str, source: str, today: date, days: int) -> str:
    """Return a line about a fact that was read more than `days` ago; empty for a newer one.

    Example:
        >>> judged("price of x in cn", "Model pricing, read 2026-01-01; a page of 2025-12-01", date(2026, 9, 1), 180)
        'price of x in cn: read 2026-01-01, 243 days ago (Model pricing, read 2026-01-01; a page of 2025-12-01)'
    """
    months = [f"{year}-{list(calendar.month_name).index(month):02}-01" for month, year in _MONTH.findall(source)]
    newest = max(map(date.fromisoformat, [*_DATE.findall(source), *months]))
    age = (today - newest).days
    return f"{what}: read {newest}, {age} days ago ({source})" if age > days else ""


if __name__ == "__main__":
    main()
