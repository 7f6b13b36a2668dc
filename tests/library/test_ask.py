"""Questions to a library: the right second, when looking ends, what answers are based on, and nothing paid twice."""

import asyncio
import contextlib
import json
import re
import shutil
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, strategies as st
from pydantic import SecretStr

from qwen_omni import (
    AskOptions,
    AsyncOmniClient,
    AuthenticationError,
    ConfigurationError,
    LibraryAnswer,
    OmniClient,
    SpendLimit,
    VideoLibrary,
    aask_library,
    ask_library,
    astream_library,
    estimate_library,
    stream_library,
)
from qwen_omni.library.answers import Look, Shot, basis_of, evidence_of, in_order, is_enough, shots_text
from qwen_omni.library.ask import _USE
from qwen_omni.retrieval.windows import Hit, Window
from qwen_omni.standin import Fault, Turn
from qwen_omni.standin.marked_media import make_audio
from qwen_omni.video.schemas import TimedNote
from qwen_omni.work_store.opening import open_work_store
from qwen_omni.work_store.sqlite import SqliteStore
from qwen_omni.work_store.store import Claim
from tests.support.memory_store import MemoryStore

UNSURE = AskOptions(sure=1.0, margin=0.0)
REFUSED = Fault.refuse(400, "data_inspection_failed", "Input or output data may contain inappropriate content.")


def window(film, start=0.0, end=6.0, text="Something is shown."):
    facts = {"source": str(film.path), "start": start, "end": end, "duration": 6.0, "video_codec": "h264"}
    return Window(source=str(film.path), start=start, end=end, text=text, hits=(Hit(metadata=facts, text=text),))


@pytest.fixture
def client(settings, tmp_path):
    with OmniClient(replace(settings, cache_dir=tmp_path / "cache")) as made:
        yield made


@pytest.fixture
def search(shelf):
    """Finds all films, the last one first, and remembers what it was asked."""

    def find(question):
        find.asked.append(question)
        return [window(film) for film in reversed(shelf.films)]

    find.asked = []
    return find


def looks(standin):
    return [request for request in standin.requests if request.media]


def unsure(standin):
    """Let every look help, and none settle the question."""
    found = {"relevance": 0.6, "sure": 0.1, "found": "Perhaps.", "evidence": [{"start": 1, "end": 2, "text": "a sign"}]}
    standin.script.reply(Turn(text=json.dumps(found)), when=lambda request: bool(request.media), times=9)


def test_the_right_second_of_the_right_video(client, standin, shelf, search):
    """Two films do not show the code; the third one does, and the answer names its second, in times of the file."""
    film, second = shelf.films[0], 4
    found = ask_library(shelf.question(0, second), search, client=client)
    assert search.asked == [shelf.question(0, second)]
    assert [(one.source, one.start, one.watched) for one in found.evidence] == [(str(film.path), float(second), True)]
    assert film.codes[second] in found.answer
    assert found.basis == "Based on 3 of 3 shots watched again."
    assert found.this_run.requests == len(standin.requests) == 4
    assert found.this_run.cny == pytest.approx(client.settings.ledger.total.cny)


def test_times_are_those_of_the_file_and_looks_are_closer(client, standin, shelf):
    film = shelf.films[0]
    found = ask_library(
        shelf.question(0, 4), lambda _: [window(film, 3.0, 5.0)], client=client, options=AskOptions(margin=0.5)
    )
    assert found.evidence[0].start == pytest.approx(4.0, abs=0.3)
    (look,) = looks(standin)
    assert look.media[0].duration == pytest.approx(3.0, abs=0.3)  # the window, and half a second before and after
    parts = look.body["messages"][-1]["content"]
    assert {part.get("fps") for part in parts if part["type"] == "video_url"} == {4.0}


def test_a_recording_is_listened_to(client, standin, tmp_path):
    call = make_audio(tmp_path / "call.wav", seconds=6, seed=5)
    facts = {"source": str(call.path), "start": 0.0, "end": 6.0, "duration": 6.0, "audio_codec": "pcm_s16le"}
    heard = Window(source=str(call.path), start=0.0, end=6.0, text="Codes.", hits=(Hit(metadata=facts, text="Codes."),))
    found = ask_library(f"When is code {call.codes[4]} heard?", lambda _: [heard], client=client)
    assert found.evidence[0].start == pytest.approx(4.0, abs=0.3)
    assert looks(standin)[0].media[0].kind == "audio"


