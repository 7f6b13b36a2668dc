"""The whole way: a file, a store, a question, an answer; and what happens when links fail."""

import asyncio
import dataclasses
import functools
import io
import logging
import pickle
import re
import sys
import threading
import time
import traceback
from collections import Counter
from types import FrameType

import pytest

from qwen_omni.client import AsyncOmniClient, OmniClient
from qwen_omni.errors import (
    ContentFilterError,
    DeliveryError,
    MediaDoesNotFitError,
    MediaDownloadTimeoutError,
    MediaRefusedError,
    QwenOmniError,
    UnreadableMediaError,
)
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import MediaPayload, VideoPart, user
from qwen_omni.options import ChatRequest
from qwen_omni.profiles import profile_for
from qwen_omni.settings import OssCredentials, OssSettings
from qwen_omni.standin import Fault
from qwen_omni.standin.marked_media import make_video
from qwen_omni.standin.stores import temporary
from qwen_omni.upload.uploader import hint_for
from tests.upload.conftest import BUCKET, MODEL, bucket, credentials, delivered, operations, settings_for, sha256

LINK = "https://93.184.216.34/a.mp4?Signature=s3cr3t&Expires=4000000000"


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    return make_video(tmp_path_factory.mktemp("truth") / "clip.mp4", seconds=3, size=(320, 180)).path


def question(*clips):
    videos = [VideoPart(source=MediaSource.from_path(clip, trusted=True)) for clip in clips]
    return ChatRequest(model=MODEL, messages=(user(*videos, "What do you see?"),))


@pytest.fixture
def once(standin, tmp_path):
    """Make settings for uploads that are deleted after one request."""
    own = bucket(standin, delete_after_use=True)
    return functools.partial(settings_for, standin, tmp_path, delivery="oss", oss=own, max_retries=0)


@pytest.mark.parametrize("route", ["oss", "temporary"])
def test_ask_through_a_store(standin, tmp_path, clip, route):
    """The service sees the very file, the second question uploads nothing, and the header goes where it must."""
    with OmniClient(settings_for(standin, tmp_path, delivery=route)) as client:
        answers = [client.complete(question(clip)).text for _ in range(2)]

    facts = [request.media[0] for request in standin.requests]
    assert all(text.startswith("[stand-in]") for text in answers)
    assert [one.size_bytes for one in facts] == [clip.stat().st_size] * 2
    resolves = "x-dashscope-ossresourceresolve" in standin.requests[0].headers
    assert resolves is (route == "temporary")
    uploads = [name for name in operations(standin) if name != "get"]
    assert uploads == {"oss": ["put"], "temporary": ["get_policy", "post_form"]}[route]


async def test_ask_asynchronously(standin, tmp_path, clip):
    """The asynchronous client takes the same way, and the loop goes on while media are uploaded."""
    settings = settings_for(standin, tmp_path, delivery="temporary")
    async with AsyncOmniClient(settings) as client:
        answers = await asyncio.gather(*[client.complete(question(clip)) for _ in range(3)])

    assert len(answers) == 3
    assert operations(standin).count("post_form") == 1


@pytest.mark.parametrize("route", ["oss", "temporary"])
def test_what_is_gone_is_uploaded_again_once(standin, tmp_path, clip, route):
    """A link that the service cannot follow any more costs one upload; if that does not help the error is told."""
    with OmniClient(settings_for(standin, tmp_path, delivery=route, max_retries=0)) as client:
        client.complete(question(clip))
        for name in ("standin-media", "dashscope-temporary"):
            for key in standin.stores.objects.names(name):
                standin.stores.objects.delete(name, key)

        client.complete(question(clip))
        uploads = [name for name in operations(standin) if name in ("put", "post_form")]
        assert len(uploads) == 2

        standin.script.fault(Fault.refuse_media("Don't have authorization to access the media resource"), times=2)
        with pytest.raises(MediaRefusedError, match=rf"\({route}\)"):
            client.complete(question(clip))
    assert len([name for name in operations(standin) if name in ("put", "post_form")]) == 3


