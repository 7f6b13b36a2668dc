"""The cost of parsing a caption while it streams, by its length, compared with parsing from scratch at every delta.

`us/KB` is constant, since the cost is linear; `anew`, a parser that restarts with every delta, is quadratic in the
length. `final` is correct JSON in one go, `mended` the tolerant reader in one go, `x mended` the cost of streaming with
all partials relative to that (target for a list of 20,000 deltas: at most 2).
"""

import json
import statistics
import time

import jiter

from qwen_omni.structured.parse import CaptionStream, parse_caption
from qwen_omni.structured.schema import read_schema

SCHEMA = read_schema({"type": "object", "properties": {"items": {"type": "array"}, "text": {}}})
DELTA = 4  # characters, about one token
SIZES = (1_000, 2_500, 5_000, 10_000, 20_000, 40_000)
REPEATS = 5
HEADS = (
    "deltas", "KB", "partials", "stream ms", "us/delta", "us/KB", "final ms", "mended ms", "x mended", "anew ms",
)  # fmt: skip
ANEW_UP_TO = 5_000


def answer(kind: str, deltas: int) -> str:
    if kind == "text":
        return json.dumps({"text": ("word " * deltas)[: deltas * DELTA - 12]})
    entry = len(json.dumps({"start": 10000, "end": 10001, "text": "caption 10000"})) + 2
    count = deltas * DELTA // entry
    return json.dumps(
        {"items": [{"start": 10000 + n, "end": 10001 + n, "text": f"caption {10000 + n}"} for n in range(count)]}
    )


def streamed(pieces: list[str]) -> tuple[float, int]:
    began = time.process_time()
    stream, shown = CaptionStream(SCHEMA), 0
    for piece in pieces:
        shown += stream.feed(piece) is not None
    stream.end()
    return time.process_time() - began, shown


def whole(text: str) -> float:
    began = time.process_time()
    parse_caption(text, SCHEMA)
    return time.process_time() - began


def mended(text: str) -> float:
    began = time.process_time()
    parse_caption(f"Sure: {text}", SCHEMA)
    return time.process_time() - began


def anew(pieces: list[str]) -> float:
    began, so_far = time.process_time(), ""
    for piece in pieces:
        so_far += piece
        jiter.from_json(so_far.encode(), partial_mode="trailing-strings")
    return time.process_time() - began


def main() -> None:
    for kind in ("text", "list"):
        print(f"\nanswer: one {kind}")
        print(" ".join(f"{head:>10}" for head in HEADS))
        first = None
        for size in SIZES:
            text = answer(kind, size)
            pieces = [text[at : at + DELTA] for at in range(0, len(text), DELTA)]
            runs, looses = [], []
            for _ in range(REPEATS):  # in turns, since the machine may be temporarily busy
                runs.append(streamed(pieces))
                looses.append(mended(text))
            took = statistics.median(run[0] for run in runs)
            per_kb = took / len(text) * 1024 * 1e6
            first = first or per_kb
            final = statistics.median(whole(text) for _ in range(REPEATS))
            loose = statistics.median(looses)
            again = f"{anew(pieces) * 1e3:9.0f}" if size <= ANEW_UP_TO else f"{'-':>9}"
            cells = (
                f"{len(pieces)}", f"{len(text) / 1024:.1f}", f"{runs[0][1]}", f"{took * 1e3:.1f}",
                f"{took / len(pieces) * 1e6:.1f}", f"{per_kb:.0f}", f"{final * 1e3:.2f}", f"{loose * 1e3:.2f}",
                f"{took / loose:.1f}", again,
            )  # fmt: skip
            print(" ".join(f"{cell:>10}" for cell in cells))
            if size == 20_000:
                print(f"        per KB at 20,000 deltas over per KB at 1,000: {per_kb / first:.2f} (target: at most 2)")


if __name__ == "__main__":
    main()
