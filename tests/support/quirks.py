"""Quirks of the service, as raw bytes, and the expected result of each.

`QUIRKS` has one row per quirk seen in recordings, documents or reports; the letter is its family: A streams, B speech,
C tool calls, D errors, E native events, F other servers and proxies. `test_quirks` serves them over a real socket. The
functions make the bytes of other tests, too.
"""

import base64
import json
from dataclasses import dataclass, field, replace
from typing import Any

from qwen_omni import errors
from qwen_omni.errors import StreamInterruptedError
from qwen_omni.responses import Response, collect
from qwen_omni.wire.stream import StreamState

STREAM_TYPE, JSON_TYPE = "text/event-stream;charset=UTF-8", "application/json"


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """Bytes that the service sends, and the expected answer or error."""

    body: bytes
    answer: dict[str, Any] | None = None
    error: type[errors.QwenOmniError] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    content_type: str = STREAM_TYPE


def read(data: bytes, size: int | None = None) -> Response:
    """Read a stream, in pieces of `size` bytes; but for annotations, what is given out and what is kept is the same."""
    state = StreamState()
    pieces = [data[at : at + size] for at in range(0, len(data), size)] if size else [data]
    deltas = [*(delta for piece in pieces for delta in state.feed(piece)), *state.end()]
    answer = state.response
    assert replace(collect(deltas), annotations=answer.annotations) == answer
    return answer


def events(*values: object, done: bool = True, space: str = " ") -> bytes:
    """Frame values as an event stream; strings are sent verbatim."""
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return "".join(f"data:{space}{text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a chunk in the older envelope."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {
        "id": "chatcmpl-1",
        "object": "chat.completion.chunk",
        "model": "m",
        "system_fingerprint": None,
        "choices": [choice],
        "usage": None,
        **more,
    }


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({"content": ""}, "stop")
CALLED = chunk({}, "tool_calls")
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
USAGE = {"id": "chatcmpl-1", "choices": [], "usage": COUNTS}


def text(value: str) -> dict[str, Any]:
    """Make a chunk with text."""
    return chunk({"content": value})


def call(arguments: object, call_id: object = "", name: object = ..., index: int = 0) -> dict[str, Any]:
    """Make a chunk with a piece of a tool call; `...` leaves a key out."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not ...}
    return chunk(
        {"content": None, "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]}
    )


def refusal(code: str, message: str) -> dict[str, Any]:
    """Make an error in the compatible envelope."""
    return {"error": {"code": code, "param": None, "message": message, "type": code}, "request_id": "r-1"}


def plain(content: str | None, finish: str | None, **message: Any) -> bytes:
    """Make an answer that was not streamed."""
    whole = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": whole, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": COUNTS}).encode()


def speech(*pieces: object) -> list[dict[str, Any]]:
    """Make chunks with speech and no content key."""
    return [chunk({"audio": piece if isinstance(piece, dict) else {"data": piece, "id": "a"}}) for piece in pieces]


def answers(*values: object, content_type: str = STREAM_TYPE, **answer: Any) -> Quirk:
    """Return a row of a stream that ends well: what its events say before the usage, and the answer."""
    return Quirk(body=events(*values, USAGE), content_type=content_type, answer=answer)


def called(*pieces: object) -> Quirk:
    """Return a row of pieces that follow `call_1` and are one call."""
    return answers(*pieces, CALLED, tool_calls=[("call_1", "f", '{"a": 1}')], finish_reason="tool_calls")


def fails(error: type[errors.QwenOmniError], *values: object, done: bool = False, **about: Any) -> Quirk:
    """Return a row of a stream, or of bytes, with status 200 that is an error."""
    first = values[0] if values else b""
    body = first if isinstance(first, bytes) else events(*values, done=done)
    return Quirk(body=body, error=error, about=about)


def refused(status: int, error: type[errors.QwenOmniError], body: object, **about: Any) -> Quirk:
    """Return a row of a JSON answer with an error."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Quirk(body=data, status=status, content_type=JSON_TYPE, error=error, about=about)


def invalid(message: str) -> dict[str, Any]:
    """Make the error that most refusals come in."""
    return refusal("invalid_parameter_error", message)


PCM = bytes(range(40))
B64 = base64.b64encode(PCM).decode()
WAVE_HEADER = b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 16 + b"data\0\0\0\0"
PINGS = b"event: ping\ndata: ping\n\nevent: heartbeat\ndata: 1790000000\n\nevent: Keep-Alive\ndata: []\n\n"
BEGUN = call("", "call_1", "f")
ALGO = "<400> InternalError.Algo.InvalidParameter: the tool_choice is refused while thinking"
NO_DOWNLOAD = "<400> InternalError.Algo.InvalidParameter: Failed to download multimodal content."
NOT_STREAMED = "This model only support stream mode, please enable the stream parameter to access the model. "
ODD_DETAILS = {"prompt_tokens_details": {}, "completion_tokens_details": {"new_tokens": 1, "text_tokens": None}}
NEWER_DELTA = {"delta": {"content": "Hi", "reasoning_content": ""}, "finish_reason": None, "index": 0}
NEWER = {"choices": [NEWER_DELTA], "object": "chat.completion.chunk", "usage": None, "id": "k_1-a"}
WHOLE_CALL = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
NATIVE = b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"m","request_id":"r"}\n\n'
NESTED = {"error": {"message": json.dumps(refusal("Arrearage", "Access denied"))}}
FAULT = {"id": "c", "index": 0, "error": {"code": "x", "message": "<429> m"}}

