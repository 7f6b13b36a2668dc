"""`Standin.environment`: programs that read the environment find the stand-in, and only while the block runs."""

import os

import pytest

from qwen_omni import Settings, errors
from qwen_omni.client import OmniClient
from qwen_omni.diagnostics import examine
from qwen_omni.messages import user
from qwen_omni.options import ChatRequest
from qwen_omni.standin import Standin

REQUEST = ChatRequest(model="qwen3.5-omni-flash", messages=(user("Hello"),))


def test_a_client_without_settings_reaches_it():
    """It starts by itself, is found, and is gone afterwards with its variables."""
    with Standin().environment() as standin, OmniClient() as client:
        assert client.complete(REQUEST).text.startswith("[stand-in]")
        assert len(standin.requests) == 1
    assert "DASHSCOPE_API_KEY" not in os.environ
    with pytest.raises(errors.APIConnectionError):
        OmniClient(Settings.load(api_key="k", base_url=client.settings.base_url, max_retries=0)).complete(REQUEST)


def test_what_was_set_before_is_put_back(monkeypatch, standin):
    """Also after an error, and a service that runs already goes on."""
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-mine")
    monkeypatch.setenv("QWEN_OMNI_OSS_BUCKET", "my-real-bucket")

    def program():
        with standin.environment():
            assert "QWEN_OMNI_OSS_BUCKET" not in os.environ, "a real bucket is never written to"
            raise KeyError

    with pytest.raises(KeyError):
        program()
    assert (os.environ["DASHSCOPE_API_KEY"], os.environ["QWEN_OMNI_OSS_BUCKET"]) == ("sk-mine", "my-real-bucket")
    assert standin.base_url


def test_its_bucket_is_found():
    """With `bucket` every right that `doctor` tries is there."""
    with Standin().environment(bucket=True):
        settings = Settings.load()
        assert settings.oss is not None
        found = {finding.name: finding.verdict for finding in examine(settings, "qwen3.5-omni-flash")}
    assert {found[name] for name in ("bucket: write", "bucket: link", "bucket: delete")} == {"good"}
