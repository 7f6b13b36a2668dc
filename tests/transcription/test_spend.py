"""What transcriptions that are billed by the second may cost: reserved before anything is uploaded, settled after."""

import asyncio
import copy
import dataclasses
import gc

import pytest

from qwen_omni import (
    APIConnectionError,
    APIError,
    AsyncOmniClient,
    ConfigurationError,
    MediaSource,
    OmniClient,
    Settings,
    SpendLimit,
    SpendLimitError,
    TaskFailedError,
    TaskUnfinishedError,
    UsageLedger,
    atranscribe,
    transcribe,
    transcribe_many,
)
from qwen_omni.standin import HttpFault, Outcome, Standin
from qwen_omni.standin.marked_media import TruthMedia, make_audio
from tests.transcription.conftest import Ask, options, until_looked_at

PRICES = {
    "paraformer-v2": 0.00008,
    "fun-asr": 0.00022,
    "qwen3-asr-flash-filetrans": 0.00022,
    "qwen3-asr-flash": 0.00022,
    "qwen-audio-3.0-asr-flash": 0.00022,
    "fun-asr-flash-2026-06-15": 0.00022,
}


def limited(settings: Settings, **most) -> tuple[Settings, SpendLimit, UsageLedger]:
    limit, ledger = SpendLimit(**most), UsageLedger()
    return dataclasses.replace(settings, spend_limit=limit, ledger=ledger), limit, ledger


@pytest.mark.parametrize("model", PRICES)
def test_what_was_heard_is_settled(ask: Ask, model: str, recording: TruthMedia, settings: Settings) -> None:
    """Six seconds at the price of the profile; asked again, a task is found and nothing more is spent."""
    used, limit, ledger = limited(settings, cny=1)
    again = 1 if model in ("qwen3-asr-flash", "qwen-audio-3.0-asr-flash", "fun-asr-flash-2026-06-15") else 0
    for times in (1, 1 + again):
        ask(recording.path, client_settings=used, model=model)
        assert limit.spent.cny == pytest.approx(6 * PRICES[model] * times)
        assert limit.reserved.cny == 0
        assert ledger.total.calls == times
        assert ledger.total.cny == pytest.approx(limit.spent.cny)
        assert limit.spent.tokens == pytest.approx(150 * times, abs=40 * times)  # 25 a second


BY_TOKEN = ("qwen-audio-3.1-asr-flash", "qwen-audio-3.1-asr-flash-filetrans")


@pytest.mark.parametrize("model", BY_TOKEN)
def test_tokens_are_settled_where_tokens_are_billed(
    ask: Ask, model: str, recording: TruthMedia, settings: Settings
) -> None:
    """The reported tokens at the price of a token; before, 25 a second and 10 of transcript are reserved."""
    used, limit, ledger = limited(settings, cny=1)
    ask(recording.path, client_settings=used, model=model)
    heard, told = 75, 24  # 12.5 a second; six words
    assert limit.spent.cny == pytest.approx((heard * 0.8 + told * 2.7) / 1e6)
    assert (limit.spent.tokens, limit.reserved.cny) == (heard + told, 0)
    assert (ledger.total.tokens.input, ledger.total.tokens.output, ledger.total.cut) == (heard, told, 0)
    assert ledger.total.cny == pytest.approx(limit.spent.cny)
    tight, _, __ = limited(settings, cny=(150 * 0.8 + 60 * 2.7) / 1e6 * 0.99)
    with pytest.raises(SpendLimitError):
        ask(recording.path, client_settings=tight, model=model, fresh=True)


