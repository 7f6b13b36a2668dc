"""The bytes on the socket are those of the documented service: order, quirks, faults, connections."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import httpx
import numpy as np
import pytest

from qwen_omni.standin import Fault, Standin, ToolCall, Turn
from qwen_omni.standin.media.audio_decode import RATE, find_codes
from qwen_omni.standin.server.sse import split_text

from .conftest import NO_THINKING, PATH, chat, opened, post, speech, tool

TOOL = tool("add")


# Streams


def test_order_of_a_stream(ask):
    """Role once, text, finish, usage without choices, [DONE]; one id for all."""
    answered = ask(chat("Tell me, what is two and two?", **NO_THINKING))
    assert answered.headers["content-type"] == "text/event-stream;charset=UTF-8"
    assert answered.raw.endswith(b"data: [DONE]\n\n")
    assert [("role" in delta) for delta in answered.deltas] == [True] + [False] * (len(answered.deltas) - 1)
    assert answered.events[-1]["choices"] == []
    assert all(event["usage"] is None for event in answered.events[:-1])
    assert [event["choices"][0].get("finish_reason") for event in answered.events[-3:-1]] == [None, "stop"]
    assert len({event["id"] for event in answered.events}) == 1
    assert len(answered.deltas) > 5
    assert answered.text.startswith("[stand-in]")


def test_usage_comes_only_when_asked(ask):
    """Without include_usage no chunk carries usage."""
    answered = ask({**chat("x"), "stream_options": None})
    assert all(event["choices"] for event in answered.events)


def test_thinking_comes_first(ask):
    """3.8 thinks unless told not to; reasoning precedes content and is counted."""
    answered = ask(chat("x"))
    kinds = ["r" if delta.get("reasoning_content") else "c" for delta in answered.deltas if any(delta.values())]
    assert "".join(kinds).strip("c").rstrip("r") == ""
    assert answered.usage["completion_tokens_details"]["reasoning_tokens"] > 0
    for off in ({"enable_thinking": False}, {"reasoning_effort": "none"}):
        assert not any(delta.get("reasoning_content") for delta in ask(chat("x", **off)).deltas)


def test_the_two_envelopes(ask):
    """Older models send nulls and a system_fingerprint, newer ones empty strings and none."""
    old, new = ask(chat("x", model="qwen3-omni-flash", enable_thinking=True)), ask(chat("x"))
    assert old.deltas[0] == {"role": "assistant", "content": None, "reasoning_content": ""}
    assert new.deltas[0] == {"role": "assistant", "content": "", "reasoning_content": ""}
    assert ("system_fingerprint" in old.events[0], "system_fingerprint" in new.events[0]) == (True, False)


def test_the_finishing_chunk_may_hold_text(ask, standin):
    """Some streams put their last words into the finishing chunk; none loses any."""
    held = []
    for number in range(24):
        standin.script.reply(f"answer number {number} ends here")
        answered = ask(chat("x", **NO_THINKING))
        assert answered.text == f"answer number {number} ends here"
        held.append(bool(answered.deltas[-1].get("content")))
    assert True in held
    assert False in held


@pytest.mark.parametrize("text", ["", "one", "  two  words\n\n  here ", "\u4f60\u597d" * 60, "\n", "a\tb  c"])
def test_pieces_join_to_the_text(text):
    """Cutting an answer into deltas loses nothing."""
    assert "".join(split_text(text)) == text


def test_tool_calls(ask, standin):
    """Ids and names come once, then empty ids; arguments come in pieces; the second call opens with some of them."""
    calls = (
        ToolCall(name="add", arguments={"a": 1, "b": "zw\u00f6lf"}),
        ToolCall(name="add", arguments={"a": 22222222}),
    )
    standin.script.reply(Turn(tool_calls=calls))
    answered = ask(chat("x", tools=[TOOL], **NO_THINKING))
    deltas = [delta["tool_calls"][0] for delta in answered.deltas if "tool_calls" in delta]
    for index, call in enumerate(calls):
        mine = [delta for delta in deltas if delta["index"] == index]
        assert mine[0]["id"].startswith("call_")
        assert all(delta["id"] == "" and "name" not in delta["function"] for delta in mine[1:])
        assert mine[-1]["function"]["arguments"] is None
        assert json.loads("".join(delta["function"]["arguments"] or "" for delta in mine)) == call.arguments
        assert bool(mine[0]["function"]["arguments"]) is bool(index)
    assert "finish_reason" not in answered.events[-3]["choices"][0]
    assert answered.events[-2]["choices"][0]["delta"] == {}
    assert answered.events[-2]["choices"][0]["finish_reason"] == "tool_calls"


def test_tool_calls_in_a_plain_answer(ask, standin):
    """Without a stream content is an empty string and each call has its index."""
    standin.script.reply(Turn(tool_calls=(ToolCall(name="add"),)))
    message = ask({**chat("x", tools=[TOOL]), "stream": False, "stream_options": None}).body["choices"][0]["message"]
    assert (message["content"], message["tool_calls"][0]["index"]) == ("", 0)


def pcm_of(deltas):
    """Join the audio of a stream whose pieces may end anywhere."""
    joined, held = b"", ""
    for delta in deltas:
        held += delta.get("audio", {}).get("data", "")
        whole = len(held) if held.endswith("=") else len(held) // 4 * 4
        joined, held = joined + base64.b64decode(held[:whole]), held[whole:]
    assert held == ""
    return joined


@pytest.mark.parametrize("number", range(6))
def test_speech(ask, standin, number):
    """Speech is raw 24 kHz PCM in pieces of any length, after the text, in chunks without content; it is billed."""
    standin.script.reply(f"the answer has number {number} in it and some more words to make it long")
    answered = ask(chat("Say some words", model="qwen3.5-omni-plus", **speech("Ethan")))
    pieces = [delta["audio"] for delta in answered.deltas if "audio" in delta]
    assert all({"data", "expires_at", "id"} == set(piece) for piece in pieces)
    assert all("content" not in delta for delta in answered.deltas if "audio" in delta)
    samples = np.frombuffer(pcm_of(answered.deltas), "<i2").astype(np.float32) / 32768
    digits = "".join(mark.code for mark in find_codes(samples[:: 24_000 // RATE].copy()))
    assert len(digits) == len(answered.text.split())
    seconds = len(samples) / 24_000
    assert answered.usage["completion_tokens_details"]["audio_tokens"] == round(seconds * 12.5)


def test_speech_of_old_models(ask):
    """Turbo and 7b put their text into the audio transcript alone."""
    answered = ask(chat("Say some words", model="qwen-omni-turbo", **speech("Ethan")))
    told = "".join(delta.get("audio", {}).get("transcript", "") for delta in answered.deltas)
    assert told.startswith("[stand-in]")
    assert answered.text == ""


def test_deltas_arrive_while_later_ones_are_sent(standin):
    """The first event is on the wire long before the last."""
    standin.script.fault(Fault.slow(bytes_per_second=4_000)).reply("word " * 8)
    began = time.monotonic()
    connection, response = opened(standin, chat("x", **NO_THINKING))
    first = response.readline()
    early = time.monotonic() - began
    response.read()
    late = time.monotonic() - began
    connection.close()
    assert first.startswith(b"data: ")
    assert early < late / 3


def test_events_are_sent_one_by_one(standin):
    """Each event is flushed by itself: with a pause between pieces the first comes alone."""
    standin.script.raw([b"data: 1\n\n", b"data: 2\n\n"], pause=0.3)
    connection, response = opened(standin, chat("x"))
    assert response.read1(100) == b"data: 1\n\n"
    assert response.read() == b"data: 2\n\n"
    connection.close()


def test_limits_of_an_answer(ask, standin):
    """max_tokens ends an answer with `length`, a stop word ends it early."""
    standin.script.reply("one two three four five six seven eight", times=2)
    short = ask(chat("x", max_tokens=2, **NO_THINKING))
    assert (short.text, short.events[-2]["choices"][0]["finish_reason"]) == ("one two ", "length")
    assert ask(chat("x", stop=["four"], **NO_THINKING)).text == "one two three "


def test_echoed_model(ask):
    """The model is echoed; qwen3.5-omni-plus answers as its snapshot, as seen live."""
    assert ask(chat("x")).events[0]["model"] == "qwen3.8-omni-flash"
    assert ask(chat("x", model="qwen3.5-omni-plus")).events[0]["model"] == "qwen3.5-omni-plus-2026-03-15"


# Script and faults


@pytest.mark.parametrize(
    ("fault", "status", "code"),
    [
        (Fault.rate_limit(), 429, "limit_requests"),
        (Fault.rate_limit(code="insufficient_quota"), 429, "insufficient_quota"),
        (Fault.server_error(), 500, "internal_error"),
        (Fault.server_error(503), 503, "internal_error"),
        (Fault.refuse(400, "Arrearage", "Access denied"), 400, "Arrearage"),
    ],
    ids=lambda v: "",
)
def test_refusing_faults(ask, standin, fault, status, code):
    """A fault serves as often as told and has no Retry-After; then all is well."""
    standin.script.fault(fault, times=2)
    answers = [ask(chat("x")) for _ in range(3)]
    assert [one.status for one in answers] == [status, status, 200]
    assert answers[0].body["error"]["code"] == code
    assert "retry-after" not in answers[0].headers


def test_error_forms(ask, standin):
    """Errors come after some deltas, alone in a 200, framed in a 400, or about media."""
    standin.script.fault(Fault.error_in_stream("data_inspection_failed", "Output data", after_deltas=2))
    late = ask(chat("What is it? Tell me.", **NO_THINKING))
    assert [("error" in event) for event in late.events] == [False, False, False, True]
    standin.script.fault(Fault.error_event_only())
    alone = ask(chat("x"))
    assert (alone.status, len(alone.events), b"[DONE]" in alone.raw) == (200, 1, False)
    standin.script.fault(Fault.framed_400())
    framed = ask(chat("x"))
    assert (framed.status, framed.raw[:6]) == (400, b"data: ")
    standin.script.fault(Fault.refuse_media("Download multimodal file timed out"))
    assert "timed out" in ask(chat("x")).events[0]["error"]["message"]


def test_empty_and_plain(ask, standin):
    """A stream may be empty, and a plain answer may come although a stream was asked for."""
    standin.script.fault(Fault.empty_stream()).fault(Fault.plain_json())
    assert ask(chat("x")).raw == b""
    plain = ask(chat("x"))
    assert plain.headers["content-type"] == "application/json"
    assert plain.body["choices"][0]["message"]["content"]


@pytest.mark.parametrize("after", [0, 1, 137, 400])
@pytest.mark.parametrize("reset", [False, True], ids=["closed", "reset"])
def test_cut(standin, after, reset):
    """A cut connection gave exactly so many bytes of the body, and no proper end."""
    standin.script.fault(Fault.cut(after_bytes=after, reset=reset))
    connection, response = opened(standin, chat("x"))
    got = bytearray()
    with pytest.raises((http.client.IncompleteRead, ConnectionResetError)) as caught:
        drain(response, got)
    connection.close()
    got += caught.value.partial if isinstance(caught.value, http.client.IncompleteRead) else b""
    assert len(got) <= after
    assert reset or len(got) == after


def drain(response, got):
    while piece := response.read(64):
        got += piece


def test_no_answer_at_all(standin):
    """A connection may end before any answer."""
    standin.script.fault(Fault.cut(after_bytes=None))
    with pytest.raises((http.client.RemoteDisconnected, ConnectionResetError)):
        opened(standin, chat("x"))


def test_raw_bytes(ask, standin):
    """Scripted bytes are sent as they are."""
    standin.script.raw([b"data: {", b'"a":1}\n\n'], status=418, content_type="text/plain", headers=[("x-a", "b")])
    answered = ask(chat("x"))
    assert (answered.status, answered.raw, answered.headers["x-a"]) == (418, b'data: {"a":1}\n\n', "b")


def test_scripts_are_taken_in_order(ask, standin):
    """Without `when` a reply serves once, in order; with `when` every request it fits."""
    standin.script.reply("loud", when=lambda request: "shout" in str(request.body)).reply("a").reply("b")
    told = [ask(chat(text, **NO_THINKING)).text for text in ("x", "shout", "y", "shout", "z")]
    assert told[:4] == ["a", "loud", "b", "loud"]
    assert told[4].startswith("[stand-in]")


def test_scripts_do_not_bend_rules(ask, standin):
    """A scripted reply is not given to a request that the service would refuse."""
    standin.script.reply("yes")
    assert ask(chat("x", temperature=9)).status == 400
    assert ask(chat("x", **NO_THINKING)).text == "yes"


# Connections, log, life


def test_connections_are_kept(standin):
    """Requests on one connection count once."""
    before = standin.connections
    with httpx.Client(headers={"Authorization": f"Bearer {standin.api_key}"}) as client:
        for _ in range(3):
            assert client.post(f"{standin.base_url}/chat/completions", json=chat("x")).status_code == 200
    assert standin.connections == before + 1


def test_log(ask, standin, parts):
    """The log holds facts instead of media, in order of appearance, and sizes of what came."""
    body = chat(parts["image"], parts["video"], parts["audio"], "x")
    ask(body)
    logged = standin.requests[0]
    assert [facts.kind for facts in logged.media] == ["image", "video", "audio"]
    assert logged.raw_bytes == len(json.dumps(body))
    assert len(repr(logged.body)) < 1_000
    assert (logged.method, logged.path, logged.refused) == ("POST", PATH, None)
    standin.clear()
    assert standin.requests == []


def test_usage_is_counted_from_the_media(ask, parts):
    """Usage has the documented tokens of what was decoded, fps and pixels beside the part included."""
    usage = ask(chat(parts["image"], parts["video"], parts["audio"], "x")).usage
    assert usage["prompt_tokens_details"] == {
        "text_tokens": 5, "image_tokens": 10 * 8 + 2, "video_tokens": 4 * 66 + 2, "audio_tokens": 28 + 21,
    }  # fmt: skip
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    half = ask(chat({**parts["video"], "fps": 1}, "x")).usage["prompt_tokens_details"]["video_tokens"]
    assert half == 2 * 66 + 2


async def test_async_use():
    """`async with` works, and the app answers in process without a socket."""
    async with Standin() as standin:
        transport = httpx.ASGITransport(app=standin.app)
        headers = {"Authorization": f"Bearer {standin.api_key}"}
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", headers=headers) as client:
            answers = await asyncio.gather(*(client.post(PATH, json=chat(f"q {n}")) for n in range(4)))
    assert [one.status_code for one in answers] == [200] * 4


def test_life_is_short():
    """It starts and stops in a moment, and leaves no thread and no open port behind."""
    began, before = time.monotonic(), set(threading.enumerate())
    with Standin() as standin:
        where = urlsplit(standin.base_url)
        post(standin, chat("x"))
        held = socket.create_connection((where.hostname, where.port))
    assert time.monotonic() - began < 1
    held.close()
    assert set(threading.enumerate()) - before == set()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((where.hostname, where.port), timeout=1)


def test_serving_ends_with_an_interrupt():
    """`serve` tells when it is ready, and ends quietly on Ctrl-C."""
    code = "from qwen_omni.standin import serve; serve(port=0, on_ready=lambda s: print(s.base_url, flush=True))"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as run:
        assert run.stdout.readline().startswith("http://127.0.0.1:")
        run.send_signal(signal.SIGINT)
        assert (run.wait(timeout=10), run.stderr.read()) == (0, "")
