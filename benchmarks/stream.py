"""Streaming compared with its peers: CPU per delta, connections, first delta, import, memory. One run, medians, ratios.

    make bench-stream                     # creates .venv-peers (langchain-openai, langchain-qwq) and runs this
    python benchmarks/stream.py [--peers .venv-peers/bin/python] [--deltas 20000] [--audio 2000] [--rounds 5]

A server in its own process sends the same bytes to all clients over loopback. Each client runs in its own process
(`stream_client.py`), the peers in their own environment; rounds alternate, so that load on the machine affects all
equally. Ratios are of CPU time; wall time is also shown. Without `--peers` only the plain SDK is compared.
"""

import argparse
import json
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import stream_server

HERE = Path(__file__).resolve().parent
WAYS = ("stream", "invoke", "astream", "ainvoke")


class Client:
    """A client in its own process, controlled line by line."""

    def __init__(self, name: str, python: str) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [python, str(HERE / "stream_client.py")], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def ask(self, way: str, url: str, **more: object) -> dict:
        command = {"client": self.name, "way": way, "url": url, **more}
        self._process.stdin.write(json.dumps(command) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} {way} ended without an answer")
        return json.loads(line)

    def close(self) -> None:
        self._process.stdin.close()
        self._process.wait()


@dataclass
class Target:
    """One line of the verdict."""

    what: str
    measured: float
    wanted: float
    at_least: bool = True
    unit: str = "x"

    def show(self) -> None:
        good = self.measured >= self.wanted if self.at_least else self.measured <= self.wanted
        sign = ">=" if self.at_least else "<="
        print(f"  {'ok ' if good else 'NO '} {self.what:62} {self.measured:8.2f}{self.unit}  ({sign} {self.wanted:g})")


def cpu_table(clients: list[Client], url: str, deltas: int, rounds: int, title: str) -> dict[tuple[str, str], float]:
    """Measure every mode of every client in turns; return microseconds of CPU per delta."""
    for client in clients:
        for way in WAYS:
            client.ask(way, url)  # connections, imports
    measured: dict[tuple[str, str], list[dict]] = {}
    for _ in range(rounds):
        for way in WAYS:
            for client in clients:
                measured.setdefault((client.name, way), []).append(client.ask(way, url))
    print(f"\n{title}: {deltas:,} deltas, median of {rounds} rounds, us per delta")
    print(f"  {'':14}" + "".join(f"{way:>20}" for way in WAYS))
    found = {}
    for client in clients:
        cells = []
        for way in WAYS:
            runs = measured[client.name, way]
            cpu, wall = (statistics.median(run[kind] for run in runs) / deltas * 1e6 for kind in ("cpu", "wall"))
            found[client.name, way] = cpu
            cells.append(f"{cpu:8.1f} ({wall:6.1f} wall)")
        print(f"  {client.name:14}" + "".join(f"{cell:>20}" for cell in cells))
    return found


def connections(client: Client, url: str, accepted: object, way: str) -> int:
    """Count the connections of ten calls by a client without open ones to this address."""
    before = accepted.value
    client.ask(way, url, times=10)
    return accepted.value - before


def first_delta(client: Client, raw: Client, url: str) -> tuple[float, float]:
    """Return the median milliseconds to the first delta in excess of raw httpx: wall and CPU."""
    for one in (client, raw):
        one.ask("stream", url, times=3)
    pairs = [(client.ask("stream", url)["firsts"][0], raw.ask("stream", url)["firsts"][0]) for _ in range(100)]
    over = [[mine - theirs for mine, theirs in zip(*pair, strict=True)] for pair in pairs]
    wall, cpu = (statistics.median(column) * 1e3 for column in zip(*over, strict=True))
    return wall, cpu


def import_cpu(python: str, statement: str) -> float:
    """Return the CPU seconds of a process that only imports."""
    place = {**os.environ, "PYTHONPATH": str(HERE.parent), "PYTHONDONTWRITEBYTECODE": ""}
    begun = os.times()
    subprocess.run([python, "-c", statement], check=True, env=place, timeout=120)
    ended = os.times()
    return ended.children_user - begun.children_user + ended.children_system - begun.children_system


def import_ratio(peers: str, rounds: int) -> float:
    """Return the CPU time of our import relative to `langchain_openai`'s, in turns, without the first pair.

    Both run in the peers' environment: pydantic scans all installed packages, so a full one is slower in itself. Both
    run from bytecode, like installed packages; the first pair writes ours.
    """
    pairs = [
        (import_cpu(peers, "from langchain_qwen_omni import ChatQwenOmni"),
         import_cpu(peers, "from langchain_openai import ChatOpenAI"))
        for _ in range(rounds + 1)
    ]  # fmt: skip
    ours, theirs = zip(*pairs[1:], strict=True)
    return statistics.median(ours) / statistics.median(theirs)