def test_uploads_for_one_request_are_deleted(standin, once, clip):
    """With `delete_after_use` nothing stays, whether the request succeeds or fails."""
    with OmniClient(once()) as client:
        client.complete(question(clip))
        standin.script.fault(Fault.refuse(400, "Arrearage", "Access denied"))
        with pytest.raises(QwenOmniError):
            client.complete(question(clip))

    assert standin.stores.objects.names(BUCKET) == []
    assert operations(standin).count("delete") == 2


MEGABYTE = 2**20
CUT, BUSY = {"cut_after": 1_000_000}, {"status": 503}
PASSING = [
    *[("oss", "put", 1, fault) for fault in (BUSY, CUT)],
    *[("oss", "part", 9, fault) for fault in (BUSY, CUT)],
    *[("oss", operation, 9, fault) for operation in ("begin", "complete") for fault in (BUSY, {"cut_after": 0})],
    ("temporary", "get_policy", 3, {"status": 429, "code": "Throttling.RateQuota", "message": "Too many requests"}),
    *[("temporary", "get_policy", 3, fault) for fault in ({"status": 500}, {"cut_after": 0})],
    *[("temporary", "post_form", 3, fault) for fault in (BUSY, CUT)],
]


@pytest.mark.parametrize(("store", "operation", "megabytes", "fault"), PASSING)
def test_passing_faults_are_repeated(  # noqa: PLR0913, PLR0917  (a table)
    standin, carrier, film, store, operation, megabytes, fault
):
    """A limit, a fault of the store or a cut connection costs a repetition, and the bytes arrive whole."""
    standin.stores.fail(operation, times=2, **fault)
    media = film(megabytes * MEGABYTE)

    location = carrier().carry(media, store, model=MODEL, name="film.mp4").upload.location

    place = (BUCKET, location) if store == "oss" else (temporary.BUCKET, location.removeprefix("oss://"))
    assert standin.stores.objects.get(*place).sha256 == sha256(media.path)


@pytest.mark.parametrize(("store", "megabytes", "left"), [("oss", 9, 1), ("temporary", 3, 3 * MEGABYTE)])
def test_a_file_that_changes_is_never_stored(standin, carrier, film, store, megabytes, left):
    """When the file changes during the upload, in its size or not, nothing appears in the store."""
    media = film(megabytes * MEGABYTE)

    def change(_):
        media.path.write_bytes(b"x" * left)

    with pytest.raises(UnreadableMediaError, match="changed"):
        carrier(on_upload=change).carry(media, store, model=MODEL, name="film.mp4")
    assert standin.stores.objects.names(BUCKET) == standin.stores.objects.names(temporary.BUCKET) == []


def other(clip, tmp_path):
    """Return the same clip with other bytes."""
    path = tmp_path / "other.mp4"
    path.write_bytes(clip.read_bytes() + bytes(8))
    return path


def test_nothing_stays_when_a_later_upload_fails(standin, once, tmp_path, clip):
    """With `delete_after_use` the first upload is deleted when the second fails, and nothing is asked."""
    stored = []

    def told(progress):
        stored.append(standin.stores.objects.names(BUCKET))
        standin.stores.fail("put", status=403, code="AccessDenied")

    with OmniClient(once(on_upload=told)) as client, pytest.raises(DeliveryError):
        client.complete(question(clip, other(clip, tmp_path)))

    assert len(stored[0]) == 1
    assert standin.stores.objects.names(BUCKET) == []
    assert standin.requests == []


def gone(standin):
    """Wait until the bucket is empty; the test's own time limit ends it otherwise."""
    while standin.stores.objects.names(BUCKET):
        time.sleep(0.01)


async def test_a_key_is_never_waited_for_on_the_event_loop(standin, tmp_path, clip):
    """Whoever gives the bucket's key may ask over the network for it, also when a link is signed anew."""
    asked = []

    def key():
        asked.append(threading.current_thread())
        return credentials()

    short = bucket(standin, credentials=key, link_seconds=300)  # so near to its end that it is always signed again
    async with AsyncOmniClient(settings_for(standin, tmp_path, oss=short, delivery="oss")) as client:
        outgoing = await client.deliver(question(clip))
        before = len(asked)
        assert (await client.answer(outgoing)).text
    assert len(asked) > before > 0
    assert threading.current_thread() not in asked


