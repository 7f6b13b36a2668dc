"""Every command with wrong input: one table of what is typed, the exit code, what is said, and the next step.

Each row ends before anything is sent: the address of the service is one that nothing listens at. `{film}`, `{sound}`,
`{picture}` and so on are files of the fixture `place`, which is also the current folder.
"""

import contextlib
import os
import re
import sqlite3
import sys
from collections.abc import Iterator, Mapping
from importlib.util import find_spec
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import pytest
import typer
from PIL import Image

from qwen_omni.archive.worker import open_store
from qwen_omni.cli.main import build_app
from qwen_omni.standin.marked_media import make_audio, make_video
from qwen_omni.work_store import postgres

FAILED, WRONG_USE = 1, 2
KEY, URL = "DASHSCOPE_API_KEY", "DASHSCOPE_BASE_URL"
NOTHING_LISTENS = "http://127.0.0.1:9/compatible-mode/v1"


class Row(NamedTuple):
    """One wrong input.

    Attributes:
        line: what is typed after the name of the command.
        code: the exit code.
        says: what is wrong.
        step: what to do.
        environment: variables that differ.
    """

    line: str
    code: int
    says: str
    step: str = ""
    environment: Mapping[str, str] = MappingProxyType({})


def use(line: str, says: str, step: str = "", **environment: str) -> Row:
    """A row of wrong use."""
    return Row(line, WRONG_USE, says, step, environment)


def fail(line: str, says: str, step: str = "", **environment: str) -> Row:
    """A row of a failure: the command is right, a file is not."""
    return Row(line, FAILED, says, step, environment)


def media(command: str, *, before: str = "", after: str = "", prefix: str = "") -> list[Row]:
    """Rows about files that cannot be used, which every command that takes media has."""
    typed = f"{before} {{}} {after}".strip()
    return [
        fail(typed.format("gone.mp4"), "gone.mp4 cannot be opened: No such file"),
        fail(typed.format("text.mp4"), "text.mp4 is not media: its", "Name one media file"),
        fail(typed.format("empty.mp4"), "empty.mp4 is empty (0 bytes)"),
        fail(typed.format("page.mp4"), "look like a web page", "yt-dlp -o video.mp4"),
        fail(typed.format("folder"), "folder is a folder, not a plain file", "name one media file"),
        fail(typed.format("cut.mp4"), "cut.mp4"),
        fail(typed.format("ftp://example.com/a.mp4"), "is not a URL that can be sent", "use http, https, oss, file or data"),
        use(typed.format("film.mp4") + " --nope", "No such option: --nope", f"qwen-omni {command} --help"),
    ]  # fmt: skip


def service(line: str) -> list[Row]:
    """Rows about the key and the address, which every command that asks the service has."""
    return [
        use(line, "No API key", "Create one in the Model Studio console (https://", **{KEY: ""}),
        use(line, "cannot be sent: character", "copy it again without them", **{KEY: "sk-\u2026"}),
        use(f"{line} --region mars", "--region 'mars' is not known", "choose one of cn, intl, us"),
        use(f"{line} --region jp", "'jp' has no shared host", "the ID of your workspace", **{URL: ""}),
        use(f"{line} --base-url example.com", "must be an http or https URL", "for example https://dashscope"),
        use(f"{line} --base-url http://h/v1/chat/completions", "ends in /chat/completions", "Use http://h/v1"),
        use(f"{line} --base-url https://dashscope.aliyuncs.com", "not the address of the chat routes", "Use https://dashscope.aliyuncs.com/compatible-mode/v1"),
        use(f"{line} --region cn --base-url http://h/v1", "Pass --base-url or --region, not both"),
    ]  # fmt: skip


def choices(line: str, **options: str) -> list[Row]:
    """Rows about options that take one of some words."""
    return [
        use(f"{line} --{name} nonsense", f"--{name} 'nonsense' is not known", f"choose one of {first}")
        for name, first in options.items()
    ]


STORE = "--store new.db"
STEP = f"{STORE} --do caption"


