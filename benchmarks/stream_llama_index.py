"""CPU per streamed delta in LlamaIndex: `QwenOmni` compared with `llama-index-llms-openai-like`.

    python benchmarks/stream_llama_index.py --peer PYTHON [--deltas 5000] [--rounds 5]

`PYTHON` is the interpreter of a virtual environment that has `llama-index-llms-openai-like` (it pins openai 2, so it
needs a separate one). Both sides read the same bytes from one server over loopback, in turn. Figures are medians of
the CPU time of the whole process; ratios compare measurements of the same run.
"""

import argparse
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from stream_server import bodies, serve

WAYS = ("stream_chat", "chat")
_IMPORTS = {
    "ours": "from llama_index_qwen_omni import QwenOmni",
    "peer": "from llama_index.llms.openai_like import OpenAILike",
}


def llm(side: str, base_url: str) -> Any:
    if side == "ours":
        from llama_index_qwen_omni import QwenOmni  # noqa: PLC0415

        return QwenOmni(api_key="sk-x", base_url=base_url, model="qwen3.5-omni-flash")
    from llama_index.llms.openai_like import OpenAILike  # noqa: PLC0415

    return OpenAILike(api_key="sk-x", api_base=base_url, model="m", is_chat_model=True)


def call(side: str, way: str, model: Any) -> Callable[[], Any]:
    from llama_index.core.llms import ChatMessage  # noqa: PLC0415

    asked = [ChatMessage(content="Go.")]
    if way == "chat" and side == "ours":
        return lambda: model.chat(asked)
    # The peer's `chat` does not work with stream-only models; a program collects its stream to get the message.
    return lambda: [None for _ in model.stream_chat(asked)]


def measure(side: str, base_url: str, deltas: int, rounds: int) -> dict[str, float]:
    model, found = llm(side, base_url), {}
    for way in WAYS:
        run = call(side, way, model)
        run()
        costs = []
        for _ in range(rounds):
            begun = time.process_time()
            run()
            costs.append((time.process_time() - begun) / deltas * 1e6)
        found[way] = statistics.median(costs)
    return found


def imported(python: str, side: str, rounds: int) -> float:
    code = f"import time; begun = time.process_time(); {_IMPORTS[side]}; print(time.process_time() - begun)"
    runs = [subprocess.run([python, "-c", code], capture_output=True, text=True, check=True) for _ in range(rounds)]
    return statistics.median(float(one.stdout) for one in runs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peer", help="an interpreter that has llama-index-llms-openai-like")
    parser.add_argument("--deltas", type=int, default=5_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--side", choices=_IMPORTS, help=argparse.SUPPRESS)
    parser.add_argument("--url", help=argparse.SUPPRESS)
    wanted = parser.parse_args()
    if wanted.side:
        print(json.dumps(measure(wanted.side, wanted.url, wanted.deltas, wanted.rounds)))
        return
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    accepted = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(port, accepted, bodies(wanted.deltas, 0)), daemon=True)
    server.start()
    url = f"http://127.0.0.1:{port.get()}/text/v1"
    pythons = {"ours": sys.executable, **({"peer": wanted.peer} if wanted.peer else {})}
    common = ["--url", url, "--deltas", str(wanted.deltas), "--rounds", str(wanted.rounds)]
    found, imports = {}, {}
    for side, python in pythons.items():
        done = subprocess.run(
            [python, str(Path(__file__)), "--side", side, *common], capture_output=True, text=True, check=True
        )
        found[side] = json.loads(done.stdout.splitlines()[-1])
        imports[side] = imported(python, side, wanted.rounds)
    server.terminate()
    print(f"{wanted.deltas:,} deltas, median of {wanted.rounds} rounds")
    for way in WAYS:
        ours, peer = found["ours"][way], found.get("peer", {}).get(way)
        print(
            f"QwenOmni.{way:12} {ours:7.1f} us CPU/delta", f"  peer {peer:7.1f}   {peer / ours:5.1f}x" if peer else ""
        )
    ratio = f"  peer {imports['peer']:.2f}   {imports['ours'] / imports['peer']:.2f} of it" if "peer" in imports else ""
    print(f"import                {imports['ours']:7.2f} s CPU{ratio}")


if __name__ == "__main__":
    main()
