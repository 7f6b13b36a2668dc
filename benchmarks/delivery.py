"""Uploads compared with `oss2.put_object_from_file`, second sends, and memory, with the stand-in in its own process.

python benchmarks/delivery.py [MEGABYTES] [ROUNDS]

Over loopback most of the measured time is the stand-in, which is Python, and both cores are busy. The other rows go
through a link of 100 Mbit/s, like real uploads: there the overhead before, between and after the bytes counts.
"""

import asyncio
import multiprocessing
import os
import re
import statistics
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

import oss2

from qwen_omni import Settings
from qwen_omni.client import make_carrier
from qwen_omni.media.files.safe_open import version_of
from qwen_omni.messages import MediaPayload
from qwen_omni.settings import OssCredentials, OssSettings
from qwen_omni.standin import OssKey, Standin

MODEL = "qwen3.8-omni-flash"
UPLINK = 100e6 / 8  # bytes per second
BURST = 0.1  # seconds that the link may catch up on, so that a late wake-up does not reduce its rate
SPAWN = multiprocessing.get_context("spawn")


def serve(pipe):
    with Standin(oss_keys={"id": OssKey(secret="secret")}) as standin:
        pipe.send((standin.base_url, standin.api_key, standin.oss_endpoint))
        while True:
            if pipe.recv() == "stop":
                return
            pipe.send([(call.operation, call.key, call.size_bytes) for call in standin.stores.calls])


def narrow(pipe, port):
    """Forward bytes to a port of this machine, uploads at the speed of an uplink."""

    async def serve():
        free_at = 0.0

        async def upwards(reader, writer):
            nonlocal free_at
            while data := await reader.read(65_536):
                now = time.monotonic()
                free_at = max(free_at, now - BURST) + len(data) / UPLINK
                await asyncio.sleep(max(0.0, free_at - now))
                writer.write(data)
                await writer.drain()
            writer.close()

        async def downwards(reader, writer):
            while data := await reader.read(65_536):
                writer.write(data)
                await writer.drain()
            writer.close()

        async def accept(reader, writer):
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", port)
            await asyncio.gather(upwards(reader, far_writer), downwards(far_reader, writer), return_exceptions=True)

        server = await asyncio.start_server(accept, "127.0.0.1", 0)
        pipe.send(server.sockets[0].getsockname()[1])
        await asyncio.to_thread(pipe.recv)

    asyncio.run(serve())


def ready(path):
    with path.open("rb") as file:
        version = version_of(file)
    return MediaPayload(
        path=path.resolve(), version=version, size_bytes=version.size, format="mp4", content_type="video/mp4"
    )


def peak_megabytes():
    return int(re.search(r"VmHWM:\s+(\d+)", Path("/proc/self/status").read_text())[1]) / 1024


def timed(action):
    wall, cpu = time.perf_counter(), time.process_time()
    action()
    return time.perf_counter() - wall, time.process_time() - cpu


def measure(path, folder, place, rounds):
    base_url, api_key, endpoint = place
    bucket = oss2.Bucket(oss2.AuthV4("id", "secret"), endpoint, "standin-media", region="cn-standin")
    oss = OssSettings(
        bucket="standin-media", endpoint=endpoint, region="cn-standin", credentials=OssCredentials.of("id", "secret")
    )

    def carrier(name):
        settings = Settings.load(api_key=api_key, base_url=base_url, cache_dir=folder / name, oss=oss)
        return make_carrier(settings)

    def one(number, route):
        carrier(f"{route}{number}").carry(ready(path), route, model=MODEL, name="file")

    actions = {
        "oss2.put_object_from_file": lambda number: bucket.put_object_from_file(f"peer-{number}", str(path)),
        "ours, bucket": lambda number: one(number, "oss"),
        "ours, temporary store": lambda number: one(number, "temporary"),
    }
    found = {name: [] for name in actions}
    for number in range(-1, rounds):  # the first round warms up
        for name, action in actions.items():
            spent = timed(lambda action=action, number=number: action(number))
            if number >= 0:
                found[name].append(spent)
    return found, carrier("oss0")


def process(action, *arguments):
    """Start a process that communicates through a pipe; return both."""
    ours, theirs = SPAWN.Pipe()
    started = SPAWN.Process(target=action, args=(theirs, *arguments))
    started.start()
    return started, ours


def through(place, port):
    """Return the same addresses with another port."""
    base_url, api_key, endpoint = place
    there, here = f":{urlsplit(base_url).port}", f":{port}"
    return base_url.replace(there, here), api_key, endpoint.replace(there, here)


def main():
    megabytes = int(sys.argv[1]) if len(sys.argv) > 1 else 64
    rounds = int(sys.argv[2]) if len(sys.argv) > 2 else 5
    server, pipe = process(serve)
    place = pipe.recv()
    link, link_pipe = process(narrow, urlsplit(place[0]).port)
    narrowed = through(place, link_pipe.recv())
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        path = folder / "film.mp4"
        with path.open("wb") as file:
            for _ in range(megabytes):
                file.write(os.urandom(2**20))
        before = peak_megabytes()
        report(f"{megabytes} MiB over loopback", measure(path, folder / "fast", place, rounds)[0])
        found, warm = measure(path, folder / "slow", narrowed, min(rounds, 3))
        report(f"{megabytes} MiB at {UPLINK * 8 / 1e6:.0f} Mbit/s (target: ratio at most 1.15)", found)
        peak = peak_megabytes()
        pipe.send("calls")
        first = len(pipe.recv())
        warm.carry(ready(path), "oss", model=MODEL, name="file")
        pipe.send("calls")
        again = len(pipe.recv()) - first
    link_pipe.send("stop")
    link.join()
    pipe.send("stop")
    server.join()
    print(f"requests for a second send: {again} (target 0)")
    print(f"peak memory of all uploads: +{peak - before:.0f} MB over idle (target 150)")


def report(title, found):
    base = statistics.median(wall for wall, _ in found["oss2.put_object_from_file"])
    base_cpu = statistics.median(cpu for _, cpu in found["oss2.put_object_from_file"])
    print(f"{title}, medians of {len(found['ours, bucket'])} rounds")
    for name, spent in found.items():
        wall, cpu = statistics.median(s[0] for s in spent), statistics.median(s[1] for s in spent)
        print(f"{name:28} {wall:7.3f} s wall  {cpu:7.3f} s CPU   ratio {wall / base:5.2f}  CPU {cpu / base_cpu:5.2f}")


if __name__ == "__main__":
    main()
