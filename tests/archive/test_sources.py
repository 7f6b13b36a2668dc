"""What a source names: each input once, with its version, and a problem where it cannot be used. Nothing is opened."""

import builtins
import hashlib
import json
import os
import pickle
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from unittest.mock import Mock

import pytest

from qwen_omni.archive import ArchiveItem, find_items
from qwen_omni.archive.rows import InputError
from qwen_omni.archive.sources import item_of, opened, without_signature
from qwen_omni.errors import ConfigurationError, DeliveryError, LocalResourceError, UnsupportedMediaError
from qwen_omni.settings import OssCredentials, OssSettings, Settings
from qwen_omni.work_store.store import file_version

SETTINGS = Settings.load(api_key="sk-none", private_links=True, retry_wait=0.0)


def names(source, **options):
    """The inputs of a source by the end of their address, in the order of names."""
    return sorted(Path(one.uri).name for one in find_items(source, **options))


def problem(item):
    return None if item.problem is None else (item.problem.status, item.problem.code)


@pytest.fixture
def videos(tmp_path):
    """A folder with three videos, one of them in a subfolder, and what is none."""
    folder = tmp_path / "videos"
    (folder / "more").mkdir(parents=True)
    for name in ("a.mp4", "B.MOV", "more/c.wav", "notes.txt", ".hidden.mp4"):
        (folder / name).write_bytes(name.encode())
    return folder


def test_a_folder_is_searched(videos):
    assert names(videos) == ["B.MOV", "a.mp4", "c.wav"]
    assert names(videos, suffixes=(".txt",)) == ["notes.txt"]


def test_a_pattern_is_expanded(videos, monkeypatch):
    assert names(str(videos / "**" / "*.wav")) == ["c.wav"]
    monkeypatch.chdir(videos)
    assert names("*") == ["B.MOV", "a.mp4", "notes.txt"]  # but no folder


def test_several_sources_are_one(videos):
    assert names([videos / "a.mp4", str(videos), {"uri": str(videos / "notes.txt")}]) == [
        "B.MOV", "a.mp4", "c.wav", "notes.txt"
    ]  # fmt: skip


def test_one_name_is_one_input(videos, monkeypatch):
    """However it is written: a relative and an absolute path, a link with two signatures."""
    monkeypatch.chdir(videos)
    link = "https://host/a.mp4?Expires=1&Signature="
    found = list(find_items(["a.mp4", videos / "a.mp4", "./more/../a.mp4", f"{link}x", f"{link}y"]))
    assert [one.uri for one in found] == ["a.mp4", "https://host/a.mp4"]


def test_versions_are_those_of_the_file_system(videos):
    (item,) = find_items(videos / "a.mp4")
    assert (item.version, item.size) == (file_version((videos / "a.mp4").stat()), 5)
    (videos / "a.mp4").write_bytes(b"other")
    (again,) = find_items(videos / "a.mp4")
    assert again.version != item.version


def test_a_version_is_trusted_when_another_write_would_show(videos, monkeypatch):
    written = (videos / "a.mp4").stat().st_mtime
    for later, settled in ((0.01, False), (0.06, True)):
        monkeypatch.setattr(time, "time", Mock(return_value=written + later))
        assert item_of(videos / "a.mp4").settled is settled


def test_nothing_is_opened(videos, monkeypatch):
    refuse = Mock(side_effect=AssertionError("it was opened"))
    with monkeypatch.context() as patched:
        patched.setattr(builtins, "open", refuse)
        patched.setattr(os, "open", refuse)
        assert len(names(videos)) == 3


def test_inputs_come_one_by_one(tmp_path):
    """The list is read as far as it is asked for."""
    path = tmp_path / "list.jsonl"
    path.write_text("".join(f'{{"uri": "https://host/{number}.mp4"}}\n' for number in range(100_000)))
    coming = find_items(path)
    started = time.process_time()
    assert [next(coming).uri[-5:] for _ in range(3)] == ["0.mp4", "1.mp4", "2.mp4"]
    assert time.process_time() - started < 1  # the whole takes longer
    coming.close()


