"""A file that is rewritten in place, with its size and its time set back, is another file everywhere."""

import os
from pathlib import Path

import pytest
from langchain_core.messages import HumanMessage

from langchain_qwen_omni._references import digested
from qwen_omni import ChatRequest, MediaSource, OmniClient, VideoPart, prepare, user
from qwen_omni.errors import UnreadableMediaError
from qwen_omni.media.files.safe_open import Digests, first_opening, read_blocks, version_of
from qwen_omni.media.files.store import keep, kept_path
from qwen_omni.media.source import FileVersion
from qwen_omni.messages import MediaPayload
from qwen_omni.settings import kept_folder
from qwen_omni.standin.marked_media import make_video


def rewritten(path: Path) -> None:
    """Change the content in place; size, inode and time stay as they were."""
    before = path.stat()
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 0xFF
    with path.open("r+b") as file:
        file.write(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
    assert after.st_ctime_ns != before.st_ctime_ns


@pytest.fixture
def film(tmp_path):
    made = make_video(tmp_path / "film.mp4", seconds=3, size=(64, 48), fps=2, sound=False)
    os.utime(made.path, (1_700_000_000, 1_700_000_000))
    return made.path


def test_what_was_looked_at_is_not_opened_again(film, tmp_path):
    """Preparing goes on with the file that was looked at, or not at all."""
    with first_opening(MediaSource.from_path(film, trusted=True), tmp_path, label="film") as (_, again):
        rewritten(film)
        with pytest.raises(UnreadableMediaError, match="changed while it was being prepared"), again.open():
            pass


def test_what_was_prepared_is_not_sent(film):
    """The last block is held back, so no request with another content becomes whole."""
    with film.open("rb") as file:
        ready = MediaPayload(path=film, version=version_of(file), size_bytes=film.stat().st_size)
    assert b"".join(read_blocks(ready, 1 << 16)) == film.read_bytes()
    rewritten(film)
    with pytest.raises(UnreadableMediaError, match="changed while it was being sent"):
        list(read_blocks(ready, 1 << 16))


def test_a_call_whose_file_changes_between_the_look_and_the_sending(film, settings, standin):
    """Nothing is sent; the next call sends the new content."""
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user(VideoPart(
        source=MediaSource.from_path(film, trusted=True), budget="original"), "What?"),))  # fmt: skip
    with OmniClient(settings) as client:
        outgoing = client.deliver(request)
        rewritten(film)
        with pytest.raises(UnreadableMediaError, match="changed"):
            client.answer(outgoing)
        assert not standin.requests


def test_digests_are_not_taken_from_the_older_state(film, monkeypatch):
    """The cache of uploads is keyed by digest, so its key is another one, too."""
    monkeypatch.setattr("qwen_omni.media.files.safe_open._SETTLED_NS", -(10**21))  # every state counts as settled
    digests = Digests()

    def digest():
        with film.open("rb") as file:
            return digests.of(MediaPayload(path=film, version=version_of(file), size_bytes=film.stat().st_size))

    first = digest()
    rewritten(film)
    assert digest() != first


def test_a_cache_of_answers_sees_another_question(film, tmp_path):
    """LangChain's cache is keyed by what is in the file."""
    asked = [HumanMessage([{"type": "video", "path": str(film)}])]
    first = digested(asked, tmp_path)
    assert digested(asked, tmp_path) == first
    rewritten(film)
    assert digested(asked, tmp_path) != first


def test_kept_media_that_was_changed_in_place_is_written_again(film):
    """A reference names bytes by their digest, so these are what it leads to."""
    data = film.read_bytes()
    reference = keep(data, kept_folder())
    rewritten(kept_path(reference, kept_folder()))
    assert kept_path(reference, kept_folder()).read_bytes() != data
    assert keep(data, kept_folder()) == reference
    assert kept_path(reference, kept_folder()).read_bytes() == data


def test_a_prepared_file_of_ours_is_not_another_one(film):
    """What was made of it may be read as often as one likes."""
    with prepare(film, budget="static") as made:
        before = FileVersion.of(made.path.stat())
        made.path.read_bytes()
        assert FileVersion.of(made.path.stat()) == before


def test_objects_for_one_request_never_share_a_name(film, tmp_path, monkeypatch):
    """Two requests that send the same media in the same nanosecond delete their own object each."""
    from dataclasses import replace  # noqa: PLC0415

    from qwen_omni import OssCredentials, OssSettings, Settings  # noqa: PLC0415
    from qwen_omni.client import make_carrier  # noqa: PLC0415

    oss = OssSettings(bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", delete_after_use=True,
                      credentials=OssCredentials.of("id", "secret"))  # fmt: skip
    settings = replace(Settings.load(api_key="k", cache_dir=tmp_path), oss=oss)
    monkeypatch.setattr("time.time_ns", lambda: 1)
    put: list[str] = []
    with film.open("rb") as file:
        ready = MediaPayload(path=film, version=version_of(file), size_bytes=film.stat().st_size, format="mp4")
    for _ in range(2):
        carrier = make_carrier(settings)
        monkeypatch.setattr(carrier, "_put", lambda _ready, location, *_, **__: put.append(location))
        carrier._to_bucket(ready, "film")
    assert len(set(put)) == 2
    assert all(len(one.rpartition("-")[2]) == len("0" * 32 + ".mp4") for one in put)
