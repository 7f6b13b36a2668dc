"""Every number of a caller is checked where it enters. What is new and unchecked fails here.

Each field of each public class of options, of both adapters' models, and each argument of the public functions.
"""

import asyncio
import dataclasses
import inspect
import math
import typing
from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr, ValidationError

import qwen_omni
from qwen_omni import (
    AskOptions,
    AudioPart,
    CaptionOptions,
    ChatOptions,
    ExchangeRate,
    ImagePart,
    MediaBudget,
    MediaSource,
    OssCredentials,
    OssSettings,
    PageChoices,
    PrepareOptions,
    Prices,
    Sampling,
    Settings,
    SpendLimit,
    SummaryOptions,
    TranscriptionOptions,
    VideoPart,
)
from qwen_omni.errors import ConfigurationError, UnsupportedContentError
from qwen_omni.integrations.model_fields import NUMBERS, ConnectionOptions, ModelFields
from qwen_omni.profiles.rate_limits import RateLimits
from qwen_omni.ranges import COUNT, END, FRAME_RATE, PARALLEL, Range, check_span, checked

NOWHERE = MediaSource.from_path("nowhere.mp4", trusted=True)
NEEDED = {
    ExchangeRate: {"cny_per_usd": 7, "source": "here"},
    Prices: {"currency": "CNY", "text_in": 1, "text_out": 1, "source": "here"},
    Settings: {"api_key": SecretStr("k"), "base_url": "http://localhost"},
    OssCredentials: {"access_key_id": SecretStr("a"), "access_key_secret": SecretStr("b")},
    OssSettings: {"bucket": "b", "endpoint": "oss-cn-beijing.aliyuncs.com"},
    VideoPart: {"source": NOWHERE},
    AudioPart: {"source": NOWHERE},
    ImagePart: {"source": NOWHERE},
}
OPTIONS = (
    ChatOptions, PrepareOptions, ConnectionOptions, ExchangeRate, MediaBudget, OssCredentials, OssSettings, Prices,
    RateLimits, Sampling, Settings, SummaryOptions, TranscriptionOptions, CaptionOptions, VideoPart, AudioPart,
    ImagePart, PageChoices, AskOptions,
)  # fmt: skip
FOUND_OUT = {
    "Added", "AudioDelta", "Cost", "Entry", "Estimate", "FileCaption", "FinishDelta", "Forecast", "LibraryProgress",
    "MediaEstimate", "MediaInfo", "MediaPlan", "Prepared", "Profile", "Progress", "Response", "SentMedia", "JpegImage",
    "TokenCounts", "ToolCallDelta", "Usage", "UsageDelta",
}  # fmt: skip
"""Public values with numbers that this package finds out itself; nobody passes them in."""

HOSTILE = (math.nan, math.inf, -math.inf, -1, -0.5, True, "3", "x", 10**400, [], object(), Decimal("NaN"))


def numeric(kind):
    """Whether a field or an argument may hold a number."""
    return any(one in (int, float, Fraction) for one in (kind, *typing.get_args(kind)))


def fields_of(kind):
    return [one.name for one in dataclasses.fields(kind) if one.init and numeric(one.type)]


FIELDS = [(kind, name) for kind in OPTIONS for name in fields_of(kind)]
ALLOWED = {
    (SummaryOptions, "single_call_seconds"): (math.inf,),
    (TranscriptionOptions, "wait_seconds"): (math.inf,),
    (TranscriptionOptions, "speakers"): (True,),
    (ChatOptions, "top_k"): (-1,),
    (ChatOptions, "seed"): (-1,),
    **{
        (kind, "audio_track"): ("3",)
        for kind in (SummaryOptions, TranscriptionOptions, CaptionOptions, VideoPart, AudioPart)
    },
    (ChatOptions, "presence_penalty"): (-1, -0.5),
}
"""What is hostile elsewhere, and means something here."""