def test_a_sure_look_ends_looking(client, standin, shelf, search):
    found = ask_library(shelf.question(2, 1), search, client=client)
    assert (found.stopped, len(looks(standin))) == ("sure", 1)
    assert found.basis.startswith("Based on 1 of 3 shots watched again and the notes of 2.")


def test_the_same_question_costs_nothing_again(client, standin, shelf, search):
    first = ask_library(shelf.question(0, 4), search, client=client)
    standin.clear()
    again = ask_library(shelf.question(0, 4), search, client=client)
    assert not standin.requests
    assert (again.answer, again.evidence, again.basis) == (first.answer, first.evidence, first.basis)
    assert all(shot.reused for shot in again.shots)
    assert (again.this_run.requests, again.this_run.cny) == (0, 0.0)


def test_a_look_is_stored_even_if_the_answer_fails(client, standin, shelf, search):
    standin.script.fault(REFUSED, when=lambda request: not request.media)
    with pytest.raises(Exception, match="inappropriate"):
        ask_library(shelf.question(0, 4), search, client=client)
    standin.clear()
    standin.script.clear()
    ask_library(shelf.question(0, 4), search, client=client)
    assert (len(looks(standin)), len(standin.requests)) == (0, 1)


@pytest.mark.slow
def test_a_changed_video_another_question_and_another_service_are_looked_at_again(client, standin, shelf, tmp_path):
    film = replace(shelf.films[0], path=tmp_path / "film.mp4")
    shutil.copy(shelf.films[0].path, film.path)

    def ask(question=None, asker=client, **options):
        standin.clear()
        ask_library(
            question or shelf.question(0, 1), lambda _: [window(film)], client=asker, options=AskOptions(**options)
        )
        return len(looks(standin))

    assert [ask(), ask()] == [1, 0]
    assert ask(question=shelf.question(0, 2)) == 1
    assert ask(fps=2.0) == 1
    assert ask(margin=0.5) == 0  # the file ends before the margin
    with OmniClient(replace(client.settings, api_key=SecretStr("sk-else"))) as other:
        with pytest.raises(AuthenticationError):  # its own origin, so that the stored look is not its own
            ask(asker=other)
        assert len(standin.requests) == 1
    shutil.copy(shelf.films[1].path, film.path)
    assert ask() == 1


def test_nothing_is_kept_if_that_is_wanted(client, standin, shelf, search):
    for _ in range(2):
        ask_library(shelf.question(2, 1), search, client=client, options=AskOptions(keep=False))
    assert len(looks(standin)) == 2
    assert not (client.settings.cache_dir / "library").exists()


@pytest.mark.slow
def test_asyncio_gives_the_same(client, shelf, search, tmp_path):
    expected = ask_library(shelf.question(0, 4), search, client=client)

    async def asked():
        async def find(question):
            return search(question)

        async with AsyncOmniClient(replace(client.settings, cache_dir=tmp_path / "other")) as asker:
            return await aask_library(shelf.question(0, 4), find, client=asker)

    assert asyncio.run(asked()).model_dump(exclude={"this_run"}) == expected.model_dump(exclude={"this_run"})


def test_the_answer_is_shown_while_it_arrives(client, shelf, search):
    *news, last = stream_library(shelf.question(2, 1), search, client=client)
    assert isinstance(last, LibraryAnswer)
    kinds = [one.kind for one in news]
    assert kinds[:4] == ["found", "look", "looked", "stopped"]
    pieces = [one.text for one in news if one.kind == "answer"]
    assert len(pieces) > 1
    assert all(then.startswith(before) for before, then in pairwise(pieces))
    assert last.answer == pieces[-1]


def test_a_stream_that_is_closed_early_leaves_no_claim(client, standin, shelf, search):
    with contextlib.closing(stream_library(shelf.question(2, 1), search, client=client)) as coming:
        for news in coming:
            if news.kind == "look":
                break

    async def begun():
        async with AsyncOmniClient(client.settings) as asker:

            async def find(question):
                return search(question)

            async with contextlib.aclosing(astream_library(shelf.question(2, 1), find, client=asker)) as coming:
                async for news in coming:
                    if news.kind == "look":
                        break

    asyncio.run(begun())
    standin.clear()
    assert ask_library(shelf.question(2, 1), search, client=client).written
    assert len(looks(standin)) <= 1


# --- When looking ends ---


@pytest.mark.parametrize("count", [0, 1, 2])
def test_no_more_looks_than_wanted(client, standin, shelf, search, count):
    unsure(standin)
    found = ask_library(shelf.question(0, 4), search, client=client, options=replace(UNSURE, looks=count))
    assert (len(looks(standin)), found.stopped, found.written) == (count, "looks", True)
    assert f"Based on {count} of 3 shots watched again and the notes of {3 - count}." in found.basis


