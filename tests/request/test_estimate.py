"""What an estimate says: by kind, by route, about links, about limits; and that it equals the bill."""

import json
from dataclasses import replace

import pytest

from qwen_omni import (
    ChatOptions,
    ChatRequest,
    FramesPart,
    ImagePart,
    MediaBudget,
    MediaSource,
    Message,
    OmniClient,
    Sampling,
    TextPart,
    VideoPart,
    estimate,
    prepare,
    user,
)
from qwen_omni.errors import MediaOutsideRootError, UnreadableMediaError
from qwen_omni.messages import media_parts
from qwen_omni.pricing.costs import TokenCounts
from qwen_omni.pricing.limit import SpendLimit
from qwen_omni.profiles import ExchangeRate, Prices, profile_for
from qwen_omni.request.prepared_request import Fitting, estimate_fitted
from qwen_omni.request.question import message_of
from qwen_omni.settings import OssCredentials, OssSettings, Settings
from qwen_omni.standin.marked_media import make_audio, make_image, make_video
from tests.support import making

FLASH = "qwen3.8-omni-flash"
OFF = ChatOptions(thinking=False)
OFF_FOR = dict.fromkeys((FLASH, "qwen3.7-plus", "qwen3.8-flash"), OFF) | dict.fromkeys(
    ("qwen3.5-omni-plus", "qwen3-omni-flash"), ChatOptions()
)
HOSTS_OF = {
    "cn": "https://dashscope.aliyuncs.com/compatible-mode/v1",
    "intl": "https://dashscope-intl.aliyuncs.com/compatible-mode/v1",
    "us": "https://dashscope-us.aliyuncs.com/compatible-mode/v1",
    "hk": "https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1",
}
LINK = "https://example.com/film.mp4?Signature=secret"


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    """Five seconds with sound."""
    return make_video(tmp_path_factory.mktemp("film") / "film.mp4", seconds=5, size=(640, 360)).path


@pytest.fixture
def usual():
    """Settings of nobody in particular, in Singapore."""
    return Settings.load(api_key="none", region="intl")


def test_everything_about_a_film(film, usual):
    """Tokens by kind, price, bytes, seconds and route of one local file."""
    made = estimate(film, settings=usual, options=OFF)
    (piece,) = made.media
    assert made.tokens == TokenCounts(text=8, video=1_102, audio=35, text_out=500)
    assert (made.input_tokens, made.upload_bytes, made.seconds) == (1_145, piece.upload_bytes, 5)
    assert piece.upload_bytes > piece.size_bytes == film.stat().st_size  # base64
    assert (piece.route, piece.kind, made.known, made.exact) == ("inline", "video", True, True)
    assert made.cost.cny == pytest.approx((1_145 * 1.094 + 500 * 3.427) / 1e6)
    assert made.cost_low.usd < made.cost.usd < made.cost_high.usd
    assert made.as_is == TokenCounts(text=8, video=1_102, audio=35)
    assert made.problems == ()
    assert "500 tokens of answer" in made.notes
    assert any("7.29 yuan to the dollar" in note and "2026-10-10" in note for note in made.notes)


def test_it_explains_itself(film, usual):
    """In lines for people and in JSON for programs, and the key to a link is in neither."""
    made = estimate([film, LINK], settings=usual)
    told = str(made)
    assert "USD" in told
    assert "untouched" not in told  # nobody knows what the link would bill
    assert "a link, which is not opened here" in told
    plain = json.dumps(made.as_dict())
    assert "secret" not in told + plain
    assert json.loads(plain)["media"][0]["tokens"]["video"] == 1_102
    assert json.loads(plain)["cost"]["list_currency"] == "CNY"


def test_a_preset_that_costs_more_says_so(film, usual):
    """`static` and `action` sample more often than the service's default, and the estimate shows both numbers."""
    tokens = {name: estimate(film, budget=name, settings=usual) for name in ("auto", "static", "action", "glance")}
    assert tokens["auto"].tokens.video == tokens["auto"].as_is.video == 1_102
    assert tokens["static"].tokens.video > tokens["static"].as_is.video
    assert tokens["action"].tokens.video > tokens["static"].tokens.video
    assert tokens["glance"].tokens.video < tokens["glance"].as_is.video
    assert "key frames" in tokens["glance"].media[0].doing


