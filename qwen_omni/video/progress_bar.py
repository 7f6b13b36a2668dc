"""`ProgressBar`: a bar for `on_progress=`, in notebooks and terminals. Uses tqdm, which knows where it is shown."""

import sys
import warnings
from typing import TYPE_CHECKING, Any, Self

from qwen_omni.errors import ConfigurationError
from qwen_omni.redact import clean

if TYPE_CHECKING:
    from qwen_omni.video.engine.run import Progress

_SHORT = 1.0  # seconds


class ProgressBar:
    """A progress bar for `on_progress=`; the bar of work that took less than a second is removed again.

    In a notebook with ipywidgets it is a widget, elsewhere a line on standard error. Without it nothing is shown: a
    library that prints by itself is in the way of programs. Notices and gaps are written above the bar.

    Raises:
        ConfigurationError: tqdm is not installed.

    Example:
        from qwen_omni import ProgressBar, summarize

        found = summarize("lecture.mp4", on_progress=ProgressBar())
    """

    def __init__(self) -> None:
        self._tqdm = _tqdm()
        self._bar: Any = None

    def __call__(self, news: "Progress | str") -> None:
        """Show an event: of `summarize`, `ask_video` and `iter_notes`, or a step of `transcribe`."""
        if isinstance(news, str):
            self._open(None, bar_format="{desc} [{elapsed}]").set_description_str(_line(news))
            return
        if self._bar is not None and news.done < self._bar.n:  # a question looks at some segments again
            self.close()
        bar = self._open(news.segments, desc="segments", unit=" segment")
        if news.kind in ("notice", "gap"):
            self._tqdm.write(_line(news.text), file=sys.stderr)
        bar.total = news.segments
        bar.set_postfix_str(f"{news.input_tokens + news.output_tokens:,} tokens", refresh=False)
        bar.update(news.done - bar.n)
        bar.refresh()
        if news.kind == "done":
            self.close()

    def _open(self, total: int | None, **how: Any) -> Any:  # noqa: ANN401  (tqdm has no types)
        if self._bar is not None and (self._bar.total is None) != (total is None):
            self.close()
        if self._bar is None:
            self._bar = self._tqdm(total=total, **how)
        return self._bar

    def close(self) -> None:
        """End the bar; the next event begins a new one."""
        if self._bar is not None:
            self._bar.leave = self._bar.format_dict["elapsed"] >= _SHORT
            self._bar.close()
            self._bar = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _line(text: str) -> str:
    return clean(text, "terminal", one_line=True)


def _tqdm() -> Any:  # noqa: ANN401  (it has no types)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # in a notebook without ipywidgets it warns, and uses a line of text
            from tqdm.auto import tqdm  # noqa: PLC0415 - loads on first use
    except ImportError as error:
        raise ConfigurationError("ProgressBar needs an extra package: pip install tqdm.") from error
    return tqdm