def test_the_spend_limit_stops_looking_and_not_the_answer(client, standin, shelf, search):
    """A limit that leaves room for two looks and the answer: the answer says that it is based on two."""
    unsure(standin)
    estimate = estimate_library(shelf.question(0, 4), search, settings=client.settings, options=UNSURE)
    ask_library(shelf.question(0, 4), search, client=client, options=replace(UNSURE, looks=2, keep=False))
    paid = client.settings.ledger.models["qwen3.8-omni-flash"].cny  # by two looks
    limit = SpendLimit(cny=paid + estimate.looks[2].estimate.cost.cny + estimate.answer.cost.cny - 1e-6)
    standin.clear()
    with OmniClient(replace(client.settings, spend_limit=limit)) as poor:
        found = ask_library(shelf.question(0, 4), search, client=poor, options=UNSURE)
    assert (len(looks(standin)), found.stopped, found.written) == (2, "spend_limit", True)
    assert found.basis == (
        "Based on 2 of 3 shots watched again and the notes of 1. The spend limit did not allow another look."
    )
    assert limit.spent.cny <= limit.limits["CNY"]
    assert limit.reserved.tokens == 0


@pytest.mark.slow
def test_with_any_limit_there_is_an_answer(client, standin, shelf, search):
    """The higher the limit, the more looks; it is never exceeded, and the answer says what it is based on."""
    unsure(standin)
    estimate = estimate_library(shelf.question(0, 4), search, settings=client.settings, options=UNSURE)
    each, answer = estimate.looks[0].estimate.cost.tokens, estimate.answer.cost.tokens
    counts = []
    for looks_worth in (0, 0.5, 1, 1.4, 1.8, 2.2, 3, 5):
        standin.script.clear()
        unsure(standin)
        limit = SpendLimit(tokens=round(answer + each * looks_worth))
        with OmniClient(replace(client.settings, spend_limit=limit)) as poor:
            found = ask_library(shelf.question(0, 4), search, client=poor, options=replace(UNSURE, keep=False))
        assert found.written
        assert limit.spent.tokens <= limit.limits["tokens"]
        counts.append(sum(shot.look is not None for shot in found.shots))
        assert f"Based on {counts[-1]} of 3 shots" in found.basis
        assert (found.stopped == "spend_limit") == (counts[-1] < 3)
    assert counts == sorted(counts)
    assert set(counts) >= {0, 1, 3}


def test_stored_looks_are_used_although_the_limit_allows_none(client, standin, shelf, search):
    unsure(standin)
    ask_library(shelf.question(0, 4), search, client=client, options=replace(UNSURE, looks=2))
    standin.clear()
    with OmniClient(replace(client.settings, spend_limit=SpendLimit(tokens=1))) as poor:
        found = ask_library(shelf.question(0, 4), search, client=poor, options=UNSURE)
    assert not standin.requests
    assert sum(shot.look is not None for shot in found.shots) == 2


def test_without_money_for_an_answer_it_lists_what_was_found(client, standin, shelf, search):
    with OmniClient(replace(client.settings, spend_limit=SpendLimit(tokens=1))) as poor:
        found = ask_library(shelf.question(0, 4), search, client=poor)
    assert not standin.requests
    assert (found.written, found.stopped) == (False, "spend_limit")
    assert "film2.mp4 (from the notes)" in found.answer
    assert "No budget was left for a written answer" in found.basis
    assert [one.watched for one in found.evidence] == [False] * 3


@pytest.fixture
def poor(settings, tmp_path):
    """A client that may spend nothing."""
    with OmniClient(replace(settings, cache_dir=tmp_path / "poor", spend_limit=SpendLimit(cny=0))) as made:
        yield made


def test_without_any_money_the_passages_answer_and_the_numbers_are_told(client, poor, standin, shelf):
    store = MemoryStore()
    VideoLibrary(store, client=client).add(shelf.folder)
    library = VideoLibrary(store, client=poor)
    standin.clear()
    found = library.ask(f"code {shelf.films[1].codes[2]}")
    assert not standin.requests
    assert (found.written, found.stopped) == (False, "spend_limit")
    assert shelf.films[1].codes[2] in found.answer
    by_words, *refused = found.notices
    assert "so only its words were compared." in by_words
    assert re.search(r"Embedding it may cost up to CNY [\d.e-]+; the limit is CNY 0\.", by_words)
    assert [one.partition(" may cost up to CNY")[0] for one in refused] == ["An answer after looks", "A written answer"]
    asyncio.run(library.aclose())