def test_a_link_is_a_range(usual):
    """What is not known is said, with the most that it can be, and the price has that end."""
    made = estimate([VideoPart(source=MediaSource.from_url(LINK))], settings=usual)
    assert (made.tokens.video, made.known, made.media[0].route, made.upload_bytes) == (0, False, "link", 0)
    assert made.most.video == 180_544  # 565 frames, the last of them billed as a pair
    assert made.cost_low.usd < 0.001
    assert made.cost.usd > 0.03
    cheaper = estimate(
        [VideoPart(source=MediaSource.from_url(LINK), sampling=Sampling(max_pixels=65_536))], settings=usual
    )
    assert cheaper.most.video < made.most.video
    assert estimate([ImagePart(source=MediaSource.from_url(LINK))], settings=usual).most.image == 1_282
    listed = FramesPart(frames=(MediaSource.from_url(LINK),) * 8)
    assert estimate(user(listed), settings=usual).most.video == 4 * 640 + 2


@pytest.mark.parametrize("budget", ["static", "auto", MediaBudget(frames=True, fps=2)])
def test_prepared_media_is_exact(film, usual, budget):
    """What has been made already is counted as it is, with the sampling it goes out with."""
    with prepare(film, budget=budget) as made:
        told = estimate(made, settings=usual)
    assert told.exact
    predicted = estimate(film, budget=budget, settings=usual)
    assert told.tokens.video == predicted.tokens.video


@pytest.mark.slow
def test_everything_that_would_be_refused(film, usual, tmp_path):
    """Limits of the model, of the delivery and of the caller are told, all at once, and nothing is raised."""
    long = make_video(tmp_path / "long.mp4", seconds=45, size=(64, 48), fps=2).path
    limit = SpendLimit(per_call_tokens=10)
    elsewhere = Settings.load(api_key="none", base_url="http://10.0.0.7/compatible-mode/v1")
    told = estimate([long, film], model="qwen-omni-turbo", settings=replace(elsewhere, spend_limit=limit)).problems
    assert len(told) == 3
    assert "at most 40 s" in told[0]
    assert "at most 1 video" in told[1]
    assert "the limit for one call is 10 tokens" in told[2]
    assert limit.reserved.tokens == 0
    much = estimate(user("word " * 60_000), model="qwen-omni-turbo", settings=elsewhere)
    assert "takes 30,720" in much.problems[0]


def test_a_retired_model_would_be_refused(usual):
    """On the vendor's hosts, with the replacement; a server of one's own is not asked for its list."""
    for model in ("qwen-omni-turbo", "qwen2.5-omni-7b", "qwen3-omni-flash-2025-09-15"):
        (problem,) = estimate(user("Hello"), model=model, settings=usual).problems
        assert "retired on 2026-10-10" in problem
        assert "use qwen3.5-omni-plus" in problem
        elsewhere = Settings.load(api_key="none", base_url="http://10.0.0.7:8000/v1")
        assert estimate(user("Hello"), model=model, settings=elsewhere).problems == ()


def test_the_cache_makes_a_range(film, usual):
    """Nothing is cached, or all but the last question: both ends, in money and in words, and in JSON."""
    made = estimate([film], settings=usual, options=OFF)
    assert made.cost_cached.cny == pytest.approx(((made.most.input - 8) * 0.117 + 8 * 1.094 + 500 * 3.427) / 1e6)
    assert made.cost_cached.cny < made.cost.cny == pytest.approx((made.most.input * 1.094 + 500 * 3.427) / 1e6)
    assert f"all but the last question from the cache: CNY {made.cost_cached.cny:.4g}" in str(made)
    assert made.as_dict()["cost_cached"]["cny"] == made.cost_cached.cny


def test_only_the_last_question_is_new(usual):
    """Earlier turns are a common beginning; the last question is counted by its text alone."""
    turns = [user("word " * 3_000), Message(role="assistant", parts=(TextPart(text="Yes."),)), user("And why is that?")]
    made = estimate(ChatRequest(model="qwen-plus", messages=tuple(turns)), settings=usual)
    question = made.tokens.input - (made.cost.cny - made.cost_cached.cny) * 1e6 / (2.936 * 0.8)
    assert question == pytest.approx(5 + 3 + 4, abs=2)


@pytest.mark.parametrize(
    ("model", "region", "text"),
    [
        ("qwen3.5-omni-plus", "cn", "word " * 3_000),
        ("qwen3.6-plus", "cn", "word " * 3_000),
        ("qwen-plus", "hk", "word " * 3_000),
    ],
)
def test_no_price_for_cached_input_makes_no_range(model, region, text):
    """3.5-omni has no cache, 3.6 no implicit one, and an unknown price has no ends."""
    made = estimate(user(text), model=model, settings=Settings.load(needs_key=False, base_url=HOSTS_OF[region]))
    assert made.cost_cached is None
    assert "from the cache" not in str(made)


def test_too_little_is_not_cached(usual):
    """Under 1,024 tokens nothing is kept, so both ends are one."""
    made = estimate(user("Why?"), settings=usual)
    assert made.cost_cached.cny == made.cost.cny


