"""Hosts, regions and rate limits: one row per fact, with its source and date."""

import math
from dataclasses import replace
from typing import get_args

import pytest
from hypothesis import given, strategies as st

from qwen_omni import ChatOptions, ChatRequest, ConfigurationError, Settings, estimate, user
from qwen_omni.addresses import ZONES, host_kind, most_seconds, native_url, workspace_url
from qwen_omni.profiles import Region
from qwen_omni.profiles.rate_limits import RATE_LIMITS, RateLimits, published_limits
from qwen_omni.settings import HOSTS, region_of, resolve_base_url

HELLO = ChatRequest(model="qwen3.8-omni-flash", messages=(user("Hello."),))
OTHERS = ("us", "hk", "jp", "de")


@pytest.mark.parametrize(
    ("model", "regions", "rpm", "tpm"),
    [
        ("qwen3.8-omni-flash", ("cn", *OTHERS), 30_000, 2_000_000),
        ("qwen3.8-omni-flash", ("intl",), 30_000, None),  # dynamic, not published
        ("qwen3.5-omni-plus", ("cn", "intl"), 60, 100_000),
        ("qwen3.5-omni-plus-2026-03-15", ("cn", "intl"), 60, 100_000),
        ("qwen3.5-omni-flash", ("cn", "intl"), 60, 100_000),
        ("qwen3.5-omni-flash", OTHERS, None, None),  # not offered there
        ("qwen3-omni-flash", ("cn", "intl"), 60, 100_000),
        ("qwen-plus", ("cn",), 30_000, 5_000_000),
        ("qwen-plus", ("us",), 15_000, 5_000_000),
        ("qwen-plus", ("hk", "de"), 600, 1_000_000),
        ("qwen-plus", ("intl",), None, None),  # the row is missing on the page
        ("qwen-plus-2025-07-28", ("cn",), None, None),  # snapshots of text models have limits of their own
        ("qwen-flash", ("cn", "de"), 30_000, 10_000_000),
        ("qwen-flash", ("intl",), 600, 5_000_000),
        ("qwen3.6-plus", ("cn", "us", "hk", "de"), 30_000, 5_000_000),
        ("qwen3.6-plus", ("intl", "jp"), 15_000, 5_000_000),
        ("qwen3.6-flash", ("cn", "hk"), 30_000, 10_000_000),
        ("qwen3.7-plus", ("cn", "us", "de"), 30_000, 5_000_000),
        ("qwen3.8-flash", OTHERS, 30_000, 5_000_000),
        ("qwen3.8-flash", ("cn", "intl"), None, 5_000_000),  # dynamic: the lowest tier
        ("qwen3-asr-flash", ("cn", "intl", "us"), 100, None),
        ("qwen3-asr-flash-filetrans-2025-11-17", ("cn", "intl"), 100, None),
        ("fun-asr", ("cn", "intl"), 600, None),
        ("paraformer-v2", ("cn",), 1_200, None),
        ("qwen-audio-3.1-asr-flash-filetrans", ("cn", "intl"), 600, None),
        ("qwen-audio-3.1-asr-flash-message", ("cn", "intl"), 1_200, None),
        ("text-embedding-v4", ("cn",), 1_800, 1_200_000),  # 30 a second
        ("text-embedding-v3", ("cn",), 1_800, 1_200_000),  # 30 a second, and 120,000 tokens in six
        ("text-embedding-v4", ("intl", *OTHERS), None, None),  # the cards are Beijing's
        ("some-new-model", ("cn",), None, None),
    ],
)
def test_requests_and_tokens_a_minute(model, regions, rpm, tpm):
    """Model Studio, Rate limits and Dynamic rate limits, October 2026; embedding models: model cards, November 2026."""
    for region in regions:
        found = published_limits(model, region)
        assert (found.rpm, found.tpm) == (rpm, tpm)
    assert published_limits(model, None) == published_limits(model, "cn")


def test_every_row_says_where_it_was_read():
    """Source and date; what is dynamic or not published says so."""
    for name, rows in RATE_LIMITS.items():
        for one in rows.values():
            assert one.source.endswith("November 2026" if "embedding" in name else "October 2026")
    assert "dynamic" in published_limits("qwen3.8-omni-flash", "cn").source
    assert "not published" in published_limits("qwen3.8-omni-flash", "intl").source
    assert published_limits("qwen4", "cn").source == "not published"


def test_trial_hosts_have_a_thousand_requests():
    """Model Studio, base URLs, September 2026."""
    assert published_limits("qwen3.8-omni-flash", "cn", trial=True).rpm == 1_000
    assert published_limits("qwen3.5-omni-flash", "cn", trial=True).rpm == 60
    assert published_limits("qwen4", "cn", trial=True).rpm == 1_000