async def test_nothing_stays_when_nobody_waits_any_more(standin, once, clip):
    """With `delete_after_use` an upload whose caller was cancelled is deleted, and nothing is asked."""
    loop, uploaded, go_on = asyncio.get_running_loop(), asyncio.Event(), threading.Event()

    def told(_):
        loop.call_soon_threadsafe(uploaded.set)
        go_on.wait(30)

    async with AsyncOmniClient(once(on_upload=told)) as client:
        asking = asyncio.create_task(client.complete(question(clip)))
        await uploaded.wait()
        assert len(standin.stores.objects.names(BUCKET)) == 1
        asking.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asking
        go_on.set()
        await asyncio.to_thread(gone, standin)

    assert standin.requests == []


@pytest.mark.parametrize(
    ("route", "says"),
    [
        ("oss", r"bucket \(oss\).*qwen-omni doctor"),
        ("temporary", r"\(temporary\).*48 h"),
        ("inline", r"\(inline\)"),
        ("link", r"as a link; `qwen-omni doctor URL`.*Links: https://93\.184\.216\.34/a\.mp4"),
    ],
)
@pytest.mark.parametrize(
    ("words", "error"),
    [
        ("Unable to download the media resource during the data inspection process.", MediaRefusedError),
        ("The media format is not supported or incorrect for the data inspection.", MediaRefusedError),
        ("Download the media resource timed out during the data inspection process.", MediaDownloadTimeoutError),
        ("Input data may contain inappropriate content.", ContentFilterError),
    ],
    ids=["download", "format", "timeout", "inspection"],
)
def test_refused_media_name_their_route(  # noqa: PLR0913, PLR0917  (two tables)
    standin, tmp_path, clip, route, says, words, error
):
    """An error of the service about media says how they travelled and what to try."""
    standin.script.fault(Fault.refuse_media(words), times=9)
    if route == "link":
        asked = ChatRequest(model=MODEL, messages=(user(VideoPart(source=MediaSource.from_url(LINK)), "?"),))
        route = "auto"
    else:
        asked = question(clip)
    with OmniClient(settings_for(standin, tmp_path, delivery=route)) as client, pytest.raises(error, match=says) as got:
        client.complete(asked)
    assert "s3cr3t" not in str(got.value)


def test_the_route_is_no_news_where_the_answer_was_inspected(standin, tmp_path, clip):
    """What the model said was refused, not the media: no hint about media."""
    standin.script.fault(Fault.refuse(400, "data_inspection_failed", "Output data may contain inappropriate content."))
    with OmniClient(settings_for(standin, tmp_path)) as client, pytest.raises(ContentFilterError) as got:
        client.complete(question(clip))
    assert "The media was sent" not in str(got.value)


def test_links_are_named_without_their_query():
    """A hint names the links and the command that fetches them, and no signature."""
    told = hint_for([MediaPayload(url=f"https://host/{n}.mp4?Signature=s3cr3t") for n in range(5)])

    assert "qwen-omni doctor URL" in told
    assert "https://host/0.mp4, https://host/1.mp4, https://host/2.mp4 …" in told
    assert "s3cr3t" not in told


SECRETS = re.compile(
    r"very-secret|very-long-token|LTAIstandin|STS\.standin|sk-standin|Signature=|x-oss-signature=|x-oss-credential|"
    r"temporary-secret|TMP\.standin"
)


