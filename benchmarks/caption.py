"""A 60 s 720p video, from the file to a validated caption, by stage.

    python benchmarks/caption.py          the stand-in, then a sink without think time, then one with a latency model
    python benchmarks/caption.py --live   the real service (DASHSCOPE_API_KEY), on a video of your own: --file promo.mp4

The video is synthetic and therefore small; a recorded minute is larger and takes longer to prepare or send (--file).

Our own work is `look` (inspect the file), `prepare` (plan, fit, check, deliver, encode the request) and `parse`; `ask`
is the connection and the service. The sink parses HTTP only, so its `ask` is our sending and reading, without decoding.
"""

import argparse
import itertools
import json
import statistics
import tempfile
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import qwen_omni.client
from qwen_omni import OmniClient, Settings, VideoCaption
from qwen_omni.request.prepared_request import PreparedRequest
from qwen_omni.standin import Standin
from qwen_omni.standin.marked_media import Encoding, make_video
from qwen_omni.structured.ask import AnswerText, read_answer
from qwen_omni.structured.caption import DEFAULT_OPTIONS, plan_caption

REPEATS = 5
USUAL = Encoding(options=(("preset", "medium"), ("crf", "23")))  # the defaults of x264
UPLINK = 20e6 / 8  # bytes per second
FIRST_TOKEN = 1.5
TOKENS_PER_SECOND = 60
LETTERS_PER_TOKEN = 4
CAPTION = json.dumps(
    {
        "scene_description": "A hand unrolls a small dome tent on a meadow at dawn. It rises in one move, two campers "
        "lay out their bags, and the camera circles it while rain runs off the roof.",
        "key_product_features": ["stands in one move", "room for two", "keeps the rain out", "fits a backpack"],
        "target_audience": "Weekend campers who travel light; a guess from what is shown.",
        "recommended_music_style": "calm acoustic folk",
    }
)


class Sink(BaseHTTPRequestHandler):
    """Discards a request and streams the caption, at once or with the latency model."""

    protocol_version = "HTTP/1.1"
    slow = False
    received = 0

    def do_POST(self) -> None:
        began, size = time.monotonic(), 0
        for piece in self._body():
            size += len(piece)
            if self.slow:
                time.sleep(max(0.0, began + size / UPLINK - time.monotonic()))
        type(self).received = size
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if self.slow:
            time.sleep(FIRST_TOKEN)
        first = time.monotonic()
        for number, at in enumerate(range(0, len(CAPTION), LETTERS_PER_TOKEN), start=1):
            self._event({"choices": [{"index": 0, "delta": {"content": CAPTION[at : at + LETTERS_PER_TOKEN]}}]})
            if self.slow:
                time.sleep(max(0.0, first + number / TOKENS_PER_SECOND - time.monotonic()))
        self._event({"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]})
        self._chunk(b"data: [DONE]\n\n")
        self._chunk(b"")

    def _body(self):
        if "chunked" in self.headers.get("Transfer-Encoding", ""):
            while size := int(self.rfile.readline(), 16):
                yield self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return
        left = int(self.headers["Content-Length"])
        while left:
            piece = self.rfile.read(min(left, 65_536))
            left -= len(piece)
            yield piece

    def _event(self, event: dict) -> None:
        self._chunk(f"data: {json.dumps(event)}\n\n".encode())

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(f"{len(data):x}\r\n".encode() + data + b"\r\n")
        self.wfile.flush()

    def log_message(self, *_: object) -> None:
        pass


class Clocked(PreparedRequest):
    """Measures how long it takes to build a request: inspect, plan, prepare, deliver, encode."""

    seconds = 0.0

    def __init__(self, *arguments) -> None:
        began = time.perf_counter()
        super().__init__(*arguments)
        Clocked.seconds = time.perf_counter() - began


qwen_omni.client.PreparedRequest = Clocked


def staged(path: Path, client: OmniClient) -> dict[str, float]:
    """Caption one file and return the seconds of each stage."""
    marks = [time.perf_counter()]
    plan = plan_caption(path, VideoCaption, DEFAULT_OPTIONS)
    marks.append(time.perf_counter())
    response = client.complete(plan.request)
    marks.append(time.perf_counter())
    caption = read_answer(AnswerText(response.text, response.finish_reason), plan).value
    marks.append(time.perf_counter())
    assert isinstance(caption, VideoCaption)
    look, asked, parse = (after - before for before, after in itertools.pairwise(marks))
    return {"look": look, "prepare": Clocked.seconds, "ask": asked - Clocked.seconds, "parse": parse}


def report(title: str, runs: list[dict[str, float]]) -> dict[str, float]:
    medians = {name: statistics.median(run[name] for run in runs) for name in runs[0]}
    line = "  ".join(f"{name} {seconds * 1e3:8.1f} ms" for name, seconds in medians.items())
    print(f"{title:34} {line}  all {sum(medians.values()):.3f} s")
    return medians


def measure(path: Path, title: str, settings: Settings, repeats: int = REPEATS) -> dict[str, float]:
    with OmniClient(settings) as client:
        runs = [staged(path, client) for _ in range(repeats + 1)]
    return report(title, runs[1:] if repeats > 1 else runs)


def against_sink(path: Path, title: str, *, slow: bool, repeats: int) -> dict[str, float]:
    Sink.slow = slow
    server = ThreadingHTTPServer(("127.0.0.1", 0), Sink)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        url = f"http://127.0.0.1:{server.server_address[1]}/compatible-mode/v1"
        return measure(path, title, Settings.load(api_key="sk-sink", base_url=url), repeats)
    finally:
        server.shutdown()
        server.server_close()


def local(path: Path) -> None:
    print(f"{path.name}: {path.stat().st_size / 1e6:.2f} MB, caption of {len(CAPTION) // LETTERS_PER_TOKEN} tokens")
    with Standin() as standin:
        measure(
            path, "stand-in, which decodes it", Settings.load(api_key=standin.api_key, base_url=standin.base_url), 3
        )
    fast = against_sink(path, "sink, 0 ms think time", slow=False, repeats=REPEATS)
    own = sum(fast.values())
    print(f"  our own overhead: {own:.3f} s (target: at most 1.5) with {Sink.received / 1e6:.2f} MB sent")
    slow = against_sink(path, "20 Mbit/s, 1.5 s, 60 tokens/s", slow=True, repeats=3)
    print(f"  in all: {sum(slow.values()):.2f} s (target: under 4)")
    floor = Sink.received / UPLINK + FIRST_TOKEN + len(CAPTION) / LETTERS_PER_TOKEN / TOKENS_PER_SECOND
    print(f"  of which the model's own latency is {floor:.2f} s")


def live(path: Path) -> None:
    settings = Settings.load()
    print(f"{path}: {path.stat().st_size / 1e6:.2f} MB to {settings.base_url}; this is billed")
    measure(path, "live", settings, repeats=1)


def main() -> None:
    parser = argparse.ArgumentParser(description="file to caption, by stage")
    parser.add_argument("--live", action="store_true")
    parser.add_argument("--file", type=Path)
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = chosen.file or Path(folder) / "promo.mp4"
        if chosen.file is None:
            make_video(path, seconds=60, size=(1280, 720), fps=25, encoding=USUAL)
        if chosen.live:
            live(path)
            return
        local(path)
        if chosen.file is None:
            small = Path(folder) / "four_fps.mp4"
            make_video(small, seconds=60, size=(1280, 720), fps=4, encoding=USUAL)
            print("\nthe same minute at 4 fps, as a preparation stage would send it (its own time is not included)")
            local(small)


if __name__ == "__main__":
    main()
