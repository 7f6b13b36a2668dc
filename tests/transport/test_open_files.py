"""A process that may open no more files: named as that, wherever a file or a connection is needed."""

import contextlib
import errno
import gc
import importlib
import os
import resource
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni import AsyncOmniClient, ChatRequest, MediaSource, OmniClient
from qwen_omni.errors import LocalResourceError
from qwen_omni.media.files.find import find_media
from qwen_omni.messages import user
from qwen_omni.structured.batch import Results
from qwen_omni.tools.folder import MediaFolder
from qwen_omni.transport.api import arun, resolve_host
from qwen_omni.transport.chat import tls
from qwen_omni.transport.downloads import downloaded
from qwen_omni.transport.flow import Request, ask

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="limits of Linux")


@contextlib.contextmanager
def no_files_left():
    """Take every file that this process may open."""
    gc.collect()  # what would be closed on the way
    usual = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = max(int(one.name) for one in Path("/proc/self/fd").iterdir()) + 1
    held = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, usual[1]))
    try:
        with contextlib.suppress(OSError):
            while True:
                held.append(os.open(os.devnull, os.O_RDONLY))
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, usual)
        for one in held:
            os.close(one)


@contextlib.contextmanager
def refused():
    """Expect the limit to be named, inside of a process that has reached it."""
    with pytest.raises(LocalResourceError, match=r"Too many open files.*ulimit -n") as found:  # noqa: SIM117
        with no_files_left():
            yield
    assert found.value.resource == "open files"


HELLO = ChatRequest(model="qwen3-omni-flash", messages=(user("Hello"),))


def test_a_chat(settings):
    with OmniClient(settings) as client:
        with refused():
            client.complete(HELLO)
        assert client.complete(HELLO).text


def test_a_stream(settings):
    with OmniClient(settings) as client, refused():
        list(client.stream(HELLO))


async def test_an_asynchronous_chat(settings):
    async with AsyncOmniClient(settings) as client:
        with refused():
            await client.complete(HELLO)
        assert (await client.complete(HELLO)).text


@pytest.mark.parametrize("cached", [True, False])
def test_a_new_client(settings, cached):
    """Certificates are read from files, once."""
    tls.cache_clear()
    if cached:
        tls()
    with refused(), OmniClient(settings) as client:
        client.complete(HELLO)


def test_langchain(standin):
    ChatQwenOmni(api_key=standin.api_key, base_url=standin.base_url).invoke(
        "Hello"
    )  # LangChain has loaded all it needs
    settings = {"api_key": standin.api_key, "base_url": standin.base_url, "timeout": 21}  # a connection of its own
    with refused():
        ChatQwenOmni(**settings).invoke("Hello")
    with refused():
        list(ChatQwenOmni(**settings).stream("Hello"))


def test_llama_index(standin):
    pytest.importorskip("llama_index.core")
    model = importlib.import_module("llama_index_qwen_omni").QwenOmni(
        api_key=standin.api_key, base_url=standin.base_url
    )
    with refused():
        model.complete("Hello")


async def test_a_request_beside_the_chats(standin, settings):
    """Uploads, transcription tasks and the doctor go this way."""

    def flow():
        return (yield from ask(Request(method="GET", url=standin.base_url, headers={}, most_bytes=100)))

    with refused():
        await arun(flow(), settings)


def test_a_download(standin, settings):
    with refused(), downloaded(f"{standin.base_url}/a.mp4", settings, allow_private=True):
        pass


def test_a_name(monkeypatch):
    """The name of the host is not to blame; the name service has to open a socket, too."""
    monkeypatch.setattr("socket.getaddrinfo", Mock(side_effect=OSError(errno.EMFILE, os.strerror(errno.EMFILE))))
    with pytest.raises(LocalResourceError, match=r"look up example\.com"):
        resolve_host("example.com")


def test_a_copy(tmp_path):
    """Neither a file system that cannot open a file, nor a copy that has no folder, is the file's fault."""
    fsspec = pytest.importorskip("fsspec.implementations.local")
    pytest.importorskip("llama_index.core")
    _files = importlib.import_module("llama_index_qwen_omni.readers")
    path = tmp_path / "a.wav"
    path.write_bytes(b"RIFF")
    with refused(), _files.copied(str(path), fsspec.LocalFileSystem()):
        pass
    with refused():
        list(_files._pieces(str(path), fsspec.LocalFileSystem()))
    with refused():
        _files.find_files(str(tmp_path), fsspec.LocalFileSystem())


def test_a_folder_of_the_tools(tmp_path):
    (tmp_path / "a.wav").write_bytes(b"RIFF")
    folder = MediaFolder(root=tmp_path)
    with refused():
        folder.listing(MediaSource.from_path(tmp_path))


def test_results_of_captions(tmp_path):
    """The number decides what is missing, not where it was met."""
    path = tmp_path / "captions.results"
    path.write_text("{}\n")
    with pytest.raises(LocalResourceError, match="Too many open files") as found, no_files_left():
        Results(path)
    assert found.value.resource == "open files"


def test_a_folder_of_media(tmp_path, monkeypatch):
    """A folder that cannot be listed is never an empty one, and what is left out of one is named."""
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    (tmp_path / "open" / "a.wav").write_bytes(b"RIFF")
    with refused():
        list(find_media(tmp_path))
    scandir = os.scandir

    def closed(path):
        if "closed" in str(path):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr("os.scandir", closed)
    with pytest.warns(UserWarning, match=r"closed is skipped: it cannot be listed \(Permission denied\)"):
        assert list(find_media(tmp_path)) == [tmp_path / "open" / "a.wav"]
    with pytest.raises(LocalResourceError, match="closed") as found:
        list(find_media(tmp_path / "closed"))
    assert found.value.resource == "permission"