# --- What cannot be used is an input, too ---


@pytest.mark.parametrize(
    ("name", "code"),
    [("gone.mp4", "missing"), ("empty.mp4", "empty"), ("more", "not_a_file"), ("pipe.mp4", "not_a_file"),
     ("a.mp4/b.mp4", "missing"), ("a\0b", "unreadable_media")],
)  # fmt: skip
def test_a_name_of_no_file(videos, name, code):
    os.mkfifo(videos / "pipe.mp4")
    (videos / "empty.mp4").touch()
    (item,) = find_items({"uri": f"{videos}/{name}"})
    assert problem(item) == ("skipped", code)
    assert code != "missing" or f"{name} does not exist" in item.problem.text


def test_a_subfolder_that_cannot_be_listed(videos, monkeypatch):
    """It gets a row; the others are found."""
    listed = os.scandir

    def scandir(path):
        if str(path).endswith("more"):
            raise PermissionError(13, "Permission denied")
        return listed(path)

    monkeypatch.setattr(os, "scandir", scandir)
    found = {Path(one.uri).name: problem(one) for one in find_items(videos)}
    assert found == {"a.mp4": None, "B.MOV": None, "more": ("failed", "unlisted_folder")}


def test_a_subfolder_that_fails_halfway(videos, monkeypatch):
    """What was listed by then is found, and the rest has a row."""
    listed = os.scandir

    class Broken:
        def __init__(self, path):
            self.entries = list(listed(path))

        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def __iter__(self):
            yield from self.entries
            raise OSError(116, "Stale file handle")

    monkeypatch.setattr(os, "scandir", lambda path: Broken(path) if str(path).endswith("more") else listed(path))
    found = {Path(one.uri).name: problem(one) for one in find_items(videos)}
    assert found == {"a.mp4": None, "B.MOV": None, "c.wav": None, "more": ("failed", "unlisted_folder")}


def test_a_folder_that_cannot_be_listed(videos, monkeypatch):
    monkeypatch.setattr(os, "scandir", Mock(side_effect=PermissionError(13, "Permission denied", str(videos))))
    with pytest.raises(LocalResourceError, match="videos"):
        list(find_items(videos))


@pytest.mark.parametrize("source", ["*.mkv", ""])
def test_nothing_found_is_an_error(tmp_path, source):
    with pytest.raises(ConfigurationError, match="contains no video"):
        list(find_items(tmp_path / source))


# --- Lists ---

CSV = "\ufeffuri,etag,size\nhttps://h/a.mp4,tag,7\nhttps://h/b.mp4,,\n,x,1\n"


def test_a_list_in_csv(tmp_path):
    (tmp_path / "list.CSV").write_text(CSV, encoding="utf-8")
    found = list(find_items(tmp_path / "list.CSV"))
    assert [(one.uri[-5:], one.version) for one in found[:2]] == [("a.mp4", "tag"), ("b.mp4", "")]
    assert problem(found[2]) == ("skipped", "no_uri")
    assert "row 3" in found[2].uri


LINES = [
    ('{"uri": "https://h/a.mp4", "version": "v1", "size": 3}', None), ('{"uri": ', "unreadable_row"),
    ("[1]", "unreadable_row"), ('{"url": "https://h/b.mp4"}', "no_uri"), ('{"uri": 7}', "no_uri"),
    ('{"uri": ""}', "no_uri"), (b"\xff\xfe", "unreadable_row"),
]  # fmt: skip


def test_a_list_in_json_lines(tmp_path):
    path = tmp_path / "list.ndjson"
    path.write_bytes(b"\n\n".join(line if isinstance(line, bytes) else line.encode() for line, _ in LINES))
    found = list(find_items(path))
    assert [one.problem and one.problem.code for one in found] == [code for _, code in LINES]
    assert (found[0].version, found[0].size) == ("v1", 3)
    assert len({one.name for one in found}) == len(LINES)


