"""A hook of the documentation build: it writes the entries of the API reference, and checks the search.

`<!-- api: qwen_omni: summarize SummaryOptions -->` in a page becomes one entry for each name, in this order, under the
name that a program imports. `*` stands for the names of the package that no page lists, so that new public names appear
in the reference automatically.
"""

import importlib
import json
import re
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

DOCS = Path(__file__).parents[1] / "docs"
MARK = re.compile(r"<!-- api: ([\w.]+):\s+(.*?)\s*-->", re.DOTALL)

_BASES = "\n    options:\n      show_bases: true"  # of errors, for `except`
_INHERITED = "\n    options:\n      inherited_members: [client, aclient, close, aclose, chat_options]"
_OPTIONS = {"ChatQwenOmni": _INHERITED, "QwenOmni": _INHERITED}

FINDS = {
    "progress bar": "long-video.html#a-progress-bar",
    "timestamp": "transcription.html",
    "cost": "cost.html",
    "get a key": "quickstart.html#get-a-key",
    "subtitles": "captions.html#captions-with-times-subtitles",
    "langsmith": "tracing.html",
    "chroma": "vector-stores.html",
    "ChatOpenAI": "migration.html#from-chatopenai",
    "summarize": "reference/long-videos.html#qwen_omni.summarize",
}
"""What readers type into the search, and what has to be among the first results."""
_FIRST = 8


def on_config(config: Any) -> Any:  # noqa: ANN401  (mkdocs' own type; it is not installed where this is checked)
    """Make the packages of this checkout importable."""
    sys.path.insert(0, str(Path(config["config_file_path"]).parent))
    return config


def on_page_markdown(markdown: str, **_: object) -> str:
    """Replace the placeholders of one page."""
    return MARK.sub(lambda match: entries(match[1], match[2].split()), markdown)


def on_post_build(config: Any) -> None:  # noqa: ANN401  (mkdocs' own type)
    """Check that every name has its entry, and that the search finds what readers ask for.

    Raises:
        RuntimeError: Entries are missing (griffe silently omits what it cannot find), or results are.
    """
    lost = [name for page in Path(config["docs_dir"]).rglob("*.md") for name in lost_names(page, config)]
    if lost:
        raise RuntimeError(f"Without an entry in the API reference: {', '.join(lost)}")
    index = json.loads(Path(config["site_dir"], "search", "search_index.json").read_text(encoding="utf-8"))
    unfound = unfound_pages(index["docs"])
    if unfound:
        raise RuntimeError(f"Not among the first {_FIRST} results of the search: {unfound}")


def unfound_pages(sections: list[dict[str, Any]]) -> dict[str, list[str]]:
    """Ask the search, as the built pages do; return the queries that miss their page, with their first results."""
    from lunr import lunr  # noqa: PLC0415  (comes with the group docs)

    fields = ({"field_name": "title", "boost": 1000}, {"field_name": "text", "boost": 1})
    search = lunr(ref="location", fields=fields, documents=sections)
    found = {query: [one["ref"] for one in search.search(query)[:_FIRST]] for query in FINDS}
    return {query: places for query, places in found.items() if not any(one.startswith(FINDS[query]) for one in places)}


def lost_names(page: Path, config: Any) -> list[str]:  # noqa: ANN401  (mkdocs' own type)
    """Return the names that a page lists but its built form lacks."""
    marks = MARK.findall(page.read_text(encoding="utf-8"))
    built = Path(config["site_dir"], page.relative_to(config["docs_dir"])).with_suffix(".html")
    text = built.read_text(encoding="utf-8") if marks else ""
    names = [_path(package, name) for package, listed in marks for name in own_names(package, listed.split())]
    return [name for name in names if f'id="{name}"' not in text]


def entries(package: str, listed: list[str]) -> str:
    """Return names of a package as entries of the reference; those from the core as links to it."""
    names = own_names(package, listed)
    written = [f"::: {_path(package, name)}{_options(package, name)}" for name in names]
    borrowed = [f"[`{name}`][qwen_omni.{name}]" for name in chosen(package, listed) if name not in names]
    return "\n\n".join([*written, *([f"Also here, from the core: {', '.join(borrowed)}."] if borrowed else [])])


def _path(package: str, name: str) -> str:
    """Return where a name is found in the source: a function may have the name of its module, `run.run`."""
    own = f"{package}.{name}"
    in_module = find_spec(own) is not None and hasattr(importlib.import_module(own), name)
    return f"{own}.{name}" if in_module else own


def _options(package: str, name: str) -> str:
    if _path(package, name) != f"{package}.{name}":
        return f"\n    options:\n      heading: {package}.{name}\n      toc_label: {name}"
    return _BASES if name.endswith("Error") else _OPTIONS.get(name, "")


def own_names(package: str, listed: list[str]) -> list[str]:
    """Return the names with an entry here: what an adapter takes over from the core has its entry there."""
    core = set(importlib.import_module("qwen_omni").__all__) if package.endswith("_qwen_omni") else set()
    homes = {name: _home(package, name) for name in chosen(package, listed)}
    return [name for name, home in homes.items() if not (name in core and home.partition(".")[0] == "qwen_omni")]


def _home(package: str, name: str) -> str:
    """Return the module of a public name, without loading lazy ones."""
    module = importlib.import_module(package)
    lazy = {key: home for home, names in getattr(module, "_HOMES", {}).items() for key in names.split()}
    return lazy.get(name) or package


def chosen(package: str, listed: list[str]) -> list[str]:
    """Return the names that a placeholder stands for.

    Example:
        >>> chosen("qwen_omni.archive", ["BatchJob"])
        ['BatchJob']
    """
    public = importlib.import_module(package).__all__
    unknown = [name for name in listed if name != "*" and name not in public]
    if unknown:
        raise ValueError(f"{package} has no {', '.join(unknown)}")
    rest = [name for name in public if name not in listed_names(package)] if "*" in listed else []
    return [*(name for name in listed if name != "*"), *rest]


def listed_names(package: str) -> list[str]:
    """Return the names of a package that all pages together list."""
    texts = (page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
    marks = (mark for text in texts for mark in MARK.findall(text) if mark[0] == package)
    return [name for _, listed in marks for name in listed.split() if name != "*"]
