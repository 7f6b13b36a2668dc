"""A hook of the documentation build: it writes the entries of the API reference.

`<!-- api: qwen_omni -->` in a page becomes one entry for each public name of that package, grouped by module. New
public names appear in the reference automatically.
"""

import importlib
import re
import sys
from pathlib import Path
from typing import Any

_MARK = re.compile(r"<!-- api: ([\w.]+) -->")

# The fields of both are those of `qwen_omni.integrations.model_fields`.
_FIELDS = "\n    options:\n      show_if_no_docstring: true\n      inherited_members: true"
_OPTIONS = {"ChatQwenOmni": _FIELDS, "QwenOmni": _FIELDS}


def on_config(config: Any) -> Any:  # noqa: ANN401  (mkdocs' own type; it is not installed where this is checked)
    """Make the packages of this checkout importable."""
    sys.path.insert(0, str(Path(config["config_file_path"]).parent))
    return config


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the placeholders of one page."""
    return _MARK.sub(lambda match: entries(match[1]), markdown)


def on_post_build(config: Any) -> None:  # noqa: ANN401  (mkdocs' own type)
    """Check that every name has its entry.

    Raises:
        RuntimeError: Entries are missing; griffe silently omits what it cannot find.
    """
    lost = [name for page in Path(config["docs_dir"]).rglob("*.md") for name in lost_names(page, config)]
    if lost:
        raise RuntimeError(f"Without an entry in the API reference: {', '.join(lost)}")


def lost_names(page: Path, config: Any) -> list[str]:  # noqa: ANN401  (mkdocs' own type)
    """Return the names that a page lists but its built form lacks."""
    packages = _MARK.findall(page.read_text(encoding="utf-8"))
    built = Path(config["site_dir"], page.relative_to(config["docs_dir"])).with_suffix(".html")
    text = built.read_text(encoding="utf-8") if packages else ""
    return [
        f"{home}.{name}"
        for package in packages
        for home, names in homes(package).items()
        for name in names
        if home.startswith(package) and f'id="{home}.{name}"' not in text
    ]


def entries(package: str) -> str:
    """Return the public names of a package as entries of the reference."""
    written: list[str] = []
    borrowed: list[str] = []
    for home, names in homes(package).items():
        if home.startswith(package):
            written.append(f"## {home}")
            written += [f"::: {home}.{name}{_OPTIONS.get(name, '')}" for name in names]
        else:
            borrowed += [f"[`{name}`][{home}.{name}]" for name in names]
    also = [f"From the core, and the same there: {', '.join(borrowed)}."] if borrowed else []
    return "\n\n".join([*also, *written])


def homes(package: str) -> dict[str, list[str]]:
    """Return the public names of a package by module, in alphabetical order.

    Example:
        >>> homes("llama_index_qwen_omni")["qwen_omni.structured.models"]
        ['VideoCaption']
    """
    module = importlib.import_module(package)
    found: dict[str, list[str]] = {}
    for name in sorted(module.__all__):
        found.setdefault(home_of(module, name), []).append(name)
    return dict(sorted(found.items()))


def home_of(module: Any, name: str) -> str:  # noqa: ANN401  (a module)
    """Return the module of a public name, without loading lazy ones."""
    lazy = {key: home for home, names in getattr(module, "_HOMES", {}).items() for key in names.split()}
    return lazy.get(name) or str(getattr(module, name).__module__)
