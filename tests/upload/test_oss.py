"""The caller's own bucket, against the stand-in's endpoint, which verifies every signature itself."""

import time
import urllib.error
import urllib.request
import warnings
from datetime import UTC, datetime

import oss2
import pytest
from oss2.utils import Crc64

from qwen_omni.errors import ConfigurationError, DeliveryError, StoreUnavailableError
from qwen_omni.messages import MediaPayload
from qwen_omni.settings import OssCredentials, OssSettings
from qwen_omni.transport.retry import RetryPolicy
from qwen_omni.upload.oss import OssStore, combined
from tests.upload.conftest import BUCKET, MODEL, bucket, credentials, operations, sha256


def get(url, **headers):
    with urllib.request.urlopen(urllib.request.Request(url, headers=headers), timeout=10) as reply:
        return reply.status, reply.headers, reply.read()


def carry(carrier, media):
    return carrier.carry(media, "oss", model=MODEL, name="film.mp4")


WHOLE, PARTS, MANY = 1, 12, 32  # megabytes
KEY, STS = "LTAIstandin00001", "STS.standin00002"


@pytest.mark.parametrize(
    ("megabytes", "key", "signature"),
    [(WHOLE, KEY, "v4"), (WHOLE, KEY, "v1"), (WHOLE, STS, "v4"), (WHOLE, STS, "v1"), (PARTS, STS, "v4"),
     (PARTS, KEY, "v1"), (MANY, KEY, "v4"), (MANY, STS, "v1")],
)  # fmt: skip
def test_upload_and_link(standin, carrier, film, signature, key, megabytes):
    """Whole or in parts, with either signature and with STS: the same bytes, the right type, private, no file name."""
    media = film(megabytes * 2**20)

    found = carry(carrier(oss={"signature": signature, "credentials": credentials(key)}), media)

    digest = sha256(media.path)
    assert found.upload.location == f"ours/{digest}.mp4"
    assert standin.stores.objects.get(BUCKET, found.upload.location).sha256 == digest
    assert "holiday" not in found.url
    status, headers, body = get(found.url)
    assert (status, headers["content-type"], len(body)) == (200, "video/mp4", media.size_bytes)
    assert get(found.url, Range="bytes=5-9")[2] == body[5:10]
    told = [call.headers["x-oss-object-acl"] for call in standin.stores.calls if call.operation in ("put", "begin")]
    assert set(told) == {"private"}
    expected = ["put"] if megabytes == WHOLE else ["begin", "complete", *["part"] * (megabytes // 4)]
    assert sorted(operations(standin)) == sorted([*expected, "get", "get"])


@pytest.mark.parametrize("signature", ["v4", "v1"])
def test_links_end_and_cannot_be_forged(standin, carrier, film, signature):
    """An expired link and one for another object are refused."""
    found = carry(carrier(oss={"signature": signature, "link_seconds": 60}), film(1000))
    for url in (found.url.replace("ours/", "ours/x"), found.url.partition("?")[0], found.url[:-3] + "AAA"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(url)
    standin.stores.clock_offset = 61

    with pytest.raises(urllib.error.HTTPError, match="403"):
        get(found.url)
    assert standin.stores.calls[-1].code == "AccessDenied"


@pytest.mark.parametrize(
    ("wrong", "code", "says"),
    [
        (OssCredentials.of("LTAIstandin00001", "no"), "SignatureDoesNotMatch", "secret is wrong"),
        (OssCredentials.of("LTAInobody000001", "no"), "InvalidAccessKeyId", "OSS_ACCESS_KEY_ID"),
        (OssCredentials.of("STS.standin00002", "very-secret-0002", "no"), "InvalidSecurityToken", "key and token"),
    ],
    ids=["secret", "id", "token"],
)
def test_wrong_keys_say_what_is_wrong(carrier, film, wrong, code, says):
    """A refusal names the code and the next step, is not repeated, and shows neither key nor token."""
    with pytest.raises(DeliveryError, match=rf"403 {code}.*{says}") as caught:
        carry(carrier(oss={"credentials": wrong}), film(1000))

    assert not isinstance(caught.value, StoreUnavailableError)
    assert wrong.access_key_id.get_secret_value() not in str(caught.value)


def test_a_wrong_clock_is_told_in_minutes(standin, carrier, film):
    """Clock skew is reported with its size and what to do."""
    standin.stores.clock_offset = 3600

    with pytest.raises(DeliveryError, match=r"RequestTimeTooSkewed.*-60 min off.*NTP"):
        carry(carrier(), film(1000))


def test_a_store_that_stays_down_is_reported(standin, carrier, film):
    """After the last try the error names the store, its answer and what to do; nothing half is there."""
    standin.stores.fail("part", times=99)

    with pytest.raises(StoreUnavailableError, match=r"bucket 'standin-media'.*503 ServiceUnavailable.*try again later"):
        carry(carrier(), film(9 * 2**20))
    assert standin.stores.objects.names(BUCKET) == []


@pytest.mark.slow
def test_an_interrupted_upload_goes_on(standin, carrier, film):
    """Parts that arrived before a failure are not sent again; an upload that the bucket forgot begins anew."""
    media = film(40 * 2**20)
    standin.stores.fail("complete", status=400, code="InvalidArgument")
    with pytest.raises(DeliveryError):
        carry(carrier(), media)
    standin.stores.calls.clear()

    carry(carrier(), media)

    assert operations(standin) == ["list", "complete"]


def test_checksums_are_compared(standin, carrier, film, monkeypatch):
    """A part whose checksum differs is sent again, and an upload that never agrees fails."""
    monkeypatch.setattr("qwen_omni.upload.oss._crc", lambda _: 1)

    with pytest.raises(StoreUnavailableError, match="checksum"):
        carry(carrier(max_retries=1), film(1000))
    assert operations(standin) == ["put", "put"]
    carry(carrier(oss={"check_crc": False}), film(1000))


def test_checksums_of_parts_combine():
    """The checksum of a whole follows from those of its parts."""

    def crc(data):
        found = Crc64()
        found.update(data)
        return found.crc

    parts = [b"a" * 1000, b"b" * 1000, b"", b"c" * 17]
    assert combined((crc(part), len(part)) for part in parts) == crc(b"".join(parts))


def test_links_are_signed_again_before_they_end(carrier, film):
    """A link that ends soon is replaced before a retry, without an upload; one that lasts stays."""
    short, long = carrier(oss={"link_seconds": 300}), carrier()
    media = film(1000)

    for one, changes in ((short, True), (long, False)):
        found = carry(one, media)
        again = one.renewed(found, model=MODEL, gone=False)
        assert (again is not found) is changes


def test_requests_about_one_medium_have_one_link(carrier, film, monkeypatch):
    """Within half its life a link stays the same, byte for byte, so that requests share their beginning."""
    one, media = carrier(oss={"link_seconds": 7200}), film(1000)
    first = carry(one, media)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 3500)
    again = carry(one, media)
    assert (again.url, again.upload.link_until) == (first.url, first.upload.link_until)
    monkeypatch.setattr(time, "time", lambda now=time.time: now() + 200)
    assert carry(one, media).upload.link_until > first.upload.link_until + 3600


def test_a_token_that_ends_ends_the_link(carrier, film):
    """A link never promises more than the temporary key behind it."""
    until = time.time() + 500
    key = OssCredentials.of("STS.standin00002", "very-secret-0002", "very-long-token-0002", expires_at=until)

    assert carry(carrier(oss={"credentials": lambda: key}), film(1000)).upload.link_until == pytest.approx(until)


def test_warnings_as_errors(standin, carrier, film, monkeypatch):
    """Where warnings are errors uploads work, though oss2 calls what Python 3.12 deprecates; no filter is changed."""

    class Clock(datetime):
        @classmethod
        def utcnow(cls):
            text = "datetime.datetime.utcnow() is deprecated and scheduled for removal in a future version."
            warnings.warn(text, DeprecationWarning, stacklevel=2)
            return datetime.now(UTC).replace(tzinfo=None)

    monkeypatch.setattr("oss2.auth.datetime", Clock)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        before = list(warnings.filters)
        found = carry(carrier(), film(1000))
        assert get(found.url)[0] == 200
        assert carry(carrier(), film(9 * 2**20)).url
        assert warnings.filters == before
        with pytest.raises(DeprecationWarning):
            oss2.auth.datetime.utcnow()


def test_delete_after_use(standin, carrier, film):
    """Objects for one request alone have names of their own and are deleted."""
    one = carrier(oss={"delete_after_use": True})
    media = film(1000)
    first, second = carry(one, media), carry(one, media)
    assert first.upload.location != second.upload.location

    one.release(first)

    assert standin.stores.objects.names(BUCKET) == [second.upload.location]


def left_in_the_bucket(standin):
    """Return the objects of the bucket and the uploads that were begun and not ended."""
    held = standin.stores.objects
    return held.names(BUCKET), list(held._uploads)


REFUSED = {"status": 403, "code": "AccessDenied"}
FAILURES = {
    "a part": ({"part": REFUSED}, "Could not upload film.mp4"),
    "a part that stays lost": ({"part": {"times": 99}}, "Could not upload film.mp4"),
    "completing": ({"complete": {"status": 400, "code": "InvalidArgument"}}, "Could not complete film.mp4"),
    "all answers to completing": ({"complete": {"unanswered": True, "times": 99}}, "Could not complete film.mp4"),
    "completing, unseen": ({"complete": {"unanswered": True}, "head": REFUSED}, "Could not complete film.mp4"),
}


@pytest.mark.parametrize(("faults", "says"), FAILURES.values(), ids=FAILURES)
@pytest.mark.slow
def test_an_upload_for_one_request_leaves_nothing(standin, carrier, film, faults, says):
    """What would be deleted after use cannot be resumed, so an upload that fails leaves no part and no object."""
    for operation, fault in faults.items():
        standin.stores.fail(operation, **fault)

    with pytest.raises(DeliveryError, match=says):
        carry(carrier(oss={"delete_after_use": True}), film(9 * 2**20))

    assert left_in_the_bucket(standin) == ([], [])


def test_an_interrupted_upload_for_one_request_leaves_nothing(standin, carrier, film):
    """The same when the caller stops it; when giving up fails, too, the first error is the one told."""

    def stop(progress):
        if progress.sent_bytes:
            raise KeyboardInterrupt

    one = carrier(oss={"delete_after_use": True}, on_upload=stop)
    with pytest.raises(KeyboardInterrupt):
        carry(one, film(9 * 2**20))
    assert left_in_the_bucket(standin) == ([], [])

    standin.stores.fail("abort", status=403, code="AccessDenied")
    with pytest.raises(KeyboardInterrupt):
        carry(one, film(9 * 2**20))
    assert operations(standin).count("abort") == 2


def test_a_lost_answer_to_completing_is_no_failure(standin, carrier, film):
    """The bucket has made the object though its answer was lost: that is found out, and nothing is sent again."""
    standin.stores.fail("complete", unanswered=True)
    media = film(9 * 2**20)

    found = carry(carrier(), media)

    assert standin.stores.objects.get(BUCKET, found.upload.location).sha256 == sha256(media.path)
    assert sorted(operations(standin)) == ["begin", "complete", "complete", "head", "part", "part", "part"]


@pytest.mark.parametrize("there", [None, b"another film"], ids=["nothing", "another object"])
def test_an_upload_that_is_gone_is_an_error(standin, carrier, film, there):
    """Where a repetition finds no upload and no object of this length, the error names what the bucket said."""
    media = film(9 * 2**20)
    place = f"ours/{sha256(media.path)}.mp4"

    def lose(progress):
        if progress.sent_bytes == progress.total_bytes:
            standin.stores.objects._uploads.clear()
            if there is not None:
                one.write(place, there)

    one = OssStore(bucket(standin), retry=RetryPolicy(max_retries=0), timeout=10)
    standin.stores.fail("complete", status=503)
    with pytest.raises(DeliveryError, match="404 NoSuchUpload"):
        carry(carrier(on_upload=lose), media)


@pytest.mark.parametrize("lost", [False, True], ids=["told", "found out"])
def test_a_wrong_checksum_of_the_whole_is_named(standin, carrier, film, monkeypatch, lost):
    """An object whose checksum differs is an error that says so, whether its answer came or not."""
    monkeypatch.setattr("qwen_omni.upload.oss.combined", lambda _: 1)
    standin.stores.fail("complete", unanswered=True, times=int(lost))

    with pytest.raises(StoreUnavailableError, match="the checksum is 1 here and"):
        carry(carrier(oss={"delete_after_use": True}), film(9 * 2**20))
    assert left_in_the_bucket(standin) == ([], [])


def test_keys_come_from_the_environment(monkeypatch, carrier, film):
    """Without explicit keys the environment is read before every request; without any the error names the variables."""
    one = carrier(oss={"credentials": None})
    with pytest.raises(ConfigurationError, match="OSS_ACCESS_KEY_ID and OSS_ACCESS_KEY_SECRET"):
        carry(one, film(1000))
    for name, value in (("ID", "STS.standin00002"), ("SECRET", "very-secret-0002")):
        monkeypatch.setenv(f"OSS_ACCESS_KEY_{name}", value)
    monkeypatch.setenv("OSS_SESSION_TOKEN", "very-long-token-0002\r\n")  # as some files of variables end their lines

    assert carry(one, film(1000)).route == "oss"


ODD_PLACES = {
    "bucket": ("電影", "bucket= of OssSettings cannot be sent: character 1 "),
    "endpoint": ("oss-cn-beijing.aliyuncs.com\u200b", "endpoint= .* character 28 "),
    "upload_endpoint": ("oss-cn-beijing-internal.aliyuncs.com\n", "upload_endpoint= .* character 37 "),
    "region": ("cn-beijing\xa0", "region= .* character 11 "),
}


@pytest.mark.parametrize("name", ODD_PLACES)
def test_a_place_that_cannot_be_sent_is_refused(name):
    """Each text about the bucket is checked as the keys are, and the place of the character is told."""
    odd, says = ODD_PLACES[name]
    with pytest.raises(ConfigurationError, match=says):
        OssSettings(**{"bucket": "b", "endpoint": "oss-cn-beijing.aliyuncs.com", name: odd})


@pytest.mark.parametrize("wrong", [{"bucket": "My_Bucket"}, {"endpoint": "oss cn"}], ids=["bucket", "endpoint"])
def test_a_place_that_cannot_be_is_an_error_of_ours(carrier, film, wrong):
    """What the bucket's library refuses names both."""
    with pytest.raises(ConfigurationError, match=r"No bucket is named '.*' at '.*is.* (not valid|invalid).*endpoint="):
        carry(carrier(oss=wrong), film(1000))


def test_settings_that_cannot_work_are_refused():
    """V4 needs a region, and links have a longest life."""
    with pytest.raises(ConfigurationError, match="region"):
        OssSettings(bucket="b", endpoint="https://media.example.com")
    with pytest.raises(ConfigurationError, match="604,800"):
        OssSettings(bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", link_seconds=8 * 86400)
    internal = OssSettings(bucket="b", endpoint="https://oss-ap-southeast-1-internal.aliyuncs.com")
    assert internal.region_name == "ap-southeast-1"


def test_without_oss2_the_error_names_the_extra(carrier, film, monkeypatch):
    """A missing package is named with the command that installs it."""
    monkeypatch.setitem(__import__("sys").modules, "oss2", None)

    with pytest.raises(ConfigurationError, match=r"pip install 'qwen-omni\[oss\]'"):
        carry(carrier(), film(1000))


def test_bytes_go_up_like_files(standin, carrier):
    """Media held in memory takes the same way."""
    data = bytes(9 * 2**20)
    found = carry(carrier(), MediaPayload(data=data, size_bytes=len(data), format="wav", content_type="audio/wav"))
    assert standin.stores.objects.get(BUCKET, found.upload.location).content_type == "audio/wav"