def test_an_unknown_price_is_printed_as_unknown():
    """Never another region's: the estimate says unknown, and whose price it is that is not known."""
    made = estimate(user("Hello"), model="qwen-plus", settings=Settings.load(needs_key=False, base_url=HOSTS_OF["hk"]))
    assert (made.region, made.cost.cny, made.cost.usd) == ("hk", None, None)
    assert "cost: unknown" in str(made)
    assert "the price of qwen-plus in 'hk' is unknown; pass prices=" in made.notes


def test_each_region_has_its_own_row():
    """0.8 yuan in Hong Kong and Virginia, 1.094 in Singapore."""
    prices = {}
    for region in ("cn", "hk", "us", "intl"):
        settings = Settings.load(needs_key=False, base_url=HOSTS_OF[region])
        made = estimate(user("word " * 100), settings=settings)
        prices[region] = made.cost_low.cny / made.tokens.input * 1e6
    assert prices == pytest.approx({"cn": 0.8, "hk": 0.8, "us": 0.8, "intl": 1.094})


def test_the_way_goes_by_the_settings(film, usual):
    """The estimate names the route that the delivery would take."""
    bucket = OssSettings(endpoint="https://oss-cn-beijing.aliyuncs.com", bucket="mine", region="cn-beijing",
                         credentials=OssCredentials.of("id", "secret"))  # fmt: skip
    with_bucket = estimate(film, settings=replace(usual, delivery="oss", oss=bucket))
    assert with_bucket.media[0].route == "oss"
    assert with_bucket.upload_bytes == film.stat().st_size
    assert estimate(film, settings=replace(usual, delivery="temporary")).media[0].route == "temporary"
    nowhere = estimate(film, settings=replace(usual, delivery="oss"))
    assert nowhere.media[0].route is None
    assert "no bucket is set" in nowhere.problems[0]


def test_own_prices_and_rate(film, usual):
    """Both are the caller's to set."""
    own = Prices(currency="USD", text_in=100, text_out=0, source="a contract")
    rate = ExchangeRate(cny_per_usd=10, source="a bank")
    made = estimate(film, settings=replace(usual, prices={FLASH: own}, exchange_rate=rate))
    assert made.cost.usd == pytest.approx(made.input_tokens * 1e-4)
    assert made.cost.cny == pytest.approx(made.cost.usd * 10)


def test_a_contract_for_a_snapshot_counts(usual):
    """What a call with the snapshot's name is estimated at."""
    own = Prices(currency="USD", text_in=100, text_out=0, source="a contract")
    snapshot = "qwen3-omni-flash-2025-12-01"
    made = estimate(user("Hello"), model=snapshot, settings=replace(usual, prices={snapshot: own}))
    assert made.cost.usd == pytest.approx(made.input_tokens * 1e-4)


def test_the_answer_is_assumed_in_words(usual):
    """Thinking, speech, a limit and the caller's own guess change what is assumed, and the note says what it is."""
    hello = user("Hello")
    thinking = estimate(hello, settings=usual)
    assert (thinking.tokens.text_out, thinking.tokens.thinking_out) == (500, 1_000)
    short = estimate(hello, settings=usual, options=ChatOptions(max_tokens=40, thinking=False))
    assert (short.tokens.text_out, short.tokens.thinking_out) == (40, 0)
    assert estimate(hello, settings=usual, options=OFF, answer_tokens=7).notes[0] == "7 tokens of answer"
    spoken = estimate(hello, model="qwen3.5-omni-flash", settings=usual,
                      options=ChatOptions(modalities=("text", "audio")))  # fmt: skip
    assert spoken.tokens.audio_out == 1_875
    assert estimate(hello, settings=usual, options=ChatOptions(thinking="none")).tokens.thinking_out == 0


def test_paths_in_messages_stay_in_their_root(film, usual, tmp_path):
    """An estimate opens nothing that the call would not open."""
    lying = user(VideoPart(source=MediaSource.from_path(film)))
    with pytest.raises(MediaOutsideRootError):
        estimate(lying, settings=replace(usual, media_root=tmp_path))
    with pytest.raises(UnreadableMediaError):
        estimate(tmp_path / "missing.mp4", settings=usual)


@pytest.mark.parametrize("as_named", [MediaSource.from_path, lambda path: path.as_uri()], ids=["source", "file://"])
def test_media_by_itself_is_looked_for_under_the_same_root(as_named, film, usual, tmp_path, monkeypatch):
    """What no program chose: found under the settings' root wherever we stand, and nowhere else."""
    monkeypatch.chdir(film.parent)
    with pytest.raises(MediaOutsideRootError):
        estimate(as_named(film), settings=replace(usual, media_root=tmp_path))
    monkeypatch.chdir(tmp_path)
    assert estimate(as_named(film), settings=replace(usual, media_root=film.parent)).tokens.video == 1_102


