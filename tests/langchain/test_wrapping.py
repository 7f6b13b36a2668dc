"""The model wrapped by LangChain: repeated, replaced."""

import pytest
from langchain_core.exceptions import ModelRateLimitError

from langchain_qwen_omni import ChatQwenOmni
from qwen_omni.errors import AccountError, RateLimitError
from qwen_omni.standin import Fault, Standin


def test_with_retry(llm: ChatQwenOmni, standin: Standin) -> None:
    """LangChain's retry repeats what passes, by our class or by its own, and nothing else."""
    for kind in (RateLimitError, ModelRateLimitError):
        standin.script.fault(Fault.rate_limit())
        patient = llm.with_retry(retry_if_exception_type=(kind,), stop_after_attempt=2, wait_exponential_jitter=False)
        assert patient.invoke("Hello").text
    assert len(standin.requests) == 4
    standin.script.fault(
        Fault.refuse(400, "Arrearage", "Access denied, please make sure your account is in good standing.")
    )
    with pytest.raises(AccountError) as caught:
        patient.invoke("Hello")
    assert not caught.value.is_retryable  # type: ignore[attr-defined]
    assert len(standin.requests) == 5


def test_with_fallbacks(llm: ChatQwenOmni, standin: Standin) -> None:
    """Another model takes over, whole and streamed."""
    other = llm.with_fallbacks([llm.bind(model="qwen3.5-omni-flash")])
    standin.script.fault(Fault.server_error(), when=lambda request: request.body["model"] == "qwen3.8-omni-flash")
    assert other.invoke("Hello").text
    assert "".join(str(chunk.text) for chunk in other.stream("Hello"))
    asked = [request.body["model"] for request in standin.requests]
    assert asked == ["qwen3.8-omni-flash", "qwen3.5-omni-flash"] * 2