def test_an_unbilled_call_is_released(ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """A refusal on the native route costs nothing; a connection lost after sending counts as reserved."""
    standin.tasks.fail(HttpFault(operation="call", status=400, code="InvalidParameter"))
    used, limit, ledger = limited(settings, cny=1)
    with pytest.raises(APIError):
        ask(recording.path, client_settings=used, model=BY_TOKEN[0])
    assert (limit.spent.cny, limit.reserved.cny, ledger.total.calls) == (0, 0, 0)
    standin.tasks.fail(HttpFault(operation="call", status=0, after=True))
    with pytest.raises(APIConnectionError):
        ask(recording.path, client_settings=used, model=BY_TOKEN[0])
    assert limit.spent.cny == pytest.approx((150 * 0.8 + 60 * 2.7) / 1e6, rel=0.2)
    assert ledger.total.cut == 1


TIGHT = [{"cny": 0.0004}, {"usd": 0.00005}, {"tokens": 149}, {"per_call_cny": 0.0004}, {"per_call_tokens": 149}]


@pytest.mark.parametrize("most", TIGHT, ids=str)
@pytest.mark.parametrize("model", ["paraformer-v2", "fun-asr", "qwen3-asr-flash-filetrans"])
def test_what_would_break_a_limit_is_not_sent(
    ask: Ask, most, model, recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """Refused before anything is uploaded, with the numbers; nothing stays reserved, and no claim is left."""
    used, limit, ledger = limited(settings, **most)
    with pytest.raises(SpendLimitError) as caught:
        ask(recording.path, client_settings=used, model=model)
    assert caught.value.limit == next(iter(most.values()))
    assert caught.value.estimated > caught.value.limit
    assert not standin.tasks.calls
    assert not standin.stores.calls
    assert (limit.spent.tokens, limit.reserved.tokens, ledger.total.calls) == (0, 0, 0)
    ask(recording.path, model=model)  # nobody else is kept waiting
    assert standin.tasks.submitted == 1


def test_many_recordings_end_at_the_limit(tmp_path, standin: Standin, settings: Settings) -> None:
    """Two of three fit; the third is refused, the two were given."""
    for number in range(3):
        make_audio(tmp_path / f"{number}.mp3", seconds=4)
    used, limit, _ = limited(settings, cny=9 * PRICES["paraformer-v2"])
    given = []
    with OmniClient(used) as client, pytest.raises(SpendLimitError):  # noqa: PT012  (what was given before counts)
        given.extend(transcribe_many([tmp_path / "0.mp3", tmp_path / "1.mp3"], client=client, options=options()))
        given.extend(transcribe_many([tmp_path / "2.mp3"], client=client, options=options()))
    assert len(given) == standin.tasks.submitted == 2
    assert limit.spent.cny == pytest.approx(8 * PRICES["paraformer-v2"])


def test_a_link_reserves_the_most(ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """Nobody knows how long it plays: twelve hours are reserved, and what it was is settled."""
    standin.media_map["https://example.org/call.mp3"] = recording.path.read_bytes()
    link = MediaSource.from_url("https://example.org/call.mp3")
    used, limit, _ = limited(settings, cny=3)
    with pytest.raises(SpendLimitError, match=r"43,200 s\. Pass a local file"):
        ask(link, client_settings=used)
    assert not standin.tasks.calls
    used, limit, _ = limited(settings, cny=4)
    ask(link, client_settings=used)
    assert limit.spent.cny == pytest.approx(6 * 0.00008)


def test_a_model_without_a_price_is_refused_where_money_is_limited(
    recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """As a chat model is; prices of the caller's own by its name count a second as 25 tokens."""
    from qwen_omni.profiles import Prices  # noqa: PLC0415

    used, _, __ = limited(settings, cny=1)
    with (
        pytest.warns(UserWarning, match="its price is unknown"),
        OmniClient(used) as client,
        pytest.raises(ConfigurationError, match=r"price of .* is unknown"),
    ):
        transcribe(recording.path, client=client, options=options(model="paraformer-v9"))
    assert not standin.tasks.calls
    mine = {"paraformer-v2": Prices(currency="CNY", text_in=1, audio_in=400, text_out=1, source="my contract")}
    used, limit, _ = limited(dataclasses.replace(settings, prices=mine), cny=1)
    with OmniClient(used) as client:
        transcribe(recording.path, client=client, options=options())
    assert limit.spent.cny == pytest.approx(150 * 400 / 1e6)


ENDS = [
    (HttpFault(operation="submit", status=400), APIError, 0),
    (HttpFault(operation="submit", status=401), APIError, 0),
    (HttpFault(operation="submit", status=0, after=True), APIConnectionError, 6),
    (Outcome(kind="subtask"), TaskFailedError, 0),
]


@pytest.mark.parametrize("end", ENDS, ids=["400", "401", "cut", "failed"])
def test_a_submission_that_ends_badly(
    ask: Ask, end, recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """A refusal is free, and so is a failed task; one whose answer got lost may be billed, and counts as reserved."""
    fault, error, seconds = end
    standin.tasks.fail(copy.copy(fault))
    used, limit, ledger = limited(settings, cny=1)
    with pytest.raises(error):
        ask(recording.path, client_settings=used)
    assert limit.reserved.cny == 0
    assert limit.spent.cny == pytest.approx(seconds * 0.00008)
    assert ledger.total.cut == (1 if seconds else 0)


def test_a_task_that_goes_on_counts_once(ask: Ask, recording: TruthMedia, standin: Standin, settings: Settings) -> None:
    """Given up while it runs: counted as reserved, and found later without a second payment."""
    standin.tasks.fail(Outcome(polls=3))
    used, limit, ledger = limited(settings, cny=1)
    with pytest.raises(TaskUnfinishedError):
        ask(recording.path, client_settings=used, wait_seconds=0)
    assert (limit.reserved.cny, limit.spent.cny) == (0, pytest.approx(7 * 0.00008, abs=0.0001))
    spent = limit.spent
    ask(recording.path, client_settings=used)
    assert limit.spent == spent
    assert ledger.total.calls == 1
    assert standin.tasks.submitted == 1


# A connection in use cannot be closed without its loop; its library says so while the task is collected.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("way", ["cancelled", "closed loop"])
def test_what_is_dropped_counts_and_sets_nothing_aside(
    way, recording: TruthMedia, standin: Standin, settings: Settings
) -> None:
    """The service goes on, and bills: nothing stays reserved, and the seconds are spent."""
    standin.tasks.fail(Outcome(polls=100_000))
    used, limit, _ = limited(settings, cny=1)

    async def main() -> None:
        client = AsyncOmniClient(used)
        task = asyncio.create_task(atranscribe(recording.path, client=client, options=options()))
        await asyncio.to_thread(until_looked_at, standin)
        held.append(task)
        if way == "cancelled":
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    held: list[asyncio.Task] = []
    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.run_until_complete(loop.shutdown_default_executor())
    loop.close()
    assert limit.reserved.cny == 0
    assert limit.spent.cny == pytest.approx(6 * 0.00008, abs=0.0001)
    held.clear()
    gc.collect()
    assert limit.spent.cny == pytest.approx(6 * 0.00008, abs=0.0001)
