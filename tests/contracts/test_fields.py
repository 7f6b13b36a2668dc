"""Every pydantic class of the adapters describes its own fields at run time, from the docstrings beside them."""

import importlib

import pytest
from pydantic import BaseModel
from pydantic._internal._docs_extraction import extract_docstrings_from_cls

from qwen_omni.integrations.model_fields import ModelFields

ADAPTERS = {"langchain_qwen_omni": "langchain_core", "llama_index_qwen_omni": "llama_index.core"}


def classes(package: str) -> list[type[BaseModel]]:
    """Return the public pydantic classes of a package, and the base that its own ones have in common."""
    module = importlib.import_module(package)
    public = [getattr(module, name) for name in module.__all__]
    own = [one for one in public if isinstance(one, type) and issubclass(one, BaseModel)]
    return [one for one in own if one.__module__.startswith(package)]


@pytest.mark.parametrize("package", ADAPTERS)
def test_own_fields_are_described(package: str) -> None:
    """Own fields have the texts that pydantic itself would read; inherited ones keep the framework's."""
    pytest.importorskip(ADAPTERS[package])
    found = classes(package)
    assert len(found) > 2
    for model in found:
        for kind in model.__mro__:
            if not (issubclass(kind, BaseModel) and kind.__module__.partition(".")[0] in (package, "qwen_omni")):
                continue
            texts = extract_docstrings_from_cls(kind, use_inspect=True)
            for name in kind.__annotations__.keys() & kind.model_fields.keys():
                assert texts.get(name), f"{kind.__name__}.{name} has no docstring"
                assert kind.model_fields[name].description == texts[name]
                assert model.model_fields[name].description


@pytest.mark.parametrize("package", ADAPTERS)
def test_inherited_fields_keep_their_descriptions(package: str) -> None:
    """What a framework says about a field stands."""
    pytest.importorskip(ADAPTERS[package])
    for model in classes(package):
        theirs = [kind for kind in model.__mro__[1:] if issubclass(kind, BaseModel) and kind is not BaseModel]
        own = {name for kind in (model, ModelFields) for name in kind.__annotations__}
        for kind in theirs:
            if kind.__module__.startswith(("langchain_core", "llama_index.", "workflows")):
                for name, field in kind.model_fields.items():
                    if name not in own and field.description is not None:
                        assert model.model_fields[name].description == field.description


def test_schemas_hold_the_descriptions() -> None:
    """A server of workflows shows the schema of the start event to its users."""
    pytest.importorskip("llama_index.core")
    from llama_index_qwen_omni import LongVideoStart, QwenOmniToolProgress  # noqa: PLC0415

    shown = LongVideoStart.model_json_schema()["properties"]
    assert shown["question"]["description"] == "Answer this question instead of summarising."
    assert QwenOmniToolProgress.model_json_schema()["properties"]["tool"]["description"] == "Which tool."
