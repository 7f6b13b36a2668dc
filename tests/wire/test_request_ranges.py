"""What DashScope and the model take is checked before anything is opened; other servers have ranges of their own."""

import pytest

from qwen_omni import (
    ChatOptions,
    ChatRequest,
    FramesPart,
    ImagePart,
    MediaBudget,
    MediaSource,
    Sampling,
    VideoPart,
    user,
)
from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.profiles import profile_for
from qwen_omni.request.estimate import estimate
from qwen_omni.wire.request import check_ranges

GONE = MediaSource.from_path("nowhere.mp4", trusted=True)
OPTIONS = [
    ("qwen3.8-omni-flash", {"temperature": 2}, "temperature must be at least 0 and below 2"),
    ("qwen3.8-omni-flash", {"seed": -1}, "seed must be a whole number from 0 to 2,147,483,647"),
    ("qwen3.8-omni-flash", {"top_k": -1}, "top_k must be a whole number from 0"),
    ("qwen-omni-turbo", {"max_tokens": 2049}, "max_tokens must be a whole number from 1 to 2,048, got 2049"),
]
FAST, LARGE = Sampling(fps=10.5), Sampling(max_pixels=2_073_601)
PARTS = [
    ("qwen3.5-omni-flash", VideoPart(source=GONE, sampling=FAST), "fps for qwen3.5-omni-flash must be from 0.1 to 10"),
    ("qwen3.5-omni-flash", FramesPart(frames=(GONE,) * 2, sampling=FAST), "fps for qwen3.5-omni-flash must be"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, sampling=Sampling(fps=15.5)), "must be from 0.1 to 15"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, sampling=LARGE), "max_pixels for .* from 1 to 2,073,600, got"),
    ("qwen3.8-omni-flash", ImagePart(source=GONE, sampling=Sampling(max_pixels=16_777_217)), "to 16,777,216, got"),
    ("qwen3.8-omni-flash", VideoPart(source=GONE, budget=MediaBudget(sampling_fps=16)), "budget: sampling_fps for"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "options", "told"), OPTIONS)
def test_options_of_the_answer(model, options, told, settings, standin):
    """The client raises before it sends, and the estimate says so."""
    request = ChatRequest(model=model, messages=(user("Hello."),), options=ChatOptions(**options))
    with OmniClient(settings) as client, pytest.raises(ConfigurationError, match=told):
        client.complete(request)
    assert not standin.requests
    check_ranges(request, profile_for(model), "vllm")  # such a server says itself what it takes


@pytest.mark.parametrize(("model", "part", "told"), PARTS, ids=[told[:20] for *_, told in PARTS])
def test_what_stands_beside_a_piece_of_media(model, part, told, settings, standin):
    """The place is named, and the file, which is not there, is not looked for."""
    request = ChatRequest(model=model, messages=(user("Hello."), user(part, "What?")))
    with OmniClient(settings) as client, pytest.raises(UnsupportedContentError, match=rf"message 1 .*part 0.*{told}"):
        client.complete(request)
    assert not standin.requests


def test_an_estimate_names_what_would_be_refused(settings):
    """As a problem, beside the others."""
    request = ChatRequest(model="qwen-omni-turbo", messages=(user("Hello."),), options=ChatOptions(max_tokens=9999))
    assert any("max_tokens must be" in problem for problem in estimate(request, settings=settings).problems)
