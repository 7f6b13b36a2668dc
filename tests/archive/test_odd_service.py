"""What the service, links and files may do to an archive: a row each, and the job goes on."""

import collections
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest

from qwen_omni.archive import ArchiveItem, ArchiveWorker, Caption, run
from qwen_omni.standin import Fault
from tests.support.killing import SCHEMA, make_images

TOO_LARGE = b"<html><head><title>413 Request Entity Too Large</title></head></html>"


@pytest.fixture
def only_once(settings, tmp_path):
    """Settings without retries, that read the test's files."""
    return replace(settings, max_retries=0, media_root=tmp_path)


def of(path):
    """Match the requests whose media is this file."""
    size = path.stat().st_size
    return lambda request: any(one.size_bytes == size for one in request.media)


def distinct(folder, count):
    """Write images of different sizes, so that a request can be told by its media."""
    paths = make_images(folder, count)
    for number, path in enumerate(paths):
        path.write_bytes(path.read_bytes() + b"\0" * number * 10)
    return paths


def test_every_failure_is_a_row(standin, only_once, tmp_path):
    """A refusal of one kind for each file, a damaged file and an expired link: the rest is captioned."""
    paths = distinct(tmp_path / "images", 8)
    (tmp_path / "images" / "damaged.jpg").write_bytes(paths[7].read_bytes()[:300])
    expired = "https://bucket.oss-cn-beijing.aliyuncs.com/a.mp4?Expires=1600000000&OSSAccessKeyId=x&Signature=y"
    standin.script.raw(TOO_LARGE, 413, "text/html", when=of(paths[0]))
    standin.script.fault(Fault.rate_limit(), when=of(paths[1]))
    standin.script.fault(Fault.refuse_media(), when=of(paths[2]))
    standin.script.fault(Fault.server_error(), when=of(paths[3]))
    standin.script.fault(
        Fault.refuse(400, "data_inspection_failed", "Input data may be inappropriate."), when=of(paths[4])
    )
    standin.script.fault(Fault.cut(None), when=of(paths[5]))
    source = [*map(str, paths), str(tmp_path / "images" / "damaged.jpg"), expired]
    rows = {row.uri: row for row in run(source, Caption(SCHEMA), store=tmp_path / "a.db", settings=only_once)}
    found = [(rows[str(path)].status, rows[str(path)].retryable) for path in paths]
    assert found == [
        ("refused", False), ("failed", True), ("refused", False), ("failed", True), ("refused", False),
        ("failed", True), ("ok", False), ("ok", False),
    ]  # fmt: skip
    damaged = rows[str(tmp_path / "images" / "damaged.jpg")]
    assert damaged.status in ("skipped", "refused")
    (link,) = (row for uri, row in rows.items() if uri.startswith("https://"))
    assert link.status != "ok"
    assert "Signature=y" not in link.error + link.uri
    assert all(row.error and row.error_code and "\n" not in row.error for row in rows.values() if row.status != "ok")
    assert len(rows) == len(source)


def test_what_passes_is_answered_by_the_next_run(standin, only_once, tmp_path):
    """Twenty 429s in a row: those rows failed, may be retried, and are answered when the storm is over."""
    paths = make_images(tmp_path / "images", 24)
    standin.script.fault(Fault.rate_limit(), times=20)
    first = list(run(f"{tmp_path}/images/*.jpg", Caption(SCHEMA), store=tmp_path / "a.db", settings=only_once))
    assert collections.Counter(row.status for row in first) == {"failed": 20, "ok": 4}
    assert all(row.retryable and row.error_code == "rate_limit" for row in first if row.status == "failed")
    second = list(run(f"{tmp_path}/images/*.jpg", Caption(SCHEMA), store=tmp_path / "a.db", settings=only_once))
    assert collections.Counter(row.status for row in second) == {"ok": 24}
    assert sorted(row.uri for row in second) == sorted(map(str, paths))
    assert len(standin.requests) == 44


def test_a_place_is_free_when_its_answer_is_stored(standin, only_once, tmp_path, monkeypatch):
    """However long that takes: at most one answer for each place is lost if the process dies."""
    make_images(tmp_path / "images", 8)
    unstored = []
    with ArchiveWorker(Caption(SCHEMA), store=tmp_path / "a.db", settings=only_once, in_flight=2) as worker:
        finish = worker.store.finish

        def slowly(key, value, **options):
            time.sleep(0.05)
            unstored.append(len(standin.requests) - len(unstored))
            return finish(key, value, **options)

        monkeypatch.setattr(worker.store, "finish", slowly)
        items = [ArchiveItem(uri=str(path)) for path in sorted((tmp_path / "images").iterdir())]
        with ThreadPoolExecutor(8) as pool:
            rows = list(pool.map(worker.process, items))
    assert {row.status for row in rows} == {"ok"}
    assert len(unstored) == 8
    assert max(unstored) <= 2
