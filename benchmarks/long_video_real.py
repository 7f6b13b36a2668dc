"""The second form of `long_video`: only the distance to the service is modelled.

    python benchmarks/long_video.py --real

A ten-minute video (grain, and a code every second) is generated, cut, prepared and uploaded to the stand-in's temporary
store, and the stand-in decodes every segment; `summarize` does it all, including checkpoints. The distance is an uplink
of 20 Mbit/s shared by all connections, and answers that arrive 1.5 s + 300 tokens / 60 after a request. The stand-in
decodes meanwhile, on the same cores; if it needs longer, it is slower than the service, which the bound ignores.

The bound and the alternatives are those of `long_video`, computed from measurements: preparing all segments on all
cores, first on an idle machine, then as in our run, where the stand-in (and other processes) take their share of the
cores. The second line is the one that judges the engine.
"""

import asyncio
import io
import os
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import av
from long_video import FIRST_TOKEN, HEAD, TOKENS_PER_SECOND, UPLINK, Case, bound, row, sequential, staged
from PIL import Image

from qwen_omni.client import OmniClient
from qwen_omni.settings import Settings
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import draw_codes, make_frames
from qwen_omni.video.engine.run import over_source
from qwen_omni.video.options import SummaryOptions
from qwen_omni.video.results import VideoSummary
from qwen_omni.video.source_video import SourceVideo
from qwen_omni.video.summarize import stream_summary
from qwen_omni.video.tasks import NotesTask

SECONDS, FPS, SIZE, CODE = 600, 2, (480, 270), (176, 176)
TOKENS, TRIED = 300, 2
OPTIONS = SummaryOptions(segment_seconds=30, overlap=2, single_call_seconds=0, rpm=6000, tpm=10**9)


class Distance:
    """The distance to the service: a shared link, and the time until an answer arrives."""

    def __init__(self, app):
        self.app, self.free = app, 0.0

    async def __call__(self, scope, receive, send):
        arrived = None

        async def slowly():
            nonlocal arrived
            message = await receive()
            self.free = max(self.free, time.monotonic()) + len(message.get("body", b"")) / UPLINK
            await asyncio.sleep(max(0.0, self.free - time.monotonic()))
            arrived = time.monotonic()
            return message

        async def late(message):
            if scope["path"].endswith("/chat/completions") and arrived is not None:
                await asyncio.sleep(arrived + FIRST_TOKEN + TOKENS / TOKENS_PER_SECOND - time.monotonic())
            await send(message)

        await self.app(scope, slowly, late)


def make_film(path):
    """Write a video of grain, which is hard to encode, with a code in a corner that changes every second."""
    codes = draw_codes(SECONDS)
    grain = [Image.effect_noise(SIZE, 48).convert("RGB") for _ in range(2 * FPS)]
    with av.open(str(path), "w") as output:
        stream = output.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "30", "g": "50"})
        stream.width, stream.height, stream.pix_fmt = *SIZE, "yuv420p"
        for second, data in enumerate(make_frames(codes, CODE)):
            shown = Image.open(io.BytesIO(data))
            for number in range(FPS):
                picture = grain[(second * 3 + number) % len(grain)].copy()
                picture.paste(shown, (16, 16))
                output.mux(stream.encode(av.VideoFrame.from_image(picture)))
        output.mux(stream.encode(None))
    return codes


def measured(path, client, cores):
    """Run the steps separately; return their times, and the number of segments."""
    source, _ = over_source(path, client.settings, OPTIONS)
    segments = list(source.segments({}))
    began = time.monotonic()
    with ThreadPoolExecutor(cores) as pool:
        prepared = list(pool.map(source.prepare, segments))
    preparing = (time.monotonic() - began) * cores / len(segments)
    task = NotesTask(options=OPTIONS, duration=SECONDS)
    sent, waits = [], []
    for segment, ready in list(zip(segments, prepared, strict=True))[:TRIED]:
        plan = task.ask(source.part(ready), segment)
        begun = time.monotonic()
        outgoing = client.deliver(plan.request)
        sent.append(time.monotonic() - begun)
        client.answer(outgoing)
        waits.append(time.monotonic() - begun - sent[-1])
    size = statistics.mean(one.info.size_bytes for one in prepared)
    for ready in prepared:
        ready.close()
    print(
        f"measured: preparing {preparing:.2f} s of a core, {size / 1e6:.2f} MB, answer {statistics.mean(waits):.2f} s, "
        f"uploading {statistics.mean(sent):.2f} s (link alone {size / UPLINK:.2f} s)"
    )
    case = Case("10 min, real", preparing, size / 1e6, TOKENS, cores=cores, summary=TOKENS)
    return case, len(segments)


def ours(path, client, concurrency):
    """Summarise; return the seconds, the mean time to prepare a segment, and the summary."""
    took, real = [], SourceVideo.prepare

    def timed(source, segment):
        begun = time.monotonic()
        try:
            return real(source, segment)
        finally:
            took.append(time.monotonic() - begun)

    SourceVideo.prepare = timed
    began = time.monotonic()
    for item in stream_summary(path, client=client, options=replace(OPTIONS, concurrency=concurrency)):
        if isinstance(item, VideoSummary):
            SourceVideo.prepare = real
            return time.monotonic() - began, statistics.mean(took), item
    raise AssertionError


def main(concurrency):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    service = Standin()
    service.app = Distance(service.app)
    with tempfile.TemporaryDirectory() as folder, service:
        path = Path(folder) / "film.mp4"
        began = time.monotonic()
        codes = make_film(path)
        print(f"a video of {path.stat().st_size / 1e6:.0f} MB, made in {time.monotonic() - began:.0f} s", flush=True)
        settings = Settings.load(
            api_key=service.api_key, base_url=service.base_url, delivery="temporary", cache_dir=Path(folder) / "one"
        )
        with OmniClient(settings) as client:
            case, count = measured(path, client, cores)
        with OmniClient(replace(settings, cache_dir=Path(folder) / "two")) as client:
            took, preparing, found = ours(path, client, concurrency)
    seen = " ".join(note.text for note in found.events)
    missing = [code for code in codes if code not in seen]
    print(HEAD)
    for one in (case, replace(case, name=f"with {preparing:.2f} s as in the run", prepare=preparing)):
        least = bound(one, count, concurrency)
        others = (sequential(one, count), staged(one, count, concurrency), took)
        print(row(one.name, least, others, concurrency + 4))
    print(f"{count} segments, {len(codes) - len(missing)} of {len(codes)} seconds found, {cores} cores")