QUIRKS: dict[str, Quirk] = {
    "A1 role once": answers(ROLE, text("Hi"), STOP, text="Hi"),
    "A1 role null later": answers(ROLE, chunk({"role": None, "content": "Hi"}), STOP, text="Hi"),
    "A2 usage without choices": answers(text("Hi"), STOP, usage=11),
    "A2 no usage at all": Quirk(body=events(text("Hi"), STOP), answer={"text": "Hi", "usage": None}),
    "A3 text in the finishing chunk": answers(
        text("Hi "), chunk({"content": "you"}, "length"), text="Hi you", finish_reason="length"
    ),
    "A3 finish without content key": answers(text("Hi"), chunk({}, "stop"), text="Hi"),
    "A4 keys missing": answers({"choices": [{"delta": {"content": "Hi"}}]}, STOP, text="Hi"),
    "A5 newer envelope": answers(NEWER, STOP, content_type="text/event-stream;charset=utf-8", text="Hi", thinking=""),
    "A6 thinking, then text": answers(
        chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
        chunk({"content": None, "reasoning_content": "hm"}),
        chunk({"content": "", "reasoning_content": None}),
        text("Hi"),
        STOP,
        text="Hi",
        thinking="hm",
    ),
    "A6 thinking under vLLM's name": answers(
        ROLE, chunk({"reasoning": "hm"}), chunk({"content": "Hi", "reasoning": None}), STOP, text="Hi", thinking="hm"
    ),
    "A7 an error as the only event": fails(
        errors.InvalidRequestError, invalid(ALGO), status_code=400, code="invalid_parameter_error"
    ),
    "A7 a download that failed": fails(errors.MediaRefusedError, invalid(NO_DOWNLOAD), status_code=400),
    "A8 a 400 framed as an event": Quirk(
        body=b"data: " + json.dumps(invalid("no")).encode(),
        status=400,
        error=errors.InvalidRequestError,
        about={"code": "invalid_parameter_error", "request_id": "r-1"},
    ),
    "A9 an error after content": fails(errors.RateLimitError, text("half "), FAULT, status_code=429, partial="half "),
    "A9 inspection of the answer": fails(
        errors.ContentFilterError,
        text("half "),
        refusal("data_inspection_failed", "Output data may contain inappropriate content."),
        done=True,
        status_code=200,
        partial="half ",
    ),
    "A9 the serving wrapper": fails(
        errors.ServerError,
        text("half "),
        refusal("x", "An error occurred in model serving, error message is: [...]"),
        done=True,
        partial="half ",
    ),
    "A9 a fault without a status": fails(
        errors.ServerError,
        text("half "),
        refusal("internal_server_error", "Receive batching backend response failed!"),
        done=True,
        code="internal_server_error",
        partial="half ",
    ),
    "A9 it just ends": fails(StreamInterruptedError, text("half "), partial="half "),
    "A10 an end mark without a finish": fails(StreamInterruptedError, text("half "), done=True, partial="half "),
    "A10 no end mark": Quirk(body=events(text("Hi"), STOP, USAGE, done=False), answer={"text": "Hi", "usage": 11}),
    "A10 an empty stream": fails(StreamInterruptedError, b"", partial=""),
    "A10 blank lines": fails(StreamInterruptedError, b"\n\n", partial=""),
    "A10 an end mark alone": fails(StreamInterruptedError, events(), partial=""),
    "A10 a finish without usage or end mark": fails(
        StreamInterruptedError, chunk({"content": "a"}, "stop"), partial="a"
    ),
    "A10 cut inside an event": fails(
        StreamInterruptedError, events(text("a"), done=False) + b'data: {"choices": [{"de', partial="a"
    ),
    "A11 odd ids and misspelt keys": answers(
        {"reated": 1, "tem_fingerprint": "", **text("Hi"), "id": "aB-_9/x"}, STOP, text="Hi"
    ),
    "B1 speech beside text": answers(ROLE, text("Hi"), *speech(B64), STOP, text="Hi", audio=PCM),
    "B2 text inside the speech": answers(*speech({"transcript": "Hi"}, B64), STOP, text="Hi", audio=PCM),
    "B2 text in both": answers(text("Hi"), *speech({"transcript": "Hi", "data": B64}), STOP, text="Hi", audio=PCM),
    "B2 text in both, in one chunk": answers(
        chunk({"content": "a", "audio": {"transcript": "a"}}), *speech({"transcript": "b"}), STOP, text="a"
    ),
    "B3 a header after all": answers(
        *speech(base64.b64encode(WAVE_HEADER + PCM).decode()), text("Hi"), STOP, audio=PCM
    ),
    "B4 cut inside base64 and samples": answers(
        *speech(B64[:1], B64[1:6], "", {"id": "a"}, B64[6:7], B64[7:]), STOP, audio=PCM
    ),
    "B4 pieces padded by themselves": answers(
        *speech(*(base64.b64encode(PCM[i : i + 5]).decode() for i in range(0, 40, 5))), STOP, audio=PCM
    ),
    "B5 details empty or unknown": Quirk(
        body=events(text("Hi"), STOP, {"choices": [], "usage": {**COUNTS, **ODD_DETAILS}}), answer={"usage": 11}
    ),
    "B6 plain JSON though streamed": Quirk(
        body=plain("Hi", "stop"), content_type=JSON_TYPE, answer={"text": "Hi", "usage": 11}
    ),
    "B6 stream only": refused(400, errors.InvalidRequestError, invalid(NOT_STREAMED)),
    "B7 think tags in the text": answers(
        text("<thi"), text("nk>hm</th"), text("ink>Hi"), STOP, text="Hi", thinking="hm"
    ),
    "B7 an unknown voice": refused(400, errors.InvalidRequestError, invalid("Voice 'Tina' is not supported.")),
    "B9 a refused URL": refused(
        400, errors.MediaRefusedError, invalid("The provided URL does not appear to be valid.")
    ),
    "B10 too large": refused(
        400,
        errors.MediaRefusedError,
        refusal("BadRequest.TooLarge", "Exceeded limit on max bytes per data-uri item : 10485760'."),
    ),
    "C1 empty ids, no names": called(BEGUN, call('{"a"'), call(": 1}")),
    "C1 empty names": called(BEGUN, call('{"a"', "", ""), call(": 1}", "", "")),
    "C1 nulls": called(BEGUN, call('{"a"', None, None), call(": 1}", None, None)),
    "C1 the id again at the end": called(BEGUN, call('{"a"'), call(": 1}", "call_1", "f")),
    "C2 null arguments": called(BEGUN, call('{"a": 1}'), call(None)),
    "C2 no arguments": called(BEGUN, call('{"a": 1}'), call(...)),
    "C3 arguments in the first piece": called(call('{"a"', "call_1", "f"), call(": 1}")),
    "C3 the whole call at once": called(call('{"a": 1}', "call_1", "f")),
    "C3 parallel calls": answers(
        call('{"x":1}', "c1", "f"),
        call('{"y"', "c2", "g", 1),
        call(":2}", "", ..., 1),
        CALLED,
        tool_calls=[("c1", "f", '{"x":1}'), ("c2", "g", '{"y":2}')],
    ),
    "C4 last piece without finish key": called(
        BEGUN, {"choices": [{"delta": call('{"a": 1}')["choices"][0]["delta"]}]}
    ),
    "C5 plain call with an index": Quirk(
        body=plain("", "tool_calls", tool_calls=[WHOLE_CALL]), content_type=JSON_TYPE, answer=called().answer
    ),
    "C6 a forced tool while thinking": fails(errors.InvalidRequestError, invalid(ALGO), status_code=400),
    "C7 a call inside the thinking": answers(
        chunk({"reasoning_content": "<tool_call>{}</tool_call>"}),
        text("Hi"),
        STOP,
        text="Hi",
        thinking="<tool_call>{}</tool_call>",
        tool_calls=[],
    ),
    "D1 the flat envelope": refused(
        400,
        errors.InvalidRequestError,
        b'{"code":"InvalidParameter","message":"m","request_id":"r-1"}',
        request_id="r-1",
    ),
    "D1 the flat envelope with status 200": refused(
        200, errors.AccountError, {"code": "Arrearage", "message": "Access denied"}, status_code=200
    ),
    "D1 the compatible envelope with status 200": refused(
        200, errors.RateLimitError, refusal("x", "<429> Too many requests"), status_code=429
    ),
    "D1 a gateway's null code": refused(
        400, errors.InvalidRequestError, b'{"error":{"message":"m","type":"t","code":null},"request_id":"r-1"}'
    ),
    "D1 JSON in a string": refused(400, errors.AccountError, NESTED, code="Arrearage"),
    "D1 not JSON at all": Quirk(
        body=b"<html>bad gateway</html>", status=502, content_type="text/html", error=errors.ServerError
    ),
    "D2 a wrong key": refused(
        401,
        errors.AuthenticationError,
        refusal("invalid_api_key", "Incorrect API key provided. For details, see: https://x.y/z"),
    ),
    "D2 an unpaid bill": refused(
        400,
        errors.AccountError,
        refusal("Arrearage", "Access denied, please make sure your account is in good standing."),
    ),
    "D2 a quota that passes": refused(
        429,
        errors.RateLimitError,
        refusal("insufficient_quota", "You exceeded your current quota, please check your plan"),
    ),
    "D3 503 inside 500": refused(
        500,
        errors.RateLimitError,
        refusal("internal_server_error", "<503> InternalError.Algo: ... too many requests"),
        status_code=503,
    ),
    "D3 500 inside 400": refused(
        400, errors.ServerError, refusal("x", "<500> InternalError.Algo: oops"), status_code=500
    ),
    "D4 a help link in the message": refused(
        404,
        errors.NotFoundError,
        refusal("model_not_found", "The model x does not exist. For details, see: https://a.b/c?d=e"),
    ),
    "D5 a download that timed out": refused(
        400, errors.MediaDownloadTimeoutError, invalid("Download multimodal file timed out")
    ),
    "D6 half a plain answer": refused(200, StreamInterruptedError, plain('{"a":', None), partial='{"a":'),
    "D6 a plain answer cut by the connection": fails(StreamInterruptedError, b'{"choices": [{"mess', partial=""),
    "D7 no request id header": refused(
        400,
        errors.InvalidRequestError,
        b'{"error":{"code":"c","message":"m"},"id":"chatcmpl-9"}',
        request_id="chatcmpl-9",
    ),
    "E native error event": fails(errors.InvalidRequestError, NATIVE, status_code=400, code="InvalidParameter"),
    "E error event in prose": fails(errors.APIError, b"event: error\ndata: gone\n\n", status_code=200),
    "error_finish": fails(
        errors.RateLimitError,
        text("half "),
        chunk({"content": "Throttling: too many requests"}, "error_finish"),
        done=True,
        partial="half ",
    ),
    "error_finish without a cause": fails(
        errors.ServerError,
        chunk({"content": "An error occurred in model serving"}, "error_finish"),
        done=True,
        status_code=500,
        partial="",
    ),
    "F lines that end in CR": Quirk(
        body=events(text("Hi"), STOP, USAGE).replace(b"\n", b"\r"), answer={"text": "Hi", "usage": 11}
    ),
    "F lines that end in CR CR LF": Quirk(
        body=events(text("Hi"), STOP, USAGE).replace(b"\n", b"\r\r\n"), answer={"text": "Hi", "usage": 11}
    ),
    "F an end mark with a space": Quirk(
        body=events(text("Hi"), STOP, done=False) + b"data: [DONE] \n\n", answer={"text": "Hi"}
    ),
    "F an end mark in quotes": Quirk(
        body=events(text("Hi"), STOP, done=False) + b'data: "[DONE]"\n\n', answer={"text": "Hi"}
    ),
    "F an end mark without a field": Quirk(
        body=events(text("Hi"), STOP, done=False) + b"[DONE]\n\n", answer={"text": "Hi"}
    ),
    "F two byte order marks": Quirk(
        body=b"\xef\xbb\xbf\xef\xbb\xbf" + events(text("Hi"), STOP, USAGE), answer={"text": "Hi", "usage": 11}
    ),
    "F pings that are no JSON": Quirk(
        body=events(text("Hi"), done=False) + PINGS + events(text(" you"), STOP, USAGE), answer={"text": "Hi you"}
    ),
    "F blanks between events": Quirk(
        body=events(text("Hi"), done=False) + b" \n\n\0\0" + events(text(" you"), STOP, USAGE),
        answer={"text": "Hi you"},
    ),
    "F a chunk in each line": Quirk(
        body=b"\n".join(json.dumps(one).encode() for one in (text("Hi"), text(" you"), STOP, USAGE)),
        content_type="application/x-ndjson",
        answer={"text": "Hi you", "usage": 11},
    ),
    "F chunks in a list": Quirk(
        body=json.dumps([text("Hi"), text(" you"), STOP, USAGE]).encode(),
        content_type=JSON_TYPE,
        answer={"text": "Hi you", "usage": 11},
    ),
    "F text completions": answers(
        {"choices": [{"text": "Hi", "finish_reason": None}]},
        {"choices": [{"text": " you", "finish_reason": "stop"}]},
        text="Hi you",
    ),
    "F the whole message beside an empty piece": answers(
        {"choices": [{"delta": {"role": "assistant"}, "message": {"content": "Hi"}, "finish_reason": "stop"}]},
        text="Hi",
    ),
    "F the whole message after its pieces": answers(
        text("Hi"),
        text(" you"),
        {"choices": [{"delta": {}, "message": {"content": "Hi you"}, "finish_reason": "stop"}]},
        text="Hi you",
    ),
    "F usage inside the choice": Quirk(
        body=events(text("Hi"), {"choices": [{"delta": {}, "finish_reason": "stop", "usage": COUNTS}]}),
        answer={"usage": 11},
    ),
    "F usage under other names": Quirk(
        body=events(text("Hi"), STOP, {"choices": [], "usage": {"input_tokens": 9, "output_tokens": 2}}),
        answer={"usage": 11},
    ),
    "F reasoning among parts of the content": answers(
        chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "hm"}]}]}),
        chunk({"content": [{"type": "reasoning", "text": "?"}, {"type": "text", "text": "Hi"}]}),
        STOP,
        text="Hi",
        thinking="hm?",
    ),
    "F calls by their index": answers(
        chunk({"tool_calls": {"0": WHOLE_CALL, "1": {**WHOLE_CALL, "index": 1, "id": "call_2"}}}),
        CALLED,
        tool_calls=[("call_1", "f", '{"a": 1}'), ("call_2", "f", '{"a": 1}')],
    ),
    "F an error inside the choice": fails(
        errors.ServerError,
        text("half "),
        {"choices": [{"delta": {}, "error": {"code": 502, "message": "upstream"}, "finish_reason": "error"}]},
        done=True,
        code="502",
        partial="half ",
    ),
    "F a finish that is an error": fails(
        errors.ServerError, text("half "), chunk({}, "error"), USAGE, done=True, partial="half "
    ),
    "F a finish that is an abort": fails(
        StreamInterruptedError, text("half "), chunk({}, "abort"), USAGE, done=True, partial="half "
    ),
    "F an error of vLLM's without a code": fails(
        errors.ServerError,
        text("half "),
        {"object": "error", "message": "boom", "type": "InternalServerError", "code": None},
        code="InternalServerError",
        partial="half ",
    ),
    "F an error that is only true": fails(
        errors.APIError, text("half "), {"error": True, "message": "boom"}, status_code=200, partial="half "
    ),
    "F an error in a list": fails(errors.RateLimitError, {"error": [{"message": "<429> slow"}]}, status_code=429),
    "F an error in capitals": fails(
        errors.APIError, events(text("half "), done=False) + b'event: Error\ndata: {"msg": "x"}\n\n', partial="half "
    ),
    "F an error without data": fails(
        errors.APIError, events(text("half "), done=False) + b"event: error\n\n", partial="half "
    ),
    "F a name of an event without data is forgotten": Quirk(
        body=b"event: result\n:HTTP_STATUS/500\n\n" + events(text("Hi"), STOP, USAGE), answer={"text": "Hi"}
    ),
    "F JSON that is no answer": refused(200, errors.APIError, {"message": "no Route matched"}, status_code=200),
    "F an empty object": refused(200, errors.APIError, {}, status_code=200),
    "F FastAPI's error": refused(200, errors.APIError, {"detail": "Not authenticated"}, status_code=200),
    "F Spring's error": refused(
        200, errors.ServerError, {"status": 500, "error": "Internal Server Error", "path": "/v1"}, code="500"
    ),
    "F an API gateway's error": refused(
        200, errors.RateLimitError, {"statusCode": 429, "message": "Slow down."}, code="429"
    ),
    "F Baidu's error": refused(200, errors.APIError, {"error_code": 336100, "error_msg": "busy"}, code="336100"),
    "F Google's error": refused(
        400, errors.InvalidRequestError, [{"error": {"code": 400, "message": "API key not valid"}}], code="400"
    ),
    "F news are no error": answers(
        {"type": "status", "message": "searching"}, {"code": 0, "message": "ok"}, text("Hi"), STOP, text="Hi"
    ),
}
