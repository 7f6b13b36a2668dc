"""Errors in the words of the command line: options for arguments, files for places, nothing of Python."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import typer

import qwen_omni
from qwen_omni.addresses import Server
from qwen_omni.cli.main import build_app
from qwen_omni.cli.wording import CommandLine, as_files
from qwen_omni.errors import ConfigurationError, MediaDoesNotFitError, UnreadableMediaError
from qwen_omni.wire.vllm import kwargs_hint

ROOT = Path(qwen_omni.__file__).parent
PYTHON = re.compile(r"(?<![-\w.`/])[a-z]+(_[a-z]+)+\b|\b[a-z_]+=(?!\")|\b\w+Part\b|Settings\(|Budget\(|message \d")
"""Names of arguments and classes, and places in a conversation."""
NOT_SAID = {"standin", "cli", "integrations", "archive", "tools", "work_store", "retrieval", "notebook.py"}
"""Parts of the package whose texts no command prints."""
NOT_PYTHON = re.compile(
    r"map_reduce|avoid_negative_ts|make_zero|#t=|film_cpk|brender_pix|<start_time>|context_length_exceeded|boundary=|"
    r"finish_reason|upload_host|custom_id|^In Python|, in Python,|^[\w |]+$|^message 5 \(|audio=<"
)
"""Words of the service, of ffmpeg and of formats, types in quotes, bare places, and advice for programs that says so."""
NOT_HERE = re.compile(
    r"tool_choice|voice=|json_mode|cache_control|high_resolution_images|multichannel|modalities|extra_body|limits=|chat=|"
    r"store=|SecretStr|min_pixels must|total_pixels|to media_root|frame\. Send|frames; |cannot be one frame|one image as|"
    r"MediaBudget\(\.\.\.\)|text_model of|sources= selects|on_error must"
)
"""What no command can ask for: tools, speech, JSON modes, lists of frames, sampling that differs by part, retrievers."""
PARTS = re.compile(r"start vLLM|takes no fps")
"""Halves of a text that is tested as a whole, below."""


def command_line(name: str, **typed: Any) -> CommandLine:
    """What a command knows of its options, with some typed."""
    command = typer.main.get_command(build_app()).commands[name]
    values = {one.name: typed.get(one.name) for one in command.params}
    return CommandLine.of(
        SimpleNamespace(
            command=command, params=values,
            get_parameter_source=lambda name: SimpleNamespace(name="COMMANDLINE" if name in typed else "DEFAULT"),
        )
    )  # fmt: skip


def texts() -> Iterator[tuple[str, str]]:
    """Every text of the core that holds words of Python, with numbers and names for its values, and where it stands."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] in NOT_SAID | {"_moved.py", "__init__.py"}:
            continue
        inside: set[int] = set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Expr | ast.JoinedStr):
                inside |= {id(part) for part in ast.iter_child_nodes(node)}
            if isinstance(node, ast.JoinedStr):
                text = "".join(map(_piece, node.values))
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in inside:
                text = node.value
            else:
                continue
            if " " in text.strip() and PYTHON.search(text) and not NOT_PYTHON.search(text):
                yield f"{path.relative_to(ROOT)}:{node.lineno}", text


def _piece(value: ast.expr) -> str:
    if isinstance(value, ast.Constant):
        return str(value.value)
    return "'x'" if isinstance(value, ast.FormattedValue) and value.conversion == ord("r") else "5"


def test_no_text_of_the_core_speaks_python() -> None:
    """Whatever it is, and whichever command prints it."""
    found = [(where, text) for where, text in texts() if not NOT_HERE.search(text) and not PARTS.search(text)]
    assert len(found) > 60  # the search finds them
    for name in ("ask", "summarize", "transcribe"):
        line = command_line(name)
        wrong = {where: line.words(text) for where, text in found if PYTHON.search(line.words(text))}
        assert not wrong, name


