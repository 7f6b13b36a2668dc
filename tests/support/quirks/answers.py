"""Quirks of tool calls (C) and of errors (D, E), one row each."""

import json

from qwen_omni import errors
from tests.support.quirks.frames import (
    ALGO,
    CALL,
    CALLED,
    JSON_TYPE,
    STOP,
    USAGE,
    Quirk,
    call,
    chunk,
    events,
    plain,
    refusal,
    text,
)

ANSWERS = [
    Quirk(
        name="C1 empty ids, no names",
        body=events(call("", "call_1", "f"), call('{"a"'), call(": 1}"), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(
        name="C1 empty names",
        body=events(call("", "call_1", "f"), call('{"a"', "", ""), call(": 1}", "", ""), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(
        name="C1 nulls",
        body=events(call("", "call_1", "f"), call('{"a"', None, None), call(": 1}", None, None), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(
        name="C1 the id again at the end",
        body=events(call("", "call_1", "f"), call('{"a"'), call(": 1}", "call_1", "f"), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(
        name="C2 null arguments",
        body=events(call("", "call_1", "f"), call('{"a": 1}'), call(None), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(
        name="C3 arguments in the first piece",
        body=events(call('{"a"', "call_1", "f"), call(": 1}"), CALLED, USAGE),
        answer=CALL,
    ),
    Quirk(name="C3 the whole call at once", body=events(call('{"a": 1}', "call_1", "f"), CALLED, USAGE), answer=CALL),
    Quirk(
        name="C3 parallel calls",
        body=events(call('{"x":1}', "c1", "f"), call('{"y"', "c2", "g", 1), call(":2}", "", ..., 1), CALLED, USAGE),
        answer={"tool_calls": [("c1", "f", '{"x":1}'), ("c2", "g", '{"y":2}')]},
    ),
    Quirk(
        name="C4 last piece without finish key",
        body=events(
            call("", "call_1", "f"), {"choices": [{"delta": call('{"a": 1}')["choices"][0]["delta"]}]}, CALLED, USAGE
        ),
        answer=CALL,
    ),
    Quirk(
        name="C5 plain call with an index",
        content_type=JSON_TYPE,
        answer=CALL,
        body=plain(
            "",
            "tool_calls",
            tool_calls=[
                {"index": 0, "id": "call_1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
            ],
        ),
    ),
    Quirk(
        name="C6 a forced tool while thinking",
        body=events(refusal("invalid_parameter_error", ALGO), done=False),
        error=errors.InvalidRequestError,
        about={"status": 400},
    ),
    Quirk(
        name="C7 a call inside the thinking",
        body=events(chunk({"reasoning_content": "<tool_call>{}</tool_call>"}), text("Hi"), STOP, USAGE),
        answer={"text": "Hi", "thinking": "<tool_call>{}</tool_call>", "tool_calls": []},
    ),
    Quirk(
        name="D1 the flat envelope",
        status=400,
        content_type=JSON_TYPE,
        body=b'{"code":"InvalidParameter","message":"m","request_id":"r-1"}',
        error=errors.InvalidRequestError,
        about={"request_id": "r-1"},
    ),
    Quirk(
        name="D1 a gateway's null code",
        status=400,
        content_type=JSON_TYPE,
        body=b'{"error":{"message":"m","type":"t","code":null},"request_id":"r-1"}',
        error=errors.InvalidRequestError,
    ),
    Quirk(
        name="D1 JSON in a string",
        status=400,
        content_type=JSON_TYPE,
        body=json.dumps({"error": {"message": json.dumps(refusal("Arrearage", "Access denied"))}}).encode(),
        error=errors.AccountError,
        about={"code": "Arrearage"},
    ),
    Quirk(
        name="D1 not JSON at all",
        status=502,
        content_type="text/html",
        body=b"<html>bad gateway</html>",
        error=errors.ServerError,
    ),
    Quirk(
        name="D2 a wrong key",
        status=401,
        content_type=JSON_TYPE,
        error=errors.AuthenticationError,
        body=json.dumps(
            refusal("invalid_api_key", "Incorrect API key provided. For details, see: https://x.y/z")
        ).encode(),
    ),
    Quirk(
        name="D2 an unpaid bill",
        status=400,
        content_type=JSON_TYPE,
        error=errors.AccountError,
        body=json.dumps(
            refusal("Arrearage", "Access denied, please make sure your account is in good standing.")
        ).encode(),
    ),
    Quirk(
        name="D2 a quota that passes",
        status=429,
        content_type=JSON_TYPE,
        error=errors.RateLimitError,
        body=json.dumps(
            refusal("insufficient_quota", "You exceeded your current quota, please check your plan")
        ).encode(),
    ),
    Quirk(
        name="D3 503 inside 500",
        status=500,
        content_type=JSON_TYPE,
        error=errors.RateLimitError,
        body=json.dumps(refusal("internal_server_error", "<503> InternalError.Algo: ... too many requests")).encode(),
        about={"status": 503},
    ),
    Quirk(
        name="D3 500 inside 400",
        status=400,
        content_type=JSON_TYPE,
        error=errors.ServerError,
        body=json.dumps(refusal("x", "<500> InternalError.Algo: oops")).encode(),
        about={"status": 500},
    ),
    Quirk(
        name="D4 a help link in the message",
        status=404,
        content_type=JSON_TYPE,
        error=errors.NotFoundError,
        body=json.dumps(
            refusal("model_not_found", "The model x does not exist. For details, see: https://a.b/c?d=e")
        ).encode(),
    ),
    Quirk(
        name="D5 a download that timed out",
        status=400,
        content_type=JSON_TYPE,
        error=errors.MediaDownloadTimeoutError,
        body=json.dumps(refusal("invalid_parameter_error", "Download multimodal file timed out")).encode(),
    ),
    Quirk(
        name="D6 half a plain answer",
        body=plain('{"a":', None),
        content_type=JSON_TYPE,
        error=errors.StreamInterruptedError,
        about={"partial": '{"a":'},
    ),
    Quirk(
        name="D7 no request id header",
        status=400,
        content_type=JSON_TYPE,
        error=errors.InvalidRequestError,
        body=b'{"error":{"code":"c","message":"m"},"id":"chatcmpl-9"}',
        about={"request_id": "chatcmpl-9"},
    ),
    Quirk(
        name="E native error event",
        error=errors.InvalidRequestError,
        about={"status": 400, "code": "InvalidParameter"},
        body=b'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"InvalidParameter","message":"m","request_id":"r"}\n\n',
    ),
    Quirk(
        name="error_finish",
        body=events(text("half "), chunk({"content": "Throttling: too many requests"}, "error_finish")),
        error=errors.RateLimitError,
        about={"partial": "half "},
    ),
]