def step(command: str) -> list[Row]:
    """Rows about the step and the store, which the commands that ask about an archive have."""
    return [
        use(f"{command} film.mp4 --do summarise {STORE}", "--do 'summarise' is not known", "choose one of caption, summarize, transcribe, notes"),
        use(f"{command} film.mp4 {STORE}", "Missing option '--do'", f"qwen-omni archive {command} --help"),
        use(f"{command} film.mp4 --do transcribe --schema general {STORE}", "--schema does not apply to --do transcribe, only to caption"),
        use(f"{command} film.mp4 {STEP} --focus music", "--focus does not apply to --do caption", "only to summarize and notes"),
        use(f"{command} film.mp4 --do notes --text-model qwen-plus {STORE}", "--text-model does not apply to --do notes", "only to summarize"),
        use(f"{command} film.mp4 --do summarize --detail tiny {STORE}", "--detail 'tiny' is not known", "choose one of low, medium, high"),
        use(f"{command} film.mp4 {STEP} --thinking nonsense", "--thinking 'nonsense' is not known", "choose one of on, off"),
        use(f"{command} film.mp4 {STEP} --schema produkt", "did you mean product?", "Choose product, general, timed"),
        use(f"{command} film.mp4 {STEP} --fps 0", "fps must be greater than 0", "got 0"),
        use(f"{command} film.mp4 {STEP} --audio-track second", "--audio-track must be 'auto', 'mix' or the number"),
        use(f"{command} film.mp4 --do transcribe -m whisper {STORE}", "'whisper' is not a known transcription model", "choose one of"),
        use(f"{command} film.mp4 --do transcribe --speakers -1 {STORE}", "--speakers"),
        use(f"{command} film.mp4 {STEP} --tpm 0", "tpm must be", "got 0"),
        use(f"{command} film.mp4 {STEP} --nope", "No such option: --nope", f"qwen-omni archive {command} --help"),
        use(f"{command} - {STEP}", f"archive {command} does not read standard input"),
        *stores(f"{command} film.mp4 --do caption"),
    ]  # fmt: skip


def stores(line: str) -> list[Row]:
    """Rows about a store that cannot be one."""
    return [
        use(f"{line} --store text.mp4", "text.mp4 has the name of a media file", "Choose another with --store"),
        use(f"{line} --store mysql://h/db", "A store cannot be at a mysql:// address", "postgresql://HOST/DATABASE"),
        use(f"{line} --store ''", "'--store': it is empty", "shell variable unset"),
        use(f"{line} --store newer.db", "newer.db was written by a newer version", "update the package"),
        use(f"{line} --store", "requires an argument"),
    ]  # fmt: skip


def sources(command: str) -> list[Row]:
    """Rows about inputs that are none."""
    return [
        use(f"{command} folder {STEP}", "folder contains no video or recording", "Pass a file, a folder or bucket"),
        use(f"{command} gone/*.mp4 {STEP}", "gone/*.mp4 contains no video or recording", "a pattern, or a list"),
        use(f"{command} columns.csv {STEP}", "columns.csv has no column `uri`; its columns: a, b"),
        fail(f"{command} gone.csv {STEP}", "Could not read gone.csv: No such file"),
        fail(f"{command} ftp://no.invalid/a.mp4 {STEP}", "ftp://no.invalid/a.mp4 cannot be reached"),
        use(f"{command} oss://bucket/a {STEP}", "oss://bucket needs the endpoint of its region", "set QWEN_OMNI_OSS_BUCKET"),
        use(f"{command} '' {STEP}", "The name of a file is empty"),
    ]  # fmt: skip


def library(command: str, line: str) -> list[Row]:
    """Rows about a command of a library that asks the service."""
    return [Row(f"{command} {row.line}", *row[1:]) for row in service(line)]


