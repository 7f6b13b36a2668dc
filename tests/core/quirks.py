"""What the service does on a bad day, as raw bytes, and what must come of it.

One row per quirk seen in recordings, documents or reports; the letter is its family: A streams, B speech,
C tool calls, D errors. Served over a real socket by `test_quirks`.
"""

import base64
import json
from dataclasses import dataclass, field
from typing import Any

from qwen_omni import errors

STREAM_TYPE = "text/event-stream;charset=UTF-8"


@dataclass(frozen=True, kw_only=True)
class Quirk:
    """Bytes that the service sends, and the answer or error that they must become."""

    name: str
    body: bytes
    answer: dict[str, Any] | None = None
    error: type[errors.QwenOmniError] | None = None
    about: dict[str, Any] = field(default_factory=dict)
    status: int = 200
    content_type: str = STREAM_TYPE


def events(*values: object, done: bool = True, space: str = " ") -> bytes:
    """Frame values as an event stream; a string is sent as it is."""
    texts = [value if isinstance(value, str) else json.dumps(value, ensure_ascii=False) for value in values]
    return "".join(f"data:{space}{text}\n\n" for text in [*texts, *(["[DONE]"] if done else [])]).encode()


def chunk(delta: dict[str, Any], finish: str | None = None, **more: Any) -> dict[str, Any]:
    """Make a chunk in the older envelope."""
    choice = {"index": 0, "delta": delta, "finish_reason": finish, "logprobs": None}
    return {"id": "chatcmpl-1", "object": "chat.completion.chunk", "model": "m", "system_fingerprint": None,
            "choices": [choice], "usage": None, **more}  # fmt: skip


ROLE = chunk({"role": "assistant", "content": ""})
STOP = chunk({"content": ""}, "stop")
COUNTS = {"prompt_tokens": 9, "completion_tokens": 2, "total_tokens": 11}
USAGE = {"id": "chatcmpl-1", "choices": [], "usage": COUNTS}


def text(value: str) -> dict[str, Any]:
    """Make a chunk with text."""
    return chunk({"content": value})


def call(arguments: object, call_id: object = "", name: object = ..., index: int = 0) -> dict[str, Any]:
    """Make a chunk with a piece of a tool call; `...` leaves a key out."""
    function = {key: value for key, value in {"name": name, "arguments": arguments}.items() if value is not ...}
    return chunk({"content": None, "tool_calls": [{"index": index, "id": call_id, "type": "function", "function": function}]})


def refusal(code: str, message: str, **more: Any) -> dict[str, Any]:
    """Make an error in the compatible envelope."""
    return {"error": {"code": code, "param": None, "message": message, "type": code}, "request_id": "r-1", **more}


def plain(content: str | None, finish: str | None, **message: Any) -> bytes:
    """Make an answer that was not streamed."""
    whole = {"role": "assistant", "content": content, **message}
    choice = {"index": 0, "message": whole, "finish_reason": finish}
    return json.dumps({"id": "chatcmpl-1", "model": "m", "choices": [choice], "usage": COUNTS}).encode()


def speech(*pieces: object) -> list[dict[str, Any]]:
    """Make chunks with speech and no content key."""
    return [chunk({"audio": piece if isinstance(piece, dict) else {"data": piece, "id": "a"}}) for piece in pieces]


PCM = bytes(range(40))
B64 = base64.b64encode(PCM).decode()
CALL = {"tool_calls": [("call_1", "f", '{"a": 1}')], "finish_reason": "tool_calls"}
CALLED = chunk({}, "tool_calls")
ALGO = "<400> InternalError.Algo.InvalidParameter: the tool_choice is refused while thinking"
JSON_TYPE = "application/json"

