"""Many files, a few at a time: a caption or an error for each, and none paid twice.

One file that fails does not end the others. `results` keeps what is finished; `run` makes one caption.
"""

import time
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from qwen_omni.ask import source_of
from qwen_omni.captions.parse import parse_caption
from qwen_omni.captions.results import Results, content_digest, result_key
from qwen_omni.captions.run import DEFAULT_OPTIONS, CaptionOptions, carry_out, plan_caption
from qwen_omni.captions.schema import CaptionSchema, SchemaLike, read_schema
from qwen_omni.client import OmniClient
from qwen_omni.errors import CaptionSyntaxError, QwenOmniError, UnreadableMediaError
from qwen_omni.media.local import open_local
from qwen_omni.media.source import MediaSource
from qwen_omni.ranges import PARALLEL, checked
from qwen_omni.responses import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class FileCaption:
    """What became of one file.

    Attributes:
        media: the path or URL, as it was given.
        value: the caption as the schema has it; `None` if it failed.
        error: why it failed.
        reused: it was finished before, and nothing was asked.
        truncated: the answer was cut short.
        seconds: how long it took.
        usages: what the answers used.
    """

    media: str
    value: Any = None
    error: QwenOmniError | None = None
    reused: bool = False
    truncated: bool = False
    seconds: float = 0.0
    usages: tuple[Usage, ...] = ()


def caption_many(
    media: Sequence[str],
    schema: SchemaLike,
    *,
    client: OmniClient,
    options: CaptionOptions = DEFAULT_OPTIONS,
    concurrency: int = 4,
    results: Results | None = None,
) -> Iterator[FileCaption]:
    """Describe many files, `concurrency` at a time; gives each as it is finished.

    Closing the iterator lets what is in flight end, and starts nothing more. Where `results` cannot be written,
    captions come all the same, and a warning says so once.

    Raises:
        ConfigurationError: the schema is none, or an impossible concurrency.
    """
    concurrency = checked("concurrency", concurrency, PARALLEL)
    wanted = read_schema(schema)
    if results is not None:
        results.write_rest()
    job = _Job(schema=schema, read=wanted, client=client, options=options, results=results)
    pool = ThreadPoolExecutor(max_workers=concurrency, thread_name_prefix="caption")
    try:
        waiting: list[Future[FileCaption]] = [pool.submit(job.one, item) for item in media]
        warned = False
        for future in as_completed(waiting):
            done = future.result()
            if results is not None and results.trouble and not warned:
                warned = True
                warnings.warn(_unwritten_text(results), UserWarning, stacklevel=2)
            yield done
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        if results is not None:
            results.write_rest()


def _unwritten_text(results: Results) -> str:
    return (
        f"The results file {results.path} cannot be written ({results.trouble}); captions are kept in memory and "
        "written as soon as that is possible. Make room before this run ends."
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Job:
    """What every file is asked."""

    schema: SchemaLike
    read: CaptionSchema
    client: OmniClient
    options: CaptionOptions
    results: Results | None

    def one(self, media: str) -> FileCaption:
        """Describe one file; errors of ours become part of what is given."""
        began = time.monotonic()
        try:
            source = source_of(media)
            key = self._key(source)
            with nullcontext() if self.results is None else self.results.working_on(key):
                return self._known(media, key) or self._asked(media, source, key, began)
        except QwenOmniError as error:
            return FileCaption(media=media, error=error, seconds=time.monotonic() - began)

    def _key(self, source: MediaSource) -> str:
        asked = asdict(self.options)
        if self.options.audio_track == "auto":
            del asked["audio_track"]  # captions that were kept before there was a choice are still theirs
        try:
            content = source.url or self._digest(source)
        except OSError as error:
            raise UnreadableMediaError(f"{source.label} cannot be read: {error.strerror}.") from error
        return result_key(content, self.read, {name: asked[name] for name in asked if name != "repair"})

    @property
    def _root(self) -> Path:
        return self.client.settings.media_root

    def _digest(self, source: MediaSource) -> str:
        with open_local(source, self._root) as file:
            return content_digest(file)

    def _known(self, media: str, key: str) -> FileCaption | None:
        """Read the answer that was kept, as it was read then; `None` if there is none that can be read."""
        entry = None if self.results is None else self.results.find(key)
        if entry is None:
            return None
        try:
            parsed = parse_caption(entry["answer"], self.read, facts=entry["facts"])
        except (CaptionSyntaxError, KeyError, TypeError):
            return None  # the class behind the schema has changed, or somebody edited the file
        return FileCaption(media=media, value=parsed.value, reused=True, truncated=bool(entry.get("truncated")))

    def _asked(self, media: str, source: MediaSource, key: str, began: float) -> FileCaption:
        plan = plan_caption(source, self.schema, self.options, media_root=self._root)
        made = carry_out(plan, self.client)
        if self.results is not None:
            answer, facts = made.responses[-1].text, dict(plan.facts)
            told = {"media": source.name, "model": self.options.model, "truncated": made.truncated}
            self.results.add(key, {**told, "facts": facts, "answer": answer})
        return FileCaption(
            media=media,
            value=made.value,
            truncated=made.truncated,
            seconds=time.monotonic() - began,
            usages=made.usages,
        )


def plain(value: Any) -> Any:  # noqa: ANN401  (any caption)
    """Give a caption as plain JSON types."""
    return value.model_dump(mode="json", by_alias=False) if hasattr(value, "model_dump") else value
