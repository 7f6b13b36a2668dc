"""`qwen-omni doctor`: checks the key, the model, the stores or a link, and prints the findings."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Annotated

import typer

from qwen_omni.addresses import is_private_url
from qwen_omni.cli.options import ModelName, read_place, sharing
from qwen_omni.cli.output import one_line, show_finding, waiting
from qwen_omni.diagnostics import Finding, examine, examine_link
from qwen_omni.errors import ConfigurationError
from qwen_omni.profiles import DEFAULT_MODEL
from qwen_omni.settings import Settings
from qwen_omni.transport.api import run

_NO_KEY = "not-needed"  # fetching a link needs none, and none is sent


@sharing(service=read_place)
def doctor(
    url: Annotated[
        str | None, typer.Argument(metavar="URL", help="A link to media; without one, check the account.")
    ] = None,
    *,
    model: ModelName = DEFAULT_MODEL,
    service: Callable[..., Settings],
) -> None:
    """Check the key, region, model and stores, or fetch a link as the service would, and say how to fix each fault.

    Checking an account costs a few tokens.
    """
    if url is not None and ("://" not in url or url.lower().startswith("file:")):
        raise ConfigurationError(
            f"{one_line(url)} is not an http or https link, and doctor checks links. For a file on this machine, use: "
            "qwen-omni probe FILE"
        )
    if url is not None:
        settings = service(api_key=_NO_KEY, read_timeout=30.0)
        allowed = settings.private_links or is_private_url(settings.base_url)
        findings = iter(run(examine_link(url, now=datetime.now(UTC), allow_private=allowed), settings))
    else:
        settings = service()
        findings = examine(settings, model)
    bad = 0
    while (finding := _next(findings)) is not None:
        show_finding(finding.name, finding.verdict, finding.text, finding.step)
        bad += finding.verdict == "bad"
    if bad:
        raise typer.Exit(1)


def _next(findings: Iterator[Finding]) -> Finding | None:
    with waiting("Checking"):
        return next(findings, None)