def extra_memory(name: str, python: str, url: str, video: Path) -> float:
    """Return the MB by which one request with an inline video raises the peak of a warm process."""
    client = Client(name, python)
    client.ask("invoke", url)
    small = video.with_name("small.mp4")
    client.ask("invoke", url, video=str(small))
    result = client.ask("invoke", url, video=str(video))
    client.close()
    return (result["peak_kb"] - result["before_kb"]) / 1024


def write_video(path: Path, frames: int) -> None:
    """Write a video of noise, which is incompressible."""
    numbers = np.random.default_rng(1)
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=10, width=640, height=360, pix_fmt="yuv420p")
        stream.bit_rate = 5_600_000
        for _ in range(frames):
            noise = numbers.integers(0, 255, (540, 640), dtype=np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(noise, format="yuv420p")))
        output.mux(stream.encode(None))


def cpu_targets(text: dict, audio: dict, peers: list[str]) -> list[Target]:
    targets = [Target("invoke, bare SDK / ours", text["openai", "invoke"] / text["ChatQwenOmni", "invoke"], 1)]
    for peer in peers:
        for way, least in (("invoke", 10), ("ainvoke", 10), ("stream", 4), ("astream", 4)):
            targets.append(Target(f"text, {way}: {peer} / ours", text[peer, way] / text["ChatQwenOmni", way], least))
        for way in WAYS:
            ratio = audio[peer, way] / audio["ChatQwenOmni", way]
            targets.append(Target(f"speech, {way}: {peer} (drops it) / ours", ratio, 1.5))
    return targets


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--peers", help="the Python of an environment with langchain-openai and langchain-qwq")
    parser.add_argument("--deltas", type=int, default=20_000)
    parser.add_argument("--audio", type=int, default=2_000)
    parser.add_argument("--rounds", type=int, default=5)
    wanted = parser.parse_args()
    port: multiprocessing.Queue[int] = multiprocessing.Queue()
    accepted = multiprocessing.Value("i", 0)
    answers = stream_server.bodies(wanted.deltas, wanted.audio)
    server = multiprocessing.Process(target=stream_server.serve, args=(port, accepted, answers), daemon=True)
    server.start()
    host = f"http://127.0.0.1:{port.get()}"
    ours, bare = Client("ChatQwenOmni", sys.executable), Client("openai", wanted.peers or sys.executable)
    peers = [Client(name, wanted.peers) for name in ("ChatOpenAI", "ChatQwen")] if wanted.peers else []
    everybody = [ours, bare, *peers]
    text = cpu_table(everybody, f"{host}/text/v1", wanted.deltas, wanted.rounds, "Text")
    audio = cpu_table(everybody, f"{host}/audio/v1", wanted.audio, wanted.rounds, "Speech, 8 KB each")

    targets = cpu_targets(text, audio, [peer.name for peer in peers])
    short = f"{host}/short/v1"
    raw = Client("httpx", sys.executable)
    wall, cpu = first_delta(ours, raw, short)
    targets.append(Target("first delta, ours minus raw httpx, on the wall", wall, 2, at_least=False, unit=" ms"))
    targets.append(Target("first delta, ours minus raw httpx, CPU", cpu, 2, at_least=False, unit=" ms"))
    for client in everybody:
        for way in ("invoke", "ainvoke"):
            used = connections(client, f"{host}/{way}/v1", accepted, way)
            label = f"connections of ten calls one after another, {client.name} {way}"
            if client is ours:
                targets.append(Target(label, used, 1, at_least=False, unit=""))
            else:
                print(f"  {label}: {used}")
    if wanted.peers:
        targets.append(
            Target("import CPU, ours / langchain_openai", import_ratio(wanted.peers, 7), 0.65, at_least=False)
        )
    with tempfile.TemporaryDirectory() as folder:
        film = Path(folder) / "film.mp4"
        write_video(film, 90)  # the largest that is sent inline: 10,000,000 bytes in base64
        write_video(film.with_name("small.mp4"), 25)
        size = film.stat().st_size / 1e6
        mine = extra_memory("ChatQwenOmni", sys.executable, short, film)
        label = f"extra peak memory of an inline video of {size:.1f} MB"
        targets.append(Target(label, mine, 20, at_least=False, unit=" MB"))
        if wanted.peers:
            print(f"  the same, ChatOpenAI: {extra_memory('ChatOpenAI', wanted.peers, short, film):.1f} MB")
    print("\nTargets")
    for target in targets:
        target.show()
    for client in (*everybody, raw):
        client.close()
    server.terminate()


if __name__ == "__main__":
    main()
