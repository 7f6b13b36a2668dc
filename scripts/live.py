"""Compare what this package believes about the service with what the service does: about a minute, under one yuan.

    python scripts/live.py [--out live.json] [--link URL] [--offline]

Reads the key and the address as `Settings.load` does. Prints a row per fact; `--out` writes the rows that differ, with
what was sent and seen but no key and no media, for a report. With `--offline` everything runs against the stand-in,
which shows that the script works and nothing else.
"""

import argparse
import base64
import concurrent.futures
import contextlib
import functools
import io
import json
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
from PIL import Image

from qwen_omni import (
    ChatOptions,
    ChatRequest,
    ImagePart,
    MediaSource,
    OmniClient,
    QwenOmniError,
    Sampling,
    Settings,
    SpendLimit,
    Tool,
    Usage,
    UsageLedger,
    VideoPart,
    cost_of,
    estimate,
    profile_for,
    sample,
    user,
)
from qwen_omni.addresses import host_kind
from qwen_omni.archive import try_batch_file
from qwen_omni.diagnostics import ask_quotas
from qwen_omni.errors import NotFoundError
from qwen_omni.profiles.rate_limits import RateLimits, published_limits
from qwen_omni.redact import redact
from qwen_omni.settings import region_of
from qwen_omni.standin import Standin
from qwen_omni.standin.rules.quotas import Quota
from qwen_omni.transport.api import run

NEWEST, SPEAKING = "qwen3.8-omni-flash", "qwen3.5-omni-flash"
SECONDS = 35.0  # after this no further fact is tried
ONE_SECONDS = 25.0  # the most for one request
AT_ONCE = 3
QUESTIONS = ("What is drawn in the first scene?", "Which prices are shown?", "Who speaks?", "How does it end?")
LIMIT_CNY = 1.0
BATCH_SECONDS = 15.0
SMALL = Sampling(max_pixels=65_536)  # what a link may cost at most is reserved
REFUSED_BYTES = 10_485_760
NEAR = 0.01  # of the estimate; the text of a request is counted approximately without its model's vocabulary
LINK = "https://help-static-aliyun-doc.aliyuncs.com/file-manage-files/zh-CN/20241115/cqqkru/1.mp4"
"""A public video of the vendor's own documentation."""


@dataclass(frozen=True, slots=True)
class Row:
    """A fact: what is believed, what was seen, and whether they agree; `None` if it could not be tried."""

    fact: str
    believed: str
    seen: str
    agrees: bool | None


class Trial:
    """What every fact is tried with."""

    def __init__(self, settings: Settings, folder: Path, link: str) -> None:
        self.settings, self.link = settings, link
        self.clip = sample(folder).path
        self.client = OmniClient(settings)

    def ask(self, *parts: Any, model: str = NEWEST, **options: Any) -> Any:  # noqa: ANN401
        """Ask, with short answers and no reasoning."""
        thinking = False if profile_for(model).thinking != "none" else None
        chosen = ChatOptions(**{"max_tokens": 120, "thinking": thinking, **options})
        return self.client.complete(ChatRequest(model=model, messages=(user(*parts),), options=chosen))

    def raw(self, body: dict[str, Any]) -> httpx.Response:
        """Send a body that this package would not send."""
        key = self.settings.api_key.get_secret_value()
        url = f"{self.settings.base_url}/chat/completions"
        return httpx.post(url, json=body, headers={"Authorization": f"Bearer {key}"}, timeout=ONE_SECONDS)

    def video(self) -> VideoPart:
        """The sample clip."""
        return VideoPart(source=MediaSource.from_path(self.clip))


def said(response: httpx.Response) -> str:
    """Return status and reason of a raw answer."""
    return f"{response.status_code} {'' if response.is_success else redact(response.text)[:160]}".strip()


def stream_rule(trial: Trial, model: str, *, refused: bool) -> Row:
    """A request that does not stream."""
    body = {"model": model, "messages": [{"role": "user", "content": "Say ok."}], "max_tokens": 8, "stream": False}
    if profile_for(model).thinking != "none":
        body["enable_thinking"] = False
    answer = trial.raw(body)
    believed = "refused (400)" if refused else "answered (known from clients only)"
    agrees = {200: not refused, 400: refused}.get(answer.status_code)
    return Row(f"{model} without streaming", believed, said(answer), agrees)


def inline_limit(trial: Trial) -> Row:
    """An inline image above the limit that the service's own error names; this package keeps a little below it."""
    image = io.BytesIO()
    Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3)).save(image, "PNG")
    data = image.getvalue() + bytes(
        REFUSED_BYTES * 3 // 4 - len(image.getvalue()) + 3
    )  # decoders ignore what follows a PNG
    url = f"data:image/png;base64,{base64.b64encode(data).decode()}"
    content = [{"type": "image_url", "image_url": {"url": url}}, {"type": "text", "text": "Say ok."}]
    body = {"model": NEWEST, "messages": [{"role": "user", "content": content}], "max_tokens": 8, "stream": True}
    answer = trial.raw({**body, "enable_thinking": False})
    fact = f"an inline item of {len(url):,} bytes"
    return Row(fact, f"refused: above {REFUSED_BYTES:,}", said(answer), not answer.is_success)