@pytest.mark.parametrize("route", ["oss", "temporary"])
@pytest.mark.parametrize("signature", ["v4", "v1"])
def test_no_secret_anywhere(standin, tmp_path, clip, caplog, route, signature):
    """With every logger at DEBUG, no log line, error, traceback, repr or pickle holds a key, token or signed query."""
    caplog.set_level(logging.DEBUG)
    told = io.StringIO()
    own = bucket(standin, credentials=credentials("STS.standin00002"), signature=signature)
    wrong = bucket(standin, credentials=OssCredentials.of("LTAIstandin00001", "very-secret-x"), signature=signature)
    for oss, breaks in (
        (own, None),
        (wrong, None),
        (own, {"status": 403, "code": "AccessDenied"}),
        (own, {"cut_after": 0}),
    ):
        settings = settings_for(standin, tmp_path / str(id(breaks)), delivery=route, oss=oss, max_retries=1)
        if breaks:
            standin.stores.fail("put" if route == "oss" else "post_form", times=9, **breaks)
        standin.script.fault(Fault.refuse_media())
        with OmniClient(settings) as client:
            try:
                client.complete(question(clip))
            except QwenOmniError as error:
                traceback.TracebackException.from_exception(error, capture_locals=True).print(file=told)
                print(error, repr(error), pickle.dumps(error), error.__cause__, error.__context__, file=told)
        print(repr(settings), repr(client), pickle.dumps(oss), oss, file=told)
    ours = [record for record in caplog.records if not record.name.startswith("uvicorn")]  # the stand-in's own log
    shown = told.getvalue() + "\n".join(f"{record.name} {record.getMessage()} {vars(record)!r}" for record in ours)

    assert "oss2" not in {record.name.partition(".")[0] for record in caplog.records if record.levelno <= logging.DEBUG}
    lines = [line for line in shown.splitlines() if SECRETS.search(line)]
    assert [line[:300] for line in lines] == []


def test_settings_travel_without_keys():
    """A pickled or shown bucket has no key; the other end reads its environment."""
    oss = OssSettings(
        bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", credentials=OssCredentials.of("LTAIx1234567", "s3cr3t")
    )
    again = pickle.loads(pickle.dumps(oss))

    assert (again.bucket, again.credentials) == ("b", None)
    assert "s3cr3t" not in f"{oss!r}{oss.credentials!r}{pickle.dumps(oss)!r}"


def test_nothing_is_uploaded_when_a_later_part_is_wrong(standin, tmp_path, clip):
    """All media are checked before the first is uploaded."""
    (tmp_path / "no.mp4").write_text("no film")

    with OmniClient(settings_for(standin, tmp_path, delivery="temporary")) as client, pytest.raises(QwenOmniError):
        client.complete(question(clip, tmp_path / "no.mp4"))
    assert standin.stores.calls == []


def test_what_goes_through_a_store_does_not_count_as_inline(standin, tmp_path, clip):
    """The limit on media inside a request counts what really travels there: two videos are one too many, or not."""
    old = "qwen3-omni-flash"  # one video inside a request
    assert profile_for(old).limits.videos_inline == 1
    roomy = dataclasses.replace(profile_for(old).limits, videos=3)
    profile = dataclasses.replace(profile_for(old), limits=roomy)
    asked = question(clip, other(clip, tmp_path)).messages

    for route in ("oss", "temporary"):
        _, media = delivered(asked, profile, settings_for(standin, tmp_path, delivery=route))
        assert [one.route for one in media.values()] == [route, route]
    for route in ("inline", "auto"):
        with pytest.raises(MediaDoesNotFitError, match=r"message 0 part 1.*1 video inside the request.*'temporary'"):
            delivered(asked, profile, settings_for(standin, tmp_path, delivery=route))


def test_a_store_that_fails_sends_no_question(standin, tmp_path, clip):
    """When an upload fails the service is asked nothing."""
    standin.stores.fail("post_form", status=403, code="AccessDenied")

    with OmniClient(settings_for(standin, tmp_path, delivery="temporary")) as client, pytest.raises(DeliveryError):
        client.complete(question(clip))
    assert standin.requests == []


def test_a_request_does_each_piece_of_work_once(standin, tmp_path, clip):
    """A video is looked at, planned, made, priced and encoded once; the bill is reserved in between."""
    done: Counter[str] = Counter()

    def note(frame: FrameType, event: str, _: object) -> None:
        if event == "call" and frame.f_globals.get("__name__", "").startswith("qwen_omni."):
            done[frame.f_code.co_qualname] += 1

    with OmniClient(settings_for(standin, tmp_path, delivery="inline")) as client:
        sys.setprofile(note)
        try:
            outgoing = client.deliver(question(clip))
        finally:
            sys.setprofile(None)
        outgoing.done()
    once = ("encode_messages", "probe", "plan_media", "carry_out", "choose_route", "MediaEstimator.estimate_all",
            "Account.open", "RequestBody.__init__", "check_part", "check_ranges", "encode_media")  # fmt: skip
    assert {name: done[name] for name in once} == {**dict.fromkeys(once, 1), "check_part": 2}  # as planned, as made
