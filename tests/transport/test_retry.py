"""When a request is sent again."""

import pytest
from hypothesis import given, strategies as st

from qwen_omni import errors
from qwen_omni.responses import Response
from qwen_omni.transport.retry import LONGEST_WAIT, Attempts, RetryPolicy

PASSING = [
    errors.RateLimitError("x"),
    errors.ServerError("x"),
    errors.APIConnectionError("x"),
    errors.APITimeoutError("x"),
    errors.MediaDownloadTimeoutError("x"),
    errors.StreamInterruptedError("x", partial=Response()),
]
FINAL = [
    errors.AccountError("x"),
    errors.ContentFilterError("x"),
    errors.InvalidRequestError("x"),
    errors.AuthenticationError("x"),
    errors.MediaRefusedError("x"),
    errors.ConfigurationError("x"),
    errors.MediaOutsideRootError("x"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda error: type(error).__name__)
def test_passing_errors_are_repeated_till_something_was_shown(error):
    """What passes is tried again, but never once the caller has seen a piece of the answer."""
    policy = RetryPolicy()
    assert policy.wait(error, 0, shown=False) is not None
    assert policy.wait(error, 0, shown=True) is None


@pytest.mark.parametrize("error", FINAL, ids=lambda error: type(error).__name__)
def test_final_errors_are_not_repeated(error):
    """What will fail again costs no second try."""
    assert RetryPolicy().wait(error, 0, shown=False) is None


def test_media_downloads_are_tried_twice_again():
    """An error may allow fewer tries than the settings."""
    policy = RetryPolicy(max_retries=9)
    error = errors.MediaDownloadTimeoutError("x")
    assert [policy.wait(error, attempt, shown=False) is not None for attempt in range(4)] == [True, True, False, False]


@given(attempt=st.integers(0, 50), draw=st.floats(0, 1), error=st.sampled_from(PASSING))
def test_waits_are_bounded_and_grow(attempt, draw, error):
    """A wait never exceeds a minute, nor falls under half of the one before."""
    policy = RetryPolicy(max_retries=99)
    wait = policy.wait(error, attempt, shown=False, draw=lambda: draw)
    if wait is not None:
        assert 0 < wait <= LONGEST_WAIT
        after = policy.wait(error, attempt + 1, shown=False, draw=lambda: draw)
        assert after is None or after >= wait


def test_token_limits_wait_longest():
    """`insufficient_quota` is the limit of tokens per minute here, so it is worth waiting for."""
    policy = RetryPolicy()
    waits = [
        policy.wait(error, 0, shown=False, draw=lambda: 0)
        for error in (
            errors.ServerError("x"),
            errors.RateLimitError("x", code="limit_requests"),
            errors.RateLimitError("x", code="insufficient_quota"),
        )
    ]
    assert waits == sorted(waits)
    assert waits[2] == 15


def test_the_last_error_says_how_often():
    """An error that was tried again tells so."""
    attempts = Attempts(RetryPolicy(max_retries=2, first_wait=0))
    for _ in range(2):
        attempts.failed(errors.ServerError("x"))
    with pytest.raises(errors.ServerError) as caught:
        attempts.failed(errors.ServerError("x"))
    assert caught.value.__notes__ == ["Tried 3 times."]
