"""`qwen-omni standin`: what is wrong with the options is one line with the next step and exit code 2."""

from __future__ import annotations

import errno
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from qwen_omni.cli.main import run


def refused(capsys, *options):
    """Run the command, and return the one line that it prints."""
    with pytest.raises(SystemExit) as ended:
        run(["standin", *options])
    told = capsys.readouterr()
    (line,) = " ".join(told.err.split("\n")).strip().split("\n")
    assert (ended.value.code, told.out, "Traceback" in line) == (2, "", False)
    return " ".join(line.split())


def test_a_taken_port(capsys):
    """The port and the address are named, and how to take another."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        line = refused(capsys, "--port", str(port))
    assert line.startswith(f"qwen-omni: Port {port} of 127.0.0.1 is in use: ")
    assert "--port" in line.partition(": ")[2]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--port", "70000"), "--port 70000 is out of range: choose one from 1 to 65535, or 0 for a free one."),
        (("--port", "-1"), "--port -1 is out of range: choose one from 1 to 65535, or 0 for a free one."),
        (("--host", ""), "--host is empty: use --host 127.0.0.1."),
        (("--host", "203.0.113.9", "--port", "0"), "203.0.113.9 is not an address of this machine: use --host 127.0.0"),
        (("--host", "a..b", "--port", "0"), "--host 'a..b' is not a known address or host name: use --host 127.0.0.1."),
    ],
)
def test_bad_addresses(capsys, options, words):
    """An address or a port that cannot be is named, with one that works."""
    assert words in refused(capsys, *options)


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            PermissionError(errno.EACCES, "Permission denied"),
            "No permission to listen on port 80: choose one above 1023",
        ),
        (OSError(errno.EMFILE, "Too many open files"), "Cannot listen on port 80 of 127.0.0.1: Too many open files."),
        (OSError(socket.EAI_AGAIN, "Try again"), "'127.0.0.1' is not a known address or host name"),
    ],
    ids=["permission", "files", "name"],
)
def test_what_the_machine_refuses(capsys, monkeypatch, error, words):
    """What only some machines refuse has its line as well."""

    def no_server(*_, **__):
        raise error

    monkeypatch.setattr(socket, "create_server", no_server)
    assert words in refused(capsys, "--port", "80")


@pytest.mark.slow
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT for one process")
def test_ctrl_c_ends_it_quietly():
    """After Ctrl-C there is no traceback, and the exit code is that of success."""
    code = "from qwen_omni.cli.main import run; run(['standin', '--port', '0'])"
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as running:
        os.set_blocking(running.stderr.fileno(), False)
        told, until = b"", time.monotonic() + 30
        while b"Ctrl-C" not in told and time.monotonic() < until:
            told += running.stderr.read() or b""
            time.sleep(0.05)
        running.send_signal(signal.SIGINT)
        assert running.wait(20) == 0
        told += running.stderr.read() or b""
    assert b"export DASHSCOPE_BASE_URL=http://127.0.0.1:" in told
    assert b"Traceback" not in told