@pytest.mark.parametrize("ask", [VideoLibrary.ask, lambda library, text: asyncio.run(library.aask(text))])
def test_words_that_no_passage_has_are_not_taken_for_an_empty_library(client, poor, standin, shelf, ask):
    store = MemoryStore()
    VideoLibrary(store, client=client).add(shelf.folder)
    standin.clear()
    found = ask(VideoLibrary(store, client=poor), "Zebras?")
    assert not standin.requests
    assert found.answer == (
        "No passage shares a word with the question, and the spend limit did not allow a search by meaning."
    )
    assert "the limit is CNY 0." in found.notices[0]
    assert (found.stopped, found.basis, found.written) == ("spend_limit", "Nothing was found by words alone.", False)


def test_a_limit_that_is_too_small_for_a_look_is_told_with_its_numbers(client, standin, shelf, search):
    estimate = estimate_library(shelf.question(0, 4), search, settings=client.settings, options=UNSURE)
    limit = SpendLimit(cny=estimate.answer.cost.cny + 1e-6)
    with OmniClient(replace(client.settings, spend_limit=limit)) as poor:
        found = ask_library(shelf.question(0, 4), search, client=poor, options=UNSURE)
    assert (found.written, found.stopped) == (True, "spend_limit")
    (notice,) = found.notices
    assert notice.startswith("Another look may cost up to CNY ")
    assert f" of the limit of CNY {limit.limits['CNY']:,.6g} are already spent or reserved." in notice


def test_a_question_that_is_too_long_is_told_to_be_shortened(client, standin, search):
    question = "Where is the dog? " * 200_000
    for ask in (ask_library, lambda *a, **k: list(stream_library(*a, **k))):
        with pytest.raises(ConfigurationError, match=r"The question has [\d,]+ tokens, and .* takes") as raised:
            ask(question, search, client=client)
        assert "Shorten the question" in str(raised.value)
        assert "clip" not in str(raised.value)
    with pytest.raises(ConfigurationError, match="Shorten the question"):
        estimate_library(question, search, settings=client.settings)
    assert search.asked == []
    assert not standin.requests


def test_a_question_beyond_the_embedding_is_compared_by_its_beginning(client, standin, shelf):
    library = VideoLibrary(MemoryStore(), client=client)
    library.add(shelf.films[0].path)
    with pytest.warns(UserWarning, match="The question is longer than the 8,192 tokens .* Shorten it"):
        assert library.search("code " * 20_000)


def test_what_cannot_be_watched_is_told_from_its_notes(client, standin, shelf, tmp_path):
    """A video that is gone, a link, a window that the service refuses: the rest is watched all the same."""
    gone = replace(shelf.films[0], path=tmp_path / "gone.mp4")
    link = Window(source="https://example.com/a.mp4?sig=secret", start=0, end=2, text="A dog.")
    first, second = window(shelf.films[0]), window(shelf.films[1])
    standin.script.fault(
        REFUSED, when=lambda request: any(shelf.films[0].codes[0] in one.picture_codes for one in request.media)
    )
    found = ask_library(shelf.question(1, 3), lambda _: [window(gone), link, first, second], client=client)
    reasons = [shot.reason for shot in found.shots]
    assert "gone.mp4 cannot be opened" in reasons[0]
    assert "is a link" in reasons[1]
    assert "secret" not in reasons[1]
    assert "inappropriate" in reasons[2]
    assert reasons[3] == ""
    assert "3 could not be watched" in found.basis
    assert (found.evidence[0].source, found.evidence[0].start) == (str(shelf.films[1].path), 3.0)


def test_a_wrong_key_is_no_fault_of_the_window(client, shelf, search):
    with (
        OmniClient(replace(client.settings, api_key=SecretStr("sk-standin-wrong"))) as stranger,
        pytest.raises(AuthenticationError),
    ):
        ask_library(shelf.question(0, 1), search, client=stranger)


def test_an_empty_search_asks_nobody(client, standin):
    found = ask_library("Where is the dog?", lambda _: [], client=client)
    assert (found.answer, found.basis) == ("The library holds nothing about this question.", "Nothing was found.")
    assert not standin.requests
    assert estimate_library("Where?", lambda _: [], settings=client.settings).tokens == 0


