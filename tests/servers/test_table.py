"""The table of docs/self-hosting.md, tried on the real servers: `make test-servers`.

They run one after another (`running.py`): what their tiny model says is noise, but what they accept, decode and count
is real. A server that is not installed is skipped by name.
"""

import contextlib

import pytest

from qwen_omni.client import OmniClient
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.media.budget import Sampling
from qwen_omni.media.source import MediaSource
from qwen_omni.messages import AudioPart, ImagePart, Message, TextPart, VideoPart, user
from qwen_omni.options import ChatOptions, ChatRequest, Tool
from qwen_omni.request.estimate import estimate
from tests.servers.media import FORMATS, IMAGES, SECONDS, VIDEOS

pytestmark = [pytest.mark.servers, pytest.mark.slow, pytest.mark.long, pytest.mark.timeout(900)]

_WITHIN = 2  # tokens between the estimate and `prompt_tokens`


@pytest.fixture
def ask(server, settings_here):
    """Ask a question about media; return what was counted and what was estimated."""
    with OmniClient(settings_here) as client:

        def counted(*messages: Message, **options: object) -> tuple[int, int]:
            asked = ChatRequest(model=server.model, messages=messages, options=ChatOptions(max_tokens=2, **options))
            used, made = client.complete(asked).usage, estimate(asked, settings=settings_here)
            if server.hosted:  # the stand-in has no vocabulary: its media alone are counted exactly
                return used.input_tokens - used.input_details["text"], made.input_tokens - made.tokens.text
            return used.input_tokens, made.input_tokens

        yield counted


def _part(name, files, **options):
    kind = {"image": ImagePart, "audio": AudioPart, "video": VideoPart}[name.partition(" ")[0]]
    budget = {} if kind is AudioPart else {"budget": "original"}
    return kind(source=MediaSource.from_path(files[name]), **budget, **options)


MEDIA = [*(f"image {size}" for size in IMAGES), *(f"audio {one} s" for one in SECONDS),
         *(f"audio {form}" for form in FORMATS), *(f"video {name}" for name in VIDEOS)]  # fmt: skip


@pytest.mark.parametrize("name", MEDIA)
def test_each_kind_is_taken_and_estimated(name, ask, files):
    counted, estimated = ask(user(_part(name, files), "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN)


@pytest.mark.parametrize(
    "names",
    [
        ("video heard", "audio 2.5 s"), ("video silent", "audio 2.5 s"), ("video heard", "video silent"),
        ("video heard", "video odd"), ("image 224x224", "audio 1 s", "video tiny"),
    ],
    ids=" + ".join,
)  # fmt: skip
def test_mixtures_are_taken_and_estimated(names, ask, files):
    counted, estimated = ask(user(*(_part(name, files) for name in names), "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN * len(names))


def test_audio_of_an_earlier_turn_is_taken(ask, files):
    before = user(_part("audio 2.5 s", files), "x"), Message(role="assistant", parts=(TextPart(text="y"),))
    counted, estimated = ask(*before, user(_part("video heard", files), "x"))
    assert estimated == pytest.approx(counted, abs=2 * _WITHIN)


@pytest.mark.parametrize("sampling", [{"fps": 0.5}, {"fps": 1}, {"fps": 4}, {"max_pixels": 150_528}], ids=str)
def test_sampling_is_obeyed_or_refused(sampling, ask, files, server):
    part = _part("video second", files, sampling=Sampling(**sampling))
    if server.refuses_sampling:
        with pytest.raises(UnsupportedContentError, match="trust-request-mm-kwargs"):
            ask(user(part, "x"))
        return
    counted, estimated = ask(user(part, "x"))
    assert estimated == pytest.approx(counted, abs=_WITHIN)


@pytest.mark.parametrize(
    "options",
    [
        {"temperature": 0.0, "top_p": 0.9, "seed": 1}, {"top_k": 3}, {"repetition_penalty": 1.1}, {"stop": ("zzz",)},
        {"presence_penalty": 0.5}, {"thinking": False}, {"json_schema": {"title": "x", "type": "object"}},
        {"tools": (Tool(name="look", parameters={"type": "object", "properties": {}}),)},
    ],
    ids=str,
)  # fmt: skip
def test_options_are_taken_or_refused_before_sending(options, ask):
    with contextlib.suppress(ConfigurationError):  # raised here; a refusal of the server is another error
        assert ask(user("x"), **options)[0] >= 0
