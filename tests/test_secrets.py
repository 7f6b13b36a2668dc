"""The key is nowhere: not in logs, errors, reprs, pickles, traces or dumps; cassettes: `test_cassettes`."""

import copy
import dataclasses
import json
import logging
import multiprocessing
import os
import pickle
import re
import time
import traceback
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
from langchain_core.load import dumpd, dumps
from langchain_core.messages import HumanMessage
from pydantic import SecretStr

from langchain_qwen_omni import ChatQwenOmni, LongVideoChain
from llama_index_qwen_omni import QwenOmni
from qwen_omni import (
    APIConnectionError,
    AsyncOmniClient,
    ChatOptions,
    ChatRequest,
    ConfigurationError,
    MediaTools,
    OmniClient,
    QwenOmniError,
    Settings,
    SpendLimit,
    UsageLedger,
    user,
)
from qwen_omni.integrations.model_fields import ConnectionOptions
from qwen_omni.integrations.request_builder import RequestPlan
from qwen_omni.pricing.costs import TokenCounts, cost_of
from qwen_omni.responses import Usage
from qwen_omni.settings import OssCredentials, OssSettings
from qwen_omni.standin import Fault, Standin
from qwen_omni.standin.marked_media import make_video
from qwen_omni.transport.api import arun, run
from qwen_omni.upload.temporary import ask_policy
from tests.support.rawserver import RawServer, answer
from tests.support.tracing import Trace
from tests.upload.conftest import BUCKET, KEYS

KEY = "sk-1f7c9e5b3a8d4f20"
ROOT = Path(__file__).parents[1]


@pytest.fixture
def service():
    """A stand-in that knows the key."""
    with Standin(keys=(KEY,)) as standin:
        yield standin


UPLOADING = re.compile(
    r"very-secret|very-long-token|LTAIstandin|STS\.standin|Signature=|x-oss-signature=|x-oss-credential=|"
    r"temporary-secret|TMP\.standin|" + KEY
)


@pytest.mark.parametrize("route", ["oss", "temporary"])
@pytest.mark.parametrize("refused", [False, True], ids=["answered", "refused"])
async def test_no_trace_of_an_upload_tells_a_secret(tmp_path, caplog, route, refused):
    """A call whose video goes through a store: no run of a tracer, message, log line or error holds what opens it."""
    caplog.set_level(logging.DEBUG)
    film, keeper, told = make_video(tmp_path / "film.mp4", seconds=2, size=(160, 120), fps=5), Trace(), []
    key = OssCredentials.of("STS.standin00002", "very-secret-0002", "very-long-token-0002")
    video = {"type": "video", "path": str(film.path)}
    question = HumanMessage([video, {"type": "text", "text": "What?"}])
    with Standin(keys=(KEY,), oss_keys=KEYS) as standin:
        oss = OssSettings(bucket=BUCKET, endpoint=standin.oss_endpoint, region="cn-standin", credentials=key)
        llm = ChatQwenOmni(
            api_key=KEY, base_url=standin.base_url, max_retries=0, thinking=False, delivery=route, oss=oss,
            media_root=tmp_path,
        )  # fmt: skip
        if refused:
            standin.script.fault(Fault.refuse_media(), times=9)
        for way in ("invoke", "ainvoke", "stream"):
            try:
                match way:
                    case "invoke":
                        told.append(repr(llm.invoke([question], {"callbacks": [keeper]})))
                    case "ainvoke":
                        told.append(repr(await llm.ainvoke([question], {"callbacks": [keeper]})))
                    case "stream":
                        told += [repr(chunk) for chunk in llm.stream([question], {"callbacks": [keeper]})]
            except QwenOmniError as error:
                told.append("".join(traceback.format_exception(error)) + repr(error.__dict__))
        await llm.aclose()
        llm.close()
        uploads = [call.operation for call in standin.stores.calls if call.operation in ("put", "post_form")]
        told += [repr(llm), str(llm.model_dump()), dumps(llm), str(llm._identifying_params)]
    # The stand-in's own log is none of ours.
    told += [f"{record.getMessage()} {record.args!r}" for record in caplog.records if "uvicorn" not in record.name]

    assert uploads
    assert keeper.runs == 3
    lines = "\n".join([*told, keeper.sent, keeper.shown]).splitlines()
    assert [line[:200] for line in lines if UPLOADING.search(line)] == []