def test_every_public_dataclass_is_checked_or_only_told():
    """A new class of options, or a new value with numbers, has to be put into one of the two lists."""
    public = [getattr(qwen_omni, name) for name in qwen_omni.__all__]
    with_numbers = {
        one.__name__ for one in public if inspect.isclass(one) and dataclasses.is_dataclass(one) and fields_of(one)
    }
    assert with_numbers <= {one.__name__ for one in OPTIONS} | FOUND_OUT


@pytest.mark.parametrize(("kind", "name"), FIELDS, ids=[f"{kind.__name__}.{name}" for kind, name in FIELDS])
def test_each_field_refuses_what_is_not_a_number_of_its_range(kind, name):
    """The error is ours and names the field."""
    for value in HOSTILE:
        if any(value is one for one in ALLOWED.get((kind, name), ())):
            continue
        with pytest.raises(ConfigurationError, match=f"^{name} must be .*got "):
            kind(**{**NEEDED.get(kind, {}), name: value})


@pytest.mark.parametrize("name", list(inspect.signature(SpendLimit).parameters))
def test_each_limit_refuses_what_is_not_an_amount(name):
    """Also a text, which `>=` cannot compare."""
    for value in HOSTILE:
        with pytest.raises(ConfigurationError, match=f"^{name} must be .*got "):
            SpendLimit(**{name: value})
    assert SpendLimit(**{name: 0}) is not None


def models():
    """The classes of both adapters whose fields a user sets."""
    from langchain_qwen_omni import ChatQwenOmni  # noqa: PLC0415  (heavy; only where it is tested)
    from llama_index_qwen_omni import QwenOmni  # noqa: PLC0415

    return (ChatQwenOmni, QwenOmni)


def test_every_numeric_field_of_the_models_has_a_range():
    """`ModelFields` is what both adapters share; a new number there needs a range."""
    told = {name for name, one in ModelFields.model_fields.items() if numeric(one.annotation)}
    assert told == set(NUMBERS)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_each_field_of_both_models_refuses_a_hostile_number(name):
    """At construction, pydantic tells; in one call, our error does, before a client is made."""
    allowed = ALLOWED.get((ChatOptions, name), ())
    hostile = [value for value in HOSTILE if not any(value is one for one in allowed)]
    for model in models():
        made = model()
        for value in hostile:
            with pytest.raises(ValidationError, match=f"{name} must be "):
                model(**{name: value})
            ask = made.complete if hasattr(made, "chat") else made.invoke
            with pytest.raises(ConfigurationError, match=f"^{name} must be "):
                ask("hello", **{name: value})


# --- arguments of functions ---


def run(awaitable):
    return asyncio.run(awaitable)


def adrain(coming):
    async def drained():
        return [one async for one in coming]

    return run(drained())


def metadata():
    return {"source": "a.mp4", "start": 1.0, "end": 3.0}


CALLS = {
    ("prepare", "start"): lambda value: qwen_omni.prepare("nowhere.mp4", start=value),
    ("prepare", "end"): lambda value: qwen_omni.prepare("nowhere.mp4", end=value),
    ("aprepare", "start"): lambda value: run(qwen_omni.aprepare("nowhere.mp4", start=value)),
    ("aprepare", "end"): lambda value: run(qwen_omni.aprepare("nowhere.mp4", end=value)),
    **{
        ("split", name): lambda value, name=name: list(qwen_omni.split("nowhere.mp4", **{name: value}))
        for name in ("seconds", "overlap", "start", "end")
    },
    **{
        ("asplit", name): lambda value, name=name: adrain(qwen_omni.asplit("nowhere.mp4", **{name: value}))
        for name in ("seconds", "overlap", "start", "end")
    },
    ("estimate", "answer_tokens"): lambda value: qwen_omni.estimate("nowhere.mp4", answer_tokens=value),
    ("transcribe_many", "concurrency"): lambda value: list(
        qwen_omni.transcribe_many("nowhere", client=None, concurrency=value)
    ),
    ("atranscribe_many", "concurrency"): lambda value: adrain(
        qwen_omni.atranscribe_many("nowhere", client=None, concurrency=value)
    ),
}
"""Each calls a public function with one wrong number and a file that is not there: nothing may be opened first."""