@pytest.mark.parametrize(
    ("region", "host"),
    [
        ("cn", "ws-1.cn-beijing.maas.aliyuncs.com"),
        ("intl", "ws-1.ap-southeast-1.maas.aliyuncs.com"),
        ("us", "ws-1.us-east-1.maas.aliyuncs.com"),
        ("hk", "ws-1.cn-hongkong.maas.aliyuncs.com"),
        ("jp", "ws-1.ap-northeast-1.maas.aliyuncs.com"),
        ("de", "ws-1.eu-central-1.maas.aliyuncs.com"),
    ],
)
def test_the_host_of_a_workspace(region, host):
    """Model Studio, Regions, 2026-10-10: chat and native routes, an hour for a request, and back to the region."""
    url = workspace_url("ws-1", region)
    assert url == f"https://{host}/compatible-mode/v1"
    assert native_url(url, "/uploads") == f"https://{host}/api/v1/uploads"
    assert (host_kind(url), most_seconds(url), region_of(url)) == ("workspace", 3600, region)
    assert Settings.load(api_key="sk-1", region=region, workspace="ws-1").base_url == url


@pytest.mark.parametrize(
    ("url", "kind", "seconds", "region"),
    [
        ("https://dashscope.aliyuncs.com/compatible-mode/v1", "shared", 600, "cn"),
        ("https://DASHSCOPE-INTL.aliyuncs.com./compatible-mode/v1", "shared", 600, "intl"),
        ("https://dashscope-us.aliyuncs.com/compatible-mode/v1", "shared", 600, "us"),
        ("https://cn-hongkong.dashscope.aliyuncs.com/compatible-mode/v1", "shared", 600, "hk"),
        ("https://trial.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", "trial", 600, "cn"),
        ("https://trial.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1", "trial", 600, "intl"),
        ("https://batch.dashscope.aliyuncs.com/compatible-mode/v1", "batch", 3600, "cn"),
        ("https://ws-1.cn-beijing.maas.aliyuncs.com.evil.example/v1", "custom", math.inf, None),
        ("https://evil.example/x.cn-beijing.maas.aliyuncs.com/v1", "custom", math.inf, None),
        ("https://notdashscope.aliyuncs.com/v1", "custom", math.inf, None),
        ("http://127.0.0.1:8000/v1", "custom", math.inf, None),
    ],
)
def test_what_an_address_names(url, kind, seconds, region):
    """Only the vendor's own hosts count as the vendor's."""
    assert (host_kind(url), most_seconds(url), region_of(url)) == (kind, seconds, region)
    assert Settings.load(api_key="sk-1", base_url=url).answer_seconds == seconds


def test_tokyo_and_frankfurt_need_a_workspace(monkeypatch):
    """There is no shared host: the error asks for the workspace; estimates need none."""
    assert set(get_args(Region)) == set(ZONES) == {*HOSTS, "jp", "de"}
    for region in ("jp", "de"):
        with pytest.raises(
            ConfigurationError, match=f"'{region}' has no shared host.*workspace='ws-...'.*DASHSCOPE_WO"
        ):
            Settings.load(api_key="sk-1", region=region)
        assert region_of(Settings.load(needs_key=False, region=region).base_url) == region
        assert estimate(HELLO, settings=Settings.load(needs_key=False, region=region)).region == region
    monkeypatch.setenv("DASHSCOPE_WORKSPACE", " ws-2 ")
    assert Settings.load(api_key="sk-1", region="de").base_url == workspace_url("ws-2", "de")


SHARED = "https://dashscope.aliyuncs.com/compatible-mode/v1"


