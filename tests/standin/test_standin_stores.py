"""The stand-in's stores, judged by clients that share nothing with it or with the product."""

import asyncio
import contextlib
import io
import re
import warnings

import oss2
import pytest
import requests
from starlette.requests import Request

from qwen_omni.standin import OssKey, Standin
from qwen_omni.standin.server.spool import combine_crc, crc64
from qwen_omni.standin.server.store_door import serve_store
from qwen_omni.standin.stores.stores import Stores

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import alibabacloud_oss_v2 as v2

pytestmark = pytest.mark.filterwarnings("ignore:datetime.datetime.utcnow:DeprecationWarning:oss2")  # its own clock
KEYS = {"id": OssKey(secret="secret"), "sts": OssKey(secret="other", token="token")}
REGION, BUCKET = "cn-standin", "standin-media"


@pytest.fixture(scope="module")
def stores():
    with Standin(oss_keys=KEYS) as running:
        yield running


@pytest.fixture
def place(stores):
    stores.stores.clock_offset = 0.0
    stores.stores.calls.clear()
    return stores


def old_client(place, version="v4", name="id", secret="secret"):
    auth = oss2.make_auth(name, secret, version)
    return oss2.Bucket(auth, place.oss_endpoint, BUCKET, region=REGION)


def new_client(place, version="v4", name="id"):
    config = v2.config.load_default()
    config.credentials_provider = v2.credentials.StaticCredentialsProvider(name, KEYS[name].secret, KEYS[name].token)
    config.region, config.endpoint, config.signature_version = REGION, place.oss_endpoint, version
    config.use_path_style = True
    return v2.Client(config)


def fetch(url, method="GET"):
    answer = requests.request(method, url, timeout=10)
    return answer.status_code, answer.content


@pytest.mark.parametrize("version", ["v4", "v1"])
@pytest.mark.parametrize("name", ["id", "sts"])
def test_an_independent_client_is_understood(place, version, name):
    """alibabacloud-oss-v2, with its own signing code: put, get, range, signed link, multipart, delete."""
    client = new_client(place, version, name)
    data = bytes(range(256)) * 2000

    client.put_object(v2.PutObjectRequest(bucket=BUCKET, key="a/b c.bin", body=data))
    assert client.get_object(v2.GetObjectRequest(bucket=BUCKET, key="a/b c.bin")).body.content == data
    part = client.get_object(v2.GetObjectRequest(bucket=BUCKET, key="a/b c.bin", range_header="bytes=3-7"))
    assert part.body.content == data[3:8]
    link = client.presign(v2.GetObjectRequest(bucket=BUCKET, key="a/b c.bin")).url
    assert fetch(link) == (200, data)
    assert fetch(link.replace("b%20c", "bc"))[0] == 403
    uploader = client.uploader(part_size=200 * 1024)
    uploader.upload_from(v2.PutObjectRequest(bucket=BUCKET, key="big"), io.BytesIO(data))
    assert client.get_object(v2.GetObjectRequest(bucket=BUCKET, key="big")).body.content == data
    client.delete_object(v2.DeleteObjectRequest(bucket=BUCKET, key="big"))
    assert "part" in {call.operation for call in place.stores.calls}


@pytest.mark.parametrize("version", ["v4", "v1"])
def test_objects_are_listed_in_pages(place, version):
    """Both clients find the same objects below a prefix, in the order of their names."""
    names = [f"list/{name}" for name in ("a b", "a/c", "é&<", "z")]
    bucket = old_client(place, version)
    for name in ("other", *names):
        bucket.put_object(name, name.encode())
    found = [(one.key, one.size, one.etag) for one in oss2.ObjectIteratorV2(bucket, prefix="list/", max_keys=3)]
    pages = new_client(place, version).list_objects_v2_paginator(limit=3)
    asked = v2.ListObjectsV2Request(bucket=BUCKET, prefix="list/")
    peers = [one for page in pages.iter_page(asked) for one in page.contents]
    assert [name for name, _, _ in found] == sorted(names)
    assert [(one.key, one.size, one.etag.strip('"')) for one in peers] == found
    assert [size for _, size, _ in found] == [len(name.encode()) for name in sorted(names)]
    assert not list(oss2.ObjectIteratorV2(bucket, prefix="nothing/"))


@pytest.mark.parametrize("version", ["v4", "v1"])
def test_forgeries_are_refused(place, version):
    """A wrong secret, an unknown id, no signature, a changed method or key, and a late clock each get their 403."""
    bucket = old_client(place, version)
    bucket.put_object("x", b"data")
    link = bucket.sign_url("GET", "x", 60)
    for wrong, code in ((("id", "wrong"), "SignatureDoesNotMatch"), (("who", "secret"), "InvalidAccessKeyId")):
        with pytest.raises(oss2.exceptions.ServerError) as caught:
            old_client(place, version, *wrong).get_object("x")
        assert (caught.value.status, caught.value.code) == (403, code)
    assert fetch(link)[0] == 200
    assert fetch(link, "DELETE")[0] == 403
    assert fetch(link.replace("/x?", "/y?"))[0] == 403
    assert fetch(link.partition("?")[0])[0] == 403
    changed = re.sub(r"(x-oss-expires|Expires)=\d+", r"\1=9999999999", link)
    assert fetch(changed)[0] == 403
    place.stores.clock_offset = 61
    assert (fetch(link)[0], b"Request has expired" in fetch(link)[1]) == (403, True)
    place.stores.clock_offset = 1000
    with pytest.raises(oss2.exceptions.ServerError, match="RequestTimeTooSkewed"):
        bucket.get_object("x")