@pytest.fixture
def llm(service):
    """A model with the key passed to it, the worst case."""
    return ChatQwenOmni(api_key=KEY, base_url=service.base_url, max_retries=0, thinking=False)


FAULTS = {
    "none": None,
    "401 that quotes the key": Fault.refuse(401, "invalid_api_key", f"Incorrect API key provided: {KEY}."),
    "500 that quotes the header": Fault.server_error(500, f"Authorization: Bearer {KEY}"),
    "error in the stream": Fault.error_event_only("x", f"<400> key={KEY}"),
    "cut": Fault.cut(None),
    "cut later": Fault.cut(after_bytes=300),
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_no_log_error_or_trace_tells_the_key(service, llm, caplog, fault):
    """Whatever happens, at the most talkative level, over both ways of calling."""
    caplog.set_level(logging.DEBUG)
    keeper = Trace()
    told = []
    for way in ("invoke", "ainvoke"):
        if fault is not None:
            service.script.fault(fault)
        try:
            answer = llm.invoke("Hi", {"callbacks": [keeper]}) if way == "invoke" else await llm.ainvoke("Hi")
            told.append(repr(answer))
        except QwenOmniError as error:
            told.append("".join(traceback.format_exception(error)))
            told.append(repr(error.__dict__) + repr(error.args) + str(pickle.dumps(error)))
            assert error.__cause__ is None
            assert error.__context__ is None or KEY not in repr(vars(error.__context__))
    await llm.aclose()
    llm.close()
    assert service.requests, "the service was asked"
    assert len(caplog.records) > 2, "something was logged"
    told += [record.getMessage() + repr(record.args) for record in caplog.records] + [keeper.sent, keeper.shown]
    assert KEY not in "\n".join(told)


PLAIN_KEY = "not a key by its looks"
QUOTES = {
    "a refusal": {"pieces": f"no: {PLAIN_KEY}!".encode(), "status": 401},
    "a refusal in JSON": {"pieces": b'{"error": {"message": "no: %s!"}}' % PLAIN_KEY.encode(), "status": 400},
    "an event": {"pieces": b'data: {"error": {"message": "no: %s!"}}\n\n' % PLAIN_KEY.encode()},
    "a web page": {"pieces": f"<html>no: {PLAIN_KEY}!</html>".encode()},
    "prose": {"pieces": f"no; {PLAIN_KEY}!\n".encode()},
    "a header": {"pieces": b"no: hidden-header-value!", "status": 403},
}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize("quote", QUOTES.values(), ids=QUOTES)
async def test_an_answer_that_quotes_the_key_is_not_repeated(quote, way):
    """Servers of one's own have keys of any form, which no pattern finds."""
    with Standin(keys=(PLAIN_KEY,)) as standin:
        headers = {"X-Token": "hidden-header-value"}
        llm = ChatQwenOmni(api_key=PLAIN_KEY, base_url=standin.base_url, max_retries=0, extra_headers=headers)
        standin.script.raw(**quote)
        with pytest.raises(QwenOmniError) as caught:
            llm.invoke("Hi") if way == "invoke" else await llm.ainvoke("Hi")
        await llm.aclose()
        llm.close()
    error = caught.value
    told = "".join(traceback.format_exception(error)) + repr(error.__dict__) + repr(error.__context__)
    assert "<key>" in str(error)
    assert PLAIN_KEY not in told
    assert "hidden-header-value" not in told


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_native_route_that_quotes_the_key_is_not_repeated(asynchronous):
    """The doctor, uploads and transcription."""
    with RawServer(answer(f"no: {PLAIN_KEY}!".encode(), status="500 No")) as server:
        settings = Settings.load(api_key=PLAIN_KEY, base_url=server.url, max_retries=0)
        flow = ask_policy(settings.base_url, "qwen3.8-omni-flash", None, time.monotonic)
        with pytest.raises(QwenOmniError) as caught:
            await arun(flow, settings) if asynchronous else run(flow, settings)
    assert "no: <key>!" in f"{caught.value} {caught.value.__dict__}"
    assert PLAIN_KEY not in f"{caught.value!r} {caught.value.__dict__}"


ODD_KEYS = {
    "a zero-width space behind it": (f"{KEY}\u200b", 20),
    "a byte order mark before it": (f"\ufeff{KEY}", 1),
    "a wide letter": (f"sk-\uff21{KEY[4:]}", 4),
    "a line break": (f"{KEY[:9]}\n{KEY[9:]}", 10),
    "a control character": (f"{KEY}\x7f", 20),
}


@pytest.mark.parametrize("way", ["invoke", "ainvoke"])
@pytest.mark.parametrize(("odd", "place"), ODD_KEYS.values(), ids=ODD_KEYS)
async def test_a_key_that_no_header_can_carry_is_not_told(service, odd, place, way):
    """It is refused before anything is sent, by the place of the character, and no trace or error shows it."""
    keeper, llm = Trace(), ChatQwenOmni(api_key=odd, base_url=service.base_url, max_retries=0)
    config = {"callbacks": [keeper]}
    with pytest.raises(ConfigurationError, match=rf"The API key cannot be sent: character {place} is not") as caught:
        _ = llm.invoke("Hi", config) if way == "invoke" else await llm.ainvoke("Hi", config)

    told = "\n".join([*traceback.format_exception(caught.value), repr(caught.value), keeper.sent, keeper.shown])
    assert keeper.sent
    assert not [piece for piece in (KEY, KEY[9:], KEY[:9]) if piece in told]
    assert service.requests == []


@pytest.mark.parametrize("name", ["access_key_id", "access_key_secret", "security_token"])
@pytest.mark.parametrize(("odd", "place"), ODD_KEYS.values(), ids=ODD_KEYS)
def test_a_buckets_key_that_no_header_can_carry_is_not_told(name, odd, place):
    """The same for each text of the key to a bucket, which else fails while it is signed with."""
    texts = {"access_key_id": "LTAIx", "access_key_secret": "s3cr3t", "security_token": "token", name: odd}
    with pytest.raises(
        ConfigurationError, match=rf"The {name} of .* cannot be sent: character {place} is not"
    ) as caught:
        OssCredentials.of(*texts.values())

    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert not [piece for piece in (KEY, KEY[9:], KEY[:9]) if piece in told]


ODD_HEADERS = {
    "a wide value": ({"X-Team": f"电影{KEY}"}, "The header 'X-Team' in {where} cannot be sent: character 1 "),
    "a second header": ({"X-A": "1", "X-Team": f"{KEY}\r\nX-B: 2"}, "The header 'X-Team' in {where} .* character 20 "),
    "a space behind it": ({"X-Team": f"{KEY} "}, "The header 'X-Team' in {where} .* character 20 "),
    "a wide name": ({f"X-{KEY}é": "1"}, "The name of header 1 in {where} .* character 22 "),
    "a number": ({"X-Team": 7}, "The header 'X-Team' in {where} must be text, not int"),
}


@pytest.mark.parametrize(("headers", "says"), ODD_HEADERS.values(), ids=ODD_HEADERS)
def test_a_header_that_cannot_be_sent_is_not_told(service, headers, says):
    """The same for headers of all calls and of one: typed, nothing sent, nothing charged, the value not told."""
    with pytest.raises(ConfigurationError, match=says.format(where="headers=")) as first:
        Settings.load(api_key=KEY, base_url=service.base_url, headers=headers)
    limit, ledger = SpendLimit(tokens=100_000), UsageLedger()
    reach = Settings.load(api_key=KEY, base_url=service.base_url, spend_limit=limit, ledger=ledger, max_retries=0)
    options = ChatOptions(extra_headers=headers)
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hi"),), options=options)
    refused = pytest.raises(ConfigurationError, match=says.format(where="extra_headers="))
    with OmniClient(reach) as client, refused as second:
        client.complete(request)

    told = [line for error in (first, second) for line in traceback.format_exception(error.value)]
    assert KEY not in "".join(told) + repr(first.value) + repr(second.value)
    assert (service.requests, limit.spent.tokens, limit.reserved.tokens, ledger.total.calls) == ([], 0, 0, 0)


def test_no_repr_or_dump_tells_the_key(llm, service):
    """Objects that hold the key never show it."""
    reach = Settings.load(api_key=KEY, base_url=service.base_url)
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hi"),))
    with OmniClient(reach) as client:
        client.complete(request)
        shown = [repr(client), repr(reach), str(reach), repr(AsyncOmniClient(reach)), repr(vars(client))]
    shown += [
        repr(llm),
        str(llm),
        dumps(llm),
        json.dumps(dumpd(llm)),
        repr(copy.deepcopy(llm)),
        repr(llm.bind(stop=["x"])),
    ]
    shown += [str(llm._get_ls_params()), str(llm._identifying_params), str(llm.model_dump()), llm.model_dump_json()]
    assert KEY not in "\n".join(shown)


def test_no_repr_tells_a_header():
    """Headers may hold tokens of a gateway: what holds them does not show them."""
    secret = {"X-Token": KEY}
    options = ChatOptions(extra_headers=secret)
    request = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hi"),), options=options)
    reach = Settings.load(api_key="sk-other", headers=secret)
    with OmniClient(reach) as client:
        shown = [reach, options, request, client, RequestPlan(request=request, connection=ConnectionOptions())]
        assert KEY not in "\n".join(f"{one!r} {one}" for one in shown)


def test_a_key_from_the_environment_is_not_pickled(monkeypatch, service):
    """A model that took its key from the environment leaves it there."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    llm = ChatQwenOmni(base_url=service.base_url, thinking=False)
    llm.invoke([HumanMessage("Hi")])
    assert KEY.encode() not in pickle.dumps(llm)
    assert pickle.loads(pickle.dumps(llm)).invoke("Hi").text
    llm.close()


PRIVATE = OssSettings(
    bucket="b", endpoint="oss-cn-beijing.aliyuncs.com", credentials=OssCredentials.of("LTAIhidden", KEY, f"token-{KEY}")
)


def holders(base_url):
    """Everything that holds a key, by name."""
    settings = Settings.load(api_key=KEY, base_url=base_url, oss=PRIVATE, spend_limit=SpendLimit(tokens=10**9))
    chat = ChatQwenOmni(
        api_key=KEY, base_url=base_url, oss=PRIVATE, spend_limit=SpendLimit(cny=1), ledger=UsageLedger()
    )
    return {
        "settings": settings, "client": OmniClient(settings), "async client": AsyncOmniClient(settings),
        "tools": MediaTools(".", settings=settings), "bucket": PRIVATE, "credentials": PRIVATE.credentials,
        "chat model": chat, "binding": chat.bind(stop=["x"]), "chain": LongVideoChain(chat),
        "LlamaIndex": QwenOmni(api_key=KEY, base_url=base_url, oss=PRIVATE, spend_limit=SpendLimit(cny=1)),
    }  # fmt: skip


@pytest.mark.parametrize("name", list(holders("http://127.0.0.1:9/v1")))
def test_no_pickle_or_dump_holds_a_key(monkeypatch, service, name):
    """What is loaded again takes the key from its environment; where there is none, its use says so."""
    held = holders(service.base_url)[name]
    written = pickle.dumps(held)
    told = repr(held) + (repr(dataclasses.asdict(held)) if dataclasses.is_dataclass(held) else "")
    assert KEY.encode() not in written
    assert KEY not in told
    monkeypatch.delenv("DASHSCOPE_API_KEY", raising=False)
    monkeypatch.delenv("OSS_ACCESS_KEY_ID", raising=False)
    with pytest.raises((ConfigurationError, ValueError), match=r"[Nn]o (API )?key"):
        used(pickle.loads(written))
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    monkeypatch.setenv("OSS_ACCESS_KEY_ID", "LTAIother")
    monkeypatch.setenv("OSS_ACCESS_KEY_SECRET", "other")
    used(pickle.loads(written))
    used(copy.deepcopy(held))


def used(held):
    """Use something that needs its key."""
    match held:
        case Settings():
            held.with_key()
        case MediaTools():
            error = held.call("ask_about_clip", {"path": "README.md", "question": "?"}).error
            held._client().close()
            assert error is not None
        case OssSettings():
            held.current_credentials()
        case OssCredentials():
            assert held.access_key_id.get_secret_value()
        case OmniClient():
            held.complete(ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hi"),)))
            held.close()
        case QwenOmni():
            held.complete("Hi")
            held.close()
        case LongVideoChain():
            held.llm.client().close()
        case AsyncOmniClient():
            assert held.settings.with_key()
        case _:
            held.invoke("Hi")


@pytest.mark.parametrize("model", [ChatQwenOmni, QwenOmni])
def test_locals_of_a_traceback_tell_no_header(model):
    """Loggers of errors write the locals of every frame."""
    llm = model(
        api_key=KEY,
        base_url="http://127.0.0.1:9/v1",
        extra_headers={"X-Token": "hidden-1"},
        max_retries=0,
        thinking=False,
    )
    with pytest.raises(APIConnectionError) as caught:
        llm.invoke("Hi") if isinstance(llm, ChatQwenOmni) else llm.complete("Hi")
    told = "".join(traceback.TracebackException.from_exception(caught.value, capture_locals=True).format())
    assert ".post(call)" in told
    assert "hidden-1" not in told
    assert KEY not in told


def test_a_bound_key_is_not_pickled(monkeypatch, service):
    """A key that is bound for a call, or chosen for a connection, stays in its process."""
    bound = ChatQwenOmni(base_url=service.base_url).bind(api_key=SecretStr(KEY), extra_headers={"X-Token": "hidden-1"})
    assert "hidden-1" not in repr(bound)
    assert copy.deepcopy(bound).kwargs["api_key"].get_secret_value() == KEY
    options = ConnectionOptions(api_key=SecretStr(KEY), base_url=service.base_url)
    assert copy.deepcopy(options) is copy.copy(options) is options
    with pytest.warns(UserWarning, match="X-Token are left out"):
        written = [pickle.dumps(bound), pickle.dumps(options)]
    for one in written:
        assert KEY.encode() not in one
        assert b"hidden-1" not in one
    loaded, connection = map(pickle.loads, written)
    assert (connection.api_key, connection.base_url) == (None, service.base_url)
    monkeypatch.setenv("DASHSCOPE_API_KEY", KEY)
    assert loaded.invoke("Hi").text
    assert bound.invoke("Hi").text


def test_headers_do_not_travel_in_silence():
    """They may hold tokens, so pickles leave them out and say so; dictionaries of settings do not show them."""
    settings = Settings.load(api_key=KEY, headers={"X-Token": "hidden-1"})
    assert "hidden-1" not in repr(dataclasses.asdict(settings))
    with pytest.warns(UserWarning, match="X-Token are left out"):
        written = pickle.dumps(settings)
    assert b"hidden-1" not in written
    assert copy.deepcopy(settings).headers == {"X-Token": "hidden-1"}
    for model in (ChatQwenOmni, QwenOmni):
        headed = model(api_key=KEY, extra_headers={"X-Token": "hidden-1"})
        with pytest.warns(UserWarning, match="X-Token are left out"):
            assert b"hidden-1" not in pickle.dumps(headed)
        assert copy.deepcopy(headed).extra_headers == {"X-Token": "hidden-1"}


@pytest.mark.slow
def test_a_limit_and_a_ledger_go_to_another_process(service):
    """Spawned processes get what was spent and reserved, and refuse what breaks it."""
    limit, ledger = SpendLimit(tokens=1_000), UsageLedger()
    with limit.reserve(cost_of(TokenCounts(text=600), "qwen3.8-omni-flash")):
        ledger.record(Usage(input_tokens=590, output_tokens=10), model="qwen3.8-omni-flash")
        with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
            llm = ChatQwenOmni(base_url=service.base_url, spend_limit=limit, ledger=ledger)
            assert pool.submit(told_of, llm).result(timeout=100) == (600, 0, "SpendLimitError", 600)
    assert limit.spent.tokens == 600


def told_of(llm):
    """Report, in another process, what a limit and a ledger hold."""
    os.environ["DASHSCOPE_API_KEY"] = KEY
    try:
        llm.invoke("Hi", max_tokens=500)
        raised = ""
    except QwenOmniError as error:
        raised = type(error).__name__.removesuffix("_")
    limit, ledger = llm.spend_limit, llm.ledger
    return limit.spent.tokens, limit.reserved.tokens, raised, ledger.total.tokens.total