@pytest.mark.parametrize(
    ("command", "said", "shown"),
    [
        ("summarize", "segment_seconds must be greater than 0, got 0.", "--seconds must be greater than 0, got 0."),
        ("summarize", "strategy='single': 5 s of a.mp4. Choose strategy='map_reduce' or 'auto'",
         "--strategy single: 5 s of a.mp4. Choose --strategy map_reduce or 'auto'"),
        ("summarize", "Use model='qwen3.8-omni-flash'.", "Use --model qwen3.8-omni-flash."),
        ("ask", "end must be greater than start (2 s), got 1 s.", "--end must be greater than --start (2 s), got 1 s."),
        ("ask", "the end must be near; start there", "the end must be near; start there"),
        ("ask", "Choose a page with frame=0, pass tile=False.", "Choose a page with --frame 0, pass --no-tile."),
        ("probe", "until it is unreadable (tile=False sends one image)", "until it is unreadable (--no-tile sends one image)"),
        ("caption", "reuse_unverified=True (--reuse-unverified) uses them", "--reuse-unverified uses them"),
        ("ask", "a workspace host allows 9 s (workspace='ws-...')", "a workspace host allows 9 s (--workspace ws-...)"),
        ("estimate", "a workspace host (workspace='ws-...')", "a workspace host (DASHSCOPE_WORKSPACE)"),
        ("summarize", "Choose another with overlap= (--overlap).", "Choose another with --overlap."),
        ("ask", "Use a bucket of your own (oss=OssSettings(...)).", "Use a bucket of your own (set QWEN_OMNI_OSS_BUCKET)."),
        ("ask", "no bucket is set; pass oss=OssSettings(...), or use delivery='auto'.",
         "no bucket is set; set QWEN_OMNI_OSS_BUCKET, or use --delivery auto."),
        ("mcp", "cny must be at least 0, got -5.", "--max-cny must be at least 0, got -5."),
        ("ask", "qwen-plus does not support thinking; drop thinking=True.", "qwen-plus does not support thinking; drop --thinking on."),
        ("ask", kwargs_hint(Server(dialect="vllm", name="vLLM")), "vLLM takes neither --fps nor --max-pixels; leave them out."),
    ],
)  # fmt: skip
def test_arguments_become_options(command: str, said: str, shown: str) -> None:
    """With their values, as they are typed."""
    assert command_line(command).words(said) == shown


def test_a_place_becomes_a_file() -> None:
    """Only where the text does not name it anyway."""
    line = command_line("ask", media=["b.gif", "odd name.mp4"])
    assert line.words("message 0 part 1: odd name.mp4 is empty.") == "odd name.mp4 is empty."
    assert line.words("message 1 (user) part 0: fps must be 1, got 2.") == "b.gif: --fps must be 1, got 2."
    assert line.words("message 0: takes one video\nmessage 0 part 0: x") == "takes one video\nb.gif: x"
    assert command_line("ask", media=["-"]).words("message 0 part 0: too small") == "too small"


@pytest.mark.parametrize("name", ["fps=2 max_pixels.mp4", "message 0 part 0: a.mp4", "dir/segment_seconds.mp4"])
def test_what_was_typed_stays(name: str) -> None:
    """A file may be called like an argument."""
    line = command_line("ask", media=[name], text="Is fps=3?")
    assert line.words(f"{name} cannot be opened; fps=1.") == f"{name} cannot be opened; --fps 1."
    assert line.words(f"no answer to Is fps=3? about {name}") == f"no answer to Is fps=3? about {name}"


def test_wrong_use() -> None:
    """Is an error about an option that was typed, or about the settings; a file or a default is not to blame."""
    line = command_line("summarize", fps=3.0, seconds=0.0)
    short = MediaDoesNotFitError("too short", limit=1, actual=0)
    assert line.is_wrong_use(ConfigurationError("x"))
    assert line.is_wrong_use(short.with_option("segment_seconds"))
    assert not line.is_wrong_use(short.with_option("start"))
    assert not line.is_wrong_use(short.with_option(None))
    assert not line.is_wrong_use(UnreadableMediaError("x"))
    assert not line.is_wrong_use(None)


def test_files_that_begin_with_a_dash() -> None:
    """A pattern such as *.mp4 may yield them; options stay options, and so does everything that is not a file."""
    files = {"-a.mp4", "-j", "--seconds", "-8.mp4", "--x.mp4", "-"}
    typed = ["-j", "4", "-a.mp4", "--seconds", "9.5", "--x.mp4", "-nope.mp4", "-", "-8.mp4", "--", "-a.mp4"]
    assert as_files(typed, {"-j", "--seconds"}, is_file=files.__contains__) == [
        "-j", "4", "./-a.mp4", "--seconds", "9.5", "./--x.mp4", "-nope.mp4", "-", "./-8.mp4", "--", "-a.mp4",
    ]  # fmt: skip