QUIRKS = [
    Quirk(name="A1 role once", body=events(ROLE, text("Hi"), STOP, USAGE), answer={"text": "Hi"}),
    Quirk(
        name="A1 role null later",
        body=events(ROLE, chunk({"role": None, "content": "Hi"}), STOP, USAGE),
        answer={"text": "Hi"},
    ),
    Quirk(name="A2 usage without choices", body=events(text("Hi"), STOP, USAGE), answer={"usage": 11}),
    Quirk(name="A2 no usage at all", body=events(text("Hi"), STOP), answer={"text": "Hi", "usage": None}),
    Quirk(name="A3 text in the finishing chunk", body=events(text("Hi "), chunk({"content": "you"}, "length"), USAGE),
          answer={"text": "Hi you", "finish_reason": "length"}),
    Quirk(name="A3 finish without content key", body=events(text("Hi"), chunk({}, "stop"), USAGE), answer={"text": "Hi"}),
    Quirk(name="A4 keys missing", body=events({"choices": [{"delta": {"content": "Hi"}}]}, STOP, USAGE),
          answer={"text": "Hi"}),
    Quirk(name="A5 newer envelope", body=events({"choices": [{"delta": {"content": "Hi", "reasoning_content": ""},
          "finish_reason": None, "index": 0}], "object": "chat.completion.chunk", "usage": None, "id": "k_1-a"},
          STOP, USAGE), answer={"text": "Hi", "thinking": ""}, content_type="text/event-stream;charset=utf-8"),
    Quirk(name="A6 thinking, then text",
          body=events(chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
                      chunk({"content": None, "reasoning_content": "hm"}),
                      chunk({"content": "", "reasoning_content": None}), text("Hi"), STOP, USAGE),
          answer={"text": "Hi", "thinking": "hm"}),
    Quirk(name="A7 an error as the only event", body=events(refusal("invalid_parameter_error", ALGO), done=False),
          error=errors.InvalidRequestError, about={"status": 400, "code": "invalid_parameter_error"}),
    Quirk(name="A7 a download that failed",
          body=events(refusal("invalid_parameter_error", "<400> InternalError.Algo.InvalidParameter: Failed to "
                              "download multimodal content."), done=False),
          error=errors.MediaRefusedError, about={"status": 400}),
    Quirk(name="A8 a 400 framed as an event", body=b"data: " + json.dumps(refusal("invalid_parameter_error", "no")).encode(),
          status=400, error=errors.InvalidRequestError, about={"code": "invalid_parameter_error", "request_id": "r-1"}),
    Quirk(name="A9 an error after content",
          body=events(text("half "), {"id": "c", "index": 0, "error": {"code": "x", "message": "<429> m"}}, done=False),
          error=errors.RateLimitError, about={"status": 429, "partial": "half "}),
    Quirk(name="A9 inspection of the answer",
          body=events(text("half "), refusal("data_inspection_failed", "Output data may contain inappropriate content.")),
          error=errors.ContentFilterError, about={"partial": "half "}),
    Quirk(name="A9 the serving wrapper",
          body=events(text("half "), refusal("x", "An error occurred in model serving, error message is: [...]")),
          error=errors.ServerError, about={"partial": "half "}),
    Quirk(name="A9 it just ends", body=events(text("half "), done=False), error=errors.StreamInterruptedError,
          about={"partial": "half "}),
    Quirk(name="A10 an end mark without a finish", body=events(text("half ")), error=errors.StreamInterruptedError,
          about={"partial": "half "}),
    Quirk(name="A10 no end mark", body=events(text("Hi"), STOP, USAGE, done=False), answer={"text": "Hi", "usage": 11}),
    Quirk(name="A10 an empty stream", body=b"", error=errors.StreamInterruptedError, about={"partial": ""}),
    Quirk(name="A11 odd ids and misspelt keys",
          body=events({"reated": 1, "tem_fingerprint": "", **text("Hi"), "id": "aB-_9/x"}, STOP, USAGE),
          answer={"text": "Hi"}),
    Quirk(name="B1 speech beside text", body=events(ROLE, text("Hi"), *speech(B64), STOP, USAGE),
          answer={"text": "Hi", "audio": PCM}),
    Quirk(name="B2 text inside the speech", body=events(*speech({"transcript": "Hi"}, B64), STOP, USAGE),
          answer={"text": "Hi", "audio": PCM}),
    Quirk(name="B2 text in both", body=events(text("Hi"), *speech({"transcript": "Hi", "data": B64}), STOP, USAGE),
          answer={"text": "Hi", "audio": PCM}),
    Quirk(name="B3 a header after all",
          body=events(*speech(base64.b64encode(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 16 + b"data\0\0\0\0" + PCM)
                              .decode()), text("Hi"), STOP, USAGE), answer={"audio": PCM}),
    Quirk(name="B4 cut inside base64 and samples",
          body=events(*speech(B64[:1], B64[1:6], "", {"id": "a"}, B64[6:7], B64[7:]), STOP, USAGE), answer={"audio": PCM}),
    Quirk(name="B4 pieces padded by themselves",
          body=events(*speech(*(base64.b64encode(PCM[i : i + 5]).decode() for i in range(0, 40, 5))), STOP, USAGE),
          answer={"audio": PCM}),
    Quirk(name="B5 details empty or unknown",
          body=events(text("Hi"), STOP, {"choices": [], "usage": {**COUNTS, "prompt_tokens_details": {},
                      "completion_tokens_details": {"new_tokens": 1, "text_tokens": None}}}), answer={"usage": 11}),
    Quirk(name="B6 plain JSON though streamed", body=plain("Hi", "stop"), content_type=JSON_TYPE,
          answer={"text": "Hi", "usage": 11}),
    Quirk(name="B6 stream only", status=400, content_type=JSON_TYPE,
          body=json.dumps(refusal("invalid_parameter_error", "This model only support stream mode, please enable the "
                                  "stream parameter to access the model. ")).encode(), error=errors.InvalidRequestError),
    Quirk(name="B7 think tags in the text", body=events(text("<thi"), text("nk>hm</th"), text("ink>Hi"), STOP, USAGE),
          answer={"text": "Hi", "thinking": "hm"}),
    Quirk(name="B7 an unknown voice", status=400, content_type=JSON_TYPE,
          body=json.dumps(refusal("invalid_parameter_error", "Voice 'Tina' is not supported.")).encode(),
          error=errors.InvalidRequestError),
    Quirk(name="B9 a refused URL", status=400, content_type=JSON_TYPE,
          body=json.dumps(refusal("invalid_parameter_error", "The provided URL does not appear to be valid.")).encode(),
          error=errors.MediaRefusedError),
    Quirk(name="B10 too large", status=400, content_type=JSON_TYPE,
          body=json.dumps(refusal("BadRequest.TooLarge", "Exceeded limit on max bytes per data-uri item : 10485760'."))
          .encode(), error=errors.MediaRefusedError),
    Quirk(name="C1 empty ids, no names", body=events(call("", "call_1", "f"), call('{"a"'), call(": 1}"), CALLED, USAGE),
          answer=CALL),
    Quirk(name="C1 empty names", body=events(call("", "call_1", "f"), call('{"a"', "", ""), call(": 1}", "", ""), CALLED,
          USAGE), answer=CALL),
    Quirk(name="C1 nulls", body=events(call("", "call_1", "f"), call('{"a"', None, None), call(": 1}", None, None), CALLED,
          USAGE), answer=CALL),
    Quirk(name="C1 the id again at the end", body=events(call("", "call_1", "f"), call('{"a"'), call(": 1}", "call_1", "f"),
          CALLED, USAGE), answer=CALL),
    Quirk(name="C2 null arguments", body=events(call("", "call_1", "f"), call('{"a": 1}'), call(None), CALLED, USAGE),
          answer=CALL),
    Quirk(name="C3 arguments in the first piece", body=events(call('{"a"', "call_1", "f"), call(": 1}"), CALLED, USAGE),
          answer=CALL),
    Quirk(name="C3 the whole call at once", body=events(call('{"a": 1}', "call_1", "f"), CALLED, USAGE), answer=CALL),
    Quirk(name="C3 parallel calls", body=events(call('{"x":1}', "c1", "f"), call('{"y"', "c2", "g", 1), call(":2}", "", ..., 1),
          CALLED, USAGE), answer={"tool_calls": [("c1", "f", '{"x":1}'), ("c2", "g", '{"y":2}')]}),
    Quirk(name="C4 last piece without finish key",
          body=events(call("", "call_1", "f"), {"choices": [{"delta": call('{"a": 1}')["choices"][0]["delta"]}]}, CALLED,
                      USAGE), answer=CALL),
    Quirk(name="C5 plain call with an index", content_type=JSON_TYPE, answer=CALL,
          body=plain("", "tool_calls", tool_calls=[{"index": 0, "id": "call_1", "type": "function",
                                                    "function": {"name": "f", "arguments": '{"a": 1}'}}])),
    Quirk(name="C6 a forced tool while thinking", body=events(refusal("invalid_parameter_error", ALGO), done=False),
          error=errors.InvalidRequestError, about={"status": 400}),
    Quirk(name="C7 a call inside the thinking",
          body=events(chunk({"reasoning_content": "<tool_call>{}</tool_call>"}), text("Hi"), STOP, USAGE),
          answer={"text": "Hi", "thinking": "<tool_call>{}</tool_call>", "tool_calls": []}),
    Quirk(name="D1 the flat envelope", status=400, content_type=JSON_TYPE,
          body=b'{"code":"InvalidParameter","message":"m","request_id":"r-1"}', error=errors.InvalidRequestError,
          about={"request_id": "r-1"}),
    Quirk(name="D1 a gateway's null code", status=400, content_type=JSON_TYPE,
          body=b'{"error":{"message":"m","type":"t","code":null},"request_id":"r-1"}', error=errors.InvalidRequestError),
    Quirk(name="D1 JSON in a string", status=400, content_type=JSON_TYPE,
          body=json.dumps({"error": {"message": json.dumps(refusal("Arrearage", "Access denied"))}}).encode(),
          error=errors.AccountError, about={"code": "Arrearage"}),
    Quirk(name="D1 not JSON at all", status=502, content_type="text/html", body=b"<html>bad gateway</html>",
          error=errors.ServerError),
    Quirk(name="D2 a wrong key", status=401, content_type=JSON_TYPE, error=errors.AuthenticationError,
          body=json.dumps(refusal("invalid_api_key", "Incorrect API key provided. For details, see: https://x.y/z"))
          .encode()),
    Quirk(name="D2 an unpaid bill", status=400, content_type=JSON_TYPE, error=errors.AccountError,
          body=json.dumps(refusal("Arrearage", "Access denied, please make sure your account is in good standing."))
          .encode()),
    Quirk(name="D2 a quota that passes", status=429, content_type=JSON_TYPE, error=errors.RateLimitError,
          body=json.dumps(refusal("insufficient_quota", "You exceeded your current quota, please check your plan"))
          .encode()),
    Quirk(name="D3 503 inside 500", status=500, content_type=JSON_TYPE, error=errors.RateLimitError,
          body=json.dumps(refusal("internal_server_error", "<503> InternalError.Algo: ... too many requests")).encode(),
          about={"status": 503}),
    Quirk(name="D3 500 inside 400", status=400, content_type=JSON_TYPE, error=errors.ServerError,
          body=json.dumps(refusal("x", "<500> InternalError.Algo: oops")).encode(), about={"status": 500}),
    Quirk(name="D4 a help link in the message", status=404, content_type=JSON_TYPE, error=errors.NotFoundError,
          body=json.dumps(refusal("model_not_found", "The model x does not exist. For details, see: https://a.b/c?d=e"))
          .encode()),
    Quirk(name="D5 a download that timed out", status=400, content_type=JSON_TYPE, error=errors.MediaDownloadTimeoutError,
          body=json.dumps(refusal("invalid_parameter_error", "Download multimodal file timed out")).encode()),
    Quirk(name="D6 half a plain answer", body=plain('{"a":', None), content_type=JSON_TYPE,
          error=errors.StreamInterruptedError, about={"partial": '{"a":'}),
    Quirk(name="D7 no request id header", status=400, content_type=JSON_TYPE, error=errors.InvalidRequestError,
          body=b'{"error":{"code":"c","message":"m"},"id":"chatcmpl-9"}', about={"request_id": "chatcmpl-9"}),
    Quirk(name="E native error event", error=errors.InvalidRequestError, about={"status": 400, "code": "InvalidParameter"},
          body=b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"m","request_id":"r"}\n\n'),
    Quirk(name="error_finish", body=events(text("half "), chunk({"content": "Throttling: too many requests"}, "error_finish")),
          error=errors.RateLimitError, about={"partial": "half "}),
]  # fmt: skip
