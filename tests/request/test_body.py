"""A request body is exactly the JSON it stands for, streams its media from disk, and never sends another file."""

import base64
import json
import os
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from qwen_omni.errors import ConfigurationError, UnreadableMediaError, UnsupportedContentError
from qwen_omni.media.files.safe_open import version_of
from qwen_omni.messages import MediaPayload
from qwen_omni.request.prepared_request import RequestBody
from qwen_omni.transport.chat import AsyncRequestBody

TEXT = st.text(st.characters(exclude_categories=["Cs"]))


def held(data: bytes, media_type: str = "") -> MediaPayload:
    return MediaPayload(data=data, size_bytes=len(data), media_type=media_type)


def on_disk(path: Path, data: bytes) -> MediaPayload:
    path.write_bytes(data)
    with path.open("rb") as file:
        return MediaPayload(path=path, version=version_of(file), size_bytes=len(data))


@given(
    before=TEXT,
    media=st.lists(st.tuples(st.binary(max_size=50), st.sampled_from(["", "image/png"])), max_size=4),
    after=st.dictionaries(TEXT, st.one_of(TEXT, st.integers(), st.booleans(), st.none())),
)
def test_the_bytes_are_the_json(before, media, after):
    """Any text around any media gives the JSON with data URIs in their places, of the length told, twice."""
    fields = {"before": before, "media": [held(*item) for item in media], "after": after}
    expected = {
        "before": before,
        "media": [f"data:{kind};base64,{base64.b64encode(data).decode()}" for data, kind in media],
        "after": after,
    }
    body = RequestBody(fields)

    first, second = b"".join(body), b"".join(body)

    assert json.loads(first) == expected
    assert len(first) == body.length
    assert first == second


@pytest.mark.parametrize("size", [1, 196_607, 196_608, 196_609, 500_000])
async def test_blocks_join_to_the_whole(tmp_path, size):
    """Base64 of blocks is base64 of the file, whatever its size; the asynchronous body gives the same bytes."""
    data = os.urandom(size)
    body = RequestBody({"url": on_disk(tmp_path / "clip", data)})

    joined = b"".join(body)

    assert json.loads(joined)["url"] == f"data:;base64,{base64.b64encode(data).decode()}"
    assert len(joined) == body.length
    assert b"".join([block async for block in AsyncRequestBody(body)]) == joined


def test_a_link_is_written_as_it_is():
    """A link needs no data."""
    assert b"".join(RequestBody({"url": MediaPayload(url="oss://b/k")})) == b'{"url":"oss://b/k"}'


def _append(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"x")


def _replace(path: Path) -> None:
    other = path.with_name("other")
    other.write_bytes(path.read_bytes())
    other.replace(path)


def _pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _link(path: Path) -> None:
    path.rename(path.with_name("moved"))
    path.symlink_to(path.with_name("moved"))


CHANGES = [
    pytest.param(_append, id="longer"),
    pytest.param(lambda path: os.truncate(path, 10), id="shorter"),
    pytest.param(lambda path: os.truncate(path, 0), id="emptied"),
    pytest.param(lambda path: os.utime(path, ns=(1, 1)), id="written-again"),
]


@pytest.mark.timeout(5)
@pytest.mark.parametrize(
    "change",
    [
        *CHANGES,
        pytest.param(Path.unlink, id="gone"),
        pytest.param(_replace, id="replaced"),
        pytest.param(_pipe, id="pipe"),
        pytest.param(_link, id="link"),
    ],
)
def test_a_file_that_changed_before_it_is_sent(tmp_path, change):
    """What is not the file that was checked is never sent, and no pipe is waited for."""
    body = RequestBody({"url": on_disk(tmp_path / "clip", b"a" * 1000)})
    change(tmp_path / "clip")

    with pytest.raises(UnreadableMediaError, match="clip"):
        b"".join(body)


@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_while_it_is_sent(tmp_path, change):
    """A change in the middle is noticed before the body is whole."""
    body = RequestBody({"url": on_disk(tmp_path / "clip", os.urandom(1_000_000))})
    sent = 0
    blocks = iter(body)
    sent += len(next(blocks)) + len(next(blocks))
    change(tmp_path / "clip")

    rest: list[bytes] = []
    with pytest.raises(UnreadableMediaError, match="changed while it was being sent"):
        rest.extend(blocks)

    assert sent + sum(map(len, rest)) < body.length


@pytest.mark.parametrize(
    ("fields", "error"),
    [({"temperature": float("nan")}, ConfigurationError), ({"text": "cut \ud83d emoji"}, UnsupportedContentError)],
)
def test_what_json_cannot_carry_is_a_typed_error(fields, error):
    """Numbers that are none and half characters are refused before anything is sent."""
    with pytest.raises(error):
        RequestBody(fields)


def test_the_repr_holds_no_media():
    """A trace shows sizes, not content."""
    body = RequestBody({"url": held(b"secret"), "text": "hello"})

    assert repr(body) == f"RequestBody({body.length:,} bytes, 1 inline media)"
