"""Quirks of streams (A) and of speech (B), one row each."""

import base64
import json

from qwen_omni import errors
from tests.support.quirks.frames import (
    ALGO,
    B64,
    COUNTS,
    JSON_TYPE,
    PCM,
    ROLE,
    STOP,
    USAGE,
    Quirk,
    chunk,
    events,
    plain,
    refusal,
    speech,
    text,
)

STREAMS = [
    Quirk(name="A1 role once", body=events(ROLE, text("Hi"), STOP, USAGE), answer={"text": "Hi"}),
    Quirk(
        name="A1 role null later",
        body=events(ROLE, chunk({"role": None, "content": "Hi"}), STOP, USAGE),
        answer={"text": "Hi"},
    ),
    Quirk(name="A2 usage without choices", body=events(text("Hi"), STOP, USAGE), answer={"usage": 11}),
    Quirk(name="A2 no usage at all", body=events(text("Hi"), STOP), answer={"text": "Hi", "usage": None}),
    Quirk(
        name="A3 text in the finishing chunk",
        body=events(text("Hi "), chunk({"content": "you"}, "length"), USAGE),
        answer={"text": "Hi you", "finish_reason": "length"},
    ),
    Quirk(
        name="A3 finish without content key", body=events(text("Hi"), chunk({}, "stop"), USAGE), answer={"text": "Hi"}
    ),
    Quirk(
        name="A4 keys missing",
        body=events({"choices": [{"delta": {"content": "Hi"}}]}, STOP, USAGE),
        answer={"text": "Hi"},
    ),
    Quirk(
        name="A5 newer envelope",
        body=events(
            {
                "choices": [{"delta": {"content": "Hi", "reasoning_content": ""}, "finish_reason": None, "index": 0}],
                "object": "chat.completion.chunk",
                "usage": None,
                "id": "k_1-a",
            },
            STOP,
            USAGE,
        ),
        answer={"text": "Hi", "thinking": ""},
        content_type="text/event-stream;charset=utf-8",
    ),
    Quirk(
        name="A6 thinking, then text",
        body=events(
            chunk({"role": "assistant", "content": None, "reasoning_content": ""}),
            chunk({"content": None, "reasoning_content": "hm"}),
            chunk({"content": "", "reasoning_content": None}),
            text("Hi"),
            STOP,
            USAGE,
        ),
        answer={"text": "Hi", "thinking": "hm"},
    ),
    Quirk(
        name="A6 thinking under vLLM's name",
        body=events(ROLE, chunk({"reasoning": "hm"}), chunk({"content": "Hi", "reasoning": None}), STOP, USAGE),
        answer={"text": "Hi", "thinking": "hm"},
    ),
    Quirk(
        name="A7 an error as the only event",
        body=events(refusal("invalid_parameter_error", ALGO), done=False),
        error=errors.InvalidRequestError,
        about={"status": 400, "code": "invalid_parameter_error"},
    ),
    Quirk(
        name="A7 a download that failed",
        body=events(
            refusal(
                "invalid_parameter_error",
                "<400> InternalError.Algo.InvalidParameter: Failed to download multimodal content.",
            ),
            done=False,
        ),
        error=errors.MediaRefusedError,
        about={"status": 400},
    ),
    Quirk(
        name="A8 a 400 framed as an event",
        body=b"data: " + json.dumps(refusal("invalid_parameter_error", "no")).encode(),
        status=400,
        error=errors.InvalidRequestError,
        about={"code": "invalid_parameter_error", "request_id": "r-1"},
    ),
    Quirk(
        name="A9 an error after content",
        body=events(text("half "), {"id": "c", "index": 0, "error": {"code": "x", "message": "<429> m"}}, done=False),
        error=errors.RateLimitError,
        about={"status": 429, "partial": "half "},
    ),
    Quirk(
        name="A9 inspection of the answer",
        body=events(text("half "), refusal("data_inspection_failed", "Output data may contain inappropriate content.")),
        error=errors.ContentFilterError,
        about={"partial": "half "},
    ),
    Quirk(
        name="A9 the serving wrapper",
        body=events(text("half "), refusal("x", "An error occurred in model serving, error message is: [...]")),
        error=errors.ServerError,
        about={"partial": "half "},
    ),
    Quirk(
        name="A9 a fault without a status",
        body=events(text("half "), refusal("internal_server_error", "Receive batching backend response failed!")),
        error=errors.ServerError,
        about={"code": "internal_server_error", "partial": "half "},
    ),
    Quirk(
        name="A9 it just ends",
        body=events(text("half "), done=False),
        error=errors.StreamInterruptedError,
        about={"partial": "half "},
    ),
    Quirk(
        name="A10 an end mark without a finish",
        body=events(text("half ")),
        error=errors.StreamInterruptedError,
        about={"partial": "half "},
    ),
    Quirk(name="A10 no end mark", body=events(text("Hi"), STOP, USAGE, done=False), answer={"text": "Hi", "usage": 11}),
    Quirk(name="A10 an empty stream", body=b"", error=errors.StreamInterruptedError, about={"partial": ""}),
    Quirk(
        name="A11 odd ids and misspelt keys",
        body=events({"reated": 1, "tem_fingerprint": "", **text("Hi"), "id": "aB-_9/x"}, STOP, USAGE),
        answer={"text": "Hi"},
    ),
    Quirk(
        name="B1 speech beside text",
        body=events(ROLE, text("Hi"), *speech(B64), STOP, USAGE),
        answer={"text": "Hi", "audio": PCM},
    ),
    Quirk(
        name="B2 text inside the speech",
        body=events(*speech({"transcript": "Hi"}, B64), STOP, USAGE),
        answer={"text": "Hi", "audio": PCM},
    ),
    Quirk(
        name="B2 text in both",
        body=events(text("Hi"), *speech({"transcript": "Hi", "data": B64}), STOP, USAGE),
        answer={"text": "Hi", "audio": PCM},
    ),
    Quirk(
        name="B3 a header after all",
        body=events(
            *speech(base64.b64encode(b"RIFF\0\0\0\0WAVEfmt \x10\0\0\0" + b"\0" * 16 + b"data\0\0\0\0" + PCM).decode()),
            text("Hi"),
            STOP,
            USAGE,
        ),
        answer={"audio": PCM},
    ),
    Quirk(
        name="B4 cut inside base64 and samples",
        body=events(*speech(B64[:1], B64[1:6], "", {"id": "a"}, B64[6:7], B64[7:]), STOP, USAGE),
        answer={"audio": PCM},
    ),
    Quirk(
        name="B4 pieces padded by themselves",
        body=events(*speech(*(base64.b64encode(PCM[i : i + 5]).decode() for i in range(0, 40, 5))), STOP, USAGE),
        answer={"audio": PCM},
    ),
    Quirk(
        name="B5 details empty or unknown",
        body=events(
            text("Hi"),
            STOP,
            {
                "choices": [],
                "usage": {
                    **COUNTS,
                    "prompt_tokens_details": {},
                    "completion_tokens_details": {"new_tokens": 1, "text_tokens": None},
                },
            },
        ),
        answer={"usage": 11},
    ),
    Quirk(
        name="B6 plain JSON though streamed",
        body=plain("Hi", "stop"),
        content_type=JSON_TYPE,
        answer={"text": "Hi", "usage": 11},
    ),
    Quirk(
        name="B6 stream only",
        status=400,
        content_type=JSON_TYPE,
        body=json.dumps(
            refusal(
                "invalid_parameter_error",
                "This model only support stream mode, please enable the stream parameter to access the model. ",
            )
        ).encode(),
        error=errors.InvalidRequestError,
    ),
    Quirk(
        name="B7 think tags in the text",
        body=events(text("<thi"), text("nk>hm</th"), text("ink>Hi"), STOP, USAGE),
        answer={"text": "Hi", "thinking": "hm"},
    ),
    Quirk(
        name="B7 an unknown voice",
        status=400,
        content_type=JSON_TYPE,
        body=json.dumps(refusal("invalid_parameter_error", "Voice 'Tina' is not supported.")).encode(),
        error=errors.InvalidRequestError,
    ),
    Quirk(
        name="B9 a refused URL",
        status=400,
        content_type=JSON_TYPE,
        body=json.dumps(refusal("invalid_parameter_error", "The provided URL does not appear to be valid.")).encode(),
        error=errors.MediaRefusedError,
    ),
    Quirk(
        name="B10 too large",
        status=400,
        content_type=JSON_TYPE,
        body=json.dumps(
            refusal("BadRequest.TooLarge", "Exceeded limit on max bytes per data-uri item : 10485760'.")
        ).encode(),
        error=errors.MediaRefusedError,
    ),
]