def test_an_answer_that_another_run_is_about_to_have_is_waited_for(client, standin, shelf, monkeypatch):
    """A claim of another owner: no second look is paid for while it lasts."""
    monkeypatch.setattr("qwen_omni.library.ask.BUSY_SECONDS", 0.01)
    held = []
    original = SqliteStore.claim

    def claimed(self, key, **options):
        if not held:
            other = open_work_store(self.place, _USE)
            assert isinstance(original(other, key), Claim)
            held.append((other, key))
        return original(self, key, **options)

    monkeypatch.setattr(SqliteStore, "claim", claimed)
    waited = 0
    for news in stream_library(shelf.question(2, 1), lambda _: [window(shelf.films[2])], client=client):
        if not isinstance(news, LibraryAnswer) and news.kind == "waiting":
            assert not looks(standin)
            waited += 1
            if waited == 2:
                held[0][0].release(held[0][1])
    assert waited >= 2
    assert len(looks(standin)) == 1
    held[0][0].close()


# --- What it will cost ---


def test_an_estimate_sends_nothing_stores_nothing_and_covers_the_bill(client, standin, shelf, search):
    before = estimate_library(shelf.question(0, 4), search, settings=client.settings, options=UNSURE)
    assert not standin.requests
    assert not (client.settings.cache_dir / "library").exists()
    found = ask_library(shelf.question(0, 4), search, client=client, options=UNSURE)
    assert found.this_run.cny <= before.cny
    assert "at most" in str(before)
    after = estimate_library(shelf.question(0, 4), search, settings=client.settings, options=UNSURE)
    assert [one.estimate for one in after.looks] == [None, None, None]
    assert "already watched" in str(after)


def test_an_estimate_names_what_cannot_be_watched(client, tmp_path, shelf):
    gone = replace(shelf.films[0], path=tmp_path / "gone.mp4")
    (look,) = estimate_library("Where?", lambda _: [window(gone)], settings=client.settings).looks
    assert "cannot be opened" in look.problem


# --- Decisions ---


@pytest.mark.parametrize(
    "options", [{"looks": -1}, {"looks": 1.5}, {"fps": 0}, {"fps": 99}, {"margin": -1}, {"sure": 2}]
)
def test_numbers_are_checked(options):
    with pytest.raises(ConfigurationError, match=next(iter(options))):
        AskOptions(**options)


def test_an_empty_question_is_refused(client, standin, search):
    with pytest.raises(ConfigurationError, match="question is empty"):
        ask_library("  ", search, client=client)
    assert search.asked == []


SHARES = st.floats(0, 1)
NOTES = st.builds(TimedNote, start=SHARES, end=SHARES, text=st.just("x"))
LOOKS = st.builds(
    Look, relevance=SHARES, sure=SHARES, found=st.text(max_size=9), evidence=st.lists(NOTES, max_size=2)
)  # fmt: skip
SHOTS = st.lists(
    st.builds(
        Shot, source=st.sampled_from(["/a.mp4", "/b.mp4"]), start=st.floats(0, 50), end=st.floats(50, 99),
        notes=st.text(max_size=9),
        look=st.none() | LOOKS,
    ),
    max_size=6,
)  # fmt: skip


@given(SHOTS)
def test_shots_that_help_are_told_the_most_relevant_first(shots):
    ordered = in_order(shots)
    relevance = [shot.look.relevance for shot in ordered if shot.look is not None]
    assert relevance == sorted(relevance, reverse=True)
    assert 0 not in relevance
    assert [shot for shot in ordered if shot.look is None] == [shot for shot in shots if shot.look is None]
    text = shots_text(ordered)
    assert all(f"Shot {number} of " in text for number in range(1, len(ordered) + 1))


@given(SHOTS, st.lists(st.integers(-2, 9), max_size=4))
def test_evidence_is_that_of_the_shots_that_were_used(shots, used):
    found = evidence_of(shots, used)
    valid = [number for number in used if 1 <= number <= len(shots)]
    assert bool(found) == bool(shots)
    if valid:
        assert {one.source for one in found} == {shots[number - 1].source for number in valid}
    elif any(shot.look is not None for shot in shots):
        assert all(one.watched for one in found)


@given(SHOTS, st.sampled_from(["", "sure", "looks", "spend_limit"]), st.booleans())
def test_the_basis_counts_every_shot(shots, stopped, written):
    text = basis_of(shots, stopped, written=written)
    watched = sum(shot.look is not None for shot in shots)
    assert not shots or f"{watched} of {len(shots)} shot" in text
    assert ("spend limit" in text) == (bool(shots) and stopped == "spend_limit")


@given(SHARES, SHARES, SHARES)
def test_only_a_look_that_helps_ends_looking(relevance, sure, needed):
    ends = is_enough(Look(relevance=relevance, sure=sure), AskOptions(sure=needed))
    assert ends == (relevance >= 0.5 and sure >= needed)