TABLE: dict[str, list[Row]] = {
    "archive": [
        use("begin", "No such command 'begin'", "qwen-omni archive --help"),
        use("--store new.db", "No such option: --store", "qwen-omni archive --help"),
        *step("plan"),
        *sources("plan"),
        use(f"plan {STEP}", "Missing argument 'SOURCE", "qwen-omni archive plan --help"),
        use(f"plan film.mp4 {STEP} --sample -1", "sample must be"),
        use(f"plan film.mp4 {STEP} --sample many", "Invalid value for '--sample'"),
        *step("run"),
        use("run film.mp4 --do caption", "Missing option '--store'", "qwen-omni archive run --help"),
        use("run film.mp4 --do caption --store film.mp4", "film.mp4 is a media file, and cannot be the archive store", "Choose another with --store"),
        *sources("run"),
        *service(f"run film.mp4 {STEP}"),
        use(f"run {STEP}", "Missing argument 'SOURCE", "qwen-omni archive run --help"),
        use(f"run film.mp4 {STEP} -j 0", "--in-flight must be a whole number from 1", "got 0"),
        use(f"run film.mp4 {STEP} --max-cny -5", "cny must be from 0", "got -5"),
        use(f"run film.mp4 {STEP} --max-cny much", "Invalid value for '--max-cny'"),
        use(f"run film.mp4 {STEP} --max-tokens 1.5", "Invalid value for '--max-tokens'"),
        use(f"run film.mp4 {STEP} --max-cny 5 -m qwen9-omni", "the price of qwen9-omni is unknown", "Limit tokens with --max-tokens"),
        use("run film.mp4 --do caption --store folder", "folder is not a file", "Choose another with --store"),
        use("run film.mp4 --do caption --store text.mp4/new.db", "text.mp4/new.db cannot be used: Not a directory"),
        fail("run film.mp4 --do caption --store postgresql://me:secret-word@127.0.0.1:9/none", "127.0.0.1:9/none cannot be used (unreachable)", "Check the host and the port"),
        *([use(f"run film.mp4 {STEP} --ray local", "pip install 'qwen-omni[ray]'")] if find_spec("ray") is None else [
            use(f"run film.mp4 {STEP} --ray 127.0.0.1:9", "There is no Ray cluster at '127.0.0.1:9'", "ray start --head"),
            use(f"run film.mp4 {STEP} --ray mars", "'mars' is not the address of a Ray cluster", "HOST:PORT"),
        ]),
        fail(f"run gone.mp4 {STEP}", "gone.mp4 does not exist", "Files without an answer: 1 of 1 (1 missing)"),
        fail(f"run empty.mp4 text.mp4 page.mp4 {STEP}", "empty.mp4 is empty (0 bytes)", "Files without an answer: 3 of 3"),
        fail(f"run rows.jsonl {STEP}", "rows.jsonl line 2 is not JSON", "(1 no uri, 1 unreadable row)"),
        fail(f"run film.mp4 {STEP} -m qwen-plus", "qwen-plus takes text, not video", "they would fail again unchanged"),
        *step("retry"),
        use("retry film.mp4 --do caption", "Missing option '--store'", "qwen-omni archive retry --help"),
        use(f"retry {STEP.replace('new', 'gone')}", "There is no archive store gone.db", "check the path"),
        *stores("status"),
        use("status", "Missing option '--store'", "qwen-omni archive status --help"),
        use("status --store gone.db", "There is no archive store gone.db", "check the path"),
        use("status --store folder", "There is no archive store folder", "It is a folder"),
        use("status --store kept.db --do sing", "--do 'sing' is not known", "choose one of caption"),
        use("status more --store kept.db", "unexpected extra argument"),
        use("status --store kept.db --max-cny 5", "No such option: --max-cny"),
        use("status --store kept.db --json more", "unexpected extra argument"),
        use("status --store kept.db --do", "requires an argument"),
        use("status --store gone/kept.db", "There is no archive store gone/kept.db", "check the path"),
        fail("status --store postgresql://me:secret-word@127.0.0.1:9/none", "127.0.0.1:9/none cannot be used (unreachable)", "Check the host and the port"),
        *stores("export new.csv"),
        use("export new.csv", "Missing option '--store'", "qwen-omni archive export --help"),
        use("export --store kept.db", "Missing argument 'FILE'", "qwen-omni archive export --help"),
        use("export new.csv --store gone.db", "There is no archive store gone.db", "check the path"),
        use("export new.xlsx --store kept.db", "'new.xlsx' does not say a format", "end it in .parquet, .jsonl or .csv"),
        use("export new --store kept.db", "'new' does not say a format"),
        use("export new.csv --format excel --store kept.db", "--format 'excel' is not known", "choose one of parquet, jsonl, csv"),
        use("export taken.csv --store kept.db", "taken.csv exists", "--overwrite"),
        use("export folder --format csv --store kept.db", "folder cannot be written: it is a folder", "Choose another location"),
        use("export text.mp4/new.csv --store kept.db", "text.mp4 is not a folder", "Choose another location"),
        use(f"export {'x' * 300}.csv --store kept.db", "File name too long", "Choose another location"),
        use("export - --format csv --store kept.db", "needs the name of the file to write"),
        use("export '' --format csv --store kept.db", "needs the name of the file to write"),
        use("export new.csv more --store kept.db", "unexpected extra argument"),
    ],
    "ask": [
        *media("ask", after="What?"),
        *service("film.mp4 What?"),
        *choices("film.mp4 What?", thinking="on, off", tier="standard", delivery="auto", budget="auto, static"),
        use("", "Missing argument 'QUESTION'", "qwen-omni ask --help"),
        use("'' What?", "The name of a file is empty"),
        use("film.mp4 What? --start 1.99", "film.mp4, in the selected range, lasts 0.0", "Send a longer clip"),
        use("picture.png What? --max-pixels 1", "picture.png, with --max-pixels 1, is", "each side needs at least 11"),
        use("film.mp4", "The question is missing", "qwen-omni ask film.mp4 'What happens here?'"),
        use("gone.mp4", "The question is missing", "Put it last"),
        use("https://example.com/a.mp4", "The question is missing", "Put it last"),
        use("What? film.mp4", "The question comes last", "qwen-omni ask film.mp4 '"),
        use("film.mp4 ''", "The question is empty", "Put it last"),
        use("film.mp4 What\udcff?", "The question is not UTF-8 text", "Type it again"),
        fail("film.mp4 film.mp4 What? -m qwen3-omni-flash", "film.mp4: qwen3-omni-flash takes at most 1 video per request"),
        use("- -", "can be read only once"),
        use("- What?", "Standard input is empty", "cat FILE | qwen-omni ask -"),
        use("film.mp4 -", "Standard input holds no question", "echo 'What happens?' |"),
        use("sound.wav What? --fps 1", "sound.wav is audio; --fps is for video"),
        use("picture.png What? --fps 2", "picture.png is an image; --fps is for video"),
        use("film.mp4 What? --fps 0", "--fps must be", "got 0"),
        use("film.mp4 What? --fps 1000", "--fps for qwen3.8-omni-flash must be", "got 1000"),
        use("film.mp4 What? --system Hi --fps 1000", "--fps for qwen3.8-omni-flash must be", "got 1000"),
        use("picture.png What? --frame 7", "there is no frame 7", "Choose one from 0 to 0"),
        use("film.mp4 What? --frame 0", "film.mp4 is not an image; --frame chooses"),
        use("picture.png What? --audio-track 1", "picture.png is an image; --audio-track is for"),
        use("https://example.com/a.mp4 What? --start 1", "is a link, and --start and --end are for local media"),
        use("picture.png What? --start 1", "picture.png is an image; --start and --end are for video and audio"),
        use("sound.wav What? --budget glance", "sound.wav is audio; --budget is for images and video"),
        use("film.mp4 What? --start 99", "lasts 2.00 s; nothing lies in the range", "Choose a start before its end"),
        use("film.mp4 What? --start soon", "'soon' is not a time", "or a time such as 1:30"),
        use("film.mp4 What? --start 1:75", "'1:75' is not a time", "Write seconds (90)"),
        use("film.mp4 What? --start 2 --end 1", "--end must be greater than --start (2 s), got 1 s"),
        use("film.mp4 What? --fps nan", "--fps must be", "got nan"),
        use("film.mp4 What? --fps many", "Invalid value for '--fps'", "qwen-omni ask --help"),
        use("film.mp4 What? --audio-track second", "--audio-track must be 'auto', 'mix' or the number", "qwen-omni probe"),
        use("film.mp4 What? --audio-track 7", "has no audio track 7", "Choose one of them, 'auto' or 'mix'"),
        use("film.mp4 What? -m qwen-plus", "qwen-plus takes text, not video", "Use qwen3.8-omni-flash"),
        use("film.mp4 What? --tier batch", "qwen3.8-omni-flash is not offered in Batch Chat", "choose another model"),
        fail("https://youtu.be/abc What?", "is a web page of YouTube", "yt-dlp"),
        fail("https://example.com/watch What?", "does not show whether it is an image, audio or video", "state which"),
    ],
    "caption": [
        *media("caption"),
        *service("film.mp4"),
        *choices("film.mp4", thinking="on, off", tier="standard"),
        use("", "Missing argument 'FILE", "qwen-omni caption --help"),
        use("-", "caption does not read standard input", "save it to a file"),
        use("film.mp4 --json --csv", "--json and --csv cannot be combined", "choose one"),
        use("film.mp4 --timed --schema x:Y", "--schema and --timed cannot be combined"),
        use("film.mp4 --schema nothing", "--schema 'nothing' is not known", "module:Class or FILE.json"),
        use("film.mp4 --schema nosuchmodule:X", "No module named 'nosuchmodule'"),
        use("film.mp4 --schema json:nope", "has no attribute 'nope'"),
        use("film.mp4 --schema json:dumps", "is not a schema"),
        use("film.mp4 --schema gone.json", "--schema gone.json: ", "No such file"),
        use("film.mp4 --tier batch", "qwen3.8-omni-flash is not offered in Batch Chat", "choose another model"),
        use("picture.png sound.wav --fps 2", "qwen-omni: picture.png is an image; --fps is for video.", "qwen-omni: sound.wav is audio; --fps is for video."),
        use("sound.wav --max-pixels 90000", "sound.wav is audio; --max-pixels is for images and video."),
        use("film.mp4 --results /proc/no/such", "--results"),
        use("film.mp4 --schema produkt", "--schema 'produkt' is not known; did you mean product?", "Choose product, general, timed, FILE.py:Class"),
        use("'' film.mp4", "The name of a file is empty"),
        use("film.mp4 --schema shop.py:", "is not known", "FILE.py:Class"),
        use("film.mp4 --schema gone.py:Scene", "--schema 'gone.py:Scene': there is no file gone.py."),
        use("film.mp4 --schema schema.py:Gone", "has no attribute 'Gone'"),
        use("film.mp4 --schema schema.py:broken", "is not a schema"),
        use("film.mp4 --schema crash.py:Scene", "ZeroDivisionError: division by zero"),
        use("film.mp4 --schema list.json", "does not hold a JSON object"),
        use("film.mp4 --schema general --srt", "Subtitles need captions with times", "use --schema timed"),
        use("film.mp4 -j 0", "--concurrency must be", "got 0"),
        use("film.mp4 --fps 1000", "film.mp4: --fps for qwen3.8-omni-flash must be", "got 1000"),
        use("picture.png --fps 2", "picture.png is an image; --fps is for video"),
        use("film.mp4 picture.png --frame 7", "film.mp4 is not an image; --frame chooses", "qwen-omni: picture.png has 1 frame; there is no frame 7"),
        fail("gone.mp4 picture.png --fps 2", "gone.mp4 cannot be opened", "picture.png is an image; --fps is for video"),
        use("film.mp4 --results text.mp4/results", "--results"),
        use("film.mp4 --results film.mp4", "film.mp4 is a media file, and cannot be the results file", "film.sqlite3"),
        use("film.mp4 --results other/film.mp4", "other/film.mp4 is a media file", "Name another file with --results"),
        use("film.mp4 --results nowhere/new.mov", "new.mov has the name of a media file", "new.sqlite3"),
        use("film.mp4 --results sound.db", "sound.db is a media file", "sound.sqlite3"),
        use("film.mp4 --delivery post", "--delivery 'post' is not known", "choose one of auto"),
        use("film.mp4 other/film.mp4 --srt", "would both become film.srt", "run them separately"),
        use("film.mp4 sound.wav --srt --out text.mp4", "text.mp4 is not a folder", "Choose another location"),
    ],
    "doctor": [
        *service(""),
        use("https://example.com/a.mp4 more", "unexpected extra argument", "qwen-omni doctor --help"),
        use("--nope", "No such option: --nope", "qwen-omni doctor --help"),
        use("--model", "requires an argument"),
        fail("https://youtu.be/abc", "is a web page of YouTube", "yt-dlp"),
        use("film.mp4", "film.mp4 is not an http or https link", "qwen-omni probe FILE"),
        use("file:///etc/passwd", "is not an http or https link", "qwen-omni probe FILE"),
        fail("http://127.0.0.1:9/a.mp4", "'127.0.0.1' is not on the internet", "→"),
        fail("http://no.invalid/a.mp4", "no.invalid", "→"),
    ],
    "estimate": [
        *media("estimate"),
        *choices("film.mp4", tier="standard", delivery="auto", region="cn"),
        use("", "Missing argument 'FILE", "qwen-omni estimate --help"),
        use("-", "estimate does not read standard input", "save it to a file"),
        use("film.mp4 --budget tiny", "Unknown budget 'tiny'", "choose one of auto, static"),
        use("film.mp4 --answer -1", "--answer must be", "got -1"),
        use("film.mp4 --answer many", "Invalid value for '--answer'", "qwen-omni estimate --help"),
        use("film.mp4 --start 2 --end 1", "--end must be greater than --start (2 s), got 1 s"),
        use("film.mp4 --start 99", "lasts 2.00 s", "Choose a start before its end"),
        use("picture.png --fps 1", "picture.png is an image; --fps is for video"),
    ],
    "mcp": [
        *service("--root folder"),
        *choices("--root folder", delivery="auto"),
        use("", "Missing option '--root'", "qwen-omni mcp --help"),
        use("--root", "requires an argument"),
        use("--root gone", "--root gone is not a folder", "name one whose media agents may read"),
        use("--root text.mp4", "--root text.mp4 is not a folder", "name one whose media agents may read"),
        use("--root folder --nope", "No such option: --nope", "qwen-omni mcp --help"),
        use("--root folder --no-limit --max-cny 5", "--no-limit cannot be combined with --max-cny"),
        use("--root folder --max-cny -5", "must be"),
        use("--root folder --max-cny much", "Invalid value for '--max-cny'"),
        use("--root folder --max-tokens 1.5", "Invalid value for '--max-tokens'"),
        use("--root folder more", "unexpected extra argument"),
        use("--root folder --library none", "There is no library none.", "Create it: qwen-omni library add FOLDER --library none"),
        use("--root folder --library full", "full is a folder with other files, not a library"),
        use("--root folder --library text.mp4", "text.mp4 is a file; a library is"),
    ],
    "probe": [
        *media("probe"),
        use("", "Missing argument 'FILE'", "qwen-omni probe --help"),
        use("-", "probe does not read standard input", "save it to a file"),
        use("film.mp4 sound.wav", "unexpected extra argument"),
        use("film.mp4 --budget tiny", "Unknown budget 'tiny'", "choose one of auto, static"),
        use("film.mp4 --audio-track second", "--audio-track must be 'auto', 'mix' or the number"),
        use("film.mp4 --audio-track 7", "has no audio track 7", "Choose one of them"),
        fail("https://example.com/a.mp4", "link"),
    ],
    "sample": [
        use("--nope", "No such option: --nope", "qwen-omni sample --help"),
        use("folder other", "unexpected extra argument"),
        use("text.mp4", "text.mp4 already exists and is not the sample clip", "choose another place"),
        use("columns.csv", "columns.csv is not a folder", "Choose another folder"),
        fail("text.mp4/deeper", "Could not write text.mp4/deeper/sample.mp4: Not a directory", "choose another place"),
        use("taken", "sample.mp4 already exists and is not the sample clip", "choose another place"),
        use(f"{'x' * 300}", "cannot be written: File name too long", "Choose another folder"),
        use("--folder here", "No such option: --folder"),
        use("-o here", "No such option: -o"),
        use("film.mp4", "film.mp4 already exists and is not the sample clip", "choose another place"),
        use("full", "sample.mp4 cannot be written: Is a directory", "Choose another folder"),
        use("cut", "sample.mp4 already exists and is not the sample clip", "choose another place"),
        use(f"folder/{'x' * 300}", "cannot be written: File name too long", "Choose another folder"),
        fail("film.mp4/deeper/still", "Not a directory", "choose another place"),
        use("loop", "loop is not a folder", "Choose another folder"),
        use("gone", "gone is not a folder", "Choose another folder"),
    ],
    "split": [
        *media("split"),
        use("", "Missing argument 'FILE'", "qwen-omni split --help"),
        use("-", "split does not read standard input", "save it to a file"),
        use("film.mp4 sound.wav", "unexpected extra argument"),
        fail("https://example.com/a.mp4", "link"),
        use("film.mp4 --budget tiny", "Unknown budget 'tiny'", "choose one of auto, static"),
        use("film.mp4 --to text.mp4/deeper", "text.mp4 is not a folder", "Choose another location"),
        use("film.mp4 --seconds 0", "--seconds must be"),
        use("film.mp4 --seconds soon", "Invalid value for '--seconds'"),
        use("film.mp4 --overlap -1", "--overlap must be"),
        use("film.mp4 --start 2 --end 1", "--end must be greater than --start (2 s), got 1 s"),
        use("film.mp4 --to text.mp4", "text.mp4 is not a folder", "Choose another location"),
        use("film.mp4 --to taken", "film-000.mp4 already exists", "choose another folder with --to"),
        fail("picture.png", "picture.png is an image and cannot be split"),
    ],
    "standin": [
        use("--nope", "No such option: --nope", "qwen-omni standin --help"),
        use("more", "unexpected extra argument"),
        use("--port many", "Invalid value for '--port'"),
        use("--port", "requires an argument"),
        use("--host", "requires an argument"),
        use("--port 1.5", "Invalid value for '--port'"),
        use("--port -1", "--port -1 is out of range", "0 for a free one"),
        use("--port 65536", "--port 65536 is out of range", "choose one from 1 to 65535"),
        use("--port 99999999999999999999", "is out of range"),
        use("--host ''", "--host is empty", "use --host 127.0.0.1"),
        use("--host no.invalid", "'no.invalid' is not a known address or host name", "use --host 127.0.0.1"),
        use("--host http://127.0.0.1", "is not a known address or host name", "use --host 127.0.0.1"),
        use("--host 127.0.0.1:8787", "is not a known address or host name", "use --host 127.0.0.1"),
        use("--host 192.0.2.1 --port 0", "192.0.2.1 is not an address of this machine", "use --host 127.0.0.1"),
        use(f"--host {'x' * 300}", "is not a known address or host name", "use --host 127.0.0.1"),
    ],
    "summarize": [
        *media("summarize"),
        *service("film.mp4"),
        *choices("film.mp4", thinking="on, off", tier="standard", delivery="auto", detail="low, medium", strategy="map_reduce"),
        use("", "Missing argument 'FILE", "qwen-omni summarize --help"),
        use("film.mp4 --question ''", "--question is empty", "Leave it out"),
        use("-", "summarize does not read standard input", "save it to a file"),
        use("film.mp4 --json --youtube", "--json and --youtube cannot be combined"),
        *(use(f"film.mp4 -q Who? --{option}", f"--question and --{option.split()[0]} cannot be combined") for option in (
            "srt", "vtt", "html", "markdown", "youtube", "dry-run", "out there", "detail high", "strategy single")),
        use("film.mp4 --focus dogs --wish cats", "--wish is the old name of --focus", "pass --focus only"),
        use("film.mp4 --markdown --out full", "full/film.md cannot be written: it is a folder", "Choose another location"),
        use("film.mp4 --dry-run --html", "--dry-run and --html cannot be combined", "nothing is summarised"),
        use("film.mp4 --seconds 30 --strategy single", "--seconds and --strategy single cannot be combined"),
        use("film.mp4 --seconds 0", "--seconds must be"),
        use("film.mp4 --seconds 1 --overlap 1", "overlap"),
        use("film.mp4 -j 0", "--concurrency must be"),
        use("film.mp4 --max-gaps -1", "--max-gaps must be"),
        use("film.mp4 --srt --out text.mp4/deeper", "text.mp4 is not a folder", "Choose another location"),
        use("film.mp4 other/film.mp4 --srt --out folder", "would both become folder/film.srt", "run them separately"),
        fail("picture.png", "picture.png"),
    ],
    "library": [
        *library("add", "film.mp4"),
        use("add", "Missing argument 'FILE", "qwen-omni library add --help"),
        use("add -", "library add does not read standard input", "save it to a file"),
        use("add '' film.mp4", "The name of a file is empty"),
        use("add film.mp4 --detail huge", "--detail 'huge' is not known", "choose one of low, medium, high"),
        use("add film.mp4 --max-cny -1", "cny must be", "got -1"),
        use("add film.mp4 --max-cny much", "Invalid value for '--max-cny'"),
        use("add film.mp4 --delivery nonsense", "--delivery 'nonsense' is not known", "choose one of auto"),
        use("add film.mp4 --nope", "No such option: --nope", "qwen-omni library add --help"),
        use("add folder", "folder contains no video or recording", "Pass a file, a folder that contains some"),
        use("add *.none", "*.none contains no video or recording", "or a pattern"),
        use("add film.mp4 -l text.mp4", "text.mp4 is a file; a library is a folder", "Choose another name"),
        *library("search", "What?"),
        use("search", "Missing argument 'QUERY'", "qwen-omni library search --help"),
        use("search ''", "The question is empty", "Write what you are looking for"),
        use("search What? -k 0", "k must be", "got 0"),
        use("search What? -k many", "Invalid value for '-k'"),
        use("search What? --json --html page.html", "--json and --html cannot be combined", "choose one"),
        use("search --html", "Option '--html' requires an argument: --html FILE. Write a web page", "qwen-omni library search --help"),
        use("search What? --html folder", "folder cannot be written", "Choose another location"),
        use("search What? --html text.mp4/page.html", "text.mp4 is not a folder", "Choose another location"),
        use("search What? --nope", "No such option: --nope", "qwen-omni library search --help"),
        use("search What?", "There is no library library.lance", "Create it: qwen-omni library add FOLDER"),
        use("search What? -l text.mp4", "text.mp4 is a file; a library is a folder", "Choose another name"),
        use("search What? -l ''", ". is a folder with other files, not a library", "Choose another one with --library"),
        use("search What? more", "unexpected extra argument"),
        *library("ask", "What?"),
        use("ask", "Missing argument 'QUESTION'", "qwen-omni library ask --help"),
        use("ask ''", "The question is empty"),
        use("ask What? --looks -1", "looks must be", "got -1"),
        use("ask What? --fps 0", "fps must be", "got 0"),
        use("ask What? --fps nan", "fps must be", "got nan"),
        use("ask What? -k 0", "k must be", "got 0"),
        use("ask What? --max-cny -1", "cny must be", "got -1"),
        use("ask What? --dry-run --json", "--dry-run cannot be combined with --json or --html"),
        use("ask What? --json --html page.html", "--json and --html cannot be combined", "choose one"),
        use("ask What? --html folder", "folder cannot be written", "Choose another location"),
        use("ask What? -l none", "There is no library none", "--library none"),
        use("ask What? --nope", "No such option: --nope", "qwen-omni library ask --help"),
        use("remove", "Missing argument 'FILE", "qwen-omni library remove --help"),
        use("remove -", "library remove does not read standard input"),
        use("remove ''", "The name of a file is empty"),
        use("remove film.mp4", "There is no library library.lance", "Create it: qwen-omni library add FOLDER"),
        use("remove film.mp4 -l text.mp4", "text.mp4 is a file; a library is a folder"),
        use("remove film.mp4 -l none", "There is no library none", "--library none"),
        use("remove film.mp4 -l text.mp4/none", "There is no library text.mp4/none"),
        use("remove film.mp4 -l ''", ". is a folder with other files, not a library", "Choose another one with --library"),
        use("remove film.mp4 -l full", "full is a folder with other files, not a library"),
        use(f"remove film.mp4 -l {'x' * 300}", "xxx…, is too long"),
        use("remove film.mp4 -l", "Option '-l' requires an argument"),
        use("remove -l library.lance", "Missing argument 'FILE"),
        use("remove film.mp4 -k 3", "No such option: -k", "qwen-omni library remove --help"),
        use("remove film.mp4 --json", "No such option: --json", "qwen-omni library remove --help"),
        use("remove film.mp4 --nope", "No such option: --nope", "qwen-omni library remove --help"),
        use("remov film.mp4", "No such command 'remov'"),
    ],
    "transcribe": [
        *media("transcribe"),
        *service("sound.wav"),
        *choices("sound.wav", delivery="auto"),
        use("", "Missing argument 'FILE", "qwen-omni transcribe --help"),
        use("-", "transcribe does not read standard input", "save it to a file"),
        use("sound.wav --srt --json", "--srt and --json cannot be combined", "choose one"),
        use("sound.wav -m whisper", "whisper"),
        use("sound.wav --speakers -1", "--speakers"),
        use("sound.wav -j 0", "--concurrency"),
        use("sound.wav --wait soon", "Invalid value for '--wait'"),
        use("sound.wav film.mp4 --srt --out text.mp4", "text.mp4 is not a folder", "Choose another location"),
        use("sound.wav -m qwen3-asr-flash --srt", "returns no times", "paraformer-v2"),
        use("sound.wav -m qwen3-asr-flash --vtt", "returns no times", "paraformer-v2"),
    ],
}  # fmt: skip
PYTHON = r"(?<![-\w.])(?!map_reduce|avoid_negative_ts|make_zero)[a-z]+(_[a-z]+)+\b|\b[a-z_]+=|message \d|\w+Part\b|Settings\("
"""Words of Python, which nobody who types a command knows."""
ROWS = [pytest.param(name, row, id=f"{name} {row.line}"[:80]) for name, rows in TABLE.items() for row in rows]