def test_every_numeric_argument_of_the_public_functions_is_tried():
    """A new argument has to be put into the table."""
    public = {name: getattr(qwen_omni, name) for name in qwen_omni.__all__}
    told = {
        (name, one.name)
        for name, function in public.items()
        if inspect.isfunction(function)
        for one in inspect.signature(function).parameters.values()
        if numeric(one.annotation)
    }
    assert told == set(CALLS)


@pytest.mark.parametrize(("function", "name"), CALLS, ids=["-".join(one) for one in CALLS])
def test_each_argument_is_refused_before_anything_is_opened(function, name):
    """The file is not there, and that is not what is told."""
    for value in HOSTILE:
        with pytest.raises(ConfigurationError, match=f"^{name} must be .*got "):
            CALLS[function, name](value)


def test_clips_and_loaders_of_both_frameworks():
    """`fps`, `margin`, `seconds` and `concurrency` of what the adapters add."""
    from langchain_core.documents import Document  # noqa: PLC0415
    from llama_index.core.schema import TextNode  # noqa: PLC0415

    import langchain_qwen_omni as lc  # noqa: PLC0415
    import llama_index_qwen_omni as li  # noqa: PLC0415

    document, node = Document("", metadata=metadata()), TextNode(metadata=metadata())
    calls = {
        "fps": (lambda v: lc.clip(document, fps=v), lambda v: li.clip(node, fps=v)),
        "margin": (lambda v: lc.clip(document, margin=v), lambda v: li.clip(node, margin=v)),
        "seconds": (
            lambda v: lc.QwenOmniAudioLoader("a", seconds=v),
            lambda v: li.QwenOmniAudioReader(seconds=v),
        ),
        "concurrency": (
            lambda v: lc.QwenOmniAudioLoader("a", concurrency=v),
            lambda v: li.QwenOmniAudioReader(concurrency=v),
        ),
    }
    for name, doors in calls.items():
        for call in doors:
            for value in HOSTILE:
                if value is math.inf and name == "seconds":
                    continue  # one passage for the whole
                with pytest.raises(ConfigurationError, match=f"^{name} must be "):
                    call(value)


# --- the check itself ---

NUMBERS_AND_NOT = st.one_of(
    st.integers(), st.floats(), st.booleans(), st.text(), st.none(), st.fractions(), st.decimals(), st.binary(),
    st.integers(10**300, 10**320), st.lists(st.integers()),
)  # fmt: skip


RANGES = (COUNT, END, FRAME_RATE, PARALLEL, Range(least=0, endless=True), Range(switch=True), Range(names=("auto",)))


@given(NUMBERS_AND_NOT)
def test_what_comes_out_is_a_plain_number_of_the_range_or_our_error(value):
    """Whatever is passed, for each range; the text of the error stays short."""
    for allowed in RANGES:
        try:
            plain = checked("it", value, allowed)
        except ConfigurationError as error:
            assert str(error).startswith("it must be ")
            assert len(str(error)) < 200
            continue
        if isinstance(plain, bool | str):
            assert plain in allowed.names or allowed.switch
            continue
        assert type(plain) in (int, float, Fraction)
        assert allowed.holds(plain)
        assert not math.isnan(plain)
        assert plain == value or plain == float(value)


def test_numbers_of_data_frames_become_plain():
    """NumPy's integers cannot be written as JSON, and a row of a data frame is full of them."""
    numpy = pytest.importorskip("numpy")
    part = VideoPart(source=NOWHERE, start=numpy.int64(3), end=numpy.float32(4.5))
    assert (part.start, part.end) == (3, 4.5)
    assert {type(part.start), type(part.end)} == {int, float}
    assert type(ChatOptions(temperature=numpy.float64(0.5)).temperature) is float
    with pytest.raises(ConfigurationError, match="temperature must be"):
        ChatOptions(temperature=numpy.bool_(True))