def test_a_list_in_parquet(tmp_path):
    pa = pytest.importorskip("pyarrow")
    from pyarrow import parquet  # noqa: PLC0415

    rows = {"id": [1, 2, 3], "uri": ["https://h/a.mp4", None, "https://h/b.mp4"], "etag": ["x", None, None]}
    parquet.write_table(pa.table(rows), tmp_path / "list.parquet")
    found = list(find_items(tmp_path / "list.parquet"))
    assert [(one.version, problem(one)) for one in found] == [("x", None), ("", ("skipped", "no_uri")), ("", None)]
    data = (tmp_path / "list.parquet").read_bytes()
    (tmp_path / "cut.parquet").write_bytes(data[: len(data) // 2])
    with pytest.raises(ConfigurationError, match="cannot be read as Parquet"):
        list(find_items(tmp_path / "cut.parquet"))


def test_parquet_needs_pyarrow(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    (tmp_path / "list.parquet").write_bytes(b"PAR1")
    with pytest.raises(ConfigurationError, match=r"qwen-omni\[parquet\]"):
        list(find_items(tmp_path / "list.parquet"))


@pytest.mark.parametrize("name", ["list.csv", "gone.csv", "gone.jsonl"])
def test_a_list_that_is_none(tmp_path, name):
    (tmp_path / "list.csv").write_text("url,size\na,1\n")
    with pytest.raises((ConfigurationError, LocalResourceError), match=name) as raised:
        list(find_items(tmp_path / name))
    assert "\n" not in str(raised.value)


def test_odd_lines_of_csv(tmp_path):
    path = tmp_path / "list.csv"
    path.write_bytes(b'uri,size\n"https://h/a.mp4",1\n' + b"x" * 140_000 + b",1\nhttps://h/b.mp4,2,3,4\n\xff.mp4,1\n")
    found = [(one.uri, problem(one)) for one in find_items(path)]
    assert found[0] == ("https://h/a.mp4", None)
    assert found[1][1] == ("skipped", "unreadable_row")
    assert found[2] == ("https://h/b.mp4", None)
    assert found[3][1] == ("skipped", "missing")


@pytest.mark.parametrize(
    "text",
    ["uri,version\r\nhttps://h/a.mp4,7\r\n", "\ufeffVersion;x;URI\r\n7;;https://h/a.mp4\r\n",
     "sep=;\r\nx;uri;version\r\n1,5;https://h/a.mp4;7\r\n", "uri\tETag\nhttps://h/a.mp4\t7\n",
     'x, uri ,version\n"a;b",https://h/a.mp4,7\n', "uri,URI,version\rhttps://h/a.mp4,https://h/b.mp4,7\r"],
)  # fmt: skip
def test_lists_of_other_programs(tmp_path, text):
    """Semicolons and tabs of Excel, its byte order mark, other capitals, spaces and line ends."""
    (tmp_path / "list.csv").write_text(text, encoding="utf-8", newline="")
    assert [(one.uri, one.version) for one in find_items(tmp_path / "list.csv")] == [("https://h/a.mp4", "7")]


@pytest.mark.parametrize("name", ["list.csv", "list.jsonl"])
def test_a_list_in_utf_16_says_how_to_save_it(tmp_path, name):
    (tmp_path / name).write_text('uri\n{"uri": "a.mp4"}\n', encoding="utf-16")
    with pytest.raises(ConfigurationError, match=r"is UTF-16 text\. Save it as UTF-8"):
        list(find_items(tmp_path / name))


@pytest.mark.parametrize(("name", "text"), [("list.csv", "uri,version\n"), ("list.jsonl", ""), ("list.jsonl", "\n")])
def test_a_list_without_rows_is_no_silence(tmp_path, name, text):
    (tmp_path / name).write_text(text)
    with pytest.raises(ConfigurationError, match=rf"{name} contains no video"):
        list(find_items(tmp_path / name))


def test_links_to_files_name_what_paths_do(videos, tmp_path):
    """A folder, a pattern and a list; in a list, a file of another machine is a row."""
    (tmp_path / "list.csv").write_text(f"uri\n{(videos / 'a.mp4').as_uri()}\nfile://elsewhere/a.mp4\n")
    assert names(videos.as_uri()) == names(videos)
    assert names(f"FILE://{videos}/a*.mp4") == names(videos / "a*.mp4")
    own, other = find_items((tmp_path / "list.csv").as_uri())
    assert (own.uri, own.problem) == (str(videos / "a.mp4"), None)
    assert problem(other) == ("skipped", "unreadable_media")


def test_keys_of_buckets_keep_every_sign():
    """A `#` begins a fragment in links to the web alone."""
    found = [item_of(f"oss://bucket/take#{at}.mp4") for at in (1, 2)]
    assert [one.name for one in found] == ["oss://bucket/take#1.mp4", "oss://bucket/take#2.mp4"]
    assert item_of("https://h/a.mp4#t=1").name == "https://h/a.mp4"


@pytest.mark.parametrize(
    ("uri", "name"),
    [("hdfs:///videos/a.mp4", "hdfs:///videos/a.mp4"), ("s3://id:key@bucket/a#1.mp4", "s3://bucket/a#1.mp4"),
     ("zip://a.mp4::https://h/b.zip?Signature=x&v=1", "zip://a.mp4::https://h/b.zip?v=1"),
     ("zip://a.mp4::/videos/b#1.zip", "zip://a.mp4::/videos/b#1.zip")],
)  # fmt: skip
def test_addresses_of_file_systems_stay_addresses(uri, name):
    """Without a host, too: else it would be looked for on this machine."""
    assert item_of(uri).name == name
    assert item_of(uri).problem is None


# --- Links ---


@pytest.mark.parametrize(
    ("link", "kept"),
    [
        ("https://h/a.mp4", "https://h/a.mp4"),
        ("https://h/v?id=7&part=2", "https://h/v?id=7&part=2"),
        ("https://h/a.mp4?Expires=1&OSSAccessKeyId=k&Signature=s", "https://h/a.mp4"),
        ("https://h/v?id=7&X-Amz-Signature=s&X-Amz-Date=d", "https://h/v?id=7"),
        ("https://h/v?x-oss-signature=s&versionId=3", "https://h/v?versionId=3"),
        ("https://h/v?sv=2&se=3&sig=4&name=a", "https://h/v?name=a"),
        ("https://user:secret@h/a.mp4#t=1", "https://h/a.mp4"),
        ("https://[bad/a.mp4?token=x", "https://[bad/a.mp4?<query>"),
    ],
)
def test_a_link_is_named_without_its_signature(link, kept):
    assert without_signature(link) == kept
    item = item_of(link)
    assert item.uri == kept
    assert "secret" not in repr(item)
    assert "Signature=s" not in repr(item)


def test_long_names_stay_apart():
    one, two = (item_of(f"https://h/{'x' * 5000}{end}.mp4") for end in "ab")
    assert len(one.name) < 1000
    assert one.name != two.name


def test_items_travel_to_other_processes(videos):
    items = [*find_items(videos), item_of("https://h/a.mp4?Signature=x")]
    assert pickle.loads(pickle.dumps(items)) == items


# --- Opened ---


@pytest.fixture
def host(videos) -> Iterator[str]:
    """A server of the folder's files."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(videos))) as server:
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


def test_a_local_file_is_opened_where_it_is(videos):
    with opened(item_of(videos / "a.mp4"), SETTINGS) as media:
        assert media.source.path == videos / "a.mp4"
        assert media.digest == hashlib.sha256(b"a.mp4").hexdigest()
        media.check()
        (videos / "a.mp4").write_bytes(b"other")
        with pytest.raises(InputError, match="changed while"):
            media.check()


def test_a_link_is_fetched_once(host):
    with opened(replace(item_of(f"{host}/a.mp4?token=x")), SETTINGS) as media:
        path = media.source.path
        assert path.read_bytes() == b"a.mp4"
        assert (path.suffix, media.item.size, media.item.uri) == (".mp4", 5, f"{host}/a.mp4")
    assert not path.exists()


def test_a_link_to_nothing(host):
    with pytest.raises(DeliveryError, match="404"), opened(item_of(f"{host}/gone.mp4"), SETTINGS):
        pass


@pytest.mark.parametrize(("error", "code"), [(PermissionError(13, "Permission denied"), "permission"),
                                             (FileNotFoundError(2, "No such file"), "missing")])  # fmt: skip
def test_a_file_that_cannot_be_opened(videos, monkeypatch, error, code):
    item = item_of(videos / "a.mp4")
    monkeypatch.setattr(builtins, "open", Mock(side_effect=error))
    with pytest.raises(InputError) as raised, opened(item, SETTINGS):
        pass
    assert raised.value.problem.code == code


def test_a_machine_without_file_handles_is_not_the_files_fault(videos, monkeypatch):
    monkeypatch.setattr(builtins, "open", Mock(side_effect=OSError(24, "Too many open files")))
    with pytest.raises(LocalResourceError), opened(item_of(videos / "a.mp4"), SETTINGS):
        pass


# --- Other file systems, and buckets ---


def test_files_of_fsspec(tmp_path):
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in ("a.mp4", "more/b.mp4", "notes.txt", "empty.mp4"):
        files.pipe(f"/archive/{name}", b"" if "empty" in name else name.encode())
    found = {one.uri.rpartition("/")[2]: one for one in find_items("memory://archive")}
    assert {name: problem(one) for name, one in found.items()} == {
        "a.mp4": None, "b.mp4": None, "empty.mp4": ("skipped", "empty")
    }  # fmt: skip
    assert found["a.mp4"].version
    with opened(found["b.mp4"], SETTINGS) as media:
        assert media.source.path.read_bytes() == b"more/b.mp4"
    files.rm("/archive/more/b.mp4")
    with pytest.raises(InputError, match="does not exist"), opened(found["b.mp4"], SETTINGS):
        pass
    with pytest.raises(DeliveryError, match="does not exist"):
        list(find_items("memory://nowhere"))
    assert names("memory://archive/notes.txt") == ["notes.txt"]
    assert names("memory://archive/*.mp4") == ["a.mp4", "empty.mp4"]


@pytest.fixture
def packed(tmp_path) -> Path:
    """Two archives whose members have the same names."""
    for name in ("one.zip", "two.zip"):
        with zipfile.ZipFile(tmp_path / name, "w") as file:
            for member in ("a.mp4", "more/b.mp4", "notes.txt"):
                file.writestr(member, f"{name} {member}")
    (tmp_path / "bad.zip").write_bytes(b"no archive")
    return tmp_path


def test_a_member_that_changed_has_another_version(packed, monkeypatch):
    """The archive may be named from its folder; its inputs have the same names everywhere."""
    pytest.importorskip("fsspec")
    monkeypatch.chdir(packed)
    (before,) = find_items("zip://a*::one.zip")
    (again,) = find_items(f"zip://a*::{packed}/one.zip")
    assert (again.name, again.version) == (before.name, before.version)
    with zipfile.ZipFile(packed / "one.zip", "w") as file:
        file.writestr("a.mp4", "one.zip A.mp4")
    (after,) = find_items("zip://a*::one.zip")
    assert (after.name, after.size) == (before.name, before.size)
    assert after.version != before.version


def test_members_of_archives_are_named_with_their_archive(packed):
    """Two archives with the same names in them are different inputs, and each is opened in its own."""
    pytest.importorskip("fsspec")
    found = list(find_items([f"zip://::{packed}/one.zip", f"zip://::{packed}/two.zip"]))
    assert len({one.name for one in found}) == 4
    for item in found:
        archive = item.uri.rpartition("/")[2]
        with opened(item, SETTINGS) as media:
            assert media.source.path.read_text().startswith(archive)
            assert media.source.path.suffix == ".mp4"
    matching = find_items(f"zip://*::{packed}/one.zip")
    assert [one.uri.partition("::")[0] for one in matching] == ["zip://a.mp4", "zip://notes.txt"]


def test_an_archive_that_is_none(packed):
    pytest.importorskip("fsspec")
    with pytest.raises(DeliveryError, match=r"bad\.zip cannot be reached: BadZipFile"):
        list(find_items(f"zip://::{packed}/bad.zip"))


@pytest.mark.parametrize("error", [PermissionError("denied"), OSError("denied"), LookupError("denied")])
def test_a_remote_folder_that_cannot_be_listed(monkeypatch, error):
    """Its files are not left out in silence; errors of a package's own are no traceback."""
    fsspec = pytest.importorskip("fsspec")
    files = fsspec.filesystem("memory")
    for name in ("more/a.mp4", "other/b.mp4"):
        files.pipe(f"/listing/{name}", b"a")
    listed = type(files).ls

    def ls(self, path, *args, **kwargs):
        if path.endswith("more"):
            raise error
        return listed(self, path, *args, **kwargs)

    monkeypatch.setattr(type(files), "ls", ls)
    if not isinstance(error, PermissionError):
        with pytest.raises(DeliveryError, match=r"memory://listing cannot be listed: .*denied"):
            list(find_items("memory://listing"))
        return
    closed, other = find_items("memory://listing")
    assert problem(closed) == ("failed", "unlisted_folder")
    assert (other.uri.rpartition("/")[2], other.problem) == ("b.mp4", None)


def test_an_unknown_file_system():
    pytest.importorskip("fsspec")
    with pytest.raises(UnsupportedMediaError, match="nosuch"):
        list(find_items("nosuch://bucket/videos"))


@pytest.fixture
def bucket(standin) -> Settings:
    """Settings with a bucket of the stand-in."""
    pytest.importorskip("oss2")
    oss = OssSettings(
        bucket="other", endpoint=standin.oss_endpoint, region="cn-standin", prefix="uploads",
        credentials=OssCredentials.of("standin-id", "standin-secret"),
    )  # fmt: skip
    return replace(SETTINGS, oss=oss)


def test_objects_of_a_bucket(bucket, monkeypatch):
    from qwen_omni.archive.remote import oss_store  # noqa: PLC0415
    from qwen_omni.upload import oss  # noqa: PLC0415

    store = oss_store("standin-media", bucket)
    data = os.urandom(3_000)
    for number in range(5):
        store.write(f"videos/{number}.mp4", data if number else b"")
    store.write("videos/notes.txt", b"x")
    store.write("others/a.mp4", b"x")
    monkeypatch.setattr(oss, "_PART", 1_000)
    monkeypatch.setattr(oss, "_LISTED", 2)
    found = list(find_items("oss://standin-media/videos/", settings=bucket))
    assert [one.uri for one in found] == [f"oss://standin-media/videos/{number}.mp4" for number in range(5)]
    assert [problem(one) for one in found] == [("skipped", "empty"), *[None] * 4]
    assert all(one.version for one in found)
    with opened(found[3], bucket) as media:
        assert media.source.path.read_bytes() == data


def test_a_bucket_needs_an_endpoint():
    with pytest.raises(ConfigurationError, match="QWEN_OMNI_OSS_ENDPOINT"):
        list(find_items("oss://bucket/videos", settings=SETTINGS))
    with pytest.raises(ConfigurationError, match="names no bucket"):
        list(find_items("oss:///videos", settings=SETTINGS))


def test_an_item_without_a_uri_has_no_name():
    assert ArchiveItem(uri="").name == ""
    assert json.dumps(item_of("").uri) == '""'
