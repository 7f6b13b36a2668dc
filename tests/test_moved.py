"""Paths and names that moved: the old ones lead to the same objects for one more release, and say so."""

import importlib
import subprocess
import sys

import pytest

import qwen_omni
from qwen_omni._moved import MOVED, MOVED_NAMES


@pytest.mark.parametrize("old", MOVED)
def test_an_old_path_leads_to_the_new_module(old, monkeypatch):
    monkeypatch.delitem(sys.modules, old, raising=False)
    with pytest.warns(DeprecationWarning, match=f"{old} has moved to {MOVED[old]}"):
        assert importlib.import_module(old) is importlib.import_module(MOVED[old])


@pytest.mark.parametrize("old", MOVED_NAMES)
def test_an_old_name_is_the_new_object(old):
    with pytest.warns(DeprecationWarning, match=f"qwen_omni.{old} has moved"):
        assert getattr(qwen_omni, old) is getattr(qwen_omni, MOVED_NAMES[old])


def test_an_old_path_serves_from_imports():
    """As a user's program has them, in a process of its own."""
    program = "from qwen_omni.captions.batch import caption_many; from qwen_omni.standin.truth import make_video"
    subprocess.run([sys.executable, "-W", "error", "-W", "ignore::DeprecationWarning", "-c", program], check=True)


def test_what_never_was_is_not_found():
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("qwen_omni.captions.nothing")
