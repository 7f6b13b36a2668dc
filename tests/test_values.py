"""Settings, profiles, messages, redaction: what is decided without any effect."""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

import qwen_omni
from qwen_omni import ConfigurationError, MediaSource, Settings, known_models, profile_for
from qwen_omni._moved import MOVED_NAMES
from qwen_omni.errors import UnreadableMediaError, UnsupportedMediaError
from qwen_omni.profiles import DEFAULT_MODEL, DEFAULT_SPEECH_MODEL, DEFAULT_TEXT_MODEL
from qwen_omni.redact import redact
from qwen_omni.responses import AudioDelta, Response, ResponseBuilder, TextDelta, ToolCallDelta
from qwen_omni.settings import HOSTS, region_of, resolve_base_url


@pytest.mark.parametrize(
    ("given_url", "region", "environment", "expected"),
    [
        (None, None, None, "https://dashscope.aliyuncs.com/compatible-mode/v1"),
        (None, "intl", None, "https://dashscope-intl.aliyuncs.com/compatible-mode/v1"),
        (None, "us", "http://localhost:1/v1", "https://dashscope-us.aliyuncs.com/compatible-mode/v1"),
        (None, None, "http://localhost:1/v1/", "http://localhost:1/v1"),
        ("https://ws.cn-beijing.maas.aliyuncs.com/compatible-mode/v1", None, "http://x/v1",
         "https://ws.cn-beijing.maas.aliyuncs.com/compatible-mode/v1"),
    ],
    ids=["default", "region", "region over environment", "environment", "explicit"],
)  # fmt: skip
def test_the_address(given_url, region, environment, expected):
    """An explicit address, an explicit region, the environment, the mainland: in this order."""
    assert resolve_base_url(given_url, region, environment) == expected


@pytest.mark.parametrize(
    "arguments",
    [("http://x/v1", "cn", None), (None, "mars", None), ("ftp://x", None, None), ("nothing", None, None)],
    ids=["both", "unknown region", "other scheme", "no URL"],
)
def test_wrong_addresses_are_told(arguments):
    """What is no address raises before anything is sent."""
    with pytest.raises(ConfigurationError):
        resolve_base_url(*arguments)


def test_the_region_of_an_address():
    """Shared and workspace hosts tell their region; others have none."""
    assert {region: region_of(f"{host}/v1") for region, host in HOSTS.items()} == {region: region for region in HOSTS}
    assert region_of("https://ws-1.ap-southeast-1.maas.aliyuncs.com/compatible-mode/v1") == "intl"
    assert region_of("http://127.0.0.1:8787/v1") is None


def test_a_key_is_needed(monkeypatch):
    """Without a key the error names the variable; with one nothing shows it."""
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        Settings.load()
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        Settings.load(api_key="  ")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-secret-value")
    assert "secret" not in repr(Settings.load())


def test_every_model_of_the_guide_has_a_profile():
    """The defaults and every family with its snapshots are known without a warning."""
    for name in (*known_models(), DEFAULT_MODEL, DEFAULT_SPEECH_MODEL, DEFAULT_TEXT_MODEL):
        profile = profile_for(name)
        assert profile.source
        assert profile.max_input <= profile.context
    assert profile_for(DEFAULT_SPEECH_MODEL).speaks
    assert profile_for("qwen3-omni-flash-2025-09-15").limits.video_seconds == 150


def test_a_new_snapshot_is_its_family():
    """A date behind a known name needs no warning and has the family's prices."""
    new, family = profile_for("qwen3.5-omni-plus-2027-01-01"), profile_for("qwen3.5-omni-plus")
    assert (new.limits, new.prices) == (family.limits, family.prices)


@pytest.mark.parametrize(("name", "omni"), [("qwen4-omni-flash", True), ("qwen-next-text", False), ("zzz", False)])
def test_an_unknown_model_gets_the_nearest_profile(name, omni):
    """A name nobody knows works, with one warning, under its own name and without prices."""
    with pytest.warns(UserWarning, match="its price is unknown"):
        profile = profile_for(name)
    assert profile.name == name
    assert not profile.prices
    assert ("video" in profile.inputs) is omni or name == "zzz"


def test_prices_say_where_they_were_read():
    """Every price has a source, and audio is never cheaper than text."""
    for name in known_models():
        for rows in profile_for(name).prices.values():
            for price in rows:
                assert price.source
                assert price.audio_in is None or price.audio_in > price.text_in


