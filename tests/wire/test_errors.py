"""An error answer → our error: the service's catalogue, its envelopes, its contradictions."""

import json
import pickle

import pytest
from hypothesis import given, strategies as st

from qwen_omni import errors
from qwen_omni.wire.errors import classify, parse_error, to_error

CATALOGUE = [
    (400, "invalid_parameter_error", "This model only support stream mode, please enable it. ", "InvalidRequestError"),
    (400, "InvalidParameter", "'audio' output only support with stream=true", "InvalidRequestError"),
    (400, "InvalidParameter.NotSupportEnableThinking", "The model x does not support it.", "InvalidRequestError"),
    (400, "InvalidParameter", "Range of input length should be [1, 30720]", "ContextOverflowError"),
    (400, "InvalidParameter", "Range of max_tokens should be [1, 2048]", "InvalidRequestError"),
    (400, "InvalidParameter", "The provided URL does not appear to be valid. Ensure it is", "MediaRefusedError"),
    (400, "InvalidParameter", "Failed to download multimodal content.", "MediaRefusedError"),
    (400, "InvalidParameter", "Download multimodal file timed out", "MediaDownloadTimeoutError"),
    (
        400,
        "InvalidParameter.DataInspection",
        "Download the media resource timed out during",
        "MediaDownloadTimeoutError",
    ),
    (400, "InvalidParameter.DataInspection", "Unable to download the media resource during", "MediaRefusedError"),
    (400, "InvalidParameter", "Missing Content-Length of multimodal url", "MediaRefusedError"),
    (400, "InvalidParameter", "Don't have authorization to access the media resource", "MediaRefusedError"),
    (400, "InvalidParameter", "Exceeded limit on max bytes per data-uri item : 10485760'.", "MediaRefusedError"),
    (400, "InvalidParameter", "Invalid video file.", "MediaRefusedError"),
    (400, "InvalidParameter", "The video modality input does not meet the requirements", "MediaRefusedError"),
    (400, "InvalidParameter", "the range of sequence images shoule be (4, 80).", "MediaRefusedError"),
    (400, "InvalidParameter", "The audio format is illegal and cannot be opened.", "MediaRefusedError"),
    (400, "InvalidParameter", "The image length and width do not meet the model restrictions.", "MediaRefusedError"),
    (400, "InvalidParameter.DataInspection", "The media format is not supported or incorrect", "MediaRefusedError"),
    (400, "DataInspectionFailed", "Input data may contain inappropriate content.", "ContentFilterError"),
    (400, "data_inspection_failed", "Output data may contain inappropriate content.", "ContentFilterError"),
    (400, "Arrearage", "Access denied, please make sure your account is in good standing.", "AccountError"),
    (401, "invalid_api_key", "Incorrect API key provided.", "AuthenticationError"),
    (401, "InvalidApiKey", "Invalid API-key provided.", "AuthenticationError"),
    (403, "access_denied", "Access denied.", "PermissionDeniedError"),
    (403, "AccessDenied.Unpurchased", "Access to model denied.", "PermissionDeniedError"),
    (403, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted.", "AccountError"),
    (400, "AllocationQuota.FreeTierOnly", "The free tier of the model has been exhausted.", "AccountError"),
    (404, "model_not_found", "The model x does not exist or you do not have access to it.", "NotFoundError"),
    (404, "model_not_supported", "Unsupported model x for OpenAI compatibility mode.", "NotFoundError"),
    (429, "Throttling", "Requests throttled", "RateLimitError"),
    (429, "Throttling.RateQuota", "Requests rate limit exceeded, please try again later.", "RateLimitError"),
    (429, "limit_requests", "You exceeded your current requests list.", "RateLimitError"),
    (429, "limit_burst_rate", "Request rate increased too quickly.", "RateLimitError"),
    (429, "insufficient_quota", "You exceeded your current quota, please check your plan", "RateLimitError"),
    (429, "Throttling.AllocationQuota", "Allocated quota exceeded", "RateLimitError"),
    (429, "Throttling.AllocationQuota", "Free allocated quota exceeded.", "AccountError"),
    (429, "PostpaidBillOverdue", "The postpaid bill is overdue.", "AccountError"),
    (429, "", "slow down", "RateLimitError"),
    (500, "InternalError.Algo", "inference internal error.", "ServerError"),
    (503, "", "overloaded", "ServerError"),
    (500, "internal_server_error", "<503> InternalError.Algo: ... too many requests", "RateLimitError"),
    (400, "x", "<500> InternalError.Algo: oops", "ServerError"),
    (200, "x", "<5000202> aborted", "ServerError"),
    (500, "x", "<400> InternalError.Algo.InvalidParameter: no", "InvalidRequestError"),
    (200, "x", "An error occurred in model serving, error message is: [Invalid request parameters]", "ServerError"),
    (200, "x", "Backend buffer overflow", "ServerError"),
    (418, "", "teapot", "APIError"),
    (200, "internal_error", "An internal error has occured.", "ServerError"),
    (200, "InternalError", "An internal error has occured.", "ServerError"),
    (200, "InternalError.Algo", "inference internal error.", "ServerError"),
    (200, "internal_server_error", "Receive batching backend response failed!", "ServerError"),
    (200, "server_error", "m", "ServerError"),
    (200, "ServiceUnavailable", "m", "ServerError"),
    (200, "500", "m", "ServerError"),
    (200, "503", "The request queue is full.", "ServerError"),
    (200, "429", "m", "RateLimitError"),
    (200, "400", "m", "InvalidRequestError"),
    (200, "1302", "m", "RateLimitError"),
    (200, "1305", "m", "RateLimitError"),
    (200, "13020", "m", "APIError"),
    (200, "invalid_parameter_error", "m", "InvalidRequestError"),
    (200, "InvalidParameter", "m", "InvalidRequestError"),
    (200, "invalid_request_error", "m", "InvalidRequestError"),
    (200, "InternalError.Algo.InvalidParameter", "m", "InvalidRequestError"),
    (200, "x", "m", "APIError"),
    (200, "data_inspection_failed", "internal_error", "ContentFilterError"),
    (200, "internal_error", "<400> InternalError.Algo.InvalidParameter: m", "InvalidRequestError"),
    (200, "internal_error", "Requests rate limit exceeded", "RateLimitError"),
    (400, "internal_error", "m", "InvalidRequestError"),
    (404, "1302", "m", "NotFoundError"),
]


@pytest.mark.parametrize(("status", "code", "message", "kind"), CATALOGUE, ids=lambda value: str(value)[:40])
def test_the_catalogue(status, code, message, kind):
    """Each documented error has its class; the status written in the text wins (D2, D3, D5)."""
    error = to_error(status, json.dumps({"error": {"code": code, "message": message, "param": None}}))
    assert type(error).__name__ == kind
    assert error.retryable is (kind in {"RateLimitError", "ServerError", "MediaDownloadTimeoutError"})


ENVELOPES = {
    "nested": '{"error":{"code":"c","param":null,"message":"m","type":"t"},"id":"i","request_id":"r"}',
    "gateway": '{"error":{"code":"c","message":"m","type":"t"},"request_id":"r"}',
    "flat": '{"code":"c","message":"m","request_id":"r"}',
    "framed": 'data: {"error":{"code":"c","message":"m"},"request_id":"r"}\n\n',
    "framed tightly": 'id:1\nevent:error\n:HTTP_STATUS/400\ndata:{"code":"c","message":"m","request_id":"r"}\n\n',
    "JSON in a string": json.dumps({"error": {"message": '{"error":{"code":"c","message":"m"},"request_id":"r"}'}}),
    "string error": json.dumps({"error": '{"code":"c","message":"m","request_id":"r"}'}),
}


@pytest.mark.parametrize("text", ENVELOPES.values(), ids=ENVELOPES)
def test_envelopes(text):
    """Whichever envelope it comes in, code, words and request id are found (A8, D1)."""
    error = to_error(400, text.encode())
    assert (error.code, error.request_id) == ("c", "r")
    assert str(error).startswith("400 (c): m")


@pytest.mark.parametrize(("body", "shown"), [("<html>bad gateway</html>", "bad gateway"), ("", "no details")])
def test_what_cannot_be_parsed_is_shown(body, shown):
    """A proxy's page is not lost."""
    error = to_error(502, body)
    assert isinstance(error, errors.ServerError)
    assert shown in str(error)


def test_a_null_code_falls_back_to_the_type():
    """`code` may be null (D1)."""
    assert to_error(400, '{"error":{"code":null,"message":"m","type":"invalid_request_error"}}').code == (
        "invalid_request_error"
    )


def test_web_pages_are_quoted_as_text():
    """Without markup, on one line."""
    page = (
        b"<html>\r\n<head><title>502 Bad Gateway</title><style>h1 { color: red }</style></head>\r\n<body>\r\n"
        b"<h1>502 Bad Gateway</h1><!-- a comment --><hr>nginx</body></html>"
    )
    assert str(to_error(502, page)) == "502: 502 Bad Gateway nginx"
    assert str(to_error(502, b"<html><title>502 Bad Gateway</title>")) == "502: 502 Bad Gateway"


@pytest.mark.parametrize("location", ["http://[bad", "//[", "http://h:port/"])
def test_a_redirect_to_no_address_is_an_error(location):
    """Whatever the header holds."""
    error = to_error(307, b"", {"location": location}, url="https://model.example/v1/chat/completions")
    assert "model.example/v1/chat/completions redirects to an address that cannot be read" in str(error)


@pytest.mark.parametrize("body", [b'{"error": {}}', b'{"error": {"message": null}}', b"", b" \n"])
def test_an_error_without_words_says_so(body):
    """No message ends in a colon."""
    assert str(to_error(418, body)) == "418: no details"


def test_no_secret_is_repeated():
    """The service quotes URLs and keys; we do not."""
    words = "key sk-abcdef123456 at https://b.oss.aliyuncs.com/a.mp4?OSSAccessKeyId=LTAI&Signature=s3cr3t"
    error = to_error(400, json.dumps({"error": {"code": "c", "message": words}}))
    shown = f"{error} {error!r} {error.body} {error.args}"
    assert "s3cr3t" not in shown
    assert "LTAI" not in shown
    assert "abcdef" not in shown
    assert "b.oss.aliyuncs.com/a.mp4" in shown


def test_errors_survive_pickling():
    """An error crosses a process boundary with all that it knows."""
    error = to_error(429, ENVELOPES["nested"])
    copy = pickle.loads(pickle.dumps(error))
    assert (str(copy), copy.__dict__, type(copy)) == (str(error), error.__dict__, type(error))
    limit = errors.MediaDoesNotFitError("too long", limit=1, actual=2)
    assert pickle.loads(pickle.dumps(limit)).actual == 2


@given(st.binary(max_size=200), st.integers(100, 599))
def test_any_bytes_make_an_error(body, status):
    """Reading an error answer never fails itself."""
    assert isinstance(to_error(status, body), errors.APIError)


@given(
    st.recursive(
        st.none() | st.text(max_size=8) | st.integers(),
        lambda x: (
            st.dictionaries(st.sampled_from(["error", "code", "message", "request_id", "type", "choices"]), x)
            | st.lists(x)
        ),
        max_leaves=8,
    )
)
def test_any_json_is_read(value):
    """Any JSON is either an error answer or not."""
    parse_error(json.dumps(value))


@pytest.mark.parametrize(("code", "kind"), [(500, errors.ServerError), (400, errors.InvalidRequestError)])
def test_a_status_for_a_code(code, kind):
    """A server like vLLM writes the status as a number, inside a stream that began with 200."""
    body = json.dumps({"error": {"message": "m", "type": "t", "param": None, "code": code}})
    assert type(to_error(200, body)) is kind


def test_codes_win_over_words():
    """A known code decides, whatever the message says."""
    assert classify(429, "limit_requests", "Invalid video file.") is errors.RateLimitError