def test_a_temporary_key_needs_its_token(place):
    """STS: no token, a wrong one and one that has run out are refused."""
    auth = oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider("sts", "other", "token"))
    oss2.Bucket(auth, place.oss_endpoint, BUCKET, region=REGION).put_object("s", b"1")
    with pytest.raises(oss2.exceptions.ServerError, match="InvalidSecurityToken"):
        old_client(place, "v4", "sts", "other").put_object("s", b"1")
    place.stores.oss_keys["old"] = OssKey(secret="o", token="t", until=place.stores.now() - 1)
    gone = oss2.ProviderAuthV4(oss2.credentials.StaticCredentialsProvider("old", "o", "t"))
    with pytest.raises(oss2.exceptions.ServerError, match="SecurityTokenExpired"):
        oss2.Bucket(gone, place.oss_endpoint, BUCKET, region=REGION).put_object("s", b"1")


def test_resumable_upload_and_checksums(place, tmp_path):
    """oss2's own resumable upload with its checksum on: ListParts, parts in any order, CRC of the whole."""
    path = tmp_path / "big"
    path.write_bytes(bytes(range(256)) * 3000)
    bucket = old_client(place)
    store = oss2.ResumableStore(root=str(tmp_path))
    oss2.resumable_upload(bucket, "r", str(path), store=store, multipart_threshold=1, part_size=200 * 1024)

    assert bucket.get_object("r").read() == path.read_bytes()
    assert bucket.head_object("r").content_length == path.stat().st_size
    with pytest.raises(oss2.exceptions.NoSuchUpload):
        bucket.list_parts("r", "nothing")
    with pytest.raises(oss2.exceptions.NoSuchKey):
        bucket.get_object("nothing")


def test_checksums_combine():
    """The checksum of joined strings follows from those of its halves."""
    one, two, whole = crc64(), crc64(), crc64()
    one.update(b"abc" * 1000)
    two.update(b"xy" * 777)
    whole.update(b"abc" * 1000 + b"xy" * 777)
    assert combine_crc(one.crcValue, two.crcValue, 2 * 777) == whole.crcValue


def form_fields(place, **changes):
    policy = f"{place.oss_endpoint}/api/v1/uploads?action=getPolicy&model=qwen3.8-omni-flash"
    data = requests.get(policy, headers={"Authorization": f"Bearer {place.api_key}"}, timeout=10).json()["data"]
    fields = {
        "OSSAccessKeyId": data["oss_access_key_id"], "Signature": data["signature"], "policy": data["policy"],
        "x-oss-object-acl": data["x_oss_object_acl"], "x-oss-forbid-overwrite": data["x_oss_forbid_overwrite"],
        "key": f"{data['upload_dir']}/name.bin", "success_action_status": "200",
    }  # fmt: skip
    return data["upload_host"], {**fields, **changes}


def post(host, fields, *, file_first=False):
    pairs = [(name, (None, value)) for name, value in fields.items()]
    file = ("file", ("name.bin", b"content", "video/mp4"))
    return requests.post(host, files=[file, *pairs] if file_first else [*pairs, file], timeout=10)


def test_the_form_is_held_against_its_policy(place):
    """A good form is kept; a forged policy, a foreign key, a missing field, a second time or a file first are not."""
    host, fields = form_fields(place)
    assert post(host, fields).status_code == 200
    assert post(host, fields).status_code == 409
    for change in ({"Signature": "x"}, {"key": "elsewhere/name"}, {"x-oss-object-acl": "public-read"}):
        assert post(host, {**form_fields(place)[1], **change}).status_code == 403
    assert post(*form_fields(place), file_first=True).status_code == 400
    host, fields = form_fields(place)
    place.stores.clock_offset = 301
    late = post(host, fields)
    assert (late.status_code, "Policy expired" in late.text) == (403, True)


def test_what_is_kept_is_found_by_its_owner_for_two_days(place):
    """`oss://` links work for one model and account, for 48 hours."""
    host, fields = form_fields(place)
    post(host, fields)
    url = f"oss://{fields['key']}"

    assert place.stores.find(url, "qwen3.8-omni-flash", place.api_key) is not None
    assert place.stores.find(url, "qwen3.5-omni-flash", place.api_key) is None
    assert place.stores.find(url, "qwen3.8-omni-flash", "sk-other") is None
    place.stores.clock_offset = 48 * 3600 + 1
    assert place.stores.find(url, "qwen3.8-omni-flash", place.api_key) is None


async def test_an_upload_that_is_cancelled_leaves_no_file():
    """As when the stand-in stops while it receives a body."""
    messages = iter([{"type": "http.request", "body": b"abc", "more_body": True}])

    async def receive():
        for message in messages:
            return message
        raise asyncio.CancelledError

    scope = {
        "type": "http", "method": "PUT", "scheme": "http", "path": "/bucket/a.mp4", "raw_path": b"/bucket/a.mp4",
        "query_string": b"", "headers": [(b"host", b"127.0.0.1")], "server": ("127.0.0.1", 80),
    }  # fmt: skip
    stores = Stores(("bucket",), {}, "cn-standin")
    with contextlib.closing(stores):
        with pytest.raises(asyncio.CancelledError):
            await serve_store(Request(scope, receive), stores, (), None)
        assert list(stores.objects.folder.iterdir()) == []
