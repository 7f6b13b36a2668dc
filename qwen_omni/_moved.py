"""Old paths and names. Each works until `GONE`, and warns with the new one."""

import functools
import importlib
import sys
import warnings
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType

TYPE_CHECKING = False
if TYPE_CHECKING:  # `typing` takes longer to import than this package
    from collections.abc import Callable
    from typing import TypeVar

    T = TypeVar("T")

GONE = "qwen-omni 0.3"
"""The release that removes them."""

MOVED = {
    "qwen_omni.captions": "qwen_omni.structured",
    "qwen_omni.captions.batch": "qwen_omni.structured.batch",
    "qwen_omni.captions.results": "qwen_omni.structured.batch",
    "qwen_omni.media.inspect": "qwen_omni.media.prepare",
    "qwen_omni.media.look": "qwen_omni.media.prepare",
    "qwen_omni.media.prepared": "qwen_omni.media.prepare",
    "qwen_omni.oss_settings": "qwen_omni.settings",
    "qwen_omni.standin.fixtures": "qwen_omni.standin.pytest_plugin",
    "qwen_omni.standin.truth": "qwen_omni.standin.marked_media",
    "qwen_omni.video.notes": "qwen_omni.video.engine.run",
}
"""Old path to new path."""

MOVED_NAMES = {
    "Captioned": "CaptionResult",
    "Choices": "PrepareOptions",
    "Foresight": "Forecast",
    "Plan": "MediaPlan",
    "Still": "JpegImage",
    "foresee": "forecast",
}
"""Old public name of `qwen_omni` to new name."""

MOVED_OPTIONS = {
    "has_sound": "has_audio",
    "picture": "encoding",
    "picture_duration": "video_duration",
    "picture_end": "video_end",
    "picture_start": "video_start",
    "pictures": "images",
    "search": "enable_search",
    "sound": "audio",
    "sound_bitrate": "audio_bitrate",
    "sound_changes": "audio_changes",
    "sound_duration": "audio_duration",
    "sound_end": "audio_end",
    "sound_start": "audio_start",
    "stills": "jpegs",
    "wish": "focus",
}
"""Old keyword or attribute to the new one, in the classes that `with_old_options` names."""

MOVED_TOOLS = {"ask_video": "ask_about_clip"}
"""Old name of a tool to new name."""


class MovedModules:
    """Import a module by its old path: a finder and a loader.

    Without the bases in `importlib.abc`, whose import takes longer than that of this package.
    """

    def find_spec(
        self, fullname: str, path: Sequence[str] | None = None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return a spec for an old path, `None` for any other."""
        del path, target
        if fullname not in MOVED:
            return None
        return ModuleSpec(fullname, self, is_package=fullname.count(".") == 1)  # type: ignore[arg-type]  # has no base

    def create_module(self, spec: ModuleSpec) -> None:
        """Leave the creation to Python."""

    def exec_module(self, module: ModuleType) -> None:
        """Put the module of the new path in place of the old one."""
        old = module.__name__
        warn(old, MOVED[old])
        sys.modules[old] = importlib.import_module(MOVED[old])


def warn(old: str, new: str) -> None:
    """Warn the code that uses an old path or name; if it copies a value with a change, not the module that copies."""
    level, user = 3, sys._getframe(2)  # noqa: SLF001  (`inspect` takes longer to import than this package)
    while user.f_globals.get("__name__") in ("copy", "dataclasses") and user.f_back is not None:
        level, user = level + 1, user.f_back
    warnings.warn(
        f"{old} is now {new}; {GONE} removes the old name.",
        DeprecationWarning,
        stacklevel=level,
    )


def with_old_options(*names: str) -> "Callable[[type[T]], type[T]]":
    """Let a class be made, and read, with these new options under their old names, too."""

    def add(kind: "type[T]") -> "type[T]":
        made = kind.__init__
        moved = {old: new for old, new in MOVED_OPTIONS.items() if new in names}

        @functools.wraps(made)
        def init(self: "T", *args: object, **options: object) -> None:
            for old in moved.keys() & options.keys():
                warn(f"{kind.__name__}({old}=)", f"{moved[old]}=")
                options[moved[old]] = options.pop(old)
            made(self, *args, **options)

        kind.__init__ = init  # type: ignore[method-assign,assignment]
        for old in moved:
            setattr(kind, old, old_option(old))
        return kind

    return add


def old_option(old: str) -> property:
    """Return a property that reads an option under its old name."""

    def read(value: object) -> object:
        warn(f"{type(value).__name__}.{old}", MOVED_OPTIONS[old])
        return getattr(value, MOVED_OPTIONS[old])

    return property(read)


def tool_name(name: str) -> str:
    """Return the current name of a tool."""
    if name in MOVED_TOOLS:
        warn(f"The tool {name}", MOVED_TOOLS[name])
    return MOVED_TOOLS.get(name, name)


def install() -> None:
    """Make old module paths importable. May be called again.

    It goes first among the finders: the path of a moved package would otherwise load second copies of its modules.
    """
    if not any(isinstance(finder, MovedModules) for finder in sys.meta_path):
        sys.meta_path.insert(0, MovedModules())