def test_pictures_and_lists_equal_the_bill(settings, tmp_path):
    """The same for a picture, and for a list of frames."""
    photo = MediaSource.from_bytes(make_image("1234", (1000, 700)))
    frames = tuple(MediaSource.from_bytes(make_image(str(number), (320, 180), "JPEG")) for number in range(10, 17))
    message = user(ImagePart(source=photo), FramesPart(frames=frames, sampling=Sampling(fps=1)), "What?")
    request = ChatRequest(model=FLASH, messages=(message,), options=OFF)
    made = estimate(request, settings=settings)
    with OmniClient(settings) as client:
        billed = client.complete(request).usage.input_details
    assert (made.tokens.image, made.tokens.video) == (billed["image"], billed["video"])


def test_frames_are_planned_as_they_are_sent(settings):
    """Frames beyond their budget are billed and told as made smaller, and what is about to be sent is told exactly."""
    frames = tuple(MediaSource.from_bytes(make_image(str(number), (1920, 1080), "JPEG")) for number in range(10, 16))
    small = MediaBudget(long_side=640, short_side=360)
    part = FramesPart(frames=frames, sampling=Sampling(fps=1), budget=small)
    request = ChatRequest(model=FLASH, messages=(user(part, "What?"),), options=OFF)
    made = estimate(request, settings=settings)
    fitted = Fitting(
        request=request, found=media_parts(request.messages), profile=profile_for(FLASH), settings=settings
    ).fit()
    exact = estimate_fitted(request, fitted, settings)
    with OmniClient(settings) as client:
        billed = client.complete(request).usage.input_details["video"]

    original = sum(len(frame.data) for frame in frames)
    carried = sum(one.ready.encoded_bytes for one in fitted.media.values())
    assert made.tokens.video == exact.tokens.video == billed < made.as_is.video
    assert exact.upload_bytes == carried < original
    assert (made.exact, exact.exact) == (False, True)
    assert made.upload_bytes < original
    assert made.media[0].original_bytes == exact.media[0].original_bytes == original
    assert made.media[0].doing == "6 of them re-encoded to fit"
    kept = estimate(user(replace(part, budget="original")), settings=settings)
    assert (kept.media[0].doing, kept.media[0].size_bytes, kept.exact) == ("sent as they are", original, True)


@pytest.mark.parametrize(("uplink_mbps", "as_it_is"), [(1000, True), (0.001, False)])
@pytest.mark.slow
def test_the_line_is_weighed_as_the_call_weighs_it(usual, uplink_mbps, as_it_is):
    """On a quick line a clip is told to go as it is; on a slow one, to be made smaller first."""
    clip = MediaSource.from_bytes(making.video("mp4", "mpeg4", 20, size=(640, 480)))
    (piece,) = estimate(user(VideoPart(source=clip)), settings=replace(usual, uplink_mbps=uplink_mbps)).media
    assert (piece.exact, piece.size_bytes == len(clip.data)) == (as_it_is, as_it_is)


def _parts(path):
    from qwen_omni.request.question import message_of  # noqa: PLC0415

    return message_of([path]).parts


@pytest.mark.parametrize("model", [FLASH, "qwen3.5-omni-plus", "qwen3-omni-flash", "qwen3.7-plus", "qwen3.8-flash"])
def test_the_estimate_is_the_bill_of_every_family(model, film, tmp_path, standin):
    """A film with sound, an image and frames, through the whole call: what was estimated is what is reported."""
    picture = tmp_path / "picture.png"
    picture.write_bytes(make_image("1234", (333, 222)))
    frames = tuple(MediaSource.from_bytes(make_image(f"000{at}", (160, 120))) for at in range(4))
    settings = Settings.load(api_key=standin.api_key, base_url=standin.base_url, media_root=tmp_path, retry_wait=0)
    settings = replace(settings, cache_dir=tmp_path / "cache")
    with OmniClient(settings) as client:
        for media in (film, picture, FramesPart(frames=frames)):
            request = ChatRequest(
                model=model, messages=(user(*message_of([media]).parts, "What?"),), options=OFF_FOR[model]
            )
            told = estimate(request, settings=settings).tokens
            billed = client.complete(request).usage.input_details
            for kind in ("image", "video", "audio"):
                assert getattr(told, kind) == billed.get(kind, 0), (media, kind)


def test_models_that_only_see_refuse_audio(usual, tmp_path):
    """Before anything is sent, with the model that takes it."""
    sound = make_audio(tmp_path / "sound.wav", seconds=2).path
    (problem,) = estimate([sound], model="qwen3.8-flash", settings=usual).problems
    assert "qwen3.8-flash takes image, text, video, not audio" in problem