def bill(trial: Trial) -> Row:
    """What the sample clip is billed, and what was estimated."""
    request = ChatRequest(
        model=NEWEST, messages=(user(trial.video(), "What does a latte cost?"),),
        options=ChatOptions(max_tokens=120, thinking=False),
    )  # fmt: skip
    made = estimate(request, settings=trial.settings)
    usage: Usage = trial.client.complete(request).usage or Usage()
    believed = f"{made.input_tokens:,} input tokens"
    seen = f"{usage.input_tokens:,} input tokens, {_kinds(usage)}; {cost_of(usage, NEWEST).cny or 0:.4f} CNY"
    return Row("the bill of the sample clip", believed, seen, _near(made.input_tokens, usage.input_tokens))


def _near(believed: int, seen: int) -> bool:
    return abs(believed - seen) <= max(2, NEAR * believed)


def _kinds(usage: Usage) -> str:
    return ", ".join(f"{name} {count}" for name, count in usage.input_details.items()) or "not broken down"


def cache(trial: Trial) -> Row:
    """Questions about one medium, which comes first, until one is served from the cache: no single hit is certain."""
    hit = 0
    for asked, question in enumerate(QUESTIONS, start=1):
        usage = trial.ask(trial.video(), question).usage or Usage()
        hit = usage.input_details.get("cached", 0)
        if hit and asked > 1:
            break
    seen = f"{hit:,} cached tokens in question {asked}"
    return Row(f"further questions about a medium, {NEWEST}", "cached input", seen, hit > 0)


def json_mode(trial: Trial) -> Row:
    """JSON mode with media."""
    text = trial.ask(trial.video(), "Answer in JSON: the price of a latte.", json_mode=True, max_tokens=600).text
    try:
        json.loads(text)
    except ValueError:
        return Row(f"JSON mode of {NEWEST}", "valid JSON", repr(text[:80]), agrees=False)
    return Row(f"JSON mode of {NEWEST}", "valid JSON", "valid JSON", agrees=True)


def tools(trial: Trial, model: str) -> Row:
    """Whether a tool is called."""
    schema = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
    tool = Tool(name="get_weather", description="The weather in a city.", parameters=schema)
    answer = trial.ask("What is the weather in Oslo? Use the tool.", model=model, tools=(tool,))
    called = [call.name for call in answer.tool_calls]
    believed = "called" if profile_for(model).tools else "not supported"
    seen = "called" if called else "not called"
    return Row(f"a tool, {model}", believed, seen, bool(called) == profile_for(model).tools)


def upload(trial: Trial) -> Row:
    """The temporary store at this address: a file too large to be sent inline, or sent there on request."""
    settings = replace(trial.settings, delivery="temporary")
    request = ChatRequest(
        model=NEWEST, messages=(user(trial.video(), "Say ok."),), options=ChatOptions(max_tokens=8, thinking=False)
    )
    with OmniClient(settings) as client:
        client.complete(request)
    kind = host_kind(settings.base_url)
    more = " (set DASHSCOPE_WORKSPACE to try a workspace host)" if kind == "shared" else ""
    where = f"uploads on a {kind} host, {region_of(settings.base_url) or 'no region'}"
    return Row(where, "accepted", f"accepted{more}", agrees=True)


def link(trial: Trial) -> Row:
    """A video by its link."""
    answer = trial.ask(VideoPart(source=MediaSource.from_url(trial.link)), "Say ok.")
    return Row("a video link", "answered", f"{(answer.usage or Usage()).input_tokens:,} input tokens", agrees=True)


def batch_chat(trial: Trial) -> Row:
    """A video link through Batch Chat; the row is not known if its turn does not come within a few seconds."""
    settings = replace(trial.settings, total_timeout=BATCH_SECONDS)
    request = ChatRequest(
        model="qwen3.5-omni-plus",
        messages=(user(VideoPart(source=MediaSource.from_url(trial.link), sampling=SMALL), "Say ok."),),
        options=ChatOptions(max_tokens=8, tier="batch"),
    )
    with OmniClient(settings) as client:
        answer = client.complete(request)
    seen = f"{(answer.usage or Usage()).input_tokens:,} input tokens"
    return Row("a video link in Batch Chat", "answered", seen, agrees=True)


def batch_file(trial: Trial) -> Row:
    """Two lines to the free test model of Batch File, all the way to their answers."""
    texts = try_batch_file(trial.settings, timeout=BATCH_SECONDS, poll_seconds=1)
    return Row("the test model of Batch File", "2 answers", f"{len(texts)} answers", len(texts) == 2)  # noqa: PLR2004