@pytest.fixture(scope="module")
def app() -> typer.core.TyperGroup:
    """The command, built once."""
    return typer.main.get_command(build_app())


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of files, most of them wrong."""
    folder = tmp_path_factory.mktemp("wrong")
    for name in ("folder", "other", "taken", "cut"):
        (folder / name).mkdir()
    for name in ("sample.mp4", "film.md"):
        (folder / "full" / name).mkdir(parents=True)
    for link, target in (("loop", "loop"), ("gone", "nowhere")):
        (folder / link).symlink_to(target)
    (folder / "cut" / "sample.mp4").write_bytes(b"\0" * 9)
    film = make_video(folder / "film.mp4", seconds=2, size=(160, 120), fps=5).path.read_bytes()
    (folder / "other" / "film.mp4").write_bytes(film)
    for name in ("film-000.mp4", "sample.mp4"):
        (folder / "taken" / name).write_bytes(b"mine")
    (folder / "cut.mp4").write_bytes(film[: len(film) // 2])
    make_audio(folder / "sound.wav", seconds=2)
    (folder / "sound.db").write_bytes((folder / "sound.wav").read_bytes())
    Image.new("RGB", (64, 48)).save(folder / "picture.png")
    texts = {"text.mp4": "notes\n" * 40, "empty.mp4": "", "page.mp4": "<!DOCTYPE html><html><body>Hi</body></html>",
             "taken.csv": "mine", "columns.csv": "a,b\n", "rows.jsonl": '{"uri": 5}\nnonsense\n',
             "schema.py": "broken = 5", "crash.py": "1 / 0", "list.json": "[]"}  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    open_store(folder / "kept.db").close()
    open_store(folder / "newer.db").close()
    with contextlib.closing(sqlite3.connect(folder / "newer.db")) as base:
        base.execute("UPDATE facts SET value = '1000' WHERE name = 'form'")
        base.commit()
    return folder


@pytest.fixture(autouse=True)
def around(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The folder, a key, an address where nothing listens, an empty standard input."""
    monkeypatch.chdir(place)
    monkeypatch.setenv("COLUMNS", "300")
    monkeypatch.setenv(KEY, "sk-x")
    monkeypatch.setenv(URL, NOTHING_LISTENS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr(postgres, "_FIRST_PATIENCE", 0.1)
    with open(os.devnull, encoding="utf-8") as nothing:  # noqa: PTH123
        monkeypatch.setattr(sys, "stdin", nothing)
        yield


@pytest.mark.parametrize(("command", "row"), ROWS)
def test_wrong_input(
    command: str, row: Row, app: typer.core.TyperGroup, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:  # fmt: skip
    """What is wrong and what to do, on standard error, with the right exit code; nothing else, and no traceback."""
    for name, value in row.environment.items():
        monkeypatch.setenv(name, value)
    words = ["" if word == "''" else word for word in row.line.split()]

    with pytest.raises(SystemExit) as ended:
        app.main(args=[command, *words], prog_name="qwen-omni")

    out, err = capsys.readouterr()
    said = " ".join((err + out if command == "doctor" else err).replace("│", " ").split())  # findings are its output
    assert ended.value.code == row.code, said
    assert row.says in said
    assert row.step in said
    assert "Traceback" not in said
    assert "secret-word" not in said
    assert not re.search(PYTHON, said), said
    assert out == "" or command == "doctor"


def test_every_command_is_in_the_table(app: typer.core.TyperGroup) -> None:
    """With fifteen kinds of wrong input, those of a group of commands for each of them."""
    assert set(TABLE) == set(app.commands)
    groups = {name: one.commands for name, one in app.commands.items() if hasattr(one, "commands")}
    counts = {name: len(rows) for name, rows in TABLE.items() if name not in groups}
    for group, commands in groups.items():
        words = [row.line.split()[0] for row in TABLE[group]]
        counts |= {f"{group} {name}": words.count(name) for name in commands}
    assert [name for name, count in counts.items() if count < 15] == []