SECRETS = {
    "signed link": ("see https://b.oss.com/a.mp4?OSSAccessKeyId=LT&Signature=sEcReT now", "b.oss.com/a.mp4"),
    "key": ("Incorrect API key provided: sk-sEcReT123.", "Incorrect API key"),
    "header": ("Authorization: Bearer sEcReT", "Authorization"),
    "data URI": ("bad data:video/mp4;base64,sEcReT==", "bad"),
    "user in a link": ("https://me:sEcReT@host/a", "host/a"),
    "fragment": ("https://host/a#token=sEcReT", "host/a"),
    "oss link": ("oss://bucket/a.mp4?token=sEcReT", "oss://bucket/a.mp4"),
}


@pytest.mark.parametrize(("text", "kept"), SECRETS.values(), ids=SECRETS)
def test_redaction_takes_secrets_and_keeps_the_rest(text, kept):
    """What helps to find a mistake stays; what is secret goes; twice is once."""
    once = redact(text)
    assert "sEcReT" not in once
    assert kept in once
    assert redact(once) == once


@given(st.text(max_size=200))
def test_redaction_never_fails_and_settles(text):
    """Any text can be redacted, and a redacted text stays as it is."""
    assert redact(redact(text)) == redact(text)


def test_sources_do_not_show_what_they_hold():
    """Neither bytes nor signatures are in a repr."""
    shown = repr(MediaSource.from_bytes(b"sEcReT")) + repr(MediaSource.from_url("https://h/a?Signature=sEcReT"))
    assert "sEcReT" not in shown
    assert MediaSource.from_url("data:;base64,c0VjUmVU").data == b"sEcReT"


@pytest.mark.parametrize(
    ("make", "kind"),
    [
        (lambda: MediaSource.from_url("data:nothing"), UnreadableMediaError),
        (lambda: MediaSource.from_url("data:text/plain,abc"), UnreadableMediaError),
        (lambda: MediaSource.from_base64("%%%"), UnreadableMediaError),
        (lambda: MediaSource.from_url("rtsp://host/a"), UnsupportedMediaError),
        (lambda: MediaSource.from_url("file://otherhost/a.mp4"), UnsupportedMediaError),
    ],
    ids=["no comma", "no base64", "garbage", "other scheme", "other host"],
)
def test_wrong_sources_are_told(make, kind):
    """A source that cannot be one raises where it is made."""
    with pytest.raises(kind):
        make()


def test_a_response_shows_no_sound():
    """A repr tells how much sound there is, not the sound."""
    builder = ResponseBuilder()
    for delta in (TextDelta("Hi"), AudioDelta(b"\1\2" * 500), ToolCallDelta(index=0, id="c", name="f", arguments="{}")):
        builder.add(delta)
    assert repr(builder.build()).endswith("audio=<1,000 bytes>)")
    assert pickle.loads(pickle.dumps(builder.build())) == builder.build()
    assert Response().text == ""


def test_public_names_are_there():
    """Every public name loads, is listed once, and comes from where the type checker believes it to be."""
    assert list(qwen_omni.__all__) == sorted(set(qwen_omni.__all__))
    for name in qwen_omni.__all__:
        assert getattr(qwen_omni, name) is not None
    assert set(qwen_omni.__all__) <= set(dir(qwen_omni))
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = qwen_omni.no_such_name


@pytest.mark.parametrize("package", ["qwen_omni", "langchain_qwen_omni", "llama_index_qwen_omni"])
def test_stubs_have_the_public_names(package):
    """If this fails, run `make docs-made`: type checkers and editors read the stub, and it is old."""
    module = importlib.import_module(package)
    tree = ast.parse(Path(module.__file__).with_suffix(".pyi").read_text(encoding="utf-8"))
    imported = {
        name.asname: node.module for node in tree.body if isinstance(node, ast.ImportFrom) for name in node.names
    }
    assert imported == {name: home for home, names in module._HOMES.items() for name in names.split()}
    aliases = {node.targets[0].id: node.value.id for node in tree.body if isinstance(node, ast.Assign)}
    assert aliases == (MOVED_NAMES if package == "qwen_omni" else {})


def test_a_package_imports_no_more_than_its_names():
    """Importing a package alone takes a millisecond or two: no typing, no pathlib, no module of its own but two."""
    code = "import sys; old = {*sys.modules}; import qwen_omni; print(sorted({*sys.modules} - old))"
    environment = {**os.environ, "PYTHONNOUSERSITE": "1"}
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    loaded = ast.literal_eval(shown.stdout)
    ours = [name for name in loaded if name.startswith("qwen_omni")]
    assert ours == ["qwen_omni", "qwen_omni._lazy", "qwen_omni._moved"]
    assert {"typing", "pathlib", "importlib.abc", "ast", "inspect"}.isdisjoint(loaded)