def quotas(trial: Trial) -> Row:
    """The account's limits, where the host reports them, against the published ones."""
    published = published_limits(NEWEST, region_of(trial.settings.base_url))
    try:
        own = run(ask_quotas(trial.settings.base_url, NEWEST), trial.settings)
    except NotFoundError:
        return Row(f"limits of {NEWEST}", str(published), "this host does not report them", agrees=None)
    return Row(f"limits of {NEWEST}", f"at least {published}", str(own), own is not None and _allows(own, published))


def _allows(own: RateLimits, published: RateLimits) -> bool:
    """Whether an account has what is published: those are the numbers of the lowest tier, and not all are known."""
    pairs = ((own.rpm, published.rpm), (own.tpm, published.tpm))
    return all(floor is None or has is None or has >= floor for has, floor in pairs)


def image(trial: Trial) -> Row:
    """The tokens of an image, which the formulas of this package predict."""
    image = io.BytesIO()
    Image.new("RGB", (640, 480), "white").save(image, "PNG")
    part = ImagePart(source=MediaSource.from_bytes(image.getvalue()))
    request = ChatRequest(model=SPEAKING, messages=(user(part, "Say ok."),), options=ChatOptions(max_tokens=8))
    made = estimate(request, settings=trial.settings)
    usage = trial.client.complete(request).usage or Usage()
    seen = usage.input_details.get("image", usage.input_tokens)
    fact = f"tokens of a 640x480 image, {SPEAKING}"
    return Row(fact, f"{made.tokens.image}", f"{seen}", _near(made.tokens.image, seen))


FACTS: dict[str, Callable[[Trial], Row]] = {  # those that take longest come first
    "batch chat": batch_chat,
    "batch file": batch_file,
    "cache": cache,
    "bill": bill,
    "upload": upload,
    "link": link,
    "JSON mode": json_mode,
    "stream rule": lambda trial: stream_rule(trial, SPEAKING, refused=True),
    "stream rule, newest": lambda trial: stream_rule(trial, NEWEST, refused=False),
    "image": image,
    "tools": lambda trial: tools(trial, NEWEST),
    "tools, 3.5 flash": lambda trial: tools(trial, SPEAKING),
    "tools, 3.5 plus": lambda trial: tools(trial, "qwen3.5-omni-plus"),
    "quotas": quotas,
    "inline limit": inline_limit,
}


def rows(trial: Trial) -> list[Row]:
    """Try every fact, a few at a time, as long as there is time."""
    until, found = time.monotonic() + SECONDS, []
    with concurrent.futures.ThreadPoolExecutor(AT_ONCE) as pool:
        for coming in [pool.submit(tried, name, trial, until) for name in FACTS]:
            found.append(coming.result())
            print(line(found[-1]), flush=True)
    return found


def tried(name: str, trial: Trial, until: float) -> Row:
    """Try a fact, unless the time is up."""
    if time.monotonic() > until:
        return Row(name, "", "not tried: the time is up", agrees=None)
    try:
        return FACTS[name](trial)
    except (QwenOmniError, httpx.HTTPError) as error:
        return Row(name, "answered", redact(str(error))[:200], agrees=None)


def line(row: Row) -> str:
    """Return a row as text."""
    mark = {True: "as believed", False: "DIFFERS", None: "not known"}[row.agrees]
    return f"{mark:12} {row.fact}: {row.believed or '-'} → {row.seen}"


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        """Print nothing."""


@contextlib.contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve a folder on this machine, for the stand-in's downloads."""
    with ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder))) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            thread.join()


def main() -> None:
    """Print the table; exit with 1 if a fact differs."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, help="write the rows that differ to this file, as JSON")
    parser.add_argument("--link", default=LINK, help="a public video link")
    parser.add_argument("--offline", action="store_true", help="use the stand-in")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        link = arguments.link
        if arguments.offline:
            quota = Quota(rpm=30_000, tpm=2_000_000)
            standin = Standin(implicit_cache=True, quotas={NEWEST: quota})
            stack.enter_context(standin.environment())
            link = stack.enter_context(served(folder)) + "/sample.mp4"
        ledger = UsageLedger()
        try:
            settings = Settings.load(
                media_root=folder, read_timeout=ONE_SECONDS, total_timeout=ONE_SECONDS, max_retries=1,
                spend_limit=SpendLimit(cny=LIMIT_CNY), ledger=ledger,
            )  # fmt: skip
        except QwenOmniError as error:
            sys.exit(str(error))
        found = rows(Trial(settings, folder, link))
    print(f"\n{ledger}")
    different = [row for row in found if row.agrees is not True]
    if arguments.out:
        arguments.out.write_text(json.dumps([asdict(row) for row in different], indent=1, ensure_ascii=False) + "\n")
    sys.exit(any(row.agrees is False for row in found))


if __name__ == "__main__":
    main()