SPANS = [(0, 0.1), (None, 5), (5, None), (None, None)]


@pytest.mark.parametrize(("start", "end"), SPANS)
def test_a_span_that_ends_after_its_start(start, end):
    """Either may be missing."""
    check_span(start, end)


@pytest.mark.parametrize("make", [
    lambda: check_span(5, 5), lambda: VideoPart(source=NOWHERE, start=5, end=3),
    lambda: AudioPart(source=NOWHERE, start=5, end=5), lambda: TranscriptionOptions(start=9, end=1),
    lambda: SummaryOptions(start=9, end=1), lambda: qwen_omni.prepare("nowhere.mp4", start=4, end=2),
    lambda: list(qwen_omni.split("nowhere.mp4", start=4, end=2)),
])  # fmt: skip
def test_a_span_that_ends_before_its_start_is_refused_unopened(make):
    """With both numbers."""
    with pytest.raises(ConfigurationError, match=r"end must be greater than start \(\d s\), got \d s"):
        make()


def test_the_least_pixels_are_not_above_the_most():
    """Neither beside a part nor in a budget."""
    for kind in (Sampling, MediaBudget):
        with pytest.raises(ConfigurationError, match=r"min_pixels must be at most max_pixels \(10\), got 20"):
            kind(min_pixels=20, max_pixels=10)


def test_words_of_ranges_are_a_sentence():
    """Every kind of range, as errors show it."""
    told = [
        ("fps", 0, FRAME_RATE),
        ("n", 1.5, PARALLEL),
        ("t", 2, Range(least=0, below=2)),
        ("s", 0, Range(least=1, most=9, whole=True, switch=True)),
        ("track", "x", Range(least=0, most=9, whole=True, names=("auto", "mix"))),
    ]
    shown = [str(error_of(*one)) for one in told]
    assert shown == [
        "fps must be greater than 0 and at most 1,000, got 0.",
        "n must be a whole number from 1 to 64, got 1.5.",
        "t must be at least 0 and below 2, got 2.",
        "s must be True, False or a whole number from 1 to 9, got 0.",
        "track must be 'auto', 'mix' or a whole number from 0 to 9, got 'x'.",
    ]


def error_of(name, value, allowed):
    with pytest.raises(UnsupportedContentError) as caught:
        checked(name, value, allowed, error=UnsupportedContentError)
    return caught.value


WITH_OPTIONS = [
    name for name in qwen_omni.__all__
    if inspect.isfunction(one := getattr(qwen_omni, name)) and "options" in inspect.signature(one).parameters
]  # fmt: skip
GIVEN = dict.fromkeys(("source", "sources", "media", "what"), "nowhere.mp4") | {"question": "Who?", "search": list}


@pytest.mark.parametrize("name", [*WITH_OPTIONS, "VideoLibrary"])
def test_options_of_another_class_are_refused_unopened(name):
    """By every public function, and by the library."""
    function, settings = getattr(qwen_omni, name), Settings(**NEEDED[Settings])
    needed = inspect.signature(function).parameters
    given = {one: value for one, value in GIVEN.items() if one in needed}
    if "client" in needed:
        kind = qwen_omni.AsyncOmniClient if "Async" in str(needed["client"].annotation) else qwen_omni.OmniClient
        given["client"] = kind(settings)
    said = rf"^options must be {type(needed['options'].default).__name__}\(\.\.\.\), got dict\.$"
    with pytest.raises(ConfigurationError, match=said):
        asyncio.run(finished(function, given))


async def finished(function, given):
    made = function(**given, options={})
    if inspect.isasyncgen(made):
        return [one async for one in made]
    if inspect.isgenerator(made):
        return await asyncio.to_thread(list, made)
    return await made if inspect.isawaitable(made) else made
