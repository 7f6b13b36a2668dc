"""Public names of a package, imported on first use, so that `import qwen_omni` and the adapters are fast.

Each package lists its names once, in its `__init__.py`. `scripts/stubs.py` writes the same list to `__init__.pyi`, for
type checkers and editors.
"""

import importlib
from collections.abc import Callable, Collection, Mapping

from qwen_omni import _moved


def attach(
    package: str,
    homes: Mapping[str, str],
    *,
    moved: Mapping[str, str] | None = None,
    extra: str = "",
    theirs: Collection[str] = (),
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: name of the package.
        homes: the public names of each module, separated by spaces.
        moved: old public names, with their new ones; they work with a warning.
        extra: the extra of this distribution that installs the package's framework.
        theirs: top-level packages of that framework; if one is missing, the error names the extra.
    """
    home_of = {name: home for home, names in homes.items() for name in names.split()}
    public = sorted(home_of)

    def find(name: str) -> object:
        if moved is not None and name in moved:
            _moved.warn(f"{package}.{name}", f"{package}.{moved[name]}")
            name = moved[name]
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        try:
            return getattr(importlib.import_module(home_of[name]), name)
        except ModuleNotFoundError as error:
            if (error.name or "").partition(".")[0] not in theirs:
                raise
            message = f"{name} needs {extra}-core: pip install 'qwen-omni[{extra}]'"
            raise ModuleNotFoundError(message, name=error.name) from None

    return find, lambda: list(public), public
