"""The service's two batch interfaces: which models they take, where, at what price, and within which limits. Data only.

Batch Chat is an ordinary call to another host that may wait up to an hour. Batch File is a file of requests, answered
within days. Sources: Model Studio, "Batch Chat" (full text of May 2026, excerpts of 2026-10-12) and "Batch (file
input)", about 2026-10-10. Where a page and its own sample code disagree, the smaller number stands.
"""

import re
from typing import Literal

from qwen_omni.profiles.profile import Region

BatchInterface = Literal["chat", "file"]

SHARE = 0.5
"""Price of a batch call, as a share of the price in real time; only successful answers are billed."""
PROMOTION = "Model Studio, Batch Chat, 2026-10-12"
"""Where the discount of Batch Chat was read: 50 % off the list price "for a limited time", with no end date. The half
price of Batch File is the regular one. Neither has a cache discount or a free quota."""

QUEUE_SECONDS = 3600.0
"""The longest time that a Batch Chat request waits for its turn; the error that follows is not billed."""
MOST_INPUT = 256_000
"""Input tokens of a request, "256K" on both pages."""

MOST_LINES = 50_000
MOST_FILE_BYTES = 500_000_000
MOST_LINE_BYTES = 1_000_000
"""Lines and bytes of an input file, and bytes of a line; a script on the same page allows 6 MB a line."""
LONGEST_CUSTOM_ID = 256
WINDOW_HOURS = (24, 336)
"""How long a batch may take; what is not finished by then expires, unbilled."""

TEST_MODEL, TEST_URL = "batch-test-model", "/v1/chat/ds-test"
"""A free model that answers every line with a fixed text, to try the interface; at most 100 lines and 1 MB."""
TEST_LINES, TEST_BYTES = 100, 1_000_000

_TEXT = r"qwen-(plus|flash)|qwen3-max|qwen3\.[5-8]-(max|plus|flash)"
_OFFERED: dict[BatchInterface, dict[Region, re.Pattern[str]]] = {
    "chat": {"cn": re.compile(rf"qwen3\.5-omni-plus|{_TEXT}")},
    "file": {
        "cn": re.compile(rf"qwen3\.5-omni-(plus|flash)|qwen-plus-latest|{_TEXT}|{TEST_MODEL}"),
        "intl": re.compile(rf"qwen3\.7-plus|qwen-(max|plus|flash)|{TEST_MODEL}"),
    },
}
_NAMES: dict[BatchInterface, str] = {"chat": "Batch Chat", "file": "Batch File"}
_WHERE: dict[Region, str] = {"cn": "Beijing", "intl": "Singapore"}
_KNOWN = re.compile(r"qwen.*omni|qwen3?-|qwen3\.")


def is_offered(model: str, region: Region | None, interface: BatchInterface) -> bool:
    """Whether a batch interface is documented to take a model.

    Args:
        model: the exact name; no snapshot is on the lists.
        region: `None` for a host of no known region, which counts as the mainland's.
        interface: Batch Chat or Batch File.

    Example:
        >>> is_offered("qwen3.5-omni-plus", "cn", "chat"), is_offered("qwen3.8-omni-flash", "cn", "chat")
        (True, False)
    """
    names = _OFFERED[interface].get(region or "cn")
    return names is not None and names.fullmatch(model) is not None


def why_not(model: str, region: Region | None, interface: BatchInterface) -> str:
    """Return why a batch interface does not take a model; empty if it does, or if only the service knows.

    Example:
        >>> why_not("qwen3.8-omni-flash", "cn", "chat")
        'qwen3.8-omni-flash is not offered in Batch Chat. In real time it costs less than qwen3.5-omni-plus in a batch.'
        >>> why_not("qwen-plus", "us", "chat")
        'Batch Chat exists in Beijing only, not in the region us.'
    """
    name, regions = _NAMES[interface], _OFFERED[interface]
    where: Region = region or "cn"
    if where not in regions:
        places = " and ".join(_WHERE[one] for one in regions)
        return f"{name} exists in {places} only, not in the region {where}."
    if is_offered(model, region, interface) or not _KNOWN.match(model):
        return ""
    if "3.8-omni" in model:
        step = "In real time it costs less than qwen3.5-omni-plus in a batch."
    elif "omni" in model:
        step = "Of the omni models, qwen3.5-omni-plus is; snapshots are not."
    else:
        step = f"In {_WHERE[where]}, qwen-plus and qwen-flash are."
    return f"{model} is not offered in {name}. {step}"
