"""Settings, answers and the packages' own names: what is decided without any effect."""

import ast
import importlib
import os
import pickle
import subprocess
import sys
from pathlib import Path

import pytest

import qwen_omni
from qwen_omni import ConfigurationError, Settings
from qwen_omni._moved import MOVED_NAMES
from qwen_omni.responses import AudioDelta, Response, ResponseBuilder, TextDelta, ToolCallDelta
from qwen_omni.settings import resolve_base_url


@pytest.mark.parametrize(
    "arguments",
    [("http://x/v1", "cn", None), (None, "mars", None), ("ftp://x", None, None), ("nothing", None, None)],
    ids=["both", "unknown region", "other scheme", "no URL"],
)
def test_wrong_addresses_are_told(arguments):
    """What is no address raises before anything is sent."""
    with pytest.raises(ConfigurationError):
        resolve_base_url(*arguments)


def test_a_key_is_needed(monkeypatch):
    """Without a key the error names the variable; with one nothing shows it."""
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        Settings.load()
    with pytest.raises(ConfigurationError, match="DASHSCOPE_API_KEY"):
        Settings.load(api_key="  ")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-secret-value")
    assert "secret" not in repr(Settings.load())


def test_a_key_may_be_plain_text_and_is_not_shown():
    """As in `Settings.load`."""
    settings = Settings(api_key="sk-very-secret", base_url="https://example.com/v1")
    assert settings.api_key.get_secret_value() == "sk-very-secret"
    assert "very-secret" not in repr(settings)


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
