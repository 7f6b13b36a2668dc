"""Quirks of the service, as raw bytes, and the expected result of each.

One row per quirk seen in recordings, documents or reports; the letter is its family: A streams, B speech,
C tool calls, D errors, E native events. Served over a real socket by `test_quirks`.
"""

from tests.support.quirks.answers import ANSWERS
from tests.support.quirks.streams import STREAMS

QUIRKS = [*STREAMS, *ANSWERS]