@pytest.mark.parametrize(
    ("given_values", "environment", "expected"),
    [
        ({}, {}, SHARED),
        ({"region": "intl"}, {}, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        ({}, {"DASHSCOPE_BASE_URL": "http://localhost:1/v1/"}, "http://localhost:1/v1"),
        ({"base_url": workspace_url("ws", "cn")}, {"DASHSCOPE_BASE_URL": "http://x/v1"}, workspace_url("ws", "cn")),
        ({}, {"DASHSCOPE_WORKSPACE": "ws-1"}, workspace_url("ws-1", "cn")),
        ({}, {"DASHSCOPE_WORKSPACE": "ws-1", "DASHSCOPE_BASE_URL": "http://h/v1"}, "http://h/v1"),
        ({"region": "us"}, {"DASHSCOPE_WORKSPACE": "ws-1"}, workspace_url("ws-1", "us")),
        ({"region": "us"}, {"DASHSCOPE_BASE_URL": "http://h/v1"}, "https://dashscope-us.aliyuncs.com/compatible-mode/v1"),
        ({"workspace": "ws-3"}, {"DASHSCOPE_WORKSPACE": "ws-1", "DASHSCOPE_BASE_URL": "http://h/v1"},
         workspace_url("ws-3", "cn")),
        ({"base_url": "http://g/v1"}, {"DASHSCOPE_WORKSPACE": "ws-1"}, "http://g/v1"),
        ({}, {"DASHSCOPE_WORKSPACE": "  "}, SHARED),
    ],
)  # fmt: skip
def test_explicit_values_win_over_the_environment(given_values, environment, expected, monkeypatch):
    """An address, a region and a workspace; the environment's address wins over its workspace."""
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert Settings.load(api_key="sk-1", **given_values).base_url == expected


@given(st.text(max_size=70))
def test_a_workspace_is_one_label_of_a_host(name):
    """Whatever is passed either makes a host of the vendor or is refused."""
    try:
        url = workspace_url(name, "jp")
    except ConfigurationError as error:
        assert "is not the ID of a workspace" in str(error)
    else:
        assert host_kind(url) == "workspace"
        assert url == f"https://{name.strip().lower()}.ap-northeast-1.maas.aliyuncs.com/compatible-mode/v1"


@pytest.mark.parametrize("name", [5.5, b"ws-1", ("ws-1",), "ws-1.example.com", "ws-1/..", ""])
def test_what_is_no_workspace(name):
    """One error of ours, whatever is passed."""
    with pytest.raises(ConfigurationError, match="is not the ID of a workspace"):
        Settings.load(api_key="sk-1", region="de", workspace=name)


def test_a_workspace_excludes_an_address():
    """Both name a host."""
    with pytest.raises(ConfigurationError, match="base_url or workspace, not both"):
        resolve_base_url("http://h/v1", None, None, workspace="ws-1")


@pytest.mark.parametrize(
    ("base_url", "options", "warned"),
    [
        (SHARED, ChatOptions(max_tokens=60_000), True),  # 60 tokens a second
        (SHARED, ChatOptions(max_tokens=30_000), False),
        (SHARED, ChatOptions(), False),
        ("https://trial.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", ChatOptions(max_tokens=60_000), True),
        (workspace_url("ws-1", "cn"), ChatOptions(max_tokens=60_000), False),
        ("http://127.0.0.1:8000/compatible-mode/v1", ChatOptions(max_tokens=60_000), False),
    ],
)
def test_a_request_that_may_outlast_a_shared_host_says_so(base_url, options, warned):
    """The estimate, which is what a call warns of, names the seconds, the host, and the way out."""
    settings = Settings.load(api_key="sk-1", base_url=base_url)
    made = estimate(replace(HELLO, options=options), settings=settings)
    slow = [note for note in made.notes if "ends requests after 600 s" in note]
    assert bool(slow) == warned
    assert not slow or ("about 1,0" in slow[0] and "workspace='ws-...'" in slow[0])
    assert made.call_seconds > 1


@pytest.mark.parametrize(
    ("choices", "seconds"),
    [
        ({}, 30),
        ({"burst_wait": 120}, 120),
        ({"burst_wait": 0}, 0),
        ({"read_timeout": 10.0}, 9),
        ({"read_timeout": 0.5}, 0),
        ({"total_timeout": 5.5}, 5),
        ({"workspace": "ws-1"}, 30),
        ({"base_url": "https://batch.dashscope.aliyuncs.com/compatible-mode/v1"}, None),
        ({"base_url": "https://gateway.example.com/compatible-mode/v1"}, None),
        ({"base_url": "http://127.0.0.1:8000/v1"}, None),
    ],
)
def test_how_long_a_burst_may_be_queued(choices, seconds):
    """Model Studio, Best practices for rate limiting, 2026-10-11: less than the timeout; nowhere but on its hosts."""
    assert Settings.load(api_key="sk-1", **choices).burst_seconds == seconds


@pytest.mark.parametrize("seconds", [-1, 121, 2.5, "30", True])
def test_odd_waits_are_refused(seconds):
    """Whole seconds, up to two minutes."""
    with pytest.raises(ConfigurationError, match="burst_wait must be a whole number from 0 to 120"):
        Settings.load(api_key="sk-1", burst_wait=seconds)


def test_limits_in_words():
    """As the doctor shows them."""
    assert str(RateLimits(rpm=60, tpm=100_000)) == "60 RPM and 100,000 TPM"
    assert str(RateLimits(tpm=5)) == "5 TPM"
    assert str(RateLimits()) == "none published"
